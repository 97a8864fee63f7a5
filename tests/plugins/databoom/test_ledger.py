"""What the sink remembers across restarts."""

from __future__ import annotations

import pytest
import trio

from bridge.api import SpoolUnavailable
from bridge.testing.fakes import FakeState
from bridge_plugins.databoom import ledger as ledger_module
from bridge_plugins.databoom.ledger import Ledger, LedgerWriter, edition


def opened(state, edition="a", pages=3):
    return Ledger(state, "seen", edition=edition, pages=pages)


class Counting(FakeState):
    """Counts what is written, and can refuse."""

    def __init__(self):
        super().__init__()
        self.sizes = []
        self.full = False

    async def put(self, key, value):
        if self.full:
            raise SpoolUnavailable("full")
        self.sizes.append(len(value["entries"]))
        await super().put(key, value)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 10, 11])
async def test_what_was_added_is_there_after_a_restart(monkeypatch, count):
    monkeypatch.setattr(ledger_module, "PAGE", 5)
    state = FakeState()
    ledger = opened(state)
    for number in range(count):
        ledger.add((f"k{number}", "x"), {"number": number})
        if number % 3 == 0:
            await ledger.save()
    await ledger.save()
    again = opened(state)
    assert list(again) == [(f"k{number}", "x") for number in range(count)]
    assert [again.get(key) for key in again] == [{"number": number} for number in range(count)]


async def test_a_page_takes_the_place_of_the_oldest(monkeypatch):
    monkeypatch.setattr(ledger_module, "PAGE", 2)
    state = FakeState()
    ledger = opened(state)
    for number in range(9):
        ledger.add((str(number),), None)
        await ledger.save()
    assert list(ledger) == [(str(number),) for number in range(3, 9)]
    assert len(state.values) == 3
    again = opened(state)
    assert list(again) == [
        (str(number),) for number in range(4, 9)
    ]  # the newest page is not full yet
    again.add(("9",), None)
    await again.save()
    assert list(opened(state)) == [(str(number),) for number in range(4, 10)]


async def test_a_write_is_one_page_whatever_the_ledger_holds():
    state = Counting()
    ledger = opened(state, pages=100)
    for number in range(10_000):
        ledger.add((str(number),), None)
    await ledger.save()
    state.sizes.clear()
    ledger.add(("one more",), None)
    await ledger.save()
    await ledger.save()
    assert state.sizes == [1]


async def test_what_was_written_under_other_settings_is_not_believed():
    state = FakeState()
    ledger = opened(state, edition="a")
    ledger.add(("k",), "v")
    await ledger.save()
    other = opened(state, edition="b")
    assert list(other) == []
    other.add(("l",), None)
    await other.save()
    assert list(opened(state, edition="b")) == [("l",)]


async def test_a_spool_that_cannot_store_is_asked_again(autojump_clock, nursery):
    state = Counting()
    ledger = opened(state)
    writer = LedgerWriter(ledger)
    nursery.start_soon(writer.run)
    state.full = True
    ledger.add(("k",), None)
    writer.wake()
    await trio.sleep(10)
    assert ledger.grown
    state.full = False
    await trio.sleep(10)
    assert not ledger.grown
    assert list(opened(state)) == [("k",)]


async def test_a_flood_of_entries_shares_its_writes(autojump_clock, nursery):
    state = Counting()
    ledger = opened(state)
    writer = LedgerWriter(ledger)
    nursery.start_soon(writer.run)
    for number in range(60):
        ledger.add((str(number),), None)
        writer.wake()
        await trio.sleep(0.1)
    assert len(state.sizes) <= 3


async def test_closing_the_sink_writes_once_more(autojump_clock):
    state = Counting()
    ledger = opened(state)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(LedgerWriter(ledger).run)
        await trio.testing.wait_all_tasks_blocked()
        ledger.add(("k",), None)
        nursery.cancel_scope.cancel()
    assert list(opened(state)) == [("k",)]


def test_an_entry_that_was_forgotten_can_be_added_again():
    ledger = opened(FakeState())
    ledger.add(("k",), 1)
    ledger.forget(("k",))
    assert ("k",) not in ledger
    ledger.add(("k",), 2)
    assert ledger.get(("k",)) == 2


def test_an_edition_changes_with_its_parts_and_hides_them():
    assert edition("a", "b") == edition("a", "b") != edition("ab", "")
    assert "secret" not in edition("secret")

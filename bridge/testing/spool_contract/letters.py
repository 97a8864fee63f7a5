"""Dead letters are kept, found and dropped."""

# ruff: noqa: D102  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.api import decode
from bridge.api.spool import DeadLetter, KeptLetter, LetterFilter, Spool
from bridge.testing.arrivals import (
    GAUGE,
    METER,
    TIME,
    arrival,
    arrivals,
    balance_of,
    refuse_all,
    take_all,
)
from bridge.testing.spool_contract.append import OpenEngine

HOUR = timedelta(hours=1)


class LettersContract:
    """Dead letters are kept, found and dropped."""

    async def test_a_letter_says_what_was_given_up_and_why(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("a", "b", source="towers"))
            lease = await subscription.take()
            sequence = lease.events[1].sequence
            await lease.settle(2, dead=[DeadLetter(1, "too old", 422, 3, TIME + HOUR)])
        async with open_engine() as spool:
            (letter,) = await spool.letters(LetterFilter())
        assert letter == KeptLetter(
            id=letter.id,
            sink="out",
            source="towers",
            device=METER,
            sequence=sequence,
            received=TIME,
            reason="too old",
            status=422,
            attempts=3,
            time=TIME + HOUR,
            purged=False,
        )

    async def test_a_letter_is_read_with_its_event(self, open_engine: OpenEngine) -> None:
        sent = arrival("a")
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([sent])
            (number,) = await refuse_all(spool, subscription)
            found = await spool.letter(number)
            assert found is not None
            assert found.body == sent.body
            assert found.stored is not None
            assert found.stored.event == decode(sent.body)
            assert (found.stored.source, found.stored.received) == ("sensors", TIME)
            assert [found.letter] == await spool.letters(LetterFilter())
            assert await spool.letter(number + 1) is None

    async def test_letters_are_paged_in_the_order_in_which_they_were_given_up(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=2) as subscription:
            numbers: list[int] = []
            for number in range(3):
                await spool.append(arrivals(f"{number}a", f"{number}b"))
                numbers += await refuse_all(spool, subscription)
            assert numbers == sorted(numbers)
            first = await spool.letters(LetterFilter(), limit=4)
            others = await spool.letters(LetterFilter(), after=first[-1].id, limit=4)
            assert [letter.id for letter in first] == numbers[:4]
            assert [letter.id for letter in others] == numbers[4:]

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            pytest.param(LetterFilter(), ["old", "new"], id="all"),
            pytest.param(LetterFilter(sink="out"), ["old", "new"], id="a sink"),
            pytest.param(LetterFilter(sink="other"), [], id="another sink"),
            pytest.param(LetterFilter(source="gate"), ["new"], id="a source"),
            pytest.param(LetterFilter(source="none"), [], id="an unknown source"),
            pytest.param(LetterFilter(device=METER), ["old"], id="a device"),
            pytest.param(LetterFilter(reason="EXPECTED 100%"), ["new"], id="a part of the reason"),
            pytest.param(LetterFilter(reason="expected _"), [], id="no pattern"),
            pytest.param(LetterFilter(since=TIME + HOUR), ["new"], id="since"),
            pytest.param(LetterFilter(until=TIME + HOUR), ["old"], id="until"),
            pytest.param(LetterFilter(device=METER, source="gate"), [], id="both"),
        ],
    )
    async def test_letters_are_found_by_what_they_say(
        self, open_engine: OpenEngine, wanted: LetterFilter, found: list[str]
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("old"), arrival("new", GAUGE, source="gate")])
            await (await subscription.take()).settle(
                2,
                dead=[
                    DeadLetter(0, "unknown device", 404, 1, TIME),
                    DeadLetter(1, "Out of range, expected 100%", 422, 1, TIME + HOUR),
                ],
            )
            assert await names_of(spool, wanted) == found

    async def test_letters_are_found_by_their_numbers(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("a", "b", "c"))
            numbers = await refuse_all(spool, subscription)
            wanted = LetterFilter(ids=[numbers[2], numbers[0], 999_999])
            assert await names_of(spool, wanted) == ["a", "c"]
            assert await names_of(spool, LetterFilter(ids=[])) == []

    async def test_a_dropped_letter_is_gone_and_counted_as_expired(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("a", "b"))
            numbers = await refuse_all(spool, subscription)
            assert await spool.drop([numbers[0], numbers[0], 999_999]) == 1
            assert await spool.drop([numbers[0]]) == 0
            assert await names_of(spool, LetterFilter()) == ["b"]
            assert await spool.letter(numbers[0]) is None
            assert await balance_of(spool, "out") == {"received": 2, "dead": 1, "expired": 1}

    async def test_letters_outlive_a_purge_and_do_not_count_any_more(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.append(arrivals("a"))
                await refuse_all(spool, subscription)
            assert await spool.purge("out") == 0
            (letter,) = await spool.letters(LetterFilter(sink="out"))
            assert letter.purged
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.append(arrivals("b"))
                await take_all(subscription, 1)
                assert await spool.drop([letter.id]) == 1
                assert await balance_of(spool, "out") == {"received": 1, "delivered": 1}
            assert await spool.letters(LetterFilter()) == []

    async def test_a_dropped_letter_does_not_give_its_number_to_another(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("a"))
            first = await refuse_all(spool, subscription)
            await spool.drop(first)
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("b"))
            assert await refuse_all(spool, subscription) > first


async def names_of(spool: Spool, wanted: LetterFilter) -> list[str | None]:
    """Return the keys of the letters that are wanted."""
    letters = [await spool.letter(letter.id) for letter in await spool.letters(wanted)]
    return [found.stored.event.key for found in letters if found and found.stored]

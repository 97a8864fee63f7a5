"""What every engine of the spool must pass. Run it on yours:

    pytest.register_assert_rewrite("bridge.testing.spool_contract")     # in conftest.py

    class TestAcmeSpool(SpoolContract):
        @pytest.fixture
        def open_engine(self, tmp_path):
            return lambda: open_acme(AcmeSettings(), context(tmp_path))

``open_engine`` opens the same spool each time it is called; it is new for each test.
The tests are async: they need pytest-trio with ``trio_mode = true``. They take an
engine at its word that it is durable; that its word is good can only be shown with a
power cut.

One class, so that a stranger has one name to remember, and hence longer than a module
of ours should be.
"""

# ruff: noqa: D102, SIM117  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TypeAlias

import pytest
import trio
import trio.testing

from bridge.api import Event, Reading
from bridge.api.spool import Account, DeadLetter, Lease, Spool, Stale, Subscription, lane_of
from bridge.testing.arrivals import TIME, account_of, arrival, arrivals, keys_of, take_all

OpenEngine: TypeAlias = Callable[[], AbstractAsyncContextManager[Spool]]


class SpoolContract:
    """The suite. Give it a fixture ``open_engine``."""

    async def test_what_was_appended_comes_out_as_it_went_in(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            assert (
                await spool.append([arrival("a", received=TIME + timedelta(microseconds=1))]) == 1
            )
            (stored,) = (await subscription.take()).events
        assert (stored.source, stored.received) == ("sensors", TIME + timedelta(microseconds=1))
        assert stored.event == Event(
            "a", "meter", "temperature", TIME, (Reading("name", "a", TIME),)
        )

    async def test_a_known_key_is_not_stored_again(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            assert await spool.append(arrivals("a", "b")) == 2
            assert await spool.append(arrivals("b", "c")) == 1
            assert keys_of(await take_all(subscription, 3)) == ["a", "b", "c"]

    async def test_a_key_twice_in_one_append_is_stored_once(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            assert await spool.append(arrivals("a", "b", "a")) == 2
            assert keys_of(await take_all(subscription, 2)) == ["a", "b"]

    async def test_a_key_twice_in_appends_at_one_time_is_stored_once(
        self, open_engine: OpenEngine
    ) -> None:
        counts = []

        async def append(spool: Spool) -> None:
            counts.append(await spool.append([arrival("a")]))

        async with open_engine() as spool:
            async with trio.open_nursery() as senders:
                for _ in range(20):
                    senders.start_soon(append, spool)
        assert sum(counts) == 1

    async def test_two_sources_may_use_the_same_key(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            assert await spool.append([arrival("a", source="one"), arrival("a", source="two")]) == 2

    async def test_an_append_of_nothing_stores_nothing(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            assert await spool.append([]) == 0

    async def test_events_and_keys_are_there_after_reopening(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10):
            await spool.append(arrivals("a", "b"))
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            assert await spool.append(arrivals("b", "c")) == 1
            assert keys_of(await take_all(subscription, 3)) == ["a", "b", "c"]

    async def test_events_of_a_device_stay_in_order(self, open_engine: OpenEngine) -> None:
        sent = [arrival(f"{number:03}", f"device{number % 7}") for number in range(210)]
        async with open_engine() as spool, spool.subscribe("out", batch=4) as subscription:
            for start in range(0, len(sent), 30):
                await spool.append(sent[start : start + 30])
            taken = await take_all(subscription, len(sent))
        for device in {event.device for event in sent}:
            mine = [stored for stored in taken if stored.event.device == device]
            assert keys_of(mine) == [event.key for event in sent if event.device == device]
            assert [stored.sequence for stored in mine] == sorted(
                stored.sequence for stored in mine
            )
        assert len({stored.sequence for stored in taken}) == len(sent)

    async def test_a_lease_holds_one_lane_and_at_most_a_batch(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=3) as subscription:
            await spool.append(
                [arrival(f"{number}", f"device{number % 50}") for number in range(200)]
            )
            lane_of_device: dict[str, int] = {}
            for _ in range(20):
                lease = await subscription.take()
                assert 1 <= len(lease.events) <= 3
                for stored in lease.events:
                    assert lane_of_device.setdefault(stored.event.device, lease.lane) == lease.lane
                await lease.settle(len(lease.events))

    async def test_a_lane_in_hand_is_not_lent_a_second_time(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=1) as subscription:
            await spool.append(
                [arrival(f"{number}", f"device{number % 60}") for number in range(180)]
            )
            held = [await subscription.take() for _ in range(3)]
            assert len({lease.lane for lease in held}) == 3

    async def test_a_lane_is_lent_again_once_its_lease_is_settled(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=1) as subscription:
            await spool.append(arrivals("a", "b"))
            first = await subscription.take()
            order: list[str] = []

            async def take_next() -> None:
                second = await subscription.take()
                order.extend(keys_of(second.events))

            async with trio.open_nursery() as takers:
                takers.start_soon(take_next)
                await spool.append(
                    arrivals("c")
                )  # wakes the taker: there is more, but its lane is in hand
                order.append("settled")
                await first.settle(1)
            assert order == ["settled", "b"]

    async def test_a_lane_that_rests_is_lent_again_after_its_time_and_others_meanwhile(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("a"))
            await (await subscription.take()).settle(1, rest=0.2)
            began = trio.current_time()
            await spool.append(arrivals("b", "c"))
            other = next(
                name for name in map(str, range(99)) if lane_of(name, 16) != lane_of("meter", 16)
            )
            await spool.append(arrivals("d", device=other))
            assert keys_of((await subscription.take()).events) == ["d"]
            assert keys_of((await subscription.take()).events) == ["b", "c"]
            assert trio.current_time() - began > 0.1

    async def test_take_waits_for_the_next_event(self, open_engine: OpenEngine) -> None:
        taken: list[str] = []

        async def take(subscription: Subscription) -> None:
            taken.extend(keys_of((await subscription.take()).events))

        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            async with trio.open_nursery() as takers:
                takers.start_soon(take, subscription)
                await trio.lowlevel.checkpoint()
                await spool.append([arrival("a")])
        assert taken == ["a"]

    async def test_what_was_given_back_is_lent_again(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            await spool.append(arrivals("a", "b"))
            lease = await subscription.take()
            lease.give_back()
            lease.give_back()
            assert keys_of(await take_all(subscription, 2)) == ["a", "b"]

    async def test_what_was_not_settled_is_lent_again_after_reopening(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=2) as subscription:
            await spool.append(arrivals("a", "b", "c", "d"))
            await (await subscription.take()).settle(2)
            assert keys_of((await subscription.take()).events) == ["c", "d"]
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            assert keys_of((await subscription.take()).events) == ["c", "d"]

    async def test_a_lease_settled_in_part_keeps_the_rest(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            await spool.append(arrivals("a", "b", "c"))
            lease = await subscription.take()
            await lease.settle(1)
            assert keys_of(lease.events) == ["b", "c"]
            await lease.settle(1)
            lease.give_back()
            assert keys_of((await subscription.take()).events) == ["c"]
            assert (await account_of(spool, "out")).delivered == 2

    async def test_dead_letters_and_filtered_events_are_counted(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            await spool.append(arrivals("a", "b", "c", "d"))
            lease = await subscription.take()
            letters = [
                DeadLetter(1, "no such device", 422, 3, TIME),
                DeadLetter(2, "too old", None, 1, TIME),
            ]
            await lease.settle(4, filtered=1, dead=letters)
            account = await account_of(spool, "out")
        assert (account.received, account.delivered, account.filtered, account.dead) == (4, 1, 1, 2)
        assert account.balanced

    async def test_a_lease_that_was_given_back_is_stale(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            await spool.append(arrivals("a"))
            lease = await subscription.take()
            lease.give_back()
            with pytest.raises(Stale):
                await lease.settle(1)
            assert (await account_of(spool, "out")).pending == 1

    async def test_a_lease_is_stale_when_its_sink_was_purged(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            await spool.append(arrivals("a"))
            lease = await subscription.take()
            await spool.purge("out")
            with pytest.raises(Stale):
                await lease.settle(1)

    async def test_one_stale_settle_does_no_harm_to_others_at_the_same_time(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("good", batch=10) as good:
            async with spool.subscribe("bad", batch=10) as bad:
                await spool.append(arrivals("a"))
                right, wrong = await good.take(), await bad.take()
                await spool.purge("bad")

                async def settle_wrong() -> None:
                    with pytest.raises(Stale):
                        await wrong.settle(1)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(settle_wrong)
                    nursery.start_soon(right.settle, 1)
                    nursery.start_soon(spool.append, arrivals("b"))
                assert (await account_of(spool, "good")).delivered == 1
                assert keys_of(await take_all(good, 1)) == ["b"]

    async def test_a_new_sink_begins_now(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            await spool.append(arrivals("old"))
            async with spool.subscribe("out", batch=10) as subscription:
                await spool.append(arrivals("new"))
                assert keys_of(await take_all(subscription, 1)) == ["new"]
            assert (await account_of(spool, "out")).received == 1

    async def test_a_new_sink_may_begin_at_the_beginning(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            await spool.append(arrivals("old"))
            async with spool.subscribe("out", batch=10, start="beginning") as subscription:
                assert keys_of(await take_all(subscription, 1)) == ["old"]

    async def test_a_known_sink_goes_on_where_it_was(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=10):
                pass
            await spool.append(arrivals("while away"))
            async with spool.subscribe("out", batch=10, start="now") as subscription:
                assert keys_of(await take_all(subscription, 1)) == ["while away"]

    async def test_every_sink_gets_every_event(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("one", batch=10) as one:
            async with spool.subscribe("two", batch=10) as two:
                await spool.append(arrivals("a", "b"))
                assert keys_of(await take_all(one, 2)) == ["a", "b"]
                assert (await account_of(spool, "two")).pending == 2
                assert keys_of(await take_all(two, 2)) == ["a", "b"]

    async def test_events_of_unwanted_sources_count_as_filtered(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=10, sources=["towers"]) as subscription:
                await spool.append(
                    [
                        arrival(f"{source}{number}", source=source)
                        for number in range(3)
                        for source in ("gate", "towers")
                    ]
                )
                await spool.append(arrivals("last", source="gate"))
                assert keys_of(await take_all(subscription, 3)) == ["towers0", "towers1", "towers2"]
            account = await account_of(spool, "out")
        assert (account.received, account.delivered, account.filtered, account.pending) == (
            7,
            3,
            4,
            0,
        )

    async def test_a_stretch_of_only_unwanted_events_is_settled_without_being_lent(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=2, sources=["towers"]) as subscription:
                await spool.append([arrival(f"{number}", source="gate") for number in range(50)])
                await spool.append(arrivals("last", source="towers"))
                assert keys_of(await take_all(subscription, 1)) == ["last"]
            account = await account_of(spool, "out")
        assert (account.delivered, account.filtered, account.pending) == (1, 50, 0)

    async def test_accounts_name_what_waits_and_since_when(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=1) as subscription:
            await spool.append(
                [
                    arrival(f"{number}", received=TIME + timedelta(hours=number))
                    for number in range(3)
                ]
            )
            await (await subscription.take()).settle(1)
            (account,) = await spool.accounts(["out"])
        assert account == Account(
            "out", 3, 1, 0, 0, 0, 2, TIME + timedelta(hours=1), orphaned=False
        )

    async def test_a_sink_without_a_backlog_has_no_oldest_event(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=1):
            assert await spool.accounts([]) == [
                Account("out", 0, 0, 0, 0, 0, 0, None, orphaned=True)
            ]

    async def test_a_purged_sink_is_forgotten(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=10):
                await spool.append(arrivals("a", "b"))
            assert await spool.purge("out") == 2
            assert await spool.accounts(["out"]) == []
            assert await spool.purge("out") == 0

    async def test_a_sink_purged_while_subscribed_goes_on_with_what_comes_next(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            await spool.append(arrivals("a", "b"))
            taken: list[str] = []

            async def take() -> None:
                lease = await subscription.take()
                taken.extend(keys_of(lease.events))

            await spool.purge("out")
            async with trio.open_nursery() as takers:
                takers.start_soon(take)
                await trio.testing.wait_all_tasks_blocked()
                number = 0
                while not taken:
                    await spool.append(arrivals(f"new{number}"))
                    number += 1
            assert all(key.startswith("new") for key in taken)

    async def test_state_is_kept_by_instance(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            state = spool.state("source:sensors")
            assert state.get("last") is None
            await state.put("last", {"id": 7, "seen": ["a"]})
            await spool.state("source:towers").put("last", "other")
            assert spool.state("source:sensors").get("last") == {"id": 7, "seen": ["a"]}
        async with open_engine() as spool:
            assert spool.state("source:sensors").get("last") == {"id": 7, "seen": ["a"]}
            assert spool.state("source:towers").get("last") == "other"

    async def test_a_value_of_none_removes_a_key(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            await spool.state("sink:out").put("key", 1)
            await spool.state("sink:out").put("key", None)
            assert spool.state("sink:out").get("key") is None
        async with open_engine() as spool:
            assert spool.state("sink:out").get("key") is None

    async def test_a_value_changed_by_its_reader_stays_as_it_was_put(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            state = spool.state("sink:out")
            await state.put("key", ["a"])
            state.get("key").append("b")
            assert state.get("key") == ["a"]

    async def test_a_cancelled_append_is_stored_once_when_it_is_sent_again(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as senders:
                    senders.start_soon(spool.append, arrivals("a", "b"))
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert await spool.append(arrivals("a", "b")) in (0, 2)
            assert keys_of(await take_all(subscription, 2)) == ["a", "b"]

    async def test_a_cancelled_take_leaves_its_lane_free(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            await spool.append(arrivals("a"))
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as takers:
                    takers.start_soon(_take_and_leave, subscription)
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
            lease = await subscription.take()
            assert keys_of(lease.events) == ["a"]


async def _take_and_leave(subscription: Subscription) -> None:
    lease: Lease = await subscription.take()
    lease.give_back()

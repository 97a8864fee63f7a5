"""What is lent, in which order, and what ends a lease."""

# ruff: noqa: D102, SIM117  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

import pytest
import trio
import trio.testing

from bridge.api.spool import DeadLetter, Lease, Stale, Subscription, lane_of
from bridge.testing.arrivals import TIME, account_of, arrival, arrivals, keys_of, take_all
from bridge.testing.spool_contract.append import OpenEngine


class LendingContract:
    """What is lent, in which order, and what ends a lease."""

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

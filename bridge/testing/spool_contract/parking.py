"""What waits for one device alone waits apart, and its lane goes on."""

# ruff: noqa: D102, SIM117  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

import random
from datetime import timedelta

import pytest
import trio
import trio.testing

from bridge.api import Stored
from bridge.api.spool import DeadLetter, Lease, Parking
from bridge.testing.arrivals import (
    GAUGE,
    METER,
    NEIGHBOURS,
    TIME,
    VALVE,
    account_of,
    arrival,
    arrivals,
    balance_of,
    keys_of,
    park_all,
    parking,
    take_all,
    take_any,
)
from bridge.testing.spool_contract.append import OpenEngine


class ParkingContract:
    """What is parked, and what is not lent meanwhile."""

    async def test_a_parked_device_does_not_hold_up_its_lane(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE), arrival("m2")])
            await park_all(subscription, METER)
            assert await balance_of(spool, "out") == {
                "received": 3,
                "delivered": 1,
                "pending": 2,
                "parked": 2,
            }
            assert (await account_of(spool, "out")).parked_devices == 1
            await spool.append([arrival("g2", GAUGE)])
            assert keys_of((await subscription.take()).events) == ["g2"]

    async def test_later_events_of_a_parked_device_wait_behind_it(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1")])
            await park_all(subscription, METER)
            await spool.append([arrival("m2"), arrival("g1", GAUGE), arrival("m3")])
            assert keys_of(await take_all(subscription, 1)) == ["g1"]
            assert (await balance_of(spool, "out"))["parked"] == 3
            await spool.retry_parked("out")
            assert keys_of((await subscription.take_parked()).events) == ["m1", "m2", "m3"]

    async def test_events_behind_those_settled_are_not_parked_yet(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1")])
            await park_all(subscription, METER)
            await spool.append([arrival("m2"), arrival("g1", GAUGE), arrival("m3")])
            await spool.append([arrival("g2", GAUGE)])
            lease = await subscription.take()
            await lease.settle(1)
            account = await account_of(spool, "out")
            assert (account.parked, account.pending, account.delivered) == (2, 4, 1)
            await lease.settle(1)
            account = await account_of(spool, "out")
            assert (account.parked, account.pending, account.delivered) == (3, 3, 2)

    async def test_a_stretch_of_a_parked_device_is_parked_without_being_lent(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=2) as subscription:
            await spool.append([arrival("m0")])
            await park_all(subscription, METER)
            await spool.append([arrival(f"m{number}") for number in range(1, 10)])
            with trio.fail_after(10):
                async with trio.open_nursery() as takers:
                    takers.start_soon(subscription.take)
                    while (await account_of(spool, "out")).parked < 10:
                        await trio.testing.wait_all_tasks_blocked()
                    takers.cancel_scope.cancel()
            assert await balance_of(spool, "out") == {"received": 10, "pending": 10, "parked": 10}

    async def test_events_of_unwanted_sources_are_filtered_and_never_parked(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=9, sources=["towers"]) as subscription:
                await spool.append([arrival("m1", source="towers")])
                await park_all(subscription, METER)
                await spool.append(
                    [
                        arrival("m2", source="gate"),
                        arrival("m3", source="towers"),
                        arrival("g1", GAUGE, source="towers"),
                    ]
                )
                await take_all(subscription, 1)
                assert await balance_of(spool, "out") == {
                    "received": 4,
                    "delivered": 1,
                    "filtered": 1,
                    "pending": 2,
                    "parked": 2,
                }

    async def test_a_queue_that_ran_empty_meanwhile_is_opened_again(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1")])
            await park_all(subscription, METER, after=0.0)
            await spool.append([arrival("m2"), arrival("g1", GAUGE)])
            lease = await subscription.take()
            await (await subscription.take_parked()).settle(1)
            assert await spool.parked("out") == []
            await lease.settle(1)
            parked = await subscription.take_parked()
            assert (keys_of(parked.events), parked.attempts) == (["m2"], 0)

    async def test_a_device_whose_queue_is_empty_is_lent_by_its_lane(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1")])
            await park_all(subscription, METER, after=0.0)
            await (await subscription.take_parked()).settle(1)
            await spool.append([arrival("m2")])
            lease = await subscription.take()
            assert (keys_of(lease.events), lease.parked, lease.replay) == (["m2"], False, False)

    async def test_a_lease_may_park_in_one_part_and_again_in_the_next(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE), arrival("m2")])
            lease = await subscription.take()
            await lease.settle(2, park=parking(lease.events[:2], METER, after=60.0, attempts=3))
            await lease.settle(1, park=parking(lease.events, METER, after=0.0, attempts=9, why="-"))
            (device,) = await spool.parked("out")
        assert (device.events, device.attempts, device.why) == (2, 3, "unknown device")
        assert device.due > 0

    async def test_a_lease_that_parked_a_device_cannot_deliver_its_later_events(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1", "m2"))
            lease = await subscription.take()
            await lease.settle(1, park=parking(lease.events[:1], METER))
            with pytest.raises(ValueError, match="settle"):
                await lease.settle(1)
            assert (await balance_of(spool, "out"))["pending"] == 2

    async def test_several_devices_may_be_parked_with_others_dead_and_filtered(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(
                [arrival(f"{device}{number}", device) for number in (1, 2) for device in NEIGHBOURS]
            )
            lease = await subscription.take()
            await lease.settle(
                6,
                filtered=1,
                dead=[DeadLetter(2, "refused", 422, 1, TIME)],
                park=parking(lease.events, METER, GAUGE),
            )
            assert await balance_of(spool, "out") == {
                "received": 6,
                "dead": 1,
                "filtered": 1,
                "pending": 4,
                "parked": 4,
            }

    async def test_what_is_parked_is_there_after_reopening(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1")])
            lease = await subscription.take()
            await lease.settle(1, park=parking(lease.events, METER, after=900.0, attempts=7))
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            (device,) = await spool.parked("out")
            assert (device.device, device.attempts, device.why) == (METER, 7, "unknown device")
            assert 800 < device.due <= 900
            await spool.append([arrival("m2"), arrival("g1", GAUGE)])
            assert keys_of(await take_all(subscription, 1)) == ["g1"]
            await spool.retry_parked("out")
            assert keys_of((await subscription.take_parked()).events) == ["m1", "m2"]

    async def test_the_oldest_waiting_event_may_be_a_parked_one(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1")])
            await park_all(subscription, METER)
            await spool.append([arrival("g1", GAUGE, received=TIME + timedelta(hours=1))])
            assert (await account_of(spool, "out")).oldest_pending == TIME

    async def test_a_purge_forgets_and_counts_what_is_parked(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.append([arrival("m1"), arrival("m2")])
                await park_all(subscription, METER)
            await spool.append([arrival("m3")])
            assert await spool.purge("out") == 3
            assert await spool.parked("out") == []
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.append([arrival("m4")])
                assert keys_of(await take_all(subscription, 1)) == ["m4"]

    async def test_parked_devices_are_paged_in_order_of_their_names(
        self, open_engine: OpenEngine
    ) -> None:
        names = [f"device{number}" for number in range(7)]
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival(name, name) for name in reversed(names)])
            await spool.append([arrival(f"{name} again", name) for name in names])
            while (await account_of(spool, "out")).parked < 14:
                lease = await subscription.take()
                devices = {stored.event.device for stored in lease.events}
                await lease.settle(len(lease.events), park=parking(lease.events, *devices))
            first = await spool.parked("out", limit=4)
            others = await spool.parked("out", after=first[-1].device, limit=4)
            assert [device.device for device in first + others] == names
            assert {device.events for device in first} == {2}
            assert {(device.sink, device.since) for device in others} == {("out", TIME)}
            assert await spool.parked("other") == []

    async def test_whatever_is_parked_devices_are_accepted_in_order(
        self, open_engine: OpenEngine
    ) -> None:
        chance = random.Random(7)  # noqa: S311  # the same in every run
        devices = [*NEIGHBOURS, *(f"device{number}" for number in range(4))]
        accepted: dict[str, list[int]] = {device: [] for device in devices}
        async with open_engine() as spool, spool.subscribe("out", batch=5) as subscription:
            for number in range(40):
                await spool.append([arrival(f"{device} {number}", device) for device in devices])
            await spool.append([arrival("last", VALVE)])
            while (await balance_of(spool, "out")).get("pending"):
                lease = await take_any(subscription)
                settled = await _settle_somehow(lease, chance)
                for stored in settled:
                    accepted[stored.event.device].append(stored.sequence)
        assert sum(map(len, accepted.values())) == 40 * len(devices) + 1
        assert all(sequences == sorted(sequences) for sequences in accepted.values())


async def _settle_somehow(lease: Lease, chance: random.Random) -> list[Stored]:
    """Settle a part of a lease, parking devices at times; returns what was accepted."""
    events = lease.events
    count = chance.randint(1, len(events))
    if not lease.parked:
        devices = sorted({stored.event.device for stored in events})
        chosen = [device for device in devices if chance.random() < 0.3]
        held = parking(events[:count], *chosen)
        await lease.settle(count, park=[each for each in held if each.indexes])
        accepted = [stored for stored in events[:count] if stored.event.device not in chosen]
    elif chance.random() < 0.3:
        await lease.settle(0, park=[Parking(events[0].event.device, (), "still", 0.0, 2)])
        accepted = []
    else:
        await lease.settle(count)
        accepted = list(events[:count])
    lease.give_back()
    return accepted

"""A rewind makes pending again what was received at a time or later."""

# ruff: noqa: D102  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio

from bridge.api import Arrival
from bridge.api.spool import LetterFilter, Parking, Rewind, Stale
from bridge.testing.arrivals import (
    GAUGE,
    METER,
    TIME,
    arrival,
    balance_of,
    keys_of,
    park_all,
    parking,
    refused,
    take_all,
)
from bridge.testing.spool_contract.append import OpenEngine


def at(hour: int) -> datetime:
    """Return a time of receipt."""
    return TIME + timedelta(hours=hour)


def hourly(first: int, last: int, device: str = METER) -> list[Arrival]:
    """Make events of a device, one an hour, called after the hour."""
    return [
        arrival(f"{device[0]}{hour}", device, received=at(hour)) for hour in range(first, last + 1)
    ]


class RewindContract:
    """What is lent again, and how it is counted."""

    async def test_what_was_received_since_is_lent_again(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(hourly(1, 5))
            await take_all(subscription, 5)
            assert await spool.rewind("out", at(3) - timedelta(minutes=1)) == Rewind(3, at(3))
            assert await balance_of(spool, "out") == {
                "received": 5,
                "again": 3,
                "delivered": 5,
                "pending": 3,
            }
            lease = await subscription.take()
            assert (keys_of(lease.events), lease.replay) == (["m3", "m4", "m5"], True)
            assert (lease.parked, lease.attempts) == (False, 0)
            await lease.settle(3)
            assert await balance_of(spool, "out") == {"received": 5, "again": 3, "delivered": 8}

    async def test_the_time_itself_belongs_to_what_is_lent_again(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(hourly(1, 3))
            await take_all(subscription, 3)
            assert await spool.rewind("out", at(3)) == Rewind(1, at(3))
            assert await spool.rewind("out", at(4)) == Rewind(0, None)
            assert await spool.rewind("out", at(2)) == Rewind(1, at(2))

    async def test_what_is_lent_again_is_never_in_one_lease_with_what_is_new(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(hourly(1, 2))
            await take_all(subscription, 2)
            await spool.append(hourly(3, 4))
            await spool.rewind("out", at(2))
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            lease = await subscription.take()
            assert (keys_of(lease.events), lease.replay) == (["m2"], True)
            await lease.settle(1)
            lease = await subscription.take()
            assert (keys_of(lease.events), lease.replay) == (["m3", "m4"], False)

    async def test_a_second_rewind_does_not_forget_the_first(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=2) as subscription:
            await spool.append(hourly(1, 4))
            await take_all(subscription, 4)
            await spool.rewind("out", at(1))
            await (await subscription.take()).settle(2)
            await spool.rewind("out", at(2))
            for keys in ["m2", "m3"], ["m4"]:
                lease = await subscription.take()
                assert (keys_of(lease.events), lease.replay) == (keys, True)
                await lease.settle(len(keys))

    async def test_every_lane_is_rewound(self, open_engine: OpenEngine) -> None:
        devices = [f"device{number}" for number in range(40)]
        sent = [arrival(device, device, received=at(1)) for device in devices]
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(sent)
            await take_all(subscription, 40)
            assert await spool.rewind("out", at(1)) == Rewind(40, at(1))
            again = await take_all(subscription, 40)
            assert sorted(keys_of(again)) == sorted(devices)

    async def test_a_rewind_reaches_to_before_a_sink_began(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            await spool.append(hourly(1, 2))
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.append(hourly(3, 3))
                await take_all(subscription, 1)
                assert await spool.rewind("out", at(2)) == Rewind(2, at(2))
                assert keys_of(await take_all(subscription, 2)) == ["m2", "m3"]
                assert await balance_of(spool, "out") == {"received": 1, "again": 2, "delivered": 3}

    async def test_letters_and_parked_events_come_again_by_their_lane(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([*hourly(1, 1), *hourly(2, 2, GAUGE), *hourly(3, 5)])
            lease = await subscription.take()
            park = parking(lease.events[:4], METER, after=3600.0)
            letter = refused(1)
            await lease.settle(4, dead=letter, park=park)
            lease.give_back()
            assert await spool.rewind("out", at(1)) == Rewind(1, at(2))
            assert await spool.letters(LetterFilter()) == []
            assert await spool.parked("out") == []
            assert await balance_of(spool, "out") == {"received": 5, "pending": 5}
            assert keys_of(await take_all(subscription, 4)) == ["m1", "g2", "m3", "m4"]
            assert keys_of(await take_all(subscription, 1)) == ["m5"]

    async def test_letters_and_parked_events_of_before_stay(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([*hourly(1, 1), *hourly(1, 1, GAUGE), *hourly(2, 2)])
            lease = await subscription.take()
            park = parking(lease.events, METER, after=3600.0)
            await lease.settle(3, dead=refused(1), park=park)
            await spool.append(hourly(3, 3, GAUGE))
            await take_all(subscription, 1)
            assert await spool.rewind("out", at(2)) == Rewind(1, at(3))
            assert await balance_of(spool, "out") == {
                "received": 4,
                "delivered": 1,
                "dead": 1,
                "pending": 3,
                "parked": 1,
                "again": 1,
            }
            # m2 waits behind m1, which is still parked.
            assert keys_of(await take_all(subscription, 1)) == ["g3"]
            await spool.retry_parked("out")
            assert keys_of((await subscription.take_parked()).events) == ["m1", "m2"]

    async def test_letters_of_a_purged_life_stay(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.append(hourly(1, 1))
                await (await subscription.take()).settle(1, dead=refused(0))
            await spool.purge("out")
            async with spool.subscribe("out", batch=9):
                assert await spool.rewind("out", at(1)) == Rewind(1, at(1))
                assert await balance_of(spool, "out") == {"again": 1, "pending": 1}
            assert [letter.purged for letter in await spool.letters(LetterFilter())] == [True]

    async def test_a_replay_of_a_purged_life_comes_again_once(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.append(hourly(1, 1))
                await (await subscription.take()).settle(1, dead=refused(0))
            await spool.purge("out")
            async with spool.subscribe("out", batch=9) as subscription:
                (letter,) = await spool.letters(LetterFilter())
                await spool.replay([letter.id])
                assert await spool.rewind("out", at(1)) == Rewind(0, None)
                assert await balance_of(spool, "out") == {"again": 1, "pending": 1}
                assert keys_of(await take_all(subscription, 1)) == ["m1"]

    async def test_leases_of_before_a_rewind_are_stale(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=1) as subscription:
            await spool.append([*hourly(1, 1), *hourly(2, 2, GAUGE)])
            await park_all(subscription, METER, after=0.0)
            leases = [await subscription.take(), await subscription.take_parked()]
            await spool.rewind("out", at(2))
            with pytest.raises(Stale):
                await leases[1].settle(0, park=[Parking(METER, (), "unknown", 900.0, 7)])
            for lease in leases:
                with pytest.raises(Stale):
                    await lease.settle(1)
                lease.give_back()
            assert await balance_of(spool, "out") == {"received": 2, "pending": 2, "parked": 1}
            assert (await subscription.take_parked()).attempts == 1

    async def test_a_device_that_was_parked_in_hand_is_lent_once_it_is_given_back(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(hourly(1, 1))
            await park_all(subscription, METER, after=0.0)
            lease = await subscription.take_parked()
            await spool.rewind("out", at(1))
            order: list[str] = []

            async def take_next() -> None:
                order.extend(keys_of((await subscription.take()).events))

            async with trio.open_nursery() as takers:
                takers.start_soon(take_next)
                await spool.append(hourly(2, 2))  # wakes the taker
                order.append("given back")
                lease.give_back()
            assert order == ["given back", "m1"]

    async def test_a_position_that_comes_back_by_chance_is_not_mistaken(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=1) as subscription:
            await spool.append(hourly(1, 2))
            await take_all(subscription, 1)
            lease = await subscription.take()
            await spool.rewind("out", at(1))
            async with spool.subscribe("out", batch=1) as another:
                assert keys_of(await take_all(another, 1)) == ["m1"]
                with pytest.raises(Stale):
                    await lease.settle(1)
                assert keys_of(await take_all(another, 1)) == ["m2"]

    async def test_an_unknown_sink_cannot_be_rewound(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            with pytest.raises(LookupError, match="out"):
                await spool.rewind("out", at(1))
            assert await spool.accounts([]) == []

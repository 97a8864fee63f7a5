"""Parked devices are tried again, one lease for each, when they are due."""

# ruff: noqa: D102  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from bridge.api.spool import DeadLetter, Parking, Stale
from bridge.testing.arrivals import (
    GAUGE,
    METER,
    TIME,
    VALVE,
    arrival,
    arrivals,
    balance_of,
    keys_of,
    park_all,
    parking,
    refuse_all,
    refused,
    take_any,
)
from bridge.testing.spool_contract.append import OpenEngine

STILL = Parking(METER, (), "still unknown", 0.0, 5)


class WaitingContract:
    """When parked devices are lent, and what ends their leases."""

    async def test_a_parked_device_is_lent_when_it_is_due(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1", "m2"))
            began = trio.current_time()
            await park_all(subscription, METER, after=0.2)
            lease = await subscription.take_parked()
            assert trio.current_time() - began > 0.19
            assert (keys_of(lease.events), lease.parked, lease.replay) == (
                ["m1", "m2"],
                True,
                False,
            )
            assert lease.attempts == 1

    async def test_two_that_wait_get_one_device_each(self, open_engine: OpenEngine) -> None:
        found = []

        async def take() -> None:
            found.extend(keys_of((await subscription.take_parked()).events))

        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE)])
            await park_all(subscription, METER, GAUGE, after=0.0)
            async with trio.open_nursery() as takers:
                takers.start_soon(take)
                takers.start_soon(take)
            assert sorted(found) == ["g1", "m1"]

    async def test_a_look_at_a_lane_holds_up_no_parked_device(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            await park_all(subscription, METER, after=0.0)
            with trio.fail_after(60):
                for _ in range(40):  # until both look at the same moment
                    await spool.rewind("out", TIME + timedelta(days=1))  # now lanes are looked at
                    lease = await take_any(subscription)
                    assert keys_of(lease.events) == ["m1"]
                    lease.give_back()

    async def test_a_parked_lease_holds_at_most_a_batch(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.append(arrivals("m1", "m2", "m3"))
                await park_all(subscription, METER, after=0.0)
            async with spool.subscribe("out", batch=2) as subscription:
                lease = await subscription.take_parked()
                assert keys_of(lease.events) == ["m1", "m2"]
                await lease.settle(2)
                lease = await subscription.take_parked()
                assert (keys_of(lease.events), lease.attempts) == (["m3"], 0)

    async def test_the_device_that_is_due_longest_is_lent_first(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE), arrival("v1", VALVE)])
            lease = await subscription.take()
            park = [
                *parking(lease.events, METER, after=0.10),
                *parking(lease.events, GAUGE, after=0.05),
                *parking(lease.events, VALVE, after=0.15),
            ]
            await lease.settle(3, park=park)
            for _ in range(2):  # the second time all of them are due
                order = [await subscription.take_parked() for _ in range(3)]
                assert [keys_of(lease.events) for lease in order] == [["g1"], ["m1"], ["v1"]]
                for lease in order:
                    lease.give_back()

    async def test_a_parked_device_in_hand_is_not_lent_a_second_time(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=1) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE)])
            await park_all(subscription, METER, after=0.0)
            held = await subscription.take_parked()
            await park_all(subscription, GAUGE, after=0.0)
            other = await subscription.take_parked()
            assert [keys_of(held.events), keys_of(other.events)] == [["m1"], ["g1"]]

    async def test_a_device_of_a_lease_in_hand_is_not_lent_as_parked(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("g1", GAUGE), arrival("m1")])
            meter, gauge = sorted(await refuse_all(spool, subscription), reverse=True)
            await spool.append([arrival("m2")])
            lease = await subscription.take()
            await spool.replay([meter])
            await spool.replay([gauge])
            other = await subscription.take_parked()
            assert keys_of(other.events) == ["g1"]
            await lease.settle(1)
            assert keys_of((await subscription.take_parked()).events) == ["m1"]

    async def test_what_is_settled_leaves_the_queue_and_the_rest_stays(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1", "m2", "m3"))
            await park_all(subscription, METER, after=0.0)
            lease = await subscription.take_parked()
            await lease.settle(1)
            assert (keys_of(lease.events), lease.attempts) == (["m2", "m3"], 0)
            lease.give_back()
            lease = await subscription.take_parked()
            assert (keys_of(lease.events), lease.attempts) == (["m2", "m3"], 0)
            await lease.settle(1, filtered=1)
            await lease.settle(1)
            assert await spool.parked("out") == []
            assert await balance_of(spool, "out") == {"received": 3, "delivered": 2, "filtered": 1}

    async def test_a_device_that_still_has_to_wait_is_deferred(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1", "m2"))
            await park_all(subscription, METER, after=0.0)
            lease = await subscription.take_parked()
            await lease.settle(0, park=[Parking(METER, (), "still unknown", 900.0, 2)])
            with pytest.raises(Stale):  # what waits on is not in hand any more
                await lease.settle(1)
            (device,) = await spool.parked("out")
            assert (device.events, device.attempts, device.why) == (2, 2, "still unknown")
            assert 800 < device.due <= 900
            assert await spool.retry_parked("out", METER) == 1
            lease = await subscription.take_parked()
            assert (keys_of(lease.events), lease.attempts) == (["m1", "m2"], 2)

    async def test_a_part_may_be_settled_and_the_rest_deferred(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1", "m2", "m3"))
            await park_all(subscription, METER, after=0.0)
            lease = await subscription.take_parked()
            await lease.settle(2, dead=refused(1), park=[STILL])
            lease.give_back()
            lease = await subscription.take_parked()
            assert (keys_of(lease.events), lease.attempts) == (["m3"], 5)
            assert await balance_of(spool, "out") == {
                "received": 3,
                "delivered": 1,
                "dead": 1,
                "pending": 1,
                "parked": 1,
            }

    async def test_all_parked_devices_may_be_made_due(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE)])
            await park_all(subscription, METER, GAUGE)
            assert await spool.retry_parked("out", VALVE) == 0
            assert await spool.retry_parked("other") == 0
            assert await spool.retry_parked("out") == 2
            leases = [await subscription.take_parked() for _ in range(2)]
            assert {lease.events[0].event.device for lease in leases} == {METER, GAUGE}

    async def test_one_parked_device_made_due_leaves_the_others(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE)])
            await park_all(subscription, METER, GAUGE)
            assert await spool.retry_parked("out", GAUGE) == 1
            due = {device.device: device.due for device in await spool.parked("out")}
            assert due[GAUGE] <= 0 < due[METER]
            assert keys_of((await subscription.take_parked()).events) == ["g1"]

    async def test_a_parked_lease_that_was_given_back_is_stale(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            await park_all(subscription, METER, after=0.0)
            lease = await subscription.take_parked()
            lease.give_back()
            with pytest.raises(Stale):
                await lease.settle(1)
            assert (await balance_of(spool, "out"))["parked"] == 1

    async def test_a_parked_lease_is_stale_when_its_sink_was_purged(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            await park_all(subscription, METER, after=0.0)
            lease = await subscription.take_parked()
            await spool.purge("out")
            with pytest.raises(Stale):
                await lease.settle(1)

    async def test_a_cancelled_take_leaves_a_parked_device_free(
        self, open_engine: OpenEngine
    ) -> None:
        async def take_and_leave() -> None:
            (await subscription.take_parked()).give_back()

        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            await park_all(subscription, METER, after=0.0)
            async with trio.open_nursery() as takers:
                takers.start_soon(take_and_leave)
                await trio.lowlevel.checkpoint()
                takers.cancel_scope.cancel()
            assert keys_of((await subscription.take_parked()).events) == ["m1"]

    @pytest.mark.parametrize(
        "park",
        [
            pytest.param([Parking(METER, (3,), "", 0.0)], id="behind the count"),
            pytest.param([Parking(METER, (0, 0, 2), "", 0.0)], id="an index twice"),
            pytest.param([Parking(METER, (0, 1, 2), "", 0.0)], id="of another device"),
            pytest.param([Parking(METER, (0,), "", 0.0)], id="a later one is delivered"),
            pytest.param([Parking(METER, (), "", 0.0)], id="nothing"),
            pytest.param([Parking(GAUGE, (1,), "", 0.0)], id="a dead letter too"),
            pytest.param(
                [Parking(METER, (0,), "", 0.0), Parking(METER, (2,), "", 0.0)], id="a device twice"
            ),
        ],
    )
    async def test_a_parking_that_cannot_be_is_refused(
        self, open_engine: OpenEngine, park: list[Parking]
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE), arrival("m2"), arrival("m3")])
            lease = await subscription.take()
            with pytest.raises(ValueError, match="settle"):
                await lease.settle(3, dead=[DeadLetter(1, "refused", 422, 1, TIME)], park=park)
            assert await balance_of(spool, "out") == {"received": 4, "pending": 4}

    @pytest.mark.parametrize(
        ("count", "park"),
        [
            pytest.param(0, [], id="nothing is settled and nothing deferred"),
            pytest.param(3, [], id="more than there is"),
            pytest.param(0, [Parking(METER, (0,), "", 0.0)], id="indexes"),
            pytest.param(0, [Parking(GAUGE, (), "", 0.0)], id="another device"),
            pytest.param(0, [STILL, STILL], id="twice"),
        ],
    )
    async def test_a_settlement_of_parked_events_that_cannot_be_is_refused(
        self, open_engine: OpenEngine, count: int, park: list[Parking]
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1", "m2"))
            await park_all(subscription, METER, after=0.0)
            lease = await subscription.take_parked()
            with pytest.raises(ValueError, match="settle"):
                await lease.settle(count, park=park)
            assert (await balance_of(spool, "out"))["parked"] == 2

"""A replay of a dead letter parks its event again, for the sink that refused it."""

# ruff: noqa: D102, SIM117  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bridge.api.spool import DeadLetter, KeptLetter, LetterFilter, Parking, Spool, Stale
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
    take_all,
)
from bridge.testing.spool_contract.append import OpenEngine

SAID = ("sink", "source", "device", "received", "reason", "status", "attempts", "time")


class ReplayContract:
    """What comes back, when, and as what it is counted."""

    async def test_a_replay_is_parked_and_due_at_once(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("a", "b"))
            numbers = await refuse_all(spool, subscription)
            assert await spool.replay([*numbers, *numbers, 999_999]) == 2
            assert await spool.letters(LetterFilter()) == []
            assert await balance_of(spool, "out") == {"received": 2, "pending": 2, "parked": 2}
            lease = await subscription.take_parked()
            assert (keys_of(lease.events), lease.replay, lease.parked) == (["a", "b"], True, True)
            await lease.settle(2)
            assert await balance_of(spool, "out") == {"received": 2, "delivered": 2}

    async def test_a_replay_is_for_the_sink_that_refused_it_alone(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            async with spool.subscribe("other", batch=9) as other:
                await spool.append(arrivals("a"))
                await take_all(other, 1)
                await spool.replay(await refuse_all(spool, subscription))
                assert await balance_of(spool, "other") == {"received": 1, "delivered": 1}
                assert await spool.parked("other") == []

    async def test_live_events_queue_behind_a_replay(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append([arrival("m1")])
            await spool.replay(await refuse_all(spool, subscription))
            await spool.append([arrival("m2"), arrival("g1", GAUGE)])
            assert keys_of(await take_all(subscription, 1)) == ["g1"]
            for key, replay in ("m1", True), ("m2", False):
                lease = await subscription.take_parked()
                assert (keys_of(lease.events), lease.replay) == ([key], replay)
                await lease.settle(1)

    async def test_replays_and_others_are_never_in_one_lease(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1", "m2", "m3", "m4"))
            lease = await subscription.take()
            park = [Parking(METER, (1, 2), "unknown", 3600.0)]
            await lease.settle(4, dead=refused(0, 3), park=park)
            letters = await spool.letters(LetterFilter())
            assert await spool.replay([letter.id for letter in reversed(letters)]) == 2
            order = []
            for count in (1, 2, 1):
                lease = await subscription.take_parked()
                order.append((keys_of(lease.events), lease.replay))
                await lease.settle(count)
            assert order == [(["m1"], True), (["m2", "m3"], False), (["m4"], True)]

    async def test_a_replay_refused_again_is_a_letter_again_and_the_queue_goes_on(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            before = await refuse_all(spool, subscription)
            await spool.replay(before)
            await spool.append([arrival("m2"), arrival("g1", GAUGE)])
            await take_all(subscription, 1)
            lease = await subscription.take_parked()
            await lease.settle(1, dead=refused(0, reason="refused again"))
            (letter,) = await spool.letters(LetterFilter())
            assert (letter.reason, letter.id > before[0]) == ("refused again", True)
            assert keys_of((await subscription.take_parked()).events) == ["m2"]
            assert await balance_of(spool, "out") == {
                "received": 3,
                "delivered": 1,
                "dead": 1,
                "pending": 1,
                "parked": 1,
            }

    async def test_a_replay_makes_a_device_due_that_was_parked(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            letters = await refuse_all(spool, subscription)
            await spool.append(arrivals("m2"))
            await park_all(subscription, METER, after=3600.0)
            await spool.replay(letters)
            lease = await subscription.take_parked()
            assert (keys_of(lease.events), lease.replay) == (["m1"], True)

    async def test_a_device_that_a_replay_parked_stays_due_when_its_lane_parks_it(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            letters = await refuse_all(spool, subscription)
            await spool.append(arrivals("m2"))
            lease = await subscription.take()
            await spool.replay(letters)
            await lease.settle(1, park=parking(lease.events, METER, after=3600.0, attempts=8))
            (device,) = await spool.parked("out")
            assert (device.events, device.attempts) == (2, 0)
            assert device.due <= 0

    async def test_a_replay_may_come_before_what_is_in_hand(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            letters = await refuse_all(spool, subscription)
            await spool.append(arrivals("m2", "m3"))
            await park_all(subscription, METER, after=0.0)
            lease = await subscription.take_parked()
            await spool.replay(letters)
            await lease.settle(1)
            assert keys_of(lease.events) == ["m3"]
            lease.give_back()
            lease = await subscription.take_parked()
            assert (keys_of(lease.events), lease.replay) == (["m1"], True)
            await lease.settle(1)
            assert keys_of((await subscription.take_parked()).events) == ["m3"]

    async def test_a_stopped_replay_leaves_letters_as_they_were(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=1) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE)])
            for attempts in (1, 2):
                letter = DeadLetter(0, f"refused {attempts}", 400 + attempts, attempts, TIME)
                await (await subscription.take()).settle(1, dead=[letter])
            before = await spool.letters(LetterFilter())
            await spool.replay([letter.id for letter in before])
            await spool.append([arrival("m2"), arrival("v1", VALVE)])
            await take_all(subscription, 1)
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            assert await subscription.stop_replay() == 2
            assert await subscription.stop_replay() == 0
            after = await spool.letters(LetterFilter())
            assert said(after) == said(before)
            assert min(letter.id for letter in after) > max(letter.id for letter in before)
            lease = await subscription.take_parked()
            assert (keys_of(lease.events), lease.replay) == (["m2"], False)
            assert await balance_of(spool, "out") == {
                "received": 4,
                "delivered": 1,
                "dead": 2,
                "pending": 1,
                "parked": 1,
            }

    async def test_a_lease_of_a_replay_that_was_stopped_is_stale(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9) as subscription:
            await spool.append(arrivals("m1"))
            await spool.replay(await refuse_all(spool, subscription))
            await spool.append([arrival("m2"), arrival("g1", GAUGE)])
            await take_all(subscription, 1)
            lease = await subscription.take_parked()
            await subscription.stop_replay()
            with pytest.raises(Stale):
                await lease.settle(1)
            assert await balance_of(spool, "out") == {
                "received": 3,
                "delivered": 1,
                "dead": 1,
                "pending": 1,
                "parked": 1,
            }

    async def test_a_letter_of_an_unknown_sink_stays(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            numbers = await purged_letters(spool, "m1")
            assert await spool.replay(numbers) == 0
            assert [letter.id for letter in await spool.letters(LetterFilter())] == numbers

    async def test_a_letter_of_a_purged_life_is_put_back(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            numbers = await purged_letters(spool, "m1", "m2")
            async with spool.subscribe("out", batch=9) as subscription:
                assert await spool.replay(numbers) == 2
                assert await balance_of(spool, "out") == {"again": 2, "pending": 2, "parked": 2}
                lease = await subscription.take_parked()
                assert (keys_of(lease.events), lease.replay) == (["m1", "m2"], True)
                await lease.settle(2, dead=refused(1))
                assert await balance_of(spool, "out") == {"again": 2, "delivered": 1, "dead": 1}

    async def test_a_stopped_replay_of_a_purged_life_is_of_that_life_again(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            numbers = await purged_letters(spool, "m1")
            async with spool.subscribe("out", batch=9) as subscription:
                await spool.replay(numbers)
                assert await subscription.stop_replay() == 1
                assert await balance_of(spool, "out") == {}
            assert [letter.purged for letter in await spool.letters(LetterFilter())] == [True]

    @pytest.mark.parametrize("first", ["purged", "living"])
    async def test_two_letters_of_one_event_put_it_back_once(
        self, open_engine: OpenEngine, first: str
    ) -> None:
        async with open_engine() as spool:
            numbers = await purged_letters(spool, "m1")
            async with spool.subscribe("out", batch=9, start="beginning") as subscription:
                numbers += await refuse_all(spool, subscription)
                assert await balance_of(spool, "out") == {"received": 1, "dead": 1}
                replayed = 0
                for number in numbers if first == "purged" else reversed(numbers):
                    replayed += await spool.replay([number])
                    owed = {"received": 1, "pending": 1, "parked": 1}
                    assert await balance_of(spool, "out") == owed
                assert replayed == 2
            assert await spool.letters(LetterFilter()) == []

    async def test_a_letter_of_an_event_that_its_lane_still_owes_just_goes(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            numbers = await purged_letters(spool, "m1")
            async with spool.subscribe("out", batch=9, start="beginning") as subscription:
                assert await spool.replay(numbers) == 1
                assert await balance_of(spool, "out") == {"received": 1, "pending": 1}
                lease = await subscription.take()
                assert (keys_of(lease.events), lease.replay) == (["m1"], False)


async def purged_letters(spool: Spool, *keys: str) -> list[int]:
    """Let a sink refuse events, and purge it; returns the numbers of their letters."""
    async with spool.subscribe("out", batch=9) as subscription:
        await spool.append(arrivals(*keys))
        numbers = await refuse_all(spool, subscription)
    await spool.purge("out")
    return numbers


def said(letters: Sequence[KeptLetter]) -> dict[int, list[object]]:
    """Return what letters say, but for their numbers, by sequence."""
    return {letter.sequence: [getattr(letter, name) for name in SAID] for letter in letters}

"""Sinks and sources that get another name."""

# ruff: noqa: D102, SIM117  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

import pytest

from bridge.api.spool import LetterFilter, Stale
from bridge.testing.arrivals import (
    GAUGE,
    METER,
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


class RenameContract:
    """What goes along with a name."""

    async def test_a_renamed_sink_goes_on_where_it_was(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("old", batch=1) as subscription:
                await spool.append([arrival("m1"), arrival("g1", GAUGE), arrival("v1", VALVE)])
                await park_all(subscription, METER)
                await refuse_all(spool, subscription)
            await spool.rename("old", "new")
        async with open_engine() as spool:
            assert [account.sink for account in await spool.accounts([])] == ["new"]
            assert await balance_of(spool, "new") == {
                "received": 3,
                "dead": 1,
                "pending": 2,
                "parked": 1,
            }
            assert [letter.sink for letter in await spool.letters(LetterFilter())] == ["new"]
            assert [device.device for device in await spool.parked("new")] == [METER]
            assert await spool.parked("old") == []
            async with spool.subscribe("new", batch=9) as subscription:
                assert keys_of(await take_all(subscription, 1)) == ["v1"]

    async def test_letters_of_earlier_lives_go_along(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("old", batch=9) as subscription:
                await spool.append(arrivals("a"))
                await refuse_all(spool, subscription)
            await spool.purge("old")
            async with spool.subscribe("old", batch=9), spool.subscribe("begun", batch=9):
                pass
            await spool.rename("old", "new")
            await spool.rename("new", "begun")
            (letter,) = await spool.letters(LetterFilter())
            assert (letter.sink, letter.purged) == ("begun", True)
            assert await balance_of(spool, "begun") == {}

    async def test_an_unknown_sink_cannot_be_renamed(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=9):
            with pytest.raises(LookupError, match="other"):
                await spool.rename("other", "out")
            await spool.rename("out", "out")
            assert [account.sink for account in await spool.accounts([])] == ["out"]

    async def test_leases_of_before_are_stale(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("old", batch=1) as subscription:
            await spool.append([arrival("m1"), arrival("g1", GAUGE)])
            await park_all(subscription, METER, after=0.0)
            leases = [await subscription.take(), await subscription.take_parked()]
            await spool.rename("old", "new")
            for lease in leases:
                with pytest.raises(Stale):
                    await lease.settle(1)
            assert await balance_of(spool, "new") == {"received": 2, "pending": 2, "parked": 1}

    async def test_a_lease_of_a_sink_that_took_up_another_is_stale(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool, spool.subscribe("new", batch=1) as subscription:
            async with spool.subscribe("old", batch=1):
                await spool.append(arrivals("a"))
                lease = await subscription.take()
                await spool.rename("old", "new")
                with pytest.raises(Stale):
                    await lease.settle(1)

    @pytest.mark.parametrize("behind", ["old", "new"])
    async def test_a_sink_renamed_onto_another_goes_on_at_the_lower_cursor(
        self, open_engine: OpenEngine, behind: str
    ) -> None:
        ahead = "new" if behind == "old" else "old"
        async with open_engine() as spool:
            async with spool.subscribe("old", batch=2), spool.subscribe("new", batch=2):
                pass
            await spool.append(arrivals("a", "b", "c", "d", "e"))
            async with spool.subscribe(ahead, batch=4) as subscription:
                await (await subscription.take()).settle(4, dead=refused(3))
            async with spool.subscribe(behind, batch=2) as subscription:
                await (await subscription.take()).settle(2, dead=refused(0))
            await spool.rename("old", "new")
            assert await balance_of(spool, "new") == {
                "received": 5,
                "delivered": 1,
                "dead": 1,
                "pending": 3,
            }
            async with spool.subscribe("new", batch=9) as subscription:
                assert keys_of(await take_all(subscription, 3)) == ["c", "d", "e"]
            (letter,) = await spool.letters(LetterFilter())
            assert letter.sink == "new"

    async def test_each_lane_goes_on_at_its_own_lower_cursor(self, open_engine: OpenEngine) -> None:
        devices = [f"device{number}" for number in range(40)]
        async with open_engine() as spool:
            async with spool.subscribe("old", batch=40) as old:
                async with spool.subscribe("new", batch=40) as new:
                    await spool.append([arrival(device, device) for device in devices])
                    held = [await old.take(), await new.take(), await new.take()]
                    owed = {*keys_of(held[0].events), *keys_of(held[2].events)}
                    assert len({lease.lane for lease in held}) == 2
                    await take_all(old, 40 - len(held[0].events))
                    await held[1].settle(len(held[1].events))
                    await take_all(new, 40 - len(owed))
            await spool.rename("old", "new")
            assert (await balance_of(spool, "new"))["pending"] == len(owed)
            async with spool.subscribe("new", batch=40) as new:
                assert {*keys_of(await take_all(new, len(owed)))} == owed

    async def test_what_both_owe_and_keep_is_owed_and_kept_once(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("old", batch=9) as old:
                async with spool.subscribe("new", batch=9) as new:
                    await spool.append([arrival("m1"), arrival("g1", GAUGE), arrival("v1", VALVE)])
                    lease = await old.take()
                    park = parking(lease.events, METER, VALVE)
                    await lease.settle(3, dead=refused(1), park=park)
                    lease = await new.take()
                    park = parking(lease.events, METER)
                    await lease.settle(3, dead=refused(1), park=park)
            await spool.rename("old", "new")
            assert await balance_of(spool, "new") == {
                "received": 3,
                "again": 1,
                "delivered": 1,
                "dead": 1,
                "pending": 2,
                "parked": 2,
            }
            assert [letter.device for letter in await spool.letters(LetterFilter())] == [GAUGE]
            assert {device.device for device in await spool.parked("new")} == {METER, VALVE}

    async def test_a_letter_of_the_one_and_delivered_by_the_other_is_kept(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("old", batch=9) as old:
                async with spool.subscribe("new", batch=9) as new:
                    await spool.append(arrivals("a"))
                    await refuse_all(spool, old)
                    await take_all(new, 1)
            await spool.rename("old", "new")
            assert await balance_of(spool, "new") == {
                "received": 1,
                "again": 1,
                "delivered": 1,
                "dead": 1,
            }
            assert [letter.sink for letter in await spool.letters(LetterFilter())] == ["new"]

    async def test_events_of_a_renamed_source_have_its_new_name(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=1) as subscription:
                await spool.append([arrival("m1"), arrival("g1", GAUGE), arrival("v1", VALVE)])
                await park_all(subscription, METER, after=0.0)
                await refuse_all(spool, subscription)
            await spool.rename_source("sensors", "renamed")
        async with open_engine() as spool:
            async with spool.subscribe("out", batch=9, sources=["renamed"]) as subscription:
                leases = [await subscription.take(), await subscription.take_parked()]
                assert [lease.events[0].source for lease in leases] == ["renamed"] * 2
            (letter,) = await spool.letters(LetterFilter(source="renamed"))
            found = await spool.letter(letter.id)
            assert found is not None
            assert found.stored is not None
            assert (letter.source, found.stored.source) == ("renamed", "renamed")
            assert await spool.letters(LetterFilter(source="sensors")) == []

    async def test_a_renamed_source_still_knows_its_keys(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            await spool.append(arrivals("a"))
            await spool.rename_source("sensors", "renamed")
            assert await spool.append(arrivals("a", source="renamed")) == 0
        async with open_engine() as spool:
            assert await spool.append(arrivals("a", "b", source="renamed")) == 1

    async def test_a_new_source_of_an_old_name_knows_nothing_yet(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            await spool.append(arrivals("a"))
            await spool.rename_source("sensors", "renamed")
            assert await spool.append(arrivals("a", source="sensors")) == 1
            await spool.rename_source("sensors", "second")
            assert await spool.append(arrivals("a", source="sensors")) == 1
        async with open_engine() as spool:
            for source in "sensors", "second", "renamed":
                assert await spool.append(arrivals("a", source=source)) == 0

    async def test_a_source_cannot_take_the_name_of_another(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            await spool.append([arrival("a"), arrival("b", source="towers")])
            with pytest.raises(LookupError, match="nobody"):
                await spool.rename_source("nobody", "somebody")
            with pytest.raises(ValueError, match="towers"):
                await spool.rename_source("sensors", "towers")
            assert await spool.append([arrival("a"), arrival("b", source="towers")]) == 0

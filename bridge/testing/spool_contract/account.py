"""Sinks: where they begin, what they get, and what is counted for them."""

# ruff: noqa: D102, SIM117  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

from datetime import timedelta

import trio
import trio.testing

from bridge.api.spool import Account
from bridge.testing.arrivals import TIME, account_of, arrival, arrivals, keys_of, take_all
from bridge.testing.spool_contract.append import OpenEngine


class AccountContract:
    """Sinks: where they begin, what they get, and what is counted for them."""

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

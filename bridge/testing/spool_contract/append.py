"""What is appended is durable, and known once."""

# ruff: noqa: D102, SIM117  # the name of a test is its sentence; what is nested is opened one after the other

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeAlias

import pytest
import trio
import trio.testing

from bridge.api import Event, Reading
from bridge.api.spool import Spool
from bridge.testing.arrivals import TIME, arrival, arrivals, keys_of, take_all

OpenEngine: TypeAlias = Callable[[], AbstractAsyncContextManager[Spool]]
"""Open the spool of a test; the same one each time."""


class AppendContract:
    """What is appended is durable, and known once."""

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

    async def test_an_event_known_by_a_former_key_is_not_stored_again(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            await spool.append([arrival("old"), arrival("other")])
            again = [
                arrival("new", former_keys=("older", "old")),
                arrival("newer", former_keys=("none",)),
            ]
            assert await spool.append(again) == 1

    async def test_an_event_without_a_key_is_always_new(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool, spool.subscribe("out", batch=10) as subscription:
            sent = arrival("a", keyless=True)
            assert await spool.append([sent, sent]) == 2
            assert await spool.append([sent]) == 1
            assert {stored.event.key for stored in await take_all(subscription, 3)} == {None}

    @pytest.mark.parametrize(
        "key_time",
        [
            pytest.param(TIME, id="now"),
            pytest.param(datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=5))), id="a zone"),
            pytest.param(datetime(1, 1, 1, tzinfo=UTC), id="before 1970"),
            pytest.param(datetime(1970, 1, 1, tzinfo=UTC), id="1970"),
            pytest.param(datetime(9999, 12, 31, tzinfo=UTC), id="behind 2106"),
            pytest.param(None, id="timeless"),
        ],
    )
    async def test_a_key_is_known_wherever_it_lies_in_time(
        self, open_engine: OpenEngine, key_time: datetime | None
    ) -> None:
        async with open_engine() as spool:
            assert await spool.append([arrival("a", key_time=key_time)]) == 1
            assert await spool.append([arrival("a", key_time=key_time)]) == 0
        async with open_engine() as spool:
            both = [arrival("a", key_time=key_time), arrival("b", key_time=key_time)]
            assert await spool.append(both) == 1

    async def test_a_former_key_is_known_from_when_keys_had_no_time(
        self, open_engine: OpenEngine
    ) -> None:
        async with open_engine() as spool:
            await spool.append([arrival("timeless"), arrival("timed", key_time=TIME)])
            again = [
                arrival("new", key_time=TIME, former_keys=("timeless",)),
                arrival("newer", key_time=TIME, former_keys=("timed",)),
            ]
            assert await spool.append(again) == 0

    async def test_a_former_key_is_asked_but_not_kept(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            assert await spool.append([arrival("new", former_keys=("old",))]) == 1
            assert await spool.append([arrival("old"), arrival("new")]) == 1

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

"""The small memory of sources and sinks."""

# ruff: noqa: D102  # the name of a test is its sentence

from __future__ import annotations

from bridge.testing.arrivals import arrivals
from bridge.testing.spool_contract.append import OpenEngine


class StateContract:
    """The small memory of sources and sinks."""

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

    async def test_state_goes_along_with_a_renamed_source(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            await spool.append(arrivals("a", source="old"))
            await spool.state("source:old").put("monitor", 7)
            await spool.state("intake:old").put("received", "today")
            await spool.state("sink:old").put("key", "of a sink")
            await spool.state("source:new").put("own", "kept")
            await spool.rename_source("old", "new")
        async with open_engine() as spool:
            assert spool.state("source:new").get("monitor") == 7
            assert spool.state("source:new").get("own") == "kept"
            assert spool.state("intake:new").get("received") == "today"
            assert spool.state("source:old").get("monitor") is None
            assert spool.state("sink:old").get("key") == "of a sink"

    async def test_state_goes_along_with_a_renamed_sink(self, open_engine: OpenEngine) -> None:
        async with open_engine() as spool:
            async with spool.subscribe("old", batch=1):
                pass
            await spool.state("sink:old").put("seen", ["a"])
            await spool.state("source:old").put("key", "of a source")
            await spool.rename("old", "new")
            assert spool.state("sink:new").get("seen") == ["a"]
            assert spool.state("sink:old").get("seen") is None
            assert spool.state("source:old").get("key") == "of a source"

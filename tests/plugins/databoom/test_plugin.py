"""What the plugin hands over to the core."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bridge.testing.fakes import fake_sink_context
from bridge_plugins import databoom
from bridge_plugins.databoom.emulator import bridge_emulators
from bridge_plugins.databoom.settings import DataboomSettings


@pytest.mark.fact("Few requests in flight in total")
def test_a_batch_holds_events_of_one_device():
    (kind,) = databoom.bridge_sink_kinds()
    assert (kind.name, kind.settings, kind.one_device) == ("databoom", DataboomSettings, True)
    assert (kind.batch, kind.in_flight) == (500, 4)


def test_the_emulator_is_offered_under_the_name_of_the_sink():
    assert [kind.name for kind in bridge_emulators()] == ["databoom"]


def test_to_name_the_kind_loads_no_client_and_no_emulator():
    code = (
        "import sys, bridge_plugins.databoom as d; d.bridge_sink_kinds(); "
        "print('\\n'.join(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "bridge_plugins.databoom.settings" in loaded
    assert not {"bridge_plugins.databoom.emulator", "httpx"} & set(loaded)


async def test_the_kind_opens_the_sink(settings):
    (kind,) = databoom.bridge_sink_kinds()
    async with kind.open(settings, fake_sink_context()) as sink:
        assert callable(sink.deliver)


def test_the_command_map_only_asks_the_running_bridge():
    (command,) = databoom.bridge_commands()
    assert (command.kind, command.name, command.asks) == ("databoom", "map", True)

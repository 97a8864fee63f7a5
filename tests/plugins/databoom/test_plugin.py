"""What the plugin hands over to the core."""

from __future__ import annotations

import subprocess
import sys

from bridge_plugins import databoom
from bridge_plugins.databoom.settings import DataboomSettings


def test_a_batch_holds_events_of_one_device():
    (kind,) = databoom.bridge_sink_kinds()
    assert (kind.name, kind.settings, kind.one_device) == ("databoom", DataboomSettings, True)
    assert (kind.batch, kind.in_flight) == (500, 4)


def test_the_stand_in_is_offered_under_the_name_of_the_sink():
    assert [kind.name for kind in databoom.bridge_emulators()] == ["databoom"]


def test_the_daemon_does_not_load_the_stand_in():
    code = "import sys, bridge_plugins.databoom as d; d.bridge_sink_kinds(); print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "bridge_plugins.databoom.sink" in loaded
    assert "bridge_plugins.databoom.emulator" not in loaded

"""``bridged status``, on a terminal and for programs."""

from __future__ import annotations

from bridge.flow.problems import SINK_FAILS
from tests.cli.spool.office import Office


def test_the_status_shows_sources_sinks_and_what_waits_apart(office: Office):
    office.bury("d0")
    office.park("d1", "d2")
    office.begin("former")
    with office.running():
        assert office("status") == 0
    lines = office.out.splitlines()
    assert lines[0].startswith("bridge office, running since ")
    assert "  towers (quiet): listens" in lines
    assert "    0 events, 0 refused, the last -" in lines
    assert "  former (-): orphaned: no section names it" in lines
    (shelf,) = [line for line in lines if "parked" not in line and " dead 1 " in line]
    assert shelf.strip().startswith("received 3 = delivered ")
    assert "    2 events of 2 devices wait apart:" in lines
    (device,) = [line for line in lines if line.startswith("      d1: ")]
    assert device.startswith("      d1: 1 event since 2026-05-04 10:02:00, tried again in ")
    assert device.endswith(": 404: no such device")


def test_the_status_begins_with_the_problems(office: Office):
    with office.running() as bridge:
        assert office("status") == 0
        assert office.out.splitlines()[1:3] == ["problems:", "  none"]
        report = bridge.board.report("sink:shelf/plugin")
        report("its\x1b[31m clock is wrong", problem=SINK_FAILS)
        assert office("status") == 0
    first, remedy = office.out.splitlines()[2:4]
    assert first.startswith("  sink:shelf/plugin: its\\x1b[31m clock is wrong (since ")
    assert first.endswith(") [sink-fails]")
    assert remedy == f"    {SINK_FAILS.remedy}"


def test_programs_get_what_the_page_shows(office: Office):
    office.park("d1")
    with office.running():
        status = office.json("status")
    (shelf,) = [sink for sink in status["sinks"] if sink["name"] == "shelf"]
    assert (shelf["parked"], shelf["parked_devices"], shelf["again"]) == (1, 1, 0)
    assert shelf["first_parked"][0]["why"] == "404: no such device"
    assert (status["instance"], status["letters"]) == ("office", 0)


def test_without_a_bridge_there_is_no_status(office: Office):
    assert office("status") == 1
    assert (office.out, office.err) == (
        "",
        f"no bridge answers at {office.state}/control.sock; start it, or see [admin] socket\n",
    )

"""``bridged pause`` and ``bridged resume``: of a source, a sink or a device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from tests.cli.spool.office import CONFIG, Office
from tests.cli.spool.plugin import World


def bridge_of(office: Office, either: bool) -> AbstractContextManager[Any]:
    return office.running() if either else nullcontext()


def problems(office: Office) -> dict[str, str]:
    status = office.json("status")
    return {name: state["text"] for name, state in status["problems"].items()}


def test_a_paused_source_does_not_run_until_it_is_resumed(office: Office, world: World):
    with office.running():
        assert (world.runs, world.running) == (1, 1)
        assert office("pause", "towers", "--why", "the tower is being painted") == 0
        assert office.out == (
            "source:towers: paused; its vendor is told to send again later, until: bridged "
            "resume source:towers\n"
        )
        assert world.becomes(running=0)
        (text,) = problems(office).values()
        assert text.startswith("paused by hand since ")
        assert text.endswith(
            ": the tower is being painted; bridged resume source:towers lets it go on"
        )
        assert office("resume", "towers") == 0
        assert office.out == "source:towers: goes on\n"
        assert world.becomes(running=1)
        assert world.runs == 2
        assert problems(office) == {}


def test_a_pause_lasts_over_a_restart(office: Office, world: World, either: bool):
    with bridge_of(office, either):
        assert office("pause", "source:towers") == 0
        assert office("pause", "sink:shelf") == 0
    world.runs = 0
    with office.running():
        assert set(problems(office)) == {"source:towers/pause", "sink:shelf/pause"}
        assert world.runs == 0


def test_a_resume_lasts_over_a_restart(office: Office, world: World, either: bool):
    assert office("pause", "towers") == 0
    with bridge_of(office, either):
        assert office("resume", "towers") == 0
    with office.running():
        assert problems(office) == {}
        assert world.running == 1


def test_what_was_not_paused_is_not_resumed(office: Office, either: bool):
    with bridge_of(office, either):
        assert office("resume", "shelf") == 0
        assert office.out == "shelf was not paused\n"
        assert office("resume", "shelf", "--device", "d1") == 0
        assert office.out == "device d1 was not paused\n"


def test_a_device_is_paused_at_one_sink_or_at_all(office: Office, either: bool):
    with bridge_of(office, either):
        assert office.json("pause", "shelf", "--device", "d1") == {"paused": ["sink:shelf"]}
        assert office.json("pause", "--device", "d2") == {"paused": ["sink:shelf", "sink:dumb"]}
        assert office.json("resume", "--device", "d1") == {"resumed": ["sink:shelf"]}
    with office.running():
        assert {name: text.split(":")[0] for name, text in problems(office).items()} == {
            "sink:shelf/paused devices": "1 paused by hand, their events wait",
            "sink:dumb/paused devices": "1 paused by hand, their events wait",
        }


def test_a_resumed_device_is_tried_at_once(office: Office):
    office.park("d1", "d2")
    office("pause", "shelf", "--device", "d1")
    assert office("resume", "shelf", "--device", "d1") == 0
    first, second = office.json("parked")["devices"]
    assert first["due"] < 1
    assert second["due"] > 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("pause", "shlef"),
            "no enabled source or sink is called 'shlef', did you mean 'shelf'?\n",
        ),
        (
            ("pause", "sink:shlef"),
            "no enabled source or sink is called 'sink:shlef', did you mean 'sink:shelf'?\n",
        ),
        (
            ("pause", "towers", "--device", "d1"),
            "no enabled sink is called 'towers'; there are: dumb and shelf\n",
        ),
        (("resume",), "expected the name of a source or a sink, or a device\n"),
    ],
)
def test_what_cannot_be_meant_is_told(office: Office, either: bool, arguments: Any, said: str):
    with bridge_of(office, either):
        assert office(*arguments) == 1
    assert (office.out, office.err) == ("", said)


def test_a_name_that_a_source_and_a_sink_have_must_be_told_apart(office: Office):
    office.write(CONFIG + "[sink:towers]\nplugin = dumb\n")
    assert office("pause", "towers") == 1
    assert office.err == "'towers' is a source and a sink; say source:towers or sink:towers\n"
    assert office("pause", "sink:towers") == 0

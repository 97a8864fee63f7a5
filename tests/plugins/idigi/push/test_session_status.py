"""What is said of a session after an absence, and of a monitor that was changed."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from bridge.api import Secret, Url
from bridge.flow.instances.insist import Persistence
from bridge_plugins.idigi.emulator.server import Emulator
from bridge_plugins.idigi.push.session_status import SessionStatus
from bridge_plugins.idigi.settings import Settings

WHERE = "attached to monitor 5 at remotemanager.digi.com:3201"


def made(**changes: Any) -> Settings:
    return Settings(**({"username": "user", "password": Secret("pass")} | changes))


def said(settings: Settings, *args: Any, **more: Any) -> tuple[str, str]:
    status = SessionStatus(5, *args, **more)
    problem = status.problem(settings)
    return status.text(settings), problem.name if problem else ""


@pytest.mark.parametrize("away", [None, 0.0, 59.9])
def test_a_first_session_or_a_short_absence_is_not_told(away: float | None) -> None:
    assert said(made(), away) == (WHERE, "")


@pytest.mark.fact(
    "A session after an absence of a minute or more says how long it was and what became of "
    "the events meanwhile"
)
def test_a_longer_absence_is_told_with_its_replay() -> None:
    replayed = "what happened meanwhile was recorded by the monitor and is replayed"
    assert said(made(), 60.0) == (f"{WHERE} after 1m away; {replayed}", "")
    assert said(made(), 7384.6) == (f"{WHERE} after 2h3m5s away; {replayed}", "")


def test_without_replay_what_happened_meanwhile_is_missing() -> None:
    text, problem = said(made(replay=False), 300)
    assert text.startswith(f"{WHERE} after 5m away, NOT RECORDED (replay = no)")
    assert text.endswith("; what happened meanwhile is missing")
    assert problem == "idigi-unsafe-settings"


def test_without_acks_what_was_under_way_is_missing() -> None:
    text, problem = said(made(ack_mode="off"), 300)
    assert text.endswith("is replayed, what was under way when the connection broke is missing")
    assert problem == "idigi-unsafe-settings"


def test_a_loss_is_told_however_short_the_absence_was() -> None:
    assert said(made(), 1.0, "monitor 4 was gone") == (
        f"{WHERE}; monitor 4 was gone",
        "idigi-record-lost",
    )
    assert said(made(), 300, "monitor 4 was gone") == (
        f"{WHERE} after 5m away; monitor 4 was gone",
        "idigi-record-lost",
    )


def test_a_changed_monitor_is_a_problem_with_a_remedy() -> None:
    text, problem = said(made(), 300, altered="monTopic is 'A', expected 'B'")
    assert text.endswith(
        "what it had recorded is gone: monTopic is 'A', expected 'B'; change it back, or the "
        "settings"
    )
    assert "replayed" not in text
    assert problem == "idigi-monitor-changed"


async def test_a_session_after_an_outage_says_how_long_it_was(
    core: Any, emulator: Emulator, settings_for: Any, mock_clock: trio.testing.MockClock
) -> None:
    emulator.faults.refuse = 503
    emulator.faults.sessions = [type(emulator.faults)()]
    core.persistence = Persistence(1000, 1000, 1000)
    async with core.running(settings_for(emulator)):
        emulator.end_sessions()
        await core.report.until(lambda: "closed the connection" in core.report.said[-1][0])
        emulator.faults.refuse = None
        await trio.testing.wait_all_tasks_blocked(0.02)
        mock_clock.jump(600)
        await core.report.until(lambda: core.report.said[-1][0].startswith("attached"))
    assert " after 10m away, INSECURE" in core.report.said[-1][0]
    assert core.report.said[-1][0].endswith("was recorded by the monitor and is replayed")


def test_the_url_is_no_part_of_it() -> None:
    assert said(made(url=Url("https://elsewhere.example/x"), push_host="push.example"))[0] == (
        "attached to monitor 5 at push.example:3201"
    )

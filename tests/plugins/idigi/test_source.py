"""The source as the core runs it: reconnects, its monitor, stops."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

from bridge.api import Duration, Pause, Response, Retry, Secret, SpoolUnavailable
from bridge.daemon.settings import SourceSettings
from bridge.flow.instances.insist import Persistence
from bridge_plugins.idigi.emulator.faults import gateway_error
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator
from bridge_plugins.idigi.rest.wanted import wanted_monitor
from tests.plugins.idigi.conftest import Point, monitor_of


@pytest.mark.fact("Recreate and update work against the service")
@pytest.mark.parametrize(("choice", "number"), [("recreate", 178009), ("update", 178008)])
async def test_a_monitor_can_be_made_to_fit_when_the_settings_change(
    choice: Any, number: int, core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        pass
    await emulator.recorder.until(lambda: monitor_of(emulator).status == "SUSPENDED")
    async with core.running(
        settings_for(emulator, topics=("DataPoint",), batch_size=7, on_difference=choice)
    ):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    monitor = monitor_of(emulator)
    assert (monitor.id, monitor.elements["monTopic"], monitor.elements["monBatchSize"]) == (
        number,
        "DataPoint",
        "7",
    )
    assert any(
        "what it had recorded is gone" in text
        for text, problem in core.report.said
        if problem == "idigi-record-lost"
    )


@pytest.mark.fact("Fresh buffers for every connection")
async def test_every_reconnect_starts_afresh_and_loses_nothing(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        for number in range(4):
            emulator.faults.drop = "after-ack" if number % 2 else "before-ack"
            event = await emulator.publish(*point(number))
            await emulator.recorder.until(lambda event=event: event in emulator.recorder.acked)
    assert sorted(set(core.outlet.values)) == [0, 1, 2, 3]
    assert emulator.recorder.logins >= 4
    assert emulator.recorder.lost == set()


@pytest.mark.fact("What happens while nobody is attached is replayed first")
async def test_events_of_an_outage_arrive_before_new_ones(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    settings = settings_for(emulator, batch_size=10)
    async with core.running(settings):
        pass
    await emulator.recorder.until(lambda: monitor_of(emulator).status == "SUSPENDED")
    recorded = [await emulator.publish(*point(number)) for number in range(25)]
    async with core.running(settings):
        new = await emulator.publish(*point(25))
        await emulator.recorder.until(lambda: new in emulator.recorder.acked)
    assert core.outlet.values == list(range(26))
    assert emulator.recorder.replayed == set(recorded)


@pytest.mark.fact("403 and REST 401 or 403: every 5 minutes, reported")
@pytest.mark.fact("Permanent refusals: slow retry and visible failure")
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refused_login_is_a_problem_and_not_hammered(
    status: int, core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.refuse = status
    async with core.running(settings_for(emulator), attached=False):
        text = await core.report.until_problem("; trying again every 300 s")
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert f"({status})" in text
    assert emulator.recorder.logins == 1


@pytest.mark.parametrize("status", [500, 503, 7])
async def test_another_status_is_retried_until_it_succeeds(
    status: int, core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.refuse = status
    async with core.running(settings_for(emulator), attached=False):
        await emulator.recorder.until(lambda: emulator.recorder.refusals == 3)
        emulator.faults.refuse = None
        await emulator.recorder.until(lambda: bool(monitor_of(emulator).end_session))
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert (
        f"the push port is not available ({status}); trying again until it succeeds",
        "source-fails",
    ) in core.report.said


@pytest.mark.fact("Status 400: REST is asked; a monitor that is gone is created anew")
async def test_a_deleted_monitor_is_created_anew(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        await emulator.account.monitors.pop(178008).cut_off()
        await emulator.recorder.until(lambda: 178009 in emulator.account.monitors)
        await emulator.recorder.until(lambda: bool(monitor_of(emulator).end_session))
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.state.values["monitor"]["id"] == 178009
    assert any("monitor 178008 is gone" in text for text, _ in core.report.said)


@pytest.mark.fact("Status 400 for a monitor that exists: every 5 minutes, reported")
async def test_a_monitor_that_exists_but_is_refused_is_a_problem(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.refuse = 400
    async with core.running(settings_for(emulator), attached=False):
        await core.report.until_problem("refuses monitor 178008 (400), although the account has it")
    assert emulator.recorder.logins == 1


async def test_a_monitor_that_was_not_remembered_is_found_again(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    core.state.failures = [SpoolUnavailable("the disk is full", retry_after=0.001)]
    async with core.running(settings_for(emulator)):
        assert core.state.values["monitor"]["id"] == 178008
    assert (
        "the monitor's id cannot be remembered: the disk is full; trying again until it succeeds",
        "source-fails",
    ) in (core.report.said)


@pytest.mark.fact("A session that stayed up 60 s resets the backoff")
@pytest.mark.fact("A server that ends a long session is no problem")
async def test_a_session_that_stayed_up_lets_the_pauses_begin_anew(
    core: Any, emulator: Emulator, settings_for: Any, mock_clock: trio.testing.MockClock
) -> None:
    emulator.faults.refuse = 500
    core.persistence = Persistence(1, 60, 300)
    async with core.running(settings_for(emulator), attached=False):
        for refused in range(1, 8):
            await emulator.recorder.until(
                lambda refused=refused: emulator.recorder.refusals == refused
            )
            await core.report.until(lambda: bool(core.report.said))
            await trio.testing.wait_all_tasks_blocked(0.02)
            if refused == 7:
                emulator.faults.refuse = None
            mock_clock.jump(60)
        await core.report.until(lambda: "attached" in core.report.said[-1][0])
        mock_clock.jump(61)
        monitor_of(emulator).end_session()
        await core.report.until(lambda: "closed the connection" in core.report.said[-1][0])
        assert core.report.said[-1][1] == ""
        await trio.testing.wait_all_tasks_blocked(0.02)
        mock_clock.jump(0.5)  # half of the longest first pause, as the random number says
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert emulator.recorder.logins == 9


@pytest.mark.fact("After 15 minutes of silence REST is asked; not ACTIVE means reconnect")
@pytest.mark.fact("half-open connections: REST is asked")
async def test_a_silent_session_unseen_by_the_server_is_given_up(
    core: Any, emulator: Emulator, settings_for: Any, mock_clock: trio.testing.MockClock
) -> None:
    async with core.running(settings_for(emulator)):
        calls = len(emulator.recorder.calls)
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(901)
        await emulator.recorder.until(lambda: len(emulator.recorder.calls) == calls + 1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert emulator.recorder.logins == 1  # the server sees us: all is well
        monitor_of(emulator).status = "SUSPENDED"
        mock_clock.jump(901)
        await core.report.until(lambda: "does not see us as attached" in core.report.said[-1][0])
        assert core.report.said[-1][1] == ""  # after a long session this is daily life
        mock_clock.jump(1)
        await emulator.recorder.until(lambda: emulator.recorder.logins == 2)


@pytest.mark.fact("A REST API that does not answer says nothing about the session")
async def test_a_silence_about_which_rest_says_nothing_ends_no_session(
    core: Any,
    emulator: Emulator,
    settings_for: Any,
    mock_clock: trio.testing.MockClock,
    point: Point,
) -> None:
    async with core.running(settings_for(emulator)):
        calls = len(emulator.recorder.calls)
        emulator.faults.rest = [gateway_error()]
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(901)
        await emulator.recorder.until(lambda: len(emulator.recorder.calls) == calls + 1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert emulator.recorder.logins == 1


@pytest.mark.fact("A stop lets the running block and its ack finish")
async def test_a_stop_lets_the_block_in_hand_finish_with_its_ack(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    core.outlet.gate = trio.Event()
    async with core.running(settings_for(emulator)) as scope:
        event = await emulator.publish(*point(1))
        await core.outlet.until(lambda: core.outlet.attempts == 1)
        scope.cancel()
        core.outlet.gate.set()
    await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.outlet.values == [1]


@pytest.mark.fact("A stop does not hang")
async def test_a_stop_does_not_wait_for_ever_for_the_block_in_hand(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    core.outlet.gate = trio.Event()
    with trio.fail_after(5):
        async with core.running(settings_for(emulator, stop_timeout=Duration(0.05))) as scope:
            await emulator.publish(*point(1))
            await core.outlet.until(lambda: core.outlet.attempts == 1)
            scope.cancel()
    await emulator.recorder.until(lambda: monitor_of(emulator).status == "SUSPENDED")
    assert emulator.recorder.full_acks == 0


@pytest.mark.fact("The monitor is kept at shutdown by default")
@pytest.mark.fact("Monitor kept by default")
async def test_the_monitor_is_kept_when_the_source_stops(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    async with core.running(settings_for(emulator)):
        pass
    assert 178008 in emulator.account.monitors
    assert not any(call.startswith(("DELETE", "PUT")) for call in emulator.recorder.calls)


@pytest.mark.fact("No credentials in logs and reports")
async def test_no_secret_is_logged_or_reported(
    core: Any, settings_for: Any, point: Point, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_emulator(password="hunter2-hunter2") as emulator:
        async with core.running(settings_for(emulator)):
            event = await emulator.publish(*point(1))
            await emulator.recorder.until(lambda: event in emulator.recorder.acked)
        async with core.running(
            settings_for(emulator, password=Secret("hunter2-wrong")), attached=False
        ):
            await core.report.until_problem("refuses the login")
    assert "hunter2" not in caplog.text + repr(core.report.said) + repr(core.state.values)
    assert event == 0


@pytest.mark.fact("A session without explicit acks or replay is a loud problem")
async def test_a_session_without_acks_and_replay_is_a_problem(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator, ack_mode="off", replay=False)):
        await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 1)
    text, problem = core.report.said[0]
    assert problem == "idigi-unsafe-settings"
    assert (
        "NOT ACKNOWLEDGED (ack_mode = off): what is under way when a connection breaks is lost"
        in text
    )
    assert "NOT RECORDED (replay = no): what happens while the bridge is away is lost" in text
    assert monitor_of(emulator).elements["monAckOption"] == "off"


@pytest.mark.fact("A reused monitor that lacks explicit acks or replay is not used silently")
async def test_a_found_monitor_without_acks_is_not_used_silently(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator)
    emulator.account.create(wanted_monitor(settings, "gateways") | {"monAckOption": "off"})
    async with core.running(settings, attached=False):
        await core.report.until_problem("monAckOption is 'off', expected 'explicit'")
    assert emulator.recorder.logins == 0


@pytest.mark.fact("A lost monitor has its streams read back")
async def test_a_lost_monitor_has_its_streams_read_back(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator, streams=("test",), stream_history_path="/streams/{stream}")
    async with core.running(settings):
        assert core.recover.asked == []
        await emulator.account.monitors.pop(178008).cut_off()
        await emulator.recorder.until(lambda: 178009 in emulator.account.monitors)
        await emulator.recorder.until(lambda: emulator.recorder.logins == 3)
    assert core.recover.asked == [
        ("monitor 178008 was gone, and with it what it had recorded", None)
    ]


@pytest.mark.fact("delete_on_exit deletes our monitor at a stop")
@pytest.mark.fact("Deletable on request")
async def test_a_monitor_is_deleted_at_a_stop_if_that_was_asked_for(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    async with core.running(settings_for(emulator, delete_on_exit=True)):
        assert 178008 in emulator.account.monitors
    assert emulator.account.monitors == {}
    assert "monitor" not in core.state.values


async def test_a_monitor_is_deleted_at_a_stop_between_two_runs(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    core.persistence = Persistence(1000, 1000, 1000)
    async with core.running(settings_for(emulator, delete_on_exit=True)):
        emulator.faults.refuse = 403
        emulator.end_sessions()
        await core.report.until(lambda: "closed the connection" in core.report.said[-1][0])
    assert emulator.account.monitors == {}


@pytest.mark.fact("delete_on_exit ends within stop_timeout")
async def test_a_stop_does_not_wait_for_ever_for_the_deletion(
    core: Any, emulator: Emulator, settings_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    live = b'{"items":[{"monId":"178008","monStatus":"ACTIVE","monDescription":"bridge/gateways"}]}'
    async with core.running(
        settings_for(emulator, delete_on_exit=True, stop_timeout=Duration(0.05))
    ):
        emulator.faults.rest = [
            Response(200, live)
        ] * 100  # the server never notices that the session is over
    assert "gateways: monitor 178008 is not deleted within 50ms" in caplog.text
    assert 178008 in emulator.account.monitors


async def test_a_deletion_that_fails_at_a_stop_is_logged(
    core: Any, emulator: Emulator, settings_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with core.running(settings_for(emulator, delete_on_exit=True)):
        emulator.faults.rest = [gateway_error()]
    assert (
        "gateways: monitor 178008 is not deleted: the REST API is not available (503)"
        in caplog.text
    )
    assert 178008 in emulator.account.monitors


@pytest.mark.fact("Sessions that end at once come ever more slowly")
async def test_sessions_that_end_at_once_come_ever_more_slowly(
    core: Any, emulator: Emulator, settings_for: Any, mock_clock: trio.testing.MockClock
) -> None:
    def said(words: str) -> int:
        return sum(words in text for text, _ in core.report.said)

    core.persistence = Persistence(1, 60, 300)
    async with core.running(settings_for(emulator)):
        for number, pause in enumerate([0.5, 1.0, 2.0, 4.0], start=1):
            await monitor_of(emulator).cut_off()
            await core.report.until(lambda number=number: said("trying again") == number)
            await trio.testing.wait_all_tasks_blocked(0.02)
            mock_clock.jump(pause * 0.9)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert emulator.recorder.logins == number
            mock_clock.jump(pause * 0.2)
            await core.report.until(lambda number=number: said("attached to") == number + 1)


@pytest.mark.fact("Two sessions on one monitor are survived whatever the server does")
@pytest.mark.parametrize("option", ["replace", "refuse", "both"])
async def test_two_sessions_on_one_monitor_lose_nothing(
    option: Any, core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.options.second_session = option
    core.persistence = Persistence(0.05, 0.5, 300)  # long enough for a block and its ack
    async with core.running(settings_for(emulator)):
        async with core.running(settings_for(emulator, monitor_id=178008), attached=False):
            await emulator.recorder.until(lambda: emulator.recorder.logins >= 2)
            first = await emulator.publish(*point(1))
            await emulator.recorder.until(lambda: first in emulator.recorder.acked)
        second = await emulator.publish(*point(2))
        await emulator.recorder.until(lambda: second in emulator.recorder.acked)
    assert set(core.outlet.values) == {1, 2}
    assert not any("DELETE" in call or "PUT" in call for call in emulator.recorder.calls)


@pytest.mark.fact("Status 400 while another session is attached: backoff")
async def test_a_monitor_in_use_by_another_is_tried_again_soon(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.options.second_session = "refuse"
    async with core.running(settings_for(emulator)) as scope:
        async with core.running(settings_for(emulator, monitor_id=178008), attached=False):
            text = await core.report.until_problem(
                "refuses monitor 178008 (400), because a session is attached"
            )
            assert text.endswith("; trying again until it succeeds")
            logins = emulator.recorder.logins
            await emulator.recorder.until(lambda: emulator.recorder.logins > logins)
        scope.cancel()


@pytest.mark.fact("The client speaks first and closes itself; FIN and RST end a session alike")
@pytest.mark.fact("A restart of the server is survived")
async def test_a_restart_of_the_service_is_survived(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        emulator.end_sessions("reset")
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert emulator.recorder.lost == set()


@pytest.mark.fact("Push always logs in with user and password, whatever REST uses")
async def test_an_api_key_is_for_rest_only(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.account.api_keys["key-1"] = "sesame-sesame"
    settings = settings_for(emulator, api_key_id="key-1", api_key_secret=Secret("sesame-sesame"))
    async with core.running(settings):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    wrong = settings_for(emulator, api_key_id="key-1", api_key_secret=Secret("wrong"))
    async with core.running(wrong, attached=False):
        await core.report.until_problem("correct api_key_id and api_key_secret")
    assert "sesame" not in repr(core.report.said)


def pauses(*verdicts: Retry | Pause) -> list[float]:
    """Returns how long the core waits after these, with the defaults of a source."""
    core = SourceSettings()
    persistence = Persistence(core.retry_base, core.retry_cap, core.pause_probe)
    return [persistence.pause(each, n, lambda: 0.5) for n, each in enumerate(verdicts, start=1)]


@pytest.mark.fact("Backoff with full jitter: base 1 s, factor 2, cap 60 s")
@pytest.mark.fact("Backoff with jitter")
def test_pauses_grow_with_full_jitter_up_to_the_cap() -> None:
    assert pauses(*[Retry("x")] * 8) == [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.fact("The longest wait wins over the backoff")
def test_what_the_server_asked_for_is_the_shortest_pause() -> None:
    assert pauses(Retry("x", after=30), Retry("x", after=0.1)) == [30, 1]


@pytest.mark.fact("A refusal is probed every 5 minutes")
def test_a_refusal_is_probed_slowly() -> None:
    assert pauses(Pause("x"), Pause("x")) == [300, 300]

"""The source against the emulator, over real sockets on loopback."""

from __future__ import annotations

import logging
import socket
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from bridge.api import Duration, Pause, Response, Retry, Secret, Size, SpoolUnavailable
from bridge.config.schema import SourceSettings
from bridge.flow.instances.insist import Persistence
from bridge_plugins.idigi.emulator.content.topics import Occurrence
from bridge_plugins.idigi.emulator.faults import gateway_error
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator
from bridge_plugins.idigi.push.connection import keep_alive
from bridge_plugins.idigi.push.session import UnknownMonitor, attend, login_verdict
from bridge_plugins.idigi.rest.wanted import wanted_monitor
from bridge_plugins.idigi.settings import Settings

Point = Callable[..., tuple[str, str, dict[str, Any]]]


def monitor_of(emulator: Emulator) -> Any:
    (monitor,) = emulator.account.monitors.values()
    return monitor


@pytest.mark.fact("Plain TCP is said loudly")
@pytest.mark.fact("ten-byte acks always")
async def test_readings_arrive_in_order_and_are_acknowledged(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        ids = [await emulator.publish(*point(number)) for number in range(50)]
        await emulator.recorder.until(lambda: set(ids) <= emulator.recorder.acked)
    assert core.outlet.values == list(range(50))
    assert emulator.recorder.short_acks == emulator.recorder.stray_acks == 0
    assert emulator.recorder.full_acks == emulator.recorder.blocks
    assert core.report.said[0] == (
        f"attached to monitor 178008 at 127.0.0.1:{emulator.push_port}, "
        "INSECURE: password and readings travel in clear text",
        True,
    )


@pytest.mark.fact("TLS from the first byte with extra CA file")
async def test_readings_arrive_over_tls(
    core: Any, settings_for: Any, point: Point, server_tls: Any, ca_file: Path
) -> None:
    async with (
        open_emulator(tls=server_tls(), username="jürgen", password="p:ä") as emulator,
        core.running(settings_for(emulator, ca_file=ca_file)),
    ):
        event = await emulator.publish(*point("over TLS"))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.outlet.values == ["over TLS"]
    assert core.report.said == [
        (f"attached to monitor 178008 at 127.0.0.1:{emulator.push_port}", False)
    ]


@pytest.mark.fact("Answer and blocks in one read")
@pytest.mark.fact("Two frames in one TLS record")
@pytest.mark.parametrize("secured", [False, True])
async def test_answer_and_blocks_that_come_together_are_all_read(
    secured: bool, core: Any, settings_for: Any, point: Point, server_tls: Any, ca_file: Path
) -> None:
    async with open_emulator(tls=server_tls() if secured else None) as emulator:
        settings = settings_for(emulator, ca_file=ca_file, batch_size=3)
        async with core.running(settings):
            pass
        await emulator.recorder.until(lambda: monitor_of(emulator).status == "SUSPENDED")
        ids = [await emulator.publish(*point(number)) for number in range(10)]
        emulator.faults.coalesce = True
        async with core.running(settings):
            await emulator.recorder.until(lambda: set(ids) <= emulator.recorder.acked)
    assert core.outlet.values == list(range(10))
    assert emulator.recorder.logins == 2


@pytest.mark.fact("Any fragmentation, one byte at a time")
@pytest.mark.fact("Unknown types are skipped by Size")
@pytest.mark.parametrize("secured", [False, True])
async def test_everything_may_come_byte_by_byte_with_unknown_frames_between(
    secured: bool,
    core: Any,
    settings_for: Any,
    point: Point,
    server_tls: Any,
    ca_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_emulator(tls=server_tls() if secured else None) as emulator:
        emulator.faults.fragment = 1
        emulator.faults.unknown_frames = True
        async with core.running(settings_for(emulator, ca_file=ca_file)):
            for number in range(3):
                event = await emulator.publish(*point(number))
                await emulator.recorder.until(lambda event=event: event in emulator.recorder.acked)
    assert core.outlet.values == [0, 1, 2]
    assert emulator.recorder.logins == 1
    assert [record.message for record in caplog.records if "skipping" in record.message] == [
        "gateways: skipping frames of type 2457, which is not known"
    ]


@pytest.mark.fact("Compression none, zlib and gzip")
@pytest.mark.parametrize("compression", ["none", "zlib", "gzip"])
async def test_every_compression_setting_works(
    compression: str, core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator, compression=compression)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    async with core.running(settings_for(emulator, compression=compression)):
        pass
    assert core.outlet.values == [1]
    assert len(emulator.account.monitors) == 1


@pytest.mark.fact("Format xml")
async def test_documents_in_xml_work(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator, format="xml")):
        event = await emulator.publish(*point(1.5, streamType="DOUBLE"))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    async with core.running(settings_for(emulator, format="xml")):
        pass
    assert core.outlet.values == [1.5]
    assert monitor_of(emulator).elements["monFormatType"] == "xml"


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
        "what it had recorded is gone" in text for text, problem in core.report.said if problem
    )


@pytest.mark.fact("Gzip container tolerated")
async def test_the_gzip_container_is_tolerated(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.gzip = True
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.outlet.values == [1]


@pytest.mark.fact("Durable before the ack")
@pytest.mark.fact("Ack only after durable")
async def test_nothing_is_acknowledged_before_it_is_stored(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        core.outlet.gate = trio.Event()
        event = await emulator.publish(*point(1))
        await core.outlet.until(lambda: core.outlet.attempts == 1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert emulator.recorder.full_acks == 0
        core.outlet.gate.set()
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)


async def test_what_the_spool_refuses_is_not_acknowledged_and_comes_again(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    core.outlet.failures = [SpoolUnavailable("the disk is full", retry_after=0.001)]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert "it cannot be stored: the disk is full" in core.report.said[1][0]
    assert emulator.recorder.logins == 2
    assert emulator.recorder.replayed == {event}
    assert core.outlet.values == [1]


@pytest.mark.fact("An ack is sent on the connection that brought the block, or never")
@pytest.mark.fact("Ack bound to its connection")
async def test_a_block_is_acknowledged_only_on_the_connection_that_brought_it(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    core.outlet.gate = trio.Event()
    emulator.faults.drop = "before-ack"
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await core.outlet.until(lambda: core.outlet.attempts == 1)
        await emulator.recorder.until(lambda: monitor_of(emulator).status == "SUSPENDED")
        core.outlet.gate.set()
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert emulator.recorder.stray_acks == 0
    assert emulator.recorder.full_acks == 1
    assert emulator.recorder.replayed == {event}


@pytest.mark.fact("What comes again has the same key, replay is a label")
async def test_what_comes_again_after_a_reconnect_has_the_same_key(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.drop = "before-ack"
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    first, again = core.outlet.events
    assert first.key == again.key
    assert "replay" not in first.labels
    assert again.labels["replay"] == "true"


@pytest.mark.fact(
    "A block sent again on the same connection is acknowledged again, under the same key",
)
async def test_a_duplicate_block_is_acknowledged_again_and_has_the_same_key(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["duplicate"]
    async with core.running(settings_for(emulator)):
        await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 2)
    assert len({event.key for event in core.outlet.events}) == 1
    assert emulator.recorder.stray_acks == 0


@pytest.mark.fact("Fresh buffers for every connection")
async def test_every_one_of_many_reconnects_starts_afresh_and_nothing_is_lost(
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


POISON = ["raw-deflate", "corrupt", "truncated", "bomb", "broken-json", "wrong-payload-size"]


@pytest.mark.fact("A block that cannot be read is stored, then acknowledged; the session goes on")
@pytest.mark.fact("Poison is kept, the session goes on")
@pytest.mark.parametrize("fault", POISON)
async def test_a_poisoned_block_is_stored_as_it_came_then_acknowledged_and_the_session_goes_on(
    fault: Any,
    core: Any,
    emulator: Emulator,
    settings_for: Any,
    point: Point,
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator.faults.blocks = [fault]
    async with core.running(settings_for(emulator, inflate_limit=Size(1 << 20))):
        poisoned = await emulator.publish(*point("poisoned"))
        await emulator.recorder.until(lambda: poisoned in emulator.recorder.acked)
        (kept,) = core.outlet.events
        event = await emulator.publish(*point("healthy"))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert kept.kind == "undecodable"
    assert b64decode(kept.data["base64"])[:2] == b"\0\3"
    assert core.outlet.values == ["healthy"]
    assert emulator.recorder.logins == 1
    assert "gateways: block 0: the block is kept as it is: " in caplog.text


@pytest.mark.fact("If it cannot be stored it is not acknowledged")
async def test_a_poisoned_block_is_not_acknowledged_while_it_cannot_be_stored(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["corrupt", "corrupt"]
    core.outlet.failures = [SpoolUnavailable("the disk is full", retry_after=0.0)]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert emulator.recorder.full_acks == 1
    assert emulator.recorder.logins == 2


async def test_a_block_that_the_spool_cannot_hold_as_events_is_stored_as_it_came(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    core.outlet.failures = [ValueError("event too strange")]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert [(event.kind, event.labels["reason"]) for event in core.outlet.events] == [
        ("undecodable", "it cannot be stored as events: event too strange")
    ]


async def test_an_item_that_is_not_an_object_is_kept_beside_the_others(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["not-an-object"]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert [event.kind for event in core.outlet.events] == ["DataPoint", "undecodable"]


@pytest.mark.fact("A keep-alive is acknowledged and gives no event")
async def test_a_keep_alive_is_acknowledged_and_gives_no_event(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["keep-alive"]
    async with core.running(settings_for(emulator)):
        await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 2)
    assert core.outlet.attempts == 1


async def test_a_wrong_count_is_logged_and_the_events_arrive(
    core: Any, emulator: Emulator, settings_for: Any, point: Point, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.faults.blocks = ["wrong-count"]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.outlet.values == [1]
    assert "holds 2 events, but it holds 1" in caplog.text


@pytest.mark.fact("A protocol error closes the connection, with backoff and a report")
@pytest.mark.fact("Size 0xFFFFFFFF is refused")
async def test_an_oversized_frame_closes_the_connection_and_the_events_come_again(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.faults.blocks = ["oversized"]
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert core.outlet.values == [1]
    assert any(
        problem and "4294967295 bytes was announced" in text for text, problem in core.report.said
    )


@pytest.mark.fact("Order of blocks and events kept")
async def test_large_blocks_stay_in_order_with_small_ones(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator, compression="none", batch_size=1)):
        texts = ["x" * 400_000 if number % 2 else "small" for number in range(6)]
        ids = [await emulator.publish(*point(text)) for text in texts]
        await emulator.recorder.until(lambda: set(ids) <= emulator.recorder.acked)
    assert core.outlet.values == texts


@pytest.mark.fact(
    "200 to 299 attach; 400, 403, other 4xx and everything else mean what the table says",
)
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, None),
        (204, None),
        (299, None),
        (400, UnknownMonitor),
        (401, Pause),
        (403, Pause),
        (404, Pause),
        (499, Pause),
        (1, Retry),
        (199, Retry),
        (300, Retry),
        (500, Retry),
        (65535, Retry),
    ],
)
def test_the_answer_to_the_login_decides_what_follows(status: int, verdict: type | None) -> None:
    found = login_verdict(status, 5)
    assert (None if found is None else type(found)) is verdict


@pytest.mark.fact("403 and REST 401 or 403: every 5 minutes, reported")
@pytest.mark.fact("Permanent refusals: slow retry and visible failure")
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refused_login_is_a_problem_for_a_person_and_is_not_hammered(
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
        True,
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
async def test_a_monitor_that_exists_but_is_refused_is_a_problem_for_a_person(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.refuse = 400
    async with core.running(settings_for(emulator), attached=False):
        await core.report.until_problem("refuses monitor 178008 (400), although the account has it")
    assert emulator.recorder.logins == 1


@pytest.mark.fact("A missing or short answer to the login is given up and retried")
@pytest.mark.parametrize(
    ("login", "words"),
    [("silent", "not answered within 100ms"), ("short", "has 2 bytes, expected 4")],
)
async def test_a_login_without_a_good_answer_is_given_up_and_retried(
    login: Any, words: str, core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.login = login
    async with core.running(settings_for(emulator, answer_timeout=Duration(0.1)), attached=False):
        await core.report.until_problem(words)
        emulator.faults.login = "answered"
        await core.report.until(lambda: "attached" in core.report.said[-1][0])


async def test_a_slow_answer_to_the_login_is_waited_for(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.login_delay = 0.2
    async with core.running(settings_for(emulator)):
        assert emulator.recorder.logins == 1


@pytest.mark.fact("Retried until stopped")
async def test_a_push_port_that_nobody_serves_is_tried_again_until_it_is_there(
    core: Any, settings_for: Any, point: Point
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        async with open_emulator() as elsewhere:
            settings = settings_for(elsewhere, push_port=port)
            async with core.running(settings, attached=False):
                await core.report.until_problem(f"127.0.0.1:{port} cannot be reached")
                reserved.close()
                async with open_emulator(push_port=port):
                    await core.report.until(lambda: "refuses monitor" in core.report.said[-1][0])


@pytest.mark.fact("A certificate failure is a refusal, never a downgrade")
@pytest.mark.fact("No downgrade")
async def test_a_certificate_of_a_stranger_is_refused_without_a_downgrade(
    core: Any, settings_for: Any, server_tls: Any
) -> None:
    async with (
        open_emulator(tls=server_tls()) as emulator,
        core.running(settings_for(emulator), attached=False),
    ):
        text = await core.report.until_problem("the certificate of the REST API is refused")
    assert "trying again every 300 s" in text
    assert emulator.recorder.logins == 0
    assert emulator.recorder.calls == []


@pytest.mark.fact("Host name verified")
async def test_the_push_port_must_have_a_certificate_for_its_own_name(
    core: Any, settings_for: Any, server_tls: Any, ca_file: Path
) -> None:
    async with (
        open_emulator(tls=server_tls()) as emulator,
        open_emulator(tls=server_tls("elsewhere.example")) as impostor,
        core.running(
            settings_for(emulator, ca_file=ca_file, push_port=impostor.push_port), attached=False
        ),
    ):
        text = await core.report.until_problem("the certificate of the server is refused")
    assert f"127.0.0.1:{impostor.push_port}: " in text
    assert impostor.recorder.logins == 0


@asynccontextmanager
async def scripted(says: bytes | None) -> AsyncIterator[int]:
    """A push port that says the same to everybody; None says nothing and listens."""

    async def speak(stream: trio.SocketStream) -> None:
        async with stream:
            if says is None:
                async for _ in stream:
                    pass
            else:
                await stream.receive_some(1000)
                await stream.send_all(says)
                await stream.receive_some(1000)

    async with trio.open_nursery() as connections:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await connections.start(trio.serve_listeners, speak, listeners)
        yield listeners[0].socket.getsockname()[1]
        connections.cancel_scope.cancel()


@pytest.mark.fact("A push port that speaks no TLS gets no password")
async def test_a_push_port_without_tls_is_not_logged_in_to(
    core: Any, settings_for: Any, server_tls: Any, ca_file: Path
) -> None:
    async with (
        open_emulator(tls=server_tls()) as emulator,
        scripted(b"hello, who is there?") as port,
        core.running(settings_for(emulator, ca_file=ca_file, push_port=port), attached=False),
    ):
        await core.report.until_problem(f"127.0.0.1:{port}: the TLS handshake failed")


async def test_a_push_port_that_is_silent_in_the_tls_handshake_is_given_up(
    core: Any, settings_for: Any, server_tls: Any, ca_file: Path
) -> None:
    async with open_emulator(tls=server_tls()) as emulator, scripted(None) as port:
        settings = settings_for(
            emulator, ca_file=ca_file, push_port=port, connect_timeout=Duration(0.1)
        )
        async with core.running(settings, attached=False):
            await core.report.until_problem(
                f"127.0.0.1:{port} did not answer within 100ms (connect_timeout)"
            )


@pytest.mark.fact("Another version in the answer is warned about and used")
async def test_a_server_of_another_version_is_warned_about_and_used(
    core: Any, emulator: Emulator, settings_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = b"\x77\x77\0\0\0\1z" + b"\0\2\0\0\0\4\0\xc8\0\2"
    async with scripted(answer) as port, core.running(settings_for(emulator, push_port=port)):
        pass
    assert "gateways: the server speaks version 2, expected 1; going on" in caplog.text


async def test_a_ca_file_that_vanishes_while_the_source_runs_is_a_problem_for_a_person(
    core: Any, settings_for: Any, server_tls: Any, ca_file: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "ca.pem"
    copy.write_bytes(ca_file.read_bytes())
    async with (
        open_emulator(tls=server_tls()) as emulator,
        core.running(settings_for(emulator, ca_file=copy)),
    ):
        copy.unlink()
        monitor_of(emulator).end_session()
        await core.report.until_problem("ca.pem cannot be used: ")


async def test_a_monitor_whose_id_cannot_be_remembered_is_found_again_and_not_created_twice(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    core.state.failures = [SpoolUnavailable("the disk is full", retry_after=0.001)]
    async with core.running(settings_for(emulator)):
        assert core.state.values["monitor"]["id"] == 178008
    assert (
        "the monitor's id cannot be remembered: the disk is full; trying again until it succeeds",
        True,
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
        assert core.report.said[-1][1] is False
        await trio.testing.wait_all_tasks_blocked(0.02)
        mock_clock.jump(0.5)  # half of the longest first pause, as the random number says
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert emulator.recorder.logins == 9


async def test_a_ca_file_that_is_gone_is_named(
    core: Any, emulator: Emulator, settings_for: Any, tmp_path: Path
) -> None:
    settings = settings_for(emulator, ca_file=tmp_path / "ca.pem")
    async with core.running(settings, attached=False):
        await core.report.until_problem("ca.pem cannot be used")


@pytest.mark.fact("TCP keepalive: idle 60 s, interval 15 s, count 4")
@pytest.mark.fact("half-open connections: keepalive")
async def test_the_kernel_probes_a_silent_connection() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with (
        listener,
        await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) as stream,
    ):
        keep_alive(stream)
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


@pytest.mark.fact("After 15 minutes of silence REST is asked; not ACTIVE means reconnect")
@pytest.mark.fact("half-open connections: REST is asked")
async def test_after_a_long_silence_a_session_that_the_server_does_not_see_is_given_up(
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
        assert core.report.said[-1][1] is False  # after a long session this is daily life
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


async def test_five_thousand_events_at_once_travel_in_full_blocks_and_in_order(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator)):
        ids = await emulator.inject([Occurrence(*point(number)) for number in range(5000)])
        await emulator.recorder.until(lambda: len(emulator.recorder.acked) == len(ids))
    assert core.outlet.values == list(range(5000))
    assert emulator.recorder.blocks == 50


ATTACHED = bytes.fromhex("0002 00000004 00c8 0001")


def block(number: int, document: bytes, *, format_: int = 1) -> bytes:
    body = (
        number.to_bytes(2, "big")
        + bytes((0, 1, 0, format_))
        + len(document).to_bytes(4, "big")
        + document
    )
    return b"\0\3" + len(body).to_bytes(4, "big") + body


def point_document(value: int) -> bytes:
    return (
        b'{"Document":{"Msg":{"topic":"7603/DataPoint/test","DataPoint":{"streamId":"test","data":%d}}}}'
        % value
    )


@pytest.fixture
async def peer(monkeypatch: pytest.MonkeyPatch) -> trio.StapledStream:
    """The server's end of a connection in memory, so that the clock may jump."""
    ours, theirs = trio.testing.memory_stream_pair()

    @asynccontextmanager
    async def open_in_memory(_settings: Settings) -> AsyncIterator[trio.StapledStream]:
        async with ours:
            yield ours

    monkeypatch.setattr("bridge_plugins.idigi.push.session.open_stream", open_in_memory)
    theirs.of_client = ours  # type: ignore[attr-defined]
    return theirs


async def attending(core: Any, **changes: Any) -> Retry | Pause:
    """Holds one session and gives what ended it."""

    async def still_attached() -> bool:
        return True

    settings = Settings(username="user", password=Secret("pass"), **changes)
    with pytest.raises((Retry, Pause)) as caught:
        await attend(
            settings,
            core.context,
            5,
            attached=lambda: core.report("attached"),
            still_attached=still_attached,
        )
    return caught.value


@pytest.mark.fact("An answer to the login may take most of 60 s")
@pytest.mark.fact("60 s for the answer to the login, configurable")
@pytest.mark.parametrize(
    ("wait", "words"), [(59, "closed the connection"), (61, "not answered within 1m")]
)
async def test_an_answer_to_the_login_that_takes_most_of_a_minute_is_borne(
    wait: float, words: str, core: Any, peer: Any, nursery: trio.Nursery, autojump_clock: Any
) -> None:
    async def answer() -> None:
        await trio.sleep(wait)
        await peer.send_all(ATTACHED)
        await peer.aclose()

    nursery.start_soon(answer)
    assert words in (await attending(core)).why


@pytest.mark.fact("What is held in memory is bounded by not reading the socket")
@pytest.mark.fact("Reading stops, and a long wait is a visible problem")
async def test_a_block_that_waits_long_to_be_stored_is_a_problem_that_passes_and_nothing_more_is_read(
    core: Any, peer: Any, nursery: trio.Nursery, autojump_clock: Any
) -> None:
    core.outlet.gate = trio.Event()

    async def speak() -> None:
        await peer.send_all(ATTACHED + block(0, point_document(0)) + block(1, point_document(1)))
        await trio.sleep(29)
        assert core.report.said == [("attached", False)]
        await trio.sleep(2)
        text, problem = core.report.said[-1]
        assert text.endswith(
            "bytes has waited 30 s to be stored; nothing more is read until it is; look at "
            "the spool"
        )
        assert problem
        assert core.outlet.attempts == 1
        core.outlet.gate.set()
        await core.outlet.until(lambda: core.outlet.values == [0, 1])
        await peer.send_eof()

    nursery.start_soon(speak)
    await attending(core)
    assert [text for text, _ in core.report.said[2:]] == ["attached"]
    sent = bytes(await peer.receive_some(1000))
    assert sent[-20:] == bytes.fromhex("0004 00000004 0000 00c8  0004 00000004 0001 00c8")


@pytest.mark.fact("After a cancelled or failed send the connection is dead")
async def test_an_ack_that_the_server_does_not_take_ends_the_connection(
    core: Any, peer: Any, nursery: trio.Nursery, autojump_clock: Any
) -> None:
    await peer.send_all(ATTACHED + block(7, point_document(1)) + block(8, point_document(2)))
    sends = []

    async def stuck() -> None:
        sends.append("ack")
        if len(sends) > 1:  # the first is the login
            await trio.sleep_forever()

    peer.of_client.send_stream.send_all_hook = stuck
    verdict = await attending(core)
    assert verdict.why == "the server did not take an ack within 30s (timeout)"
    assert len(sends) == 2  # nothing follows an ack of which a part may have gone
    assert core.outlet.values == [1]


@pytest.mark.fact("Every ack has ten bytes, for ids 0 and 0xFFFF too, in both ack modes")
@pytest.mark.parametrize("number", [0, 0xFFFF])
async def test_every_block_id_is_acknowledged_with_ten_bytes(
    number: int, core: Any, peer: Any, nursery: trio.Nursery
) -> None:
    await peer.send_all(ATTACHED + block(number, point_document(1)))
    await peer.send_eof()
    await attending(core)
    assert (
        bytes(await peer.receive_some(1000))[-10:]
        == b"\0\4\0\0\0\4" + number.to_bytes(2, "big") + b"\0\xc8"
    )


@pytest.mark.fact("The document of a templated monitor is kept as it is")
async def test_the_document_of_a_template_is_kept_as_it_is(core: Any, peer: Any) -> None:
    await peer.send_all(ATTACHED + block(0, b'[{"id":"a"},]') + block(1, b'[{"end":1}]'))
    await peer.send_eof()
    await attending(core, template="{{#each events}}...{{/each}}")
    assert [event.kind for event in core.outlet.events] == ["templated", "templated"]
    assert b64decode(core.outlet.events[0].data["base64"]) == b'[{"id":"a"},]'
    assert core.outlet.events[1].data == [{"end": 1}]


@pytest.mark.fact("A session without explicit acks or replay is a loud problem")
async def test_without_explicit_acks_and_replay_a_session_is_a_problem_that_says_so(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    async with core.running(settings_for(emulator, ack_mode="off", replay=False)):
        await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 1)
    text, problem = core.report.said[0]
    assert problem
    assert (
        "NOT ACKNOWLEDGED (ack_mode = off): what is under way when a connection breaks is lost"
        in text
    )
    assert "NOT RECORDED (replay = no): what happens while the bridge is away is lost" in text
    assert monitor_of(emulator).elements["monAckOption"] == "off"


@pytest.mark.fact("A reused monitor that lacks explicit acks or replay is not used silently")
async def test_a_monitor_without_explicit_acks_that_was_there_before_is_not_used_silently(
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
async def test_two_sessions_on_one_monitor_lose_nothing_whatever_the_server_makes_of_it(
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
async def test_a_monitor_that_is_refused_because_of_another_session_is_tried_again_soon(
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


@pytest.mark.fact("What the server sends again for want of an ack is acknowledged")
async def test_a_server_that_sends_again_what_was_not_acknowledged_in_time_is_acknowledged(
    core: Any, emulator: Emulator, settings_for: Any, point: Point
) -> None:
    emulator.options.unacked, emulator.options.unacked_after = "resend", 0.02
    core.outlet.gate = trio.Event()
    async with core.running(settings_for(emulator)):
        event = await emulator.publish(*point(1))
        await emulator.recorder.until(lambda: emulator.recorder.blocks >= 2)
        core.outlet.gate.set()
        await emulator.recorder.until(lambda: event in emulator.recorder.acked)
    assert len({event.key for event in core.outlet.events}) == 1
    assert emulator.recorder.logins == 1


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

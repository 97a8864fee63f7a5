"""The connection to the push port: TLS, certificates, and a path that is dead."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from bridge.api import Duration
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator
from bridge_plugins.idigi.push.connection import keep_alive
from tests.plugins.idigi.conftest import Point, monitor_of, scripted


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
        (f"attached to monitor 178008 at 127.0.0.1:{emulator.push_port}", "")
    ]


@pytest.mark.fact("Retried until stopped")
async def test_a_push_port_that_nobody_serves_is_tried_again(
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
async def test_a_strangers_certificate_is_refused_without_downgrade(
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


async def test_a_silent_tls_handshake_is_given_up(
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


async def test_a_ca_file_that_vanishes_is_a_problem(
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

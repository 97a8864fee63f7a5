"""The connection to the push port: TCP, and TLS from its first byte.

There is no way back to plain TCP: without the setting ``insecure`` a server that speaks
no TLS, or whose certificate is not trusted, hears no password.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from bridge.api import Pause, Retry
from bridge.api.rest import certificate_failure, client_tls

from ..settings import CERTIFICATE_HINT, Settings

CLOSE_TIMEOUT = 1.0  # seconds for the goodbye of TLS, which nobody waits for

# Seconds without traffic before a probe, between probes, and probes that may fail: a
# dead path shows in two minutes.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


@asynccontextmanager
async def open_stream(settings: Settings) -> AsyncIterator[trio.abc.Stream]:
    """Connect to the push port, with TLS unless the settings say ``insecure``.

    :raises Retry: when there is no connection.
    :raises Pause: when the certificate is refused.
    """
    where = f"{settings.host}:{settings.port}"
    tls = None if settings.insecure else client_tls(settings.ca_file)
    stream: trio.abc.Stream | None = None
    try:
        try:
            with trio.fail_after(settings.connect_timeout):
                stream = connection = await trio.open_tcp_stream(settings.host, settings.port)
                keep_alive(connection)
                if tls is not None:
                    stream = secured = trio.SSLStream(
                        connection, tls, server_hostname=settings.host, https_compatible=True
                    )
                    await secured.do_handshake()
        except trio.TooSlowError as exc:
            raise Retry(
                f"{where} did not answer within {settings.connect_timeout} (connect_timeout)"
            ) from exc
        except (OSError, trio.BrokenResourceError) as exc:
            raise _verdict(where, exc) from exc
        yield stream
    finally:
        if stream is not None:
            await _close(stream)


def keep_alive(connection: trio.SocketStream) -> None:
    """Have the kernel notice a dead path: the protocol may be silent for ever."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _verdict(where: str, exc: OSError | trio.BrokenResourceError) -> Retry | Pause:
    if (refused := certificate_failure(exc)) is not None:
        return Pause(
            f"{where}: the certificate of the server is refused: {refused}; {CERTIFICATE_HINT}"
        )
    # trio wraps what TLS and the socket say in a BrokenResourceError.
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLError):
        return Retry(f"{where}: the TLS handshake failed: {cause.reason or 'no reason given'}")
    return Retry(f"{where} cannot be reached: {cause if isinstance(cause, OSError) else exc}")


async def _close(stream: trio.abc.Stream) -> None:
    with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
        try:
            await stream.aclose()
        except trio.BrokenResourceError:
            pass  # it was closed from the other side
    await trio.aclose_forcefully(stream)

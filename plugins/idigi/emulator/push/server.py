"""The push port: connections, and what a login is answered with.

    connection ─▶ login ─▶ status ─┬─ 200 ─▶ session ─▶ FIN, RST or silence
                                   └─ 400 unknown monitor, 403 wrong credentials

Which status means what is assumed.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from ..account import Account
from ..faults import Faults
from .frames import (
    UNKNOWN_TYPE,
    BadFrameError,
    GoneAwayError,
    Inlet,
    Login,
    connect_response,
    frame,
    publish_message,
    read_login,
)
from .monitor import End
from .session import Session

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that turns a close into an RST."""


@asynccontextmanager
async def serve_push(
    account: Account, faults: Faults, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve the push protocol on 127.0.0.1 while entered; gives the port."""
    async with trio.open_nursery() as connections:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        serve = partial(_serve_connection, account, faults, tls)
        await connections.start(partial(trio.serve_listeners, serve, listeners))
        yield int(listeners[0].socket.getsockname()[1])
        connections.cancel_scope.cancel()


async def _serve_connection(
    account: Account, faults: Faults, tls: ssl.SSLContext | None, connection: trio.SocketStream
) -> None:
    stream: trio.abc.Stream = connection
    if tls is not None:
        stream = trio.SSLStream(connection, tls, server_side=True, https_compatible=True)
    try:
        how = await _log_in_and_serve(account, faults, stream)
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if how == "hold":
            await _ignore(stream)
    except* BadFrameError:
        account.recorder.protocol_errors += 1
    except* (trio.BrokenResourceError, trio.ClosedResourceError, GoneAwayError):
        pass  # clients come and go, and are killed
    finally:
        await trio.aclose_forcefully(stream)
        account.recorder.changed()


async def _ignore(stream: trio.abc.Stream) -> None:
    """Keep a connection open on which nothing happens any more, until the client closes
    it.
    """
    while await stream.receive_some(65536):
        pass


async def _log_in_and_serve(account: Account, faults: Faults, stream: trio.abc.Stream) -> End:
    inlet = Inlet(stream)
    login = await read_login(inlet)
    faults = faults.of_next_login()
    account.recorder.logins += 1
    account.recorder.changed()
    if faults.login_delay:  # without it, whoever hears of the login finds the session attached
        await trio.sleep(faults.login_delay)
    monitor = account.monitors.get(login.monitor_id)
    if (
        login_status(account, faults, login) == 200
        and monitor
        and account.options.second_session == "replace"
    ):
        await monitor.cut_off()
    status = login_status(account, faults, login)  # it may have been deleted meanwhile
    out = answer_to_login(status, faults)
    if out is None:
        return "close" if faults.login == "closed" else "hold"
    if status != 200 or faults.login == "short" or monitor is None:
        account.recorder.refusals += status != 200
        account.recorder.changed()
        await stream.send_all(out)
        return "hold" if faults.keep_refused else "close"
    monitor.last["monLastConnect"] = account.stamp()
    attachment = monitor.attach(faults, lambda how: session.end(how))
    session = Session(account, monitor, stream, inlet, attachment, monitor.block_ids(), out)
    account.recorder.changed()
    return await session.serve()


def login_status(account: Account, faults: Faults, login: Login) -> int:
    """Decide the status that a login is answered with."""
    if faults.refuse is not None:
        return faults.refuse
    given = (login.username, login.password)
    by_key = bool(account.options.push_key) and given == (account.options.push_key.encode(), b"")
    if given != (account.username.encode(), account.password.encode()) and not by_key:
        return 403
    monitor = account.monitors.get(login.monitor_id)
    if monitor is None or monitor.elements.get("monTransportType") != "tcp":
        return 400
    return 400 if monitor.attachments and account.options.second_session == "refuse" else 200


def answer_to_login(status: int, faults: Faults) -> bytes | None:
    """Write what a login is answered with; None for nothing at all."""
    answer = connect_response(status)
    match faults.login:
        case "silent" | "closed":
            return None
        case "short":
            return frame(2, status.to_bytes(2, "big"))
        case "long":
            return connect_response(status, more=b"and more")
        case "twice":
            return answer * 2
        case "other-version":
            return connect_response(status, version=2)
        case "block-first":
            return publish_message(0, 0, b'{"Document":null}', compression=0, is_json=True) + answer
        case "unknown-first":
            return frame(UNKNOWN_TYPE, b"nobody knows this") + answer
        case _:
            return answer

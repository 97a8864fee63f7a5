"""The HTTP/1.1 server: accepting, the limit of connections, and an orderly end.

When ``serve`` is cancelled it stops accepting and closes idle connections at once;
requests in work are answered with ``Connection: close``, for at most ``grace`` seconds.
For that, accepting is in the outer nursery and the connections in an inner, shielded
one. (A shield around both would keep the cancellation from ever being heard.)
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence

import trio

from bridge.http.connection import OVERLOADED, Connection, Handle, Service, Transport
from bridge.http.limits import ACCEPT_PAUSE, FINAL_RESPONSE_TIMEOUT
from bridge.http.response import ResponseWriter
from bridge.http.settings import ListenerSettings
from bridge.http.throttled_log import ThrottledLog
from bridge.http.tls import TlsContext

log = logging.getLogger(__name__)

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


async def serve(
    listeners: Sequence[trio.abc.Listener[Transport]],
    handle: Handle,
    settings: ListenerSettings,
    *,
    grace: float,
    tls: TlsContext | None = None,
    name: str = "listener",
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests until cancelled, then drain. The listeners are closed when it
    stops accepting.

    :param grace: most seconds that draining may take; what is in work then is cut off.
    :param tls: None for plain HTTP.
    :param name: the listener, for the log.
    """
    server = _Server(Service(handle, settings, tls, name, ResponseWriter(), ThrottledLog(log)))
    async with trio.open_nursery() as accepting:
        async with trio.open_nursery() as connections:
            connections.cancel_scope.shield = True
            for listener in listeners:
                accepting.start_soon(server.accept, listener, connections)
            task_status.started()
            await server.stopping.wait()
            server.drain()
            connections.cancel_scope.deadline = trio.current_time() + grace
        if connections.cancel_scope.cancelled_caught:
            log.warning(
                "%s: connections were cut off, because draining took longer than %g s", name, grace
            )


class _Server:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._open: set[Connection] = set()
        self.stopping = trio.Event()
        """Set when accepting has ended."""

    async def accept(
        self, listener: trio.abc.Listener[Transport], connections: trio.Nursery
    ) -> None:
        """Accept connections until cancelled."""
        service = self._service
        try:
            async with listener:
                while True:
                    try:
                        transport = await listener.accept()
                    except OSError as exc:
                        if exc.errno not in _EXHAUSTED:
                            raise
                        service.log.log(
                            "accept",
                            logging.ERROR,
                            f"{service.name}: cannot accept: {exc.strerror}",
                        )
                        await trio.sleep(ACCEPT_PAUSE)
                        continue
                    if len(self._open) >= service.settings.connections:
                        await self._turn_away(transport)
                    else:
                        connection = Connection(service, transport)
                        self._open.add(connection)
                        connections.start_soon(self._serve, connection)
        finally:
            self.stopping.set()

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.serve()
        finally:
            self._open.discard(connection)

    def drain(self) -> None:
        """Let connections end: the idle now, the others with their next answer."""
        self._service.draining = True
        for connection in self._open:
            connection.drain()

    async def _turn_away(self, transport: Transport) -> None:
        """Refuse a connection.

        Over TLS without a word, because a handshake is what we have no room for.
        """
        service = self._service
        most = service.settings.connections
        text = (
            f"{service.name}: {most} connections are open, the limit (connections = {most}); "
            "others are turned away"
        )
        service.log.log("connections", logging.WARNING, text)
        try:
            if service.tls is None:
                with trio.move_on_after(FINAL_RESPONSE_TIMEOUT):
                    await transport.send_all(service.writer.write(OVERLOADED, connection="close"))
        except trio.BrokenResourceError:
            pass  # it went away first
        finally:
            await trio.aclose_forcefully(transport)

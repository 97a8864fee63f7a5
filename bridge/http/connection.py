"""One connection, from the handshake to the end.

    handshake ─▶ ┌▶ read a request ─▶ handle ─▶ send the answer ─┐ ─▶ linger ─▶ close
                 └────────────────── keep-alive ────────────────┘

Rules:

* Every wait on the peer has a deadline. The connection has one cancel scope, whose
  deadline moves with its stage; the stage says what the peer hears when time is over.
* Nothing that a peer sends, and nothing that ``handle`` raises, ends more than this
  connection.
* No nursery, no thread and no second ``send_all`` for a request.
* After the last answer the connection lingers: closing it while the peer still sends
  would reset it, and the peer would lose the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TypeAlias

import attrs
import trio

from bridge.api import Request, Response
from bridge.http.head import BadRequestError
from bridge.http.limits import (
    FINAL_RESPONSE_TIMEOUT,
    FIRST_REQUEST_TIMEOUT,
    LINGER,
    RECEIVE_SIZE,
    RETRY_AFTER,
)
from bridge.http.request import Need, RequestReader
from bridge.http.response import CONTINUE, ResponseWriter, plain_response
from bridge.http.settings import ListenerSettings
from bridge.http.throttled_log import ThrottledLog
from bridge.http.tls import TlsContext

Handle: TypeAlias = Callable[[Request], Awaitable[Response]]
"""What answers requests. It may raise: the caller then hears 500."""

Transport: TypeAlias = trio.abc.HalfCloseableStream

OVERLOADED = plain_response(503, ("Retry-After", str(RETRY_AFTER)))


@attrs.define
class Service:
    """What the connections of a server share."""

    handle: Handle
    settings: ListenerSettings
    tls: TlsContext | None
    name: str
    """The listener, for the log."""
    writer: ResponseWriter
    log: ThrottledLog
    in_work: int = 0
    """Requests that are being handled."""
    draining: bool = False


class Stage(Enum):
    """Where a connection is, and so what the end of its time means."""

    HANDSHAKE = auto()
    """Closed without a word."""
    IDLE = auto()
    """Closed without a word: nothing was asked."""
    READING = auto()
    """408: a part of a request has come. While draining 503, because it is not the
    peer's fault.
    """
    HANDLING = auto()
    """503: the request may be sent again."""
    SENDING = auto()
    """Cut off: nothing can follow a part of an answer."""


class Connection:
    """A connection that was accepted."""

    __slots__ = ("_peer", "_scope", "_served", "_service", "_stage", "_transport")

    def __init__(self, service: Service, transport: Transport) -> None:
        self._service = service
        self._transport = transport
        self._peer = _address(transport)
        self._scope = trio.CancelScope()
        self._stage = Stage.HANDSHAKE
        self._served = False
        """Whether it has brought a request already."""

    async def serve(self) -> None:
        """Serve it to its end, and close it. Raises nothing but ``Cancelled``."""
        try:
            await self._converse()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer went away, which is its right
        except* Exception as failures:
            # A group: a failure may come together with a cancellation, which goes on.
            text = (
                f"{self._service.name}: a connection from {self._peer} was closed, "
                "because serving it failed"
            )
            self._service.log.log("connection", logging.ERROR, text, error=failures)
        finally:
            await trio.aclose_forcefully(self._transport)

    def drain(self) -> None:
        """End it now if nothing was asked, otherwise with the next answer;
        ``Service.draining`` is set already.
        """
        if self._stage is Stage.IDLE:
            if self._served:
                self._scope.cancel()
            else:
                self._rest()

    async def _converse(self) -> None:
        stream: trio.abc.Stream = self._transport
        with self._scope as scope:
            if self._service.tls is not None:
                stream = await self._shake_hands(self._service.tls)
            await self._exchange(stream)
        if scope.cancelled_caught:
            await self._explain(stream)
        elif self._stage is not Stage.IDLE:
            await self._linger()

    async def _shake_hands(self, tls: TlsContext) -> trio.abc.Stream:
        service = self._service
        self._scope.deadline = trio.current_time() + service.settings.handshake_timeout
        stream = trio.SSLStream(
            self._transport, tls.context, server_side=True, https_compatible=True
        )
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as exc:
            text = (
                f"{service.name}: no TLS connection with {self._peer}: "
                f"{exc.__cause__ or 'it went away'}"
            )
            service.log.log("handshake", logging.INFO, text)
            raise
        return stream

    async def _exchange(self, stream: trio.abc.Stream) -> None:
        """Answer requests until one side wants to end."""
        service = self._service
        reader = RequestReader(service.settings, self._peer)
        while True:
            if reader.begun:
                self._begin()
            else:
                self._rest()
            incoming = await self._read(stream, reader)
            if incoming is None:
                self._stage = Stage.IDLE
                return
            if isinstance(incoming, BadRequestError):
                self._stage = Stage.SENDING
                text = (
                    f"{service.name}: a request from {self._peer} was refused ({incoming.status}): "
                    f"{incoming.reason}"
                )
                service.log.log(("bad request", incoming.status), logging.INFO, text)
                await stream.send_all(
                    service.writer.write(plain_response(incoming.status), connection="close")
                )
                return
            self._served = True
            self._stage = Stage.HANDLING
            answer = await self._answer(incoming)
            ends = service.draining or not reader.keep_alive
            self._stage = Stage.SENDING
            await stream.send_all(self._write(incoming, answer, ends, reader.old))
            if ends or service.draining:
                return

    async def _read(
        self, stream: trio.abc.Stream, reader: RequestReader
    ) -> Request | BadRequestError | None:
        """Read a request; None when the peer has ended the connection."""
        while True:
            incoming = reader.next_event()
            if incoming is Need.DATA:
                data = await stream.receive_some(RECEIVE_SIZE)
                if not data:
                    return None
                reader.receive_data(data)
                if self._stage is Stage.IDLE and reader.begun:
                    self._begin()
            elif incoming is Need.CONTINUE:
                self._stage = Stage.SENDING
                await stream.send_all(CONTINUE)
                self._stage = Stage.READING
            else:
                return incoming

    async def _answer(self, request: Request) -> Response:
        service = self._service
        most = service.settings.requests
        if service.in_work >= most:
            text = (
                f"{service.name}: {most} requests are in work, the limit (requests = {most}); "
                "others are answered 503"
            )
            service.log.log("requests", logging.WARNING, text)
            return OVERLOADED
        service.in_work += 1
        try:
            return await service.handle(request)
        except Exception as error:
            return self._failed(request, error)
        finally:
            service.in_work -= 1

    def _write(self, request: Request, answer: Response, ends: bool, old: bool) -> bytes:
        write = self._service.writer.write
        connection = "close" if ends else "keep-alive" if old else ""
        without_body = request.method == "HEAD"
        try:
            return write(answer, connection=connection, without_body=without_body)
        except Exception as error:
            return write(
                self._failed(request, error), connection=connection, without_body=without_body
            )

    def _failed(self, request: Request, error: Exception) -> Response:
        service = self._service
        text = (
            f"{service.name}: {request.method} {request.path} from {self._peer} was answered 500, "
            "because it failed"
        )
        service.log.log("failure", logging.ERROR, text, error=error)
        return plain_response(500)

    def _rest(self) -> None:
        """Wait for the next request, or the first."""
        self._stage = Stage.IDLE
        patience = (
            FIRST_REQUEST_TIMEOUT if self._service.draining else self._service.settings.idle_timeout
        )
        self._scope.deadline = trio.current_time() + patience

    def _begin(self) -> None:
        """Start the time of a request."""
        self._stage = Stage.READING
        self._scope.deadline = trio.current_time() + self._service.settings.request_timeout

    async def _explain(self, stream: trio.abc.Stream) -> None:
        """Send what the peer must know, now that its time is over."""
        service = self._service
        if self._stage not in (Stage.READING, Stage.HANDLING):
            return
        last = (
            plain_response(408)
            if self._stage is Stage.READING and not service.draining
            else OVERLOADED
        )
        text = (
            f"{service.name}: a request from {self._peer} was answered {last.status}, because its "
            "time was over"
        )
        service.log.log(("late", last.status), logging.INFO, text)
        with trio.move_on_after(FINAL_RESPONSE_TIMEOUT):
            await stream.send_all(service.writer.write(last, connection="close"))
            await self._linger()

    async def _linger(self) -> None:
        """Send the end, and read until the peer has understood."""
        with trio.move_on_after(LINGER):
            await self._transport.send_eof()
            while await self._transport.receive_some(RECEIVE_SIZE):
                pass


def _address(transport: Transport) -> str:
    """Return the address of the peer; empty if it has none, or has gone already."""
    if not isinstance(transport, trio.SocketStream):
        return ""
    try:
        name = transport.socket.getpeername()
    except OSError:
        return ""
    return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else ""

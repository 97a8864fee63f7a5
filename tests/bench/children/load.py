"""The load: signed webhooks on keep-alive connections, each with one request under way.
As cheap as Python allows.

Requests are made and signed before the clock starts. Every answer must be 200 without a
body; anything else ends the run, because the rate of refusals says nothing. There are
two ways:

    at most   each connection sends its next request as soon as it has its answer
    paced     requests are due at fixed times, on whichever connection is free. A time
              is counted from when its request was due, so that a server which is late
              cannot hide it by delaying the next request
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from typing import Any

from attrs import define, frozen

from tests.bench.children.answering import say
from tests.bench.report import percentile
from tests.bench.webhook import signed_requests

WARM = 0.3  # seconds before the clock starts, on the same connections
STALLED = 20.0  # seconds without any answer


@frozen
class Order:
    port: int
    path: str
    secret: str
    connections: int
    seconds: float
    first: int
    """Number of the first event; each has the next."""
    most: int = 0
    """Requests to prepare; of a paced run the rate says how many."""
    again: bool = False
    """Whether requests may be sent again when all were sent: to servers that do not
    look at them.
    """
    rate: int | None = None
    """Requests a second; None: as many as are answered."""
    ca_file: str | None = None
    """For TLS; None: plain HTTP."""


@define(eq=False)
class Connection:
    socket: socket.socket
    began: int = 0
    answer: bytes = b""

    def send(self, request: bytes, began: int) -> None:
        self.began = began
        if self.socket.send(request) != len(request):
            raise RuntimeError("a request did not fit into the socket's buffer")

    def receive(self) -> bool:
        """Take what has come; tell whether the answer is complete.

        :raises RuntimeError: if it is not 200.
        """
        try:
            data = self.socket.recv(65536)
        except ssl.SSLWantReadError:
            return False
        answer = self.answer + data
        if not data or not b"HTTP/1.1 200".startswith(answer[:12]):
            raise RuntimeError(f"expected the answer 200, got {answer[:200]!r}")
        if not answer.endswith(b"\r\n\r\n"):
            self.answer = answer
            return False
        if b"ength: 0\r\n" not in answer:
            raise RuntimeError(f"expected an answer without a body, got {answer[:200]!r}")
        self.answer = b""
        return True


class Load:
    def __init__(self, order: Order) -> None:
        count = order.most if order.rate is None else int(order.rate * (order.seconds + WARM)) + 1
        host = f"127.0.0.1:{order.port}"
        requests = list(signed_requests(order.first, count, host, order.path, order.secret))
        self._requests = iter(requests) if not order.again else _for_ever(requests)
        self._connections = [
            Connection(connect(order.port, order.ca_file)) for _ in range(order.connections)
        ]
        self.answered = 0
        """Requests, those of the warming up included."""

    def at_most(self, seconds: float) -> dict[str, Any]:
        """Send as many requests as are answered."""
        took: list[int] = []
        poll = select.epoll()
        busy = {}
        begin = time.monotonic_ns()
        until = begin + int(seconds * 1e9)
        for connection in self._connections:
            busy[connection.socket.fileno()] = connection
            poll.register(connection.socket, select.EPOLLIN)
            connection.send(self._next(), time.monotonic_ns())
        while busy:
            ready = poll.poll(STALLED)
            if not ready:
                raise RuntimeError(f"{len(busy)} requests were not answered within {STALLED:g} s")
            for number, _ in ready:
                connection = busy[number]
                if not connection.receive():
                    continue
                now = time.monotonic_ns()
                took.append(now - connection.began)
                if now < until:
                    connection.send(self._next(), now)
                else:
                    poll.unregister(number)
                    del busy[number]
        poll.close()
        return self._result(begin, took)

    def paced(self, seconds: float, rate: int) -> dict[str, Any]:
        """Send requests at a fixed rate."""
        took: list[int] = []
        due: list[int] = []
        free = list(self._connections)
        busy: dict[socket.socket, Connection] = {}
        begin = time.monotonic_ns()
        count = int(seconds * rate)
        while len(took) < count:
            wait = STALLED
            if free and len(due) < count:
                wait = begin / 1e9 + len(due) / rate - time.monotonic()
                if wait <= 0:
                    connection = free.pop()
                    due.append(begin + len(due) * 1_000_000_000 // rate)
                    connection.send(self._next(), due[-1])
                    busy[connection.socket] = connection
                    continue
            # Not epoll: that counts in milliseconds.
            ready, _, _ = select.select(busy, (), (), wait)
            if not ready and wait == STALLED:
                raise RuntimeError(f"{len(busy)} requests were not answered within {STALLED:g} s")
            for each in ready:
                connection = busy[each]
                if connection.receive():
                    took.append(time.monotonic_ns() - connection.began)
                    free.append(busy.pop(each))
        return self._result(begin, took) | {"due": due}

    def _next(self) -> bytes:
        try:
            return next(self._requests)
        except StopIteration:
            raise RuntimeError("all requests that were prepared are sent; prepare more") from None

    def _result(self, begin: int, took: list[int]) -> dict[str, Any]:
        end = time.monotonic_ns()
        self.answered += len(took)
        return {
            "begin": begin,
            "end": end,
            "rate": len(took) / (end - begin) * 1e9,
            "p50": percentile(took, 0.5) / 1e6,
            "p99": percentile(took, 0.99) / 1e6,
            "answered": self.answered,
        }


def _for_ever(requests: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


def connect(port: int, ca_file: str | None) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if ca_file is not None:
        context = ssl.create_default_context(cafile=ca_file)
        connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
    connection.setblocking(False)
    return connection


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    load = Load(order)
    say("ready")
    sys.stdin.readline()
    if order.rate is None:
        load.at_most(WARM)
        say(load.at_most(order.seconds))
    else:
        load.paced(WARM, order.rate)
        say(load.paced(order.seconds, order.rate))


if __name__ == "__main__":
    main()

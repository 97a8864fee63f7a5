"""The product's HTTP front end alone: it reads a request, and answers at once."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import trio

from bridge.api import NetworkAddress, Request, Response
from bridge.cli.run import SWITCH_INTERVAL
from bridge.http.listeners import open_listeners
from bridge.http.server import serve
from bridge.http.settings import ListenerSettings
from bridge.http.tls import TlsContext
from tests.bench.children.answering import until_told


async def answer(_request: Request) -> Response:
    return Response()


async def main(port: int, tls_port: int, pair: str) -> None:
    tls = TlsContext(Path(pair), Path(pair))
    plain, secure = (
        ListenerSettings(address=NetworkAddress.parse(f"127.0.0.1:{each}"))
        for each in (port, tls_port)
    )
    async with (
        open_listeners(plain.address, {}) as plain_listeners,
        open_listeners(secure.address, {}) as secure_listeners,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(serve, plain_listeners, answer, plain, grace=0.0))
        await until_told(
            partial(serve, secure_listeners, answer, secure, grace=0.0, tls=tls), "ready"
        )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL)
    trio.run(lambda: main(**json.loads(sys.argv[1])))

"""Hypercorn's trio worker with an application that reads a request, and answers at
once.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import hypercorn.trio
import trio
from hypercorn.config import Config

from tests.bench.children.answering import until_told

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
BODY = {"type": "http.response.body", "body": b""}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep_forever()
    while (await receive()).get("more_body"):
        pass
    await send(START)
    await send(BODY)


async def main(port: int, tls_port: int, pair: str) -> None:
    config = Config()
    config.insecure_bind = [f"127.0.0.1:{port}"]
    config.bind = [f"127.0.0.1:{tls_port}"]
    config.certfile = config.keyfile = pair
    config.keep_alive_max_requests = sys.maxsize  # its default closes each connection after 1,000
    config.loglevel = "warning"
    await until_told(partial(hypercorn.trio.serve, application, config, mode="asgi"), "ready")


if __name__ == "__main__":
    trio.run(lambda: main(**json.loads(sys.argv[1])))

"""The emulator of Databoom. Notes when each reading arrived; readings are told apart by
their values.

Commands: ``count``, of readings; ``between BEGIN END``, of readings that arrived in
that time; ``arrivals FIRST LAST``, value and time of each reading with such a value.
Times are those of the monotonic clock in nanoseconds, which all processes of a machine
share.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from datetime import datetime
from typing import Any

import trio

from bridge_plugins.databoom.emulator.server import SCOPES, Rules, open_emulator
from tests.bench.children.answering import answer_commands, say


class Arrivals:
    def __init__(self) -> None:
        self._times: dict[int, int] = {}

    def arrived(self, _device: str, _signal: str, value: float, _time: datetime) -> None:
        self._times.setdefault(int(value), time.monotonic_ns())

    def answer(self, command: str, *arguments: int) -> Any:
        match command, arguments:
            case "count", ():
                return len(self._times)
            case "between", (begin, end):
                return sum(begin <= time <= end for time in self._times.values())
            case "arrivals", (first, last):
                return [
                    (value, time) for value, time in self._times.items() if first <= value <= last
                ]
        raise ValueError(command)


async def main(pair: str, token: str, port: int) -> None:
    arrivals = Arrivals()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair)
    rules = Rules(keep_points=False)
    emulator = open_emulator(
        {token: SCOPES}, rules=rules, arrived=arrivals.arrived, keep_log=False, port=port, tls=tls
    )
    async with emulator as databoom:
        say(databoom.url)
        await answer_commands(arrivals.answer)


if __name__ == "__main__":
    trio.run(lambda: main(**json.loads(sys.argv[1])))

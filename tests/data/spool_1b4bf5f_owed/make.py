"""Make the files of this folder anew: ``python make.py``, where the bridge of commit
1b4bf5f can be imported (``PYTHONPATH``).

It uses that bridge's own spool, and damages two bodies by hand.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from bridge.api import Arrival, DeadLetter, Event, Reading, SpoolContext, encode
from bridge.spool.settings import SqliteSettings
from bridge.spool.sqlite import SqliteSpool, open_sqlite

HERE = Path(__file__).parent
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEVICES = [f"meter-{number}" for number in range(9)]
UNREADABLE = {"meter-0": "X'00'", "meter-1": "'a text'"}
EVENTS = 120


def arrival(number: int) -> Arrival:
    device, key = DEVICES[number % len(DEVICES)], f"key-{number}"
    time = TIME + timedelta(seconds=number)
    event = Event(key, device, "temperature", time, (Reading("temperature", number / 4, time),))
    source = "towers" if number % 5 == 0 else "sensors"
    return Arrival(source, key, device, encode(event), time)


async def settle(spool: SqliteSpool, sink: str, leases: int, refused: int) -> None:
    """Take some leases, and make a dead letter of the first event of some of them."""
    async with spool.subscribe(sink, batch=4, start="beginning") as subscription:
        for turn in range(leases):
            lease = await subscription.take()
            said = f"HTTP 422 from {sink}, {turn}"
            letter = DeadLetter(0, said, 422 if turn % 2 else None, 1 + turn, TIME)
            dead = [letter] if turn < refused else []
            filtered = 1 if turn % 3 == 2 and len(lease.events) > len(dead) else 0
            await lease.settle(len(lease.events), filtered=filtered, dead=dead)


async def live(folder: Path) -> None:
    """What is in ``spool.sqlite``."""
    context = SpoolContext(folder, ("out", "again"), print, lambda: TIME)
    # So that the first events of two devices are the next ones of every sink.
    async with open_sqlite(SqliteSettings(), context) as spool:
        for sink in "out", "again", "gone":
            await settle(spool, sink, 0, 0)
        await spool.append([arrival(number) for number in range(len(DEVICES))])
    with closing(sqlite3.connect(folder / "spool.sqlite")) as rows:
        for device, body in UNREADABLE.items():
            rows.execute(f"UPDATE events SET body = {body} WHERE instr(body, '{device}')")
        rows.commit()
    async with open_sqlite(SqliteSettings(), context) as spool:
        for sink in "out", "again", "gone":
            await settle(spool, sink, len(DEVICES) - len(UNREADABLE), 2)
        for first in range(len(DEVICES), EVENTS, 10):
            await spool.append(
                [arrival(number) for number in range(first, min(EVENTS, first + 10))]
            )
        await settle(spool, "again", 9, 4)
        await spool.purge("again")
        await settle(spool, "again", 5, 3)
        await settle(spool, "out", 12, 7)
        await settle(spool, "gone", 3, 1)
        await spool.state("source:sensors").put("since", {"page": 7, "times": [1, 2]})
        await spool.state("sink:out").put("token", "abc")
        await spool.housekeeping.prune_events()


async def die(folder: Path, copy: Path) -> None:
    """What is in ``killed``: the same, and more in the log."""
    context = SpoolContext(folder, ("out", "again"), print, lambda: TIME)
    async with open_sqlite(SqliteSettings(), context) as spool:
        await spool.append([arrival(number) for number in range(EVENTS, EVENTS + 12)])
        await settle(spool, "out", 1, 1)
        for file in folder.glob("spool.sqlite*"):
            if not file.name.endswith("-shm"):
                shutil.copyfile(file, copy / file.name)


async def accounts(folder: Path) -> dict[str, dict[str, int]]:
    context = SpoolContext(folder, ("out", "again"), print, lambda: TIME)
    async with open_sqlite(SqliteSettings(), context) as spool:
        return {
            account.sink: {
                name: getattr(account, name)
                for name in ("received", "delivered", "filtered", "dead", "expired", "pending")
            }
            for account in await spool.accounts(["out", "again"])
        }


def keep(folder: Path, to: Path, keys: int) -> None:
    """Write down what is in files that are kept, looking at a copy of them."""
    found = {
        "keys": [[arrival(number).source, f"key-{number}"] for number in range(keys)],
        "accounts": trio.run(accounts, folder),
    }
    (to / "contents.json").write_text(json.dumps(found) + "\n")


def main() -> None:
    killed = HERE / "killed"
    killed.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder, copy = Path(name) / "live", Path(name) / "copy"
        folder.mkdir()
        trio.run(live, folder)
        shutil.copyfile(folder / "spool.sqlite", HERE / "spool.sqlite")
        shutil.copytree(folder, copy)
        keep(copy, HERE, EVENTS)
        shutil.rmtree(copy)
        trio.run(die, folder, killed)
        shutil.copytree(killed, copy)
        keep(copy, killed, EVENTS + 12)


if __name__ == "__main__":
    main()

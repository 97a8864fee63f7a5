"""A spool that the bridge of commit 1b4bf5f left behind, and whether all of it is still
there: what its rows said is compared with what a spool of today lends and lists.
"""

import json
import shutil
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from bridge.api import decode
from bridge.api.spool import LetterFilter, Spool
from bridge.spool.append import microseconds
from bridge.spool.schema import LANE_BITS
from bridge.testing.arrivals import account_of, arrival, take_any

DATA = Path(__file__).parents[1] / "data" / "spool_1b4bf5f_owed"
CLOSED, KILLED = "closed", "killed"
FOLDERS = {CLOSED: DATA, KILLED: DATA / "killed"}
SINKS = ("out", "again", "gone")
CONFIGURED = SINKS[:2]
ACCOUNT = ("received", "delivered", "filtered", "dead", "expired", "pending")


def copy_earlier(name: str, folder: Path) -> None:
    """Put the files where a bridge of today finds them."""
    folder.mkdir(mode=0o700)
    for file in FOLDERS[name].glob("spool.sqlite*"):
        shutil.copyfile(file, folder / file.name)


class Earlier:
    """What was in the files."""

    def __init__(self, name: str, folder: Path) -> None:
        """Read a copy, which is made in a folder that does not exist yet."""
        contents = json.loads((FOLDERS[name] / "contents.json").read_bytes())
        self.accounts = contents["accounts"]
        self.arrivals = [arrival(key, source=source) for source, key in contents["keys"]]
        copy_earlier(name, folder)
        with closing(sqlite3.connect(folder / "spool.sqlite")) as rows:
            self.sources = dict(rows.execute("SELECT id, name FROM sources"))
            self.letters = [
                (number, sink, self.sources[source], sequence, received, bytes_of(body), *said)
                for number, sink, source, sequence, received, body, *said in rows.execute(
                    "SELECT id, sink, source, sequence, received, body, reason, status, "
                    "attempts, time, purged FROM dead_letters ORDER BY id"
                )
            ]
            self.owed = {sink: self._owed(rows, sink) for sink in SINKS}
            self.state = rows.execute("SELECT instance, key, value FROM state").fetchall()
        shutil.rmtree(folder)

    def _owed(self, rows, sink):
        """Return by device what the sink had not settled, in order."""
        owed = defaultdict(list)
        for sequence, source, received, body in rows.execute(
            "SELECT e.id, source, received, body FROM events e JOIN cursors "
            f"ON sink = ? AND lane = e.id >> {LANE_BITS} "
            f"WHERE e.id > (lane << {LANE_BITS}) + position ORDER BY e.id",
            (sink,),
        ):
            event = decode(body)
            owed[event.device].append((sequence, self.sources[source], received, event))
        return dict(owed)

    def replayable(self, sink):
        """Return by device the letters of a sink that can be read back, each once."""
        found = defaultdict(dict)
        for _, of, source, sequence, received, body, *_ in self.letters:
            if of == sink and (event := read_back(body)) is not None:
                found[event.device][sequence] = (sequence, source, received, event)
        return {device: [each for _, each in sorted(of.items())] for device, of in found.items()}


def bytes_of(body):
    return body.encode() if isinstance(body, str) else body


def read_back(body):
    try:
        return decode(body)
    except ValueError:
        return None


async def listed(spool: Spool):
    """Return the letters as they are given by ``Earlier.letters``."""
    found = []
    for letter in await spool.letters(LetterFilter(), limit=1000):
        kept = await spool.letter(letter.id)
        event = read_back(kept.body)
        assert letter.device == (event and event.device)
        assert kept.stored is None if event is None else kept.stored.event == event
        found.append(
            (letter.id, letter.sink, letter.source, letter.sequence, microseconds(letter.received),
             kept.body, letter.reason, letter.status, letter.attempts, microseconds(letter.time),
             letter.purged)
        )  # fmt: skip
    return found


async def taken(subscription, count):
    """Take so many events, of lanes and of parked devices; returns them by device."""
    found = defaultdict(list)
    while count > 0:
        lease = await take_any(subscription)
        for stored in lease.events:
            one = (stored.sequence, stored.source, microseconds(stored.received), stored.event)
            found[stored.event.device].append(one)
        count -= len(lease.events)
        await lease.settle(len(lease.events))
    return dict(found)


async def check_accounts(spool: Spool, earlier: Earlier) -> None:
    for sink in SINKS:
        account = await account_of(spool, sink)
        assert account.balanced, account
        assert {name: getattr(account, name) for name in ACCOUNT} == earlier.accounts[sink]


async def check_known(spool: Spool, earlier: Earlier) -> None:
    assert await spool.append(earlier.arrivals) == 0
    for one in earlier.arrivals[::10]:
        assert await spool.append([one]) == 0


async def check_everything(spool: Spool, earlier: Earlier) -> None:
    """Check that nothing is lost, by using all of it up; letters must have been
    moved.
    """
    await check_accounts(spool, earlier)
    assert await listed(spool) == earlier.letters
    for instance, key, value in earlier.state:
        assert spool.state(instance).get(key) == json.loads(value)
    for sink in SINKS:
        async with spool.subscribe(sink, batch=5) as subscription:
            owed = await taken(subscription, earlier.accounts[sink]["pending"])
            assert owed == earlier.owed[sink]
    await spool.replay([number for number, *_ in earlier.letters])
    for sink in SINKS:
        expected = earlier.replayable(sink)
        async with spool.subscribe(sink, batch=5) as subscription:
            assert await taken(subscription, sum(map(len, expected.values()))) == expected
        account = await account_of(spool, sink)
        assert (account.balanced, account.pending) == (True, 0)
    unreadable = [each for each in earlier.letters if read_back(each[5]) is None]
    assert await listed(spool) == unreadable

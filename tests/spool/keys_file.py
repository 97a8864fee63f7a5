"""A file of the spool without a loop: appends and keys at a running time of one's own
choice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import trio.testing
from attrs import evolve

from bridge.api import Arrival
from bridge.spool.append import add_sources, append_all, prepared
from bridge.spool.files import Files
from bridge.spool.keys_check import check_keys
from bridge.spool.keys_upkeep import KeyUpkeep
from bridge.spool.schema import connect, prepare
from bridge.spool.transaction import Transaction, WriterState
from bridge.testing.arrivals import TIME, arrival

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
LANES = 4


def at(key: str | None, seconds: float | None = 0, **more) -> Arrival:
    """An arrival with a key time so long after the usual time."""
    time = None if seconds is None else TIME + timedelta(seconds=seconds)
    return evolve(arrival(key or "none", **more), key=key, key_time=time)


class KeysFile:
    """The file, and for how long a bridge ran with it."""

    def __init__(self, folder: Path):
        files = Files(folder)
        files.database.touch()
        self.connection = connect(files)
        self.connection.execute("PRAGMA synchronous = OFF")
        prepare(self.connection, files, LANES)
        self.state = WriterState()
        self.state.load(self.connection)
        self.running = 0.0
        self.steps = 0
        """Transactions so far."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Not on disk until ``commit``: without it nothing has happened."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield Transaction(self.connection, self.state, running=self.running)
        finally:
            self.connection.execute("ROLLBACK")

    def write(self, operation):
        transaction = Transaction(self.connection, self.state, running=self.running)
        self.connection.execute("BEGIN IMMEDIATE")
        result = operation(transaction)
        self.connection.execute("COMMIT")
        for remember in transaction.committed:
            remember()
        self.steps += 1
        return result

    def commit(self, *appends: Sequence[Arrival]) -> list[int]:
        """Append several times in one transaction; how many of each were new."""
        requests = self._requests(appends)
        return self.write(lambda transaction: append_all(transaction, requests))

    def append(self, *arrivals: Arrival) -> int:
        return sum(self.commit(arrivals))

    def unknown(self, *arrivals: Arrival) -> int:
        """How many would be new."""
        requests = self._requests([arrivals])
        with self.transaction() as transaction:
            return sum(append_all(transaction, requests))

    def _requests(self, appends):
        names = sorted({arrival.source for arrivals in appends for arrival in arrivals})
        if not self.state.sources.keys() >= set(names):
            self.write(lambda transaction: add_sources(transaction, names))
        return [prepared(arrivals, LANES, self.state.sources) for arrivals in appends]

    def upkeep(self, window: float, room: int = 1 << 30) -> KeyUpkeep:
        async def write(operation):
            return self.write(operation)

        async def read(question):
            return question(self.connection)

        return KeyUpkeep(write, read, self.state, window, lambda: room)

    def keep_house(self, window: float, room: int = 1 << 30) -> KeyUpkeep:
        """Let everything be done that is due now."""
        upkeep = self.upkeep(window, room)

        async def rounds():
            await upkeep.round()
            while upkeep.busy:
                await upkeep.round()

        trio.run(rounds, clock=trio.testing.MockClock())
        return upkeep

    def rows(self, query: str, *values):
        return self.connection.execute(query, values).fetchall()

    def count(self, table: str) -> int:
        return self.rows(f"SELECT count(*) FROM {table}")[0][0]

    def problems(self) -> list[str]:
        return list(check_keys(self.connection))

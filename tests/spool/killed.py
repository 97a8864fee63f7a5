"""Run as a process that is to be killed: does everything with a spool that can be done,
at random and without end.

    python -m tests.spool.killed FOLDER SEED

It prints ``stored SOURCE KEY KEY_TIME`` once an event was acknowledged, and before it
settles one ``done SINK GENERATION WAY DEVICE SEQUENCE SOURCE KEY HOW``. WAY is live,
rewound or replay, HOW is accepted, filtered or dead. Before a letter is dropped it
prints ``dropped SINK SEQUENCE``, and before a sink is renamed ``inherited NAME DEVICE
SEQUENCE`` of each letter.
"""

import os
import random
import sys
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import trio

from bridge.api import Duration
from bridge.api.spool import LetterFilter, Parking, SpoolContext, Stale
from bridge.spool import SqliteSettings
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import arrival, refused

DEVICES = [f"device-{number}" for number in range(12)]
SOURCES = ("sensors", "sensors", "towers")
WANTED = {"out": None, "away": ("sensors",), "extra": None}
SINKS = ("out", "away")
SETTINGS = SqliteSettings(keep=Duration(3), lanes=4)


def say(*words) -> None:
    """Print a line, at once and as a whole."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def context_of(folder: Path) -> SpoolContext:
    return SpoolContext(folder, SINKS, lambda *_, **__: None, lambda: datetime.now(UTC))


def said_of(sink, lease, how):
    """Return lines that say what becomes of events of a lease, given by index."""
    way = "live" if not lease.replay else "replay" if lease.parked else "rewound"
    place = f"done {sink} {lease._found.generation} {way}"
    for index, said in sorted(how.items()):
        stored = lease.events[index]
        event = stored.event
        yield f"{place} {event.device} {stored.sequence} {stored.source} {event.key} {said}"


class Life:
    def __init__(self, spool, seed):
        self.spool = spool
        self.seed = seed
        self.chance = random.Random(seed)
        self.held = {sink: set() for sink in WANTED}
        """By sink: devices that a lease holds."""

    def often(self, share):
        return self.chance.random() < share

    async def send(self, sender):
        """Append, and now and then the same again."""
        sent = []
        for number in count():
            source = SOURCES[number % len(SOURCES)]
            now = datetime.now(UTC)
            some = [
                arrival(
                    f"{self.seed}-{sender}-{number}-{part}",
                    self.chance.choice(DEVICES),
                    source=source,
                    received=now,
                    key_time=now if self.often(0.5) else None,
                )
                for part in range(self.chance.randrange(1, 6))
            ]
            assert await self.spool.append(some) == len(some)
            for one in some:
                say("stored", source, one.key, one.key_time.isoformat() if one.key_time else "-")
            sent = [*sent[-50:], *some]
            await trio.sleep(self.chance.random() * 0.2)  # sinks come along
            if self.often(0.2):
                assert await self.spool.append(self.chance.sample(sent, 1)) == 0

    async def deliver(self, sink, take):
        while True:
            await self.handle(sink, await take())

    async def handle(self, sink, lease):
        """Hold a lease for a while, as for an attempt, and settle it."""
        devices = {stored.event.device for stored in lease.events}
        assert devices.isdisjoint(self.held[sink]), f"{devices & self.held[sink]} are lent twice"
        self.held[sink] |= devices
        try:
            await trio.sleep(self.chance.random() * 0.01)
            await self.settle(sink, lease)
        finally:
            self.held[sink] -= devices

    async def settle(self, sink, lease):
        """Decide at random what becomes of the first events of a lease."""
        number = self.chance.randrange(1, len(lease.events) + 1)
        events = lease.events[:number]
        if self.often(0.1):
            lease.give_back()
            return
        how, park = {}, []
        if lease.parked and self.often(0.3):
            number, events = 0, ()
        late = self.chance.choice([None] * 4 + sorted({stored.event.device for stored in events}))
        late_from = self.chance.randrange(number) if number else 0
        for index, stored in enumerate(events):
            if lease.parked or stored.event.device != late or index < late_from:
                how[index] = self.chance.choices(("accepted", "filtered", "dead"), (20, 1, 3))[0]
        aside = tuple(index for index in range(number) if index not in how)
        wait = self.chance.choice((0.0, 0.01, 0.05))
        if aside:
            park = [Parking(late, aside, "late", wait, 1)]
        elif lease.parked and (not number or (number < len(lease.events) and self.often(0.5))):
            park = [Parking(lease.events[0].event.device, (), "later", wait, lease.attempts + 1)]
        for line in said_of(sink, lease, how):
            say(line)
        dead = refused(*[index for index, said in how.items() if said == "dead"])
        filtered = list(how.values()).count("filtered")
        try:
            await lease.settle(number, filtered=filtered, dead=dead, park=park)
        except Stale:
            pass
        lease.give_back()

    async def replay(self):
        letters = await self.some_letters()
        await self.spool.replay([letter.id for letter in letters])

    async def drop(self):
        letters = (await self.some_letters())[:2]
        for letter in letters:
            say("dropped", letter.sink, letter.sequence)
        await self.spool.drop([letter.id for letter in letters])

    async def some_letters(self):
        found = await self.spool.letters(LetterFilter(), limit=100)
        return self.chance.sample(found, min(len(found), self.chance.randrange(1, 9)))

    async def rewind(self):
        back = timedelta(seconds=2 * self.chance.random() ** 2)
        await self.spool.rewind(self.chance.choice(SINKS), datetime.now(UTC) - back)

    async def retry(self):
        await self.spool.retry_parked(self.chance.choice(SINKS))

    async def prune(self):
        await self.spool.housekeeping.note_heads()
        await self.spool.housekeeping.prune_events()

    async def put(self):
        await self.spool.state("source:sensors").put("since", self.chance.random())

    async def look(self):
        for account in await self.spool.accounts(SINKS):
            assert account.balanced, account

    async def do_anything(self, subscriptions):
        async def stop_replay():
            await self.chance.choice(subscriptions).stop_replay()

        done = (
            self.replay, self.drop, self.rewind, self.retry, self.prune, self.put, self.look,
            stop_replay,
        )  # fmt: skip
        while True:
            await trio.sleep(self.chance.random() * 0.02)
            await self.chance.choices(done, (6, 1, 3, 2, 3, 1, 1, 3))[0]()

    async def come_and_go(self):
        """Live as a sink that is purged, or renamed onto another one."""
        while True:
            start = self.chance.choice(("now", "beginning"))
            async with self.spool.subscribe("extra", batch=5, start=start) as extra:
                with trio.move_on_after(self.chance.random() * 0.2):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self.deliver, "extra", extra.take)
                        nursery.start_soon(self.deliver, "extra", extra.take_parked)
            if self.often(0.3):
                await self.spool.purge("extra")
            elif self.often(0.3):
                await self.rename()

    async def rename(self):
        await self.spool.retry_parked("extra")  # a settlement that was cancelled is through
        for letter in await self.spool.letters(LetterFilter(sink="extra"), limit=1000):
            say("inherited", "away", letter.device, letter.sequence)
        await self.spool.rename("extra", "away")


async def main() -> None:
    say("opening")
    folder, seed = Path(sys.argv[1]), sys.argv[2]
    async with (
        open_sqlite(SETTINGS, context_of(folder)) as spool,
        spool.subscribe("out", batch=5, start="beginning") as out,
        spool.subscribe("away", batch=7, sources=WANTED["away"], start="beginning") as away,
        trio.open_nursery() as nursery,
    ):
        life = Life(spool, seed)
        for sink, subscription in (("out", out), ("away", away)):
            nursery.start_soon(life.deliver, sink, subscription.take)
            nursery.start_soon(life.deliver, sink, subscription.take)
            nursery.start_soon(life.deliver, sink, subscription.take_parked)
            nursery.start_soon(life.deliver, sink, subscription.take_parked)
        nursery.start_soon(life.come_and_go)
        nursery.start_soon(life.do_anything, (out, away))
        for sender in range(4):
            nursery.start_soon(life.send, sender)


if __name__ == "__main__":
    trio.run(main)

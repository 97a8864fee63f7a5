"""What is drawn is done to a spool and to its model."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest
import trio
from attrs import define, field, frozen

from bridge.api import Arrival, Event, Reading, encode
from bridge.api.spool import DeadLetter, Parking, Rewind, Spool, Stale
from bridge.testing.arrivals import TIME
from tests.spool import moves
from tests.spool.model import BATCH, LANES, SINKS, Lent, Model
from tests.spool.observed import agree

LONG = 10_000.0  # seconds; nothing is due after it within a test


@frozen
class Engine:
    """An engine over files of its own, and what only some can do."""

    open: Callable[[], AbstractAsyncContextManager[Spool]]
    audit: Callable[[], Sequence[str]] = tuple
    """After each life: what does not hold in the files."""
    prune: Callable[[Spool], Awaitable[None]] | None = None
    """Deletes what may go."""
    pruned: Callable[[], Sequence[int]] = lambda: [0] * LANES
    """How many events of each lane are deleted."""
    crash: Callable[[], None] | None = None
    """Lets the next life begin with the files as they are now, while they are open."""
    move_clock: Callable[[timedelta], None] | None = None


@define(eq=False)
class Life:
    """One opening of a spool; its methods are the steps."""

    engine: Engine
    model: Model
    spool: Spool
    subscriptions: dict = field(factory=dict)
    leases: list = field(factory=list)
    withheld: dict = field(factory=dict)
    """By sink: devices that were withheld from what was settled just now."""
    inexact: set = field(factory=set)
    names: int = 0

    async def agree(self):
        self.inexact = await agree(self.model, self.spool, self.withheld)
        self.withheld.clear()

    async def append(self, drawn):
        sent, named = [], []
        for key, device, source, hour in drawn:
            name = f"{sum(map(len, self.model.lanes))}.{len(sent)}"
            event = Event(key, device, "temperature", TIME, (Reading("name", name, TIME),))
            received = TIME + timedelta(hours=hour)
            sent.append(Arrival(source, key, device, encode(event), received, key_time=TIME))
            named.append((name, (key, device, source, hour)))
        stored = await self.spool.append(sent)
        assert stored == self.model.append(named)

    async def take(self, sink, parked):
        """Take a lease of a lane or of a parked device; if there is none to take, of
        something else.
        """
        others = [(each, kind) for each in SINKS for kind in (parked, not parked)]
        for each, kind in [(sink, parked), *others]:
            held = [lent for _, lent in self.leases if lent.sink == each]
            take = self.take_parked if kind else self.take_lane
            if await take(each, held):
                break

    async def take_lane(self, sink, held):
        apart = {lent.device for lent in held}
        lanes = {
            lane: self.model.lendable(sink, lane)
            for lane in range(LANES)
            if lane not in [lent.lane for lent in held if lent.device is None]
        }
        # A lane waits for a device that is still lent by itself, though not parked.
        free = [
            lane
            for lane, (items, _) in lanes.items()
            if items and not apart & {item.device for item in items[:BATCH]}
        ]
        if not free:
            return False
        lease = await self.subscriptions[sink].take()
        expected, replay = lanes[lease.lane]
        self.check_lent(lease, expected, replay, 0)
        assert not apart & {stored.event.device for stored in lease.events}
        self.leases.append((lease, self.model.take(sink, lease.lane, len(lease.events))))
        return True

    async def deliver(self, take, settle):
        """Take a lease, settle it or a part of it at once, and give back the rest."""
        before = len(self.leases)
        await self.take(*take[1:])
        if len(self.leases) > before:
            _, _, *arguments = settle
            await self.settle(before, *arguments)
        if len(self.leases) > before:
            await self.give_back(before)

    async def take_parked(self, sink, held):
        in_hand = {item.device for lent in held for item in lent.items}
        in_hand |= {lent.device for lent in held}
        due = {
            device
            for device, queue in self.model.queues[sink].items()
            if queue.due and device not in in_hand
        }
        if not due:
            return False
        lease = await self.subscriptions[sink].take_parked()
        device = lease.events[0].event.device
        assert device in due
        queue = self.model.queues[sink][device]
        expected, replay = queue.first()
        self.check_lent(lease, expected, replay, queue.attempts)
        items = expected[: len(lease.events)]
        lent = Lent(sink, self.model.generations[sink], items, lane=lease.lane, device=device)
        self.leases.append((lease, lent))
        return True

    def check_lent(self, lease, expected, replay, attempts):
        assert 1 <= len(lease.events) <= BATCH
        expected = expected[: len(lease.events)]
        assert names_of(lease.events) == [item.name for item in expected]
        assert (lease.replay, lease.attempts) == (replay, attempts)
        for stored, item in zip(lease.events, expected, strict=True):
            assert self.model.by_sequence.setdefault(stored.sequence, item) is item
            assert stored.received == TIME + timedelta(hours=item.hour)
            assert self.model.salts[stored.source] is item.salt

    async def settle(self, which, count, fates, due):
        if not self.leases:
            return
        lease, lent = self.leases.pop(which % len(self.leases))
        count = min(count, len(lent.items))
        settlement = plan(lent, count, fates, due)
        if settlement is None:
            self.leases.append((lease, lent))
            return
        dead, park, filtered = settlement
        letters = [
            DeadLetter(index, reason, 422, attempts, TIME)
            for index, (reason, attempts) in dead.items()
        ]
        parkings = [
            Parking(device, tuple(indexes), "unknown", 0.0 if due else LONG, attempts)
            for device, (due, attempts, indexes) in park.items()
        ]
        if self.model.stale(lent):
            with pytest.raises(Stale):
                await lease.settle(count, filtered=filtered, dead=letters, park=parkings)
        if lent.withdrawn or self.model.stale(lent):
            lease.give_back()
            return
        await lease.settle(count, filtered=filtered, dead=letters, park=parkings)
        self.model.settle(lent, count, filtered, dead, park)
        self.withheld.setdefault(lent.sink, set()).update(lent.withheld)
        assert names_of(lease.events) == [item.name for item in lent.items]
        if lent.items and not (lent.device and park):
            self.leases.append((lease, lent))
        else:
            lease.give_back()

    async def settle_stale(self):
        """Settle what was lent before what ended this life."""
        for lease, lent in list(self.leases):
            if self.model.stale(lent):
                await self.settle(self.leases.index((lease, lent)), 1, ["deliver"], True)

    async def together(self, settles, append):
        """Settle different leases and append, all at one time."""
        async with trio.open_nursery() as nursery:
            for _, *arguments in settles[: len(self.leases)]:
                nursery.start_soon(self.settle, *arguments)
            nursery.start_soon(self.append, append[1])

    async def give_back(self, which):
        if self.leases:
            lease, _ = self.leases.pop(which % len(self.leases))
            lease.give_back()

    async def retry(self, sink, device):
        queues = self.model.queues[sink]
        chosen = [queues[name] for name in queues if device in (None, name)]
        assert await self.spool.retry_parked(sink, device) == len(chosen)
        for queue in chosen:
            queue.due = True

    def letters(self, which):
        """Choose letters; not of sinks of which the cursors are not known exactly."""
        numbers = sorted(self.model.letters)
        chosen = {numbers[each % len(numbers)] for each in which if numbers}
        return [each for each in chosen if self.model.letters[each].sink not in self.inexact]

    async def replay(self, which):
        numbers = self.letters(which)
        assert await self.spool.replay(numbers) == self.model.replay(numbers)

    async def drop(self, which):
        numbers = self.letters([which])
        assert await self.spool.drop(numbers) == self.model.drop(numbers)

    async def stop_replay(self, sink):
        stopped = await self.subscriptions[sink].stop_replay()
        assert stopped == self.model.stop_replay(sink)
        for _, lent in self.leases:
            lent.withdrawn = lent.withdrawn or self.model.stale(lent)

    async def rewind(self, sink, hour):
        to = TIME + timedelta(hours=hour)
        if sink not in self.model.rows:
            with pytest.raises(LookupError):
                await self.spool.rewind(sink, to)
        elif sink not in self.inexact:
            again = moves.rewind(self.model, sink, hour, self.engine.pruned())
            oldest = min((TIME + timedelta(hours=item.hour) for item in again), default=None)
            assert await self.spool.rewind(sink, to) == Rewind(len(again), oldest)

    async def prune(self):
        if self.engine.prune is not None:
            await self.engine.prune(self.spool)
            owed = [min(each) for each in zip(*self.model.positions().values(), strict=True)]
            passed = zip(self.engine.pruned(), owed, strict=True)
            assert self.inexact or all(pruned <= position for pruned, position in passed)

    async def clock(self, days):
        if self.engine.move_clock is not None:
            self.engine.move_clock(timedelta(days=days))

    # How a life ends; what was lent is not settled.

    async def close(self):
        pass

    async def crash(self):
        if self.engine.crash is not None:
            self.engine.crash()

    async def purge(self, sink):
        if sink not in self.inexact:
            assert await self.spool.purge(sink) == moves.purge(self.model, sink)
            await self.begin_again(sink)

    async def rename(self, sink, name):
        if sink not in self.model.rows:
            with pytest.raises(LookupError):
                await self.spool.rename(sink, name)
        elif not self.inexact & {sink, name}:
            await self.spool.rename(sink, name)
            moves.rename(self.model, sink, name)
            await self.begin_again(sink)

    async def begin_again(self, sink):
        """Take over that a sink that is subscribed may begin at once, again."""
        if sink in [account.sink for account in await self.spool.accounts(())]:
            self.model.begin(sink, "now", self.engine.pruned())

    async def rename_source(self, source, name):
        salts = self.model.salts
        if source not in salts or (name in salts and name != source):
            with pytest.raises(LookupError if source not in salts else ValueError):
                await self.spool.rename_source(source, name)
        else:
            await self.spool.rename_source(source, name)
            salts[name] = salts.pop(source)


def plan(lent, count, fates, due):
    """Make a settlement out of what was drawn, as a feeder would: once an event of a
    device is parked, its later ones are, too, or become dead letters.

    None: these events cannot be settled so.
    """
    if lent.device is not None:
        park = {lent.device: (due, 2, ())} if "park" in fates and count < len(lent.items) else {}
        if not count and not park:
            return None
    elif not count:
        return None
    dead, indexes, filtered = {}, {}, 0
    for index, item in enumerate(lent.items[:count]):
        fate = fates[index % len(fates)]
        aside = item.device in lent.aside or item.device in indexes
        if fate == "die":
            dead[index] = (f"refused {index}", index + 1)
        elif lent.device is None and (fate == "park" or aside):
            indexes.setdefault(item.device, []).append(index)
        elif fate == "filter":
            filtered += 1
    if lent.device is None:
        park = {device: (due, 1, found) for device, found in indexes.items()}
    return dead, park, filtered


def names_of(events):
    return [stored.event.readings[0].value for stored in events]

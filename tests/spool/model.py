"""The spool as lists: what it must lend, count and keep.

An engine is free to choose when it passes over what it cannot lend: events of sources
that a sink does not want, and of parked devices. How far it went is taken from what it
says, see ``observed.py``.
"""

from bisect import insort
from collections import Counter

from attrs import define, field

from bridge.api.spool import lane_of

LANES, BATCH = 2, 3
SINKS = ["one", "two"]
WANTED = {"two": {"towers"}}  # by sink; others want all


@define(eq=False)
class Item:
    """An event: the ``index``-th of its lane."""

    lane: int
    index: int
    name: str
    device: str
    salt: object
    hour: int


@define(eq=False)
class Letter:
    sink: str
    item: Item
    said: tuple[str, int]
    purged: bool = False


@define(eq=False)
class Queue:
    """due and attempts are None where the contract leaves them open."""

    due: bool | None
    attempts: int | None
    events: list[tuple[Item, Letter | None]] = field(factory=list)

    def insert(self, item, letter=None):
        insort(self.events, (item, letter), key=lambda event: event[0].index)

    def first(self):
        """Return what may be lent together, and whether it is a replay."""
        replay = self.events[0][1] is not None
        found = []
        for item, letter in self.events[:BATCH]:
            if (letter is not None) != replay:
                break
            found.append(item)
        return found, replay


@define(eq=False)
class Row:
    """A cursor: ``position`` events of the lane are settled."""

    start: int
    position: int
    rewound: int = 0
    counts: Counter = field(factory=Counter)


@define(eq=False)
class Lent:
    """A lease of a lane, or of a device."""

    sink: str
    generation: int
    items: list[Item]
    lane: int
    withheld: frozenset[str] = frozenset()
    device: str | None = None
    aside: set[str] = field(factory=set)
    withdrawn: bool = False
    """Whether its replay was stopped: an engine may take it for stale even if its
    events are parked again.
    """


class Model:
    def __init__(self):
        self.lanes = [[] for _ in range(LANES)]
        self.salts = {}
        self.keys = set()
        self.rows = {}
        self.queues = {}
        self.generations = Counter()
        self.letters = {}
        self.unnumbered = []
        self.newest_letter = 0
        self.by_sequence = {}
        """Learned from leases."""

    def append(self, events):
        fresh = 0
        for name, (key, device, source, hour) in events:
            salt = self.salts.setdefault(source, object())
            if key is not None and (salt, key) in self.keys:
                continue
            self.keys.add((salt, key))
            lane = lane_of(device, LANES)
            self.lanes[lane].append(Item(lane, len(self.lanes[lane]), name, device, salt, hour))
            fresh += 1
        return fresh

    def positions(self):
        return {sink: [row.position for row in rows] for sink, rows in self.rows.items()}

    def begin(self, sink, start, pruned):
        if sink not in self.rows:
            heads = pruned if start == "beginning" else [len(lane) for lane in self.lanes]
            self.rows[sink] = [Row(head, head) for head in heads]
            self.queues[sink] = {}

    def wants(self, sink, item):
        names = {self.salts[name]: name for name in self.salts}
        return sink not in WANTED or names[item.salt] in WANTED[sink]

    def lends(self, sink, item):
        return self.wants(sink, item) and item.device not in self.queues[sink]

    def lendable(self, sink, lane):
        """Return what may be lent next, and whether it is lent again."""
        row = self.rows[sink][lane]
        found = [item for item in self.lanes[lane][row.position :] if self.lends(sink, item)]
        replay = bool(found) and found[0].index < row.rewound
        return [item for item in found if (item.index < row.rewound) == replay], replay

    def take(self, sink, lane, count):
        items, replay = self.lendable(sink, lane)
        row = self.rows[sink][lane]
        if not replay:  # what was rewound before them is passed over
            self.pass_to(sink, lane, row.rewound, self.queues[sink])
        withheld = frozenset(self.queues[sink])
        return Lent(sink, self.generations[sink], items[:count], lane, withheld)

    def pass_to(self, sink, lane, end, withheld, lent=()):
        """Move a cursor over what is not lent, and over what is."""
        row = self.rows[sink][lane]
        for item in self.lanes[lane][row.position : end]:
            if item in lent:
                continue
            if self.wants(sink, item):
                assert item.device in withheld, f"{item.name} was passed over"
                self.queues[sink].setdefault(item.device, Queue(True, 0)).insert(item)
            else:
                row.counts["filtered"] += 1
        row.position = max(row.position, end)

    def settle(self, lent, count, filtered, dead, park):
        """Settle; ``dead``: by index what is said, ``park``: by device due and
        attempts, and the indexes.
        """
        items, lent.items = lent.items[:count], lent.items[count:]
        row = self.rows[lent.sink][items[0].lane] if items else None
        if lent.device is not None:
            self.settle_parked(lent, items, park)
        else:
            self.pass_to(lent.sink, items[0].lane, items[-1].index + 1, lent.withheld, items)
            for device, (due, attempts, indexes) in park.items():
                lent.aside.add(device)
                queue = self.queues[lent.sink].setdefault(device, Queue(due, attempts))
                for index in indexes:
                    queue.insert(items[index])
                count -= len(indexes)
        for index, said in dead.items():
            self.unnumbered.append(Letter(lent.sink, items[index], said))
        if row:
            row.counts.update(dead=len(dead), filtered=filtered)
            row.counts["delivered"] += count - len(dead) - filtered

    def settle_parked(self, lent, items, park):
        queue = self.queues[lent.sink][lent.device]
        queue.events = [event for event in queue.events if event[0] not in items]
        if not queue.events:
            del self.queues[lent.sink][lent.device]
        elif not lent.items:
            queue.due, queue.attempts = True, 0
        elif park:
            queue.due, queue.attempts, _ = park[lent.device]
        elif items:
            queue.attempts = 0

    def stale(self, lent):
        if lent.device is None or lent.generation != self.generations[lent.sink]:
            return lent.generation != self.generations[lent.sink]
        queue = self.queues[lent.sink].get(lent.device, Queue(None, None))
        return not {*lent.items} <= {item for item, _ in queue.events}

    def replay(self, numbers):
        before = len(self.letters)
        for number in sorted(numbers):
            if number in self.letters and self.letters[number].sink in self.rows:
                self.replay_one(number)
        return before - len(self.letters)

    def replay_one(self, number):
        letter = self.letters.pop(number)
        item, counts = letter.item, self.counts(letter)
        for other, twin in self.letters.items():
            if letter.purged and not twin.purged and (twin.sink, twin.item) == (letter.sink, item):
                self.replay_one(other)
                return
        queues, row = self.queues[letter.sink], self.rows[letter.sink][letter.item.lane]
        pending = item.index >= row.position or item in self.parked(letter.sink, item.lane)
        if not pending:
            queue = queues.setdefault(item.device, Queue(True, 0))
            queue.insert(item, letter)
            queue.due = True
            if len(queue.events) > 1 and queue.events[0][0] is item:
                queue.attempts = None
        if letter.purged:
            counts["again"] += not pending
        else:
            counts["dead"] -= 1
            counts["again"] -= pending

    def counts(self, letter):
        return self.rows[letter.sink][letter.item.lane].counts

    def stop_replay(self, sink):
        stopped = 0
        for device, queue in list(self.queues[sink].items()):
            replays = [letter for _, letter in queue.events if letter is not None]
            if replays and queue.events[0][1] is not None:
                queue.attempts = None
            queue.events = [event for event in queue.events if event[1] is None]
            if not queue.events:
                del self.queues[sink][device]
            for letter in replays:
                self.unnumbered.append(Letter(sink, letter.item, letter.said, letter.purged))
                self.rows[sink][letter.item.lane].counts.update(
                    {"again": -1} if letter.purged else {"dead": 1}
                )
            stopped += len(replays)
        return stopped

    def drop(self, numbers):
        for number in numbers:
            letter = self.letters.pop(number)
            if not letter.purged:
                self.counts(letter).update(dead=-1, expired=1)
        return len(numbers)

    def parked(self, sink, lane):
        events = [event for queue in self.queues[sink].values() for event in queue.events]
        return [item for item, _ in events if item.lane == lane]

    def living(self, sink, lane):
        """Return the letters of a lane that count, by number."""
        return {
            number: letter
            for number, letter in self.letters.items()
            if letter.sink == sink and letter.item.lane == lane and not letter.purged
        }

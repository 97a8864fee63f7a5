"""Whatever is done to the spool, it agrees with a model of twenty lines, and the audit
agrees with both.
"""

import tempfile
from pathlib import Path

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api.spool import DeadLetter, SpoolContext, lane_of
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import TIME, arrival, keys_of
from bridge.testing.fakes import FakeReport, FixedClock

LANES, BATCH = 2, 3
WANTED = {"everything": None, "only towers": frozenset(["towers"])}


@define
class Ledger:
    """What a sink must have received, lane by lane."""

    start: dict[int, int]
    position: dict[int, int]
    counts: dict[str, int] = field(factory=lambda: {"delivered": 0, "filtered": 0, "dead": 0})


class Model:
    """The spool as lists."""

    def __init__(self):
        self.keys = set()
        self.lanes = {lane: [] for lane in range(LANES)}
        self.ledgers = {}

    def append(self, events):
        new = [
            event for event in dict.fromkeys(events) if (event.source, event.key) not in self.keys
        ]
        fresh = {(event.source, event.key): event for event in reversed(new)}.values()
        for event in new:
            if event in fresh:
                self.keys.add((event.source, event.key))
                self.lanes[lane_of(event.device, LANES)].append(event)
        return len(fresh)

    def begin(self, sink):
        heads = {lane: len(events) for lane, events in self.lanes.items()}
        self.ledgers.setdefault(sink, Ledger(dict(heads), dict(heads)))

    def waiting(self, sink, lane):
        wanted = WANTED[sink]
        events = self.lanes[lane][self.ledgers[sink].position[lane] :]
        return [event.key for event in events if wanted is None or event.source in wanted]

    def settle(self, sink, lane, keys, filtered, dead):
        """Move the cursor behind the last of the keys, over whatever is not wanted on
        the way.
        """
        ledger = self.ledgers[sink]
        left = list(keys)
        while left:
            event = self.lanes[lane][ledger.position[lane]]
            ledger.position[lane] += 1
            if (WANTED[sink] or {event.source}) & {event.source} and event.key == left[0]:
                left.pop(0)
            else:
                ledger.counts["filtered"] += 1
        ledger.counts["filtered"] += filtered
        ledger.counts["dead"] += dead
        ledger.counts["delivered"] += len(keys) - filtered - dead


events = st.builds(
    arrival,
    st.integers(0, 25).map(str),
    st.sampled_from(["meter", "gauge", "valve"]),
    source=st.sampled_from(["towers", "gate"]),
)
sinks = st.sampled_from(sorted(WANTED))
steps = st.one_of(
    st.tuples(st.just("append"), st.lists(events, max_size=8)),
    st.tuples(
        st.just("deliver"), sinks, st.integers(1, BATCH), st.integers(0, 2), st.integers(0, 2)
    ),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("prune")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=25))
async def test_the_spool_agrees_with_its_model(steps):
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        context = SpoolContext(Path(folder), (), FakeReport(), FixedClock(TIME))
        lives = [[]]
        for step in steps:
            if step == ("reopen",):
                lives.append([])
            else:
                lives[-1].append(step)
        for life in lives:
            async with (
                open_sqlite(SqliteSettings(lanes=LANES), context) as spool,
                spool.subscribe("everything", batch=BATCH) as everything,
                spool.subscribe(
                    "only towers", batch=BATCH, sources=WANTED["only towers"]
                ) as towers,
            ):
                for sink in WANTED:
                    model.begin(sink)
                for kind, *arguments in life:
                    if kind == "append":
                        assert await spool.append(arguments[0]) == model.append(arguments[0])
                    elif kind == "prune":
                        await spool.housekeeping.prune_events()
                    else:
                        await deliver(
                            model, {"everything": everything, "only towers": towers}, *arguments
                        )
                await compare(model, spool)
        found = audit(context.directory)
        assert found.problems == ()


async def deliver(model, subscriptions, sink, count, filtered, dead):
    """Take what the model says there is to take, settle a part of it and give the rest
    back.
    """
    if not any(model.waiting(sink, lane) for lane in range(LANES)):
        return
    lease = await subscriptions[sink].take()
    assert keys_of(lease.events) == model.waiting(sink, lease.lane)[: len(lease.events)]
    count = min(count, len(lease.events))
    dead = min(dead, count)
    filtered = min(filtered, count - dead)
    keys = keys_of(lease.events[:count])
    letters = [DeadLetter(index, "refused", 422, 1, TIME) for index in range(dead)]
    await lease.settle(count, filtered=filtered, dead=letters)
    model.settle(sink, lease.lane, keys, filtered, dead)
    lease.give_back()


async def compare(model, spool):
    for account in await spool.accounts(["everything", "only towers"]):
        ledger = model.ledgers[account.sink]
        heads = {lane: len(events) for lane, events in model.lanes.items()}
        assert account.balanced
        assert account.received == sum(heads[lane] - ledger.start[lane] for lane in heads)
        assert (account.delivered, account.dead) == (
            ledger.counts["delivered"],
            ledger.counts["dead"],
        )
        # Unwanted events behind the last one settled may have been passed already.
        assert account.filtered >= ledger.counts["filtered"]
        wanted = [model.waiting(account.sink, lane) for lane in heads]
        assert account.pending >= sum(map(len, wanted))

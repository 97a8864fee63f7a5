"""Cursors of the model that go back, and sinks of it that are purged or renamed."""

from bridge.api.spool import lane_of
from tests.spool.model import LANES, Queue


def rewind(model, sink, hour, pruned):
    model.generations[sink] += 1
    again = []
    for lane, row in enumerate(model.rows[sink]):
        below = model.lanes[lane][pruned[lane] : row.position]
        first = next((item.index for item in below if item.hour >= hour), row.position)
        if first < row.position:
            parked = model.parked(sink, lane)
            again += [i for i in below if i.index >= first and i not in parked]
            row.counts["again"] += row.position - first
            row.rewound = max(row.rewound, row.position)
            row.position = first
            take_back(model, sink, lane)
    return again


def take_back(model, sink, lane, above=None):
    """Forget what is parked or a letter above a cursor."""
    row = model.rows[sink][lane]
    above = row.position if above is None else above
    for device, queue in list(model.queues[sink].items()):
        kept = [event for event in queue.events if event[0].lane != lane or event[0].index < above]
        row.counts["again"] -= len(queue.events) - len(kept)
        queue.events = kept
        if not kept:
            del model.queues[sink][device]
    for number, letter in model.living(sink, lane).items():
        if letter.item.index >= above:
            del model.letters[number]
            row.counts.update(again=-1, dead=-1)


def purge(model, sink):
    model.generations[sink] += 1
    rows = model.rows.pop(sink, [])
    parked = [model.parked(sink, lane) for lane in range(LANES)] if rows else []
    model.queues.pop(sink, None)
    for letter in model.letters.values():
        letter.purged = letter.purged or letter.sink == sink
    return sum(map(len, parked)) + sum(
        len(model.lanes[lane]) - row.position for lane, row in enumerate(rows)
    )


def rename(model, sink, name):
    if sink == name:
        return
    for each in sink, name:
        model.generations[each] += 1
    if name not in model.rows:
        model.rows[name] = model.rows.pop(sink)
        model.queues[name] = model.queues.pop(sink)
    else:
        for lane in range(LANES):
            merge(model, lane, sink, name)
        del model.rows[sink], model.queues[sink]
    for letter in model.letters.values():
        if letter.sink == sink:
            letter.sink = name


def merge(model, lane, sink, name):
    """Make one row of two: the lower one, and what the other one owes below it."""
    ends = {each: model.rows[each][lane].position for each in (sink, name)}
    stays, goes = (sink, name) if ends[sink] < ends[name] else (name, sink)
    row = model.rows[stays][lane]
    for each in (stays, goes):
        take_back(model, each, lane, row.position)
    known = {*model.parked(stays, lane)}
    known |= {letter.item for letter in model.living(stays, lane).values()}
    for number, letter in model.living(goes, lane).items():
        if letter.item in known:
            del model.letters[number]
        else:
            letter.sink = stays
            row.counts.update(again=1, dead=1)
    queues = {stays: {}, goes: {}}
    for each in (stays, goes):
        for device in [d for d in model.queues[each] if lane_of(d, LANES) == lane]:
            queues[each][device] = model.queues[each].pop(device)
    for device, queue in queues[goes].items():
        added = [event for event in queue.events if event[0] not in known]
        row.counts["again"] += len(added)
        if added:
            there = queues[stays].setdefault(device, Queue(None, None))
            there.due = there.attempts = None
            for item, letter in added:
                there.insert(item, letter)
    for letter in model.living(stays, lane).values():
        letter.sink = name
    model.queues[name] |= queues[stays]
    model.rows[name][lane] = row

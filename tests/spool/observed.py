"""What an engine says, held against the model."""

from bridge.api.spool import LetterFilter, Spool
from tests.spool.model import LANES, Model

# Seconds; after a crash the running time may be a little less than it was.
SOON = 10.0


async def agree(model: Model, spool: Spool, withheld: dict[str, set[str]]) -> set[str]:
    """Check that the spool says what the model says; how far cursors went over what
    cannot be lent is taken from the spool.

    Returns the sinks of which it cannot be told, because unwanted events of two lanes
    may have been passed over.

    :param withheld: devices that were withheld from a lease that was settled just now.
    """
    accounts = {account.sink: account for account in await spool.accounts(tuple(model.rows))}
    assert accounts.keys() == model.rows.keys()
    inexact = set()
    for sink, account in accounts.items():
        reported = {device.device: device for device in await spool.parked(sink)}
        adopt_parked(model, sink, reported, withheld.get(sink, set()))
        if not adopt_filtered(model, sink, account.filtered):
            inexact.add(sink)
        check_account(model, sink, account, reported)
        check_parked(model, sink, reported)
    await check_letters(model, spool)
    return inexact


def unlendable(model, sink, lane, withheld):
    """Return what stands at a cursor and cannot be lent."""
    found = []
    for item in model.lanes[lane][model.rows[sink][lane].position :]:
        if model.wants(sink, item) and item.device not in withheld | model.queues[sink].keys():
            break
        found.append(item)
    return found


def adopt_parked(model, sink, reported, withheld):
    """Move cursors over events of parked devices, as many as the engine parked."""
    mine = {device: len(queue.events) for device, queue in model.queues[sink].items()}
    more = {device: reported[device].events - mine.get(device, 0) for device in reported}
    for lane in range(LANES):
        end = 0
        for item in unlendable(model, sink, lane, withheld):
            if model.wants(sink, item):
                if not more.get(item.device):
                    break
                more[item.device] -= 1
                end = item.index + 1
        model.pass_to(sink, lane, end, withheld | model.queues[sink].keys())
    assert not any(more.values()), f"{sink} has parked more than it can, or less: {more}"


def adopt_filtered(model, sink, filtered):
    """Move cursors over unwanted events, if it can be told in which lane they are."""
    runs = []
    for lane in range(LANES):
        run = unlendable(model, sink, lane, set())
        unwanted = [index for index, item in enumerate(run) if model.wants(sink, item)]
        runs.append(run[: unwanted[0]] if unwanted else run)
    passed = filtered - sum(row.counts["filtered"] for row in model.rows[sink])
    assert 0 <= passed <= sum(map(len, runs)), f"{sink} has filtered {passed} too many"
    lanes = [lane for lane in range(LANES) if runs[lane]]
    if 0 < passed < sum(map(len, runs)) and len(lanes) > 1:
        return False
    for lane in lanes if passed else ():
        row = model.rows[sink][lane]
        end = row.position + min(passed, len(runs[lane]))
        model.pass_to(sink, lane, end, set())
    return True


def check_account(model, sink, account, reported):
    assert account.balanced, account
    rows = model.rows[sink]
    heads = sum(map(len, model.lanes))
    assert account.received == heads - sum(row.start for row in rows)
    for name in "delivered", "dead", "expired", "again":
        expected = sum(row.counts[name] for row in rows)
        assert getattr(account, name) == expected, f"{sink}: {name} {account}, not {expected}"
    assert account.parked == sum(device.events for device in reported.values())
    assert account.parked_devices == len(reported)


def check_parked(model, sink, reported):
    queues = model.queues[sink]
    assert reported.keys() == queues.keys()
    assert list(reported) == sorted(queues)
    for device, queue in queues.items():
        due = reported[device].due <= SOON
        queue.due = due if queue.due is None else queue.due
        if queue.attempts is None:
            queue.attempts = reported[device].attempts
        assert (due, reported[device].attempts) == (queue.due, queue.attempts), reported[device]


async def check_letters(model, spool):
    """Check the letters, and learn the numbers of new ones."""
    listed = {letter.id: letter for letter in await spool.letters(LetterFilter(), limit=10_000)}
    assert list(listed) == sorted(listed)
    for number in listed.keys() - model.letters.keys():
        assert number > model.newest_letter
        kept = listed[number]
        item = model.by_sequence[kept.sequence]
        made = [new for new in model.unnumbered if (new.sink, new.item) == (kept.sink, item)]
        assert made, f"nobody made letter {number}: {kept}"
        model.unnumbered.remove(made[0])
        model.letters[number] = made[0]
    assert model.unnumbered == []
    model.newest_letter = max(listed, default=model.newest_letter)
    names = {salt: name for name, salt in model.salts.items()}
    assert listed.keys() == model.letters.keys()
    for number, letter in model.letters.items():
        kept = listed[number]
        assert (kept.sink, kept.device, kept.purged) == (
            letter.sink,
            letter.item.device,
            letter.purged,
        )
        assert (kept.reason, kept.attempts) == letter.said
        assert kept.source == names[letter.item.salt]
        assert model.by_sequence[kept.sequence] is letter.item

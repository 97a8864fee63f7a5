"""The lives of sinks, in the open transaction: how they begin, are renamed, go back,
and end.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from bridge.api.spool import Rewind
from bridge.spool.letters import forget_letter, forget_letters_above, move_letters
from bridge.spool.parking import adopt_queue, forget_parked, forget_parked_above
from bridge.spool.read import time_of
from bridge.spool.schema import LANE_BITS
from bridge.spool.transaction import Transaction


def begin(transaction: Transaction, sink: str, start: Literal["now", "beginning"]) -> None:
    """Make cursors for a sink that has none."""
    if transaction.value("SELECT count(*) FROM cursors WHERE sink = ?", (sink,)):
        return
    transaction.execute(
        "INSERT INTO cursors (sink, lane, start, position, generation) "
        "SELECT :sink, lane, iif(:now, head, pruned), iif(:now, head, pruned), :generation "
        "FROM heads",
        {"sink": sink, "now": start == "now", "generation": _next_generation(transaction)},
    )
    transaction.execute("INSERT OR REPLACE INTO sinks (name) VALUES (?)", (sink,))
    transaction.committed.append(partial(transaction.state.sinks.add, sink))


def purge(transaction: Transaction, sink: str) -> int:
    """Forget a sink; returns how many events it owed."""
    pending: int = transaction.value(
        "SELECT ifnull(sum(head - position), 0) FROM cursors JOIN heads USING (lane) "
        "WHERE sink = ?",
        (sink,),
    )
    pending += forget_parked(transaction, sink)
    for table in ("letters", "dead_letters"):
        transaction.execute(
            f"UPDATE {table} SET purged = 1 WHERE sink = ? AND NOT purged",  # noqa: S608  # ours
            (sink,),
        )
    _forget(transaction, sink)
    return pending


def rewind(
    transaction: Transaction, sink: str, found: dict[int, int], *, plan: bool = False
) -> Rewind:
    """Move cursors back.

    :param found: by lane, the lowest position that was received at the time or later.
    :param plan: only say what would be pending again.
    :raises LookupError: when the spool knows no such sink.
    """
    rows = transaction.execute(
        "SELECT lane, position, pruned FROM cursors JOIN lanes USING (lane) WHERE sink = ?",
        (sink,),
    ).fetchall()
    if not rows:
        raise LookupError(f"the spool knows no sink {sink!r}")
    _have_letters_moved(transaction)
    total, reaches = 0, []
    for lane, position, pruned in rows:
        back = max(found.get(lane, position + 1) - 1, pruned)
        if back >= position:
            continue
        first = lane << LANE_BITS
        again, oldest = transaction.execute(
            "SELECT count(*), min(received) FROM events WHERE id BETWEEN ? AND ? AND id NOT IN "
            "(SELECT sequence FROM parked p JOIN parked_devices d ON d.id = p.device "
            "WHERE d.sink = ? AND d.lane = ?)",
            (first + back + 1, first + position, sink, lane),
        ).fetchone()
        total += again
        reaches += [oldest] if again else []
        if plan:
            continue
        parked = forget_parked_above(transaction, sink, lane, first + back)
        dead = forget_letters_above(transaction, sink, lane, first + back)
        transaction.execute(
            "UPDATE cursors SET position = ?, again = again + ?, dead = dead - ?, "
            "rewound = max(rewound, position) WHERE sink = ? AND lane = ?",
            (back, position - back - parked - dead, dead, sink, lane),
        )
    if not plan:
        raise_generation(transaction, sink)
    return Rewind(total, time_of(min(reaches)) if reaches else None)


def come_back(transaction: Transaction, sink: str) -> int:
    """Let a sink go on that had left: what is parked goes first, what came meanwhile is
    counted as expired. Returns how much that was.
    """
    missed: int = transaction.value(
        "SELECT ifnull(sum(head - position), 0) FROM cursors JOIN heads USING (lane) "
        "WHERE sink = ?",
        (sink,),
    )
    transaction.execute(
        "UPDATE cursors SET expired = expired + (SELECT head FROM heads h "
        "WHERE h.lane = cursors.lane) - position, "
        "position = (SELECT head FROM heads h WHERE h.lane = cursors.lane) WHERE sink = ?",
        (sink,),
    )
    transaction.execute("UPDATE sinks SET left = 0, orphaned = NULL WHERE name = ?", (sink,))
    raise_generation(transaction, sink)
    transaction.committed.append(partial(transaction.state.left.discard, sink))
    return missed


def rename(transaction: Transaction, sink: str, name: str) -> None:
    """Give what a sink owes and keeps another name.

    :raises LookupError: when the spool knows no such sink.
    """
    lanes = transaction.execute(
        "SELECT lane FROM cursors WHERE sink = ? ORDER BY lane", (sink,)
    ).fetchall()
    if not lanes:
        raise LookupError(f"the spool knows no sink {sink!r}")
    if sink == name:
        return
    _have_letters_moved(transaction)
    for each in {sink, name} & transaction.state.left:
        come_back(transaction, each)  # what lies above its cursors may be deleted
    for (lane,) in lanes:
        _merge_lane(transaction, sink, name, lane)
    for table in ("letters", "dead_letters"):
        transaction.execute(
            f"UPDATE {table} SET sink = ? WHERE sink = ?",  # noqa: S608  # names of ours
            (name, sink),
        )
    transaction.execute("INSERT OR IGNORE INTO sinks (name) VALUES (?)", (name,))
    _forget(transaction, sink)
    raise_generation(transaction, name)
    transaction.committed.append(partial(transaction.state.sinks.add, name))
    _move_state(transaction, f"sink:{sink}", f"sink:{name}")


def _merge_lane(transaction: Transaction, sink: str, name: str, lane: int) -> None:
    """Let one of two sinks stay in a lane: the one that has come less far."""
    positions = dict(
        transaction.execute(
            "SELECT sink, position FROM cursors WHERE sink IN (?, ?) AND lane = ?",
            (sink, name, lane),
        ).fetchall()
    )
    if name not in positions or positions[sink] < positions[name]:
        stays, goes = sink, name
    else:
        stays, goes = name, sink
    cursor = (lane << LANE_BITS) + positions[stays]
    if goes in positions:
        parked, dead = _hand_over(transaction, goes, stays, lane, cursor)
        transaction.execute("DELETE FROM cursors WHERE sink = ? AND lane = ?", (goes, lane))
        transaction.execute(
            "UPDATE cursors SET again = again + ?, dead = dead + ? WHERE sink = ? AND lane = ?",
            (parked + dead, dead, stays, lane),
        )
    transaction.execute(
        "UPDATE cursors SET sink = ? WHERE sink = ? AND lane = ?", (name, stays, lane)
    )
    transaction.execute(
        "UPDATE parked_devices SET sink = ? WHERE sink = ? AND lane = ?", (name, stays, lane)
    )
    devices = transaction.execute(
        "SELECT device FROM parked_devices WHERE sink = ? AND lane = ?", (name, lane)
    ).fetchall()
    for (device,) in devices:
        transaction.committed.append(
            partial(transaction.state.set_parked, name, device, parked=True)
        )


def _hand_over(
    transaction: Transaction, goes: str, stays: str, lane: int, cursor: int
) -> tuple[int, int]:
    """Give what one sink has parked and dead in a lane to the other, as far as that one
    does not come by it; returns how many events of both.
    """
    forget_parked_above(transaction, goes, lane, cursor)
    forget_letters_above(transaction, goes, lane, cursor)
    parked = sum(
        adopt_queue(transaction, stays, lane, device, queue)
        for queue, device in transaction.execute(
            "SELECT id, device FROM parked_devices WHERE sink = ? AND lane = ?", (goes, lane)
        ).fetchall()
    )
    dead = 0
    for number, twice in transaction.execute(
        "SELECT id, EXISTS (SELECT 1 FROM letters s WHERE s.sink = :stays AND NOT s.purged "
        "AND s.sequence = l.sequence) OR EXISTS (SELECT 1 FROM parked p JOIN parked_devices d "
        "ON d.id = p.device WHERE d.sink = :stays AND p.sequence = l.sequence) "
        "FROM letters l WHERE l.sink = :goes AND NOT l.purged "
        "AND l.sequence BETWEEN :first AND :last",
        {"stays": stays, "goes": goes, "first": lane << LANE_BITS, "last": cursor},
    ).fetchall():
        if twice:
            forget_letter(transaction, number)
        else:
            dead += 1
    return parked, dead


def rename_source(transaction: Transaction, source: str, name: str) -> None:
    """Give a source another name; what its keys are made of stays.

    :raises LookupError: when the spool knows no such source.
    :raises ValueError: when it knows another one of the new name.
    """
    known = transaction.state.sources
    if source not in known:
        raise LookupError(f"the spool knows no source {source!r}")
    if name == source:
        return
    if name in known:
        raise ValueError(f"the spool knows a source {name!r} already")
    transaction.execute("UPDATE sources SET name = ? WHERE name = ?", (name, source))
    renamed = {name if each == source else each: number for each, number in known.items()}
    transaction.committed.append(partial(setattr, transaction.state, "sources", renamed))
    for kind in ("source", "intake"):
        _move_state(transaction, f"{kind}:{source}", f"{kind}:{name}")


def _move_state(transaction: Transaction, instance: str, name: str) -> None:
    """Let what an instance keeps go along with its name, where the other keeps
    nothing of the kind.
    """
    transaction.execute(
        "UPDATE OR IGNORE state SET instance = ? WHERE instance = ?", (name, instance)
    )
    transaction.execute("DELETE FROM state WHERE instance = ?", (instance,))
    transaction.committed.append(partial(transaction.state.move_instance, instance, name))


def _have_letters_moved(transaction: Transaction) -> None:
    """Those of version 1 count like all others; after some minutes there are none."""
    while move_letters(transaction):
        pass


def _forget(transaction: Transaction, sink: str) -> None:
    transaction.execute("DELETE FROM cursors WHERE sink = ?", (sink,))
    transaction.execute("DELETE FROM sinks WHERE name = ?", (sink,))
    transaction.committed.append(partial(transaction.state.sinks.discard, sink))
    transaction.committed.append(partial(transaction.state.left.discard, sink))
    transaction.committed.append(partial(transaction.state.forget_parked, sink))


def raise_generation(transaction: Transaction, sink: str) -> None:
    """Make every lease that is in hand stale."""
    transaction.execute(
        "UPDATE cursors SET generation = ? WHERE sink = ?", (_next_generation(transaction), sink)
    )
    transaction.committed.append(transaction.state.cursors_moved)


def _next_generation(transaction: Transaction) -> int:
    """One counter for the whole spool: no generation comes twice."""
    generation: int = transaction.value(
        "INSERT INTO meta VALUES ('generation', 1) "
        "ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value"
    )
    return generation

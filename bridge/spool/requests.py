"""What the writer is asked for, and how many of it go into one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from attrs import frozen

from bridge.api import SpoolUnavailable
from bridge.api.spool import Stale
from bridge.spool.append import Append, append_all
from bridge.spool.log import TRANSACTION
from bridge.spool.thread import PendingRequest
from bridge.spool.transaction import Transaction

Operation: TypeAlias = Callable[[Transaction], Any]


@frozen
class Maintenance:
    """Work for the writer's thread outside of a transaction."""

    run: Callable[[], Any]


Request: TypeAlias = Append | Operation | Maintenance
S = TypeVar("S", Append, Operation)


def parts(
    appends: Sequence[PendingRequest[Append]],
) -> Iterator[list[PendingRequest[Append]]]:
    """Cut appends into parts that fit into the log; each append stays whole."""
    part: list[PendingRequest[Append]] = []
    size = 0
    for asked in appends:
        if part and size + asked.request.size > TRANSACTION:
            yield part
            part, size = [], 0
        part.append(asked)
        size += asked.request.size
    if part:
        yield part


def refuse(waiting: Sequence[PendingRequest[S]], reason: str | None) -> None:
    """Tell those who wait that nothing was written."""
    for asked in waiting:
        asked.error = SpoolUnavailable(reason or "the spool cannot be written")


def carry_out(
    transaction: Transaction,
    appends: Sequence[PendingRequest[Append]],
    operations: Sequence[PendingRequest[Operation]],
) -> int:
    """Write appends, and as many operations as the log has room for; returns how many
    of the latter.
    """
    if appends:
        counts = append_all(transaction, [asked.request for asked in appends])
        for asked, count in zip(appends, counts, strict=True):
            asked.answer = count
    for done, asked_for in enumerate(operations, start=1):
        asked_for.error = None
        try:
            asked_for.answer = asked_for.request(transaction)
        except Stale as stale:  # raised before it wrote anything
            asked_for.error = stale
        if transaction.copied >= TRANSACTION:
            return done
    return len(operations)

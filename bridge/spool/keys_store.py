"""Keys of a transaction: which are known, and the new ones stored.

Mostly all are new. So they are stored at once, without a question, and the table itself
says if one of them is there: then its statement stores nothing, and what is known is
asked. That costs more than asking at first; so where something was known, the next
commit asks at first.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from bridge.spool.keys import STORED, hour_of
from bridge.spool.statements import insert_rows, known_keys, parts
from bridge.spool.transaction import Transaction

SECONDS_A_MINUTE = 60

_COUNT = (
    "ON CONFLICT (hour) DO UPDATE SET "
    "count = count + excluded.count, newest = max(newest, excluded.newest)"
)


def known_before(transaction: Transaction, keys: Collection[bytes], former: bool) -> set[bytes]:
    """Return those of the given keys that are stored, as far as it must be asked now:
    ``store_keys`` finds the others.

    :param keys: a second and 16 bytes of digest each.
    :param former: whether former keys are among them: these are never stored, so only
        a question finds them.
    """
    known: set[bytes] = set()
    if former or transaction.state.repeats:
        found = known_keys(transaction.connection, "known", "key", {key[:STORED] for key in keys})
        known = {key for key in keys if key[:STORED] in found}
    if transaction.state.old_keys is not None:
        digests = [key[4:] for key in keys]
        old = transaction.state.old_keys.known(transaction.connection, digests)
        if old:
            known.update(key for key in keys if key[4:] in old)
    return known


def store_keys(transaction: Transaction, keys: Iterable[bytes]) -> set[bytes]:
    """Store keys that are all different; returns those that were stored before."""
    minute = int(transaction.running) // SECONDS_A_MINUTE
    # In the order of the tree: neighbours share a page.
    rows = sorted([(key[:STORED], minute) for key in keys])
    known: set[bytes] = set()
    for part in parts(rows):
        known |= _store(transaction, part)
    stored = rows if not known else [row for row in rows if row[0] not in known]
    hours = Counter([hour_of(key) for key, _ in stored])
    insert_rows(
        transaction.connection,
        "hours (hour, count, oldest, newest)",
        [(hour, count, minute, minute) for hour, count in sorted(hours.items())],
        _COUNT,
    )
    return known


def _store(transaction: Transaction, rows: Sequence[tuple[bytes, int]]) -> set[bytes]:
    """Store as many keys as fit into one statement; returns those that were stored
    before.
    """
    try:
        insert_rows(transaction.connection, "known", rows)
    except sqlite3.IntegrityError:
        # Nothing of this statement is stored.
        known = known_keys(transaction.connection, "known", "key", [key for key, _ in rows])
        if not known:
            raise
        insert_rows(transaction.connection, "known", [row for row in rows if row[0] not in known])
        return known
    return set()

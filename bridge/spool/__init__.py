"""The spool that comes with bridge: one SQLite file. It is a plugin as any other engine
would be.

    append ─▶ queue ─▶ writer thread ── one transaction for all that wait, one fsync ──▶ answers
    take   ─▶ queue ─▶ reader thread ── the next events of a lane ──▶ lease ── settle ─▶ queue of the writer

sqlite.py        the spool as the contract wants it, and how it is opened
settings.py      the settings of the section [spool]
subscription.py  the way out: lanes in turn, leases
instances.py     the durable memory of sources and sinks
housekeeping.py  in the background: pruning, room on the disk, recovery
writer.py        group commit, and what follows when the file cannot be written
appending.py     arrivals into rows, duplicates left out
operations.py    everything else that is written
reading.py       everything that is read
audit.py         the proof, from the rows, that nothing was lost
thread.py        a thread that owns a connection
schema.py        tables, versions, connections
files.py         the files of a spool: names, modes, the lock, the reserve
"""

from __future__ import annotations

from bridge.api import SpoolKind, hookimpl
from bridge.spool.audit import audit
from bridge.spool.settings import SqliteSettings
from bridge.spool.sqlite import open_sqlite


@hookimpl
def bridge_spool_kinds() -> list[SpoolKind[SqliteSettings]]:
    """Give the SQLite spool."""
    return [
        SpoolKind(
            "sqlite",
            SqliteSettings,
            open_sqlite,
            audit=audit,
            help="one SQLite file in the state folder",
        )
    ]

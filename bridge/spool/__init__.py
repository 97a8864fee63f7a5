"""The spool that comes with bridge: one SQLite file. It is a plugin as any other engine
would be.

    append ─▶ channel ─▶ writer thread: one transaction, one fsync for all that wait
    take   ─▶ channel ─▶ reader thread: the next events of a lane ─▶ lease
    settle ─▶ channel ─▶ writer thread
"""

from __future__ import annotations

from bridge.api import SpoolKind, hookimpl
from bridge.spool.audit import audit
from bridge.spool.problems import PROBLEMS
from bridge.spool.settings import SqliteSettings
from bridge.spool.sqlite import open_sqlite
from bridge.spool.store.tools import TOOLS


@hookimpl
def bridge_spool_kinds() -> list[SpoolKind[SqliteSettings]]:
    """Return the SQLite spool."""
    return [
        SpoolKind(
            "sqlite",
            SqliteSettings,
            open_sqlite,
            audit=audit,
            store=TOOLS,
            help="one SQLite file in the state folder",
            problems=PROBLEMS,
        )
    ]

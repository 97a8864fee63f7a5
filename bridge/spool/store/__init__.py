"""Tools on the file of a spool: what ``bridged store`` does.

Those that write take the lock, so that they refuse beside a running bridge; those that
only read do so in short transactions, beside it or not. What changes a file has a plan
first, writes another file, and puts that in its place when it is on the disk as a
whole.
"""

from bridge.spool.store.accept import Accepted, accept
from bridge.spool.store.backup import Backup, backup, backup_connection
from bridge.spool.store.check import Check, check
from bridge.spool.store.compact import Compaction, compact
from bridge.spool.store.export import export
from bridge.spool.store.repair import Repair, repair

__all__ = [
    "Accepted",
    "Backup",
    "Check",
    "Compaction",
    "Repair",
    "accept",
    "backup",
    "backup_connection",
    "check",
    "compact",
    "export",
    "repair",
]

"""The problems of this engine alone; those of every engine are in
``bridge.api.spool.problems``.
"""

from __future__ import annotations

from bridge.api import Problem

SQLITE_DEFECTIVE = Problem(
    "sqlite-defective",
    meaning="The SQLite library of this machine has a defect (3.7 to 3.51.2): when two connections "
    "write to a file at once, a commit can be lost. The bridge writes by one connection only, so "
    "nothing is lost as long as no other program opens the spool.",
    remedy="Open the spool with no other program while the bridge runs, `sqlite3` included; all "
    "commands of `bridged` are safe, and `bridged store backup` makes a copy to look into. Update "
    "SQLite to 3.51.3 or later when your system has it.",
)

PROBLEMS = (SQLITE_DEFECTIVE,)

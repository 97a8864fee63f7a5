"""The problems of this source."""

from __future__ import annotations

from bridge.api import Problem

UNSAFE_SETTINGS = Problem(
    "idigi-unsafe-settings",
    meaning="The session is attached, with settings that give something up: the password in clear "
    "text (`insecure`), what is under way when a connection breaks (`ack_mode = off`), or what "
    "happens while the bridge is away (`replay = no`).",
    remedy="Change the settings that the text names, then restart the bridge.",
)
RECORD_LOST = Problem(
    "idigi-record-lost",
    meaning="The monitor was deleted or had to be changed, and what it had recorded is gone: what "
    "happened since the last event is missing. Data points of the `streams` of the section can be "
    "read back.",
    remedy="Nothing mends it but `bridged idigi backfill`, which reads back the streams. See who "
    "deletes or changes monitors (`bridged idigi monitors list`), and give each bridge a "
    "`description` of its own.",
)
MONITOR_CHANGED = Problem(
    "idigi-monitor-changed",
    meaning="Somebody has changed the monitor in the vendor's account, so it is not as the "
    "settings want it and what it had recorded is gone. The session goes on as it is.",
    remedy="Change it back in the account, or change the settings to what it is now and run "
    "restart the bridge; `bridged idigi monitors show ID` shows it.",
)
BLOCK_WAITS = Problem(
    "idigi-block-waits",
    meaning="A block of events waits long to be stored, and nothing more is read until it is. It "
    "is not acknowledged, so nothing is lost: the server keeps what follows.",
    remedy="Look at the spool in `bridged status`: it is full, or its disk is slow or has errors. "
    "The session goes on by itself.",
)

PROBLEMS = (UNSAFE_SETTINGS, RECORD_LOST, MONITOR_CHANGED, BLOCK_WAITS)

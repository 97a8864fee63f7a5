"""The problems of a spool, whatever its engine."""

from __future__ import annotations

from bridge.api.problems import Problem

# Room: what fills it, and what gives way.

SPOOL_FULL = Problem(
    "spool-full",
    meaning="What sinks still owe fills the spool up to its bound, so sources are refused: a "
    "webhook hears 503, nothing is acknowledged. All that was acknowledged is kept; what a vendor "
    "does not send again meanwhile is missed, and read back if it keeps a history.",
    remedy="`bridged status` shows which sink is behind: mend its destination, and events are "
    "taken again once there is room. If it is gone for good, remove its section and run `bridged "
    "sink purge NAME`; otherwise raise `max_size`, or bound that sink by `max_backlog`.",
)
DISK_FULL = Problem(
    "disk-full",
    meaning="The disk, or a quota, has no room for new events, so sources are refused as by a full "
    "spool. Sinks go on, and all that was acknowledged is kept.",
    remedy="Make room on the file system of the `state` folder, or raise the quota; events are "
    "taken again by themselves soon after. If other files leave no room, lower `max_size`, or move "
    "the folder to a larger disk.",
)
SPOOL_FILLS = Problem(
    "spool-fills",
    meaning="As it went lately, the spool or its disk is full after the time that the text says, "
    "and sources are refused from then on. Nothing is lost yet.",
    remedy="`bridged status` shows which sink is behind and why; mend its destination. If that "
    "takes longer than the time that is left, raise `max_size`, make room on the disk, or bound "
    "that sink by `max_backlog`.",
)
SIZE_CANNOT_FIT = Problem(
    "size-cannot-fit",
    meaning="The disk cannot hold a spool of `max_size` beside its other files, so sources would "
    "be refused at the smaller size that the text says. Nothing is lost yet.",
    remedy="Lower `max_size` to what fits, make room on the disk, or move the `state` folder to a "
    "larger one.",
)
BACKLOG_EXPIRES = Problem(
    "backlog-expires",
    meaning="A sink owes as much as its `max_backlog` allows, and its settings say `when_full = "
    "expire`: its oldest events go without being delivered, each counted as expired. Other sinks "
    "lose nothing.",
    remedy="Mend its destination: `bridged status` says why it does not take events. To lose none "
    "for a longer time, raise `max_backlog`; to refuse sources rather than lose any, set "
    "`when_full = refuse`. Then restart the bridge.",
)
KEY_WINDOW_SHORT = Problem(
    "key-window-short",
    meaning="The keys by which repeated events are known need more than `dedup_size`, so the "
    "oldest give way before they are `dedup_window` old. What a vendor sends again after more than "
    "the time that the text says is delivered twice; nothing is lost.",
    remedy="Raise `dedup_size`. If no vendor repeats an event after so long, lower `dedup_window` "
    "instead.",
)
KEEP_WINDOW_SHORT = Problem(
    "keep-window-short",
    meaning="There is no room to keep delivered events for as long as `keep` says, so a rewind, a "
    "trace and a sink that begins late reach back for the time that the text says only. No event "
    "that is still owed is touched.",
    remedy="Raise `max_size`, or lower `keep` to what is needed.",
)
LETTERS_EXPIRE = Problem(
    "letters-expire",
    meaning="Dead letters need more than their share of the spool, so the oldest go, or will do so "
    "soon. Each that goes is counted as expired, and what it held is lost.",
    remedy="`bridged dead list` shows them by reason. `bridged dead export` saves them in a file; "
    "then mend the reason and run `bridged dead replay`, or `bridged dead drop` for what nobody "
    "needs. Raising `max_size` raises their share.",
)

# Events that wait, or that nobody takes.

DEAD_LETTERS = Problem(
    "dead-letters",
    meaning="A destination refused events for good, and nobody has looked at them yet. They are "
    "kept with the reason and can be delivered later; all other events go on.",
    remedy="`bridged dead list` shows them by reason, `bridged dead show NUMBER` one with its "
    "event. Mend the reason, then `bridged dead replay`; `bridged dead drop` forgets what nobody "
    "needs.",
)
PARKED_DEVICES = Problem(
    "parked-devices",
    meaning="A destination does not take the events of some devices for now, so these wait, in "
    "order, while all other devices go on. They are tried again by themselves, at least every "
    "hour; what has waited for `park_for` becomes a dead letter.",
    remedy="`bridged parked` shows the devices, and why each waits. Mend that at the destination, "
    "for example by creating the device there; `bridged retry SINK DEVICE` then tries at once.",
)
ORPHANED_SINK = Problem(
    "orphaned-sink",
    meaning="The spool keeps events for a sink that no section names any more. They take room; "
    "after `orphan_grace` what it owes is set aside, and what comes later it misses, counted as "
    "expired.",
    remedy="If it has another name now, run `bridged sink rename OLD NEW`; if it is gone, `bridged "
    "sink purge NAME` forgets it and what it owes. If it is only away for a while, leave its "
    "section in the file and run `bridged pause NAME`.",
)

# The store itself.

SPOOL_FAILING = Problem(
    "spool-failing",
    meaning="The spool cannot be written although there is room: the disk has errors, or another "
    "program holds the file. Nothing is acknowledged or settled meanwhile; it is opened again and "
    "checked by itself until it can be trusted. What was acknowledged before is in it.",
    remedy="Look at the disk and at the kernel's log (`journalctl -k`), and end other programs "
    "that use the file. If it lasts, stop the bridge and run `bridged store check`; what that "
    "finds `bridged store repair` mends into a new file, and the old one stays.",
)
DAMAGED_ROWS = Problem(
    "damaged-rows",
    meaning="Rows of the spool are not what was written. A damaged event is a dead letter of each "
    "sink that still owed it, with its bytes; for a damaged cursor some events are delivered "
    "again; for a damaged key a repeat may be. All else goes on.",
    remedy="`bridged dead list` shows the damaged events. Look for the cause, which is a disk, the "
    "memory or another program that wrote the file; then run `bridged store check`, and `bridged "
    "store repair` with the bridge stopped if there is more damage.",
)
SPOOL_FILE_GONE = Problem(
    "spool-file-gone",
    meaning="The spool's file was moved or deleted while the bridge runs. Sources are refused, "
    "because what is stored now would not be found again.",
    remedy="Stop the bridge, put the file back where the text says, and start it. If there is only "
    "a backup, run `bridged store accept` before: it asks every source to read back what happened "
    "since.",
)
SPOOL_FILE_MISSING = Problem(
    "spool-file-missing",
    meaning="There was a spool in this `state` folder, and its file is not there. The bridge does "
    "not start (exit status 78), because it would begin with nothing and nobody would notice; the "
    "text says how many events are missing at least.",
    remedy="See whether `state` names the right folder and its disk is mounted; put the file back, "
    "or a backup. If it is lost, `bridged store accept` lets the bridge begin anew and asks every "
    "source to read back what its vendor keeps.",
)
SPOOL_FILE_FOREIGN = Problem(
    "spool-file-foreign",
    meaning="The file in the `state` folder is another spool than the one that was there. The "
    "bridge does not start (exit status 78), because its events would go to these sinks, and those "
    "of the other file would be forgotten.",
    remedy="Put the right file back. If this one is meant, `bridged store accept` takes it as it "
    "is, and asks every source to read back what happened since its last receipt.",
)
SPOOL_FILE_REPLACED = Problem(
    "spool-file-replaced",
    meaning="The spool's file is older than what was stored in it: a copy or a snapshot was put in "
    "its place, or the disk lost what it had confirmed. The bridge does not start (exit status "
    "78); the text says how many events are missing at least.",
    remedy="Put the newer file back if there is one. If not, `bridged store accept` goes on with "
    "this one, and asks every source to read back what happened since its last receipt.",
)
LANES_IGNORED = Problem(
    "lanes-ignored",
    meaning="`lanes` is another number than the spool was made with, and has no effect: it cannot "
    "change later. Nothing is lost.",
    remedy="Set `lanes` to the number that the text says, or remove the setting.",
)

PROBLEMS = (
    SPOOL_FULL,
    DISK_FULL,
    SPOOL_FILLS,
    SIZE_CANNOT_FIT,
    BACKLOG_EXPIRES,
    KEY_WINDOW_SHORT,
    KEEP_WINDOW_SHORT,
    LETTERS_EXPIRE,
    DEAD_LETTERS,
    PARKED_DEVICES,
    ORPHANED_SINK,
    SPOOL_FAILING,
    DAMAGED_ROWS,
    SPOOL_FILE_GONE,
    SPOOL_FILE_MISSING,
    SPOOL_FILE_FOREIGN,
    SPOOL_FILE_REPLACED,
    LANES_IGNORED,
)

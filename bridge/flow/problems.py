"""The problems of running sources and sinks, and of reading back what was missed."""

from __future__ import annotations

from bridge.api import Problem

# Sinks.

SINK_FAILS = Problem(
    "sink-fails",
    meaning="Deliveries to a destination fail: it is not reached, answers with an error or too "
    "late. Its events wait in the spool, none is dropped, and it is tried again by itself; other "
    "sinks go on.",
    remedy="The text says how it fails. See whether the destination is up, and whether it is "
    "reached from this machine: its name, the firewall, `proxy`. There is nothing to do here once "
    "it is.",
)
SINK_PAUSED = Problem(
    "sink-paused",
    meaning="A destination refuses what only a person can lift: a credential, a certificate, an "
    "address, or the events of so many devices in a row (`reject_limit`) that the cause must be in "
    "the settings. Its events wait in the spool, none is dropped, and it is tried every "
    "`pause_probe`.",
    remedy="Mend what the text names, at the destination or in the section; then restart the "
    "bridge. What was mended at the destination is noticed at "
    "the next attempt.",
)
REPLAY_STOPPED = Problem(
    "replay-stopped",
    meaning="Dead letters that were replayed are refused again, `reject_limit` of them in a row, "
    "so the rest of them were put back. They are dead letters as before; events that are new go "
    "on.",
    remedy="`bridged dead list` shows the reasons as they are now. Mend them, then run `bridged "
    "dead replay` again, for one letter first.",
)

PAUSED_DEVICES = Problem(
    "paused-devices",
    meaning="Somebody has paused devices at a sink (`bridged pause`). Their events wait in the "
    "spool, none is dropped; all other devices go on.",
    remedy="`bridged resume NAME --device DEVICE` lets one go on. `bridged status` shows since "
    "when each is paused.",
)

# Sources, and the plugins of both.

PAUSED_BY_HAND = Problem(
    "paused-by-hand",
    meaning="Somebody has paused a source or a sink (`bridged pause`), and it stays so over "
    "restarts. The events of a sink wait, none is dropped; what a source does not receive "
    "meanwhile is missed unless its vendor keeps it.",
    remedy="`bridged resume NAME` lets it go on; what a source has missed is then a gap as any "
    "other.",
)

SOURCE_FAILS = Problem(
    "source-fails",
    meaning="A source does not reach its vendor, or loses the connection again and again. It is "
    "tried again by itself. What the vendor neither keeps nor sends again meanwhile is missed, and "
    "read back if it has a history.",
    remedy="The text says how it fails. See whether the vendor is up, and whether it is reached "
    "from this machine: its name, the firewall, `proxy`. There is nothing to do here once it is.",
)
SOURCE_PAUSED = Problem(
    "source-paused",
    meaning="A vendor refuses what only a person can lift, such as a login, or a setting stops the "
    "source. It receives nothing meanwhile, and tries again every `pause_probe`; what the vendor "
    "neither keeps nor sends again is missed.",
    remedy="Mend what the text names, at the vendor or in the section; then restart the "
    "bridge. What was mended at the vendor is noticed at the next "
    "attempt.",
)
SOURCE_REFUSED = Problem(
    "source-refused",
    meaning="The spool does not take what a source brings, so the source waits and acknowledges "
    "nothing. Nothing that was acknowledged is lost; its vendor sends again what it keeps.",
    remedy="`bridged status` shows what is wrong with the spool; mend that, and the source goes on "
    "by itself.",
)
PLUGIN_CRASHES = Problem(
    "plugin-crashes",
    meaning="A plugin fails in a way that it does not know itself: a mistake in it, or something "
    "that nobody thought of. It is started again after a pause, and all others go on. The events "
    "of a sink wait; what a source does not receive meanwhile is missed unless its vendor keeps "
    "it.",
    remedy="The log has the whole error, once for as long as it is the same. Update the plugin; if "
    "that does not help, tell its author, with that part of the log. `bridged pause NAME` keeps it "
    "from being started again.",
)
FORMERLY_IGNORED = Problem(
    "formerly-ignored",
    meaning="`formerly` has no effect, because events of both names are in the spool. Nothing is "
    "lost; what a vendor sends again of the time under the former name is delivered twice.",
    remedy="Remove `formerly` from the section. If the section should go on under its former name, "
    "give it that name instead.",
)
SILENT_DEVICES = Problem(
    "silent-devices",
    meaning="Devices were not heard for three times as long as is usual for each. Nothing that "
    "arrived is lost; they send nothing, or what they send does not reach the vendor.",
    remedy="See whether the devices have power and contact; if all near a gateway are silent, "
    "whether the gateway has. A device that was taken away is forgotten after 30 days; "
    "`watch_devices = no` in the section ends the watch.",
)

# What was missed.

GAP_STAYS = Problem(
    "gap-stays",
    meaning="A source received nothing for a time, and cannot read it back, because a setting is "
    "not there. What its vendor does not send again by itself stays missing.",
    remedy="Add the settings that the text names, then restart the bridge; `bridged KIND backfill` "
    "reads back the time of the gap, as far as the vendor still keeps it.",
)
GAP_INCOMPLETE = Problem(
    "gap-incomplete",
    meaning="What a source missed was read back, but not all of it: the history of some devices "
    "cannot be read, or part of the time is older than what the vendor keeps, and lost. The text "
    "says which.",
    remedy="For devices that are named, mend the reason, such as a right that the credential "
    "lacks; then `bridged KIND backfill` reads the same time again. What is there already is not "
    "delivered twice.",
)
BACKFILL_FAILS = Problem(
    "backfill-fails",
    meaning="Reading back what a source missed is interrupted again and again. It goes on where it "
    "was, by itself; what is read late is not lost as long as the vendor keeps it. What is live "
    "is received meanwhile.",
    remedy="The text says how it fails. See whether the vendor's interface for history is up and "
    "reached from this machine.",
)
BACKFILL_PAUSED = Problem(
    "backfill-paused",
    meaning="Reading back what a source missed is refused by what only a person can lift. It is "
    "tried slowly, and what is live is received meanwhile; what the vendor forgets until then is "
    "lost.",
    remedy="Mend what the text names, at the vendor or in the section; then restart the "
    "bridge. It goes on where it was.",
)

PROBLEMS = (
    SINK_FAILS,
    SINK_PAUSED,
    REPLAY_STOPPED,
    PAUSED_DEVICES,
    PAUSED_BY_HAND,
    SOURCE_FAILS,
    SOURCE_PAUSED,
    SOURCE_REFUSED,
    PLUGIN_CRASHES,
    FORMERLY_IGNORED,
    SILENT_DEVICES,
    GAP_STAYS,
    GAP_INCOMPLETE,
    BACKFILL_FAILS,
    BACKFILL_PAUSED,
)

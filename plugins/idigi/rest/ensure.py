"""Which monitor we use: the one named in the settings, the one remembered, one with our
tag, or a new one.

    monitor_id set ──────────────────────────▶ read it ─┐
    else remembered id ──▶ read it, still there ────────┼─▶ as we want it? use it : on_difference
    else list, our description and topics ──────────────┘
    else create                                         stop ▶ Pause with the differences
                                                        recreate ▶ new one first, then the old one deleted
                                                        update ▶ PUT of the full set

A monitor is a subscription on the server that records while we are away. Any PUT resets
it and a deletion ends it: what was recorded is gone (vendor documentation). So a found
one is never changed unless the settings say so, and never while somebody is attached to
it. What is lost is said, and read back where the settings know how.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import trio
from attrs import evolve, frozen

from bridge.api import JSON, Pause, Retry, SourceContext

from ..settings import HIGHEST_MONITOR_ID, Settings, split_topics
from .answers import MonitorLimit
from .monitor_api import MonitorApi

REMEMBERED = "monitor"
LOOK_AGAIN = (
    0.5  # seconds between two looks at whether the server has noticed that our session is over
)

# What an absent element means (vendor documentation; the format is assumed).
SERVER_DEFAULTS = {
    "monTransportType": "tcp",
    "monFormatType": "xml",
    "monCompression": "none",
    "monBatchSize": "100",
    "monBatchDuration": "10",
    "monAckOption": "off",
    "monAutoReplayOnConnect": "false",
    "monSchemaType": "none",
    "monSchemaData": "",
}

log = logging.getLogger(__name__)


def tag(settings: Settings, source: str) -> str:
    """Give the description by which a monitor is ours."""
    return settings.description or f"bridge/{source}"


def wanted_monitor(settings: Settings, source: str) -> dict[str, str]:
    """Give the elements of the monitor that these settings ask for."""
    templated = (
        {}
        if settings.template is None
        else {"monSchemaType": "handlebars", "monSchemaData": settings.template}
    )
    return {
        "monTopic": ",".join(settings.topics),
        "monTransportType": "tcp",
        "monFormatType": settings.format,
        "monCompression": "none" if settings.compression == "none" else "zlib",
        "monBatchSize": str(settings.batch_size),
        "monBatchDuration": str(int(settings.batch_duration)),
        "monAckOption": settings.ack_mode,
        "monAutoReplayOnConnect": "true" if settings.replay else "false",
        "monDescription": tag(settings, source),
    } | templated


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Say, one text for each element, how a found monitor differs in what it sends and
    how.
    """
    said = []
    for name, default in {"monTopic": "", **SERVER_DEFAULTS}.items():
        ours, theirs = wanted.get(name, default), found.get(name) or default
        if _comparable(name, ours) != _comparable(name, theirs):
            shown = (
                "another template" if name == "monSchemaData" else f"{theirs!r}, expected {ours!r}"
            )
            said.append(f"{name} is {shown}")
    return said


def _comparable(name: str, value: str) -> object:
    if name == "monTopic":
        return frozenset(split_topics(value))
    if name == "monSchemaData":
        return value.split()  # XML does not keep line ends
    value = value.strip().lower()
    return "zlib" if name == "monCompression" and value == "gzip" else value


def is_live(found: Mapping[str, str]) -> bool:
    """Tell whether somebody is attached to a monitor.

    One that does not tell its status may be.
    """
    return found.get("monStatus", "ACTIVE").upper() == "ACTIVE"


def ours_among(
    wanted: Mapping[str, str], monitors: Iterable[Mapping[str, str]]
) -> Mapping[str, str] | None:
    """Find the monitor with our tag and topics; of several the one that fits best."""
    candidates = [
        monitor
        for monitor in monitors
        if monitor.get("monDescription") == wanted["monDescription"]
        and _comparable("monTopic", monitor.get("monTopic", ""))
        == _comparable("monTopic", wanted["monTopic"])
    ]
    return min(candidates, key=lambda monitor: len(differences(wanted, monitor)), default=None)


def id_of(found: Mapping[str, str]) -> int:
    """Give the id of a listed monitor.

    :raises Pause: if it is no number that a login can carry.
    """
    number = found.get("monId", "").strip()
    if not (number.isascii() and number.isdigit() and 0 < int(number) <= HIGHEST_MONITOR_ID):
        raise Pause(
            f"the server lists a monitor with the id {number[:20]!r}, expected a number; look "
            "at the account"
        )
    return int(number)


@frozen
class MonitorState:
    """What an instance remembers of its monitor.

    It counts only on the server and in the account it came from.
    """

    url: str
    username: str
    id: int | None = None
    replaces: int | None = None
    """A monitor that is still to be deleted, because ours has taken its place."""

    @classmethod
    def of(cls, settings: Settings, remembered: JSON) -> MonitorState:
        """Read what was remembered; empty if it was nothing, or of another account."""
        empty = cls(str(settings.url), settings.username)
        if not isinstance(remembered, dict):
            return empty
        if (remembered.get("url"), remembered.get("username")) != (empty.url, empty.username):
            return empty
        return evolve(
            empty, id=_whole(remembered.get("id")), replaces=_whole(remembered.get("replaces"))
        )

    def plain(self) -> JSON:
        """Write it for the state of the instance."""
        memory = {"url": self.url, "username": self.username, "id": self.id}
        return memory if self.replaces is None else memory | {"replaces": self.replaces}


def _whole(value: JSON) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def known_monitor(settings: Settings, remembered: JSON) -> int | None:
    """Tell which monitor an instance uses, as far as it knows without asking."""
    return settings.monitor_id or MonitorState.of(settings, remembered).id


@frozen
class Ensured:
    """The monitor to use."""

    id: int
    loss: str | None = None
    """What was lost with what it had recorded, or with the one before it; None:
    nothing.
    """


async def ensure_monitor(api: MonitorApi, settings: Settings, context: SourceContext) -> Ensured:
    """Find or create the monitor, and say at once what was lost by that.

    :raises Pause: when a person must act.
    :raises Retry: when another attempt may succeed.
    :raises SpoolUnavailable: when the id cannot be remembered now; the monitor is found
        by its tag next time.
    """
    wanted = wanted_monitor(settings, context.name)
    if settings.monitor_id is not None:
        named = await api.read(settings.monitor_id)
        if named is None:
            raise Pause(
                f"the account has no monitor {settings.monitor_id}; correct or remove monitor_id"
            )
        return await _made_to_fit(api, settings, context, wanted, named)
    memory = MonitorState.of(settings, context.state.get(REMEMBERED))
    found: Mapping[str, str] | None = None if memory.id is None else await api.read(memory.id)
    gone = memory.id if found is None else None
    if found is None:
        found = ours_among(wanted, await api.list_tcp())
    if found is None:
        ensured = Ensured(await _create(api, settings, context, wanted))
    else:
        ensured = await _made_to_fit(api, settings, context, wanted, found)
    if gone is not None:
        loss = _tell_loss(
            settings, context, f"monitor {gone} was gone, and with it what it had recorded"
        )
        ensured = evolve(ensured, loss=loss)
    replaced = None if found is None or id_of(found) == ensured.id else id_of(found)
    await _remember(
        api, context, evolve(memory, id=ensured.id, replaces=replaced or memory.replaces), memory
    )
    return ensured


async def _made_to_fit(
    api: MonitorApi,
    settings: Settings,
    context: SourceContext,
    wanted: Mapping[str, str],
    found: Mapping[str, str],
) -> Ensured:
    """Give the monitor to use in place of a found one: itself, or its replacement."""
    number = id_of(found)
    said = "; ".join(differences(wanted, found))
    if not said:
        return Ensured(number)
    if settings.on_difference == "stop":
        raise Pause(
            f"monitor {number} exists, but is not as configured: {said}. Change the settings, or set on_difference "
            "(what it recorded is lost), or set another description"
        )
    if is_live(found):
        raise Retry(
            f"monitor {number} is not as configured ({said}), and is left alone while "
            "somebody is attached"
        )
    if settings.on_difference == "update":
        await api.update(number, wanted)
        changed = f"monitor {number} was changed as configured, and what it had recorded is gone"
        return Ensured(number, _tell_loss(settings, context, changed))
    # One that was made for this before, by an attempt that did not come to its end, is
    # not made again.
    made = ours_among(wanted, await api.list_tcp())
    fits = made is not None and not differences(wanted, made)
    monitor = (
        id_of(made) if made is not None and fits else await _create(api, settings, context, wanted)
    )
    replaced = f"monitor {number} was replaced by {monitor}, and what it had recorded is gone"
    return Ensured(monitor, _tell_loss(settings, context, replaced))


async def _create(
    api: MonitorApi, settings: Settings, context: SourceContext, wanted: Mapping[str, str]
) -> int:
    try:
        return await api.create(wanted)
    except MonitorLimit as limit:
        if not settings.delete_idle:
            raise
        idle = [
            found
            for found in await api.list_tcp()
            if found.get("monDescription") == wanted["monDescription"] and not is_live(found)
        ]
        if not idle:
            raise MonitorLimit(f"{limit.why}; none that is idle has our description") from limit
    for found in idle:
        log.warning(
            "%s: deleting monitor %d, idle and ours, to have room for another",
            context.name,
            id_of(found),
        )
        await api.delete(id_of(found))
    return await api.create(wanted)


def _tell_loss(settings: Settings, context: SourceContext, what: str) -> str:
    """Report a loss, ask for what can be read back, and give the sentence."""
    if settings.streams:
        context.recover(what)
        loss = f"{what}; the data points of {len(settings.streams)} streams can be read back"
    else:
        loss = f"{what}; what happened since the last event may be lost for good"
    context.report(loss, problem=True)
    return loss


async def _remember(
    api: MonitorApi, context: SourceContext, memory: MonitorState, before: MonitorState
) -> None:
    """Remember the monitor, then delete the one it replaces: in this order one of them
    is always known.
    """
    if memory != before:
        await context.state.put(REMEMBERED, memory.plain())
    if memory.replaces is None:
        return
    old = await api.read(memory.replaces)
    if old is not None and is_live(old):
        log.warning(
            "%s: monitor %d is left, somebody is attached to it", context.name, memory.replaces
        )
        return
    if old is not None:
        await api.delete(memory.replaces)
    await context.state.put(REMEMBERED, evolve(memory, replaces=None).plain())


async def delete_own(
    api: MonitorApi, settings: Settings, context: SourceContext, monitor: int
) -> None:
    """Delete our monitor after its last session: one with another description is not
    ours.

    Waits until the server has noticed that the session is over, so give it a deadline.
    """
    found = await api.read(monitor)
    while found is not None and is_live(found):
        await trio.sleep(LOOK_AGAIN)
        found = await api.read(monitor)
    if found is not None and found.get("monDescription") != tag(settings, context.name):
        log.warning("%s: monitor %d is kept, its description is not ours", context.name, monitor)
        return
    if found is not None:
        await api.delete(monitor)
    await context.state.put(REMEMBERED, None)

"""Which monitor we use: the one named in the settings, the one remembered, one with our
tag, or a new one.

    monitor_id set ────────▶ read it ─┐
    else remembered id ────▶ read it ─┼─▶ as wanted? use it : on_difference
    else our tag and topics ──────────┘     stop ▶ Pause with the differences
    else create                             recreate ▶ a new one, the old one deleted
                                            update ▶ PUT of the full set

A monitor is a subscription on the server that records while we are away. Any PUT resets
it and a deletion ends it: what was recorded is gone (vendor documentation). So a found
one is never changed unless the settings say so, and never while somebody is attached to
it. What is lost is said, and read back where the settings name streams.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import trio
from attrs import evolve, frozen

from bridge.api import JSON, Pause, Retry, SourceContext

from ..problems import RECORD_LOST
from ..settings import Settings
from .answers import MonitorLimit
from .monitor_api import MonitorApi
from .wanted import differences, id_of, is_live, ours_among, tag, wanted_monitor

REMEMBERED = "monitor"  # key in the durable state of the source
LOOK_AGAIN = 0.5  # seconds between two looks at whether the server has noticed our leaving

log = logging.getLogger(__name__)


@frozen
class MonitorState:
    """What is durable about the monitor of a source. It counts only on the server and
    in the account it came from.
    """

    url: str
    username: str
    id: int | None = None
    replaces: int | None = None
    """A monitor that is still to be deleted, because ours has taken its place."""

    @classmethod
    def of(cls, settings: Settings, remembered: JSON) -> MonitorState:
        """Read what was stored; empty if it was nothing, or of another account."""
        empty = cls(str(settings.url), settings.username)
        if not isinstance(remembered, dict):
            return empty
        if (remembered.get("url"), remembered.get("username")) != (empty.url, empty.username):
            return empty
        return evolve(
            empty, id=_whole(remembered.get("id")), replaces=_whole(remembered.get("replaces"))
        )

    def plain(self) -> JSON:
        """The form in which it is stored."""
        plain = {"url": self.url, "username": self.username, "id": self.id}
        return plain if self.replaces is None else plain | {"replaces": self.replaces}


def _whole(value: JSON) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def known_monitor(settings: Settings, remembered: JSON) -> int | None:
    """The monitor that a source uses, as far as it knows without asking."""
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
    """Find or create the monitor, and report at once what was lost by that.

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
    state = MonitorState.of(settings, context.state.get(REMEMBERED))
    found: Mapping[str, str] | None = None if state.id is None else await api.read(state.id)
    gone = state.id if found is None else None
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
        api, context, evolve(state, id=ensured.id, replaces=replaced or state.replaces), state
    )
    return ensured


async def _made_to_fit(
    api: MonitorApi,
    settings: Settings,
    context: SourceContext,
    wanted: Mapping[str, str],
    found: Mapping[str, str],
) -> Ensured:
    """Return the monitor to use in place of a found one: itself, or its replacement."""
    number = id_of(found)
    said = "; ".join(differences(wanted, found))
    if not said:
        return Ensured(number)
    if settings.on_difference == "stop":
        raise Pause(
            f"monitor {number} exists, but is not as configured: {said}. Change the settings, "
            "or set on_difference (what it recorded is lost), or set another description"
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
    """Report a loss and ask for what can be read back; return the sentence."""
    if settings.streams:
        context.recover(what)
        loss = f"{what}; the data points of {len(settings.streams)} streams can be read back"
    else:
        loss = f"{what}; what happened since the last event may be lost for good"
    context.report(loss, problem=RECORD_LOST)
    return loss


async def _remember(
    api: MonitorApi, context: SourceContext, state: MonitorState, before: MonitorState
) -> None:
    """Store which monitor it is, then delete the one it replaces: in this order one of
    them is always known.
    """
    if state != before:
        await context.state.put(REMEMBERED, state.plain())
    if state.replaces is None:
        return
    old = await api.read(state.replaces)
    if old is not None and is_live(old):
        log.warning(
            "%s: monitor %d is left, somebody is attached to it", context.name, state.replaces
        )
        return
    if old is not None:
        await api.delete(state.replaces)
    await context.state.put(REMEMBERED, evolve(state, replaces=None).plain())


async def delete_own(
    api: MonitorApi, settings: Settings, context: SourceContext, monitor: int
) -> None:
    """Delete our monitor after its last session. One with another description is kept.

    Waits until the server has noticed that the session is over, however long: call it
    under a deadline.
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

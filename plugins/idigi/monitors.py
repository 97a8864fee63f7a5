"""Which monitor we use: the one named in the settings, the one remembered, one with our tag, or a new one.

    monitor_id set ──────────────────────────▶ read it ─┐
    else remembered id ──▶ read it, still there ────────┼─▶ as we want it? use it : Pause with the differences
    else list, our description and topics ──────────────┘
    else create

A monitor is a subscription on the server that records while we are away. So a found one is never changed: any PUT
resets it, and what was recorded may be gone (vendor documentation). A person decides about differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.api import JSON, Pause, SourceContext
from bridge_plugins.idigi.rest import MonitorApi
from bridge_plugins.idigi.settings import HIGHEST_MONITOR_ID, Settings, split_topics

REMEMBERED = "monitor"

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
}


def wanted_monitor(settings: Settings, source: str) -> dict[str, str]:
    """Give the elements of the monitor that these settings ask for."""
    return {
        "monTopic": ",".join(settings.topics),
        "monTransportType": "tcp",
        "monFormatType": settings.format,
        "monCompression": "none" if settings.compression == "none" else "zlib",
        "monBatchSize": str(settings.batch_size),
        "monBatchDuration": str(int(settings.batch_duration)),
        "monAckOption": "explicit",
        "monAutoReplayOnConnect": "true" if settings.replay else "false",
        "monDescription": settings.description or f"bridge/{source}",
    }


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Say, one text for each element, how a found monitor differs in what it sends and how."""
    said = []
    for name, default in {"monTopic": "", **SERVER_DEFAULTS}.items():
        ours, theirs = wanted.get(name, default), found.get(name) or default
        if _comparable(name, ours) != _comparable(name, theirs):
            said.append(f"{name} is {theirs!r}, expected {ours!r}")
    return said


def _comparable(name: str, value: str) -> object:
    if name == "monTopic":
        return frozenset(split_topics(value))
    value = value.strip().lower()
    return "zlib" if name == "monCompression" and value == "gzip" else value


def ours_among(wanted: Mapping[str, str], monitors: Iterable[Mapping[str, str]]) -> Mapping[str, str] | None:
    """Find the monitor with our tag and topics; of several the one that fits best."""
    candidates = [
        monitor
        for monitor in monitors
        if monitor.get("monDescription") == wanted["monDescription"]
        and _comparable("monTopic", monitor.get("monTopic", "")) == _comparable("monTopic", wanted["monTopic"])
    ]
    return min(candidates, key=lambda monitor: len(differences(wanted, monitor)), default=None)


def usable_id(wanted: Mapping[str, str], found: Mapping[str, str]) -> int:
    """Give the id of a found monitor that is as we want it.

    :raises Pause: naming every difference.
    """
    number = found.get("monId", "")
    if not (number.isascii() and number.isdigit() and 0 < int(number) <= HIGHEST_MONITOR_ID):
        raise Pause(f"the server lists a monitor with the id {number[:20]!r}, expected a number; look at the account")
    if said := differences(wanted, found):
        raise Pause(
            f"monitor {number} exists, but is not as configured: {'; '.join(said)}. Change the settings, or delete the "
            "monitor (events recorded for it are lost), or set another description"
        )
    return int(number)


async def ensure_monitor(api: MonitorApi, settings: Settings, context: SourceContext) -> int:
    """Find or create the monitor and give its id.

    :raises Pause: when a person must act.
    :raises Retry: when another attempt may succeed.
    :raises Refused: when the id cannot be remembered now; the monitor is found by its tag next time.
    """
    wanted = wanted_monitor(settings, context.name)
    if settings.monitor_id is not None:
        named = await api.read(settings.monitor_id)
        if named is None:
            raise Pause(f"the account has no monitor {settings.monitor_id}; correct or remove monitor_id")
        return usable_id(wanted, named)
    remembered = remembered_id(context.state.get(REMEMBERED), settings)
    found: Mapping[str, str] | None = None if remembered is None else await api.read(remembered)
    if found is None:
        found = ours_among(wanted, await api.list_tcp())
    monitor = await api.create(wanted) if found is None else usable_id(wanted, found)
    if monitor != remembered:
        await context.state.put(REMEMBERED, _memory(settings) | {"id": monitor})
    return monitor


def remembered_id(memory: JSON, settings: Settings) -> int | None:
    """Read what was remembered: an id counts only on the server and in the account it came from."""
    if not isinstance(memory, dict) or not isinstance(memory.get("id"), int):
        return None
    return memory["id"] if memory == _memory(settings) | {"id": memory["id"]} else None


def _memory(settings: Settings) -> dict[str, JSON]:
    return {"url": str(settings.url), "username": settings.username}

"""The monitor that the settings ask for, and how a found one compares.

A monitor is a mapping of element names, such as ``monTopic``, to texts, as the REST API
reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.api import Pause

from ..settings import HIGHEST_MONITOR_ID, Settings, split_topics

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


def tag(settings: Settings, source: str) -> str:
    """The description by which a monitor is ours."""
    return settings.description or f"bridge/{source}"


def wanted_monitor(settings: Settings, source: str) -> dict[str, str]:
    """Return every element of the monitor that these settings ask for."""
    wanted = {
        "monTopic": ",".join(settings.topics),
        "monTransportType": "tcp",
        "monFormatType": settings.format,
        "monCompression": "none" if settings.compression == "none" else "zlib",
        "monBatchSize": str(settings.batch_size),
        "monBatchDuration": str(int(settings.batch_duration)),
        "monAckOption": settings.ack_mode,
        "monAutoReplayOnConnect": "true" if settings.replay else "false",
        "monDescription": tag(settings, source),
    }
    if settings.template is not None:
        wanted |= {"monSchemaType": "handlebars", "monSchemaData": settings.template}
    return wanted


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return how a found monitor differs in what it sends and how, one text for each
    element.
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
    """Whether somebody is attached to a monitor. One that does not tell its status may
    be attached to.
    """
    return found.get("monStatus", "ACTIVE").upper() == "ACTIVE"


def ours_among(
    wanted: Mapping[str, str], monitors: Iterable[Mapping[str, str]]
) -> Mapping[str, str] | None:
    """Return the monitor with our tag and topics; of several the one that fits best."""
    topics = _comparable("monTopic", wanted["monTopic"])
    candidates = [
        monitor
        for monitor in monitors
        if monitor.get("monDescription") == wanted["monDescription"]
        and _comparable("monTopic", monitor.get("monTopic", "")) == topics
    ]
    return min(candidates, key=lambda monitor: len(differences(wanted, monitor)), default=None)


def id_of(found: Mapping[str, str]) -> int:
    """Return the id of a listed monitor.

    :raises Pause: if it is no number that a login can carry.
    """
    number = found.get("monId", "").strip()
    if not (number.isascii() and number.isdigit() and 0 < int(number) <= HIGHEST_MONITOR_ID):
        raise Pause(
            f"the server lists a monitor with the id {number[:20]!r}, expected a number; look "
            "at the account"
        )
    return int(number)

"""The core's own settings: the sections that every bridge has, whatever its plugins.

A section of a source, a sink or the spool holds two sets of settings side by side: the
core's, from the classes here, and those of the plugin that it names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from bridge.api import (
    AnyKind,
    Duration,
    SettingError,
    SinkKind,
    Size,
    SourceKind,
    at_least,
    setting,
)


@frozen
class BridgeSettings:
    """``[bridge]``: the instance."""

    state: Path | None = setting(
        None,
        help="folder of the spool; default $STATE_DIRECTORY, else ./state",
        example="/var/lib/bridge/office",
    )
    plugins: tuple[Path, ...] = setting(
        (), help="folders of drop-in plugins, files of Python code", example="/etc/bridge/plugins"
    )
    drain: Duration = setting(
        Duration(20), help="longest wait for what is in hand when the bridge is stopped"
    )


@frozen
class SpoolSettings:
    """``[spool]``: the core's part; the rest belongs to the kind of spool."""

    plugin: str = setting("sqlite", help="kind of spool")


@frozen(kw_only=True)
class SourceSettings:
    """``[source:NAME]``: the core's part; the rest belongs to the kind of source."""

    plugin: str | None = setting(None, help="kind of source; default: NAME")
    enabled: bool = setting(True, help="no leaves the section out, but checks it")
    formerly: str = setting(
        "", help="name that it had before: what it stored then is known under the new one"
    )
    watch_devices: bool = setting(
        True,
        help="a device that is silent for more than three times its usual interval is shown "
        "as a problem",
    )
    retry_base: Duration = setting(
        Duration(1), help="longest first pause after a failure", validator=at_least(0.001)
    )
    retry_cap: Duration = setting(
        Duration(60), help="longest pause after many failures", validator=at_least(0.001)
    )
    pause_probe: Duration = setting(
        Duration(300),
        help="time between attempts while a person must act, such as on refused credentials",
        validator=at_least(0.001),
    )


def _listener() -> Any:
    return setting(
        help="NAME of the section [listener:NAME] on which it is called", example="public"
    )


@frozen(kw_only=True)
class WebhookSettings(SourceSettings):
    """``[source:NAME]`` of a kind that is called by its vendor."""

    listener: str = _listener()


@frozen(kw_only=True)
class RecoverySettings(SourceSettings):
    """``[source:NAME]`` of a kind that can read back what it missed."""

    backfill: bool | None = setting(
        None,
        help="read back by itself what was missed; no: only by bridged KIND backfill; "
        "default depends on the plugin",
        example="yes",
    )
    backfill_after: Duration | None = setting(
        None,
        help="a gap shorter than this is left to the vendor; default depends on the plugin",
        example="11h",
    )
    backfill_overlap: Duration | None = setting(
        None,
        help="how far before the gap reading begins; default depends on the plugin",
        example="1m",
    )


@frozen(kw_only=True)
class WebhookRecoverySettings(RecoverySettings):
    """``[source:NAME]`` of a kind that is called by its vendor, and can read back what
    it missed.
    """

    listener: str = _listener()


def source_settings(kind: SourceKind[Any] | None) -> type[SourceSettings]:
    """Return the class of the core's part; None: of a kind that was not found."""
    called = kind is not None and kind.paths is not None
    if kind is None or kind.recovery is None:
        return WebhookSettings if called else SourceSettings
    return WebhookRecoverySettings if called else RecoverySettings


@frozen
class SinkSettings:
    """``[sink:NAME]``: the core's part; the rest belongs to the kind of sink."""

    plugin: str | None = setting(None, help="kind of sink; default: NAME")
    enabled: bool = setting(
        True, help="no leaves the section out, but checks it; what it owes is kept"
    )
    sources: tuple[str, ...] = setting(
        (), help="names of the sources it wants; default all", example="sensors, towers"
    )
    from_: Literal["now", "beginning"] = setting(
        "now", help="where a new sink begins: now, or the oldest kept event"
    )
    batch: int | None = setting(
        None, help="most events in one attempt; default depends on the plugin", example="100"
    )
    in_flight: int | None = setting(
        None, help="most attempts at one time; default depends on the plugin", example="4"
    )
    timeout: Duration = setting(
        Duration(30), help="longest time for one attempt", validator=at_least(0.1)
    )
    linger: Duration = setting(
        Duration(0.01), help="pause after an arrival, so that what comes together is sent together"
    )
    retry_base: Duration = setting(
        Duration(1), help="longest first pause after a failure", validator=at_least(0.001)
    )
    retry_cap: Duration = setting(
        Duration(300), help="longest pause after many failures", validator=at_least(0.001)
    )
    pause_probe: Duration = setting(
        Duration(300),
        help="time between attempts while credentials or configuration are refused",
        validator=at_least(0.001),
    )
    reject_limit: int = setting(
        20,
        help="different devices refused in a row, without a delivery in between, that pause the "
        "sink instead of making dead letters; replayed dead letters refused in a row that stop "
        "the replay; 0: neither",
        validator=at_least(0),
    )

    max_backlog: Size | None = setting(
        None, help="most that may wait for this sink; default: what the spool holds", example="1GiB"
    )
    when_full: Literal["refuse", "expire"] = setting(
        "refuse",
        help="when more waits for it, or the spool is full: refuse the sources, or give up its "
        "oldest events, counted as expired",
    )

    def __attrs_post_init__(self) -> None:
        for name in ("batch", "in_flight"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 10_000:
                raise SettingError(name, f"expected a number from 1 to 10000, got {value}")


def kind_defaults(kind: AnyKind) -> dict[str, str]:
    """Return the texts of the core's defaults that depend on the kind, by key."""
    match kind:
        case SinkKind():
            return {"batch": str(kind.batch), "in_flight": str(kind.in_flight)}
        case SourceKind(recovery=recovery) if recovery is not None:
            return {
                "backfill": "yes" if recovery.automatic else "no",
                "backfill_after": str(Duration(recovery.after)),
                "backfill_overlap": str(Duration(recovery.overlap)),
            }
    return {}

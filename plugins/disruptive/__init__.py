"""Source: sensors of Disruptive Technologies (DT), pushed to us by an HTTP Data Connector.

    DT ── POST, one event each ──▶ webhook.py ─▶ signature.py ─▶ events.py ─▶ Event

Every request is signed with the connector's secret, answered 200 once its event is durable, and otherwise sent again
by DT for 12 hours (vendor documentation).
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.api import EmulatorKind, SourceKind, hookimpl
from bridge_plugins.disruptive.webhook import Settings, run


@hookimpl
def bridge_source_kinds() -> Sequence[SourceKind[Settings]]:
    """Give the source."""
    return [
        SourceKind(
            "disruptive",
            Settings,
            run,
            paths=lambda settings: [settings.path],
            help="Disruptive Technologies sensors, by HTTP Data Connector",
        )
    ]


@hookimpl
def bridge_emulators() -> Sequence[EmulatorKind]:
    """Give the stand-in for DT's cloud."""
    from bridge_plugins.disruptive.emulator_devices import open_devices  # only the demo and the tests need it

    return [EmulatorKind("disruptive", open_devices)]

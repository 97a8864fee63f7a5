"""Source: Wattsense towers and boxes, whose cloud calls us (the "datastream" of type webhook).

request ─▶ credentials.py ─▶ signature.py ─▶ events.py (numbers.py) ─▶ spool ─▶ answer     put together in webhook.py
             settings.py says how; presets.py knows the conventions of signing that are in use

Wattsense publishes the fields of a value and little else: method, framing, signature, retries and the bodies of events
and alarms are unknown. So everything about them is a setting, and whatever arrives is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.api import EmulatorKind, SourceKind, hookimpl
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.webhook import paths, run


@hookimpl
def bridge_source_kinds() -> Sequence[SourceKind[Settings]]:
    """Give the webhook receiver."""
    return [SourceKind("wattsense", Settings, run, paths, help="Wattsense datastream webhooks: values, events, alarms")]


@hookimpl
def bridge_emulators() -> Sequence[EmulatorKind]:
    """Give the stand-in for the Wattsense cloud."""
    from bridge_plugins.wattsense.demo import open_emulation  # httpx is slow to import, and only a demo needs it

    return [EmulatorKind("wattsense", open_emulation)]

"""Source: Wattsense towers and boxes, whose cloud calls us (the "datastream" of type
webhook).

    request ─▶ auth ─▶ messages ─▶ spool ─▶ answer    what the webhook brings
    gap ─▶ rest ─▶ messages ─▶ spool                  what it did not bring: history

Wattsense publishes the fields of a value and little else: method, framing, signature,
retries and the bodies of events and alarms are unknown. So everything about them is a
setting, and whatever arrives is kept.

``docs/facts/wattsense.rst`` lists what is known of the vendor, each fact with the test
that holds it.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.api import Recovery, SourceKind, hookimpl

from .history import open_history
from .problems import PROBLEMS
from .settings import Settings
from .webhook import paths, run

OVERLAP = 600.0  # seconds: clocks of towers differ, and uploads are late


@hookimpl
def bridge_source_kinds() -> Sequence[SourceKind[Settings]]:
    """Return the webhook receiver."""
    return [
        SourceKind(
            "wattsense",
            Settings,
            run,
            paths,
            # Retries of the webhook are not published: none are assumed, so every gap
            # is read back.
            recovery=Recovery(open_history, lacks, automatic=True, after=0.0, overlap=OVERLAP),
            help="Wattsense datastream webhooks: values, events, alarms; and their history",
            problems=PROBLEMS,
        )
    ]


def lacks(settings: Settings) -> str | None:
    """Return what the settings lack to read the history."""
    if settings.rest_key is not None:
        return None
    return (
        "rest_key and rest_secret are not set, so values that Wattsense sent while the bridge "
        "could not take them, and does not send again, are missing for good"
    )

"""Source: Wattsense towers and boxes, whose cloud calls us (the "datastream" of type
webhook).

request ─▶ credentials.py ─▶ signature.py ─┬▶ events.py (numbers.py)     values        ┐
                             token.py      └▶ opaque.py (mapping.py)     events, alarms ┴▶ spool ─▶ answer
             put together in webhook.py; settings.py says how; presets.py knows the conventions of signing
history.py ─▶ rest.py (rest_signature.py, rest_answers.py) ─▶ events.py ─▶ spool         what the webhook did not bring

Wattsense publishes the fields of a value and little else: method, framing, signature,
retries and the bodies of events and alarms are unknown. So everything about them is a
setting, and whatever arrives is kept.

``docs/facts/wattsense.rst`` lists what is known of the vendor, each fact with the test
that holds it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bridge.api import History, Recovery, SourceContext, SourceKind, hookimpl

from .settings import Settings
from .webhook import paths, run

OVERLAP = 600.0  # seconds: clocks of towers differ, and uploads are late


@hookimpl
def bridge_source_kinds() -> Sequence[SourceKind[Settings]]:
    """Give the webhook receiver."""
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
        )
    ]


def lacks(settings: Settings) -> str | None:
    """Say what the settings lack to read the history."""
    if settings.rest_key is not None:
        return None
    return (
        "rest_key and rest_secret are not set, so values that Wattsense sent while the bridge could not take them, "
        "and does not send again, are missing for good"
    )


@asynccontextmanager
async def open_history(settings: Settings, context: SourceContext) -> AsyncIterator[History]:
    """Open the history."""
    from . import history  # httpx is slow to import, and only a gap needs it

    async with history.open_history(settings, context) as opened:
        yield opened

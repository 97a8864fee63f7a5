"""What an earlier bridge has stored is known, however keys are made today."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest
import trio

from bridge.spool.audit import audit
from tests.end_to_end.resending import open_digi, sections, send_webhooks
from tests.end_to_end.site import READY, Site

KEPT = Path(__file__).parents[1] / "data" / "spool_1b4bf5f"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.state.mkdir(mode=0o700)
    shutil.copyfile(KEPT / "spool.sqlite", site.state / "spool.sqlite")
    yield site
    site.close()


def events_of(path: Path) -> dict[int, str]:
    """Source, kind and key of every event, by its number."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT events.id, name, body FROM events JOIN sources ON sources.id = source"
        ).fetchall()
    found = {}
    for number, source, body in rows:
        event = orjson.loads(body)
        found[number] = f"{source}: {event['kind']} {event['key']} {str(event['data'])[:200]}"
    return found


async def test_what_was_stored_is_sent_again_and_nothing_is_new(site: Site):
    messages = json.loads((KEPT / "messages.json").read_bytes())
    before = events_of(site.state / "spool.sqlite")
    assert len(before) == 394
    async with open_digi(messages["gateways"]) as digi:
        site.sections |= sections(digi)
        site.start()
        await site.ready()
        await send_webhooks(messages, site.url, site.client_tls())
        await digi.finished()
    assert site.process is not None
    site.process.send_signal(signal.SIGTERM)
    with trio.fail_after(READY):
        assert await trio.to_thread.run_sync(site.process.wait) == 0, site.log
    after = events_of(site.state / "spool.sqlite")
    new = [text for number, text in after.items() if number not in before]
    assert new == [], "\n".join(["these are new:", *new])
    assert after == before
    result = audit(site.state, ["away"])
    assert result.balanced, result
    (account,) = result.accounts
    assert (account.received, account.pending) == (394, 394)

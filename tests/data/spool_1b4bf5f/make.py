"""Make spool.sqlite anew: ``python -m tests.data.spool_1b4bf5f.make PYTHON``.

PYTHON is that of an environment in which the bridge of commit 1b4bf5f is installed.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import tempfile
from pathlib import Path

import trio

from tests.end_to_end.resending import open_digi, sections, send_webhooks
from tests.end_to_end.site import Site

HERE = Path(__file__).parent


async def main(python: str) -> None:
    messages = json.loads((HERE / "messages.json").read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), python=python)
        async with open_digi(messages["gateways"]) as digi:
            site.sections |= sections(digi)
            site.start()
            try:
                await site.ready()
                await send_webhooks(messages, site.url, site.client_tls())
                await digi.finished()
            finally:
                print(site.log)
        assert site.process is not None
        site.process.send_signal(signal.SIGTERM)
        assert site.process.wait() == 0, site.log
        site.close()
        made = HERE / "spool.sqlite"
        made.unlink(missing_ok=True)
        with sqlite3.connect(site.state / "spool.sqlite") as connection:
            connection.execute("VACUUM INTO ?", (str(made),))
    with sqlite3.connect(made) as connection:
        for table in ("sources", "events", "keys"):
            print(table, connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


if __name__ == "__main__":
    trio.run(main, sys.argv[1])

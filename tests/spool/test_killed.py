"""Kill -9 anywhere loses nothing that was acknowledged."""

import subprocess
import sys
from pathlib import Path

from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import arrival


async def test_a_killed_process_leaves_every_acknowledged_event(context: SpoolContext):
    acknowledged = set()
    for life in range(4):
        command = [
            sys.executable,
            Path(__file__).with_name("killed.py"),
            context.directory,
            str(life),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(50 + 173 * life):
                acknowledged.add(process.stdout.readline().strip())
            process.kill()
            acknowledged.update(line.strip() for line in process.stdout if line.endswith("\n"))
        found = audit(context.directory)
        assert found.problems == ()
        assert all(account.balanced for account in found.accounts)
    async with open_sqlite(SqliteSettings(), context) as spool:
        again = [arrival(key) for key in acknowledged]
        assert len(again) > 1000
        assert (
            await spool.append(again) == 0
        )  # all of them are known, and the audit found each key's row
        assert found.accounts[0].received >= len(acknowledged) - 50

"""The daemon with a commit for every event, to show what sharing commits brings."""

import sys

from bridge.cli.commands import run
from bridge.flow import ingest

if __name__ == "__main__":
    ingest.MAX_WAITERS = 1
    sys.exit(run(sys.argv[1:]))

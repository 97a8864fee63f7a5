"""The daemon with a commit for every request: what sharing them is measured against."""

import sys

from bridge.cli.commands import run
from bridge.spool import thread

if __name__ == "__main__":
    thread.MAX_WAITING = 1
    sys.exit(run(sys.argv[1:]))

"""``python -m bridge`` is ``bridged``."""

import signal
import sys


def main() -> int:
    """Run the command line."""
    # Before anything else: a SIGHUP that comes while modules are imported would end the
    # process, and the service manager would take that for an ordinary end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from bridge.cli.commands import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

"""``bridged audit``, which only reads, and ``bridged purge-sink``, the former name of
``bridged sink purge --apply``, which wants the bridge to be stopped.
"""

from __future__ import annotations

import argparse
import os
import sys

import trio

from bridge.admin.sinks import account_as_json
from bridge.api import SpoolUnavailable
from bridge.api.spool import SpoolError
from bridge.cli.arguments import Commands, add_command, add_json
from bridge.cli.loading import CONFIGURATION, FAILED, load_config
from bridge.cli.redacted_output import redacted_output
from bridge.cli.spool.tables import print_json
from bridge.daemon.config import Config
from bridge.daemon.instance import Bridge, state_folder
from bridge.daemon.run_bridge import open_spool


def add(commands: Commands) -> None:
    """Add the commands."""
    proving = add_command(
        commands,
        "audit",
        audit,
        "prove from the spool that for each sink every event is in exactly one state",
    )
    add_json(proving)
    purge = add_command(
        commands,
        "purge-sink",
        purge_sink,
        "the former name of: sink purge --apply; while no bridge runs",
    )
    purge.add_argument("sink", help="NAME of the sink")


def audit(options: argparse.Namespace) -> int:
    """Print the balance of the spool, and whether it adds up."""
    config = load_config(options.config)
    if config is None:
        return CONFIGURATION
    with redacted_output(config.redact):
        return _audit(config, as_json=options.json)


def _audit(config: Config, *, as_json: bool) -> int:
    audit = config.spool.kind.audit
    if audit is None:
        print(f"a spool of the kind {config.spool.kind.name} cannot be audited", file=sys.stderr)
        return FAILED
    try:
        result = audit(state_folder(config.bridge, os.environ), config.sink_names)
    except SpoolError as exc:
        print(exc, file=sys.stderr)
        return FAILED
    if as_json:
        print_json(
            {
                "accounts": [account_as_json(account) for account in result.accounts],
                "problems": list(result.problems),
                "balanced": result.balanced,
            }
        )
        return 0 if result.balanced else FAILED
    for account in result.accounts:
        print(account)
    for problem in result.problems:
        print(f"audit: {problem}", file=sys.stderr)
    print("the balance adds up" if result.balanced else "the balance does not add up")
    return 0 if result.balanced else FAILED


def purge_sink(options: argparse.Namespace) -> int:
    """Forget a sink that no section names."""
    config = load_config(options.config)
    if config is None:
        return CONFIGURATION
    with redacted_output(config.redact):
        return _purge_sink(options.sink, Bridge(options.config.stem, config, os.environ))


def _purge_sink(sink: str, bridge: Bridge) -> int:
    if sink in bridge.config.sink_names:
        print(f"{sink} is in the configuration; remove its section first", file=sys.stderr)
        return FAILED
    if not os.path.isdir(bridge.state):
        text = "there is no such folder; expected the state folder of a bridge that ran before"
        print(f"{bridge.state}: {text}", file=sys.stderr)
        return FAILED

    async def purge() -> int:
        async with open_spool(bridge) as spool:
            try:
                if sink not in {account.sink for account in await spool.accounts(())}:
                    print(f"the spool knows no sink {sink!r}", file=sys.stderr)
                    return FAILED
                print(f"{sink}: forgotten, with {await spool.purge(sink)} pending events")
            except SpoolUnavailable as refused:
                print(f"the spool cannot be written now: {refused.reason}", file=sys.stderr)
                return FAILED
            return 0

    try:
        return trio.run(purge)
    except SpoolError as exc:
        print(exc, file=sys.stderr)
        return FAILED

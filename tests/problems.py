"""The page ``docs/problems.rst``: every problem that a bridge can tell of, what it
means and what to do.

Made from the constants that the code reports with. The problems of the core come from
the modules ``problems`` of its rooms, those of the plugins from their kinds.

    python -m tests.problems            writes the page
    python -m tests.problems --check    exits 1 if the page is not what the code says
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bridge.api import Problem
from bridge.api.problems import PROBLEMS as OF_PLUGINS
from bridge.api.spool.problems import PROBLEMS as OF_SPOOL
from bridge.flow.problems import PROBLEMS as OF_FLOW
from bridge.http.problems import PROBLEMS as OF_LISTENERS
from bridge.plugins.discovery import load_plugins

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "problems.rst"
COMMAND = "make docs"
NO_BREAK = "\N{NO-BREAK SPACE}"
TITLE = "When something is wrong"
INTRODUCTION = f"""\
{TITLE}
{"=" * len(TITLE)}

A bridge says what a person should look at on its status page, in ``/status.json``, by ``bridged
status`` and as a warning in its log, which ends with the name of the problem in brackets. The text
there says what is wrong now; here stands under each name what it means, and what to do. Most go by
themselves once what they tell of is over. The names stay, so that alerts can go by them.

Commands are told by ``--config FILE`` which bridge is meant; those that forget events or send them
again only say what they would do, until ``--apply`` is added.

Made by ``{COMMAND}`` from the modules ``problems`` of the code: change those, not this page.
"""

CORE: dict[str, Sequence[Problem]] = {
    "The spool": OF_SPOOL,
    "Sources and sinks": OF_FLOW,
    "Listeners": OF_LISTENERS,
    "Any plugin": OF_PLUGINS,
}
"""Problems of the core, by the section of the page."""


def sections() -> dict[str, Sequence[Problem]]:
    """Return all problems, by the section of the page."""
    registry = load_plugins(())
    kinds = [*registry.sources.values(), *registry.sinks.values(), *registry.spools.values()]
    own = {
        f"The plugin {kind.name}": kind.problems
        for kind in sorted(kinds, key=lambda kind: kind.name)
        if kind.problems
    }
    return CORE | own


def render() -> str:
    """Return what the page has to be."""
    page = INTRODUCTION
    for section, problems in sections().items():
        page += f"\n{section}\n{'-' * len(section)}\n"
        for problem in problems:
            page += f"\n{problem.name}\n{'~' * len(problem.name)}\n\n"
            page += f"{_shown(problem.meaning)}\n\n"
            page += f"{_shown(f'*What to do:* {problem.remedy}')}\n"
    return page


def stale() -> bool:
    """Whether the page is missing, or not what the code says."""
    return not PAGE.exists() or PAGE.read_text("utf-8") != render()


def _shown(text: str) -> str:
    """Write a text of a problem as reStructuredText, which doubles backticks.

    What stands in them stays in one line, to be found and copied.
    """
    unbroken = re.sub("`([^`]+)`", lambda quoted: f"``{quoted[1].replace(' ', NO_BREAK)}``", text)
    return textwrap.fill(unbroken, 100, break_on_hyphens=False).replace(NO_BREAK, " ")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.problems", description=f"Write {PAGE.relative_to(ROOT)}."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is not current"
    )
    if parser.parse_args().check:
        old = stale()
        if old:
            print(f"{PAGE.relative_to(ROOT)} is not current: {COMMAND}", file=sys.stderr)
        return int(old)
    PAGE.write_text(render(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

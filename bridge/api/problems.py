"""Problems: what a person should look at, each under a name that stays.

    report("3 of 41 devices are silent: ...", problem=SILENT_DEVICES)

The text of a report says what is wrong now. Its problem says what that means and how it
is mended, whenever it happens: alerts, ``/status.json`` and the page
``docs/problems.rst`` go by its name.

The problems of the core stand in a module ``problems`` of each room. A kind hands over
those of its plugin, see ``SourceKind.problems``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from attrs import Attribute

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def _check_name(_problem: Problem, _attribute: Attribute[str], name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a problem is called {name!r}, expected small letters and digits, words joined by -"
        )


def _check_sentences(problem: Problem, attribute: Attribute[str], text: str) -> None:
    if text != " ".join(text.split()) or not text.endswith("."):
        raise ValueError(
            f"the {attribute.name} of the problem {problem.name} is {text!r}, expected sentences "
            "in one line"
        )


@frozen
class Problem:
    """A kind of trouble that a report may tell of.

    Both texts are plain sentences; commands, settings and paths stand in `backticks`.
    """

    name: str = field(validator=_check_name)
    """In kebab-case. Never changed and never used for something else: rules of alerts
    name it.
    """
    meaning: str = field(validator=_check_sentences, kw_only=True)
    """One or two sentences for an administrator: what happens, and what is and is not
    lost.
    """
    remedy: str = field(validator=_check_sentences, kw_only=True)
    """What to do, with the command that mends it."""


def check_names(kind: Any, _attribute: object, problems: Sequence[Problem]) -> None:
    """Refuse problems that are not called after their kind: two plugins must not mean
    different things by one name.

    A validator of the field ``problems`` of kinds.
    """
    for problem in problems:
        if not problem.name.startswith(f"{kind.name}-"):
            raise ValueError(
                f"the kind {kind.name} has a problem {problem.name!r}, expected a name that begins "
                f"with '{kind.name}-'"
            )


TOLD_BY_PLUGIN = Problem(
    "told-by-plugin",
    meaning="A plugin tells of a problem without saying which: it was written for an earlier "
    "version of the contract. The text beside it is all that is known.",
    remedy="Read the text and what comes with the plugin. Its author gives the problem a name as "
    "`bridge/api/problems.py` says.",
)
WORK_FAILS = Problem(
    "work-fails",
    meaning="What a source or sink does beside its main work fails, such as reading a list; the "
    "text says what. It is tried again until it succeeds; events are received and delivered "
    "meanwhile.",
    remedy="The text ends with the reason: an address that is not reached, a credential or a "
    "certificate that is refused. Mend that, in the section by its settings and a restart; "
    "the next attempt takes the problem back.",
)

PROBLEMS = (TOLD_BY_PLUGIN, WORK_FAILS)
"""Those of every plugin."""

"""Two versions measured in turns, and what is said of them: the ratio of each pair of
turns, and the median of these. No clock and no process: plain figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from attrs import frozen

from tests.bench.report import Cell

OLD, NEW = "old", "new"

MORE_IS_BETTER = {"events/s", "pushed/s"}
"""Figures that should be large; time, work and memory should be small."""

TOLERANCE = 0.03
"""Share by which a median may be worse without a remark: so much differs between two
runs of one version.
"""
ROUNDS = 3
"""Rounds without which "each" says nothing."""

QUIET = 0.25
"""Cores that others may use during a turn without a remark."""


@frozen
class Turn:
    """One row measured once with one version."""

    row: str
    round: int
    version: str
    """``OLD`` or ``NEW``."""
    figures: Mapping[str, float]
    """By their names, which have the unit."""
    others: float = 0.0
    """Cores that processes not of this benchmark used meanwhile."""


@frozen
class Comparison:
    """One figure of one row over all rounds."""

    row: str
    figure: str
    old: float
    """Median, as is ``new``; their ratio is not the median of the ratios."""
    new: float
    ratios: tuple[float, ...]
    """New to old, one for each round."""

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def remark(self) -> str:
        """Empty unless the new version is worse by more than the tolerance.

        A median can be worse by chance; each of several ratios hardly.
        """
        more = self.figure in MORE_IS_BETTER
        gains = [ratio if more else 1 / ratio for ratio in self.ratios]
        if median(gains) >= 1 - TOLERANCE:
            return ""
        return "worse in each round" if max(gains) < 1 and len(gains) >= ROUNDS else "worse"


def pairs_of(turns: Sequence[Turn]) -> Iterator[tuple[Turn, Turn]]:
    """Old and new of one row and round, in the order of the new ones.

    A turn without its counterpart, because the run was ended, is left out.
    """
    old = {(turn.row, turn.round): turn for turn in turns if turn.version == OLD}
    for turn in turns:
        if turn.version == NEW and (turn.row, turn.round) in old:
            yield old[turn.row, turn.round], turn


def compare(turns: Sequence[Turn]) -> list[Comparison]:
    """Compare figure by figure, rows in the order of their first turns."""
    rows: dict[str, list[tuple[Turn, Turn]]] = {}
    for old, new in pairs_of(turns):
        rows.setdefault(new.row, []).append((old, new))
    return [
        Comparison(
            row,
            figure,
            median(old.figures[figure] for old, _ in pairs),
            median(new.figures[figure] for _, new in pairs),
            tuple(new.figures[figure] / old.figures[figure] for old, new in pairs),
        )
        for row, pairs in rows.items()
        for figure in pairs[0][0].figures
    ]


def table_of(comparisons: Sequence[Comparison], others: Mapping[str, float]) -> list[list[Cell]]:
    """Lines for ``report.print_table``, under ``HEADS``; others are the cores of rows
    that were disturbed.
    """
    lines: list[list[Cell]] = []
    for before, each in zip((None, *comparisons), comparisons, strict=False):
        name = each.row if before is None or before.row != each.row else ""
        # As text: three places, because a hundredth is a third of the tolerance.
        ratios = [f"{ratio:.3f}" for ratio in (each.ratio, min(each.ratios), max(each.ratios))]
        used = f"{others[name]:.1f}" if name in others else ""
        lines.append([name, each.figure, each.old, each.new, *ratios, used, each.remark])
    return lines


HEADS = ("", "", "old", "new", "new : old", "least", "most", "others", "")


def disturbed(turns: Sequence[Turn]) -> dict[str, float]:
    """Rows with turns in which others used the machine; the most cores they used."""
    found: dict[str, float] = {}
    for turn in turns:
        if turn.others > QUIET:
            found[turn.row] = max(turn.others, found.get(turn.row, 0.0))
    return found


@frozen
class Load:
    """Processor time in seconds since some moment before."""

    at: float
    """When it was read."""
    machine: float
    ours: float

    def others_since(self, before: Load) -> float:
        """Cores that others used in between.

        The kernel counts the machine in hundredths and less exactly than processes, so
        that the difference of the two may be a little below zero.
        """
        used = (self.machine - before.machine) - (self.ours - before.ours)
        return max(used / (self.at - before.at), 0.0)

"""What is printed: tables, goals, and on which machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

Cell = str | float | None


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def middle(figures: Sequence[dict[str, float]], name: str) -> float:
    """Give the median of one figure over the rounds."""
    return median(figure[name] for figure in figures)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows under heads; columns with numbers to the right, with as many digits as
    are worth reading.
    """
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    numeric = [
        any(isinstance(cell, int | float) for cell in column) for column in zip(*rows, strict=True)
    ]
    print()
    for line in (list(heads), ["-" * width for width in widths], *texts):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _text(cell: Cell) -> str:
    if cell is None or isinstance(cell, str):
        return cell or ""
    return (
        f"{cell:,.0f}"
        if cell >= 100 or isinstance(cell, int)
        else f"{cell:.1f}"
        if cell >= 10
        else f"{cell:.2f}"
    )


def print_goal(
    text: str, figure: float, *, least: float | None = None, below: float | None = None
) -> None:
    """Print a goal beside the figure that it is about."""
    if least is not None:
        met, wanted = figure >= least, f"at least {least:,g}"
    else:
        assert below is not None
        met, wanted = figure < below, f"below {below:,g}"
    print(f"goal {'met   ' if met else 'MISSED'}  {text}: {_text(figure)}, wanted {wanted}")


def machine(work: Path) -> str:
    """Describe what the figures were measured on, and what was measured."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("trio", "httptools", "PyJWT", "httpx", "hypercorn")
    )
    return (
        f"commit {commit}{changed}; Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {packages}\n"
        f"{os.cpu_count()} cores ({_processor()}), load {os.getloadavg()[0]:.1f}, "
        f"Linux {platform.release()}, {_file_system(work)} below {work}"
    )


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Give the type of the file system that holds a folder."""
    mounts = [line.split(" ")[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    return max(holding, key=lambda mount: len(mount[0]))[1]

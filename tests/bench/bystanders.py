"""What other processes take of the machine while something is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from tests.bench.pairs import Load

TICKS = os.sysconf("SC_CLK_TCK")  # /proc counts times in these: a hundredth of a second


@frozen
class Process:
    """What ``/proc/PID/stat`` tells."""

    parent: int
    ticks: int
    """Processor time, that of children that have ended included."""


def read_load() -> Load:
    """Read what all processes, and this one with those that it started, have used."""
    machine = machine_ticks(Path("/proc/stat").read_text())
    ours = family_ticks(_processes(), os.getpid())
    return Load(time.monotonic(), machine / TICKS, ours / TICKS)


def machine_ticks(stat: str) -> int:
    """Take user, nice, system and steal out of ``/proc/stat``.

    Interrupts are left out: most of them are the network traffic of the benchmark.
    """
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, stat.split()[1:9])
    return user + nice + system + steal


def family_ticks(processes: Mapping[int, Process], pid: int) -> int:
    """Sum a process and its descendants."""
    children: dict[int, list[int]] = {}
    for each, process in processes.items():
        children.setdefault(process.parent, []).append(each)
    total = 0
    family = [pid]
    while family:
        each = family.pop()
        total += processes[each].ticks
        family += children.get(each, ())
    return total


def parse_process(stat: str) -> Process:
    """Read the line of ``/proc/PID/stat``; the name in it may contain anything."""
    fields = stat.rpartition(")")[2].split()
    return Process(int(fields[1]), sum(map(int, fields[11:15])))


def _processes() -> dict[int, Process]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                found[int(folder.name)] = parse_process((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended meanwhile
    return found

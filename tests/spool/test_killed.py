"""Kill -9 anywhere loses nothing that was acknowledged, and nothing comes out of order.

Processes live 10 times, and 100 times in the slow test; BRIDGE_KILLS in the environment
is another number for the latter, BRIDGE_SEED another course.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import pytest
import trio

from bridge.api.spool import LetterFilter
from bridge.spool.audit import audit
from bridge.spool.schema import LANE_BITS
from bridge.spool.sqlite import open_sqlite
from bridge.testing.arrivals import account_of, arrival, take_any
from tests.spool.killed import SETTINGS, SINKS, WANTED, context_of, said_of

ROOT = Path(__file__).parents[2]
HANGS = 60.0  # seconds


class Ledger:
    """What the processes said."""

    def __init__(self):
        self.stored = {}
        """By source and key: the time of the key, or "-"."""
        self.sequences = {}
        """By source and key."""
        self.sources = {}
        """By sequence."""
        self.came = defaultdict(set)
        """By what has an order of its own: sequences."""
        self.newest = {}
        self.done = defaultdict(lambda: defaultdict(set))
        """By sink and what became of them: sequences."""

    def read(self, line):
        word, *words = line.split()
        if word == "stored":
            self.stored[words[0], words[1]] = words[2]
        elif word == "dropped":
            self.done[words[0]]["dropped"].add(int(words[1]))
        elif word == "inherited":  # it is dead there without having come
            sink, device, sequence = words
            self.came[sink, device].add(int(sequence))
        elif word == "done":
            sink, generation, way, device, sequence, source, key, how = words
            self.note(sink, generation, way, device, int(sequence), source, key, how)

    def note(self, sink, generation, way, device, sequence, source, key, how):
        assert self.sequences.setdefault((source, key), sequence) == sequence
        self.sources[sequence] = source
        self.done[sink][how].add(sequence)
        if way != "replay":
            self.ascend((sink, generation, way, device), sequence)
        # What it does not want it may inherit from another sink, parked.
        if sink in SINKS and wants(sink, source):
            self.ascend((sink, device), sequence)

    def ascend(self, place, sequence):
        """Check that what comes for the first time comes after all that came before."""
        if sequence not in self.came[place]:
            assert sequence > self.newest.get(place, 0), f"{place}: {sequence} comes too late"
            self.came[place].add(sequence)
            self.newest[place] = sequence

    def again(self):
        """Return what was acknowledged, as it is sent again."""
        for (source, key), time in self.stored.items():
            key_time = None if time == "-" else datetime.fromisoformat(time)
            yield arrival(key, source=source, key_time=key_time)

    def lost(self, sink, letters):
        """Return what a sink neither got nor has as a letter, though it wants it."""
        done = self.done[sink]
        found = done["accepted"] | done["filtered"] | done["dropped"] | letters
        return {each for each, source in self.sources.items() if wants(sink, source)} - found


def wants(sink, source):
    return WANTED[sink] is None or source in WANTED[sink]


def live(folder: Path, seed: str, lines: int, ledger: Ledger) -> None:
    """Let a process live until it has printed so many lines, and kill it."""
    command = [sys.executable, "-m", "tests.spool.killed", str(folder), seed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        hanging = threading.Timer(HANGS, process.terminate)
        hanging.start()
        for _ in range(lines):
            ledger.read(process.stdout.readline() or "none")
        process.kill()
        hanging.cancel()
        for line in process.stdout:
            if line.endswith("\n"):
                ledger.read(line)
    assert process.returncode == -signal.SIGKILL, f"life {seed} ended by itself, or hung"


async def take_everything(spool, sink: str, ledger: Ledger) -> None:
    """Accept what a sink still owes."""
    async with spool.subscribe(sink, batch=50, sources=WANTED[sink]) as subscription:
        while (await account_of(spool, sink)).pending:
            lease = None
            with trio.move_on_after(1):  # the last ones may all be unwanted
                lease = await take_any(subscription)
            if lease is not None:
                for line in said_of(
                    sink, lease, dict.fromkeys(range(len(lease.events)), "accepted")
                ):
                    ledger.read(line)
                await lease.settle(len(lease.events))


async def check_at_the_end(folder: Path, ledger: Ledger) -> None:
    async with open_sqlite(SETTINGS, context_of(folder)) as spool:
        for sink in SINKS:
            with trio.fail_after(HANGS):
                await take_everything(spool, sink, ledger)
        assert ledger.stored.keys() <= ledger.sequences.keys()
        assert await spool.append(list(ledger.again())) == 0
        heads = spool._writer.state.heads
        assert len(ledger.sources) == sum(heads)
        assert {sequence >> LANE_BITS for sequence in ledger.sources} <= set(range(len(heads)))
        for sink in SINKS:
            found = await spool.letters(LetterFilter(sink=sink), limit=1_000_000)
            assert ledger.lost(sink, {letter.sequence for letter in found}) == set()


async def live_and_die(folder: Path, kills: int) -> Ledger:
    seed = os.environ.get("BRIDGE_SEED", "1")
    print(f"BRIDGE_SEED={seed} BRIDGE_KILLS={kills}")
    chance, ledger = random.Random(seed), Ledger()
    for life in range(kills):
        live(folder, f"{seed}-{life}", int(2 ** (chance.random() * 11)), ledger)
        if life or ledger.stored:
            found = audit(folder, SINKS)
            assert found.problems == (), f"life {life}"
            assert found.balanced
    await check_at_the_end(folder, ledger)
    assert audit(folder).problems == ()
    return ledger


async def test_a_killed_process_loses_nothing_and_keeps_order(tmp_path: Path):
    ledger = await live_and_die(tmp_path / "state", 10)
    assert len(ledger.stored) > 100


@pytest.mark.slow
async def test_many_killed_processes_lose_nothing_and_keep_order(tmp_path: Path):
    kills = int(os.environ.get("BRIDGE_KILLS", "100"))
    ledger = await live_and_die(tmp_path / "state", kills)
    for sink in SINKS:
        assert all(ledger.done[sink][how] for how in ("accepted", "filtered", "dead", "dropped"))
    ways = {place[2] for place in ledger.newest if len(place) > 2}
    assert ways == {"live", "rewound"}

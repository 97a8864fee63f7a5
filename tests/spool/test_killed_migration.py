"""Whenever the process ends that takes over a spool of version 1, or the power fails,
nothing is lost, and the next one goes on.

A part of the moments, more of them in the slow tests. All of them: ``-m slow`` with
``BRIDGE_STEP=1`` in the environment.
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from bridge.api.spool import SpoolError
from bridge.spool import SqliteSettings, letters
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from tests.spool import killed_migration
from tests.spool.earlier import (
    CLOSED,
    FOLDERS,
    KILLED,
    Earlier,
    check_accounts,
    check_everything,
    check_known,
    copy_earlier,
)

WINDOW = 35 * 86400.0
ROOT = Path(__file__).parents[2]
SLOW_STEP = int(os.environ.get("BRIDGE_STEP", "7"))


def problems(folder: Path) -> tuple[str, ...]:
    try:
        return audit(folder).problems
    except SpoolError as error:
        if "was used last by an older bridge" in str(error):
            return ()  # nothing has happened yet
        raise


async def check(folder: Path, earlier: Earlier) -> None:
    """Check what the process left, then take it over to the end."""
    assert problems(folder) == ()
    async with open_sqlite(SqliteSettings(), killed_migration.context_of(folder)) as spool:
        assert audit(folder).problems == ()
        await check_accounts(spool, earlier)
        if spool._running() < WINDOW:
            await check_known(spool, earlier)
        while await spool._write(letters.move_letters):
            pass
        await check_everything(spool, earlier)
    assert audit(folder).problems == ()
    shutil.rmtree(folder)


def killed_at_each(folder: Path, name: str, first: int, step: int) -> int:
    """Kill it at every so many steps and check what is left; returns how often."""
    earlier = Earlier(name, folder / "read")
    module = "tests.spool.killed_migration"
    command = [sys.executable, "-m", module, str(folder), name, str(first), str(step)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=500)
    lives = list(folder.iterdir())
    for life in lives:
        trio.run(check, life, earlier)
    return len(lives)


def cut_at_each(folder: Path, name: str, first: int, step: int) -> int:
    """Let it work to the end and cut the power at every so many steps."""
    chance = random.Random(first)
    earlier = Earlier(name, folder / "read")
    copy_earlier(name, folder / "whole")
    clock = trio.testing.MockClock()
    with killed_migration.file_layer() as layer:

        def cut() -> None:
            length = len(layer.log)
            if length % step == first % step:
                layer.cut(folder / f"{length}", chance if length % 4 else None)
                if (mark := folder / "whole" / "spool.mark").exists():
                    shutil.copyfile(mark, folder / f"{length}" / mark.name)

        layer.log = killed_migration.Countdown(first, cut)
        trio.run(killed_migration.live, folder / "whole", layer, clock, clock=clock)
    lives = list(folder.iterdir())
    for life in lives:
        trio.run(check, life, earlier)
    return len(lives)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, size in killed_migration.STEPS:
        monkeypatch.setattr(module, size, getattr(module, size))
    killed_migration.take_small_steps()


def test_killed_while_it_takes_over_it_goes_on(tmp_path: Path):
    assert killed_at_each(tmp_path, CLOSED, 11, 43) > 8


def test_without_power_while_it_takes_over_it_goes_on(tmp_path: Path, small_steps):
    assert cut_at_each(tmp_path, KILLED, 5, 31) > 8


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_killed_anywhere_while_it_takes_over(tmp_path: Path, name: str):
    assert killed_at_each(tmp_path, name, 1, SLOW_STEP) > 300 / SLOW_STEP


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_without_power_anywhere_while_it_takes_over(tmp_path: Path, name: str, small_steps):
    assert cut_at_each(tmp_path, name, 1, SLOW_STEP) > 300 / SLOW_STEP

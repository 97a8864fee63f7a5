"""Fixtures for the spool: a context, and arrivals."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.api.spool import SpoolContext
from bridge.testing.fakes import FakeReport, FixedClock
from tests.spool.keys_file import KeysFile

pytest.register_assert_rewrite("bridge.testing.spool_contract")


@pytest.fixture
def report() -> FakeReport:
    return FakeReport()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def context(tmp_path: Path, report: FakeReport, clock: FixedClock) -> SpoolContext:
    return SpoolContext(tmp_path / "state", (), report, clock)


@pytest.fixture
def keys_file(tmp_path: Path) -> Iterator[KeysFile]:
    """A file of which the hours must be right at the end."""
    file = KeysFile(tmp_path)
    yield file
    problems = file.problems()
    file.connection.close()
    assert problems == []


@pytest.fixture
def layer() -> Iterator[Any]:
    """A layer between SQLite and the files, see vfs_shim.py."""
    spec = importlib.util.spec_from_file_location(
        "vfs_shim", Path(__file__).with_name("vfs_shim.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.file_layer() as layer:
        yield layer

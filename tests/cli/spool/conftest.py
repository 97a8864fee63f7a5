from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.spool.office import Office
from tests.cli.spool.plugin import DROP_IN, WORLDS, World


@pytest.fixture
def engine() -> str:
    """The kind of spool; a module that is also about the one on disk says so."""
    return "memory"


@pytest.fixture
def office(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> Iterator[Office]:
    """An office in which a bridge has run before, and none does now."""
    for name in ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    office = Office(tmp_path, capsys, engine)
    plugins = tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    (plugins / "office.py").write_text(DROP_IN)
    (plugins / "office.py").chmod(0o644)
    office.state.mkdir(mode=0o700)
    (office.state / "spool").touch()
    office.write()
    WORLDS[office.state] = World()
    yield office
    WORLDS.clear()


@pytest.fixture
def world(office: Office) -> World:
    return WORLDS[office.state]


@pytest.fixture(params=["running", "stopped"])
def either(request: pytest.FixtureRequest) -> bool:
    """Whether a bridge runs that answers."""
    return bool(request.param == "running")

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine
from tests.systemd.office import Office
from tests.systemd.roots import Release, Roots, Unprepared, opened

RELEASES = [Release("bookworm", 252), Release("trixie", 257)]


@pytest.fixture(scope="session")
def roots(request: pytest.FixtureRequest) -> Iterator[Roots]:
    if (
        request.config.option.markexpr != "systemd"
    ):  # asked for, a test that cannot run is a failure
        pytest.skip("boots whole systems: sudo make systemd-test")
    try:
        with opened() as roots:
            yield roots
    except Unprepared as exc:
        pytest.fail(str(exc), pytrace=False)


@pytest.fixture(
    scope="session", params=RELEASES, ids=lambda release: f"{release.name}-{release.systemd}"
)
def release(request: pytest.FixtureRequest) -> Release:
    return request.param


@pytest.fixture(scope="session")
def root(roots: Roots, release: Release) -> Path:
    try:
        return roots.prepare(release)
    except Unprepared as exc:
        pytest.fail(str(exc), pytrace=False)


@pytest.fixture
def machine(release: Release, root: Path) -> Iterator[Machine]:
    """Give a machine that has just booted, with the bridge installed and not yet
    configured.
    """
    machine = Machine(release, root)
    try:
        machine.boot()
        yield machine
    finally:
        machine.shut_down()


@pytest.fixture
def office(machine: Machine) -> Office:
    """``bridge@office`` of the machine: configured, without secrets, not started."""
    office = Office(machine)
    office.configure()
    return office

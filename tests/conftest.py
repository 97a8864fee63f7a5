from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.end_to_end.site import Site

# On a busy machine an example may take long without a fault of the code: limits of time
# would make such a test flaky.
hypothesis.settings.register_profile(
    "bridge", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("bridge")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=50, help="how often the bridge is killed in the oracle test"
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Give a bridge of the test's own, not yet started."""
    site = Site(tmp_path)
    yield site
    site.close()

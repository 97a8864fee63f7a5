"""A bridge that is called by the emulator of the Wattsense cloud, for tests of what
goes wrong between them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import define, field

from bridge_plugins.wattsense.emulator.server import Emulator, ValueId, open_emulator
from tests.end_to_end.daemon import Daemon

SECRET = "aHVudGVyMi1zZWNyZXQ="  # base64, so that every preset can use it
PASSWORD = "hunter2-password"
HEADER = "X-Signature-SHA256"
KEY_ID = "key-1"


@define(eq=False)
class Site:
    """A bridge, the cloud that calls it, and what was heard of both."""

    daemon: Daemon
    cloud: Emulator
    log: pytest.LogCaptureFixture
    published: dict[ValueId, Any] = field(factory=dict)
    others: int = 0
    """Events that must be kept besides the published values."""

    async def publish(self, *values: Any, device: str = "tower-1", **members: Any) -> None:
        """Let a property have these values; wait until the cloud is done with them."""
        for value in values:
            self.published[await self.cloud.publish(device, "level", value, **members)] = value
        await self.cloud.drained()

    async def says(self, text: str, topic: str = "", *, problem: bool = False) -> None:
        place = f"source:towers/{topic}" if topic else "source:towers"
        await self.daemon.says(place, text, problem=problem)

    async def well(self, *lasting: str) -> None:
        """Wait until the source shows no problem but those of these topics."""
        expected = {f"source:towers/{topic}" if topic else "source:towers" for topic in lasting}
        await self.daemon.until(lambda: set(self.daemon.board.problems) == expected)

    def check_problems(self, *texts: str) -> None:
        """Check that the source has reported these as problems at some time; if there
        are none, that it had none.
        """
        told = [
            record.getMessage()
            for record in self.log.records
            if record.name == "bridge"
            and record.levelname == "WARNING"
            and record.getMessage().startswith("towers: ")
        ]
        assert bool(told) == any(texts), told
        for text in texts:
            assert not text or any(text in sentence for sentence in told), (text, told)

    async def settled(self) -> None:
        """Wait until all that must be kept was delivered."""
        await self.daemon.delivered(len(self.published) + self.others)

    def proved(self) -> None:
        """Prove, after the run, that every value arrived once, none was invented, and
        no secret was told.
        """
        self.daemon.proved(len(self.published) + self.others)
        arrived = {}
        for stored in self.daemon.kept:
            for reading in stored.event.readings:
                milliseconds = round(reading.time.timestamp() * 1000)
                arrived[stored.event.device, reading.signal, milliseconds] = reading.value
        assert arrived == self.published
        told = self.log.text + str(self.daemon.board.states) + str(self.daemon.kept)
        for secret in (SECRET, PASSWORD, "hunter2"):
            assert secret not in told


def section(preset: str, more: str = "") -> str:
    needed = {
        "none": "",
        "bare-hex": f"signature_header = {HEADER}\n",
        "token": f"signature_header = {HEADER}\n",
        "wattsense-rest": f"key_id = {KEY_ID}\n",
    }
    secret = "" if preset == "none" else f"secret = {SECRET}\n"
    header = "" if "token_" in more else needed.get(preset, "")
    return (
        "[source:towers]\nplugin = wattsense\nlistener = public\nsignature = "
        f"{preset}\n{secret}{header}{more}\n"
    )


@asynccontextmanager
async def calling(
    daemon: Daemon, log: pytest.LogCaptureFixture, preset: str = "stripe", **cloud: Any
) -> AsyncIterator[Site]:
    """Open the cloud; the bridge is not up yet."""
    log.set_level("INFO", "bridge")
    secret = cloud.pop("secret", SECRET)
    url = f"{daemon.url}/wattsense"
    async with open_emulator(
        url, preset=preset, secret=secret, header=HEADER, key_id=KEY_ID, now=daemon.now, **cloud
    ) as (emulator):
        yield Site(daemon, emulator, log)

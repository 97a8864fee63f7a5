"""What a person has stopped: a source, a sink, or single devices of a sink.

A hold is kept with the state of its instance, so that it lasts over a restart, and is a
problem on the status page for as long as it lasts: one that was forgotten must be seen.
What is held back meanwhile waits, nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import trio
from attrs import frozen

from bridge.api import JSON, KeyValue, Report
from bridge.flow.instances.supervision import Run
from bridge.flow.problems import PAUSED_BY_HAND, PAUSED_DEVICES

HELD = "bridge.held"
HELD_DEVICES = "bridge.held_devices"
HOLD_AGAIN = 3600.0  # seconds for which a held device is parked at a time; resuming ends it

PAUSE = "pause"
"""Topic under which an instance says that it is paused by hand."""

MAX_NAMED = 5  # devices in a sentence


@frozen
class Held:
    """Why something is held, and since when."""

    why: str
    """In the words of the person; may be empty."""
    since: datetime

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"paused by hand since {self.since:%Y-%m-%d %H:%M} UTC{why}"


class Hold:
    """Whether an instance is stopped by a person, and which devices of it."""

    def __init__(
        self, instance: str, state: KeyValue, report: Report, now: Callable[[], datetime]
    ) -> None:
        """:param instance: such as ``sink:NAME``, as commands name it."""
        self._instance = instance
        self._state = state
        self._report = report
        self._now = now
        self._changed = trio.Event()
        self._held = None if (kept := state.get(HELD)) is None else _held(kept)
        self._devices = {
            device: _held(kept) for device, kept in (state.get(HELD_DEVICES) or {}).items()
        }
        self._tell()

    @property
    def held(self) -> Held | None:
        """Why the instance is stopped; None if it is not."""
        return self._held

    @property
    def devices(self) -> Mapping[str, Held]:
        """The devices that are stopped by themselves."""
        return self._devices

    async def pause(self, why: str = "") -> None:
        """Stop the instance. Durable on return.

        :raises SpoolUnavailable: when that cannot be stored; nothing has changed.
        """
        held = Held(why, self._now())
        await self._state.put(HELD, _as_json(held))
        self._held = held
        self._change()

    async def resume(self) -> bool:
        """Let the instance go on; returns whether it was stopped. Devices that were
        stopped by themselves stay so.

        :raises SpoolUnavailable: as ``pause``.
        """
        if self._held is None:
            return False
        await self._state.put(HELD, None)
        self._held = None
        self._change()
        return True

    async def pause_device(self, device: str, why: str = "") -> None:
        """Stop a device of a sink.

        :raises SpoolUnavailable: as ``pause``.
        """
        await self._keep_devices({**self._devices, device: Held(why, self._now())})

    async def resume_device(self, device: str) -> bool:
        """Let a device go on; returns whether it was stopped.

        :raises SpoolUnavailable: as ``pause``.
        """
        if device not in self._devices:
            return False
        await self._keep_devices(
            {each: held for each, held in self._devices.items() if each != device}
        )
        return True

    async def wait_resumed(self) -> None:
        """Return when the instance is not stopped; at once if it is not now."""
        while self._held is not None:
            await self._changed.wait()

    async def wait_paused(self) -> None:
        """Return when the instance is stopped; at once if it is now."""
        while self._held is None:
            await self._changed.wait()

    async def run_unless_paused(
        self,
        run: Run,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run, cancel it when the instance is paused, and run it anew when it is
        resumed; until cancelled. Started when the first run is, or waits.
        """
        if self._held is not None:
            self._report("not started")
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
        await self.wait_resumed()
        while True:
            async with trio.open_nursery() as nursery:
                await nursery.start(run)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await self.wait_paused()
                nursery.cancel_scope.cancel()
            self._report("stopped")
            await self.wait_resumed()
            self._report("starting again")

    async def _keep_devices(self, devices: dict[str, Held]) -> None:
        kept = {device: _as_json(held) for device, held in devices.items()}
        await self._state.put(HELD_DEVICES, kept or None)
        self._devices = devices
        self._change()

    def _change(self) -> None:
        self._tell()
        self._changed.set()
        self._changed = trio.Event()

    def _tell(self) -> None:
        text = devices = ""
        if self._held is not None:
            text = f"{self._held}; bridged resume {self._instance} lets it go on"
        if self._devices:
            named = ", ".join([*self._devices][:MAX_NAMED])
            more = ", ..." if len(self._devices) > MAX_NAMED else ""
            devices = (
                f"{len(self._devices)} paused by hand, their events wait: {named}{more}; "
                f"bridged resume {self._instance} --device DEVICE lets one go on"
            )
        self._report(text, problem=PAUSED_BY_HAND if text else None, topic=PAUSE)
        self._report(devices, problem=PAUSED_DEVICES if devices else None, topic="paused devices")


def _as_json(held: Held) -> JSON:
    return {"why": held.why, "since": held.since.isoformat()}


def _held(kept: JSON) -> Held:
    return Held(kept["why"], datetime.fromisoformat(kept["since"]))

"""What commands ask of holds: that a source, a sink or a device rests or goes on."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from bridge.admin.answers import meant
from bridge.api import JSON, CommandError, CommandHandler
from bridge.api.spool import Spool
from bridge.flow.instances.hold import Hold


@frozen
class HoldRequests:
    """Answers about what a person has stopped."""

    spool: Spool
    holds: Mapping[str, Hold]
    """By instance, such as ``sink:NAME``."""

    @property
    def handlers(self) -> dict[str, CommandHandler]:
        return {"pause": self.pause, "resume": self.resume}

    async def pause(self, arguments: JSON) -> JSON:
        """Pause an instance, or a device at one sink or at all; returns which
        instances.
        """
        device, why = arguments["device"], arguments["why"]
        instances = self._named(arguments["name"], device)
        for instance in instances:
            hold = self.holds[instance]
            if device is None:
                await hold.pause(why)
            else:
                await hold.pause_device(device, why)
        return instances

    async def resume(self, arguments: JSON) -> JSON:
        """Let go on; returns the instances that were held."""
        device = arguments["device"]
        released = []
        for instance in self._named(arguments["name"], device):
            hold = self.holds[instance]
            if device is None:
                held = await hold.resume()
            elif held := await hold.resume_device(device):
                # What was set aside for it meanwhile is due now.
                await self.spool.retry_parked(instance.removeprefix("sink:"), device)
            if held:
                released.append(instance)
        return released

    def _named(self, name: str | None, device: str | None) -> list[str]:
        """The instances that a person means: devices wait at sinks."""
        known = [
            instance for instance in self.holds if device is None or instance.startswith("sink:")
        ]
        if name is None:
            if device is None:
                raise CommandError("expected the name of a source or a sink, or a device")
            return known
        found = [instance for instance in known if name in (instance, instance.partition(":")[2])]
        if len(found) > 1:
            raise CommandError(f"{name!r} is a source and a sink; say {' or '.join(found)}")
        if not found:
            what = "source or sink" if device is None else "sink"
            if ":" not in name:
                known = [instance.partition(":")[2] for instance in known]
            raise CommandError(f"no enabled {what} is called {name!r}{meant(name, known)}")
        return found

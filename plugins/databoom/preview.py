"""What would be pushed of an event today, for a person who asks before a dead letter is
replayed. Nobody is asked, and nothing is remembered.
"""

from __future__ import annotations

from bridge.api import JSON, Stored

from .devices_file import read_devices_file
from .encoding import plan
from .open_databoom import tokens_of
from .settings import DataboomSettings
from .tokens import Targets


class _Unclaimed:
    """No token stands for anything yet."""

    def get(self, key: tuple[str, ...]) -> JSON:
        return None

    def add(self, key: tuple[str, ...], value: JSON) -> None:
        pass


class _Introduced:
    """Every signal was introduced: its description is left out."""

    def __contains__(self, _signal: object) -> bool:
        return True


def preview(settings: DataboomSettings, stored: Stored) -> str:
    """Return the bodies of the pushes, or why there are none.

    :raises ValueError: when ``devices_file`` cannot be used.
    """
    targets: Targets = {}
    if settings.devices_file is not None:
        targets = read_devices_file(settings.devices_file, settings.devices)
    planned = plan([stored], tokens_of(settings, targets, _Unclaimed()), _Introduced(), settings)
    said = [f"{push.url('push')} {push.body.decode()}" for push in planned.pushes]
    said += [f"not sent: {reason}" for reason in planned.dead.values()]
    if planned.left_out:
        said.append(f"left out, because Databoom cannot hold them: {', '.join(planned.left_out)}")
    return "; ".join(said) or "nothing: the maps and templates leave it out"

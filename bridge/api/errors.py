"""What can be said to the core: verdicts of a sink, refusals on the way in, mistakes in
settings.

A plugin says what happened; the core decides what follows. None of these texts may
contain a secret: they go to the log, to the status page and into dead letters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, TypeAlias

from attrs import field, frozen

from bridge.api.former import warn_of_former_name


class SettingError(Exception):
    """A setting cannot be used. Raised by a settings class (``__attrs_post_init__``),
    reported with file and line.

    The message completes a sentence that begins with the setting's place: ``expected
    ..., got ...``.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting
        self.message = message


class SpoolUnavailable(Exception):
    """The spool cannot take events now, so they must not be acknowledged.

    Raised by ``outlet.emit``.
    """

    def __init__(self, reason: str, *, retry_after: float = 10.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        """Seconds after which the sender may try again."""


class HttpRejection(Exception):
    """The answer to a webhook request that is not accepted. Raised by a receive
    function.

    The caller hears the status only; the reason goes to the log.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason
        self.headers = headers
        self.retry_after = retry_after
        """Seconds, sent as ``Retry-After``; None sends none."""


Scope: TypeAlias = Literal["sink", "device"]
"""Whom a verdict concerns: the whole destination, or the device of this batch alone,
which is parked while the others go on, and tried again at longer and longer intervals,
in the end every hour.

Of a batch with several devices ``device`` says that one of them is to blame and nobody
knows which: the batch comes again in parts until each of them is known.
"""


class Retry(Exception):
    """This attempt failed, another may succeed: time-outs, broken connections,
    overload, 5xx.
    """

    def __init__(self, why: str, *, after: float | None = None, scope: Scope = "sink") -> None:
        super().__init__(why)
        self.why = why
        self.after = after
        """Seconds that the destination asked to be left alone (``Retry-After``); None
        if it did not say.
        """
        self.scope = scope


def _frozenset(indexes: Iterable[int]) -> frozenset[int]:
    return frozenset(indexes)  # the bare class as converter would have no item type for mypy


def _mapping(reasons: Mapping[int, str]) -> Mapping[int, str]:
    return dict(reasons)  # a set in its place is a mistake to be seen where it is made


@frozen
class Outcome:
    """What a sink itself decided about some events of a batch.

    All that it does not name were delivered.
    """

    filtered: frozenset[int] = field(default=frozenset(), converter=_frozenset)
    """Positions in the batch, of events that held nothing for this sink."""
    dead: Mapping[int, str] = field(factory=dict, converter=_mapping)
    """Position to reason, of events that must not be sent: they become dead letters,
    and do not count as refusals.
    """


class Reject(Exception):
    """The destination refuses events for good.

    Without ``indexes`` the whole batch was refused and nobody knows for which event:
    the core bisects it. With ``indexes`` those events (positions in the batch) were
    refused, and the others are as ``others`` says.
    """

    def __init__(
        self,
        why: str,
        *,
        indexes: Collection[int] | Mapping[int, str] = (),
        status: int | None = None,
        others: Outcome | None = None,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.reasons: Mapping[int, str] = (
            indexes if isinstance(indexes, Mapping) else dict.fromkeys(indexes, why)
        )
        """Position to reason, of those events."""
        self.status = status
        """HTTP status, or None where there was none; kept in the dead letters."""
        self.others = others or Outcome()

    @property
    def indexes(self) -> frozenset[int]:
        """The positions of those events; empty if it is not known which they are."""
        return frozenset(self.reasons)


class Pause(Exception):
    """Nothing can be delivered until a person acts: credentials, address,
    configuration.

    Nothing is dropped. The core probes slowly and shows the reason.
    """

    def __init__(self, why: str, *, scope: Scope = "sink", device_only: bool | None = None) -> None:
        """Say why.

        :param device_only: what version 1.1 called ``scope="device"``.
        """
        super().__init__(why)
        self.why = why
        if device_only is not None:
            warn_of_former_name("Pause(device_only=...)", 'Pause(scope="device")')
        self.scope: Scope = "device" if device_only else scope

    @property
    def device_only(self) -> bool:
        """Whether only this device is affected: the name that version 1.1 had."""
        return self.scope == "device"

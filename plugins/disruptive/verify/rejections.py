"""Requests that are not authentic: why, and when a person has to hear of it.

    verify ─▶ Unauthentic(cause, reason) ─▶ the core: 401, a line in the log
                        └─▶ RejectionWatch ─▶ a problem, once for each cause,
                                              until a request is authentic again

A wrong secret means 12 hours of repeated requests, then lost events, and a disabled
connector after 5 days (vendor documentation). So the first rejection is a problem. But
anybody can send garbage to a public address: its words are in no report, and while DT
itself gets through, nobody needs to hear of garbage.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import trio
from attrs import define, field

from bridge.api import HttpRejection, Report

from ..problems import REQUESTS_REFUSED

QUIET = 60.0  # seconds after an authentic request for which rejections are no problem
TOPIC = "rejections"


class Cause(Enum):
    """Why requests are not authentic, and what to do: the words of the report."""

    NO_SIGNATURE = (
        "they carry no signature; does the Data Connector have the signature secret that is "
        "set here?"
    )
    NO_ASYMMETRIC_SIGNATURE = (
        "they carry no DT-Asymmetric-Signature; if DT does not send it to you, set scheme = hmac"
    )
    UNREADABLE = (
        "their signature is not as DT makes it; does something between DT and the bridge "
        "change headers?"
    )
    NOT_OURS = (
        "they are signed with another secret; set secret to the signature secret of the Data "
        "Connector"
    )
    NOT_DTS = (
        "their DT-Asymmetric-Signature was not made with the key of DT that it names; DT did "
        "not send them"
    )
    UNKNOWN_KEY = "they are signed with a key that DT does not publish; check discovery_url"
    OTHER_ISSUER = "they are signed by another issuer; check issuer and discovery_url"
    OTHER_ORGANIZATION = "they are for another organization; set organization to the id of yours"
    TIMES = "the times of their signature are wrong; check the clock of this machine"
    OTHER_BODY = (
        "their body is not the one that was signed; does something between DT and the bridge "
        "change bodies?"
    )
    OLD_HASH = (
        "their signature has no SHA-256 of the body; legacy_sha1 = yes would accept SHA-1 alone"
    )
    OTHER_HEADER = (
        "their custom header is missing or another; set header_name and header_value as in "
        "the Data Connector"
    )


class Unauthentic(HttpRejection):
    """A request that DT did not make, or not for us, now and with this body: 401."""

    def __init__(self, cause: Cause, reason: str, *, offset: str = "") -> None:
        super().__init__(401, reason)
        self.cause = cause
        self.offset = offset
        """Where the times are wrong: by how much."""


class UnknownKey(Unauthentic):
    """A token that names a key which DT does not publish."""

    def __init__(self, reason: str) -> None:
        super().__init__(Cause.UNKNOWN_KEY, reason)


class KeyNotFetched(HttpRejection):
    """A token that cannot be checked yet: 503, DT sends the request again."""

    def __init__(self, reason: str, *, retry_after: float) -> None:
        super().__init__(503, reason, retry_after=retry_after)


@define(eq=False)
class RejectionWatch:
    """Tells a person about rejected requests: once for each cause, until a request is
    authentic again.
    """

    _report: Report
    _clock: Callable[[], float] = trio.current_time
    _authentic: float = field(default=float("-inf"), init=False)
    _causes: dict[Cause, str] = field(factory=dict, init=False)

    def rejected(self, rejection: Unauthentic) -> None:
        """Count a request that is not authentic."""
        if rejection.cause in self._causes or self._clock() - self._authentic < QUIET:
            return
        offset = f" ({rejection.offset})" if rejection.offset else ""
        self._causes[rejection.cause] = rejection.cause.value + offset
        text = f"requests are refused: {'; '.join(self._causes.values())}"
        self._report(text, problem=REQUESTS_REFUSED, topic=TOPIC)

    def authentic(self) -> None:
        """Count a request that is authentic."""
        self._authentic = self._clock()
        if self._causes:
            self._causes.clear()
            self._report("", topic=TOPIC)

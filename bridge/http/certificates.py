"""Certificates over the years: renewed files are taken into use by themselves, and an
end is told before it comes.

A renewal writes one file after the other. While the pair does not fit, the old one
stays in use; that is a problem only if the files are still the same at the next look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import trio
from attrs import define, frozen

from bridge.api import Problem, RepeatedEvent, Report
from bridge.http.problems import (
    CERTIFICATE_EARLY,
    CERTIFICATE_ENDED,
    CERTIFICATE_ENDS,
    CERTIFICATE_UNUSABLE,
)
from bridge.http.tls import Stamp, TlsContext, TlsError, Validity

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0  # seconds
# A renewal is tried 30 days before the end, so this one has failed for nine days.
TOLD_BEFORE = timedelta(days=21)


@frozen
class Complaint:
    """What is wrong with a certificate."""

    text: str
    problem: Problem


def complaint(validity: Validity, now: datetime) -> Complaint | None:
    """Return what is wrong with the time in which a certificate is valid, or None."""
    ends = _date(validity.ends)
    if now < validity.begins:
        return Complaint(
            f"the certificate is valid only from {_date(validity.begins)}; is the clock of this "
            "machine right?",
            CERTIFICATE_EARLY,
        )
    if now >= validity.ends:
        return Complaint(
            f"{validity.whose} ended on {ends}, so nobody trusts it; renew it", CERTIFICATE_ENDED
        )
    if now >= validity.ends - TOLD_BEFORE:
        return Complaint(
            f"{validity.whose} ends on {ends} and was not renewed; renew it", CERTIFICATE_ENDS
        )
    return None


def _date(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


async def watch_certificate(
    tls: TlsContext, report: Report, *, now: Callable[[], datetime], hangup: RepeatedEvent
) -> None:
    """Keep a certificate current until cancelled.

    :param report: where the state of the certificate is told.
    :param hangup: SIGHUP: the files are read at once, and what is wrong with them is
        told at once.
    """
    watch = _Watch(tls)
    while True:
        found = watch.failure or complaint(tls.validity, now())
        if found is None:
            report(f"the certificate is valid until {_date(tls.validity.ends)}")
        else:
            report(found.text, problem=found.problem)
        asked = False
        with trio.move_on_after(LOOK_EVERY):
            await hangup.wait()
            asked = True
        watch.look(final=asked)


@define
class _Watch:
    """What is known of the files of one pair."""

    tls: TlsContext
    failure: Complaint | None = None
    """Why the files that are there now are not used."""
    _unfit: Stamp | None = None
    """Of files that could not be used at the last look."""

    def look(self, *, final: bool) -> None:
        """Use the files if they have changed.

        :param final: whether they are complete: somebody says so, and wants to know
            what is wrong with them.
        """
        seen = self.tls.look()
        if seen == self.tls.stamp and not final:
            self.failure = self._unfit = None
            return
        try:
            self.tls.reload()
        except TlsError as exc:
            if final or seen == self._unfit:
                self.failure = Complaint(
                    f"the renewed certificate cannot be used, the one before stays in use: {exc}",
                    CERTIFICATE_UNUSABLE,
                )
            self._unfit = seen
        else:
            self.failure = self._unfit = None
            log.info("%s: read again, in use for new connections", self.tls.certificate)

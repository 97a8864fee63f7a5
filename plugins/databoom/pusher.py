"""One push: sent in its turn, its answer classified, and what it taught kept.

push ─ turn of its device ─▶ client ─ answers ─▶ verdict
                                         └─ accepted: introduced, watched;
                                            clock and answer looked at
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import trio

from bridge.api import Report
from bridge.api.rest import RestClient, RestResponse, clock_difference

from .answers import PushAccepted, PushVerdict, classify
from .ledger import Ledger
from .problems import CLOCK_DIFFERS, UNUSUAL_ANSWER
from .push import Push
from .settings import DataboomSettings
from .validation import Validation

MAX_ANSWER = 64 << 10  # bytes of an answer that are kept; the documented one has 32
MAX_CLOCK_DIFFERENCE = 60.0  # seconds between our clock and Databoom's


class Pusher:
    """Sends pushes."""

    def __init__(
        self,
        settings: DataboomSettings,
        client: RestClient,
        *,
        introduced: Ledger,
        validation: Validation | None,
        report: Report,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._client = client
        self._introduced = introduced
        self._validation = validation
        self._report = report
        self._now = now
        self._under_way: dict[str, trio.Event] = {}  # device: set when its push is through
        self._told_of_answer = False
        self._told_of_clock = False
        self._credential = settings.credential[0]
        self._scopes = (
            "the scopes Publish and Create" if settings.form == "template" else "the scope Publish"
        )

    async def push(self, push: Push) -> PushVerdict:
        """Send a push.

        :raises Retry: there was no answer, and whether the push was stored is not
            known.
        :raises Pause: the server cannot be trusted.
        """
        response = await self._send_in_turn(push)
        now = self._now()
        verdict = classify(
            response,
            self._client.quoted,
            now=now,
            strict_body=self._settings.strict_body,
            credential=self._credential,
            scopes=self._scopes,
        )
        if isinstance(verdict, PushAccepted):
            self._learn(push)
            self._tell_of_answer(verdict.remark)
            self._tell_of_clock(clock_difference(response.headers, now))
        return verdict

    async def _send_in_turn(self, push: Push) -> RestResponse:
        """Send when no other push of this device is under way: two source devices may
        share a token.
        """
        while (other := self._under_way.get(push.device)) is not None:
            await other.wait()
        self._under_way[push.device] = through = trio.Event()
        try:
            return await self._client.request(
                "POST",
                push.url(self._settings.url),
                content=push.body,
                max_body=MAX_ANSWER,
                keep_beginning=True,
            )
        finally:
            del self._under_way[push.device]
            through.set()

    def _learn(self, push: Push) -> None:
        for point in push.points:
            if point.first:
                self._introduced.add((push.device, point.signal), None)
            if self._validation is not None:
                self._validation.watch((push.listed_device(), point.signal))

    def _tell_of_answer(self, remark: str | None) -> None:
        # One is enough for a look, and the next ordinary answer does not take it back.
        if remark and not self._told_of_answer:
            self._told_of_answer = True
            self._report(
                f"Databoom accepts with an unusual answer ({remark}); see that values arrive",
                problem=UNUSUAL_ANSWER,
                topic="answer",
            )

    def _tell_of_clock(self, ahead: float | None) -> None:
        if ahead is None:
            return
        wrong = abs(ahead) > MAX_CLOCK_DIFFERENCE
        if not wrong and not self._told_of_clock:
            return
        self._told_of_clock = wrong
        side = "ahead of" if ahead > 0 else "behind"
        text = (
            f"this machine's clock is more than {MAX_CLOCK_DIFFERENCE:.0f} s {side} Databoom's; "
            "see that it is synchronised"
        )
        self._report(text if wrong else "", problem=CLOCK_DIFFERS if wrong else None, topic="clock")

"""One push: sent in its turn, its answer classified, and what it taught kept.

push ──▶ turn of its device ──▶ client.py ──▶ answers.py ──▶ verdict
                                                 └─ accepted: introduced, watched; clock and answer looked at
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import trio

from .answers import Accepted, Verdict, classify, clock_skew
from .client import Client, Received
from .concerns import Concerns
from .encoding import Push
from .ledger import Ledger
from .settings import DataboomSettings
from .validation import Validation

MAX_SKEW = 60.0  # seconds between our clock and Databoom's


class Pusher:
    """Sends pushes."""

    def __init__(
        self,
        settings: DataboomSettings,
        client: Client,
        *,
        introduced: Ledger,
        validation: Validation | None,
        concerns: Concerns,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._client = client
        self._introduced = introduced
        self._validation = validation
        self._concerns = concerns
        self._now = now
        self._under_way: dict[str, trio.Event] = {}  # device: set when its push is through
        self._credential = settings.credential[0]
        self._scopes = (
            "the scopes Publish and Create" if settings.form == "template" else "the scope Publish"
        )

    async def push(self, push: Push) -> Verdict:
        """Send a push.

        :raises Retry: there was no answer, and whether the push was stored is not
            known.
        :raises Pause: the server cannot be trusted.
        """
        received = await self._send_in_turn(push)
        now = self._now()
        verdict = classify(
            received.status,
            received.headers,
            received.body,
            now=now,
            strict_body=self._settings.strict_body,
            credential=self._credential,
            scopes=self._scopes,
        )
        if isinstance(verdict, Accepted):
            self._learn(push)
            self._look(verdict.remark, clock_skew(received.headers, now))
        return verdict

    async def _send_in_turn(self, push: Push) -> Received:
        """Send when no other push of this device is under way: two source devices may
        share a token.
        """
        while (other := self._under_way.get(push.device)) is not None:
            await other.wait()
        self._under_way[push.device] = through = trio.Event()
        try:
            return await self._client.push(push)
        finally:
            del self._under_way[push.device]
            through.set()

    def _learn(self, push: Push) -> None:
        for point in push.points:
            if point.first:
                self._introduced.add((push.device, point.signal), None)
            if self._validation is not None:
                self._validation.watch((push.listed_device(), point.signal))

    def _look(self, strange_answer: str | None, skew: float | None) -> None:
        if (
            strange_answer
        ):  # one is enough for a look, and is not taken back by the next ordinary answer
            self._concerns.once(
                "answer",
                (
                    f"Databoom accepts with an unusual answer ({strange_answer}); see that values "
                    "arrive"
                ),
            )
        if skew is not None:
            side = "ahead of" if skew > 0 else "behind"
            wrong = (
                f"this machine's clock is more than {MAX_SKEW:.0f} s {side} Databoom's; see that it "
                "is synchronised"
            )
            self._concerns.set("clock", wrong if abs(skew) > MAX_SKEW else "")

"""The one way out to DT's REST API, for all tasks and for logins too: once DT has
answered 429 (too many requests), nobody asks until the time is over.

    send ─ held off? ─ yes ─▶ Retry, with what is left of the wait
              └─ no ── request ─▶ answer ─ 429 ─▶ held off for Retry-After,
                                                  else longer each time
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import define, field

from bridge.api import Retry, backoff
from bridge.api.rest import RequestSpacing, RestClient, RestResponse, read_retry_after

from .answers import error_text

FIRST_WAIT, MAX_WAIT = 1.0, 60.0  # seconds between attempts, where DT does not say


@define(eq=False)
class Gate:
    """Sends requests, unless DT asked for patience."""

    _rest: RestClient
    _now: Callable[[], datetime]
    random: Callable[[], float]
    _spacing: RequestSpacing = field(factory=RequestSpacing, init=False)
    _refused: int = field(default=0, init=False)
    """How often DT has answered 429 since its last other answer."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> RestResponse:
        """Make one request and return the answer, whatever its status.

        :raises Retry: DT asked for patience, or there is no answer that can be used.
        :raises Pause: the certificate is refused.
        """
        if left := self._spacing.held_off:
            # Not waited for here: it may be an hour.
            raise Retry(f"DT asked for patience (429), {left:.0f} s of it are left", after=left)
        response = await self._rest.request(method, url, headers=headers, content=content)
        if response.status == 429:
            self._refused += 1
            wait = read_retry_after(response.headers, self._now())
            if wait is None:
                wait = backoff(self._refused, FIRST_WAIT, MAX_WAIT, self.random)
            self._spacing.hold_off(wait)
        else:
            self._refused = 0
        return response

    def asked_wait(self, response: RestResponse) -> float | None:
        """Return the seconds for which DT wants to be left alone; None: not said."""
        return self._spacing.held_off or read_retry_after(response.headers, self._now())

    def said(self, response: RestResponse, *secrets: str) -> str:
        """Return DT's own words in an answer, fit to be quoted.

        :param secrets: texts to hide besides those of the settings.
        """
        return self._rest.quoted(error_text(response.body), *secrets)

"""One request to DT and its answer, behind the gate that DT shuts with 429 (too many
requests).

    send ─ gate open? ─ no ─▶ Retry, with what is left of the wait
              └─ yes ─ request ─▶ answer ─ 429 ─▶ gate shut: Retry-After, else longer each time

The gate is one for all tasks that send through it, logins too. An answer has one
deadline and a largest size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import httpx
import trio
from attrs import define, field

from bridge.api import Pause, Retry
from bridge.api.rest import certificate_failure

from .answers import Reply, redact, retry_after

FIRST_WAIT, MAX_WAIT = 1.0, 60.0  # seconds between attempts, where DT does not say
MAX_ANSWER = 32 << 20  # bytes; 1,000 events of the largest known size, 3 kB, take a tenth of it


def pause(number: int, random: float) -> float:
    """Give the seconds to wait after failure number 1, 2, 3 ...: twice as long each
    time, with jitter.

    :param random: a number in [0, 1).
    """
    longest = min(FIRST_WAIT * 2.0 ** min(number - 1, 10), MAX_WAIT)
    return longest * (1 + random) / 2


@define(eq=False)
class Transport:
    """Sends requests."""

    client: httpx.AsyncClient
    timeout: float
    """Seconds for a request and its whole answer."""
    now: Callable[[], datetime]
    random: Callable[[], float]
    secrets: Sequence[str] = field(repr=False)
    """Texts that no error may hold."""
    _shut_until: float = 0.0
    _turned_away: int = 0
    """How often DT answered 429 since its last other answer."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Reply:
        """Make one request.

        :raises Retry: the gate is shut, nobody answers, or the answer is too long.
        :raises Pause: the certificate is refused.
        """
        if wait := self.shut_for():
            raise Retry(f"DT asked for patience (429), {wait:.0f} s of it are left", after=wait)
        reply = await self._exchange(method, url, headers, content)
        if reply.status == 429:
            self._turned_away += 1
            asked = self.asked_wait(reply)
            wait = pause(self._turned_away, self.random()) if asked is None else asked
            self._shut_until = trio.current_time() + wait
        else:
            self._turned_away = 0
        return reply

    def shut_for(self) -> float:
        """Give the seconds until the gate opens; 0 if it is open."""
        return max(self._shut_until - trio.current_time(), 0.0)

    def asked_wait(self, reply: Reply) -> float | None:
        """Give the seconds of ``Retry-After``, or None."""
        return retry_after(reply.headers.get("retry-after"), self.now())

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Reply:
        body = bytearray()
        try:
            with trio.fail_after(self.timeout), trio.CancelScope() as reading:
                async with self.client.stream(
                    method, url, content=content, headers=headers
                ) as response:
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > MAX_ANSWER:
                            reading.cancel()  # unlike leaving the loop, it closes the generators inside httpx too
        except trio.TooSlowError as exc:
            raise Retry(f"no answer of DT's REST API within {self.timeout:g} s (timeout)") from exc
        except httpx.HTTPError as exc:
            if (refused := certificate_failure(exc)) is not None:
                raise Pause(
                    f"the certificate of DT's REST API is refused: {refused}; "
                    "check url and token_url, or name the CA in ca_file"
                ) from exc
            why = redact(str(exc) or type(exc).__name__, self.secrets)
            raise Retry(f"DT's REST API cannot be reached: {why}") from exc
        if len(body) > MAX_ANSWER:
            raise Retry(f"an answer of DT's REST API is larger than {MAX_ANSWER} bytes")
        return Reply(response.status_code, response.headers, bytes(body))

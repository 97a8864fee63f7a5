"""Discovery mode: which convention does the real service use? For set-up only.

The names of the headers and the length of the body of the first requests are logged,
also of those that are refused. Values are not: not of headers, not of the query, not of
the body, for one of them may be the secret.
"""

from __future__ import annotations

import logging

from attrs import define

from bridge.api import Request, shortened

MAX_HEADERS = 60  # named in one line; more are counted

log = logging.getLogger(__name__)


@define
class Discovery:
    """How many requests are still to be logged, over all routes of one receiver."""

    source: str
    """NAME of the section, for the log."""
    max_requests: int
    seen: int = 0

    def look(self, route: str, request: Request) -> None:
        """Log what a request looks like, if it is one of the first."""
        if self.seen >= self.max_requests:
            return
        self.seen += 1
        log.warning(
            "%s: discovery %d of %d: %s on %s, body of %d bytes, headers: %s",
            self.source,
            self.seen,
            self.max_requests,
            request.method,
            route,
            len(request.body),
            _names(request),
        )


def _names(request: Request) -> str:
    """Return the names of the headers; after one that came several times, how often."""
    names = [
        shortened(name) + (f" ({len(values)} times)" if len(values) > 1 else "")
        for name, values in request.headers.items()
    ]
    more = len(names) - MAX_HEADERS
    return ", ".join(names[:MAX_HEADERS]) + (f" and {more} more" if more > 0 else "")

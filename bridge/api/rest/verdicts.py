"""What the status of an answer means where a vendor says nothing else."""

from __future__ import annotations

from typing import TypeAlias

from bridge.api.errors import Pause, Reject, Retry

Verdict: TypeAlias = type[Retry] | type[Pause] | type[Reject]

AGAIN = frozenset({408, 425, 429})
REFUSED = frozenset({401, 403, 407})


def verdict_of(status: int) -> Verdict | None:
    """Return which verdict an answer is by its status; None for a success.

    ===================  ======  =================================================
    status               verdict
    ===================  ======  =================================================
    2xx                  None    taken
    1xx, 3xx             Pause   never followed; a person corrects the URL
    401 403 407          Pause   a person corrects credentials or rights
    408 425 429 5xx      Retry   after ``Retry-After``, if the answer has one
    any other            Reject  the same request would be refused again
    ===================  ======  =================================================
    """
    if 200 <= status < 300:
        return None
    if status < 400 or status in REFUSED:
        return Pause
    if status >= 500 or status in AGAIN:
        return Retry
    return Reject

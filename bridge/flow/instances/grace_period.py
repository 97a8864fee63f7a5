"""What is under way when the bridge stops, and how long it may take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class GracePeriod:
    """Lets what is under way finish when the bridge stops, for a limited time.

    A shielded scope with a deadline that is set when the time has come: an attempt and
    its settlement are not cut in half, which would deliver twice what could have been
    settled.
    """

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._deadline = math.inf

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Shield the block until the grace period is over."""
        with trio.CancelScope(shield=True, deadline=self._deadline) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    @property
    def closing(self) -> bool:
        """Whether the bridge stops."""
        return self._deadline < math.inf

    def close(self, seconds: float) -> None:
        """Let the grace period end in so many seconds, for what is inside and for what
        enters later.
        """
        self._deadline = trio.current_time() + seconds
        for scope in self._scopes:
            scope.deadline = self._deadline

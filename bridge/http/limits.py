"""Bounds of the HTTP server that nobody needs to choose; those that somebody may are
``ListenerSettings``.

Everything that comes from outside has one or the other.
"""

from __future__ import annotations

MAX_HEADERS = 100
"""Header lines in a request.

``head_limit`` bounds their size, this the work that many short ones make.
"""

MAX_EXTENSION = 256
"""Bytes between the size of a chunk and the end of its line."""

MAX_TRAILER = 4096
"""Bytes after the last chunk, the empty line included."""

RECEIVE_SIZE = 65536
"""Bytes taken from a connection at once, and so the most that is held beyond one
request.
"""

BACKLOG = 4096
"""Connections that the kernel keeps while we are busy or restarting."""

ACCEPT_PAUSE = 0.1
"""Seconds without accepting when the process has no file descriptors left."""

FINAL_RESPONSE_TIMEOUT = 5.0
"""Seconds for sending the last response, 408 or 503, once the request's own time is
over.
"""

LINGER = 2.0
"""Seconds for which a connection is read after its last answer: closing it with unread
bytes would reset it, and the peer would lose the answer.
"""

FIRST_REQUEST_TIMEOUT = 1.0
"""Seconds that a connection which has not said anything yet is given while draining: it
was just opened for a request, which would be lost.
"""

RETRY_AFTER = 10
"""Seconds named in ``Retry-After`` where nobody knows better."""

"""Emulator of DT: what can be wrong with a push, and how often.

Each fault is a share from 0, never, to 1, always. A fault hits the first attempts of an
event only, so that the event gets through in the end.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

Hit = Callable[[float], bool]
"""Decide whether a fault with this share happens now."""


@frozen
class Faults:
    """What goes wrong, and how often."""

    attempts: int = 1
    """Faults of requests hit so many first attempts of an event, so that it gets
    through in the end.
    """

    # Of the tokens of a request, of all that it has
    expired_token: float = 0.0
    future_token: float = 0.0
    algorithm_none: float = 0.0
    """The token says ``alg`` none and has no signature."""

    # Of X-Dt-Signature
    wrong_secret: float = 0.0
    no_signature: float = 0.0
    doubled_signature: float = 0.0
    """The header comes twice, with the same value."""
    sha1_only: float = 0.0
    """The token is as before February 2022.

    Its receiver may be right to refuse it: then it is a fault.
    """

    # Of DT-Asymmetric-Signature
    wrong_key: float = 0.0
    """Signed with a key of somebody else, under the kid of the right one."""
    no_asymmetric: float = 0.0
    doubled_asymmetric: float = 0.0
    wrong_sub: float = 0.0
    """The token is for another organization."""
    wrong_iss: float = 0.0
    unknown_kid: float = 0.0
    """Signed with a key that was never published."""
    der_signature: float = 0.0
    """The signature is in DER instead of the form of JOSE."""

    # Of the request
    tampered_body: float = 0.0
    """One byte of the body is changed after it was signed."""
    chunked: float = 0.0
    """The body comes in chunks, which is no fault by itself."""
    stalled_body: float = 0.0
    """The second half of the body never comes; the connection stays open until the
    answer limit.
    """
    half_closed: float = 0.0
    """The second half of the body never comes, and our half of the connection is
    closed; an answer is read.
    """
    cut_before_answer: float = 0.0
    """The connection is closed as soon as the body is sent, or all chunks but the last,
    empty one.
    """
    cut_after_answer: float = 0.0
    """The answer gets lost on its way to us."""

    # Of events
    no_metadata: float = 0.0
    """The body is as before 2022."""
    no_samples: float = 0.0
    """The body is as before ``samples`` and ``isBackfilled`` were added."""
    invalid_utf8: float = 0.0
    """The body holds a byte that is not UTF-8, and is signed so."""
    duplicate: float = 0.0
    """The event is sent again after it was acknowledged."""
    reorder: float = 0.0
    """The event is held back for the time of a retry, so that later ones of its device
    overtake it.
    """
    late_retry: float = 0.0
    """A retry or a duplicate comes after :attr:`Delivery.late` only, and does not hold
    up its device meanwhile.
    """

    # Of the same attempts, always
    clock_offset: float = 0.0
    """Seconds by which our clock is ahead."""
    pause: float = 0.0
    """Seconds before the body, or each of its chunks."""


NO_FAULTS = Faults()

"""How the stand-in for the Wattsense cloud calls, and what goes wrong.

Method, framing, retries and time-outs of the real cloud are not published, so each is
an option here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal

from attrs import Factory, frozen

from .messages import Item


@frozen
class Sending:
    """How the cloud calls. The defaults are what is assumed of the real one."""

    method: Literal["POST", "PUT"] = "POST"
    framing: Literal["object", "array", "data"] = "object"
    content_type: str = "application/json"
    gzip: bool = False
    chunked: bool = False
    most_items: int = 50
    """Most values in one request, where the framing allows several."""
    lanes: int = 4
    """Requests at one time; the values of a device stay in one lane, and so in order.
    """
    timeout: float = 5.0
    """Seconds to wait for an answer."""
    query: str = ""
    """Sent with each request, such as ``token=abc`` where the key is a query parameter.
    """
    members: Item = Factory(dict)
    """Added to each value, such as the key where it is a JSON member."""
    retries: float = inf
    """Attempts after the first; 0 for a cloud that tries once."""
    pauses: Sequence[float] = (0.1,)
    """Seconds before each retry; the last one is repeated."""


@frozen
class Faults:
    """What goes wrong: the share, from 0 to 1, of the requests that it happens to."""

    duplicates: float = 0.0
    """A second connector delivers the same request once more."""
    reordered: float = 0.0
    """The values that wait are sent in any order."""
    unwanted: float = 0.0
    """An array of items that are no live numbers is sent before."""
    bad_signature: float = 0.0
    """The request is sent before, signed with another secret."""
    stale: float = 0.0
    """The request is sent before, signed as of an hour ago."""
    malformed: float = 0.0
    """Half of the body is sent before, properly signed."""
    oversized: float = 0.0
    """A body of ``oversized_bytes`` is sent before."""
    oversized_bytes: int = 2 << 20
    opaque: float = 0.0
    """An event, an alarm, and a message of an unknown kind are sent before, the last
    one to two addresses.
    """
    lost: float = 0.0
    """Nothing is sent: the values are in the store and nowhere else."""

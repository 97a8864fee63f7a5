"""How the emulator calls and answers, and what goes wrong.

Method, framing, retries and time-outs of the real cloud are not published, so each is
an option here. The defaults are what is published, or else assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, Literal

from attrs import Factory, evolve, field, fields, frozen

from .messages import Item

_FAULT = "fault"


def _share() -> Any:
    """Declare a fault: the share, from 0 to 1, of the requests that it happens to."""
    return field(default=0.0, metadata={_FAULT: True})


@frozen(kw_only=True)
class WebhookOptions:
    """How the cloud calls the webhook."""

    method: Literal["POST", "PUT"] = "POST"
    framing: Literal["object", "array", "data"] = "object"
    content_type: str = "application/json"
    gzip: bool = False
    chunked: bool = False
    max_items: int = 50
    """Values in one request, where the framing allows several."""
    lanes: int = 4
    """Requests at one time; the values of a device stay in one, and so in order."""
    timeout: float = 5.0
    """Seconds to wait for an answer."""
    query: str = ""
    """Sent with each request, such as ``token=abc`` where a parameter is the key."""
    members: Item = Factory(dict)
    """Added to each value, such as the key where it is a JSON member."""
    retries: float = inf
    """Attempts after the first; 0 for a cloud that tries once."""
    pauses: Sequence[float] = (0.1,)
    """Seconds before each retry; the last one is repeated."""

    duplicates: float = _share()
    """A second connector delivers the same request once more."""
    reordered: float = _share()
    """The values that wait are sent in any order."""
    unwanted: float = _share()
    """An array of items that are no live numbers is sent before."""
    bad_signature: float = _share()
    """The request is sent before, signed with another secret."""
    stale: float = _share()
    """The request is sent before, signed as of an hour ago."""
    malformed: float = _share()
    """Half of the body is sent before, properly signed."""
    oversized: float = _share()
    """A body of ``oversized_bytes`` is sent before."""
    oversized_bytes: int = 2 << 20
    other_kinds: float = _share()
    """An event, an alarm, and a message of an unknown kind are sent before, the last
    one to two addresses.
    """
    lost: float = _share()
    """Nothing is sent: the values are in the store and nowhere else."""

    def without_faults(self) -> WebhookOptions:
        """Return how the cloud calls when nothing goes wrong any more."""
        none: dict[str, Any] = dict.fromkeys(FAULTS, 0.0)
        return evolve(self, **none)


FAULTS = tuple(option.name for option in fields(WebhookOptions) if _FAULT in option.metadata)


@frozen(kw_only=True)
class RestOptions:
    """How the REST API is."""

    key: str = "rest-key"
    secret: str = "rest-secret"  # noqa: S105  # it protects nothing
    basic: bool = True
    """Whether user and password are accepted as well as a signature."""
    skew: float = 300.0
    """Seconds that a signature's timestamp may differ from the clock."""
    page_size: int = 2500
    """Most items in one answer, whatever is asked for."""
    links: Literal["relative", "absolute"] = "absolute"
    link_fault: Literal["none", "foreign", "loop"] = "none"
    empty: Literal["204", "no-body", "array"] = "204"
    order: Literal["ascending", "descending", "shuffled"] = "ascending"
    sparse: bool = False
    """Whether history items carry nothing but property, time and value."""
    needs_property: bool = False
    """Whether the history demands to name a property."""
    requests: int = 2500
    """Most requests in a window."""
    retry_after: int | None = 1
    """Seconds, sent with 429 and 503; None sends none."""
    slowness: float = 60.0
    """Seconds until a slow answer."""

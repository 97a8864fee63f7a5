"""The token that stands in the JSON document itself: checked, and taken out, so that it
is stored nowhere.

    {"token": "...", "deviceId": ...}              one object
    [{"token": "...", ...}, {"token": "...", ...}] each object of an array
    {"token": "...", "data": [...]}                the object around an array

That Wattsense sends its key so is a guess (assumed); it is off unless ``token_member``
names the member. Here alone JSON is read before the sender is known, within the limits
of the listener.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import TypeAlias

from bridge.api import JSON, HttpRejection

from .signature import Scheme

TakeToken: TypeAlias = Callable[[JSON], JSON]
"""Returns the document without its token, or raises ``HttpRejection`` with 401."""


def make_take_token(scheme: Scheme, secrets: Sequence[bytes]) -> TakeToken | None:
    """Return the function that checks a document; None where the token is elsewhere, or
    there is none.
    """
    if not scheme.member:
        return None
    member, expected = scheme.member, tuple(secrets)

    def take(document: JSON) -> JSON:
        if isinstance(document, list) and document:
            return [_without(item, member, expected) for item in document]
        return _without(document, member, expected)

    return take


def _without(item: JSON, member: str, expected: Sequence[bytes]) -> JSON:
    token = item.get(member) if isinstance(item, dict) else None
    if not isinstance(token, str):
        raise HttpRejection(401, f"the document has no text in the member {member} (token_member)")
    matches = [hmac.compare_digest(token.encode(), secret) for secret in expected]
    if not any(matches):
        raise HttpRejection(401, f"the token in the member {member} is not a configured one")
    return {name: value for name, value in item.items() if name != member}

r"""How requests to the REST API prove who sends them: pure.

    X-API-Auth: <api key>:<signature>
    X-API-Timestamp: <milliseconds since the epoch>
    signature = base64( HMAC-SHA512( secret, text ) )
    text      = METHOD \n path [\n query] [\n body] \n timestamp

From vendor documentation; that lines which would be empty are left out, and that the
path begins with a slash and is without host and query, is how working clients do it. A
signature holds its timestamp: every request, also one that is repeated or that follows
a link, is signed anew.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from ..messages.values import EPOCH, MILLISECOND


def query_of(*pairs: tuple[str, str | int]) -> str:
    """Return a query in the order given, percent-encoded, a blank as ``%20``.

    What is signed is what is sent.
    """
    return "&".join(f"{quote(name, safe='')}={quote(str(value), safe='')}" for name, value in pairs)


def signed_text(method: str, target: bytes, body: bytes, milliseconds: int) -> bytes:
    """Return the text under the signature.

    :param target: path and query as they go over the wire.
    """
    path, _, query = target.partition(b"?")
    lines = (method.upper().encode(), path, query, body, str(milliseconds).encode())
    return b"\n".join(line for line in lines if line)


def signature_headers(
    key: str, secret: str, method: str, target: bytes, body: bytes, now: datetime
) -> Mapping[str, str]:
    """Return the headers that authenticate a request made now."""
    milliseconds = (now - EPOCH) // MILLISECOND
    text = signed_text(method, target, body, milliseconds)
    signature = b64encode(hmac.digest(secret.encode(), text, "sha512")).decode()
    return {"X-API-Auth": f"{key}:{signature}", "X-API-Timestamp": str(milliseconds)}

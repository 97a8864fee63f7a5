"""How the emulator signs: written from the conventions, without
a look at the receiver.

Each function is one convention; it gets one message and gives the headers that prove
it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TypeAlias

from attrs import frozen


@frozen
class Message:
    """What is to be signed."""

    method: str
    path: str
    query: str
    body: bytes
    """As it goes over the wire."""
    milliseconds: int
    """Since the epoch: when it is signed."""
    id: str
    """Unique among messages."""


Headers: TypeAlias = dict[str, str]
Sign: TypeAlias = Callable[[Message], Headers]


def basic(username: str, password: str) -> Headers:
    """Return the header of user and password."""
    return {
        "Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    }


def bearer(token: str) -> Headers:
    """Return the header of a bearer token."""
    return {"Authorization": f"Bearer {token}"}


def api_key(header: str, key: str) -> Headers:
    """Return the API key in a header of its own."""
    return {header: key}


def signer(
    preset: str, secret: str, *, header: str = "X-Signature-SHA256", key_id: str = ""
) -> Sign:
    """Return the convention of this name.

    :param header: for ``bare-hex`` and ``token``, which name none.
    :param key_id: the API key, for ``wattsense-rest``.
    """
    key = secret.encode()
    conventions: Mapping[str, Sign] = {
        "none": lambda message: {},
        "token": lambda message: {header: secret},
        "github": lambda message: {
            "X-Hub-Signature-256": f"sha256={_sha256(key, message.body).hex()}"
        },
        "bare-hex": lambda message: {header: _sha256(key, message.body).hex()},
        "shopify": lambda message: {"X-Shopify-Hmac-SHA256": _base64(_sha256(key, message.body))},
        "stripe": lambda message: _stripe(key, message),
        "standard-webhooks": lambda message: _standard_webhooks(secret, message),
        "wattsense-rest": lambda message: _wattsense_rest(key_id, key, message),
    }
    return conventions[preset]


def _stripe(key: bytes, message: Message) -> Headers:
    seconds = str(message.milliseconds // 1000)
    signature = _sha256(key, seconds.encode() + b"." + message.body).hex()
    return {"Stripe-Signature": f"t={seconds},v1={signature},v0={'0' * 64}"}


def _standard_webhooks(secret: str, message: Message) -> Headers:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    seconds = str(message.milliseconds // 1000)
    signature = _base64(_sha256(key, f"{message.id}.{seconds}.".encode() + message.body))
    return {
        "webhook-id": message.id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1a,{'A' * 86}== v1,{signature}",
    }


def _wattsense_rest(key_id: str, key: bytes, message: Message) -> Headers:
    timestamp = str(message.milliseconds)
    lines = [message.method.encode(), message.path.encode()]
    if message.query:
        lines.append(message.query.encode())
    if message.body:
        lines.append(message.body)
    lines.append(timestamp.encode())
    digest = hmac.new(key, b"\n".join(lines), hashlib.sha512).digest()
    return {"X-API-Auth": f"{key_id}:{_base64(digest)}", "X-API-Timestamp": timestamp}


def _sha256(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()

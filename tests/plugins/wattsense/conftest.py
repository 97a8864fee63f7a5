"""What the tests of this plugin share: signed requests, and settings for them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.api import Request, Secret
from bridge_plugins.wattsense.emulator.signing import Message, signer
from bridge_plugins.wattsense.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = "c2VjcmV0IG9uZQ=="
KEY_ID = "key-1"


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def make_settings() -> Callable[..., Settings]:
    """Return settings for a preset, with what that preset needs."""

    def make(signature: str = "none", **more: Any) -> Settings:
        needed: dict[str, Any] = {} if signature == "none" else {"secret": Secret(SECRET)}
        if signature in ("bare-hex", "token"):
            needed["signature_header"] = "X-Signature-SHA256"
        if signature == "wattsense-rest":
            needed["key_id"] = KEY_ID
        return Settings(signature=signature, **(needed | more))

    return make


@pytest.fixture
def make_request() -> Callable[..., Request]:
    """Return a request as the vendor would sign it."""

    def make(
        preset: str = "none",
        body: bytes = b"{}",
        *,
        secret: str = SECRET,
        signed_at: float = NOW.timestamp(),
        method: str = "POST",
        path: str = "/wattsense/values",
        query: str = "",
        headers: dict[str, tuple[str, ...]] | None = None,
    ) -> Request:
        message = Message(method, path, query, body, int(signed_at * 1000), "msg_1")
        signed = {
            name.lower(): (value,)
            for name, value in signer(preset, secret, key_id=KEY_ID)(message).items()
        }
        return Request(method, path, query, signed | (headers or {}), body)

    return make

"""How the REST API is reached, and as whom; checked so that no secret is given away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import frozen

from bridge.api import LOOPBACK, Secret, SettingError, Url


@frozen(kw_only=True)
class RestAccess:
    """An account, and the way to it."""

    url: Url
    key: str
    secret: Secret
    auth: Literal["hmac", "basic"]
    ca_file: Path | None
    proxy: Url | None
    timeout: float
    """Seconds."""
    answer_limit: int
    """Bytes."""

    def __attrs_post_init__(self) -> None:
        if re.fullmatch(r"[!-9;-~]+", self.key, re.ASCII) is None:
            raise SettingError("rest_key", "expected the API key: no blanks, no colon")
        parts = urlsplit(self.url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise SettingError("url", f"expected a URL that begins with https://, got {self.url!r}")
        if parts.query or parts.fragment:
            raise SettingError("url", f"expected a base URL without '?' and '#', got {self.url!r}")

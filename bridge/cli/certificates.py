"""What ``bridged check`` says of the certificates of the listeners: would a caller
trust them now?

The daemon starts with a certificate whose time is over, and says so: other sources need
none. Whoever checks wants to know it as a mistake.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from bridge.config import Diagnostic, Loaded, Location
from bridge.http.certificates import complaint
from bridge.http.settings import ListenerSettings
from bridge.http.tls import TlsContext, TlsError


def check_certificates(loaded: Loaded[Any], now: datetime) -> list[Diagnostic]:
    """Load the pairs of all listeners whose settings are known, and return what is
    wrong with them.
    """
    return [
        diagnostic
        for name, settings in loaded.listeners.items()
        for diagnostic in _check(loaded, f"listener:{name}", settings, now)
    ]


def _check(
    loaded: Loaded[Any], section: str, settings: ListenerSettings, now: datetime
) -> Iterator[Diagnostic]:
    if settings.certificate is None or settings.key is None:
        return
    written = {entry.key: entry.location for entry in loaded.entries if entry.section == section}

    def at(setting: str) -> Location:
        return written.get(setting) or loaded.headers[section]

    for setting, path in (("certificate", settings.certificate), ("key", settings.key)):
        if not _readable(path):
            text = loaded.redact(
                f"{path} not checked, because this user may not read it; check as root or as the "
                "bridge's user"
            )
            yield Diagnostic(at(setting), section, setting, text, "warning")
            return
    try:
        tls = TlsContext(settings.certificate, settings.key)
    except TlsError as exc:
        yield Diagnostic(at(exc.setting), section, exc.setting, loaded.redact(str(exc)))
        return
    if found := complaint(tls.validity, now):
        text = loaded.redact(f"{settings.certificate}: {found.text}")
        trusted = tls.validity.begins <= now < tls.validity.ends
        severity: Literal["error", "warning"] = "warning" if trusted else "error"
        yield Diagnostic(at("certificate"), section, "certificate", text, severity)


def _readable(path: Path) -> bool:
    """Whether this user may read a file, as far as it can be known."""
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return os.access(path, os.R_OK)

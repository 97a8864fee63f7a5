"""What ``bridged check`` says of the certificates of the listeners: would a caller
trust them now?

The daemon starts with a certificate whose time is over, and says so: other sources need
none. Whoever checks wants to know it as a mistake.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime

from bridge.config import Loaded, Place, Problem
from bridge.http.certificates import complaint
from bridge.http.settings import ListenerSettings
from bridge.http.tls import TlsContext, TlsError


def check_certificates(loaded: Loaded, now: datetime) -> list[Problem]:
    """Load the pairs of all listeners whose settings are known, and return what is
    wrong with them.
    """
    return [
        problem
        for name, settings in loaded.listeners.items()
        for problem in _check(loaded, name, settings, now)
    ]


def _check(
    loaded: Loaded, name: str, settings: ListenerSettings, now: datetime
) -> Iterator[Problem]:
    if settings.certificate is None or settings.key is None:
        return
    section = f"listener:{name}"
    places = {entry.key: entry.place for entry in loaded.entries if entry.section == section}

    def place(setting: str) -> Place:
        return places.get(setting) or loaded.headers[section]

    for setting, path in (("certificate", settings.certificate), ("key", settings.key)):
        if path.exists() and not os.access(path, os.R_OK):
            text = (
                f"{path} not checked, because this user may not read it; check as root or as the "
                "bridge's user"
            )
            yield Problem.warning(place(setting), section, setting, loaded.redact(text))
            return
    try:
        tls = TlsContext(settings.certificate, settings.key)
    except TlsError as exc:
        yield Problem.at(place(exc.setting), section, exc.setting, loaded.redact(str(exc)))
        return
    if found := complaint(tls.validity, now):
        text = loaded.redact(f"{settings.certificate}: {found}")
        trusted = tls.validity.begins <= now < tls.validity.ends
        describe = Problem.warning if trusted else Problem.at
        yield describe(place("certificate"), section, "certificate", text)

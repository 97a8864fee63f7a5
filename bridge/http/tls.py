"""Certificates of a listener: the newest usable context, taken anew for each connection.

Certificates are renewed while the bridge runs. A new context is built and tested beside the old one, which stays if
the new files cannot be used; connections that are open live on with the one they began with. (Loading new files into
a live context instead would keep serving the old certificate where the type of the key changed.)
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn


class TlsError(Exception):
    """A certificate or key cannot be used; the message names the file and says what to do."""


class TlsContext:
    """Holds the context of a listener."""

    __slots__ = ("_certificate", "_key", "context")

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read both files. :raises TlsError: if they cannot be used."""
        self._certificate = certificate
        self._key = key
        self.context = _build(certificate, key)
        """For the next connection."""

    def reload(self) -> None:
        """Read both files again.

        :raises TlsError: if they cannot be used; the old ones stay in use.
        """
        self.context = _build(self._certificate, self._key)


def _build(certificate: Path, key: Path) -> ssl.SSLContext:
    _look_for(b"-----BEGIN CERTIFICATE-----", certificate, "certificate")
    _look_for(b"PRIVATE KEY-----", key, "private key")

    def passphrase() -> NoReturn:  # without it OpenSSL would ask on the terminal, and wait
        raise TlsError(f"{key}: the private key has a passphrase; expected one without, readable by this user only")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(
                f"{key}: the private key does not belong to the first certificate in {certificate}"
            ) from None
        what = (exc.reason or str(exc)).replace("_", " ").lower()
        raise TlsError(f"{certificate} with key {key}: OpenSSL cannot use them: {what}") from exc
    except OSError as exc:
        raise TlsError(f"{certificate} with key {key}: cannot be read: {exc.strerror}") from exc
    return context


def _look_for(marker: bytes, path: Path, what: str) -> None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise TlsError(f"{path}: there is no such file; expected a {what} in PEM form") from None
    except PermissionError:
        raise TlsError(f"{path}: this user may not read it; give it read permission, or use a credential") from None
    except OSError as exc:
        raise TlsError(f"{path}: cannot be read: {exc.strerror}; expected a {what} in PEM form") from exc
    if marker not in content:
        raise TlsError(f"{path}: holds no {what} in PEM form")

"""Certificates of a listener: the newest usable context, taken anew for each
connection.

Certificates are renewed while the bridge runs. A new context is built and tested beside
the old one, which stays if the new files cannot be used; connections that are open live
on with the one they began with. (Loading new files into a live context instead would
keep serving the old certificate where the type of the key changed.)
"""

from __future__ import annotations

import ssl
import stat
from datetime import datetime
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

from attrs import frozen

Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""What changes when a file is written or exchanged; None for one that is not there."""


class TlsError(Exception):
    """A certificate or key cannot be used; the message names the file and says what to
    do.
    """

    def __init__(self, message: str, *, setting: Literal["certificate", "key"]) -> None:
        super().__init__(message)
        self.setting = setting
        """The setting of the listener that names the file."""


@frozen
class Validity:
    """When the certificates of a chain are valid, all of them at once; UTC."""

    begins: datetime
    ends: datetime
    whose: str = "the certificate"
    """Which of the chain ends first, for sentences."""


class TlsContext:
    """Holds the context of a listener."""

    __slots__ = ("certificate", "context", "key", "stamp", "validity")

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read both files. :raises TlsError: if they cannot be used."""
        self.certificate = certificate
        self.key = key
        self.reload()

    def reload(self) -> None:
        """Read both files again.

        :raises TlsError: if they cannot be used; the old ones stay in use.
        """
        stamp = self.look()  # before reading: what is written meanwhile is seen by the next look
        _look_for(b"-----BEGIN CERTIFICATE-----", self.certificate, "certificate")
        _look_for(b"PRIVATE KEY-----", self.key, "key")
        validity = _validity(self.certificate)
        self.context: ssl.SSLContext = _build(self.certificate, self.key)
        """For the next connection."""
        self.validity = validity
        self.stamp = stamp
        """Of the files in use."""

    def look(self) -> Stamp:
        """Return the stamp of the files as they are now."""
        return _stamp(self.certificate), _stamp(self.key)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _validity(certificate: Path) -> Validity:
    from cryptography import x509  # slow to import, and needed only where there is a certificate

    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as exc:
        raise TlsError(
            f"{certificate}: a certificate in it is damaged; expected certificates in PEM form",
            setting="certificate",
        ) from exc
    first = min(chain, key=lambda each: each.not_valid_after_utc)
    begins = max(each.not_valid_before_utc for each in chain)
    if first is chain[0]:
        return Validity(begins, first.not_valid_after_utc)
    name = f"the certificate of '{first.subject.rfc4514_string()}' in the chain"
    return Validity(begins, first.not_valid_after_utc, name)


def _build(certificate: Path, key: Path) -> ssl.SSLContext:
    def passphrase() -> NoReturn:  # without it OpenSSL would ask on the terminal, and wait
        raise TlsError(
            f"{key}: the private key has a passphrase; expected one without, "
            "readable by this user only",
            setting="key",
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as exc:
        # The latter where the two are of different types, as in the midst of a renewal.
        if exc.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise TlsError(
                f"{key}: the private key does not belong to the first certificate in {certificate}",
                setting="key",
            ) from None
        if exc.reason is None:  # OpenSSL has no word for a key that is damaged in its middle
            raise TlsError(
                f"{key}: the private key is damaged; expected one in PEM form", setting="key"
            ) from exc
        what = exc.reason.replace("_", " ").lower()
        raise TlsError(
            f"{certificate} with key {key}: OpenSSL cannot use them: {what}", setting="certificate"
        ) from exc
    except OSError as exc:
        raise TlsError(
            f"{certificate} with key {key}: cannot be read: {exc.strerror}", setting="key"
        ) from exc
    return context


def _look_for(marker: bytes, path: Path, setting: Literal["certificate", "key"]) -> None:
    what = "private key" if setting == "key" else setting
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe would be waited for
            raise TlsError(f"{path}: is not an ordinary file", setting=setting)
        content = path.read_bytes()
    except FileNotFoundError:
        raise TlsError(
            f"{path}: there is no such file; expected a {what} in PEM form", setting=setting
        ) from None
    except PermissionError:
        text = f"{path}: this user may not read it; give it read permission, or use a credential"
        raise TlsError(text, setting=setting) from None
    except OSError as exc:
        text = f"{path}: cannot be read: {exc.strerror}; expected a {what} in PEM form"
        raise TlsError(text, setting=setting) from exc
    if marker not in content:
        raise TlsError(f"{path}: holds no {what} in PEM form", setting=setting)

"""TLS towards the vendor: the system's roots, an extra CA file, the host name always checked, never a downgrade."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Make a context that trusts the system's CAs and those of ``ca_file``.

    :raises OSError: if the file cannot be read or holds no certificates.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as exc:  # ssl.SSLError too
            raise OSError(f"ca_file: {ca_file} cannot be used: {exc}; expected CA certificates as PEM") from exc
    return context


def certificate_failure(exc: BaseException) -> str | None:
    """Say why the server's certificate was refused, if that is what the exception comes from."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the certificate of the server is refused: {cause.verify_message}; "
                "check the host name, or name the CA of a private server in ca_file"
            )
        cause = cause.__cause__ or cause.__context__
    return None

"""TLS towards a vendor: the system's CAs and those of a file, the host name always
checked, never a downgrade.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from bridge.api.errors import Pause


def client_tls(ca_file: Path | None) -> ssl.SSLContext:
    """Make a context that trusts the system's CAs and those of ``ca_file``, PEM.

    :raises Pause: if the file cannot be used.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as exc:  # ssl.SSLError too
            raise Pause(
                f"ca_file: {ca_file} cannot be used: {exc}; expected CA certificates as PEM"
            ) from exc
    return context


def certificate_failure(exc: BaseException) -> str | None:
    """Say why the server's certificate was refused, if that is what the exception comes
    from, however deep.
    """
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return None

"""TLS towards a vendor, as every plugin makes it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from bridge.api import Pause
from bridge.api.rest import certificate_failure, client_tls


def test_a_private_ca_is_trusted_besides_those_of_the_system(
    tmp_path: Path,
):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    context = client_tls(tmp_path / "ca.pem")
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == len(client_tls(None).get_ca_certs()) + 1


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_that_cannot_be_used_waits_for_a_person(tmp_path: Path, text: str | None):
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    with pytest.raises(
        Pause, match=r"ca_file: .*ca\.pem cannot be used: .*; expected CA certificates as PEM"
    ):
        client_tls(tmp_path / "ca.pem")


def test_a_refused_certificate_is_found_however_deep_it_lies():
    refused = ssl.SSLCertVerificationError("refused")
    refused.verify_message = "certificate has expired"
    outer, middle = OSError("no connection"), ValueError("handshake")
    outer.__cause__, middle.__context__ = middle, refused
    assert certificate_failure(outer) == "certificate has expired"
    assert certificate_failure(OSError("connection refused")) is None

"""A certificate is renewed below the running bridge: real process, real handshakes."""

from __future__ import annotations

import signal
import socket
import ssl

import trio
import trustme

from tests.end_to_end.site import Site

PATIENCE = 30.0  # seconds, on a busy machine


def served(site: Site, authority: trustme.CA) -> bool:
    """Whether a caller who trusts this authority gets a connection."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    try:
        with (
            socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return False


async def test_sighup_takes_a_renewed_certificate_into_use(site: Site):
    site.sections["source:towers"] = {
        "plugin": "wattsense",
        "listener": "public",
        "signature": "token",
        "signature_header": "X-Token",
        "secret": "hunter2-source",
    }
    site.sections["sink:file"] = {"plugin": "jsonlines", "path": str(site.folder / "out.jsonl")}
    site.start()
    await site.ready()
    assert served(site, site.authority)
    renewed = trustme.CA()
    renewed.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        site.folder / "pair.pem"
    )
    assert site.process is not None
    site.process.send_signal(signal.SIGHUP)
    with trio.fail_after(PATIENCE):
        while not await trio.to_thread.run_sync(served, site, renewed):
            pass
    assert not served(site, site.authority)
    assert await site.stop() == 0

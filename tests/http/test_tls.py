"""Certificates of a listener."""

import os
import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from bridge.http.tls import TlsContext, TlsError

AUTHORITY = trustme.CA()


class Files:
    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "fullchain.pem"
        self.key = folder / "privkey.pem"
        self.renew()

    def renew(self, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
        issued = AUTHORITY.issue_cert("localhost", key_type=key_type)
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)


async def served(holder: TlsContext, **client: object) -> tuple[bytes, str | None, str | None]:
    """Shake hands over real sockets; gives certificate, version and application
    protocol.
    """
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in client.items():
        setattr(context, name, value)
    server = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(left)),
        holder.context,
        server_side=True,
        https_compatible=True,
    )
    caller = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(right)),
        context,
        server_hostname="localhost",
        https_compatible=True,
    )
    async with server, caller, trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        await caller.do_handshake()
        return (
            caller.getpeercert(binary_form=True),
            caller.version(),
            caller.selected_alpn_protocol(),
        )


async def test_a_client_that_trusts_us_gets_a_modern_connection(files):
    _, version, protocol = await served(TlsContext(files.certificate, files.key))
    assert (version, protocol) == ("TLSv1.3", "http/1.1")


async def test_a_client_of_tls_1_2_is_served(files):
    holder = TlsContext(files.certificate, files.key)
    assert (await served(holder, maximum_version=ssl.TLSVersion.TLSv1_2))[1] == "TLSv1.2"


def test_older_versions_are_not_offered(files):
    assert (
        TlsContext(files.certificate, files.key).context.minimum_version == ssl.TLSVersion.TLSv1_2
    )


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
async def test_a_renewed_certificate_is_served_after_a_reload(files, key_type):
    holder = TlsContext(files.certificate, files.key)
    before = (await served(holder))[0]
    files.renew(key_type)
    assert (await served(holder))[0] == before
    holder.reload()
    assert (await served(holder))[0] != before


async def test_a_half_written_renewal_leaves_the_old_certificate(files):
    holder = TlsContext(files.certificate, files.key)
    before = (await served(holder))[0]
    key = files.key.read_bytes()
    files.renew()
    files.key.write_bytes(key)
    with pytest.raises(TlsError, match="does not belong to the first certificate"):
        holder.reload()
    files.certificate.write_bytes(files.certificate.read_bytes()[:200])
    with pytest.raises(TlsError, match=r"fullchain\.pem"):
        holder.reload()
    assert (await served(holder))[0] == before


def test_a_missing_file_is_named(files):
    files.certificate.unlink()
    with pytest.raises(
        TlsError, match=r"fullchain\.pem: there is no such file; expected a certificate in PEM form"
    ):
        TlsContext(files.certificate, files.key)


def test_a_folder_is_named(files):
    files.key.unlink()
    files.key.mkdir()
    with pytest.raises(TlsError, match=r"privkey\.pem: cannot be read: Is a directory"):
        TlsContext(files.certificate, files.key)


def test_a_file_that_may_not_be_read_is_named(files, monkeypatch):
    def forbidden(
        _path,
    ):  # root may read everything, so the tests cannot rely on the mode of a file
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(TlsError, match=r"fullchain\.pem: this user may not read it"):
        TlsContext(files.certificate, files.key)


def test_certificate_and_key_exchanged_are_told_apart(files):
    with pytest.raises(TlsError, match=r"privkey\.pem: holds no certificate in PEM form"):
        TlsContext(files.key, files.certificate)


def test_a_key_with_a_passphrase_is_refused_nobody_is_asked(files):
    key = load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(os.urandom(8)))
    )
    with pytest.raises(TlsError, match=r"privkey\.pem: the private key has a passphrase"):
        TlsContext(files.certificate, files.key)

"""Certificates over the years: taken into use when they are renewed, told before they
end.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from attrs import define, field

from bridge.api import Problem, RepeatedEvent
from bridge.http.certificates import LOOK_EVERY, Complaint, complaint, watch_certificate
from bridge.http.problems import (
    CERTIFICATE_EARLY,
    CERTIFICATE_ENDED,
    CERTIFICATE_ENDS,
    CERTIFICATE_UNUSABLE,
)
from bridge.http.tls import TlsContext, Validity

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
AUTHORITY = trustme.CA()


@define
class Watched:
    """A pair of files, and what is told of it."""

    folder: Path
    hangup: RepeatedEvent = field(factory=RepeatedEvent)
    told: list[tuple[str, Problem | None]] = field(factory=list)
    began: float = 0.0
    """On trio's clock; ``BEGIN`` on the wall."""

    @property
    def certificate(self) -> Path:
        return self.folder / "fullchain.pem"

    @property
    def key(self) -> Path:
        return self.folder / "privkey.pem"

    def issue(
        self, *, days: int = 90, key_type: trustme.KeyType = trustme.KeyType.ECDSA
    ) -> trustme.LeafCert:
        return AUTHORITY.issue_cert(
            "localhost", not_before=BEGIN, not_after=BEGIN + timedelta(days=days), key_type=key_type
        )

    def write_certificate(self, issued: trustme.LeafCert) -> None:
        exchange(self.certificate, issued.cert_chain_pems[0].bytes())

    def write_key(self, issued: trustme.LeafCert) -> None:
        exchange(self.key, issued.private_key_pem.bytes())

    def write(self, issued: trustme.LeafCert) -> None:
        self.write_certificate(issued)
        self.write_key(issued)

    def report(self, text: str, *, problem: Problem | None = None) -> None:
        if not self.told or self.told[-1] != (text, problem):
            self.told.append((text, problem))

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=trio.current_time() - self.began)

    def open(self) -> TlsContext:
        self.began = trio.current_time()
        return TlsContext(self.certificate, self.key)


def exchange(path: Path, content: bytes) -> None:
    """As a renewal does it: a new file in place of the old one."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    watched.write(watched.issue())
    return watched


async def start(nursery: trio.Nursery, watched: Watched) -> TlsContext:
    tls = watched.open()
    nursery.start_soon(
        partial(watch_certificate, tls, watched.report, now=watched.now, hangup=watched.hangup)
    )
    await trio.testing.wait_all_tasks_blocked()
    return tls


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
async def test_a_renewed_pair_is_used_within_ten_seconds(
    watched, autojump_clock, nursery, key_type
):
    tls = await start(nursery, watched)
    before = tls.context
    watched.write(watched.issue(days=180, key_type=key_type))
    await trio.sleep(LOOK_EVERY + 1)
    assert tls.context is not before
    assert watched.told == [
        ("the certificate is valid until 2026-04-01 00:00 UTC", None),
        ("the certificate is valid until 2026-06-30 00:00 UTC", None),
    ]


async def test_a_pair_that_stays_is_read_once(watched, autojump_clock, nursery):
    tls = await start(nursery, watched)
    before = tls.context
    await trio.sleep(10 * LOOK_EVERY)
    assert tls.context is before


async def test_a_hangup_uses_a_renewed_pair_at_once(watched, autojump_clock, nursery):
    tls = await start(nursery, watched)
    before = tls.context
    watched.write(watched.issue())
    watched.hangup.set()
    await trio.testing.wait_all_tasks_blocked()
    assert tls.context is not before


async def test_half_of_a_renewal_is_no_problem_yet(watched, autojump_clock, nursery):
    tls = await start(nursery, watched)
    before = tls.context
    renewed = watched.issue(days=180)
    watched.write_key(renewed)
    await trio.sleep(LOOK_EVERY + 1)
    watched.write_certificate(renewed)
    await trio.sleep(LOOK_EVERY)
    assert tls.context is not before
    assert [problem for _, problem in watched.told] == [None, None]


async def test_a_broken_renewal_is_a_problem_until_mended(watched, autojump_clock, nursery):
    tls = await start(nursery, watched)
    before = tls.context
    watched.write_key(watched.issue())
    await trio.sleep(2 * LOOK_EVERY + 1)
    assert tls.context is before
    text, problem = watched.told[-1]
    assert problem is CERTIFICATE_UNUSABLE
    assert text == (
        "the renewed certificate cannot be used, the one before stays in use: "
        f"{watched.key}: the private key does not belong to the first certificate in "
        f"{watched.certificate}"
    )
    watched.write(watched.issue())
    await trio.sleep(LOOK_EVERY + 1)
    assert tls.context is not before
    assert watched.told[-1] == ("the certificate is valid until 2026-04-01 00:00 UTC", None)


async def test_a_hangup_tells_of_a_broken_pair_at_once(watched, autojump_clock, nursery):
    await start(nursery, watched)
    watched.key.unlink()
    watched.hangup.set()
    await trio.testing.wait_all_tasks_blocked()
    text, problem = watched.told[-1]
    assert problem is CERTIFICATE_UNUSABLE
    assert "privkey.pem: there is no such file" in text


async def test_the_end_is_a_problem_21_days_before(watched, mock_clock, nursery):
    await start(nursery, watched)
    mock_clock.jump(timedelta(days=69).total_seconds() - 60)
    await trio.testing.wait_all_tasks_blocked()
    assert [problem for _, problem in watched.told] == [None]
    mock_clock.jump(120)
    await trio.testing.wait_all_tasks_blocked()
    assert watched.told[-1] == (
        "the certificate ends on 2026-04-01 00:00 UTC and was not renewed; renew it",
        CERTIFICATE_ENDS,
    )


def test_a_time_outside_of_the_validity_is_said():
    validity = Validity(BEGIN, BEGIN + timedelta(days=90))
    assert complaint(validity, BEGIN) is None
    assert complaint(validity, BEGIN - timedelta(seconds=1)) == Complaint(
        "the certificate is valid only from 2026-01-01 00:00 UTC; is the clock of this "
        "machine right?",
        CERTIFICATE_EARLY,
    )
    assert complaint(validity, BEGIN + timedelta(days=90)) == Complaint(
        "the certificate ended on 2026-04-01 00:00 UTC, so nobody trusts it; renew it",
        CERTIFICATE_ENDED,
    )


def test_the_certificate_of_the_chain_that_ends_first_is_named(tmp_path):
    inner = trustme.CA(parent_cert=AUTHORITY, organization_name="Inner")
    leaf = inner.issue_cert("localhost", not_after=datetime(9000, 1, 1, tzinfo=UTC))
    chain = b"".join(each.bytes() for each in leaf.cert_chain_pems)
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(leaf.private_key_pem.bytes())
    validity = TlsContext(tmp_path / "chain.pem", tmp_path / "key.pem").validity
    said = complaint(validity, validity.ends)
    assert said is not None
    assert "Inner" in said.text
    assert "in the chain ended on " in said.text

"""The content of a webhook request: whatever the sender compressed it with, and never
more than is allowed.
"""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Accepted, HttpRejection, Request, Response

LIMIT = 1000


def request(body: bytes, *encodings: str, limit: int = LIMIT) -> Request:
    headers = {"content-encoding": encodings} if encodings else {}
    return Request("POST", "/hook", "", headers, body, max_content=limit)


def refusal(body: bytes, *encodings: str, limit: int = LIMIT) -> HttpRejection:
    with pytest.raises(HttpRejection) as refused:
        request(body, *encodings, limit=limit).content()
    return refused.value


COMPRESS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", [None, "identity", "Identity", "", " "])
def test_a_body_without_encoding_is_the_content(encoding: str | None):
    assert request(b"{}", *([] if encoding is None else [encoding])).content() == b"{}"


@pytest.mark.parametrize("encoding", COMPRESS)
@given(content=st.binary(max_size=LIMIT))
def test_a_compressed_body_gives_the_content(encoding: str, content: bytes):
    assert request(COMPRESS[encoding](content), encoding).content() == content


@pytest.mark.parametrize("encoding", ["GZIP", " gzip ", "Gzip\t"])
def test_the_name_of_an_encoding_is_read_as_people_write_it(encoding: str):
    assert request(gzip.compress(b"{}", mtime=0), encoding).content() == b"{}"


@pytest.mark.parametrize("encoding", ["identity", *COMPRESS])
def test_content_one_byte_larger_than_allowed_is_refused(encoding: str):
    compress = COMPRESS.get(encoding, bytes)
    assert request(compress(b"x" * LIMIT), encoding).content() == b"x" * LIMIT
    refused = refusal(compress(b"x" * (LIMIT + 1)), encoding)
    assert refused.status == 413
    assert f"larger than {LIMIT} bytes" in refused.reason


def test_a_bomb_is_refused_within_bounded_memory():
    bomb = gzip.compress(bytes(64 << 20), compresslevel=1)
    tracemalloc.start()
    try:
        refused = refusal(bomb, "gzip", limit=1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.status == 413
    assert peak < 8 << 20


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_body_cut_anywhere_is_refused(encoding: str):
    whole = COMPRESS[encoding](b'{"value": 21.5}' * 20)
    for end in range(len(whole)):
        assert refusal(whole[:end], encoding).status == 400


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("tail", [b"\0", b"{}", gzip.compress(b"more", mtime=0)])
def test_a_body_followed_by_other_bytes_is_refused(encoding: str, tail: bytes):
    refused = refusal(COMPRESS[encoding](b"{}") + tail, encoding)
    assert refused.status == 400
    assert "followed by other bytes" in refused.reason


def test_a_body_with_a_wrong_checksum_is_refused():
    body = bytearray(gzip.compress(b"{}", mtime=0))
    body[-8] ^= 1
    refused = refusal(bytes(body), "gzip")
    assert (refused.status, "incorrect data check" in refused.reason) == (400, True)


@given(st.binary(), st.sampled_from(list(COMPRESS)))
def test_any_bytes_are_decompressed_or_refused(body: bytes, encoding: str):
    try:
        content = request(body, encoding).content()
    except HttpRejection as refused:
        assert refused.status in (400, 413)  # noqa: PT017  # both outcomes are good
    else:
        assert len(content) <= LIMIT


@pytest.mark.parametrize(
    "encodings", [("br",), ("zstd",), ("gzip, deflate",), ("gzip", "gzip"), ("gzip;q=1",)]
)
def test_an_encoding_that_is_not_understood_is_refused_as_such(encodings: tuple[str, ...]):
    refused = refusal(gzip.compress(b"{}", mtime=0), *encodings)
    assert (refused.status, refused.reason) == (
        415,
        "a Content-Encoding that is neither gzip nor deflate",
    )


def test_what_is_accepted_is_answered_200_by_default():
    assert Accepted().answer == Response(200, b"", ())

"""Emulator of DT: the bytes of its requests, and what can be wrong with them.

Written from vendor documentation and recorded traffic alone, with its own HMAC: what receives these requests shares no
code with it, and so no mistake.

A request is made anew for each attempt, because a token is valid for an hour and an event is tried for twelve (that DT
does so is assumed). Each fault is a share from 0, never, to 1, always.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

import httpx
import trio
from attrs import define, frozen

_XID_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_LIFETIME = 3600  # seconds from iat to exp
_PIECE = 64  # bytes of a chunk


@frozen
class Faults:
    """What goes wrong, and how often."""

    attempts: int = 1
    """Faults of requests hit so many first attempts of an event, so that it gets through in the end."""

    # Of requests
    tampered_body: float = 0.0
    """One byte of the body is changed after it was signed."""
    wrong_secret: float = 0.0
    no_signature: float = 0.0
    doubled_signature: float = 0.0
    """The header comes twice, with the same value."""
    expired_token: float = 0.0
    future_token: float = 0.0
    algorithm_none: float = 0.0
    """The token says ``alg`` none and has no signature."""
    sha1_only: float = 0.0
    """The token is as before February 2022. Its receiver may be right to refuse it: then it is a fault."""
    chunked: float = 0.0
    """The body comes in chunks, which is no fault by itself."""
    cut_before_answer: float = 0.0
    """The connection is closed as soon as the body is sent, or all chunks but the last, empty one."""
    cut_after_answer: float = 0.0
    """The answer gets lost on its way to us."""

    # Of events
    no_metadata: float = 0.0
    """The body is as before 2022."""
    no_samples: float = 0.0
    """The body is as before ``samples`` and ``isBackfilled`` were added."""
    invalid_utf8: float = 0.0
    """The body holds a byte that is not UTF-8, and is signed so."""
    duplicate: float = 0.0
    """The event is sent again after it was acknowledged."""
    reorder: float = 0.0
    """The event is held back for the time of a retry, so that later ones of its device overtake it."""

    # Of the same attempts, always
    clock_offset: float = 0.0
    """Seconds by which our clock is ahead."""
    pause: float = 0.0
    """Seconds before the body, or each of its chunks."""


Hit = Callable[[float], bool]
"""Decide whether a fault with this share happens now."""


class ConnectionCutError(Exception):
    """We close the connection where a vendor's would have broken."""


@define(eq=False)
class _Pieces(httpx.AsyncByteStream):
    """A body that goes out piece by piece.

    Not an async generator: the client leaves one unfinished when a connection breaks, of which trio warns.
    """

    _pieces: Iterator[bytes]
    _pause: float = 0.0
    _cut: bool = False

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            await trio.sleep(self._pause)
            return piece
        if self._cut:
            raise ConnectionCutError
        raise StopAsyncIteration


def new_xid(time: datetime, random: Random) -> str:
    """Make an id as DT's: 20 characters that begin with the time."""
    number = int(time.timestamp()) << 64 | random.getrandbits(64)
    return "".join(_XID_DIGITS[(number << 4) >> shift & 31] for shift in range(95, -1, -5))


def rfc3339(time: datetime) -> str:
    """Write a time as DT does: UTC, six digits, Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event_data(event_type: str, fields: Mapping[str, Any], time: datetime) -> dict[str, Any]:
    """Make ``event.data`` from the fields of a type: adds what DT adds and ``fields`` does not have."""
    if event_type == "labelsChanged":
        return dict(fields)
    inner = {**fields}
    updated = inner.setdefault("updateTime", rfc3339(time))
    if event_type in ("temperature", "humidity") and "samples" not in inner:
        measured = {name: value for name, value in fields.items() if name not in ("updateTime", "isBackfilled")}
        inner["samples"] = [{**measured, "sampleTime": updated}]
        inner.setdefault("isBackfilled", False)
    return {event_type: inner}


def push_body(
    event: dict[str, Any], labels: Mapping[str, str], metadata: Mapping[str, str], faults: Faults, hit: Hit
) -> bytes:
    """Write the body of a push: compact UTF-8 JSON."""
    if hit(faults.no_samples):
        data = {name: _without_samples(inner) for name, inner in event["data"].items()}
        event = {**event, "data": data}
    document: dict[str, Any] = {"event": event, "labels": labels}
    if not hit(faults.no_metadata):
        document["metadata"] = metadata
    body = _compact(document)
    if hit(faults.invalid_utf8):
        body = body.replace(b'"labels":{', b'"labels":{"broken":"\xff",' if labels else b'"labels":{"broken":"\xff"', 1)
    return body


def _without_samples(inner: Any) -> Any:
    if not isinstance(inner, dict):
        return inner
    return {name: value for name, value in inner.items() if name not in ("samples", "isBackfilled")}


def sign_request(
    url: httpx.URL,
    headers: Mapping[str, str],
    body: bytes,
    secret: str,
    now: datetime,
    faults: Faults,
    hit: Hit,
    random: Random,
) -> httpx.Request:
    """Make the request of one attempt."""
    fields = [("Host", url.netloc.decode()), ("Content-Type", "application/json"), *headers.items()]
    if not hit(faults.no_signature):
        token = _token(body, secret, now, faults, hit, random)
        fields += [("X-Dt-Signature", token)] * (2 if hit(faults.doubled_signature) else 1)
    if hit(faults.tampered_body):
        place = random.randrange(len(body))
        body = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    if hit(faults.chunked):
        fields.append(("Transfer-Encoding", "chunked"))
        pieces = [body[begin : begin + _PIECE] for begin in range(0, len(body), _PIECE)]
    else:
        fields.append(("Content-Length", str(len(body))))
        pieces = [body]
    stream = _Pieces(iter(pieces), faults.pause, hit(faults.cut_before_answer))
    return httpx.Request("POST", url, headers=fields, stream=stream)


def _token(body: bytes, secret: str, now: datetime, faults: Faults, hit: Hit, random: Random) -> str:
    issued = int(now.timestamp() + faults.clock_offset)
    if hit(faults.expired_token):
        issued -= 2 * _LIFETIME
    if hit(faults.future_token):
        issued += _LIFETIME
    claims: dict[str, Any] = {"checksum": hashlib.sha1(body).hexdigest()}  # noqa: S324  # DT sends both
    if not hit(faults.sha1_only):
        claims["checksum_sha256"] = hashlib.sha256(body).hexdigest()
    claims |= {"exp": issued + _LIFETIME, "iat": issued, "jti": new_xid(now, random)}
    if hit(faults.algorithm_none):
        return f"{_base64url(_compact({'alg': 'none', 'typ': 'JWT'}))}.{_base64url(_compact(claims))}."
    key = secret + "-of-somebody-else" if hit(faults.wrong_secret) else secret
    signed = f"{_base64url(_compact({'alg': 'HS256', 'typ': 'JWT'}))}.{_base64url(_compact(claims))}"
    return f"{signed}.{_base64url(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

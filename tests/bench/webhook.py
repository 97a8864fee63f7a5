"""Webhooks of Disruptive Technologies as bytes, made without the product's code or its
libraries.

The body has the fields of recorded traffic. Event ``number`` is of device ``number %
50``, measured one millisecond after the one before, and its value is its number: so it
is known again wherever it arrives.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

DEVICES = 50
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)

_HEADER = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")


def device_of(number: int) -> str:
    return f"emu{number % DEVICES:020d}"


def time_of(number: int) -> datetime:
    return START + timedelta(milliseconds=number)


def body(number: int) -> bytes:
    device = device_of(number)
    stamp = time_of(number).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return (
        f'{{"event":{{"eventId":"bench{number:015d}","targetName":"projects/ccol8iuk9smqiha4e8l0/devices/{device}",'
        f'"eventType":"temperature","data":{{"temperature":{{"value":{number},"updateTime":"{stamp}",'
        f'"samples":[{{"value":{number},"sampleTime":"{stamp}"}}],"isBackfilled":false}}}},"timestamp":"{stamp}"}},'
        f'"labels":{{"name":"bench"}},"metadata":{{"deviceId":"{device}","projectId":"ccol8iuk9smqiha4e8l0",'
        '"deviceType":"temperature","productNumber":""}}'
    ).encode()


def signed_requests(first: int, count: int, host: str, path: str, secret: str) -> Iterator[bytes]:
    """Make whole requests for a run of events."""
    issued = int(time.time())
    key = secret.encode()
    for number in range(first, first + count):
        content = body(number)
        claims = (
            f'{{"checksum":"{hashlib.sha1(content).hexdigest()}",'
            f'"checksum_sha256":"{hashlib.sha256(content).hexdigest()}",'
            f'"exp":{issued + 3600},"iat":{issued},"jti":"{number:020d}"}}'
        )
        signed = _HEADER + b"." + urlsafe_b64encode(claims.encode()).rstrip(b"=")
        signature = urlsafe_b64encode(hmac.digest(key, signed, "sha256")).rstrip(b"=")
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nX-Dt-Signature: "
        )
        yield head.encode() + signed + b"." + signature + b"\r\n\r\n" + content

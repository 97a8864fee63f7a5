r"""Verify that a request was made by somebody who knows the secret.

    header(s) ─▶ timestamp within the tolerance? ─▶ signed text of the raw bytes
        ─▶ HMAC ─▶ equal in constant time?

Vendor documentation says that a "secret key" is sent along with the data so that
integrity can be checked, and no more. The key may sign the data (``hmac``) or may be
sent itself (``token``). A :class:`Scheme` says which, with every detail; there is no
default and nothing is guessed.

* The signed text is built from the bytes as received, never from JSON that was written
  again.
* Comparisons are of bytes: ``compare_digest`` of texts raises if one is not ASCII.
* A header that comes twice is refused: two readers could take two different ones.
* The caller hears 401 without a reason. The reason is for the log and names headers,
  never their values.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from binascii import unhexlify
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal, TypeAlias
from urllib.parse import parse_qs

from attrs import frozen

from bridge.api import HttpRejection, Request, shortened

Verify: TypeAlias = Callable[[Request, datetime], None]
"""Returns if the request is genuine at this time, else raises ``HttpRejection`` with
401.
"""

PLACEHOLDERS = ("body", "timestamp", "id", "method", "path", "query")
MAX_NAMES = 400  # characters of header names in a reason: the signature is found, no log flooded
MIN_MILLISECONDS = 10**11  # since the epoch: as milliseconds in 1973, as seconds in the year 5138
MAX_PARAMETERS = 100  # query parameters looked at; nobody who is genuine sends that many


@frozen
class Scheme:
    """How requests are signed.

    Names of headers are in lower case; an empty text means "not used".
    """

    kind: Literal["none", "token", "hmac"]
    header: str = ""
    """Header that carries the signature or the token."""
    parameter: str = ""
    """Query parameter that carries the token instead of a header."""
    member: str = ""
    """JSON member that carries the token instead; see ``body_token.py``."""
    hash: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    """Hexadecimal in either case; base64 with or without padding."""
    prefix: str = ""
    """Text before the signature, such as ``sha256=``.

    Entries of a list that do not begin with it are skipped.
    """
    list_separator: str = ""
    """What stands between several signatures in one header; any one that matches is
    enough.
    """
    template: str = "{body}"
    """The signed text, with places to be filled."""
    omit_empty_lines: bool = False
    """Whether a line of the template vanishes when nothing fills it."""
    body: Literal["received", "decoded"] = "received"
    """Whether the body is signed before or after its ``Content-Encoding``."""
    timestamp_header: str = ""
    timestamp_key: str = ""
    """Name of the entry in the signature's header that is the timestamp: ``t`` for
    ``t=1700000000``.
    """
    tolerance: float = 300.0
    """Seconds that a timestamp may differ from our clock, in both directions."""
    id_header: str = ""
    key_id: str = ""
    """Text before a colon, before the signature."""
    public_path_prefix: str = ""
    """What a reverse proxy took away from the path that the sender signed."""


def make_verify(scheme: Scheme, secrets: Sequence[bytes]) -> Verify:
    """Return the function that verifies requests.

    Any of the secrets is enough, so that they can be rotated.
    """
    if scheme.kind == "hmac":
        return partial(_verify_hmac, scheme, compile_template(scheme.template), tuple(secrets))
    if scheme.kind == "token" and not scheme.member:
        return partial(_verify_token, scheme, tuple(secrets))
    return _accept_unsigned


def only_value(request: Request, header: str) -> str:
    """Return the value of a header that must be there once.

    :raises HttpRejection: 401 if it is missing or comes twice.
    """
    values = request.headers.get(header, ())
    if not values:
        names = shortened(", ".join(request.headers), MAX_NAMES)
        raise HttpRejection(
            401,
            f"the header {header} is missing from a {request.method} of {len(request.body)} "
            f"bytes with the headers {names}",
        )
    if len(values) > 1:
        raise HttpRejection(401, f"the header {header} came {len(values)} times, expected one")
    return values[0].strip(" \t")


def same_text(given: str, expected: bytes) -> bool:
    """Compare a header's text with a secret in constant time."""
    return hmac.compare_digest(given.encode("latin-1", "replace"), expected)


Template: TypeAlias = tuple[tuple[bytes | str, ...], ...]
"""Lines of parts: bytes stand for themselves, a str names a place to be filled."""


def compile_template(text: str) -> Template:
    r"""Return the parts of a template such as ``{timestamp}.{body}``, in which ``\n``
    begins a new line.

    :raises ValueError: completing "expected ...", for a place that does not exist.
    """
    return tuple(_compile_line(line) for line in text.replace("\\n", "\n").split("\n"))


def _compile_line(line: str) -> tuple[bytes | str, ...]:
    parts: list[bytes | str] = []
    for place, literal in re.findall(r"\{([a-z]+)\}|([^{}]+|[{}])", line):
        if literal in ("{", "}") or (place and place not in PLACEHOLDERS):
            raise ValueError("text with places among {" + "}, {".join(PLACEHOLDERS) + "}")
        parts.append(place or literal.encode())
    return tuple(parts)


def _accept_unsigned(request: Request, now: datetime) -> None:
    """Accept what was not verified here: ``signature = none`` was chosen, or the token
    is in the document and is looked for there.
    """


def _verify_token(
    scheme: Scheme, secrets: tuple[bytes, ...], request: Request, now: datetime
) -> None:
    if scheme.parameter:
        token = _only_parameter(request, scheme.parameter)
        matches = [hmac.compare_digest(token, secret) for secret in secrets]
    else:
        value = _without_prefix(only_value(request, scheme.header), scheme.prefix)
        matches = [value is not None and same_text(value, secret) for secret in secrets]
    if not any(matches):
        raise HttpRejection(401, "the token is not the configured one")


def _only_parameter(request: Request, name: str) -> bytes:
    try:
        values = parse_qs(request.query, max_num_fields=MAX_PARAMETERS).get(name, [])
    except ValueError:
        values = []
    if len(values) != 1:
        raise HttpRejection(
            401, f"the query parameter {name} came {len(values)} times, expected one"
        )
    return values[0].encode("utf-8", "replace")


def _verify_hmac(
    scheme: Scheme, template: Template, secrets: tuple[bytes, ...], request: Request, now: datetime
) -> None:
    value = only_value(request, scheme.header)
    if scheme.key_id:
        key_id, _, value = value.partition(":")
        if not same_text(key_id, scheme.key_id.encode()):
            raise HttpRejection(
                401,
                f"the header {scheme.header} does not begin with the configured key_id and a colon",
            )
    entries = (
        [entry.strip() for entry in value.split(scheme.list_separator)]
        if scheme.list_separator
        else [value]
    )
    signatures = [
        signature for entry in entries if (signature := _signature(scheme, entry)) is not None
    ]
    if not signatures:
        raise HttpRejection(
            401,
            f"the header {scheme.header} holds no {scheme.encoding} signature of the "
            "configured form",
        )
    text = _signed_text(template, scheme, _fillings(scheme, request, entries, now))
    for secret in secrets:
        expected = hmac.digest(secret, text, scheme.hash)
        matches = [hmac.compare_digest(expected, signature) for signature in signatures]
        if any(matches):
            return
    raise HttpRejection(
        401, f"the signature in the header {scheme.header} does not match the request"
    )


def _signature(scheme: Scheme, entry: str) -> bytes | None:
    """Return the bytes of a signature, or None if the entry is something else."""
    text = _without_prefix(entry, scheme.prefix)
    if not text:
        return None
    try:
        if scheme.encoding == "hex":
            return unhexlify(text)
        if scheme.encoding == "base64url":
            text = text.replace("-", "+").replace("_", "/")
        text = text.rstrip("=")
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:  # also for text that is not ASCII
        return None


def _without_prefix(text: str, prefix: str) -> str | None:
    return text[len(prefix) :].lstrip(" ") if text.startswith(prefix) else None


def _fillings(
    scheme: Scheme, request: Request, entries: Sequence[str], now: datetime
) -> Mapping[str, bytes]:
    """Return what fills the template's places."""
    fillings = {
        "body": request.body if scheme.body == "received" else request.content(),
        "method": request.method.encode("latin-1", "replace"),
        "path": (scheme.public_path_prefix + request.path).encode("latin-1", "replace"),
        "query": request.query.encode("latin-1", "replace"),
    }
    if scheme.id_header:
        fillings["id"] = only_value(request, scheme.id_header).encode("latin-1", "replace")
    if scheme.timestamp_header:
        fillings["timestamp"] = _checked(only_value(request, scheme.timestamp_header), scheme, now)
    elif scheme.timestamp_key:
        found = [
            entry.partition("=")[2]
            for entry in entries
            if entry.partition("=")[0] == scheme.timestamp_key
        ]
        if len(found) != 1:
            raise HttpRejection(
                401, f"the header {scheme.header} holds {len(found)} timestamps, expected one"
            )
        fillings["timestamp"] = _checked(found[0], scheme, now)
    return fillings


def _checked(timestamp: str, scheme: Scheme, now: datetime) -> bytes:
    """Return the timestamp as it was signed, in seconds or milliseconds.

    :raises HttpRejection: 401 if it is not near enough to our clock.
    """
    if re.fullmatch(r"[0-9]{1,15}", timestamp) is None:
        raise HttpRejection(
            401, "the timestamp of the signature is not a number of at most 15 digits"
        )
    seconds = int(timestamp) / (1000 if int(timestamp) >= MIN_MILLISECONDS else 1)
    difference = seconds - now.timestamp()
    if abs(difference) > scheme.tolerance:
        raise HttpRejection(
            401,
            f"the signature was made {abs(difference):.0f} s "
            f"{'after' if difference > 0 else 'before'} our clock, "
            f"at most {scheme.tolerance:.0f} s are allowed (tolerance); check the clock",
        )
    return timestamp.encode()


def _signed_text(template: Template, scheme: Scheme, fillings: Mapping[str, bytes]) -> bytes:
    lines = [
        b"".join(part if isinstance(part, bytes) else fillings[part] for part in line)
        for line in template
    ]
    return b"\n".join(line for line in lines if line or not scheme.omit_empty_lines)

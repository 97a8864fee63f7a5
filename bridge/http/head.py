"""The head of a request: from bytes that end with an empty line to a :class:`Head`.
Sans-IO.

A head must please two readers, a strict grammar of our own and httptools. The grammar
leaves no room for what two HTTP implementations could understand differently (a bare
line feed, a folded line, a space before the colon, two lengths): such a request is
refused, never repaired, because behind it another one may be hidden.

This module is the only one that knows httptools. Its callbacks are not used: a line
that fits the grammar is split faster than it is handed over, and an exception in a
callback, even a KeyboardInterrupt, would pass for a broken request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import httptools
from attrs import frozen

from bridge.http.limits import MAX_HEADERS

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
HEADER_LINES = rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+"
"""Pattern of zero or more header lines."""

# Possessive (++, *+): a pattern that does not match is given up at once, whatever the
# peer has sent.
_HEAD = re.compile(_TOKEN + rb" [!-~]++ HTTP/[0-9]\.[0-9]\r\n" + HEADER_LINES + rb"\r\n")
_SPOILED = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")
_LENGTH = re.compile(r"[0-9]{1,19}")
_ORIGIN = re.compile(r"https?://[^/?]*", re.IGNORECASE)


@frozen
class BadRequestError(Exception):
    """A request that cannot be read.

    It is answered with this status, and the connection closed.
    """

    status: int
    reason: str
    """For the log; the peer hears the status only."""


class Head(NamedTuple):
    """A request without its body.

    A tuple, because one is made for every request and must cost little.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, tuple[str, ...]]
    length: int | None
    """Bytes of the body; None for a chunked one."""
    keep_alive: bool
    """Whether the peer wants to use the connection again."""
    old: bool
    """HTTP/1.0: the peer must be told when the connection stays open."""
    expects_continue: bool
    """The body comes when we ask for it."""


def check_characters(raw: bytes | bytearray, start: int, end: int) -> None:
    """Look at a part of a head that may not be complete yet.

    :raises BadRequestError: for control characters, a bare CR or a bare LF.
    """
    if spoiled := _SPOILED.search(raw, start, end):
        raise BadRequestError(
            400,
            f"byte {spoiled[0][0]:#04x} where no such byte may be: a control character, CR or LF",
        )


def parse_head(raw: bytes) -> Head:
    """Read a complete head, from the request line to the empty line.

    :raises BadRequestError: 400 for what is not strictly HTTP, 417 for an unknown
        expectation, 431 for too many headers, 501 for an unknown method, 505 for
        another version.
    """
    if _HEAD.fullmatch(raw) is None:
        check_characters(raw, 0, len(raw))
        raise BadRequestError(
            400, "not a request line followed by header lines of the form NAME: VALUE"
        )
    request_line, *lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, version = request_line.split(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequestError(505, "an HTTP version other than 1.0 and 1.1")
    if len(lines) > MAX_HEADERS:
        raise BadRequestError(431, f"more than {MAX_HEADERS} headers")
    _ask_httptools(raw)

    headers: dict[str, tuple[str, ...]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = (*headers[name], value) if name in headers else (value,)
    path, query = _path_and_query(method, target)
    old = version == "HTTP/1.0"
    hosts = len(headers.get("host", ()))
    if hosts > 1 or (hosts == 0 and not old):
        raise BadRequestError(400, f"{hosts} Host headers, expected one")
    return Head(
        method,
        path,
        query,
        headers,
        _length(headers, old),
        _keep_alive(headers, old),
        old,
        _expects_continue(headers) and not old,
    )


def _ask_httptools(raw: bytes) -> None:
    parser = httptools.HttpRequestParser(None)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # not an error: the request is complete, and we stay with HTTP as a server may
    except httptools.HttpParserInvalidMethodError:
        raise BadRequestError(501, "an unknown method") from None
    except httptools.HttpParserError as exc:
        raise BadRequestError(400, f"httptools: {exc}") from None


def _path_and_query(method: str, target: str) -> tuple[str, str]:
    if target[0] != "/":
        if method == "CONNECT":
            raise BadRequestError(400, "CONNECT, but this is no proxy")
        if origin := _ORIGIN.match(target):
            target = target[origin.end() :]  # as sent to a proxy; every server has to understand it
            if not target.startswith("/"):
                target = "/" + target
        elif not (target == "*" and method == "OPTIONS"):
            raise BadRequestError(400, "a request target that does not begin with a slash")
    path, _, query = target.partition("?")
    return path, query


def _length(headers: Mapping[str, tuple[str, ...]], old: bool) -> int | None:
    lengths = headers.get("content-length")
    encodings = headers.get("transfer-encoding")
    if encodings is not None:
        if lengths is not None:
            raise BadRequestError(400, "Content-Length together with Transfer-Encoding")
        if old:
            raise BadRequestError(400, "Transfer-Encoding in HTTP/1.0")
        if len(encodings) != 1 or encodings[0].lower() != "chunked":
            raise BadRequestError(400, "a Transfer-Encoding other than chunked")
        return None
    if lengths is None:
        return 0
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise BadRequestError(400, "a Content-Length that is not one number")
    return int(lengths[0])


def _keep_alive(headers: Mapping[str, tuple[str, ...]], old: bool) -> bool:
    values = headers.get("connection")
    if values is None:
        return not old
    options = {option.strip(" \t").lower() for option in ",".join(values).split(",")}
    return "close" not in options and (not old or "keep-alive" in options)


def _expects_continue(headers: Mapping[str, tuple[str, ...]]) -> bool:
    expectations = headers.get("expect")
    if expectations is None:
        return False
    if len(expectations) != 1 or expectations[0].lower() != "100-continue":
        raise BadRequestError(417, "an expectation other than 100-continue")
    return True

"""Emulator of DT: the parameters of a call, and lists in pages.

Names of parameters may be written in camelCase or snake_case (both are in use). A
misspelt one is refused, which DT may not do: here it would hide a mistake of the
client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen

from ..cloud import Cloud
from ..events import camel_case

Parameters = Mapping[str, Sequence[str]]


class RestError(Exception):
    """A call that is refused: status and sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@frozen
class _Remainder:
    """What is left of a list after some pages."""

    parameters: Mapping[str, Sequence[str]]
    items: Sequence[Any]


def read_parameters(query: str, *known: str) -> dict[str, list[str]]:
    """Read a query into camelCase names and their values.

    :raises RestError: for a name that is not known.
    """
    parameters: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        camel = camel_case(name)
        if camel not in known:
            raise RestError(400, f"unknown parameter {name!r}")
        parameters.setdefault(camel, []).append(value)
    return parameters


def single(parameters: Parameters, name: str) -> str | None:
    """Return the value of a parameter that may come once; None if it did not, or is
    empty.

    :raises RestError: if it came more often.
    """
    values = parameters.get(name, ())
    if len(values) > 1:
        raise RestError(400, f"{name} must come once")
    return values[0] or None if values else None


def page_of(
    cloud: Cloud, parameters: Parameters, items: Sequence[Any]
) -> tuple[Sequence[Any], str]:
    """Return a page and the token of the next one, which is empty at the end.

    The first page fixes the list: what comes later does not shift the others.

    :param items: the whole list, for the case that this is the first page.
    :raises RestError: if the token is not ours, or came with another query.
    """
    size = _page_size(cloud, single(parameters, "pageSize"))
    query = {name: values for name, values in parameters.items() if name != "pageToken"}
    token = single(parameters, "pageToken")
    if token is not None:
        rest = cloud.pages.get(token)
        if not isinstance(rest, _Remainder) or rest.parameters != query:
            raise RestError(400, "pageToken does not belong to this query")
        items = rest.items
    if len(items) <= size and not cloud.rules.repeat_page_token:
        return items, ""
    # A token is opaque; a client that does not percent-encode it breaks it.
    following = (
        token
        if token and cloud.rules.repeat_page_token
        else f"{cloud.random.getrandbits(60):x}+/{len(items)}=="
    )
    cloud.pages[following] = _Remainder(
        query, items if cloud.rules.repeat_page_token else items[size:]
    )
    return items[:size], following


def _page_size(cloud: Cloud, text: str | None) -> int:
    if text is None:
        return cloud.rules.page_size
    if not (text.isascii() and text.isdigit() and int(text)):
        raise RestError(400, f"pageSize must be a positive number, not {text!r}")
    return min(int(text), cloud.rules.max_page_size)

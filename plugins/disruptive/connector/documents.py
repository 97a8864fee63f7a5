"""The Data Connector as it should be and as it is: differences, and the request that
removes them. Pure.

    settings ─▶ Wanted ──┐
                         ├─▶ differences ─▶ body of the PATCH: only what differs
    answer ─▶ Connector ─┘

Of the custom headers ours must be there; those of others stay. Whether DT merges or
replaces ``headers`` is not known, so the whole map is sent. An answer may show the
signature secret in clear, or not at all (vendor documentation): here it is a Secret
from the beginning, and where it is not shown the caller says whether it is known to be
ours.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from bridge.api import JSON, Secret

from ..settings import Settings

HTTP_PUSH = "HTTP_PUSH"
ACTIVE, USER_DISABLED, SYSTEM_DISABLED = "ACTIVE", "USER_DISABLED", "SYSTEM_DISABLED"

Member = Literal["url", "displayName", "events", "labels", "signatureSecret", "headers"]


@frozen
class Connector:
    """A Data Connector, as DT shows it."""

    id: str
    type: str
    """``HTTP_PUSH``; others push elsewhere, and have no URL."""
    status: str
    """``ACTIVE``, ``USER_DISABLED``, ``SYSTEM_DISABLED``."""
    display_name: str = ""
    events: tuple[str, ...] = ()
    """Event types; empty: all."""
    labels: tuple[str, ...] = ()
    """Keys of the labels that are pushed."""
    url: str = ""
    secret: Secret | None = None
    """None: there is none, or it is not shown."""
    headers: Mapping[str, Secret | None] | None = None
    """Custom headers; a value of None is empty. None: not shown."""


@frozen
class Wanted:
    """The connector that the settings ask for."""

    url: str
    display_name: str
    events: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    secret: Secret | None = None
    """None: pushes are not verified with a secret; whatever is set stays."""
    headers: Mapping[str, Secret] = field(factory=dict)
    """Custom headers that every push must carry."""


@frozen
class Difference:
    """A member that is not as wanted."""

    member: Member
    text: str
    """For a person; holds no secret."""


@frozen
class Metrics:
    """What DT counted over the last 3 hours; None: it does not say."""

    successes: int | None = None
    errors: int | None = None
    latency: str = ""
    """99th percentile, such as ``0.663s``; empty or ``0s`` without traffic (assumed).
    """


def read_connector(answer: Mapping[str, JSON]) -> Connector:
    """Return a connector; members may be missing.

    :raises ValueError: if it has no name.
    """
    name = answer.get("name")
    if not isinstance(name, str) or not name.rpartition("/")[2]:
        raise ValueError("expected a connector with a name")
    config = answer.get("httpConfig")
    config = config if isinstance(config, dict) else {}
    headers = config.get("headers")
    return Connector(
        id=name.rpartition("/")[2],
        type=_text(answer.get("type")),
        status=_text(answer.get("status")),
        display_name=_text(answer.get("displayName")),
        events=_texts(answer.get("events")),
        labels=_texts(answer.get("labels")),
        url=_text(config.get("url")),
        secret=_secret(config.get("signatureSecret")),
        headers={name: _secret(value) for name, value in headers.items()}
        if isinstance(headers, dict)
        else None,
    )


def read_metrics(answer: Mapping[str, JSON]) -> Metrics:
    """Return metrics; a number may be a text, as protocol buffers write 64 bits."""
    metrics = answer.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    return Metrics(
        _count(metrics.get("successCount")),
        _count(metrics.get("errorCount")),
        _text(metrics.get("latency99p")),
    )


def wanted_connector(settings: Settings, name: str) -> Wanted:
    """Return the connector that settings with a ``public_url`` ask for.

    :param name: of the source.
    """
    assert settings.public_url is not None
    ours = settings.header_name is not None and settings.header_value is not None
    return Wanted(
        url=str(settings.public_url),
        display_name=settings.display_name or f"bridge {name}",
        events=settings.events,
        labels=settings.connector_labels,
        secret=settings.secret,
        headers={settings.header_name: settings.header_value} if ours else {},  # type: ignore[dict-item]
    )


def pushing_to(connectors: Iterable[Connector], url: str) -> list[Connector]:
    """Return the connectors that push to a URL, active ones first."""
    address = _address(url)
    found = [
        each for each in connectors if each.type == HTTP_PUSH and _address(each.url) == address
    ]
    return sorted(found, key=lambda each: each.status != ACTIVE)


def differences(
    wanted: Wanted, found: Connector, *, same_secret: bool = False, same_headers: bool = False
) -> tuple[Difference, ...]:
    """Return how a connector differs.

    :param same_secret: what to take for true if the secret is not shown.
    :param same_headers: the same for the headers.
    """
    said = []
    if _address(found.url) != _address(wanted.url):
        said.append(
            Difference("url", f"URL is {shown_url(found.url)}, expected {shown_url(wanted.url)}")
        )
    if found.display_name != wanted.display_name:
        said.append(
            Difference(
                "displayName", f"name is {found.display_name!r}, expected {wanted.display_name!r}"
            )
        )
    if frozenset(found.events) != frozenset(wanted.events):
        text = (
            f"event types are {_joined(found.events, 'all')}, expected "
            f"{_joined(wanted.events, 'all')}"
        )
        said.append(Difference("events", text))
    if frozenset(found.labels) != frozenset(wanted.labels):
        text = (
            f"labels are {_joined(found.labels, 'none')}, expected {_joined(wanted.labels, 'none')}"
        )
        said.append(Difference("labels", text))
    if wanted.secret is not None:
        if found.secret is None and not same_secret:
            said.append(
                Difference("signatureSecret", "secret is not shown, and not known to be ours")
            )
        elif found.secret is not None and not _same(found.secret, wanted.secret):
            said.append(Difference("signatureSecret", "secret differs"))
    if wanted.headers and (text := _header_difference(wanted.headers, found.headers, same_headers)):
        said.append(Difference("headers", text))
    return tuple(said)


def patch_body(wanted: Wanted, found: Connector, said: Iterable[Difference]) -> dict[str, Any]:
    """Return the body of the PATCH that removes these differences.

    It may hold secrets.
    """
    body: dict[str, Any] = {}
    config: dict[str, Any] = {}
    whole = {**_members(wanted), "headers": _whole(wanted.headers, found.headers or {})}
    for difference in said:
        target = config if difference.member in ("url", "signatureSecret", "headers") else body
        target[difference.member] = whole[difference.member]
    return body | ({"httpConfig": config} if config else {})


def create_body(wanted: Wanted) -> dict[str, Any]:
    """Return the body that creates the connector. It may hold secrets."""
    members = _members(wanted)
    config: dict[str, Any] = {"url": wanted.url}
    if wanted.secret is not None:
        config["signatureSecret"] = members["signatureSecret"]
    if wanted.headers:
        config["headers"] = _whole(wanted.headers, {})
    return {
        "type": HTTP_PUSH,
        "status": ACTIVE,
        "displayName": wanted.display_name,
        "events": members["events"],
        "labels": members["labels"],
        "httpConfig": config,
    }


def secrets_in(body: Mapping[str, Any]) -> list[str]:
    """Return the secrets in the body of a request, so that no error repeats them; those
    of others are among them.
    """
    config = body.get("httpConfig", {})
    return [config.get("signatureSecret", ""), *config.get("headers", {}).values()]


def shown(connector: Connector) -> dict[str, Any]:
    """Return a connector as JSON that anybody may see."""
    config: dict[str, Any] = {"url": shown_url(connector.url)}
    if connector.secret is not None:
        config["signatureSecret"] = str(connector.secret)
    if connector.headers is not None:
        config["headers"] = {name: str(value or "") for name, value in connector.headers.items()}
    return {
        "id": connector.id,
        "displayName": connector.display_name,
        "type": connector.type,
        "status": connector.status,
        "events": list(connector.events),
        "labels": list(connector.labels),
    } | ({"httpConfig": config} if connector.type == HTTP_PUSH else {})


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")


def fingerprint(salt: str, *secrets: str) -> str:
    """Return what shows whether secrets are the same as before, and nothing else."""
    return hmac.digest(bytes.fromhex(salt), "\0".join(secrets).encode(), "sha256").hex()


def _members(wanted: Wanted) -> dict[Member, Any]:
    return {
        "url": wanted.url,
        "displayName": wanted.display_name,
        "events": list(wanted.events),
        "labels": list(wanted.labels),
        "signatureSecret": wanted.secret.reveal() if wanted.secret is not None else "",
    }


def _whole(ours: Mapping[str, Secret], theirs: Mapping[str, Secret | None]) -> dict[str, str]:
    """Return the whole map to send: theirs, but ours where names are the same in any
    case.
    """
    names = {name.lower() for name in ours}
    kept = {name: value for name, value in theirs.items() if name.lower() not in names}
    return {
        name: value.reveal() if value is not None else ""
        for name, value in {**kept, **ours}.items()
    }


def _header_difference(
    ours: Mapping[str, Secret], theirs: Mapping[str, Secret | None] | None, same: bool
) -> str:
    if theirs is None:
        return "" if same else "headers are not shown, and not known to be ours"
    known = {name.lower(): value for name, value in theirs.items()}
    said = []
    for name, value in ours.items():
        if name.lower() not in known:
            said.append(f"header {name} is missing")
        elif (other := known[name.lower()]) is None or not _same(other, value):
            said.append(f"header {name} differs")
    return ", ".join(said)


def _same(one: Secret, other: Secret) -> bool:
    return hmac.compare_digest(one.reveal().encode(), other.reveal().encode())


def _address(url: str) -> tuple[object, ...]:
    """Return what makes two URLs the same."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, parts.hostname, port, parts.path or "/", parts.query
    except ValueError:
        return (url,)


def _joined(words: Sequence[str], none: str) -> str:
    return ", ".join(sorted(words)) or none


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: JSON) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _secret(value: JSON) -> Secret | None:
    return Secret(value) if isinstance(value, str) and value else None


def _count(value: JSON) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if type(value) is int else None

"""Source: receives the pushes of a DT Data Connector of type HTTP_PUSH.

    Request ─ static header ─ X-Dt-Signature ─▶ authentic ─ decode ─▶ Accepted, one event
                 └──── Refusal 401 ────┘            └─ unreadable ─▶ Accepted, one event with the raw bytes

What is authentic is never refused: DT would send it again for 12 hours and then drop it (vendor documentation). So a
body that cannot be read is kept as an event of kind ``unreadable``. The core answers 200 when the event is durable.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import trio
from attrs import frozen

from bridge.api import (
    Accepted,
    Duration,
    Event,
    Receive,
    Refusal,
    Request,
    Secret,
    SettingError,
    SourceContext,
    at_least,
    parse_json,
    raw_data,
    setting,
)
from bridge_plugins.disruptive.events import UNKNOWN_DEVICE, decode_event
from bridge_plugins.disruptive.signature import HEADER, make_verify

UNREADABLE = "unreadable"
"""Kind of an event whose request was authentic but could not be read."""

_SHORT = 32  # bytes; RFC 7518 wants a key of HS256 to have as many as its hash


def _a_path(_instance: Any, _attribute: Any, value: str) -> None:
    if re.fullmatch(r"/[^\s?#]*", value) is None:
        raise ValueError("a path that begins with /, without ? or #")


def _a_header_name(_instance: Any, _attribute: Any, value: str | None) -> None:
    if value is not None and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value) is None:
        raise ValueError("the name of an HTTP header, such as X-Bridge-Key")


@frozen
class Settings:
    """Settings of ``plugin = disruptive``."""

    path: str = setting("/disruptive", help="path of the connector's URL on the listener", validator=_a_path)
    scheme: Literal["hmac", "none"] = setting(
        "hmac", help="hmac verifies X-Dt-Signature; none accepts whoever knows the URL"
    )
    secret: Secret | None = setting(
        None, help="signature secret of the Data Connector", example="${credential:disruptive.secret}"
    )
    previous_secret: Secret | None = setting(
        None, help="the secret before the last change; keep it for the 12 h in which DT may still use it"
    )
    leeway: Duration = setting(
        Duration(120), help="how far DT's clock and ours may differ; 0s for not at all", validator=at_least(0)
    )
    legacy_sha1: bool = setting(False, help="also accept tokens of before February 2022, which have SHA-1 only")
    header_name: str | None = setting(
        None, help="name of a custom header of the connector that every request must carry", validator=_a_header_name
    )
    header_value: Secret | None = setting(None, help="value of that header")

    def __attrs_post_init__(self) -> None:
        if self.scheme == "hmac" and self.secret is None:
            raise SettingError(
                "secret", "expected the connector's signature secret, got nothing; scheme = none would verify nothing"
            )
        if self.scheme == "none" and (self.secret or self.previous_secret):
            raise SettingError("scheme", "expected hmac because a secret is set, got none; remove one of the two")
        if self.header_name is not None and self.header_value is None:
            raise SettingError("header_value", f"expected the value of the header {self.header_name}, got nothing")
        if self.header_value is not None and self.header_name is None:
            raise SettingError("header_name", "expected the name of the header for header_value, got nothing")
        if self.header_name is not None and self.header_name.lower() == HEADER:
            raise SettingError("header_name", f"expected a header of your own, got {self.header_name}")
        if self.header_value is not None and self.header_value.reveal() != self.header_value.reveal().strip():
            raise SettingError("header_value", "expected a text without blanks at its ends: HTTP removes them")


async def run(settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]) -> None:
    """Receive on ``settings.path`` until cancelled."""
    receive = make_receive(settings, context.now)

    def receive_and_tell(request: Request) -> Accepted:
        accepted = receive(request)
        if accepted.events[0].kind == UNREADABLE:
            context.report(
                f"an authentic request could not be read; its bytes are kept as an event of kind {UNREADABLE}",
                problem=True,
            )
        return accepted

    with context.mount(settings.path, receive_and_tell):
        _report_start(settings, context)
        task_status.started()
        await trio.sleep_forever()


def _report_start(settings: Settings, context: SourceContext) -> None:
    if settings.secret is None:
        who = "a caller with the custom header" if settings.header_name else "any caller"
        context.report(
            f"signatures are not verified: {who} can feed in events at {settings.path}; "
            "set scheme = hmac and the connector's secret",
            problem=True,
        )
    elif len(settings.secret.reveal().encode()) < _SHORT:
        context.report(f"receives at {settings.path}; the secret is shorter than {_SHORT} bytes, a longer one is safer")
    else:
        context.report(f"receives at {settings.path}")


def make_receive(settings: Settings, now: Callable[[], datetime]) -> Receive:
    """Make the receive function of one instance: verify, then decode.

    :param now: the wall clock, with a time zone.
    """
    check_header = _make_check_header(settings)
    verify = None
    if settings.secret is not None:
        verify = make_verify(
            [secret for secret in (settings.secret, settings.previous_secret) if secret is not None],
            leeway=settings.leeway,
            legacy_sha1=settings.legacy_sha1,
            now=now,
        )

    def receive(request: Request) -> Accepted:
        if check_header is not None:
            check_header(request)
        if verify is not None:
            verify(request)
        return Accepted((_decode(request, now),))

    return receive


def _make_check_header(settings: Settings) -> Callable[[Request], None] | None:
    if settings.header_name is None or settings.header_value is None:
        return None
    name = settings.header_name
    key = name.lower()
    expected = settings.header_value.reveal().encode()

    def check_header(request: Request) -> None:
        values = request.headers.get(key, ())
        if len(values) != 1:
            raise Refusal(401, f"the header {name} has {len(values)} values, expected one")
        if not hmac.compare_digest(values[0].encode("latin-1"), expected):
            raise Refusal(401, f"the header {name} has another value than header_value")

    return check_header


def _decode(request: Request, now: Callable[[], datetime]) -> Event:
    received = now()
    try:
        return decode_event(parse_json(request.content()), received=received)
    except (ValueError, Refusal):
        return Event(
            key=hashlib.sha256(request.body).hexdigest(),
            device=UNKNOWN_DEVICE,
            kind=UNREADABLE,
            time=received,
            data=raw_data(request.body),
        )

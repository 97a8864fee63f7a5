"""Source: receives the pushes of a DT Data Connector of type HTTP_PUSH.

    Request ─ static header ─ signature(s) ───▶ authentic ─ decode ─▶ one event
                 └─── 401, 503 ────┘                └─ unreadable ─▶ one, raw bytes

401 says that a request is not authentic, 503 that this cannot be told yet: DT's key is
still to be fetched. What is authentic is never refused: DT would send it again for 12
hours and then drop it (vendor documentation). So a body that cannot be read is kept as
an event of kind ``unreadable``. The core answers 200 when the event is durable.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime

import trio

from bridge.api import (
    Accepted,
    Event,
    HttpRejection,
    Receive,
    Report,
    Request,
    SourceContext,
    parse_json,
    raw_data,
)

from .connector.manage import keep_connector
from .events import UNKNOWN_DEVICE, UNREADABLE, decode_event
from .problems import UNREADABLE_REQUEST, UNVERIFIED
from .settings import Settings
from .verify.key_fetching import keep_keys, recall
from .verify.keys import KeyRing
from .verify.rejections import Cause, RejectionWatch, Unauthentic
from .verify.schemes import make_verify

_MIN_SECRET = 32  # bytes; RFC 7518 wants a key of HS256 to have as many as its hash


async def run(
    settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]
) -> None:
    """Receive on ``settings.path`` until cancelled."""
    keys = KeyRing() if settings.verifies_asymmetric else None
    if keys is not None:
        recall(keys, settings, context.state)
    receive = _watched(make_receive(settings, context.now, keys), context.report)
    async with trio.open_nursery() as background:
        if keys is not None:
            background.start_soon(keep_keys, keys, settings, context)
        if settings.manage:
            background.start_soon(keep_connector, settings, context)
        with context.mount(settings.path, receive):
            _report_start(settings, context.report)
            task_status.started()
            await trio.sleep_forever()


def _watched(receive: Receive, report: Report) -> Receive:
    """Return a receive function that tells a person what the core only logs."""
    watch = RejectionWatch(report)

    def receive_and_tell(request: Request) -> Accepted:
        try:
            accepted = receive(request)
        except Unauthentic as rejection:
            watch.rejected(rejection)
            raise
        watch.authentic()
        if accepted.events[0].kind == UNREADABLE:
            text = (
                "an authentic request could not be read; its bytes are kept as an event of "
                f"kind {UNREADABLE}"
            )
            report(text, problem=UNREADABLE_REQUEST, topic=UNREADABLE)
        return accepted

    return receive_and_tell


def _report_start(settings: Settings, report: Report) -> None:
    if settings.scheme == "none":
        who = "a caller with the custom header" if settings.header_name else "any caller"
        report(
            f"signatures are not verified: {who} can feed in events at {settings.path}; "
            "set scheme = hmac and the connector's secret",
            problem=UNVERIFIED,
        )
    elif settings.secret is not None and len(settings.secret.reveal().encode()) < _MIN_SECRET:
        report(
            f"receives at {settings.path}; the secret is shorter than {_MIN_SECRET} bytes, a "
            "longer one is safer"
        )
    else:
        report(f"receives at {settings.path}")


def make_receive(
    settings: Settings, now: Callable[[], datetime], keys: KeyRing | None = None
) -> Receive:
    """Return the receive function of one instance: verify, then decode.

    :param now: the wall clock, with a time zone.
    :param keys: DT's public keys, for the schemes that need them.
    """
    check_header = _make_check_header(settings)
    verify = make_verify(settings, now, keys.find if keys is not None else None)

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
            raise Unauthentic(
                Cause.OTHER_HEADER, f"the header {name} has {len(values)} values, expected one"
            )
        if not hmac.compare_digest(values[0].encode("latin-1"), expected):
            raise Unauthentic(
                Cause.OTHER_HEADER, f"the header {name} has another value than header_value"
            )

    return check_header


def _decode(request: Request, now: Callable[[], datetime]) -> Event:
    received = now()
    try:
        return decode_event(parse_json(request.content()), received=received)
    except (ValueError, HttpRejection):
        return Event(
            key=hashlib.sha256(request.body).hexdigest(),
            device=UNKNOWN_DEVICE,
            kind=UNREADABLE,
            time=received,
            data=raw_data(request.body),
        )

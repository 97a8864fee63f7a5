"""Source: three routes on a listener, one for each kind of message that Wattsense sends.

PATH/values ┐                                                                  ┌ stored: 200 {"accepted":3,"dropped":0}
PATH/events ┼▶ credentials ─▶ signature ─▶ Content-Encoding ─▶ JSON ─▶ events ─┼ 400, 401, 413, 415: not taken
PATH/alarms ┘                                                                  └ not stored (the core): 503

A value that is merely not wanted is success towards Wattsense: a sender that hears 4xx may repeat it for ever, or
switch itself off. What it does is not published, and neither is its method: POST and PUT are accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Literal, TypeAlias

import trio

from bridge.api import Accepted, Answer, Event, Receive, Refusal, Request, SourceContext, parse_json
from bridge_plugins.wattsense.credentials import make_authenticate
from bridge_plugins.wattsense.events import items_of, opaque_event, unreadable_event, value_event
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.signature import make_verify

Route: TypeAlias = Literal["values", "events", "alarms"]
ROUTES: tuple[Route, ...] = ("values", "events", "alarms")


async def run(settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]) -> None:
    """Receive until cancelled."""
    methods = ("POST", "PUT", "GET") if settings.probe else ("POST", "PUT")
    with ExitStack() as mounted:
        for route, path in zip(ROUTES, paths(settings), strict=True):
            receive = make_receive(settings, route, context.now)
            mounted.enter_context(context.mount(path, receive, methods=methods))
        text, problem = standing(settings)
        context.report(text, problem=problem)
        task_status.started()
        await trio.sleep_forever()


def paths(settings: Settings) -> Sequence[str]:
    """Give the paths that an instance with these settings mounts, in the order of ``ROUTES``.

    The customer joins base URL and route by hand (vendor documentation), so slashes come doubled and trailing. Here
    they are single; the listener overlooks the others.
    """
    return [f"{_base(settings)}/{route}" for route in ROUTES]


def _base(settings: Settings) -> str:
    return "".join("/" + part for part in settings.path.split("/") if part)


def standing(settings: Settings) -> tuple[str, bool]:
    """Say who may send, for the report: a sentence, and whether it is a problem."""
    address = f"{_base(settings)}/{'|'.join(ROUTES)}"
    if settings.signature != "none":
        return f"receives on {address}, signature = {settings.signature}", False
    if settings.username is None and settings.bearer_token is None and settings.api_key is None:
        return (
            f"receives on {address} from anybody, because signature = none; "
            "choose the signature that the datastream uses, or credentials of the caller",
            True,
        )
    return f"receives on {address} with credentials alone, because signature = none", False


def make_receive(settings: Settings, route: Route, now: Callable[[], datetime]) -> Receive:
    """Make the receive function of a route; it is pure but for the clock."""
    authenticate = make_authenticate(settings)
    verify = make_verify(settings.scheme(), settings.secrets())

    def receive(request: Request) -> Accepted:
        if request.method in ("GET", "HEAD"):
            return Accepted(answer=Answer(200))  # mounted only with probe = yes
        moment = now()
        authenticate(request)
        verify(request, moment)
        events = _decode(settings, route, request, moment)
        return Accepted(events, _answer(settings, events))

    return receive


def _decode(settings: Settings, route: Route, request: Request, now: datetime) -> tuple[Event, ...]:
    body = request.body
    try:
        body = request.content()
        document = parse_json(body)
        if route != "values":
            return (opaque_event("event" if route == "events" else "alarm", body, document, now),)
        items = items_of(document)
    except (ValueError, Refusal) as exc:
        if isinstance(exc, Refusal) and exc.status != 400:
            raise
        if settings.unreadable == "keep":
            return (unreadable_event(body, now),)
        reason = exc.reason if isinstance(exc, Refusal) else f"the body is not what was expected: {exc}"
        raise Refusal(400, reason) from exc
    if len(items) > settings.most_items:
        raise Refusal(413, f"{len(items)} values in one request, at most {settings.most_items} are taken (most_items)")
    return tuple(value_event(item, settings, now) for item in items)


def _answer(settings: Settings, events: Sequence[Event]) -> Answer:
    if settings.reply == "204":
        return Answer(204)
    dropped = sum("dropped" in event.labels or event.kind == "unreadable" for event in events)
    body = b'{"accepted":%d,"dropped":%d}' % (len(events) - dropped, dropped)
    return Answer(200, body, (("Content-Type", "application/json"),))

"""Source: three routes on a listener, one for each kind of message that Wattsense
sends.

    PATH/values ┐
    PATH/events ┼▶ credentials ─▶ signature ─▶ Content-Encoding ─▶ JSON ─▶ events
    PATH/alarms ┘

The answer is 200 with counts when everything is stored; 400, 401, 413 or 415 to what is
not taken; and 503, by the core, when the spool cannot store.

A value that is merely not wanted is success towards Wattsense: a sender that hears 4xx
may repeat it for ever, or switch itself off. What it does is not published, and neither
is its method: POST and PUT are accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Literal, TypeAlias

import trio
from attrs import frozen

from bridge.api import (
    Accepted,
    Event,
    HttpRejection,
    Receive,
    Request,
    Response,
    SourceContext,
    parse_json,
)

from .auth.body_token import TakeToken, make_take_token
from .auth.credentials import make_authenticate
from .auth.discovery import Discovery
from .auth.signature import make_verify
from .messages.events import items_of, unreadable_event, value_event
from .messages.mapped_messages import Understood, mapped_events
from .messages.mapping import MessageMapping
from .messages.values import ValuePolicy
from .receiver_status import ReceiverStatus, tell_of_discovery, tell_of_senders
from .settings import Settings

Route: TypeAlias = Literal["values", "events", "alarms"]
ROUTES: tuple[Route, ...] = ("values", "events", "alarms")


async def run(
    settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]
) -> None:
    """Receive until cancelled."""
    methods = ("POST", "PUT", "GET") if settings.probe else ("POST", "PUT")
    discovery = Discovery(context.name, settings.discovery)
    status = ReceiverStatus(context.report, context.now)
    with ExitStack() as mounted:
        for route, path in zip(ROUTES, paths(settings), strict=True):
            receive = make_receive(
                settings,
                route,
                context.now,
                look=discovery.look,
                took=status.take,
                refused=status.refuse,
            )
            mounted.enter_context(context.mount(path, receive, methods=methods))
        tell_of_senders(
            context.report,
            f"{_base(settings)}/{'|'.join(ROUTES)}",
            signature=settings.signature,
            known_callers=not settings.caller_policy().asks_nothing,
        )
        if settings.discovery:
            tell_of_discovery(context.report)
        task_status.started()
        await trio.sleep_forever()


def paths(settings: Settings) -> Sequence[str]:
    """Return the paths that an instance with these settings mounts, in the order of
    ``ROUTES``.

    The customer joins base URL and route by hand (vendor documentation), so slashes
    come doubled and trailing. Here they are single; the listener overlooks the others.
    """
    return [f"{_base(settings)}/{route}" for route in ROUTES]


def _base(settings: Settings) -> str:
    return "".join("/" + part for part in settings.path.split("/") if part)


def make_receive(
    settings: Settings,
    route: Route,
    now: Callable[[], datetime],
    *,
    look: Callable[[Route, Request], None] = lambda route, request: None,
    took: Callable[[Sequence[Event], Sequence[str]], None] = lambda events, problems: None,
    refused: Callable[[int], None] = lambda status: None,
) -> Receive:
    """Return the receive function of a route; it is pure but for the clock and what it
    tells.

    :param look: told of every request, before anything is decided.
    :param took: told of the events of a request that is accepted, and of what a person
        should look at.
    :param refused: told of the status of one that is not.
    """
    scheme, secrets = settings.scheme(), settings.secrets()
    authenticate = make_authenticate(settings.caller_policy())
    verify = make_verify(scheme, secrets)
    decode = _Decoder(
        settings.value_policy(),
        _mapping(settings, route),
        make_take_token(scheme, secrets),
        settings.most_items,
        keep_unreadable=settings.unreadable == "keep",
    )

    def receive(request: Request) -> Accepted:
        look(route, request)
        if request.method in ("GET", "HEAD"):
            return Accepted(answer=Response(200))  # mounted only with probe = yes
        moment = now()
        try:
            authenticate(request)
            verify(request, moment)
            understood = decode(request, moment)
        except HttpRejection as refusal:
            refused(refusal.status)
            raise
        took(understood.events, understood.problems)
        return Accepted(understood.events, _answer(settings.reply, understood.events))

    return receive


def _mapping(settings: Settings, route: Route) -> MessageMapping | None:
    if route == "values":
        return None
    return settings.mapping("event" if route == "events" else "alarm")


@frozen
class _Decoder:
    """From a request of a known sender to events."""

    policy: ValuePolicy
    mapping: MessageMapping | None
    """None on the route of values."""
    take_token: TakeToken | None
    max_items: int
    keep_unreadable: bool

    def __call__(self, request: Request, now: datetime) -> Understood:
        body = request.body
        try:
            body = request.content()
            document = parse_json(body)
            if self.take_token is not None:
                document = self.take_token(document)
            if self.mapping is not None:
                understood = mapped_events(self.mapping, document, self.policy, now)
                self._check_number(sum(len(event.readings) for event in understood.events))
                return understood
            items = items_of(document)
        except (ValueError, HttpRejection) as exc:
            return self._unreadable(body, exc, now)
        self._check_number(len(items))
        return Understood(tuple(value_event(item, self.policy, now) for item in items))

    def _unreadable(
        self, body: bytes, exc: ValueError | HttpRejection, now: datetime
    ) -> Understood:
        """Refuse what is not one of the framings, or keep it, as the settings say."""
        if isinstance(exc, HttpRejection) and exc.status != 400:
            raise exc
        reason = (
            exc.reason
            if isinstance(exc, HttpRejection)
            else f"the body is not what was expected: {exc}"
        )
        if self.take_token is not None:
            raise HttpRejection(401, f"no token was found, because {reason}") from exc
        if self.keep_unreadable:
            return Understood((unreadable_event(body, now),))
        raise HttpRejection(400, reason) from exc

    def _check_number(self, number: int) -> None:
        if number > self.max_items:
            raise HttpRejection(
                413,
                f"{number} values in one request, at most {self.max_items} are taken (most_items)",
            )


def _answer(reply: Literal["200", "204"], events: Sequence[Event]) -> Response:
    if reply == "204":
        return Response(204)
    dropped = sum("dropped" in event.labels or event.kind == "unreadable" for event in events)
    body = b'{"accepted":%d,"dropped":%d}' % (len(events) - dropped, dropped)
    return Response(200, body, (("Content-Type", "application/json"),))

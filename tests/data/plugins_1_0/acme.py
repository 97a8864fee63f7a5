"""Source: meters of Acme, which calls a webhook; and a count that is emitted when it starts.

Written against the README of version 1.0 of the contract. It must run unchanged.
"""

import json
from contextlib import ExitStack
from datetime import UTC, datetime

import trio
from attrs import frozen

from bridge.api import (
    Accepted,
    Answer,
    Event,
    Reading,
    Refusal,
    Refused,
    Request,
    Secret,
    SourceContext,
    SourceKind,
    hookimpl,
    setting,
)

BRIDGE_API = (1, 0)


@frozen
class Settings:
    """The settings of ``[source:NAME]`` with ``plugin = acme``."""

    path: str = setting(help="path on the listener", example="/acme")
    secret: Secret = setting(help="what Acme puts into X-Acme-Secret")


@hookimpl
def bridge_source_kinds():
    return [SourceKind("acme", Settings, run, paths=lambda settings: [settings.path], help="meters of Acme")]


async def run(settings: Settings, context: SourceContext, *, task_status=trio.TASK_STATUS_IGNORED):
    starts = (context.state.get("starts") or 0) + 1

    def receive(request: Request) -> Accepted:
        if request.headers.get("x-acme-secret") != (settings.secret.reveal(),):
            raise Refusal(401, "X-Acme-Secret is not the configured one")
        if len(request.body) > request.most_content:
            raise Refusal(413, "too large")
        try:
            meters = json.loads(request.content())
        except ValueError as exc:
            raise Refusal(400, f"no JSON: {exc}") from exc
        events = tuple(level(meter["id"], meter["n"], meter["level"]) for meter in meters)
        return Accepted(events, Answer(202, b"thanks", (("X-Acme", "yes"),)))

    async def count(arguments):
        return {"starts": starts, "asked": arguments}

    with ExitStack() as stack:
        stack.enter_context(context.mount(settings.path, receive))
        stack.enter_context(context.answer("count", count))
        task_status.started()
        try:
            await context.outlet.emit(level("counter", starts, float(starts)))
            await context.state.put("starts", starts)
        except Refused as refused:
            context.report(f"waits {refused.retry_after:g} s: {refused.reason}", problem=True)
            await trio.sleep(refused.retry_after)
        else:
            context.report("is well")
        await trio.sleep_forever()


def level(device: str, number: int, value: float) -> Event:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    return Event(f"{device}-{number}", device, "level", time, (Reading("level", value, time, "%"),))

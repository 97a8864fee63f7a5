"""Opening a sink: its parts put together, and the tasks beside its deliveries.

    client ⊃ upkeep: keeper (memory to state), validation (with ``read_token``),
    heartbeats (with ``heartbeat``) ⊃ sink

No task of the upkeep is waited for by a delivery, and none says anything by failing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import trio

from bridge.api import JSON, SettingError, SinkContext

from .answers import Verdict
from .client import open_client
from .concerns import Concerns
from .devices_file import Rows, read_devices_file
from .encoding import Form, Point, Push, introduced
from .heartbeat import Pulses, beat
from .ledger import Keeper, Ledger, edition
from .limits import Devices, FittingSize
from .pusher import Pusher
from .settings import DataboomSettings
from .signals_seen import Seen
from .sink import DataboomSink
from .tokens import DEVICE_FIELDS, SIGNAL_FIELDS, Names, Template
from .validation import Key, Validation
from .values import sent_date

SIGNAL_PAGES = 200  # of a ledger: 100,000 signals, in some 20 MB
SEEN_PAGES = 40  # 20,000 signals
MAX_ROWS = 500  # of the map, in one answer


@asynccontextmanager
async def open_databoom(
    settings: DataboomSettings, context: SinkContext
) -> AsyncIterator[DataboomSink]:
    """Open the sink. Connections are made when there is something to send.

    :raises SettingError: when ``ca_file`` or ``devices_file`` cannot be used.
    """
    rows = await _devices_file(settings)
    known = Ledger(context.state, "introduced", edition=_destination(settings), pages=SIGNAL_PAGES)
    claims = Ledger(context.state, "tokens", edition=_maps(settings, rows), pages=SIGNAL_PAGES)
    seen_ledger = Ledger(context.state, "seen", edition="1", pages=SEEN_PAGES)
    names = _names(settings, rows, claims)
    seen = Seen(seen_ledger)
    concerns = Concerns(context.report)
    keeper = Keeper(known, claims, seen_ledger)
    pulses = Pulses(settings.heartbeat_interval, settings.heartbeat_for)
    async with open_client(settings) as client, trio.open_nursery() as upkeep:
        validation = None
        if settings.read_token is not None:
            tell = partial(concerns.set, "validation")
            validation = Validation(client, tell, partial(_forget, known, settings))
            upkeep.start_soon(validation.run)
        pusher = Pusher(
            settings,
            client,
            introduced=known,
            validation=validation,
            concerns=concerns,
            now=context.now,
        )
        upkeep.start_soon(keeper.run)
        if settings.heartbeat:
            upkeep.start_soon(
                beat, pulses, partial(_push_heartbeat, settings, context, known, pusher)
            )
        sink = DataboomSink(
            settings,
            pusher,
            names=names,
            introduced=known,
            fitting=FittingSize(settings.most_bytes, context.now),
            devices=Devices(
                settings.unknown_device_attempts, settings.unknown_device_time, context.now
            ),
            seen=seen,
            pulses=pulses,
            concerns=concerns,
            keeper=keeper,
        )
        with context.answer("map", partial(_answer_map, seen, names)):
            yield sink
        upkeep.cancel_scope.cancel()


async def _devices_file(settings: DataboomSettings) -> Rows:
    if settings.devices_file is None:
        return {}
    try:
        return await trio.to_thread.run_sync(
            read_devices_file, settings.devices_file, settings.devices
        )
    except ValueError as exc:  # changed since the configuration was read
        raise SettingError("devices_file", f"expected {exc}") from None


def _destination(settings: DataboomSettings) -> str:
    """Name what knows the signals that were introduced: another account does not. A new
    token may be one.
    """
    name, secret = settings.credential
    return edition(
        settings.url, settings.form, settings.template, settings.meta, name, secret.reveal()
    )


def _maps(settings: DataboomSettings, rows: Rows) -> str:
    """Name what gives the tokens: after a change, a token may stand for something else
    with good reason.
    """
    tables = [sorted(table.items()) for table in (settings.devices, settings.signals)]
    return edition(
        settings.device, settings.signal, settings.unmapped, tables, sorted(map(str, rows.items()))
    )


def _names(settings: DataboomSettings, rows: Rows, claims: Ledger) -> Names:
    return Names(
        device=Template.parse(settings.device, DEVICE_FIELDS),
        signal=Template.parse(settings.signal, SIGNAL_FIELDS),
        devices=settings.devices,
        signals=settings.signals,
        rows=rows,
        unmapped=settings.unmapped,
        reserved=settings.heartbeat,
        claims=claims,
    )


def _forget(known: Ledger, settings: DataboomSettings, key: Key) -> None:
    """Forget that a signal was introduced, which Databoom does not list."""
    device, signal = key
    known.forget(
        (device.removeprefix(f"{settings.template}-") if settings.template else device, signal)
    )


async def _push_heartbeat(
    settings: DataboomSettings, context: SinkContext, known: Ledger, pusher: Pusher, device: str
) -> Verdict:
    point = Point(
        -1,
        settings.heartbeat,
        sent_date(context.now(), settings.dates),
        1,
        "heartbeat of the bridge",
    )
    if (device, settings.heartbeat) not in known:
        point = introduced(point, settings)
    form: Form = "array" if settings.form == "auto" else settings.form
    push = Push(device, form, (point,), settings.template)
    return await pusher.push(push)


async def _answer_map(seen: Seen, names: Names, arguments: JSON) -> JSON:
    """Answer the request ``map``: ``{"after": [source, device, signal] | None}`` to ``{"rows": [...]}``.

    No rows: there are no more.
    """
    after = arguments.get("after") if isinstance(arguments, Mapping) else None
    key = (
        (str(after[0]), str(after[1]), str(after[2]))
        if isinstance(after, list) and len(after) == 3
        else None
    )
    return {"rows": seen.rows(names, key, MAX_ROWS)}

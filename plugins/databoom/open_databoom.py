"""Opening a sink: its parts put together, and the tasks beside its deliveries.

    clients ⊃ beside: ledgers to state, validation (with ``read_token``), heartbeats
    (with ``heartbeat``) ⊃ sink

No task beside the deliveries is waited for by one, and none says anything by failing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import trio

from bridge.api import Secret, SettingError, SinkContext
from bridge.api.rest import RestClient, open_rest

from .answers import PushVerdict
from .devices_file import read_devices_file
from .encoding import heartbeat_of
from .heartbeat import SilentDevices, send_heartbeats
from .ledger import Ledger, LedgerWriter, edition
from .missing_devices import MissingDevices
from .push import PushSize
from .pusher import Pusher
from .settings import DataboomSettings
from .signals_seen import SignalsSeen
from .sink import DataboomSink
from .tokens import DEVICE_FIELDS, SIGNAL_FIELDS, Claims, Targets, Template, Tokens
from .validation import SignalKey, Validation, read_list

MAX_PAGE = 8 << 20  # bytes of a page of the list of signals
SIGNAL_PAGES = 200  # of a ledger: 100,000 signals, in some 20 MB
SEEN_PAGES = 40  # 20,000 signals


@asynccontextmanager
async def open_databoom(
    settings: DataboomSettings, context: SinkContext
) -> AsyncIterator[DataboomSink]:
    """Open the sink. Connections are made when there is something to send.

    :raises SettingError: ``devices_file`` cannot be used.
    :raises Pause: ``ca_file`` cannot be used.
    """
    targets = await _read_targets(settings)
    introduced = Ledger(
        context.state, "introduced", edition=destination_edition(settings), pages=SIGNAL_PAGES
    )
    claims = Ledger(
        context.state, "tokens", edition=maps_edition(settings, targets), pages=SIGNAL_PAGES
    )
    seen_ledger = Ledger(context.state, "seen", edition="1", pages=SEEN_PAGES)
    tokens = tokens_of(settings, targets, claims)
    seen = SignalsSeen(seen_ledger, tokens)
    ledgers = LedgerWriter(introduced, claims, seen_ledger)
    silent = SilentDevices(settings.heartbeat_interval, settings.heartbeat_for)
    async with (
        _open_client(settings, settings.credential) as pushing,
        _open_client(settings, ("token", settings.read_token)) as reading,
        trio.open_nursery() as beside,
    ):
        validation = None
        if settings.read_token is not None:
            validation = Validation(
                partial(read_list, reading, settings.list_url, context.now),
                insist=context.insist,
                report=context.report,
                forget=partial(_forget, introduced, settings),
            )
            beside.start_soon(validation.run)
        pusher = Pusher(
            settings,
            pushing,
            introduced=introduced,
            validation=validation,
            report=context.report,
            now=context.now,
        )

        async def push_heartbeat(device: str) -> PushVerdict:
            return await pusher.push(heartbeat_of(device, context.now(), introduced, settings))

        if settings.heartbeat:
            beside.start_soon(send_heartbeats, silent, push_heartbeat)
        beside.start_soon(ledgers.run)
        sink = DataboomSink(
            settings,
            pusher,
            tokens=tokens,
            introduced=introduced,
            push_size=PushSize(settings.most_bytes, context.now),
            missing=MissingDevices(
                settings.unknown_device_attempts, settings.unknown_device_time, context.now
            ),
            seen=seen,
            silent=silent,
            ledgers=ledgers,
            report=context.report,
        )
        with context.answer("map", seen.answer_map):
            yield sink
        beside.cancel_scope.cancel()


def _open_client(
    settings: DataboomSettings, credential: tuple[str, Secret | None]
) -> AbstractAsyncContextManager[RestClient]:
    """Open a client that sends this credential, and no other."""
    name, secret = credential
    headers = {"Content-Type": "application/json"}
    if secret is not None:
        header = {"token": "Authorization", "apikey": "apikey"}[name]
        headers[header] = f"Bearer {secret.reveal()}" if name == "token" else secret.reveal()
    every = (settings.token, settings.apikey, settings.read_token)
    return open_rest(
        "Databoom",
        timeout=settings.request_timeout,
        timeout_setting="request_timeout",
        connect_timeout=settings.connect_timeout,
        max_body=MAX_PAGE,
        ca_file=settings.ca_file,
        proxy=settings.proxy,
        headers=headers,
        secrets=[one.reveal() for one in every if one is not None],
        certificate_hint="check url, ca_file and the clock of this machine",
    )


async def _read_targets(settings: DataboomSettings) -> Targets:
    if settings.devices_file is None:
        return {}
    try:
        return await trio.to_thread.run_sync(
            read_devices_file, settings.devices_file, settings.devices
        )
    except ValueError as exc:  # changed since the configuration was read
        raise SettingError("devices_file", f"expected {exc}") from None


def destination_edition(settings: DataboomSettings) -> str:
    """Return what changes with the place where signals were introduced: another account
    does not know them. A new token may be one.
    """
    name, secret = settings.credential
    return edition(
        settings.url, settings.form, settings.template, settings.meta, name, secret.reveal()
    )


def maps_edition(settings: DataboomSettings, targets: Targets) -> str:
    """Return what changes with the templates and maps: a token may then stand for
    something else with good reason.
    """
    tables = [sorted(table.items()) for table in (settings.devices, settings.signals)]
    rows = sorted(map(str, targets.items()))
    return edition(settings.device, settings.signal, settings.unmapped, tables, rows)


def tokens_of(settings: DataboomSettings, targets: Targets, claims: Claims) -> Tokens:
    """Return what a section says about tokens."""
    return Tokens(
        device=Template.parse(settings.device, DEVICE_FIELDS),
        signal=Template.parse(settings.signal, SIGNAL_FIELDS),
        devices=settings.devices,
        signals=settings.signals,
        targets=targets,
        unmapped=settings.unmapped,
        reserved=settings.heartbeat,
        claims=claims,
    )


def _forget(introduced: Ledger, settings: DataboomSettings, key: SignalKey) -> None:
    """Forget that a signal was introduced, which Databoom does not list."""
    device, signal = key
    if settings.template:
        device = device.removeprefix(f"{settings.template}-")
    introduced.forget((device, signal))

"""The composition root: everything that runs, and the order in which it opens and
stops.

    spool ⊃ sinks ⊃ sources ⊃ control ⊃ listeners ⊃ (until a signal)

The nesting is the flow of data, so stopping runs from the inside out by itself: nothing
more is accepted, what is in hand is answered, sources end, the writer drains, attempts
under way may finish, the spool closes. Being killed at any point means delivered twice
at worst.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from bridge.admin.control import open_control
from bridge.admin.health import answer
from bridge.admin.status import Observer
from bridge.api import RepeatedEvent
from bridge.api.spool import Spool, SpoolContext, SpoolError
from bridge.api.spool.problems import ORPHANED_SINK
from bridge.daemon.instance import Bridge, control_socket
from bridge.daemon.renaming import rename_sources
from bridge.daemon.requests import answered, make_holds
from bridge.daemon.sink import run_sink
from bridge.daemon.source import run_source
from bridge.daemon.systemd import Notifier
from bridge.flow.ingest import Ingest
from bridge.flow.instances.hold import Hold
from bridge.flow.instances.insist import Persistence
from bridge.flow.instances.supervision import SINK_VERDICTS, supervise
from bridge.http.certificates import watch_certificate
from bridge.http.listeners import open_listeners
from bridge.http.routes import Routes
from bridge.http.server import serve
from bridge.http.settings import ListenerSettings
from bridge.http.tls import TlsContext
from bridge.http.webhooks import webhooks

DRAIN_REQUESTS = 8.0  # seconds for requests in work: a webhook that took longer gave up before


async def run_bridge(
    bridge: Bridge,
    notifier: Notifier,
    signals: AsyncIterator[int],
    *,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Run until a signal comes that is not SIGHUP; then stop in order.

    Raises in a group what keeps it from starting: SpoolError, ListenError, TlsError,
    OSError.

    :param on_ready: called once everything is open.
    """
    config = bridge.config
    _make_state_folder(bridge.state)
    started = bridge.now()
    ready, signalled = trio.Event(), trio.Event()
    async with trio.open_nursery() as hearing, AsyncExitStack() as stack:
        hearing.start_soon(_hear, signals, bridge.hangup, signalled, ready, hearing.cancel_scope)
        spool = await stack.enter_async_context(open_spool(bridge))
        await rename_sources(bridge, spool)
        holds = make_holds(bridge, spool)
        await stack.enter_async_context(_open_sinks(bridge, spool, holds))
        ingest = Ingest(spool, bridge.now)
        routes = {name: Routes() for name in config.listeners}
        await stack.enter_async_context(_open_sources(bridge, spool, ingest, routes, holds))
        observer = Observer(
            instance=bridge.instance,
            started=started,
            now=bridge.now,
            spool=spool,
            board=bridge.board,
            intakes=ingest.intakes,
            sources={source.name: source.kind.name for source in config.sources},
            sinks={sink.name: sink.kind.name for sink in config.sinks},
            configured=config.sink_names,
        )
        await stack.enter_async_context(answered(bridge, spool, holds, observer))
        control = control_socket(config.bridge, config.admin, bridge.environ)
        await stack.enter_async_context(open_control(control, bridge.command_handlers))
        await stack.enter_async_context(_open_servers(bridge, routes, observer))
        summary = f"{len(config.sources)} sources, {len(config.sinks)} sinks"
        bridge.board.report("bridge")(f"ready: {summary}")
        on_ready()
        notifier.ready(summary)
        ready.set()
        await signalled.wait()
        bridge.board.report("bridge")("stopping: what is in hand is finished first")
        notifier.stopping()
    if not ready.is_set():
        bridge.board.report("bridge")("stopped before it was ready")


def _make_state_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise SpoolError(
            f"{folder} cannot be the state folder: {exc.strerror}; it must be a folder that "
            "this user may write"
        ) from exc


async def _hear(
    signals: AsyncIterator[int],
    hangup: RepeatedEvent,
    signalled: trio.Event,
    ready: trio.Event,
    everything: trio.CancelScope,
) -> None:
    """Wait for the signal to stop.

    A start that hangs, such as a new sink on a full disk, must not outlive it.
    """
    async for number in signals:
        if number != signal.SIGHUP:
            break
        hangup.set()
    signalled.set()
    if not ready.is_set():
        everything.cancel()


@asynccontextmanager
async def open_spool(bridge: Bridge) -> AsyncIterator[Spool]:
    """Open the spool of a configuration. :raises SpoolError: if it cannot be opened."""
    spool = bridge.config.spool
    context = SpoolContext(
        directory=bridge.state,
        sinks=bridge.config.sink_names,
        report=bridge.board.report("spool"),
        now=bridge.now,
    )
    async with spool.kind.open(spool.settings, context) as opened:
        yield opened


@asynccontextmanager
async def _open_sinks(
    bridge: Bridge, spool: Spool, holds: Mapping[str, Hold]
) -> AsyncIterator[None]:
    for account in await spool.accounts(bridge.config.sink_names):
        if account.orphaned:
            bridge.board.report(f"sink:{account.sink}")(
                (
                    f"orphaned: no section names it; {account.pending} events wait for it, and it "
                    "collects for orphan_grace; bridged sink rename or purge decides at once"
                ),
                problem=ORPHANED_SINK,
            )
    async with trio.open_nursery() as sinks:
        try:
            for sink in bridge.config.sinks:
                instance = f"sink:{sink.name}"
                report = bridge.board.report(instance)
                run = partial(
                    run_sink,
                    sink,
                    spool,
                    report=report,
                    answer=bridge.command_handlers.answering(instance),
                    grace_period=bridge.grace_period,
                    redact=bridge.config.redact,
                    now=bridge.now,
                    random=bridge.random,
                    hold=holds[instance],
                )
                # Subscribed before anything can arrive: a sink that begins "now" begins
                # before the first event.
                core = sink.core
                persistence = Persistence(core.retry_base, core.retry_cap, core.pause_probe)
                await sinks.start(
                    partial(
                        supervise,
                        instance,
                        run,
                        report,
                        bridge.random,
                        problems=SINK_VERDICTS,
                        persistence=persistence,
                    )
                )
            yield
        finally:
            # Also when something else could not be opened: what is under way must end.
            bridge.grace_period.close(bridge.config.bridge.drain)
        sinks.cancel_scope.cancel()


@asynccontextmanager
async def _open_sources(
    bridge: Bridge,
    spool: Spool,
    ingest: Ingest,
    routes: Mapping[str, Routes],
    holds: Mapping[str, Hold],
) -> AsyncIterator[None]:
    async with trio.open_nursery() as sources:
        for source in bridge.config.sources:
            hold = holds[f"source:{source.name}"]
            await sources.start(run_source, bridge, source, spool, ingest, routes, hold)
        yield
        sources.cancel_scope.cancel()


@asynccontextmanager
async def _open_servers(
    bridge: Bridge, routes: Mapping[str, Routes], observer: Observer
) -> AsyncIterator[None]:
    async with AsyncExitStack() as sockets, trio.open_nursery() as servers:
        for name, settings in bridge.config.listeners.items():
            handle = webhooks(routes[name], commit_timeout=settings.commit_timeout, name=name)
            tls = None
            if settings.certificate is not None and settings.key is not None:
                tls = TlsContext(settings.certificate, settings.key)
                report = bridge.board.report(f"listener:{name}")
                servers.start_soon(
                    partial(watch_certificate, tls, report, now=bridge.now, hangup=bridge.hangup)
                )
            opened = await sockets.enter_async_context(
                open_listeners(settings.address, bridge.environ)
            )
            serving = partial(
                serve, opened, handle, settings, grace=DRAIN_REQUESTS, tls=tls, name=name
            )
            await servers.start(serving)
        if (address := bridge.config.admin.address) is not None:
            opened = await sockets.enter_async_context(open_listeners(address, bridge.environ))
            settings = ListenerSettings(address=address, connections=100, requests=100)
            serving = partial(
                serve, opened, partial(answer, observer=observer), settings, grace=0.0, name="admin"
            )
            await servers.start(serving)
        yield
        servers.cancel_scope.cancel()

"""The source: one session in each run.

    the monitor to use ▶ session ▶ its end is a verdict ▶ the core waits ▶ the next run
                            └── 400: is the monitor gone?

The core tries again after a verdict, ever more slowly; after a refusal that only a
person can lift it waits long, because hammering may lock the account (assumed). What an
earlier run knows, the next one uses: a monitor that was found to be as wanted is
attached to again although REST may be down meanwhile.
"""

from __future__ import annotations

import logging

import trio
from attrs import define

from bridge.api import Pause, Retry, SourceContext, SpoolUnavailable

from .push.session import UnknownMonitor, attend
from .push.session_status import SessionStatus
from .rest.ensure import delete_own, ensure_monitor
from .rest.monitor_api import MonitorApi, open_api
from .rest.wanted import differences, is_live, wanted_monitor
from .settings import Settings

LOOK_TIMEOUT = 5.0  # seconds that a look at the monitor may hold up a new session

log = logging.getLogger(__name__)


@define
class Progress:
    """What a run leaves to the next. It is about this life of the source: the id of the
    monitor is durable besides, and the core tells of gaps across a restart.
    """

    monitor: int | None = None
    """The monitor that was found or made to be as wanted."""
    loss: str | None = None
    """What was lost with a monitor, until a session has said so to its end."""
    altered: str = ""
    """How somebody has changed the monitor since then; empty: as far as we know it is
    as wanted.
    """
    ended_at: float | None = None
    """When the last session ended, by trio's clock; None before its end."""


def progress_of(context: SourceContext) -> Progress:
    """What the runs of this source have in common."""
    progress: Progress = context.between_runs.setdefault("progress", Progress())
    return progress


async def run(
    settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]
) -> None:
    """Hold one session. Ends only by being cancelled, or by a verdict.

    :raises Retry: when another attempt may succeed.
    :raises Pause: when a person must act.
    """
    progress = progress_of(context)
    async with open_api(settings, context.now) as api:
        try:
            monitor = await _monitor_to_use(api, settings, context, progress)
        except SpoolUnavailable as exc:
            raise Retry(
                f"the monitor's id cannot be remembered: {exc.reason}", after=exc.retry_after
            ) from exc
        await _attend(api, settings, context, progress, monitor, task_status)


async def stop(settings: Settings, context: SourceContext) -> None:
    """Delete our monitor at the end, if the settings say ``delete_on_exit``."""
    monitor = progress_of(context).monitor
    if not settings.delete_on_exit or monitor is None:
        return
    with trio.move_on_after(settings.stop_timeout, shield=True) as deadline:
        try:
            async with open_api(settings, context.now) as api:
                await delete_own(api, settings, context, monitor)
        except (Retry, Pause, SpoolUnavailable) as exc:
            log.warning("%s: monitor %d is not deleted: %s", context.name, monitor, exc)
    if deadline.cancelled_caught:
        log.warning(
            "%s: monitor %d is not deleted within %s", context.name, monitor, settings.stop_timeout
        )


async def _attend(
    api: MonitorApi,
    settings: Settings,
    context: SourceContext,
    progress: Progress,
    monitor: int,
    task_status: trio.TaskStatus[None],
) -> None:
    attached_at: float | None = None
    away: float | None = None

    def attached() -> None:
        nonlocal attached_at, away
        if attached_at is None:  # it is called again when a hold-up is over
            attached_at = trio.current_time()
            away = None if progress.ended_at is None else attached_at - progress.ended_at
            task_status.started()
        status = SessionStatus(monitor, away, progress.loss, progress.altered)
        context.report(status.text(settings), problem=status.problem(settings))

    async def still_attached() -> bool:
        return await _still_attached(api, monitor, context)

    try:
        await attend(settings, context, monitor, attached=attached, still_attached=still_attached)
    except UnknownMonitor as exc:
        raise await _why_unknown(api, progress, monitor, exc) from exc
    finally:
        if attached_at is not None:
            progress.ended_at, progress.loss = trio.current_time(), None


async def _why_unknown(
    api: MonitorApi, progress: Progress, monitor: int, refusal: UnknownMonitor
) -> Retry | Pause:
    """Ask REST why the push port does not know a monitor."""
    found = await api.read(monitor)
    if found is None:
        progress.monitor = None
        return Retry(f"monitor {monitor} is gone, and with it what was recorded for it")
    if found.get("monStatus", "").upper() == "ACTIVE":
        return Retry(
            f"{refusal.why}, because a session is attached; if it is not an earlier one of "
            "ours, stop it"
        )
    return Pause(f"{refusal.why}, although the account has it; look at it in the vendor's account")


async def _monitor_to_use(
    api: MonitorApi, settings: Settings, context: SourceContext, progress: Progress
) -> int:
    """Return the id of the monitor that was used before, if it still is as wanted, else
    of one that is ensured anew.
    """
    if progress.monitor is not None and progress.ended_at is not None:
        progress.altered = await _altered(
            api, settings, context, progress.monitor, progress.altered
        )
        if progress.altered and settings.on_difference != "stop":
            progress.monitor = None
    if progress.monitor is None:
        ensured = await ensure_monitor(api, settings, context)
        progress.monitor, progress.altered = ensured.id, ""
        progress.loss = ensured.loss or progress.loss
    return progress.monitor


async def _altered(
    api: MonitorApi, settings: Settings, context: SourceContext, monitor: int, before: str
) -> str:
    """Return how somebody has changed the monitor. An API that does not answer soon
    says nothing new.
    """
    with trio.move_on_after(LOOK_TIMEOUT):
        try:
            found = await api.read(monitor)
        except (Retry, Pause) as exc:
            log.info(
                "%s: REST cannot be asked whether the monitor has changed: %s", context.name, exc
            )
        else:
            if found is None:
                return ""  # that shows when we log in
            return "; ".join(differences(wanted_monitor(settings, context.name), found))
    return before


async def _still_attached(api: MonitorApi, monitor: int, context: SourceContext) -> bool:
    """Ask REST. An API that does not answer says nothing about the session."""
    try:
        found = await api.read(monitor)
    except (Retry, Pause) as exc:
        log.info("%s: silence, and REST cannot be asked about it: %s", context.name, exc)
        return True
    return found is not None and is_live(found)

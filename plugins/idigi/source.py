"""Source: Digi Remote Manager, earlier called iDigi and Device Cloud.

    ensure the monitor ▶ session ▶ still as wanted? ▶ session ▶ ...        monitors.py, session.py
          ▲                 │
          └── 400: gone? ◀──┘

What a new session says of itself is made in standing.py. It is retried until it is
stopped. After a failure that may pass: pauses that grow, with full jitter, from
``retry_base`` to ``retry_cap``, and begin anew after a session that stayed up. After a
refusal that only a person can lift: ``pause_probe``, because hammering may lock the
account (assumed).
"""

from __future__ import annotations

import logging

import trio
from attrs import define

from bridge.api import Pause, Retry, SourceContext, SpoolUnavailable

from .push.session import UnknownMonitor, attend
from .push.session_status import SessionStatus
from .rest.monitor_api import MonitorApi, open_api
from .rest.monitors import delete_own, differences, ensure_monitor, is_live, wanted_monitor
from .settings import Settings

STABLE = 60.0  # seconds after which a session has been a good one
LOOK_TIMEOUT = 5.0  # seconds that a look at the monitor may hold up a new session

log = logging.getLogger(__name__)


@define
class _Progress:
    """What one attempt leaves to the next."""

    monitor: int | None = None
    loss: str | None = None
    """What was lost with a monitor, until a session has said so to its end."""
    altered: str = ""
    """How somebody has changed the monitor since it was ensured; empty: as far as we
    know it is as wanted.
    """
    failures: int = 0
    """Attempts since the last good session."""
    attached_at: float | None = None
    """When the current session began; None while there is none."""
    ended_at: float | None = None
    """When the last session ended; None before its end."""
    started: bool = False


async def run(
    settings: Settings, context: SourceContext, *, task_status: trio.TaskStatus[None]
) -> None:
    """Bring events in until cancelled.

    :raises Pause: if ``ca_file`` cannot be used.
    """
    progress = _Progress()
    async with open_api(settings) as api:
        try:
            await _keep_attached(api, settings, context, progress, task_status)
        except trio.Cancelled:
            if settings.delete_on_exit and progress.monitor is not None:
                await _delete_at_stop(api, settings, context, progress.monitor)
            raise


async def _keep_attached(
    api: MonitorApi,
    settings: Settings,
    context: SourceContext,
    progress: _Progress,
    task_status: trio.TaskStatus[None],
) -> None:
    while True:
        try:
            await _attempt(api, settings, context, progress, task_status)
        except (Retry, Pause) as exc:
            failure: Retry | Pause = exc
        except SpoolUnavailable as exc:
            failure = Retry(
                f"the monitor's id cannot be remembered: {exc.reason}", after=exc.retry_after
            )
        stable = (
            progress.attached_at is not None
            and trio.current_time() - progress.attached_at >= STABLE
        )
        if stable:
            progress.failures = 0
        if progress.attached_at is not None:
            progress.attached_at, progress.ended_at, progress.loss = None, trio.current_time(), None
        if isinstance(failure, Pause):
            context.report(
                f"{failure.why}; trying again every {settings.pause_probe}", problem=True
            )
        else:
            # A connection that ends after a good session is the service's daily life,
            # not a problem.
            context.report(f"{failure.why}; trying again until it succeeds", problem=not stable)
        pause = pause_after(failure, progress.failures, settings, context.random())
        progress.failures += 1
        await trio.sleep(pause)


async def _attempt(
    api: MonitorApi,
    settings: Settings,
    context: SourceContext,
    progress: _Progress,
    task_status: trio.TaskStatus[None],
) -> None:
    monitor = await _monitor_to_use(api, settings, context, progress)
    away: float | None = None

    def attached() -> None:
        nonlocal away
        if progress.attached_at is None:
            progress.attached_at = trio.current_time()
            away = None if progress.ended_at is None else progress.attached_at - progress.ended_at
        standing = SessionStatus(monitor, away, progress.loss, progress.altered)
        context.report(standing.text(settings), problem=standing.problem(settings))
        if not progress.started:
            progress.started = True
            task_status.started()

    async def still_attached() -> bool:
        return await _still_attached(api, monitor, context)

    try:
        await attend(settings, context, monitor, attached=attached, still_attached=still_attached)
    except UnknownMonitor as exc:
        found = await api.read(monitor)
        if found is None:
            progress.monitor = None
            raise Retry(f"monitor {monitor} is gone, and with it what was recorded for it") from exc
        if found.get("monStatus", "").upper() == "ACTIVE":
            raise Retry(
                f"{exc.why}, because a session is attached; if it is not an earlier one of "
                "ours, stop it"
            ) from exc
        raise Pause(
            f"{exc.why}, although the account has it; look at it in the vendor's account"
        ) from exc


async def _monitor_to_use(
    api: MonitorApi, settings: Settings, context: SourceContext, progress: _Progress
) -> int:
    """Give the id of the monitor: the one that was used before, if nobody has changed
    it since.
    """
    if progress.monitor is not None and progress.ended_at is not None:
        progress.altered = await _altered(api, settings, context, progress)
        if progress.altered and settings.on_difference != "stop":
            progress.monitor = None
    if progress.monitor is None:
        ensured = await ensure_monitor(api, settings, context)
        progress.monitor, progress.altered = ensured.id, ""
        progress.loss = ensured.loss or progress.loss
    return progress.monitor


async def _altered(
    api: MonitorApi, settings: Settings, context: SourceContext, progress: _Progress
) -> str:
    """Look at what became of the monitor.

    An API that does not answer soon says nothing new.
    """
    assert progress.monitor is not None
    with trio.move_on_after(LOOK_TIMEOUT):
        try:
            found = await api.read(progress.monitor)
        except (Retry, Pause) as exc:
            log.info(
                "%s: REST cannot be asked whether the monitor has changed: %s", context.name, exc
            )
        else:
            # One that is gone shows when we log in.
            return (
                ""
                if found is None
                else "; ".join(differences(wanted_monitor(settings, context.name), found))
            )
    return progress.altered


async def _still_attached(api: MonitorApi, monitor: int, context: SourceContext) -> bool:
    """Ask REST. An API that does not answer says nothing about the session."""
    try:
        found = await api.read(monitor)
    except (Retry, Pause) as exc:
        log.info("%s: silence, and REST cannot be asked about it: %s", context.name, exc)
        return True
    return found is not None and is_live(found)


async def _delete_at_stop(
    api: MonitorApi, settings: Settings, context: SourceContext, monitor: int
) -> None:
    with trio.move_on_after(settings.stop_timeout, shield=True) as deadline:
        try:
            await delete_own(api, settings, context, monitor)
        except (Retry, Pause, SpoolUnavailable) as exc:
            log.warning("%s: monitor %d is not deleted: %s", context.name, monitor, exc)
    if deadline.cancelled_caught:
        log.warning(
            "%s: monitor %d is not deleted within %s", context.name, monitor, settings.stop_timeout
        )


def pause_after(failure: Retry | Pause, failures: int, settings: Settings, jitter: float) -> float:
    """Tell for how many seconds to leave the server alone.

    :param failures: attempts that failed before this one.
    :param jitter: from [0, 1).
    """
    if isinstance(failure, Pause):
        return settings.pause_probe
    longest = min(settings.retry_cap, settings.retry_base * 2.0 ** min(failures, 32))
    return max(jitter * longest, failure.after or 0.0)

"""The status page: one server-rendered page that reloads itself, without scripts and
without buttons.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from bridge.admin.status import SinkStatus, SourceStatus, Status
from bridge.api.spool import ParkedDevice
from bridge.flow.instances.board import State
from bridge.flow.recovery.gaps import span

RELOAD = 2  # seconds

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem;
       padding: 0 1rem; color: #1d2733; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .3rem .6rem; text-align: left; }
th { font-weight: 600; border-bottom: 2px solid #ccd4dd; } td { border-bottom: 1px solid #e6eaee; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.good { color: #17693a; } .bad { color: #a4161a; font-weight: 600; } .quiet { color: #66727f; }
"""

HEADERS = (
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
)


def render(status: Status) -> bytes:
    problems = [_problem(place, state) for place, state in status.problems.items()]
    if status.refusal is not None:
        problems.insert(0, f'<li class="bad">{escape(f"spool: {status.refusal}")}</li>')
    verdict = f"<ul>{''.join(problems)}</ul>" if problems else '<p class="good">No problems.</p>'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{RELOAD}">
<meta name="viewport" content="width=device-width"><title>bridge {escape(status.instance)}</title>
<style>{STYLE}</style></head><body>
<h1>bridge {escape(status.instance)}</h1>
<p class="quiet">{_clock(status.now)} UTC,
running since {status.started:%Y-%m-%d} {_clock(status.started)}</p>
<h2>Problems</h2>{verdict}
<h2>Sources</h2>
<table><tr><th>source</th><th>plugin</th><th>state</th>
<th class="number">events</th><th class="number">refused</th>
<th>last event</th></tr>{"".join(_source(source, status.now) for source in status.sources)}</table>
<h2>Sinks</h2>
<table><tr><th>sink</th><th>plugin</th><th>state</th>
<th class="number">received</th><th class="number">again</th><th class="number">delivered</th>
<th class="number">filtered</th><th class="number">dead letters</th><th class="number">expired</th>
<th class="number">pending</th><th class="number">parked</th><th>oldest waiting</th></tr>
{"".join(_sink(sink, status.now) for sink in status.sinks)}</table>
{_parked(status.sinks, status.now)}</body></html>
""".encode()


def _problem(place: str, state: State) -> str:
    since = f"{state.since:%Y-%m-%d} {_clock(state.since)}"
    named, remedy = "", ""
    if state.problem is not None:
        named = f" [{state.problem.name}]"
        remedy = f'<p class="quiet">{escape(state.problem.remedy)}</p>'
    text = escape(f"{place}: {state.text} (since {since}){named}")
    return f'<li class="bad">{text}{remedy}</li>'


def _source(source: SourceStatus, now: datetime) -> str:
    intake = source.intake
    return (
        f"<tr><td>{escape(source.name)}</td><td>{escape(source.kind)}</td>{_state(source)}"
        f"{_number(intake.events)}{_number(intake.refused)}<td>{_ago(intake.last, now)}</td></tr>"
    )


def _sink(sink: SinkStatus, now: datetime) -> str:
    account = sink.account
    if account is None:
        balance = '<td class="number">-</td>' * 8 + "<td>-</td>"
    else:
        numbers = (
            account.received,
            account.again,
            account.delivered,
            account.filtered,
            account.dead,
            account.expired,
            account.pending,
            account.parked,
        )
        balance = f"{''.join(map(_number, numbers))}<td>{_ago(account.oldest_pending, now)}</td>"
    return (
        f"<tr><td>{escape(sink.name)}</td><td>{escape(sink.kind)}</td>{_state(sink)}{balance}</tr>"
    )


def _parked(sinks: Sequence[SinkStatus], now: datetime) -> str:
    """A table of the devices that wait apart, and why; nothing if there are none."""
    rows = "".join(_parked_device(device, now) for sink in sinks for device in sink.parked)
    if not rows:
        return ""
    unnamed = sum(
        sink.account.parked_devices - len(sink.parked) for sink in sinks if sink.account is not None
    )
    more = f'<p class="quiet">and {unnamed:,} more: bridged parked</p>' if unnamed > 0 else ""
    return f"""<h2>Devices that wait apart</h2>
<table><tr><th>sink</th><th>device</th><th class="number">events</th><th>oldest</th>
<th>tried again</th><th>why</th></tr>{rows}</table>{more}
"""


def _parked_device(device: ParkedDevice, now: datetime) -> str:
    due = "now" if device.due < 1 else f"in {span(device.due)}"
    return (
        f"<tr><td>{escape(device.sink)}</td><td>{escape(device.device)}</td>"
        f"{_number(device.events)}<td>{_ago(device.since, now)}</td><td>{due}</td>"
        f"<td>{escape(device.why)}</td></tr>"
    )


def _state(instance: SourceStatus | SinkStatus) -> str:
    if (
        isinstance(instance, SinkStatus)
        and instance.account is not None
        and instance.account.orphaned
    ):
        return '<td class="bad">orphaned: no section names it; its events are kept</td>'
    if instance.state is None:
        return '<td class="quiet">-</td>'
    said = escape(instance.state.text) + "".join(map(_remark, instance.remarks))
    return f'<td class="{"bad" if instance.state.problem else "good"}">{said}</td>'


def _remark(state: State) -> str:
    return f'<div class="{"bad" if state.problem else "quiet"}">{escape(state.text)}</div>'


def _number(number: int) -> str:
    return f'<td class="number">{number:,}</td>'


def _clock(time: datetime) -> str:
    return f"{time:%H:%M:%S}"


def _ago(time: datetime | None, now: datetime) -> str:
    if time is None:
        return "-"
    seconds = max(0, int((now - time).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"

"""Every fault and every rule of the emulator, against the whole bridge.

A row of a table is one fault: what the board says of the sink meanwhile, what the spool
counts, and what is recorded once the fault is over. Then nothing waits any more, each
value was recorded as it was sent, and no problem is left but one that a person must
see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from trio.testing import MockClock

from bridge_plugins.databoom.emulator.server import Fault
from tests.end_to_end.databoom_world import KEY, SINK, TOKEN, Point, World, open_world

D1, D2, D3 = ("d1", "t", 1), ("d1", "t", 2), ("d2", "t", 3)
ALL = (D1, D2, D3)
# One of each device: a push that is refused as the fault is lifted is refused whole.
EACH = (D1, D3, ("d3", "t", 4))
DOCUMENTED = b'{"message":"ALL_INFO_PROCESSED"}'
PAGE = b"<html>queued</html>"


def lift(world: World) -> None:
    world.faults.always = None


def nothing(world: World) -> None: ...


@frozen
class Cell:
    """A row of the table."""

    name: str
    says: str
    """What the board says of the sink while the fault lasts."""
    meanwhile: Mapping[str, int]
    """What the spool counts then."""
    faults: Mapping[str, Any] = field(factory=dict, kw_only=True)
    rules: Mapping[str, Any] = field(factory=dict, kw_only=True)
    settings: str = field(default="", kw_only=True)
    credential: str = field(default=f"token = {TOKEN}", kw_only=True)
    tokens: Mapping[str, Any] | None = field(default=None, kw_only=True)
    where: str = field(default=SINK, kw_only=True)
    """Who says it: the core of the sink, or its plugin under a topic."""
    problem: bool = field(default=True, kw_only=True)
    prepare: Callable[[World], None] = field(default=nothing, kw_only=True)
    lift: Callable[[World], None] = field(default=lift, kw_only=True)
    after: Mapping[str, int] = field(default={"delivered": 3}, kw_only=True)
    recorded: tuple[Point, ...] = field(default=ALL, kw_only=True)
    points: tuple[Point, ...] = field(default=ALL, kw_only=True)
    """What happens."""
    together: bool = field(default=False, kw_only=True)
    """In one event."""
    lasting: str = field(default="", kw_only=True)
    """What the board goes on saying as a problem, for a person must look at it."""


def always(**fault: Any) -> dict[str, Any]:
    return {"always": Fault(**fault)}


TEXT = ("d2", "t", "open")
FIVE = tuple(("d1", f"t{number}", number) for number in range(5))
ONE_DEAD = {"delivered": 2, "dead": 1}
WAITING = {"pending": 3}
TAKEN = {"delivered": 3}

ACCEPTED = [
    Cell(
        f"{status}-documented",
        "ready",
        TAKEN,
        faults=always(status=status, body=DOCUMENTED),
        problem=False,
        recorded=(),
    )
    for status in (200, 201, 202, 204, 299)
] + [
    Cell("blank", "ready", TAKEN, faults=always(body=b""), problem=False),
    Cell(
        "blank-strict",
        "ready",
        TAKEN,
        faults=always(body=b" "),
        problem=False,
        settings="strict_body = yes",
    ),
    Cell(
        "not-json",
        "unusual answer (<html>queued",
        TAKEN,
        faults=always(body=PAGE),
        lasting="unusual answer",
        where=f"{SINK}/answer",
    ),
    Cell(
        "other-message",
        "unusual answer (LATER)",
        TAKEN,
        faults=always(body=b'{"message":"LATER"}'),
        lasting="unusual answer",
        where=f"{SINK}/answer",
    ),
    Cell(
        "not-json-strict",
        "is not the documented one",
        WAITING,
        faults=always(body=PAGE),
        settings="strict_body = yes",
    ),
]

CREDENTIALS = [
    Cell(
        str(status),
        f"paused: Databoom refuses the token ({status}",
        WAITING,
        faults=always(status=status),
    )
    for status in (401, 403)
] + [
    Cell(
        "token-revoked",
        "paused: Databoom refuses the token (401: Unauthorized)",
        WAITING,
        prepare=lambda world: world.emulator.revoke(TOKEN),
        lift=lambda world: world.emulator.restore(TOKEN),
    ),
    Cell(
        "apikey-revoked",
        "paused: Databoom refuses the apikey (401: Unauthorized)",
        WAITING,
        credential=f"apikey = {KEY}",
        prepare=lambda world: world.emulator.revoke(KEY),
        lift=lambda world: world.emulator.restore(KEY),
    ),
    Cell(
        "apikey-unknown",
        "paused: Databoom refuses the apikey",
        WAITING,
        credential="apikey = canary-of-nobody",
        after=WAITING,
        recorded=(),
        lasting="paused",
    ),
    Cell(
        "without-publish",
        "(403: Forbidden); it must exist and have the scope Publish",
        WAITING,
        tokens={TOKEN: ("Read",)},
        after=WAITING,
        recorded=(),
        lasting="paused",
    ),
    Cell(
        "template-without-create",
        "(403: Forbidden); it must exist and have the scopes Publish and Create",
        WAITING,
        tokens={TOKEN: ("Publish",)},
        settings="form = template\ntemplate = tpl",
        after=WAITING,
        recorded=(),
        lasting="paused",
    ),
]

ADDRESS = (
    [
        Cell(
            f"{status}-never-worked",
            "paused: there is nothing at the url, or no device",
            WAITING,
            faults=always(status=status),
        )
        for status in (404, 405)
    ]
    + [
        Cell(
            f"redirect-{status}",
            f"paused: the url redirects ({status}) to https://elsewhere",
            WAITING,
            faults=always(status=status, location="https://elsewhere.example/push"),
        )
        for status in (301, 302, 303, 307, 308)
    ]
    + [
        Cell(
            "redirect-nowhere",
            "paused: the url redirects (304) to no text",
            WAITING,
            faults=always(status=304),
        ),
    ]
)

REFUSED = [
    Cell(
        f"{status}-everything",
        "paused: refused 1 devices in a row",
        WAITING,
        faults=always(status=status),
        settings="reject_limit = 1",
    )
    for status in (400, 402, 406, 409, 410, 415, 422, 431, 451)
] + [
    Cell(
        "poison",
        "1 dead letter, the newest: Databoom refuses it (400",
        ONE_DEAD,
        where=f"{SINK}/dead",
        faults={"poison": {2}},
        after=ONE_DEAD,
        recorded=(D1, D3),
        lasting="dead letter",
    ),
    Cell(
        "poison-signal",
        "dead letter",
        {"dead": 3},
        where=f"{SINK}/dead",
        faults={"poison": {"t"}},
        after={"dead": 3},
        recorded=(),
        lasting="dead letter",
    ),
]

TEMPORARY = [
    Cell(
        str(status),
        f"fails: Databoom cannot take it now ({status}",
        WAITING,
        faults=always(status=status),
    )
    for status in (408, 425, 429, 500, 501, 502, 503, 504, 507, 599)
] + [
    Cell("once", "ready", TAKEN, faults={"next": [Fault(status=503)]}, problem=False),
    Cell(
        "cut-before",
        "fails: Databoom cannot be reached: Server disconnected",
        WAITING,
        faults=always(cut="before"),
    ),
    Cell(
        "cut-after",
        "fails: Databoom cannot be reached: Server disconnected",
        WAITING,
        faults=always(cut="after"),
    ),
    Cell("slow", "ready", TAKEN, faults=always(delay=0.05), problem=False),
    Cell(
        "413-everything",
        "paused: refused 1 devices in a row",
        WAITING,
        faults=always(status=413),
        settings="reject_limit = 1",
        points=EACH,
        recorded=EACH,
    ),
]

RULES = [
    Cell(
        "device-unknown-400",
        "1 dead letter",
        ONE_DEAD,
        where=f"{SINK}/dead",
        rules={"unknown_device": 400},
        prepare=lambda world: world.emulator.cloud.add_device("d1"),
        after=ONE_DEAD,
        recorded=(D1, D2),
        lasting="dead letter",
    ),
    Cell(
        "trap-without-description",
        "ready",
        TAKEN,
        rules={"validation_trap": True},
        settings="meta = no",
        problem=False,
        recorded=(),
    ),
    Cell(
        "no-trap-without-description",
        "ready",
        TAKEN,
        rules={"validation_trap": False},
        settings="meta = no",
        problem=False,
    ),
    Cell(
        "server-elsewhere",
        "ready",
        TAKEN,
        rules={"server_zone": timezone(timedelta(hours=-9))},
        problem=False,
    ),
    Cell(
        "server-elsewhere-z",
        "ready",
        TAKEN,
        rules={"server_zone": timezone(timedelta(hours=5))},
        problem=False,
        settings="dates = Z",
    ),
    Cell("nothing-kept", "ready", TAKEN, rules={"keep_points": False}, problem=False),
    Cell(
        "413-small",
        "ready",
        TAKEN,
        rules={"most_bytes": 160},
        settings="meta = no\nform = history",
        problem=False,
        recorded=(),
    ),
    Cell(
        "413-single",
        "a single value is too large",
        {"dead": 3},
        where=f"{SINK}/dead",
        rules={"most_bytes": 50},
        after={"dead": 3},
        recorded=(),
        lasting="a single value is too large",
    ),
    Cell(
        "template-unknown-404",
        "paused: there is nothing at the url, or no device",
        WAITING,
        rules={"unknown_template": 404},
        settings="form = template\ntemplate = tpl",
        lift=lambda world: world.emulator.cloud.add_template("tpl", "t"),
        recorded=tuple((f"tpl-{device}", signal, value) for device, signal, value in ALL),
    ),
    Cell(
        "template-unknown-400",
        "paused: refused 1 devices in a row",
        WAITING,
        rules={"unknown_template": 400},
        settings="form = template\ntemplate = tpl\nreject_limit = 1",
        lift=lambda world: world.emulator.cloud.add_template("tpl", "t"),
        recorded=tuple((f"tpl-{device}", signal, value) for device, signal, value in ALL),
    ),
]

LIMITS = [
    Cell("413-for-many", "ready", TAKEN, rules={"most_bytes": 220}, problem=False),
    Cell(
        "texts-refused",
        "1 dead letter, the newest: Databoom refuses it (400",
        ONE_DEAD,
        where=f"{SINK}/dead",
        rules={"texts": False},
        settings="texts = send",
        points=(D1, D2, TEXT),
        after=ONE_DEAD,
        recorded=(D1, D2),
        lasting="dead letter",
    ),
    Cell(
        "texts-taken",
        "ready",
        TAKEN,
        rules={"texts": True},
        settings="texts = send",
        problem=False,
        points=(D1, D2, TEXT),
        recorded=(D1, D2, TEXT),
    ),
    Cell(
        "texts-left-out",
        "values left out because they are neither number nor boolean: 1",
        {"delivered": 2, "filtered": 1},
        rules={"texts": True},
        problem=False,
        points=(D1, D2, TEXT),
        where=f"{SINK}/left-out",
        after={"delivered": 2, "filtered": 1},
        recorded=(D1, D2),
    ),
    Cell(
        "signals-413",
        "ready",
        {"delivered": 1},
        rules={"most_signals": 2, "too_many": 413},
        together=True,
        points=FIVE,
        problem=False,
        after={"delivered": 1},
        recorded=FIVE,
    ),
    Cell(
        "signals-400",
        "too many signals",
        {"dead": 1},
        rules={"most_signals": 2, "too_many": 400},
        together=True,
        points=FIVE,
        where=f"{SINK}/dead",
        after={"dead": 1},
        recorded=(),
        lasting="too many signals",
    ),
    Cell(
        "signals-as-configured",
        "ready",
        {"delivered": 1},
        rules={"most_signals": 2, "too_many": 400},
        together=True,
        points=FIVE,
        settings="most_signals = 2",
        problem=False,
        after={"delivered": 1},
        recorded=FIVE,
    ),
    Cell(
        "clock-ahead",
        "this machine's clock is more than 60 s behind Databoom's",
        TAKEN,
        faults={"clock_skew": timedelta(seconds=90)},
        lasting="clock",
        where=f"{SINK}/clock",
    ),
    Cell(
        "clock-behind",
        "this machine's clock is more than 60 s ahead of Databoom's",
        TAKEN,
        faults={"clock_skew": timedelta(seconds=-90)},
        lasting="clock",
        where=f"{SINK}/clock",
    ),
    Cell(
        "clock-nearly-right",
        "ready",
        TAKEN,
        faults={"clock_skew": timedelta(seconds=50)},
        problem=False,
    ),
]

MAPS = [
    Cell(
        f"unmapped-{unmapped}",
        says,
        counted,
        settings=f"unmapped = {unmapped}\n[sink:databoom:devices]\nd1 = d1",
        where=f"{SINK}/dead" if lasting else SINK,
        problem=bool(lasting),
        after=counted,
        recorded=recorded,
        lasting=lasting,
    )
    for unmapped, says, counted, recorded, lasting in (
        ("send", "ready", TAKEN, ALL, ""),
        ("dead", "in no map and unmapped = dead", ONE_DEAD, (D1, D2), "in no map"),
        ("skip", "ready", {"delivered": 2, "filtered": 1}, (D1, D2), ""),
    )
]

pytestmark = [
    pytest.mark.slow,
    # httpx leaves the body of a request behind, where its connection breaks
    pytest.mark.filterwarnings("ignore:Async generator 'httpx._content.ByteStream:ResourceWarning"),
]

TABLE = [*ACCEPTED, *CREDENTIALS, *ADDRESS, *REFUSED, *TEMPORARY, *RULES, *LIMITS, *MAPS]


@pytest.mark.parametrize("cell", TABLE, ids=lambda cell: cell.name)
async def test_a_fault_is_said_and_nothing_is_lost(
    tmp_path: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture, cell: Cell
):
    caplog.set_level(logging.DEBUG)
    opened = open_world(
        tmp_path,
        mock_clock,
        faults=cell.faults,
        rules=cell.rules,
        settings=cell.settings,
        credential=cell.credential,
        tokens=cell.tokens,
    )
    async with opened as world:
        cell.prepare(world)
        await (world.emit_together if cell.together else world.emit)(*cell.points)
        await world.says(cell.where, cell.says, problem=cell.problem)
        await world.account(**cell.meanwhile)
        cell.lift(world)
        await world.account(**cell.after)
        if cell.lasting:
            await world.says(cell.where, cell.lasting, problem=True)
        else:
            await world.clean()
        assert set(world.recorded) == set(cell.recorded)
    world.audited(**cell.after)
    assert_no_canary(world, caplog.text)


def assert_no_canary(world: World, log: str) -> None:
    told = [state.text for state in world.board.states.values()]
    kept = b"".join(
        file.read_bytes() for file in (world.folder / "state").rglob("*") if file.is_file()
    )
    assert "canary" not in "".join([log, *told, repr(world.emulator.requests)])
    assert b"canary" not in kept

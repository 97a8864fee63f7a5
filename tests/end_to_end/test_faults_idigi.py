"""Every way in which Digi Remote Manager can misbehave, against the whole bridge.

A row of a table is one knob of the emulator: what becomes of the block that it hits, or
what the board says meanwhile. Then the knob is turned back. In the end everything is
stored, acknowledged and delivered, each once, and no problem is left. All connections
are TLS, for in clear text the board never is without a problem.
"""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from bridge.admin.control import ask
from bridge.api import Response
from bridge.testing.http_server import HangUp
from bridge_plugins.idigi.emulator.account import Monitor
from bridge_plugins.idigi.emulator.faults import (
    BlockFault,
    Faults,
    LoginFault,
    gateway_error,
    throttled,
)
from bridge_plugins.idigi.emulator.options import Options, Rate
from bridge_plugins.idigi.emulator.push.monitor import End
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator
from tests.end_to_end.daemon import BEGIN, Daemon
from tests.end_to_end.digi_peers import Authority, Rival, listening, serving_push

pytestmark = pytest.mark.slow

SOURCE = "source:gateways"
FIRST = 178008  # the id of the first monitor
SETTLED = 0.02  # seconds without any task running, before time passes
PROBE = 301.0  # seconds after which what only a person can mend is tried again
SILENCE = 901.0  # seconds of silence after which REST is asked
PATIENCE = 20.0  # seconds for anything that is waited for in the cloud, on a busy machine
LIMIT = "1MiB"

FORMATS = {
    "json": "",
    "xml": "format = xml",
    "template": "template = {{#each}}",
}


@define(eq=False)
class World:
    """A bridge and its cloud."""

    daemon: Daemon
    digi: Emulator
    authority: Authority
    published: list[int] = field(factory=list)
    """What happened, by the ids of the cloud's recorder."""

    def write(
        self,
        *settings: str,
        push_port: int | None = None,
        topics: str = "DataPoint",
        password: str = "pass",
    ) -> None:
        port = push_port or self.digi.push_port
        self.daemon.write(
            "\n".join(
                [
                    (
                        "[source:gateways]\nplugin = idigi\nusername = user\npassword = "
                        f"{password}\ntopics = {topics}"
                    ),
                    (
                        f"url = {self.digi.rest_url}\npush_port = {port}\nca_file = "
                        f"{self.authority.file}"
                    ),
                    (
                        "batch_duration = 0s\nretry_base = 20ms\nretry_cap = 50ms\ninflate_limit "
                        f"= {LIMIT}"
                    ),
                    *settings,
                ]
            )
        )

    @property
    def monitor(self) -> Monitor:
        """The only one."""
        (monitor,) = self.digi.account.monitors.values()
        return monitor

    async def happen(self, value: int) -> int:
        """Let something be measured; gives its id in the recorder."""
        entity = {
            "streamId": "d/level",
            "streamType": "LONG",
            "data": value,
            "timestamp": 1777881600000 + value,
        }
        event = await self.digi.publish("DataPoint/d/level", "DataPoint", entity)
        self.published.append(event)
        return event

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds in the cloud."""
        with trio.move_on_after(PATIENCE) as waiting:
            await self.digi.recorder.until(holds)
        assert not waiting.cancelled_caught, (self.digi.recorder, self.daemon.board.states)

    async def attached(self) -> None:
        """Wait for a session that both ends know of."""
        await self.daemon.says(SOURCE, "attached to monitor", problem=False)

    async def acknowledged(self) -> None:
        """Wait until all that happened is acknowledged."""
        await self.until(lambda: set(self.published) <= self.digi.recorder.acked)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass once everybody waits."""
        await wait_all_tasks_blocked(SETTLED)
        self.daemon.pass_time(seconds)

    def told(self, words: str) -> bool:
        """Tell whether the board has ever shown this of the source as a problem."""
        return any(
            name == SOURCE and problem and words in text
            for name, text, problem in self.daemon.board.told
        )

    async def was_told(self, words: str) -> None:
        await self.daemon.until(lambda: self.told(words))

    @property
    def values(self) -> list[Any]:
        return [reading.value for stored in self.daemon.kept for reading in stored.event.readings]

    @property
    def kinds(self) -> list[str]:
        return [stored.event.kind for stored in self.daemon.kept]

    async def ends_well(self, count: int) -> None:
        """Wait until so many events are delivered, all is acknowledged, and no problem
        is left.
        """
        await self.daemon.delivered(count)
        await self.acknowledged()
        await self.attached()
        await self.daemon.clean()
        assert self.digi.recorder.lost == set()
        assert (
            self.digi.recorder.short_acks
            == self.digi.recorder.stray_acks
            == self.digi.recorder.protocol_errors
            == 0
        )


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def world(
    tmp_path: Path, mock_clock: MockClock, authority: Authority
) -> AsyncIterator[World]:
    """Give a bridge that does not run yet.

    Only a test that asks for ``mock_clock`` itself is run by that clock.
    """
    daemon = Daemon(tmp_path, mock_clock)
    async with open_emulator(tls=authority.tls(), now=daemon.now) as digi:
        world = World(daemon, digi, authority)
        world.write()
        yield world


# Blocks


@frozen
class BlockRow:
    """What becomes of a block with a fault."""

    fault: BlockFault
    json: str
    """``read``: as ever. ``kept``: whole, as an event of kind ``undecodable``.
    ``both``: one of its own kind and one undecodable. ``twice``: two events. ``again``:
    the connection is closed, and it comes again.
    """
    xml: str
    template: str
    words: str = ""
    """What the event says that was kept, or the board when the connection is closed."""


BLOCKS = [
    BlockRow("gzip", "read", "read", "read"),
    BlockRow("raw-deflate", "kept", "kept", "kept", "cannot be decompressed"),
    BlockRow("corrupt", "kept", "kept", "kept", "compressed"),
    BlockRow("truncated", "kept", "kept", "kept", "the compressed payload is cut off"),
    BlockRow("trailing", "kept", "kept", "kept", "followed by 4 other bytes"),
    BlockRow("bomb", "kept", "kept", "kept", "longer than 1MiB when decompressed (inflate_limit)"),
    BlockRow("broken-json", "kept", "kept", "read", "is not JSON"),
    BlockRow("broken-xml", "kept", "kept", "read", "is not XML that can be read"),
    BlockRow("doctype", "kept", "kept", "read", "a DOCTYPE is not accepted"),
    BlockRow("not-utf8", "kept", "kept", "read", "the document is not"),
    BlockRow("deep", "kept", "kept", "read", "is not JSON"),
    BlockRow("long-number", "kept", "kept", "read", "is not JSON"),
    BlockRow("no-document", "kept", "kept", "read", "neither Document nor Msg nor topic"),
    BlockRow("not-an-object", "both", "read", "read", "an event is not an object"),
    BlockRow("bare-msg", "read", "read", "read"),
    BlockRow("bare-event", "read", "read", "read"),
    BlockRow("wrong-count", "read", "read", "read"),
    BlockRow("wrong-payload-size", "kept", "kept", "kept", "the block says that its payload has"),
    BlockRow("unknown-compression", "kept", "kept", "kept", "the block has compression 7"),
    BlockRow("unknown-format", "kept", "kept", "kept", "the block has format 9"),
    BlockRow("oversized", "again", "again", "again", "a frame of 4294967295 bytes was announced"),
    BlockRow("short-size", "kept", "kept", "kept", "the block has 4 bytes"),
    BlockRow("no-block-id", "again", "again", "again", "a block of 1 bytes has no id"),
    BlockRow("same-id", "read", "read", "read"),
    BlockRow("odd-id", "read", "read", "read"),
    BlockRow("repeated", "read", "read", "twice"),
    BlockRow("duplicate", "read", "read", "twice"),
    BlockRow("unknown-frame", "read", "read", "read"),
    BlockRow(
        "oversized-unknown", "again", "again", "again", "a frame of 4294967295 bytes was announced"
    ),
    BlockRow("second-answer", "again", "again", "again", "the server answered the login twice"),
    BlockRow("keep-alive", "read", "read", "twice"),
    BlockRow("keep-alive-text", "read", "read", "twice"),
    BlockRow("keep-alive-object", "read", "read", "twice"),
    BlockRow("keep-alive-list", "read", "read", "twice"),
]
# Where the fates are alike, the fault is in the frame, which is read before the
# document: one format is enough.
BLOCK_CELLS = [
    pytest.param(row, form, id=f"{row.fault}-{form}")
    for row in BLOCKS
    for form in FORMATS
    if form == "json" or not row.json == row.xml == row.template
]
OWN_KIND = {"json": "DataPoint", "xml": "DataPoint", "template": "templated"}


@pytest.mark.parametrize(("row", "form"), BLOCK_CELLS)
async def test_a_faulty_block_is_kept_or_comes_again(
    world: World, mock_clock: MockClock, row: BlockRow, form: str
):
    fate, own = getattr(row, form), OWN_KIND[form]
    world.digi.faults.blocks, world.digi.faults.bomb = [row.fault], 2 << 20
    world.write(FORMATS[form])
    expected = {
        "read": [own],
        "kept": ["undecodable"],
        "both": [own, "undecodable"],
        "twice": [own, own],
        "again": [own],
    }[fate]
    async with world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.daemon.delivered(len(expected))
        await world.acknowledged()
        await world.happen(2)
        await world.ends_well(len(expected) + 1)
    world.daemon.proved(len(expected) + 1)
    assert sorted(world.kinds) == sorted([*expected, own])
    if own == "DataPoint":
        assert world.values == ([2] if fate == "kept" else [1, 2])
    kept = [stored.event for stored in world.daemon.kept if stored.event.kind == "undecodable"]
    assert all(row.words in event.labels["reason"] for event in kept)
    assert all(b64decode(event.data["base64"])[:2] == b"\0\3" for event in kept if fate == "kept")
    assert world.told(row.words) is (fate == "again")
    assert world.digi.recorder.logins == (2 if fate == "again" else 1)


async def test_an_unreadable_block_may_wait_for_a_person(world: World, mock_clock: MockClock):
    world.write("undecodable = stop")
    world.digi.faults.blocks = ["broken-json"]
    async with world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.daemon.says(
            SOURCE, "a block was not acknowledged, it cannot be read", problem=True
        )
        await world.happen(2)
        assert world.digi.recorder.acked == set()
        await world.pass_time(PROBE)
        await world.ends_well(2)
    world.daemon.proved(2)
    assert world.values == [1, 2]


# Logins


@frozen
class LoginRow:
    """What the board says of a login with a fault."""

    faults: Faults
    words: str = ""
    """Empty: nothing, it is a session as any other."""
    passing: float = 0.0
    """Seconds that pass before the fault has its effect."""
    pause: float = 0.0
    """Seconds that pass before the next attempt."""

    @property
    def name(self) -> str:
        return "-".join(
            f"{name}={getattr(self.faults, name)}" for name in sorted(turned(self.faults))
        )


def turned(knobs: Any) -> set[str]:
    """Name the fields that are not at their default."""
    usual = type(knobs)()
    return {
        each.name
        for each in attrs.fields(type(knobs))
        if getattr(knobs, each.name) != getattr(usual, each.name)
    }


LOGINS = [
    LoginRow(
        Faults(login="silent"), "the login was not answered within 1m (answer_timeout)", passing=61
    ),
    LoginRow(Faults(login_delay=59), passing=59),
    LoginRow(
        Faults(login_delay=1000),
        "the login was not answered within 1m (answer_timeout)",
        passing=61,
    ),
    LoginRow(Faults(login="short"), "the answer to the login has 2 bytes, expected 4"),
    LoginRow(Faults(login="long")),
    LoginRow(Faults(login="twice"), "the server answered the login twice"),
    LoginRow(Faults(login="other-version")),
    LoginRow(Faults(login="block-first"), "the server sent a block before it answered the login"),
    LoginRow(Faults(login="unknown-first")),
    LoginRow(Faults(login="closed"), "the server closed the connection"),
    LoginRow(Faults(refuse=1), "the push port is not available (1)"),
    LoginRow(
        Faults(refuse=400), "refuses monitor 178008 (400), although the account has it", pause=PROBE
    ),
    LoginRow(
        Faults(refuse=401), "the push port refuses the login (401); correct username", pause=PROBE
    ),
    LoginRow(
        Faults(refuse=403), "the push port refuses the login (403); correct username", pause=PROBE
    ),
    LoginRow(
        Faults(refuse=404),
        "refuses monitor 178008 (404); look at it in the vendor's account",
        pause=PROBE,
    ),
    LoginRow(Faults(refuse=500), "the push port is not available (500)"),
    LoginRow(Faults(refuse=503), "the push port is not available (503)"),
    LoginRow(Faults(refuse=65535), "the push port is not available (65535)"),
    LoginRow(
        Faults(refuse=403, keep_refused=True), "the push port refuses the login (403)", pause=PROBE
    ),
    LoginRow(Faults(refuse=500, keep_refused=True), "the push port is not available (500)"),
]


@pytest.mark.parametrize("row", LOGINS, ids=lambda row: row.name)
async def test_a_login_that_goes_wrong_is_told_and_loses_nothing(
    world: World, mock_clock: MockClock, row: LoginRow
):
    async with world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.daemon.delivered(1)
        await world.acknowledged()
        world.digi.faults.sessions = [row.faults]
        world.digi.end_sessions()
        await world.until(lambda: world.digi.recorder.logins == 2)
        await world.happen(2)
        if row.passing:
            await world.pass_time(row.passing)
        if row.words:
            await world.was_told(row.words)
        if row.pause:
            assert world.digi.recorder.acked == {0}
            assert "trying again every 300 s" in world.daemon.board.states[SOURCE].text
            await world.pass_time(row.pause)
            away = "s away; what happened meanwhile was recorded by the monitor and is replayed"
            await world.daemon.says(SOURCE, away, problem=False)
            assert " after 5m" in world.daemon.board.states[SOURCE].text
        await world.ends_well(2)
    world.daemon.proved(2)
    assert world.values == [1, 2]
    assert world.digi.recorder.logins == (3 if row.words else 2)
    assert world.digi.recorder.replayed <= {1}


async def test_a_refused_login_is_not_hammered(world: World, mock_clock: MockClock):
    world.digi.faults.refuse = 403
    async with world.daemon.running():
        await world.daemon.says(SOURCE, "refuses the login (403)", problem=True)
        await world.pass_time(299)
        await wait_all_tasks_blocked(SETTLED)
        assert world.digi.recorder.logins == 1
        world.digi.faults.refuse = None
        await world.pass_time(2)
        await world.attached()
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)


# Drops


@frozen
class DropRow:
    drop: Any
    how: End
    words: str
    """What the board says of the end."""
    logins: int = 2


DROPS = [
    DropRow("before-ack", "close", "the server closed the connection"),
    DropRow("before-ack", "reset", "the connection to the push port broke"),
    DropRow("before-ack", "hold", "silence for 15m, and the server does not see us as attached"),
    DropRow("before-ack", "mute", ""),
    DropRow("after-ack", "close", "the server closed the connection"),
    DropRow("after-ack", "reset", "the connection to the push port broke"),
    DropRow("after-ack", "hold", "silence for 15m, and the server does not see us as attached"),
    DropRow("after-ack", "mute", ""),
    DropRow("mid-frame", "close", "the server closed the connection"),
    DropRow("mid-frame", "reset", "the connection to the push port broke"),
    DropRow("mid-frame", "hold", "silence for 15m, and the server does not see us as attached"),
    DropRow("mid-frame", "mute", ""),
]


@pytest.mark.parametrize("row", DROPS, ids=lambda row: f"{row.drop}-{row.how}")
async def test_a_session_that_breaks_loses_and_doubles_nothing(
    world: World, mock_clock: MockClock, row: DropRow
):
    async with world.daemon.running():
        await world.attached()
        world.digi.faults.drop, world.digi.faults.drop_how = row.drop, row.how
        await world.happen(1)
        if row.how in ("hold", "mute"):
            await wait_all_tasks_blocked(SETTLED)
            assert world.digi.faults.drop is None
            if row.drop != "mid-frame":
                await world.daemon.delivered(1)
            calls = len(world.digi.recorder.calls)
            await world.pass_time(SILENCE)
            await world.until(lambda: len(world.digi.recorder.calls) > calls)
        if (
            row.how == "mute"
        ):  # both REST and the socket say that all is well: only the service can end it
            await wait_all_tasks_blocked(SETTLED)
            assert world.digi.recorder.logins == 1
            world.digi.end_sessions()
        await world.until(lambda: world.digi.recorder.logins == row.logins)
        await world.happen(2)
        await world.ends_well(2)
    world.daemon.proved(2)
    assert world.values == [1, 2]
    assert world.digi.recorder.logins == row.logins
    if row.words:
        said = [text for name, text, _ in world.daemon.board.told if name == SOURCE]
        assert any(
            row.words in text or "the connection to the push port broke" in text for text in said
        ), said


async def test_a_templated_document_without_its_ack_comes_twice(
    world: World, mock_clock: MockClock
):
    world.write(FORMATS["template"])
    async with world.daemon.running():
        await world.attached()
        world.digi.faults.drop = "before-ack"
        await world.happen(1)
        await world.ends_well(2)
    world.daemon.proved(2)
    assert [stored.event.data for stored in world.daemon.kept] == 2 * [
        [
            {"streamId": "d/level", "streamType": "LONG", "data": 1, "timestamp": 1777881600001},
            {"end": 1},
        ]
    ]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_restart_of_the_service_is_survived_three_times(
    world: World, mock_clock: MockClock, how: End
):
    async with world.daemon.running():
        for number in range(3):
            await world.until(lambda number=number: world.digi.recorder.logins == number + 1)
            world.digi.end_sessions(how)
            await world.happen(number)
            await world.daemon.delivered(number + 1)
        await world.ends_well(3)
    world.daemon.proved(3)


# Sessions that are odd from their beginning


SESSIONS = [
    Faults(fragment=1),
    Faults(fragment=7, unknown_frames=True),
    Faults(coalesce=True),
    Faults(unknown_frames=True),
    Faults(gzip=True),
    Faults(strict_acks=True),
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("faults", SESSIONS, ids=lambda faults: "-".join(sorted(turned(faults))))
async def test_an_odd_session_brings_everything_in_order(
    world: World, mock_clock: MockClock, faults: Faults, form: str
):
    world.write("batch_size = 1", FORMATS[form])
    world.digi.faults.sessions = [faults]
    async with world.daemon.running():
        await world.attached()
        for number in range(5):
            await world.happen(number)
        await world.ends_well(5)
    world.daemon.proved(5)
    assert world.digi.recorder.logins == 1
    if form != "template":
        assert world.values == list(range(5))


# What nobody knows of the service


@frozen
class OptionRow:
    options: Options
    settings: str = ""
    events: int = 3


OPTIONS = [
    OptionRow(Options(unacked="keep", unacked_after=0.001)),
    OptionRow(Options(unacked="resend", unacked_after=0.02)),
    OptionRow(Options(window=1)),
    OptionRow(Options(block_ids="go-on")),
    OptionRow(Options(first_block_id=65534, skip_last_id=False)),
    OptionRow(Options(first_block_id=65534)),
    OptionRow(Options(idle_close=0.05)),
    OptionRow(Options(keep_alive=0.02)),
    OptionRow(Options(keep_alive=0.02), "format = xml"),
    OptionRow(Options(group=False)),
    OptionRow(Options(single_root=True)),
    OptionRow(Options(single_root=True), "format = xml"),
    OptionRow(Options(escaped_slashes=True)),
    OptionRow(Options(xml_encoding="iso-8859-1"), "format = xml"),
    OptionRow(Options(xml_encoding="utf-16"), "format = xml"),
    OptionRow(Options(template="broken"), FORMATS["template"]),
    OptionRow(Options(template="hello {{"), FORMATS["template"]),
    OptionRow(Options(push_key="Key abc")),
    OptionRow(Options(page_limit=1)),
    OptionRow(Options(rate=Rate(2, seconds=0.5, at_once=1, retry_after="1"))),
]


@pytest.mark.parametrize(
    "row", OPTIONS, ids=lambda row: "-".join([*sorted(turned(row.options)), row.settings[-3:]])
)
async def test_whatever_the_service_does_nothing_is_lost(
    world: World, mock_clock: MockClock, row: OptionRow
):
    world.write("batch_size = 1", row.settings)
    for name in turned(row.options):
        setattr(world.digi.options, name, getattr(row.options, name))
    async with world.daemon.running():
        await world.attached()
        for number in range(row.events):
            await world.happen(number)
        await world.daemon.delivered(row.events)
        world.digi.end_sessions()
        await world.happen(row.events)
        await world.ends_well(row.events + 1)
    world.daemon.proved(row.events + 1)
    if "template" not in row.settings:
        assert world.values == list(range(row.events + 1))


async def test_a_service_that_closes_at_a_late_ack_sends_again(world: World, mock_clock: MockClock):
    world.digi.options.unacked, world.digi.options.unacked_after = "close", 0.0001
    async with world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.daemon.delivered(1)
        world.digi.options.unacked_after = 60
        await world.ends_well(1)
    world.daemon.proved(1)


async def test_what_is_recorded_before_the_first_session_comes_too(
    world: World, mock_clock: MockClock
):
    world.digi.options.before_first_connect = "recorded"
    world.digi.faults.sessions = [Faults(refuse=500)] * 2
    async with world.daemon.running():
        await world.until(lambda: bool(world.digi.account.monitors))
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)


@pytest.mark.parametrize("option", ["withheld", "without-content"])
async def test_a_file_too_large_for_the_service_lacks_its_content(
    world: World, mock_clock: MockClock, option: Any
):
    world.write(topics="FileData")
    world.digi.options.large_files, world.digi.options.file_limit = option, 10
    async with world.daemon.running():
        await world.attached()
        file = {"id": {"fdPath": "/db/", "fdName": "a"}, "fdSize": 11, "fdData": "aGVsbG8gd29ybGQ="}
        event = await world.digi.publish("FileData/db/a", "FileData", file)
        if option == "withheld":
            assert world.digi.recorder.withheld == {event}
        else:
            world.published.append(event)
            await world.daemon.delivered(1)
            (stored,) = world.daemon.kept
            assert stored.event.labels["file.content"] == "missing: fdSize says 11 bytes"
        await world.ends_well(len(world.published))
    world.daemon.proved(len(world.published))


@pytest.mark.parametrize("option", ["replace", "refuse", "both"])
async def test_another_client_at_our_monitor_costs_nothing(
    world: World, mock_clock: MockClock, option: Any
):
    world.digi.options.second_session = option
    async with world.daemon.running():
        await world.attached()
        async with Rival.connected(world.digi, world.authority.client(), FIRST) as rival:
            assert await rival.status() == (400 if option == "refuse" else 200)
            if option == "replace":  # a ping-pong, with our pauses between
                await world.until(lambda: world.digi.recorder.logins >= 3)
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)
    assert not any(call.startswith(("PUT", "DELETE")) for call in world.digi.recorder.calls)


# REST


@frozen
class RestRow:
    answers: list[Response | HangUp]
    words: str = ""
    pause: float = 0.0
    """Seconds until the next attempt."""


def xml_error(text: str) -> Response:
    return Response(400, f"<result><error>{text}</error></result>".encode())


REST = {
    "401": RestRow(
        [Response(401, b"")], "refuses the login (401); correct username and password", PROBE
    ),
    "403": RestRow(
        [Response(403, b"")], "correct username and password, or give the user the right", PROBE
    ),
    "404": RestRow(
        [Response(404, b"")], "the server refuses GET /ws/Monitor (404); check url", PROBE
    ),
    "405": RestRow(
        [Response(405, b"")], "the server refuses GET /ws/Monitor (405); check url", PROBE
    ),
    "302": RestRow(
        [Response(302, b"", (("Location", "https://elsewhere.example/"),))],
        "(302); check url",
        PROBE,
    ),
    "408": RestRow([Response(408, b"")], "the REST API is not available (408)"),
    "429": RestRow([throttled()], pause=1),
    "429-five-times": RestRow([throttled("0")] * 5, "the account makes too many REST calls (429)"),
    "429-retry-after": RestRow(
        [throttled("30")], "the account makes too many REST calls (429)", 31
    ),
    "429-retry-after-nonsense": RestRow([throttled("soon")], pause=1),
    "500-html": RestRow([gateway_error(500)], "the REST API is not available (500)"),
    "502-html": RestRow([gateway_error(502)], "the REST API is not available (502)"),
    "503-html": RestRow([gateway_error(503)], "the REST API is not available (503)"),
    "503-retry-after": RestRow(
        [Response(503, b"", (("Retry-After", "20"),))], "the REST API is not available (503)", 21
    ),
    "504-html": RestRow([gateway_error(504)], "the REST API is not available (504)"),
    "hang-up": RestRow([HangUp()], "the REST API cannot be reached"),
    "html-with-200": RestRow([gateway_error(200)], "not JSON"),
    "not-json": RestRow([Response(200, b"{")], "the server's list of monitors is not JSON"),
    "no-list": RestRow([Response(200, b"{}")], "the server's list of monitors has no items"),
    "empty": RestRow([Response(200, b"")], "the server's list of monitors is not JSON"),
    "error-list-with-200": RestRow(
        [Response(200, b'{"error":["GET Monitor error. No."]}')], "No.", PROBE
    ),
    "error-list-with-400": RestRow(
        [Response(400, b'{"error":["GET Monitor error. No."]}')], "No.", PROBE
    ),
    "error-xml": RestRow([xml_error("GET Monitor error. No.")], "GET Monitor error. No.", PROBE),
    "topic": RestRow(
        [xml_error("Invalid request. Invalid monTopic specified")], "correct topics", PROBE
    ),
    "limit": RestRow(
        [xml_error("The limit of monitors is reached")], "no room for another monitor", PROBE
    ),
    "too-large": RestRow([Response(200, b" " * 70_000)], "larger than 65536 bytes (answer_limit)"),
}


@pytest.mark.parametrize("row", REST.values(), ids=REST.keys())
async def test_a_rest_call_that_fails_at_the_start_is_made_again(
    world: World, mock_clock: MockClock, row: RestRow
):
    world.write("answer_limit = 64KiB")
    world.digi.faults.rest = list(row.answers)
    async with world.daemon.running():
        await world.until(lambda: bool(world.digi.recorder.calls))
        if row.words:
            await world.was_told(row.words)
        if row.pause:
            await world.pass_time(row.pause)
        await world.attached()
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)
    assert len(world.digi.account.monitors) == 1  # whatever the answer was, it was no empty list


@pytest.mark.fact("Whatever REST answers while a session lives has no say in whether events come")
@pytest.mark.parametrize(
    "name", ["401", "404", "302", "500-html", "429-retry-after", "hang-up", "html-with-200"]
)
async def test_a_rest_api_that_fails_later_stops_no_events(
    world: World, mock_clock: MockClock, name: str
):
    async with world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.daemon.delivered(1)
        await world.acknowledged()
        world.digi.faults.rest = REST[name].answers * 20
        world.digi.end_sessions()
        await world.until(lambda: world.digi.recorder.logins == 2)
        await world.happen(2)
        await world.ends_well(2)
        calls = len(world.digi.recorder.calls)
        await world.pass_time(
            SILENCE
        )  # asked, it does not answer: that says nothing about the session
        await world.until(lambda: len(world.digi.recorder.calls) > calls)
        await world.happen(3)
        await world.ends_well(3)
        assert world.digi.recorder.logins == 2
    world.daemon.proved(3)


async def test_a_slow_rest_api_is_given_up_and_asked_again(world: World, mock_clock: MockClock):
    world.digi.faults.rest_delay = 1000
    async with world.daemon.running():
        await world.until(lambda: bool(world.digi.recorder.calls))
        await world.pass_time(31)
        await world.was_told("no answer of the REST API within 30 s (timeout)")
        world.digi.faults.rest_delay = 0
        await world.pass_time(31)  # for the call that began before
        await world.attached()
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)


async def test_a_slow_rest_api_holds_a_session_up_for_seconds_only(
    world: World, mock_clock: MockClock
):
    async with world.daemon.running():
        await world.attached()
        world.digi.faults.rest_delay = 1000
        calls = len(world.digi.recorder.calls)
        world.digi.end_sessions()
        await world.until(lambda: len(world.digi.recorder.calls) > calls)
        await world.pass_time(6)
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)


async def test_revoked_credentials_cost_nothing_and_are_never_shown(
    world: World, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    world.digi.account.password = canary = "canary-5309"
    world.write(password=canary)
    async with world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.daemon.delivered(1)
        await world.acknowledged()
        world.digi.account.password = "another"
        world.digi.end_sessions()
        await world.happen(2)
        await world.daemon.says(SOURCE, "the push port refuses the login (403)", problem=True)
        world.digi.account.password = canary
        await world.pass_time(PROBE)
        await world.ends_well(2)
    world.daemon.proved(2)
    shown = caplog.text + repr(world.daemon.board.told) + repr(world.daemon.kept)
    assert canary not in shown
    assert b64encode(f"user:{canary}".encode()).decode() not in shown


async def test_an_account_without_room_is_told_until_there_is_room(
    world: World, mock_clock: MockClock
):
    world.digi.faults.monitor_limit = 0
    async with world.daemon.running():
        await world.daemon.says(
            SOURCE, "delete one that is unused, see: bridged idigi monitors list", problem=True
        )
        world.digi.faults.monitor_limit = 1
        await world.pass_time(PROBE)
        await world.attached()
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)


# Somebody else at our monitor


@pytest.mark.fact("A live monitor that somebody deletes is made anew and its loss is said")
@pytest.mark.parametrize("status", [200, 400, 404])
async def test_a_deleted_monitor_is_made_anew_and_the_loss_told(
    world: World, mock_clock: MockClock, status: int
):
    world.digi.faults.unknown_monitor_status = status
    async with world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.daemon.delivered(1)
        await world.acknowledged()
        await world.digi.account.monitors.pop(FIRST).delete()
        await world.daemon.says(SOURCE, "attached to monitor 178009 at 127.0.0.1", problem=True)
        text = world.daemon.board.states[SOURCE].text
        assert (
            "monitor 178008 was gone, and with it what it had recorded; what happened since "
            "the last"
        ) in text
        await world.happen(2)
        await world.daemon.delivered(2)
        world.digi.end_sessions()  # said until the next session, which has lost nothing
        await world.ends_well(2)
    world.daemon.proved(2)


async def test_a_named_monitor_that_somebody_deletes_is_not_made_anew(
    world: World, mock_clock: MockClock
):
    world.digi.account.create(
        {
            "monTopic": "DataPoint",
            "monTransportType": "tcp",
            "monFormatType": "json",
            "monCompression": "zlib",
            "monBatchSize": "100",
            "monBatchDuration": "0",
            "monAckOption": "explicit",
            "monAutoReplayOnConnect": "true",
        }
    )
    world.write(f"monitor_id = {FIRST}")
    async with world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.daemon.delivered(1)
        gone = world.digi.account.monitors.pop(FIRST)
        await gone.delete()
        text = "the account has no monitor 178008; correct or remove monitor_id"
        await world.daemon.says(SOURCE, text, problem=True)
        gone._deleted = False
        world.digi.account.monitors[FIRST] = gone
        await world.pass_time(PROBE)
        await world.happen(2)
        await world.ends_well(2)
    world.daemon.proved(2)


async def test_a_put_by_somebody_else_that_changes_nothing_is_survived(
    world: World, mock_clock: MockClock
):
    async with world.daemon.running():
        await world.attached()
        await world.monitor.reset({})
        await world.until(lambda: world.digi.recorder.logins == 2)
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)


@pytest.mark.fact(
    "A PUT by somebody else on a live monitor is seen at the next session and said until it "
    "is undone"
)
async def test_a_put_by_somebody_else_is_told_until_it_is_undone(
    world: World, mock_clock: MockClock
):
    async with world.daemon.running():
        await world.attached()
        await world.monitor.reset({"monTopic": "DataPoint,FileData", "monAckOption": "off"})
        await world.daemon.says(
            SOURCE, "monTopic is 'DataPoint,FileData', expected 'DataPoint'", problem=True
        )
        text = world.daemon.board.states[SOURCE].text
        assert "somebody has changed it, and what it had recorded is gone" in text
        assert "monAckOption is 'off', expected 'explicit'; change it back, or the settings" in text
        await world.happen(1)
        await world.daemon.delivered(1)
        await world.monitor.reset({"monTopic": "DataPoint", "monAckOption": "explicit"})
        await world.until(lambda: world.digi.recorder.logins == 3)
        await world.happen(2)
        await world.ends_well(2)
    world.daemon.proved(2)


@pytest.mark.parametrize(("choice", "number"), [("update", FIRST), ("recreate", FIRST + 1)])
async def test_a_put_by_somebody_else_is_undone_if_the_settings_say_so(
    world: World, mock_clock: MockClock, choice: str, number: int
):
    world.write(f"on_difference = {choice}")
    async with world.daemon.running():
        await world.attached()
        await world.monitor.reset({"monTopic": "FileData"})
        await world.daemon.says(SOURCE, f"attached to monitor {number}", problem=True)
        await world.happen(1)
        await world.daemon.delivered(1)
        world.digi.end_sessions()
        await world.ends_well(1)
        assert (world.monitor.id, world.monitor.elements["monTopic"]) == (number, "DataPoint")
    world.daemon.proved(1)


# Histories


HISTORIES = [
    Options(),
    Options(page_limit=2),
    Options(page_limit=2, history_items="wrapped"),
    Options(page_limit=2, last_cursor="repeats"),
    Options(page_limit=2, last_cursor="empty-page"),
]


@pytest.mark.parametrize(
    ("options", "answer", "streams"),
    [(options, "", "") for options in HISTORIES]
    + [(Options(), answer, "") for answer in ("503-html", "429-retry-after", "401")]
    + [(Options(page_limit=2), "", "streams = d/level")],
    ids=lambda each: each if isinstance(each, str) else "-".join(["plain", *sorted(turned(each))]),
)
async def test_what_a_replay_has_lost_is_read_back_from_the_history(
    world: World, mock_clock: MockClock, options: Options, answer: str, streams: str
):
    world.write(f"backfill = {'no' if answer else 'yes'}\nbackfill_after = 10m", streams)
    for name in turned(options):
        setattr(world.digi.options, name, getattr(options, name))
    async with world.daemon.running():
        await world.attached()
        await world.happen(0)
        await world.daemon.delivered(1)
        await world.acknowledged()
    world.monitor.record_limit = 0
    for number in range(1, 6):
        world.daemon.pass_time(600)
        await world.happen(number)
    row = REST.get(answer, RestRow([]))
    async with world.daemon.running():
        await world.attached()
        world.digi.faults.rest = list(row.answers)
        # A point in the history of a stream has no envelope, and so another key than
        # the one that was pushed.
        count = 12 if streams else 6
        if answer:  # asked for when the answer lies ready; by itself it might be read before
            span = {
                "from": BEGIN.isoformat(),
                "to": world.daemon.now().isoformat(),
                "dry_run": False,
            }
            await ask(world.daemon.folder / "state" / "control.sock", SOURCE, "backfill", span)
        if row.pause:
            await world.daemon.until(
                lambda: "backfill " in world.daemon.board.states["source:gateways/gap"].text
            )
            await world.pass_time(row.pause)
        await world.daemon.says(
            "source:gateways/gap",
            "5 of them new" if not streams else "11 of them new",
            problem=False,
        )
        await world.daemon.delivered(count)
        await world.daemon.clean()
    world.daemon.proved(count)
    assert sorted(set(world.values)) == list(range(6))


# TLS


IMPOSTORS = {
    "another-host": (
        "elsewhere.example",
        "the certificate of the server is refused: IP address mismatch",
    ),
    "unknown-ca": ("", "the certificate of the server is refused: "),
}


@pytest.mark.parametrize("name", IMPOSTORS)
async def test_a_push_port_with_a_wrong_certificate_is_never_spoken_to(
    world: World, mock_clock: MockClock, name: str, tmp_path: Path
):
    host, words = IMPOSTORS[name]
    stranger = Authority.made(tmp_path)
    tls = world.authority.tls(host) if host else stranger.tls()
    async with serving_push(world.digi, tls) as port:
        world.write(push_port=port)
        async with world.daemon.running():
            await world.daemon.says(SOURCE, f"127.0.0.1:{port}: {words}", problem=True)
            await world.pass_time(PROBE)
            await wait_all_tasks_blocked(SETTLED)
            assert world.daemon.board.states[SOURCE].problem
            assert world.digi.recorder.logins == 0


async def test_a_certificate_that_is_mended_ends_the_problem(world: World, mock_clock: MockClock):
    async with world.daemon.running():
        pass
    async with serving_push(world.digi, world.authority.tls("elsewhere.example")) as port:
        world.write(push_port=port)
        async with world.daemon.running():
            await world.daemon.says(
                SOURCE, "the certificate of the server is refused", problem=True
            )
    async with serving_push(world.digi, world.authority.tls(), port=port), world.daemon.running():
        await world.attached()
        await world.happen(1)
        await world.ends_well(1)
    world.daemon.proved(1)


async def test_a_rest_api_with_a_wrong_certificate_hears_nothing(
    mock_clock: MockClock, tmp_path: Path, authority: Authority
):
    daemon = Daemon(tmp_path, mock_clock)
    async with open_emulator(tls=authority.tls("elsewhere.example"), now=daemon.now) as digi:
        world = World(daemon, digi, authority)
        world.write()
        async with daemon.running():
            await daemon.says(SOURCE, "the certificate of the REST API is refused", problem=True)
        assert (digi.recorder.calls, digi.recorder.logins) == ([], 0)


@pytest.mark.fact("A wrong certificate is a problem and the push port hears nothing in clear text")
@pytest.mark.parametrize("says", [b"\0\2\0\0\0\4\0\xc8\0\1", b"220 ready\r\n", b""])
async def test_a_push_port_in_clear_text_hears_no_password(
    world: World, mock_clock: MockClock, says: bytes
):
    async with listening(says) as peer:
        world.write("connect_timeout = 500ms", push_port=peer.port)
        async with world.daemon.running():
            await world.was_told(f"127.0.0.1:{peer.port}")
            await world.pass_time(PROBE)
            await wait_all_tasks_blocked(SETTLED)
        assert peer.heard.startswith(b"\x16\x03")  # a TLS handshake
        assert b"user" not in peer.heard
        assert b"pass" not in peer.heard


async def test_an_unserved_push_port_is_tried_until_it_is_served(
    world: World, mock_clock: MockClock
):
    async with serving_push(world.digi, world.authority.tls()) as port:
        pass
    world.write(push_port=port)
    async with world.daemon.running():
        await world.was_told(f"127.0.0.1:{port} cannot be reached")
        async with serving_push(world.digi, world.authority.tls(), port=port):
            await world.attached()
            await world.happen(1)
            await world.ends_well(1)
    world.daemon.proved(1)


# The tables are whole


def named(rows: Iterable[Any], attribute: str = "") -> set[str]:
    return set().union(*(turned(getattr(row, attribute) if attribute else row) for row in rows))


def test_every_fault_of_a_block_and_of_a_login_is_a_row():
    assert sorted(row.fault for row in BLOCKS) == sorted(get_args(BlockFault))
    assert {row.faults.login for row in LOGINS} == set(get_args(LoginFault))
    assert {row.how for row in DROPS} == set(get_args(End))


def test_every_knob_of_the_faults_is_turned_by_a_test():
    elsewhere = {
        "blocks",
        "bomb",
        "drop",
        "drop_how",
        "sessions",
        "rest",
        "rest_delay",
        "monitor_limit",
        "unknown_monitor_status",
    }
    assert named(LOGINS, "faults") | named(SESSIONS) | elsewhere == {
        each.name for each in attrs.fields(Faults)
    }


def test_every_option_of_the_service_is_turned_by_a_test():
    elsewhere = {"unacked", "second_session", "before_first_connect", "large_files", "file_limit"}
    assert named(OPTIONS, "options") | named(HISTORIES) | elsewhere == {
        each.name for each in attrs.fields(Options)
    }

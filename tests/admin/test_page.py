"""The status page: what a person sees who opens it in a browser."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import httpx
import pytest

from bridge.flow.ingest import Intake
from bridge.flow.problems import SINK_FAILS
from bridge.testing.memory import Cursor


class Look(HTMLParser):
    """What is on a page: the cells of each row, the items of lists, and the names of
    all elements.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.rows: list[list[str]] = []
        self.items: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.append(tag)
        self._inside = tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "li":
            self.items.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._inside in ("td", "th", "div"):
            self.rows[-1][-1] += data
        elif self._inside == "li":
            self.items[-1] += data

    def row(self, name: str) -> list[str]:
        (found,) = [cells[1:] for cells in self.rows if cells[0] == name]
        return found


async def look(client: httpx.AsyncClient) -> Look:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Look(answer.text)


async def test_a_bridge_without_trouble_says_so(bridge):
    async with bridge.browser() as client:
        page = await look(client)
    assert "No problems." in page.text
    assert "bridge office" in page.text
    assert "running since 2026-01-02 03:04:05" in page.text


async def test_every_source_is_a_row_with_what_it_brought(bridge):
    bridge.sources = {"sensors": "disruptive", "towers": "wattsense"}
    bridge.intakes["sensors"] = Intake(
        events=12345, refused=7, last=bridge.clock() - timedelta(seconds=90)
    )
    bridge.board.report("source:sensors")("receives on /disruptive")
    async with bridge.browser() as client:
        page = await look(client)
    assert page.row("sensors") == [
        "disruptive",
        "receives on /disruptive",
        "12,345",
        "7",
        "90 s ago",
    ]
    assert page.row("towers") == ["wattsense", "-", "0", "0", "-"]


async def test_a_gap_and_silent_devices_stand_below_the_state_of_their_source(bridge):
    bridge.sources = {"sensors": "disruptive"}
    bridge.board.report("source:sensors")("receives; ")
    bridge.board.report("source:sensors/gap")("gap 2 h 13 min, backfilling 41 devices; ")
    bridge.board.report("source:sensors/devices")("1 of 41 device is silent", problem=SINK_FAILS)
    async with bridge.browser() as client:
        page = await look(client)
    told = "receives; gap 2 h 13 min, backfilling 41 devices; 1 of 41 device is silent"
    assert page.row("sensors")[1] == told
    assert [item.split(" (")[0] for item in page.items] == [
        "source:sensors/devices: 1 of 41 device is silent"
    ]


async def test_a_concern_of_a_plugin_stands_below_the_state_of_its_sink_whatever_is_delivered(
    bridge,
):
    bridge.sinks = {"databoom": "databoom"}
    bridge.board.report("sink:databoom/plugin")(
        "; this machine's clock is wrong", problem=SINK_FAILS
    )
    bridge.board.report("sink:databoom")("delivers again")
    async with bridge.browser() as client:
        page = await look(client)
    assert page.row("databoom")[1] == "delivers again; this machine's clock is wrong"
    assert len(page.items) == 1


async def test_every_sink_is_a_row_with_its_balance(bridge):
    bridge.sinks = {"databoom": "databoom"}
    await bridge.begin("databoom")
    await bridge.store(1500)
    cursors = bridge.spool.cursors("databoom")
    (lane,) = [lane for lane in range(16) if bridge.spool.store.head(lane)]
    cursors[lane] = Cursor(0, 1300, filtered=200, dead=1, expired=2, again=3, delivered=1100)
    bridge.clock.move(timedelta(hours=5))
    bridge.board.report("sink:databoom")("ready")
    async with bridge.browser() as client:
        page = await look(client)
    assert page.row("databoom") == [
        "databoom",
        "ready",
        "1,500",
        "3",
        "1,100",
        "200",
        "1",
        "2",
        "200",
        "0",
        "5 h ago",
    ]


async def test_parked_devices_are_rows_with_their_cause(bridge):
    bridge.sinks = {"databoom": "databoom"}
    await bridge.park("databoom", "d1", why="404: no such device")
    async with bridge.browser() as client:
        page = await look(client)
    sink, device = [cells for cells in page.rows if cells[0] == "databoom"]
    assert sink[-2:] == ["1", "0 s ago"]
    assert device[1:] == ["d1", "1", "0 s ago", "in 1 min", "404: no such device"]


async def test_where_no_device_is_parked_there_is_no_such_table(bridge):
    bridge.sinks = {"databoom": "databoom"}
    await bridge.begin("databoom")
    async with bridge.browser() as client:
        assert "wait apart" not in (await look(client)).text


async def test_more_parked_devices_than_are_named_are_counted(bridge):
    bridge.sinks = {"databoom": "databoom"}
    await bridge.park("databoom", *(f"d{number}" for number in range(12)), why="404")
    async with bridge.browser() as client:
        page = await look(client)
    assert len([cells for cells in page.rows if cells[0] == "databoom"]) == 1 + 10
    assert "and 2 more: bridged parked" in page.text


async def test_a_problem_stands_at_the_top_with_the_day_since_when(bridge):
    bridge.sinks = {"databoom": "databoom"}
    bridge.board.report("sink:databoom")("paused: 401: the token is refused", problem=SINK_FAILS)
    bridge.clock.move(timedelta(days=30))
    async with bridge.browser() as client:
        page = await look(client)
    assert page.items == [
        "sink:databoom: paused: 401: the token is refused (since 2026-01-05 03:04:05) [sink-fails]"
    ]
    assert SINK_FAILS.remedy in page.text
    assert "No problems" not in page.text


async def test_a_problem_that_is_over_is_gone(bridge):
    report = bridge.board.report("sink:databoom")
    report("fails: connection refused", problem=SINK_FAILS)
    report("delivers again")
    async with bridge.browser() as client:
        assert (await look(client)).items == []


async def test_a_spool_that_takes_nothing_is_the_first_problem(bridge):
    bridge.board.report("sink:databoom")("fails", problem=SINK_FAILS)
    bridge.spool.refuse = "no room left in /var/lib/bridge/office"
    async with bridge.browser() as client:
        page = await look(client)
    assert page.items[0] == "spool: no room left in /var/lib/bridge/office"


async def test_a_sink_that_no_section_names_is_shown_as_orphaned_with_what_is_kept(bridge):
    await bridge.begin("former")
    await bridge.store(42)
    bridge.sinks = {"databoom": "databoom"}
    async with bridge.browser() as client:
        page = await look(client)
    kind, state, received, *_, pending, _parked, _oldest = page.row("former")
    assert (kind, received, pending) == ("-", "42", "42")
    assert state == "orphaned: no section names it; its events are kept"


async def test_a_disabled_sink_is_shown_but_not_as_orphaned(bridge):
    await bridge.begin("resting")
    bridge.configured = ("resting",)
    async with bridge.browser() as client:
        assert (await look(client)).row("resting")[:2] == ["-", "-"]


async def test_a_spool_that_cannot_be_read_is_shown_instead_of_an_error(bridge, unreadable):
    bridge.sinks = {"databoom": "databoom"}
    bridge.board.report("sink:databoom")("ready")
    bridge.spool = unreadable
    async with bridge.browser() as client:
        page = await look(client)
    assert page.items == ["spool: the spool is being opened again"]
    assert page.row("databoom") == ["databoom", "ready", *["-"] * 9]


@pytest.mark.parametrize(
    "place", ["source", "sink", "plugin", "state", "problem", "refusal", "instance"]
)
async def test_foreign_text_never_becomes_an_element_of_the_page(bridge, place: str):
    text = "<script>alert('1')</script><img src=x onerror=\"alert(2)\">&amp;"
    name = text if place in ("source", "sink") else "name"
    bridge.sources = {name: text if place == "plugin" else "kind"}
    await bridge.begin(name)
    bridge.board.report(f"source:{name}")(
        text if place == "state" else "fine", problem=SINK_FAILS if place == "problem" else None
    )
    if place == "problem":
        bridge.board.report(f"sink:{name}")(text, problem=SINK_FAILS)
    if place == "refusal":
        bridge.spool.refuse = text
    if place == "instance":
        bridge.instance = text
    async with bridge.browser() as client:
        page = await look(client)
    assert text in page.text
    assert not {"script", "img"} & set(page.elements)


async def test_the_page_is_only_to_be_looked_at(bridge):
    """No scripts, no forms, no links, nothing fetched; it cannot be put into another
    page, or be kept.
    """
    async with bridge.browser() as client:
        answer = await client.get("/")
    policy = answer.headers["content-security-policy"]
    assert re.search(r"default-src 'none'", policy)
    assert re.search(r"frame-ancestors 'none'", policy)
    assert "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not {"script", "form", "button", "a", "img", "link", "iframe"} & set(
        Look(answer.text).elements
    )


async def test_the_page_comes_again_by_itself(bridge):
    async with bridge.browser() as client:
        assert '<meta http-equiv="refresh" content="2">' in (await client.get("/")).text


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (timedelta(0), "0 s ago"),
        (timedelta(seconds=-5), "0 s ago"),
        (timedelta(seconds=119), "119 s ago"),
        (timedelta(seconds=120), "2 min ago"),
        (timedelta(hours=2), "2 h ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=2), "2 d ago"),
    ],
)
async def test_how_long_ago_is_said_in_one_unit(bridge, passed: timedelta, shown: str):
    bridge.sources = {"sensors": "disruptive"}
    bridge.intakes["sensors"] = Intake(events=1, last=bridge.clock() - passed)
    async with bridge.browser() as client:
        assert (await look(client)).row("sensors")[-1] == shown

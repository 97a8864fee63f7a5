"""Every way in which Wattsense's REST API can go wrong while the bridge reads back what
the webhook lost.

A row of a table is one fault: what the board says of the gap, and after how long the
next attempt is made. Once the fault is over the gap is read back by itself; where a
part was left out for good, a person asks for it. In the end every value is there once,
and no problem is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
import trio
from attrs import evolve, field, frozen
from trio.testing import MockClock

from bridge.admin.control import ask
from bridge.api import RECOVERED
from bridge_plugins.wattsense.emulator.options import RestOptions, WebhookOptions
from bridge_plugins.wattsense.emulator.rest import RestService, Trouble, open_rest_service
from tests.end_to_end.daemon import Daemon
from tests.end_to_end.towers import Site, calling, section

pytestmark = pytest.mark.slow

RATE = 4.0  # seconds of the bridge in one of ours
PATIENT = WebhookOptions(framing="array", retries=0, timeout=60.0)
KEY = "rest-key"
REST_SECRET = "hunter2-rest"
USUAL = RestOptions(key=KEY, secret=REST_SECRET)
DEVICES = ("tower-1", "tower-2")
LOST = 4
SOON = 7.0  # seconds: longer than the first pause, and than that between two lists of devices
PROBE = 301.0  # seconds: a history that needs a person is tried again every five minutes
WINDOW = 301.0  # seconds: the limits of the API count requests of five minutes
LEFT_OUT = -1.0
"""There is no other attempt: a person has to ask."""


@pytest.fixture
def daemon(tmp_path: Path, mock_clock: MockClock) -> Daemon:
    """Return a bridge whose pauses between requests are short, in a test that asks for
    ``mock_clock``.
    """
    daemon = Daemon(tmp_path, mock_clock)
    mock_clock.rate = RATE
    return daemon


@asynccontextmanager
async def gap(
    daemon: Daemon, log: pytest.LogCaptureFixture, options: RestOptions = USUAL, settings: str = ""
) -> AsyncIterator[tuple[Site, RestService]]:
    """Let the webhook lose values while the bridge is down; the caller starts it."""
    async with (
        calling(daemon, log, "github", options=PATIENT) as site,
        open_rest_service(site.cloud.store, options, now=daemon.now) as rest,
    ):
        daemon.write(
            section(
                "github",
                f"url = {rest.url}\nrest_key = {KEY}\nrest_secret = {REST_SECRET}\n{settings}",
            ),
            listener="commit_timeout = 10m",
        )
        async with daemon.running():
            for device in DEVICES:
                await site.publish(1, device=device)
            await site.settled()
        site.cloud.options = evolve(PATIENT, lost=1)
        for device in DEVICES:
            await site.publish(2, 3, device=device)
        assert len(site.cloud.given_up) == LOST
        site.cloud.options = PATIENT
        daemon.pass_time(120)
        yield site, rest


async def read_back(daemon: Daemon, site: Site) -> None:
    """Wait until the gap is closed."""
    await site.settled()
    # A second gap, of a restart, may be read back before this one is looked at.
    await daemon.until(
        lambda: any(
            place == "source:towers/gap" and f"{LOST} of them new" in text and not problem
            for place, text, problem in daemon.board.told
        )
    )
    await daemon.clean()


async def ask_for(daemon: Daemon) -> None:
    """Do what ``bridged wattsense backfill`` does."""
    span = {"from": (daemon.now() - timedelta(hours=1)).isoformat(), "to": daemon.now().isoformat()}
    await ask(
        daemon.folder / "state" / "control.sock",
        "source:towers",
        "backfill",
        span | {"dry_run": False},
    )


# ---- one answer that is not as it should be


@frozen
class Answered:
    """A row: what becomes of one request, of the list of devices or of a page of
    values.
    """

    trouble: Trouble
    says: str
    listed: float
    """Seconds until the next attempt, where it was the list of devices."""
    paged: float
    """The same, where it was a page."""
    problem: bool = False
    settings: str = ""
    options: RestOptions = USUAL
    says_of_list: str = ""
    also: str = ""


def pause(trouble: Trouble, says: str, **more: Any) -> Answered:
    """Nothing goes until a person acts."""
    return Answered(trouble, says, PROBE, PROBE, problem=True, **more)


def retry(trouble: Trouble, says: str, after: float = SOON, **more: Any) -> Answered:
    """It may pass."""
    return Answered(trouble, says, after, after, **more)


def refusal(trouble: Trouble, says: str, **more: Any) -> Answered:
    """The device is left out, the others are read; without a list of devices nothing
    is.
    """
    return Answered(
        trouble,
        says,
        PROBE,
        LEFT_OUT,
        problem=True,
        says_of_list="the list /v1/devices cannot be read",
        **more,
    )


NOT_AVAILABLE = "the REST API is not available"
NO_MORE = "the REST API allows no more requests now (429)"
QUIET = evolve(USUAL, retry_after=None)

SHORT = {"settings": "timeout = 2s"}
TIMEOUT = "no answer of the REST API within 2 s (timeout)"

ANSWERED = [
    pause(301, "redirects (301) to another address, which is not followed; correct url"),
    pause(302, "redirects (302)"),
    pause(303, "redirects (303)"),
    pause(307, "redirects (307)"),
    pause(308, "redirects (308)"),
    pause("redirect", "redirects (301) to https://elsewhere.example.com/v1/devices"),
    refusal(400, "refuses the request (400)"),
    pause(
        401,
        "refuses the credentials (401); check rest_key, rest_secret, rest_auth and the clock",
    ),
    pause(403, "refuses the credentials (403)"),
    refusal(404, "knows no such device or property (404)"),
    refusal(405, "refuses the request (405)"),
    pause(407, "refuses the request (407); check url and proxy"),
    retry(408, f"{NOT_AVAILABLE} (408)"),
    refusal(410, "refuses the request (410)"),
    refusal(422, "refuses the request (422)"),
    retry(425, f"{NOT_AVAILABLE} (425)"),
    retry(429, NO_MORE),
    retry(429, NO_MORE, 121, options=evolve(USUAL, retry_after=120), also="two-minutes"),
    retry(429, NO_MORE, WINDOW, options=QUIET, also="without-retry-after"),
    retry(500, f"{NOT_AVAILABLE} (500)"),
    retry(502, f"{NOT_AVAILABLE} (502)"),
    retry(503, f"{NOT_AVAILABLE} (503)"),
    retry(
        503, f"{NOT_AVAILABLE} (503)", 61, options=evolve(USUAL, retry_after=60), also="a-minute"
    ),
    retry(504, f"{NOT_AVAILABLE} (504)"),
    retry("slow", TIMEOUT, **SHORT),
    retry("slow", TIMEOUT, options=evolve(USUAL, slowness=3.0), also="three-seconds", **SHORT),
    retry("cut", "the REST API cannot be reached"),
    retry("half", "is not JSON"),
    retry("not-json", "an answer of the REST API (200) is not JSON"),
    refusal("not-array", "is JSON, but not the array that was expected"),
]


@pytest.mark.fact(
    "REST: every status, slow, cut, half and wrong answers delay a backfill and lose nothing",
)
@pytest.mark.parametrize("hit", ["list", "page"])
@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: f"{row.trouble}-{row.also}".rstrip("-"))
async def test_an_answer_that_is_none_delays_and_loses_nothing(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture, row: Answered, hit: str
):
    async with gap(daemon, caplog, row.options, row.settings) as (site, rest):
        rest.troubles = [row.trouble] if hit == "list" else [None, row.trouble]
        wait, says = (
            (row.listed, row.says_of_list or row.says) if hit == "list" else (row.paged, row.says)
        )
        async with daemon.running():
            await daemon.says("source:towers/gap", says, problem=row.problem)
            await site.publish(4)  # live values do not wait for the history
            if wait == LEFT_OUT:
                assert (
                    f"{LOST // 2} of them new; not read: tower-1"
                    in daemon.board.states["source:towers/gap"].text
                )
                await ask_for(daemon)
                await daemon.says(
                    "source:towers/gap", "asked for: read back 2 devices", problem=False
                )
                await site.settled()
                await daemon.clean()
            else:
                if wait > SOON:
                    asked = len(rest.served)
                    await trio.testing.wait_all_tasks_blocked(0.02)
                    daemon.pass_time(SOON)
                    await trio.testing.wait_all_tasks_blocked(0.02)
                    assert len(rest.served) == asked, "asked again too soon"
                daemon.pass_time(wait)
                await read_back(daemon, site)
        site.proved()
        check_marks(daemon)


def check_marks(daemon: Daemon) -> None:
    """Check that what was read back, and nothing else, is marked as such."""
    marked = [
        stored.event.readings[0].value for stored in daemon.kept if RECOVERED in stored.event.labels
    ]
    assert sorted(marked) == [2, 2, 3, 3]


# ---- an API that is as no other


@frozen
class Api:
    """A row: how the API is, with which settings it is read, and what is said if it
    cannot be.
    """

    options: RestOptions
    settings: str = ""
    says: str = ""
    problem: bool = True
    wait: float = PROBE
    left_out: bool = False
    also: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        return "-".join([*changed(self.options), self.also])


def changed(options: RestOptions) -> list[str]:
    names = (option.name for option in attrs.fields(RestOptions))
    return [name for name in names if getattr(options, name) != getattr(USUAL, name)]


SMALL = evolve(USUAL, page_size=1)
BASIC = "rest_auth = basic"
NAMED = "rest_devices = tower-1, tower-2"

APIS = [
    Api(USUAL, also="as-ever"),
    Api(USUAL, "rest_parts = points", also="by-points"),
    Api(USUAL, NAMED, also="named"),
    Api(USUAL, "page_size = 1", also="pages-of-one"),
    Api(SMALL),
    Api(evolve(SMALL, links="relative"), NAMED),
    Api(evolve(SMALL, order="descending"), NAMED),
    Api(evolve(SMALL, order="shuffled"), NAMED),
    Api(evolve(SMALL, sparse=True), NAMED),
    Api(evolve(USUAL, empty="no-body")),
    Api(evolve(USUAL, empty="array")),
    Api(evolve(USUAL, needs_property=True), "rest_parts = points"),
    Api(USUAL, BASIC, also="basic"),
    Api(evolve(USUAL, basic=False), BASIC, "refuses the credentials (401)"),
    Api(evolve(USUAL, key="another"), "", "refuses the credentials (401)"),
    Api(evolve(USUAL, secret="another"), "", "refuses the credentials (401)"),
    Api(evolve(USUAL, skew=-1.0), "", "refuses the credentials (401)"),
    Api(
        evolve(USUAL, needs_property=True),
        "",
        "refuses the request (400)",
        left_out=True,
        also="by-devices",
    ),
    Api(
        evolve(SMALL, link_fault="foreign"),
        "",
        "names a next page at https://api.example.com/v1/devices, which is not",
    ),
    Api(
        evolve(SMALL, link_fault="loop"),
        "rest_devices = tower-1, tower-2",
        "the vendor's pages go round in circles",
        left_out=True,
    ),
    Api(
        evolve(SMALL, link_fault="loop"),
        "",
        "the list /v1/devices gives the same next page a second time",
        also="of-devices",
    ),
    Api(evolve(USUAL, requests=2), "", NO_MORE, problem=False, wait=SOON),
    Api(evolve(USUAL, requests=0, retry_after=None), "", NO_MORE, problem=False, wait=WINDOW),
]


@pytest.mark.fact(
    "REST: links, orders, empty answers, limits, credentials, clock skew: read, or said to "
    "need a person"
)
@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
async def test_an_api_that_is_otherwise_is_read_or_needs_a_person(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture, api: Api
):
    async with gap(daemon, caplog, api.options, api.settings) as (site, rest):
        async with daemon.running():
            if api.options.page_size == 1 and api.settings != NAMED:
                await trio.testing.wait_all_tasks_blocked(0.05)
                daemon.pass_time(SOON)  # between two pages of the list of devices
            if api.says:
                await daemon.says("source:towers/gap", api.says, problem=api.problem)
                rest.options = USUAL
                await site.publish(4)
                if api.left_out:
                    await ask_for(daemon)
                else:
                    daemon.pass_time(api.wait)
            await site.settled()
            await daemon.says("source:towers/gap", " of them new", problem=False)
            await daemon.clean()
        site.proved()
        check_marks(daemon)
        assert not any("/configs/" in target for target, _ in rest.served)


async def test_a_gap_of_a_bridge_without_a_key_is_said_to_be_lost(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    async with gap(daemon, caplog) as (_site, _rest):
        daemon.write(section("github"))
        async with daemon.running():
            await daemon.says(
                "source:towers/gap", "rest_key and rest_secret are not set", problem=True
            )


async def test_an_answer_that_is_too_large_is_read_once_allowed(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    async with gap(daemon, caplog, settings="answer_limit = 1KiB") as (site, _rest):
        for item in site.cloud.store.items[DEVICES[0]]:
            item["name"] = "x" * 1024
        async with daemon.running():
            await daemon.says(
                "source:towers/gap",
                "ask for less by page_size, or allow more by answer_limit",
                problem=True,
            )
        config = daemon.folder / "bridge.ini"
        config.write_text(config.read_text().replace("answer_limit = 1KiB", ""))
        async with daemon.running():
            await read_back(daemon, site)
        site.proved()
        check_marks(daemon)


async def test_a_backfill_cut_by_a_restart_goes_on_where_it_was(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    async with gap(daemon, caplog, SMALL, "rest_devices = tower-1, tower-2") as (site, rest):
        rest.troubles = [None] * 5 + [500] * 100
        async with daemon.running():
            await daemon.says("source:towers/gap", NOT_AVAILABLE, problem=False)
        rest.troubles = []
        rest.served.clear()
        async with daemon.running():
            await site.settled()
            await daemon.says("source:towers/gap", "of them new", problem=False)
        site.proved()
        check_marks(daemon)


def test_every_option_of_the_api_is_used_somewhere():
    used = {name for row in [*APIS, *ANSWERED] for name in changed(row.options)}
    assert used == {option.name for option in attrs.fields(RestOptions)}
    _, words = get_args(Trouble)
    assert {row.trouble for row in ANSWERED if isinstance(row.trouble, str)} == set(get_args(words))

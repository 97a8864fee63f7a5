"""From a request to an answer that may be believed."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import trio

from bridge.api import Accepted, Event, HttpRejection, Request, Response, SpoolUnavailable
from bridge.http.routes import Routes
from bridge.http.webhooks import webhooks

EVENTS = tuple(
    Event(key, "device", "temperature", datetime(2025, 1, 1, tzinfo=UTC)) for key in "ab"
)
SECRET_REASON = "the signature does not match the body"


class FakeOutlet:
    """Remembers events; ``trouble`` happens instead of storing."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.delay = 0.0
        self.trouble: Exception | None = None

    async def emit(self, *events: Event) -> None:
        await trio.sleep(self.delay)
        if self.trouble is not None:
            raise self.trouble
        self.events += events


class Site:
    """A listener with one source, ``sensors``, mounted on ``/sensors``."""

    def __init__(self) -> None:
        self.outlet = FakeOutlet()
        self.receive: Callable[[Request], Accepted] = lambda _request: Accepted(EVENTS)
        self.routes = Routes()
        self.routes.declare("/sensors", "sensors")
        self.handle = webhooks(self.routes, commit_timeout=8.0, name="public")
        mount = self.routes.mounting("sensors", self.outlet)
        self.mounted = mount(
            "/sensors", lambda request: self.receive(request), methods=("POST", "GET")
        )

    async def ask(self, method: str = "POST", path: str = "/sensors") -> Response:
        return await self.handle(Request(method, path, "token=x", {}, b"{}", "203.0.113.9"))


@pytest.fixture
def site():
    site = Site()
    with site.mounted:
        yield site


def header(answer: Response, name: str) -> str | None:
    return dict(answer.headers).get(name)


async def test_the_answer_comes_after_the_events_are_stored(site):
    site.receive = lambda _request: Accepted(EVENTS, Response(202, b"thanks"))
    assert await site.ask() == Response(202, b"thanks")
    assert site.outlet.events == list(EVENTS)


async def test_a_request_without_events_is_answered_without_the_spool(site):
    site.outlet.trouble = SpoolUnavailable("spool: full")
    site.receive = lambda _request: Accepted()
    assert (await site.ask()).status == 200


async def test_an_unknown_path_is_404_and_the_log_names_the_known_ones(site, caplog):
    caplog.set_level(logging.INFO)
    assert (await site.ask(path="/sensros")).status == 404
    assert "/sensros" in caplog.text
    assert "there are: /sensors" in caplog.text
    assert "token" not in caplog.text


async def test_a_source_that_is_restarting_asks_to_try_again():
    site = Site()
    answer = await site.ask()
    assert answer.status == 503
    assert header(answer, "Retry-After") == "10"


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "DELETE"])
async def test_a_wrong_method_hears_which_are_allowed(site, method):
    answer = await site.ask(method)
    assert answer.status == 405
    assert header(answer, "Allow") == "GET, HEAD, POST"


async def test_head_is_answered_where_get_is(site):
    assert (await site.ask("HEAD")).status == 200


async def test_why_a_request_is_refused_is_for_the_log_only(site, caplog):
    def refuse(_request):
        raise HttpRejection(401, SECRET_REASON, headers=(("WWW-Authenticate", "Bearer"),))

    site.receive = refuse
    answer = await site.ask()
    assert (answer.status, answer.body) == (401, b"401 Unauthorized\n")
    assert header(answer, "WWW-Authenticate") == "Bearer"
    assert caplog.messages == [
        f"sensors: refused a request from 203.0.113.9 (401): {SECRET_REASON}"
    ]
    assert site.outlet.events == []


async def test_a_refusal_can_say_when_to_come_back(site):
    def refuse(_request):
        raise HttpRejection(429, "too many", retry_after=2.5)

    site.receive = refuse
    assert header(await site.ask(), "Retry-After") == "3"


async def test_a_refusal_of_the_spool_is_answered_503_with_its_time(site, caplog):
    site.outlet.trouble = SpoolUnavailable("spool: no room left", retry_after=30)
    answer = await site.ask()
    assert answer.status == 503
    assert header(answer, "Retry-After") == "30"
    assert b"room" not in answer.body
    assert "no room left" in caplog.text


async def test_a_slow_disk_is_answered_503_in_time(site, autojump_clock):
    site.outlet.delay = 8.1
    start = trio.current_time()
    answer = await site.ask()
    assert answer.status == 503
    assert header(answer, "Retry-After") is not None
    assert trio.current_time() - start == pytest.approx(8)


async def test_a_disk_that_is_just_fast_enough_is_waited_for(site, autojump_clock):
    site.outlet.delay = 7.9
    assert (await site.ask()).status == 200


@pytest.mark.parametrize("where", ["receive", "emit", "not accepted"])
async def test_a_mistake_in_a_plugin_is_500_with_a_logged_traceback(site, caplog, where):
    def fail(_request):
        raise KeyError("no such field")

    if where == "receive":
        site.receive = fail
    elif where == "emit":
        site.outlet.trouble = ExceptionGroup("several", [KeyError("no such field")])
    else:
        site.receive = lambda _request: None
    answer = await site.ask()
    assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
    assert "Traceback" in caplog.text
    assert caplog.messages[0].startswith("sensors: a request from 203.0.113.9 was answered 500")


async def test_a_flood_of_refusals_makes_a_line_a_minute(site, caplog, autojump_clock):
    def refuse(_request):
        raise HttpRejection(401, SECRET_REASON)

    accept, site.receive = site.receive, refuse
    for _ in range(100):
        await site.ask()
    assert len(caplog.messages) == 1
    await trio.sleep(61)
    site.receive = accept
    await site.ask()
    assert len(caplog.messages) == 2
    assert "98 more alike" in caplog.messages[1]

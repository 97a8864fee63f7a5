"""The REST calls: what is sent, what an answer means, and how often a throttled call is
tried.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Pause, Request, Response, Retry, Secret, Size, Url
from bridge.testing.http_server import HangUp, serve_http
from bridge_plugins.idigi.documents.safe_xml import parse_xml
from bridge_plugins.idigi.rest.answers import (
    CallRefused,
    Listing,
    MonitorLimit,
    error_text,
    names_no_monitor,
    read_listing,
)
from bridge_plugins.idigi.rest.monitor_api import MonitorApi, open_api
from bridge_plugins.idigi.settings import Settings
from tests.plugins.idigi.conftest import NOW, answering_api

EMPTY = {"resultTotalRows": "0", "resultSize": "0", "remainingSize": "0", "items": []}


@asynccontextmanager
async def answering(
    answer: Callable[[Request], Response], **changes: Any
) -> AsyncIterator[MonitorApi]:
    """The API against a server on loopback that answers as a test says."""

    async def handle(request: Request) -> Response:
        return answer(request)

    async with serve_http(handle) as url:
        settings = Settings(
            url=Url(url),
            insecure=True,
            username="user",
            password=Secret("pass"),
            answer_limit=Size(4096),
            **changes,
        )
        async with open_api(settings, lambda: NOW) as api:
            yield api


class Scripted:
    """An API whose answers are given one after the other, the last one for ever."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.times: list[float] = []

    async def list_tcp(self) -> list[dict[str, str]]:
        async with answering_api(self._answer) as api:
            return await api.list_tcp()

    def _answer(self, _request: httpx.Request) -> httpx.Response:
        self.times.append(trio.current_time())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


def throttled(wait: str | None = None) -> httpx.Response:
    return httpx.Response(429, headers={} if wait is None else {"Retry-After": wait})


@pytest.mark.fact("429: five tries, 1 s growing by half")
async def test_a_throttled_call_is_tried_five_times(
    autojump_clock: Any,
) -> None:
    server = Scripted(throttled())
    with pytest.raises(Retry, match=r"too many REST calls \(429\)") as caught:
        await server.list_tcp()
    assert server.pauses == pytest.approx([1.0, 1.5, 2.25, 3.375])
    assert caught.value.after is None


@pytest.mark.fact("429: Retry-After is honoured")
async def test_a_throttled_call_succeeds_as_soon_as_the_server_lets_it(autojump_clock: Any) -> None:
    server = Scripted(throttled("7"), throttled(), httpx.Response(200, json=EMPTY))
    assert await server.list_tcp() == []
    assert server.pauses == pytest.approx([7.0, 1.5])


@pytest.mark.fact("429: a long Retry-After is waited for between attempts")
async def test_a_long_retry_after_is_left_to_the_caller(
    autojump_clock: Any,
) -> None:
    server = Scripted(throttled("17"))
    with pytest.raises(Retry) as caught:
        await server.list_tcp()
    assert caught.value.after == 17
    assert server.pauses == []


@pytest.mark.fact("HTML with 502, 503 or 504 is an outage and is never parsed or shown")
@pytest.mark.parametrize("status", [502, 503, 504])
async def test_the_html_of_a_gateway_is_an_outage_and_is_not_shown(status: int) -> None:
    page = Response(
        status,
        b"<html><h1>Bad day</h1></html>",
        (("Content-Type", "text/html"), ("Retry-After", "9")),
    )
    async with answering(lambda _request: page) as api:
        for call in (api.list_tcp(), api.read(5), api.delete(5), api.create({}), api.update(5, {})):
            with pytest.raises(Retry) as caught:
                await call
            assert caught.value.why == f"the REST API is not available ({status})"
            assert caught.value.after == 9


LATIN_1 = b"<?xml version='1.0' encoding='ISO-8859-1'?><result><error>Gr\xfcn</error></result>"


@pytest.mark.fact("A REST answer above its cap fails the call")
@pytest.mark.fact("429, HTML and error bodies")
@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (Response(302, b"", (("Location", "https://elsewhere/"),)), Pause, "check url"),
        (Response(404, b"<html>no such page</html>"), Pause, "check url"),
        (
            Response(400, b"<result><error>Odd &amp; new</error></result>"),
            Pause,
            "(400: Odd & new); check url",
        ),
        (Response(400, LATIN_1), Pause, "(400: Grün)"),
        (
            Response(200, b'{"error":["GET Monitor error. Something else"]}'),
            Pause,
            "Something else",
        ),
        (Response(200, b'{"error":"one text"}'), Pause, "one text"),
        (Response(200, b"<result><error>in XML</error></result>"), Pause, "in XML"),
        (Response(200, b"<html>welcome</html>"), Retry, "not JSON, and not the XML of the service"),
        (Response(200, b"<html>welcome<br></html>"), Retry, "not JSON, and not XML"),
        (Response(200, b"<result/>"), Retry, "not the XML of the service"),
        (
            Response(200, b"<page><resultSize>0</resultSize></page>"),
            Retry,
            "not the XML of the service",
        ),
        (Response(200, b'{"items":'), Retry, "not JSON"),
        (Response(200, b"[]"), Retry, "no items"),
        (Response(200, b"{}"), Retry, "no items"),
        (Response(200, b""), Retry, "not JSON"),
        (Response(200, b" " * 5000), Retry, "larger than 4096 bytes (answer_limit)"),
        (Response(408, b""), Retry, "not available (408)"),
    ],
)
async def test_an_answer_that_is_no_list_is_no_empty_list(
    answer: Response, verdict: type[Pause | Retry], words: str
) -> None:
    async with answering(lambda _request: answer) as api:
        with pytest.raises(verdict) as caught:
            await api.list_tcp()
    assert words in caught.value.why


XML_LIST = b"""<?xml version="1.0" encoding="ISO-8859-1"?>
<result><resultTotalRows>3</resultTotalRows><requestedStartRow>0</requestedStartRow><resultSize>2</resultSize>
 <remainingSize>1</remainingSize>
 <Monitor><monId>1</monId><monTopic>DataPoint</monTopic><monDescription>Gr\xfcn</monDescription></Monitor>
 <Monitor><monId>2</monId><monTopic>DeviceCore</monTopic><monDescription/></Monitor>
</result>"""


@pytest.mark.fact("A list in XML is accepted, in the assumed form")
async def test_a_list_in_xml_is_read_as_one_in_json() -> None:
    last = b"<result><resultSize>1</resultSize><Monitor><monId>3</monId></Monitor></result>"
    pages = [Response(200, XML_LIST), Response(200, last)]
    starts = []

    def answer(request: Request) -> Response:
        starts.append(dict(httpx.QueryParams(request.query))["start"])
        return pages.pop(0)

    async with answering(answer) as api:
        found = await api.list_tcp()
    assert [monitor["monId"] for monitor in found] == ["1", "2", "3"]
    assert found[0]["monDescription"] == "Grün"
    assert found[1]["monDescription"] == ""
    assert starts == ["0", "2"]


def test_an_empty_list_in_xml_is_an_empty_list() -> None:
    assert read_listing(b"<result><resultSize>0</resultSize></result>") == Listing()


@pytest.mark.fact("A server that repeats its first page is not asked for ever")
async def test_a_list_without_an_end_is_a_matter_for_a_person() -> None:
    calls = []

    def answer(request: Request) -> Response:
        calls.append(request)
        return Response(200, json.dumps({"items": [{"monId": "1"}], "remainingSize": "5"}).encode())

    async with answering(answer) as api:
        with pytest.raises(Pause, match="GET /ws/Monitor gives the same next page a second time"):
            await api.list_tcp()
    assert len(calls) == 2


@pytest.mark.fact("A Retry-After that is a date counts from the server's own Date")
async def test_a_wait_until_a_date_is_counted_by_the_servers_clock() -> None:
    headers = (
        ("Date", "Thu, 02 May 2024 10:00:00 GMT"),
        ("Retry-After", "Thu, 02 May 2024 10:05:00 GMT"),
    )
    async with answering(lambda _request: Response(503, b"", headers)) as api:
        with pytest.raises(Retry) as caught:
            await api.read(5)
    assert caught.value.after == 300


@pytest.mark.fact("Lists are asked for as JSON, with start, size and condition")
async def test_lists_are_asked_for_as_json_with_the_login() -> None:
    requests = []

    def answer(request: Request) -> Response:
        requests.append(request)
        return Response(200, json.dumps(EMPTY).encode())

    async with answering(answer) as api:
        await api.list_tcp()
    (request,) = requests
    assert request.headers["accept"] == ("application/json",)
    assert request.headers["authorization"] == ("Basic dXNlcjpwYXNz",)
    assert dict(httpx.QueryParams(request.query)) == {
        "start": "0",
        "size": "1000",
        "condition": "monTransportType='tcp'",
    }


async def test_calls_go_through_the_proxy_of_the_settings() -> None:
    asked = []

    async def handle(request: Request) -> Response:
        asked.append(request.headers["host"])
        return Response(200, json.dumps(EMPTY).encode())

    async with serve_http(handle) as proxy:
        settings = Settings(
            url=Url("http://digi.example"),
            insecure=True,
            username="user",
            password=Secret("pass"),
            proxy=Url(proxy),
        )
        async with open_api(settings, lambda: NOW) as api:
            assert await api.list_tcp() == []
    assert asked == [("digi.example",)]


@pytest.mark.fact("X-API-KEY-ID and X-API-KEY-SECRET replace Basic, experimental")
async def test_an_api_key_replaces_the_login_and_is_blamed() -> None:
    requests = []

    def answer(request: Request) -> Response:
        requests.append(request)
        return Response(401)

    async with answering(answer, api_key_id="key-1", api_key_secret=Secret("sesame-sesame")) as api:
        with pytest.raises(
            Pause, match=r"\(401\); correct api_key_id and api_key_secret"
        ) as caught:
            await api.read(5)
    (request,) = requests
    assert request.headers["x-api-key-id"] == ("key-1",)
    assert request.headers["x-api-key-secret"] == ("sesame-sesame",)
    assert "authorization" not in request.headers
    assert "sesame" not in caught.value.why + repr(api)


@pytest.mark.fact("The id comes from a relative Location, else from location in the body")
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((("Location", "Monitor/5"),), b""),
        ((("Location", "https://api.example/ws/Monitor/5"),), b""),
        (
            (),
            (
                b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<result>\n '
                b"<location>Monitor/5</location></result>"
            ),
        ),
        ((), b"<result><location>\n  Monitor/5\n </location></result>"),
    ],
)
async def test_the_id_of_a_new_monitor_is_read_from_header_or_body(
    headers: Any, body: bytes
) -> None:
    async with answering(lambda _request: Response(201, body, headers)) as api:
        assert await api.create({"monTopic": "DataPoint"}) == 5


async def test_a_new_monitor_without_an_id_is_said_to_be_so() -> None:
    async with answering(lambda _request: Response(201, b"<result/>")) as api:
        with pytest.raises(Retry, match="did not tell its id"):
            await api.create({"monTopic": "DataPoint"})


@pytest.mark.fact("An error list with status 200 is an error")
async def test_an_error_with_status_200_is_an_error() -> None:
    async with answering(
        lambda _request: Response(200, b"<result><error>Not today</error></result>")
    ) as api:
        for call in (
            api.create({}),
            api.update(5, {}),
            api.delete(5),
            api.read(5),
            api.read_history("/x", {}),
        ):
            with pytest.raises(CallRefused, match="Not today"):
                await call


@pytest.mark.fact("PUT sends the full XML to /ws/Monitor/{id}")
async def test_an_update_sends_every_element_escaped() -> None:
    requests = []

    def answer(request: Request) -> Response:
        requests.append(request)
        return Response(200, b"<result/>")

    async with answering(answer) as api:
        await api.update(5, {"monTopic": "DataPoint", "monDescription": "<ours> & 'theirs'"})
    (request,) = requests
    assert (request.method, request.path) == ("PUT", "/ws/Monitor/5")
    assert {element.tag: element.text for element in ElementTree.fromstring(request.body)} == {
        "monTopic": "DataPoint",
        "monDescription": "<ours> & 'theirs'",
    }


NO_SUCH = b'{"error":["GET Monitor error. Error reading Monitor entity id=\'5\'"]}'


@pytest.mark.fact("An unknown id is told by its text, with status 200, 400 or 404")
@pytest.mark.parametrize("status", [200, 400, 404])
async def test_an_unknown_monitor_is_told_by_its_text(status: int) -> None:
    async with answering(lambda _request: Response(status, NO_SUCH)) as api:
        assert await api.read(5) is None
        assert await api.delete(5) is False


@pytest.mark.fact("DELETE succeeds with 200 or 204")
@pytest.mark.parametrize(
    ("answer", "deleted"),
    [
        (Response(200, b"<result><message>1 items deleted</message></result>"), True),
        (Response(204), True),
        (Response(400, NO_SUCH), False),
    ],
)
async def test_a_deletion_tells_whether_there_was_something_to_delete(
    answer: Response, deleted: bool
) -> None:
    async with answering(lambda _request: answer) as api:
        assert await api.delete(5) is deleted


@pytest.mark.parametrize("status", [400, 404])
async def test_a_strangers_page_makes_no_monitor_vanish(status: int) -> None:
    async with answering(lambda _request: Response(status, b"<html>not here</html>")) as api:
        with pytest.raises(Pause, match="check url"):
            await api.read(5)
        with pytest.raises(Pause, match="check url"):
            await api.delete(5)


@pytest.mark.fact(
    "Refused topics, monitor limit, credentials and other refusals are told apart, each with "
    "what to do"
)
async def test_the_reasons_of_a_refusal_are_told_apart() -> None:
    said = [
        (401, "", Pause, r"refuses the login \(401\); correct username and password"),
        (
            403,
            "",
            Pause,
            r"\(403\); correct username and password, or give the user the right to use monitors",
        ),
        (
            400,
            "POST Monitor error. Invalid request. Invalid monTopic specified",
            Pause,
            "correct topics",
        ),
        (
            400,
            "PUT Monitor error. Invalid request. Invalid monTopic specified",
            Pause,
            "correct topics",
        ),
        (400, "The limit of Monitors is reached", MonitorLimit, "delete one that is unused"),
        (
            400,
            "Something new",
            CallRefused,
            "refuses POST /ws/Monitor .400: Something new.; check url",
        ),
    ]
    for status, text, verdict, words in said:
        answer = Response(
            status, f"<result><error>{text}</error></result>".encode() if text else b""
        )
        async with answering(lambda _request, answer=answer: answer) as api:
            with pytest.raises(verdict, match=words):
                await api.create({"monTopic": "DataPoint"})


async def test_an_api_that_hangs_up_is_an_outage() -> None:
    def hang_up(_request: Request) -> Response:
        raise HangUp

    async with answering(hang_up) as api:
        with pytest.raises(Retry, match="cannot be reached"):
            await api.read(5)


async def test_an_api_that_does_not_answer_is_an_outage(autojump_clock: Any) -> None:
    async def silent(_request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with answering_api(silent) as api:
        with pytest.raises(Retry, match=r"no answer of the REST API within 30 s \(timeout\)"):
            await api.read(5)


async def test_a_history_that_is_not_json_is_an_outage() -> None:
    async with answering(lambda _request: Response(200, b"<html>welcome</html>")) as api:
        with pytest.raises(Retry, match="history is not JSON"):
            await api.read_history("/ws/v1/monitors/history/5", {})


@pytest.mark.fact("Integers exact in a history")
async def test_the_integers_of_a_history_stay_exact() -> None:
    async with answering(
        lambda _request: Response(200, b'{"list":[9007199254740993,18446744073709551615]}')
    ) as api:
        answer = await api.read_history("/ws/v1/monitors/history/5", {})
    assert answer == {"list": [9007199254740993, 18446744073709551615]}


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused_with_a_verdict(body: bytes) -> None:
    assert names_no_monitor(body) in (True, False)
    assert error_text(body) is None or isinstance(error_text(body), str)
    try:
        listing = read_listing(body)
    except Retry:
        return
    assert listing.remaining >= 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner)
)


@given(st.dictionaries(st.sampled_from(["items", "resultSize", "remainingSize", "error"]), VALUES))
def test_whatever_a_list_holds_its_monitors_are_texts(page: dict[str, Any]) -> None:
    try:
        listing = read_listing(json.dumps(page).encode())
    except Retry:
        return
    assert all(isinstance(value, str) for monitor in listing.monitors for value in monitor.values())


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE r><r/>'.encode("utf-16"),
        b"<r>",
        b"",
        b'<?xml version="1.0" encoding="nonsense"?><r/>',
    ],
)
def test_xml_with_a_doctype_or_broken_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):
        parse_xml(document)


@pytest.mark.fact("Bodies in ISO-8859-1 are read as they declare")
def test_xml_is_read_in_the_encoding_that_it_declares() -> None:
    assert (
        parse_xml('<?xml version="1.0" encoding="ISO-8859-1"?><r>ü</r>'.encode("latin-1")).text
        == "ü"
    )

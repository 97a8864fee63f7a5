from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from bridge.api import Answer, HangUp, Pause, Request, Retry, Secret, Size, Url, serve_http
from bridge_plugins.idigi.emulator import Emulator, open_emulator
from bridge_plugins.idigi.emulator_faults import gateway_error, throttled
from bridge_plugins.idigi.monitors import differences, ensure_monitor, wanted_monitor
from bridge_plugins.idigi.rest import MonitorApi, open_api, retry_after, shortened
from bridge_plugins.idigi.settings import Settings
from bridge_plugins.idigi.xml import parse_xml


async def ensure(core: Any, settings: Settings) -> int:
    async with open_api(settings) as api:
        return await ensure_monitor(api, settings, core.context)


@asynccontextmanager
async def answering(answer: Callable[[Request], Answer]) -> AsyncIterator[MonitorApi]:
    """The API against a server that answers as a test says."""

    async def handle(request: Request) -> Answer:
        return answer(request)

    async with serve_http(handle) as url:
        settings = Settings(
            url=Url(url), insecure=True, username="user", password=Secret("pass"), answer_limit=Size(4096)
        )
        async with open_api(settings) as api:
            yield api


async def test_a_new_monitor_asks_for_explicit_acks_and_replay_and_for_every_setting(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(
        emulator, topics=("[group=a,b]DataPoint", "DeviceCore"), batch_size=7, description="<ours> & 'theirs'"
    )
    assert await ensure(core, settings) == 178008
    (body,) = emulator.books.bodies
    assert {element.tag: element.text for element in ElementTree.fromstring(body)} == {
        "monTopic": "[group=a,b]DataPoint,DeviceCore",
        "monTransportType": "tcp",
        "monFormatType": "json",
        "monCompression": "zlib",
        "monBatchSize": "7",
        "monBatchDuration": "0",
        "monAckOption": "explicit",
        "monAutoReplayOnConnect": "true",
        "monDescription": "<ours> & 'theirs'",
    }


async def test_the_tag_of_a_monitor_is_the_name_of_the_source(core: Any, emulator: Emulator, settings_for: Any) -> None:
    await ensure(core, settings_for(emulator, replay=False))
    elements = emulator.account.monitors[178008].elements
    assert elements["monDescription"] == "bridge/gateways"
    assert elements["monAutoReplayOnConnect"] == "false"


async def test_the_monitor_is_remembered_and_reused(core: Any, emulator: Emulator, settings_for: Any) -> None:
    settings = settings_for(emulator)
    assert await ensure(core, settings) == await ensure(core, settings) == 178008
    assert emulator.books.calls == ["GET /ws/Monitor", "POST /ws/Monitor", "GET /ws/Monitor/178008"]


async def test_a_forgotten_monitor_is_found_by_its_tag_and_topics(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator)
    emulator.account.create(wanted_monitor(settings, "another"))
    ours = emulator.account.create(wanted_monitor(settings, "gateways") | {"monTopic": "DeviceCore,DataPoint"})
    assert await ensure(core, settings) == ours.id
    assert core.state.values["monitor"]["id"] == ours.id


async def test_monitors_of_others_are_left_alone(core: Any, emulator: Emulator, settings_for: Any) -> None:
    settings = settings_for(emulator)
    theirs = emulator.account.create(wanted_monitor(settings, "another"))
    assert await ensure(core, settings) != theirs.id


async def test_an_id_remembered_for_another_account_is_not_used(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    core.state.values["monitor"] = {"url": "https://elsewhere.example", "username": "user", "id": 5}
    await ensure(core, settings_for(emulator))
    assert "GET /ws/Monitor/5" not in emulator.books.calls


@pytest.mark.parametrize("status", [200, 400, 404])
async def test_a_remembered_monitor_that_is_gone_is_created_anew(
    status: int, core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator)
    emulator.faults.unknown_monitor_status = status
    first = await ensure(core, settings)
    del emulator.account.monitors[first]
    assert await ensure(core, settings) == first + 1


async def test_a_monitor_that_differs_is_never_changed_and_every_difference_is_named(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    await ensure(core, settings_for(emulator))
    del emulator.account.monitors[178008].elements["monAckOption"]
    with pytest.raises(Pause) as caught:
        await ensure(core, settings_for(emulator, batch_size=9, topics=("DataPoint",)))
    assert "monitor 178008 exists, but is not as configured" in caught.value.why
    assert "monTopic is 'DataPoint,DeviceCore', expected 'DataPoint'" in caught.value.why
    assert "monBatchSize is '100', expected '9'" in caught.value.why
    assert "monAckOption is 'off', expected 'explicit'" in caught.value.why
    assert not any(call.startswith(("PUT", "DELETE")) for call in emulator.books.calls)
    assert len(emulator.account.monitors) == 1


async def test_a_monitor_named_in_the_settings_is_used_whatever_its_tag(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    theirs = emulator.account.create(wanted_monitor(settings_for(emulator), "another"))
    assert await ensure(core, settings_for(emulator, monitor_id=theirs.id)) == theirs.id
    assert [call for call in emulator.books.calls if call.startswith("POST")] == []


async def test_a_monitor_named_in_the_settings_is_never_created(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    with pytest.raises(Pause, match="has no monitor 5; correct or remove monitor_id"):
        await ensure(core, settings_for(emulator, monitor_id=5))
    assert emulator.account.monitors == {}


def test_gzip_and_zlib_are_the_same_and_absent_elements_have_the_server_defaults() -> None:
    settings = Settings(username="user", password=Secret("pass"))
    wanted = wanted_monitor(settings, "gateways")
    assert differences(wanted, wanted | {"monCompression": "gzip", "monTopic": "DeviceCore, DataPoint"}) == []
    assert differences(wanted, wanted | {"monSchemaType": "handlebars"}) == [
        "monSchemaType is 'handlebars', expected 'none'"
    ]
    bare = {"monTopic": "DataPoint,DeviceCore"}
    assert [said.partition(" ")[0] for said in differences(wanted, bare)] == [
        "monFormatType",
        "monCompression",
        "monBatchDuration",
        "monAckOption",
        "monAutoReplayOnConnect",
    ]


async def test_all_pages_of_a_long_list_are_read(
    core: Any, emulator: Emulator, settings_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge_plugins.idigi.rest.PAGE", 2)
    settings = settings_for(emulator)
    for number in range(4):
        emulator.account.create(wanted_monitor(settings, f"another-{number}"))
    ours = emulator.account.create(wanted_monitor(settings, "gateways"))
    assert await ensure(core, settings) == ours.id
    assert len(emulator.books.calls) == 3


async def test_wrong_credentials_are_told_apart(core: Any, emulator: Emulator, settings_for: Any) -> None:
    with pytest.raises(Pause, match=r"refuses the login \(401\); correct username and password"):
        await ensure(core, settings_for(emulator, password=Secret("wrong")))


async def test_a_password_with_colons_and_letters_that_are_not_ascii_works(core: Any, settings_for: Any) -> None:
    async with open_emulator(username="jürgen", password="a:b:ß") as emulator:
        assert await ensure(core, settings_for(emulator)) == 178008


async def test_refused_topics_are_told_apart(core: Any, emulator: Emulator, settings_for: Any) -> None:
    with pytest.raises(Pause, match=r"refuses the topics .*Invalid monTopic specified.*; correct topics"):
        await ensure(core, settings_for(emulator, topics=("Nonsense",)))


async def test_the_limit_of_monitors_is_told_apart(core: Any, emulator: Emulator, settings_for: Any) -> None:
    emulator.faults.monitor_limit = 0
    with pytest.raises(Pause, match="no room for another monitor"):
        await ensure(core, settings_for(emulator))


async def test_throttling_is_waited_for_as_long_as_the_server_asks(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.rest = [throttled("17"), throttled()]
    with pytest.raises(Retry, match="too many REST calls") as caught:
        await ensure(core, settings_for(emulator))
    assert caught.value.after == 17
    with pytest.raises(Retry) as caught:
        await ensure(core, settings_for(emulator))
    assert caught.value.after is None


async def test_the_html_of_a_gateway_is_an_outage_and_is_not_shown(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.rest = [gateway_error()]
    with pytest.raises(Retry) as caught:
        await ensure(core, settings_for(emulator))
    assert caught.value.why == "the REST API is not available (503)"


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (Answer(302, b"", (("Location", "https://elsewhere/"),)), Pause, "check url"),
        (Answer(404, b"<html>no such page</html>"), Pause, "check url"),
        (Answer(400, b"<result><error>Odd &amp; new</error></result>"), Pause, "(400: Odd & new); check url"),
        (Answer(200, b'{"error":["GET Monitor error. Something else"]}'), Pause, "Something else"),
        (Answer(200, b'{"error":"one text"}'), Pause, "one text"),
        (Answer(200, b"<html>welcome</html>"), Retry, "not JSON"),
        (Answer(200, b'{"items":'), Retry, "not JSON"),
        (Answer(200, b"[]"), Retry, "no items"),
        (Answer(200, b" " * 5000), Retry, "larger than 4KiB (answer_limit)"),
        (Answer(408, b""), Retry, "not available (408)"),
    ],
)
async def test_an_answer_that_is_no_list_is_never_taken_for_an_empty_one(
    answer: Answer, verdict: type[Pause | Retry], words: str
) -> None:
    async with answering(lambda _request: answer) as api:
        with pytest.raises(verdict) as caught:
            await api.list_tcp()
    assert words in caught.value.why


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((("Location", "Monitor/5"),), b""),
        ((), b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<result>\n <location>Monitor/5</location></result>'),
    ],
)
async def test_the_id_of_a_new_monitor_is_read_from_header_or_body(headers: Any, body: bytes) -> None:
    async with answering(lambda _request: Answer(201, body, headers)) as api:
        assert await api.create({"monTopic": "DataPoint"}) == 5


async def test_a_new_monitor_without_an_id_is_said_to_be_so() -> None:
    async with answering(lambda _request: Answer(201, b"<result/>")) as api:
        with pytest.raises(Retry, match="did not tell its id"):
            await api.create({"monTopic": "DataPoint"})


async def test_an_api_that_hangs_up_is_an_outage() -> None:
    def hang_up(_request: Request) -> Answer:
        raise HangUp

    async with answering(hang_up) as api:
        with pytest.raises(Retry, match="cannot be reached"):
            await api.read(5)


async def test_an_api_that_does_not_answer_is_an_outage(autojump_clock: Any) -> None:
    class Silent:
        def stream(self, *_args: Any, **_more: Any) -> Any:
            return self

        async def __aenter__(self) -> None:
            import trio

            await trio.sleep_forever()

        async def __aexit__(self, *_args: Any) -> None:
            pass

    with pytest.raises(Retry, match=r"no answer of the REST API within 30 s \(timeout\)"):
        await MonitorApi(Silent(), 30.0, 1000).read(5)  # type: ignore[arg-type]


async def test_a_listed_monitor_whose_id_is_no_number_is_not_used(core: Any, settings_for: Any) -> None:
    async with answering(lambda _request: Answer(200, b'{"items":[{"monId":true}, 5]}')) as api:
        settings = Settings(username="user", password=Secret("pass"), monitor_id=5)
        with pytest.raises(Pause, match="the id 'true', expected a number"):
            await ensure_monitor(api, settings, core.context)


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < (retry_after(soon) or 0) <= 100
    assert retry_after(format_datetime(datetime(2001, 1, 1, tzinfo=UTC), usegmt=True)) == 0
    assert retry_after(" 5 ") == 5
    assert retry_after("999999999") == 3600
    assert retry_after("soon") is None
    assert retry_after("-5") is None


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


def test_xml_is_read_in_the_encoding_that_it_declares() -> None:
    assert parse_xml('<?xml version="1.0" encoding="ISO-8859-1"?><r>ü</r>'.encode("latin-1")).text == "ü"


def test_foreign_text_is_fit_for_a_log() -> None:
    assert shortened("a\x1b[31m\nb\u202e") == "a [31m b"
    assert len(shortened("x" * 1000)) == 200

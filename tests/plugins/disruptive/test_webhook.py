"""The source: settings, answers, and what is kept."""

from base64 import b64decode
from datetime import UTC, datetime
from hashlib import sha256

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import bridge_plugins.disruptive
import bridge_plugins.disruptive.emulator
from bridge.api import Duration, HttpRejection, NetworkAddress, Secret, SettingError
from bridge.http.request import RequestReader
from bridge.http.settings import ListenerSettings
from bridge.testing.fakes import FakeMount, FakeReport, FixedClock, fake_source_context
from bridge_plugins.disruptive.settings import Settings
from bridge_plugins.disruptive.webhook import make_receive, run

NOW = datetime(2024, 5, 29, 10, 34, 4, tzinfo=UTC)
BODY = (
    b'{"event":{"eventId":"a","eventType":"touch","targetName":"projects/p/devices/d",'
    b'"data":{"touch":{}}}}'
)


def open_settings(**settings):
    return Settings(scheme="none", **settings)


# Settings


@pytest.mark.fact("No secret is a start-up error")
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "secret"),
        ({"previous_secret": Secret("old")}, "secret"),
        ({"scheme": "none", "secret": Secret("s")}, "scheme"),
        ({"scheme": "none", "previous_secret": Secret("s")}, "scheme"),
        ({"secret": Secret("s"), "header_name": "X-Key"}, "header_value"),
        ({"secret": Secret("s"), "header_value": Secret("v")}, "header_name"),
        (
            {"secret": Secret("s"), "header_value": Secret("v"), "header_name": "X-DT-Signature"},
            "header_name",
        ),
        (
            {
                "secret": Secret("s"),
                "header_value": Secret("v"),
                "header_name": "DT-Asymmetric-Signature",
            },
            "header_name",
        ),
        (
            {"secret": Secret("s"), "header_value": Secret(" v"), "header_name": "X-Key"},
            "header_value",
        ),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(settings, name):
    with pytest.raises(SettingError) as caught:
        Settings(**settings)
    assert caught.value.setting == name
    assert caught.value.message.startswith("expected ")


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "disruptive"},
        {"path": ""},
        {"path": "/a?b"},
        {"path": "/a b"},
        {"leeway": Duration(-1)},
        {"header_name": "X Key"},
        {"header_name": ""},
    ],
)
def test_a_setting_of_the_wrong_form_is_refused(settings):
    with pytest.raises(ValueError):
        Settings(secret=Secret("s"), **settings)


@pytest.mark.fact("Mistake 16: secrets in the text of settings")
def test_no_secret_is_in_the_text_of_the_settings():
    settings = Settings(
        secret=Secret("hidden"),
        previous_secret=Secret("hidden"),
        header_name="X-Key",
        header_value=Secret("hidden"),
    )
    assert "hidden" not in repr(settings)


def test_the_plugin_offers_one_source_and_one_emulator():
    [source] = bridge_plugins.disruptive.bridge_source_kinds()
    [emulator] = bridge_plugins.disruptive.emulator.bridge_emulators()
    assert source.name == emulator.name == "disruptive"
    assert source.paths(Settings(secret=Secret("s"), path="/dt/site-a")) == ["/dt/site-a"]


# Running


async def reports_of(settings, *requests):
    """Run the source, hand it requests, and give what it reported, with whether it is a
    problem.
    """
    mount, report = FakeMount(), FakeReport()
    context = fake_source_context("sensors", mount=mount, report=report, clock=FixedClock(NOW))
    async with trio.open_nursery() as nursery:

        async def started(task_status):
            await run(settings, context, task_status=task_status)

        await nursery.start(started)
        assert list(mount.routes) == [settings.path]
        for request in requests:
            mount.routes[settings.path](request)
        nursery.cancel_scope.cancel()
    assert mount.routes == {}
    names = dict(zip(report.problems, report.problem_names, strict=True))
    return [(text, names.get(text, "")) for text in report.texts]


async def test_the_route_is_mounted_while_the_source_runs():
    assert await reports_of(Settings(secret=Secret("s" * 32), path="/dt")) == [
        ("receives at /dt", "")
    ]


async def test_a_short_secret_is_mentioned_once_at_start():
    [(text, problem)] = await reports_of(Settings(secret=Secret("s" * 31)))
    assert "shorter than 32 bytes" in text
    assert not problem


@pytest.mark.fact("Scheme none is loudly reported")
async def test_scheme_none_is_reported_as_a_problem():
    [(text, problem)] = await reports_of(open_settings())
    assert "not verified: any caller" in text
    assert problem == "disruptive-unverified"
    [(text, problem)] = await reports_of(
        open_settings(header_name="X-Key", header_value=Secret("v"))
    )
    assert "not verified: a caller with the custom header" in text
    assert problem == "disruptive-unverified"


@pytest.mark.fact("Answer: authentic but unreadable is 200, its bytes are kept and reported")
async def test_an_unreadable_request_is_reported_as_a_problem(request_with):
    _, (text, problem) = await reports_of(
        open_settings(), request_with(BODY), request_with(b"no JSON")
    )
    assert "could not be read" in text
    assert problem == "disruptive-unreadable-request"


# Receiving


def receive_unsigned(request, **settings):
    return make_receive(open_settings(**settings), lambda: NOW)(request)


@pytest.mark.fact("Unknown: Content-Type is never required")
def test_scheme_none_accepts_a_request_without_signature(request_with):
    assert receive_unsigned(request_with(BODY)).events[0].device == "d"


@pytest.mark.fact("Answer: 200 with an empty body, never another 2xx")
def test_the_answer_is_200_with_nothing_in_it(request_with):
    for body in (BODY, b"no JSON"):
        answer = receive_unsigned(request_with(body)).answer
        assert (answer.status, answer.body, answer.headers) == (200, b"", ())


@pytest.mark.fact("Mistake 8: parsing JSON as a Python literal")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"{'event': None, 'isBackfilled': False}",
        b'{"event":{"eventId":"a","eventType":"x","value":NaN}}',
        b'{"event":{"eventId":"a","eventType":"\xff"}}',
        b"\xef\xbb\xbf{}",
        BODY.decode().encode("utf-16"),
        b'{"event":{"eventId":"a","eventType":"x","data":' + b"[" * 300 + b"]" * 300 + b"}}",
        b"{}",
        b"[]",
        b'{"event":{"eventType":"touch"}}',
    ],
)
def test_an_authentic_unreadable_request_is_kept_byte_for_byte(
    request_with, receive_at, sign, claims_for, body
):
    [event] = receive_at()(request_with(body, sign(claims_for(body)))).events
    assert (event.kind, event.device, event.readings) == ("unreadable", "unknown", ())
    assert event.key == sha256(body).hexdigest()
    assert b64decode(event.data["base64"]) == body
    assert event.time == datetime.fromtimestamp(1700000000, UTC)


def test_a_type_that_nobody_knows_is_an_event_without_readings(request_with):
    [event] = receive_unsigned(request_with(BODY.replace(b"touch", b"smell"))).events
    assert (event.kind, event.device, event.readings) == ("smell", "d", ())
    assert event.data["event"]["data"] == {"smell": {}}


@pytest.mark.fact("NaN, a BOM, UTF-16 and broken UTF-8 are no JSON; authentic bytes are kept")
@given(body=st.binary())
def test_any_authentic_bytes_are_kept(request_with, receive_at, sign, claims_for, body):
    [event] = receive_at()(request_with(body, sign(claims_for(body)))).events
    assert b64decode(event.data["base64"]) == body


@pytest.mark.fact("A body is parsed only after it is authentic")
def test_a_forged_body_is_not_even_parsed(request_with, receive_at):
    with pytest.raises(HttpRejection) as caught:
        receive_at()(request_with(b"no JSON", "e30.e30.e30"))
    assert caught.value.status == 401


@pytest.mark.fact("The case of the header name varies, bodies may be chunked")
@pytest.mark.fact("Mistake 7: matching the header name by case")
@pytest.mark.parametrize("name", [b"X-Dt-Signature", b"x-dt-signature", b"X-DT-SIGNATURE"])
def test_a_signature_is_found_in_whatever_case_its_name_is_sent(receive_at, sign, claims_for, name):
    reader = RequestReader(ListenerSettings(address=NetworkAddress("127.0.0.1", 0)))
    head = b"POST /disruptive HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%s: %s\r\n\r\n"
    reader.receive_data(
        head % (name, sign(claims_for(BODY)).encode())
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    )
    request = reader.next_event()
    assert receive_at()(request).events[0].kind == "touch"


# The static header


@pytest.mark.fact("A custom header of the connector is a second factor")
def test_the_static_header_is_asked_for_in_addition(request_with, receive_at, sign, claims_for):
    receive = receive_at(header_name="X-Bridge-Key", header_value=Secret("ü-key"))
    token = sign(claims_for(BODY))
    sent = "ü-key".encode().decode("latin-1")
    assert receive(request_with(BODY, token, x_bridge_key=sent)).events
    for request in (
        request_with(BODY, x_bridge_key=sent),
        request_with(BODY, token),
        request_with(BODY, token, x_bridge_key="ü-key"),
        request_with(BODY, token, x_bridge_key=sent + "2"),
    ):
        with pytest.raises(HttpRejection) as caught:
            receive(request)
        assert caught.value.status == 401
        assert "-key" not in caught.value.reason


@pytest.mark.fact("Answer: a wrong static header is 401")
def test_a_doubled_static_header_is_refused(request_with):
    request = request_with(BODY)
    request.headers["x-key"] = ("v", "v")
    with pytest.raises(HttpRejection, match="2 values"):
        receive_unsigned(request, header_name="X-Key", header_value=Secret("v"))

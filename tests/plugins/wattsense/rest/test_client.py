"""Requests to the REST API: what is signed, what an answer means, how often we ask."""

import base64
import hashlib
import hmac
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Duration, Pause, Reject, Response, Retry, Secret, Size
from bridge.testing.fakes import FixedClock
from bridge.testing.http_server import HangUp, serve_http
from bridge_plugins.wattsense.rest.answers import next_target, read_answer, verdict
from bridge_plugins.wattsense.rest.client import CONFIGURATION_SPACING, SPACING, Gate, open_rest
from bridge_plugins.wattsense.rest.signature import hmac_headers, query_of, signed_text
from bridge_plugins.wattsense.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://api.wattsense.com/v1/devices?size=2"


def settings_for(url, **more):
    return Settings(
        signature="none",
        url=url,
        rest_key="key-1",
        rest_secret=Secret("hunter2-s"),
        **({"timeout": Duration(5)} | more),
    )


# ---- signature


@pytest.mark.fact("REST: the signed text is METHOD, path, query, body, timestamp by lines")
def test_the_signed_text_is_that_of_the_published_example():
    target = b"/v1/devices/bx01Demo/properties?since=1700000000000&until=1700003600000&property=prop-7f3a&size=500"
    assert signed_text("get", target, b"", 1700003601000) == (
        b"GET\n/v1/devices/bx01Demo/properties\n"
        b"since=1700000000000&until=1700003600000&property=prop-7f3a&size=500\n1700003601000"
    )


@pytest.mark.fact("REST: empty lines are left out")
def test_lines_that_would_be_empty_are_left_out():
    assert signed_text("GET", b"/v1/devices", b"", 1) == b"GET\n/v1/devices\n1"
    assert signed_text("POST", b"/v1/x", b"{}", 1) == b"POST\n/v1/x\n{}\n1"


@pytest.mark.fact(
    "REST: base64 of HMAC-SHA512 with the UTF-8 secret, timestamp in ms with the digits of "
    "the header"
)
def test_the_signature_is_hmac_sha512_in_base64_with_the_digits_of_the_header():
    headers = hmac_headers(
        "k",
        "gehéim",
        "GET",
        b"/v1/devices",
        datetime(2023, 11, 14, 22, 13, 20, 999_999, tzinfo=UTC),
    )
    assert headers["X-API-Timestamp"] == "1700000000999"
    digest = hmac.new(
        "gehéim".encode(), b"GET\n/v1/devices\n1700000000999", hashlib.sha512
    ).digest()
    assert headers["X-API-Auth"] == "k:" + base64.b64encode(digest).decode()


@pytest.mark.fact("REST: a query is built once, percent-encoded, %20 and not +")
def test_a_query_is_percent_encoded_with_blanks_as_20_in_the_order_given():
    assert (
        query_of(("since", 1), ("property", "a b+c&ü/x"))
        == "since=1&property=a%20b%2Bc%26%C3%BC%2Fx"
    )


# ---- answers


@pytest.mark.fact("REST: 204, an empty body and [] are no data and no error")
@pytest.mark.parametrize(
    ("status", "body"), [(204, b""), (200, b""), (200, b" \n"), (200, b"[]"), (206, b"[]")]
)
def test_no_content_an_empty_body_and_an_empty_array_mean_nothing(status, body):
    page = read_answer(status, {}, body, url=URL, now=NOW)
    assert (page.items, page.next) == ((), None)


@pytest.mark.fact("REST: 401 403 pause; 404 and other 4xx reject; 3xx pause; 429, 5xx retry")
@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, Pause, "rest_secret"),
        (403, Pause, "clock"),
        (404, Reject, "no such device"),
        (400, Reject, "400"),
        (405, Reject, "405"),
        (422, Reject, "422"),
        (429, Retry, "no more requests"),
        (500, Retry, "500"),
        (503, Retry, "503"),
        (408, Retry, "408"),
        (301, Pause, "correct url"),
        (302, Pause, "not followed"),
        (101, Reject, "101"),
    ],
)
def test_each_status_has_one_meaning(status, kind, words):
    found = verdict(status, {}, NOW)
    assert type(found) is kind
    assert words in str(found)


@pytest.mark.fact("REST: 429 waits Retry-After, else one 5-minute window")
@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("7", 7),
        ("0", 0),
        ("999999", 3600),
        (None, 300),
        ("soon", 300),
        ("-1", 300),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:01:30 -0000", 90),
    ],
)
def test_after_429_we_wait_as_asked_or_else_for_one_window(value, after):
    headers = {} if value is None else {"retry-after": value}
    assert verdict(429, headers, NOW).after == after


def test_5xx_leaves_the_pause_to_the_backoff_unless_the_server_names_one():
    assert verdict(503, {}, NOW).after is None
    assert verdict(503, {"retry-after": "9"}, NOW).after == 9


@pytest.mark.fact("REST: keep the clock in sync: a refused signature names the difference")
def test_a_refused_signature_names_the_difference_of_the_clocks():
    date = {"date": "Sun, 01 Mar 2026 12:15:00 GMT"}
    assert "ours is 900 s behind the server's" in str(verdict(401, date, NOW))
    assert "900 s ahead" in str(verdict(403, {"date": "Sun, 01 Mar 2026 11:45:00 GMT"}, NOW))
    assert "ours is" not in str(verdict(401, {"date": "Sun, 01 Mar 2026 12:00:20 GMT"}, NOW))


def test_where_a_redirect_leads_is_told_without_its_query():
    text = str(verdict(302, {"location": "https://login.example.com/?token=hunter2"}, NOW))
    assert "https://login.example.com/" in text
    assert "hunter2" not in text


@pytest.mark.fact("REST: 2xx that is no JSON is tried again")
def test_an_answer_that_is_no_json_is_tried_again():
    with pytest.raises(Retry, match="not JSON"):
        read_answer(200, {}, b"<html>", url=URL, now=NOW)


def test_json_that_is_no_array_is_not_taken_for_no_data():
    with pytest.raises(Reject, match="not the array"):
        read_answer(200, {}, b'{"message":"x"}', url=URL, now=NOW)


@pytest.mark.fact("REST: pages by Link rel=next, absolute or beginning with /")
@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("", None),
        ('</v1/devices?size=2&page=2>; rel="next"', "/v1/devices?size=2&page=2"),
        ('<https://api.wattsense.com/v1/devices?page=2>; rel="next"', "/v1/devices?page=2"),
        ("<https://API.wattsense.com:443/v1/x>; rel=next", "/v1/x"),
        ('</a?x=1,2>; rel="prev", </b?x=1,2>; title="a,b"; rel="last next"', "/b?x=1,2"),
        ('</a>; REL="Next"', "/a"),
        ("<?page=2>; rel=next", "/v1/devices?page=2"),
        ('</a>; rel="prev"', None),
        ("</a>", None),
        ("garbage; rel=next", None),
        ('</a#part>; rel="next"', "/a"),
    ],
)
def test_the_next_page_is_found_in_the_link_header(link, target):
    assert next_target(link, URL) == target


@pytest.mark.fact("REST: links are followed to the configured scheme, host and port only")
@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example.com/v1",
        "http://api.wattsense.com/v1",
        "https://api.wattsense.com:8443/v1",
        "//evil.example.com/v1",
        "https://api.wattsense.com@evil.example.com/v1",
        "https://key@api.wattsense.com/v1",
        "https://api.wattsense.com.evil.example.com/v1",
        "ftp://api.wattsense.com/",
        "https://[broken/v1",
        "https://api.wattsense.com:x/v1",
    ],
)
def test_a_link_to_another_scheme_host_or_port_is_not_followed(link):
    with pytest.raises(Pause, match="not followed"):
        next_target(f'<{link}>; rel="next"', URL)


@pytest.mark.parametrize("link", ["/v1/é", "/v1/a b", "/" + "x" * 9000])
def test_a_link_that_no_request_line_could_hold_is_refused(link):
    with pytest.raises(Reject):
        next_target(f'<{link}>; rel="next"', URL)


@given(
    link=st.text('<>/;,="rel nxt:h.?#@[]é\x00', max_size=40)
    | st.text(max_size=20).map(lambda t: f"<{t}>;rel=next")
)
def test_any_link_header_gives_a_target_on_our_host_or_a_verdict(link):
    try:
        target = next_target(link, URL)
    except (Pause, Reject):
        return
    assert target is None or target.startswith("/")


# ---- the client


@asynccontextmanager
async def client_of(handler, **settings):
    clock = FixedClock(NOW)
    async with serve_http(handler) as url, open_rest(settings_for(url, **settings), clock) as rest:
        with trio.fail_after(20):
            yield rest, clock


@pytest.mark.fact("REST: what is signed is what is sent")
async def test_what_is_signed_is_what_goes_over_the_wire():
    seen = []

    async def handler(request):
        seen.append(request)
        return Response(200, b"[]")

    async with client_of(handler) as (rest, _):
        await rest.get('/v1/devices/a%20b%2Fc/properties?property=x%20y"z')
    (request,) = seen
    timestamp = request.headers["x-api-timestamp"][0]
    text = f"GET\n{request.path}\n{request.query}\n{timestamp}"
    digest = hmac.new(b"hunter2-s", text.encode(), hashlib.sha512).digest()
    assert request.headers["x-api-auth"] == (f"key-1:{base64.b64encode(digest).decode()}",)
    assert (request.path, request.query) == (
        "/v1/devices/a%20b%2Fc/properties",
        "property=x%20y%22z",
    )


@pytest.mark.fact("REST: each request is signed anew, retries too")
async def test_every_request_is_signed_anew():
    seen = []

    async def handler(request):
        seen.append((request.headers["x-api-timestamp"][0], request.headers["x-api-auth"][0]))
        return Response(503)

    async with client_of(handler) as (rest, clock):
        for _ in range(2):
            with pytest.raises(Retry):
                await rest.get("/v1/devices")
            clock.move(timedelta(seconds=1))
    assert (
        len({timestamp for timestamp, _ in seen}) == len({signature for _, signature in seen}) == 2
    )


@pytest.mark.fact("REST: HTTP Basic is a setting, HMAC the default")
async def test_basic_sends_key_and_secret_only_if_chosen():
    seen = []

    async def handler(request):
        seen.append(request.headers)
        return Response(200, b"[]")

    async with client_of(handler, rest_auth="basic") as (rest, _):
        await rest.get("/v1/devices")
    async with client_of(handler) as (rest, _):
        await rest.get("/v1/devices")
    basic, signed = seen
    assert basic["authorization"] == ("Basic " + base64.b64encode(b"key-1:hunter2-s").decode(),)
    assert "x-api-auth" not in basic
    assert "authorization" not in signed
    assert "hunter2" not in str(signed)


@pytest.mark.fact("REST: redirects are never followed")
async def test_a_redirect_is_not_followed():
    asked = []

    async def handler(request):
        asked.append(request.path)
        return Response(302, headers=(("Location", "/elsewhere"),))

    async with client_of(handler) as (rest, _):
        with pytest.raises(Pause):
            await rest.get("/v1/devices")
    assert asked == ["/v1/devices"]


@pytest.mark.fact("REST: a time-out is tried again")
async def test_an_answer_that_does_not_come_in_time_is_tried_again():
    async def handler(_request):
        await trio.sleep_forever()

    async with client_of(handler, timeout=Duration(0.1)) as (rest, _):
        with pytest.raises(Retry, match="timeout"):
            await rest.get("/v1/devices")


async def test_an_answer_that_is_cut_off_is_tried_again():
    async def handler(_request):
        raise HangUp

    async with client_of(handler) as (rest, _):
        with pytest.raises(Retry, match="cannot be reached") as caught:
            await rest.get("/v1/devices")
    assert "hunter2" not in str(caught.value)


@pytest.mark.fact("REST: an answer has a largest size and a bounded time")
@pytest.mark.parametrize(("size", "good"), [(1024, True), (1025, False)])
async def test_an_answer_has_a_largest_size(size, good):
    async def handler(_request):
        return Response(200, b"[" + b" " * (size - 2) + b"]")

    async with client_of(handler, answer_limit=Size(1024)) as (rest, _):
        if good:
            assert (await rest.get("/v1/devices")).items == ()
        else:
            with pytest.raises(Pause, match="page_size, or allow more by answer_limit"):
                await rest.get("/v1/devices")


@pytest.mark.fact("Mistake avoided: certificate verification switched off")
async def test_a_certificate_that_nobody_vouches_for_needs_a_person():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)

    async def handler(_request):
        return Response(200, b"[]")

    async with (
        serve_http(handler, tls=tls) as url,
        open_rest(settings_for(url), FixedClock(NOW)) as rest,
    ):
        with trio.fail_after(20), pytest.raises(Pause, match="certificate"):
            await rest.get("/v1/devices")


async def test_a_ca_file_that_cannot_be_read_is_told_by_its_name(tmp_path):
    with pytest.raises(Pause, match=r"no\.pem"):
        async with open_rest(
            settings_for("https://127.0.0.1", ca_file=Path(tmp_path / "no.pem")), FixedClock(NOW)
        ):
            pass


async def test_a_base_url_with_a_path_is_kept_in_front_of_every_call():
    async with open_rest(settings_for("https://127.0.0.1/proxy/"), FixedClock(NOW)) as rest:
        assert rest.target("/v1/devices", "size=1") == "/proxy/v1/devices?size=1"


# ---- pace


@pytest.mark.fact("REST: limits of 2500 and 100 per 5 min are kept at 50 %")
@pytest.mark.fact("Mistake avoided: configuration calls in a tight loop")
async def test_we_stay_at_half_of_the_published_limits(autojump_clock):
    assert 300 / SPACING == 1250
    assert 300 / CONFIGURATION_SPACING == 50
    gate, start = Gate(), trio.current_time()
    for _ in range(1250):
        await gate.enter(configuration=False)
    assert trio.current_time() - start == pytest.approx(300 - SPACING)
    start = trio.current_time() + SPACING
    for _ in range(50):
        await gate.enter(configuration=True)
    assert trio.current_time() - start == pytest.approx(300 - CONFIGURATION_SPACING)


async def test_a_call_is_not_held_up_by_configuration_calls(autojump_clock):
    gate, start = Gate(), trio.current_time()
    await gate.enter(configuration=True)
    await gate.enter(configuration=False)
    assert trio.current_time() - start == pytest.approx(SPACING)


@pytest.mark.fact("REST: after 429 nothing is sent until the time has come")
async def test_after_429_nothing_is_sent_until_the_time_has_come():
    asked = []

    async def handler(request):
        asked.append(request.path)
        return Response(429, headers=(("Retry-After", "30"),))

    async with client_of(handler) as (rest, _):
        for _ in range(2):
            with pytest.raises(Retry) as caught:
                await rest.get("/v1/devices")
    assert len(asked) == 1
    assert 29 < caught.value.after <= 30


async def test_the_gate_opens_again_after_the_pause(autojump_clock):
    gate = Gate()
    gate.close(300)
    with pytest.raises(Retry):
        await gate.enter(configuration=False)
    await trio.sleep(300)
    await gate.enter(configuration=False)

"""Requests to the REST API: what is sent, what becomes of it, how often we ask."""

import base64
import hashlib
import hmac
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trustme
from attrs import frozen

from bridge.api import Duration, Pause, Response, Retry, Secret, Size, Url
from bridge.api.rest import RequestSpacing, RestResponse
from bridge.testing.fakes import FixedClock
from bridge.testing.http_server import HangUp, serve_http
from bridge_plugins.wattsense.rest.client import (
    CONFIGURATION_SPACING,
    SPACING,
    AccountApi,
    open_account,
)
from bridge_plugins.wattsense.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LOCAL = "https://127.0.0.1"


def access_for(url, **more):
    return Settings(
        signature="none",
        url=url,
        rest_key="key-1",
        rest_secret=Secret("hunter2-s"),
        **({"timeout": Duration(5)} | more),
    ).rest_access()


@asynccontextmanager
async def client_of(handler, **settings):
    clock = FixedClock(NOW)
    async with serve_http(handler) as url, open_account(access_for(url, **settings), clock) as rest:
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
            with pytest.raises(Pause, match="than 1024 bytes; ask for less by page_size, or"):
                await rest.get("/v1/devices")


@pytest.mark.fact("Mistake avoided: certificate verification switched off")
async def test_a_certificate_that_nobody_vouches_for_needs_a_person():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)

    async def handler(_request):
        return Response(200, b"[]")

    async with (
        serve_http(handler, tls=tls) as url,
        open_account(access_for(url), FixedClock(NOW)) as rest,
    ):
        with trio.fail_after(20), pytest.raises(Pause, match="certificate"):
            await rest.get("/v1/devices")


async def test_a_ca_file_that_cannot_be_read_is_told_by_its_name(tmp_path):
    with pytest.raises(Pause, match=r"no\.pem"):
        async with open_account(access_for(LOCAL, ca_file=tmp_path / "no.pem"), FixedClock(NOW)):
            pass


async def test_a_base_url_with_a_path_is_kept_in_front_of_every_call():
    async with open_account(access_for(f"{LOCAL}/proxy/"), FixedClock(NOW)) as rest:
        assert rest.target("/v1/devices", "size=1") == "/proxy/v1/devices?size=1"


# ---- pace


@frozen
class Instant:
    """A client whose requests take no time."""

    async def request(self, method, url):
        return RestResponse(204, {}, b"", url)


def pacing():
    return AccountApi(
        Instant(),
        "https://api.wattsense.com",
        FixedClock(NOW),
        RequestSpacing(SPACING),
        RequestSpacing(CONFIGURATION_SPACING),
    )


@pytest.mark.fact("REST: limits of 2500 and 100 per 5 min are kept at 50 %")
@pytest.mark.fact("Mistake avoided: configuration calls in a tight loop")
async def test_we_stay_at_half_of_the_published_limits(autojump_clock):
    assert 300 / SPACING == 1250
    assert 300 / CONFIGURATION_SPACING == 50
    api, start = pacing(), trio.current_time()
    for _ in range(1250):
        await api.get("/v1/x")
    assert trio.current_time() - start == pytest.approx(300 - SPACING)
    start = trio.current_time()
    for _ in range(50):
        await api.get("/v1/x", configuration=True)
    assert trio.current_time() - start == pytest.approx(300 - CONFIGURATION_SPACING)


async def test_a_call_is_not_held_up_by_configuration_calls(autojump_clock):
    api, start = pacing(), trio.current_time()
    await api.get("/v1/x", configuration=True)
    await api.get("/v1/x")
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


async def test_requests_go_on_after_the_pause(autojump_clock):
    api = pacing()
    api.requests.hold_off(300)
    with pytest.raises(Retry):
        await api.get("/v1/x")
    await trio.sleep(300)
    await api.get("/v1/x")


async def test_requests_go_through_the_proxy_of_the_settings():
    asked = []

    async def proxy(request):
        asked.append(request.path)
        return Response(200, b"[]")

    async with serve_http(proxy) as url:
        access = access_for("http://127.0.0.1:9", proxy=Url(url))
        async with open_account(access, FixedClock(NOW)) as rest:
            await rest.get("/v1/devices")
    assert asked == ["http://127.0.0.1:9/v1/devices"]

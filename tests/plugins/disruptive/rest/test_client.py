"""The REST client: logging in, what an answer means, waiting, lists."""

import hashlib
import hmac
import json
import ssl
from base64 import b64decode, urlsafe_b64decode
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import httpx
import pytest
import trio
import trustme
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import (
    HIDDEN,
    Duration,
    Pause,
    Reject,
    Response,
    Retry,
    Secret,
    SettingError,
    Url,
)
from bridge.testing.http_server import serve_http
from bridge_plugins.disruptive.rest.answers import error_text
from bridge_plugins.disruptive.rest.client import MAX_ATTEMPTS, MAX_BODY, open_cloud
from bridge_plugins.disruptive.settings import Settings

NOW = datetime(2024, 5, 29, 12, 0, 0, tzinfo=UTC)
TOKEN_URL = "https://identity.example.org/oauth2/token"
SECRETS = {"service-secret", "hook-secret", "old-secret", "header-secret"}
DEVICES = "/projects/p1/devices"


def make_settings(**settings):
    return Settings(
        **{
            "secret": Secret("hook-secret"),
            "previous_secret": Secret("old-secret"),
            "header_name": "X-Bridge-Key",
            "header_value": Secret("header-secret"),
            "url": Url("https://api.example.org/v2/"),
            "token_url": Url(TOKEN_URL),
            "project": "p1",
            "service_account_key": "key-id",
            "service_account_secret": Secret("service-secret"),
        }
        | settings
    )


@define
class Server:
    """Answers each request with the next of its answers, the last one for ever; tokens
    by itself.
    """

    answers: list = field(factory=lambda: [{}])
    token_answers: list = field(factory=list)
    requests: list = field(factory=list)
    logins: list = field(factory=list)

    async def __call__(self, request):
        await trio.lowlevel.checkpoint()
        await request.aread()
        if str(request.url) == TOKEN_URL:
            self.logins.append(request)
            if self.token_answers:
                return make_response(self.token_answers.pop(0))
            return httpx.Response(
                200, json={"access_token": f"token-{len(self.logins)}", "expires_in": 3600}
            )
        self.requests.append(request)
        return make_response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    @property
    def authorizations(self):
        return [request.headers["authorization"] for request in self.requests]


def make_response(answer):
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, httpx.Response):
        return answer
    return httpx.Response(200, json=answer)


def failure(status, text="no", **headers):
    return httpx.Response(status, json={"error": text, "code": status}, headers=headers)


@asynccontextmanager
async def opened(*answers, random=0.5, now=lambda: NOW, token_answers=(), **settings):
    server = Server(list(answers) or [{}], list(token_answers))
    async with open_cloud(
        make_settings(**settings),
        now=now,
        random=lambda: random,
        network=lambda: httpx.MockTransport(server),
    ) as cloud:
        yield cloud, server


OAUTH = {"service_account_email": "us@example.org"}


# Logging in


@pytest.mark.fact("Basic: user is the key id, password the secret")
async def test_basic_sends_key_and_secret():
    async with opened() as (cloud, server):
        await cloud.call("GET", "/projects")
    scheme, _, text = server.authorizations[0].partition(" ")
    assert (scheme, b64decode(text)) == ("Basic", b"key-id:service-secret")
    assert server.logins == []
    assert str(server.requests[0].url) == "https://api.example.org/v2/projects"


async def test_an_email_means_oauth_unless_auth_says_basic():
    async with opened(**OAUTH) as (cloud, server):
        await cloud.call("GET", "/projects")
    assert server.authorizations == ["Bearer token-1"]
    async with opened(**OAUTH, auth="basic") as (cloud, server):
        await cloud.call("GET", "/projects")
    assert server.authorizations[0].startswith("Basic ")


@pytest.mark.fact(
    "OAuth2: JWT with kid, iat 5 s back, exp = iat + 3600, aud = token URL, iss = e-mail, HS256 "
    "with the secret; sent as a form"
)
async def test_the_assertion_is_what_the_token_endpoint_asks_for():
    async with opened(**OAUTH) as (cloud, server):
        await cloud.call("GET", "/projects")
    [login] = server.logins
    assert login.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in login.headers
    form = parse_qs(login.content.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    header, claims, signature = form["assertion"][0].split(".")
    issued = int(NOW.timestamp()) - 5
    assert decoded(header) == {"alg": "HS256", "kid": "key-id"}
    assert decoded(claims) == {
        "iat": issued,
        "exp": issued + 3600,
        "aud": TOKEN_URL,
        "iss": "us@example.org",
    }
    expected = hmac.new(b"service-secret", f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert urlsafe_b64decode(signature + "=") == expected


def decoded(part):
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.mark.fact("The access token is renewed about 5 minutes before it expires")
async def test_a_token_is_used_until_five_minutes_before_its_end(autojump_clock):
    async with opened(**OAUTH) as (cloud, server):
        await cloud.call("GET", "/projects")
        await trio.sleep(3299)
        await cloud.call("GET", "/projects")
        await trio.sleep(1)
        await cloud.call("GET", "/projects")
    assert server.authorizations == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_a_token_of_under_five_minutes_is_used_for_half_of_it(autojump_clock):
    async with opened(**OAUTH, token_answers=[{"access_token": "short", "expires_in": 60}]) as (
        cloud,
        server,
    ):
        for _ in range(3):
            await cloud.call("GET", "/projects")
            await trio.sleep(15)
    assert server.authorizations == ["Bearer short", "Bearer short", "Bearer token-2"]


@pytest.mark.parametrize("expires", [None, "soon", -1, 0, True])
async def test_a_token_without_a_lifetime_is_renewed_within_an_hour(autojump_clock, expires):
    async with opened(
        **OAUTH, token_answers=[{"access_token": "first", "expires_in": expires}]
    ) as (cloud, server):
        await cloud.call("GET", "/projects")
        await trio.sleep(3299)
        await cloud.call("GET", "/projects")
        await trio.sleep(1)
        await cloud.call("GET", "/projects")
    assert server.authorizations == ["Bearer first", "Bearer first", "Bearer token-2"]


@pytest.mark.fact("One renewal at a time for all tasks")
async def test_ten_tasks_that_need_a_token_make_one_renewal():
    async with opened(**OAUTH) as (cloud, server), trio.open_nursery() as tasks:
        for _ in range(10):
            tasks.start_soon(cloud.call, "GET", "/projects")
    assert len(server.logins) == 1
    assert len(server.requests) == 10


@pytest.mark.fact("Token renewed once, tried once more")
async def test_a_401_renews_the_token_once_and_tries_once_more():
    async with opened(failure(401), {"ok": 1}, **OAUTH) as (cloud, server):
        assert await cloud.call("GET", "/projects") == {"ok": 1}
    assert server.authorizations == ["Bearer token-1", "Bearer token-2"]


async def test_ten_tasks_whose_token_was_refused_make_one_renewal():
    answers = [failure(401) for _ in range(10)] + [{}]
    async with opened(*answers, **OAUTH) as (cloud, server), trio.open_nursery() as tasks:
        for _ in range(10):
            tasks.start_soon(cloud.call, "GET", "/projects")
    assert len(server.logins) == 2


@pytest.mark.fact("Again: a person must act")
async def test_a_second_401_waits_for_a_person():
    async with opened(failure(401), **OAUTH) as (cloud, server):
        with pytest.raises(Pause, match=r"answered 401: no; check service_account_key"):
            await cloud.call("GET", "/projects")
    assert len(server.requests) == 2


@pytest.mark.fact("Basic works only if the service account has it enabled")
async def test_basic_that_is_refused_waits_for_a_person_at_once():
    async with opened(failure(401)) as (cloud, server):
        with pytest.raises(
            Pause, match=r"basic works only for a service account that has it enabled"
        ):
            await cloud.call("GET", "/projects")
    assert len(server.requests) == 1


@pytest.mark.fact("Bad credentials are answered 400 by the token endpoint; DT names four causes")
async def test_the_token_endpoint_saying_400_names_the_four_causes():
    refused = httpx.Response(
        400, json={"error": "invalid_grant", "error_description": "bad service-secret"}
    )
    async with opened(**OAUTH, token_answers=[refused]) as (cloud, _):
        with pytest.raises(Pause) as caught:
            await cloud.call("GET", "/projects")
    text = str(caught.value)
    assert "400: invalid_grant; bad ********" in text
    for cause in ("clock", "service account", "signature", "grant type"):
        assert cause in text


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (failure(503), Retry),
        (failure(429, **{"Retry-After": "7"}), Retry),
        (httpx.ConnectError("no route"), Retry),
        (httpx.Response(200, text="<html>"), Retry),
        (httpx.Response(200, json={"expires_in": 3600}), Retry),
        (httpx.Response(200, json={"access_token": "two words"}), Retry),
        (httpx.Response(302, headers={"Location": "https://evil.example.org"}), Pause),
        (failure(403), Pause),
        (failure(404), Pause),
    ],
)
async def test_trouble_at_the_token_endpoint_has_its_verdict(answer, verdict):
    async with opened(**OAUTH, token_answers=[answer]) as (cloud, server):
        with pytest.raises(verdict):
            await cloud.call("GET", "/projects")
    assert server.requests == []


async def test_a_refused_token_is_not_used_after_a_failed_renewal():
    async with opened(failure(401), {"ok": 1}, **OAUTH) as (cloud, server):
        await trio.lowlevel.checkpoint()
        server.token_answers = [{"access_token": "first"}, failure(500)]
        with pytest.raises(Retry):
            await cloud.call("GET", "/projects")
        await cloud.call("GET", "/projects")
    assert server.authorizations == ["Bearer first", "Bearer token-3"]


# What an answer means


@pytest.mark.fact("A success other than 200 is trouble at DT")
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (failure(400), Reject),
        (failure(404), Reject),
        (failure(409), Reject),
        (failure(422), Reject),
        (failure(403), Pause),
        (failure(408), Retry),
        (failure(429), Retry),
        (failure(500), Retry),
        (failure(502), Retry),
        (failure(503), Retry),
        (failure(504), Retry),
        (httpx.Response(502, text="<html>bad gateway"), Retry),
        (httpx.Response(200, text="<html>"), Retry),
        (httpx.Response(200, text="[]"), Retry),
        (httpx.Response(200, text='{"a": NaN}'), Retry),
        (httpx.Response(201, json={}), Retry),
        (httpx.Response(204), Retry),
        (httpx.ReadTimeout("slow"), Retry),
        (httpx.ConnectError("refused"), Retry),
        (httpx.RemoteProtocolError("hung up"), Retry),
        (httpx.Response(307, headers={"Location": "https://elsewhere.example.org"}), Pause),
    ],
)
async def test_every_answer_but_200_with_an_object_has_its_verdict(answer, verdict):
    async with opened(answer) as (cloud, server):
        with pytest.raises(verdict):
            await cloud.call("GET", "/projects")
    assert len(server.requests) == 1


@pytest.mark.fact("Not tried again, error reported")
async def test_a_refusal_tells_request_status_and_what_dt_says():
    async with opened(failure(400, "bad pageSize")) as (cloud, _):
        with pytest.raises(Reject) as caught:
            await cloud.call("GET", "/projects")
    assert caught.value.why == "GET /projects was answered 400: bad pageSize"
    assert caught.value.status == 400


@pytest.mark.fact("Members of an error body may be missing")
async def test_an_error_body_may_lack_its_members():
    async with opened(httpx.Response(400, json={"code": 400})) as (cloud, _):
        with pytest.raises(Reject, match=r"was answered 400$"):
            await cloud.call("GET", "/projects")


@pytest.mark.fact("Role too low, not tried again")
async def test_a_role_too_low_is_told_with_the_role_it_takes():
    async with opened(failure(403)) as (cloud, _):
        with pytest.raises(Pause, match="Project Developer"):
            await cloud.call("PATCH", "/projects/p1/dataconnectors/c", body={})


@pytest.mark.fact("A redirect is never followed")
async def test_a_redirect_is_not_followed():
    moved = httpx.Response(302, headers={"Location": "https://evil.example.org/v2/projects"})
    async with opened(moved, {}) as (cloud, server):
        with pytest.raises(Pause, match="redirect"):
            await cloud.call("GET", "/projects")
    assert [request.url.host for request in server.requests] == ["api.example.org"]


async def test_an_answer_that_takes_too_long_is_given_up(autojump_clock):
    async def never(_request):
        await trio.sleep_forever()

    settings = make_settings(timeout=Duration(3))
    async with open_cloud(
        settings, now=lambda: NOW, random=lambda: 0, network=lambda: httpx.MockTransport(never)
    ) as cloud:
        with pytest.raises(Retry, match=r"within 3 s \(timeout\)"):
            await cloud.call("GET", "/projects")
    assert trio.current_time() >= 3


@pytest.mark.parametrize("more", [0, 1])
async def test_an_answer_has_a_largest_size(more):
    head = b'{"a":"'
    body = head + b"x" * (MAX_BODY - len(head) - 2 + more) + b'"}'
    async with opened(httpx.Response(200, content=body)) as (cloud, _):
        if more:
            with pytest.raises(Retry, match="larger than"):
                await cloud.call("GET", "/projects")
        else:
            assert await cloud.call("GET", "/projects")


async def test_a_ca_file_that_cannot_be_read_waits_for_a_person(tmp_path):
    with pytest.raises(Pause, match="ca_file"):
        async with open_cloud(
            make_settings(ca_file=tmp_path / "none.pem"), now=lambda: NOW, random=lambda: 0
        ):
            pass


async def test_ca_file_adds_to_the_certificates_that_are_trusted(tmp_path):
    async def answer(_request):
        return Response(200, b'{"ok":1}')

    ca = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with trio.fail_after(20):
        async with serve_http(answer, tls=tls) as url:
            settings = make_settings(url=Url(url))
            async with open_cloud(settings, now=lambda: NOW, random=lambda: 0) as cloud:
                with pytest.raises(Pause, match="certificate of DT's REST API is refused"):
                    await cloud.call("GET", "/projects")
            settings = make_settings(url=Url(url), ca_file=tmp_path / "ca.pem")
            async with open_cloud(settings, now=lambda: NOW, random=lambda: 0) as cloud:
                assert await cloud.call("GET", "/projects") == {"ok": 1}


async def test_dt_is_asked_through_the_proxy_of_the_settings():
    targets = []

    async def proxy(request):
        targets.append(request.path)
        return Response(200, b'{"ok":1}')

    with trio.fail_after(20):
        async with serve_http(proxy) as url:
            settings = make_settings(url=Url("http://localhost:1/v2"), proxy=Url(url))
            async with open_cloud(settings, now=lambda: NOW, random=lambda: 0) as cloud:
                assert await cloud.call("GET", "/projects") == {"ok": 1}
    assert targets == ["http://localhost:1/v2/projects"]


@pytest.mark.fact("Answer bodies of DELETE and :sync are ignored")
async def test_a_body_goes_out_as_json_and_an_answer_may_be_ignored():
    async with opened(httpx.Response(200, text="")) as (cloud, server):
        assert (
            await cloud.call("POST", "/projects/p1/x:sync", body={"a": 1}, ignore_answer=True) == {}
        )
    assert server.requests[0].headers["content-type"] == "application/json"
    assert json.loads(server.requests[0].content) == {"a": 1}


# Secrets


@pytest.mark.fact("Never log assertion, token, secret")
@pytest.mark.parametrize("status", [400, 403, 500, 302])
async def test_no_secret_that_dt_repeats_reaches_an_error(status):
    said = " ".join([*SECRETS, "token-1", "theirs"])
    async with opened(failure(status, said), **OAUTH) as (cloud, _):
        with pytest.raises((Retry, Pause, Reject)) as caught:
            await cloud.call("PATCH", "/projects", body={}, secrets=["theirs"])
    assert f"{caught.value.why.partition(': ')[2]};".startswith(" ".join([HIDDEN] * 6))
    for secret in (*SECRETS, "token-1", "theirs"):
        assert secret not in repr(caught.value)


@pytest.mark.fact("No secret is in the text of the client")
async def test_no_secret_is_in_the_text_of_the_client():
    async with opened(**OAUTH) as (cloud, _):
        await cloud.call("GET", "/projects")
        for secret in (*SECRETS, "token-1"):
            assert secret not in repr(cloud)


@given(body=st.binary())
def test_any_body_may_come_with_an_error(body):
    assert isinstance(error_text(body), str)


# Waiting


@pytest.mark.fact("Retry-After in seconds or as an HTTP date; one gate for all tasks")
@pytest.mark.parametrize("value", ["20", format_datetime(NOW + timedelta(seconds=20), usegmt=True)])
async def test_a_429_shuts_the_gate_for_all_tasks_until_retry_after(autojump_clock, value):
    async with opened(failure(429, **{"Retry-After": value}), {}) as (cloud, server):
        with pytest.raises(Retry) as caught:
            await cloud.call("GET", "/projects")
        assert caught.value.after == 20
        await trio.sleep(19)
        with pytest.raises(Retry) as caught:
            await cloud.call("GET", "/others")
        assert caught.value.after == pytest.approx(1)
        assert len(server.requests) == 1
        await trio.sleep(1)
        await cloud.call("GET", "/others")
    assert len(server.requests) == 2


@pytest.mark.fact("Rate limits are unknown: adapt to 429 at the login too")
async def test_a_429_at_the_login_shuts_the_gate_too(autojump_clock):
    async with opened(**OAUTH, token_answers=[failure(429, **{"Retry-After": "20"})]) as (
        cloud,
        server,
    ):
        for _ in range(2):
            with pytest.raises(Retry):
                await cloud.call("GET", "/projects")
            await trio.sleep(10)
        assert len(server.logins) == 1
        await cloud.call("GET", "/projects")


@pytest.mark.fact("Without Retry-After: back off")
async def test_429s_without_a_time_shut_the_gate_for_ever_longer(autojump_clock):
    async with opened(*[failure(429)] * 3, {}, failure(429)) as (cloud, _):
        waits = []
        for _ in range(3):
            with pytest.raises(Retry) as caught:
                await cloud.call("GET", "/projects")
            waits.append(caught.value.after)
            await trio.sleep(caught.value.after)
        assert waits == pytest.approx([0.5, 1, 2])
        await cloud.call("GET", "/projects")
        with pytest.raises(Retry) as caught:
            await cloud.call("GET", "/projects")
        assert caught.value.after == pytest.approx(0.5)


async def test_a_503_tells_how_long_to_wait_but_shuts_no_gate():
    async with opened(failure(503, **{"Retry-After": "7"}), {}) as (cloud, server):
        with pytest.raises(Retry) as caught:
            await cloud.call("GET", "/projects")
        assert caught.value.after == 7
        await cloud.call("GET", "/projects")
    assert len(server.requests) == 2


@pytest.mark.fact("5xx, time-out, non-JSON: back-off with jitter, bounded attempts")
async def test_patience_ends_after_a_bounded_number_of_attempts(autojump_clock):
    async with opened(failure(500)) as (cloud, server):
        with pytest.raises(Retry):
            await cloud.patiently(lambda: cloud.call("GET", "/projects"))
    assert len(server.requests) == MAX_ATTEMPTS
    assert trio.current_time() == pytest.approx(0.5 + 1 + 2 + 4, abs=0.1)


async def test_patience_waits_as_long_as_dt_asks(autojump_clock):
    async with opened(failure(429, **{"Retry-After": "40"}), {"ok": 1}) as (cloud, _):
        assert await cloud.patiently(lambda: cloud.call("GET", "/projects")) == {"ok": 1}
    assert trio.current_time() >= 40


async def test_patience_does_not_wait_for_an_hour(autojump_clock):
    async with opened(failure(429, **{"Retry-After": "3600"}), {}) as (cloud, server):
        with pytest.raises(Retry):
            await cloud.patiently(lambda: cloud.call("GET", "/projects"))
    assert len(server.requests) == 1
    assert trio.current_time() < 1


async def test_what_is_refused_is_not_tried_again():
    async with opened(failure(400)) as (cloud, server):
        with pytest.raises(Reject):
            await cloud.patiently(lambda: cloud.call("GET", "/projects"))
    assert len(server.requests) == 1


# Lists


def items(*names, token=None):
    return {"devices": [{"name": name} for name in names]} | (
        {} if token is None else {"nextPageToken": token}
    )


@pytest.mark.fact(
    "Lists carry nextPageToken, empty or absent on the last page; the same query plus pageToken",
)
async def test_a_list_is_read_to_its_last_page():
    async with opened(
        items("a", "b", token="t/1"), items("c", token="t2"), items("d", token="")
    ) as (cloud, server):
        found = await cloud.listing(DEVICES, "devices", [("pageSize", "2")])
    assert [device["name"] for device in found] == ["a", "b", "c", "d"]
    assert [request.url.query for request in server.requests] == [
        b"pageSize=2",
        b"pageSize=2&pageToken=t%2F1",
        b"pageSize=2&pageToken=t2",
    ]


@pytest.mark.fact("Mistake: a page token kept from the listing before")
async def test_the_next_list_begins_at_its_first_page():
    async with opened(items("a", token="t1"), items("b"), items("c")) as (cloud, server):
        await cloud.listing(DEVICES, "devices")
        await cloud.listing(DEVICES, "devices")
    assert [b"pageToken" in request.url.query for request in server.requests] == [
        False,
        True,
        False,
    ]


@pytest.mark.fact("A page token that repeats stops a list with an error")
async def test_a_page_token_that_repeats_ends_the_list_with_an_error():
    async with opened(items("a", token="t1")) as (cloud, server):
        with pytest.raises(Pause, match="a second time"):
            await cloud.listing(DEVICES, "devices")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer", [{"devices": {}}, {"devices": "x"}, {"devices": [], "nextPageToken": 7}]
)
async def test_an_answer_without_a_list_is_trouble_at_dt(answer):
    async with opened(answer) as (cloud, _):
        with pytest.raises(Retry, match="without a list of devices"):
            await cloud.listing(DEVICES, "devices")


@pytest.mark.parametrize(
    "answer", [{}, {"devices": None}, {"devices": []}, {"devices": ["x", None]}]
)
async def test_a_list_may_be_empty_or_left_out(answer):
    async with opened(answer) as (cloud, _):
        assert await cloud.listing(DEVICES, "devices") == []


# Settings


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"service_account_secret": None}, "service_account_secret"),
        ({"service_account_key": None}, "service_account_key"),
        ({"project": None}, "project"),
        ({"auth": "oauth"}, "service_account_email"),
        ({"service_account_key": "a:b"}, "service_account_key"),
        ({"url": Url("http://api.example.org/v2")}, "url"),
        ({"token_url": Url("http://identity.example.org")}, "token_url"),
    ],
)
def test_credentials_that_cannot_work_are_refused_at_start(settings, name):
    with pytest.raises(SettingError) as caught:
        make_settings(**settings)
    assert caught.value.setting == name
    assert caught.value.message.startswith("expected ")


@pytest.mark.parametrize(
    "settings", [{"project": "a/b"}, {"connector": "x:y"}, {"events": ("a b",)}, {"page_size": 0}]
)
def test_a_setting_for_dt_of_the_wrong_form_is_refused(settings):
    with pytest.raises(ValueError):
        make_settings(**settings)


@pytest.mark.fact("The base is https://api.d21s.com/v2, success is 200 and nothing else")
def test_the_addresses_are_those_of_dt_unless_told_otherwise():
    settings = Settings(secret=Secret("s"))
    assert settings.url == "https://api.d21s.com/v2"
    assert settings.token_url == "https://identity.disruptive-technologies.com/oauth2/token"
    assert settings.page_size == 500


def test_an_emulator_on_this_machine_may_be_asked_without_tls():
    assert make_settings(url=Url("http://127.0.0.1:8080/v2")).url == "http://127.0.0.1:8080/v2"

"""The emulator of DT's REST API and identity service, asked by a small client of its
own.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random

import httpx
import pytest
import trio

from bridge_plugins.disruptive.emulator.rest.faults import (
    Meter,
    Rate,
    RestFault,
    error,
    html,
    redirect,
    too_many,
)
from bridge_plugins.disruptive.emulator.server import Account, Rules, open_cloud

START = datetime(2024, 5, 29, 10, 34, 3, tzinfo=UTC)
DEVELOPER = Account()
USER = Account("user-key", "user-secret", "user@example.org", role="user", basic=True)
NOBODY = Account("nobody-key", "nobody-secret", "nobody@example.org", role="none", basic=True)
BASIC = Account("basic-key", "basic-secret", "basic@example.org", basic=True)
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Clock:
    def __init__(self):
        self.time = START

    def __call__(self):
        return self.time


class Client:
    """Asks with a token, or a user and password."""

    def __init__(self, cloud, http, clock):
        self.cloud, self.http, self.clock = cloud, http, clock
        self.headers = {}
        self.project = cloud.add_project("p1")

    def assertion(self, account=DEVELOPER, *, header=None, secret=None, **claims):
        issued = int(self.clock.time.timestamp()) - 5
        header = {"alg": "HS256", "kid": account.key, **(header or {})}
        claims = {
            "iat": issued,
            "exp": issued + 3600,
            "aud": self.cloud.token_url,
            "iss": account.email,
            **claims,
        }
        parts = [
            urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
            for part in (
                header,
                {name: value for name, value in claims.items() if value is not None},
            )
        ]
        mac = hmac.new(
            (secret or account.secret).encode(), b".".join(parts), hashlib.sha256
        ).digest()
        return b".".join([*parts, urlsafe_b64encode(mac).rstrip(b"=")]).decode()

    async def token(self, assertion, grant_type=GRANT):
        return await self.http.post(
            self.cloud.token_url, data={"grant_type": grant_type, "assertion": assertion}
        )

    async def login(self, account=DEVELOPER):
        answer = await self.token(self.assertion(account))
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return self

    async def __call__(self, method, path, **settings):
        settings = {"headers": self.headers, **settings}
        return await self.http.request(method, self.cloud.rest_url + path, **settings)


@pytest.fixture
async def client():
    async with opened() as client:
        yield client


@asynccontextmanager
async def opened(**rules):
    clock = Clock()
    accounts = [DEVELOPER, USER, NOBODY, BASIC]
    with trio.fail_after(20):
        async with (
            open_cloud(
                accounts=accounts, now=clock, random=Random(1), asymmetric=False, verify=False
            ) as cloud,
            httpx.AsyncClient(trust_env=False, verify=False) as http,
        ):
            cloud.rules = Rules(**rules)
            yield await Client(cloud, http, clock).login()


# --- who may ask ---


@pytest.mark.fact("OAuth2 JWT bearer gives access_token and expires_in; more members possible")
async def test_an_assertion_is_exchanged_for_an_access_token(client):
    answer = await client.token(client.assertion())
    assert answer.status_code == 200
    assert answer.json()["expires_in"] == 3600
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await client("GET", "/projects", headers=headers)).status_code == 200


NOW = int(START.timestamp())


@pytest.mark.fact("Wrong aud, iss, kid, signature, times: 400 with an RFC 6749 body")
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"aud": "https://identity.disruptive-technologies.com/oauth2/token"}, "aud"),
        ({"aud": None}, "aud"),
        ({"iss": "somebody@example.org"}, "untrusted entity"),
        ({"header": {"kid": "no-such-key"}}, "untrusted entity"),
        ({"header": {"alg": "none"}}, "signature"),
        ({"secret": "another"}, "signature"),
        ({"iat": NOW + 1}, "timing"),
        ({"exp": NOW}, "timing"),
        ({"exp": NOW + 3601, "iat": NOW}, "timing"),
        ({"iat": None}, "timing"),
        ({"exp": "soon"}, "timing"),
    ],
)
async def test_a_wrong_assertion_is_answered_400_with_its_cause(client, changes, word):
    answer = await client.token(client.assertion(**changes))
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"
    assert word in answer.json()["error_description"]


@pytest.mark.parametrize("assertion", ["", "a.b", "!.!.!", "bm8.bm8.bm8", "W10.W10.W10", "a.a.a"])
async def test_what_is_no_token_is_answered_400(client, assertion):
    assert (await client.token(assertion)).status_code == 400


@pytest.mark.fact("Unsupported grant type is 400")
async def test_another_grant_type_is_not_supported(client):
    answer = await client.token(client.assertion(), grant_type="client_credentials")
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.fact("The token endpoint wants application/x-www-form-urlencoded")
async def test_the_token_endpoint_wants_a_form(client):
    answer = await client.http.post(client.cloud.token_url, json={"grant_type": GRANT})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.fact("Clock skew gives 400; iat 5 s back survives 5 s")
@pytest.mark.parametrize(("offset", "status"), [(-5, 200), (-6, 400), (3594, 200), (3595, 400)])
async def test_a_clock_that_differs_by_too_much_is_answered_400(offset, status):
    async with opened() as client:
        client.cloud.rules = Rules(clock_offset=offset)
        assert (await client.token(client.assertion())).status_code == status


async def test_a_leeway_forgives_a_clock():
    async with opened() as client:
        client.cloud.rules = Rules(clock_offset=-10, token_leeway=5)
        assert (await client.token(client.assertion())).status_code == 200


@pytest.mark.fact("An access token expires (adjustable), then 401")
async def test_an_access_token_ends_when_it_said(client):
    client.cloud.rules = Rules(token_lifetime=60)
    await client.login()
    client.clock.time += timedelta(seconds=59)
    assert (await client("GET", "/projects")).status_code == 200
    client.clock.time += timedelta(seconds=1)
    assert (await client("GET", "/projects")).status_code == 401


async def test_revoked_tokens_are_answered_401_until_the_next_login(client):
    client.cloud.revoke_tokens()
    assert (await client("GET", "/projects")).status_code == 401
    await client.login()
    assert (await client("GET", "/projects")).status_code == 200


@pytest.mark.fact("Basic works only with enableBasicAuth")
@pytest.mark.parametrize(
    ("account", "secret", "status"),
    [(BASIC, "basic-secret", 200), (BASIC, "wrong", 401), (DEVELOPER, DEVELOPER.secret, 401)],
)
async def test_basic_works_only_where_it_is_enabled(client, account, secret, status):
    answer = await client("GET", "/projects", headers={}, auth=(account.key, secret))
    assert answer.status_code == status


@pytest.mark.fact("Other credentials are 401")
@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer nonsense", "Basic !!", "Basic /w==", b"Basic \xe9", "Digest x"]
)
async def test_other_credentials_are_answered_401(client, value):
    answer = await client("GET", "/projects", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.json()["code"] == 401


@pytest.mark.fact("Project User reads, Project Developer writes and syncs; else 403")
@pytest.mark.parametrize(
    ("account", "read", "write"),
    [(USER, 200, 403), (DEVELOPER, 200, 404), (NOBODY, 403, 403), (BASIC, 200, 404)],
)
async def test_a_user_reads_and_a_developer_writes(client, account, read, write):
    await client.login(account)
    assert (await client("GET", "/projects/p1/dataconnectors")).status_code == read
    for method, path in [("PATCH", "/c1"), ("DELETE", "/c1"), ("POST", "/c1:sync")]:
        assert (
            await client(method, "/projects/p1/dataconnectors" + path, json={})
        ).status_code == write


# --- errors ---


@pytest.mark.fact("Error body has error, code, help")
async def test_an_error_has_a_sentence_a_code_and_help(client):
    answer = await client("GET", "/projects/nowhere/devices")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": "the project was not found",
        "code": 404,
        "help": "https://docs.d21s.com/error/#404",
    }


async def test_members_of_an_error_may_be_missing():
    async with opened(error_members=("error",)) as client:
        answer = await client("GET", "/projects/nowhere/devices")
        assert answer.json() == {"error": "the project was not found"}


@pytest.mark.fact("404 on :method paths means the project")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/projects", 405),
        ("GET", "/projects/p1/devices/d", 404),
        ("GET", "/projects/p1/devices/d/events", 404),
        ("GET", "/projects/nowhere/dataconnectors/c:metrics", 404),
        ("GET", "/projects?pagesize=3", 400),
        ("GET", "/projects?pageSize=0", 400),
        ("GET", "/projects?pageSize=many", 400),
        ("GET", "/projects?pageSize=1&pageSize=2", 400),
        ("GET", "/projects?pageToken=made-up", 400),
    ],
)
async def test_what_is_not_there_or_not_understood_is_refused(client, method, path, status):
    answer = await client(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, status)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
async def test_a_body_that_is_no_object_is_answered_400(client, body):
    assert (await client("POST", "/projects/p1/dataconnectors", content=body)).status_code == 400


# --- pages ---


async def listed(client, path, member, **query):
    """Read a list to its end; gives the items and the number of pages."""
    items, pages, token = [], 0, None
    while pages == 0 or token:
        answer = await client(
            "GET", path, params={**query, **({"pageToken": token} if token else {})}
        )
        assert answer.status_code == 200, answer.text
        items += answer.json()[member]
        pages, token = pages + 1, answer.json()["nextPageToken"]
    return items, pages


@pytest.mark.fact("Lists come in pages, nextPageToken empty at the end")
@pytest.mark.parametrize(("devices", "pages"), [(0, 1), (2, 1), (3, 2), (5, 3)])
async def test_a_list_comes_in_pages(devices, pages):
    async with opened(page_size=2) as client:
        for number in range(devices):
            client.project.add_device(f"d{number}", "touch")
        items, read = await listed(client, "/projects/p1/devices", "devices")
        assert [item["name"] for item in items] == [
            f"projects/p1/devices/d{number}" for number in range(devices)
        ]
        assert read == pages


@pytest.mark.fact("pageSize, with a maximum (unknown)")
@pytest.mark.parametrize(
    ("name", "size", "pages"), [("pageSize", 3, 2), ("page_size", 5, 1), ("pageSize", 9, 2)]
)
async def test_the_call_may_choose_the_page_size_up_to_a_limit(name, size, pages):
    async with opened(max_page_size=5 if size < 9 else 4) as client:
        for number in range(5):
            client.project.add_device(f"d{number}", "touch")
        items, read = await listed(client, "/projects/p1/devices", "devices", **{name: size})
        assert (len(items), read) == (5, pages)


@pytest.mark.fact("pageToken goes with the same query")
async def test_a_page_token_needs_the_query_that_it_came_from():
    async with opened(page_size=1) as client:
        client.cloud.add_project("p2")
        token = (await client("GET", "/projects")).json()["nextPageToken"]
        wrong = await client("GET", "/projects", params={"pageSize": 1, "pageToken": token})
        assert wrong.status_code == 400
        again = [
            (await client("GET", "/projects", params={"pageToken": token})).json() for _ in range(2)
        ]
        assert again[0] == again[1]
        assert again[0]["projects"][0]["name"] == "projects/p2"


@pytest.mark.fact("Mistake: not percent-encoding a page token")
async def test_a_page_token_that_is_not_percent_encoded_is_not_ours():
    async with opened(page_size=1) as client:
        client.cloud.add_project("p2")
        token = (await client("GET", "/projects")).json()["nextPageToken"]
        assert (await client("GET", f"/projects?pageToken={token}")).status_code == 400


@pytest.mark.fact("A page token may repeat")
async def test_a_list_can_name_the_same_next_page_for_ever():
    async with opened(repeat_page_token=True) as client:
        token = (await client("GET", "/projects")).json()["nextPageToken"]
        assert token
        assert (await client("GET", "/projects", params={"pageToken": token})).json()[
            "nextPageToken"
        ] == token


@pytest.mark.fact("GET /projects")
async def test_a_project_tells_what_it_has(client):
    client.project.add_device("d", "touch")
    client.project.add_device("g", "ccon")
    [project] = (await client("GET", "/projects")).json()["projects"]
    assert project["name"] == "projects/p1"
    assert project["organization"].startswith("organizations/")
    assert (project["sensorCount"], project["cloudConnectorCount"]) == (1, 1)


# --- what goes wrong ---


@pytest.mark.fact("429 with Retry-After in seconds, by a rate")
async def test_calls_above_the_rate_hear_429_and_when_to_come_again(client):
    client.cloud.rules = Rules(rate=Rate(2, 3600))
    answers = [await client("GET", "/projects") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 3590 < int(answers[2].headers["Retry-After"]) <= 3600
    assert answers[2].json()["code"] == 429


@pytest.mark.fact("429 with Retry-After as an HTTP date")
async def test_retry_after_can_be_a_date(client):
    client.cloud.rules = Rules(rate=Rate(1, 60, as_date=True))
    await client("GET", "/projects")
    answer = await client("GET", "/projects")
    when = parsedate_to_datetime(answer.headers["Retry-After"])
    assert START + timedelta(seconds=50) < when <= START + timedelta(seconds=60)


async def test_the_rate_allows_calls_again_after_its_time(autojump_clock):
    meter, rate = Meter([]), Rate(2, 10)
    assert [meter.wait(rate), meter.wait(rate), meter.wait(rate)] == [0, 0, 10]
    await trio.sleep(9)
    assert meter.wait(rate) == 1
    await trio.sleep(1)
    assert meter.wait(rate) == 0


@pytest.mark.fact("5xx, HTML, redirect, 429 as faults")
@pytest.mark.parametrize(
    ("answer", "status", "header"),
    [
        (too_many(7), 429, ("Retry-After", "7")),
        (too_many(7, date_from=START), 429, ("Retry-After", "Wed, 29 May 2024 10:34:10 GMT")),
        (error(503, "unavailable"), 503, ("Content-Type", "application/json")),
        (html(), 200, ("Content-Type", "text/html")),
        (html(502), 502, ("Content-Type", "text/html")),
        (
            redirect("https://elsewhere.example.org/"),
            302,
            ("Location", "https://elsewhere.example.org/"),
        ),
    ],
)
async def test_a_fault_answers_as_often_as_asked(client, answer, status, header):
    client.cloud.rest_faults.append(RestFault(answer, times=2))
    for _ in range(2):
        wrong = await client("GET", "/projects")
        assert wrong.status_code == status
        assert wrong.headers[header[0]] == header[1]
    assert (await client("GET", "/projects")).status_code == 200


async def test_a_connection_can_be_cut_before_the_answer(client):
    client.cloud.rest_faults.append(RestFault(cut=True))
    with pytest.raises(httpx.RemoteProtocolError):
        await client("GET", "/projects")
    assert (await client("GET", "/projects")).status_code == 200


async def test_an_answer_can_be_another_than_that_of_what_was_done(client):
    client.cloud.rest_faults.append(RestFault(error(503, "unavailable"), takes_effect=True))
    body = {"type": "HTTP_PUSH", "httpConfig": {"url": "http://127.0.0.1:1/"}}
    answer = await client("POST", "/projects/p1/dataconnectors", json=body)
    assert (answer.status_code, len(client.cloud.connectors)) == (503, 1)


@pytest.mark.fact("Cut REST connection, before or after the effect")
@pytest.mark.parametrize("takes_effect", [False, True])
async def test_a_call_whose_answer_was_cut_off_may_have_taken_effect(client, takes_effect):
    client.cloud.rest_faults.append(RestFault(cut=True, takes_effect=takes_effect))
    body = {"type": "HTTP_PUSH", "httpConfig": {"url": "http://127.0.0.1:1/"}}
    with pytest.raises(httpx.RemoteProtocolError):
        await client("POST", "/projects/p1/dataconnectors", json=body)
    assert len(client.cloud.connectors) == takes_effect


@pytest.mark.fact("Slow REST answer")
async def test_an_answer_can_be_slow(client):
    client.cloud.rest_faults.append(RestFault(delay=3600))
    with pytest.raises(httpx.ReadTimeout):
        await client("GET", "/projects", timeout=0.05)
    client.cloud.rest_faults.append(RestFault(delay=0.01))
    assert (await client("GET", "/projects")).status_code == 200


async def test_a_fault_can_be_meant_for_some_calls_only(client):
    client.cloud.rest_faults.append(RestFault(error(500, "broken"), call="/oauth2/token"))
    assert (await client("GET", "/projects")).status_code == 200
    assert (await client.token(client.assertion())).status_code == 500
    assert (await client.token(client.assertion())).status_code == 200


async def test_every_call_is_noted(client):
    client.cloud.calls.clear()
    await client("GET", "/projects", params={"pageSize": 3})
    await client.token(client.assertion())
    assert client.cloud.calls == ["GET /v2/projects?pageSize=3", "POST /oauth2/token"]


async def test_no_secret_is_in_the_text_of_an_account(client):
    assert DEVELOPER.secret not in repr(client.cloud.accounts)

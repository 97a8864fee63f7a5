"""The emulator of the REST API: whether it is as exact as the real one."""

import base64
import hashlib
import hmac
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest
import trio

from bridge_plugins.wattsense.emulator import rest as emulator_rest
from bridge_plugins.wattsense.emulator.options import RestOptions
from bridge_plugins.wattsense.emulator.rest import open_rest_service
from bridge_plugins.wattsense.emulator.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MILLISECONDS = int(NOW.timestamp() * 1000)


def signed(text, *, key="rest-key", secret=b"rest-secret", timestamp=MILLISECONDS):
    """Sign by hand, as the description of the API has it."""
    digest = hmac.new(secret, f"{text}\n{timestamp}".encode(), hashlib.sha512).digest()
    return {
        "X-API-Auth": f"{key}:{base64.b64encode(digest).decode()}",
        "X-API-Timestamp": str(timestamp),
    }


@asynccontextmanager
async def service_of(options=None, *, items=3):
    store = Store()
    for number in range(items):
        point = {
            "deviceId": "t1",
            "property": f"p{number % 2}",
            "slug": f"s{number % 2}",
            "unit": "°C",
        }
        store.add(
            point | {"timestamp": MILLISECONDS + number, "payload": number, "scaledPayload": None}
        )
    async with (
        open_rest_service(store, options, now=lambda: NOW) as service,
        httpx.AsyncClient(base_url=service.url, auth=("rest-key", "rest-secret")) as client,
    ):
        with trio.fail_after(20):
            yield client, service


async def status_of(client, target, headers):
    return (await client.get(target, headers=headers, auth=None)).status_code


@pytest.mark.fact("Emulator REST: HMAC over leading slash and raw query, skew limit")
@pytest.mark.parametrize(
    ("text", "more", "status"),
    [
        ("GET\n/v1/devices\na=x%20y", {}, 200),
        ("GET\nv1/devices\na=x%20y", {}, 401),
        ("GET\n/v1/devices\na=x y", {}, 401),
        ("GET\n/v1/devices\na=x+y", {}, 401),
        ("GET\n/v1/devices", {}, 401),
        ("GET\n/v1/devices\na=x%20y\n", {}, 401),
        ("GET\n/v1/devices\na=x%20y", {"secret": b"other"}, 401),
        ("GET\n/v1/devices\na=x%20y", {"key": "other"}, 401),
        ("GET\n/v1/devices\na=x%20y", {"timestamp": MILLISECONDS - 300_000}, 200),
        ("GET\n/v1/devices\na=x%20y", {"timestamp": MILLISECONDS - 301_000}, 401),
        ("GET\n/v1/devices\na=x%20y", {"timestamp": MILLISECONDS + 301_000}, 401),
    ],
)
async def test_a_signature_covers_the_path_and_the_raw_query(text, more, status):
    async with service_of() as (client, _):
        assert await status_of(client, "/v1/devices?a=x%20y", signed(text, **more)) == status


async def test_without_credentials_nothing_is_told():
    async with service_of(RestOptions(basic=False)) as (client, _):
        assert await status_of(client, "/v1/devices", {}) == 401
        assert (await client.get("/v1/devices")).status_code == 401


@pytest.mark.fact("Emulator REST: the documented calls that the bridge makes")
async def test_the_calls_that_the_bridge_makes_are_answered():
    async with service_of() as (client, _):
        (device,) = (await client.get("/v1/devices")).json()
        assert device["deviceId"] == "t1"
        current = (await client.get("/v1/devices/t1/properties")).json()
        assert [(item["property"], item["payload"]) for item in current] == [("p0", 2), ("p1", 1)]
        query = {"since": MILLISECONDS, "until": MILLISECONDS + 1, "property": "p1", "size": 500}
        (only,) = (await client.get("/v1/devices/t1/properties", params=query)).json()
        assert only["payload"] == 1


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/devices/t2/properties", "/v1/devices/t1/x", "/v1/devices/t1/properties/p0"],
)
async def test_what_there_is_not_is_404(path):
    async with service_of() as (client, _):
        assert (await client.get(path)).status_code == 404
        assert (await client.post("/v1/devices")).status_code == 405


@pytest.mark.fact("Emulator REST: a limit of requests, 429 with Retry-After")
async def test_the_requests_of_a_window_have_a_limit(monkeypatch):
    async with service_of(RestOptions(requests=2, retry_after=7)) as (client, _):
        answers = [await client.get("/v1/devices") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["retry-after"] == "7"
        monkeypatch.setattr(emulator_rest, "WINDOW", 0.0)
        assert (await client.get("/v1/devices")).status_code == 200


@pytest.mark.fact("Emulator REST: 429 without Retry-After")
async def test_a_limit_may_be_told_without_retry_after():
    async with service_of(RestOptions(requests=0, retry_after=None)) as (client, _):
        answer = await client.get("/v1/devices")
        assert (answer.status_code, "retry-after" in answer.headers) == (429, False)


async def test_a_slow_answer_comes_in_the_end():
    async with service_of(RestOptions(slowness=0.01)) as (client, service):
        service.troubles.append("slow")
        assert (await client.get("/v1/devices")).status_code == 200

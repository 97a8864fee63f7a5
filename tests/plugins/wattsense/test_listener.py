"""The receiver on the bridge's own listener: what a caller hears from both together."""

from datetime import UTC, datetime
from functools import partial

import orjson
import pytest
import trio
from attrs import evolve

from bridge.api import Request
from bridge.http.routes import Routes
from bridge.http.webhooks import webhooks
from bridge.testing.fakes import FakeOutlet, fake_source_context
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.webhook import paths, run

ITEM = {"deviceId": "bx01", "property": "p1", "timestamp": 1700000000000, "payload": 21.5}
BODY = orjson.dumps(ITEM)


@pytest.fixture
async def site(nursery):
    """Return a function that sends a request, and the outlet behind it."""
    outlet, routes = FakeOutlet(), Routes()
    settings = Settings(signature="none")
    for path in paths(settings):
        routes.declare(path, "towers")
    context = fake_source_context("towers", outlet=outlet, clock=lambda: datetime.now(UTC))
    context = evolve(context, mount=routes.mounting("towers", outlet))
    await nursery.start(partial(run, settings, context))
    handle = webhooks(routes, commit_timeout=8.0, name="public")

    async def ask(path="/wattsense/values", *, method="POST", body=BODY):
        with trio.fail_after(5):
            return await handle(Request(method, path, "", {}, body, "203.0.113.9"))

    return ask, outlet


@pytest.mark.fact(
    "The customer joins base URL and route by hand: doubled and trailing slashes are tolerated",
)
@pytest.mark.fact("POST and PUT are accepted")
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "path",
    ["/wattsense/values", "/wattsense//values", "//wattsense/values/", "/wattsense/values//"],
)
async def test_values_are_taken_by_post_and_put_with_any_slashes(site, method, path):
    ask, outlet = site
    assert (await ask(path, method=method)).status == 200
    assert [event.device for event in outlet.events] == ["bx01"]


@pytest.mark.fact("Other methods: 405 with Allow: POST, PUT")
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH"])
async def test_another_method_hears_405_and_which_are_allowed(site, method):
    ask, outlet = site
    answer = await ask(method=method)
    assert (answer.status, dict(answer.headers)["Allow"]) == (405, "POST, PUT")
    assert not outlet.events


@pytest.mark.fact("Unknown path: 404")
async def test_an_unknown_route_is_404(site):
    ask, _ = site
    assert (await ask("/wattsense/other")).status == 404


@pytest.mark.fact("Store full or failing: 503 with Retry-After")
async def test_a_store_that_is_full_is_503_with_retry_after(site):
    ask, outlet = site
    outlet.refuse = "the disk is full"
    answer = await ask()
    assert answer.status == 503
    assert int(dict(answer.headers)["Retry-After"]) > 0
    outlet.refuse = None
    assert (await ask()).status == 200

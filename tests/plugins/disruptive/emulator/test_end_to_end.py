"""The whole source and a cloud over real sockets: keys, connector and history are asked
for, events are pushed.
"""

import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest
import trio
import trustme
from attrs import evolve

from bridge.api import HttpRejection, Response, Secret, Url
from bridge.testing.fakes import FakeMount, FakeReport, FakeState, fake_source_context
from bridge.testing.http_server import serve_http
from bridge_plugins.disruptive.emulator.cloud import ORGANIZATION
from bridge_plugins.disruptive.emulator.push.faults import Faults
from bridge_plugins.disruptive.emulator.rest.faults import RestFault
from bridge_plugins.disruptive.emulator.server import Delivery, Rules, open_cloud
from bridge_plugins.disruptive.history import open_history
from bridge_plugins.disruptive.settings import Settings
from bridge_plugins.disruptive.webhook import run

SECRET = "test-secret"
SOON = Delivery(spacing=0.01, jitter=0)


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    return tls


def publish_some(connector, count=6):
    return {
        connector.publish("temperature", f"d{n % 3}", {"value": n}, labels={"name": "x"})
        for n in range(count)
    }


def context_of(**parts):
    return evolve(fake_source_context("sensors", **parts), now=lambda: datetime.now(UTC))


class Bridge:
    """The whole source, on a listener of the tests."""

    def __init__(self):
        self.state = FakeState()
        self.mount = FakeMount()
        self.report = FakeReport()
        self.context = context_of(mount=self.mount, state=self.state, report=self.report)
        self.events = {}
        self.reasons = []

    async def __call__(self, request):
        try:
            accepted = self.mount.routes[request.path](request)
        except HttpRejection as rejection:
            self.reasons.append((rejection.status, rejection.reason))
            return Response(rejection.status)
        self.events |= {event.key: event for event in accepted.events}
        return accepted.answer


@asynccontextmanager
async def whole(scheme, **settings):
    """Run a cloud and the source, which asks the cloud for its keys; gives both."""
    bridge = Bridge()
    with trio.fail_after(20):
        async with (
            serve_http(bridge) as url,
            open_cloud(delivery=SOON, random=Random(1), verify=False, **settings) as cloud,
            trio.open_nursery() as sources,
        ):
            connector = cloud.add_connector(cloud.add_project(), f"{url}/disruptive", SECRET)
            account = cloud.accounts[0]
            bridge.settings = Settings(
                scheme=scheme,
                secret=Secret(SECRET) if scheme != "asymmetric" else None,
                organization=ORGANIZATION,
                issuer=cloud.issuer,
                discovery_url=Url(cloud.discovery_url),
                url=Url(cloud.rest_url),
                token_url=Url(cloud.token_url),
                project=connector.project.id,
                service_account_key=account.key,
                service_account_secret=Secret(account.secret),
                service_account_email=account.email,
                page_size=4,
            )
            await sources.start(partial(run, bridge.settings, bridge.context))
            yield cloud, connector, bridge
            sources.cancel_scope.cancel()


@pytest.mark.fact("Both ES256 and HS256 are accepted from a cloud that was written independently")
@pytest.mark.fact("Every scheme verifies real requests over real sockets, both forms of sub")
@pytest.mark.parametrize("scheme", ["hmac", "asymmetric", "either", "both"])
@pytest.mark.parametrize("whole_name", [False, True])
async def test_every_scheme_accepts_what_is_signed_for_it(scheme, whole_name):
    async with whole(scheme) as (cloud, connector, bridge):
        cloud.keys.whole_name = whole_name
        published = publish_some(connector)
        await cloud.drained()
    assert {event.data["event"]["eventId"] for event in bridge.events.values()} == published
    assert {status for status, _ in bridge.reasons} <= {503}  # until the keys were there


@pytest.mark.fact("A forged DT-Asymmetric-Signature is 401 over real sockets")
@pytest.mark.parametrize(
    "knob",
    [
        "wrong_key",
        "no_asymmetric",
        "doubled_asymmetric",
        "wrong_sub",
        "wrong_iss",
        "der_signature",
        "algorithm_none",
        "expired_token",
        "future_token",
        "tampered_body",
    ],
)
async def test_a_forgery_of_the_second_header_is_refused(knob):
    async with whole("asymmetric") as (cloud, connector, bridge):
        connector.publish("touch", "warm-up")  # the keys are fetched meanwhile
        await cloud.drained()
        bridge.reasons.clear()
        connector.faults = Faults(**{knob: 1.0})
        publish_some(connector)
        await cloud.drained()
    assert [status for status, _ in bridge.reasons] == [401] * 6
    assert len(bridge.events) == 7


@pytest.mark.fact("An unknown kid is not accepted, and the event gets through later")
async def test_an_unknown_key_is_refused_and_the_event_comes_later():
    async with whole("asymmetric") as (cloud, connector, bridge):
        connector.publish("touch", "warm-up")
        await cloud.drained()
        connector.faults = Faults(unknown_kid=1)
        published = publish_some(connector)
        await cloud.drained()
    assert {status for status, _ in bridge.reasons} <= {401, 503}
    assert published <= {event.data["event"]["eventId"] for event in bridge.events.values()}


@pytest.mark.fact("History gives back what a disabled connector lost, with the keys of the pushes")
async def test_the_history_gives_back_what_was_lost_as_if_pushed():
    async with whole("hmac") as (cloud, connector, bridge):
        now = datetime.now(UTC)
        pushed = publish_some(connector)
        await cloud.drained()
        before = dict(bridge.events)
        connector.disable()
        lost = publish_some(connector, 30)
        connector.enable()
        await cloud.drained()
        assert connector.lost == lost

        found = {}
        end = datetime.now(UTC)  # the same for every page, as a page token demands
        async with open_history(bridge.settings, bridge.context) as history:
            for part in await history.parts():
                cursor = None
                while True:
                    page = await history.page(part, now - timedelta(minutes=1), end, cursor)
                    found |= {event.key: event for event in page.events}
                    cursor = page.cursor
                    if cursor is None:
                        break
    assert {event.data["event"]["eventId"] for event in found.values()} == pushed | lost
    assert before.keys() <= found.keys()  # known once
    assert all(found[key].readings == before[key].readings for key in before)


@asynccontextmanager
async def managed(authority, server_tls, tmp_path, *faults, **settings):
    """Run a cloud without connectors, and the source, which makes its own; gives cloud,
    project and source.
    """
    bridge = Bridge()
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with trio.fail_after(20):
        async with (
            serve_http(bridge, tls=server_tls) as url,
            open_cloud(
                delivery=SOON, random=Random(1), verify=trusted, rules=Rules(https_only=True)
            ) as cloud,
            trio.open_nursery() as sources,
        ):
            project, account = cloud.add_project(), cloud.accounts[0]
            cloud.rest_faults.extend(faults)
            made = Settings(
                secret=Secret(SECRET),
                header_name="X-Bridge-Key",
                header_value=Secret("key"),
                url=Url(cloud.rest_url),
                token_url=Url(cloud.token_url),
                project=project.id,
                service_account_key=account.key,
                service_account_secret=Secret(account.secret),
                service_account_email=account.email,
                manage=True,
                public_url=Url(f"{url}/disruptive"),
                **settings,
            )
            await sources.start(partial(run, made, bridge.context))
            yield cloud, project, bridge
            sources.cancel_scope.cancel()


@pytest.mark.fact("A lost answer to create makes no second connector")
@pytest.mark.parametrize(
    "faults", [(), (RestFault(cut=True, takes_effect=True, call="POST /v2/projects"),)]
)
async def test_a_source_makes_its_own_connector_once(authority, server_tls, tmp_path, faults):
    settings = {"events": ("temperature",), "connector_labels": ("name",)}
    async with managed(authority, server_tls, tmp_path, *faults, **settings) as (
        cloud,
        project,
        bridge,
    ):
        await bridge.report.wait_for("is ACTIVE")
        project.publish("touch", "d")
        event_id = project.publish(
            "temperature", "d", {"value": 1}, labels={"name": "x", "room": "1"}
        )
        await cloud.drained()
        assert len(cloud.connectors) == 1
    [event] = bridge.events.values()
    assert event.data["event"]["eventId"] == event_id
    assert event.labels["name"] == "x"
    assert "room" not in event.labels
    assert bridge.reasons == []

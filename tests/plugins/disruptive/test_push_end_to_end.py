"""From DT to the source over real sockets: whatever goes wrong, what was acknowledged
has been received.
"""

import ssl
from base64 import b64decode
from collections import defaultdict
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import httpx
import pytest
import trio
import trustme
from attrs import evolve, fields

from bridge.api import HttpRejection, Response, Secret, Url
from bridge.testing.emulation import EmulatorContext
from bridge.testing.fakes import fake_source_context
from bridge.testing.http_server import HangUp, serve_http
from bridge_plugins.disruptive.emulator.demo import open_devices
from bridge_plugins.disruptive.emulator.push.faults import Faults
from bridge_plugins.disruptive.emulator.server import Delivery, open_emulator
from bridge_plugins.disruptive.history import open_history
from bridge_plugins.disruptive.settings import Settings
from bridge_plugins.disruptive.webhook import make_receive

SECRET = "test-secret"
SOON = Delivery(spacing=0.01, jitter=0)
BRIEF = Delivery(spacing=0.01, jitter=0, keep=timedelta(milliseconds=50))


class Network(httpx.AsyncHTTPTransport):
    """The network, which tells how requests failed."""

    def __init__(self):
        super().__init__()
        self.failed = defaultdict(trio.Event)

    async def handle_async_request(self, request):
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError as exc:
            self.failed[type(exc)].set()
            raise


class Receiver:
    """A tiny bridge: events by key, and the reasons of what it refused."""

    def __init__(self, **settings):
        settings = {"secret": Secret(SECRET), **settings}
        self.receive = make_receive(Settings(**settings), lambda: datetime.now(UTC))
        self.events = {}
        self.times_received = 0
        self.reasons = []
        self.enough = trio.Event()

    async def __call__(self, request):
        try:
            accepted = self.receive(request)
        except HttpRejection as rejection:
            self.reasons.append(rejection.reason)
            return Response(rejection.status)
        for event in accepted.events:
            self.times_received += 1
            self.events[event.key] = event
        if len(self.events) >= 12:
            self.enough.set()
        return accepted.answer

    @property
    def event_ids(self):
        return {event.data["event"]["eventId"] for event in self.events.values()}


@asynccontextmanager
async def pushing_to(handler, **settings):
    settings = {"delivery": SOON, "random": Random(1), "verify": False, **settings}
    async with (
        serve_http(handler) as url,
        open_emulator(f"{url}/dt", SECRET, **settings) as connector,
    ):
        with trio.fail_after(20):
            yield connector


def publish_some(connector, count=6):
    return {
        connector.publish("temperature", f"d{n % 3}", {"value": n}, labels={"name": "x"})
        for n in range(count)
    }


async def test_every_published_event_arrives():
    receiver = Receiver()
    async with pushing_to(receiver) as connector:
        published = publish_some(connector, 30)
        await connector.drained()
    assert receiver.event_ids == published == set(connector.acknowledged)
    assert receiver.reasons == []
    assert {event.readings[0].signal for event in receiver.events.values()} == {"temperature"}


@pytest.mark.fact("Answer: a missing, wrong or expired signature is 401")
@pytest.mark.fact(
    "Mistake: comparing with an HMAC of the body, re-serialising: real requests pass, "
    "changed ones do not"
)
@pytest.mark.fact("Mistake: verifying the token but not the checksum")
@pytest.mark.parametrize(
    ("knob", "reason"),
    [
        ("tampered_body", "does not match checksum_sha256"),
        ("wrong_secret", "another secret"),
        ("no_signature", "no X-Dt-Signature"),
        ("doubled_signature", "2 values"),
        ("expired_token", "expired"),
        ("future_token", "not valid yet"),
        ("algorithm_none", "three base64url parts"),
        ("sha1_only", "no checksum_sha256"),
    ],
)
async def test_a_forgery_is_refused_and_the_event_gets_through_later(knob, reason):
    receiver = Receiver()
    async with pushing_to(receiver, faults=Faults(**{knob: 1.0})) as connector:
        published = publish_some(connector)
        await connector.drained()
    assert len(receiver.reasons) == 6
    assert all(reason in text for text in receiver.reasons)
    assert connector.outcomes == {"401": 6, "200": 6}
    assert receiver.event_ids == published


async def test_sha1_alone_is_accepted_where_that_was_asked_for():
    receiver = Receiver(legacy_sha1=True)
    async with pushing_to(receiver, faults=Faults(sha1_only=1)) as connector:
        published = publish_some(connector)
        await connector.drained()
    assert connector.outcomes == {"200": 6}
    assert receiver.event_ids == published


@pytest.mark.parametrize(
    "faults", [Faults(no_metadata=1, no_samples=1), Faults(chunked=1), Faults(reorder=0.5)]
)
async def test_genuine_oddities_are_accepted_at_once(faults):
    receiver = Receiver()
    async with pushing_to(receiver, faults=faults) as connector:
        published = publish_some(connector)
        await connector.drained()
    assert connector.outcomes == {"200": 6}
    assert receiver.event_ids == published


@pytest.mark.fact("Mistake: no leeway")
@pytest.mark.parametrize(
    ("offset", "outcomes"), [(100, {"200": 6}), (-3000, {"200": 6}), (140, {"401": 6, "200": 6})]
)
async def test_clocks_that_differ_by_less_than_leeway_do_not_matter(offset, outcomes):
    async with pushing_to(Receiver(), faults=Faults(clock_offset=offset)) as connector:
        publish_some(connector)
        await connector.drained()
    assert connector.outcomes == outcomes


@pytest.mark.fact("Fault, connection cut before or after the answer")
@pytest.mark.parametrize(
    ("faults", "outcome"),
    [
        (Faults(cut_after_answer=1), "answer lost"),
        (Faults(cut_before_answer=1), "connection cut"),
        (Faults(cut_before_answer=1, chunked=1), "connection cut"),
    ],
)
async def test_a_lost_answer_makes_duplicates_with_the_same_key(faults, outcome):
    receiver = Receiver()
    async with pushing_to(receiver, faults=faults) as connector:
        published = publish_some(connector)
        await connector.drained()
    assert connector.outcomes == {outcome: 6, "200": 6}
    assert receiver.event_ids == published
    assert len(receiver.events) == 6
    if outcome == "answer lost":
        assert receiver.times_received == 12


async def test_a_duplicate_has_the_key_of_the_first():
    receiver = Receiver()
    async with pushing_to(receiver, faults=Faults(duplicate=1)) as connector:
        publish_some(connector)
        await connector.drained()
    assert (receiver.times_received, len(receiver.events)) == (12, 6)


@pytest.mark.fact("A body may hold bytes that are not UTF-8")
@pytest.mark.parametrize("labels", [None, {"name": "x"}])
async def test_a_body_that_is_not_utf8_is_acknowledged_and_kept(labels):
    receiver = Receiver()
    async with pushing_to(receiver, faults=Faults(invalid_utf8=1)) as connector:
        event_id = connector.publish("touch", "d", labels=labels)
        await connector.drained()
    [event] = receiver.events.values()
    assert event.kind == "unreadable"
    assert event_id.encode() in b64decode(event.data["base64"])
    assert b"\xff" in b64decode(event.data["base64"])


@pytest.mark.fact("Answer: an unknown type is 200 and kept")
@pytest.mark.fact("Mistake 11: 4xx for authentic but unwanted events")
@pytest.mark.fact("Unknown event types are pushed like others")
async def test_an_unknown_type_is_acknowledged_and_kept():
    receiver = Receiver()
    async with pushing_to(receiver) as connector:
        connector.publish("smellDetected", "d", {"strength": 7})
        await connector.drained()
    [event] = receiver.events.values()
    assert event.kind == "smellDetected"
    assert event.data["event"]["data"]["smellDetected"]["strength"] == 7


async def test_a_bridge_that_comes_and_goes_loses_nothing():
    receiver = Receiver()

    async def hang_up(_request):
        raise HangUp

    async with serve_http(hang_up) as url:
        port = int(url.rpartition(":")[2])
    network = Network()
    async with open_emulator(
        f"{url}/dt", SECRET, delivery=SOON, random=Random(1), transport=network
    ) as connector:
        with trio.fail_after(20):
            published = publish_some(connector)
            await network.failed[httpx.ConnectError].wait()
            async with serve_http(hang_up, port=port):
                await network.failed[httpx.RemoteProtocolError].wait()
            async with serve_http(receiver, port=port):
                await connector.drained()
                published |= publish_some(connector)
                await connector.drained()
    assert receiver.event_ids == published == set(connector.acknowledged)


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    return tls


@pytest.mark.fact("Fault, half-closed connection with half a body")
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_body_that_ends_too_soon_is_not_taken_for_an_event(
    authority, server_tls, encrypted
):
    receiver = Receiver()
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    settings = {
        "delivery": SOON,
        "random": Random(1),
        "verify": trusted,
        "faults": Faults(half_closed=1),
    }
    with trio.fail_after(20):
        async with (
            serve_http(receiver, tls=server_tls if encrypted else None) as url,
            open_emulator(f"{url}/dt", SECRET, **settings) as connector,
        ):
            published = publish_some(connector)
            await connector.drained()
    assert connector.outcomes == {"half-closed, no answer": 6, "200": 6}
    assert (receiver.event_ids, receiver.times_received) == (published, 6)


@pytest.mark.fact("The bridge's certificate must be trusted; else the attempt failed")
async def test_a_certificate_that_nobody_trusts_is_a_failure(server_tls):
    receiver = Receiver()
    with trio.fail_after(20):
        async with (
            serve_http(receiver, tls=server_tls) as url,
            open_emulator(f"{url}/dt", SECRET, delivery=BRIEF) as connector,
        ):
            event_id = connector.publish("touch", "d")
            await connector.drained()
    assert (connector.lost, set(connector.outcomes)) == ({event_id}, {"ConnectError"})
    assert receiver.events == {}


@pytest.mark.fact("Fault, half-closed connection hears the answer")
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "400"),
        (b"nonsense\r\n", "half-closed, no answer"),
    ],
)
async def test_a_half_closed_connection_still_hears_an_answer(answer, outcome):
    async def refuse(stream):
        received = b""
        while some := await stream.receive_some(4096):
            received += some
        await stream.send_all(answer)
        assert b"\r\n\r\n{" in received
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, refuse, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/dt"
        with trio.fail_after(20):
            faults = Faults(half_closed=1, attempts=1000)
            async with open_emulator(url, SECRET, delivery=BRIEF, faults=faults) as connector:
                connector.publish("touch", "d")
                await connector.drained()
        nursery.cancel_scope.cancel()
    assert set(connector.outcomes) == {outcome}


@pytest.mark.parametrize("fault", ["half_closed", "cut_before_answer"])
async def test_a_bridge_that_is_away_is_a_failure_like_others(fault):
    async with serve_http(Receiver()) as url:
        pass
    faults = Faults(**{fault: 1})
    with trio.fail_after(20):
        async with open_emulator(url, SECRET, delivery=BRIEF, faults=faults) as connector:
            event_id = connector.publish("touch", "d")
            await connector.drained()
    assert connector.lost == {event_id}
    assert set(connector.outcomes) <= {"OSError", "ConnectionRefusedError", "ConnectError"}


async def test_the_demo_pushes_readings_of_all_its_devices_over_tls(
    tmp_path, authority, server_tls
):
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    receivers = []

    async def receive(request):
        return await receivers[0](request)

    async with serve_http(receive, tls=server_tls) as url:
        context = EmulatorContext(
            bridge_url=url,
            listener="public",
            ca_file=tmp_path / "ca.pem",
            certificate=tmp_path / "both.pem",
            key=tmp_path / "both.pem",
            random=Random(1),
            arrived=lambda *_: None,
        )
        async with open_devices(context) as emulation:
            assert emulation.section == "source:sensors"
            assert emulation.settings["plugin"] == "disruptive"
            assert emulation.settings["listener"] == "public"
            settings = settings_of(emulation)
            receivers.append(Receiver(path=settings.path, secret=settings.secret))
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(emulation.run, 500.0)
                    await receivers[0].enough.wait()
                    nursery.cancel_scope.cancel()
                # The bridge of the demo may read back, too.
                reading = evolve(fake_source_context("sensors"), now=lambda: datetime.now(UTC))
                async with open_history(settings, reading) as history:
                    assert len(await history.parts()) == 6
    events = receivers[0].events.values()
    assert len({event.device for event in events}) == 6
    assert all(event.labels["name"] for event in events)
    assert all(event.readings for event in events)
    assert receivers[0].reasons == []


def settings_of(emulation):
    """Read the demo's settings as a bridge does."""
    made = {
        "secret": Secret,
        "service_account_secret": Secret,
        "ca_file": Path,
        "url": Url,
        "token_url": Url,
    }
    texts = {
        name: text
        for name, text in emulation.settings.items()
        if name not in ("plugin", "listener")
    }
    assert texts.keys() <= {field.name for field in fields(Settings)}
    return Settings(**{name: made.get(name, str)(text) for name, text in texts.items()})

"""The emulator of the Wattsense cloud against the receiver, over real connections."""

import random
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from attrs import define, field

from bridge.api import HttpRejection, Response, Secret
from bridge.testing.emulation import EmulatorContext
from bridge.testing.fakes import fake_source_context
from bridge.testing.http_server import HangUp, serve_http
from bridge_plugins.wattsense import bridge_source_kinds
from bridge_plugins.wattsense.auth.presets import PRESETS
from bridge_plugins.wattsense.emulator import bridge_emulators
from bridge_plugins.wattsense.emulator.options import FAULTS, WebhookOptions
from bridge_plugins.wattsense.emulator.server import open_emulator
from bridge_plugins.wattsense.emulator.signing import api_key, basic, bearer
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.webhook import ROUTES, make_receive

BODY_LIMIT = 1 << 20


def utc_now():
    return datetime.now(UTC)


@define
class Bridge:
    """What a bridge does with a request, and its spool, in memory."""

    settings: Settings
    stored: dict = field(factory=dict)
    headers: list = field(factory=list)
    trouble: list = field(factory=list)
    """What becomes of the next requests, instead of an answer: a status, or "lost
    answer".
    """

    async def __call__(self, request):
        self.headers.append(request.headers)
        trouble = self.trouble.pop(0) if self.trouble else None
        if isinstance(trouble, int):
            return Response(trouble)
        if len(request.body) > BODY_LIMIT:
            return Response(413)
        route = request.path.rpartition("/")[2]
        if route not in ROUTES:
            return Response(404)
        try:
            accepted = make_receive(self.settings, route, utc_now)(request)
        except HttpRejection as refusal:
            return Response(refusal.status, headers=refusal.headers)
        for event in accepted.events:
            self.stored.setdefault(event.key, event)
        if trouble:
            raise HangUp
        return accepted.answer

    def values(self):
        """Return what was stored in the way the emulator knows it, in the order of
        arrival.
        """
        return [
            (event.device, reading.signal, round(reading.time.timestamp() * 1000))
            for event in self.stored.values()
            for reading in event.readings
        ]


@asynccontextmanager
async def cloud_and_bridge(settings, **how):
    bridge = Bridge(settings)
    async with (
        serve_http(bridge) as url,
        open_emulator(f"{url}/wattsense", rng=random.Random(7), **how) as cloud,
    ):
        with trio.fail_after(20):
            yield cloud, bridge


async def publish_some(cloud, count=12):
    known = [
        await cloud.publish(f"tower-{n % 3}", "room-temperature", 20 + n / 10) for n in range(count)
    ]
    await cloud.drained()
    return known


SECRET = "whsec_c2VjcmV0"


@pytest.mark.fact("Sends by every preset, in order")
@pytest.mark.parametrize("preset", sorted(PRESETS))
async def test_values_signed_by_each_convention_arrive_in_order(preset):
    settings = {} if preset == "none" else {"secret": Secret(SECRET)}
    settings |= {"signature_header": "X-Sign"} if preset in ("bare-hex", "token") else {}
    settings |= {"key_id": "key-1"} if preset == "wattsense-rest" else {}
    signing = {"preset": preset, "secret": SECRET, "header": "X-Sign", "key_id": "key-1"}
    async with cloud_and_bridge(Settings(signature=preset, **settings), **signing) as (
        cloud,
        bridge,
    ):
        known = await publish_some(cloud)
    assert cloud.acknowledged == set(known) == set(bridge.values())
    for tower in ("tower-0", "tower-1", "tower-2"):
        assert [id_ for id_ in bridge.values() if id_[0] == tower] == [
            id_ for id_ in known if id_[0] == tower
        ]


@pytest.mark.fact("Each variant of authentication works over real connections")
@pytest.mark.parametrize(
    ("settings", "credentials"),
    [
        ({"username": "u", "password": Secret("p")}, basic("u", "p")),
        ({"bearer_token": Secret("abc")}, bearer("abc")),
        ({"api_key_header": "X-Api-Key", "api_key": Secret("abc")}, api_key("X-Api-Key", "abc")),
    ],
)
async def test_a_caller_may_authenticate_in_each_way(settings, credentials):
    settings = Settings(signature="none", **settings)
    async with cloud_and_bridge(settings, credentials=credentials) as (cloud, bridge):
        assert cloud.acknowledged >= set(await publish_some(cloud)) == set(bridge.values())
    async with cloud_and_bridge(settings, options=WebhookOptions(retries=0)) as (cloud, bridge):
        assert cloud.given_up >= set(await publish_some(cloud))
        assert not bridge.stored


@pytest.mark.fact("The key in the query or in the document")
@pytest.mark.parametrize(
    ("place", "options"),
    [
        ({"token_parameter": "key"}, WebhookOptions(query="key=k3y")),
        ({"token_member": "key"}, WebhookOptions(members={"key": "k3y"})),
        ({"token_member": "key"}, WebhookOptions(members={"key": "k3y"}, framing="array")),
    ],
)
async def test_the_key_may_be_sent_in_the_query_or_in_the_document(place, options):
    settings = Settings(signature="token", secret=Secret("k3y"), **place)
    async with cloud_and_bridge(settings, options=options) as (cloud, bridge):
        assert cloud.acknowledged >= set(await publish_some(cloud)) == set(bridge.values())
    assert "k3y" not in str(bridge.stored)


PAYLOADS = [
    21,
    21.5,
    -0.0,
    True,
    False,
    "21.5",
    "open",
    {"monday": [{"start": "08:00", "value": 1}]},
    [1, 2],
    None,
]


@pytest.mark.fact("Values of each payload type")
async def test_values_of_each_type_are_sent_and_none_is_lost():
    async with cloud_and_bridge(Settings(signature="none")) as (cloud, bridge):
        for number, payload in enumerate(PAYLOADS):
            await cloud.publish("tower-1", f"point-{number}", payload)
        await cloud.drained()
    assert [event.data["payload"] for event in sorted(bridge.stored.values(), key=lambda e: e.time)]
    assert len(bridge.stored) == len(PAYLOADS) == len(cloud.acknowledged)


@pytest.mark.fact("Values that are never sent are in the store alone")
async def test_values_that_were_never_sent_are_in_the_store_alone():
    async with cloud_and_bridge(Settings(signature="none"), options=WebhookOptions(lost=0.5)) as (
        cloud,
        bridge,
    ):
        known = await publish_some(cloud, 40)
    assert set(bridge.values()) == cloud.acknowledged
    assert cloud.given_up == set(known) - cloud.acknowledged
    assert cloud.given_up
    stored = [item for items in cloud.store.items.values() for item in items]
    assert {(item["deviceId"], item["property"], item["timestamp"]) for item in stored} == set(
        known
    )


@pytest.mark.fact("Caller time-out")
async def test_a_cloud_does_not_wait_longer_than_its_patience():
    async def never(_request):
        await trio.sleep_forever()

    async with (
        serve_http(never) as url,
        open_emulator(url, options=WebhookOptions(retries=0, timeout=0.05)) as cloud,
    ):
        await cloud.publish("tower-1", "energy", 1)
        with trio.fail_after(20):
            await cloud.drained()
    assert cloud.answers == {("values", 0): 1}


@pytest.mark.fact("Content type is ignored; method, framing, gzip and chunking may vary")
@pytest.mark.parametrize(
    "options",
    [
        WebhookOptions(method="PUT", content_type="text/plain"),
        WebhookOptions(framing="array"),
        WebhookOptions(framing="data", lanes=1),
        WebhookOptions(framing="array", gzip=True, chunked=True),
    ],
)
async def test_values_arrive_whatever_the_method_framing_and_encoding(options):
    settings = Settings(signature="github", secret=Secret("abc"))
    async with cloud_and_bridge(settings, preset="github", secret="abc", options=options) as (
        cloud,
        bridge,
    ):
        known = await publish_some(cloud)
    assert cloud.acknowledged == set(known) == set(bridge.values())
    assert all(("transfer-encoding" in headers) == options.chunked for headers in bridge.headers)
    assert all(("content-encoding" in headers) == options.gzip for headers in bridge.headers)


@pytest.mark.fact(
    "Duplicates, reordering, bad signature, stale, malformed, oversized, unwanted items, "
    "events, alarms and unknown messages"
)
async def test_faults_of_the_cloud_neither_lose_nor_invent_a_value():
    faults = dict.fromkeys(set(FAULTS) - {"lost"}, 1)
    settings = Settings(signature="stripe", secret=Secret("abc"), previous_secret=(Secret("old"),))
    options = WebhookOptions(framing="array", max_items=4, **faults)
    how = {"preset": "stripe", "secret": "abc", "options": options}
    async with cloud_and_bridge(settings, **how) as (cloud, bridge):
        known = await publish_some(cloud, 60)
    assert sorted(bridge.values()) == sorted(known)
    assert set(cloud.answers) == {
        ("values", 200),
        ("duplicates", 200),
        ("unwanted", 200),
        ("bad_signature", 401),
        ("stale", 401),
        ("malformed", 400),
        ("oversized", 413),
        ("events", 200),
        ("alarms", 200),
        ("unknown", 200),
        ("unknown-route", 404),
    }


@pytest.mark.fact("Retries")
async def test_a_cloud_that_retries_loses_nothing():
    options = WebhookOptions(lanes=1, pauses=(0.0, 0.01))
    async with cloud_and_bridge(Settings(signature="none"), options=options) as (cloud, bridge):
        bridge.trouble = [503, "lost answer", 500, 503, "lost answer"]
        known = await publish_some(cloud, 4)
    assert cloud.acknowledged == set(known)
    assert bridge.values() == known
    assert cloud.answers == {
        ("values", 503): 2,
        ("values", 500): 1,
        ("values", 0): 2,
        ("values", 200): 4,
    }


@pytest.mark.fact("No retries")
async def test_a_cloud_that_does_not_retry_gives_up():
    async with cloud_and_bridge(
        Settings(signature="none"), options=WebhookOptions(lanes=1, retries=0)
    ) as (cloud, bridge):
        bridge.trouble = [503]
        first, second = await publish_some(cloud, 2)
    assert (cloud.given_up, cloud.acknowledged) == ({first}, {second})


async def test_a_cloud_outlives_the_bridge_that_it_calls():
    bridge = Bridge(Settings(signature="none"))
    async with serve_http(bridge) as url:
        pass  # a port on which nobody listens now
    async with open_emulator(f"{url}/wattsense", options=WebhookOptions(pauses=(0.01,))) as cloud:
        with trio.fail_after(20):
            before = await cloud.publish("tower-1", "energy", 1)
            for _ in range(2):
                async with serve_http(bridge, port=int(url.rpartition(":")[2])):
                    await cloud.drained()
                after = await cloud.publish("tower-1", "energy", 2)
            async with serve_http(bridge, port=int(url.rpartition(":")[2])):
                await cloud.drained()
    assert before in cloud.acknowledged
    assert after in cloud.acknowledged
    assert set(bridge.values()) == cloud.acknowledged


async def test_values_of_a_property_never_share_a_timestamp():
    frozen = datetime(2026, 3, 1, tzinfo=UTC)
    async with cloud_and_bridge(Settings(signature="none"), now=lambda: frozen) as (cloud, _):
        assert len({await cloud.publish("tower-1", "energy", 1) for _ in range(20)}) == 20


@pytest.mark.fact("Late timestamps and other members")
async def test_members_of_a_message_can_be_changed():
    async with cloud_and_bridge(Settings(signature="none")) as (cloud, bridge):
        late = int((utc_now() - timedelta(days=3)).timestamp() * 1000)
        known = await cloud.publish(
            "tower-1", "energy", 215, timestamp=late, scaledPayload=21.5, tags=None
        )
        await cloud.publish("tower-1", "energy", 215, isOutOfService=True)
        await cloud.drained()
    assert known == ("tower-1", "energy", late)
    (reading,) = [reading for event in bridge.stored.values() for reading in event.readings]
    assert (reading.value, round(reading.time.timestamp() * 1000)) == (21.5, late)


@pytest.mark.fact("Events and alarms of any form")
async def test_events_and_alarms_can_be_sent():
    async with cloud_and_bridge(Settings(signature="none")) as (cloud, bridge):
        assert await cloud.send("events", {"deviceId": "tower-1", "status": "OFFLINE"}) == 200
        assert await cloud.send("alarms", [{"severity": "CRITICAL"}]) == 200
        assert await cloud.send("alarms", "text") == 400
    assert sorted(event.kind for event in bridge.stored.values()) == ["alarm", "event"]


@pytest.mark.fact("The demo gives the bridge REST credentials")
async def test_the_demo_publishes_values_that_its_settings_accept(tmp_path, nursery):
    authority, ca_file, tls = (
        trustme.CA(),
        tmp_path / "ca.pem",
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
    )
    authority.cert_pem.write_to_path(ca_file)
    pair = authority.issue_cert("127.0.0.1")
    pair.configure_cert(tls)
    pair.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    enough = trio.Event()
    bridges = []

    async def handler(request):
        answer = await bridges[0](request)
        if len(bridges[0].values()) >= 30:
            enough.set()
        return answer

    async with serve_http(handler, tls=tls) as url:
        context = EmulatorContext(
            url,
            "public",
            ca_file,
            tmp_path / "pair.pem",
            tmp_path / "pair.pem",
            random.Random(1),
            lambda *_: None,
        )
        (kind,) = bridge_emulators()
        async with kind.open(context) as emulation:
            settings = dict(emulation.settings)
            assert (emulation.section, settings.pop("plugin"), settings.pop("listener")) == (
                "source:towers", "wattsense", "public",
            )  # fmt: skip
            secrets = {name: Secret(settings[name]) for name in ("secret", "rest_secret")}
            settings = Settings(**settings | secrets | {"ca_file": Path(settings["ca_file"])})
            bridges.append(Bridge(settings))
            nursery.start_soon(partial(emulation.run, 2000.0))
            with trio.fail_after(20):
                await enough.wait()
            nursery.cancel_scope.cancel()
            with trio.fail_after(20):
                (source_kind,) = bridge_source_kinds()
                context = fake_source_context("towers", clock=utc_now)
                async with source_kind.recovery.open(settings, context) as history:
                    assert set(await history.parts()) >= {
                        device for device, _, _ in bridges[0].values()
                    }
    events = list(bridges[0].stored.values())
    assert len({event.device for event in events}) > 1
    assert {"name", "unit", "tag.floor"} <= set(events[0].labels)

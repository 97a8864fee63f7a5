"""The emulator's Data Connectors, made and changed by REST: what they push then."""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import trio

from bridge_plugins.disruptive.emulator.server import Account, Delivery, Rules, open_cloud

NOW = datetime(2024, 5, 29, 12, 0, 0, tzinfo=UTC)
ACCOUNT = Account(basic=True)
PATH = "/projects/p1/dataconnectors"
URL = "https://bridge.example.org/dt/site-a"


class Client:
    """Asks the REST API, and is the bridge that the pushes go to."""

    def __init__(self, http):
        self.http = http
        self.time = NOW
        self.pushed = []
        self.status = 200
        self.heard = trio.Event()

    async def receive(self, request):
        await request.aread()
        self.pushed.append(request)
        self.heard.set()
        return httpx.Response(self.status)

    async def __call__(self, method, path="", body=None):
        auth = (ACCOUNT.key, ACCOUNT.secret)
        return await self.http.request(
            method, self.cloud.rest_url + PATH + path, json=body, auth=auth
        )

    async def create(self, **members):
        """Create a connector; gives its document and its path."""
        http = {"url": URL, "signatureSecret": "s3cret", "headers": {"X-Bridge-Key": "k"}}
        answer = await self("POST", "", {"type": "HTTP_PUSH", "httpConfig": http, **members})
        assert answer.status_code == 200, answer.text
        return answer.json(), "/" + answer.json()["name"].rpartition("/")[2]

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.pushed]


@asynccontextmanager
async def opened(**rules):
    with trio.fail_after(20):
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            client = Client(http)
            transport = httpx.MockTransport(client.receive)
            delivery = Delivery(spacing=0.01)
            settings = {
                "accounts": [ACCOUNT],
                "asymmetric": False,
                "delivery": delivery,
                "verify": False,
            }
            async with open_cloud(
                now=lambda: client.time, transport=transport, **settings
            ) as cloud:
                cloud.rules = Rules(**rules)
                client.cloud, client.project = cloud, cloud.add_project("p1")
                yield client


@pytest.fixture
async def client():
    async with opened() as client:
        yield client


async def test_a_connector_made_by_rest_pushes_at_once(client):
    made, _ = await client.create(labels=["name"])
    client.project.publish("touch", "d", labels={"name": "x", "room": "1"})
    await client.cloud.drained()
    [request] = client.pushed
    assert request.url == URL
    assert request.headers["X-Bridge-Key"] == "k"
    assert request.headers["X-Dt-Signature"]
    assert client.bodies[0]["labels"] == {"name": "x"}
    assert made["status"] == "ACTIVE"


@pytest.mark.fact("Connectors are created at once active; C reads back as made")
async def test_a_connector_reads_back_as_it_was_made(client):
    wanted = {
        "displayName": "bridge",
        "status": "USER_DISABLED",
        "events": ["co2"],
        "labels": ["name"],
    }
    made, path = await client.create(**wanted)
    assert made == {
        "name": f"projects/p1/dataconnectors{path}",
        "type": "HTTP_PUSH",
        **wanted,
        "httpConfig": {"url": URL, "signatureSecret": "s3cret", "headers": {"X-Bridge-Key": "k"}},
    }
    assert (await client("GET", path)).json() == made
    assert (await client("GET")).json() == {"dataConnectors": [made], "nextPageToken": ""}


@pytest.mark.fact("Labels are those chosen in the connector, default none")
@pytest.mark.fact("Create needs type and httpConfig.url only")
async def test_type_and_url_are_enough_for_a_connector(client):
    answer = await client("POST", "", {"type": "HTTP_PUSH", "httpConfig": {"url": URL}})
    made = answer.json()
    assert (made["events"], made["labels"], made["displayName"]) == ([], [], "")
    assert made["httpConfig"] == {"url": URL, "signatureSecret": "", "headers": {}}
    client.project.publish("touch", "d", labels={"name": "x"})
    await client.cloud.drained()
    assert "X-Dt-Signature" not in client.pushed[0].headers
    assert client.bodies[0]["labels"] == {}


@pytest.mark.fact("signatureSecret is in answers in clear, or absent")
async def test_answers_can_lack_the_secret():
    async with opened(show_secrets=False) as client:
        made, _ = await client.create()
        assert "signatureSecret" not in made["httpConfig"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "HTTP_PUSH"},
        {"type": "AWS_SQS", "httpConfig": {"url": URL}},
        {"type": "HTTP_PUSH", "httpConfig": "x"},
        {"type": "HTTP_PUSH", "httpConfig": {"url": "ftp://x/"}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": "https://"}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": "https://bridge:port/"}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": 7}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": URL, "secret": "x"}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": URL, "headers": []}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": URL, "headers": {"X": 1}}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": URL, "headers": {"X Y": "1"}}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": URL, "headers": {"X": "\u20ac"}}},
        {"type": "HTTP_PUSH", "httpConfig": {"url": URL}, "events": "touch"},
        {"type": "HTTP_PUSH", "httpConfig": {"url": URL}, "status": "SYSTEM_DISABLED"},
        {"type": "HTTP_PUSH", "httpConfig": {"url": URL}, "labells": []},
    ],
)
async def test_a_connector_that_makes_no_sense_is_answered_400(client, body):
    answer = await client("POST", "", body)
    assert (answer.status_code, client.cloud.connectors) == (400, {})


@pytest.mark.fact("A connector URL must be https (selectable)")
async def test_a_cloud_can_insist_on_https():
    async with opened(https_only=True) as client:
        body = {"type": "HTTP_PUSH", "httpConfig": {"url": "http://127.0.0.1/"}}
        assert (await client("POST", "", body)).status_code == 400


@pytest.mark.fact("No idempotency key, a blind retry of create makes two connectors")
async def test_a_blind_second_create_makes_every_event_come_twice(client):
    await client.create()
    await client.create()
    client.project.publish("touch", "d")
    await client.cloud.drained()
    assert len(client.pushed) == 2


@pytest.mark.fact("409 already exists")
async def test_a_second_connector_with_the_same_url_can_be_refused():
    async with opened(unique_urls=True) as client:
        await client.create()
        answer = await client("POST", "", {"type": "HTTP_PUSH", "httpConfig": {"url": URL}})
        assert answer.status_code == 409
        assert answer.json()["error"] == "already exists"


# --- PATCH ---


@pytest.mark.fact("PATCH of a nested member leaves the others alone (assumed)")
async def test_a_patch_changes_what_it_names_and_no_more(client):
    made, path = await client.create(displayName="bridge", events=["co2"])
    answer = await client("PATCH", path, {"httpConfig": {"signatureSecret": "new"}})
    expected = {**made, "httpConfig": {**made["httpConfig"], "signatureSecret": "new"}}
    assert answer.json() == expected
    answer = await client("PATCH", path, {"displayName": "other", "labels": ["name"], "events": []})
    assert answer.json() == {**expected, "displayName": "other", "labels": ["name"], "events": []}


async def test_a_patch_moves_the_pushes(client):
    _, path = await client.create()
    await client("PATCH", path, {"httpConfig": {"url": "https://bridge.example.org/other"}})
    client.project.publish("touch", "d")
    await client.cloud.drained()
    assert client.pushed[0].url == "https://bridge.example.org/other"


@pytest.mark.fact("PATCH of headers merges or replaces (unknown)")
@pytest.mark.parametrize(
    ("merge", "expected"), [(False, {"X-New": "n"}), (True, {"X-Bridge-Key": "k", "X-New": "n"})]
)
async def test_a_patch_of_headers_replaces_or_adds(merge, expected):
    async with opened(merge_headers=merge) as client:
        _, path = await client.create()
        answer = await client("PATCH", path, {"httpConfig": {"headers": {"X-New": "n"}}})
        assert answer.json()["httpConfig"]["headers"] == expected


@pytest.mark.fact("Status SYSTEM_DISABLED is set by DT only")
@pytest.mark.parametrize(
    "body", [{"status": "SYSTEM_DISABLED"}, {"type": "AWS_SQS"}, {"httpConfig": {"x": "y"}}]
)
async def test_a_patch_that_makes_no_sense_changes_nothing(client, body):
    made, path = await client.create()
    assert (await client("PATCH", path, body)).status_code == 400
    assert (await client("GET", path)).json() == made


@pytest.mark.fact("What happens while disabled is never pushed")
async def test_what_is_published_while_disabled_is_never_pushed(client):
    _, path = await client.create()
    await client("PATCH", path, {"status": "USER_DISABLED"})
    lost = client.project.publish("touch", "d")
    await client("PATCH", path, {"status": "ACTIVE"})
    sent = client.project.publish("touch", "d")
    await client.cloud.drained()
    assert [body["event"]["eventId"] for body in client.bodies] == [sent]
    [connector] = client.cloud.connectors.values()
    assert connector.lost == {lost}


@pytest.mark.fact("ACTIVE enables, also after SYSTEM_DISABLED")
async def test_a_client_can_enable_what_the_system_disabled(client):
    _, path = await client.create()
    [connector] = client.cloud.connectors.values()
    connector.disable("SYSTEM_DISABLED")
    assert (await client("GET", path)).json()["status"] == "SYSTEM_DISABLED"
    answer = await client("PATCH", path, {"status": "ACTIVE", "displayName": "back"})
    assert answer.json()["status"] == "ACTIVE"
    assert not connector.disabled


@pytest.mark.fact("Events filter of a connector, empty takes all")
async def test_a_connector_takes_the_types_it_was_told(client):
    await client.create(events=["touch"])
    client.project.publish("co2", "d", {"ppm": 1})
    client.project.publish("touch", "d")
    await client.cloud.drained()
    assert [body["event"]["eventType"] for body in client.bodies] == ["touch"]


# --- delete, sync, metrics ---


@pytest.mark.fact("DELETE answers {} (assumed)")
async def test_a_deleted_connector_is_gone_and_pushes_no_more(client):
    _, path = await client.create()
    answer = await client("DELETE", path)
    assert (answer.status_code, answer.json()) == (200, {})
    client.project.publish("touch", "d")
    assert client.pushed == []
    for method in ("GET", "PATCH", "DELETE"):
        assert (await client(method, path, {} if method == "PATCH" else None)).status_code == 404


async def test_a_connector_of_another_project_is_not_found(client):
    _made, path = await client.create()
    client.cloud.add_project("p2")
    url = f"{client.cloud.rest_url}/projects/p2/dataconnectors{path}"
    assert (await client.http.get(url, auth=(ACCOUNT.key, ACCOUNT.secret))).status_code == 404


@pytest.mark.fact(
    ":sync pushes the latest event of each type of each device; the eventIds are unknown",
)
async def test_sync_pushes_the_latest_event_of_each_type_again():
    async with opened() as client:
        _, path = await client.create()
        old, new = (NOW - timedelta(days=days) for days in (3, 2))
        client.project.publish("co2", "a", {"ppm": 1}, time=old)
        kept = [client.project.publish("co2", "a", {"ppm": 2}, time=new)]
        kept.append(client.project.publish("touch", "a", time=old))
        kept.append(client.project.publish("touch", "b", time=old))
        await client.cloud.drained()
        client.pushed.clear()
        assert (await client("POST", path + ":sync")).json() == {}
        await client.cloud.drained()
        events = [body["event"] for body in client.bodies]
        assert {(event["targetName"][-1], event["eventType"]) for event in events} == {
            ("a", "co2"),
            ("a", "touch"),
            ("b", "touch"),
        }
        assert {event["timestamp"][:10] for event in events} == {"2024-05-26", "2024-05-27"}
        assert {event["eventId"] for event in events} == set(kept)


async def test_sync_of_a_disabled_connector_pushes_nothing(client):
    _, path = await client.create()
    client.project.publish("touch", "d")
    await client.cloud.drained()
    [connector] = client.cloud.connectors.values()
    connector.disable()
    await client("POST", path + ":sync")
    assert len(client.pushed) == 1
    assert connector.lost == set()


@pytest.mark.fact(":metrics is of the last 3 h, latency empty without traffic (assumed)")
async def test_metrics_count_the_attempts_of_three_hours(client):
    _, path = await client.create()
    assert (await client("GET", path + ":metrics")).json() == {
        "metrics": {"successCount": 0, "errorCount": 0, "latency99p": ""}
    }
    client.status = 503
    client.project.publish("touch", "d")
    await client.heard.wait()
    client.status = 200
    await client.cloud.drained()
    client.time += timedelta(hours=2)
    client.project.publish("touch", "d")
    await client.cloud.drained()
    errors = len(client.pushed) - 2
    metrics = (await client("GET", path + ":metrics")).json()["metrics"]
    assert (metrics["successCount"], metrics["errorCount"]) == (2, errors)
    assert metrics["latency99p"].endswith("s")
    client.time += timedelta(hours=1)
    metrics = (await client("GET", path + ":metrics")).json()["metrics"]
    assert (metrics["successCount"], metrics["errorCount"]) == (1, 0)


@pytest.mark.fact("Other connector types are listed without httpConfig")
async def test_other_connectors_are_listed_without_http_config(client):
    other = client.cloud.add_other_connector(client.project, "GOOGLE_CLOUD_PUBSUB")
    _, _path = await client.create()
    listed = (await client("GET")).json()["dataConnectors"]
    assert [connector["type"] for connector in listed] == ["GOOGLE_CLOUD_PUBSUB", "HTTP_PUSH"]
    assert "httpConfig" not in listed[0]
    assert (await client("GET", f"/{other.id}")).json() == listed[0]
    assert (await client("GET", f"/{other.id}:metrics")).status_code == 400
    await client.cloud.drained()
    assert (await client("DELETE", f"/{other.id}")).status_code == 200
    assert [connector["type"] for connector in (await client("GET")).json()["dataConnectors"]] == [
        "HTTP_PUSH"
    ]

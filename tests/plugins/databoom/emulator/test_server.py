"""The emulator of Databoom, asked as a stranger would ask it."""

from __future__ import annotations

import random
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
import trio

from bridge.api import Request
from bridge.testing.emulation import EmulatorContext
from bridge.testing.http_server import HangUp
from bridge_plugins.databoom.emulator.cloud import Cloud
from bridge_plugins.databoom.emulator.model import Rules
from bridge_plugins.databoom.emulator.routes import Access
from bridge_plugins.databoom.emulator.server import (
    SCOPES,
    Emulator,
    Fault,
    Faults,
    open_emulation,
    open_emulator,
)

DATE = "2026-05-04T10:00:00.000+0000"
TIME = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
META = {"tags": ["x"]}


@asynccontextmanager
async def asking(scopes=SCOPES, **more):
    async with open_emulator({"good": scopes}, **more) as emulator:
        client = httpx.AsyncClient(headers={"Authorization": "Bearer good"}, trust_env=False)
        async with client:
            yield emulator, client


def pushed(value=1, name="t", date=DATE, meta=META, device="d"):
    entry = {"name": name, "value": value} | ({"meta": meta} if meta else {})
    return {"device": device, "date": date, "signals": [entry]}


@pytest.mark.fact("Emulator: success body exactly as documented, with and without slash")
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_push_is_answered_as_documented(slash):
    async with asking() as (emulator, client):
        answer = await client.post(emulator.url + slash, json=pushed())
        assert (answer.status_code, answer.content) == (200, b'{"message":"ALL_INFO_PROCESSED"}')
        assert emulator.cloud.points("d", "t") == [(TIME, 1)]


@pytest.mark.fact(
    "A signal sent for the first time without meta is INIT: acknowledged, not recorded",
)
async def test_values_of_a_signal_that_is_not_validated_are_lost():
    async with asking() as (emulator, client):
        assert (await client.post(emulator.url, json=pushed(meta=None))).status_code == 200
        assert emulator.cloud.points("d", "t") == []
        emulator.cloud.validate("d", "t")
        await client.post(emulator.url, json=pushed(2, meta=None))
        assert emulator.cloud.points("d", "t") == [(TIME, 2)]


@pytest.mark.fact("Meta is used only when the signal is created")
async def test_meta_on_a_later_push_does_not_validate():
    async with asking() as (emulator, client):
        await client.post(emulator.url, json=pushed(meta=None))
        await client.post(emulator.url, json=pushed())
        assert emulator.cloud.points("d", "t") == []


@pytest.mark.fact("Emulator: the validation trap can be switched off")
async def test_the_trap_can_be_switched_off():
    async with asking(rules=Rules(validation_trap=False)) as (emulator, client):
        await client.post(emulator.url, json=pushed(meta=None))
        assert emulator.cloud.points("d", "t") == [(TIME, 1)]


@pytest.mark.fact("A push in history form stores each value with its own date")
async def test_a_history_push_brings_dated_values():
    async with asking() as (emulator, client):
        await client.post(emulator.url, json=pushed(0))
        history = [
            {"date": f"2026-05-04T10:0{minute}:00.000Z", "value": minute} for minute in (1, 2)
        ]
        await client.post(
            emulator.url, json={"device": "d", "signals": {"t": {"history": history}}}
        )
        minute = timedelta(minutes=1)
        assert emulator.cloud.points("d", "t") == [
            (TIME, 0),
            (TIME + minute, 1),
            (TIME + 2 * minute, 2),
        ]


@pytest.mark.fact(
    "The date is optional, without it the time of reception counts: the sink always sends it",
)
async def test_a_push_without_date_has_the_time_of_reception():
    async with asking(now=lambda: TIME) as (emulator, client):
        await client.post(
            emulator.url,
            json={"device": "d", "signals": [{"name": "t", "value": "7.5", "meta": META}]},
        )
        assert emulator.cloud.points("d", "t") == [(TIME, 7.5)]


@pytest.mark.fact("A 2xx covers the whole request; a refusal likewise")
@pytest.mark.parametrize(
    "document",
    [
        [],
        {"signals": []},
        {"device": "d"},
        {"device": "d", "signals": [{"value": 1}]},
        {"device": "d", "signals": [7]},
        pushed(True),
        pushed(None),
        pushed("open"),
        pushed({}),
        pushed(date="yesterday"),
        pushed(date="1580871573000"),
        {"device": "d", "signals": {"t": [1]}},
        {"device": "d", "signals": {"t": {"history": [1]}}},
        {"device": "d", "signals": {"t": {"history": [{"value": 1}]}}},
    ],
)
async def test_a_malformed_push_is_refused_whole(document):
    async with asking() as (emulator, client):
        assert (await client.post(emulator.url, json=document)).status_code == 400
        assert not emulator.cloud.signals


async def test_bytes_that_are_no_json_are_refused():
    async with asking() as (emulator, client):
        assert (await client.post(emulator.url, content=b'{"device":NaN')).status_code == 400


@pytest.mark.fact("Emulator: 401 for an unknown token, 403 for a missing scope")
async def test_an_unknown_token_hears_401_and_a_missing_scope_403():
    async with asking(scopes=("Read",)) as (emulator, client):
        assert (await client.post(emulator.url, json=pushed())).status_code == 403
        assert (
            await client.post(emulator.url, headers={"Authorization": "Bearer bad"})
        ).status_code == 401
        assert (
            await client.post(emulator.url, headers={"Authorization": "Basic good"})
        ).status_code == 401


@pytest.mark.fact("Emulator: a token revoked and restored")
async def test_a_revoked_token_hears_401_until_it_is_restored():
    async with asking() as (emulator, client):
        emulator.revoke("good")
        assert (await client.post(emulator.url, json=pushed())).status_code == 401
        emulator.restore("good")
        assert (await client.post(emulator.url, json=pushed())).status_code == 200


@pytest.mark.fact(
    "An unknown device token is 404, 400 or created (unknown): selectable in the emulator",
)
@pytest.mark.parametrize("status", [404, 400])
async def test_an_unknown_device_can_be_refused(status):
    async with asking(rules=Rules(unknown_device=status)) as (emulator, client):
        assert (await client.post(emulator.url, json=pushed())).status_code == status
        emulator.cloud.add_device("d")
        assert (await client.post(emulator.url, json=pushed())).status_code == 200


@pytest.mark.fact(
    "A duplicate overwrites or makes a second row (unknown): selectable in the emulator",
)
@pytest.mark.parametrize(("policy", "values"), [("overwrite", [3, 2]), ("second row", [1, 2, 3])])
async def test_a_second_value_at_one_time_follows_the_policy(policy, values):
    async with asking(rules=Rules(duplicates=policy)) as (emulator, client):
        for value, date in ((1, DATE), (2, "2026-05-04T10:01:00Z"), (3, DATE)):
            await client.post(emulator.url, json=pushed(value, date=date))
        assert [value for _, value in emulator.cloud.points("d", "t")] == values


async def test_too_large_and_too_many_are_refused():
    async with asking(rules=Rules(most_bytes=200, most_signals=1)) as (emulator, client):
        assert (await client.post(emulator.url, json=pushed(device="d" * 200))).status_code == 413
        two = pushed() | {"signals": [{"name": name, "value": 1} for name in "ab"]}
        assert (await client.post(emulator.url, json=two)).status_code == 400


@pytest.mark.fact("GET /v1/signals/ is paged: data, pages, total_items")
@pytest.mark.fact("last_recived_value is spelled so, and a text")
async def test_signals_can_be_listed_page_by_page():
    async with asking() as (emulator, client):
        await client.post(emulator.url, json=pushed(21.5))
        await client.post(emulator.url, json=pushed(name="u", meta=None))
        url = emulator.url.removesuffix("push")
        answer = (await client.get(url, params={"page": 1, "per_page": 1})).json()
        assert (answer["pages"], answer["total_items"]) == (2, 2)
        (signal,) = answer["data"]
        assert len(signal["_id"]) == 24
        assert (signal["signal_token"], signal["status"], signal["last_recived_value"]) == (
            "t",
            "ACTIVE",
            "21.5",
        )
        (second,) = (await client.get(url, params={"page": 2, "per_page": 1})).json()["data"]
        assert (second["status"], second["last_recived_value"], second["last_conn"]) == (
            "INIT",
            None,
            None,
        )
        assert (await client.get(url, params={"page": "x"})).status_code == 400


@pytest.mark.fact("Public clients see pages as an object with first, prev, next and last")
@pytest.mark.parametrize(
    ("shape", "pages"),
    [
        ("number", [2, 2]),
        (
            "object",
            [
                {"first": 1, "prev": 1, "next": 2, "last": 2},
                {"first": 1, "prev": 1, "next": 2, "last": 2},
            ],
        ),
        ("missing", [None, None]),
    ],
)
async def test_a_list_says_how_many_pages_there_are_as_chosen(shape, pages):
    async with asking(rules=Rules(pages=shape)) as (emulator, client):
        for name in ("t", "u"):
            await client.post(emulator.url, json=pushed(name=name))
        url = emulator.url.removesuffix("push")
        answers = [
            (await client.get(url, params={"page": page, "per_page": 1})).json() for page in (1, 2)
        ]
        assert [answer.get("pages") for answer in answers] == pages
        assert [answer["total_items"] for answer in answers] == [2, 2]


@pytest.mark.fact("POST /v1/chart/ reads back between two dates")
async def test_a_chart_reads_back_what_lies_between_its_dates():
    async with asking() as (emulator, client):
        await client.post(emulator.url, json=pushed(1))
        await client.post(emulator.url, json=pushed(2, date="2027-01-01T00:00:00Z"))
        (signal,) = emulator.cloud.signals.values()
        asked = {
            "signals": [signal.id],
            "startDate": "2026-05-04T00:00:00+02:00",
            "endDate": "2026-05-05T00:00:00+02:00",
            "granularity": "*",
        }
        url = emulator.url.replace("signals/push", "chart/")
        answer = (await client.post(url, json=asked)).json()
        assert [(row["date"], row["value"]) for row in answer[signal.id]] == [
            ("2026-05-04T10:00:00.000Z", 1)
        ]
        assert answer["info"][signal.id]["overBound"] is False
        assert (await client.post(url, json=asked | {"signals": ["0" * 24]})).status_code == 404
        assert (await client.post(url, json=asked | {"granularity": "x"})).status_code == 400
        assert (await client.post(url, json=asked | {"startDate": "?"})).status_code == 400


async def test_another_path_is_not_found():
    async with asking() as (emulator, client):
        assert (await client.get(emulator.url)).status_code == 404


@pytest.mark.fact("Emulator: faults with status, Retry-After in both forms and redirect")
async def test_a_fault_has_status_retry_after_and_location():
    async with asking() as (emulator, client):
        emulator.faults.next += [
            Fault(status=503, retry_after=7),
            Fault(status=429, retry_after=TIME),
            Fault(status=301, location="https://x.example/"),
        ]
        answers = [await client.post(emulator.url, json=pushed()) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [503, 429, 301, 200]
        assert answers[0].headers["retry-after"] == "7"
        assert answers[1].headers["retry-after"] == "Mon, 04 May 2026 10:00:00 GMT"
        assert answers[2].headers["location"] == "https://x.example/"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_in_http_has_none(status):
    async with asking(faults=Faults(always=Fault(status=status))) as (emulator, client):
        for _ in range(2):
            answer = await client.post(emulator.url, json=pushed())
            assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.fact("Emulator: a connection cut before or after storing")
@pytest.mark.parametrize(("cut", "stored"), [("before", 0), ("after", 1)])
async def test_a_connection_can_be_cut_before_or_after_storing(cut, stored):
    async with asking() as (emulator, client):
        emulator.faults.always = Fault(cut=cut)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(emulator.url, json=pushed())
        assert len(emulator.cloud.points("d", "t")) == stored
        assert emulator.requests[0].status is None


@pytest.mark.fact("Emulator: delay")
async def test_a_delayed_answer_comes_late(autojump_clock):
    faults = Faults(always=Fault(delay=40, cut="before"))
    emulator = Emulator(Cloud(Rules()), faults, Access({}, ()), now=lambda: TIME, keep_log=True)
    with pytest.raises(HangUp):
        await emulator.answer(Request("POST", "/v1/signals/push", "", {}, b""))
    assert trio.current_time() >= 40


@pytest.mark.fact("Emulator: one poison value in a batch")
async def test_a_poison_value_spoils_its_push_and_no_other():
    async with asking() as (emulator, client):
        emulator.faults.poison |= {666, "cursed"}
        assert (await client.post(emulator.url, json=pushed(666))).status_code == 400
        assert (await client.post(emulator.url, json=pushed(name="cursed"))).status_code == 400
        assert (await client.post(emulator.url, json=pushed(667))).status_code == 200


@pytest.mark.fact("Emulator: clock skew in Date")
async def test_the_date_of_answers_can_be_wrong():
    async with asking(now=lambda: TIME) as (emulator, client):
        emulator.faults.clock_skew = timedelta(minutes=5)
        answer = await client.post(emulator.url, json=pushed())
        assert answer.headers["date"] == "Mon, 04 May 2026 10:05:00 GMT"


@pytest.mark.fact("Emulator: a request log without the token")
async def test_the_log_holds_every_request_without_the_token():
    async with asking() as (emulator, client):
        await client.post(emulator.url, json=pushed())
        (logged,) = emulator.requests
        assert (logged.method, logged.path, logged.status) == ("POST", "/v1/signals/push", 200)
        assert logged.json == pushed()
        assert "good" not in repr(logged)


async def test_the_emulator_of_the_demo_takes_pushes_over_tls(authority, tmp_path):
    ca, ca_file = authority
    cert = ca.issue_cert("localhost", "127.0.0.1")
    cert.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    arrived = []
    context = EmulatorContext(
        "https://127.0.0.1:1",
        "public",
        ca_file,
        tmp_path / "cert.pem",
        tmp_path / "key.pem",
        random.Random(1),
        lambda *what: arrived.append(what),
    )
    async with open_emulation(context) as emulation:
        assert emulation.section == "sink:databoom"
        await emulation.run(5.0)
        tls = ssl.create_default_context(cafile=emulation.settings["ca_file"])
        async with httpx.AsyncClient(verify=tls, trust_env=False) as client:
            headers = {"Authorization": f"Bearer {emulation.settings['token']}"}
            body = orjson.dumps(pushed(21.5))
            assert (
                await client.post(emulation.settings["url"], headers=headers, content=body)
            ).status_code == 200
    assert arrived == [("d", "t", 21.5, TIME)]

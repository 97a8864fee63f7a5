"""The emulator of Databoom: API keys, templates, lists, creation, and the chart."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from bridge_plugins.databoom.emulator.model import Rules
from bridge_plugins.databoom.emulator.server import SCOPES, Fault, open_emulator

DATE = "2026-05-04T10:00:00.000Z"
TIME = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@asynccontextmanager
async def asking(scopes=SCOPES, headers=None, **more):
    """Open an emulator and a client, whose addresses begin after ``/v1``."""
    async with open_emulator({"good": scopes}, apikeys=["key"], **more) as emulator:
        base = emulator.url.removesuffix("/signals/push")
        headers = headers or {"Authorization": "Bearer good"}
        async with httpx.AsyncClient(headers=headers, trust_env=False, base_url=base) as client:
            yield emulator, client


def pushed(*signals, device="d"):
    entries = [{"name": name, "value": value, "meta": {"tags": []}} for name, value in signals]
    return {"device": device, "date": DATE, "signals": entries}


def template(*signals, token="tpl"):
    entry = {
        "template": token,
        "date": DATE,
        "signals": [{"name": name, "value": value} for name, value in signals],
    }
    return {"type": "data", "message": [entry]}


@pytest.mark.fact("Emulator: an API key is accepted until it is revoked")
async def test_an_apikey_may_do_everything_until_it_is_revoked():
    async with asking(headers={"apikey": "key"}) as (emulator, client):
        assert (await client.post("/signals/push", json=pushed(("t", 1)))).status_code == 200
        assert (await client.get("/signals/")).status_code == 200
        emulator.revoke("key")
        assert (await client.post("/signals/push", json=pushed(("t", 1)))).status_code == 401
        assert "key" not in {
            value for logged in emulator.requests for value in logged.headers.values()
        }


async def test_a_token_and_an_apikey_at_once_are_refused():
    async with asking() as (_, client):
        answer = await client.post(
            "/signals/push", json=pushed(("t", 1)), headers={"apikey": "key"}
        )
        assert answer.status_code == 400


@pytest.mark.fact(
    "The first push of a template creates the device TEMPLATE-UNIQUE with every signal validated",
)
@pytest.mark.fact("A signal that is not in the template still needs validation")
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_template_makes_a_device_with_validated_signals(slash):
    async with asking() as (emulator, client):
        emulator.cloud.add_template("tpl", "t", "u")
        answer = await client.post(
            f"/signals/push/hall%2D1{slash}", json=template(("t", 1), ("extra", 2))
        )
        assert (answer.status_code, answer.json()) == (200, {"message": "ALL_INFO_PROCESSED"})
        statuses = {key: signal.status for key, signal in emulator.cloud.signals.items()}
        device = "tpl-hall-1"
        assert statuses == {
            (device, "t"): "ACTIVE",
            (device, "u"): "ACTIVE",
            (device, "extra"): "INIT",
        }
        assert emulator.cloud.points(device, "t") == [(TIME, 1)]
        assert emulator.cloud.points(device, "extra") == []


@pytest.mark.fact("A signal added to the template later is created by the next push")
async def test_a_signal_added_to_the_template_comes_with_the_next_push():
    async with asking() as (emulator, client):
        emulator.cloud.add_template("tpl", "t")
        await client.post("/signals/push/x", json=template(("t", 1)))
        emulator.cloud.add_template("tpl", "t", "v")
        await client.post("/signals/push/x", json=template(("t", 2)))
        assert emulator.cloud.signals["tpl-x", "v"].status == "ACTIVE"


async def test_the_template_form_needs_the_scope_create_too():
    async with asking(scopes=("Publish",)) as (emulator, client):
        emulator.cloud.add_template("tpl", "t")
        assert (await client.post("/signals/push/x", json=template(("t", 1)))).status_code == 403


@pytest.mark.fact("Several entries of a template push must be for different devices")
@pytest.mark.parametrize(
    "document",
    [
        [],
        {"message": []},
        {"type": "data"},
        {"type": "data", "message": [7]},
        {"type": "data", "message": [{"template": "tpl"}]},
        {
            "type": "data",
            "message": [*template(("t", 1))["message"], *template(("t", 2))["message"]],
        },
        template(("t", True)),
    ],
)
async def test_a_malformed_template_push_is_refused_whole(document):
    async with asking() as (emulator, client):
        emulator.cloud.add_template("tpl", "t")
        assert (await client.post("/signals/push/x", json=document)).status_code == 400
        assert not emulator.cloud.signals


@pytest.mark.parametrize("status", [404, 400])
async def test_a_template_that_does_not_exist_is_refused(status):
    async with asking(rules=Rules(unknown_template=status)) as (_, client):
        assert (await client.post("/signals/push/x", json=template(("t", 1)))).status_code == status


@pytest.mark.fact("The wrapper of the template form does not belong to the plain URL")
async def test_the_plain_url_does_not_take_the_template_form():
    async with asking() as (emulator, client):
        emulator.cloud.add_template("tpl", "t")
        assert (await client.post("/signals/push", json=template(("t", 1)))).status_code == 400


@pytest.mark.fact("Emulator: limits of body and signals, answered 413 or 400")
@pytest.mark.parametrize("status", [400, 413])
async def test_too_many_signals_are_answered_as_chosen(status):
    async with asking(rules=Rules(most_signals=1, too_many=status)) as (_, client):
        assert (
            await client.post("/signals/push", json=pushed(("a", 1), ("b", 2)))
        ).status_code == status


@pytest.mark.fact("POST /v1/signals/ creates a signal, INIT or with status ACTIVE")
async def test_a_signal_can_be_created_validated_or_not():
    async with asking() as (emulator, client):
        emulator.cloud.add_device("d")
        (device,) = (await client.get("/devices/all")).json()
        asked = {
            "device": device["_id"],
            "type": "0" * 24,
            "signal_token": "t",
            "description": "Hall",
        }
        created = await client.post("/signals/", json=asked)
        assert (created.json()["status"], created.json()["description"]) == ("INIT", "Hall")
        active = await client.post(
            "/signals/", json=asked | {"signal_token": "u", "status": "ACTIVE"}
        )
        await client.post("/signals/push", json=pushed(("u", 5)))
        assert emulator.cloud.points("d", "u") == [(TIME, 5)]
        assert (await client.get(f"/signals/{active.json()['_id']}")).json()[
            "last_recived_value"
        ] == "5"
        wrong = [{"device": "0"}, {"type": None}, {"signal_token": ""}, {"status": "ON"}, {}]
        answers = [
            (await client.post("/signals/", json=asked | change)).status_code for change in wrong
        ]
        assert answers == [404, 400, 400, 400, 400]
        assert (await client.post("/signals/", json=[])).status_code == 400


@pytest.mark.fact("Creating needs the scope Create, changing the scope Update")
async def test_creating_and_updating_need_their_scopes():
    async with asking(scopes=("Publish", "Read")) as (_, client):
        assert (await client.post("/signals/", json={})).status_code == 403
        assert (await client.put("/signals/1", json={})).status_code == 403


@pytest.mark.fact("Enable log switched off for a signal: accepted but not recorded")
async def test_values_of_a_signal_whose_log_is_off_are_lost():
    async with asking() as (emulator, client):
        await client.post("/signals/push", json=pushed(("t", 1)))
        address = f"/signals/{emulator.cloud.signals['d', 't'].id}"
        assert (await client.put(address, json={"log_on": False})).json()["log_on"] is False
        assert (await client.post("/signals/push", json=pushed(("t", 2)))).status_code == 200
        assert emulator.cloud.points("d", "t") == [(TIME, 1)]
        assert (await client.put(address, json={})).status_code == 400


@pytest.mark.fact("Lists and single items of signals and devices; /all answers bare arrays")
async def test_everything_can_be_listed_at_once():
    async with asking() as (_, client):
        assert (await client.get("/signals/all")).json() == []
        await client.post("/signals/push", json=pushed(("a", 1), ("b", 2)))
        assert len((await client.get("/signals/all")).json()) == 2
        (device,) = (await client.get("/devices/all")).json()
        assert (await client.get(f"/devices/{device['_id']}")).json() == device
        assert (await client.get("/devices/0")).status_code == 404
        assert (await client.get("/signals/0")).status_code == 404


@pytest.mark.fact("A device silent for an hour is flagged")
async def test_a_device_that_is_silent_for_an_hour_is_flagged():
    now = TIME
    async with asking(now=lambda: now) as (emulator, client):
        emulator.cloud.add_device("d")

        async def status():
            return (await client.get("/devices/all")).json()[0]["com_status"]

        assert await status() == "Initialization"
        await client.post("/signals/push", json=pushed(("t", 1)))
        now += timedelta(minutes=59)
        assert await status() == "Active"
        now += timedelta(minutes=1)
        assert await status() == "Communication error"


@pytest.mark.fact("The clock of Databoom can be asked with an apikey")
async def test_the_clock_can_be_asked_with_an_apikey():
    async with asking(now=lambda: TIME, headers={"apikey": "key"}) as (emulator, client):
        answer = await client.get("/auth/gmtclock/plain")
        assert (answer.status_code, answer.headers["date"]) == (
            200,
            "Mon, 04 May 2026 10:00:00 GMT",
        )
        emulator.revoke("key")
        assert (await client.get("/auth/gmtclock/plain")).status_code == 401


@pytest.mark.fact("Granularity: a, \\*, h, d, m")
@pytest.mark.parametrize(
    ("granularity", "values"),
    [("*", [1, 3, 5, 7]), ("a", [1, 3, 5, 7]), ("h", [3, 5, 7]), ("d", [5, 7]), ("m", [7])],
)
async def test_a_chart_has_a_row_for_each_value_hour_day_or_month(granularity, values):
    dates = [
        "2026-05-04T10:00:00Z",
        "2026-05-04T10:59:00Z",
        "2026-05-04T11:00:00Z",
        "2026-05-05T00:00:00Z",
    ]
    async with asking() as (emulator, client):
        for value, date in zip((1, 3, 5, 7), dates, strict=True):
            await client.post("/signals/push", json=pushed(("t", value)) | {"date": date})
        (signal,) = emulator.cloud.signals.values()
        asked = {
            "signals": [signal.id],
            "startDate": "2026-05-01T00:00:00+02:00",
            "endDate": "2026-06-01T00:00:00+02:00",
            "granularity": granularity,
        }
        answer = (await client.post("/chart/", json=asked)).json()
        rows = answer[signal.id]
        assert [row["value"] for row in rows] == values
        assert sum(row["total_sum"] for row in rows) == 16
        assert (rows[0]["min_t"], rows[-1]["max_t"]) == (1, 7)
        assert answer["info"][signal.id]["overBound"] is False


async def test_a_chart_of_texts_has_no_mean():
    async with asking(rules=Rules(texts=True)) as (emulator, client):
        await client.post("/signals/push", json=pushed(("t", "open")))
        (signal,) = emulator.cloud.signals.values()
        asked = {"signals": [signal.id], "startDate": DATE, "endDate": DATE, "granularity": "*"}
        (row,) = (await client.post("/chart/", json=asked)).json()[signal.id]
        assert (row["value"], "mean" in row) == ("open", False)


async def test_a_fault_of_reading_does_not_touch_pushes():
    async with asking() as (emulator, client):
        emulator.faults.reading = Fault(status=503)
        assert (await client.get("/signals/")).status_code == 503
        assert (await client.post("/signals/push", json=pushed(("t", 1)))).status_code == 200


@pytest.mark.fact("Emulator: a blank, non-JSON or different 2xx body")
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"message":"QUEUED"}'])
async def test_a_push_may_be_stored_and_answered_with_another_body(body):
    async with asking() as (emulator, client):
        emulator.faults.next.append(Fault(body=body))
        answer = await client.post("/signals/push", json=pushed(("t", 1)))
        assert (answer.status_code, answer.content) == (200, body)
        assert emulator.cloud.points("d", "t") == [(TIME, 1)]

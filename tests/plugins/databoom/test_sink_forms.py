"""The sink against the stand-in: credentials, forms, maps, and what is kept across
batches and restarts.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio
from attrs import evolve

from bridge.api import Batch, Duration, Outcome, Pause, Reject, Retry, Secret, SettingError
from bridge.testing.fakes import FakeState, fake_sink_context
from bridge_plugins.databoom.client import Client
from bridge_plugins.databoom.emulator.server import Fault
from bridge_plugins.databoom.opening import open_databoom

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
TOKEN = "t0ken-of-the-tests"
KEY = "key-of-the-tests"


@pytest.mark.fact("The older header apikey is sent instead of a token, never both")
async def test_an_apikey_goes_alone_in_its_own_header(bench, caplog):
    with caplog.at_level(logging.DEBUG):
        async with bench(apikeys=[KEY], token=None, apikey=Secret(KEY)) as b:
            await b.sink.deliver(b.make.batch(("t", 1)))
            headers = b.emulator.requests[0].headers
            assert headers["apikey"] == "********"
            assert "authorization" not in headers
            assert b.emulator.cloud.points("d1", "t") == [(START, 1)]
    assert KEY not in caplog.text


async def test_a_refused_apikey_is_called_by_its_name_and_not_shown(bench):
    async with bench(apikeys=[KEY], token=None, apikey=Secret(KEY)) as b:
        b.emulator.faults.always = Fault(status=401, body=f"bad key {KEY}".encode())
        with pytest.raises(Pause, match=r"refuses the apikey \(401: bad key \*\*\*\*\*\*\*\*\)"):
            await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("Values reach the device that a template made")
async def test_the_first_push_of_the_template_form_makes_the_device(bench):
    async with bench(form="template", template="tpl", rules={"unknown_device": 404}) as b:
        b.emulator.cloud.add_template("tpl", "t", "u")
        await b.sink.deliver(b.make.batch(("t", 1), ("t", 2, 60)))
        cloud = b.emulator.cloud
        assert cloud.points("tpl-d1", "t") == [(START, 1), (START + timedelta(seconds=60), 2)]
        assert cloud.signals["tpl-d1", "u"].status == "ACTIVE"
        assert [request.path for request in b.emulator.requests] == ["/v1/signals/push/d1"] * 2


@pytest.mark.fact("The template form needs the scopes Publish and Create")
async def test_the_template_form_needs_two_scopes_and_says_so(bench):
    async with bench(form="template", template="tpl", tokens={TOKEN: ("Publish",)}) as b:
        with pytest.raises(Pause, match=r"403.*the scopes Publish and Create"):
            await b.sink.deliver(b.make.batch(("t", 1)))


async def test_a_template_that_does_not_exist_pauses_the_sink(bench):
    async with bench(form="template", template="tpl") as b:
        with pytest.raises(Pause, match="Template not found"):
            await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("A form that is configured is kept")
@pytest.mark.parametrize("form", ["array", "history"])
async def test_a_form_that_is_asked_for_is_kept(bench, form):
    async with bench(form=form, rules={"validation_trap": False}) as b:
        await b.sink.deliver(b.make.batch(("t", 1), ("t", 2, 60)))
        kinds = {type(body["signals"]) for body in b.bodies()}
        assert kinds == {list if form == "array" else dict}
        assert [value for _, value in b.emulator.cloud.points("d1", "t")] == [1, 2]


@pytest.mark.fact("What was introduced is remembered across restarts, for one account")
async def test_what_was_introduced_is_remembered_for_one_account_only(open_sink, bench):
    state = FakeState()
    async with bench() as b:
        described = []
        for token in (TOKEN, TOKEN, "another"):
            async with open_sink(b.emulator.url, state=state, token=Secret(token)) as sink:
                b.emulator.faults.always = Fault(body=b"")
                try:
                    await sink.deliver(b.make.batch(("t", 1)))
                except Pause:
                    pass
            described.append("meta" in b.bodies()[-1]["signals"][0])
    assert described == [True, False, True]


@pytest.mark.fact("Collisions are remembered across restarts")
async def test_the_second_of_two_colliding_devices_is_a_dead_letter_after_a_restart_too(
    open_sink, bench
):
    state = FakeState()
    async with bench() as b:
        async with open_sink(b.emulator.url, state=state) as sink:
            assert await sink.deliver(b.make.batch(("t", 1), device="a:b")) is None
        async with open_sink(b.emulator.url, state=state) as sink:
            outcome = await sink.deliver(b.make.batch(("t", 2), device="a b"))
            assert "stands for 'a:b' already" in outcome.dead[0]
        async with open_sink(b.emulator.url, state=state, devices={"a:b": "moved"}) as sink:
            assert await sink.deliver(b.make.batch(("t", 3), device="a b")) is None


@pytest.mark.fact("The smaller size is remembered")
async def test_a_push_that_was_too_large_teaches_the_next_ones(bench):
    async with bench(rules={"most_bytes": 1000}) as b:
        await b.sink.deliver(b.make.batch(*(("t", value, value) for value in range(60))))
        refused = len([request for request in b.emulator.requests if request.status == 413])
        assert refused > 0
        await b.sink.deliver(b.make.batch(*(("t", value, value) for value in range(100, 160))))
        assert len([request for request in b.emulator.requests if request.status == 413]) == refused
        assert len(b.emulator.cloud.points("d1", "t")) == 120


@pytest.mark.fact("What is learned meanwhile does not change the retry")
async def test_a_size_that_was_learned_meanwhile_does_not_change_a_batch_that_is_tried_again(bench):
    async with bench(rules={"most_bytes": 1000}) as b:
        await b.sink.deliver(b.make.batch(("t", 0), ("u", 0)))
        waiting = b.make.batch(*(("t", value, value) for value in range(1, 16)))
        b.emulator.faults.next.append(Fault(cut="after"))
        with pytest.raises(Retry):
            await b.sink.deliver(waiting)
        await b.sink.deliver(
            b.make.batch(*(("t", value, value) for value in range(60)), device="d2")
        )
        await b.sink.deliver(waiting)
        of_d1 = [request.body for request in b.emulator.requests if request.json["device"] == "d1"]
        assert of_d1[1:] == [of_d1[1]] * 2
        assert len(of_d1[1]) > b.sink._fitting.bytes


@pytest.mark.fact("One push in flight per device, also where two source devices share a token")
async def test_two_devices_that_share_a_token_push_one_after_the_other(bench, monkeypatch):
    running = []
    most = 0
    push = Client.push

    async def watched(self, pushed):
        nonlocal most
        running.append(pushed)
        most = max(most, len(running))
        try:
            return await push(self, pushed)
        finally:
            running.pop()

    monkeypatch.setattr(Client, "push", watched)
    async with bench(devices={"d1": "x", "d2": "x", "d3": "x"}) as b:
        async with trio.open_nursery() as lanes:
            for device in ("d1", "d2", "d3"):
                lanes.start_soon(b.sink.deliver, b.make.batch(("t", 1), ("t", 2, 1), device=device))
        assert most == 1
        assert b.sink._pusher._under_way == {}


async def test_a_devices_file_maps_devices_and_single_signals(bench, tmp_path):
    path = tmp_path / "devices.csv"
    path.write_text("device,token,signal,signal_token\nd1,hall,,\nd1,outside,t,outdoor\n")
    async with bench(devices_file=path) as b:
        await b.sink.deliver(Batch((b.make.event(("t", 1), ("u", 2)),)))
        assert b.emulator.cloud.points("outside", "outdoor") == [(START, 1)]
        assert b.emulator.cloud.points("hall", "u") == [(START, 2)]


async def test_a_devices_file_that_was_spoilt_since_the_check_stops_the_opening(tmp_path, settings):
    path = tmp_path / "devices.csv"
    path.write_text("device,token\nd1,hall\n")
    checked = evolve(settings, devices_file=path)
    path.write_text("device,token\nd1,\n")
    with pytest.raises(SettingError, match=r"devices\.csv:2"):
        async with open_databoom(checked, fake_sink_context()):
            raise AssertionError("opened")


@pytest.mark.parametrize(("unmapped", "outcome"), [("skip", Outcome({0})), ("send", None)])
async def test_a_device_in_no_map_is_left_out_or_sent(bench, unmapped, outcome):
    async with bench(unmapped=unmapped, devices={"other": "x"}) as b:
        assert await b.sink.deliver(b.make.batch(("t", 1))) == outcome
        assert bool(b.emulator.requests) == (unmapped == "send")


async def test_a_device_in_no_map_can_be_a_dead_letter(bench):
    async with bench(unmapped="dead", devices={"other": "x"}) as b:
        outcome = await b.sink.deliver(b.make.batch(("t", 1)))
        assert "device 'd1' is in no map" in outcome.dead[0]
        assert b.emulator.requests == []


@pytest.mark.fact("What is not sent is counted and told")
async def test_values_that_databoom_cannot_hold_are_told_with_their_number(bench):
    async with bench() as b:
        await b.sink.deliver(b.make.batch(("door", "open"), ("t", 1), ("big", 2**60)))
        left_out, inexact = b.reports.texts
        assert (
            "neither number nor boolean: 1 since the start, the newest: signal 'door' of "
            "device 'd1'"
        ) in left_out
        assert "above 2^53" in inexact
        assert not b.reports.problem
        assert b.emulator.cloud.points("d1", "big") == [(START, 2**60)]


@pytest.mark.fact("Collecting interval per device, 0 s by default")
async def test_a_device_waits_for_its_interval_and_others_do_not(bench, mock_clock):
    mock_clock.rate = 20
    async with bench(min_interval=Duration(5)) as b:
        began = trio.current_time()
        await b.sink.deliver(b.make.batch(("t", 1)))
        await b.sink.deliver(b.make.batch(("t", 1), device="d2"))
        assert trio.current_time() - began < 5
        await b.sink.deliver(b.make.batch(("t", 2, 1)))
        assert trio.current_time() - began >= 5


@pytest.mark.fact("An answer that does not come in time is a retry")
async def test_an_answer_that_does_not_come_is_waited_for_until_the_time_is_up(bench, mock_clock):
    mock_clock.rate = 20
    async with bench(request_timeout=Duration(5)) as b:
        b.emulator.faults.next.append(Fault(delay=100))
        with pytest.raises(Retry, match="request_timeout = 5s"):
            await b.sink.deliver(b.make.batch(("t", 1)))


async def test_an_attempt_that_is_cut_short_goes_on_with_the_same_push(bench, mock_clock):
    mock_clock.rate = 20
    async with bench() as b:
        batch = b.make.batch(("t", 1), ("t", 2, 1), ("t", 3, 2))
        b.emulator.faults.next += [Fault(), Fault(delay=15)]
        with trio.move_on_after(10) as attempt:
            await b.sink.deliver(batch)
        assert attempt.cancelled_caught
        await b.sink.deliver(batch)
        await trio.sleep(
            10
        )  # until the stand-in has found out that nobody waits for its late answer
        bodies = [request.body for request in b.emulator.requests]
        assert len(bodies) == 3
        assert bodies[0] != bodies[1] == bodies[2]


async def test_a_refused_batch_is_planned_anew_for_its_halves(bench):
    async with bench() as b:
        b.emulator.faults.next.append(Fault(status=400))
        with pytest.raises(Reject):
            await b.sink.deliver(b.make.batch(("t", 1), ("t", 2, 1)))
        assert b.sink._unfinished == {}


@pytest.mark.fact(
    "The path appears with and without a slash at its end: the url is used as it is written",
)
async def test_the_url_is_used_as_it_is_written_with_or_without_a_slash(bench, open_sink):
    async with bench() as b:
        for slash in ("", "/"):
            async with open_sink(b.emulator.url + slash) as sink:
                await sink.deliver(b.make.batch(("t", 1)))
        assert [request.path for request in b.emulator.requests] == [
            "/v1/signals/push",
            "/v1/signals/push/",
        ]


@pytest.mark.fact("Connections are used again, and made anew where the server closed one")
async def test_a_connection_is_used_again_and_made_anew_where_the_server_closed_it(open_sink, make):
    opened = []

    async def serve(stream):
        opened.append(stream)
        for _ in range(2):
            request = b""
            while not request.endswith(b"]}"):
                request += await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 -\r\nContent-Length: 0\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as server:
        (listener,) = await server.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with open_sink(f"http://127.0.0.1:{port}/push") as sink:
            for value in range(4):
                await sink.deliver(make.batch(("t", value)))
        server.cancel_scope.cancel()
    assert len(opened) == 2

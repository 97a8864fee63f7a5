"""One push over real sockets: who is asked, with what credential, and what is learned
from the answer.
"""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio
import trustme

from bridge.api import (
    Duration,
    Pause,
    Reject,
    Retry,
    Secret,
)
from bridge.api.rest import RestClient
from bridge_plugins.databoom.emulator.server import Fault, open_emulator

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
TOKEN = "t0ken-of-the-tests"
KEY = "key-of-the-tests"
MINUTE = timedelta(minutes=1)


@pytest.mark.fact("The push is POST /v1/signals/push with a JSON body and Authorization: Bearer")
@pytest.mark.fact("Requests are not compressed: support is unknown")
async def test_a_push_carries_the_token_and_plain_json(bench):
    async with bench() as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        headers = b.emulator.requests[0].headers
        assert headers["authorization"] == "Bearer ********"
        assert headers["content-type"] == "application/json"
        assert "content-encoding" not in headers


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


@pytest.mark.fact(
    "The path appears with and without a slash at its end: the url is used as it is written",
)
async def test_the_url_is_used_as_it_is_written(bench, open_sink):
    async with bench() as b:
        for slash in ("", "/"):
            async with open_sink(b.emulator.url + slash) as sink:
                await sink.deliver(b.make.batch(("t", 1)))
        assert [request.path for request in b.emulator.requests] == [
            "/v1/signals/push",
            "/v1/signals/push/",
        ]


async def test_readings_arrive_over_tls(bench, server_tls, authority):
    async with bench(tls=server_tls, ca_file=authority[1]) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.emulator.cloud.points("d1", "t") == [(START, 1)]


async def test_a_certificate_of_an_unknown_authority_pauses(bench, server_tls, tmp_path):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with bench(tls=server_tls, ca_file=other) as b:
        with pytest.raises(
            Pause, match=r"certificate of Databoom is refused: .*ca_file and the clock"
        ):
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.emulator.requests == []


@pytest.mark.fact("Connect error, TLS error, time-out and cut answer are tried again")
async def test_a_server_that_does_not_speak_tls_is_tried_again(bench, open_sink, make):
    async with bench() as plain, open_sink(plain.emulator.url.replace("http:", "https:")) as sink:
        with pytest.raises(Retry, match="Databoom cannot be reached"):
            await sink.deliver(make.batch(("t", 1)))


async def test_nobody_listening_is_tried_again(open_sink, make):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    async with open_sink(f"http://127.0.0.1:{port}/v1/signals/push") as sink:
        with pytest.raises(Retry, match="Databoom cannot be reached"):
            await sink.deliver(make.batch(("t", 1)))


@pytest.mark.fact("An answer that does not come in time is a retry")
async def test_an_answer_is_waited_for_until_the_time_is_up(bench, mock_clock):
    mock_clock.rate = 20
    async with bench(request_timeout=Duration(5)) as b:
        b.emulator.faults.next.append(Fault(delay=100))
        with pytest.raises(Retry, match=r"no answer of Databoom within 5 s \(request_timeout\)"):
            await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("Connections are used again, and made anew where the server closed one")
async def test_a_connection_is_used_again_until_the_server_closes_it(open_sink, make):
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


@pytest.mark.fact(
    "A deleted token stops every push until it is restored: the sink pauses and drops nothing",
)
async def test_a_revoked_token_pauses_the_sink_until_it_is_restored(bench):
    async with bench() as b:
        b.emulator.revoke(TOKEN)
        batch = b.make.batch(("t", 1))
        with pytest.raises(Pause, match="refuses the token") as caught:
            await b.sink.deliver(batch)
        assert not caught.value.device_only
        b.emulator.restore(TOKEN)
        await b.sink.deliver(batch)
        assert b.emulator.cloud.points("d1", "t") == [(START, 1)]


async def test_a_refused_apikey_is_called_by_its_name_and_not_shown(bench):
    async with bench(apikeys=[KEY], token=None, apikey=Secret(KEY)) as b:
        b.emulator.faults.always = Fault(status=401, body=f"bad key {KEY}".encode())
        with pytest.raises(Pause, match=r"refuses the apikey \(401: bad key \*\*\*\*\*\*\*\*\)"):
            await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("A push needs the scope Publish")
async def test_a_token_without_the_scope_publish_pauses_the_sink(bench):
    async with bench(tokens={TOKEN: ("Read",)}) as b:
        with pytest.raises(Pause, match=r"403.*Publish"):
            await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("The template form needs the scopes Publish and Create")
async def test_the_template_form_needs_two_scopes_and_says_so(bench):
    async with bench(form="template", template="tpl", tokens={TOKEN: ("Publish",)}) as b:
        with pytest.raises(Pause, match=r"403.*the scopes Publish and Create"):
            await b.sink.deliver(b.make.batch(("t", 1)))


@pytest.mark.fact("3xx pauses and is never followed; the token goes nowhere else")
@pytest.mark.fact("Mistake 8: following redirects with the token")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(bench, status):
    async with open_emulator({}) as elsewhere, bench() as b:
        b.emulator.faults.next.append(Fault(status=status, location=elsewhere.url))
        with pytest.raises(Pause, match="redirects"):
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert elsewhere.requests == []


@pytest.mark.fact("A 2xx with another message, or not JSON, is accepted and told once")
async def test_an_unusual_answer_is_accepted_and_told_once(bench):
    async with bench() as b:
        b.emulator.faults.always = Fault(body=b"<html>queued</html>")
        for value in range(3):
            assert await b.sink.deliver(b.make.batch(("t", value))) is None
        (text,) = b.reports.problems
        assert "<html>queued</html>" in text
        assert b.reports.problem_names == ["databoom-unusual-answer"]
        assert b.reports.topics == {"answer": text}


@pytest.mark.fact("Mistake 11: giving up on an empty answer although the status is 2xx")
@pytest.mark.parametrize("body", [b"", b" "])
async def test_a_blank_answer_is_as_good_as_the_documented_one(bench, body):
    async with bench(strict_body=True) as b:
        b.emulator.faults.always = Fault(body=body)
        await b.sink.deliver(b.make.batch(("t", 1)))
        assert b.reports.topics == {}


@pytest.mark.fact("strict_body makes it a failure that is tried again")
async def test_a_strict_sink_repeats_a_push_with_an_unusual_answer(bench):
    async with bench(strict_body=True) as b:
        b.emulator.faults.next.append(Fault(body=b"<html>queued</html>"))
        batch = b.make.batch(("t", 1))
        with pytest.raises(Retry, match="queued"):
            await b.sink.deliver(batch)
        await b.sink.deliver(batch)
        assert b.emulator.requests[0].body == b.emulator.requests[1].body


async def test_an_endless_answer_is_read_but_not_kept(bench):
    async with bench() as b:
        b.emulator.faults.next.append(Fault(status=400, body=b"x" * (1 << 20)))
        with pytest.raises(Reject) as caught:
            await b.sink.deliver(b.make.batch(("t", 1)))
        assert len(caught.value.why) < 300


@pytest.mark.fact("The clock is compared with the Date of answers; more than 60 s are told")
@pytest.mark.parametrize(("minutes", "said"), [(2, "behind"), (-2, "ahead of")])
async def test_a_wrong_clock_is_told_once_and_taken_back(bench, minutes, said):
    async with bench() as b:
        b.emulator.faults.clock_skew = timedelta(minutes=minutes)
        for value in range(3):
            await b.sink.deliver(b.make.batch(("t", value)))
        assert f"more than 60 s {said} Databoom's" in b.reports.topics["clock"]
        assert set(b.reports.problems) == {b.reports.topics["clock"]}
        assert set(b.reports.problem_names) == {"databoom-clock-differs"}
        b.emulator.faults.clock_skew = timedelta(seconds=59)
        await b.sink.deliver(b.make.batch(("t", 9)))
        assert b.reports.topics == {}


@pytest.mark.fact("One push in flight per device, also where two source devices share a token")
async def test_two_devices_that_share_a_token_push_one_after_the_other(bench, monkeypatch):
    running = []
    most = 0
    request = RestClient.request

    async def watched(self, *arguments, **more):
        nonlocal most
        running.append(arguments)
        most = max(most, len(running))
        try:
            return await request(self, *arguments, **more)
        finally:
            running.pop()

    monkeypatch.setattr(RestClient, "request", watched)
    async with bench(devices={"d1": "x", "d2": "x", "d3": "x"}) as b:
        async with trio.open_nursery() as lanes:
            for device in ("d1", "d2", "d3"):
                lanes.start_soon(b.sink.deliver, b.make.batch(("t", 1), ("t", 2, 1), device=device))
        assert most == 1
        assert b.sink._pusher._under_way == {}


TELLING = [
    Fault(
        status=status,
        body=f'{{"message":"bad token {TOKEN}"}}'.encode(),
        location=f"https://x/?t={TOKEN}",
    )
    for status in (200, 301, 400, 401, 403, 404, 413, 429, 500)
]


@pytest.mark.fact("Dead letters never hold the token")
@pytest.mark.parametrize(
    "fault", [*TELLING, Fault(cut="before")], ids=lambda fault: str(fault.status)
)
async def test_the_token_is_in_no_log_report_or_exception(bench, caplog, fault):
    with caplog.at_level(logging.INFO):
        async with bench() as b:
            b.emulator.faults.always = fault
            said = ""
            try:
                await b.sink.deliver(b.make.batch(("t", 1)))
            except (Retry, Reject, Pause) as verdict:
                said = "".join(traceback.format_exception(verdict))
    assert TOKEN not in said
    assert TOKEN not in caplog.text
    assert TOKEN not in "".join(b.reports.texts)
    assert TOKEN not in repr(b.emulator.requests)


@pytest.mark.fact("Mistake 6: logging the key on a 401, or the token in a debug dump")
async def test_the_token_is_not_even_in_the_log_of_every_detail(bench, caplog):
    with caplog.at_level(logging.DEBUG):
        async with bench() as b:
            await b.sink.deliver(b.make.batch(("t", 1)))
    assert caplog.text
    assert TOKEN not in caplog.text

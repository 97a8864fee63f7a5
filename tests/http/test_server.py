"""The server over streams in memory, with a clock that jumps."""

import errno
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from bridge.api import Duration, NetworkAddress, Request, Response
from bridge.http.limits import FIRST_REQUEST_TIMEOUT, LINGER
from bridge.http.server import serve
from bridge.http.settings import ListenerSettings

SETTINGS = ListenerSettings(address=NetworkAddress("127.0.0.1", 0))
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
GRACE = 10.0


def post(body: bytes, *, more: bytes = b"") -> bytes:
    return b"POST /a HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (
        more,
        len(body),
        body,
    )


class MemoryListener(trio.abc.Listener):
    """Connections in memory; ``trouble`` is raised by the next ``accept``."""

    def __init__(self) -> None:
        self._callers, self._accepted = trio.open_memory_channel(math.inf)
        self.closed = trio.Event()
        self.trouble: OSError | None = None

    async def connect(self, pair=memory_stream_pair) -> "Caller":
        ours, theirs = pair()
        await self._callers.send(theirs)
        return Caller(ours)

    async def accept(self):
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        return await self._accepted.receive()

    async def aclose(self) -> None:
        self.closed.set()
        self._accepted.close()


class Caller:
    """A client that takes every byte literally."""

    def __init__(self, stream) -> None:
        self.stream = stream
        self._held = b""

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self.stream.send_all(piece)

    async def answer(self, *, without_body: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers in lower case, body."""
        while b"\r\n\r\n" not in self._held:
            await self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = 0 if without_body else int(headers.get("content-length", "0"))
        while len(self._held) < length:
            await self._more()
        body, self._held = self._held[:length], self._held[length:]
        return int(first.split()[1]), headers, body

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        assert data, f"the connection was closed after {self._held!r}"
        self._held += data

    async def closed(self) -> bytes:
        """Wait until the server has ended the connection; gives what it said before."""
        while data := await self.stream.receive_some():
            self._held += data
        return self._held


class Running:
    def __init__(self) -> None:
        self.listener = MemoryListener()
        self.ended = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self, handle, settings, task_status) -> None:
        with self._scope:
            await serve([self.listener], handle, settings, grace=GRACE, task_status=task_status)
        self.ended.set()

    async def connect(self, *sent: bytes) -> Caller:
        caller = await self.listener.connect()
        await caller.send(*sent)
        return caller

    def stop(self) -> None:
        self._scope.cancel()


@asynccontextmanager
async def running(handle=None, **changes) -> AsyncIterator[Running]:
    """Serve while the block is entered; ``changes`` are settings."""
    server = Running()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run, handle or echo, attrs.evolve(SETTINGS, **changes))
        yield server
        nursery.cancel_scope.cancel()


async def echo(request: Request) -> Response:
    return Response(
        200, request.method.encode() + b" " + request.path.encode() + b" " + request.body
    )


class Gate:
    """A handle that answers when told to."""

    def __init__(self) -> None:
        self.entered = trio.Event()
        self.open = trio.Event()

    async def __call__(self, request: Request) -> Response:
        self.entered.set()
        await self.open.wait()
        return await echo(request)


async def test_requests_of_one_connection_are_answered_in_order(autojump_clock):
    async with running() as server:
        caller = await server.connect()
        for body in (b"one", b"two"):
            await caller.send(post(body))
            status, headers, content = await caller.answer()
            assert (status, content) == (200, b"POST /a " + body)
            assert "connection" not in headers


async def test_pipelined_requests_are_answered_in_order(autojump_clock):
    async with running() as server:
        caller = await server.connect(post(b"1") + post(b"2") + GET)
        assert [(await caller.answer())[2] for _ in range(3)] == [
            b"POST /a 1",
            b"POST /a 2",
            b"GET /a ",
        ]


async def test_a_peer_that_wants_to_close_is_told_so_and_closed(autojump_clock):
    async with running() as server:
        caller = await server.connect(post(b"x", more=b"Connection: close\r\n") + GET)
        assert (await caller.answer())[1]["connection"] == "close"
        assert await caller.closed() == b""


async def test_an_old_client_is_told_that_its_connection_stays(autojump_clock):
    async with running() as server:
        caller = await server.connect(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await caller.answer())[1]["connection"] == "keep-alive"
        await caller.send(b"GET /b HTTP/1.0\r\n\r\n")
        assert (await caller.answer())[2] == b"GET /b "
        assert await caller.closed() == b""


async def test_head_is_answered_without_the_body(autojump_clock):
    async with running() as server:
        caller = await server.connect(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await caller.answer(without_body=True))[1]["content-length"] == str(
            len(b"HEAD /a ")
        )
        await caller.send(GET)
        assert (await caller.answer())[2] == b"GET /a "


async def test_a_peer_that_waits_with_its_body_is_asked_for_it(autojump_clock):
    async with running() as server:
        caller = await server.connect(ASKING)
        assert (await caller.answer())[0] == 100
        await caller.send(b"hi")
        assert (await caller.answer())[2] == b"POST /a hi"


async def test_a_chunked_request_is_answered(autojump_clock):
    async with running() as server:
        caller = await server.connect(
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        )
        assert (await caller.answer())[2] == b"POST /a hi"


async def test_an_unreadable_request_is_answered_and_the_line_closed(autojump_clock):
    async with running() as server:
        caller = await server.connect(b"GET / HTTP/1.1\r\n\r\n" + GET)
        status, headers, body = await caller.answer()
        assert (status, headers["connection"], body) == (400, "close", b"400 Bad Request\n")
        assert await caller.closed() == b""


async def test_the_reason_of_a_refusal_is_in_the_log(autojump_clock, caplog):
    caplog.set_level("INFO")
    async with running() as server:
        caller = await server.connect(b"GET / HTTP/1.1\r\n\r\n")
        await caller.closed()
    assert "(400): 0 Host headers, expected one" in caplog.text


async def test_in_the_middle_of_a_refused_body_the_answer_is_heard(autojump_clock):
    async with running() as server:
        caller = await server.connect(
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"
        )
        assert (await caller.answer())[0] == 413
        await caller.send(b"x" * 100_000)
        await caller.closed()
        await caller.send(b"x" * 100_000)
        await trio.sleep(LINGER + 1)
        with pytest.raises(trio.BrokenResourceError):
            await caller.send(b"x")


async def test_a_body_that_drips_is_answered_408_in_the_end(
    autojump_clock,
):
    async with running() as server:
        await trio.sleep(50)
        caller = await server.connect(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n")
        start = trio.current_time()

        async def drip() -> None:
            while True:
                await trio.sleep(1)
                await caller.send(b"x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            status, headers, _ = await caller.answer()
            nursery.cancel_scope.cancel()
        assert (status, headers["connection"]) == (408, "close")
        assert trio.current_time() - start == pytest.approx(30)


async def test_a_head_that_stalls_is_answered_408(autojump_clock):
    async with running() as server:
        caller = await server.connect(b"GET /")
        assert (await caller.answer())[0] == 408
        assert trio.current_time() == pytest.approx(30)


async def test_the_time_of_a_request_begins_with_its_first_byte(autojump_clock):
    async with running() as server:
        caller = await server.connect()
        for _ in range(20):
            await trio.sleep(60)
            await caller.send(post(b"x")[:-1])
            await trio.sleep(25)
            await caller.send(b"x")
            assert (await caller.answer())[0] == 200


async def test_a_pipelined_request_has_the_time_of_a_request(autojump_clock):
    async with running() as server:
        caller = await server.connect(GET + b"GET /")
        assert (await caller.answer())[0] == 200
        assert (await caller.answer())[0] == 408
        assert trio.current_time() == pytest.approx(30)


@pytest.mark.parametrize("sent", [[], [GET], [b"\r\n"], [GET + b"\r\n"]])
async def test_a_silent_connection_is_closed_without_a_word(autojump_clock, sent):
    async with running() as server:
        caller = await server.connect(*sent)
        if any(GET in piece for piece in sent):
            await caller.answer()
        assert await caller.closed() == b""
        assert trio.current_time() == pytest.approx(75)


async def test_a_request_that_is_not_handled_in_time_is_answered_503(autojump_clock):
    async with running(Gate()) as server:
        caller = await server.connect(GET)
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (503, "close")
        assert "retry-after" in headers
        assert trio.current_time() == pytest.approx(30)


ASKING = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"


@pytest.mark.parametrize("sent", [GET, b"bad\r\n\r\n", ASKING])
async def test_a_peer_that_does_not_read_is_cut_off(autojump_clock, sent):
    async with running() as server:
        caller = await server.listener.connect(lockstep_stream_pair)
        await caller.send(sent)
        await trio.sleep(31)
        with pytest.raises(trio.BrokenResourceError):
            await caller.send(b"x")


async def test_a_peer_that_does_not_read_a_408_is_cut_off(autojump_clock):
    async with running() as server:
        caller = await server.listener.connect(lockstep_stream_pair)
        await caller.send(b"GET")
        await trio.sleep(36)
        with pytest.raises(trio.BrokenResourceError):
            await caller.send(b"x")


async def test_nothing_follows_half_an_answer(autojump_clock, caplog):
    async with running() as server:
        caller = await server.listener.connect(lockstep_stream_pair)
        await caller.send(ASKING)
        assert await caller.stream.receive_some(5) == b"HTTP/"
        await trio.sleep(31)
        assert await caller.closed() == b"1.1 100 Continue\r\n\r\n"
    assert caplog.messages == []


async def test_a_failing_handle_is_500_and_the_connection_goes_on(autojump_clock, caplog):
    async def fail_once(request: Request) -> Response:
        if request.method == "POST":
            raise KeyError("field")
        return await echo(request)

    async with running(fail_once) as server:
        caller = await server.connect(post(b"x") + GET)
        assert (await caller.answer())[0] == 500
        assert (await caller.answer())[2] == b"GET /a "
    assert "POST /a" in caplog.text
    assert "KeyError: 'field'" in caplog.text


@pytest.mark.parametrize("nonsense", [Response(99), Response(200, b"", (("X", "a\nb"),)), None])
async def test_an_answer_that_cannot_be_sent_becomes_500(autojump_clock, nonsense):
    async def handle(_request):
        return nonsense

    async with running(handle) as server:
        caller = await server.connect(GET)
        assert (await caller.answer())[0] == 500


async def test_a_handle_that_fails_when_cut_off_ends_only_its_own(autojump_clock, caplog):
    async def fail_when_cancelled(request: Request) -> Response:
        if request.method == "POST":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("cleaning up failed")
        return await echo(request)

    async with running(fail_when_cancelled) as server:
        broken = await server.connect(post(b"x"))
        await broken.closed()
        caller = await server.connect(GET)
        assert (await caller.answer())[0] == 200
    assert "cleaning up failed" in caplog.text


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /", GET, GET[:-1], b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"],
)
async def test_a_peer_that_goes_away_is_no_news(autojump_clock, caplog, sent):
    async with running() as server:
        caller = await server.connect(sent)
        await caller.stream.aclose()
        await wait_all_tasks_blocked()
        other = await server.connect(GET)
        assert (await other.answer())[0] == 200
    assert caplog.messages == []


async def test_requests_above_the_limit_are_answered_503(autojump_clock):
    gate = Gate()
    async with running(gate, requests=1) as server:
        busy = await server.connect(GET)
        await gate.entered.wait()
        caller = await server.connect(GET)
        status, headers, _ = await caller.answer()
        assert (status, headers["retry-after"]) == (503, "10")
        assert "connection" not in headers
        gate.open.set()
        assert (await busy.answer())[0] == 200
        await caller.send(GET)
        assert (await caller.answer())[0] == 200


async def test_connections_above_the_limit_are_turned_away(autojump_clock):
    async with running(connections=2) as server:
        first, second = [await server.connect(GET) for _ in range(2)]
        assert (await first.answer())[0] == 200
        assert (await second.answer())[0] == 200
        third = await server.connect()
        status, headers, _ = await third.answer()
        assert (status, headers["connection"]) == (503, "close")
        assert await third.closed() == b""
        await first.stream.aclose()
        await wait_all_tasks_blocked()
        fourth = await server.connect(GET)
        assert (await fourth.answer())[0] == 200


async def test_a_peer_that_leaves_while_it_is_turned_away_is_no_news(autojump_clock, caplog):
    async with running(connections=1) as server:
        first = await server.connect(GET)
        await first.answer()
        second = await server.connect()
        await second.stream.aclose()
        await wait_all_tasks_blocked()
        await first.send(GET)
        assert (await first.answer())[0] == 200
    assert "1 connections are open, the limit" in caplog.text


async def test_a_peer_turned_away_that_does_not_read_blocks_nobody(
    autojump_clock,
):
    async with running(connections=1) as server:
        first = await server.connect(GET)
        await first.answer()
        await server.listener.connect(lockstep_stream_pair)
        await wait_all_tasks_blocked()
        await first.stream.aclose()
        other = await server.connect(GET)
        assert (await other.answer())[0] == 200


async def test_accepting_goes_on_after_the_process_had_no_descriptors(autojump_clock, caplog):
    async with running() as server:
        server.listener.trouble = OSError(errno.EMFILE, "Too many open files")
        callers = [await server.connect(GET) for _ in range(2)]
        for caller in callers:
            assert (await caller.answer())[0] == 200
    assert "cannot accept: Too many open files" in caplog.text


async def test_an_unknown_failure_of_a_listener_is_not_hidden(autojump_clock):
    listener = MemoryListener()
    listener.trouble = OSError(errno.EINVAL, "Invalid argument")
    with pytest.raises(ExceptionGroup) as raised:
        await serve([listener], echo, SETTINGS, grace=GRACE)
    assert raised.group_contains(OSError, match="Invalid argument")


async def test_draining_closes_idle_connections_at_once(autojump_clock):
    async with running() as server:
        caller = await server.connect(GET)
        await caller.answer()
        await wait_all_tasks_blocked()
        server.stop()
        assert await caller.closed() == b""
        await server.ended.wait()
        assert trio.current_time() == 0


async def test_draining_stops_accepting_first(autojump_clock):
    gate = Gate()
    async with running(gate) as server:
        await server.connect(GET)
        await gate.entered.wait()
        server.stop()
        await wait_all_tasks_blocked()
        assert server.listener.closed.is_set()
        assert not server.ended.is_set()


async def test_while_draining_a_request_in_work_is_answered_last(
    autojump_clock,
):
    gate = Gate()
    async with running(gate) as server:
        caller = await server.connect(GET + GET)
        await gate.entered.wait()
        server.stop()
        await trio.sleep(5)
        gate.open.set()
        status, headers, body = await caller.answer()
        assert (status, headers["connection"], body) == (200, "close", b"GET /a ")
        assert await caller.closed() == b""
        await caller.stream.aclose()
        await server.ended.wait()
        assert trio.current_time() == pytest.approx(5)


async def test_a_request_that_was_begun_may_end_while_draining(autojump_clock):
    async with running() as server:
        caller = await server.connect(post(b"xy")[:-1])
        await wait_all_tasks_blocked()
        server.stop()
        await trio.sleep(5)
        await caller.send(b"y")
        assert (await caller.answer())[1]["connection"] == "close"


async def test_while_draining_a_new_connection_may_bring_its_request(
    autojump_clock,
):
    async with running() as server:
        caller = await server.connect()
        silent = await server.connect()
        await wait_all_tasks_blocked()
        server.stop()
        await trio.sleep(FIRST_REQUEST_TIMEOUT / 2)
        await caller.send(GET)
        assert (await caller.answer())[0] == 200
        await caller.stream.aclose()
        assert await silent.closed() == b""
        await server.ended.wait()
        assert trio.current_time() == pytest.approx(FIRST_REQUEST_TIMEOUT)


async def test_while_draining_an_endless_request_may_be_sent_again(autojump_clock):
    async with running(request_timeout=Duration(5)) as server:
        caller = await server.connect(GET[:-1])
        await wait_all_tasks_blocked()
        server.stop()
        status, headers, _ = await caller.answer()
        assert (status, headers["retry-after"]) == (503, "10")


async def test_draining_ends_when_its_grace_is_over(autojump_clock, caplog):
    async with running(Gate()) as server:
        caller = await server.connect(GET)
        await wait_all_tasks_blocked()
        server.stop()
        assert await caller.closed() == b""
        await server.ended.wait()
        assert trio.current_time() == pytest.approx(GRACE)
    assert "cut off, because draining took longer than 10 s" in caplog.text


async def test_a_peer_that_does_not_read_cannot_hold_up_draining(autojump_clock):
    async with running() as server:
        caller = await server.listener.connect(lockstep_stream_pair)
        await caller.send(GET)
        await wait_all_tasks_blocked()
        server.stop()
        await server.ended.wait()
        assert trio.current_time() <= GRACE


async def test_answers_that_end_during_draining_close_their_connection(autojump_clock):
    async with running() as server:
        caller = await server.listener.connect(lockstep_stream_pair)
        await caller.send(GET)
        await wait_all_tasks_blocked()  # the answer is being sent, without Connection: close
        server.stop()
        await wait_all_tasks_blocked()
        assert (await caller.answer())[0] == 200
        assert await caller.closed() == b""
        await caller.stream.aclose()
        await server.ended.wait()
        assert trio.current_time() == 0


async def test_stopping_before_anything_happened_is_quick(autojump_clock):
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [MemoryListener()], echo, SETTINGS, grace=GRACE))
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 0

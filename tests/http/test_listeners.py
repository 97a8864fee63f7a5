"""Listening sockets."""

import os
import socket
from contextlib import ExitStack

import pytest
import trio

from bridge.api import NetworkAddress
from bridge.http.listeners import ListenError, open_listeners


def local(port: int = 0) -> NetworkAddress:
    return NetworkAddress("127.0.0.1", port)


async def test_a_caller_reaches_a_bound_address():
    async with open_listeners(local(), {}) as (listener,):
        port = listener.socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port), await listener.accept():
            pass


async def test_an_address_can_be_bound_again_at_once():
    async with open_listeners(local(), {}) as (listener,):
        port = listener.socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port), await listener.accept():
            pass
    async with open_listeners(local(port), {}):
        pass


async def test_an_address_in_use_is_said_in_a_sentence():
    async with open_listeners(local(), {}) as (listener,):
        port = listener.socket.getsockname()[1]
        with pytest.raises(
            ListenError, match=f"^127.0.0.1:{port}: another process listens there; stop it"
        ):
            async with open_listeners(local(port), {}):
                pass


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            PermissionError(13, "Permission denied"),
            "this user may not listen there; use a port from 1024 on",
        ),
        (
            OSError(97, "Address family not supported"),
            "cannot listen there: Address family not supported",
        ),
        (socket.gaierror(-2, "Name or service not known"), "this host name is not known"),
    ],
)
async def test_why_an_address_cannot_be_had_is_said_in_a_sentence(monkeypatch, error, sentence):
    async def refuse(*_args, **_options):
        raise error

    monkeypatch.setattr(trio, "open_tcp_listeners", refuse)
    with pytest.raises(ListenError, match=f"^127.0.0.1:443: {sentence}"):
        async with open_listeners(local(443), {}):
            pass


async def test_a_foreign_address_is_said_in_a_sentence():
    with pytest.raises(ListenError, match="not an address of this machine"):
        async with open_listeners(NetworkAddress("192.0.2.1", 0), {}):
            pass


class Systemd:
    """Hands over sockets as systemd does, from some descriptor on."""

    def __init__(self, stack: ExitStack, *names: str, listening: bool = True) -> None:
        self.sockets = [stack.enter_context(socket.socket()) for _ in names]
        self.first = 400
        for index, one in enumerate(self.sockets):
            one.bind(("127.0.0.1", 0))
            if listening:
                one.listen()
            os.dup2(one.fileno(), self.first + index)
            stack.callback(os.close, self.first + index)
        self.environ = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(names)),
            "LISTEN_FDNAMES": ":".join(names),
        }

    def open(self, name: str):
        return open_listeners(NetworkAddress("", 0, name), self.environ, first_socket=self.first)


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


async def test_the_sockets_of_a_name_are_taken_from_systemd(stack):
    systemd = Systemd(stack, "admin", "webhook", "webhook")
    async with systemd.open("webhook") as listeners:
        assert [listener.socket.getsockname() for listener in listeners] == [
            one.getsockname() for one in systemd.sockets[1:]
        ]
        async with (
            await trio.open_tcp_stream(*listeners[1].socket.getsockname()),
            await listeners[1].accept(),
        ):
            pass


async def test_a_socket_of_systemd_can_be_closed_and_opened_again(stack):
    systemd = Systemd(stack, "webhook")
    for _ in range(2):
        async with systemd.open("webhook") as (listener,):
            caller = await trio.open_tcp_stream(*listener.socket.getsockname())
            async with caller, await listener.accept():
                pass


async def test_a_socket_of_systemd_is_not_inherited_by_children(stack):
    systemd = Systemd(stack, "webhook")
    os.set_inheritable(systemd.first, True)
    async with systemd.open("webhook") as (listener,):
        assert not os.get_inheritable(systemd.first)
        assert not os.get_inheritable(listener.socket.fileno())


async def test_a_name_unknown_to_systemd_is_told_with_those_it_knows(stack):
    systemd = Systemd(stack, "admin")
    with pytest.raises(
        ListenError,
        match=r"^systemd:webhook: .* \(there are: admin\); expected FileDescriptorName=",
    ):
        async with systemd.open("webhook"):
            pass


@pytest.mark.parametrize(
    "change", [{"LISTEN_PID": "1"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "many"}]
)
async def test_sockets_meant_for_another_process_are_left_alone(stack, change):
    systemd = Systemd(stack, "webhook")
    systemd.environ |= change
    with pytest.raises(ListenError, match="there are: none"):
        async with systemd.open("webhook"):
            pass


async def test_a_socket_that_does_not_listen_is_refused(stack):
    systemd = Systemd(stack, "webhook", listening=False)
    with pytest.raises(ListenError, match="file descriptor 400 is not a listening stream socket"):
        async with systemd.open("webhook"):
            pass


async def test_fewer_names_than_sockets_leave_some_without_a_name(stack):
    systemd = Systemd(stack, "webhook", "webhook")
    systemd.environ["LISTEN_FDNAMES"] = "webhook"
    async with systemd.open("webhook") as listeners:
        assert len(listeners) == 1

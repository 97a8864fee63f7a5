from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import trio

from bridge.admin.control import MAX_REQUEST, CommandHandlers, ask, open_control
from bridge.api import CommandError


@pytest.fixture
def command_handlers() -> CommandHandlers:
    return CommandHandlers()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def double(arguments: Any) -> Any:
    return {"twice": arguments["number"] * 2}


async def test_a_command_is_answered_by_the_instance_it_asks(command_handlers, socket):
    with command_handlers.answering("source:a")("double", double):
        async with open_control(socket, command_handlers):
            assert await ask(socket, "source:a", "double", {"number": 21}) == {"twice": 42}


async def test_only_the_user_of_the_bridge_may_open_the_socket(command_handlers, socket):
    async with open_control(socket, command_handlers):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600


async def test_the_socket_is_gone_when_the_bridge_has_stopped(command_handlers, socket):
    async with open_control(socket, command_handlers):
        pass
    assert not socket.exists()
    with pytest.raises(CommandError, match="no bridge runs that answers at"):
        await ask(socket, "source:a", "double")


async def test_a_socket_that_a_killed_bridge_left_is_replaced(command_handlers, socket):
    async with open_control(socket, command_handlers):
        left = socket.with_name("left.sock")
        left.hardlink_to(socket)
    left.rename(socket)
    with pytest.raises(CommandError, match="no bridge runs"):
        await ask(socket, "source:a", "double")
    with command_handlers.answering("source:a")("double", double):
        async with open_control(socket, command_handlers):
            assert await ask(socket, "source:a", "double", {"number": 1}) == {"twice": 2}


async def test_a_file_that_is_no_socket_is_not_removed(command_handlers, socket):
    socket.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        async with open_control(socket, command_handlers):
            pass
    assert socket.read_text() == "precious"


async def test_a_path_longer_than_the_kernel_takes_works(command_handlers, tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with command_handlers.answering("source:a")("double", double):
        async with open_control(folder / "control.sock", command_handlers):
            assert await ask(folder / "control.sock", "source:a", "double", {"number": 4}) == {
                "twice": 8
            }


async def test_what_nobody_answers_is_an_error_that_names_it(command_handlers, socket):
    async with open_control(socket, command_handlers):
        with pytest.raises(CommandError, match="source:a does not answer 'double' now"):
            await ask(socket, "source:a", "double")


async def test_a_folder_that_is_not_there_means_that_no_bridge_runs(tmp_path):
    with pytest.raises(CommandError, match="no bridge runs that answers at"):
        await ask(tmp_path / "nowhere" / "control.sock", "source:a", "double")


async def test_what_the_instance_says_against_it_reaches_the_person(command_handlers, socket):
    async def refuse(arguments: Any) -> Any:
        raise CommandError("there is no device d9")

    with command_handlers.answering("source:a")("double", refuse):
        async with open_control(socket, command_handlers):
            with pytest.raises(CommandError, match="there is no device d9"):
                await ask(socket, "source:a", "double")


async def test_an_instance_that_fails_is_logged_and_its_secret_is_not_told(
    command_handlers, socket, caplog
):
    async def fail(arguments: Any) -> Any:
        raise RuntimeError("token hunter2")

    with command_handlers.answering("source:a")("double", fail):
        async with open_control(socket, command_handlers):
            with pytest.raises(CommandError, match="it failed: RuntimeError") as caught:
                await ask(socket, "source:a", "double")
            assert "hunter2" not in str(caught.value)
    assert "answering 'double' failed" in caplog.text


@pytest.mark.parametrize(
    "line", [b"\n", b"hello\n", b"[]\n", b'{"instance": "source:a"}\n', b"\xff\n"]
)
async def test_a_request_that_makes_no_sense_is_answered_so(command_handlers, line):
    assert b"is not understood" in await command_handlers.respond(line)


@pytest.mark.parametrize("sent", [b"", b"half a line", b"x" * (MAX_REQUEST + 2)])
async def test_a_caller_that_sends_no_line_does_not_harm_the_next(command_handlers, socket, sent):
    with command_handlers.answering("source:a")("double", double):
        async with open_control(socket, command_handlers):
            stream = await trio.open_unix_socket(str(socket))
            await stream.send_all(sent)
            await stream.aclose()
            assert await ask(socket, "source:a", "double", {"number": 1}) == {"twice": 2}


def test_two_cannot_answer_the_same_request(command_handlers):
    answering = command_handlers.answering("source:a")
    with (
        answering("double", double),
        pytest.raises(ValueError, match="already"),
        answering("double", double),
    ):
        pass
    with answering("double", double):
        pass

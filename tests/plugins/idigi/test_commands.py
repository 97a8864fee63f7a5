"""``bridged idigi monitors``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from bridge.api import CommandContext, CommandError, Pause, Secret
from bridge_plugins.idigi import bridge_commands
from bridge_plugins.idigi.commands import _delete, table
from bridge_plugins.idigi.emulator.server import Emulator
from bridge_plugins.idigi.rest.wanted import wanted_monitor
from bridge_plugins.idigi.settings import Settings

Run = Callable[..., Any]


@pytest.fixture
def command(emulator: Emulator, settings_for: Any) -> Run:
    """Runs the command against the emulator as the command line does."""

    async def run(*words: str, **changes: Any) -> int:
        (command,) = bridge_commands()
        assert (command.kind, command.name) == ("idigi", "monitors")
        parser = ArgumentParser()
        command.arguments(parser)

        async def ask(_request: str, _arguments: Any = None) -> Any:
            raise AssertionError("this command asks no bridge")

        settings = settings_for(emulator, **changes)
        context = CommandContext(
            "gateways", settings, ask, lambda: datetime(2024, 5, 2, tzinfo=UTC)
        )
        return await command.run(context, parser.parse_args(words))

    return run


@pytest.fixture
def add(emulator: Emulator, settings_for: Any) -> Callable[..., int]:
    """Adds a monitor to the account and gives its id."""

    def make(source: str = "gateways", status: str = "SUSPENDED", **changes: Any) -> int:
        monitor = emulator.account.create(wanted_monitor(settings_for(emulator, **changes), source))
        monitor.status = status
        return monitor.id

    return make


@pytest.mark.fact("Command: list tells ours, status, topics, last connect")
async def test_the_list_tells_ours_from_others(
    command: Run, add: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = add(topics=("DataPoint",)), add("another", status="INACTIVE")
    assert await command("list") == 0
    head, *rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [word.strip() for word in head if word] == [
        "ID",
        "OURS",
        "STATUS",
        "LAST CONNECT",
        "TOPICS",
        "DESCRIPTION",
    ]
    cells = [[word.strip() for word in row if word.strip()] for row in rows]
    assert cells[0][:3] + cells[0][-2:] == [
        str(ours),
        "yes",
        "SUSPENDED",
        "DataPoint",
        "bridge/gateways",
    ]
    assert cells[1][:3] + cells[1][-1:] == [str(theirs), "no", "INACTIVE", "bridge/another"]


def test_the_list_shows_no_control_characters() -> None:
    monitor = {
        "monId": "5",
        "monLastConnect": "2024-05-02T10:00:00Z",
        "monTopic": "a\x1b[31m",
        "monDescription": "x",
    }
    lines = table([monitor], "x")
    assert lines[1].split() == ["5", "yes", "-", "2024-05-02T10:00:00Z", "a", "[31m", "x"]


async def test_a_monitor_is_shown_with_every_element(
    command: Run, add: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    number = add()
    assert await command("show", str(number)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {f"monId: {number}", "monAckOption: explicit", "monTopic: DataPoint,DeviceCore"} <= set(
        lines
    )


async def test_our_idle_monitor_is_deleted(
    command: Run, add: Any, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    number = add()
    assert await command("delete", str(number)) == 0
    assert number not in emulator.account.monitors
    assert (
        capsys.readouterr().out
        == f"monitor {number} is deleted, and what it had recorded is gone\n"
    )


@pytest.mark.fact("Command: delete refuses live ones and others' without --force")
@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("gateways", "ACTIVE", "not deleted: somebody is attached to it; --force deletes it"),
        (
            "another",
            "INACTIVE",
            "not deleted: its description is 'bridge/another', ours is 'bridge/gateways'; --force",
        ),
        ("another", "ACTIVE", "somebody is attached to it and its description is"),
    ],
)
async def test_a_live_or_foreign_monitor_is_deleted_by_force_only(
    source: str, status: str, words: str, command: Run, add: Any, emulator: Emulator
) -> None:
    number = add(source, status)
    with pytest.raises(CommandError) as caught:
        await command("delete", str(number))
    assert words in str(caught.value)
    assert number in emulator.account.monitors
    assert await command("delete", str(number), "--force") == 0
    assert number not in emulator.account.monitors


@pytest.mark.parametrize("action", ["show", "delete"])
async def test_a_monitor_that_is_not_there_is_said_to_be_so(action: str, command: Run) -> None:
    with pytest.raises(
        CommandError, match="the account has no monitor 5; see: bridged idigi monitors list"
    ):
        await command(action, "5")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show"], "needs the number"),
        (["delete"], "needs the number"),
        (["list", "5"], "no number"),
    ],
)
async def test_a_number_too_many_or_too_few_is_said(
    words: list[str], said: str, command: Run
) -> None:
    with pytest.raises(CommandError, match=said):
        await command(*words)


async def test_wrong_credentials_are_said_without_showing_them(command: Run) -> None:
    with pytest.raises(Pause, match="correct username and password") as caught:
        await command("list", password=Secret("hunter2"))
    assert "hunter2" not in str(caught.value)


def test_the_tag_of_the_section_may_be_set() -> None:
    settings = Settings(username="user", password=Secret("pass"), description="mine")
    assert table([wanted_monitor(settings, "any")], "mine")[1].split()[1] == "yes"


async def test_a_monitor_that_vanishes_before_its_deletion_is_told(
    service: Any,
) -> None:
    found = httpx.Response(
        200, json={"items": [{"monId": "5", "monStatus": "INACTIVE", "monDescription": "mine"}]}
    )
    service.answers = [found]
    with pytest.raises(CommandError, match="monitor 5 was deleted by somebody else meanwhile"):
        await _delete(service.api, 5, "mine", force=False)

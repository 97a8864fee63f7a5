"""Commands of plugins, as their user sees them: a plugin of one file with a history,
its daemon, and the terminal.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define

from bridge.cli.commands import run
from tests.end_to_end.site import Site

ACME = '''
"""A vendor with a record of the last hours."""
from contextlib import asynccontextmanager
from datetime import timedelta

import trio
from attrs import frozen

from bridge.api import (
    Command, CommandError, Event, Page, Pause, Reading, Recovery, Secret, SourceKind, hookimpl,
    setting,
)

BRIDGE_API = (1, 0)


@frozen
class Settings:
    token: Secret = setting(help="token")
    credentials: bool = setting(True, help="whether the record can be read")


class History:
    async def parts(self):
        return ["d1", "d2"]

    async def page(self, part, start, end, cursor):
        number = int(cursor or 0)
        time = start + timedelta(seconds=number)
        readings = (Reading("level", number, time),)
        event = Event(f"{part}-{time.isoformat()}", part, "level", time, readings)
        return Page((event,), str(number + 1) if number < 4 else None)


@asynccontextmanager
async def open_history(settings, context):
    yield History()


async def run(settings, context, *, task_status):
    async def hello(arguments):
        if arguments is None:
            raise CommandError("who are you?")
        return f"hello {arguments}"

    with context.answer("hello", hello):
        context.report("listens")
        task_status.started()
        await trio.sleep_forever()


async def show(context, options):
    print(context.name, context.settings.token, options.color)
    return 0


async def greet(context, options):
    print(await context.ask("hello", options.who))
    return 0


async def refuse(context, options):
    raise Pause("the token is refused")


def color(parser):
    parser.add_argument("--color", default="blue")


def who(parser):
    parser.add_argument("who", nargs="?")


@hookimpl
def bridge_source_kinds():
    lacks = lambda settings: None if settings.credentials else "set credentials"
    return [SourceKind("acme", Settings, run, recovery=Recovery(open_history, lacks))]


@hookimpl
def bridge_commands():
    return [
        Command("acme", "show", show, help="show the settings", arguments=color),
        Command("acme", "greet", greet, help="greet the bridge", arguments=who, asks=True),
        Command("acme", "refuse", refuse, help="fail"),
    ]
'''


@define
class Terminal:
    """What the last command printed."""

    config: Path
    capture: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def __call__(self, *arguments: str) -> int:
        try:
            code = run([*arguments, "--config", str(self.config)])
        except SystemExit as exc:
            code = int(exc.code or 0)
        self.out, self.err = self.capture.readouterr()
        return code


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    (tmp_path / "plugins").mkdir(mode=0o755)
    (tmp_path / "plugins" / "acme.py").write_text(ACME)
    (tmp_path / "plugins" / "acme.py").chmod(0o644)
    site.sections["bridge"] = {**site.sections["bridge"], "plugins": str(tmp_path / "plugins")}
    site.sections["source:north"] = {"plugin": "acme", "token": "hunter2"}
    site.sections["sink:file"] = {"plugin": "jsonlines", "path": str(tmp_path / "out.jsonl")}
    yield site
    site.close()


@pytest.fixture
def bridged(site: Site, capsys: pytest.CaptureFixture[str]) -> Callable[..., int]:
    return Terminal(site.write(), capsys)


def in_process(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge", *arguments, "--config", str(site.folder / "bridge.ini")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


def test_a_command_gets_its_arguments_and_the_settings_of_its_section(bridged):
    assert bridged("acme", "show", "--color", "red") == 0
    assert bridged.out == "north ******** red\n"


def test_a_command_that_only_asks_does_not_need_the_secrets(site: Site, capsys):
    site.sections["source:north"] = {"plugin": "acme", "token": "${credential:acme.token}"}
    terminal = Terminal(site.write(), capsys)
    assert terminal("acme", "greet", "me") == 1
    assert f"no bridge runs that answers at {site.state / 'control.sock'}" in terminal.err
    assert terminal("acme", "show") == 78
    assert "credential" in terminal.err
    assert "acme.token" in terminal.err


def test_a_verdict_that_ends_a_command_is_a_sentence(bridged):
    assert bridged("acme", "refuse") == 1
    assert bridged.err == "the token is refused\n"


def test_with_several_sections_it_must_be_said_which(site: Site, capsys):
    site.sections["source:south"] = {"plugin": "acme", "token": "x"}
    terminal = Terminal(site.write(), capsys)
    assert terminal("acme", "show") == 2
    assert terminal.err == (
        "several sections have plugin = acme; say which one with --name; there are: north, south\n"
    )
    assert terminal("acme", "show", "--name", "south") == 0
    assert terminal.out.startswith("south ")
    assert terminal("acme", "show", "--name", "east") == 2
    assert (
        terminal.err == "no section with plugin = acme is called 'east'; there are: north, south\n"
    )


def test_without_a_section_it_says_what_it_expected(site: Site, capsys):
    del site.sections["source:north"]
    terminal = Terminal(site.write(), capsys)
    assert terminal("acme", "show") == 2
    assert (
        terminal.err
        == f"{terminal.config.name}: expected a section with plugin = acme; there is none\n"
    )


def test_a_section_that_is_not_enabled_has_no_settings_for_a_command(site: Site, capsys):
    site.sections["source:north"] = {"plugin": "acme", "token": "x", "enabled": "no"}
    site.sections["source:south"] = {"plugin": "acme", "token": "x"}
    terminal = Terminal(site.write(), capsys)
    assert terminal("acme", "show", "--name", "north") == 78
    assert terminal.err == "[source:north] is not enabled\n"


def test_a_wrong_configuration_is_told_with_every_mistake(site: Site, capsys):
    site.sections["source:north"] = {"plugin": "acme", "tokn": "x"}
    terminal = Terminal(site.write(), capsys)
    assert terminal("acme", "show") == 78
    assert "tokn: unknown setting, did you mean 'token'?" in terminal.err


def test_a_configuration_that_is_not_there_is_told(bridged, tmp_path):
    bridged.config = tmp_path / "nowhere.ini"
    assert bridged("disruptive", "backfill", "--from", "2026-01-01") == 78
    assert "nowhere.ini" in bridged.err


def test_the_commands_of_plugins_are_in_the_help(bridged):
    assert bridged("--help") == 0
    assert "commands of the plugin acme" in bridged.out
    assert bridged("acme", "--help") == 0
    assert "backfill" in bridged.out
    assert "show the settings" in bridged.out


def test_a_word_that_is_no_command_is_a_mistake_of_usage(bridged):
    assert bridged("acmee") == 2
    assert "invalid choice: 'acmee'" in bridged.err


def test_a_time_that_is_none_is_a_mistake_of_usage(bridged):
    assert bridged("acme", "backfill", "--from", "yesterday") == 2
    assert "expected a time such as 2026-05-04T10:00, got 'yesterday'" in bridged.err


async def test_the_running_bridge_answers_and_reads_back_what_is_asked_for(site: Site):
    site.start()
    await site.ready()
    greeted = in_process(site, "acme", "greet", "me")
    assert (greeted.returncode, greeted.stdout) == (0, "hello me\n")
    assert in_process(site, "acme", "greet").stderr == "who are you?\n"
    span = ("--from", "2026-01-01T00:00", "--to", "2026-01-01T02:00+01:00")
    dry = in_process(site, "acme", "backfill", *span, "--dry-run")
    assert dry.stdout == (
        "d1\nd2\nwould read 2 devices from 2026-01-01 00:00:00 UTC to 2026-01-01 01:00:00 UTC\n"
    )
    assert not (site.folder / "out.jsonl").exists() or not (site.folder / "out.jsonl").read_text()
    done = in_process(site, "acme", "backfill", *span)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.splitlines()[-1] == "asked for: read back 2 devices, 10 events, 10 of them new"
    )
    again = in_process(site, "acme", "backfill", *span)
    assert (
        again.stdout.splitlines()[-1] == "asked for: read back 2 devices, 10 events, 0 of them new"
    )
    assert await site.stop() == 0
    assert len((site.folder / "out.jsonl").read_text().splitlines()) == 10
    assert not (site.state / "control.sock").exists()

"""No message quotes what came from a credential, a file or the environment:

a canary in every setting there is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import httpx
import pytest
import trio

from bridge.api import Duration, Secret, Size, Url
from bridge.cli.commands import run
from bridge.config.fields import SettingField
from bridge.daemon import settings as schema
from tests.end_to_end.canaries import (
    PIECE,
    SCHEMES,
    Cage,
    Canary,
    Net,
    also_written,
    fitting,
    item_type,
    nearly,
)
from tests.end_to_end.canary_run import PATIENCE, Run, start
from tests.end_to_end.canary_sections import (
    KINDS,
    MINIMAL,
    NEVER_RUN,
    Planner,
    Written,
    classes,
    key_of,
    planted_in,
    settings_of,
)
from tests.end_to_end.hostile import hostile_far_side
from tests.end_to_end.site import Site


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve the annotations of a class once: a test loads it hundreds of times."""
    monkeypatch.setattr("bridge.config.fields.get_type_hints", cache(get_type_hints))


def test_every_kind_and_every_core_class_has_a_section_here():
    wanted = {f"source:{name}" for name in KINDS.sources} | {f"sink:{name}" for name in KINDS.sinks}
    assert wanted <= MINIMAL.keys()
    assert list(KINDS.spools) == ["sqlite"]
    core = {
        each
        for each in vars(schema).values()
        if isinstance(each, type) and attrs.has(each) and each.__module__ == schema.__name__
    }
    used = {base for section in MINIMAL for each in classes(section) for base in each.__mro__}
    assert core - used == {
        schema.WebhookSettings
    }  # both kinds that are called have a history as well


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(Cage(tmp_path), Net())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("section", MINIMAL)
def test_a_value_that_fits_or_almost_fits_is_not_shown(written: Written, section: str, scheme: str):
    leaks = []
    for setting in settings_of(section):
        canary = Canary(section, setting.key, scheme)
        texts = fitting(setting.type, canary)
        for text in (
            texts if scheme == "env" else texts[:1]
        ):  # what follows does not depend on where it came from
            written.net.plant(canary, *also_written(setting.type, text))
            written.write(section, {key_of(setting): written.cage.refer(scheme, "canary", text)})
            leaks += written.net.caught(written.said_at_load())
    assert leaks == []


def word(setting: SettingField, canary: Canary) -> str:
    return canary.word


def almost(setting: SettingField, canary: Canary) -> str:
    return nearly(setting.type, canary)


def with_bytes_that_are_no_text(setting: SettingField, canary: Canary) -> str:
    return os.fsdecode(canary.word.encode() + b"\xff" + canary.word.encode())


def several_lines(setting: SettingField, canary: Canary) -> str:
    return f"{canary.word}\n{canary.number}\n"


BROKEN: Sequence[Callable[[SettingField, Canary], str]] = (
    word,
    almost,
    with_bytes_that_are_no_text,
    several_lines,
)
AROUND = ("{}", "fine, {}", "fine-{}-fine")
"""What stands around a reference."""


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_many_values_that_do_not_fit_are_not_shown(
    written: Written, scheme: str, content: Callable[..., str]
):
    leaks = []
    for section in MINIMAL:
        for around in AROUND:
            planted = {}
            for setting in settings_of(section):
                if setting.key != "plugin":  # its own mistake hides the others
                    canary = Canary(section, setting.key, scheme)
                    written.net.plant(canary)
                    name = f"{section}.{setting.key}"
                    planted[key_of(setting)] = around.format(
                        written.cage.refer(scheme, name, content(setting, canary))
                    )
            written.write(section, planted)
            said = written.said_at_load()
            leaks += written.net.caught(said)
            assert content is not with_bytes_that_are_no_text or "it is not UTF-8 text" in said
    assert leaks == []


@pytest.mark.parametrize(
    "reference", ["${env:NOT_THERE}", "${credential:not-there}", "${file:/not/there}", "${what}"]
)
def test_what_stands_around_a_bad_reference_is_not_shown(written: Written, reference: str):
    leaks = []
    for section in MINIMAL:
        planted = {}
        for setting in settings_of(section):
            canary = Canary(section, setting.key, "around")
            written.net.plant(canary)
            planted[key_of(setting)] = f"{canary.word}{reference}{canary.word}"
        written.write(section, planted)
        leaks += written.net.caught(written.said_at_load())
    assert leaks == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("content", [word, almost])
def test_check_and_show_config_print_no_canary(
    written: Written,
    scheme: str,
    content: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
):
    for section in MINIMAL:
        planted = {}
        for setting in settings_of(section):
            canary = Canary(section, setting.key, scheme)
            written.net.plant(canary)
            planted[key_of(setting)] = written.cage.refer(
                scheme, f"{section}.{setting.key}", content(setting, canary)
            )
        written.write(section, planted)
        for name, value in written.cage.environ.items():
            monkeypatch.setenv(name, value)
        for command in ("check", "show-config", "audit"):
            run([command, "--config", str(written.path)])
    assert written.net.caught("".join(capfd.readouterr())) == []


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    return Planner(tmp_path_factory.mktemp("plans"))


@pytest.mark.parametrize("section", MINIMAL)
def test_every_text_is_planted_where_the_bridge_starts(planner: Planner, section: str):
    planted = {key for plan in planner.plans(section) for key in planted_in(plan)}
    wanted = {
        key_of(setting)
        for setting in settings_of(section)
        if setting.key not in NEVER_RUN
        and item_type(setting.type) in (str, Secret, Url, Path, Duration, Size)
    }
    assert wanted - planted == set()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_far_side_that_repeats_everything_is_not_quoted(
    site: Site, planner: Planner, scheme: str
):
    async with hostile_far_side() as far_side:
        run = Run(site, far_side, scheme, Cage(site.folder / "cage"))
        run.plant(planner)
        start(site, run.cage.environ)
        await site.ready()
        await run.stir()
        await run.heard()
        await run.pages()
        await run.commands()
        await site.stop()
    said = "\n".join(run.said)
    assert run.net.caught(site.log) == []
    assert run.net.caught(said) == []
    assert run.net.caught(run.dead_letters()) == []

    # It was all there to be quoted.
    for section in (
        "source:disruptive-3",
        "source:idigi-0",
        "source:wattsense-0",
        "sink:databoom-0",
    ):
        assert any(section in caught for caught in run.net.caught("\n".join(far_side.heard))), (
            section
        )
    for happened in (
        "--- Logging error ---",
        "Exception in thread",
        "Exception ignored",
        "was answered 500",
        "Basic **",
    ):
        assert happened in site.log
    assert "in crash" in said


@pytest.fixture
def pems(site: Site) -> list[str]:
    """Give the lines of two keys and their certificates; the other pair is in
    ``other.pem``.
    """
    site.authority.issue_cert("localhost", "127.0.0.1").private_key_pem.write_to_path(
        site.folder / "other.pem"
    )
    content = (site.folder / "pair.pem").read_text() + (site.folder / "other.pem").read_text()
    return [line for line in content.splitlines() if line and "-----" not in line]


def with_key(site: Site, key: str) -> Mapping[str, str]:
    """Configure a listener whose key is a credential with this content."""
    cage = Cage(site.folder / "cage")
    site.sections["listener:public"]["key"] = cage.refer("credential", "privkey.pem", key)
    site.sections["source:feeder"] = {
        "plugin": "wattsense",
        "listener": "public",
        "signature": "none",
    }
    site.sections["sink:file"] = {"plugin": "jsonlines", "path": str(site.folder / "events.jsonl")}
    return cage.environ


def garbage(pem: str) -> str:
    return pem.replace("M", "N", 3)


def shown(output: str, pem: Sequence[str]) -> list[str]:
    """Give the lines of PEM of which something shows."""
    return [
        line
        for line in pem
        if any(line[begin : begin + PIECE] in output for begin in range(len(line) - PIECE))
    ]


@pytest.mark.parametrize("name", ["pair.pem", "other.pem", "garbage"])
def test_check_shows_no_line_of_a_key(
    site: Site, pems: list[str], name: str, monkeypatch: pytest.MonkeyPatch, capfd: Any
):
    content = (
        garbage((site.folder / "pair.pem").read_text())
        if name == "garbage"
        else (site.folder / name).read_text()
    )
    for variable, value in with_key(site, content).items():
        monkeypatch.setenv(variable, value)
    status = run(["check", "--config", str(site.write())])
    output = "".join(capfd.readouterr())
    assert shown(output, [*pems, *content.splitlines()]) == []
    assert (status == 0) == (name == "pair.pem")
    assert status == 0 or str(site.folder / "cage" / "credentials" / "privkey_pem") in output


async def test_a_key_that_is_a_credential_is_served_with(site: Site, pems: list[str]):
    start(site, with_key(site, (site.folder / "pair.pem").read_text()))
    await site.ready()
    async with httpx.AsyncClient(
        base_url=site.url, verify=site.client_tls(), trust_env=False
    ) as client:
        assert (await client.post("/wattsense/values", json=[])).status_code == 200
    await site.stop()
    assert shown(site.log, pems) == []


@pytest.mark.parametrize("name", ["other.pem", "garbage"])
async def test_a_key_that_cannot_be_used_is_not_shown(site: Site, pems: list[str], name: str):
    content = (
        garbage((site.folder / "pair.pem").read_text())
        if name == "garbage"
        else (site.folder / name).read_text()
    )
    start(site, with_key(site, content))
    assert site.process is not None
    with trio.fail_after(PATIENCE):
        assert await trio.to_thread.run_sync(site.process.wait, abandon_on_cancel=True) == 1
    assert "cannot go on" in site.log
    assert shown(site.log, [*pems, *content.splitlines()]) == []

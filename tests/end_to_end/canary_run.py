"""A bridge as a real process with canaries in all its sections, stirred until
everything that can be refused was.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import trio
from attrs import define, field

from bridge.admin.control import ask
from bridge.api import CommandError
from bridge.spool.files import Files
from tests.end_to_end.canaries import Cage, Canary, Net, also_written, item_type
from tests.end_to_end.canary_sections import (
    LIVE,
    MINIMAL,
    Plan,
    Planner,
    filled_in,
    key_of,
    planted_in,
    settings_of,
)
from tests.end_to_end.hostile import FarSide
from tests.end_to_end.site import Site, free_port

PATIENCE = 60.0  # seconds for anything that is waited for, on a busy machine
COMMANDS = (
    "check",
    "show-config",
    "plugins",
    "audit",
    "purge-sink nobody",
    "databoom map --name databoom-0",
    "disruptive connectors list --name disruptive-0",
    "disruptive connectors show --name disruptive-4",
    "idigi monitors list --name idigi-1",
    "idigi backfill --from 2026-05-04 --dry-run --name idigi-1",
    "wreck crash",
)
PATHS = ("plugins", "state", "socket", "key")
PUSH_FORMS = 5  # in which the far side answers a login

WRECK = """
import sys, threading, warnings
from contextlib import asynccontextmanager

import trio
from attrs import frozen
from bridge.api import CommandError, Command, Secret, SinkKind, SourceKind, hookimpl, setting

BRIDGE_API = (1, 0)

@frozen
class Settings:
    text: str = setting(help="planted")
    secret: Secret = setting(help="planted")
    path: str = setting("/wreck", help="path on the listener")

    @property
    def both(self):
        return f"{self.text} {self.secret.reveal()}"

class Unraisable:
    def __init__(self, text):
        self.text = text

    def __del__(self):
        raise RuntimeError(self.text)

def crash(settings):
    error = RuntimeError(f"{settings.both}")
    error.add_note(settings.both)
    causes = [ValueError(settings.text), KeyError(settings.secret.reveal())]
    raise error from ExceptionGroup(settings.both, causes)

async def run(settings, context, *, task_status):
    import logging
    def receive(request):
        crash(settings)
    async def fail(arguments):
        crash(settings)
    async def refuse(arguments):
        raise CommandError(settings.both)
    async def tell(arguments):
        return {settings.text: [settings.both]}
    task_status.started()
    logging.getLogger("wreck").warning("%d of %s", settings.both, settings.secret.reveal())
    logging.getLogger("wreck").warning("the settings are %r", settings)
    warnings.warn(settings.both)
    print(settings.both)
    print(settings.both, file=sys.stderr)
    threading.Thread(target=crash, args=[settings]).start()
    Unraisable(settings.both)
    context.report(settings.both.upper(), problem=True)
    with context.mount(settings.path, receive), context.answer("fail", fail):
        with context.answer("refuse", refuse), context.answer("tell", tell):
            await trio.sleep(2)
    crash(settings)

class Sink:
    def __init__(self, settings):
        self.settings = settings

    async def deliver(self, batch):
        crash(self.settings)

@asynccontextmanager
async def open_sink(settings, context):
    yield Sink(settings)

@asynccontextmanager
async def open_broken(settings, context):
    crash(settings)
    yield

async def command(context, arguments):
    print(context.settings.both)
    print(context.settings.both, file=sys.stderr)
    crash(context.settings)

@hookimpl
def bridge_source_kinds():
    return [SourceKind("wreck", Settings, run, paths=lambda settings: [settings.path])]

@hookimpl
def bridge_sink_kinds():
    wrecks = {"wrecksink": open_sink, "wreckopen": open_broken}
    return [SinkKind(name, Settings, opened) for name, opened in wrecks.items()]

@hookimpl
def bridge_commands():
    return [Command("wreck", "crash", command, "crashes")]
"""
"""A plugin that does everything wrong that can be done with what it knows."""


@define(eq=False)
class Run:
    """A bridge that runs with canaries, the far side it talks to, and what is looked
    for.
    """

    site: Site
    far_side: FarSide
    scheme: str
    cage: Cage
    net: Net = field(factory=Net)
    sources: dict[str, str] = field(factory=dict)
    """NAME of each planted source, and its kind."""
    said: list[str] = field(factory=list)
    """By commands, and in answers."""
    admin: int = field(factory=free_port)
    paths: list[str] = field(factory=list)
    """On which sources are called."""
    state: Path = field(init=False)
    socket: Path = field(init=False)

    def plant(self, planner: Planner) -> None:
        """Plant canaries in all sections."""
        for section in MINIMAL:
            for number, plan in enumerate(planner.plans(section)):
                role, _, kind = section.partition(":")
                if role in ("source", "sink"):
                    self._plant(section, plan, f"{section}-{number}", {"plugin": kind})
                    if role == "source":
                        self.sources[f"{kind}-{number}"] = kind
                else:
                    self._plant(section, plan, section, self._as_it_must_be(section))
        feeder = {
            "plugin": "wattsense",
            "listener": "public",
            "signature": "none",
            "path": "/feeder",
        }
        self.site.sections["source:feeder"] = feeder
        for role, kind in (("source", "wreck"), ("sink", "wrecksink"), ("sink", "wreckopen")):
            name = f"{role}:{kind}"
            self.site.sections[name] = (
                {"listener": "public"} if role == "source" else {"linger": "0s"}
            )
            for key in ("text", "secret"):
                self.net.plant(canary := Canary(name, key, self.scheme))
                self.site.sections[name][key] = self.cage.refer(
                    self.scheme, f"{name}.{key}", canary.word
                )

    def _plant(self, section: str, plan: Plan, name: str, given: Mapping[str, str]) -> None:
        types = {key_of(setting): setting.type for setting in settings_of(section)}
        written = dict(MINIMAL[section])
        if types.get("path") is str:
            written["path"] = f"/{name.replace(':', '-')}"
        for key, template in plan.items():
            if key in given:
                continue
            canary = Canary(name, key, self.scheme)
            text = filled_in(template, canary, self.far_side.url, self.far_side.push_port)
            text = text.replace("/nowhere", f"{self.site.folder}/nowhere")
            written[key] = text
            if key == "path":
                self.paths.append(text)
            if key in planted_in(plan) and not (
                item_type(types[key]) is Path and self.scheme == "file"
            ):
                self.net.plant(canary, *also_written(types[key], text))
                written[key] = self.cage.refer(self.scheme, f"{name}.{key}", text)
        for key, text in {**written, **given}.items():
            table, colon, inner = key.partition(":")
            if text:
                self.site.sections.setdefault(f"{name}:{table}" if colon else name, {})[
                    inner or key
                ] = text

    def _as_it_must_be(self, section: str) -> Mapping[str, str]:
        """What a core section needs, so that the bridge starts: paths that exist."""
        if section == "bridge":
            plugins = self._made_folder(section, "plugins")
            (plugins / "wreck.py").write_text(WRECK)
            (plugins / "broken.py").write_text(
                "BRIDGE_API = (1, 0)\nraise RuntimeError(__file__)\n"
            )
            self.state = self._made_folder(section, "state")
            return {
                "drain": "1s",
                "plugins": self._path(section, plugins),
                "state": self._path(section, self.state),
            }
        if section == "admin":
            self.socket = self._made_folder(section, "socket") / "control.sock"
            return {
                "address": f"127.0.0.1:{self.admin}",
                "socket": self._path(section, self.socket),
            }
        if section == "listener:public":
            pair = self._made_folder(section, "key") / "pair.pem"
            pair.write_bytes((self.site.folder / "pair.pem").read_bytes())
            path = self._path(section, pair)
            if self.scheme == "credential":
                path = self.cage.refer(self.scheme, "listener.pair", pair.read_text())
            return {"address": f"127.0.0.1:{self.site.port}", "certificate": path, "key": path}
        return {}

    def _made_folder(self, section: str, key: str) -> Path:
        folder = self.site.folder / Canary(section, key, self.scheme).word
        folder.mkdir(0o755)
        return folder

    def _path(self, section: str, path: Path) -> str:
        """Refer to a path that has a canary, if it can be known only from the
        environment.
        """
        if self.scheme != "env":
            return str(path)
        (key,) = [key for key in PATHS if Canary(section, key, self.scheme).word in str(path)]
        self.net.plant(Canary(section, key, self.scheme))
        return self.cage.refer(self.scheme, f"{section}.{key}", str(path))

    async def stir(self) -> None:
        """Send events, and requests that are refused; ask for histories; wait until the
        far side has heard of all.
        """
        async with httpx.AsyncClient(
            base_url=self.site.url, verify=self.site.client_tls(), trust_env=False
        ) as client:
            for number in range(6):
                item = {
                    "deviceId": f"d{number % 3}",
                    "property": "p",
                    "payload": number,
                    "timestamp": 1_777_000_000,
                }
                assert (await client.post("/feeder/values", json=[item])).status_code == 200
            for path in ("/wreck", *self.paths, *(f"{path}/values" for path in self.paths)):
                for headers in (
                    {},
                    {"Authorization": "Basic eDp5"},
                    {"Authorization": "Bearer x", "X-Signature": "x"},
                ):
                    answer = await client.post(path, content=b"{", headers=headers)
                    self.said.append(answer.text)
            self.said.append((await client.get("/nothing-is-here")).text)
        now = datetime.now(UTC)
        span = {"from": (now - timedelta(hours=5)).isoformat(), "to": now.isoformat()}
        for name in (*self.sources, "wreck"):
            for request, arguments in (
                ("backfill", {**span, "dry_run": True}),
                ("backfill", {**span, "dry_run": False}),
                ("fail", None),
                ("refuse", None),
                ("tell", None),
            ):
                self.said.append(await self._asked(name, request, arguments))

    async def heard(self) -> None:
        """Wait until every section that is to has spoken to the far side."""
        wanted = set()
        for section, plans in LIVE.items():
            for number, plan in enumerate(plans):
                # One that is refused an access token comes to nothing else.
                key = "url" if "nice" in plan.get("token_url", "nice") else "token_url"
                if key in plan:
                    canary = Canary(f"{section}-{number}", key, self.scheme)
                    wanted.add(filled_in(plan[key], canary, far="").split("/")[1])
        with trio.move_on_after(PATIENCE):
            while not (
                wanted <= self.far_side.requests.keys() and self.far_side.logins >= PUSH_FORMS
            ):
                await self.far_side.changed.wait()
        assert wanted - self.far_side.requests.keys() == set()
        assert self.far_side.logins >= PUSH_FORMS
        with trio.fail_after(PATIENCE):
            while not (await ask(self.socket, "bridge", "status"))["letters"]:
                await trio.sleep(0.1)  # a refusal stands once the sink was quiet for a second
        for name in self.sources:
            self.said.append(await self._asked(name, "backfill-progress", {"job": 1}))

    async def _asked(self, name: str, request: str, arguments: Any) -> str:
        try:
            return json.dumps(await ask(self.socket, f"source:{name}", request, arguments))
        except CommandError as exc:
            return str(exc)

    async def pages(self) -> None:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.admin}", trust_env=False
        ) as client:
            for path in ("/", "/status.json", "/livez", "/readyz", "/nothing"):
                self.said.append((await client.get(path)).text)

    async def commands(self) -> None:
        """Run commands side by side, and keep all that they print."""
        async with trio.open_nursery() as nursery:
            for words in COMMANDS:
                nursery.start_soon(trio.to_thread.run_sync, self._run_command, words.split())

    def _run_command(self, words: Sequence[str]) -> None:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "bridge",
                *words,
                "--config",
                str(self.site.folder / "bridge.ini"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**self.cage.environ, "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode != 2, done.stderr  # a mistake of this test
        self.said.append(f"$ bridged {' '.join(words)}\n{done.stdout}\n{done.stderr}")

    def dead_letters(self) -> str:
        """Give all that dead letters say, without what the vendor sent."""
        with closing(sqlite3.connect(Files(self.state).database)) as spool:
            spool.row_factory = sqlite3.Row
            rows = [dict(row) for row in spool.execute("SELECT * FROM letters")]
        assert rows
        return "\n".join(str(value) for row in rows for value in row.values())


def start(site: Site, environ: Mapping[str, str]) -> None:
    """Start the process, which finds this in its environment and nothing else."""
    with (site.folder / "log").open("ab") as log:
        site.process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "run", "--config", str(site.write())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=site.folder,
            env={**environ, "NOTIFY_SOCKET": str(site.folder / "notify"), "PATH": "/usr/bin:/bin"},
        )

"""The command ``bridged`` as its user sees it: what it prints, where, and with which
exit code.
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from attrs import define
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from bridge import __version__
from bridge.api import Arrival, Event, SpoolUnavailable, encode
from bridge.api.spool import SpoolContext
from bridge.cli.commands import run
from bridge.spool import SqliteSettings
from bridge.spool.files import Files, claim
from bridge.spool.sqlite import SqliteSpool, open_sqlite
from tests.end_to_end.site import free_port

GOOD = """\
[bridge]
state = STATE
[source:towers]
plugin = wattsense
listener = public
signature = token
signature_header = X-Token
secret = hunter2-source
[listener:public]
address = 127.0.0.1:PORT
[sink:file]
plugin = jsonlines
path = STATE.jsonl
[sink:databoom]
token = hunter2-sink
"""

BROKEN_PLUGIN = "BRIDGE_API = (1, 0)\nimport no_such_module\n"


@define
class Bridged:
    """A folder with a configuration, and what the last command printed."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    @property
    def config(self) -> Path:
        return self.folder / "office.ini"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def issue(self, *, begins: int = -1, ends: int = 90) -> None:
        """Write certificate and key for a listener, valid from and to so many days from
        now.
        """
        now = datetime.now(UTC)
        pair = trustme.CA().issue_cert(
            "localhost",
            not_before=now + timedelta(days=begins),
            not_after=now + timedelta(days=ends),
        )
        (self.folder / "fullchain.pem").write_bytes(pair.cert_chain_pems[0].bytes())
        (self.folder / "privkey.pem").write_bytes(pair.private_key_pem.bytes())

    def write(self, text: str = GOOD, *, port: int = 8443) -> None:
        self.config.touch(0o600)
        self.config.write_text(
            text.replace("STATE", str(self.state)).replace("PORT", str(port)), "utf-8"
        )

    def __call__(self, command: str, *arguments: str) -> int:
        """Run a command in this process, with the configuration if it takes one."""
        takes_config = command not in ("sample-config", "--version")
        code = run([command, *arguments, *(["--config", str(self.config)] if takes_config else [])])
        self.out, self.err = self.capture.readouterr()
        return code

    def daemon(self) -> int:
        """Run ``bridged run`` to its end, as a process of its own: it is expected to
        refuse.
        """
        done = subprocess.run(
            [sys.executable, "-m", "bridge", "run", "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=self.folder,
            check=False,
            env={"PATH": "/usr/bin:/bin", "JOURNAL_STREAM": "1:1"},
        )
        self.out, self.err = done.stdout, done.stderr
        return done.returncode

    def in_spool(self, work: Callable[[SqliteSpool], object]) -> None:
        """Open the spool as a bridge would, and do something in it."""

        async def main() -> None:
            context = SpoolContext(self.state, (), lambda *_, **__: None, lambda: datetime.now(UTC))
            async with open_sqlite(SqliteSettings(), context) as spool:
                await work(spool)  # type: ignore[misc]

        trio.run(main)

    def store_for(self, *sinks: str, count: int = 3) -> None:
        """Let a bridge have run here that owes these sinks some events."""

        async def work(spool: SqliteSpool) -> None:
            for sink in sinks:
                async with spool.subscribe(sink, batch=1, start="beginning"):
                    pass
            now = datetime.now(UTC)
            events = [Event(f"k{number}", "d1", "t", now) for number in range(count)]
            await spool.append(
                [Arrival("towers", event.key, "d1", encode(event), now) for event in events]
            )

        self.in_spool(work)


@pytest.fixture
def bridged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bridged]:
    for name in ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    bridged = Bridged(tmp_path, capsys)
    bridged.write()
    return bridged


def usage(bridged: Bridged, *arguments: str) -> str:
    """Run what is no command, and give what is printed about it."""
    with pytest.raises(SystemExit) as refused:
        run(arguments)
    assert refused.value.code == 2
    return bridged.capture.readouterr().err


def test_a_good_configuration_is_good(bridged: Bridged):
    assert bridged("check") == 0
    assert (bridged.out, bridged.err) == (f"{bridged.config}: good\n", "")


def test_every_mistake_is_told_at_once_with_file_line_and_what_was_meant(bridged: Bridged):
    bridged.write(
        "[bridge]\n"
        "state = STATE\n"
        "drian = 5s\n"
        "[source:towers]\n"
        "plugin = watsense\n"
        "[sink:file]\n"
        "plugin = jsonlines\n"
        "path = out.jsonl\n"
        "timeout = 30\n"
        "sources = sensors\n"
    )
    assert bridged("check") == 78
    assert bridged.out == ""
    assert bridged.err.splitlines() == [
        "office.ini:3: [bridge] drian: unknown setting, did you mean 'drain'?",
        (
            "office.ini:5: [source:towers] plugin: no source plugin is called 'watsense'; did "
            "you mean 'wattsense'?"
        ),
        (
            "office.ini:9: [sink:file] timeout: expected a duration with a unit, such as 500ms, "
            "30s, 5m, 1h30m, got '30'"
        ),
        "office.ini:10: [sink:file] sources: there is no section [source:sensors]; known: towers",
    ]


def test_a_configuration_that_is_not_there_is_told_in_one_sentence(bridged: Bridged):
    bridged.config.unlink()
    assert bridged("check") == 78
    (line,) = bridged.err.splitlines()
    assert str(bridged.config.name) in line


def test_a_broken_plugin_that_no_section_uses_is_a_warning(bridged: Bridged):
    add_plugin(bridged, BROKEN_PLUGIN)
    assert bridged("check") == 0
    (line,) = bridged.err.splitlines()
    assert line.startswith("warning: plugin acme: ")
    assert "line 2: ModuleNotFoundError" in line


def test_a_broken_plugin_that_a_section_uses_is_an_error(bridged: Bridged):
    add_plugin(bridged, BROKEN_PLUGIN, "[sink:acme]\n")
    assert bridged("check") == 78
    (line,) = bridged.err.splitlines()
    assert line.startswith("office.ini:17: [sink:acme] plugin: the plugin 'acme' cannot be used: ")


def test_show_config_says_where_each_value_comes_from(bridged: Bridged):
    assert bridged("show-config") == 0
    assert f"state = {bridged.state}  # office.ini:2\n" in bridged.out
    assert "drain = 20s  # default\n" in bridged.out


@pytest.mark.parametrize("command", ["check", "show-config", "audit", "plugins"])
@pytest.mark.parametrize("mistake", ["", "[sink:nosuch]\n"])
def test_no_command_shows_a_secret(bridged: Bridged, command: str, mistake: str):
    bridged.write(GOOD + mistake)
    bridged(command)
    assert "hunter2" not in bridged.out + bridged.err
    if command == "show-config":
        assert bridged.out.count("********") == 2


def test_show_config_of_a_wrong_configuration_shows_what_could_be_read(bridged: Bridged):
    bridged.write(GOOD + "[sink:other]\nplugin = nosuch\n")
    assert bridged("show-config") == 78
    assert f"path = {bridged.state}.jsonl" in bridged.out
    assert "nosuch" in bridged.err


def test_the_sample_configuration_is_a_good_one(bridged: Bridged):
    assert bridged("sample-config") == 0
    bridged.config.write_text(bridged.out.replace("/etc/bridge/tls", str(bridged.folder)), "utf-8")
    bridged.issue()
    assert bridged("check") == 0, bridged.err
    assert bridged.out == f"{bridged.config}: good\n"


def with_certificate(bridged: Bridged) -> None:
    tls = "certificate = FOLDER/fullchain.pem\nkey = FOLDER/privkey.pem\n[sink:file]"
    bridged.write(GOOD.replace("[sink:file]", tls.replace("FOLDER", str(bridged.folder))))


def missing(folder: Path) -> None:
    (folder / "privkey.pem").unlink()


def not_matching(folder: Path) -> None:
    (folder / "privkey.pem").write_bytes(
        trustme.CA().issue_cert("localhost").private_key_pem.bytes()
    )


def with_passphrase(folder: Path) -> None:
    path = folder / "privkey.pem"
    key = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))
    )


def damaged_key(folder: Path) -> None:
    path = folder / "privkey.pem"
    path.write_text(path.read_text("ascii").replace("\n", "\nAAAA", 1), "ascii")


def garbage(folder: Path) -> None:
    (folder / "fullchain.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            missing,
            (
                "12: [listener:public] key: FOLDER/privkey.pem: there is no such file; expected "
                "a private key"
            ),
        ),
        (
            not_matching,
            (
                "12: [listener:public] key: FOLDER/privkey.pem: the private key does not belong "
                "to the first"
            ),
        ),
        (
            with_passphrase,
            (
                "12: [listener:public] key: FOLDER/privkey.pem: the private key has a "
                "passphrase; expected"
            ),
        ),
        (
            damaged_key,
            "12: [listener:public] key: FOLDER/privkey.pem: the private key is damaged",
        ),
        (
            garbage,
            (
                "11: [listener:public] certificate: FOLDER/fullchain.pem: a certificate in it is "
                "damaged"
            ),
        ),
    ],
)
def test_check_names_a_pair_that_cannot_be_used(
    harm: Callable[[Path], None], said: str, bridged: Bridged
):
    bridged.issue()
    harm(bridged.folder)
    with_certificate(bridged)
    assert bridged("check") == 78
    assert bridged.out == ""
    assert f"office.ini:{said}".replace("FOLDER", str(bridged.folder)) in bridged.err


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (-90, -1, "the certificate ended on "),
        (2, 90, "the certificate is valid only from "),
    ],
)
def test_check_names_a_certificate_out_of_its_time(
    begins: int, ends: int, said: str, bridged: Bridged
):
    bridged.issue(begins=begins, ends=ends)
    with_certificate(bridged)
    assert bridged("check") == 78
    assert (
        f"office.ini:11: [listener:public] certificate: {bridged.folder}/fullchain.pem: {said}"
        in bridged.err
    )


def test_check_warns_of_a_certificate_that_ends_soon(bridged: Bridged):
    bridged.issue(begins=-70, ends=20)
    with_certificate(bridged)
    assert bridged("check") == 0
    assert bridged.err.startswith("warning: office.ini:11: [listener:public] certificate: ")
    assert bridged.err.endswith(" and was not renewed; renew it\n")


def test_a_key_written_into_the_file_is_not_quoted(bridged: Bridged):
    bridged.issue()
    with_certificate(bridged)
    text = bridged.config.read_text()
    bridged.config.write_text(
        re.sub(r"key = .*pem", "key = -----BEGIN PRIVATE KEY-----MIIEvgIBADAN", text)
    )
    assert bridged("check") == 78
    assert "expected a path, got what may be a private key (not shown)" in bridged.err
    assert bridged("show-config") == 78
    assert "MIIEvg" not in bridged.out + bridged.err


def test_a_pipe_in_place_of_a_key_is_not_waited_for(bridged: Bridged):
    bridged.issue()
    with_certificate(bridged)
    (bridged.folder / "privkey.pem").unlink()
    os.mkfifo(bridged.folder / "privkey.pem")
    assert bridged("check") == 78
    assert "privkey.pem: is not an ordinary file" in bridged.err


def test_a_folder_of_plugins_that_is_not_there_is_a_warning(bridged: Bridged):
    bridged.write(GOOD.replace("[bridge]\n", f"[bridge]\nplugins = {bridged.folder}/none\n"))
    assert bridged("check") == 0
    assert "none: failed: the folder cannot be read: No such file or directory" in bridged.err


def test_check_takes_a_good_pair(bridged: Bridged):
    bridged.issue()
    with_certificate(bridged)
    assert bridged("check") == 0
    assert bridged.err == ""


def test_check_says_which_file_it_may_not_read(bridged: Bridged, monkeypatch: pytest.MonkeyPatch):
    bridged.issue()
    with_certificate(bridged)
    # root may read everything, so the tests cannot rely on the mode of a file
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).endswith("privkey.pem"))
    assert bridged("check") == 0
    assert bridged.err == (
        f"warning: office.ini:12: [listener:public] key: {bridged.folder}/privkey.pem not "
        "checked, because this user may not read it; check as root or as the bridge's user\n"
    )


def test_check_leaves_a_key_that_it_cannot_know(bridged: Bridged):
    bridged.issue()
    with_certificate(bridged)
    bridged.config.write_text(
        re.sub(r"key = .*pem", "key = ${credential:privkey.pem}", bridged.config.read_text())
    )
    assert bridged("check") == 0
    assert "credential 'privkey.pem' not checked" in bridged.err


def test_the_sample_of_some_plugins_has_their_sections_only(bridged: Bridged):
    assert bridged("sample-config", "jsonlines", "disruptive") == 0
    headers = [line for line in bridged.out.splitlines() if line.startswith("[")]
    assert headers == ["[source:disruptive]", "[sink:jsonlines]"]


def test_a_sample_of_an_unknown_plugin_names_those_there_are(bridged: Bridged):
    assert bridged("sample-config", "nosuch") == 2
    assert bridged.out == ""
    (line,) = bridged.err.splitlines()
    assert line.startswith(
        "no plugin is called 'nosuch'; there are: databoom, disruptive, idigi, jsonlines"
    )


def test_plugins_lists_the_bundled_ones_with_what_they_have(bridged: Bridged):
    assert bridged("plugins") == 0
    rows = {line.split()[0]: line for line in bridged.out.splitlines()}
    assert set(rows) >= {"databoom", "disruptive", "idigi", "jsonlines", "sqlite", "wattsense"}
    assert " ".join(rows["idigi"].split()[1:]) == (
        f"loaded source idigi, command idigi monitors (bridged {__version__})"
    )


def test_plugins_lists_a_broken_file_with_its_reason(bridged: Bridged):
    path = add_plugin(bridged, BROKEN_PLUGIN)
    assert bridged("plugins") == 0
    (row,) = [line for line in bridged.out.splitlines() if line.startswith("acme")]
    assert row == (
        "acme           failed             line 2: ModuleNotFoundError: No module named "
        f"'no_such_module'  ({path})"
    )


def test_plugins_needs_no_configuration(capsys: pytest.CaptureFixture[str]):
    assert run(["plugins"]) == 0
    assert "databoom" in capsys.readouterr().out


def test_plugins_says_that_a_configuration_named_is_not_there(bridged: Bridged):
    bridged.config.unlink()
    assert bridged("plugins") == 78
    assert bridged.err == f"{bridged.config}: there is no such file\n"


def test_audit_proves_that_the_balance_adds_up(bridged: Bridged):
    bridged.store_for("file", "former")
    assert bridged("audit") == 0
    assert bridged.out.splitlines() == [
        "file: received 3 = delivered 0 + dead 0 + filtered 0 + expired 0 + pending 3",
        (
            "former: received 3 = delivered 0 + dead 0 + filtered 0 + expired 0 + pending 3   "
            "(orphaned)"
        ),
        "the balance adds up",
    ]


def test_audit_says_what_does_not_add_up(bridged: Bridged):
    bridged.store_for("file")
    with sqlite3.connect(bridged.state / "spool.sqlite") as connection:
        connection.execute("UPDATE cursors SET position = position + 1 WHERE lane = 6")
    connection.close()
    assert bridged("audit") == 1
    assert bridged.out.splitlines()[-1] == "the balance does not add up"
    assert bridged.err.startswith("audit: file, lane 6: ")


def test_audit_without_a_spool_says_where_it_looked(bridged: Bridged):
    assert bridged("audit") == 1
    assert bridged.err.startswith(f"{bridged.state}/spool.sqlite: there is no spool")
    assert not bridged.state.exists()


def test_audit_needs_a_configuration_without_mistakes(bridged: Bridged):
    bridged.write("[bridge]\nnosuch = 1\n")
    assert bridged("audit") == 78


def test_an_orphaned_sink_is_forgotten_with_what_it_was_owed(bridged: Bridged):
    bridged.store_for("file", "former")
    assert bridged("purge-sink", "former") == 0
    assert bridged.out == "former: forgotten, with 3 pending events\n"
    assert bridged("audit") == 0
    assert "former" not in bridged.out
    assert "pending 3" in bridged.out


def test_a_sink_of_the_configuration_is_not_forgotten(bridged: Bridged):
    bridged.store_for("file")
    assert bridged("purge-sink", "file") == 1
    assert bridged.err == "file is in the configuration; remove its section first\n"
    assert bridged("audit") == 0
    assert "pending 3" in bridged.out


def test_a_disabled_sink_is_not_forgotten(bridged: Bridged):
    bridged.write(GOOD + "[sink:resting]\nplugin = jsonlines\npath = x\nenabled = no\n")
    bridged.store_for("resting")
    assert bridged("purge-sink", "resting") == 1
    assert "is in the configuration" in bridged.err


def test_a_sink_that_nobody_knows_is_not_forgotten(bridged: Bridged):
    bridged.store_for("file")
    assert bridged("purge-sink", "fiel") == 1
    assert (bridged.out, bridged.err) == ("", "the spool knows no sink 'fiel'\n")


def test_a_sink_is_not_forgotten_where_no_bridge_ever_ran(bridged: Bridged):
    assert bridged("purge-sink", "former") == 1
    assert bridged.err == (
        f"{bridged.state}: there is no such folder; expected the state folder of a bridge "
        "that ran before\n"
    )
    assert not bridged.state.exists()


def test_a_sink_is_not_forgotten_while_the_bridge_runs(bridged: Bridged):
    bridged.store_for("former")
    with claim(Files(bridged.state)):
        assert bridged("purge-sink", "former") == 1
    assert f"is in use by process {os.getpid()}" in bridged.err


def test_a_sink_is_not_forgotten_when_the_spool_cannot_be_written(
    bridged: Bridged, monkeypatch: pytest.MonkeyPatch
):
    bridged.store_for("former")

    async def purge(self: SqliteSpool, sink: str) -> int:
        raise SpoolUnavailable("no room left on the disk")

    monkeypatch.setattr(SqliteSpool, "purge", purge)
    assert bridged("purge-sink", "former") == 1
    assert bridged.err == "the spool cannot be written now: no room left on the disk\n"


def test_run_with_a_wrong_configuration_ends_with_78_before_anything_is_opened(bridged: Bridged):
    with socket.create_server(("127.0.0.1", 0)) as taken:  # would be the next mistake
        bridged.write(GOOD.replace("path =", "paht ="), port=taken.getsockname()[1])
        assert bridged.daemon() == 78
    assert "office.ini:13: [sink:file] paht: unknown setting, did you mean 'path'?" in bridged.err
    assert "Traceback" not in bridged.err
    assert not bridged.state.exists()


def test_run_with_a_credential_that_is_missing_ends_with_78(bridged: Bridged):
    bridged.write(GOOD.replace("hunter2-sink", "${credential:databoom.token}"))
    assert bridged("check") == 0
    assert bridged.daemon() == 78
    assert "databoom.token" in bridged.err


def one_sentence(bridged: Bridged) -> str:
    """Give the only error that was logged."""
    assert "Traceback" not in bridged.err
    (line,) = [line for line in bridged.err.splitlines() if line.startswith("E ")]
    return line


def test_run_on_an_address_in_use_ends_with_a_sentence(bridged: Bridged):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bridged.write(port=port)
        assert bridged.daemon() == 1
    assert one_sentence(bridged) == (
        f"E bridge: cannot go on: 127.0.0.1:{port}: another process listens there; stop it, "
        "or choose another port"
    )


def test_run_with_a_broken_certificate_ends_with_a_sentence(bridged: Bridged):
    pem = bridged.folder / "cert.pem"
    pem.write_text("nothing")
    bridged.write(
        GOOD.replace("127.0.0.1:PORT", f"127.0.0.1:PORT\ncertificate = {pem}\nkey = {pem}"),
        port=free_port(),
    )
    assert bridged.daemon() == 1
    assert (
        one_sentence(bridged) == f"E bridge: cannot go on: {pem}: holds no certificate in PEM form"
    )


def test_a_second_run_on_the_same_state_folder_is_refused_and_names_the_first(bridged: Bridged):
    bridged.store_for("file")
    with claim(Files(bridged.state)):
        assert bridged.daemon() == 1
    assert one_sentence(bridged) == (
        f"E bridge: cannot go on: {bridged.state}/spool.sqlite is in use by process {os.getpid()}; "
        "end that one, or give this one a state folder of its own"
    )


def test_run_with_a_state_folder_that_cannot_be_made_ends_with_a_sentence(bridged: Bridged):
    (bridged.folder / "file").write_text("")
    bridged.write(GOOD.replace("state = STATE", f"state = {bridged.folder}/file/state"))
    assert bridged.daemon() == 1
    assert one_sentence(bridged) == (
        f"E bridge: cannot go on: {bridged.folder}/file/state cannot be the state folder: Not a "
        "directory; "
        "it must be a folder that this user may write"
    )


@pytest.mark.parametrize(
    "arguments", [(), ("nosuch",), ("run", "--nosuch"), ("purge-sink",), ("demo", "--for", "20")]
)
def test_a_command_line_that_is_not_understood_is_a_usage_error(
    bridged: Bridged, arguments: tuple[str, ...]
):
    assert "usage: bridged" in usage(bridged, *arguments)


def test_the_time_of_the_demo_has_a_unit(bridged: Bridged):
    assert "expected a duration with a unit, such as 500ms, 30s, 5m, 1h30m, got '20'" in usage(
        bridged, "demo", "--for", "20"
    )


def test_the_version_is_told(bridged: Bridged):
    with pytest.raises(SystemExit) as done:
        run(["--version"])
    assert done.value.code == 0
    assert bridged.capture.readouterr().out == f"bridged {__version__}\n"


def add_plugin(bridged: Bridged, text: str, more: str = "") -> Path:
    folder = bridged.folder / "plugins"
    folder.mkdir(mode=0o755)
    path = folder / "acme.py"
    path.write_text(text)
    path.chmod(0o644)
    bridged.write(GOOD.replace("[bridge]\n", f"[bridge]\nplugins = {folder}\n") + more)
    return path

"""Good configurations: what the daemon gets."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.api import Duration, NetworkAddress, Secret, Size, Url, setting
from bridge.config import Kinds, read, section_alone, understand
from bridge.daemon.config import CORE, load
from bridge.daemon.settings import BridgeSettings


@frozen
class SharingSettings:
    """A sink with a setting that the core has too."""

    timeout: Duration = setting(Duration(5), help="longest request")


OFFICE = """
[bridge]
state = /var/lib/bridge/office
plugins = /etc/bridge/plugins,
    /opt/bridge/plugins

[spool]
max_size = 2GiB

[listener:public]
address = 0.0.0.0:8443
certificate = /etc/bridge/tls/fullchain.pem
key = /etc/bridge/tls/privkey.pem

[admin]
address = 127.0.0.1:9464

[source:hook]
listener = public
secret = s3cret
networks = 10.0.0.0/8, 2001:db8::/32

[source:gateways]
plugin = poll
url = https://poll.example
from = beginning
proxy =

[source:attic]
plugin = poll
enabled = no
url = https://attic.example

[sink:store]
token = t0ken
sources = hook, gateways
batch-size = 5
timeout = 20s
in_flight = 7

[sink:store:devices]
urn:x = 0f6hbfnqz6
ABC = 5
a-b = $$

[sink:archive]
plugin = store
enabled = no
token = t0ken
"""


@pytest.fixture
def config(load_text):
    loaded = load_text(OFFICE)
    assert loaded.diagnostics == ()
    return loaded.config


def test_the_core_sections_are_typed(config):
    assert config.bridge.state == Path("/var/lib/bridge/office")
    assert config.bridge.plugins == (Path("/etc/bridge/plugins"), Path("/opt/bridge/plugins"))
    assert config.bridge.drain == Duration(20)
    assert config.admin.address == NetworkAddress("127.0.0.1", 9464)
    assert config.listeners["public"].address == NetworkAddress("0.0.0.0", 8443)
    assert config.spool.kind.name == "sqlite"
    assert config.spool.settings.max_size == Size(2 << 30)


def test_a_source_that_is_called_has_a_listener(config):
    hook, gateways = config.sources
    assert (hook.name, hook.kind.name, hook.where, hook.listener) == (
        "hook",
        "hook",
        "office.ini:18",
        "public",
    )
    assert hook.settings.secret == Secret("s3cret")
    assert hook.settings.networks[0] == IPv4Network("10.0.0.0/8")
    assert gateways.listener is None
    assert gateways.settings.from_ == "beginning"
    assert gateways.settings.proxy is None


def test_a_sink_has_the_settings_of_the_core_beside_its_own(config):
    (store,) = config.sinks
    assert (store.core.timeout, store.core.sources) == (Duration(20), ("hook", "gateways"))
    assert (store.batch, store.in_flight) == (500, 7)  # the first by the kind's default
    assert store.settings.batch_size == 5


def test_a_table_keeps_the_keys_of_other_people(config):
    assert config.sinks[0].settings.devices == {"urn:x": "0f6hbfnqz6", "ABC": "5", "a-b": "$"}


def test_a_disabled_section_is_left_out_but_its_name_is_known(config):
    assert [source.name for source in config.sources] == ["hook", "gateways"]
    assert config.sink_names == ("store", "archive")
    assert config.source_names == ("hook", "gateways", "attic")


def test_a_disabled_section_is_checked(load_text):
    loaded = load_text(OFFICE.replace("url = https://attic.example", "url = attic"))
    assert [each.section for each in loaded.errors] == ["source:attic"]


def test_a_disabled_source_does_not_claim_its_path(load_text):
    loaded = load_text(
        f"{OFFICE}[source:old-hook]\nplugin = hook\nenabled = no\nlistener = public\nsecret = "
        "s3cret\n"
    )
    assert loaded.diagnostics == ()


def test_a_later_file_wins_key_by_key(load_text):
    loaded = load_text(
        OFFICE,
        {"office.d/20-local.ini": "[sink:store]\ntimeout = 5s\n[listener:public]\nkey = /k\n"},
    )
    assert loaded.config.sinks[0].core.timeout == Duration(5)
    assert loaded.config.sinks[0].settings.batch_size == 5
    assert loaded.config.listeners["public"].key == Path("/k")


def test_a_value_in_a_later_file_repairs_a_wrong_one(load_text):
    broken = OFFICE.replace("timeout = 20s", "timeout = 20")
    loaded = load_text(broken, {"office.d/20-local.ini": "[sink:store]\ntimeout = 5s\n"})
    assert loaded.diagnostics == ()


def test_a_configuration_needs_no_sections_of_the_core(load_text):
    loaded = load_text("[source:poll]\nurl = http://a\n[sink:store]\ntoken = t0ken")
    assert loaded.diagnostics == ()
    assert loaded.config.spool.kind.name == "sqlite"
    assert loaded.config.bridge.state is None


def test_two_listeners_may_both_leave_the_port_to_the_kernel(load_text):
    listeners = "[listener:a]\naddress = 127.0.0.1:0\n[listener:b]\naddress = 127.0.0.1:0\n"
    assert load_text(f"{OFFICE}{listeners}").diagnostics == ()


def test_one_path_on_two_listeners_is_no_clash(load_text):
    second = (
        "[listener:b]\naddress = 127.0.0.1:1\n[source:second]\nplugin = hook\nlistener = "
        "b\nsecret = s3cret\n"
    )
    assert load_text(f"{OFFICE}{second}").diagnostics == ()


def test_a_setting_that_core_and_plugin_share_is_given_to_both(load_text, kinds):
    sink = evolve(kinds.sinks["store"], settings=SharingSettings)
    loaded = load_text(
        "[source:poll]\nurl = http://a\n[sink:store]\ntimeout = 7s",
        kinds=evolve(kinds, sinks={"store": sink}),
    )
    assert loaded.diagnostics == ()
    assert (
        loaded.config.sinks[0].core.timeout
        == loaded.config.sinks[0].settings.timeout
        == Duration(7)
    )
    assert [entry.key for entry in loaded.entries].count("timeout") == 1


def test_the_daemon_knows_the_plugin_folders_before_it_knows_the_plugins(tmp_path, kinds):
    path = tmp_path / "office.ini"
    path.write_text(OFFICE.replace("/opt/bridge", "${env:OPT}"))
    path.chmod(0o600)
    files = read(path)
    settings = section_alone(files, "bridge", BridgeSettings, environ={"OPT": "/opt"})
    assert settings.plugins == (Path("/etc/bridge/plugins"), Path("/opt/plugins"))
    assert understand(files, CORE, kinds, environ={"OPT": "/opt"}).config.bridge == settings


def test_plugin_folders_are_known_even_if_the_rest_of_their_section_is_wrong(tmp_path):
    (tmp_path / "office.ini").write_text("[bridge]\nplugins = /p\ndrain = 5\nxyzzy = 1")
    files = read(tmp_path / "office.ini")
    settings = section_alone(files, "bridge", BridgeSettings, environ={})
    assert settings.plugins == (Path("/p"),)


def test_quotes_around_a_value_are_a_warning(load_text):
    loaded = load_text(
        OFFICE.replace("state = /var/lib/bridge/office", 'state = "/var/lib/bridge"')
    )
    assert [str(each) for each in loaded.diagnostics] == [
        (
            "warning: office.ini:3: [bridge] state: the quotes are part of the value; remove "
            "them unless they are meant"
        )
    ]
    assert loaded.config.bridge.state == Path('"/var/lib/bridge"')


CREDENTIALS = OFFICE.replace(
    "token = t0ken\nsources", "token = ${credential:store.token}\nsources"
).replace("url = https://poll.example", "url = ${credential:poll.url}")


def test_a_check_without_credentials_warns_and_goes_on(load_text):
    loaded = load_text(CREDENTIALS, checking=True)
    assert [str(each) for each in loaded.diagnostics] == [
        "warning: office.ini:25: [source:gateways] url: credential 'poll.url' not checked, "
        "because $CREDENTIALS_DIRECTORY is not set",
        "warning: office.ini:35: [sink:store] token: credential 'store.token' not checked, "
        "because $CREDENTIALS_DIRECTORY is not set",
    ]
    assert loaded.errors == ()
    assert loaded.config is None  # there is no URL to run with


def test_a_run_without_credentials_is_refused(load_text):
    loaded = load_text(CREDENTIALS)
    assert [(each.section, each.key) for each in loaded.errors] == [
        ("source:gateways", "url"),
        ("sink:store", "token"),
    ]


def test_a_check_does_not_blame_a_credential_it_could_not_look_up(load_text):
    loaded = load_text(
        "[source:poll]\nurl = http://a\n[sink:numbered]\npin = ${credential:pin}", checking=True
    )
    assert loaded.errors == ()
    assert loaded.config is None


def test_a_check_without_credentials_still_finds_what_the_plugin_refuses(load_text):
    loaded = load_text(
        (
            "[source:poll]\nurl = http://a\n[sink:store]\ntoken = ${credential:token}\nmode = "
            "history\ncompress = yes"
        ),
        checking=True,
    )
    assert [each.key for each in loaded.errors] == ["compress"]


def test_a_check_without_credentials_still_finds_a_path_that_two_want(load_text):
    second = "[source:second]\nplugin = hook\nlistener = public\nsecret = ${credential:second}\n"
    loaded = load_text(f"{OFFICE}{second}", checking=True)
    assert [each.section for each in loaded.errors] == ["source:second"]


def test_a_check_without_credentials_has_no_configuration_if_a_listener_needs_one(load_text):
    text = OFFICE.replace("address = 0.0.0.0:8443", "address = ${credential:address}")
    loaded = load_text(text, checking=True)
    assert loaded.errors == ()
    assert loaded.config is None


def test_credentials_are_used_where_there_are_some(load_text, credentials):
    (credentials / "poll.url").write_text("https://poll.example\n")
    loaded = load_text(CREDENTIALS, environ={"CREDENTIALS_DIRECTORY": str(credentials)})
    assert loaded.config.sinks[0].settings.token == Secret("t0ken-from-systemd")
    assert loaded.config.sources[1].settings.url == Url("https://poll.example")


parts = st.sampled_from(
    [
        *OFFICE.split("\n"),
        "[",
        "]",
        "=",
        " ",
        "\n",
        "\x0c",
        "\0",
        "${",
        "$",
        "[sink:store]",
        "[sink:a:b]",
        "plugin = ",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(text=st.one_of(st.text(), st.lists(parts).map("\n".join), st.lists(parts).map("".join)))
def test_any_file_is_loaded_or_has_diagnostics(text, tmp_path, kinds):
    path = tmp_path / "office.ini"
    path.write_text(text, "utf-8", errors="surrogatepass", newline="")
    loaded = load(path, kinds, environ={})
    assert (loaded.config is None) == bool(loaded.errors)
    lines = [each.location.line or 0 for each in loaded.diagnostics]
    assert lines == sorted(lines)
    assert all(str(each).isprintable() for each in loaded.diagnostics)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(removed=st.sets(st.integers(0, OFFICE.count("\n"))))
def test_a_file_with_lines_missing_is_loaded_or_has_diagnostics(removed, tmp_path, kinds):
    lines = [line for number, line in enumerate(OFFICE.split("\n")) if number not in removed]
    (tmp_path / "office.ini").write_text("\n".join(lines))
    loaded = load(tmp_path / "office.ini", kinds, environ={})
    assert (loaded.config is None) == bool(loaded.errors)


def test_nothing_of_the_network_is_imported_for_a_configuration():
    code = (
        "import sys, bridge.api; before = set(sys.modules); import bridge.config; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert not {"httpx", "ssl", "sqlite3", "hypothesis", "configparser", "asyncio"} & set(
        output.split()
    )


def test_kinds_may_be_empty(load_text):
    loaded = load_text("[source:a]\n[sink:b]", kinds=Kinds())
    assert [str(each) for each in loaded.diagnostics] == [
        "office.ini: [spool] plugin: no spool plugin is called 'sqlite'; known: nothing",
        "office.ini:1: [source:a] plugin: no source plugin is called 'a'; known: nothing",
        "office.ini:2: [sink:b] plugin: no sink plugin is called 'b'; known: nothing",
    ]

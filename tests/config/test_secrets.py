"""No secret in a diagnostic, in what is shown, or in a repr."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.config import show_config

SECRET = "hunter2-S3cr3t"


@pytest.fixture
def output(load_text, tmp_path):
    """Load a text, and give everything that a person could see of it."""

    def output(text, **options):
        (tmp_path / "secret").write_text(f"{SECRET}\n")
        text = text.replace("FILE", f"${{file:{tmp_path}/secret}}").replace("SECRET", SECRET)
        options.setdefault("environ", {"TOKEN": SECRET})
        loaded = load_text(f"[source:poll]\nurl = http://a\n{text}", **options)
        return "\n".join(
            [*map(str, loaded.diagnostics), show_config(loaded), repr(loaded), repr(loaded.config)]
        )

    return output


@pytest.mark.parametrize(
    "text",
    [
        "[sink:store]\ntoken = SECRET",
        '[sink:store]\ntoken = "SECRET"',
        "[sink:store]\ntoken = ${env:TOKEN}",
        "[sink:store]\ntoken = FILE",
        "[sink:store]\ntoken = SECRET${",
        "[sink:store]\ntoken = ${SECRET}",
        "[sink:store]\ntoken = SECRET\n  and more",
        "[sink:store]\ntoken = SECRET\ntoken = SECRET",
        "[sink:store]\ntoken = SECRET\nmode = wrong",
        "[sink:store]\ntokn = SECRET",
        "[sink:store]\ntoken SECRET",
        "[sink:store]\ntoken SECRET==",
        "[sink:store]\ntoken: SECRET",
        "[sink:store]\ntoken = x\n SECRET==",
        "[sink:store\ntoken = SECRET",
        "[sink:unknown]\ntoken = SECRET",
        "[sinc:store]\ntoken = SECRET",
        "token = SECRET",
        "[sink:store]\ntoken = x\nurl = FILE",
        "[sink:store]\ntoken = x\nurl = ${env:TOKEN}",
        "[sink:store]\ntoken = x\nurl = https://user:SECRET@store.example",
        "[sink:store]\ntoken = x\nurl = https:/user:SECRET@store.example",
        "[sink:store]\ntoken = x\nurl = https://user:SECRET@${env:TOKEN}",
        "[sink:store]\ntoken = x\nuser = FILE",
        "[sink:store]\ntoken = x\nuser = ${env:TOKEN}",
        "[sink:store]\ntoken = x\nca_file = FILE",
        "[sink:store]\ntoken = x\nuser = postgresql://user:SECRET@host",
        "[sink:store]\ntoken = x\n[sink:store:devices]\nurn:x = FILE",
        "[sink:store]\ntoken = x\n[sink:store:sizes]\nurn:x = FILE",
        "[sink:numbered]\npin = SECRET",
        "[sink:numbered]\npin = FILE",
        "[source:hook]\nsecret = SECRET\nprevious = SECRET, [SECRET\nlistener = x",
        "[source:hook]\nsecret = x\nprevious = SECRET, FILE\nlistener = x",
    ],
)
def test_a_secret_is_never_shown(text, output):
    assert SECRET not in output(text)
    assert SECRET not in output(text, mode=0o644)
    assert SECRET not in output(text, checking=True)


@pytest.mark.parametrize("name", ["leak", "crash"])
def test_a_secret_in_the_words_of_a_plugin_is_not_shown(name, load_text):
    loaded = load_text(
        f"[source:poll]\nurl = http://a\n[sink:numbered]\npin = 271828\nname = {name}"
    )
    assert loaded.errors
    assert "271828" not in " ".join(map(str, loaded.diagnostics))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    before=st.text('ab ,[]${}\n\t="#', max_size=5),
    after=st.text('ab ,[]${}\n\t="#', max_size=5),
    key=st.sampled_from(["token", "pin", "previous", "password"]),
)
def test_a_secret_among_other_characters_is_never_shown(before, after, key, output):
    owner = {
        "token": "sink:store",
        "pin": "sink:numbered",
        "previous": "source:hook",
        "password": "source:second",
    }
    text = f"[{owner[key]}]\nplugin = poll\n" if key == "password" else f"[{owner[key]}]\n"
    shown = output(f"{text}{key} = SECRET{before}{after}", mode=0o644)
    assert SECRET not in shown


def warnings(loaded):
    return [str(each) for each in loaded.diagnostics]


GOOD = "[source:poll]\nurl = http://a\n[sink:store]\ntoken = "


def test_a_secret_in_a_file_that_others_may_read_is_a_warning_with_the_credential_to_use(load_text):
    loaded = load_text(f"{GOOD}{SECRET}", mode=0o644)
    assert warnings(loaded) == [
        "warning: office.ini:4: [sink:store] token: a secret in a file that others may read; write "
        "${credential:sink.store.token} instead and put it there with: sudo install -D -m 0600 "
        "/dev/stdin "
        "/etc/bridge/credentials/office/sink.store.token; or make the file root:bridge with mode "
        "0640"
    ]
    assert loaded.config is not None


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_secret_in_a_file_of_the_daemon_is_no_warning(mode, load_text):
    assert warnings(load_text(f"{GOOD}{SECRET}", mode=mode)) == []


def test_a_secret_that_stands_elsewhere_is_no_warning(load_text):
    assert warnings(load_text(f"{GOOD}${{env:TOKEN}}", mode=0o644, environ={"TOKEN": SECRET})) == []


def test_a_secret_that_is_not_set_is_no_warning(load_text):
    text = GOOD.replace("http://a", "http://a\npassword =") + "${env:TOKEN}"
    assert warnings(load_text(text, mode=0o644, environ={"TOKEN": SECRET})) == []

"""What is made from the settings classes: the sample, and the overview of what is in
effect.
"""

from __future__ import annotations

import re

import pytest
from attrs import frozen

from bridge.api import Secret, SettingError, SinkKind, setting
from bridge.config import sample_config, sample_section, show_config
from bridge.config.fields import SettingsClassError
from bridge.daemon.config import CORE


@frozen
class NeedyStoreSettings:
    """A sink that needs a key as soon as it signs, which it does by default."""

    signing: bool = setting(True, help="sign requests")
    key: Secret | None = setting(None, help="key of the signature")
    header: str | None = setting(None, help="header of the signature", example="X-Signature")

    def __attrs_post_init__(self) -> None:
        for name in ("key", "header"):
            if self.signing and getattr(self, name) is None:
                raise SettingError(name, "missing; signing needs it")


@pytest.fixture
def everything(kinds):
    return [
        kinds.spools["sqlite"],
        kinds.sources["hook"],
        kinds.sources["poll"],
        kinds.sinks["store"],
    ]


def test_the_sample_is_a_good_configuration(everything, load_text):
    loaded = load_text(sample_config(CORE, *everything), checking=True)
    assert loaded.errors == ()
    assert loaded.config is not None


def test_every_line_of_the_sample_may_be_made_active(everything, load_text):
    active = re.sub(r"(?m)^#(?=[^#])", "", sample_config(CORE, *everything))
    active = active.replace("sources = sensors, towers", "sources = hook, poll")
    loaded = load_text(active, checking=True)
    assert loaded.errors == ()
    assert loaded.config.sinks[0].settings.devices == {"urn:x": "1"}


def test_a_sample_of_the_core_alone_lacks_nothing_but_source_and_sink(load_text):
    loaded = load_text(sample_config(CORE))
    assert [str(each) for each in loaded.diagnostics] == [
        (
            "office.ini: there is no section [source:NAME] and [sink:NAME]; a bridge needs at "
            "least one source and one sink"
        )
    ]


def test_the_sample_explains_each_setting_and_shows_its_default(kinds):
    assert sample_section(CORE, kinds.sources["poll"]).split("\n") == [
        "[source:poll]",
        "## kind of source; default: NAME (a text)",
        "plugin = poll",
        "## no leaves the section out, but checks it (yes or no)",
        "#enabled = yes",
        "## name that it had before: what it stored then is known under the new one (a text)",
        "#formerly =",
        (
            "## a device that is silent for more than three times its usual interval is shown as "
            "a problem (yes or no)"
        ),
        "#watch_devices = yes",
        (
            "## longest first pause after a failure (a duration with a unit, such as 500ms, 30s, "
            "5m, 1h30m)"
        ),
        "#retry_base = 1s",
        (
            "## longest pause after many failures (a duration with a unit, such as 500ms, 30s, "
            "5m, 1h30m)"
        ),
        "#retry_cap = 1m",
        "## time between attempts while a person must act, such as on refused credentials "
        "(a duration with a unit, such as",
        "## 500ms, 30s, 5m, 1h30m)",
        "#pause_probe = 5m",
        "## base URL of the API (a URL that begins with https:// or http://)",
        "url = https://example.com",
        "## password (a secret)",
        "#password =",
        "## time between two questions (a duration with a unit, such as 500ms, 30s, 5m, 1h30m)",
        "#interval = 1m",
        "## share of the quota (a number)",
        "#ratio = 0.5",
        "## how much is asked for (low or high)",
        "#level = low",
        "## compression (none or gzip)",
        "#codec = none",
        "## what is asked for (a list, with commas or in lines, each a text)",
        "#topics = all",
        "## proxy (an address such as 127.0.0.1:8443, [::]:8443 or systemd:webhook)",
        "#proxy = 127.0.0.1:3128",
        "## where to begin (now or beginning)",
        "#from = now",
        "",
    ]


def test_the_sample_shows_a_table_as_a_section_of_its_own(kinds):
    assert sample_section(CORE, kinds.sinks["store"]).endswith(
        "\n## vendor's device id = token (keys and values)\n#[sink:store:devices]\n#urn:x = 1\n"
        "\n## device = largest request (keys and values)\n#[sink:store:sizes]\n#key = 1MiB\n"
    )


def test_the_sample_shows_the_defaults_of_the_plugin_for_settings_of_the_core(kinds):
    assert "#batch = 500\n" in sample_section(CORE, kinds.sinks["store"])


def test_the_sample_writes_what_is_needed_because_of_another_setting(kinds):
    sample = sample_section(CORE, SinkKind("needy", NeedyStoreSettings, kinds.sinks["store"].open))
    assert "\nkey = ${credential:key}\n" in sample
    assert "\nheader = X-Signature\n" in sample
    assert "\n#signing = yes\n" in sample


def test_no_sample_is_made_of_a_class_that_cannot_be_used(kinds):
    with pytest.raises(SettingsClassError, match="UnresolvedSettings has a mistake"):
        sample_section(CORE, kinds.sinks["unresolved"])


def test_what_is_in_effect_is_shown_with_where_it_came_from(load_text, credentials):
    loaded = load_text(
        "[source:poll]\nurl = https://${env:HOST}\npassword = s3cret\n"
        "[sink:store]\ntoken = ${credential:store.token}\ntimeout = 30s\nuser = "
        "$$\n[sink:store:devices]\nurn:x = 1\n",
        {"office.d/20-local.ini": "\n\n[sink:store]\ntimeout = 10s\nmode = history\n"},
        environ={"CREDENTIALS_DIRECTORY": str(credentials), "HOST": "poll.example"},
    )
    shown = show_config(loaded)
    assert "[bridge]  # default\nstate =  # default\n" in shown
    assert "[spool]  # default\nplugin = sqlite  # default\nmax_size = 10GiB  # default\n" in shown
    assert (
        "[source:poll]  # office.ini:1\nplugin = poll  # default\nenabled = yes  # default\n"
        in shown
    )
    assert "\nurl = ********  # office.ini:2, from environment variable HOST\n" in shown
    assert "\npassword = ********  # office.ini:3\n" in shown
    assert "\ntoken = ********  # office.ini:5, from credential store.token\n" in shown
    assert "\ntimeout = 10s  # office.d/20-local.ini:4, instead of office.ini:6\n" in shown
    assert "\nmode = history  # office.d/20-local.ini:5\n" in shown
    assert "\nbatch = 500  # default\n" in shown
    assert "\nuser = $$  # office.ini:7\n" in shown
    assert shown.endswith("\n\n[sink:store:devices]  # office.ini:8\nurn:x = 1  # office.ini:9\n")


def test_a_path_from_a_credential_is_shown(load_text, credentials):
    text = (
        "[source:poll]\nurl = http://a\n[sink:store]\ntoken = s3cret\nca_file = "
        "${credential:store.token}"
    )
    shown = show_config(load_text(text, environ={"CREDENTIALS_DIRECTORY": str(credentials)}))
    assert (
        f"\nca_file = {credentials}/store.token  # office.ini:5, from credential store.token\n"
        in shown
    )


def test_a_default_beside_a_variable_is_shown(load_text):
    text = "[source:poll]\nurl = ${env:NONE:-http://a}\n[sink:store]\ntoken = s3cret"
    assert "\nurl = http://a  # office.ini:2, from environment variable NONE\n" in show_config(
        load_text(text)
    )


def test_a_key_of_a_table_may_be_called_as_a_setting_of_the_core(load_text):
    text = "[source:poll]\nurl = http://a\n[sink:store]\ntoken = x\n[sink:store:devices]\nbatch = 1"
    assert show_config(load_text(text)).endswith("\nbatch = 1  # office.ini:6\n")


def test_disabled_sections_are_shown(load_text):
    shown = show_config(
        load_text("[source:poll]\nurl = http://a\nenabled = no\n[sink:store]\ntoken = s3cret")
    )
    assert "\nenabled = no  # office.ini:3\n" in shown


def test_a_setting_with_a_mistake_is_not_shown_as_its_default(load_text):
    shown = show_config(
        load_text(
            "[source:poll]\nurl = http://a\ninterval = 5\nratio = 2\n[sink:store]\ntoken = s3cret"
        )
    )
    assert "interval" not in shown
    assert "ratio" not in shown

"""Settings: what is refused, what is the default, and what gives something up."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Duration, Secret, SettingError, Url
from bridge.config.diagnostics import Location
from bridge.config.ini import Section, Value
from bridge.config.references import References
from bridge.config.sample import sample_section
from bridge.config.structure import Structurer
from bridge.config.values import Reader
from bridge.daemon.config import CORE
from bridge_plugins.idigi import bridge_source_kinds
from bridge_plugins.idigi.rest.wanted import wanted_monitor
from bridge_plugins.idigi.settings import Settings, split_topics

PLACE = Location("office.ini", 1)


def made(**changes: Any) -> Settings:
    return Settings(**({"username": "user", "password": Secret("pass")} | changes))


@pytest.mark.fact(
    "The push session uses the host of the REST URL, port 3201 with TLS and 3200 plain, all "
    "configurable"
)
@pytest.mark.fact("Ports and REST base configurable")
def test_the_push_session_goes_to_the_host_of_the_url() -> None:
    assert (made().host, made().port) == ("remotemanager.digi.com", 3201)
    assert made(insecure=True).port == 3200
    assert made(push_host="push.example", push_port=1234).host == "push.example"
    assert made(push_port=1234).port == 1234


@pytest.mark.fact("Credentials of more than 65535 bytes are refused by the configuration check")
@pytest.mark.parametrize(
    ("changes", "setting", "words"),
    [
        ({"url": Url("http://localhost:1")}, "url", "insecure = yes"),
        ({"username": "a:b"}, "username", "no colon"),
        ({"username": ""}, "username", "not empty"),
        ({"username": "ü" * 32768}, "username", "at most 65535 bytes"),
        ({"password": Secret("ü" * 32768)}, "password", "at most 65535 bytes"),
        ({"topics": ()}, "topics", "at least one"),
        ({"topics": ("DataPoint", " ")}, "topics", "no empty one"),
        ({"batch_duration": Duration(1.5)}, "batch_duration", "whole seconds, got 1s500ms"),
        ({"push_port": 0}, "push_port", "from 1 to 65535, got 0"),
        ({"push_port": 65536}, "push_port", "from 1 to 65535"),
        ({"monitor_id": 2**32}, "monitor_id", "from 1 to 4294967295"),
        ({"topics": ("[group=a", "DataPoint")}, "topics", "a ']' for each '\\['"),
        ({"template": " "}, "template", "not empty"),
        ({"description": ""}, "description", "not empty"),
        ({"monitor_id": 5, "on_difference": "recreate"}, "on_difference", "stop or update"),
        ({"api_key_id": "key"}, "api_key_secret", "belong together"),
        ({"api_key_secret": Secret("sesame")}, "api_key_id", "belong together"),
        (
            {"api_key_id": "", "api_key_secret": Secret("sesame")},
            "api_key_id",
            "as a header can carry",
        ),
        (
            {"api_key_id": "key", "api_key_secret": Secret("sesame\nx: y")},
            "api_key_secret",
            "as a header can carry",
        ),
        (
            {"stream_history_path": "/history"},
            "stream_history_path",
            "with {stream} in it, got '/history'",
        ),
        ({"stream_history_path": "x/{stream}"}, "stream_history_path", "from / on"),
        ({"stream_history_path": "/{stream}/{stream}"}, "stream_history_path", "expected a path"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(
    changes: dict[str, Any], setting: str, words: str
) -> None:
    with pytest.raises(SettingError, match=words) as caught:
        made(**changes)
    assert caught.value.setting == setting


def test_a_credential_at_the_limit_is_accepted() -> None:
    assert len(made(username="u" * 65535).username) == 65535


@pytest.mark.fact("A topic list is read with its brackets")
def test_a_comma_in_brackets_does_not_separate_topics() -> None:
    assert split_topics("[group=a,b]devices,DeviceCore[U], FileData/*.*") == [
        "[group=a,b]devices",
        "DeviceCore[U]",
        "FileData/*.*",
    ]


@pytest.mark.fact(
    "Topics with paths, wildcards, group and operation filters can be configured; a comma in "
    "brackets does not separate"
)
@pytest.mark.parametrize(
    "text",
    [
        (
            "[group=a,b]devices, DeviceCore[U], FileData/*.*, DataPoint/*/metrics/cellular, "
            "[operation=U]DeviceCore"
        ),
        "[group=a,b]devices\nDeviceCore[U]\nFileData/*.*\nDataPoint/*/metrics/cellular\n[operation=U]DeviceCore",
    ],
)
def test_topics_with_filters_can_be_written_in_the_file(text: str) -> None:
    section = Section("source:gateways", PLACE, {"topics": Value("topics", "topics", text, PLACE)})
    structurer = Structurer(Reader(References({}, None, checking=True)))
    values = structurer.structure(section, Settings).values
    wanted = wanted_monitor(made(topics=values["topics"]), "gateways")
    assert wanted["monTopic"] == (
        "[group=a,b]devices,DeviceCore[U],FileData/*.*,DataPoint/*/metrics/cellular,[operation=U]DeviceCore"
    )


@pytest.mark.fact("Every option of the reference client is a setting")
def test_every_option_of_the_reference_client_is_a_setting() -> None:
    options = {
        "username",
        "password",
        "topics",
        "url",
        "insecure",
        "compression",
        "format",
        "batch_size",
    }
    assert options | {"batch_duration"} <= {field.name for field in attrs.fields(Settings)}


@pytest.mark.fact("ack_mode explicit, replay on, deletions off by default")
def test_the_defaults_lose_nothing() -> None:
    settings = made()
    assert (settings.ack_mode, settings.replay, settings.on_difference) == (
        "explicit",
        True,
        "stop",
    )
    assert (settings.delete_on_exit, settings.delete_idle, settings.insecure) == (
        False,
        False,
        False,
    )
    assert settings.dangers == ()


def test_whatever_gives_something_up_is_said() -> None:
    said = made(insecure=True, ack_mode="off", replay=False).dangers
    assert [text.partition(" (")[0].partition(":")[0] for text in said] == [
        "INSECURE",
        "NOT ACKNOWLEDGED",
        "NOT RECORDED",
    ]


def test_a_proxy_is_used_only_if_the_settings_name_it() -> None:
    assert made().proxy is None
    assert made(proxy=Url("http://proxy.example:3128")).proxy == "http://proxy.example:3128"


@pytest.mark.fact("No credentials in the text of settings")
def test_no_secret_is_in_the_text_of_the_settings() -> None:
    settings = made(password=Secret("hunter2"), api_key_id="key", api_key_secret=Secret("sesame"))
    assert "hunter2" not in repr(settings)
    assert "sesame" not in repr(settings)


@pytest.mark.fact("Every setting is in the sample")
def test_the_sample_names_every_setting_and_can_be_read() -> None:
    (kind,) = bridge_source_kinds()
    sample = sample_section(CORE, kind)
    for field in attrs.fields(Settings):
        assert (
            f"\n#{field.name} = " in sample
            or f"\n{field.name} = " in sample
            or f"\n#{field.name} =" in sample
        )


@pytest.mark.fact("One connection serves one monitor; several sections have several monitors")
def test_two_sections_have_two_monitors() -> None:
    tags = {wanted_monitor(made(), name)["monDescription"] for name in ("north", "south")}
    assert tags == {"bridge/north", "bridge/south"}


PREFIXES, NAMES = (
    st.sampled_from(["", "[group=a,b]", "[operation=U]"]),
    st.sampled_from(["DataPoint", "FileData/*.*"]),
)
TOPIC = st.builds("{}{}{}".format, PREFIXES, NAMES, st.sampled_from(["", "[U]", "[C,D]"]))


@given(st.lists(TOPIC))
def test_whatever_topics_are_joined_are_taken_apart_again(topics: list[str]) -> None:
    assert split_topics(",".join(topics)) == topics

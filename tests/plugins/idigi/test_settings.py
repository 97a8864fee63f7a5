from __future__ import annotations

from typing import Any

import pytest

from bridge.api import Duration, Secret, SettingError, Url
from bridge_plugins.idigi.settings import Settings, split_topics


def made(**changes: Any) -> Settings:
    return Settings(**({"username": "user", "password": Secret("pass")} | changes))


def test_the_push_session_goes_to_the_host_of_the_url_on_the_documented_ports() -> None:
    assert (made().host, made().port) == ("remotemanager.digi.com", 3201)
    assert made(insecure=True).port == 3200
    assert made(push_host="push.example", push_port=1234).host == "push.example"
    assert made(push_port=1234).port == 1234


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
    ],
)
def test_a_setting_that_cannot_work_is_refused(changes: dict[str, Any], setting: str, words: str) -> None:
    with pytest.raises(SettingError, match=words) as caught:
        made(**changes)
    assert caught.value.setting == setting


def test_a_credential_at_the_limit_is_accepted() -> None:
    assert len(made(username="u" * 65535).username) == 65535


def test_a_comma_in_brackets_does_not_separate_topics() -> None:
    assert split_topics("[group=a,b]devices,DeviceCore[U], FileData/*.*") == [
        "[group=a,b]devices",
        "DeviceCore[U]",
        "FileData/*.*",
    ]

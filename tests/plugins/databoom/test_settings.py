"""Mistakes in the settings are refused at start."""

from __future__ import annotations

import pytest
from attrs import evolve

from bridge.api import Secret, SettingError, Url


@pytest.mark.parametrize("name", ["device", "signal"])
def test_a_template_with_an_unknown_field_is_refused(settings, name):
    with pytest.raises(SettingError, match=r"expected fields out of .*, got '\{room\}'") as caught:
        evolve(settings, **{name: "{room}"})
    assert caught.value.setting == name


def test_the_device_template_cannot_use_the_signal(settings):
    with pytest.raises(SettingError):
        evolve(settings, device="{signal}")


@pytest.mark.parametrize("token", ["", "a.b", "$x", "a b", "x" * 65])
@pytest.mark.parametrize("name", ["devices", "signals"])
def test_a_table_entry_that_cannot_be_a_token_is_refused(settings, name, token):
    with pytest.raises(SettingError, match="'vendors'"):
        evolve(settings, **{name: {"vendors": token}})


@pytest.mark.parametrize("name", ["devices", "signals"])
def test_a_table_entry_may_be_any_token(settings, name):
    assert getattr(evolve(settings, **{name: {"vendors": "x" * 64}}), name) == {"vendors": "x" * 64}


@pytest.mark.parametrize("token", ["line\nend", "spa ce", "ümlaut"])
def test_a_token_that_no_header_can_carry_is_refused_without_being_shown(settings, token):
    with pytest.raises(SettingError) as caught:
        evolve(settings, token=Secret(token))
    assert token not in str(caught.value)
    assert caught.value.setting == "token"


def test_the_token_is_not_sent_in_plain_text_to_another_host(settings):
    url = Url("http://api.example.com/push")
    with pytest.raises(SettingError, match="plaintext"):
        evolve(settings, url=url)
    assert evolve(settings, url=url, plaintext=True).url == url
    assert evolve(settings, url=Url("http://127.0.0.1:80/push")).plaintext is False


def test_no_secret_is_in_the_text_of_the_settings(settings):
    assert settings.token.reveal() not in repr(settings)

"""Mistakes in the settings are refused at start."""

from __future__ import annotations

import pytest
from attrs import evolve

from bridge.api import Duration, Secret, SettingError, Url


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
def test_a_token_that_no_header_can_carry_is_refused_unseen(settings, token):
    with pytest.raises(SettingError) as caught:
        evolve(settings, token=Secret(token))
    assert token not in str(caught.value)
    assert caught.value.setting == "token"


@pytest.mark.fact("Mistake 12: the token in clear text")
def test_the_token_is_not_sent_in_plain_text_to_another_host(settings):
    url = Url("http://api.example.com/push")
    with pytest.raises(SettingError, match="plaintext"):
        evolve(settings, url=url)
    assert evolve(settings, url=url, plaintext=True).url == url
    assert evolve(settings, url=Url("http://127.0.0.1:80/push")).plaintext is False


def test_no_secret_is_in_the_text_of_the_settings(settings):
    assert settings.token.reveal() not in repr(settings)


@pytest.mark.fact("Either token or apikey is configured, exactly one")
def test_either_a_token_or_an_apikey_is_expected(settings):
    assert evolve(settings, token=None, apikey=Secret("k")).credential == ("apikey", Secret("k"))
    for changes, got in (({"token": None}, "none of them"), ({"apikey": Secret("k")}, "both")):
        with pytest.raises(SettingError, match=f"either token or apikey, got {got}"):
            evolve(settings, **changes)


@pytest.mark.parametrize("name", ["apikey", "read_token"])
def test_no_secret_that_a_header_cannot_carry_is_taken_or_shown(settings, name):
    changes = {"token": None, "apikey": Secret("k")} if name == "apikey" else {}
    with pytest.raises(SettingError) as caught:
        evolve(settings, **(changes | {name: Secret("line\nend")}))
    assert (caught.value.setting, "line\nend" in str(caught.value)) == (name, False)


def test_a_template_token_and_the_template_form_go_together(settings):
    evolve(settings, form="template", template="tpl")
    for changes in ({"form": "template"}, {"template": "tpl"}):
        with pytest.raises(SettingError, match="together with form = template"):
            evolve(settings, **changes)


@pytest.mark.parametrize("name", ["heartbeat", "template"])
def test_a_token_among_the_settings_must_be_one(settings, name):
    form = {"form": "template"} if name == "template" else {}
    with pytest.raises(SettingError, match="expected a token of 1 to 64") as caught:
        evolve(settings, **form, **{name: "a.b"})
    assert caught.value.setting == name


@pytest.mark.parametrize(
    ("url", "listed"),
    [
        ("https://api.example.com/v1/signals/push", "https://api.example.com/v1/signals"),
        ("https://api.example.com/v1/signals/push/", "https://api.example.com/v1/signals"),
        ("https://api.example.com/elsewhere", ""),
    ],
)
def test_the_list_of_signals_is_beside_the_push(settings, url, listed):
    assert evolve(settings, url=Url(url)).list_url == listed


def test_a_list_that_is_not_beside_the_push_must_be_named(settings):
    url = Url("https://api.example.com/elsewhere")
    with pytest.raises(SettingError) as caught:
        evolve(settings, url=url, read_token=Secret("r"))
    assert caught.value.setting == "signals_url"
    named = evolve(
        settings, url=url, read_token=Secret("r"), signals_url=Url("https://api.example.com/list")
    )
    assert named.list_url == "https://api.example.com/list"
    with pytest.raises(SettingError, match="https://"):
        evolve(settings, read_token=Secret("r"), signals_url=Url("http://api.example.com/list"))


@pytest.mark.fact("Time-outs: connect 10 s, whole request 20 s, never below 5 s")
def test_a_request_waits_twenty_seconds_and_never_less_than_five(settings):
    assert (settings.connect_timeout, settings.request_timeout) == (10, 20)
    with pytest.raises(ValueError, match="5 or more"):
        evolve(settings, request_timeout=Duration(4.9))


def test_an_interval_fits_into_an_attempt(settings):
    assert settings.min_interval == 0
    with pytest.raises(ValueError, match="from 0 to 10"):
        evolve(settings, min_interval=Duration(11))

"""What is refused at start, before a request could be accepted that should not be."""

import pytest

from bridge.api import Duration, Secret, SettingError
from bridge_plugins.wattsense.settings import Settings

S = Secret("hunter2-hunter2")
BARE = {"signature": "bare-hex", "secret": S, "signature_header": "X-Sign"}


@pytest.mark.parametrize(
    ("given", "setting", "words"),
    [
        ({"signature": "none", "path": "wattsense"}, "path", "begins with '/'"),
        ({"signature": "none", "path": "/a?b"}, "path", "begins with '/'"),
        ({"signature": "none", "secret": S}, "secret", "does not use it"),
        ({"signature": "none", "previous_secret": S}, "previous_secret", "does not use it"),
        ({"signature": "none", "signature_header": "X-Sign"}, "signature_header", "does not use it"),
        ({"signature": "none", "secret_encoding": "hex"}, "secret_encoding", "does not use it"),
        ({"signature": "github"}, "secret", "missing"),
        ({"signature": "github", "previous_secret": S}, "secret", "missing"),
        ({"signature": "github", "secret": S, "token_parameter": "t"}, "token_parameter", "does not use it"),
        ({"signature": "bare-hex", "secret": S}, "signature_header", "one header such as"),
        ({"signature": "token", "secret": S}, "signature_header", "or token_parameter"),
        (
            {"signature": "token", "secret": S, "signature_header": "X-T", "token_parameter": "t"},
            "signature_header",
            "one header",
        ),
        (
            {"signature": "token", "secret": S, "signature_header": "X-T", "signature_hash": "sha1"},
            "signature_hash",
            "",
        ),
        ({**BARE, "signature_header": "X Sign"}, "signature_header", "name of a header"),
        ({**BARE, "signature_header": "X-Sign:"}, "signature_header", "name of a header"),
        ({**BARE, "signature_header": "X-Sign\n"}, "signature_header", "name of a header"),
        ({**BARE, "signature_template": "{timestamp}"}, "signature_template", "{body}"),
        ({**BARE, "signature_template": "{body}{host}"}, "signature_template", "{timestamp}"),
        ({**BARE, "signature_template": "{body"}, "signature_template", "places among"),
        ({**BARE, "signature_template": "{timestamp}.{body}"}, "signature_template", "timestamp_header"),
        ({**BARE, "signature_template": "{id}.{body}"}, "signature_template", "id_header"),
        ({**BARE, "timestamp_header": "X-Time"}, "signature_template", "{timestamp}"),
        ({**BARE, "id_header": "X-Id"}, "signature_template", "{id}"),
        ({**BARE, "signature_list_key": "v1="}, "signature_list_key", "signature_list_separator"),
        (
            {**BARE, "signature_template": "{timestamp}{body}", "timestamp_key": "t"},
            "timestamp_key",
            "signature_list_separator",
        ),
        (
            {**BARE, "signature_template": "{timestamp}{body}", "timestamp_key": "t", "timestamp_header": "X-Time"},
            "timestamp_key",
            "got both",
        ),
        ({**BARE, "key_id": "k"}, "key_id", "only there"),
        ({"signature": "wattsense-rest", "secret": S}, "key_id", "API key"),
        ({**BARE, "secret_encoding": "hex"}, "secret", "written in hex"),
        ({**BARE, "secret": Secret("ff"), "previous_secret": S, "secret_encoding": "hex"}, "previous_secret", "hex"),
        ({"signature": "standard-webhooks", "secret": S}, "secret", "written in base64"),
        ({"signature": "standard-webhooks", "secret": Secret("whsec_")}, "secret", "written in base64"),
        ({"signature": "none", "username": "u"}, "basic_password", "belong together"),
        ({"signature": "none", "basic_password": S}, "username", "belong together"),
        ({"signature": "none", "api_key": S}, "api_key_header", "belong together"),
        ({"signature": "none", "api_key_header": "X-Key"}, "api_key", "belong together"),
        ({"signature": "none", "username": "a:b", "basic_password": S}, "username", "colon"),
        ({"signature": "none", "username": "a", "basic_password": S, "bearer_token": S}, "bearer_token", "got both"),
    ],
)
def test_a_configuration_that_could_accept_too_much_is_refused(given, setting, words):
    with pytest.raises(SettingError) as caught:
        Settings(**given)
    assert caught.value.setting == setting
    assert words in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__cause__)
    assert caught.value.__context__ is None or "hunter2" not in repr(caught.value.__context__)


@pytest.mark.parametrize(
    "wrong",
    [{"tolerance": Duration(0)}, {"future_limit": Duration(-1)}, {"most_items": 0}, {"most_items": 100_001}],
)
def test_a_number_out_of_its_bounds_is_refused(wrong):
    with pytest.raises(ValueError):
        Settings(signature="none", **wrong)


def test_the_signature_has_no_default():
    with pytest.raises(TypeError):
        Settings()


def test_no_secret_is_in_the_text_of_the_settings():
    settings = Settings(**BARE, previous_secret=S, username="u", basic_password=S, api_key_header="X", api_key=S)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(settings.scheme())


def test_separators_are_written_as_words(make_settings):
    assert make_settings("bare-hex", signature_list_separator="blank").scheme().list_separator == " "

"""What is refused at start, before a request could be accepted that should not be."""

import pytest

from bridge.api import Duration, Secret, SettingError, Url
from bridge.cli.commands import run
from bridge_plugins.wattsense import bridge_source_kinds
from bridge_plugins.wattsense.settings import Settings

S = Secret("hunter2-hunter2")
BARE = {"signature": "bare-hex", "secret": S, "signature_header": "X-Sign"}


@pytest.mark.fact(
    "A secret without a usable scheme or header, and every incomplete configuration, is a "
    "start-up error"
)
@pytest.mark.parametrize(
    ("given", "setting", "words"),
    [
        ({"signature": "none", "path": "wattsense"}, "path", "begins with '/'"),
        ({"signature": "none", "path": "/a?b"}, "path", "begins with '/'"),
        ({"signature": "none", "secret": S}, "secret", "does not use it"),
        ({"signature": "none", "previous_secret": (S,)}, "previous_secret", "does not use it"),
        (
            {"signature": "none", "signature_header": "X-Sign"},
            "signature_header",
            "does not use it",
        ),
        ({"signature": "none", "secret_encoding": "hex"}, "secret_encoding", "does not use it"),
        ({"signature": "github"}, "secret", "missing"),
        ({"signature": "github", "previous_secret": (S,)}, "secret", "missing"),
        (
            {"signature": "github", "secret": S, "token_parameter": "t"},
            "token_parameter",
            "does not use it",
        ),
        ({"signature": "bare-hex", "secret": S}, "signature_header", "one header such as"),
        ({"signature": "token", "secret": S}, "signature_header", "or token_parameter"),
        (
            {"signature": "token", "secret": S, "signature_header": "X-T", "token_parameter": "t"},
            "signature_header",
            "one header",
        ),
        (
            {
                "signature": "token",
                "secret": S,
                "signature_header": "X-T",
                "signature_hash": "sha1",
            },
            "signature_hash",
            "",
        ),
        ({**BARE, "signature_header": "X Sign"}, "signature_header", "name of a header"),
        ({**BARE, "signature_header": "X-Sign:"}, "signature_header", "name of a header"),
        ({**BARE, "signature_header": "X-Sign\n"}, "signature_header", "name of a header"),
        ({**BARE, "signature_template": "{timestamp}"}, "signature_template", "{body}"),
        ({**BARE, "signature_template": "{body}{host}"}, "signature_template", "{timestamp}"),
        ({**BARE, "signature_template": "{body"}, "signature_template", "places among"),
        (
            {**BARE, "signature_template": "{timestamp}.{body}"},
            "signature_template",
            "timestamp_header",
        ),
        ({**BARE, "signature_template": "{id}.{body}"}, "signature_template", "id_header"),
        ({**BARE, "timestamp_header": "X-Time"}, "signature_template", "{timestamp}"),
        ({**BARE, "id_header": "X-Id"}, "signature_template", "{id}"),
        (
            {**BARE, "signature_template": "{timestamp}{body}", "timestamp_key": "t"},
            "timestamp_key",
            "signature_list_separator",
        ),
        (
            {
                **BARE,
                "signature_template": "{timestamp}{body}",
                "timestamp_key": "t",
                "timestamp_header": "X-Time",
            },
            "timestamp_key",
            "got both",
        ),
        ({**BARE, "key_id": "k"}, "key_id", "only there"),
        ({"signature": "wattsense-rest", "secret": S}, "key_id", "API key"),
        ({**BARE, "secret_encoding": "hex"}, "secret", "written in hex"),
        (
            {**BARE, "secret": Secret("ff"), "previous_secret": (S,), "secret_encoding": "hex"},
            "previous_secret",
            "hex",
        ),
        ({"signature": "standard-webhooks", "secret": S}, "secret", "written in base64"),
        (
            {"signature": "standard-webhooks", "secret": Secret("whsec_")},
            "secret",
            "written in base64",
        ),
        ({"signature": "none", "username": "u"}, "password", "belong together"),
        ({"signature": "none", "password": S}, "username", "belong together"),
        ({"signature": "none", "api_key": S}, "api_key_header", "belong together"),
        ({"signature": "none", "api_key_header": "X-Key"}, "api_key", "belong together"),
        ({"signature": "none", "username": "a:b", "password": S}, "username", "colon"),
        (
            {"signature": "none", "username": "a", "password": S, "bearer_token": S},
            "bearer_token",
            "got both",
        ),
        ({"signature": "none", "callers": {"a": S}, "bearer_token": S}, "bearer_token", "got both"),
        ({"signature": "none", "callers": {"a:b": S}}, "callers", "without a colon"),
        ({"signature": "none", "previous_bearer_token": (S,)}, "bearer_token", "missing"),
        ({"signature": "none", "token_member": "key"}, "token_member", "does not use it"),
        (
            {"signature": "github", "secret": S, "token_member": "key"},
            "token_member",
            "does not use it",
        ),
        (
            {"signature": "token", "secret": S, "token_member": "key", "token_parameter": "t"},
            "signature_header",
            "token_member",
        ),
        ({"signature": "none", "rest_key": "k"}, "rest_secret", "belong together"),
        ({"signature": "none", "rest_secret": S}, "rest_key", "belong together"),
        ({"signature": "none", "rest_devices": ("bx01",)}, "rest_key", "missing"),
        ({"signature": "none", "rest_key": "a:b", "rest_secret": S}, "rest_key", "no colon"),
        (
            {
                "signature": "none",
                "rest_key": "k",
                "rest_secret": S,
                "url": "http://api.wattsense.com",
            },
            "url",
            "https://",
        ),
        (
            {"signature": "none", "rest_key": "k", "rest_secret": S, "url": "https://a.example/?x"},
            "url",
            "without",
        ),
        ({"signature": "none", "alarm_signals": {"s": "$"}}, "alarm_signals", "a JSON path"),
        ({"signature": "none", "event_signals": {"s": "$.a["}}, "event_signals", "a JSON path"),
        ({"signature": "none", "alarm_device": "$..a"}, "alarm_device", "a JSON path"),
        ({"signature": "none", "event_time": ""}, "event_time", "a JSON path"),
        (
            {"signature": "none", "alarm_signals": {"s": "$.a"}, "alarm_numbers": {"open": "on"}},
            "alarm_numbers",
            "'open = on'",
        ),
        ({"signature": "none", "event_numbers": {"open": "1"}}, "event_numbers", "event_signals"),
        (
            {"signature": "none", "alarm_signals": {"s": "$.a"}, "alarm_device": "$.list[*].id"},
            "alarm_device",
            "which belongs to which",
        ),
        (
            {"signature": "none", "alarm_signals": {"s": "$.a[*].b"}, "alarm_time": "$.b[*].t"},
            "alarm_time",
            "which belongs to which",
        ),
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
    [
        {"tolerance": Duration(0)},
        {"future_limit": Duration(-1)},
        {"most_items": 0},
        {"most_items": 100_001},
        {"discovery": -1},
        {"page_size": 0},
        {"page_size": 2501},
    ],
)
def test_a_number_out_of_its_bounds_is_refused(wrong):
    with pytest.raises(ValueError):
        Settings(signature="none", **wrong)


@pytest.mark.fact("Preset none must be chosen: the signature has no default")
def test_the_signature_has_no_default():
    with pytest.raises(TypeError):
        Settings()


@pytest.mark.fact("No secret is in the text of the settings")
def test_no_secret_is_in_the_text_of_the_settings():
    settings = Settings(
        **BARE, previous_secret=(S,), username="u", password=S, api_key_header="X", api_key=S
    )
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(settings.scheme())


@pytest.mark.fact("List separators can be set")
def test_separators_are_written_as_words(make_settings):
    assert (
        make_settings("bare-hex", signature_list_separator="blank").scheme().list_separator == " "
    )


@pytest.mark.fact("REST: HTTPS only, plain HTTP on loopback only")
def test_the_rest_api_may_be_plain_http_on_loopback_only():
    Settings(signature="none", rest_key="k", rest_secret=S, url=Url("http://127.0.0.1:8080"))


INI = """\
[source:towers]
plugin = wattsense
listener = public
signature = token
signature_header = X-Key
secret = hunter2-hunter2
previous_secret = hunter2-old, hunter2-older
alarm_device = $.deviceId

[source:towers:callers]
wattsense-new = hunter2-caller

[source:towers:alarm_signals]
alarm-status = $.status
Alarm Severity = $.alerts[0]['severity level']

[source:towers:alarm_numbers]
open = 1
not acknowledged = 2
alarm-status.closed = 0

[listener:public]
address = 127.0.0.1:0

[sink:file]
plugin = jsonlines
path = FOLDER/events.jsonl
"""


@pytest.mark.fact(
    "A mapping names JSON paths to signals and texts to numbers, in tables of the INI file",
)
def test_a_mapping_is_written_as_tables_of_the_ini_file(tmp_path, capsys):
    path = tmp_path / "office.ini"
    path.write_text(INI.replace("FOLDER", str(tmp_path)))
    path.chmod(0o600)
    assert run(["check", "--config", str(path)]) == 0
    assert run(["show-config", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "not acknowledged = 2" in shown
    assert "hunter2" not in shown


def test_the_sample_of_the_section_is_a_good_configuration(tmp_path, capsys):
    assert run(["sample-config", "wattsense"]) == 0
    sample = capsys.readouterr().out
    assert "#[source:wattsense:alarm_numbers]\n#open = 1" in sample
    path = tmp_path / "office.ini"
    rest = (
        "[listener:public]\naddress = 127.0.0.1:0\n[sink:file]\nplugin = jsonlines\npath = "
        "x.jsonl\n"
    )
    path.write_text(sample + rest)
    path.chmod(0o600)
    assert run(["check", "--config", str(path)]) == 0


@pytest.mark.fact("A mistake in a mapping is found at start, with its place")
def test_a_mistake_in_a_mapping_is_found_at_start_with_its_place(tmp_path, capsys):
    path = tmp_path / "office.ini"
    path.write_text(INI.replace("FOLDER", str(tmp_path)).replace("$.status", "$.status["))
    path.chmod(0o600)
    assert run(["check", "--config", str(path)]) == 78
    assert "alarm_signals: expected a JSON path such as $.status" in capsys.readouterr().err


@pytest.mark.fact("Backfill is opt-in: without credentials it is said what will be missing")
def test_without_a_rest_key_it_is_said_what_will_be_missing():
    (kind,) = bridge_source_kinds()
    assert "missing for good" in kind.recovery.lacks(Settings(signature="none"))
    assert kind.recovery.lacks(Settings(signature="none", rest_key="k", rest_secret=S)) is None


@pytest.mark.fact("Backfill: overlap 10 min, automatic, no retries of the webhook assumed")
def test_gaps_are_read_back_as_no_retries_are_assumed():
    (kind,) = bridge_source_kinds()
    assert (kind.recovery.automatic, kind.recovery.after, kind.recovery.overlap) == (
        True,
        0.0,
        600.0,
    )

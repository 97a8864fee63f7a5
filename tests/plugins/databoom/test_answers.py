"""What answers mean."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Pause, Reject, Retry, redacted
from bridge.api.rest import RestResponse
from bridge_plugins.databoom.answers import (
    DeviceNotFound,
    PushAccepted,
    PushTooLarge,
    classify,
    message_of,
)

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
DONE = b'{"message":"ALL_INFO_PROCESSED"}'
SECRET = "t0ken-of-the-tests"

quoted = partial(redacted, secrets=[SECRET])


def answer(status=200, body=DONE, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RestResponse(status, httpx.Headers(named), body, "https://x.example/push")


def meaning(status=200, body=DONE, *, strict_body=False, **headers):
    return classify(answer(status, body, **headers), quoted, now=NOW, strict_body=strict_body)


@pytest.mark.parametrize(
    ("verdict", "statuses"),
    [
        (PushAccepted, (200, 201, 204)),
        (Pause, (301, 302, 307, 308, 401, 403, 407)),
        (Reject, (400, 402, 409, 410, 422)),
        (DeviceNotFound, (404, 405)),
        (PushTooLarge, (413,)),
        (Retry, (408, 425, 429, 500, 502, 503, 504, 599)),
    ],
)
def test_each_status_has_its_class(verdict, statuses):
    assert {type(meaning(status)) for status in statuses} == {verdict}


def test_a_refusal_carries_its_status_and_what_was_said():
    verdict = meaning(422, b'{"message":"value out of range"}')
    assert isinstance(verdict, Reject)
    assert verdict.status == 422
    assert "422: value out of range" in verdict.why
    assert not verdict.indexes


def test_pauses_concern_the_whole_sink():
    verdict = meaning(401, b"")
    assert isinstance(verdict, Pause)
    assert not verdict.device_only


def test_a_redirect_says_where_it_leads():
    verdict = meaning(301, b"", location="https://elsewhere.example/push/")
    assert isinstance(verdict, Pause)
    assert "https://elsewhere.example/push/" in verdict.why


def test_a_refusal_of_the_proxy_is_not_called_databooms():
    assert "the proxy refuses to pass it on (407: no text); see proxy" in meaning(407, b"").why


@pytest.mark.fact("Success is any 2xx with ALL_INFO_PROCESSED or a blank body")
@pytest.mark.parametrize("body", [DONE, b"", b"  \n"])
def test_the_documented_body_and_a_blank_one_are_ordinary(body):
    assert meaning(200, body, strict_body=True) == PushAccepted()


@pytest.mark.parametrize(
    "body", [b"<html>ok</html>", b'{"message":"QUEUED"}', b"[]", b"null", b"\xff"]
)
def test_any_other_body_is_accepted_with_a_remark(body):
    verdict = meaning(200, body)
    assert isinstance(verdict, PushAccepted)
    assert verdict.remark


def test_a_strict_sink_tries_again_after_an_unusual_body():
    assert isinstance(meaning(200, b"<html>", strict_body=True), Retry)


@pytest.mark.fact("Retry-After in seconds or as HTTP date, capped at an hour")
@pytest.mark.parametrize("status", [408, 425, 429, 503])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12.0),
        ("86400", 3600.0),
        ("Mon, 04 May 2026 10:01:30 GMT", 90.0),
        ("soon", None),
    ],
)
def test_a_temporary_failure_hands_on_how_long_to_wait(status, text, seconds):
    verdict = meaning(status, b"", retry_after=text)
    assert isinstance(verdict, Retry)
    assert verdict.after == seconds


@given(
    st.integers(200, 599),
    st.dictionaries(
        st.sampled_from(["retry_after", "date", "location"]),
        st.text(st.characters(codec="ascii"), max_size=60),
    ),
    st.binary(max_size=400),
)
def test_no_answer_is_beyond_understanding(status, headers, body):
    verdict = meaning(status, body, **headers)
    if isinstance(verdict, Retry | Pause | Reject):
        assert verdict.why.isprintable()


@given(st.binary(max_size=3000))
def test_a_message_is_one_short_printable_line(body):
    line = message_of(answer(400, body), quoted)
    assert line
    assert line.isprintable()
    assert len(line) <= 203


@pytest.mark.fact("Error bodies are repeated shortened and without control characters")
def test_a_message_has_no_control_characters_and_no_secret():
    body = f'{{"message":"bad\\u001b[31m {SECRET}\\r\\nforged: line"}}'.encode()
    assert message_of(answer(400, body), quoted) == "bad [31m ******** forged: line"


def test_a_refused_credential_is_named_as_the_settings_name_it():
    verdict = classify(
        answer(401, b""),
        quoted,
        now=NOW,
        credential="apikey",
        scopes="the scopes Publish and Create",
    )
    assert isinstance(verdict, Pause)
    assert "refuses the apikey" in verdict.why
    assert "must exist and have the scopes Publish and Create" in verdict.why

"""What answers mean."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Pause, Reject, Retry
from bridge_plugins.databoom.answers import (
    Accepted,
    NotFound,
    TooLarge,
    classify,
    clock_skew,
    excerpt,
    explain,
    retry_after,
)

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
DONE = b'{"message":"ALL_INFO_PROCESSED"}'


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Accepted),
        (201, Accepted),
        (204, Accepted),
        (301, Pause),
        (302, Pause),
        (307, Pause),
        (308, Pause),
        (400, Reject),
        (401, Pause),
        (403, Pause),
        (404, NotFound),
        (405, NotFound),
        (408, Retry),
        (409, Reject),
        (410, Reject),
        (413, TooLarge),
        (422, Reject),
        (425, Retry),
        (429, Retry),
        (500, Retry),
        (502, Retry),
        (503, Retry),
        (504, Retry),
        (599, Retry),
    ],
)
def test_each_status_has_its_class(status, verdict):
    assert type(classify(status, {}, DONE, now=NOW)) is verdict


def test_a_refusal_carries_its_status_and_what_was_said():
    verdict = classify(422, {}, b'{"message":"value out of range"}', now=NOW)
    assert isinstance(verdict, Reject)
    assert verdict.status == 422
    assert "422: value out of range" in verdict.why
    assert not verdict.indexes


def test_pauses_concern_the_whole_sink():
    verdict = classify(401, {}, b"", now=NOW)
    assert isinstance(verdict, Pause)
    assert not verdict.device_only


def test_a_redirect_says_where_it_leads():
    verdict = classify(301, {"location": "https://elsewhere.example/push/"}, b"", now=NOW)
    assert isinstance(verdict, Pause)
    assert "https://elsewhere.example/push/" in verdict.why


@pytest.mark.fact("Success is any 2xx with ALL_INFO_PROCESSED or a blank body")
@pytest.mark.parametrize("body", [DONE, b"", b"  \n"])
def test_the_documented_body_and_a_blank_one_are_ordinary(body):
    assert classify(200, {}, body, now=NOW, strict_body=True) == Accepted()


@pytest.mark.parametrize(
    "body", [b"<html>ok</html>", b'{"message":"QUEUED"}', b"[]", b"null", b"\xff"]
)
def test_any_other_body_is_accepted_with_a_remark(body):
    verdict = classify(200, {}, body, now=NOW)
    assert isinstance(verdict, Accepted)
    assert verdict.remark


def test_a_strict_sink_tries_again_after_an_unusual_body():
    assert isinstance(classify(200, {}, b"<html>", now=NOW, strict_body=True), Retry)


@pytest.mark.fact("Retry-After in seconds or as HTTP date, capped at an hour")
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("9" * 400, 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 3600.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped_at_an_hour(text, seconds):
    assert retry_after({"retry-after": text}, NOW) == seconds


def test_a_retry_after_date_is_measured_by_the_clock_of_the_answer():
    answered = NOW + timedelta(hours=5)
    headers = {
        "retry-after": format_datetime(answered + timedelta(seconds=30), usegmt=True),
        "date": format_datetime(answered, usegmt=True),
    }
    assert retry_after(headers, NOW) == 30.0


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_a_temporary_failure_hands_on_how_long_to_wait(status):
    verdict = classify(status, {"retry-after": "12"}, b"", now=NOW)
    assert isinstance(verdict, Retry)
    assert verdict.after == 12.0


def test_the_clock_is_compared_with_the_date_of_the_answer():
    assert (
        clock_skew({"date": format_datetime(NOW - timedelta(seconds=61), usegmt=True)}, NOW) == 61.0
    )
    assert clock_skew({}, NOW) is None


@given(
    st.integers(200, 599),
    st.dictionaries(st.sampled_from(["retry-after", "date", "location"]), st.text(max_size=60)),
    st.binary(max_size=400),
)
def test_no_answer_is_beyond_understanding(status, headers, body):
    verdict = classify(status, headers, body, now=NOW)
    clock_skew(headers, NOW)
    if isinstance(verdict, Retry | Pause | Reject):
        assert verdict.why.isprintable()


@given(st.binary(max_size=3000))
def test_an_excerpt_is_one_short_printable_line(body):
    line = excerpt(body)
    assert line
    assert line.isprintable()
    assert len(line) <= 203


@pytest.mark.fact("Error bodies are repeated shortened and without control characters")
def test_an_excerpt_is_the_message_without_control_characters():
    assert (
        excerpt(b'{"message":"bad\\u001b[31m value\\r\\nforged: line"}')
        == "bad [31m value forged: line"
    )


def untrusted() -> httpx.ConnectError:
    error = httpx.ConnectError("")
    error.__cause__ = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.__cause__.verify_message = "self-signed certificate"
    return error


def test_a_certificate_that_cannot_be_trusted_waits_for_a_person():
    verdict = explain(untrusted())
    assert isinstance(verdict, Pause)
    assert "self-signed certificate" in verdict.why


@pytest.mark.fact("Connect error, TLS error, time-out and cut answer are tried again")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectTimeout(""), "no connection to Databoom (no answer in time)"),
        (
            httpx.ConnectError("Connection refused"),
            "no connection to Databoom (Connection refused)",
        ),
        (httpx.ReadError("reset"), "broke before its answer (reset)"),
        (
            httpx.RemoteProtocolError("Server disconnected"),
            "broke before its answer (Server disconnected)",
        ),
    ],
)
def test_no_answer_is_tried_again(error, said):
    verdict = explain(error)
    assert isinstance(verdict, Retry)
    assert said in verdict.why


def test_a_refused_credential_is_named_as_the_settings_name_it():
    verdict = classify(
        401, {}, b"", now=NOW, credential="apikey", scopes="the scopes Publish and Create"
    )
    assert isinstance(verdict, Pause)
    assert "refuses the apikey" in verdict.why
    assert "must exist and have the scopes Publish and Create" in verdict.why

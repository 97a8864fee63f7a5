"""Verdicts and refusals carry advice for the core, and a text for people."""

from __future__ import annotations

import pytest

from bridge.api import HttpRejection, Pause, Reject, Retry, SettingError, SpoolUnavailable


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            SettingError("key", "missing; certificate and key belong together"),
            "key: missing; certificate",
        ),
        (SpoolUnavailable("the disk is full"), "the disk is full"),
        (
            HttpRejection(401, "the signature does not match the body"),
            "401: the signature does not match the body",
        ),
        (Retry("no answer within 30 s"), "no answer within 30 s"),
        (Reject("value out of range", indexes=[3], status=422), "value out of range"),
        (Pause("401: the token is refused"), "401: the token is refused"),
    ],
)
def test_what_is_logged_is_the_reason(error: Exception, text: str):
    assert str(error).startswith(text)


def test_a_sender_that_the_spool_refuses_may_come_back():
    assert SpoolUnavailable("full").retry_after > 0
    assert SpoolUnavailable("full", retry_after=60).retry_after == 60


def test_a_webhook_comes_back_only_where_the_source_said_so():
    assert HttpRejection(400, "no JSON").retry_after is None
    assert HttpRejection(429, "too many", retry_after=5).retry_after == 5


def test_where_no_time_is_named_the_core_decides_when_to_retry():
    assert Retry("503").after is None
    assert Retry("503", after=120).after == 120


def test_a_rejected_event_is_named_once():
    assert Reject("range", indexes=[4, 1, 4]).indexes == {1, 4}


def test_a_rejection_without_indexes_names_no_event():
    rejected = Reject("400")
    assert (rejected.indexes, rejected.status) == (frozenset(), None)


def test_a_pause_is_for_all_devices_unless_it_says_otherwise():
    assert Pause("401").scope == "sink"
    assert Pause("404: no such device", scope="device").device_only


def test_a_pause_still_knows_what_it_was_asked_by_its_former_name():
    with pytest.warns(DeprecationWarning, match=r"device_only=...\) is Pause\(scope="):
        assert Pause("404: no such device", device_only=True).scope == "device"

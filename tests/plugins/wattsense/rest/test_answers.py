"""What an answer of the REST API means."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Pause, Reject, Retry
from bridge.api.rest import RestResponse
from bridge_plugins.wattsense.rest.answers import next_target, read_answer, verdict

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://api.wattsense.com/v1/devices?size=2"


def answer(status, body=b"", *, headers=None, links=None):
    return RestResponse(status, headers or {}, body, URL, links or {})


@pytest.mark.fact("REST: 204, an empty body and [] are no data and no error")
@pytest.mark.parametrize(
    ("status", "body"), [(204, b""), (200, b""), (200, b" \n"), (200, b"[]"), (206, b"[]")]
)
def test_204_an_empty_body_and_an_empty_array_mean_nothing(status, body):
    page = read_answer(answer(status, body), NOW)
    assert (page.items, page.next) == ((), None)


@pytest.mark.fact("REST: 401 403 407 3xx pause; 404 and other 4xx reject; 408 425 429 5xx retry")
@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, Pause, "rest_secret"),
        (403, Pause, "clock"),
        (404, Reject, "no such device"),
        (400, Reject, "400"),
        (405, Reject, "405"),
        (422, Reject, "422"),
        (429, Retry, "no more requests"),
        (500, Retry, "500"),
        (503, Retry, "503"),
        (408, Retry, "408"),
        (301, Pause, "correct url"),
        (302, Pause, "not followed"),
        (407, Pause, "check url and proxy"),
        (101, Pause, "check url"),
    ],
)
def test_each_status_has_one_meaning(status, kind, words):
    found = verdict(answer(status), NOW)
    assert type(found) is kind
    assert words in str(found)


@pytest.mark.fact("REST: 429 waits Retry-After, else one 5-minute window")
@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("7", 7),
        ("0", 0),
        ("999999", 3600),
        (None, 300),
        ("soon", 300),
        ("-1", 300),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:01:30 -0000", 90),
    ],
)
def test_after_429_we_wait_as_asked_or_else_for_one_window(value, after):
    headers = {} if value is None else {"retry-after": value}
    assert verdict(answer(429, headers=headers), NOW).after == after


def test_5xx_names_a_pause_only_if_the_server_does():
    assert verdict(answer(503), NOW).after is None
    assert verdict(answer(503, headers={"retry-after": "9"}), NOW).after == 9


@pytest.mark.fact("REST: keep the clock in sync: a refused signature names the difference")
def test_a_refused_signature_names_the_difference_of_the_clocks():
    def remark(status, date):
        return str(verdict(answer(status, headers={"date": f"Sun, 01 Mar 2026 {date} GMT"}), NOW))

    assert "ours is 900 s behind the server's" in remark(401, "12:15:00")
    assert "900 s ahead" in remark(403, "11:45:00")
    assert "ours is" not in remark(401, "12:00:20")


def test_where_a_redirect_leads_is_told_without_its_query():
    headers = {"location": "https://login.example.com/?token=hunter2"}
    text = str(verdict(answer(302, headers=headers), NOW))
    assert "https://login.example.com/" in text
    assert "hunter2" not in text


@pytest.mark.fact("REST: 2xx that is no JSON is tried again")
def test_an_answer_that_is_no_json_is_tried_again():
    with pytest.raises(Retry, match="not JSON"):
        read_answer(answer(200, b"<html>"), NOW)


def test_json_that_is_no_array_is_not_taken_for_no_data():
    with pytest.raises(Reject, match="not the array"):
        read_answer(answer(200, b'{"message":"x"}'), NOW)


@pytest.mark.fact("REST: pages by Link rel=next, absolute or beginning with /")
@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("/v1/devices?size=2&page=2", "/v1/devices?size=2&page=2"),
        ("https://api.wattsense.com/v1/devices?page=2", "/v1/devices?page=2"),
        ("https://API.wattsense.com:443/v1/x", "/v1/x"),
        ("/b?x=1,2", "/b?x=1,2"),
        ("?page=2", "/v1/devices?page=2"),
        ("/a#part", "/a"),
    ],
)
def test_the_next_page_is_on_our_host(link, target):
    assert next_target(link, URL) == target


def test_only_the_link_next_leads_to_another_page():
    assert read_answer(answer(200, b"[1]", links={"prev": "/a"}), NOW).next is None
    page = read_answer(answer(200, b"[1]", links={"prev": "/a", "next": "/b"}), NOW)
    assert (page.items, page.next) == ((1,), "/b")


@pytest.mark.fact("REST: links are followed to the configured scheme, host and port only")
@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example.com/v1",
        "http://api.wattsense.com/v1",
        "https://api.wattsense.com:8443/v1",
        "//evil.example.com/v1",
        "https://api.wattsense.com@evil.example.com/v1",
        "https://key@api.wattsense.com/v1",
        "https://api.wattsense.com.evil.example.com/v1",
        "ftp://api.wattsense.com/",
        "https://[broken/v1",
        "https://api.wattsense.com:x/v1",
    ],
)
def test_a_link_to_another_scheme_host_or_port_is_not_followed(link):
    with pytest.raises(Pause, match="not followed"):
        next_target(link, URL)


@pytest.mark.parametrize("link", ["/v1/é", "/v1/a b", "/" + "x" * 9000])
def test_a_link_that_no_request_line_could_hold_is_refused(link):
    with pytest.raises(Reject):
        next_target(link, URL)


@given(link=st.text('<>/;,="rel nxt:h.?#@[]é\x00', max_size=40) | st.text(max_size=20))
def test_any_link_gives_a_target_on_our_host_or_a_verdict(link):
    try:
        assert next_target(link, URL).startswith("/")
    except (Pause, Reject):
        return

"""The signature of a request to the REST API."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from bridge_plugins.wattsense.rest.signature import query_of, signature_headers, signed_text


@pytest.mark.fact("REST: the signed text is METHOD, path, query, body, timestamp by lines")
def test_the_signed_text_is_that_of_the_published_example():
    query = b"since=1700000000000&until=1700003600000&property=prop-7f3a&size=500"
    target = b"/v1/devices/bx01Demo/properties?" + query
    assert signed_text("get", target, b"", 1700003601000) == (
        b"GET\n/v1/devices/bx01Demo/properties\n" + query + b"\n1700003601000"
    )


@pytest.mark.fact("REST: empty lines are left out")
def test_lines_that_would_be_empty_are_left_out():
    assert signed_text("GET", b"/v1/devices", b"", 1) == b"GET\n/v1/devices\n1"
    assert signed_text("POST", b"/v1/x", b"{}", 1) == b"POST\n/v1/x\n{}\n1"


@pytest.mark.fact(
    "REST: base64 of HMAC-SHA512 with the UTF-8 secret, timestamp in ms with the digits of "
    "the header"
)
def test_the_signature_is_hmac_sha512_in_base64():
    now = datetime(2023, 11, 14, 22, 13, 20, 999_999, tzinfo=UTC)
    headers = signature_headers("k", "gehéim", "GET", b"/v1/devices", b"", now)
    assert headers["X-API-Timestamp"] == "1700000000999"
    digest = hmac.new(
        "gehéim".encode(), b"GET\n/v1/devices\n1700000000999", hashlib.sha512
    ).digest()
    assert headers["X-API-Auth"] == "k:" + base64.b64encode(digest).decode()


@pytest.mark.fact("REST: a query is built once, percent-encoded, %20 and not +")
def test_a_query_is_percent_encoded_in_the_order_given():
    assert (
        query_of(("since", 1), ("property", "a b+c&ü/x"))
        == "since=1&property=a%20b%2Bc%26%C3%BC%2Fx"
    )

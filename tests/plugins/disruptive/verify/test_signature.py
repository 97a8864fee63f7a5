"""Who is believed: verification of X-Dt-Signature, step by step."""

import gzip
import hashlib
import json
import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Duration, HttpRejection, Secret
from bridge_plugins.disruptive.webhook import Settings, make_receive

BODY = (
    b'{"event":{"eventId":"a","eventType":"touch","targetName":"projects/p/devices/d",'
    b'"data":{"touch":{}}}}'
)
IAT, EXP = 1700000000, 1700003600
NO_LEEWAY = Duration(0)


def refused(receive, request):
    """Give the reason of a 401."""
    with pytest.raises(HttpRejection) as caught:
        receive(request)
    assert caught.value.status == 401
    return caught.value.reason


# Real requests


@pytest.mark.fact("The signed request of 2024 is accepted when the clock is at its iat")
@pytest.mark.fact("One push is one event of one device")
def test_the_request_of_2024_is_accepted_when_it_is_young(
    signed_requests, request_with, receive_at
):
    real = signed_requests[0]
    accepted = receive_at(real["payload"]["iat"])(
        request_with(real["body"].encode(), real["token"])
    )
    assert accepted.events[0].readings[0].value == 27
    assert (accepted.answer.status, accepted.answer.body) == (200, b"")


@pytest.mark.fact(
    "The signed request of 2022 has SHA-1 only: refused by default, accepted with legacy_sha1",
)
@pytest.mark.fact("Mistake 9: a token without checksum_sha256 must be a clean 401")
def test_a_request_with_sha1_alone_is_refused_unless_asked_for(
    signed_requests, request_with, receive_at
):
    real = signed_requests[1]
    request = request_with(real["body"].encode(), real["token"])
    assert "checksum_sha256" in refused(receive_at(real["payload"]["iat"]), request)
    accepted = receive_at(real["payload"]["iat"], legacy_sha1=True)(request)
    assert accepted.events[0].readings[0].signal == "touch"


@pytest.mark.fact("The three golden requests are accepted or refused by the hashes in their tokens")
def test_golden_requests_are_accepted_or_refused_by_their_hashes(
    sample_lines, request_with, receive_at
):
    expected = {"2022-02-10": True, "2024-05-29": True, "2021-06-03": False}
    seen = set()
    for line in sample_lines:
        if line["kind"] != "golden-request":
            continue
        day = line["body"]["event"]["timestamp"][:10]
        issued = datetime.fromisoformat(line["body"]["event"]["timestamp"]).timestamp()
        request = request_with(line["body_raw"].encode(), line["headers"]["X-Dt-Signature"])
        if expected[day]:
            assert len(receive_at(issued)(request).events) == 1
        else:
            refused(receive_at(issued), request)
        assert len(receive_at(issued, legacy_sha1=True)(request).events) == 1
        seen.add(day)
    assert seen == set(expected)


@pytest.mark.fact("Both signed requests expired long ago and are refused with the real clock")
@pytest.mark.fact("Mistake 4: SHA-1 alone, or tokens that never expire")
@pytest.mark.parametrize("number", [0, 1])
def test_a_captured_request_is_refused_years_later(signed_requests, request_with, number):
    real = signed_requests[number]
    settings = Settings(secret=Secret(real["secret"]), legacy_sha1=True)
    receive = make_receive(settings, lambda: datetime.now(UTC))
    assert "expired" in refused(receive, request_with(real["body"].encode(), real["token"]))


@pytest.mark.fact("A token lives for 3600 s")
@pytest.mark.parametrize("number", [0, 1])
def test_a_real_request_is_accepted_for_exactly_an_hour(
    signed_requests, request_with, receive_at, number
):
    real = signed_requests[number]
    issued, expires = real["payload"]["iat"], real["payload"]["exp"]
    assert expires - issued == 3600
    request = request_with(real["body"].encode(), real["token"])
    for now in (issued, expires - 1):
        assert receive_at(now, leeway=NO_LEEWAY, legacy_sha1=True)(request).events
    assert "not valid yet" in refused(
        receive_at(issued - 1, leeway=NO_LEEWAY, legacy_sha1=True), request
    )
    assert "expired" in refused(receive_at(expires, leeway=NO_LEEWAY, legacy_sha1=True), request)


@pytest.mark.fact("Any one-byte change of the body is refused")
@pytest.mark.parametrize("number", [0, 1])
def test_any_changed_byte_of_the_body_is_refused(signed_requests, request_with, receive_at, number):
    real = signed_requests[number]
    body = real["body"].encode()
    receive = receive_at(real["payload"]["iat"], legacy_sha1=True)
    for place in range(len(body)):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert "does not match" in refused(receive, request_with(changed, real["token"]))


@pytest.mark.fact("The body is hashed as received, never as re-serialised")
@pytest.mark.fact("Mistake 2: hashing re-serialised JSON")
def test_a_body_that_says_the_same_in_other_bytes_is_refused(
    signed_requests, request_with, receive_at
):
    real = signed_requests[0]
    same = json.dumps(json.loads(real["body"])).encode()
    assert "does not match" in refused(
        receive_at(real["payload"]["iat"]), request_with(same, real["token"])
    )


@pytest.mark.fact("All 23 sample bodies are accepted when they are signed")
def test_every_sample_is_accepted_when_it_is_signed(
    sample_lines, request_with, receive_at, sign, claims_for
):
    for line in sample_lines:
        body = json.dumps(line["body"]).encode()
        [event] = receive_at()(request_with(body, sign(claims_for(body)))).events
        assert event.data == line["body"]


@pytest.mark.fact("A token that is seen twice is no error")
def test_a_token_that_is_seen_twice_is_no_error(signed_requests, request_with, receive_at):
    real = signed_requests[0]
    receive = receive_at(real["payload"]["iat"])
    first, second = (
        receive(request_with(real["body"].encode(), real["token"])).events for _ in range(2)
    )
    assert first[0].key == second[0].key


@pytest.mark.fact("Any other body is refused")
@pytest.mark.fact("Mistake 3: verifying the token but not the body")
@given(data=st.data())
def test_any_other_body_is_refused(signed_requests, request_with, receive_at, data):
    real = signed_requests[0]
    body = real["body"].encode()
    place = data.draw(st.integers(0, len(body)))
    other = (
        body[:place]
        + data.draw(st.binary(max_size=3))
        + body[place + data.draw(st.integers(0, 3)) :]
    )
    if other != body:
        refused(receive_at(real["payload"]["iat"]), request_with(other, real["token"]))


# Steps 2 and 3: one header, three parts, HS256


@pytest.mark.fact("No X-Dt-Signature is 401")
def test_a_request_without_signature_is_refused(request_with, receive_at):
    assert "no X-Dt-Signature" in refused(receive_at(), request_with(BODY))


@pytest.mark.fact("Two values of X-Dt-Signature are 401")
def test_a_doubled_signature_is_refused_even_if_both_are_right(
    request_with, receive_at, sign, claims_for
):
    token = sign(claims_for(BODY))
    receive_at()(request_with(BODY, token))
    assert "2 values" in refused(receive_at(), request_with(BODY, token, token))


@pytest.mark.fact("Mistake 1: an HMAC of the body is no signature")
def test_an_hmac_of_the_body_is_no_signature(request_with, receive_at):
    assert "three base64url parts" in refused(
        receive_at(), request_with(BODY, hashlib.sha256(BODY).hexdigest())
    )


@pytest.mark.fact("A token has exactly three base64url parts, without foreign characters")
@pytest.mark.parametrize("foreign", ["=", "+", "/", " ", "\n", "é", "!", "."])
@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_foreign_character_in_a_token_is_refused(
    request_with, receive_at, sign, claims_for, foreign, place
):
    token = sign(claims_for(BODY))
    spoilt = token[:place] + foreign + token[place:]
    assert "three base64url parts" in refused(receive_at(), request_with(BODY, spoilt))
    assert "three base64url parts" in refused(receive_at(), request_with(BODY, token + foreign))


@pytest.mark.fact("Alg must be exactly HS256")
def test_the_token_does_not_choose_the_algorithm(
    request_with, receive_at, sign, claims_for, base64url
):
    claims = claims_for(BODY)
    unsigned = base64url(b'{"alg":"none"}') + "." + base64url(json.dumps(claims).encode())
    assert "three base64url parts" in refused(receive_at(), request_with(BODY, unsigned + "."))
    assert "HS256" in refused(receive_at(), request_with(BODY, unsigned + ".e30"))
    for alg, digest in [
        ("HS512", "sha512"),
        ("HS384", "sha384"),
        ("RS256", "sha256"),
        ("hs256", "sha256"),
    ]:
        token = sign(claims, header=json.dumps({"alg": alg}).encode(), digest=digest)
        assert "HS256" in refused(receive_at(), request_with(BODY, token))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b'{"alg":null}',
        b'{"alg":["HS256"]}',
        b'{"alg":"HS256","b64":false,"crit":["b64"]}',
        b"[" * 5000,
        b'{"alg":' + b"[" * 5000,
    ],
)
def test_a_strange_token_header_is_refused(request_with, receive_at, sign, claims_for, header):
    refused(receive_at(), request_with(BODY, sign(claims_for(BODY), header=header)))


@pytest.mark.fact("Header and claims must be JSON objects")
@pytest.mark.parametrize(
    "claims", [b"", b"[]", b"null", b"1", b'{"iat":NaN}', b"\xff", b"[" * 5000, b"{"]
)
def test_claims_that_are_no_object_are_refused(request_with, receive_at, sign, claims):
    refused(receive_at(), request_with(BODY, sign(claims)))


# Step 4: the secret


def test_another_secret_is_refused(request_with, receive_at, sign, claims_for):
    reason = refused(receive_at(), request_with(BODY, sign(claims_for(BODY), secret="test-secreT")))
    assert "another secret" in reason
    assert "test-secre" not in reason


@pytest.mark.fact("The token is compared with each configured secret; two are good during a change")
def test_both_secrets_are_good_during_a_change(request_with, receive_at, sign, claims_for):
    receive = receive_at(secret="new", previous_secret=Secret("old"))
    for secret in ("new", "old"):
        assert len(receive(request_with(BODY, sign(claims_for(BODY), secret=secret))).events) == 1
    assert "another secret" in refused(
        receive, request_with(BODY, sign(claims_for(BODY), secret="older"))
    )


@pytest.mark.fact("The HMAC key is the UTF-8 of the secret as typed")
@pytest.mark.parametrize(
    "secret",
    [
        "dGVzdA==",
        "ü",
        "x" * 100,
        '{"kty":"oct","k":"eA"}',
        "ssh-rsa AAAA",
        "-----BEGIN PUBLIC KEY-----\nx\n-----END",
    ],
)
def test_a_secret_is_the_text_as_typed(request_with, receive_at, sign, claims_for, secret):
    assert receive_at(secret=secret)(
        request_with(BODY, sign(claims_for(BODY), secret=secret))
    ).events


# Step 5: time


@pytest.mark.fact("At leeway 0: iat is valid, iat - 1 is not; exp - 1 is valid, exp is not")
@pytest.mark.parametrize(
    ("now", "valid"),
    [(IAT - 1, False), (IAT - 0.001, False), (IAT, True), (EXP - 1, True), (EXP, False)],
)
def test_a_token_is_valid_from_iat_until_exp(
    request_with, receive_at, sign, claims_for, now, valid
):
    receive, request = receive_at(now, leeway=NO_LEEWAY), request_with(BODY, sign(claims_for(BODY)))
    if valid:
        assert receive(request).events
    else:
        refused(receive, request)


@pytest.mark.fact("The leeway is 120 s by default")
@pytest.mark.parametrize(
    ("now", "valid"), [(IAT - 121, False), (IAT - 120, True), (EXP + 119, True), (EXP + 120, False)]
)
def test_the_clocks_may_differ_by_the_leeway(
    request_with, receive_at, sign, claims_for, now, valid
):
    receive, request = receive_at(now), request_with(BODY, sign(claims_for(BODY)))
    if valid:
        assert receive(request).events
    else:
        refused(receive, request)


@pytest.mark.fact("Nbf is honoured if it appears")
@pytest.mark.parametrize(
    ("nbf", "valid"), [(IAT, True), (IAT + 1, False), (True, False), ("1700000000", False)]
)
def test_nbf_is_honoured_if_it_appears(request_with, receive_at, sign, claims_for, nbf, valid):
    receive, request = (
        receive_at(IAT, leeway=NO_LEEWAY),
        request_with(BODY, sign(claims_for(BODY, nbf=nbf))),
    )
    if valid:
        assert receive(request).events
    else:
        refused(receive, request)


@pytest.mark.fact("Iat and exp must be numbers, no booleans")
@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize("value", [None, True, False, "1700000000", [], {}])
def test_times_must_be_numbers(request_with, receive_at, sign, claims_for, name, value):
    assert name in refused(
        receive_at(), request_with(BODY, sign(claims_for(BODY, **{name: value})))
    )


def test_times_may_have_a_fraction(request_with, receive_at, sign, claims_for):
    assert receive_at(IAT + 1)(
        request_with(BODY, sign(claims_for(BODY, iat=IAT + 0.5, exp=EXP + 0.5)))
    ).events


@pytest.mark.fact("A refusal tells now - iat")
@pytest.mark.fact("Mistake 5: a token that is not valid yet becomes a 500")
def test_the_reason_tells_how_far_the_clocks_are_apart(request_with, receive_at, sign, claims_for):
    request = request_with(BODY, sign(claims_for(BODY)))
    assert "now - iat = -500 s" in refused(receive_at(IAT - 500), request)
    assert "now - iat = +9000 s" in refused(receive_at(IAT + 9000), request)
    assert "now - iat = +7 s" in refused(
        receive_at(IAT + 7), request_with(BODY + b" ", sign(claims_for(BODY)))
    )


# Step 6: the body


@pytest.mark.fact("If both hashes exist SHA-256 decides")
def test_sha256_decides_when_both_hashes_are_there(request_with, receive_at, sign, claims_for):
    token = sign(claims_for(BODY, checksum_sha256="0" * 64))
    refused(receive_at(legacy_sha1=True), request_with(BODY, token))
    token = sign(claims_for(BODY, checksum="0" * 40))
    assert receive_at()(request_with(BODY, token)).events


@pytest.mark.fact("The hash is compared in lower case")
def test_hex_in_upper_case_is_the_same_hash(request_with, receive_at, sign, claims_for):
    token = sign(claims_for(BODY, checksum_sha256=hashlib.sha256(BODY).hexdigest().upper()))
    assert receive_at()(request_with(BODY, token)).events


@pytest.mark.parametrize("checksum", [1, True, [], {}, "", "é", "abc"])
@pytest.mark.parametrize("legacy", [True, False])
def test_a_hash_of_another_shape_is_refused(
    request_with, receive_at, sign, claims_for, checksum, legacy
):
    for claims in (
        claims_for(BODY, checksum_sha256=checksum),
        claims_for(BODY, checksum_sha256=None, checksum=checksum),
    ):
        refused(receive_at(legacy_sha1=legacy), request_with(BODY, sign(claims)))


def test_a_null_hash_is_not_a_missing_one(request_with, receive_at, sign):
    claims = {
        "iat": IAT,
        "exp": EXP,
        "checksum": hashlib.sha1(BODY).hexdigest(),
        "checksum_sha256": None,
    }
    refused(receive_at(legacy_sha1=True), request_with(BODY, sign(claims)))


@pytest.mark.fact("A token without checksum_sha256 is a clean 401")
def test_a_token_without_any_hash_is_refused(request_with, receive_at, sign, claims_for):
    token = sign(claims_for(BODY, checksum=None, checksum_sha256=None))
    refused(receive_at(legacy_sha1=True), request_with(BODY, token))


@pytest.mark.fact("Unknown: whether the hash is of the compressed body: either is accepted")
@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_the_hash_may_be_of_the_body_before_or_after_compression(
    request_with, receive_at, sign, claims_for, encoding, compress
):
    sent = compress(BODY)
    for hashed in (sent, BODY):
        accepted = receive_at()(
            request_with(sent, sign(claims_for(hashed)), content_encoding=encoding)
        )
        assert accepted.events[0].kind == "touch"
    refused(
        receive_at(), request_with(sent, sign(claims_for(BODY + b" ")), content_encoding=encoding)
    )


@pytest.mark.parametrize(("sent", "encoding"), [(b"no gzip", "gzip"), (BODY, "br")])
def test_a_broken_encoding_is_refused_unless_its_bytes_match(
    request_with, receive_at, sign, claims_for, sent, encoding
):
    refused(receive_at(), request_with(sent, sign(claims_for(b"other")), content_encoding=encoding))
    accepted = receive_at()(request_with(sent, sign(claims_for(sent)), content_encoding=encoding))
    assert accepted.events[0].kind == "unreadable"


# Whatever may come


@pytest.mark.fact("No header text raises anything but a refusal")
@given(token=st.text(max_size=300))
def test_a_token_of_any_text_is_a_clean_refusal(request_with, receive_at, token):
    refused(receive_at(), request_with(BODY, token))


@given(header=st.binary(min_size=1), payload=st.binary(min_size=1), signature=st.binary(min_size=1))
def test_a_token_of_any_parts_is_a_clean_refusal(
    request_with, receive_at, base64url, header, payload, signature
):
    token = f"{base64url(header)}.{base64url(payload)}.{base64url(signature)}"
    refused(receive_at(), request_with(BODY, token))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(["iat", "exp", "nbf", "checksum", "checksum_sha256", "jti"])


@given(others=st.dictionaries(NAMES, JSON, min_size=1), legacy=st.booleans())
def test_claims_of_any_value_are_accepted_or_a_clean_refusal(
    request_with, receive_at, sign, claims_for, others, legacy
):
    request = request_with(BODY, sign({**claims_for(BODY), **others}))
    try:
        status = receive_at(legacy_sha1=legacy)(request).answer.status
    except HttpRejection as refusal:
        status = refusal.status
    assert status in (200, 401)

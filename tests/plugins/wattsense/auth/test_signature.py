"""Whether a request was made by somebody who knows the secret."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import HttpRejection, Request, Secret
from bridge_plugins.wattsense.auth.presets import PRESETS
from bridge_plugins.wattsense.auth.signature import make_verify
from bridge_plugins.wattsense.settings import Settings

SIGNED = sorted(set(PRESETS) - {"none"})
SIGNING_THE_BODY = sorted(set(SIGNED) - {"token"})
SIGNING_THE_TIME = ["standard-webhooks", "stripe", "wattsense-rest"]
HEADERS = [(preset, PRESETS[preset].header or "x-signature-sha256") for preset in SIGNED] + [
    ("standard-webhooks", "webhook-id"),
    ("standard-webhooks", "webhook-timestamp"),
    ("wattsense-rest", "x-api-timestamp"),
]
BODY = b'{"deviceId": "bx01Demo",  "payload": 21.50}'


def verify(settings, request, now):
    make_verify(settings.scheme(), settings.secrets())(request, now)


def refused(settings, request, now):
    with pytest.raises(HttpRejection) as caught:
        verify(settings, request, now)
    assert caught.value.status == 401
    return caught.value.reason


@pytest.mark.fact(
    "Presets github, bare-hex, shopify, stripe, standard-webhooks, token, wattsense-rest "
    "verify what is signed so"
)
@pytest.mark.parametrize("preset", SIGNED)
def test_a_request_signed_by_a_convention_fits_its_preset(preset, make_settings, make_request, now):
    verify(make_settings(preset), make_request(preset, BODY), now)


@pytest.mark.parametrize("preset", SIGNED)
def test_a_request_signed_with_another_secret_is_refused(preset, make_settings, make_request, now):
    refused(make_settings(preset), make_request(preset, BODY, secret="b3RoZXI="), now)


@pytest.mark.fact("Several secrets are accepted for rotation")
@pytest.mark.parametrize("preset", SIGNED)
def test_both_secrets_are_accepted_during_a_rotation(preset, make_settings, make_request, now):
    settings = make_settings(
        preset, secret=Secret("bmV3"), previous_secret=(Secret("b2xk"), Secret("b2xk2xk="))
    )
    for secret in ("bmV3", "b2xk", "b2xk2xk="):
        verify(settings, make_request(preset, BODY, secret=secret), now)
    refused(settings, make_request(preset, BODY, secret="b2xkZXI="), now)


@pytest.mark.fact("The text under the signature is built from raw bytes")
@pytest.mark.fact("Mistake avoided: comparing with == or verifying re-serialised JSON")
@pytest.mark.parametrize("preset", SIGNING_THE_BODY)
def test_one_changed_byte_of_the_body_is_refused(preset, make_settings, make_request, now):
    genuine = make_request(preset, BODY)
    assert "does not match" in refused(
        make_settings(preset), evolve(genuine, body=BODY.replace(b"  ", b" ")), now
    )


@pytest.mark.parametrize(("preset", "header"), HEADERS)
def test_a_request_without_a_header_of_its_signature_is_refused(
    preset, header, make_settings, make_request, now
):
    genuine = make_request(preset, BODY)
    headers = {name: values for name, values in genuine.headers.items() if name != header}
    assert f"the header {header} is missing" in refused(
        make_settings(preset), evolve(genuine, headers=headers), now
    )


@pytest.mark.fact("Header names match in any case; a header that comes twice is refused")
@pytest.mark.parametrize(("preset", "header"), HEADERS)
def test_a_header_of_the_signature_that_comes_twice_is_refused(
    preset, header, make_settings, make_request, now
):
    genuine = make_request(preset, BODY)
    headers = {**genuine.headers, header: genuine.headers[header] * 2}
    assert "came 2 times" in refused(make_settings(preset), evolve(genuine, headers=headers), now)


@pytest.mark.fact("A non-ASCII or undecodable header is a mismatch, 401")
@pytest.mark.parametrize(
    "value",
    ["", "é", "\x00", "sha256=", "sha256=zz", "sha256=é", "=", "v1,", "v1=", "t=1,v1=é", ":"],
)
@pytest.mark.parametrize("preset", SIGNED)
def test_a_signature_that_cannot_be_decoded_is_a_mismatch(
    preset, value, make_settings, make_request, now
):
    genuine = make_request(preset, BODY)
    header = PRESETS[preset].header or "x-signature-sha256"
    refused(
        make_settings(preset), evolve(genuine, headers={**genuine.headers, header: (value,)}), now
    )


@pytest.mark.fact("A signed timestamp is good for 300 s in both directions")
@pytest.mark.parametrize("preset", SIGNING_THE_TIME)
@pytest.mark.parametrize("direction", [-1, 1])
def test_a_signature_is_good_for_300_s_around_our_clock(
    preset, direction, make_settings, make_request, now
):
    settings = make_settings(preset)
    for seconds, good in ((300, True), (301, False)):
        request = make_request(preset, BODY, signed_at=now.timestamp() + direction * seconds)
        if good:
            verify(settings, request, now)
        else:
            assert "301 s" in refused(settings, request, now)


@pytest.mark.parametrize("digits", ["", "-1", "1e9", "+1", "1.0", "٣", "²", "1" * 16, " ", "1_0"])
def test_a_timestamp_that_is_not_a_few_ascii_digits_is_refused(
    digits, make_settings, make_request, now
):
    genuine = make_request("standard-webhooks", BODY)
    request = evolve(genuine, headers={**genuine.headers, "webhook-timestamp": (digits,)})
    assert "at most 15 digits" in refused(make_settings("standard-webhooks"), request, now)


@pytest.mark.fact("Two timestamps in one header are refused")
def test_two_timestamps_in_one_header_are_refused(make_settings, make_request, now):
    genuine = make_request("stripe", BODY)
    value = genuine.headers["stripe-signature"][0]
    request = evolve(genuine, headers={"stripe-signature": (f"t=1,{value}",)})
    assert "2 timestamps" in refused(make_settings("stripe"), request, now)


@pytest.mark.fact("Several signatures in one header: any match is enough")
def test_one_of_several_signatures_in_a_header_is_enough(make_settings, make_request, now):
    genuine = make_request("stripe", BODY)
    value = genuine.headers["stripe-signature"][0]
    request = evolve(
        genuine, headers={"stripe-signature": (f"v9=!,v1={'0' * 64}, v1=,x,{value},",)}
    )
    verify(make_settings("stripe"), request, now)


@pytest.mark.fact("Signatures of unknown versions are skipped")
def test_signatures_of_unknown_versions_do_not_count(make_settings, make_request, now):
    genuine = make_request("stripe", BODY)
    value = genuine.headers["stripe-signature"][0].replace("v1=", "v7=")
    request = evolve(genuine, headers={"stripe-signature": (value,)})
    assert "no hex signature" in refused(make_settings("stripe"), request, now)


@pytest.mark.fact("key_id before the colon must match")
def test_another_api_key_before_the_colon_is_refused(make_settings, make_request, now):
    reason = refused(
        make_settings("wattsense-rest", key_id="key-2"), make_request("wattsense-rest", BODY), now
    )
    assert "key_id" in reason


@pytest.mark.fact(
    "The signed text of wattsense-rest leaves out empty lines; the path is what the sender "
    "saw (public_path_prefix)"
)
def test_the_rest_signature_covers_the_lines_that_are_not_empty():
    # the layout of vendor documentation, signed by hand
    text = b"POST\n/public/wattsense/values\na=1\n{}\n1700003601000"
    signature = base64.b64encode(hmac.new(b"s", text, hashlib.sha512).digest()).decode()
    settings = Settings(
        signature="wattsense-rest", secret=Secret("s"), key_id="k", public_path_prefix="/public"
    )
    headers = {"x-api-auth": (f"k:{signature}",), "x-api-timestamp": ("1700003601000",)}
    request = Request("POST", "/wattsense/values", "a=1", headers, b"{}")
    verify(settings, request, datetime.fromtimestamp(1700003601, UTC))
    refused(settings, evolve(request, query=""), datetime.fromtimestamp(1700003601, UTC))


@pytest.mark.fact("GitHub's published example is accepted")
def test_the_published_example_of_github_is_accepted(now):
    headers = {
        "x-hub-signature-256": (
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
    }
    settings = Settings(signature="github", secret=Secret("It's a Secret to Everybody"))
    verify(settings, Request("POST", "/", "", headers, b"Hello, World!"), now)


@pytest.mark.fact(
    "The published example of Standard Webhooks is accepted (whsec\\_ secret, decoded)",
)
def test_the_published_example_of_standard_webhooks_is_accepted():
    headers = {
        "webhook-id": ("msg_p5jXN8AQM9LWM0D4loKWxJek",),
        "webhook-timestamp": ("1614265330",),
        "webhook-signature": ("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",),
    }
    settings = Settings(
        signature="standard-webhooks", secret=Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    )
    request = Request("POST", "/", "", headers, b'{"test": 2432232314}')
    verify(settings, request, datetime.fromtimestamp(1614265330, UTC))


@pytest.mark.fact(
    "Every field of a scheme can be set: header, hash, encoding, prefix, template, "
    "timestamp, id, secret encoding"
)
def test_a_preset_can_be_replaced_field_by_field(now):
    settings = Settings(
        signature="bare-hex",
        secret=Secret("00ff"),
        secret_encoding="hex",
        signature_header="X-Sign",
        signature_hash="sha1",
        signature_encoding="base64url",
        signature_prefix="v1:",
        signature_template=r"{id}:{timestamp}\n{method} {path}?{query}\n{body}",
        timestamp_header="X-Time",
        id_header="X-Id",
    )
    text = b"n7:%d\nPUT /a//b?x=%%20\n\xff" % (now.timestamp() * 1000)
    signature = (
        base64.urlsafe_b64encode(hmac.new(b"\x00\xff", text, hashlib.sha1).digest())
        .decode()
        .rstrip("=")
    )
    headers = {
        "x-sign": (f"v1:{signature}",),
        "x-time": (str(int(now.timestamp() * 1000)),),
        "x-id": ("n7",),
    }
    verify(settings, Request("PUT", "/a//b", "x=%20", headers, b"\xff"), now)


@pytest.mark.fact("A signed timestamp may be in s or ms: told by its size")
@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize(
    ("offset", "good"), [(299, True), (-299, True), (301, False), (-301, False)]
)
def test_the_unit_of_a_signed_timestamp_is_told_by_its_size(unit, offset, good, make_settings, now):
    settings = make_settings("stripe")
    timestamp = int(now.timestamp() + offset) * unit
    signature = hmac.new(b"c2VjcmV0IG9uZQ==", b"%d.{}" % timestamp, hashlib.sha256).hexdigest()
    request = Request(
        "POST", "/", "", {"stripe-signature": (f"t={timestamp},v1={signature}",)}, b"{}"
    )
    if good:
        verify(settings, request, now)
    else:
        refused(settings, request, now)


def test_in_a_list_only_what_has_the_prefix_is_a_signature(make_settings, now):
    settings = make_settings(
        "bare-hex", signature_list_separator="semicolon", signature_prefix="sig-2="
    )
    good = hmac.new(b"c2VjcmV0IG9uZQ==", b"{}", hashlib.sha256).hexdigest()
    for header in (f"sig-1=00; sig-2={good}", f"sig-2=00;sig-2={good};sig-3=00"):
        verify(settings, Request("POST", "/", "", {"x-signature-sha256": (header,)}, b"{}"), now)
    for header in (f"sig-1={good}", good, f"sig-2=00;{good}"):
        refused(settings, Request("POST", "/", "", {"x-signature-sha256": (header,)}, b"{}"), now)


@pytest.mark.fact("The timestamp may come in a header of its own or in the signature's header")
def test_a_timestamp_header_replaces_the_entry_of_a_preset(make_settings, now):
    settings = make_settings("stripe", timestamp_header="X-Time")
    signature = hmac.new(
        b"c2VjcmV0IG9uZQ==", b"%d.{}" % now.timestamp(), hashlib.sha256
    ).hexdigest()
    headers = {"stripe-signature": (f"v1={signature}",), "x-time": (str(int(now.timestamp())),)}
    verify(settings, Request("POST", "/", "", headers, b"{}"), now)


@pytest.mark.fact("Gzip: option for a signature over the decoded bytes")
def test_a_body_signed_before_compression_needs_a_setting(make_settings, make_request, now):
    import gzip

    plain = make_request("github", BODY)
    packed = evolve(
        plain, body=gzip.compress(BODY), headers={**plain.headers, "content-encoding": ("gzip",)}
    )
    verify(make_settings("github", signed_body="decoded"), packed, now)
    refused(make_settings("github"), packed, now)


@pytest.mark.fact("A token may come as a query parameter (off by default)")
@pytest.mark.parametrize(
    ("query", "good"),
    [
        ("token=s%20%C3%A9", True),
        ("a=1&token=s+%C3%A9&b=2", True),
        ("token=s", False),
        ("", False),
        ("token=", False),
        ("token=s%20%C3%A9&token=s%20%C3%A9", False),
        ("&".join(["a=1"] * 101) + "&token=s%20%C3%A9", False),
    ],
)
def test_a_token_may_come_as_a_query_parameter(query, good, now):
    settings = Settings(signature="token", secret=Secret("s é"), token_parameter="token")
    request = Request("POST", "/wattsense/values", query, {}, b"{}")
    if good:
        verify(settings, request, now)
    else:
        refused(settings, request, now)


def test_a_token_may_have_a_word_before_it(now):
    settings = Settings(
        signature="token", secret=Secret("abc"), signature_header="X-Key", signature_prefix="Key"
    )
    verify(settings, Request("POST", "/", "", {"x-key": ("Key abc",)}, b""), now)
    refused(settings, Request("POST", "/", "", {"x-key": ("abc",)}, b""), now)


@pytest.mark.fact("The log hears names of headers, never values")
def test_the_log_hears_the_names_of_headers_but_no_values(make_settings, now):
    headers = {"x-real-signature": ("very-secret",), "x-\x1b[31m": ("1",)}
    reason = refused(make_settings("github"), Request("POST", "/", "", headers, b"123"), now)
    assert "x-real-signature" in reason
    assert "3 bytes" in reason
    assert "very-secret" not in reason
    assert "\x1b" not in reason


@pytest.mark.fact("Whatever is sent, the answer of verification is 401 and never 500")
@given(
    preset=st.sampled_from(SIGNED),
    values=st.lists(st.text(max_size=80), max_size=3),
    body=st.binary(max_size=20),
    path=st.text(max_size=10),
    seconds=st.integers(-(10**6), 10**6),
)
def test_no_header_path_or_body_gets_anything_but_401(preset, values, body, path, seconds):
    extra = {"signature_header": "X-Any"} if preset in ("bare-hex", "token") else {}
    extra |= {"key_id": "k"} if preset == "wattsense-rest" else {}
    settings = Settings(signature=preset, secret=Secret("c2VjcmV0"), **extra)
    scheme = settings.scheme()
    headers = {
        name: tuple(values)
        for name in (scheme.header, scheme.timestamp_header, scheme.id_header)
        if name
    }
    now = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    refused(settings, Request("POST", path, path, headers, body), now)

"""Who is believed: verification of DT-Asymmetric-Signature, and of both signatures
together.
"""

import gzip
import hashlib
import hmac
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Duration, HttpRejection, Request, Secret, SettingError
from bridge_plugins.disruptive.settings import Settings
from bridge_plugins.disruptive.verify.keys import KeyRing, read_keys
from bridge_plugins.disruptive.verify.rejections import KeyNotFetched
from bridge_plugins.disruptive.webhook import make_receive

BODY = (
    b'{"event":{"eventId":"a","eventType":"touch","targetName":"projects/p/devices/d",'
    b'"data":{"touch":{}}}}'
)
IAT, EXP = 1700000000, 1700000300
ORGANIZATION = "cvi1t5h4sugsec4d6vog"
SECRET = "test-secret"
NO_LEEWAY = Duration(0)


@pytest.fixture
def keys(dt_key, jwk_of):
    """The keys that DT publishes, fetched."""
    ring = KeyRing()
    ring.replace(read_keys({"keys": [jwk_of(dt_key)]}))
    return ring


@pytest.fixture
def receive(keys):
    """Receive with scheme asymmetric, unless settings say otherwise."""

    def receive(request, *, now=IAT, scheme="asymmetric", keys=keys, **settings):
        if scheme != "asymmetric":
            settings = {"secret": Secret(SECRET), **settings}
        settings = Settings(**{"scheme": scheme, "organization": ORGANIZATION, **settings})
        return make_receive(settings, lambda: datetime.fromtimestamp(now, UTC), keys)(request)

    return receive


def signed(body, *tokens, hmac=(), **headers):
    """Make a request with values of DT-Asymmetric-Signature, and of X-Dt-Signature."""
    fields = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    if tokens:
        fields["dt-asymmetric-signature"] = tokens
    if hmac:
        fields["x-dt-signature"] = (hmac,)
    return Request("POST", "/disruptive", "", fields, body)


def refused(receive, request, status=401, **settings):
    """Give the reason of a refusal."""
    with pytest.raises(HttpRejection) as caught:
        receive(request, **settings)
    assert caught.value.status == status
    return caught.value.reason


# Settings


@pytest.mark.fact("Without an organization id the schemes with ES256 refuse to start")
@pytest.mark.parametrize("scheme", ["asymmetric", "either", "both"])
def test_without_an_organization_the_keys_of_dt_are_not_trusted(scheme):
    secret = None if scheme == "asymmetric" else Secret("s")
    with pytest.raises(SettingError, match="organization: expected the id of your organization"):
        Settings(scheme=scheme, secret=secret)


@pytest.mark.parametrize("scheme", ["either", "both"])
def test_a_scheme_with_hmac_needs_a_secret(scheme):
    with pytest.raises(SettingError, match="secret: expected"):
        Settings(scheme=scheme, organization=ORGANIZATION)


def test_a_secret_that_nothing_would_verify_is_refused():
    with pytest.raises(SettingError, match="got asymmetric; remove one"):
        Settings(scheme="asymmetric", organization=ORGANIZATION, secret=Secret("s"))


@pytest.mark.parametrize("organization", ["", "organizations/o", "o o", "ö"])
def test_an_organization_is_an_id_alone(organization):
    with pytest.raises(ValueError, match="without organizations/"):
        Settings(scheme="asymmetric", organization=organization)


@pytest.mark.fact("Keys are fetched over HTTPS only, except from this machine")
@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://identity.example.com/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost/x", True),
        ("http://[::1]/x", True),
        ("http://identity.example.com/x", False),
        ("http://127.0.0.1.example.com/x", False),
    ],
)
def test_keys_are_fetched_over_https_only(url, safe):
    def settings():
        return Settings(scheme="asymmetric", organization=ORGANIZATION, discovery_url=url)

    if safe:
        assert settings().discovery_url == url
    else:
        with pytest.raises(SettingError, match="discovery_url: expected https://"):
            settings()


@pytest.mark.fact("Issuer and discovery URL are settings, with DT's production by default")
def test_issuer_and_keys_are_those_of_dt_unless_told_otherwise():
    settings = Settings(secret=Secret("s"))
    assert settings.issuer == "https://identity.disruptive-technologies.com/data-connector"
    assert settings.discovery_url == f"{settings.issuer}/.well-known/openid-configuration"


def test_cryptography_is_loaded_only_when_a_source_runs():
    check = (
        "import sys; from bridge_plugins.disruptive import bridge_source_kinds, bridge_commands;"
        "bridge_source_kinds(); bridge_commands();"
        "assert not {'jwt', 'httpx', 'cryptography'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


# What is accepted


@pytest.mark.fact("DT-Asymmetric-Signature is ES256 with DT's own key")
@pytest.mark.fact("Sub is accepted as ID and as organizations/ID")
@pytest.mark.fact("Unknown: the form of sub: both are accepted")
@pytest.mark.parametrize("subject", [ORGANIZATION, f"organizations/{ORGANIZATION}"])
def test_a_request_that_dt_signed_for_us_is_accepted(receive, sign_es256, dt_claims_for, subject):
    accepted = receive(signed(BODY, sign_es256(dt_claims_for(BODY, sub=subject))))
    assert accepted.events[0].device == "d"
    assert (accepted.answer.status, accepted.answer.body) == (200, b"")


def test_both_keys_are_good_while_dt_changes_them(
    receive, sign_es256, dt_claims_for, dt_key, jwk_of
):
    new = ec.generate_private_key(ec.SECP256R1())
    keys = KeyRing()
    keys.replace(read_keys({"keys": [jwk_of(dt_key), jwk_of(new, "dt-2")]}))
    for key, kid in ((dt_key, "dt-1"), (new, "dt-2")):
        assert receive(
            signed(BODY, sign_es256(dt_claims_for(BODY), key=key, kid=kid)), keys=keys
        ).events
    crossed = sign_es256(dt_claims_for(BODY), key=new, kid="dt-1")
    assert "not made with the key" in refused(receive, signed(BODY, crossed), keys=keys)


def test_another_tenant_of_dt_has_another_issuer(receive, sign_es256, dt_claims_for):
    token = sign_es256(dt_claims_for(BODY, iss="https://dev.example.com/dc"))
    assert receive(signed(BODY, token), issuer="https://dev.example.com/dc").events
    assert "another issuer" in refused(receive, signed(BODY, token))


@pytest.mark.fact("The static header is compared in addition, never instead")
def test_the_static_header_is_asked_for_in_addition(receive, sign_es256, dt_claims_for):
    settings = {"header_name": "X-Bridge-Key", "header_value": Secret("v")}
    token = sign_es256(dt_claims_for(BODY))
    assert receive(signed(BODY, token, x_bridge_key="v"), **settings).events
    assert "X-Bridge-Key" in refused(receive, signed(BODY, token), **settings)
    refused(receive, signed(BODY, x_bridge_key="v"), **settings)


# The header and its parts


def test_a_request_without_the_signature_is_refused(receive):
    assert "no DT-Asymmetric-Signature" in refused(receive, signed(BODY))
    assert "no DT-Asymmetric-Signature" in refused(receive, signed(BODY, hmac="e30.e30.e30"))


def test_a_doubled_signature_is_refused_even_if_both_are_right(receive, sign_es256, dt_claims_for):
    token = sign_es256(dt_claims_for(BODY))
    assert "2 values" in refused(receive, signed(BODY, token, token))


@pytest.mark.parametrize("foreign", ["=", "+", "/", " ", "\n", "é", "."])
@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_foreign_character_in_a_token_is_refused(
    receive, sign_es256, dt_claims_for, foreign, place
):
    token = sign_es256(dt_claims_for(BODY))
    assert "three base64url parts" in refused(
        receive, signed(BODY, token[:place] + foreign + token[place:])
    )


@pytest.mark.fact("Alg must be exactly ES256")
@pytest.mark.fact("Mistake 6: letting the token choose the algorithm")
@pytest.mark.parametrize(
    "alg", ["none", "HS256", "HS512", "RS256", "ES384", "es256", None, ["ES256"], 7]
)
def test_the_token_does_not_choose_the_algorithm(receive, sign_es256, dt_claims_for, alg):
    header = json.dumps({"alg": alg, "kid": "dt-1"}).encode()
    reason = refused(receive, signed(BODY, sign_es256(dt_claims_for(BODY), header=header)))
    assert "not signed with ES256" in reason


@pytest.mark.fact("The public key is no HS256 secret")
def test_the_public_key_is_no_secret_for_hs256(receive, dt_claims_for, dt_key, base64url):
    public = dt_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = base64url(b'{"alg":"HS256","kid":"dt-1"}')
    text = f"{header}.{base64url(json.dumps(dt_claims_for(BODY)).encode())}"
    token = f"{text}.{base64url(hmac.digest(public, text.encode(), 'sha256'))}"
    assert "not signed with ES256" in refused(receive, signed(BODY, token))


@pytest.mark.fact("A token must name its key: kid is a text")
@pytest.mark.parametrize("kid", [None, "", 1, ["dt-1"], {}, True])
def test_a_token_must_name_its_key(receive, sign_es256, dt_claims_for, kid):
    header = json.dumps({"alg": "ES256", "kid": kid}).encode()
    assert "names no key" in refused(
        receive, signed(BODY, sign_es256(dt_claims_for(BODY), header=header))
    )
    header = b'{"alg":"ES256"}'
    assert "names no key" in refused(
        receive, signed(BODY, sign_es256(dt_claims_for(BODY), header=header))
    )


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 5000,
        b'{"alg":"ES256","kid":"dt-1","crit":["x"]}',
        b'{"alg":"ES256","kid":"dt-1","b64":false,"crit":["b64"]}',
        b'{"alg":"ES256","kid":"dt-1","b64":false}',
        b'{"alg":"ES256","kid":"dt-1","x":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_a_strange_token_header_is_refused(receive, sign_es256, dt_claims_for, header):
    refused(receive, signed(BODY, sign_es256(dt_claims_for(BODY), header=header)))


def test_a_header_part_of_an_impossible_length_is_refused(receive):
    assert "cannot be read" in refused(receive, signed(BODY, "aaaaa.e30.e30"))


@pytest.mark.parametrize("claims", [b"", b"[]", b"null", b"1", b'{"iat":NaN}', b"\xff", b"{"])
def test_claims_that_are_no_object_are_refused(receive, sign_es256, claims):
    refused(receive, signed(BODY, sign_es256(claims)))


# The signature


def test_a_signature_of_another_key_is_refused(receive, sign_es256, dt_claims_for):
    other = ec.generate_private_key(ec.SECP256R1())
    token = sign_es256(dt_claims_for(BODY), key=other)
    assert "not made with the key that it names" in refused(receive, signed(BODY, token))


@pytest.mark.fact("The signature is the raw r and s of 64 bytes, not DER")
def test_a_signature_in_der_is_refused(receive, sign_es256, dt_claims_for):
    token = sign_es256(dt_claims_for(BODY), der=True)
    assert "not made with the key" in refused(receive, signed(BODY, token))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128])
def test_a_signature_of_zeros_is_refused(receive, sign_es256, dt_claims_for, base64url, length):
    text, _, _ = sign_es256(dt_claims_for(BODY)).rpartition(".")
    refused(receive, signed(BODY, f"{text}.{base64url(bytes(length))}"))


def test_any_changed_byte_of_the_token_is_refused(receive, sign_es256, dt_claims_for):
    token = sign_es256(dt_claims_for(BODY))
    for place in range(0, len(token), 5):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(HttpRejection):
            receive(signed(BODY, changed))


# Claims


@pytest.mark.fact("Iss must equal the setting issuer")
@pytest.mark.parametrize("issuer", [None, "", "https://evil.example.com", 7, ["x"]])
def test_another_issuer_is_refused(receive, sign_es256, dt_claims_for, issuer):
    assert "another issuer" in refused(
        receive, signed(BODY, sign_es256(dt_claims_for(BODY, iss=issuer)))
    )


@pytest.mark.fact("Sub must be our organization, any other customer of DT is refused")
@pytest.mark.fact("Mistake 6: ES256 without comparing sub")
@pytest.mark.parametrize(
    "subject",
    [
        None,
        "",
        "another",
        "organizations/",
        "organizations/another",
        f"projects/{ORGANIZATION}",
        f"organizations/{ORGANIZATION}/x",
        f" {ORGANIZATION}",
        ORGANIZATION.upper(),
        [ORGANIZATION],
        {},
        True,
    ],
)
def test_what_dt_signed_for_another_customer_is_refused(
    receive, sign_es256, dt_claims_for, subject
):
    token = sign_es256(dt_claims_for(BODY, sub=subject))
    assert "another organization" in refused(receive, signed(BODY, token))


@pytest.mark.fact("Time rules as for HS256: edges at leeway 0")
@pytest.mark.parametrize(
    ("now", "valid"),
    [(IAT - 1, False), (IAT - 0.001, False), (IAT, True), (EXP - 1, True), (EXP, False)],
)
def test_a_token_is_valid_from_iat_until_exp(receive, sign_es256, dt_claims_for, now, valid):
    request = signed(BODY, sign_es256(dt_claims_for(BODY)))
    if valid:
        assert receive(request, now=now, leeway=NO_LEEWAY).events
    else:
        assert "now - iat = " in refused(receive, request, now=now, leeway=NO_LEEWAY)


@pytest.mark.fact("Time rules as for HS256: leeway")
@pytest.mark.parametrize(
    ("now", "valid"), [(IAT - 121, False), (IAT - 120, True), (EXP + 119, True), (EXP + 120, False)]
)
def test_the_clocks_may_differ_by_the_leeway(receive, sign_es256, dt_claims_for, now, valid):
    request = signed(BODY, sign_es256(dt_claims_for(BODY)))
    if valid:
        assert receive(request, now=now).events
    else:
        refused(receive, request, now=now)


@pytest.mark.parametrize(("nbf", "valid"), [(IAT, True), (IAT + 1, False), ("1700000000", False)])
def test_nbf_is_honoured_if_it_appears(receive, sign_es256, dt_claims_for, nbf, valid):
    request = signed(BODY, sign_es256(dt_claims_for(BODY, nbf=nbf)))
    if valid:
        assert receive(request, leeway=NO_LEEWAY).events
    else:
        refused(receive, request, leeway=NO_LEEWAY)


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize("value", [None, True, "1700000000", []])
def test_times_must_be_numbers(receive, sign_es256, dt_claims_for, name, value):
    assert name in refused(receive, signed(BODY, sign_es256(dt_claims_for(BODY, **{name: value}))))


# The body


def test_any_changed_byte_of_the_body_is_refused(receive, sign_es256, dt_claims_for):
    token = sign_es256(dt_claims_for(BODY))
    for place in range(len(BODY)):
        changed = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        assert "does not match" in refused(receive, signed(changed, token))


@pytest.mark.fact("Of ES256 only checksum_sha256 counts, legacy or not")
def test_sha1_is_never_enough(receive, sign_es256, dt_claims_for):
    claims = dt_claims_for(BODY, checksum_sha256=None, checksum=hashlib.sha1(BODY).hexdigest())
    token = sign_es256(claims)
    assert "no checksum_sha256" in refused(receive, signed(BODY, token), legacy_sha1=True)


@pytest.mark.parametrize("checksum", [1, True, [], "", "é", "0" * 64])
def test_a_hash_of_another_shape_is_refused(receive, sign_es256, dt_claims_for, checksum):
    refused(receive, signed(BODY, sign_es256(dt_claims_for(BODY, checksum_sha256=checksum))))


def test_the_hash_may_be_of_the_body_before_or_after_compression(
    receive, sign_es256, dt_claims_for
):
    sent = gzip.compress(BODY)
    for hashed in (sent, BODY):
        request = signed(sent, sign_es256(dt_claims_for(hashed)), content_encoding="gzip")
        assert receive(request).events[0].kind == "touch"


def test_a_forged_body_is_not_even_parsed(receive, sign_es256, dt_claims_for):
    assert (
        receive(signed(b"no JSON", sign_es256(dt_claims_for(b"no JSON")))).events[0].kind
        == "unreadable"
    )
    assert "does not match" in refused(receive, signed(b"no JSON", sign_es256(dt_claims_for(BODY))))


# Both signatures


@pytest.fixture
def tokens(sign, claims_for, sign_es256, dt_claims_for):
    """Values for each header: right, wrong, and with a key that is not known."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    return {
        "hmac": {
            "right": sign(claims_for(BODY)),
            "wrong": sign(claims_for(BODY), secret="other"),
            "none": (),
        },
        "asymmetric": {
            "right": (sign_es256(dt_claims_for(BODY)),),
            "wrong": (sign_es256(dt_claims_for(BODY), key=stranger),),
            "keyless": (sign_es256(dt_claims_for(BODY), kid="dt-2"),),
            "none": (),
        },
    }


@pytest.mark.fact(
    "Either: one verifies and no other that is present and has its key fails; both: both verify",
)
@pytest.mark.parametrize(
    ("of_secret", "of_key", "either", "both"),
    [
        ("right", "right", 200, 200),
        ("right", "none", 200, 401),
        ("none", "right", 200, 401),
        ("right", "wrong", 401, 401),
        ("wrong", "right", 401, 401),
        ("wrong", "wrong", 401, 401),
        ("wrong", "none", 401, 401),
        ("none", "wrong", 401, 401),
        ("none", "none", 401, 401),
        ("right", "keyless", 200, 503),
        ("wrong", "keyless", 401, 401),
        ("none", "keyless", 503, 401),
    ],
)
def test_two_signatures_are_weighed_as_the_scheme_says(
    receive, tokens, of_secret, of_key, either, both
):
    request = signed(BODY, *tokens["asymmetric"][of_key], hmac=tokens["hmac"][of_secret])
    for scheme, status in (("either", either), ("both", both)):
        if status == 200:
            assert receive(request, scheme=scheme).events
        else:
            refused(receive, request, status, scheme=scheme)


async def test_either_believes_the_secret_if_dt_has_no_such_key(
    receive, keys, tokens, dt_key, jwk_of
):
    request = signed(BODY, *tokens["asymmetric"]["keyless"])
    refused(receive, request, 503, scheme="either")
    keys.replace(read_keys({"keys": [jwk_of(dt_key)]}), await keys.wanted())
    refused(receive, request, 401, scheme="either")
    assert receive(
        signed(BODY, *tokens["asymmetric"]["keyless"], hmac=tokens["hmac"]["right"]),
        scheme="either",
    ).events


@pytest.mark.parametrize("scheme", ["either", "both"])
def test_a_token_for_one_header_proves_nothing_in_the_other(receive, tokens, scheme):
    [asymmetric], hmac = tokens["asymmetric"]["right"], tokens["hmac"]["right"]
    refused(receive, signed(BODY, hmac, hmac=asymmetric), scheme=scheme)


def test_scheme_hmac_does_not_look_at_the_asymmetric_signature(request_with, receive_at, tokens):
    request = signed(BODY, *tokens["asymmetric"]["wrong"], hmac=tokens["hmac"]["right"])
    assert receive_at()(request).events


@pytest.mark.fact("Keys not obtainable: 503, never 401, never accepted")
def test_without_any_keys_a_request_is_503_and_never_accepted(receive, sign_es256, dt_claims_for):
    for claims in (dt_claims_for(BODY), dt_claims_for(b"other")):
        with pytest.raises(KeyNotFetched) as caught:
            receive(signed(BODY, sign_es256(claims)), keys=KeyRing())
        assert caught.value.retry_after > 0


# Whatever may come


@given(token=st.text(max_size=300))
def test_a_token_of_any_text_is_a_clean_refusal(dt_key, jwk_of, token):
    ring = KeyRing()
    ring.replace(read_keys({"keys": [jwk_of(dt_key)]}))
    for scheme, secret in (("asymmetric", None), ("either", Secret("s")), ("both", Secret("s"))):
        receive = make_receive(
            Settings(scheme=scheme, secret=secret, organization="o"),
            lambda: datetime.fromtimestamp(IAT, UTC),
            ring,
        )
        refused(receive, signed(BODY, token))
        refused(receive, signed(BODY, token, hmac=token or "x"))


@given(
    header=st.one_of(
        st.binary(min_size=1),
        st.builds(
            lambda kid: json.dumps({"alg": "ES256", "kid": kid}).encode(),
            st.one_of(st.just("dt-1"), st.text(), st.integers()),
        ),
    ),
    payload=st.binary(min_size=1),
    signature=st.binary(min_size=1, max_size=70),
)
def test_a_token_of_any_parts_is_a_clean_refusal(
    dt_key, jwk_of, base64url, header, payload, signature
):
    ring = KeyRing()
    ring.replace(read_keys({"keys": [jwk_of(dt_key)]}))
    settings = Settings(scheme="asymmetric", organization="o")
    receive = make_receive(settings, lambda: datetime.fromtimestamp(IAT, UTC), ring)
    with pytest.raises(HttpRejection) as caught:
        receive(signed(BODY, f"{base64url(header)}.{base64url(payload)}.{base64url(signature)}"))
    assert caught.value.status in (401, 503)

"""The emulator's tokens, verified by code of the tests' own and with keys as DT
publishes them.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import httpx
import pytest
import trio
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from bridge_plugins.disruptive.emulator.cloud import ORGANIZATION
from bridge_plugins.disruptive.emulator.push.faults import Faults
from bridge_plugins.disruptive.emulator.rest.faults import RestFault, error, html
from bridge_plugins.disruptive.emulator.server import Delivery, open_cloud

NOW = datetime(2024, 5, 29, 10, 34, 3, 970415, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
SECRET = "test-secret"


def decoded(part):
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def opened_token(token):
    """Give header, claims, signed bytes and signature."""
    header, claims, signature = token.split(".")
    return (
        json.loads(decoded(header)),
        json.loads(decoded(claims)),
        f"{header}.{claims}".encode(),
        decoded(signature),
    )


def verifies_hs256(token):
    _, _, signed, signature = opened_token(token)
    return hmac.new(SECRET.encode(), signed, hashlib.sha256).digest() == signature


def verifies_es256(token, jwks):
    header, _, signed, signature = opened_token(token)
    [jwk] = [key for key in jwks["keys"] if key["kid"] == header["kid"]]
    assert (jwk["kty"], jwk["crv"], jwk["use"]) == ("EC", "P-256", "sig")
    x, y = (int.from_bytes(decoded(jwk[name]), "big") for name in "xy")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    if len(signature) != 64:
        return False
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


class Site:
    """A cloud whose pushes end here."""

    def __init__(self, http):
        self.http = http
        self.pushed = []

    async def receive(self, request):
        await request.aread()
        self.pushed.append(request)
        return httpx.Response(200)

    async def push(self, **faults):
        """Publish one event; gives its request."""
        self.connector.faults = Faults(**faults)
        self.connector.publish("temperature", "d", {"value": 27})
        await self.cloud.drained()
        return self.pushed[-1]

    async def jwks(self):
        document = (await self.http.get(self.cloud.discovery_url)).json()
        return (await self.http.get(document["jwks_uri"])).json()


@asynccontextmanager
async def opened(secret=SECRET, **settings):
    with trio.fail_after(20):
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            site = Site(http)
            transport = httpx.MockTransport(site.receive)
            settings = {
                "delivery": Delivery(spacing=0.01),
                "random": Random(1),
                "verify": False,
                **settings,
            }
            async with open_cloud(now=lambda: NOW, transport=transport, **settings) as cloud:
                site.cloud = cloud
                site.connector = cloud.add_connector(
                    cloud.add_project(), "https://b.example.org/dt", secret
                )
                yield site


@pytest.fixture
async def site():
    async with opened() as site:
        yield site


@pytest.mark.fact("X-Dt-Signature is HS256, iat + 3600, jti, SHA-1 and SHA-256 of the body")
async def test_hs256_is_signed_with_the_secret_and_holds_both_hashes(site):
    request = await site.push()
    token = request.headers["X-Dt-Signature"]
    header, claims, _, _ = opened_token(token)
    assert header == {"alg": "HS256", "typ": "JWT"}
    assert len(claims.pop("jti")) == 20
    assert claims == {
        "checksum": hashlib.sha1(request.content).hexdigest(),
        "checksum_sha256": hashlib.sha256(request.content).hexdigest(),
        "iat": SECONDS,
        "exp": SECONDS + 3600,
    }
    assert verifies_hs256(token)


@pytest.mark.fact("DT-Asymmetric-Signature is ES256, raw r and s, 300 s, iss, sub, SHA-256, kid")
async def test_es256_uses_a_published_key_and_names_the_organization(site):
    request = await site.push()
    token = request.headers["DT-Asymmetric-Signature"]
    header, claims, _, _ = opened_token(token)
    assert header == {"alg": "ES256", "kid": site.cloud.keys.kid, "typ": "JWT"}
    assert claims == {
        "checksum_sha256": hashlib.sha256(request.content).hexdigest(),
        "iat": SECONDS,
        "exp": SECONDS + 300,
        "iss": site.cloud.issuer,
        "sub": ORGANIZATION,
    }
    assert verifies_es256(token, await site.jwks())


@pytest.mark.fact("DT-Asymmetric-Signature is sent without a secret too (assumed)")
async def test_es256_is_sent_without_a_secret_too():
    async with opened(secret=None) as site:
        request = await site.push()
        assert "X-Dt-Signature" not in request.headers
        assert "DT-Asymmetric-Signature" in request.headers


@pytest.mark.fact("Sub is the id or organizations/ID (unknown)")
async def test_sub_can_be_the_whole_name_of_the_organization(site):
    site.cloud.keys.whole_name = True
    request = await site.push()
    _, claims, _, _ = opened_token(request.headers["DT-Asymmetric-Signature"])
    assert claims["sub"] == f"organizations/{ORGANIZATION}"


@pytest.mark.fact("The clock offset of tokens is adjustable")
async def test_the_clock_can_be_another(site):
    request = await site.push(clock_offset=-100)
    for name, lifetime in (("X-Dt-Signature", 3600), ("DT-Asymmetric-Signature", 300)):
        _, claims, _, _ = opened_token(request.headers[name])
        assert (claims["iat"], claims["exp"]) == (SECONDS - 100, SECONDS - 100 + lifetime)


@pytest.mark.fact("The discovery document has all members that OpenID Connect demands")
async def test_the_discovery_document_is_that_of_an_issuer(site):
    document = (await site.http.get(site.cloud.discovery_url)).json()
    assert document["issuer"] == site.cloud.issuer
    assert document["token_endpoint"] == site.cloud.token_url
    assert document["id_token_signing_alg_values_supported"] == ["ES256"]
    assert document.keys() >= {
        "authorization_endpoint",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
    }


@pytest.mark.fact("Discovery and JWKS, keys rotate, old ones kept or not")
@pytest.mark.parametrize("keep_old", [True, False])
async def test_keys_rotate(site, keep_old):
    before = (await site.push()).headers["DT-Asymmetric-Signature"]
    site.cloud.keys.rotate(keep_old=keep_old)
    after = (await site.push()).headers["DT-Asymmetric-Signature"]
    jwks = await site.jwks()
    assert len(jwks["keys"]) == 1 + keep_old
    assert opened_token(before)[0]["kid"] != opened_token(after)[0]["kid"]
    assert verifies_es256(after, jwks)
    if keep_old:
        assert verifies_es256(before, jwks)


@pytest.mark.fact("Discovery and JWKS may be down or HTML")
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
@pytest.mark.parametrize("answer", [error(503, "down"), html()])
async def test_keys_may_be_out_of_reach_for_a_while(site, path, answer):
    site.cloud.rest_faults.append(RestFault(answer, call=path))
    assert (await site.http.get(site.cloud.issuer + path)).content == answer.body
    assert (await site.http.get(site.cloud.issuer + path)).status_code == 200


@pytest.mark.fact("Discovery may be slow")
async def test_keys_may_be_slow(site):
    site.cloud.rest_faults.append(RestFault(delay=3600))
    with pytest.raises(httpx.ReadTimeout):
        await site.http.get(site.cloud.discovery_url, timeout=0.05)


@pytest.mark.fact("No ES256 for a tenant (unknown)")
async def test_a_cloud_without_the_second_header_has_no_keys():
    async with opened(asymmetric=False) as site:
        assert "DT-Asymmetric-Signature" not in (await site.push()).headers
        assert (await site.http.get(site.cloud.discovery_url)).status_code == 404
        assert (await site.http.get(site.cloud.issuer + "/keys")).status_code == 404


# --- faults ---


@pytest.mark.fact("Fault, wrong secret")
async def test_a_wrong_secret_does_not_verify(site):
    assert not verifies_hs256((await site.push(wrong_secret=1)).headers["X-Dt-Signature"])


@pytest.mark.fact("Fault, wrong key under the right kid")
async def test_a_wrong_key_does_not_verify_under_the_right_kid(site):
    token = (await site.push(wrong_key=1)).headers["DT-Asymmetric-Signature"]
    assert opened_token(token)[0]["kid"] == site.cloud.keys.kid
    assert not verifies_es256(token, await site.jwks())


@pytest.mark.fact("Fault, unknown kid")
async def test_an_unknown_kid_is_not_published(site):
    token = (await site.push(unknown_kid=1)).headers["DT-Asymmetric-Signature"]
    kids = [key["kid"] for key in (await site.jwks())["keys"]]
    assert opened_token(token)[0]["kid"] not in kids


@pytest.mark.fact("Fault, DER signature")
async def test_a_der_signature_has_another_form(site):
    token = (await site.push(der_signature=1)).headers["DT-Asymmetric-Signature"]
    signature = opened_token(token)[3]
    assert signature[0] == 0x30
    assert not verifies_es256(token, await site.jwks())


@pytest.mark.fact("Fault, wrong sub, wrong iss")
@pytest.mark.parametrize(
    ("fault", "claim", "right"),
    [("wrong_sub", "sub", ORGANIZATION), ("wrong_iss", "iss", "issuer")],
)
async def test_a_wrong_claim_is_signed_properly(site, fault, claim, right):
    token = (await site.push(**{fault: 1})).headers["DT-Asymmetric-Signature"]
    claims = opened_token(token)[1]
    assert claims[claim] != (site.cloud.issuer if right == "issuer" else right)
    assert verifies_es256(token, await site.jwks())


@pytest.mark.fact("Fault, expired or future token")
@pytest.mark.parametrize(("fault", "late"), [("expired_token", -7200), ("future_token", 3600)])
async def test_both_tokens_are_out_of_their_time(site, fault, late):
    request = await site.push(**{fault: 1})
    for name in ("X-Dt-Signature", "DT-Asymmetric-Signature"):
        _, claims, _, _ = opened_token(request.headers[name])
        assert claims["iat"] == SECONDS + late
        assert not claims["iat"] <= SECONDS < claims["exp"]


@pytest.mark.fact("Fault, alg none")
async def test_both_tokens_may_say_that_they_are_unsigned(site):
    request = await site.push(algorithm_none=1)
    for name in ("X-Dt-Signature", "DT-Asymmetric-Signature"):
        header, _, _, signature = opened_token(request.headers[name])
        assert (header["alg"], signature) == ("none", b"")


@pytest.mark.fact("Fault, missing or doubled header")
@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        ("no_signature", (0, 1)),
        ("doubled_signature", (2, 1)),
        ("no_asymmetric", (1, 0)),
        ("doubled_asymmetric", (1, 2)),
    ],
)
async def test_a_header_may_be_missing_or_come_twice(site, fault, counts):
    request = await site.push(**{fault: 1})
    names = [name.lower() for name, _ in request.headers.raw]
    assert (names.count(b"x-dt-signature"), names.count(b"dt-asymmetric-signature")) == counts


@pytest.mark.fact("Fault, body tampered after signing")
async def test_a_tampered_body_differs_in_one_byte_from_the_signed_one(site):
    request = await site.push(tampered_body=1)
    for name in ("X-Dt-Signature", "DT-Asymmetric-Signature"):
        claims = opened_token(request.headers[name])[1]
        assert claims["checksum_sha256"] != hashlib.sha256(request.content).hexdigest()


@pytest.mark.fact("Before February 2022 the token has SHA-1 only")
async def test_sha1_alone_is_as_before_2022(site):
    request = await site.push(sha1_only=1)
    claims = opened_token(request.headers["X-Dt-Signature"])[1]
    assert claims["checksum"] == hashlib.sha1(request.content).hexdigest()
    assert "checksum_sha256" not in claims


@pytest.mark.fact("Mistake: logging secrets (emulator's own texts)")
async def test_no_key_is_in_the_text_of_the_cloud(site):
    assert SECRET not in repr(site.connector) + repr(site.connector.endpoint) + repr(site.cloud)

"""Real requests of DT, and a signer of our own for requests that DT never sent."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bridge.api import Request, Secret
from bridge_plugins.disruptive.webhook import Settings, make_receive

DATA = Path(__file__).parents[2] / "data"
SECRET = "test-secret"


@pytest.fixture(scope="session")
def sample_lines():
    """The 23 sample bodies."""
    lines = (DATA / "disruptive_events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def signed_requests():
    """The two signed requests: token, payload, secret and body."""
    return json.loads((DATA / "disruptive_signed_requests.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def base64url():
    return lambda raw: urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def sign(base64url):
    """Make a token for claims; header, secret and the raw texts can be chosen."""

    def sign(claims, *, header=b'{"alg":"HS256","typ":"JWT"}', secret=SECRET, digest="sha256"):
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signed = f"{base64url(header)}.{base64url(payload)}"
        return f"{signed}.{base64url(hmac.digest(secret.encode(), signed.encode(), digest))}"

    return sign


@pytest.fixture(scope="session")
def claims_for():
    """Make the claims that DT would make for a body; a keyword of value None takes a
    claim away.
    """

    def claims_for(body, **others):
        claims = {
            "checksum": hashlib.sha1(body).hexdigest(),
            "checksum_sha256": hashlib.sha256(body).hexdigest(),
            "exp": 1700003600,
            "iat": 1700000000,
            "jti": "cpbg96t1isjlr2vdorc0",
        } | others
        return {name: value for name, value in claims.items() if value is not None}

    return claims_for


@pytest.fixture(scope="session")
def request_with():
    """Make a request from a body and the values of X-Dt-Signature."""

    def request_with(body, *tokens, **headers):
        fields = {name.replace("_", "-"): (value,) for name, value in headers.items()}
        if tokens:
            fields["x-dt-signature"] = tokens
        return Request("POST", "/disruptive", "", fields, body)

    return request_with


@pytest.fixture(scope="session")
def receive_at():
    """Make a receive function whose clock stands still at so many unix seconds."""

    def receive_at(seconds=1700000000, **settings):
        secret = settings.pop("secret", SECRET)
        moment = datetime.fromtimestamp(seconds, UTC)
        return make_receive(Settings(secret=Secret(secret), **settings), lambda: moment)

    return receive_at


@pytest.fixture(scope="session")
def dt_key():
    """A key pair as DT has one."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def jwk_of(base64url):
    """Make the public JWK of a key pair; a keyword of None takes a member away."""

    def jwk_of(key, kid="dt-1", **others):
        numbers = key.public_key().public_numbers()
        x, y = (base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        jwk = {
            "kty": "EC",
            "crv": "P-256",
            "kid": kid,
            "use": "sig",
            "alg": "ES256",
            "x": x,
            "y": y,
        } | others
        return {name: value for name, value in jwk.items() if value is not None}

    return jwk_of


@pytest.fixture(scope="session")
def sign_es256(base64url, dt_key):
    """Make a token for claims as DT would with its own key; header, key and raw texts
    can be chosen.
    """

    def sign_es256(claims, *, kid="dt-1", header=None, key=None, der=False):
        header = (
            json.dumps({"alg": "ES256", "kid": kid, "typ": "JWT"}).encode()
            if header is None
            else header
        )
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signed = f"{base64url(header)}.{base64url(payload)}"
        signature = (key or dt_key).sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        if not der:
            signature = b"".join(
                number.to_bytes(32, "big") for number in decode_dss_signature(signature)
            )
        return f"{signed}.{base64url(signature)}"

    return sign_es256


@pytest.fixture(scope="session")
def dt_claims_for():
    """Make the claims of DT-Asymmetric-Signature for a body; a keyword of value None
    takes a claim away.
    """

    def dt_claims_for(body, **others):
        claims = {
            "checksum_sha256": hashlib.sha256(body).hexdigest(),
            "iat": 1700000000,
            "exp": 1700000300,
            "iss": "https://identity.disruptive-technologies.com/data-connector",
            "sub": "cvi1t5h4sugsec4d6vog",
        } | others
        return {name: value for name, value in claims.items() if value is not None}

    return dt_claims_for

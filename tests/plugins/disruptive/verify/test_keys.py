"""DT's public keys: which of them are used, when they are fetched, and what is answered
meanwhile.
"""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import httpx
import pytest
import trio
import trustme
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import (
    Duration,
    HttpRejection,
    Pause,
    Request,
    Response,
    Retry,
    SpoolUnavailable,
    Url,
)
from bridge.testing.fakes import FakeMount, FakeReport, FakeState, FixedClock, fake_source_context
from bridge.testing.http_server import serve_http
from bridge_plugins.disruptive.settings import Settings
from bridge_plugins.disruptive.verify.key_fetching import (
    MAX_ANSWER,
    STATE,
    fetch_keys,
    keep_keys,
    recall,
)
from bridge_plugins.disruptive.verify.keys import INTERVAL, MAX_UNKNOWN, KeyRing, read_keys
from bridge_plugins.disruptive.verify.rejections import KeyNotFetched, UnknownKey
from bridge_plugins.disruptive.webhook import run

BODY = (
    b'{"event":{"eventId":"a","eventType":"touch","targetName":"projects/p/devices/d",'
    b'"data":{"touch":{}}}}'
)
IAT = 1700000000
ORGANIZATION = "cvi1t5h4sugsec4d6vog"
DISCOVERY = "https://identity.example.com/dc/.well-known/openid-configuration"
JWKS = "https://keys.example.com/jwks"


# Which keys are used


def test_a_key_for_es256_is_used(dt_key, jwk_of):
    [key] = read_keys({"keys": [jwk_of(dt_key)]}).values()
    assert key.key.public_numbers() == dt_key.public_key().public_numbers()


@pytest.mark.fact("Use may be missing")
@pytest.mark.parametrize("use", ["sig", None])
def test_use_may_be_missing(dt_key, jwk_of, use):
    assert list(read_keys({"keys": [jwk_of(dt_key, use=use)]})) == ["dt-1"]


@pytest.mark.fact("A key must be EC, P-256, use sig if present")
@pytest.mark.parametrize(
    "others",
    [
        {"use": "enc"},
        {"use": 1},
        {"kty": "RSA"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"crv": None},
        {"kid": None},
        {"kid": ""},
        {"kid": 7},
        {"x": None},
        {"y": ["AA"]},
        {"x": "AA"},
        {"y": "no base64!"},
        {"x": "é"},
        {"y": "A" * 43},
    ],
)
def test_a_key_of_another_kind_or_form_is_passed_over(dt_key, jwk_of, others):
    good = jwk_of(ec.generate_private_key(ec.SECP256R1()), "good")
    assert list(read_keys({"keys": [jwk_of(dt_key, **others), good]})) == ["good"]


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP384R1()])
def test_a_key_of_another_curve_is_not_used_under_any_name(jwk_of, base64url, curve):
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    x, y = (
        base64url(number.to_bytes(curve.key_size // 8, "big")) for number in (numbers.x, numbers.y)
    )
    for name in ("P-256", "P-384", "secp256k1"):
        assert read_keys({"keys": [{"kid": "k", "kty": "EC", "crv": name, "x": x, "y": y}]}) == {}


def test_of_a_key_only_the_public_part_is_kept(dt_key, jwk_of, base64url):
    private = base64url(dt_key.private_numbers().private_value.to_bytes(32, "big"))
    [key] = read_keys({"keys": [jwk_of(dt_key, d=private, x5c=["certificate"])]}).values()
    assert set(key.jwk) == {"kid", "kty", "crv", "x", "y"}
    assert isinstance(key.key, ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    "document", [None, [], "keys", {}, {"keys": None}, {"keys": {}}, {"keys": [None, 1, [], {}]}]
)
def test_what_is_no_jwks_has_no_keys(document):
    assert read_keys(document) == {}


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=50)
    | st.sampled_from(["EC", "P-256", "sig"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    others=st.dictionaries(
        st.sampled_from(["kid", "kty", "crv", "x", "y", "use", "alg", "d"]), ANYTHING
    )
)
def test_any_document_gives_usable_keys_or_none(dt_key, jwk_of, others):
    for key in read_keys({"keys": [{**jwk_of(dt_key), **others}]}).values():
        assert isinstance(key.key, ec.EllipticCurvePublicKey)


# Which answer an unknown key gets


def status_of(ring, kid):
    try:
        ring.find(kid)
    except HttpRejection as rejection:
        return rejection.status
    return 200


@pytest.mark.fact("An unknown kid is 503 until DT has been asked, then 401")
async def test_an_unknown_key_is_503_until_dt_was_asked_then_401(dt_key, jwk_of):
    ring = KeyRing()
    with pytest.raises(KeyNotFetched):
        ring.find("dt-2")
    asked = await ring.wanted()
    assert status_of(ring, "dt-2") == 503
    ring.replace(read_keys({"keys": [jwk_of(dt_key)]}), asked)
    assert status_of(ring, "dt-1") == 200
    with pytest.raises(UnknownKey):
        ring.find("dt-2")


async def test_a_key_first_named_during_a_fetch_is_looked_for_again(dt_key, jwk_of):
    ring = KeyRing()
    ring.want()
    asked = await ring.wanted()
    assert status_of(ring, "dt-2") == 503
    ring.replace(read_keys({"keys": [jwk_of(dt_key)]}), asked)
    assert status_of(ring, "dt-2") == 503
    ring.replace(read_keys({"keys": [jwk_of(dt_key)]}), await ring.wanted())
    assert status_of(ring, "dt-2") == 401


async def test_a_key_fetched_while_asked_for_is_not_fetched_again(dt_key, jwk_of, autojump_clock):
    ring = KeyRing()
    assert status_of(ring, "dt-1") == 503
    asked = await ring.wanted()
    assert status_of(ring, "dt-1") == 503  # the fetch is under way
    ring.replace(read_keys({"keys": [jwk_of(dt_key)]}), asked)
    with trio.move_on_after(1) as waiting:
        await ring.wanted()
    assert waiting.cancelled_caught


@pytest.mark.fact("A key that DT withdraws is dropped")
async def test_a_key_that_dt_withdraws_is_dropped(dt_key, jwk_of):
    ring = KeyRing()
    ring.replace(read_keys({"keys": [jwk_of(dt_key)]}))
    assert status_of(ring, "dt-1") == 200
    ring.replace(read_keys({"keys": [jwk_of(dt_key, "dt-2")]}), await ask_for(ring, "dt-2"))
    assert status_of(ring, "dt-2") == 200
    assert status_of(ring, "dt-1") == 503
    ring.replace(read_keys({"keys": [jwk_of(dt_key, "dt-2")]}), await ring.wanted())
    assert status_of(ring, "dt-1") == 401


async def ask_for(ring, kid):
    status_of(ring, kid)
    return await ring.wanted()


async def test_strangers_cannot_fill_the_memory_with_names_of_keys():
    ring = KeyRing()
    for number in range(MAX_UNKNOWN + 50):
        assert status_of(ring, f"stranger-{number}") == 503
    assert len(await ring.wanted()) == MAX_UNKNOWN
    assert await ask_for(ring, "dt-2") == {"dt-2"}


# Fetching


def asymmetric(**settings):
    return Settings(
        **{
            "scheme": "asymmetric",
            "organization": ORGANIZATION,
            "discovery_url": Url(DISCOVERY),
            **settings,
        }
    )


def answer(status=200, body=b"", location=DISCOVERY):
    """Make an answer that comes over a network, so that it is not read yet."""
    return httpx.Response(
        status,
        headers={"Location": location} if status == 302 else None,
        stream=httpx.ByteStream(body),
    )


def json_answer(document):
    return answer(200, json.dumps(document).encode())


@define
class Dt:
    """DT's two documents, and what was asked for."""

    keys: list
    discovery: object = field(factory=lambda: {"issuer": "x", "jwks_uri": JWKS})
    asked: list = field(factory=list)
    times: list = field(factory=list)
    down: object = None

    def __call__(self, request):
        self.asked.append(str(request.url))
        if str(request.url) == DISCOVERY:
            self.times.append(trio.current_time())
        if isinstance(self.down, Exception):
            raise self.down
        if self.down is not None:
            return answer(*self.down)
        if str(request.url) == DISCOVERY:
            return json_answer(self.discovery)
        return json_answer({"keys": self.keys})


async def fetched(dt, **settings):
    """Fetch the keys once."""
    return await fetch_keys(asymmetric(**settings), FixedClock(), lambda: httpx.MockTransport(dt))


@pytest.fixture
def dt(dt_key, jwk_of):
    return Dt([jwk_of(dt_key)])


@pytest.mark.fact("Discovery document, jwks_uri, JWKS")
async def test_keys_are_found_through_the_discovery_document(dt, jwk_of, dt_key):
    assert list(await fetched(dt)) == ["dt-1"]
    assert dt.asked == [DISCOVERY, JWKS]


@pytest.mark.parametrize(
    ("discovery", "reason"),
    [
        ({}, "names no jwks_uri"),
        ([], "names no jwks_uri"),
        ({"jwks_uri": 1}, "names no jwks_uri"),
        ({"jwks_uri": "https://x/" + "y" * 300}, "names no jwks_uri"),
        ({"jwks_uri": "http://keys.example.com/jwks"}, "not an https:// URL"),
        ({"jwks_uri": "file:///etc/keys"}, "not an https:// URL"),
        ({"jwks_uri": "https://"}, "not an https:// URL"),
        ({"jwks_uri": "https://[x/"}, "not an https:// URL"),
        ({"jwks_uri": "https://a:b:c/\x00"}, "cannot be reached"),
    ],
)
async def test_an_unusable_discovery_document_is_told(dt, discovery, reason):
    dt.discovery = discovery
    with pytest.raises((Retry, Pause), match=reason):
        await fetched(dt)


@pytest.mark.parametrize(
    ("down", "verdict", "reason"),
    [
        (httpx.ConnectError("no route"), Retry, "cannot be reached: no route"),
        (httpx.RemoteProtocolError(""), Retry, "cannot be reached: RemoteProtocolError"),
        ((500,), Retry, "answers 500, expected 200"),
        ((429,), Retry, "answers 429, expected 200"),
        ((404,), Pause, "answers 404, expected 200"),
        ((302,), Pause, "answers 302, expected 200"),
        ((204,), Retry, "answers 204"),
        ((200, b"<html>"), Retry, "is not JSON"),
        ((200, b" " * (MAX_ANSWER + 1)), Retry, "larger than"),
        ((200, b" " * MAX_ANSWER), Retry, "is not JSON"),
    ],
)
async def test_a_failed_fetch_says_why_and_what_to_do(dt, down, verdict, reason):
    dt.down = down
    with pytest.raises(verdict, match=rf"{reason}.*; allow HTTPS from here"):
        await fetched(dt)
    assert len(dt.asked) == 1


@pytest.mark.parametrize("keys", [[], [{"kty": "RSA", "kid": "r"}]])
async def test_a_jwks_without_any_usable_key_replaces_nothing(dt, keys):
    dt.keys = keys
    with pytest.raises(Pause, match="holds no key for ES256"):
        await fetched(dt)


async def test_a_fetch_has_a_deadline(autojump_clock):
    async def silent(_request):
        await trio.sleep_forever()

    with pytest.raises(Retry, match=r"within 3 s \(timeout\)"):
        await fetched(silent, timeout=Duration(3))
    assert trio.current_time() < 10


# Keeping them


@asynccontextmanager
async def keeping(dt, state, report, **settings):
    """Keep keys as an instance does that starts with this state."""
    ring, settings = KeyRing(), asymmetric(**settings)
    recall(ring, settings, state)
    context = fake_source_context(state=state, report=report)
    async with trio.open_nursery() as background:
        background.start_soon(
            partial(keep_keys, ring, settings, context, network=lambda: httpx.MockTransport(dt))
        )
        await trio.testing.wait_all_tasks_blocked()
        yield ring
        background.cancel_scope.cancel()


@pytest.mark.fact("Keys are fetched at start where none are remembered")
async def test_keys_are_fetched_at_start_where_none_are_remembered(dt, autojump_clock):
    state, report = FakeState(), FakeReport()
    async with keeping(dt, state, report) as ring:
        assert status_of(ring, "dt-1") == 200
    assert state.get(STATE)["url"] == DISCOVERY
    assert [set(key) for key in state.get(STATE)["keys"]] == [{"kid", "kty", "crv", "x", "y"}]
    assert report.problems == []


@pytest.mark.fact("Keys are remembered across restarts, public parts only")
async def test_remembered_keys_are_used_after_a_restart(dt, autojump_clock):
    state = FakeState()
    async with keeping(dt, state, FakeReport()):
        pass
    dt.down = httpx.ConnectError("no route")
    dt.asked.clear()
    report = FakeReport()
    async with keeping(dt, state, report) as ring:
        assert status_of(ring, "dt-1") == 200
        await trio.sleep(3600)
    assert (dt.asked, report.texts) == ([], [])


@pytest.mark.parametrize(
    "remembered",
    [
        7,
        {"url": "https://other.example.com", "keys": [{"kid": "old"}]},
        {"url": DISCOVERY},
        {
            "url": DISCOVERY,
            "keys": [{"kid": "old", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}],
        },
    ],
)
async def test_remembered_keys_of_no_use_are_fetched_anew(dt, autojump_clock, remembered):
    state = FakeState()
    await state.put(STATE, remembered)
    async with keeping(dt, state, FakeReport()) as ring:
        assert status_of(ring, "dt-1") == 200


async def test_the_keys_of_another_tenant_are_not_taken_for_ours(dt, autojump_clock):
    state = FakeState()
    async with keeping(dt, state, FakeReport()):
        pass
    dt.down = httpx.ConnectError("no route")
    async with keeping(
        dt, state, FakeReport(), discovery_url=Url("https://other.example.com")
    ) as ring:
        assert status_of(ring, "dt-1") == 503


@pytest.mark.fact("Redirects of the key documents are not followed")
async def test_a_redirect_is_not_followed(dt, autojump_clock):
    report = FakeReport()
    dt.down = (302, b"", "https://elsewhere.example.com/x")
    async with keeping(dt, FakeState(), report):
        pass
    assert dt.asked == [DISCOVERY]
    assert "answers 302, expected 200" in report.problems[0]


@pytest.mark.fact("An unknown kid is looked for at most once a minute")
async def test_an_unknown_key_is_looked_for_at_most_once_a_minute(dt, autojump_clock):
    async with keeping(dt, FakeState(), FakeReport()) as ring:
        for _ in range(150):
            status_of(ring, "stranger")
            await trio.sleep(1)
    assert len(dt.times) == 3
    assert [later - earlier for earlier, later in zip(dt.times, dt.times[1:], strict=False)] == [
        INTERVAL,
        INTERVAL,
    ]
    assert INTERVAL == 60


@pytest.mark.fact("Known keys are not fetched with each request")
@pytest.mark.fact("Mistake 6: fetching keys with each request")
async def test_known_keys_are_not_fetched_again(dt, autojump_clock):
    async with keeping(dt, FakeState(), FakeReport()) as ring:
        for _ in range(100):
            assert status_of(ring, "dt-1") == 200
            await trio.sleep(60)
    assert len(dt.times) == 1


async def test_a_new_key_is_fetched_when_a_request_names_it(dt, autojump_clock, dt_key, jwk_of):
    state = FakeState()
    async with keeping(dt, state, FakeReport()) as ring:
        await trio.sleep(3600)
        dt.keys = [jwk_of(ec.generate_private_key(ec.SECP256R1()), "dt-2")]
        assert status_of(ring, "dt-2") == 503
        await trio.sleep(0.1)
        assert status_of(ring, "dt-2") == 200
        assert status_of(ring, "dt-1") != 200
    assert [key["kid"] for key in state.get(STATE)["keys"]] == ["dt-2"]


@pytest.mark.fact("Keys that cannot be fetched are a problem until they can")
async def test_keys_not_to_be_fetched_are_a_problem_until_they_are(dt, autojump_clock):
    report = FakeReport()
    dt.down = (500,)
    async with keeping(dt, FakeState(), report) as ring:
        await trio.sleep(200)
        assert len(set(report.problems)) == 1
        assert "allow HTTPS from here to discovery_url" in report.topics["keys"]
        assert report.texts == report.problems
        dt.down = None
        await trio.sleep(300)
        assert status_of(ring, "dt-1") == 200
        assert report.topics == {}


async def test_known_keys_stay_good_while_no_others_can_be_fetched(dt, autojump_clock):
    async with keeping(dt, FakeState(), FakeReport()) as ring:
        dt.down = httpx.ConnectError("no route")
        await trio.sleep(100)
        assert status_of(ring, "stranger") == 503
        await trio.sleep(600)
        assert status_of(ring, "dt-1") == 200
        assert status_of(ring, "stranger") == 503


async def test_keys_are_used_even_if_they_cannot_be_remembered(dt, autojump_clock):
    class FullState(FakeState):
        async def put(self, key, value):
            raise SpoolUnavailable("the disk is full")

    async with keeping(dt, FullState(), FakeReport()) as ring:
        assert status_of(ring, "dt-1") == 200


async def test_an_unchanged_set_of_keys_is_not_written_again(dt, autojump_clock):
    written = []

    class CountingState(FakeState):
        async def put(self, key, value):
            written.append(key)
            await super().put(key, value)

    async with keeping(dt, CountingState(), FakeReport()) as ring:
        for _ in range(5):
            status_of(ring, "stranger")
            await trio.sleep(60)
    assert len(dt.times) > 1
    assert written == [STATE]


async def test_a_ca_file_without_certificates_is_told(dt, autojump_clock, tmp_path):
    path, report = tmp_path / "ca.pem", FakeReport()
    async with keeping(dt, FakeState(), report, ca_file=path) as ring:
        for text in (None, "nothing"):
            if text is not None:
                path.write_text(text)
                await trio.sleep(300)
            assert f"ca_file: {path} cannot be used" in report.problems[-1]
            assert status_of(ring, "dt-1") == 503
        trustme.CA().cert_pem.write_to_path(path)
        await trio.sleep(300)
        assert status_of(ring, "dt-1") == 200
        assert report.topics == {}


# The whole source


async def test_a_source_fetches_its_keys_then_accepts_what_dt_signed(
    dt_key, jwk_of, sign_es256, dt_claims_for
):
    fetched = trio.Event()

    async def serve(request):
        assert request.method == "GET"
        if request.path == "/discovery":
            return Response(200, b'{"jwks_uri":"%s/jwks"}' % url.encode())
        await may_answer.wait()
        fetched.set()
        return Response(200, json.dumps({"keys": [jwk_of(dt_key)]}).encode())

    may_answer = trio.Event()
    mount, report, state = FakeMount(), FakeReport(), FakeState()
    clock = FixedClock(datetime.fromtimestamp(IAT, UTC))
    context = fake_source_context(mount=mount, report=report, state=state, clock=clock)
    headers = {"dt-asymmetric-signature": (sign_es256(dt_claims_for(BODY)),)}
    request = Request("POST", "/disruptive", "", headers, BODY)
    async with serve_http(serve) as url, trio.open_nursery() as nursery:
        with trio.fail_after(20):
            await nursery.start(
                partial(start, asymmetric(discovery_url=Url(f"{url}/discovery")), context)
            )
            with pytest.raises(KeyNotFetched):
                mount.routes["/disruptive"](request)
            may_answer.set()
            await fetched.wait()
            while state.get(STATE) is None:
                await trio.lowlevel.checkpoint()
            assert mount.routes["/disruptive"](request).events[0].kind == "touch"
        nursery.cancel_scope.cancel()
    assert report.problems == []


async def test_a_restarted_source_accepts_at_once_without_any_network(
    dt_key, jwk_of, sign_es256, dt_claims_for
):
    mount, report, state = FakeMount(), FakeReport(), FakeState()
    # At this port of this machine nobody listens.
    settings = asymmetric(discovery_url=Url("http://127.0.0.1:1/discovery"))
    await state.put(STATE, {"url": settings.discovery_url, "keys": [jwk_of(dt_key)]})
    clock = FixedClock(datetime.fromtimestamp(IAT, UTC))
    context = fake_source_context(mount=mount, report=report, state=state, clock=clock)
    request = Request(
        "POST",
        "/disruptive",
        "",
        {"dt-asymmetric-signature": (sign_es256(dt_claims_for(BODY)),)},
        BODY,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(start, settings, context))
        assert mount.routes["/disruptive"](request).events[0].kind == "touch"
        nursery.cancel_scope.cancel()
    assert report.texts == ["receives at /disruptive"]


async def start(settings, context, task_status):
    await run(settings, context, task_status=task_status)

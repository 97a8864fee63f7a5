"""Every way in which Wattsense's webhook can go wrong, against the whole bridge.

A row of a table is one fault: what the cloud hears of it, what the board says, and what
is kept besides the proper values. After the fault everything is as ever: each value
that was acknowledged is stored and delivered once, and no problem is left but those
that only another setting can end. No secret is ever told.

What goes wrong with the REST API is in ``test_faults_wattsense_rest.py``.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import httpx
import orjson
import pytest
import trio
from attrs import define, evolve, field, frozen
from trio.testing import MockClock

from bridge.api import RECOVERED
from bridge.config import Kinds
from bridge_plugins.wattsense.emulator.options import FAULTS, RestOptions, WebhookOptions
from bridge_plugins.wattsense.emulator.rest import open_rest_service
from bridge_plugins.wattsense.emulator.server import WRONG_SECRET
from bridge_plugins.wattsense.emulator.signing import Message, Sign, api_key, basic, bearer, signer
from tests.end_to_end.daemon import Daemon
from tests.end_to_end.towers import HEADER, KEY_ID, PASSWORD, SECRET, calling, section
from tests.spool.vfs_shim import FileLayer, file_layer

pytestmark = pytest.mark.slow

HOUR = 3_600_000
REFUSED = "requests are refused (401): signature or credentials are missing or others"
WELL = "receives on /wattsense/values|events|alarms"


@pytest.fixture
def daemon(tmp_path: Path, mock_clock: MockClock) -> Daemon:
    """Return a bridge; only a test that asks for ``mock_clock`` itself runs by that
    clock.
    """
    return Daemon(tmp_path, mock_clock)


# ---- how the cloud calls, and what it does wrong


@frozen
class Call:
    """A row: what the cloud does, and what follows of it."""

    answers: Mapping[str, int]
    """Status that each cause of a request hears; other causes must not occur."""
    options: WebhookOptions = WebhookOptions(framing="array")
    settings: str = ""
    listener: str = ""
    preset: str = "stripe"
    others: int = 0
    """Events that are kept besides the value."""
    told: str = ""
    """A problem that the board tells, until the proper request after it is taken."""
    lasting: str = ""
    """A problem that stays."""
    dropped: str = ""
    """What is said to be kept and not forwarded, which is no problem."""
    also: str = ""

    @property
    def name(self) -> str:
        return "-".join([*changed(self.options), self.also])


USUAL = WebhookOptions(framing="array")


def changed(options: WebhookOptions) -> list[str]:
    names = (option.name for option in attrs.fields(WebhookOptions))
    return [name for name in names if getattr(options, name) != getattr(USUAL, name)]


def calling_so(**options: Any) -> WebhookOptions:
    return evolve(USUAL, **options)


GOOD = {"values": 200}
OTHER_KINDS = {"events": 200, "alarms": 200, "unknown": 200, "unknown-route": 404}
TOO_MUCH = "requests are refused because they hold too much; raise most_items, or content_limit"

CALLS = [
    Call(GOOD, also="as-ever"),
    # How it calls
    Call(GOOD, calling_so(method="PUT")),
    Call(GOOD, calling_so(framing="object"), also="object"),
    Call(GOOD, calling_so(framing="data")),
    Call(GOOD, calling_so(content_type="text/plain; charset=utf-16")),
    Call(GOOD, calling_so(gzip=True)),
    Call(GOOD, calling_so(chunked=True)),
    Call(GOOD, calling_so(chunked=True, gzip=True, framing="data")),
    Call(GOOD, calling_so(max_items=1, lanes=1)),
    Call(
        GOOD,
        calling_so(query=f"token={SECRET}"),
        preset="token",
        settings="token_parameter = token",
    ),
    Call(
        GOOD,
        calling_so(members={"key": SECRET}),
        preset="token",
        settings="token_member = key",
    ),
    Call({"values": 204}, settings="reply = 204", also="reply-204"),
    # What it does wrong, beside the proper request
    Call(GOOD | {"duplicates": 200}, calling_so(duplicates=1)),
    Call(GOOD, calling_so(reordered=1)),
    Call(
        GOOD | {"unwanted": 200},
        calling_so(unwanted=1),
        others=9,
        dropped="array 1+, deviceId 1+, future 1+, item 1+, null 1+, object 1+, "
        "out-of-service 1+, text 1+, timestamp 1+",
    ),
    Call(GOOD | {"bad_signature": 401}, calling_so(bad_signature=1), told=REFUSED),
    Call(GOOD | {"stale": 401}, calling_so(stale=1), told=REFUSED),
    Call(GOOD | {"stale": 200}, calling_so(stale=1), preset="github", also="unstamped"),
    Call(
        GOOD | {"malformed": 400},
        calling_so(malformed=1),
        told="(400): their bodies are not JSON",
    ),
    Call(
        GOOD | {"malformed": 200},
        calling_so(malformed=1),
        settings="unreadable = keep",
        others=1,
        dropped="unreadable 1+",
        also="kept",
    ),
    Call(GOOD | {"malformed": 400}, calling_so(malformed=1, gzip=True), told="(400)"),
    Call(GOOD | {"oversized": 413}, calling_so(oversized=1)),
    Call(GOOD | {"oversized": 200}, calling_so(oversized=1, oversized_bytes=1 << 20)),
    Call(GOOD | {"oversized": 413}, calling_so(oversized=1, oversized_bytes=(1 << 20) + 1)),
    Call(GOOD | {"oversized": 200}, calling_so(oversized=1, gzip=True)),
    Call(
        GOOD | {"oversized": 413},
        calling_so(oversized=1, gzip=True),
        listener="content_limit = 1MiB",
        lasting=TOO_MUCH,
        also="inflated",
    ),
    Call(GOOD | OTHER_KINDS, calling_so(other_kinds=1), others=3, dropped="deviceId 1+"),
    Call(
        GOOD | OTHER_KINDS,
        calling_so(other_kinds=1),
        others=3,
        settings="alarm_device = $[*].deviceId\n[source:towers:alarm_signals]\nstate = $[*].status",
        lasting="alarm, signal state: 'open' has no number; add it to alarm_numbers",
        also="unmapped",
    ),
    Call(
        GOOD
        | {
            "bad_signature": 401,
            "stale": 401,
            "malformed": 400,
            "oversized": 413,
            "unwanted": 200,
            "duplicates": 200,
        },
        calling_so(
            bad_signature=1,
            stale=1,
            malformed=1,
            oversized=1,
            unwanted=1,
            duplicates=1,
            reordered=1,
        ),
        others=9,
        also="all-at-once",
    ),
]


@pytest.mark.fact(
    "Whatever the cloud does wrong, each acknowledged value is stored and delivered once, "
    "and none is invented"
)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
async def test_a_call_that_goes_wrong_harms_no_value(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture, call: Call
):
    async with calling(daemon, caplog, _sender(call), options=call.options) as site:
        daemon.write(section(call.preset, call.settings), listener=call.listener)
        async with daemon.running():
            await site.publish(21.5, scaledPayload=21.5)
            assert site.cloud.answers == dict.fromkeys(call.answers.items(), 1)
            site.others = call.others
            await site.settled()
            site.check_problems(call.told, call.lasting)
            site.cloud.options = call.options.without_faults()
            await site.publish(1, 2, 3)
            await site.settled()
            assert site.cloud.given_up == set()
            await site.says(WELL)
            if call.told:
                await site.says("refused requests: 4", "refused")
            if call.dropped:
                await site.says(f"kept and not forwarded: {call.dropped}", "dropped")
            if call.lasting:
                await site.says(call.lasting, "settings", problem=True)
            await site.well(*["settings"] if call.lasting else [])
        site.proved()


def _sender(call: Call) -> str:
    """Return the convention of the cloud; one that sends its token elsewhere signs
    nothing.
    """
    return "none" if "token_" in call.settings else call.preset


# ---- who calls


ATTACKS = ("unsigned", "wrong-secret", "tampered", "stale", "future", "replayed")
PRESETS = {
    #                    unsigned wrong tampered stale future replayed
    "github":            "401 401 401 200 200 200",
    "bare-hex":          "401 401 401 200 200 200",
    "shopify":           "401 401 401 200 200 200",
    "stripe":            "401 401 401 401 401 200",
    "standard-webhooks": "401 401 401 401 401 200",
    "token":             "401 401 200 200 200 200",
    "wattsense-rest":    "401 401 401 401 401 200",
    "none":              "200 200 200 200 200 200",
}  # fmt: skip


@pytest.mark.fact(
    "Each preset refuses what is unsigned, signed with another secret, tampered, stale or from "
    "the future, as far as its convention can tell"
)
@pytest.mark.parametrize(
    ("preset", "attack", "status"),
    [
        (preset, attack, int(status))
        for preset, row in PRESETS.items()
        for attack, status in zip(ATTACKS, row.split(), strict=True)
    ],
)
async def test_who_does_not_know_the_secret_hears_401(
    daemon: Daemon,
    mock_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    preset: str,
    attack: str,
    status: int,
):
    """A request that is refused, or else is a duplicate: none of them is stored."""
    async with calling(daemon, caplog, preset) as site:
        daemon.write(section(preset))
        async with daemon.running():
            await site.says(WELL, problem=preset == "none")
            milliseconds = int(daemon.now().timestamp() * 1000)
            body = orjson.dumps(
                {
                    "deviceId": "tower-1",
                    "property": "level",
                    "timestamp": milliseconds,
                    "payload": 7,
                }
            )
            site.published["tower-1", "level", milliseconds] = 7
            right = signer(preset, SECRET, header=HEADER, key_id=KEY_ID)
            wrong = signer(preset, WRONG_SECRET, header=HEADER, key_id=KEY_ID)
            sign: Sign = {
                "unsigned": lambda _: {},
                "wrong-secret": wrong,
                "tampered": _tampering(right),
            }.get(attack, right)
            offset = {"stale": -HOUR, "future": HOUR}.get(attack, 0)

            async def strike() -> int:
                return await site.cloud.send_body(
                    "values", body, cause=attack, sign=sign, signed_at=milliseconds + offset
                )

            assert await strike() == status
            if status == 401:
                await site.says(REFUSED, "refused", problem=True)
            assert await site.cloud.send_body("values", body, cause="proper") == 200
            assert await strike() == status
            await site.settled()
            await site.well(*[""] if preset == "none" else [])
        site.proved()


def _tampering(sign: Sign) -> Sign:
    """Sign another body than the one that is sent; both say the same as JSON."""

    def tampered(message: Message) -> dict[str, str]:
        return sign(evolve(message, body=message.body + b" "))

    return tampered


@frozen
class Caller:
    """A row: credentials of the caller as configured, right ones, wrong ones."""

    name: str
    settings: str
    right: Mapping[str, str]
    wrong: Mapping[str, str]
    preset: str = "none"


BASIC = f"username = u\npassword = {PASSWORD}"
KEY = f"api_key_header = X-Api-Key\napi_key = {PASSWORD}"

CALLERS = [
    Caller("basic", BASIC, basic("u", PASSWORD), basic("u", "other")),
    Caller("basic-user", BASIC, basic("u", PASSWORD), basic("v", PASSWORD)),
    Caller(
        "basic-second",
        f"username = u\npassword = other\n[source:towers:callers]\nnew = {PASSWORD}",
        basic("new", PASSWORD),
        basic("u", PASSWORD),
    ),
    Caller("bearer", f"bearer_token = {PASSWORD}", bearer(PASSWORD), bearer("other")),
    Caller("bearer-as-basic", f"bearer_token = {PASSWORD}", bearer(PASSWORD), basic("u", PASSWORD)),
    Caller(
        "bearer-previous",
        f"bearer_token = new\nprevious_bearer_token = {PASSWORD}",
        bearer(PASSWORD),
        bearer("old"),
    ),
    Caller("api-key", KEY, api_key("x-api-key", PASSWORD), api_key("X-Api-Key", "other")),
    Caller("api-key-elsewhere", KEY, api_key("X-Api-Key", PASSWORD), api_key("X-Key", PASSWORD)),
    Caller("basic-and-signature", BASIC, basic("u", PASSWORD), {}, "github"),
]


@pytest.mark.fact(
    "Revoked credentials are shown as a problem, and are none any more when they are restored",
)
@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
async def test_revoked_credentials_are_a_problem_until_restored(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture, caller: Caller
):
    daemon.write(section(caller.preset, caller.settings))
    async with (
        calling(daemon, caplog, caller.preset, credentials=dict(caller.right)) as site,
        calling(daemon, caplog, caller.preset, credentials=dict(caller.wrong)) as stranger,
        daemon.running(),
    ):
        await site.publish(1)
        daemon.pass_time(61)
        assert await stranger.cloud.send("values", []) == 401
        assert await stranger.cloud.send("alarms", {"status": "open"}) == 401
        await site.says(REFUSED, "refused", problem=True)
        await site.publish(2)
        await site.settled()
        await site.says("refused requests: 401 1+", "refused")
        await daemon.clean()
    site.proved()


@pytest.mark.fact("Several secrets and callers are good at one time, by the running bridge")
async def test_while_the_secret_is_changed_both_are_good(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    new = "aHVudGVyMi1uZXc="
    daemon.write(section("standard-webhooks", f"previous_secret = {new}"))
    async with (
        calling(daemon, caplog, "standard-webhooks") as site,
        calling(daemon, caplog, "standard-webhooks", secret=new) as renewed,
        daemon.running(),
    ):
        await site.publish(1)
        renewed.published = site.published
        await renewed.publish(2, device="tower-2")
        await site.settled()
        assert daemon.board.problems == {}
    site.proved()


# ---- what is asked, and in what words


@frozen
class Asked:
    """A row: one request, properly signed, and what follows of it."""

    name: str
    status: int
    body: bytes = b"[]"
    path: str = "/wattsense/values"
    method: str = "POST"
    headers: Mapping[str, str] = attrs.Factory(dict)
    settings: str = ""
    others: int = 0
    told: str = ""
    lasting: str = ""


def item(**members: Any) -> bytes:
    whole = {
        "deviceId": "tower-1",
        "property": "level",
        "timestamp": 1_700_000_000_000,
        "payload": None,
    } | members
    return orjson.dumps({name: value for name, value in whole.items() if value is not ...})


ASKED = [
    Asked("empty-array", 200),
    Asked("empty-data", 200, b'{"data":[]}'),
    Asked("doubled-slashes", 200, path="//wattsense//values/"),
    Asked("another-path", 404, path="/wattsense/value"),
    Asked("another-method", 405, method="DELETE"),
    Asked("get", 405, method="GET", body=b""),
    Asked("probe", 200, method="GET", body=b"", settings="probe = yes"),
    Asked("no-body", 400, b"", told="(400)"),
    Asked("not-utf-8", 400, b'{"a":"\xff"}', told="(400)"),
    Asked("nan", 400, item(payload="x").replace(b'"x"', b"NaN"), told="(400)"),
    Asked("a-number", 400, b"7", told="(400)"),
    Asked("very-deep", 400, b"[" * 300 + b"]" * 300, told="(400)"),
    Asked(
        "another-encoding",
        415,
        headers={"Content-Encoding": "br"},
        told="(415): their Content-Encoding",
    ),
    Asked(
        "cut-gzip",
        400,
        gzip.compress(b"[]", mtime=0)[:-4],
        headers={"Content-Encoding": "gzip"},
        told="(400)",
    ),
    Asked("too-many", 413, b"[1,2,3]", settings="most_items = 2", lasting=TOO_MUCH),
    Asked("many-enough", 200, b"[1,2]", settings="most_items = 2", others=2),
    Asked("no-device", 200, item(deviceId=...), others=1),
    Asked("device-is-no-text", 200, item(deviceId=7), others=1),
    Asked("no-property", 200, item(property=None), others=1),
    Asked("propertyId-only", 200, item(property=..., propertyId="level"), others=1),
    Asked("time-is-text", 200, item(timestamp="2026-01-01T00:00:00Z"), others=1),
    Asked("time-is-true", 200, item(timestamp=True), others=1),
    Asked("time-is-zero", 200, item(timestamp=0), others=1),
    Asked("time-beyond-9999", 200, item(timestamp=10**18), others=1),
    Asked("value-is-null", 200, item(), others=1),
    Asked("value-is-schedule", 200, item(payload={"monday": []}), others=1),
    Asked("value-is-nothing-like-scaled", 200, item(payload="open", scaledPayload="NaN"), others=1),
    Asked("unknown-member", 200, item(something={"new": 1}), others=1),
    Asked("an-event-as-text", 400, b'"OFFLINE"', "/wattsense/events", told="(400)"),
    Asked("an-empty-alarm", 200, b"{}", "/wattsense/alarms", others=1),
    Asked(
        "alarm-with-another-path",
        200,
        b'{"b":1}',
        "/wattsense/alarms",
        others=1,
        settings="[source:towers:alarm_signals]\ns = $.a",
    ),
    Asked(
        "alarm-without-its-device",
        200,
        b'{"a":1}',
        "/wattsense/alarms",
        others=1,
        settings="alarm_device = $.id\n[source:towers:alarm_signals]\ns = $.a",
        lasting="there is no text at $.id (alarm_device)",
    ),
]


@pytest.mark.fact("The answer table: 200 400 404 405 413 415 for each kind of request")
@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.name)
async def test_a_request_of_a_known_sender_is_answered_by_the_table(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture, asked: Asked
):
    daemon.write(section("github", asked.settings))
    async with calling(daemon, caplog, "github") as site, daemon.running():
        url = daemon.url + asked.path
        message = Message(asked.method, asked.path, "", asked.body, 0, "msg_1")
        headers = signer("github", SECRET)(message) | dict(asked.headers)
        async with httpx.AsyncClient() as client:
            answers = [
                await client.request(asked.method, url, content=asked.body, headers=headers)
                for _again in range(2)
            ]
        assert [answer.status_code for answer in answers] == [asked.status] * 2
        assert (answers[0].headers.get("Allow") == "POST, PUT") == (asked.status == 405)
        site.check_problems(asked.told, asked.lasting)
        site.others = asked.others
        await site.publish(1)
        await site.settled()
        await site.says(WELL)
        if asked.lasting:
            await site.says(asked.lasting, "settings", problem=True)
        await site.well(*["settings"] if asked.lasting else [])
    site.proved()


# ---- what becomes of a connection


@frozen
class Piece:
    """A row: what is sent on a connection, how it is left, and the answers that it
    hears.
    """

    name: str
    share: float = 1.0
    """How much of the request is sent."""
    ending: str = "read"
    """``read`` the answer; ``half-close``, then read; ``close`` at once; ``wait`` until
    the bridge ends it.
    """
    hears: Sequence[int] = (200,)
    stored: bool = True
    times: int = 1
    head: bytes = b""
    """One more line of the head."""


PIECES = [
    Piece("whole"),
    Piece("half-closed-after-the-request", ending="half-close"),
    Piece("cut-after-the-request", ending="close", hears=()),
    Piece("cut-in-the-body", 0.95, "close", (), stored=False),
    Piece("cut-in-the-head", 0.2, "close", (), stored=False),
    Piece("half-closed-in-the-body", 0.95, "half-close", (), stored=False),
    Piece("half-open-in-the-body", 0.95, "wait", (408,), stored=False),
    Piece("half-open-in-the-head", 0.2, "wait", (408,), stored=False),
    Piece("half-open-from-the-start", 0.0, "wait", (), stored=False),
    Piece("half-open-after-the-answer", ending="wait"),
    Piece("twice-on-one-connection", times=2, ending="half-close", hears=(200, 200)),
    Piece("two-lengths", head=b"Content-Length: 1\r\n", hears=(400,), stored=False),
    Piece("length-and-chunks", head=b"Transfer-Encoding: chunked\r\n", hears=(400,), stored=False),
]


@pytest.mark.fact(
    "A connection that is cut, half-closed or half-open costs no value; too slow is 408",
)
@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
async def test_a_connection_that_ends_anyhow_costs_no_value(
    daemon: Daemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture, piece: Piece
):
    daemon.write(section("github"))
    async with calling(daemon, caplog, "github") as site, daemon.running():
        known_as = ("tower-1", "level", 1_700_000_000_000)
        body = item(payload=7)
        request = raw_request(body, piece.head) * piece.times
        stream = await trio.open_tcp_stream("127.0.0.1", daemon.port)
        async with stream:
            if piece.share:
                await stream.send_all(request[: int(len(request) * piece.share)])
            if piece.ending == "half-close":
                await stream.send_eof()
            heard = [] if piece.ending == "close" else await heard_on(stream, daemon, piece)
        assert heard == list(piece.hears)
        if piece.stored:
            site.published[known_as] = 7
            await site.settled()
        assert await site.cloud.send_body("values", body, cause="again") == 200
        site.published[known_as] = 7
        await site.publish(1)
        await site.settled()
        assert daemon.board.problems == {}
    site.proved()


def raw_request(body: bytes, head: bytes) -> bytes:
    signature = signer("github", SECRET)(Message("POST", "", "", body, 0, "msg_1"))[
        "X-Hub-Signature-256"
    ]
    return (
        b"POST /wattsense/values HTTP/1.1\r\nHost: bridge\r\n%sX-Hub-Signature-256: "
        b"%s\r\nContent-Length: %d\r\n\r\n%s"
    ) % (head, signature.encode(), len(body), body)


async def heard_on(stream: trio.SocketStream, daemon: Daemon, piece: Piece) -> list[int]:
    """Return the statuses that a connection is answered, read to its end if it is
    waited for.
    """
    heard = b""
    if piece.ending == "wait":
        while heard.count(b"HTTP/1.1 ") < (1 if piece.share == 1 else 0):
            heard += await stream.receive_some()
        await trio.testing.wait_all_tasks_blocked(0.05)
        daemon.pass_time(80)  # longer than request_timeout and idle_timeout of the listener
    while heard.count(b"HTTP/1.1 ") < piece.times or piece.ending != "read":
        received = await stream.receive_some()
        if not received:
            break
        heard += received
    return [int(answer[:3]) for answer in heard.split(b"HTTP/1.1 ")[1:]]


# ---- a spool that takes nothing


@define(eq=False)
class ShakyDaemon(Daemon):
    """A bridge above a disk that the test holds in its hand."""

    layer: FileLayer = field(kw_only=True)

    def kinds(self) -> Kinds:
        kinds = super().kinds()
        sqlite = attrs.evolve(kinds.spools["sqlite"], open=self._open_spool)
        return attrs.evolve(kinds, spools={"sqlite": sqlite})

    def _open_spool(self, settings: Any, context: Any) -> Any:
        from bridge.spool.sqlite import open_sqlite

        return open_sqlite(settings, context, vfs=self.layer.name)


@pytest.fixture
def shaky(tmp_path: Path, mock_clock: MockClock):
    with file_layer("wattsense-faults") as layer:
        yield ShakyDaemon(tmp_path, mock_clock, layer=layer)


@pytest.mark.fact(
    "With Retry-After while nothing can be stored; what nobody sends again is read back",
)
async def test_a_refused_value_that_nobody_sends_again_is_read_back(
    shaky: ShakyDaemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    options = RestOptions()
    async with (
        calling(shaky, caplog, options=WebhookOptions(retries=0)) as site,
        open_rest_service(site.cloud.store, options, now=shaky.now) as rest,
    ):
        shaky.write(
            section(
                "stripe",
                f"url = {rest.url}\nrest_key = {options.key}\nrest_secret = {options.secret}",
            )
        )
        async with shaky.running():
            await site.publish(1)
            shaky.layer.fail_sync = True
            await site.publish(2, 3)
            lost = len(site.cloud.given_up)
            assert lost == 2
            answer = await sent_again(shaky)
            assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
            await shaky.says("spool", "", problem=True)
            shaky.layer.fail_sync = False
            await shaky.says("spool", "", problem=False)
            await site.publish(4)
            shaky.pass_time(31)  # gaps are looked at every half minute
            await shaky.says("source:towers/gap", "events, 2 of them new", problem=False)
            await site.settled()
            await shaky.clean()
        site.proved()
    marked = [
        stored.event.readings[0].value for stored in shaky.kept if RECOVERED in stored.event.labels
    ]
    assert sorted(marked) == [2, 3]


async def sent_again(daemon: Daemon) -> httpx.Response:
    message = Message(
        "POST",
        "/wattsense/values",
        "",
        item(payload=9),
        int(daemon.now().timestamp() * 1000),
        "msg_1",
    )
    async with httpx.AsyncClient() as client:
        return await client.post(
            f"{daemon.url}/wattsense/values",
            content=message.body,
            headers=signer("stripe", SECRET)(message),
        )


async def test_a_cloud_that_retries_closes_the_gap_itself(
    shaky: ShakyDaemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    async with calling(
        shaky, caplog, options=WebhookOptions(pauses=(0.05, 0.2), framing="array")
    ) as site:
        shaky.write(section("stripe"))
        async with shaky.running():
            await site.publish(1)
            shaky.layer.fail_sync = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(site.publish, 2, 3)
                await shaky.says("spool", "", problem=True)
                shaky.layer.fail_sync = False
            await site.settled()
            assert site.cloud.answers["values", 503] > 0
            shaky.pass_time(31)
            await shaky.says(
                "source:towers/gap", "rest_key and rest_secret are not set", problem=False
            )
        site.proved()


async def test_a_cloud_that_did_not_wait_sends_what_is_known(
    shaky: ShakyDaemon, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    async with calling(shaky, caplog, options=WebhookOptions(timeout=0.3)) as site:
        shaky.write(section("stripe"))
        async with shaky.running():
            await site.publish(1)
            shaky.layer.hold_syncs()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(site.publish, 2)
                await trio.to_thread.run_sync(shaky.layer.waiting.wait)
                while not site.cloud.answers["values", 0]:
                    await trio.testing.wait_all_tasks_blocked(0.05)
                shaky.layer.release_syncs()
            await site.settled()
        site.proved()


def test_every_option_of_the_cloud_is_used_somewhere():
    used = {name for call in CALLS for name in changed(call.options)}
    here_and_in_the_other_module = {"retries", "pauses", "timeout", "lost"}
    assert used | here_and_in_the_other_module == {
        option.name for option in attrs.fields(WebhookOptions)
    }
    assert used > set(FAULTS) - {"lost"}

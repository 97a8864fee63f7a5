"""Every way in which a push of DT's can be wrong, against the whole bridge and each
setting of ``scheme``.

A row of the table is one fault of the emulator: what DT hears of the attempts that it
hits, and what the board says. The attempt after that is right, so that in the end
everything is stored and delivered once, and no problem is left.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from attrs import evolve, field, frozen
from trio.testing import MockClock

from bridge_plugins.disruptive.emulator.cloud import ORGANIZATION
from bridge_plugins.disruptive.emulator.push.faults import NO_FAULTS, Faults
from bridge_plugins.disruptive.emulator.server import Cloud, Connector, Delivery, open_cloud
from tests.end_to_end.daemon import Daemon

pytestmark = pytest.mark.slow

SECRET = "signature-secret-of-32-characters"
STATIC = "static-header-of-ours"
SCHEMES = ("hmac", "asymmetric", "either", "both", "none")
PROMPT = Delivery(spacing=0.05, late=0.05)
HASTY = evolve(PROMPT, answer_limit=1.0)
SENSORS = 3
QUIET = 61.0  # seconds after an authentic request in which refusals are no problem, and then some
UNVERIFIED = "signatures are not verified"


@frozen
class Push:
    """A row of the table."""

    faults: Faults
    hears: str
    """What DT hears of the attempts that are hit, for each of ``SCHEMES``; fewer words:
    those schemes alone. ``-``: not in this scheme.
    """
    problem: str = ""
    """What the board says meanwhile, where DT hears 401."""
    delivery: Delivery = PROMPT
    repeats: int = 0
    """How often each event comes once more after it was acknowledged."""
    kept_as: str = ""
    """The kind under which the events are kept, if not their own."""
    lasting: str = ""
    """What the board goes on saying, for a person must look at it."""
    also: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        changed = changed_fields(self.faults) | changed_fields(self.delivery, PROMPT)
        return "-".join(sorted(changed)) + self.also


def changed_fields(knobs: object, usual: object | None = None) -> set[str]:
    """Name the fields that are not as ever."""
    usual = type(knobs)() if usual is None else usual
    return {
        name.name
        for name in attrs.fields(type(knobs))
        if getattr(knobs, name.name) != getattr(usual, name.name)
    }


PUSHES = [
    #                                    hmac asymmetric either both none
    Push(NO_FAULTS, "200 200 200 200 200", also="none"),
    # The tokens
    Push(Faults(expired_token=1), "401 401 401 401 200", "the times of their signature are wrong"),
    Push(Faults(future_token=1), "401 401 401 401 200", "the times of their signature are wrong"),
    Push(Faults(clock_offset=60), "200 200 200 200 200"),
    Push(
        Faults(clock_offset=300),
        "401 401 401 401 200",
        "times of their signature are wrong",
        also="-fast",
    ),
    Push(
        Faults(clock_offset=-3000),
        "200 401 401 401 200",
        "times of their signature are wrong",
        also="-slow",
    ),
    Push(Faults(algorithm_none=1), "401 401 401 401 200", "their signature is not as DT makes it"),
    Push(Faults(tampered_body=1), "401 401 401 401 -", "their body is not the one that was signed"),
    # X-Dt-Signature
    Push(
        Faults(wrong_secret=1),
        "401 200 401 401 200",
        "they are signed with another secret; set secret",
    ),
    Push(Faults(no_signature=1), "401 200 200 401 200", "they carry no signature"),
    Push(
        Faults(doubled_signature=1), "401 200 401 401 200", "their signature is not as DT makes it"
    ),
    Push(Faults(sha1_only=1), "401 200 401 401 200", "their signature has no SHA-256 of the body"),
    # DT-Asymmetric-Signature
    Push(
        Faults(wrong_key=1), "200 401 401 401 200", "was not made with the key of DT that it names"
    ),
    Push(Faults(no_asymmetric=1), "200 401 200 401 200", "they carry no DT-Asymmetric-Signature"),
    Push(Faults(no_signature=1, no_asymmetric=1), "401 401 401 401 200", "they carry no"),
    Push(
        Faults(doubled_asymmetric=1), "200 401 401 401 200", "their signature is not as DT makes it"
    ),
    Push(
        Faults(wrong_sub=1),
        "200 401 401 401 200",
        "they are for another organization; set organization",
    ),
    Push(
        Faults(wrong_iss=1),
        "200 401 401 401 200",
        "they are signed by another issuer; check issuer",
    ),
    Push(
        Faults(der_signature=1),
        "200 401 401 401 200",
        "was not made with the key of DT that it names",
    ),
    Push(Faults(unknown_kid=1), "200 503 200 503 200"),
    Push(Faults(unknown_kid=1, no_signature=1), "401 503 503 401 200", "they carry no signature"),
    # The request
    Push(Faults(chunked=1), "200"),
    Push(Faults(chunked=1, pause=0.01), "200"),
    Push(Faults(stalled_body=1), "no_answer_in_time", delivery=HASTY),
    Push(Faults(half_closed=1), "half-closed,_no_answer"),
    Push(Faults(cut_before_answer=1), "connection_cut"),
    Push(Faults(cut_after_answer=1), "answer_lost"),
    Push(Faults(wrong_secret=1, attempts=5), "401", "they are signed with another secret"),
    # The event
    Push(Faults(no_metadata=1), "200 200"),
    Push(Faults(no_samples=1), "200 200"),
    Push(
        Faults(invalid_utf8=1),
        "200 200 200 200 200",
        kept_as="unreadable",
        lasting="kept as an event of kind unread",
    ),
    Push(Faults(duplicate=1), "200 200", repeats=1),
    Push(Faults(duplicate=1, late_retry=1), "200", repeats=1),
    Push(Faults(reorder=1), "200"),
    Push(Faults(late_retry=1, no_signature=1), "401", "they carry no signature"),
    # The way in which DT delivers
    Push(NO_FAULTS, "200", delivery=evolve(PROMPT, parallel=1)),
    Push(Faults(cut_after_answer=1), "answer_lost", delivery=evolve(PROMPT, one_queue=True)),
    Push(
        Faults(no_signature=1),
        "401",
        "no signature",
        delivery=evolve(PROMPT, sign_anew=False, jitter=0.0),
    ),
    Push(Faults(pause=5), "no_answer_in_time", delivery=HASTY),
    Push(NO_FAULTS, "200", delivery=evolve(PROMPT, exactly_200=False)),
]

CELLS = [
    pytest.param(push, scheme, hears.replace("_", " "), id=f"{push.name}-{scheme}")
    for push in PUSHES
    for scheme, hears in zip(SCHEMES, push.hears.split(), strict=False)
    if hears != "-"
]


@pytest.fixture(autouse=True)
def no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every state of the board is logged too."""
    caplog.set_level(logging.INFO)
    yield
    for secret in (SECRET, STATIC, "eyJ"):
        assert secret not in caplog.text


@frozen
class World:
    daemon: Daemon
    cloud: Cloud
    connector: Connector

    def publish(self, value: float) -> None:
        for sensor in range(SENSORS):
            self.connector.publish("temperature", f"sensor{sensor}", {"value": value + sensor})


@asynccontextmanager
async def open_world(
    folder: Path,
    clock: MockClock,
    scheme: str,
    delivery: Delivery,
    settings: str = "",
    *,
    listener: str = "",
) -> AsyncIterator[World]:
    daemon = Daemon(folder, clock)
    async with open_cloud(delivery=delivery, now=daemon.now) as cloud:
        connector = cloud.add_connector(
            cloud.add_project(), f"{daemon.url}/disruptive", secret=SECRET
        )
        daemon.write(
            f"[source:sensors]\nplugin = disruptive\nlistener = public\nscheme = {scheme}\n"
            + (f"secret = {SECRET}\n" if scheme in ("hmac", "either", "both") else "")
            + (
                f"organization = {ORGANIZATION}\nissuer = {cloud.issuer}\ndiscovery_url = "
                f"{cloud.discovery_url}\n"
            )
            + settings,
            listener=f"idle_timeout = 1h\n{listener}",
        )
        yield World(daemon, cloud, connector)


@pytest.mark.fact(
    "Each fault of a push is answered as the answer table says, in every scheme, and the "
    "event arrives once"
)
@pytest.mark.fact(
    "In either a scheme whose header is present and whose key is known must be right too",
)
@pytest.mark.parametrize(("push", "scheme", "hears"), CELLS)
async def test_a_faulty_push_is_answered_rightly_and_arrives_once(
    tmp_path: Path, mock_clock: MockClock, push: Push, scheme: str, hears: str
):
    async with open_world(tmp_path, mock_clock, scheme, push.delivery) as world:
        daemon, connector = world.daemon, world.connector
        async with daemon.running():
            if scheme == "either":  # so that the keys are there when the first events are
                connector.faults = Faults(no_signature=1, attempts=1000)
            world.publish(10)
            await connector.drained()
            daemon.pass_time(QUIET)
            connector.outcomes.clear()
            connector.faults = push.faults
            world.publish(20)
            await connector.drained()
            await daemon.delivered(2 * SENSORS)
            assert connector.outcomes == Counter(
                {hears: SENSORS * (push.faults.attempts if hears != "200" else 1)}
            ) + (Counter({"200": SENSORS * (push.repeats + (hears != "200"))}))
            assert_told(daemon, push.problem if hears == "401" else "", push.lasting, scheme)
        daemon.proved(2 * SENSORS)
        assert_kept(daemon, push)


def assert_told(daemon: Daemon, passing: str, lasting: str, scheme: str) -> None:
    """Assert that the board told of this problem, and shows none that is over."""
    expected = [text for text in (lasting, UNVERIFIED if scheme == "none" else "") if text]
    problems = [text for _, text, problem in daemon.board.told if problem]
    shown = [state.text for state in daemon.board.problems.values()]
    assert all(
        any(text in told for told in problems)
        for text in [*expected, *([passing] if passing else [])]
    ), problems
    assert bool(problems) == bool(expected or passing), problems
    assert bool(shown) == bool(expected), shown
    assert all(any(text in told for told in shown) for text in expected), shown


def assert_kept(daemon: Daemon, push: Push) -> None:
    """Assert that every value arrived as it was measured, and no other."""
    kept = [stored.event for stored in daemon.kept]
    values = {(event.device, reading.value) for event in kept for reading in event.readings}
    first = {(f"sensor{sensor}", 10 + sensor) for sensor in range(SENSORS)}
    second = {(f"sensor{sensor}", 20 + sensor) for sensor in range(SENSORS)}
    assert values == (first if push.kept_as else first | second)
    assert {event.kind for event in kept} == {"temperature", push.kept_as or "temperature"}


@pytest.mark.fact("Unknown path 404, other method 405 with Allow: POST, body over the cap 413")
async def test_the_front_end_answers_what_is_no_push_of_dts(tmp_path: Path, mock_clock: MockClock):
    async with open_world(tmp_path, mock_clock, "hmac", PROMPT) as world, world.daemon.running():
        daemon = world.daemon
        async with httpx.AsyncClient() as client:
            elsewhere = await client.post(f"{daemon.url}/elsewhere", content=b"{}")
            read = await client.get(f"{daemon.url}/disruptive")
            large = await client.post(f"{daemon.url}/disruptive", content=b" " * (1 << 20 | 1))
            unsigned = await client.post(f"{daemon.url}/disruptive", content=b"{}")
        assert [each.status_code for each in (elsewhere, read, large, unsigned)] == [
            404,
            405,
            413,
            401,
        ]
        assert read.headers["Allow"] == "POST"
        assert unsigned.content == b"401 Unauthorized\n"  # why is for the log alone
    world.daemon.proved(0)


@pytest.mark.fact("A body that is not complete in time hears 408")
async def test_a_body_that_never_ends_hears_408(tmp_path: Path, mock_clock: MockClock):
    listener = "request_timeout = 200ms"
    async with (
        open_world(tmp_path, mock_clock, "hmac", PROMPT, listener=listener) as world,
        world.daemon.running(),
    ):
        stream = await trio.open_tcp_stream("127.0.0.1", world.daemon.port)
        async with stream:
            await stream.send_all(
                b"POST /disruptive HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
            )
            with trio.fail_after(30):
                answer = await stream.receive_some(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
    world.daemon.proved(0)


@pytest.mark.fact("A wrong static header is 401 and a problem")
@pytest.mark.parametrize("headers", [{}, {"X-Bridge-Key": "another"}, {"X-Other": STATIC}])
async def test_a_push_without_our_custom_header_is_refused(
    tmp_path: Path, mock_clock: MockClock, headers: dict[str, str]
):
    settings = f"header_name = X-Bridge-Key\nheader_value = {STATIC}\n"
    async with (
        open_world(tmp_path, mock_clock, "hmac", PROMPT, settings) as world,
        world.daemon.running(),
    ):
        daemon, connector = world.daemon, world.connector
        right = evolve(connector.endpoint, headers={"x-bridge-key": STATIC})
        connector.endpoint = evolve(right, headers=headers)
        world.publish(10)
        told = "their custom header is missing or another"
        await daemon.says("source:sensors/rejections", told, problem=True)
        assert daemon.kept == []
        connector.endpoint = right
        await daemon.delivered(SENSORS)
        await daemon.clean()
    daemon.proved(SENSORS)


@pytest.mark.fact("Two secrets are good at once")
async def test_both_secrets_are_good_while_dt_changes_them(tmp_path: Path, mock_clock: MockClock):
    settings = "previous_secret = the-secret-before-the-last-change\n"
    async with (
        open_world(tmp_path, mock_clock, "hmac", PROMPT, settings) as world,
        world.daemon.running(),
    ):
        world.publish(10)
        world.connector.endpoint = evolve(
            world.connector.endpoint, secret="the-secret-before-the-last-change"
        )
        world.publish(20)
        await world.connector.drained()
        assert set(world.connector.outcomes) == {"200"}
        await world.daemon.delivered(2 * SENSORS)
    world.daemon.proved(2 * SENSORS)


@pytest.mark.fact("An unknown event type is 200 and kept whole")
async def test_an_event_of_a_type_that_nobody_knows_is_kept_whole(
    tmp_path: Path, mock_clock: MockClock
):
    async with open_world(tmp_path, mock_clock, "hmac", PROMPT) as world, world.daemon.running():
        world.connector.publish("ofTomorrow", "sensor0", {"novelty": [1, None]})
        [stored] = await world.daemon.delivered(1)
        await world.daemon.clean()
    assert (stored.event.kind, stored.event.readings) == ("ofTomorrow", ())
    assert stored.event.data["event"]["data"]["ofTomorrow"]["novelty"] == [1, None]
    world.daemon.proved(1)


def test_every_knob_of_the_pushes_is_turned_by_a_row():
    turned = set().union(*(changed_fields(push.faults) for push in PUSHES))
    assert turned == {knob.name for knob in attrs.fields(Faults)}

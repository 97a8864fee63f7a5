"""What the bridge asks DT for, when DT does not answer as it should: public keys, the
history, the connector.

The whole bridge runs against the whole emulator. Each row says what the board shows
while the fault lasts; afterwards everything is stored and delivered once, and no
problem is left.
"""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal

import attrs
import pytest
import trio
import trustme
from attrs import define, evolve, field, frozen
from trio.testing import MockClock

from bridge.admin.control import ask
from bridge.api import Response
from bridge.flow.recovery.recoverer import PERSISTENCE
from bridge_plugins.disruptive.emulator.cloud import ORGANIZATION
from bridge_plugins.disruptive.emulator.push.faults import NO_FAULTS, Faults
from bridge_plugins.disruptive.emulator.rest.faults import (
    Rate,
    RestFault,
    error,
    html,
    redirect,
    too_many,
)
from bridge_plugins.disruptive.emulator.server import (
    Account,
    Cloud,
    Connector,
    Delivery,
    Rules,
    open_cloud,
)
from tests.end_to_end.daemon import BEGIN, Daemon

pytestmark = pytest.mark.slow

SECRET = "signature-secret-of-32-characters"
STATIC = "static-header-of-ours"
PROMPT = Delivery(spacing=0.05)
# When time jumps, nobody is late.
LENIENT = "idle_timeout = 30d\nrequest_timeout = 30d\ncommit_timeout = 30d"
EVER = 1_000_000
SENSORS = 3
HURRY = 20.0  # seconds that pass in one; more would leave a busy machine no time to act
KEYS_INTERVAL = 60.0
TRIED_AGAIN = 300.0  # seconds after which an attempt is repeated, however often it failed
WATCH_INTERVAL = 900.0
QUIET = 61.0  # seconds after an authentic request in which refusals are no problem, and then some
INDEXED = 11.0  # seconds until the history shows everything


def changed_fields(knobs: object) -> set[str]:
    """Name the fields that are not as ever."""
    usual = type(knobs)()
    return {
        knob.name
        for knob in attrs.fields(type(knobs))
        if getattr(knobs, knob.name) != getattr(usual, knob.name)
    }


class Heard(Counter[str]):
    """What attempts ended with, for who waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = trio.Event()

    def __setitem__(self, outcome: str, count: int) -> None:
        super().__setitem__(outcome, count)
        self.changed.set()
        self.changed = trio.Event()

    async def more(self, outcome: str) -> None:
        """Wait until an attempt has ended so once more."""
        before = self[outcome]
        with trio.fail_after(30):
            while self[outcome] == before:
                await self.changed.wait()


@define(eq=False)
class World:
    daemon: Daemon
    cloud: Cloud
    connector: Connector
    heard: Heard
    measured: set[tuple[str, float]] = field(factory=set)

    def publish(self, value: float, count: int = 1) -> None:
        for sensor in range(SENSORS):
            for step in range(count):
                measured = value + sensor + step / 100
                self.measured.add((f"sensor{sensor}", measured))
                self.connector.publish("temperature", f"sensor{sensor}", {"value": measured})

    def lose(self, count: int = 1) -> None:
        """Let something happen that is never pushed: only the history has it."""
        self.connector.disable()
        self.publish(20, count)
        self.connector.enable()

    async def ask_for_all(self) -> None:
        """Ask the running bridge to read back everything, as ``bridged disruptive
        backfill`` does.
        """
        end = self.daemon.now()
        span = {
            "from": (BEGIN - timedelta(minutes=1)).isoformat(),
            "to": end.isoformat(),
            "dry_run": False,
        }
        await ask(self.daemon.folder / "state" / "control.sock", "source:sensors", "backfill", span)
        self.daemon.pass_time(INDEXED)

    def told(self, instance: str, text: str) -> int:
        """Count how often the board was told this."""
        return sum(text in told for of, told, _ in self.daemon.board.told if of == instance)

    def proved(self) -> None:
        self.daemon.proved(len(self.measured))
        kept = {
            (each.event.device, reading.value)
            for each in self.daemon.kept
            for reading in each.event.readings
        }
        assert kept == self.measured


@pytest.fixture(autouse=True)
def no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every state of the board is logged too."""
    caplog.set_level(logging.INFO)
    yield
    for secret in (SECRET, STATIC, Account().secret, "eyJ"):
        assert secret not in caplog.text


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def open_world(
    folder: Path,
    clock: MockClock,
    settings: str = "",
    *,
    secret: bool = True,
    authority: trustme.CA | None = None,
    delivery: Delivery = PROMPT,
) -> AsyncIterator[World]:
    """Open a cloud with a connector, and write the configuration of a bridge.

    :param authority: for a bridge that manages the connector, which takes HTTPS.
    """
    daemon = Daemon(folder, clock)
    account = Account()
    url, listener, trusted = f"{daemon.url}/disruptive", LENIENT, ssl.create_default_context()
    if authority is not None:
        pair = folder / "pair.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pair)
        pair.chmod(0o600)
        authority.configure_trust(trusted)
        url, listener = (
            url.replace("http:", "https:"),
            f"{listener}\ncertificate = {pair}\nkey = {pair}",
        )
        settings = f"manage = yes\npublic_url = {url}\ndisplay_name = ours\n{settings}"
    async with open_cloud(
        delivery=delivery, accounts=[account], now=daemon.now, verify=trusted
    ) as cloud:
        connector = cloud.add_connector(
            cloud.add_project(), url, secret=SECRET, display_name="ours"
        )
        connector.outcomes = heard = Heard()
        daemon.write(
            f"[source:sensors]\nplugin = disruptive\nlistener = public\n"
            f"organization = {ORGANIZATION}\nissuer = {cloud.issuer}\n"
            f"discovery_url = {cloud.discovery_url}\n"
            f"url = {cloud.rest_url}\ntoken_url = {cloud.token_url}\n"
            f"project = {connector.project.id}\n"
            f"service_account_key = {account.key}\nservice_account_secret = {account.secret}\n"
            f"service_account_email = {account.email}\npage_size = 2\n{settings}\n"
            + (f"secret = {SECRET}\n" if secret else ""),
            listener=listener,
        )
        yield World(daemon, cloud, connector, heard)


def patience(fault: RestFault) -> str:
    """Give the settings in which a late answer is too late soon, and no other is."""
    return "timeout = 300ms" if fault.delay > 1 else ""


# Public keys


def json(text: str) -> Response:
    return Response(200, text.encode(), (("Content-Type", "application/json"),))


DISCOVERY, JWKS = "/.well-known/openid-configuration", "/data-connector/keys"

KEYS = [
    (RestFault(cut=True, call=DISCOVERY), "cannot be reached"),
    (RestFault(cut=True, call=JWKS), "cannot be reached"),
    (RestFault(delay=60.0, call=DISCOVERY), "within 0.3 s (timeout)"),
    (RestFault(answer=error(404, "not found"), call=DISCOVERY), "answers 404, expected 200"),
    (RestFault(answer=too_many(30), call=DISCOVERY), "answers 429, expected 200"),
    (RestFault(answer=error(500, "trouble"), call=JWKS), "answers 500, expected 200"),
    (RestFault(answer=error(503, "trouble"), call=DISCOVERY), "answers 503, expected 200"),
    (RestFault(answer=html(), call=DISCOVERY), "is not JSON"),
    (RestFault(answer=html(), call=JWKS), "is not JSON"),
    (
        RestFault(answer=redirect("https://127.0.0.1:1/"), call=DISCOVERY),
        "answers 302, expected 200",
    ),
    (RestFault(answer=json("[]"), call=DISCOVERY), "names no jwks_uri"),
    (
        RestFault(answer=json('{"jwks_uri":"http://keys.example.org/"}'), call=DISCOVERY),
        "is not an https:// URL",
    ),
    (RestFault(answer=json('{"keys":[]}'), call=JWKS), "holds no key for ES256"),
    (
        RestFault(answer=json('{"keys":[' + " " * 262144 + "]}"), call=JWKS),
        "is larger than 262144 bytes",
    ),
]


@pytest.mark.fact(
    "Keys not obtainable and no other scheme verifies: 503, never 401, never accepted",
)
@pytest.mark.parametrize(
    ("scheme", "fault", "problem"),
    [("both", *KEYS[0]), *(("asymmetric", *unobtainable) for unobtainable in KEYS)],
)
async def test_pushes_hear_503_while_there_are_no_keys_then_arrive(
    tmp_path: Path, mock_clock: MockClock, scheme: str, fault: RestFault, problem: str
):
    async with open_world(
        tmp_path, mock_clock, f"scheme = {scheme}\n{patience(fault)}", secret=scheme == "both"
    ) as world:
        daemon = world.daemon
        world.cloud.rest_faults.append(evolve(fault, times=EVER))
        async with daemon.running():
            world.publish(10)
            await daemon.says("source:sensors/keys", problem, problem=True)
            await world.heard.more("503")
            assert daemon.kept == []
            world.cloud.rest_faults.clear()
            daemon.pass_time(TRIED_AGAIN)
            await daemon.delivered(SENSORS)
            await daemon.clean()
            assert set(world.heard) <= {"503", "200", "no answer in time"}
        world.proved()


@pytest.mark.parametrize("remembered", [False, True])
async def test_a_ca_file_that_is_gone_stops_nothing_that_can_go_on(
    tmp_path: Path, mock_clock: MockClock, authority: trustme.CA, remembered: bool
):
    ca_file = tmp_path / "ca.pem"
    async with open_world(tmp_path, mock_clock, f"scheme = both\nca_file = {ca_file}") as world:
        daemon = world.daemon
        if remembered:
            authority.cert_pem.write_to_path(ca_file)
            async with daemon.running():
                world.publish(10)
                await daemon.delivered(SENSORS)
            ca_file.unlink()
            assert world.cloud.keys is not None
            world.cloud.keys.rotate()
        async with daemon.running():
            world.publish(20)
            told = f"ca_file: {ca_file} cannot be used"
            await daemon.says("source:sensors/keys", told, problem=True)
            await world.heard.more("503")
            authority.cert_pem.write_to_path(ca_file)
            daemon.pass_time(TRIED_AGAIN)
            await daemon.delivered(len(world.measured))
            await daemon.clean()
            assert world.told("source:sensors", "") == 1  # the source was never ended
    world.proved()


@pytest.mark.fact("Keys are cached on disk: a start without DT serves")
async def test_remembered_keys_serve_a_start_without_dt(tmp_path: Path, mock_clock: MockClock):
    async with open_world(tmp_path, mock_clock, "scheme = asymmetric", secret=False) as world:
        async with world.daemon.running():
            world.publish(10)
            await world.daemon.delivered(SENSORS)
        world.cloud.rest_faults.append(RestFault(cut=True, times=EVER))
        world.heard.clear()
        async with world.daemon.running():
            world.publish(20)
            await world.daemon.delivered(2 * SENSORS)
            await world.daemon.clean()
    assert "503" not in world.heard
    world.proved()


@pytest.mark.fact("A rotated key is fetched, at most one fetch a minute")
async def test_a_new_key_of_dts_is_fetched_within_a_minute(tmp_path: Path, mock_clock: MockClock):
    async with (
        open_world(tmp_path, mock_clock, "scheme = asymmetric", secret=False) as world,
        world.daemon.running(),
    ):
        world.publish(10)
        await world.daemon.delivered(SENSORS)
        world.daemon.pass_time(KEYS_INTERVAL)
        assert world.cloud.keys is not None
        world.cloud.keys.rotate()  # a minute after the last fetch: at once
        world.publish(20)
        await world.daemon.delivered(2 * SENSORS)
        world.cloud.keys.rotate(keep_old=False)  # sooner: when the minute is over
        world.publish(30)
        await world.heard.more("503")
        world.daemon.pass_time(KEYS_INTERVAL)
        await world.daemon.delivered(3 * SENSORS)
        assert not any(problem for _, _, problem in world.daemon.board.told)
    world.proved()


@pytest.mark.fact("An unknown kid is looked for at once, and is 401 when DT publishes no such key")
async def test_a_key_never_published_is_refused_once_dt_was_asked(
    tmp_path: Path, mock_clock: MockClock
):
    async with (
        open_world(tmp_path, mock_clock, "scheme = asymmetric", secret=False) as world,
        world.daemon.running(),
    ):
        daemon = world.daemon
        world.publish(10)
        await daemon.delivered(SENSORS)
        daemon.pass_time(QUIET)
        world.connector.faults = Faults(unknown_kid=1, attempts=EVER)
        world.publish(20)
        await world.heard.more("503")
        told = "signed with a key that DT does not publish; check disc"
        await daemon.says("source:sensors/rejections", told, problem=True)
        assert len(daemon.kept) == SENSORS
        world.connector.faults = NO_FAULTS
        await daemon.delivered(2 * SENSORS)
        await daemon.clean()
    world.proved()


# History

Verdict = Literal["none", "retry", "pause", "part"]
"""What becomes of the job: nothing worth a word; tried again soon, or slowly; ended
without what could not be read.
"""

EVENTS, DEVICES, TOKEN = "/events", "/devices", "/oauth2/token"


@frozen
class Read:
    """A fault while the history is read."""

    fault: RestFault
    says: str
    verdict: Verdict
    lasts: bool = True
    """Until it is lifted; else so often as the fault says."""

    @property
    def name(self) -> str:
        return f"{self.fault.call}-{self.says or self.verdict}"


READS = [
    Read(
        RestFault(answer=too_many(7), call=EVENTS), "was answered 429: too many requests", "retry"
    ),
    Read(
        RestFault(answer=too_many(7, date_from=BEGIN), call=EVENTS),
        "answered 429: too many requests",
        "retry",
    ),
    Read(RestFault(answer=Response(429), call=DEVICES), "was answered 429", "retry"),
    Read(
        RestFault(answer=error(500, "trouble"), call=EVENTS), "was answered 500: trouble", "retry"
    ),
    Read(
        RestFault(answer=error(502, "trouble"), call=DEVICES), "was answered 502: trouble", "retry"
    ),
    Read(
        RestFault(answer=html(503), call=EVENTS), "was answered 503; it goes on by itself", "retry"
    ),
    Read(
        RestFault(answer=error(504, "trouble"), call=EVENTS), "was answered 504: trouble", "retry"
    ),
    Read(
        RestFault(answer=error(408, "too slow"), call=EVENTS), "was answered 408: too slow", "retry"
    ),
    Read(RestFault(answer=Response(204), call=EVENTS), "was answered 204, expected 200", "retry"),
    Read(RestFault(answer=html(), call=EVENTS), "something that is not JSON", "retry"),
    Read(RestFault(answer=json("[]"), call=EVENTS), "without a JSON object", "retry"),
    Read(RestFault(answer=json('{"events":{}}'), call=EVENTS), "without a list of events", "retry"),
    Read(RestFault(cut=True, call=EVENTS), "DT's REST API cannot be reached", "retry"),
    Read(
        RestFault(cut=True, takes_effect=True, call=DEVICES),
        "DT's REST API cannot be reached",
        "retry",
    ),
    Read(
        RestFault(delay=60.0, call=EVENTS),
        "no answer of DT's REST API within 0.3 s (timeout)",
        "retry",
    ),
    Read(RestFault(delay=0.1, call=EVENTS), "", "none"),
    Read(
        RestFault(answer=redirect("https://127.0.0.1:1/"), call=EVENTS),
        "a redirect, which is not followed",
        "pause",
    ),
    Read(
        RestFault(answer=error(401, "no"), call=EVENTS),
        "was answered 401: no; check service_account_key",
        "pause",
    ),
    Read(
        RestFault(answer=error(403, "no"), call=EVENTS),
        "role of the service account is too low",
        "pause",
    ),
    Read(RestFault(answer=error(400, "no"), call=DEVICES), "the devices cannot be listed", "pause"),
    Read(RestFault(answer=error(404, "no"), call=DEVICES), "check project (", "pause"),
    Read(
        RestFault(answer=error(404, "gone"), call="sensor1/events"),
        "was answered 404: gone",
        "part",
    ),
    Read(
        RestFault(answer=error(400, "bad"), call="sensor1/events"), "was answered 400: bad", "part"
    ),
    # The login
    Read(
        RestFault(answer=error(400, "no"), call=TOKEN),
        "DT refuses the login of the service account (400: no)",
        "pause",
    ),
    Read(RestFault(answer=error(404, "no"), call=TOKEN), "check token_url", "pause"),
    Read(
        RestFault(answer=redirect("https://127.0.0.1:1/"), call=TOKEN), "check token_url", "pause"
    ),
    Read(RestFault(answer=too_many(7), call=TOKEN), "login at token_url was answered 429", "retry"),
    Read(
        RestFault(answer=error(503, "trouble"), call=TOKEN),
        "login at token_url was answered 503",
        "retry",
    ),
    Read(
        RestFault(answer=html(), call=TOKEN),
        "the answer of token_url holds no access token",
        "retry",
    ),
    Read(
        RestFault(answer=json('{"access_token":"a b"}'), call=TOKEN),
        "holds no access token",
        "retry",
    ),
    Read(RestFault(cut=True, call=TOKEN), "DT's REST API cannot be reached", "retry"),
    Read(RestFault(answer=error(401, "expired"), call=EVENTS), "", "none", lasts=False),
    Read(
        RestFault(answer=error(500, "trouble"), call=EVENTS, times=4),
        "answered 500",
        "retry",
        lasts=False,
    ),
]


@pytest.mark.fact(
    "Each status of the REST API has its consequence for a backfill, which ends complete",
)
@pytest.mark.parametrize("read", READS, ids=lambda read: read.name)
async def test_whatever_dt_answers_the_history_is_read_back_in_the_end(
    tmp_path: Path, mock_clock: MockClock, read: Read
):
    async with open_world(tmp_path, mock_clock, patience(read.fault)) as world:
        daemon, cloud = world.daemon, world.cloud
        async with daemon.running():
            world.publish(10)
            await daemon.delivered(SENSORS)
            world.lose(3)  # a page holds two
            cloud.rest_faults.append(
                evolve(read.fault, times=EVER) if read.lasts else evolve(read.fault)
            )
            await world.ask_for_all()
            await suffer(world, read)
            cloud.rest_faults.clear()
            if read.verdict == "part":
                await world.ask_for_all()
            daemon.pass_time(
                {"pause": PERSISTENCE.probe, "retry": PERSISTENCE.cap}.get(read.verdict, 0.0)
            )
            await daemon.delivered(len(world.measured))
            await daemon.says(
                "source:sensors/gap",
                f"read back {SENSORS} devices, {len(world.measured)} events",
                problem=False,
            )
            await daemon.clean()
        world.proved()


async def suffer(world: World, read: Read) -> None:
    """See what the board says while the fault lasts: what passes is a problem only when
    it has not passed for long.
    """
    daemon = world.daemon
    if read.verdict in ("pause", "part"):
        await daemon.says("source:sensors/gap", read.says, problem=True)
    if read.verdict == "retry":
        for attempt in (1, 2, 3, 4):
            await daemon.until(
                lambda attempt=attempt: (
                    world.told("source:sensors/gap", "backfill is interrupted") >= attempt
                )
            )
            await daemon.says(
                "source:sensors/gap", read.says if attempt == 1 else "", problem=attempt == 4
            )
            if attempt < 4:
                daemon.pass_time(PERSISTENCE.cap)
    assert len(daemon.kept) >= SENSORS


CLOCK = "One of four things is wrong: the clock of this machine"
TROUBLES = {
    Rules(clock_offset=-7200): CLOCK,
    Rules(clock_offset=7200): CLOCK,
    Rules(clock_offset=7200, error_members=()): CLOCK,
    Rules(repeat_page_token=True): "gives the same next page a second time: its list has no end",
}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        pytest.param(*trouble, id="-".join(sorted(changed_fields(trouble[0]))))
        for trouble in TROUBLES.items()
    ],
)
async def test_after_a_person_saw_to_it_everything_is_read_back(
    tmp_path: Path, mock_clock: MockClock, rules: Rules, says: str
):
    async with open_world(tmp_path, mock_clock) as world, world.daemon.running():
        await lose_and_ask(world, rules)
        await world.daemon.says("source:sensors/gap", says, problem=True)
        world.cloud.rules = Rules()
        world.daemon.pass_time(PERSISTENCE.probe)
        await recovered(world)
    world.proved()


async def test_a_history_without_end_is_told_and_what_was_read_is_kept(
    tmp_path: Path, mock_clock: MockClock
):
    async with open_world(tmp_path, mock_clock) as world, world.daemon.running():
        project = world.connector.project.id
        names = ",".join(
            f'{{"name":"projects/{project}/devices/sensor{sensor}"}}' for sensor in range(SENSORS)
        )
        listed = RestFault(answer=json(f'{{"devices":[{names}]}}'), call=f"{project}/devices")
        world.cloud.rest_faults.append(listed)
        await lose_and_ask(world, Rules(repeat_page_token=True))
        await world.daemon.says(
            "source:sensors/gap", "sensor0: the vendor's pages go round in circles", problem=True
        )
        world.cloud.rules = Rules()
        await world.ask_for_all()
        await recovered(world)
    world.proved()


ODDITIES = [
    Rules(),
    Rules(page_size=1),
    Rules(max_page_size=1),
    Rules(order="descending"),
    Rules(order="shuffled"),
    Rules(inclusive=False),
    Rules(indexing_delay=timedelta(seconds=10)),
    Rules(history=timedelta(hours=1)),
    Rules(token_lifetime=2.0),
    Rules(token_leeway=60.0, clock_offset=-30.0),
    Rules(error_members=()),
]


@pytest.mark.fact("History order, bounds, delay and page sizes do not matter")
@pytest.mark.parametrize(
    "rules", ODDITIES, ids=lambda rules: "-".join(sorted(changed_fields(rules))) or "none"
)
async def test_however_dt_keeps_its_record_it_is_read_back(
    tmp_path: Path, mock_clock: MockClock, rules: Rules
):
    async with open_world(tmp_path, mock_clock) as world, world.daemon.running():
        await lose_and_ask(world, rules)
        await recovered(world)
        assert world.told("source:sensors/gap", "interrupted") == 0
    world.proved()


@pytest.mark.fact("With Retry-After in both forms makes reading back slow and nothing else")
@pytest.mark.parametrize("as_date", [False, True])
async def test_a_rate_makes_reading_back_slow_and_nothing_else(
    tmp_path: Path, mock_clock: MockClock, as_date: bool
):
    rate = Rate(calls=2, seconds=30.0, as_date=as_date)
    async with open_world(tmp_path, mock_clock) as world, world.daemon.running():
        await lose_and_ask(world, Rules(rate=rate))
        for wait in range(1, 1 + len(world.measured)):
            await world.daemon.until(
                lambda wait=wait: (
                    world.told("source:sensors/gap", "429") >= wait
                    or world.told("source:sensors/gap", "read back") > 0
                )
            )
            world.daemon.pass_time(rate.seconds + 1)
        await recovered(world)
        assert not any(problem for _, _, problem in world.daemon.board.told)
    world.proved()


@pytest.mark.fact("Revoked credentials are a problem until they are restored")
@pytest.mark.parametrize(
    ("revoked", "says"),
    [
        ([], "DT refuses the login of the service account (400: invalid_grant; untrusted entity"),
        (
            [Account(secret="a-secret-that-was-rotated-by-somebody")],
            "(400: invalid_grant; signature)",
        ),
        ([Account(role="none")], "was answered 403: your role does not allow this"),
    ],
    ids=["deleted", "rotated", "role"],
)
async def test_revoked_credentials_are_a_problem_until_restored(
    tmp_path: Path, mock_clock: MockClock, revoked: list[Account], says: str
):
    async with open_world(tmp_path, mock_clock) as world, world.daemon.running():
        granted, world.cloud.accounts[:] = list(world.cloud.accounts), revoked
        await lose_and_ask(world, Rules())
        await world.daemon.says("source:sensors/gap", says, problem=True)
        world.cloud.accounts[:] = granted
        world.cloud.revoke_tokens()
        world.daemon.pass_time(PERSISTENCE.probe)
        await recovered(world)
    world.proved()


async def lose_and_ask(world: World, rules: Rules) -> None:
    world.publish(10)
    await world.daemon.delivered(SENSORS)
    world.lose(3)
    world.cloud.rules = rules
    await world.ask_for_all()


async def recovered(world: World) -> None:
    await world.daemon.delivered(len(world.measured))
    await world.daemon.says("source:sensors/gap", f"read back {SENSORS} devices", problem=False)
    await world.daemon.clean()


# Connector


@pytest.mark.fact("After SYSTEM_DISABLED enable first, then read history; USER_DISABLED is left so")
@pytest.mark.parametrize(
    ("status", "reenable", "says"),
    [
        ("SYSTEM_DISABLED", "yes", ""),
        ("SYSTEM_DISABLED", "no", "is SYSTEM_DISABLED: DT gave up after 5 days of failed pushes"),
        ("USER_DISABLED", "yes", "is USER_DISABLED: somebody disabled it"),
        ("USER_DISABLED", "no", "is USER_DISABLED: somebody disabled it"),
    ],
)
async def test_what_a_disabled_connector_missed_is_read_back(
    tmp_path: Path,
    mock_clock: MockClock,
    authority: trustme.CA,
    status: Literal["SYSTEM_DISABLED", "USER_DISABLED"],
    reenable: str,
    says: str,
):
    settings = f"reenable = {reenable}"
    async with (
        open_world(tmp_path, mock_clock, settings, authority=authority) as world,
        world.daemon.running(),
    ):
        daemon, connector = world.daemon, world.connector
        world.publish(10)
        await daemon.delivered(SENSORS)
        told = f"connector {connector.id} is ACTIVE"
        await daemon.says("source:sensors/connector", told, problem=False)
        connector.disable(status)
        world.publish(20)
        daemon.pass_time(WATCH_INTERVAL)
        if says:
            await daemon.says("source:sensors/connector", says, problem=True)
            assert connector.status == status
            assert len(daemon.kept) == SENSORS
            connector.enable()
            daemon.pass_time(WATCH_INTERVAL)
        told = "is ACTIVE again; what it missed is read back"
        await daemon.says("source:sensors/connector", told, problem=False)
        assert connector.status == "ACTIVE"
        daemon.pass_time(INDEXED)
        await recovered(world)
        world.publish(30)  # is pushed again
        await daemon.delivered(3 * SENSORS)
    world.proved()


@pytest.mark.fact(
    "Days of refusals end in SYSTEM_DISABLED, and the history gives back what was lost",
)
async def test_days_of_rejections_disable_it_and_lose_nothing(
    tmp_path: Path, mock_clock: MockClock, authority: trustme.CA
):
    delivery = evolve(PROMPT, disable_after=timedelta(hours=5))
    async with (
        open_world(
            tmp_path, mock_clock, "reenable = yes", authority=authority, delivery=delivery
        ) as world,
        world.daemon.running(),
    ):
        daemon, connector = world.daemon, world.connector
        world.publish(10)
        await daemon.delivered(SENSORS)
        told = f"connector {connector.id} is ACTIVE"
        await daemon.says("source:sensors/connector", told, problem=False)
        daemon.pass_time(QUIET)
        connector.faults = Faults(wrong_secret=1, attempts=EVER)
        world.publish(20)
        told = "signed with another secret; set secret"
        await daemon.says("source:sensors/rejections", told, problem=True)
        await world.heard.more("401")
        daemon.pass_time(delivery.disable_after.total_seconds())
        with trio.fail_after(30):
            await connector.drained()
        assert connector.lost  # DT has given up
        connector.faults = NO_FAULTS
        daemon.pass_time(WATCH_INTERVAL)
        await daemon.until(
            lambda: (
                connector.status == "ACTIVE" and world.told("source:sensors/gap", "read back") > 0
            )
        )
        await daemon.delivered(2 * SENSORS)
        world.publish(30)
        await daemon.delivered(3 * SENSORS)
        daemon.pass_time(WATCH_INTERVAL)
        await daemon.clean()
    world.proved()


CONNECTOR = "/dataconnectors/"

LOOKS = [
    (
        RestFault(cut=True, call=CONNECTOR),
        "looking at the connector failed: DT's REST API cannot be reached",
    ),
    (
        RestFault(answer=error(500, "trouble"), call=CONNECTOR),
        "was answered 500: trouble; tried again until it succeeds",
    ),
    (
        RestFault(answer=too_many(90), call=CONNECTOR),
        "was answered 429: too many requests; tried again until it succeeds",
    ),
    (RestFault(answer=html(), call=CONNECTOR), "something that is not JSON"),
    (RestFault(answer=json("{}"), call=CONNECTOR), "expected a connector with a name"),
    (
        RestFault(answer=redirect("https://127.0.0.1:1/"), call=CONNECTOR),
        "a redirect, which is not followed",
    ),
    (RestFault(answer=error(401, "no"), call=CONNECTOR), "check service_account_key"),
    (
        RestFault(answer=error(403, "no"), call=CONNECTOR),
        "the role of the service account is too low",
    ),
    (RestFault(answer=error(404, "not found"), call=CONNECTOR), "is gone, so nothing is pushed"),
    (RestFault(answer=error(400, "no"), call=":metrics"), "looking at the connector failed: GET"),
]


@pytest.mark.parametrize(("fault", "says"), LOOKS)
async def test_pushes_go_on_while_the_connector_cannot_be_looked_at(
    tmp_path: Path, mock_clock: MockClock, authority: trustme.CA, fault: RestFault, says: str
):
    async with (
        open_world(tmp_path, mock_clock, "timeout = 1h", authority=authority) as world,
        world.daemon.running(),
    ):
        daemon = world.daemon
        await daemon.says("source:sensors/connector", "is ACTIVE", problem=False)
        world.cloud.rest_faults.append(evolve(fault, times=EVER))
        await look(world)
        topic = "connector" if "is gone" in says else "manage"
        await daemon.says(f"source:sensors/{topic}", says, problem=True)
        daemon.clock.rate = 1.0
        world.publish(10)
        await daemon.delivered(SENSORS)
        world.cloud.rest_faults.clear()
        daemon.pass_time(WATCH_INTERVAL)
        await daemon.says("source:sensors/connector", "is ACTIVE", problem=False)
        await daemon.clean()
    world.proved()


async def look(world: World) -> None:
    """Let the bridge look at the connector, as patiently as it is: some ten seconds,
    which pass in less.
    """
    world.daemon.pass_time(WATCH_INTERVAL)
    world.daemon.clock.rate = HURRY


MAKES = [
    RestFault(cut=True, call="POST /v2/projects"),
    RestFault(cut=True, takes_effect=True, call="POST /v2/projects"),
    RestFault(answer=error(503, "trouble"), takes_effect=True, call="POST /v2/projects"),
    RestFault(answer=error(409, "already exists"), takes_effect=True, call="POST /v2/projects"),
    RestFault(answer=html(), takes_effect=True, call="POST /v2/projects"),
    RestFault(answer=too_many(2), call="POST /v2/projects"),
    RestFault(cut=True, call="GET /v2/projects"),
]


STRICT = Rules(https_only=True, unique_urls=True, show_secrets=False)
MAKING_RULES = [Rules(), STRICT, Rules(merge_headers=True)]


@pytest.mark.fact("A create whose answer is lost makes no second connector")
@pytest.mark.parametrize(
    ("fault", "rules"),
    [*((fault, Rules()) for fault in MAKES), *((MAKES[1], rules) for rules in MAKING_RULES[1:])],
)
async def test_whatever_happens_one_connector_is_made_and_pushes(
    tmp_path: Path, mock_clock: MockClock, authority: trustme.CA, fault: RestFault, rules: Rules
):
    settings = f"timeout = 1h\nheader_name = X-Bridge-Key\nheader_value = {STATIC}"
    async with open_world(tmp_path, mock_clock, settings, authority=authority) as world:
        daemon, cloud, project = world.daemon, world.cloud, world.connector.project
        world.connector.delete()
        cloud.connectors.clear()
        cloud.rules = rules
        cloud.rest_faults.append(evolve(fault))
        daemon.clock.rate = HURRY
        async with daemon.running():
            await daemon.says("source:sensors/connector", "is ACTIVE", problem=False)
            daemon.clock.rate = 1.0
            [made] = cloud.connectors.values()
            assert isinstance(made, Connector)
            world.connector = made
            assert made.project is project
            world.publish(10)
            await daemon.delivered(SENSORS)
            await daemon.clean()
            assert not any(problem for _, _, problem in daemon.board.told)
        world.proved()


def test_every_knob_of_the_calls_is_turned_by_a_row():
    faults = [*KEYS, *LOOKS]
    turned = set().union(
        *(changed_fields(fault) for fault, _ in faults), *(changed_fields(fault) for fault in MAKES)
    )
    turned |= set().union(*(changed_fields(read.fault) for read in READS))
    assert turned == {knob.name for knob in attrs.fields(RestFault)}
    rules = [*ODDITIES, *TROUBLES, *MAKING_RULES, Rules(rate=Rate(1, 1.0))]
    assert set().union(*map(changed_fields, rules)) == {knob.name for knob in attrs.fields(Rules)}
    assert {knob.name for knob in attrs.fields(Rate)} == {
        "calls",
        "seconds",
        "as_date",
    }  # all of them, above

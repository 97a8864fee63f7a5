"""Keeping the connector: made as the settings ask, watched, enabled again; and the
history asked for afterwards.
"""

import copy
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import pytest
import trio
from attrs import define, field

from bridge.api import Duration, Secret, SettingError, SpoolUnavailable, Url
from bridge.testing.fakes import (
    START,
    FakeMount,
    FakeRecover,
    FakeReport,
    FakeState,
    FixedClock,
    fake_source_context,
)
from bridge_plugins.disruptive.connector.documents import Metrics
from bridge_plugins.disruptive.connector.manage import advice, complaint, keep_connector
from bridge_plugins.disruptive.connector.state import STATE
from bridge_plugins.disruptive.emulator.server import Account, open_cloud
from bridge_plugins.disruptive.settings import Settings
from bridge_plugins.disruptive.webhook import run

URL = "https://bridge.example.org/dt"
PATH = "/v2/projects/p1/dataconnectors"
INTERVAL = 900


def make_settings(**settings):
    return Settings(
        **{
            "secret": Secret("hook-secret"),
            "url": Url("https://api.example.org/v2"),
            "project": "p1",
            "service_account_key": "key-id",
            "service_account_secret": Secret("service-secret"),
            "manage": True,
            "public_url": Url(URL),
        }
        | settings
    )


def merged(old, new):
    return {
        **old,
        **{
            name: merged(old.get(name, {}), it) if isinstance(it, dict) else it
            for name, it in new.items()
        },
    }


@define
class FakeDT:
    """Data Connectors of the project p1, in memory."""

    connectors: dict = field(factory=dict)
    shows_secrets: bool = True
    refuses: dict = field(factory=dict)
    """What to answer to a call instead, once for each in the list."""
    deaf_to: set = field(factory=set)
    """Members that a PATCH does not change."""
    metrics: dict = field(factory=lambda: {"successCount": 5, "errorCount": 0})
    calls: list = field(factory=list)
    """Method and path below the project's connectors."""
    bodies: list = field(factory=list)
    context: object = None
    """To look at when a PATCH arrives."""
    recovered_before: list = field(factory=list)

    def add(self, connector_id="c1", **members):
        config = {
            "url": URL,
            "signatureSecret": "hook-secret",
            "headers": {},
            **members.pop("httpConfig", {}),
        }
        self.connectors[connector_id] = {
            "name": f"projects/p1/dataconnectors/{connector_id}",
            "displayName": "bridge sensors",
            "type": "HTTP_PUSH",
            "status": "ACTIVE",
            "events": [],
            "labels": [],
            "httpConfig": config,
            **members,
        }
        return self.connectors[connector_id]

    @property
    def changes(self):
        return [call for call in self.calls if not call.startswith("GET")]

    async def __call__(self, request):
        await trio.lowlevel.checkpoint()
        call = f"{request.method} {request.url.path.removeprefix(PATH)}".strip()
        self.calls.append(call)
        self.bodies.append(request.content)
        refusals = self.refuses.get(call, [])
        refusal = refusals.pop(0) if refusals else None
        if isinstance(refusal, tuple):  # carried out, but the answer is lost
            self.answer(call, request)
            [refusal] = refusal
        if isinstance(refusal, Exception):
            raise refusal
        return refusal or self.answer(call, request)

    def answer(self, call, request):
        method, _, path = call.partition(" ")
        name, _, verb = path.strip("/").partition(":")
        if call == "GET":
            return httpx.Response(
                200,
                json={"dataConnectors": [self.shown(each) for each in self.connectors.values()]},
            )
        if call == "POST":
            body = json.loads(request.content)
            made = self.add(f"new{len(self.connectors)}")
            made.update(merged({**made, "httpConfig": {}}, body))
            return httpx.Response(200, json=self.shown(made))
        if name not in self.connectors:
            return httpx.Response(404, json={"error": "not found"})
        if verb == "metrics":
            return httpx.Response(200, json={"metrics": self.metrics})
        found = self.connectors[name]
        if method == "PATCH":
            if self.context is not None:
                self.recovered_before += self.context.asked
            body = json.loads(request.content)
            body = {member: value for member, value in body.items() if member not in self.deaf_to}
            found.update(merged(found, body))
        return httpx.Response(200, json=self.shown(found))

    def shown(self, connector):
        connector = copy.deepcopy(connector)
        if not self.shows_secrets:
            connector.get("httpConfig", {}).pop("signatureSecret", None)
            connector.get("httpConfig", {}).pop("headers", None)
        return connector


@define
class Bench:
    """A kept connector and all that can be seen of it."""

    dt: FakeDT
    report: FakeReport = field(factory=FakeReport)
    recover: FakeRecover = field(factory=FakeRecover)
    state: FakeState = field(factory=FakeState)
    clock: FixedClock = field(factory=FixedClock)

    @property
    def said(self):
        """What is said of the connector, and that it cannot be looked at."""
        return self.report.topics.get("connector", ""), self.report.topics.get("manage", "")

    async def look(self, times=1):
        """Let the time until the next look pass, of both clocks."""
        for _ in range(times):
            self.clock.move(timedelta(seconds=INTERVAL))
            await trio.sleep(INTERVAL)

    @asynccontextmanager
    async def keeping(self, **settings):
        """Keep the connector while the block is entered; it was settled and looked at
        once.
        """
        context = fake_source_context(
            "sensors", report=self.report, recover=self.recover, state=self.state, clock=self.clock
        )
        self.dt.context = self.recover
        async with trio.open_nursery() as nursery:
            network = partial(httpx.MockTransport, self.dt)
            nursery.start_soon(
                partial(keep_connector, make_settings(**settings), context, network=network)
            )
            await trio.sleep(INTERVAL / 2)
            yield self
            nursery.cancel_scope.cancel()


@pytest.fixture
def bench():
    return Bench(FakeDT())


# At start


@pytest.mark.fact("A connector is created with all that is wanted")
async def test_a_project_without_our_connector_gets_one(autojump_clock, bench):
    bench.dt.add("theirs", httpConfig={"url": "https://other.example.org"})
    bench.dt.connectors["pubsub"] = {
        "name": "projects/p1/dataconnectors/pubsub",
        "type": "GOOGLE_CLOUD_PUBSUB",
    }
    settings = {
        "events": ("touch",),
        "connector_labels": ("name",),
        "header_name": "X-Key",
        "header_value": Secret("key-secret"),
        "display_name": "Attic",
    }
    async with bench.keeping(**settings):
        assert "connector new2 was created" in bench.report.texts
    made = bench.dt.connectors["new2"]
    assert (made["displayName"], made["events"], made["labels"]) == ("Attic", ["touch"], ["name"])
    assert made["httpConfig"] == {
        "url": URL,
        "signatureSecret": "hook-secret",
        "headers": {"X-Key": "key-secret"},
    }
    assert bench.dt.changes == ["POST"]


async def test_a_connector_as_wanted_is_left_alone(autojump_clock, bench):
    bench.dt.add()
    async with bench.keeping():
        await bench.look(3)
        assert bench.said == ("connector c1 is ACTIVE", "")
    assert bench.dt.changes == []
    assert bench.report.problems == []


async def test_a_connector_that_differs_is_corrected_and_that_is_told(autojump_clock, bench):
    bench.dt.add(events=["touch"], httpConfig={"signatureSecret": "other-secret"})
    async with bench.keeping():
        assert (
            "connector c1 was corrected: event types are touch, expected all; secret differs"
            in bench.report.texts
        )
    assert bench.dt.changes == ["PATCH /c1"]
    assert bench.dt.connectors["c1"]["httpConfig"]["signatureSecret"] == "hook-secret"
    assert bench.dt.connectors["c1"]["events"] == []
    assert bench.report.problems == []


@pytest.mark.fact("No secret of a connector is reported or remembered")
async def test_no_secret_is_reported_or_remembered(autojump_clock, bench):
    bench.dt.add(httpConfig={"signatureSecret": "other-secret", "headers": {"X-Key": "old-secret"}})
    refusal = httpx.Response(400, json={"error": "bad hook-secret and key-secret"})
    bench.dt.refuses = {"PATCH /c1": [refusal]}
    async with bench.keeping(header_name="X-Key", header_value=Secret("key-secret")):
        await bench.look()
    assert len(bench.report.texts) >= 2
    assert "secret " not in " ".join(bench.report.texts).replace("secret differs", "").replace(
        "bad ****", ""
    )
    assert b"-secret" not in b"".join(bench.state.values.values())


@pytest.mark.fact("Headers are read back")
async def test_headers_that_still_differ_when_read_back_are_a_problem(autojump_clock, bench):
    bench.dt.add()
    bench.dt.deaf_to = {"httpConfig"}
    async with bench.keeping(header_name="X-Key", header_value=Secret("v")):
        await bench.look()
        assert "still differs after it was set: header X-Key is missing" in bench.said[0]
        assert bench.said[0] in bench.report.problems
        assert bench.report.problem_names[-1] == "disruptive-connector-differs"


@pytest.mark.fact(
    "A secret that cannot be read back is set when it changes, known by a salted hash",
)
async def test_a_secret_that_is_not_shown_is_set_when_it_changes(autojump_clock, bench):
    bench.dt.add()
    bench.dt.shows_secrets = False
    header = {"header_name": "X-Key", "header_value": Secret("v")}
    async with bench.keeping(**header):
        assert len(bench.dt.changes) == 1
    async with bench.keeping(**header):
        assert len(bench.dt.changes) == 1
    async with bench.keeping(**header, secret=Secret("new-secret")):
        assert len(bench.dt.changes) == 2
        assert bench.dt.connectors["c1"]["httpConfig"]["signatureSecret"] == "new-secret"
    async with bench.keeping(
        header_name="X-Key", header_value=Secret("w"), secret=Secret("new-secret")
    ):
        assert len(bench.dt.changes) == 3
    assert bench.dt.connectors["c1"]["httpConfig"]["headers"] == {"X-Key": "w"}


async def test_what_was_set_at_one_connector_is_not_known_of_another(autojump_clock, bench):
    bench.dt.add("c1")
    bench.dt.shows_secrets = False
    async with bench.keeping():
        pass
    bench.dt.connectors.clear()
    bench.dt.add("c2", httpConfig={"signatureSecret": "other-secret"})
    async with bench.keeping(reenable=True):
        assert bench.dt.connectors["c2"]["httpConfig"]["signatureSecret"] == "hook-secret"


async def test_of_two_connectors_the_one_that_was_ours_stays_ours(autojump_clock, bench):
    bench.dt.add("c2")
    async with bench.keeping():
        pass
    bench.dt.connectors = {}
    bench.dt.add("c1")
    bench.dt.add("c2")
    async with bench.keeping():
        assert "connectors c1 push to the same URL too" in bench.report.problems[-1]


async def test_another_connector_begins_without_a_past(autojump_clock, bench):
    bench.dt.add("c1")
    async with bench.keeping():
        pass
    bench.dt.connectors.clear()
    bench.dt.add("c2", status="SYSTEM_DISABLED")
    async with bench.keeping(reenable=True):
        assert bench.recover.asked == [("the connector was SYSTEM_DISABLED", None)]


async def test_our_connector_gets_the_new_url_when_the_url_changes(autojump_clock, bench):
    bench.dt.add()
    async with bench.keeping():
        pass
    async with bench.keeping(public_url=Url("https://new.example.org/dt")):
        pass
    assert list(bench.dt.connectors) == ["c1"]
    assert bench.dt.connectors["c1"]["httpConfig"]["url"] == "https://new.example.org/dt"


async def test_what_was_remembered_of_another_project_does_not_count(autojump_clock, bench):
    bench.state.values[STATE] = json.dumps(
        {"project": "p0", "connector": "c1", "disabled": "SYSTEM_DISABLED"}
    )
    bench.dt.add(httpConfig={"url": "https://old.example.org"})
    async with bench.keeping():
        assert "connector new1 was created" in bench.report.texts
    assert bench.recover.asked == []


async def test_a_state_that_cannot_be_read_counts_for_nothing(autojump_clock, bench):
    bench.state.values[STATE] = json.dumps(
        {"project": "p1", "connector": "c1", "worked": "yesterday"}
    )
    bench.dt.add(httpConfig={"url": "https://old.example.org"})
    async with bench.keeping():
        assert "connector new1 was created" in bench.report.texts


async def test_a_connector_named_in_the_settings_is_the_one(autojump_clock, bench):
    bench.dt.add("c1")
    bench.dt.add("c2", httpConfig={"url": "https://old.example.org"})
    async with bench.keeping(connector="c2"):
        pass
    assert bench.dt.changes == ["PATCH /c2"]


async def test_a_named_connector_that_is_not_there_is_not_created(autojump_clock, bench):
    async with bench.keeping(connector="c9"):
        assert "the project has no connector c9" in bench.report.problems[-1]
    assert bench.dt.changes == []


@pytest.mark.fact("Two active connectors for one URL are a problem: every event arrives twice")
async def test_two_connectors_for_our_url_are_a_problem(autojump_clock, bench):
    bench.dt.add("c1")
    bench.dt.add("c2")
    async with bench.keeping():
        await bench.look()
        assert "connectors c2 push to the same URL too" in bench.report.problems[-1]
        assert bench.report.problem_names[-1] == "disruptive-connector-doubled"
    assert bench.dt.changes == []


# The rule of creating


@pytest.mark.fact("Create rule: after a time-out list first, never two connectors")
@pytest.mark.parametrize(
    "lost", [httpx.ReadTimeout("slow"), httpx.Response(502), httpx.Response(200, text="<html>")]
)
async def test_a_create_whose_answer_is_lost_makes_no_second_one(autojump_clock, bench, lost):
    bench.dt.refuses = {"POST": [(lost,)]}
    async with bench.keeping():
        await bench.look()
    assert list(bench.dt.connectors) == ["new0"]
    assert bench.dt.changes == ["POST"]


@pytest.mark.fact("Create rule: tried again only after a list that lacks ours")
async def test_a_create_that_failed_is_tried_again_after_a_list(autojump_clock, bench):
    bench.dt.refuses = {"POST": [httpx.ConnectError("no route"), httpx.Response(503)]}
    async with bench.keeping():
        pass
    assert list(bench.dt.connectors) == ["new0"]
    first, second, third = (place for place, call in enumerate(bench.dt.calls) if call == "POST")
    assert "GET" in bench.dt.calls[first:second]
    assert "GET" in bench.dt.calls[second:third]


async def test_a_create_that_fails_for_long_begins_again_with_a_list(autojump_clock, bench):
    bench.dt.refuses = {"POST": [httpx.Response(503)] * 7}
    async with bench.keeping():
        await bench.look()
    assert list(bench.dt.connectors) == ["new0"]


@pytest.mark.fact("The existing object is read")
async def test_a_connector_that_exists_already_is_read_instead(autojump_clock, bench):
    bench.dt.refuses = {"POST": [(httpx.Response(409, json={"error": "already exists"}),)]}
    async with bench.keeping():
        pass
    assert list(bench.dt.connectors) == ["new0"]
    assert bench.dt.changes == ["POST"]


async def test_a_conflict_with_something_else_is_a_problem(autojump_clock, bench):
    bench.dt.refuses = {"POST": [httpx.Response(409, json={"error": "already exists"})]}
    async with bench.keeping():
        assert "409: already exists" in bench.report.problems[0]


async def test_a_connector_that_may_not_be_created_is_a_problem(autojump_clock, bench):
    bench.dt.refuses = {"POST": [httpx.Response(400, json={"error": "bad url"})]}
    async with bench.keeping():
        assert "400: bad url" in bench.report.problems[0]


# Disabled


@pytest.mark.fact("After SYSTEM_DISABLED: enabled first, then the history, so that no hole opens")
async def test_after_dt_disabled_it_it_is_enabled_then_read_back(autojump_clock, bench):
    bench.dt.add()
    async with bench.keeping(reenable=True):
        bench.dt.connectors["c1"]["status"] = "SYSTEM_DISABLED"
        await bench.look()
        assert bench.dt.connectors["c1"]["status"] == "ACTIVE"
        assert bench.dt.recovered_before == []
        assert bench.recover.asked == [
            ("the connector was SYSTEM_DISABLED", START - timedelta(hours=3))
        ]
        told = "connector c1 was SYSTEM_DISABLED and is ACTIVE again; what it missed is read back"
        assert bench.said == (told, "")
        await bench.look(2)
        assert len(bench.recover.asked) == 1
    assert json.loads(bench.dt.bodies[bench.dt.calls.index("PATCH /c1")]) == {"status": "ACTIVE"}


async def test_one_never_seen_to_work_is_read_back_from_the_last_event(autojump_clock, bench):
    bench.dt.add(status="SYSTEM_DISABLED")
    async with bench.keeping(reenable=True):
        assert bench.recover.asked == [("the connector was SYSTEM_DISABLED", None)]


@pytest.mark.fact("What an operator disabled is never enabled by itself")
@pytest.mark.parametrize(
    ("status", "settings"),
    [("SYSTEM_DISABLED", {}), ("USER_DISABLED", {"reenable": True}), ("USER_DISABLED", {})],
)
async def test_a_disabled_connector_is_a_problem_and_left_so(
    autojump_clock, bench, status, settings
):
    bench.dt.add()
    async with bench.keeping(**settings):
        bench.dt.connectors["c1"]["status"] = status
        await bench.look(2)
        assert f"connector c1 is {status}" in bench.report.problems[-1]
        assert "connectors enable c1 --name sensors" in bench.report.problems[-1]
    assert bench.dt.changes == []
    assert bench.recover.asked == []


@pytest.mark.fact("A status that was not ACTIVE is read back when it is again")
@pytest.mark.parametrize("status", ["SYSTEM_DISABLED", "USER_DISABLED"])
async def test_when_a_person_has_enabled_it_it_is_read_back(autojump_clock, bench, status):
    bench.dt.add()
    async with bench.keeping():
        bench.dt.connectors["c1"]["status"] = status
        await bench.look()
        bench.dt.connectors["c1"]["status"] = "ACTIVE"
        await bench.look()
        assert bench.recover.asked == [(f"the connector was {status}", START - timedelta(hours=3))]


async def test_a_disabled_connector_is_remembered_over_a_restart(autojump_clock, bench):
    bench.dt.add(status="SYSTEM_DISABLED")
    async with bench.keeping():
        pass
    bench.dt.connectors["c1"]["status"] = "ACTIVE"
    async with bench.keeping():
        assert bench.recover.asked == [("the connector was SYSTEM_DISABLED", None)]


async def test_a_crash_after_enabling_does_not_lose_the_reading_back(autojump_clock, bench):
    bench.dt.add(status="SYSTEM_DISABLED")
    bench.dt.refuses = {"PATCH /c1": [(httpx.Response(400),)]}  # enabled, and we never hear of it
    async with bench.keeping(reenable=True):
        await bench.look()
        assert [why for why, _ in bench.recover.asked] == ["the connector was SYSTEM_DISABLED"]


@pytest.mark.fact("An unknown status is a problem and changes nothing")
async def test_a_connector_in_a_state_that_nobody_knows_is_a_problem(autojump_clock, bench):
    bench.dt.add(status="MELTED")
    async with bench.keeping(reenable=True):
        assert "has the status 'MELTED'" in bench.report.problems[-1]
        assert bench.report.problem_names[-1] == "disruptive-connector-disabled"
    assert bench.dt.changes == []


async def test_a_connector_that_is_gone_is_a_problem_and_not_made_anew(autojump_clock, bench):
    bench.dt.add()
    async with bench.keeping():
        bench.dt.connectors.clear()
        await bench.look(2)
        assert "connector c1 is gone, so nothing is pushed" in bench.report.problems[-1]
        assert bench.report.problem_names[-1] == "disruptive-connector-gone"
        assert bench.dt.connectors == {}


async def test_a_connector_gone_at_start_is_created_and_read_back(autojump_clock, bench):
    bench.dt.add()
    async with bench.keeping():
        pass
    bench.dt.connectors.clear()
    async with bench.keeping():
        assert bench.recover.asked == [("the connector was gone", START - timedelta(hours=3))]
    assert list(bench.dt.connectors) == ["new0"]


# Metrics


@pytest.mark.fact("A growing errorCount is a problem with what to do")
async def test_growing_numbers_of_failed_pushes_are_a_problem(autojump_clock, bench):
    bench.dt.add()
    bench.dt.metrics = {"successCount": 5, "errorCount": 2}
    async with bench.keeping():
        assert bench.report.problems == []
        bench.dt.metrics["errorCount"] = 3
        await bench.look()
        assert (
            "DT counts 3 failed pushes of connector c1 in 3 hours, 2 at the look before"
            in bench.report.problems[-1]
        )
        assert bench.report.problem_names[-1] == "disruptive-pushes-fail"
        await bench.look()
        assert bench.said == ("connector c1 is ACTIVE", "")


async def test_what_is_wrong_now_names_what_is_wrong_for_long_too(autojump_clock, bench):
    bench.dt.add("c1")
    bench.dt.add("c2")
    async with bench.keeping():
        bench.dt.connectors["c1"]["status"] = "USER_DISABLED"
        await bench.look()
        assert "somebody disabled it" in bench.said[0]
        assert "connectors c2 push to the same URL too" in bench.said[0]
        assert bench.report.problem_names[-1] == "disruptive-connector-disabled"


@pytest.mark.parametrize(
    ("before", "now", "problem"),
    [(0, 0, False), (0, 1, True), (3, 2, False), (None, 9, False), (0, None, False)],
)
def test_only_a_number_of_failures_that_grows_is_a_complaint(before, now, problem):
    text = complaint("c1", Metrics(5, now), Metrics(5, before), make_settings())
    assert bool(text) == problem
    assert not text or URL in text


def test_the_advice_after_dt_disabled_it_names_the_setting():
    assert "reenable = yes" in advice("c1", "SYSTEM_DISABLED", "sensors")
    assert "reenable" not in advice("c1", "USER_DISABLED", "sensors")


async def test_a_connector_that_pushes_nothing_was_not_seen_to_work(autojump_clock, bench):
    bench.dt.add()
    bench.dt.metrics = {"successCount": 0, "errorCount": 0}
    async with bench.keeping(reenable=True):
        bench.dt.connectors["c1"]["status"] = "SYSTEM_DISABLED"
        await bench.look()
        assert bench.recover.asked == [("the connector was SYSTEM_DISABLED", None)]


# Trouble


async def test_trouble_at_dt_is_told_and_passes(autojump_clock, bench):
    bench.dt.add()
    bench.dt.refuses = {"GET": [httpx.Response(503)] * 6}
    async with bench.keeping():
        assert "looking at the connector failed: GET" in bench.report.problems[0]
        assert bench.said == ("connector c1 is ACTIVE", "")


async def test_a_login_that_is_refused_is_told_and_tried_again(autojump_clock, bench):
    bench.dt.add()
    bench.dt.refuses = {"GET": [httpx.Response(401)]}
    async with bench.keeping():
        assert "DT refuses the service account" in bench.report.problems[0]
        await bench.look()
        assert bench.said == ("connector c1 is ACTIVE", "")


async def test_a_project_that_dt_does_not_know_is_told(autojump_clock, bench):
    bench.dt.refuses = {"GET": [httpx.Response(404, json={"error": "not found"})]}
    async with bench.keeping():
        assert "check project (p1)" in bench.report.problems[0]
        assert bench.report.problem_names[0] == "disruptive-connector-unseen"


async def test_an_answer_that_makes_no_sense_is_trouble_at_dt(autojump_clock, bench):
    bench.dt.connectors["odd"] = {"type": "HTTP_PUSH"}
    async with bench.keeping():
        assert "cannot be read: expected a connector with a name" in bench.said[1]


async def test_a_full_spool_is_told_and_passes(autojump_clock, bench):
    class FullState(FakeState):
        full = True

        async def put(self, key, value):
            if self.full:
                raise SpoolUnavailable("no room", retry_after=10.0)
            await super().put(key, value)

    bench.dt.add()
    bench.state = FullState()
    async with bench.keeping():
        assert "no room" in bench.said[1]
        FullState.full = False
        await bench.look()
        assert bench.said == ("connector c1 is ACTIVE", "")


async def test_a_mistake_in_the_plugin_ends_nothing_and_is_logged(autojump_clock, bench, caplog):
    bench.dt.add()
    bench.dt.refuses = {"GET": [RuntimeError("hook-secret")]}
    async with bench.keeping():
        [problem] = bench.report.problems
        assert "failed: RuntimeError, a mistake in the plugin; see the log" in problem
        await bench.look()
        assert bench.said == ("connector c1 is ACTIVE", "")
    assert "Traceback" in caplog.text


async def test_a_ca_file_that_is_gone_is_told(autojump_clock, bench, tmp_path):
    report = FakeReport()
    settings = make_settings(ca_file=tmp_path / "gone.pem")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_connector, settings, fake_source_context(report=report))
        await report.wait_for("ca_file")
        nursery.cancel_scope.cancel()
    assert report.problems == report.texts


# The source


async def test_the_source_receives_while_dt_cannot_be_reached(autojump_clock):
    report, mount = FakeReport(), FakeMount()
    context = fake_source_context("sensors", report=report, mount=mount)
    settings = make_settings(url=Url("http://127.0.0.1:1/v2"), scheme="none", secret=None)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: run(settings, context, task_status=task_status))
        await report.wait_for("looking at the connector failed")
        assert list(mount.routes) == ["/disruptive"]
        nursery.cancel_scope.cancel()


async def test_the_source_makes_its_connector_at_the_emulator_of_dt():
    account = Account()
    report, recover = FakeReport(), FakeRecover()
    with trio.fail_after(20):
        async with (
            open_cloud(accounts=[account], now=lambda: datetime.now(UTC)) as dt,
            trio.open_nursery() as nursery,
        ):
            project = dt.add_project("p1")
            settings = make_settings(
                url=Url(dt.rest_url),
                token_url=Url(dt.token_url),
                service_account_key=account.key,
                service_account_secret=Secret(account.secret),
                service_account_email=account.email,
                connector_labels=("name",),
            )
            context = fake_source_context(
                "sensors", report=report, recover=recover, clock=FixedClock(datetime.now(UTC))
            )
            await nursery.start(lambda task_status: run(settings, context, task_status=task_status))
            await report.wait_for("is ACTIVE")
            nursery.cancel_scope.cancel()
        [connector] = dt.connectors.values()
    assert connector.project is project
    assert (str(connector.endpoint.url), connector.endpoint.secret) == (URL, "hook-secret")
    assert (connector.display_name, connector.labels) == ("bridge sensors", ("name",))
    assert "created" in " ".join(report.texts)


@pytest.mark.fact("Outbound traffic is opt-in")
async def test_without_manage_nothing_goes_out(autojump_clock):
    report = FakeReport()
    settings = make_settings(manage=False, url=Url("http://127.0.0.1:1/v2"))
    context = fake_source_context("sensors", report=report)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: run(settings, context, task_status=task_status))
        await trio.sleep(7200)
        nursery.cancel_scope.cancel()
    assert report.problems == []


@pytest.mark.fact("DT pushes over HTTPS only: public_url must be https")
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"public_url": None}, "public_url"),
        ({"public_url": Url("http://bridge.example.org/dt")}, "public_url"),
        ({"project": None, "service_account_key": None, "service_account_secret": None}, "project"),
        ({"service_account_key": None, "service_account_secret": None}, "service_account_key"),
        ({"manage": False, "reenable": True}, "reenable"),
    ],
)
def test_management_that_cannot_work_is_refused_at_start(settings, name):
    with pytest.raises(SettingError) as caught:
        make_settings(**settings)
    assert caught.value.setting == name


def test_nothing_is_managed_unless_told_so():
    settings = Settings(secret=Secret("s"))
    assert (settings.manage, settings.reenable, settings.watch_interval) == (
        False,
        False,
        Duration(900),
    )

"""``bridged disruptive connectors``, at the emulator of DT: what is printed, what is
changed, what is refused.
"""

import json
from argparse import ArgumentParser
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from random import Random

import httpx
import pytest
import trio
from attrs import define

import bridge_plugins.disruptive
from bridge.api import CommandContext, CommandError, Pause, Response, Secret, Url
from bridge_plugins.disruptive.commands import run_connectors
from bridge_plugins.disruptive.emulator.rest.faults import RestFault
from bridge_plugins.disruptive.emulator.server import Account, Rules, open_cloud
from bridge_plugins.disruptive.settings import Settings

NOW = datetime(2024, 5, 29, 12, 0, 0, tzinfo=UTC)
URL = "https://bridge.example.org/dt"
ACCOUNT = Account(basic=True)
SECRETS = ("hook-secret", "other-secret", "key-secret", ACCOUNT.secret)


@define
class Terminal:
    """Runs the command at an emulator."""

    cloud: object
    project: object
    settings: dict
    capsys: object

    def add(self, url=URL, secret="hook-secret", **members):
        """Add a connector that is as wanted unless told otherwise."""
        return self.cloud.add_connector(
            self.project, url, secret, **{"display_name": "bridge sensors"} | members
        )

    async def __call__(self, *words, **settings):
        """Run it, and give what it printed."""
        [command] = bridge_plugins.disruptive.bridge_commands()
        parser = ArgumentParser()
        command.arguments(parser)
        context = CommandContext("sensors", Settings(**self.settings | settings), None, lambda: NOW)
        self.capsys.readouterr()
        with trio.fail_after(20):
            # No TLS here: nobody waits for the system's certificates to be read.
            network = partial(httpx.AsyncHTTPTransport, verify=False)
            assert await run_connectors(context, parser.parse_args(words), network=network) == 0
        out = self.capsys.readouterr().out
        for secret in SECRETS:
            assert secret not in out
        return out

    async def refused(self, *words, error=CommandError, **settings):
        """Run it, and give why it could not be done."""
        with pytest.raises(error) as caught:
            await self(*words, **settings)
        for secret in SECRETS:
            assert secret not in str(caught.value)
        return str(caught.value)


@asynccontextmanager
async def opened(capsys, **rules):
    account = ACCOUNT
    async with open_cloud(
        accounts=[account],
        rules=Rules(**rules),
        asymmetric=False,
        now=lambda: NOW,
        random=Random(1),
        transport=httpx.MockTransport(lambda _request: httpx.Response(200)),
    ) as cloud:
        settings = {
            "secret": Secret("hook-secret"),
            "url": Url(cloud.rest_url),
            "project": "p1",
            "service_account_key": account.key,
            "service_account_secret": Secret(account.secret),
            "public_url": Url(URL),
        }
        yield Terminal(cloud, cloud.add_project("p1"), settings, capsys)


@pytest.fixture
async def terminal(capsys):
    async with opened(capsys) as terminal:
        yield terminal


def test_the_plugin_offers_the_command():
    [command] = bridge_plugins.disruptive.bridge_commands()
    assert (command.kind, command.name, command.asks) == ("disruptive", "connectors", False)


# Looking


async def test_list_names_every_connector_in_a_line(terminal):
    ours = terminal.add()
    theirs = terminal.add(
        "https://other.example.org/x?token=other-secret", display_name="theirs\x1b[2J"
    )
    pubsub = terminal.cloud.add_other_connector(terminal.project, "GOOGLE_CLOUD_PUBSUB")
    assert (await terminal("list")).splitlines() == [
        f"{ours.id}  ACTIVE  {URL}  bridge sensors",
        f"{theirs.id}  ACTIVE  https://other.example.org/x?...  theirs [2J",
        f"{pubsub.id}  ACTIVE  GOOGLE_CLOUD_PUBSUB",
    ]


@pytest.mark.fact("Connectors are listed page by page")
async def test_list_reads_all_pages(capsys):
    async with opened(capsys, page_size=2) as terminal:
        for number in range(5):
            terminal.add(f"https://other.example.org/{number}")
        assert len((await terminal("list")).splitlines()) == 5


async def test_list_says_so_when_there_is_none(terminal):
    assert await terminal("list") == "project p1 has no Data Connector\n"
    assert json.loads(await terminal("list", "--json")) == []


@pytest.mark.fact("Answers may contain signatureSecret in clear: connectors are shown redacted")
async def test_show_tells_everything_but_the_secrets(terminal):
    ours = terminal.add(headers={"X-Key": "key-secret"}, events=["touch", "co2"])
    assert (await terminal("show")).splitlines() == [
        f"id: {ours.id}",
        "displayName: bridge sensors",
        "type: HTTP_PUSH",
        "status: ACTIVE",
        "events: touch, co2",
        "labels: -",
        "httpConfig:",
        f"  url: {URL}",
        "  signatureSecret: ********",
        "  headers:",
        "    X-Key: ********",
    ]


async def test_a_connector_with_all_event_types_is_shown_whole(terminal):
    types = [f"someQuiteLongEventType{number}" for number in range(20)]
    terminal.add(events=types)
    assert ", ".join(types) in await terminal("show")


@pytest.mark.fact("JSON output is redacted too")
async def test_json_is_one_document_without_secrets(terminal):
    ours = terminal.add(headers={"X-Key": "key-secret"})
    document = json.loads(await terminal("show", ours.id, "--json"))
    assert document["id"] == ours.id
    assert document["httpConfig"]["signatureSecret"] == "********"
    assert document["httpConfig"]["headers"] == {"X-Key": "********"}
    assert json.loads(await terminal("list", "--json")) == [document]


@pytest.mark.fact(":metrics counts successes and errors of the last 3 hours")
async def test_metrics_are_told_for_the_last_three_hours(terminal):
    ours = terminal.add()
    terminal.project.publish("touch", "d1")
    await terminal.cloud.drained()
    out = await terminal("metrics")
    assert out.splitlines()[:3] == [
        f"connector {ours.id}, ACTIVE, in the last 3 hours:",
        "  pushes that succeeded  1",
        "  pushes that failed     0",
    ]
    document = json.loads(await terminal("metrics", "--json"))
    assert (document["id"], document["successCount"], document["errorCount"]) == (ours.id, 1, 0)


# Which one


async def test_the_connector_is_the_one_that_pushes_to_public_url(terminal):
    terminal.add("https://other.example.org")
    ours = terminal.add()
    assert f"id: {ours.id}" in await terminal("show")


async def test_an_id_given_or_set_goes_before_the_url(terminal):
    terminal.add()
    other = terminal.add("https://other.example.org")
    assert f"id: {other.id}" in await terminal("show", other.id)
    assert f"id: {other.id}" in await terminal("show", connector=other.id)


async def test_it_is_asked_which_one_when_that_is_not_clear(terminal):
    assert "no connector pushes to" in await terminal.refused("show")
    assert "which connector?" in await terminal.refused("show", public_url=None)
    one, two = terminal.add(), terminal.add()
    text = await terminal.refused("show")
    assert one.id in text
    assert two.id in text


async def test_an_id_that_is_not_there_is_told(terminal):
    assert "404" in await terminal.refused("show", "nothere")


# Creating and correcting


async def test_create_makes_the_connector_of_the_settings(terminal):
    out = await terminal(
        "create", events=("touch",), header_name="X-Key", header_value=Secret("key-secret")
    )
    [made] = terminal.cloud.connectors.values()
    assert f"connector {made.id} is created" in out
    assert (str(made.endpoint.url), made.endpoint.secret, made.events) == (
        URL,
        "hook-secret",
        ("touch",),
    )
    assert made.endpoint.headers == {"X-Key": "key-secret"}


async def test_create_makes_no_second_connector(terminal):
    ours = terminal.add()
    text = await terminal.refused("create")
    assert f"connector {ours.id} pushes to {URL} already" in text
    assert len(terminal.cloud.connectors) == 1


async def test_apply_creates_what_is_not_there(terminal):
    out = await terminal("apply")
    assert out.startswith("there is no connector for public_url: one is to be created\n")
    assert len(terminal.cloud.connectors) == 1


async def test_apply_shows_the_differences_first_and_makes_it_so(terminal):
    ours = terminal.add(secret="other-secret", events=["touch"])
    lines = (await terminal("apply")).splitlines()
    assert lines[:4] == [
        f"connector {ours.id}, ACTIVE",
        "  event types are touch, expected all",
        "  secret differs",
        f"connector {ours.id} is corrected",
    ]
    assert (ours.endpoint.secret, ours.events) == ("hook-secret", ())


@pytest.mark.fact("Provisioning is idempotent")
async def test_a_second_apply_changes_nothing(terminal):
    await terminal("apply")
    terminal.cloud.calls.clear()
    assert ", is as wanted" in await terminal("apply")
    assert {call.partition(" ")[0] for call in terminal.cloud.calls} == {"GET"}


@pytest.mark.parametrize("there", [True, False])
async def test_a_dry_run_changes_nothing(terminal, there):
    if there:
        terminal.add(secret="other-secret")
    out = await terminal("apply", "--dry-run", "--enable")
    assert ("secret differs" in out) == there
    document = json.loads(await terminal("apply", "--dry-run", "--json"))
    assert document == {
        "create": not there,
        "differences": ["secret differs"] if there else [],
        "enable": False,
    }
    assert {call.partition(" ")[0] for call in terminal.cloud.calls} == {"GET"}


@pytest.mark.fact("Mistake: waiting for missed events after enabling")
async def test_apply_enables_only_when_told_to(terminal):
    ours = terminal.add()
    ours.disable("SYSTEM_DISABLED")
    assert "--enable enables it" in await terminal("apply")
    assert ours.status == "SYSTEM_DISABLED"
    assert "read it back: bridged disruptive backfill" in await terminal("apply", "--enable")
    assert ours.status == "ACTIVE"


async def test_apply_warns_of_a_second_connector_for_the_same_url(terminal):
    terminal.add()
    other = terminal.add()
    assert f"warning: connector {other.id} pushes to the same URL" in await terminal("apply")


async def test_what_dt_does_not_take_is_told(terminal):
    ours = terminal.add(events=["touch"])
    stale = Response(
        200,
        json.dumps({"name": f"projects/p1/dataconnectors/{ours.id}", "events": ["touch"]}).encode(),
    )
    terminal.cloud.rest_faults.append(
        RestFault(stale, call=f"GET /v2/projects/p1/dataconnectors/{ours.id}")
    )
    out = await terminal("apply")
    assert "warning: set, but DT still shows: event types are touch, expected all" in out


@pytest.mark.fact("Headers are right whether DT merges or replaces")
@pytest.mark.parametrize("merges", [True, False])
async def test_our_header_is_set_and_others_stay_merged_or_replaced(capsys, merges):
    async with opened(capsys, merge_headers=merges) as terminal:
        ours = terminal.add(headers={"X-Proxy": "theirs", "X-Key": "old"})
        await terminal("apply", header_name="X-Key", header_value=Secret("key-secret"))
        assert ours.endpoint.headers == {"X-Proxy": "theirs", "X-Key": "key-secret"}


async def test_a_secret_that_is_not_shown_is_set_by_apply(capsys):
    async with opened(capsys, show_secrets=False) as terminal:
        ours = terminal.add(secret="other-secret")
        assert "secret is not shown" in await terminal("apply")
        assert ours.endpoint.secret == "hook-secret"


async def test_update_corrects_and_never_creates(terminal):
    await terminal.refused("update")
    assert terminal.cloud.connectors == {}
    ours = terminal.add("https://old.example.org")
    out = await terminal("update", ours.id)
    assert "URL is https://old.example.org, expected" in out
    assert str(ours.endpoint.url) == URL


@pytest.mark.parametrize("action", ["create", "update", "apply"])
async def test_what_needs_public_url_says_so(terminal, action):
    assert "[source:sensors] lacks public_url" in await terminal.refused(action, public_url=None)


async def test_apply_creates_no_named_connector_that_is_not_there(terminal):
    assert "no connector nothere" in await terminal.refused("apply", "nothere", error=Pause)
    assert terminal.cloud.connectors == {}


# Enabling, disabling, deleting


@pytest.mark.fact("Mistake: disabling a connector for maintenance")
async def test_disable_says_what_is_lost_and_needs_yes(terminal):
    ours = terminal.add()
    text = await terminal.refused("disable")
    assert "throws away its queue and everything that happens" in text
    assert "--yes" in text
    assert ours.status == "ACTIVE"
    assert "warning: while a connector is disabled" in await terminal("disable", "--yes")
    assert ours.status == "USER_DISABLED"


@pytest.mark.fact(
    "Status is ACTIVE, USER_DISABLED or SYSTEM_DISABLED; PATCH ACTIVE enables, also after "
    "SYSTEM_DISABLED"
)
@pytest.mark.parametrize("status", ["USER_DISABLED", "SYSTEM_DISABLED"])
async def test_enable_says_how_to_read_back_what_was_missed(terminal, status):
    ours = terminal.add()
    ours.disable(status)
    out = await terminal("enable")
    assert ours.status == "ACTIVE"
    assert f"was {status} and is ACTIVE" in out
    assert "bridged disruptive backfill" in out


@pytest.mark.fact("Answers of DELETE are not relied on")
async def test_delete_needs_yes(terminal):
    ours = terminal.add()
    assert "--yes" in await terminal.refused("delete")
    assert ours.id in terminal.cloud.connectors
    assert await terminal("delete", "--yes") == f"connector {ours.id} is deleted\n"
    assert terminal.cloud.connectors == {}


@pytest.mark.fact(":sync pushes the latest event of each type of each device")
async def test_sync_has_the_latest_events_pushed_once_more(terminal):
    ours = terminal.add()
    terminal.project.publish("touch", "d1")
    await terminal.cloud.drained()
    assert json.loads(await terminal("sync", "--json")) == {"id": ours.id}
    await terminal.cloud.drained()
    assert json.loads(await terminal("metrics", "--json"))["successCount"] == 2


# What cannot be done


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("list", "c1"), "list takes no ID"),
        (("create", "c1"), "create takes no ID"),
        (("create", "--dry-run"), "create knows no --dry-run; it is for apply"),
        (("update", "--enable"), "update knows no --enable; it is for apply"),
        (("sync", "--yes"), "sync knows no --yes; it is for disable and delete"),
    ],
)
async def test_an_option_that_would_not_be_heeded_is_refused(terminal, words, text):
    assert text in await terminal.refused(*words)
    assert terminal.cloud.calls == []


async def test_without_credentials_the_missing_settings_are_named(terminal):
    nothing = {"project": None, "service_account_key": None, "service_account_secret": None}
    text = await terminal.refused("list", **nothing)
    assert "[source:sensors] lacks project, service_account_key, service_account_secret" in text
    assert terminal.cloud.calls == []


@pytest.mark.fact(
    "Project User may read, Project Developer change connectors; a role too low is told",
)
async def test_a_role_that_may_only_read_is_told(terminal):
    terminal.cloud.accounts[:] = [Account(basic=True, role="user")]
    terminal.add(secret="other-secret")
    assert "Project Developer" in await terminal.refused("apply", error=Pause)


async def test_the_command_itself_runs_without_a_network_of_the_tests(terminal):
    [command] = bridge_plugins.disruptive.bridge_commands()
    parser = ArgumentParser()
    command.arguments(parser)
    context = CommandContext("sensors", Settings(**terminal.settings), None, lambda: NOW)
    assert await command.run(context, parser.parse_args(["list"])) == 0
    assert terminal.capsys.readouterr().out == "project p1 has no Data Connector\n"


@pytest.mark.fact("OAuth2 at an implementation of its own")
async def test_oauth_works_at_the_emulator_as_well(terminal):
    terminal.cloud.accounts[:] = [Account()]
    terminal.add()
    oauth = {"service_account_email": ACCOUNT.email, "token_url": Url(terminal.cloud.token_url)}
    assert "status: ACTIVE" in await terminal("show", **oauth)
    assert len(terminal.cloud.tokens) == 1

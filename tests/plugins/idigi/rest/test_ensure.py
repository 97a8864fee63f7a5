"""Which monitor is used, created, replaced, changed and deleted."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Duration, Pause, Retry, Secret, SpoolUnavailable
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator
from bridge_plugins.idigi.rest.ensure import delete_own, ensure_monitor, known_monitor
from bridge_plugins.idigi.rest.monitor_api import open_api
from bridge_plugins.idigi.rest.wanted import differences, wanted_monitor
from bridge_plugins.idigi.settings import Settings


async def ensure(core: Any, settings: Settings) -> int:
    async with open_api(settings, core.context.now) as api:
        return (await ensure_monitor(api, settings, core.context)).id


@pytest.mark.fact("A monitor is created with explicit acks and replay")
@pytest.mark.fact("Explicit and replay by default")
@pytest.mark.fact("Every setting reaches the XML, escaped")
async def test_a_new_monitor_asks_for_explicit_acks_and_replay(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(
        emulator,
        topics=("[group=a,b]DataPoint", "DeviceCore"),
        batch_size=7,
        description="<ours> & 'theirs'",
    )
    assert await ensure(core, settings) == 178008
    (body,) = emulator.recorder.bodies
    assert {element.tag: element.text for element in ElementTree.fromstring(body)} == {
        "monTopic": "[group=a,b]DataPoint,DeviceCore",
        "monTransportType": "tcp",
        "monFormatType": "json",
        "monCompression": "zlib",
        "monBatchSize": "7",
        "monBatchDuration": "0",
        "monAckOption": "explicit",
        "monAutoReplayOnConnect": "true",
        "monDescription": "<ours> & 'theirs'",
    }


@pytest.mark.fact("Tagged")
async def test_the_tag_of_a_monitor_is_the_name_of_the_source(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    await ensure(core, settings_for(emulator, replay=False))
    elements = emulator.account.monitors[178008].elements
    assert elements["monDescription"] == "bridge/gateways"
    assert elements["monAutoReplayOnConnect"] == "false"


@pytest.mark.fact("The id is remembered and read by id at start")
async def test_the_monitor_is_remembered_and_reused(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator)
    assert await ensure(core, settings) == await ensure(core, settings) == 178008
    assert emulator.recorder.calls == [
        "GET /ws/Monitor",
        "POST /ws/Monitor",
        "GET /ws/Monitor/178008",
    ]


@pytest.mark.fact("A forgotten monitor is found by our tag and its set of topics")
async def test_a_forgotten_monitor_is_found_by_its_tag_and_topics(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator)
    emulator.account.create(wanted_monitor(settings, "another"))
    ours = emulator.account.create(
        wanted_monitor(settings, "gateways") | {"monTopic": "DeviceCore,DataPoint"}
    )
    assert await ensure(core, settings) == ours.id
    assert core.state.values["monitor"]["id"] == ours.id


async def test_monitors_of_others_are_left_alone(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator)
    theirs = emulator.account.create(wanted_monitor(settings, "another"))
    assert await ensure(core, settings) != theirs.id


async def test_an_id_remembered_for_another_account_is_not_used(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    core.state.values["monitor"] = {"url": "https://elsewhere.example", "username": "user", "id": 5}
    await ensure(core, settings_for(emulator))
    assert "GET /ws/Monitor/5" not in emulator.recorder.calls


@pytest.mark.parametrize("status", [200, 400, 404])
async def test_a_remembered_monitor_that_is_gone_is_created_anew(
    status: int, core: Any, emulator: Emulator, settings_for: Any
) -> None:
    settings = settings_for(emulator)
    emulator.faults.unknown_monitor_status = status
    first = await ensure(core, settings)
    del emulator.account.monitors[first]
    assert await ensure(core, settings) == first + 1


@pytest.mark.fact("A different one: stop with every difference by default")
async def test_a_monitor_that_differs_stops_with_every_difference(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    await ensure(core, settings_for(emulator))
    del emulator.account.monitors[178008].elements["monAckOption"]
    with pytest.raises(Pause) as caught:
        await ensure(core, settings_for(emulator, batch_size=9, topics=("DataPoint",)))
    assert "monitor 178008 exists, but is not as configured" in caught.value.why
    assert "monTopic is 'DataPoint,DeviceCore', expected 'DataPoint'" in caught.value.why
    assert "monBatchSize is '100', expected '9'" in caught.value.why
    assert "monAckOption is 'off', expected 'explicit'" in caught.value.why
    assert not any(call.startswith(("PUT", "DELETE")) for call in emulator.recorder.calls)
    assert len(emulator.account.monitors) == 1


async def test_a_named_monitor_is_used_whatever_its_tag(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    theirs = emulator.account.create(wanted_monitor(settings_for(emulator), "another"))
    assert await ensure(core, settings_for(emulator, monitor_id=theirs.id)) == theirs.id
    assert [call for call in emulator.recorder.calls if call.startswith("POST")] == []


@pytest.mark.fact("monitor_id uses a monitor and never creates one")
async def test_a_monitor_named_in_the_settings_is_never_created(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    with pytest.raises(Pause, match="has no monitor 5; correct or remove monitor_id"):
        await ensure(core, settings_for(emulator, monitor_id=5))
    assert emulator.account.monitors == {}


@pytest.mark.fact("Gzip reads back as zlib; absent elements have the server's defaults")
def test_gzip_is_zlib_and_absent_elements_are_defaults() -> None:
    settings = Settings(username="user", password=Secret("pass"))
    wanted = wanted_monitor(settings, "gateways")
    assert (
        differences(
            wanted, wanted | {"monCompression": "gzip", "monTopic": "DeviceCore, DataPoint"}
        )
        == []
    )
    assert differences(wanted, wanted | {"monSchemaType": "handlebars"}) == [
        "monSchemaType is 'handlebars', expected 'none'"
    ]
    bare = {"monTopic": "DataPoint,DeviceCore"}
    assert [said.partition(" ")[0] for said in differences(wanted, bare)] == [
        "monFormatType",
        "monCompression",
        "monBatchDuration",
        "monAckOption",
        "monAutoReplayOnConnect",
    ]


@pytest.mark.fact("Pages are read while remainingSize is above 0, from start on")
async def test_all_pages_of_a_long_list_are_read(
    core: Any, emulator: Emulator, settings_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge_plugins.idigi.rest.monitor_api.PAGE", 2)
    settings = settings_for(emulator)
    for number in range(4):
        emulator.account.create(wanted_monitor(settings, f"another-{number}"))
    ours = emulator.account.create(wanted_monitor(settings, "gateways"))
    assert await ensure(core, settings) == ours.id
    assert len(emulator.recorder.calls) == 3


@pytest.mark.fact("401 is reported as wrong credentials")
async def test_wrong_credentials_are_told_apart(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    with pytest.raises(Pause, match=r"refuses the login \(401\); correct username and password"):
        await ensure(core, settings_for(emulator, password=Secret("wrong")))


@pytest.mark.fact("HTTP Basic on every call, with colons and letters that are not ASCII")
@pytest.mark.fact("A password may hold colons")
async def test_a_password_may_have_colons_and_letters_beyond_ascii(
    core: Any, settings_for: Any
) -> None:
    async with open_emulator(username="jürgen", password="a:b:ß") as emulator:
        assert await ensure(core, settings_for(emulator)) == 178008


async def test_refused_topics_are_told_apart(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    with pytest.raises(
        Pause, match=r"refuses the topics .*Invalid monTopic specified.*; correct topics"
    ):
        await ensure(core, settings_for(emulator, topics=("Nonsense",)))


async def test_the_limit_of_monitors_is_told_apart(
    core: Any, emulator: Emulator, settings_for: Any
) -> None:
    emulator.faults.monitor_limit = 0
    with pytest.raises(Pause, match="no room for another monitor"):
        await ensure(core, settings_for(emulator))


async def test_a_listed_monitor_whose_id_is_no_number_is_not_used(core: Any, service: Any) -> None:
    service.answers = [httpx.Response(200, json={"items": [{"monId": True}, 5]})]
    with pytest.raises(Pause, match="the id 'true', expected a number"):
        await ensure_monitor(service.api, made(monitor_id=5), core.context)


def made(**changes: Any) -> Settings:
    return Settings(**({"username": "user", "password": Secret("pass")} | changes))


def remember(core: Any, settings: Settings, **more: Any) -> None:
    core.state.values["monitor"] = {
        "url": str(settings.url),
        "username": settings.username,
        **more,
    }


@pytest.mark.fact("Every setting reaches the monitor, escaped")
async def test_every_setting_reaches_the_monitor(core: Any, service: Any) -> None:
    settings = made(
        topics=("[group=a,b]devices", "DeviceCore[U]", "FileData/*.*"),
        format="xml",
        compression="gzip",
        batch_size=7,
        batch_duration=Duration(3),
        template="{{#each events}}<{{id}}>{{/each}}",
        ack_mode="off",
        replay=False,
        description="ours & only ours",
    )
    assert service.monitors[(await ensure_monitor(service.api, settings, core.context)).id] == {
        "monId": "1",
        "monStatus": "INACTIVE",
        "monTopic": "[group=a,b]devices,DeviceCore[U],FileData/*.*",
        "monTransportType": "tcp",
        "monFormatType": "xml",
        "monCompression": "zlib",
        "monBatchSize": "7",
        "monBatchDuration": "3",
        "monAckOption": "off",
        "monAutoReplayOnConnect": "false",
        "monDescription": "ours & only ours",
        "monSchemaType": "handlebars",
        "monSchemaData": "{{#each events}}<{{id}}>{{/each}}",
    }
    assert (await ensure_monitor(service.api, settings, core.context)).id == 1


@pytest.mark.fact("Templates are compared")
def test_templates_are_compared_whatever_their_line_ends() -> None:
    wanted = wanted_monitor(made(template="{{a}}\r\n{{b}}"), "gateways")
    assert differences(wanted, wanted | {"monSchemaData": "{{a}}\n{{b}}\n"}) == []
    assert differences(wanted, wanted | {"monSchemaData": "{{A}}\n{{b}}"}) == [
        "monSchemaData is another template"
    ]


@pytest.mark.fact("Recreate: the new one first, then the old one deleted, and the loss is said")
async def test_a_differing_monitor_is_replaced_first_then_deleted(core: Any, service: Any) -> None:
    settings = made(on_difference="recreate")
    remember(core, settings, id=service.add(wanted_monitor(made(batch_size=9), "gateways")))
    assert (await ensure_monitor(service.api, settings, core.context)).id == 2
    assert service.changes == ["POST Monitor", "DELETE Monitor/1"]
    assert list(service.monitors) == [2]
    assert core.state.values["monitor"]["id"] == 2
    assert "replaces" not in core.state.values["monitor"]
    (said,) = core.report.said
    assert said == (
        "monitor 1 was replaced by 2, and what it had recorded is gone; "
        "what happened since the last event may be lost for good",
        "idigi-record-lost",
    )


@pytest.mark.fact("Update: PUT of the full set, and the loss is said")
async def test_a_monitor_that_differs_is_updated_with_every_element(
    core: Any, service: Any
) -> None:
    settings = made(on_difference="update")
    number = service.add(wanted_monitor(made(batch_size=9), "gateways"))
    assert (await ensure_monitor(service.api, settings, core.context)).id == number
    assert service.changes == ["PUT Monitor/1"]
    assert wanted_monitor(settings, "gateways").items() <= service.monitors[1].items()
    assert (
        "monitor 1 was changed as configured, and what it had recorded is gone"
        in core.report.said[0][0]
    )


@pytest.mark.fact("Never PUT or delete a live monitor")
@pytest.mark.parametrize("choice", ["recreate", "update"])
@pytest.mark.parametrize("status", ["ACTIVE", "active", None])
async def test_a_live_monitor_is_never_changed_replaced_or_deleted(
    choice: Any, status: str | None, core: Any, service: Any
) -> None:
    service.add(wanted_monitor(made(batch_size=9), "gateways"), status or "")
    if status is None:
        del service.monitors[1]["monStatus"]
    with pytest.raises(Retry, match="left alone while somebody is attached"):
        await ensure_monitor(service.api, made(on_difference=choice), core.context)
    assert service.changes == []


@pytest.mark.fact("An equal monitor is used without any PUT")
async def test_a_monitor_that_fits_is_used_without_a_change(core: Any, service: Any) -> None:
    service.add(wanted_monitor(made(), "gateways"))
    for choice in ("stop", "recreate", "update"):
        assert (await ensure_monitor(service.api, made(on_difference=choice), core.context)).id == 1
    assert service.changes == []


async def test_a_named_monitor_that_differs_may_be_updated(core: Any, service: Any) -> None:
    number = service.add(wanted_monitor(made(batch_size=9), "another"))
    settings = made(on_difference="update", monitor_id=number)
    assert (await ensure_monitor(service.api, settings, core.context)).id == number
    assert service.changes == ["PUT Monitor/1"]


@pytest.mark.fact("Recreate that is interrupted neither creates twice nor leaves the old one")
async def test_a_replacement_that_was_not_remembered_is_made_once(core: Any, service: Any) -> None:
    settings = made(on_difference="recreate")
    remember(core, settings, id=service.add(wanted_monitor(made(batch_size=9), "gateways")))
    core.state.failures = [SpoolUnavailable("the disk is full")]
    with pytest.raises(SpoolUnavailable):
        await ensure_monitor(service.api, settings, core.context)
    assert (await ensure_monitor(service.api, settings, core.context)).id == 2
    assert list(service.monitors) == [2]


async def test_a_replaced_monitor_is_deleted_later_unless_it_is_live(
    core: Any, service: Any
) -> None:
    settings = made(on_difference="recreate")
    remember(core, settings, id=service.add(wanted_monitor(made(batch_size=9), "gateways")))
    core.state.values["monitor"]["replaces"] = service.add(
        wanted_monitor(made(batch_size=8), "gateways"), "ACTIVE"
    )
    core.state.values["monitor"]["id"] = service.add(wanted_monitor(settings, "gateways"))
    assert (await ensure_monitor(service.api, settings, core.context)).id == 3
    assert service.changes == []
    service.monitors[2]["monStatus"] = "SUSPENDED"
    assert (await ensure_monitor(service.api, settings, core.context)).id == 3
    assert service.changes == ["DELETE Monitor/2"]
    assert core.state.values["monitor"] == {"url": str(settings.url), "username": "user", "id": 3}


async def test_a_replaced_monitor_that_somebody_deleted_is_forgotten(
    core: Any, service: Any
) -> None:
    settings = made()
    remember(core, settings, id=service.add(wanted_monitor(settings, "gateways")), replaces=77)
    assert (await ensure_monitor(service.api, settings, core.context)).id == 1
    assert "replaces" not in core.state.values["monitor"]


@pytest.mark.fact("A monitor that was lost is said to be so")
async def test_a_lost_monitor_is_said_with_what_it_means(core: Any, service: Any) -> None:
    settings = made()
    remember(core, settings, id=77)
    assert (await ensure_monitor(service.api, settings, core.context)).id == 1
    assert core.report.said == [
        (
            "monitor 77 was gone, and with it what it had recorded; "
            "what happened since the last event may be lost for good",
            "idigi-record-lost",
        )
    ]
    assert core.recover.asked == []


async def test_a_lost_monitor_has_the_streams_read_back(core: Any, service: Any) -> None:
    settings = made(streams=("a/b", "c"), stream_history_path="/streams/{stream}")
    remember(core, settings, id=77)
    await ensure_monitor(service.api, settings, core.context)
    assert core.recover.asked == [("monitor 77 was gone, and with it what it had recorded", None)]
    assert "the data points of 2 streams can be read back" in core.report.said[0][0]


async def test_a_first_monitor_is_no_loss(core: Any, service: Any) -> None:
    await ensure_monitor(service.api, made(), core.context)
    assert core.report.said == core.recover.asked == []


@pytest.mark.fact("The limit is reported, and nothing deleted by default")
async def test_the_limit_of_monitors_deletes_nothing_by_default(core: Any, service: Any) -> None:
    service.add(wanted_monitor(made(topics=("DataPoint",)), "gateways"))
    service.room = 1
    with pytest.raises(Pause, match=r"no room for another monitor .*; delete one that is unused"):
        await ensure_monitor(service.api, made(topics=("DeviceCore",)), core.context)
    assert service.changes == ["POST Monitor"]


@pytest.mark.fact("With delete_idle only idle monitors with our own tag are deleted")
async def test_at_the_limit_only_idle_monitors_of_ours_may_go(core: Any, service: Any) -> None:
    settings = made(topics=("DeviceCore",), delete_idle=True)
    other_topics = made(topics=("DataPoint",))
    idle = service.add(wanted_monitor(other_topics, "gateways"), "INACTIVE")
    live = service.add(wanted_monitor(other_topics, "gateways"), "ACTIVE")
    theirs = service.add(wanted_monitor(other_topics, "another"), "INACTIVE")
    service.room = 3
    created = (await ensure_monitor(service.api, settings, core.context)).id
    assert set(service.monitors) == {live, theirs, created}
    assert idle not in service.monitors


async def test_the_limit_is_reported_if_none_of_ours_is_idle(core: Any, service: Any) -> None:
    service.add(wanted_monitor(made(topics=("DataPoint",)), "gateways"), "ACTIVE")
    service.add(wanted_monitor(made(), "another"))
    service.room = 2
    with pytest.raises(Pause, match="none that is idle has our description"):
        await ensure_monitor(
            service.api, made(topics=("DeviceCore",), delete_idle=True), core.context
        )
    assert service.changes == ["POST Monitor"]


async def test_our_monitor_is_deleted_once_its_session_is_over(
    core: Any, service: Any, autojump_clock: Any, nursery: trio.Nursery
) -> None:
    settings = made()
    remember(core, settings, id=service.add(wanted_monitor(settings, "gateways"), "ACTIVE"))

    async def notice() -> None:
        await trio.sleep(1.2)
        service.monitors[1]["monStatus"] = "SUSPENDED"

    nursery.start_soon(notice)
    await delete_own(service.api, settings, core.context, 1)
    assert service.monitors == {}
    assert "monitor" not in core.state.values


@pytest.mark.fact("delete_on_exit deletes tagged monitors only")
async def test_a_monitor_with_another_description_is_not_deleted(core: Any, service: Any) -> None:
    service.add(wanted_monitor(made(), "another"))
    await delete_own(service.api, made(monitor_id=1), core.context, 1)
    assert service.changes == []


async def test_a_monitor_that_is_gone_already_is_forgotten(core: Any, service: Any) -> None:
    remember(core, made(), id=5)
    await delete_own(service.api, made(), core.context, 5)
    assert "monitor" not in core.state.values


ANYTHING = st.none() | st.booleans() | st.integers() | st.text()
STATES = st.dictionaries(st.sampled_from(["url", "username", "id", "replaces"]), ANYTHING)


@given(st.recursive(ANYTHING, st.lists) | STATES)
def test_whatever_was_remembered_gives_a_number_or_nothing(remembered: Any) -> None:
    assert isinstance(known_monitor(made(), remembered), int | None)


def test_a_named_monitor_is_known_without_being_remembered() -> None:
    assert known_monitor(made(monitor_id=5), None) == 5
    assert known_monitor(made(), None) is None

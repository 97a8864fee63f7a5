"""``bridged sink``: purge, rename and rewind, with a bridge that runs and without."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from bridge.api.spool import Account, Spool
from tests.cli.spool.office import Office


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bridge_of(office: Office, either: bool) -> AbstractContextManager[Any]:
    return office.running() if either else nullcontext()


def accounts(office: Office) -> dict[str, Account]:
    found: dict[str, Account] = {}

    async def look(spool: Spool) -> None:
        found.update({account.sink: account for account in await spool.accounts(())})

    office.in_spool(look)
    return found


def test_a_purge_is_planned_first(office: Office, either: bool):
    office.begin("former", stored=3)
    with bridge_of(office, either):
        assert office("sink", "purge", "former") == 0
    assert office.out == (
        "former: would be forgotten, with 3 pending events; its dead letters stay; --apply does "
        "it\n"
    )
    assert accounts(office)["former"].pending == 3


def test_a_purged_sink_is_forgotten(office: Office, either: bool):
    office.begin("former", stored=3)
    with bridge_of(office, either):
        assert office("sink", "purge", "former", "--apply") == 0
    assert office.out == "former: forgotten, with 3 pending events\n"
    assert "former" not in accounts(office)


def test_the_former_name_of_purge_does_it_at_once(office: Office):
    office.begin("former", stored=3)
    assert office("purge-sink", "former") == 0
    assert office.out == "former: forgotten, with 3 pending events\n"
    assert "former" not in accounts(office)


@pytest.mark.parametrize("arguments", [("purge", "shelf"), ("rename", "shelf", "other")])
def test_a_sink_of_the_configuration_keeps_its_own(office: Office, either: bool, arguments: Any):
    office.begin("shelf", stored=1)
    with bridge_of(office, either):
        assert office("sink", *arguments, "--apply") == 1
    assert office.err.startswith("shelf is in the configuration; remove its section first")
    assert "shelf" in accounts(office)


@pytest.mark.parametrize(
    "arguments", [("purge", "frmer"), ("rename", "frmer", "other"), ("rewind", "frmer", "1h")]
)
def test_a_misspelt_sink_is_told_which_one_was_meant(office: Office, either: bool, arguments: Any):
    office.begin("former")
    with bridge_of(office, either):
        assert office("sink", *arguments) == 1
    assert (office.out, office.err) == (
        "",
        "the spool knows no sink 'frmer', did you mean 'former'?\n",
    )


def test_a_rename_is_planned_first(office: Office, either: bool):
    office.begin("former", stored=3)
    with bridge_of(office, either):
        assert office("sink", "rename", "former", "nicer") == 0
    assert office.out == (
        "former: its 3 pending events would belong to nicer\n"
        "no section names nicer: they wait until there is [sink:nicer]\n"
        "--apply does it\n"
    )
    assert set(accounts(office)) >= {"former"}


def test_a_renamed_sink_owes_what_it_owed(office: Office, either: bool):
    office.begin("former", stored=3)
    with bridge_of(office, either):
        assert office("sink", "rename", "former", "nicer", "--apply") == 0
    assert office.out.startswith("former: its 3 pending events belong to nicer\n")
    found = accounts(office)
    assert found["nicer"].pending == 3
    assert "former" not in found


def test_a_rename_onto_one_that_has_begun_says_what_comes_again(office: Office):
    office.begin("former", stored=3)
    office.begin("shelf", delivered=True)
    assert office("sink", "rename", "former", "shelf") == 0
    assert office.out == (
        "former: its 3 pending events would belong to shelf\n"
        "shelf has begun already: it goes on where the one that is further behind was, so events "
        "may come again\n"
        "--apply does it\n"
    )


def test_a_sink_is_not_renamed_to_its_own_name(office: Office):
    office.begin("former")
    assert office("sink", "rename", "former", "former", "--apply") == 1
    assert office.err == "expected another name for 'former', got 'former'\n"


def test_a_rewind_is_planned_first_and_says_how_far_back(office: Office, either: bool):
    office.begin("former", stored=3, delivered=True)
    with bridge_of(office, either):
        assert office("sink", "rewind", "former", "2026-05-03") == 0
    assert office.out == (
        "former: 3 events would be sent again\n"
        "the oldest of them was received 2026-05-04 10:01:00 UTC; what was received between "
        "2026-05-03 00:00:00 and then, if anything, is not kept any more\n"
        "--apply does it\n"
    )
    assert accounts(office)["former"].pending == 0


def test_a_rewound_sink_gets_what_was_received_since(office: Office, either: bool):
    office.begin("former", stored=3, delivered=True)
    with bridge_of(office, either):
        assert office("sink", "rewind", "former", "2026-05-04T10:02", "--apply") == 0
    assert office.out == (
        "former: 2 events are sent again\nthe oldest of them was received 2026-05-04 10:02:00 UTC\n"
    )
    account = accounts(office)["former"]
    assert (account.pending, account.again, account.balanced) == (2, 2, True)


def test_a_rewind_that_finds_nothing_says_so(office: Office):
    office.begin("former", stored=3, delivered=True)
    assert office("sink", "rewind", "former", "1m", "--apply") == 0
    assert office.out.startswith("former: nothing to send again: of what was received since ")


def test_programs_get_the_same_as_json(office: Office):
    office.begin("former", stored=3, delivered=True)
    assert office.json("sink", "rewind", "former", "2026-05-04T10:03") == {
        "again": 1,
        "reaches": "2026-05-04T10:03:00+00:00",
        "applied": False,
    }
    assert office.json("sink", "rename", "former", "nicer") == {
        "pending": 0,
        "begun": False,
        "configured": False,
        "applied": False,
    }
    assert office.json("sink", "purge", "former", "--apply") == {"pending": 0, "applied": True}

"""``bridged dead``, beside a bridge that runs and without one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import orjson
import pytest

from bridge.admin.letters import LetterRequests
from tests.cli.spool.office import Office
from tests.cli.spool.plugin import World


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bridge_of(office: Office, either: bool) -> AbstractContextManager[Any]:
    return office.running() if either else nullcontext()


def ids(office: Office, *arguments: str) -> list[int]:
    return [letter["id"] for letter in office.json("dead", "list", *arguments)["letters"]]


def test_letters_are_listed_with_what_a_person_needs(office: Office, either: bool):
    office.bury("d1", "d2")
    with bridge_of(office, either):
        assert office("dead", "list") == 0
    head, first, second = office.out.splitlines()
    assert " ".join(head.split()) == "id given up (UTC) sink source device status attempts reason"
    assert " ".join(first.split()) == (
        "1 2026-05-04 10:01:00 shelf towers d1 400 3 400: no such signal"
    )
    assert second.startswith("2 ")


def test_without_letters_it_says_so(office: Office, either: bool):
    office.begin("shelf")
    with bridge_of(office, either):
        assert office("dead", "list") == 0
    assert office.out == "no dead letters\n"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--sink", "dumb"), [3]),
        (("--source", "sensors"), [4]),
        (("--device", "d2"), [2]),
        (("--reason", "TOO OLD"), [3]),
        (("--since", "2026-05-04T10:03"), [3, 4]),
        (("--until", "2026-05-04T12:02+02:00"), [1]),
        (("--id", "4", "--id", "2"), [2, 4]),
        (("--sink", "shelf", "--device", "d1"), [1]),
    ],
)
def test_letters_are_selected(office: Office, either: bool, arguments: Any, found: list[int]):
    office.bury("d1", "d2")
    office.bury("d3", sink="dumb", reason="422: too old")
    office.bury("d4", source="sensors")
    with bridge_of(office, either):
        assert ids(office, *arguments) == found


def test_a_page_says_how_to_go_on(office: Office, either: bool):
    office.bury(*(f"d{number}" for number in range(5)))
    with bridge_of(office, either):
        assert office("dead", "list", "--limit", "2") == 0
        assert len(office.out.splitlines()) == 4
        assert office.out.splitlines()[-1] == (
            "there are more; the next ones: the same with --after 2"
        )
        page = office.json("dead", "list", "--limit", "2", "--after", "2")
        assert ([letter["id"] for letter in page["letters"]], page["next"]) == ([3, 4], 4)
        page = office.json("dead", "list", "--limit", "2", "--after", "4")
        assert ([letter["id"] for letter in page["letters"]], page["next"]) == ([5], None)


def test_more_letters_than_an_answer_holds_are_listed(office: Office, monkeypatch):
    monkeypatch.setattr("bridge.admin.letters.MAX_PAGE", 2)
    monkeypatch.setattr("bridge.cli.spool.dead.MAX_PAGE", 2)
    office.bury(*(f"d{number}" for number in range(7)))
    assert ids(office) == [1, 2, 3, 4, 5, 6, 7]
    assert office("dead", "export") == 0
    assert len(office.out.splitlines()) == 7


def test_a_letter_is_shown_whole_with_what_would_be_sent(office: Office, either: bool):
    office.bury("d1")
    with bridge_of(office, either):
        assert office("dead", "show", "1") == 0
    assert office.out.startswith("dead letter 1 of sink shelf\nsource towers, device d1\n")
    assert "given up 2026-05-04 10:01:00 UTC after 3 attempts (HTTP status 400): 400: no such" in (
        office.out
    )
    assert '"signal": "level"' in office.out
    assert office.out.endswith("would be sent today: put k1 on the top shelf\n")


def test_a_letter_that_is_not_there_is_an_error(office: Office, either: bool):
    office.begin("shelf")
    with bridge_of(office, either):
        assert office("dead", "show", "17") == 1
    assert (office.out, office.err) == (
        "",
        "there is no dead letter 17; see bridged dead list\n",
    )


def test_the_export_is_json_lines_with_letter_and_event(office: Office, either: bool):
    office.bury("d1", "d2")
    office.bury("d3", sink="dumb")
    with bridge_of(office, either):
        assert office("dead", "export", "--sink", "shelf") == 0
    first, second = map(orjson.loads, office.out.splitlines())
    assert (first["letter"]["id"], first["letter"]["reason"]) == (1, "400: no such signal")
    assert first["event"]["readings"][0]["value"] == 1
    assert second["event"]["device"] == "d2"


def test_an_export_of_large_events_comes_in_several_answers(office: Office, monkeypatch):
    monkeypatch.setattr("bridge.admin.letters.MAX_BYTES", 1)
    export = LetterRequests.export
    answers: list[int] = []

    async def counted(self: LetterRequests, arguments: Any) -> Any:
        answer = await export(self, arguments)
        answers.append(len(answer["letters"]))
        return answer

    monkeypatch.setattr(LetterRequests, "export", counted)
    office.bury("d1", "d2", "d3")
    assert office("dead", "export", "--after", "1") == 0
    assert answers == [1, 1, 0]
    assert [orjson.loads(line)["letter"]["id"] for line in office.out.splitlines()] == [2, 3]


def test_a_replay_is_planned_first_and_changes_nothing(office: Office, either: bool):
    office.bury("d1", "d2")
    office.bury("d3", sink="dumb")
    with bridge_of(office, either):
        assert office("dead", "replay", "--all") == 0
        assert office.out == (
            "dumb: 1 dead letter\n"
            "shelf: 2 dead letters\n"
            "3 dead letters would be sent again to their sinks, in order, before later events of "
            "their devices; --apply does it\n"
        )
        assert len(ids(office)) == 3


def test_replayed_letters_are_parked_and_due(office: Office):
    office.bury("d1", "d2")
    assert office("dead", "replay", "--device", "d2", "--apply") == 0
    assert office.out == "replayed 1 of 1 dead letter\n"
    assert ids(office) == [1]
    (device,) = office.json("parked")["devices"]
    assert (device["device"], device["events"]) == ("d2", 1)
    assert device["due"] < 1


def test_a_running_bridge_replays_too(office: Office):
    office.bury("d1", "d2")
    with office.running():
        assert office.json("dead", "replay", "--all", "--apply") == {
            "letters": 2,
            "by_sink": {"shelf": 2},
            "replayed": 2,
        }
        assert ids(office) == []


def test_what_is_refused_anew_meanwhile_is_not_replayed_again(office: Office, monkeypatch):
    """A sink that refuses faster than letters are replayed must not make it endless."""
    monkeypatch.setattr("bridge.admin.letters.MAX_PAGE", 1)
    monkeypatch.setattr("bridge.cli.spool.dead.MAX_PAGE", 1)
    office.bury("d1", "d2")
    replay = LetterRequests.replay
    replays: list[Any] = []

    async def refused_at_once(self: LetterRequests, arguments: Any) -> Any:
        replays.append(arguments["ids"])
        assert len(replays) < 10, "it goes on for ever"
        answer = await replay(self, arguments)
        async with self.spool.subscribe("shelf", batch=1) as subscription:
            await subscription.stop_replay()
        return answer

    monkeypatch.setattr(LetterRequests, "replay", refused_at_once)
    assert office("dead", "replay", "--all", "--apply") == 0
    assert office.out == "replayed 2 of 2 dead letters\n"
    assert ids(office) == [3, 4]


def test_letters_that_cannot_go_back_stay_and_are_told(office: Office, either: bool):
    office.bury("d1", sink="former")
    office.bury("d2")
    assert office("sink", "purge", "former", "--apply") == 0
    with bridge_of(office, either):
        assert office("dead", "replay", "--all", "--apply") == 1
    assert office.out == "replayed 1 of 2 dead letters\n"
    assert office.err.startswith("1 stay: the spool does not know their sink any more, ")


def test_the_plan_says_which_letters_are_of_an_earlier_life(office: Office):
    office.bury("d1", sink="former")
    office("sink", "purge", "former", "--apply")
    assert office("dead", "replay", "--all") == 0
    assert "1 of them are of a life of their sink before it was purged\n" in office.out
    assert office("dead", "list") == 0
    assert " former (purged) " in office.out


def test_a_dry_run_shows_what_would_be_sent_letter_by_letter(office: Office, either: bool):
    office.write(office.config.read_text().replace("plugin = shelf", "plugin = shelf\nshelf = low"))
    office.bury("d1", "odd", "d3")
    with bridge_of(office, either):
        assert office("dead", "replay", "--all", "--dry-run", "--limit", "2") == 0
        assert office.out == (
            "1: shelf, device d1\n"
            "  refused: 400: no such signal\n"
            "  would be sent: put k1 on the low shelf\n"
            "2: shelf, device odd\n"
            "  refused: 400: no such signal\n"
            "  would be sent: the plugin cannot say: KeyError: 'odd'\n"
            "there are more; the next ones: the same with --after 2\n"
        )
        assert len(ids(office)) == 3


def test_a_dry_run_shows_the_event_where_the_plugin_cannot_say(office: Office):
    office.bury("d1", sink="dumb")
    assert office("dead", "replay", "--all", "--dry-run") == 0
    assert 'the plugin cannot say what it would send of the event: {"key":"k1",' in office.out


def test_a_drop_is_planned_first(office: Office, either: bool):
    office.bury("d1", "d2")
    with bridge_of(office, either):
        assert office("dead", "drop", "--reason", "signal") == 0
        assert office.out.endswith("2 dead letters would be forgotten for good; --apply does it\n")
        assert len(ids(office)) == 2


def test_dropped_letters_are_counted_as_expired(office: Office, either: bool):
    office.bury("d1", "d2")
    with bridge_of(office, either):
        assert office("dead", "drop", "--id", "1", "--apply") == 0
        assert office.out == "dropped 1 of 1 dead letter\n"
        assert ids(office) == [2]

    async def look(spool: Any) -> None:
        (account,) = [each for each in await spool.accounts(()) if each.sink == "shelf"]
        assert (account.dead, account.expired, account.balanced) == (1, 1, True)

    office.in_spool(look)


@pytest.mark.parametrize("what", ["replay", "drop"])
def test_nothing_is_done_with_letters_that_nobody_named(office: Office, what: str):
    office.bury("d1")
    assert office("dead", what, "--apply") == 2
    assert office.err == (
        f"say which dead letters to {what}, such as --sink NAME or --id ID; or --all\n"
    )
    assert ids(office) == [1]


def test_letters_of_a_misspelt_sink_name_the_one_that_was_meant(office: Office, either: bool):
    office.bury("d1")
    with bridge_of(office, either):
        assert office("dead", "list", "--sink", "shlef") == 1
    assert office.err == (
        "there is no dead letter of 'shlef'; the spool knows no sink 'shlef', did you mean "
        "'shelf'?\n"
    )


def test_a_time_may_be_so_long_ago(office: Office):
    office.bury("d1")
    assert ids(office, "--until", "1s") == [1]
    assert ids(office, "--since", "1s") == []
    assert "expected a time such as 2026-05-04T10:00, or 2h for two hours ago, got 'soon'" in (
        office.usage("dead", "list", "--since", "soon")
    )


def test_a_foreign_text_cannot_write_on_the_terminal(office: Office, world: World):
    office.bury("d\x1b[31m", reason="no\nid  given up\x1b]0;")
    assert office("dead", "list") == 0
    assert office("dead", "show", "1") == 0
    assert "\x1b" not in office.out

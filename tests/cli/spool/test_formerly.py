"""``formerly = OLD`` in the section of a source that got another name."""

from __future__ import annotations

import pytest

from tests.cli.spool.office import CONFIG, Office
from tests.cli.spool.plugin import World

RENAMED = CONFIG.replace("[source:towers]\n", "[source:feelers]\nformerly = towers\n")


def sources(office: Office) -> list[str]:
    return [letter["source"] for letter in office.json("dead", "list")["letters"]]


def problems(office: Office) -> dict[str, str]:
    status = office.json("status")
    return {
        name: state["text"]
        for name, state in status["problems"].items()
        if name.startswith("source:")
    }


def test_what_a_source_stored_is_known_under_its_new_name(office: Office):
    office.bury("d1")
    office.write(RENAMED)
    with office.running():
        assert sources(office) == ["feelers"]
        assert problems(office) == {}


def test_a_renamed_source_stays_paused(office: Office, world: World):
    office.bury("d1")
    office("pause", "towers")
    office.write(RENAMED)
    with office.running():
        assert world.runs == 0
        assert set(problems(office)) == {"source:feelers/pause"}


def test_a_rename_that_was_done_is_no_problem_at_the_next_start(office: Office):
    office.bury("d1")
    office.write(RENAMED)
    for _ in range(2):
        with office.running():
            assert (sources(office), problems(office)) == (["feelers"], {})


def test_a_source_that_never_stored_anything_is_renamed_without_a_word(office: Office):
    office.begin("shelf")
    office.write(RENAMED)
    with office.running():
        assert problems(office) == {}


def test_a_rename_that_comes_too_late_is_a_problem(office: Office):
    office.bury("d1")
    office.bury("d2", source="feelers")
    office.write(RENAMED)
    with office.running():
        assert sources(office) == ["towers", "feelers"]
        assert problems(office) == {
            "source:feelers/formerly": (
                "formerly = towers has no effect: the spool knows events of towers and of "
                "feelers; what was stored as towers stays known under that name"
            )
        }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            CONFIG.replace("plugin = quiet\n", "plugin = quiet\nformerly = towers\n"),
            (
                "office.ini:9: [source:towers] formerly: expected another name than that of the "
                "section"
            ),
        ),
        (
            RENAMED + "[source:towers]\nplugin = quiet\n",
            (
                "office.ini:8: [source:feelers] formerly: 'towers' belongs to [source:towers] "
                "(office.ini:14); only one section can take over what was stored under a name"
            ),
        ),
        (
            RENAMED + "[source:probes]\nplugin = quiet\nformerly = towers\n",
            (
                "office.ini:16: [source:probes] formerly: 'towers' belongs to [source:feelers] "
                "(office.ini:7); only one section can take over what was stored under a name"
            ),
        ),
        (
            RENAMED.replace("plugin = dumb\n", "plugin = dumb\nsources = towers\n"),
            (
                "office.ini:14: [sink:dumb] sources: there is no section [source:towers]; "
                "'towers' is called 'feelers' now"
            ),
        ),
    ],
)
def test_a_former_name_that_cannot_be_is_a_mistake(office: Office, text: str, said: str):
    office.write(text)
    assert office("check") == 78
    assert office.err == f"{said}\n"

"""The command line of the benchmarks."""

from __future__ import annotations

import pytest

from tests.bench.arguments import KEYS, ROUNDS, Arguments, parse

BENCHMARKS = ("webhooks", "spool")
ROWS = ("rest", "push", "file")


def parsed(*words: str) -> Arguments:
    return parse(words, "About.", BENCHMARKS, ROWS)


def test_without_arguments_all_benchmarks_are_run():
    assert parsed() == Arguments(BENCHMARKS)
    assert parsed("spool") == Arguments(("spool",))


def test_a_comparison_is_of_all_rows_unless_some_are_named():
    assert parsed("--against", "HEAD~1") == Arguments((), "HEAD~1", ROUNDS, ROWS)
    assert parsed("--against=v1", "--rounds=2").rounds == 2


def test_rows_are_measured_once_and_in_their_order():
    assert parsed("--against", "v1", "--rows", "file, rest,file").rows == ("rest", "file")


def test_the_number_of_known_keys_can_be_made_small():
    assert parsed("spool").keys == KEYS
    assert parsed("--keys=20000", "spool") == Arguments(("spool",), keys=20_000)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--keys", "10"), "--keys must be at least 1000, not 10"),
        (("webhook",), "there is no benchmark 'webhook'; there are webhooks, spool"),
        (("--against", "v1", "--rows", "pull"), "there is no row 'pull'; there are rest, push"),
        (("--against", "v1", "--rows", ""), "there is no row ''"),
        (("--against", "v1", "--rounds", "0"), "--rounds must be at least 1, not 0"),
        (("--against", "v1", "--rounds", "many"), "invalid int value: 'many'"),
        (("--against", ""), "--against needs the name of a commit"),
        (("--against", "v1", "spool"), "not names of benchmarks such as 'spool'"),
        (("--rows", "push"), "--rounds and --rows belong to --against"),
        (("--rounds", "3"), "--rounds and --rows belong to --against"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        parsed(*words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err

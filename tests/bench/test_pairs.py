"""What is said of two versions that were measured in turns."""

from __future__ import annotations

import pytest

from tests.bench.pairs import (
    NEW,
    OLD,
    Comparison,
    Load,
    Turn,
    compare,
    disturbed,
    pairs_of,
    table_of,
)


def turns_of(row: str, *pairs: tuple[float, float], figure: str = "events/s") -> list[Turn]:
    return [
        Turn(row, number, version, {figure: value})
        for number, pair in enumerate(pairs, 1)
        for version, value in zip((OLD, NEW), pair, strict=True)
    ]


def comparison(*ratios: float, figure: str = "events/s") -> Comparison:
    return Comparison("push", figure, 1.0, 1.0, ratios)


def test_a_ratio_is_of_the_two_turns_of_one_round():
    # The machine was twice as fast in the second round, and three times in the third.
    (compared,) = compare(turns_of("push", (100, 90), (200, 220), (300, 300)))
    assert compared.ratios == (0.9, 1.1, 1.0)
    assert (compared.ratio, compared.old, compared.new) == (1.0, 200, 220)


def test_pairs_are_found_whatever_the_order_of_turns():
    turns = turns_of("push", (1, 2), (3, 4))
    found = [(old.round, old.version, new.round, new.version) for old, new in pairs_of(turns[::-1])]
    assert found == [(2, OLD, 2, NEW), (1, OLD, 1, NEW)]


def test_a_turn_without_its_counterpart_is_left_out():
    turns = turns_of("push", (100, 90), (100, 50))
    (compared,) = compare(turns[:3])
    assert compared.ratios == (0.9,)
    assert compare(turns[:1]) == []


def test_rows_and_figures_keep_their_order():
    turns = [
        Turn(row, 1, version, {"events/s": 2.0, "RSS MiB": 1.0})
        for row in ("push", "file")
        for version in (OLD, NEW)
    ]
    assert [(each.row, each.figure) for each in compare(turns)] == [
        ("push", "events/s"),
        ("push", "RSS MiB"),
        ("file", "events/s"),
        ("file", "RSS MiB"),
    ]


@pytest.mark.parametrize(
    ("figure", "ratios", "remark"),
    [
        ("events/s", (0.98, 0.97, 0.96), ""),
        ("events/s", (0.90, 0.96, 1.10), "worse"),
        ("events/s", (0.90, 0.96, 0.99), "worse in each round"),
        ("events/s", (0.90, 0.90), "worse"),
        ("events/s", (1.50, 1.50, 1.50), ""),
        ("RSS MiB", (0.50, 0.50, 0.50), ""),
        ("RSS MiB", (1.03, 1.03, 1.03), ""),
        ("RSS MiB", (0.99, 1.05, 1.05), "worse"),
        ("RSS MiB", (1.01, 1.05, 1.05), "worse in each round"),
    ],
)
def test_worse_is_less_of_a_rate_and_more_of_all_else(
    figure: str, ratios: tuple[float, ...], remark: str
):
    assert comparison(*ratios, figure=figure).remark == remark


def test_a_table_names_each_row_once():
    compared = [comparison(0.9, 1.0, 1.1), comparison(1.0, figure="RSS MiB")]
    assert table_of(compared, {"push": 0.5}) == [
        ["push", "events/s", 1.0, 1.0, "1.000", "0.900", "1.100", "0.5", ""],
        ["", "RSS MiB", 1.0, 1.0, "1.000", "1.000", "1.000", "", ""],
    ]
    assert table_of(compared, {})[0][7] == ""


def test_rows_during_which_others_were_busy_are_told():
    turns = [
        Turn("push", 1, OLD, {}, others=0.1),
        Turn("push", 1, NEW, {}, others=0.5),
        Turn("push", 2, OLD, {}, others=0.9),
        Turn("file", 1, OLD, {}, others=0.2),
    ]
    assert disturbed(turns) == {"push": 0.9}


def test_others_are_what_the_machine_did_and_we_did_not():
    assert Load(12.0, 103.5, 52.5).others_since(Load(10.0, 100.0, 50.0)) == 0.5
    assert Load(12.0, 102.4, 52.5).others_since(Load(10.0, 100.0, 50.0)) == 0.0

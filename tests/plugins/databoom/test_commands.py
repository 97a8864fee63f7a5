"""``bridged databoom map``: what was seen, and how it is mapped."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest
from attrs import evolve

from bridge.api import Batch, CommandContext, CommandError
from bridge.config.ini import parse
from bridge.testing.fakes import FakeState, FixedClock
from bridge_plugins.databoom import signals_seen
from bridge_plugins.databoom.commands import ask_rows, map_command
from bridge_plugins.databoom.devices_file import parse_devices
from bridge_plugins.databoom.tokens import Target


async def mapped(bench, *options, name="databoom"):
    """Run the command against the running sink of a bench."""
    answer_map = bench.answering.command_handlers["map"]

    async def ask(request, arguments=None):
        assert request == "map"
        return await answer_map(arguments)

    command = map_command()
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    context = CommandContext(name, None, ask, FixedClock())
    return await command.run(context, parser.parse_args(options))


def tables(text):
    """Read printed lines as the INI file is read: devices, signals."""
    sections, problems = parse(text, "pasted.ini")
    assert problems == []
    return [{key: value.text for key, value in section.values.items()} for section in sections]


async def deliver(b, *events):
    for event in events:
        await b.sink.deliver(Batch((event,)))


async def test_what_is_printed_can_be_pasted_and_changes_nothing(bench, capsys, settings):
    async with bench(device="{source}-{device}", devices={"d2": "two"}) as b:
        await deliver(b, b.make.event(("a/b", 21.5), ("t", 1)), b.make.event(("t", 2), device="d2"))
        assert await mapped(b) == 0
    out = capsys.readouterr().out
    assert out.startswith("[sink:databoom:devices]\n")
    devices, signals = tables(out)
    assert devices == {"d1": "s-d1", "d2": "two"}
    assert signals == {"a/b": "a_b", "t": "t"}
    evolve(settings, devices=devices, signals=signals)


async def test_a_device_is_shown_with_source_value_and_what_names_it(bench, capsys):
    async with bench() as b:
        await deliver(b, b.make.event(("t", 1)), b.make.event(("t", 2, 60)))
        await mapped(b)
    assert (
        "# s: t = 2 at 2026-05-04T10:01:00+00:00 (by template)\nd1 = d1\n"
        in capsys.readouterr().out
    )


async def test_a_device_without_a_token_is_a_line_to_be_completed(bench, capsys):
    async with bench(unmapped="skip") as b:
        await deliver(b, b.make.event(("t", 1)))
        await mapped(b)
        assert b.emulator.requests == []
    out = capsys.readouterr().out
    assert "\n#d1 =\n# no token: it is in no map, and unmapped = skip\n" in out
    assert tables(out) == [{}, {}]


async def test_a_collision_is_shown_with_its_reason(bench, capsys):
    async with bench() as b:
        await deliver(b, b.make.event(("t", 1), device="a:b"), b.make.event(("t", 1), device="a b"))
        await mapped(b)
    out = capsys.readouterr().out
    assert "#a b =\n# no token: 'a b' would become the token 'a_b'" in out
    assert tables(out)[0] == {"a:b": "a_b"}


async def test_a_name_that_ini_cannot_hold_goes_to_the_devices_file(bench, capsys):
    strange = ["a=b", "#x", "[x", ";x", "a\nb", " x"]
    async with bench() as b:
        await deliver(b, *(b.make.event(("t", 1), device=device) for device in strange))
        await mapped(b)
    out = capsys.readouterr().out
    assert tables(out)[0] == {}
    assert out.count("cannot be a key of an INI file") == len(strange)


async def test_one_device_with_two_tokens_is_left_to_a_person(bench, capsys):
    async with bench(device="{source}_{device}") as b:
        await deliver(
            b, b.make.event(("t", 1), source="east"), b.make.event(("t", 1), source="west")
        )
        await mapped(b)
    out = capsys.readouterr().out
    assert "#d1 =\n# several tokens now" in out
    assert "# east, west: " in out


async def test_a_device_of_the_devices_file_is_not_repeated(bench, capsys, tmp_path):
    path = tmp_path / "devices.csv"
    path.write_text("device,token\nd1,x\n")
    async with bench(devices_file=path) as b:
        await deliver(b, b.make.event(("t", 1)))
        await mapped(b)
        assert b.emulator.cloud.points("x", "t")
    assert "# d1: is in the devices file\n" in capsys.readouterr().out


async def test_nothing_seen_is_said(bench, capsys):
    async with bench() as b:
        await mapped(b)
    assert "# nothing was seen yet" in capsys.readouterr().out


async def test_the_csv_is_a_devices_file(bench, capsys):
    async with bench(devices={"d2": "two"}) as b:
        await deliver(b, b.make.event(("t", 1), device="a,b"), b.make.event(("t", 2), device="d2"))
        await mapped(b, "--csv")
    out = capsys.readouterr().out
    assert out.startswith("device,token,name\n")
    assert parse_devices(out, "f", {"d2": "two"}) == {("a,b", ""): Target("a_b", "")}


async def test_the_csv_may_have_a_row_for_each_signal(bench, capsys):
    async with bench() as b:
        await deliver(b, b.make.event(("t", 1), ("u/v", 2)))
        await mapped(b, "--csv", "--signals")
    rows = parse_devices(capsys.readouterr().out, "f", {})
    assert rows == {
        ("d1", ""): Target("d1", ""),
        ("d1", "t"): Target("d1", "t"),
        ("d1", "u/v"): Target("d1", "u_v"),
    }


async def test_an_empty_token_of_the_csv_is_refused_until_filled_in(bench, capsys):
    async with bench(unmapped="skip") as b:
        await deliver(b, b.make.event(("t", 1)))
        await mapped(b, "--csv")
    with pytest.raises(ValueError, match="f:2: expected a token"):
        parse_devices(capsys.readouterr().out, "f", {})


async def test_many_signals_come_in_several_answers(bench, capsys, monkeypatch):
    monkeypatch.setattr(signals_seen, "MAX_ROWS", 2)
    async with bench() as b:
        await deliver(b, b.make.event(*((f"s{number}", number) for number in range(7))))
        await mapped(b)
    out = capsys.readouterr().out
    assert tables(out)[1] == {f"s{number}": f"s{number}" for number in range(7)}
    assert "and 4 other signals" in out


async def test_devices_seen_before_a_restart_are_shown(bench, capsys):
    state = FakeState()
    async with bench(state=state, device="{label.room}_{kind}") as b:
        await deliver(b, b.make.event(("t", 1), labels={"room": "hall"}))
    async with bench(state=state, device="{kind}-{label.room}") as b:
        await mapped(b)
    out = capsys.readouterr().out
    assert "# s: t, not since the last start (by template)\nd1 = temperature-hall\n" in out


async def test_what_was_seen_is_bounded(bench, monkeypatch, capsys):
    opening = import_module("bridge_plugins.databoom.open_databoom")
    monkeypatch.setattr(opening, "SEEN_PAGES", 1)
    monkeypatch.setattr("bridge_plugins.databoom.ledger.PAGE", 2)
    async with bench() as b:
        await deliver(b, *(b.make.event(("t", 1), device=f"d{number}") for number in range(5)))
        await mapped(b)
        assert len(b.sink._seen._newest) == 2
    assert tables(capsys.readouterr().out)[0] == {"d3": "d3", "d4": "d4"}


async def test_a_long_text_is_cut(bench, capsys):
    async with bench() as b:
        await deliver(b, b.make.event(("t", "x" * 5000)))
        await mapped(b)
    out = capsys.readouterr().out
    assert "x" * signals_seen.MAX_VALUE in out
    assert "x" * (signals_seen.MAX_VALUE + 1) not in out


async def test_a_bridge_that_repeats_itself_is_given_up():
    async def ask(_request, _arguments=None):
        return {"rows": [{"source": "s", "device": "d", "signal": "t"}]}

    with pytest.raises(CommandError, match="repeats itself"):
        await ask_rows(CommandContext("databoom", None, ask, FixedClock()))


async def test_a_signal_without_a_token_at_one_device_keeps_the_other(bench, capsys):
    async with bench(unmapped="skip", devices={"d2": "two"}) as b:
        await deliver(b, b.make.event(("t", 1)), b.make.event(("t", 1), device="d2"))
        await mapped(b)
    assert tables(capsys.readouterr().out) == [{"d2": "two"}, {"t": "t"}]

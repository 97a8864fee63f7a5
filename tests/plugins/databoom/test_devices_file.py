"""The devices file."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import SettingError
from bridge_plugins.databoom import devices_file
from bridge_plugins.databoom.devices_file import parse_devices, read_devices_file
from bridge_plugins.databoom.tokens import Target


def mistakes(text, table=()):
    with pytest.raises(ValueError) as caught:
        parse_devices(text, "devices.csv", dict.fromkeys(table, "t"))
    return str(caught.value)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_from_any_table_program_is_read(tmp_path, mark, separator, end):
    path = tmp_path / "devices.csv"
    lines = ["device,token,name", "", ' emu1 ,0f6hbfnqz6,"Hall, upper"', "a:b,x_y,"]
    if separator == ";":
        lines = [lines[0].replace(",", ";"), "", 'emu1;0f6hbfnqz6;"Hall; upper"', "a:b;x_y;"]
    path.write_text(mark + end.join(lines), "utf-8", newline="")
    assert read_devices_file(path, {}) == {
        ("emu1", ""): Target("0f6hbfnqz6", ""),
        ("a:b", ""): Target("x_y", ""),
    }


def test_a_row_may_map_one_signal_of_a_device():
    text = "device,signal,token,signal_token\nd,,whole,\nd,t,other,outdoor\n"
    assert parse_devices(text, "f", {}) == {
        ("d", ""): Target("whole", ""),
        ("d", "t"): Target("other", "outdoor"),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device,token\nd,a.b\n", "devices.csv:2: expected a token of 1 to 64 letters"),
        ("device,token\n\nd,\n", "devices.csv:3: expected a token"),
        ("device,token\n,t\n", "devices.csv:2: device is empty"),
        ("device,token\nd,t,u\n", "devices.csv:2: expected 2 cells as in the first line, got 3"),
        ("device,token\nd,t\ne,t\nd,u\n", "devices.csv:4: device 'd' is in line 2 already"),
        (
            "device,token,signal,signal_token\nd,t,s,x\nd,t,s,y\n",
            "devices.csv:3: signal 's' of device 'd' is in line 2",
        ),
        (
            "device,token,signal,signal_token\nd,t,s,\n",
            "devices.csv:2: signal and signal_token go together",
        ),
        (
            "device,token,signal,signal_token\nd,t,s,a.b\n",
            "devices.csv:2: expected a token of 1 to 64 letters",
        ),
        (
            "device,token,signal\nd,t,s\n",
            "devices.csv:1: expected a first line with the columns device and token",
        ),
        ("device\nd\n", "devices.csv:1: expected a first line"),
        ("device,token,device\n", "devices.csv:1: expected a first line"),
        ("device,token,colour\n", "got device, token, colour"),
        ("", "devices.csv:1: expected a first line"),
        ('device,token\nd,"t\n', "devices.csv:2: no CSV"),
        ('device,token,name\nd,t,"two\nlines"\ne,?,\n', "devices.csv:4: expected a token"),
    ],
)
def test_a_mistake_is_told_with_its_line(text, said):
    assert said in mistakes(text)


def test_a_device_that_the_ini_file_maps_too_is_refused():
    assert "devices.csv:2: device 'd' is in the table of devices" in mistakes(
        "device,token\nd,t\n", table=["d"]
    )


def test_several_mistakes_are_told_at_once_but_not_a_thousand():
    said = mistakes("device,token\n" + "d,?\n" * 1000)
    assert "devices.csv:2:" in said
    assert "devices.csv:6:" in said
    assert "devices.csv:7:" not in said
    assert said.endswith("and 995 other mistakes")


def test_another_encoding_is_told_with_the_line(tmp_path):
    path = tmp_path / "devices.csv"
    path.write_bytes(b"device,token\nd,t\n\xfcber,t\n")
    with pytest.raises(ValueError, match=r"UTF-8.*devices\.csv:3"):
        read_devices_file(path, {})


def test_a_file_that_is_not_there_or_too_large_is_told(tmp_path, monkeypatch):
    path = tmp_path / "devices.csv"
    with pytest.raises(ValueError, match=r"devices\.csv: No such file"):
        read_devices_file(path, {})
    path.write_text("device,token\n")
    monkeypatch.setattr(devices_file, "MAX_SIZE", 13)
    assert read_devices_file(path, {}) == {}
    monkeypatch.setattr(devices_file, "MAX_SIZE", 12)
    with pytest.raises(ValueError, match="at most"):
        read_devices_file(path, {})


def test_a_mistake_in_the_file_refuses_the_start(settings, tmp_path):
    path = tmp_path / "devices.csv"
    path.write_text("device,token\nd,a.b\n")
    with pytest.raises(SettingError, match=r"devices\.csv:2: expected a token") as caught:
        evolve(settings, devices_file=path)
    assert caught.value.setting == "devices_file"


@given(
    st.one_of(
        st.text(),
        st.text(st.sampled_from('device,token;"\n\r ')).map(lambda text: f"device,token\n{text}"),
    )
)
def test_any_text_is_a_devices_file_or_is_refused_with_a_line(text):
    said = ""
    try:
        parse_devices(text, "devices.csv", {})
    except ValueError as exc:
        said = str(exc)
    assert not said or "devices.csv:" in said

"""The files of a configuration."""

from __future__ import annotations

import os

import pytest

from bridge.config import read
from bridge.config.source_files import readable_by_strangers
from bridge.daemon.config import load


def text(files, section, key):
    return files.section(section).values[key].text


def test_files_beside_the_main_file_win_in_the_order_of_their_names(tmp_path):
    (tmp_path / "office.ini").write_text("[sink:a]\ntimeout = 1s\nbatch = 1\nurl = x\n")
    folder = tmp_path / "office.d"
    folder.mkdir()
    (folder / "20-b.ini").write_text("\n[sink:a]\ntimeout = 3s\n")
    (folder / "10-a.ini").write_text("[sink:a]\ntimeout = 2s\nbatch = 2\n")
    (folder / "30.ini~").write_text("[sink:a]\ntimeout = 4s\n")
    (folder / ".hidden.ini").write_text("[sink:a]\ntimeout = 5s\n")
    files = read(tmp_path / "office.ini")
    assert files.files == ("office.ini", "office.d/10-a.ini", "office.d/20-b.ini")
    assert (text(files, "sink:a", "timeout"), text(files, "sink:a", "batch")) == ("3s", "2")
    assert text(files, "sink:a", "url") == "x"
    value = files.section("sink:a").values["timeout"]
    assert str(value.location) == "office.d/20-b.ini:3"
    assert list(map(str, value.shadowed)) == ["office.ini:2", "office.d/10-a.ini:2"]


def test_the_same_section_in_two_files_is_no_mistake(tmp_path):
    (tmp_path / "bridge.ini").write_text("[sink:a]\nx = 1")
    (tmp_path / "bridge.d").mkdir()
    (tmp_path / "bridge.d" / "a.ini").write_text("[sink:a]\ny = 1")
    files = read(tmp_path / "bridge.ini")
    assert files.diagnostics == ()
    assert list(files.section("sink:a").values) == ["x", "y"]


def test_a_byte_order_mark_is_no_part_of_the_first_section(tmp_path):
    (tmp_path / "a.ini").write_bytes(b"\xef\xbb\xbf[s]\na = 1")
    assert text(read(tmp_path / "a.ini"), "s", "a") == "1"


def diagnostics(path):
    return [str(each) for each in read(path).diagnostics]


def test_a_missing_file_is_reported(tmp_path):
    assert diagnostics(tmp_path / "office.ini") == [
        "office.ini: cannot be read: No such file or directory"
    ]


def test_a_folder_in_place_of_a_file_is_reported(tmp_path):
    (tmp_path / "office.d" / "a.ini").mkdir(parents=True)
    (tmp_path / "office.ini").write_text("")
    assert diagnostics(tmp_path / "office.ini") == [
        "office.d/a.ini: cannot be read: it is not an ordinary file"
    ]


def test_a_pipe_does_not_keep_us_waiting(tmp_path):
    os.mkfifo(tmp_path / "office.ini")
    assert diagnostics(tmp_path / "office.ini") == [
        "office.ini: cannot be read: it is not an ordinary file"
    ]


def test_a_file_that_is_not_utf8_is_reported_at_its_line(tmp_path):
    (tmp_path / "office.ini").write_bytes(b"[bridge]\nstate = caf\xe9\n")
    assert diagnostics(tmp_path / "office.ini") == [
        "office.ini:2: is not UTF-8 text; save the file as UTF-8"
    ]


@pytest.mark.parametrize(("size", "refused"), [(4 << 20, False), ((4 << 20) + 1, True)])
def test_a_file_has_a_largest_size(size, refused, tmp_path):
    (tmp_path / "office.ini").write_text("#" * size)
    assert (
        diagnostics(tmp_path / "office.ini")
        == ["office.ini: cannot be read: it is larger than 4 MiB"] * refused
    )


def test_a_folder_of_files_that_is_a_file_is_left_alone(tmp_path):
    (tmp_path / "office.ini").write_text("")
    (tmp_path / "office.d").write_text("")
    assert diagnostics(tmp_path / "office.ini") == []


def test_a_folder_of_files_that_cannot_be_listed_is_reported(tmp_path):
    (tmp_path / "office.ini").write_text("")
    (tmp_path / "office.d").symlink_to("office.d")
    assert diagnostics(tmp_path / "office.ini") == [
        "office.d: cannot be read: Too many levels of symbolic links"
    ]


def test_a_name_with_a_zero_byte_is_reported(tmp_path):
    assert diagnostics(tmp_path / "off\0ice.ini") == [
        "off\\x00ice.ini: cannot be read: its name has a NUL character"
    ]


def test_a_broken_file_does_not_hide_the_others(tmp_path):
    (tmp_path / "office.ini").write_bytes(b"\xff")
    (tmp_path / "office.d").mkdir()
    (tmp_path / "office.d" / "a.ini").write_text("[bridge]\nstate = /a\noops")
    assert diagnostics(tmp_path / "office.ini") == [
        "office.ini:1: is not UTF-8 text; save the file as UTF-8",
        (
            "office.d/a.ini:3: [bridge] expected KEY = VALUE, [SECTION], or a comment that "
            "begins with #"
        ),
    ]


def test_nothing_else_is_missed_while_a_file_cannot_be_read(tmp_path, kinds):
    loaded = load(tmp_path / "office.ini", kinds, environ={})
    assert [str(each) for each in loaded.diagnostics] == [
        "office.ini: cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("mode", "own_groups", "readable"),
    [
        (0o600, {7}, False),
        (0o640, {7}, False),  # root:bridge, as it should be
        (0o640, {8}, True),
        (0o640, None, False),  # root looks at the file of a daemon whose group it does not know
        (0o644, {7}, True),
        (0o604, None, True),
    ],
)
def test_a_file_is_exposed_if_others_than_the_daemon_may_read_it(mode, own_groups, readable):
    assert readable_by_strangers(0o100000 | mode, 7, own_groups) is readable

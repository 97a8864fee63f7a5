"""What a person is shown before a dead letter is replayed."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from bridge.api import Event, Reading, Secret, Stored
from bridge.testing.fakes import START
from bridge_plugins.databoom.preview import preview
from bridge_plugins.databoom.settings import DataboomSettings

SETTINGS = DataboomSettings(token=Secret("hunter2-token"), devices={"meter-1": "0f6h"})


def stored(*readings: Reading) -> Stored:
    return Stored(7, "towers", START, Event("k", "meter-1", "level", START, readings))


def test_the_preview_is_the_body_that_would_be_pushed():
    said = preview(SETTINGS, stored(Reading("temperature", 21.5, START)))
    assert said.startswith('push {"device":"0f6h",')
    assert '"value":21.5' in said
    assert "hunter2" not in said


def test_the_preview_says_why_nothing_is_sent():
    skipping = evolve(SETTINGS, devices={}, unmapped="skip")
    assert preview(skipping, stored(Reading("temperature", 21.5, START))) == (
        "nothing: the maps and templates leave it out"
    )
    refusing = evolve(SETTINGS, devices={}, unmapped="dead")
    assert preview(refusing, stored(Reading("temperature", 21.5, START))).startswith("not sent: ")


def test_the_preview_names_values_that_databoom_cannot_hold():
    said = preview(SETTINGS, stored(Reading("name", "a text", START)))
    assert said == "left out, because Databoom cannot hold them: name"


def test_a_devices_file_that_is_gone_is_told(tmp_path: Path):
    path = tmp_path / "devices.csv"
    path.write_text("device;token\nmeter-1;0f6h\n")
    settings = evolve(SETTINGS, devices={}, devices_file=path)
    path.unlink()
    with pytest.raises(ValueError, match=r"devices\.csv|file"):
        preview(settings, stored(Reading("temperature", 21.5, START)))

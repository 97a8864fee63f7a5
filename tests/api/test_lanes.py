"""The lane of a device: written in every spool there is, so it can never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api.spool import lane_of


@pytest.mark.parametrize(
    ("device", "of_16", "of_1000"),
    [
        ("", 0, 0),
        ("123456789", 6, 262),  # 0xCBF43926, by which every description of this CRC-32 is checked
        ("d1", 6, 302),
        ("emuc17m6d7lq0bgk44smcqg", 12, 772),
        ("00000000-00000000-00409DFF-FF000001", 4, 716),
        ("tower-1/Außenfühler", 3, 339),
        ("\ud800", 8, 600),
    ],
)
def test_the_lane_of_a_device_is_the_same_for_ever(device: str, of_16: int, of_1000: int):
    assert (lane_of(device, 16), lane_of(device, 1000)) == (of_16, of_1000)


@given(st.text(st.characters()), st.integers(1, 1024))
def test_every_device_has_a_lane(device: str, lanes: int):
    assert 0 <= lane_of(device, lanes) < lanes


def test_devices_with_consecutive_names_spread_over_all_lanes():
    assert {lane_of(f"sensor-{number}", 16) for number in range(200)} == set(range(16))

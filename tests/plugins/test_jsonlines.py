"""The file of JSON lines."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api import API_VERSION, Batch, Event, Pause, Reading, Retry, Size, Stored
from bridge.testing.fakes import fake_sink_context
from bridge_plugins import jsonlines
from bridge_plugins.jsonlines import Settings, cut_after_last_line, line, open_jsonlines

TIME = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


def stored(sequence: int, data: Any = None) -> Stored:
    event = Event(
        f"k{sequence}",
        "d1",
        "temperature",
        TIME,
        (Reading("t", 21.5, TIME, "°C"),),
        {"room": "hall"},
        data,
    )
    return Stored(sequence, "sensors", TIME, event)


def batch(*sequences: int) -> Batch:
    return Batch(tuple(map(stored, sequences)))


def sequences(path: Path) -> list[int]:
    return [json.loads(text)["sequence"] for text in path.read_text().splitlines()]


def opened(path: Path, **settings: Any) -> Any:
    """Open a sink; it needs nothing of its context."""
    return open_jsonlines(Settings(path, **settings), fake_sink_context("files"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


async def test_each_event_is_a_line_with_source_sequence_and_receipt(path):
    async with opened(path) as sink:
        await sink.deliver(batch(7))
    assert json.loads(path.read_bytes()) == {
        "sequence": 7,
        "source": "sensors",
        "received": "2026-05-04T10:00:00+00:00",
        "event": {
            "key": "k7",
            "device": "d1",
            "kind": "temperature",
            "time": "2026-05-04T10:00:00+00:00",
            "readings": [
                {"signal": "t", "value": 21.5, "time": "2026-05-04T10:00:00+00:00", "unit": "°C"}
            ],
            "labels": {"room": "hall"},
            "data": None,
        },
    }


async def test_an_event_without_a_key_says_null(path):
    keyless = Stored(7, "sensors", TIME, Event(None, "d1", "templated", TIME, data=[1]))
    async with opened(path) as sink:
        await sink.deliver(Batch((keyless,)))
    event = json.loads(path.read_bytes())["event"]
    assert (event["key"], event["data"]) == (None, [1])


def test_the_preview_is_the_line_that_would_be_written(path):
    (kind,) = jsonlines.bridge_sink_kinds()
    assert kind.preview is not None
    assert kind.preview(Settings(path), stored(7)) == line(stored(7)).decode().rstrip("\n")


async def test_what_is_sent_again_is_one_more_line(path):
    async with opened(path) as sink:
        await sink.deliver(batch(7, 8))
        await sink.deliver(Batch((stored(7),), replay=True))
    assert sequences(path) == [7, 8, 7]


async def test_lines_are_appended_in_order_over_restarts(path):
    for numbers in ((1, 2), (3,)):
        async with opened(path) as sink:
            await sink.deliver(batch(*numbers))
    assert sequences(path) == [1, 2, 3]


async def test_lanes_at_the_same_time_do_not_mix_their_lines(path):
    async with opened(path) as sink, trio.open_nursery() as lanes:
        for lane in range(8):
            lanes.start_soon(sink.deliver, batch(*range(lane * 10, lane * 10 + 10)))
    assert sorted(sequences(path)) == list(range(80))


async def test_file_and_folder_are_on_disk_before_it_is_delivered(path, monkeypatch):
    synced = []

    def fsync(descriptor):
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    async with opened(path) as sink:
        await sink.deliver(batch(1))
    assert synced == [(str(path), path.read_bytes()), (str(path.parent), path.read_bytes())]
    assert sequences(path) == [1]


async def test_a_file_is_filled_to_its_largest_size_and_not_beyond(path):
    size = Size(2 * len(line(stored(1))))
    async with opened(path, max_size=size) as sink:
        for number in range(1, 6):
            await sink.deliver(batch(number))
    assert sequences(path) == [5]
    assert sequences(path.with_name("events.jsonl.1")) == [3, 4]
    assert sequences(path.with_name("events.jsonl.2")) == [1, 2]


async def test_no_more_older_files_are_kept_than_asked_for(path):
    async with opened(path, max_size=Size(1), keep=2) as sink:
        for number in range(1, 6):
            await sink.deliver(batch(number))
    assert sorted(os.listdir(path.parent)) == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    assert [sequences(path.with_name(f"events.jsonl.{number}")) for number in (1, 2)] == [[4], [3]]


async def test_a_batch_larger_than_a_file_is_written_whole(path):
    async with opened(path, max_size=Size(1)) as sink:
        await sink.deliver(batch(1, 2, 3))
    assert sequences(path) == [1, 2, 3]


async def test_a_line_cut_by_a_crash_is_taken_away(path):
    path.write_bytes(line(stored(1)) + line(stored(2))[:-1])
    async with opened(path) as sink:
        await sink.deliver(batch(2))
    assert sequences(path) == [1, 2]


async def test_a_cut_line_does_not_get_into_an_older_file(path):
    path.write_bytes(line(stored(1)) + line(stored(2))[:-1])
    async with opened(path, max_size=Size(1)) as sink:
        await sink.deliver(batch(2))
    assert sequences(path.with_name("events.jsonl.1")) == [1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 140_000), max_size=3), st.integers(0, 140_000))
def test_whole_lines_of_any_length_are_kept_and_the_rest_is_cut(tmp_path_factory, lengths, rest):
    path = tmp_path_factory.mktemp("cut") / "file"
    whole = b"".join(b"x" * length + b"\n" for length in lengths)
    path.write_bytes(whole + b"y" * rest)
    assert cut_after_last_line(path) == len(whole)
    assert path.read_bytes() == whole


async def test_a_file_moved_away_is_begun_anew(path):
    async with opened(path) as sink:
        await sink.deliver(batch(1))
        path.rename(path.with_name("taken.jsonl"))
        await sink.deliver(batch(2))
    assert sequences(path) == [2]


def failing(code: int):
    def fsync(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    return fsync


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to make files larger, in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_line_that_did_not_fit_is_written_whole_later(path):
    size = len(line(stored(1)))
    async with opened(path) as sink:
        with largest_file(2 * size - 10), pytest.raises(Retry, match="File too large"):
            await sink.deliver(batch(1, 2))
        assert path.stat().st_size == 2 * size - 10
        await sink.deliver(batch(1, 2))
    assert sequences(path) == [1, 1, 2]


async def test_a_full_disk_is_tried_again(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    async with opened(path) as sink:
        with pytest.raises(Retry, match=r"events\.jsonl: No space left on device"):
            await sink.deliver(batch(1))


async def test_a_folder_that_does_not_exist_waits_for_a_person(tmp_path):
    async with opened(tmp_path / "nowhere" / "events.jsonl") as sink:
        with pytest.raises(Pause, match="check its folder"):
            await sink.deliver(batch(1))


async def test_a_file_that_may_not_be_written_waits_for_a_person(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EACCES))
    async with opened(path) as sink:
        with pytest.raises(Pause, match="Permission denied"):
            await sink.deliver(batch(1))


def test_the_file_says_for_which_contract_it_was_written():
    assert jsonlines.BRIDGE_API[0] == API_VERSION[0]
    assert jsonlines.BRIDGE_API[1] <= API_VERSION[1]


def test_the_kind_is_called_jsonlines():
    (kind,) = jsonlines.bridge_sink_kinds()
    assert (kind.name, kind.settings, kind.one_device) == ("jsonlines", Settings, False)

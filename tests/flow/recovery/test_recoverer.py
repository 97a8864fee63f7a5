from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from attrs import define, field, frozen

from bridge.api import (
    RECOVERED,
    Arrival,
    CommandError,
    Event,
    Page,
    Pause,
    Recovery,
    Reject,
    Retry,
    SourceContext,
    SpoolUnavailable,
)
from bridge.flow.ingest import Ingest
from bridge.flow.recovery.backfill import BACKFILL, PROGRESS, command_handlers
from bridge.flow.recovery.jobs import Job
from bridge.flow.recovery.recoverer import (
    JOBS,
    MAX_EVENTS,
    MAX_JOBS,
    MAX_PENDING,
    Recoverer,
    RecoveryPolicy,
)
from bridge.testing.fakes import FakeReport, FakeState, FixedClock, fake_source_context
from bridge.testing.memory import MemorySpool, MemoryStore
from tests.flow.conftest import START, make_event

GAP = START - timedelta(hours=2, minutes=13)


@frozen
class NoSettings:
    """Settings of a kind that has none."""


@define(eq=False, slots=False)
class Cloud:
    """A vendor's record, by device; and what goes wrong with it."""

    record: dict[str, list[Event]] = field(factory=dict)
    page_size: int = 50
    failures: list[Exception] = field(factory=list)
    """Raised by the next calls."""
    opened: int = 0
    asked: list[tuple[str, datetime, datetime, str | None]] = field(factory=list)
    broken: dict[str, Exception] = field(factory=dict)
    """By device: what each page raises."""
    circles: bool = False
    hold: trio.Event | None = None

    @asynccontextmanager
    async def open(self, settings: NoSettings, context: SourceContext) -> AsyncIterator[Cloud]:
        self.opened += 1
        yield self

    async def parts(self) -> Sequence[str]:
        await self._call()
        return list(self.record)

    async def page(self, part: str, start: datetime, end: datetime, cursor: str | None) -> Page:
        self.asked.append((part, start, end, cursor))
        await self._call()
        if self.hold is not None:
            await self.hold.wait()
        if part in self.broken:
            raise self.broken[part]
        first = int(cursor or 0)
        events = [event for event in self.record[part] if start <= event.time <= end]
        last = first + self.page_size
        more = str(last % len(events) if self.circles else last)
        return Page(tuple(events[first:last]), more if self.circles or last < len(events) else None)

    async def _call(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)


@define(eq=False)
class Plant:
    """A recoverer with everything around it."""

    cloud: Cloud = field(factory=Cloud)
    spool: MemorySpool = field(factory=lambda: MemorySpool(MemoryStore()))
    state: FakeState = field(factory=FakeState)
    report: FakeReport = field(factory=FakeReport)
    clock: FixedClock = field(factory=lambda: FixedClock(START))
    policy: RecoveryPolicy = RecoveryPolicy(automatic=True, after=0.0, overlap=60.0)
    lacks: str | None = None
    reach: float | None = None
    delay: float = 0.0
    waiting: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Recoverer]:
        async def pressure() -> int:
            await trio.lowlevel.checkpoint()
            return self.waiting

        recovery = Recovery[Any](
            self.cloud.open,
            lambda settings: self.lacks,
            delay=self.delay,
            reach=self.reach,
            parts="devices",
        )
        async with trio.open_nursery() as nursery:
            recoverer = Recoverer(
                source="sensors",
                recovery=recovery,
                settings=NoSettings(),
                context=fake_source_context("sensors", clock=self.clock),
                policy=self.policy,
                ingest=Ingest(self.spool, self.clock),
                state=self.state,
                report=self.report,
                pressure=pressure,
            )
            nursery.start_soon(recoverer.run)
            with trio.fail_after(10_000):
                yield recoverer
            nursery.cancel_scope.cancel()

    @property
    def stored(self) -> list[Event]:
        return [stored.event for lane in self.spool.store.events.values() for stored in lane]


@pytest.fixture
def plant() -> Plant:
    plant = Plant()
    for device in ("d1", "d2", "d3"):
        plant.cloud.record[device] = events_of(device, 120)
    return plant


def events_of(device: str, count: int, begin: datetime = GAP) -> list[Event]:
    step = (START - begin) / count
    return [
        Event(f"{device}-{number}", device, "temperature", begin + number * step)
        for number in range(count)
    ]


async def done(plant: Plant, text: str = "of them new") -> None:
    await plant.report.wait_for(text)


async def test_a_gap_is_read_back_device_by_device_and_page_by_page(plant: Plant, autojump_clock):
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert sorted(event.key for event in plant.stored) == sorted(
        f"{device}-{number}" for device in plant.cloud.record for number in range(120)
    )
    assert plant.report.texts == [
        "gap 2 h 13 min, backfilling 3 devices",
        "gap 2 h 13 min: read back 3 devices, 360 events, 360 of them new",
    ]
    assert plant.report.problems == []
    assert [cursor for part, _, _, cursor in plant.cloud.asked if part == "d2"] == [
        None,
        "50",
        "100",
    ]


async def test_reading_begins_an_overlap_before_the_gap_and_ends_now(plant: Plant, autojump_clock):
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert {(start, end) for _, start, end, _ in plant.cloud.asked} == {
        (GAP - timedelta(seconds=60), START)
    }


async def test_a_recovered_event_is_marked_and_keeps_its_own_labels(plant: Plant, autojump_clock):
    plant.cloud.record = {"d1": [Event("k", "d1", "t", GAP, labels={"name": "fridge"})]}
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert [event.labels for event in plant.stored] == [{"name": "fridge", RECOVERED: "true"}]


async def test_what_an_event_is_known_by_survives_the_mark(plant: Plant, autojump_clock):
    plant.cloud.record = {
        "d1": [
            Event("k", "d1", "t", GAP, key_time=START, former_keys=("j",)),
            Event(None, "d1", "t", GAP),
        ]
    }
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    arrivals = [arrival for commit in plant.spool.commits for arrival in commit]
    assert [(each.key, each.key_time, each.former_keys) for each in arrivals] == [
        ("k", START, ("j",)),
        (None, None, ()),
    ]


async def test_what_was_received_live_is_known_and_not_stored_twice(plant: Plant, autojump_clock):
    async with plant.running() as recoverer:
        live = [
            event for event in plant.cloud.record["d1"] if event.time > GAP + timedelta(hours=1)
        ]
        await recoverer.ingest.outlet("sensors").emit(*live)
        recoverer.found(GAP, False)
        await done(plant)
        assert recoverer.ingest.intakes["sensors"].events == len(live), (
            "recovered events count as received"
        )
    assert len(plant.stored) == 360
    assert sum(RECOVERED in event.labels for event in plant.stored) == 360 - len(live)
    assert f"360 events, {360 - len(live)} of them new" in plant.report.texts[-1]


async def test_a_short_gap_is_left_to_the_vendor(plant: Plant, autojump_clock):
    plant.policy = RecoveryPolicy(automatic=True, after=39_600.0, overlap=60.0)
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        recoverer.found(START - timedelta(seconds=20), False)
        await trio.sleep(100)
    assert plant.report.texts == [
        "gap 2 h 13 min, shorter than backfill_after: its vendor sends again what was not taken"
    ]
    assert plant.cloud.opened == 0


async def test_without_credentials_it_says_what_will_be_missing(plant: Plant, autojump_clock):
    plant.lacks = "what is older than 12 h is missing; set service_account_key to recover it"
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await trio.sleep(100)
    assert plant.report.problems == [
        "gap 2 h 13 min until 2026-01-01 00:00 UTC: what is older than 12 h is missing; "
        "set service_account_key to recover it"
    ]
    assert plant.report.problem_names == ["gap-stays"]
    assert plant.cloud.opened == 0


async def test_a_restart_is_no_problem_for_want_of_credentials(plant: Plant, autojump_clock):
    plant.lacks = "set service_account_key"
    async with plant.running() as recoverer:
        recoverer.found(START - timedelta(seconds=3), False)
        await trio.sleep(100)
    assert plant.report.problems == []
    assert plant.report.texts == ["gap 3 s until 2026-01-01 00:00 UTC: set service_account_key"]


async def test_with_backfill_no_a_gap_is_read_back_by_command_only(plant: Plant, autojump_clock):
    plant.policy = RecoveryPolicy(automatic=False, after=0.0, overlap=60.0)
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await trio.sleep(100)
        assert plant.cloud.opened == 0
        await command_handlers(recoverer)[BACKFILL](span(GAP, START))
        await done(plant)
    assert "backfill = no" in plant.report.texts[0]
    assert len(plant.stored) == 360


async def test_what_the_vendor_keeps_no_longer_is_reported(plant: Plant, autojump_clock):
    plant.reach = 3600.0
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert {start for _, start, _, _ in plant.cloud.asked} == {START - timedelta(hours=1)}
    assert plant.report.problems[-1].endswith(
        "what happened from 2025-12-31 21:47 to 2025-12-31 23:00 UTC is older than the "
        "vendor's record and lost"
    )
    assert plant.report.problem_names == ["gap-incomplete"]


async def test_reading_waits_until_the_newest_is_in_the_history(plant: Plant, autojump_clock):
    plant.delay = 10.0
    plant.cloud.hold = trio.Event()
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await trio.sleep(9)
        assert plant.cloud.opened == 0
        await trio.sleep(2)
        assert plant.cloud.opened == 1


async def test_a_retry_waits_as_asked_and_goes_on_where_it_was(plant: Plant, autojump_clock):
    async with plant.running() as recoverer:
        plant.cloud.failures = [Retry("429", after=77.0)]
        recoverer.found(GAP, False)
        await done(plant)
        assert trio.current_time() == pytest.approx(77, abs=1)
        assert plant.cloud.opened == 1
    assert (
        plant.report.texts[0]
        == "gap 2 h 13 min: backfill is interrupted: 429; it goes on by itself"
    )
    assert plant.report.problems == []
    assert len(plant.stored) == 360


async def test_a_history_that_fails_for_long_is_a_problem_meanwhile(plant: Plant, autojump_clock):
    async with plant.running() as recoverer:
        plant.cloud.failures = [Retry("connection refused")] * 6
        recoverer.found(GAP, False)
        await done(plant)
    assert set(plant.report.problem_names) == {"backfill-fails"}
    assert plant.report.texts[-1] not in plant.report.problems
    assert len(plant.stored) == 360


async def test_what_needs_a_person_is_shown_and_tried_slowly(plant: Plant, autojump_clock):
    async with plant.running() as recoverer:
        plant.cloud.failures = [Pause("the service account is refused")]
        recoverer.found(GAP, False)
        await done(plant)
        assert trio.current_time() >= 300
    assert plant.report.problems == [
        "gap 2 h 13 min: backfill waits: the service account is refused; tried again every 5 min"
    ]
    assert plant.report.problem_names == ["backfill-paused"]


async def test_a_history_that_cannot_be_opened_is_opened_again(
    plant: Plant, autojump_clock, caplog
):
    opened = plant.cloud.open

    @asynccontextmanager
    async def failing(settings: NoSettings, context: SourceContext) -> AsyncIterator[Cloud]:
        if not plant.report.texts:
            raise RuntimeError("no such file")
        async with opened(settings, context) as history:
            yield history

    plant.cloud.open = failing  # type: ignore[method-assign]
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert "the plugin failed: RuntimeError: no such file" in plant.report.texts[0]
    assert "no such file" in caplog.text
    assert len(plant.stored) == 360


async def test_a_history_that_refuses_to_open_waits_for_a_person(plant: Plant, autojump_clock):
    opened = plant.cloud.open

    @asynccontextmanager
    async def refusing(settings: NoSettings, context: SourceContext) -> AsyncIterator[Cloud]:
        if not plant.report.texts:
            raise Reject("403")
        async with opened(settings, context) as history:
            yield history

    plant.cloud.open = refusing  # type: ignore[method-assign]
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert plant.report.problems == ["gap 2 h 13 min: backfill waits: 403; tried again every 5 min"]
    assert len(plant.stored) == 360


async def test_a_device_that_cannot_be_read_is_named_and_left_out(plant: Plant, autojump_clock):
    plant.cloud.broken = {"d2": Reject("404: unknown device")}
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert {event.device for event in plant.stored} == {"d1", "d3"}
    assert plant.report.problems[-1].endswith(
        "240 of them new; not read: d2: 404: unknown device (a backfill by command tries again)"
    )


async def test_pages_that_go_round_in_circles_end_that_device_only(plant: Plant, autojump_clock):
    plant.cloud.circles = True
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert "go round in circles" in plant.report.problems[-1]
    assert {event.device for event in plant.stored} == {"d1", "d2", "d3"}


async def test_an_event_that_cannot_be_stored_is_left_out_alone(plant: Plant, autojump_clock):
    plant.cloud.record = {
        "d1": [*events_of("d1", 5), Event("bad", "d1", "t", GAP, data={"x": float("nan")})]
    }
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert len(plant.stored) == 5
    assert "event 'bad' of device 'd1' cannot be stored" in plant.report.problems[-1]


async def test_a_spool_that_refuses_is_waited_for(plant: Plant, autojump_clock):
    plant.spool.refuse = "the disk is full"
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await trio.sleep(1000)
        assert plant.stored == []
        plant.spool.refuse = None
        await done(plant)
    assert len(plant.stored) == 360


async def test_after_a_crash_a_job_goes_on_with_the_devices_left(plant: Plant, autojump_clock):
    plant.cloud.broken = {"d2": Retry("the connection broke")}
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        while not any(part == "d2" for part, *_ in plant.cloud.asked):
            await trio.sleep(1)
    plant.cloud.broken = {}
    plant.cloud.asked.clear()
    async with plant.running():
        await done(plant)
    assert {part for part, *_ in plant.cloud.asked} == {"d2", "d3"}
    assert len(plant.stored) == 360
    assert (
        plant.report.texts[-1] == "gap 2 h 13 min: read back 3 devices, 360 events, 360 of them new"
    )
    assert plant.state.get(JOBS) == []


async def test_the_state_of_jobs_is_kept_before_anything_is_read(plant: Plant, autojump_clock):
    class Full(FakeState):
        full = True

        async def put(self, key: str, value: object) -> None:
            if self.full:
                raise SpoolUnavailable("the disk is full")
            await super().put(key, value)

    plant.state = Full()
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await trio.sleep(100)
        assert plant.cloud.opened == 0
        plant.state.full = False
        await done(plant)
    assert len(plant.stored) == 360


async def test_it_stores_little_at_a_time(plant: Plant, autojump_clock):
    plant.cloud.page_size = 1000
    plant.cloud.record = {"d1": events_of("d1", 250)}
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await done(plant)
    assert [len(commit) for commit in plant.spool.commits] == [MAX_EVENTS, MAX_EVENTS, 50]


async def test_it_yields_to_a_busy_sink_though_never_for_long(plant: Plant, autojump_clock):
    plant.waiting = MAX_PENDING + 1
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        await trio.sleep(4)
        assert plant.stored == []
        await trio.sleep(2)
        assert plant.stored != []
        plant.waiting = 0
        began = trio.current_time()
        await done(plant)
        assert trio.current_time() - began < 6


async def test_live_events_go_between_the_commits_of_a_recovery(plant: Plant, autojump_clock):
    class Slow(MemorySpool):
        async def append(self, arrivals: Sequence[Arrival]) -> int:
            await trio.sleep(1)
            return await super().append(arrivals)

    plant.spool = Slow(MemoryStore())
    plant.cloud.page_size = 1000
    plant.cloud.record = {"d1": events_of("d1", 2000)}
    async with plant.running() as recoverer:
        recoverer.found(GAP, False)
        outlet = recoverer.ingest.outlet("sensors")
        for number in range(5):
            began = trio.current_time()
            await outlet.emit(make_event(number, "live"))
            assert trio.current_time() - began <= 2
        await done(plant)


async def test_so_many_gaps_that_none_could_be_read_become_one(plant: Plant, autojump_clock):
    plant.cloud.failures = [Pause("no")] * 1000
    async with plant.running() as recoverer:
        for hours in range(MAX_JOBS + 5, 0, -1):
            recoverer.found(START - timedelta(hours=hours), False)
        await trio.sleep(1)
    jobs = [Job.from_json(kept) for kept in plant.state.get(JOBS)]
    assert len(jobs) == MAX_JOBS
    assert min(job.start for job in jobs) == START - timedelta(hours=MAX_JOBS + 5, seconds=60)
    assert jobs[-1].start == START - timedelta(hours=6, seconds=60)


def test_a_job_is_read_back_as_it_was_kept():
    job = Job(
        3,
        "gap 2 h",
        START,
        START + timedelta(hours=1),
        START - timedelta(days=1),
        ["d1"],
        4,
        9,
        8,
        ["d2: no"],
    )
    assert Job.from_json(job.as_json()) == job


def span(start: datetime, end: datetime, *, dry_run: bool = False) -> dict[str, Any]:
    return {"from": start.isoformat(), "to": end.isoformat(), "dry_run": dry_run}


async def test_a_command_has_exactly_its_span_read_back_and_follows_it(
    plant: Plant, autojump_clock
):
    plant.cloud.hold = trio.Event()
    async with plant.running() as recoverer:
        answers = command_handlers(recoverer)
        job = await answers[BACKFILL](span(GAP, START - timedelta(hours=1)))
        while not plant.cloud.asked:
            await trio.sleep(1)
        assert await answers[PROGRESS](job) == {
            "finished": False,
            "text": "asked for: 0 of 3 devices read back, 0 events, 0 of them new",
        }
        plant.cloud.hold.set()
        await done(plant)
        assert (await answers[PROGRESS](job))["finished"]
    assert {(start, end) for _, start, end, _ in plant.cloud.asked} == {
        (GAP, START - timedelta(hours=1))
    }
    assert 0 < len(plant.stored) < 360


async def test_a_dry_run_names_the_devices_and_reads_nothing(plant: Plant, autojump_clock):
    async with plant.running() as recoverer:
        answer = await command_handlers(recoverer)[BACKFILL](span(GAP, START, dry_run=True))
        await trio.sleep(10)
    assert answer == {"parts": ["d1", "d2", "d3"], "called": "devices"}
    assert plant.cloud.asked == []
    assert plant.stored == []


@pytest.mark.parametrize(
    ("arguments", "lacks", "failure", "text"),
    [
        (span(START, GAP), None, None, "--to must be after --from"),
        (span(GAP, START), "no credentials", None, "nothing can be read back: no credentials"),
        (
            span(GAP, START, dry_run=True),
            None,
            Pause("refused"),
            "the history cannot be read now: refused",
        ),
    ],
    ids=["backwards", "no credentials", "dry run refused"],
)
async def test_a_command_hears_why_nothing_can_be_read(
    plant: Plant, autojump_clock, arguments, lacks, failure, text
):
    plant.lacks = lacks
    plant.cloud.failures = [] if failure is None else [failure]
    async with plant.running() as recoverer:
        with pytest.raises(CommandError, match=text):
            await command_handlers(recoverer)[BACKFILL](arguments)
    assert plant.stored == []


async def test_a_job_that_nobody_knows_is_an_error(plant: Plant, autojump_clock):
    async with plant.running() as recoverer:
        with pytest.raises(CommandError, match="there is no job 7"):
            await command_handlers(recoverer)[PROGRESS]({"job": 7})

"""Whatever a sink says and whenever the bridge stops: nothing is lost, and the first
acceptances of each device are in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from bridge.api import Arrival, Batch, Outcome, Pause, Reject, Retry, encode
from bridge.flow.delivery.pacing import Policy
from bridge.flow.instances.grace_period import GracePeriod
from bridge.testing.memory import MemorySpool, MemoryStore, open_memory_spool
from tests.flow.conftest import START, make_event
from tests.flow.delivery.delivering import POLICY, FakeSink, account, delivering, drained

VERDICTS: dict[str, Callable[[], Exception]] = {
    "retry": lambda: Retry("away"),
    "pause": lambda: Pause("token"),
    "device waits": lambda: Pause("unknown device", scope="device"),
    "device busy": lambda: Retry("busy", scope="device", after=30),
    "crash": ZeroDivisionError,
    "reject": lambda: Reject("no"),
}

LANES = 2
DAY = 86_400.0


def behaving(script: Iterator[str], poison: set[int]) -> Callable[[Batch], Outcome | None]:
    def behave(batch: Batch) -> Outcome | None:
        verdict = VERDICTS.get(next(script, "ok"))
        if verdict is not None:
            raise verdict()
        if any(int(stored.event.key.split("-")[1]) in poison for stored in batch.events):
            raise Reject("bad value")
        return None

    return behave


async def add(spool: MemorySpool, devices: list[str], first: int) -> None:
    events = [make_event(first + n, device) for n, device in enumerate(devices)]
    await spool.append(
        [Arrival("s", event.key, event.device, encode(event), START) for event in events]
    )


async def run(
    devices: list[str], sink: FakeSink, policy: Policy, stops: list[float], full: bool
) -> None:
    """Deliver, stopping and starting again, until nothing is pending."""
    store = MemoryStore(LANES)
    for stop in [*stops, DAY * 10]:
        grace_period = GracePeriod()
        async with (
            open_memory_spool(store) as spool,
            delivering(spool, sink, policy, grace_period=grace_period),
        ):
            if stop == DAY * 10:
                with trio.fail_after(stop):
                    await drained(spool)
            else:
                await add(spool, devices, sum(map(len, store.commits)))
                spool.refuse_writes = "the disk is full" if full else None
                await trio.sleep(stop)
                spool.refuse_writes = None
                grace_period.close(20)
    async with open_memory_spool(store) as spool:
        found = await account(spool)
        everything = {(a.device, a.key) for commit in store.commits for a in commit}
        dead = {kept.stored.event.key for kept in spool.dead_letters}
    assert (found.received, found.pending) == (len(everything), 0)
    assert found.dead == len(dead)
    assert {key for _, key in everything} == {*sink.taken} | dead
    for device in set(devices):
        first = dict.fromkeys(key for key in sink.taken if key.startswith(f"{device}-"))
        numbers = [int(key.split("-")[1]) for key in first]
        assert numbers == sorted(numbers)


scripts = st.lists(st.sampled_from([*VERDICTS, "ok"]), max_size=40)
lists = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(
    devices=lists,
    script=scripts,
    one_device=st.booleans(),
    batch=st.integers(1, 7),
    in_flight=st.integers(1, 3),
    limit=st.integers(0, 3),
    full=st.booleans(),
)
@example(  # a lane that waits with what it condemned, while others find out about all
    devices=list("acdcadba"),
    script=[
        "pause",
        "device waits",
        "reject",
        "reject",
        "reject",
        "reject",
        "crash",
        "pause",
        "reject",
        "pause",
        "reject",
        "device busy",
        "retry",
        "retry",
        "pause",
        "device busy",
        "device busy",
        "ok",
        "device waits",
        "crash",
        "pause",
        "ok",
        "reject",
        "device busy",
    ],
    one_device=True,
    batch=2,
    in_flight=3,
    limit=3,
    full=True,
)
def test_whatever_a_sink_says_nothing_is_lost_or_out_of_order(
    devices: list[str],
    script: list[str],
    one_device: bool,
    batch: int,
    in_flight: int,
    limit: int,
    full: bool,
):
    policy = evolve(
        POLICY, one_device=one_device, batch=batch, in_flight=in_flight, reject_limit=limit
    )
    sink = FakeSink(behaving(iter(script), set()), seconds=1)
    clock = MockClock(autojump_threshold=0)
    trio.run(run, devices, sink, policy, [300.0], full, clock=clock)


@settings(max_examples=100, deadline=None)
@given(
    devices=lists,
    script=st.lists(st.sampled_from([*VERDICTS.keys() - {"reject", "crash"}, "ok"]), max_size=40),
    poison=st.sets(st.integers(0, 60)),
    one_device=st.booleans(),
    batch=st.integers(1, 7),
    stops=st.lists(st.floats(0, 500), min_size=1, max_size=4),
)
def test_whenever_the_bridge_stops_nothing_is_lost_or_out_of_order(
    devices: list[str],
    script: list[str],
    poison: set[int],
    one_device: bool,
    batch: int,
    stops: list[float],
):
    policy = evolve(POLICY, one_device=one_device, batch=batch)
    sink = FakeSink(behaving(iter(script), poison), seconds=1)
    clock = MockClock(autojump_threshold=0)
    trio.run(run, devices, sink, policy, stops, False, clock=clock)

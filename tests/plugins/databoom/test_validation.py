"""The check that signals are validated."""

from __future__ import annotations

import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Pause, Retry, Secret
from bridge_plugins.databoom import validation as validation_module
from bridge_plugins.databoom.client import Received
from bridge_plugins.databoom.emulator.server import Fault
from bridge_plugins.databoom.validation import Unreadable, Validation, judge, parse_page, read_list

READ = "read-t0ken-of-the-tests"
TOKENS = {"t0ken-of-the-tests": ("Publish",), READ: ("Read",)}


def entry(device, signal, status):
    return {"device_token": device, "signal_token": signal, "status": status}


class Listing:
    """A client that knows a list of signals only."""

    def __init__(self, *entries, per_page=2):
        self.entries = list(entries)
        self.per_page = per_page
        self.asked = []
        self.failure = None

    async def signals(self, page, _per_page):
        self.asked.append((page, trio.current_time()))
        await trio.lowlevel.checkpoint()
        if isinstance(self.failure, Exception):
            raise self.failure
        if self.failure is not None:
            return self.failure
        shown = self.entries[(page - 1) * self.per_page : page * self.per_page]
        pages = -(-len(self.entries) // self.per_page)
        return Received(
            200, {}, orjson.dumps({"data": shown, "pages": pages, "total_items": len(self.entries)})
        )


class Desk:
    """A validation that watches, and what it told and had forgotten."""

    def __init__(self, listing, nursery):
        self.told = []
        self.forgotten = []
        self.validation = Validation(listing, self.told.append, self.forgotten.append)
        nursery.start_soon(self.validation.run)


@pytest.fixture
def desk(nursery):
    def made(listing):
        return Desk(listing, nursery)

    return made


def test_only_a_listed_active_signal_is_well():
    found = judge(
        [("d", "a"), ("d", "b"), ("d", "c")],
        {("d", "a"): "ACTIVE", ("d", "b"): "INIT", ("e", "c"): "ACTIVE"},
    )
    assert (found.inactive, found.absent) == ((("d", "b"),), (("d", "c"),))
    assert found.text() == (
        "not validated: values are being lost: d/b, d/c; open Databoom and validate these signals"
    )
    assert judge([("d", "a")], {("d", "a"): "ACTIVE"}).text() == ""


def test_many_signals_are_summed_up():
    text = judge([("d", str(number)) for number in range(9)], {}).text()
    assert "d/0, d/1, d/2 and 6 others;" in text


@pytest.mark.fact("Every page of the list is read")
async def test_every_page_of_the_list_is_read():
    listing = Listing(*(entry("d", str(number), "ACTIVE") for number in range(5)))
    assert len(await read_list(listing)) == 5
    assert [page for page, _ in listing.asked] == [1, 2, 3]


async def test_a_list_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(validation_module, "MAX_PAGES", 4)
    listing = Listing()
    listing.failure = Received(
        200, {}, orjson.dumps({"data": [entry("d", "a", "ACTIVE")], "pages": 10**9})
    )
    await read_list(listing)
    assert len(listing.asked) == 4


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            Received(401, {}, b'{"message":"no"}'),
            "refuses the read_token (401: no); it must exist and have the scope Read",
        ),
        (Received(403, {}, b""), "the scope Read"),
        (Received(404, {}, b""), "answered 404: no text; see signals_url"),
        (Received(301, {}, b""), "answered 301"),
        (Received(200, {}, b"<html>"), "no JSON"),
        (Received(200, {}, b"[]"), "holds no data"),
        (Retry("no connection"), "no connection"),
        (Pause("no trust"), "no trust"),
    ],
)
async def test_a_list_that_cannot_be_read_says_why(failure, said):
    listing = Listing()
    listing.failure = failure
    with pytest.raises(Unreadable) as caught:
        await read_list(listing)
    assert said in str(caught.value)


def test_the_device_token_may_stand_in_the_device_only():
    nested = {"device": {"device_token": "d"}, "signal_token": "t", "status": "INIT"}
    assert parse_page(orjson.dumps({"data": [nested, 7, {}], "pages": 3})) == (
        {("d", "t"): "INIT"},
        3,
    )


json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "pages", "device", "device_token", "signal_token", "status"]),
            inner,
        )
    ),
)


@given(json.map(orjson.dumps) | st.binary(max_size=40))
def test_any_page_is_read_or_refused(body):
    try:
        entries, _ = parse_page(body)
    except Unreadable:
        return
    assert all(isinstance(part, str) for key in entries for part in key)


async def test_a_signal_that_is_not_validated_is_told_some_seconds_after_its_first_push(
    autojump_clock, desk
):
    listing = Listing(entry("d", "t", "INIT"))
    here = desk(listing)
    await trio.sleep(1000)
    assert listing.asked == []  # nothing was pushed, so there is nothing to ask
    here.validation.watch(("d", "t"))
    await trio.sleep(9)
    assert here.told == []
    await trio.sleep(2)
    assert "d/t" in here.told[-1]


@pytest.mark.fact(
    "A signal of which validation is missing is looked at again, and the report taken back "
    "by itself"
)
async def test_a_signal_is_looked_at_again_until_a_person_validated_it(autojump_clock, desk):
    listing = Listing(entry("d", "t", "INIT"))
    here = desk(listing)
    here.validation.watch(("d", "t"))
    await trio.sleep(200)
    assert "d/t" in here.told[-1]
    listing.entries = [entry("d", "t", "ACTIVE")]
    await trio.sleep(320)
    assert here.told[-1] == ""


async def test_while_all_is_well_the_list_is_read_once_an_hour(autojump_clock, desk):
    listing = Listing(entry("d", "t", "ACTIVE"))
    here = desk(listing)
    for _ in range(100):
        here.validation.watch(("d", "t"))  # as with each push
        await trio.sleep(72)
    assert len(listing.asked) <= 3
    listing.entries = []
    await trio.sleep(3700)
    assert "d/t" in here.told[-1]


async def test_new_signals_share_a_reading_of_the_list(autojump_clock, desk):
    listing = Listing(*(entry("d", str(number), "ACTIVE") for number in range(90)), per_page=100)
    here = desk(listing)
    for number in range(90):
        here.validation.watch(("d", str(number)))
        await trio.sleep(0.1)
    await trio.sleep(60)
    assert len(listing.asked) <= 2


async def test_a_signal_that_is_not_listed_is_introduced_again_once(autojump_clock, desk):
    here = desk(Listing())
    here.validation.watch(("d", "t"))
    await trio.sleep(3000)
    assert here.forgotten == [("d", "t")]


async def test_a_check_that_fails_is_told_and_taken_back(autojump_clock, desk):
    listing = Listing(entry("d", "t", "ACTIVE"))
    listing.failure = Received(403, {}, b"")
    here = desk(listing)
    here.validation.watch(("d", "t"))
    await trio.sleep(60)
    assert "cannot be checked" in here.told[-1]
    listing.failure = None
    await trio.sleep(400)
    assert here.told[-1] == ""


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(validation_module, "SETTLES", 0.01)
    monkeypatch.setattr(validation_module, "AGAIN", 0.01)


@pytest.mark.fact(
    "A 2xx may mean that nothing was stored: with a Read token each new signal must be "
    "listed as ACTIVE"
)
async def test_values_that_are_being_lost_are_told_until_a_person_validates_the_signal(
    bench, at_once
):
    async with bench(meta=False, tokens=TOKENS, read_token=Secret(READ)) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        await b.reports.wait_for("not validated: values are being lost: d1/t")
        assert b.reports.problem
        b.emulator.cloud.validate("d1", "t")
        await b.reports.wait_for("no concern any more")
        assert not b.reports.problem


@pytest.mark.fact(
    "A signal renamed or deleted in Databoom is made anew by the next push: it is described again",
)
async def test_a_signal_that_was_deleted_in_databoom_is_described_again(bench, at_once):
    async with bench(tokens=TOKENS, read_token=Secret(READ)) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        b.emulator.cloud.signals.clear()
        await b.reports.wait_for("not validated")
        await b.sink.deliver(b.make.batch(("t", 2)))
        assert b.emulator.cloud.points("d1", "t")[0][1] == 2


@pytest.mark.fact("The check of validation never delays a push")
async def test_a_list_that_is_slow_delays_no_push(bench, at_once):
    async with bench(tokens=TOKENS, read_token=Secret(READ)) as b:
        b.emulator.faults.reading = Fault(delay=3600)
        await b.sink.deliver(b.make.batch(("t", 1)))
        with trio.fail_after(5):
            for value in range(2, 5):
                await b.sink.deliver(b.make.batch(("t", value, value)))
        assert len(b.emulator.cloud.points("d1", "t")) == 4


async def test_neither_token_is_sent_where_the_other_belongs(bench, at_once):
    async with bench(
        meta=False,
        apikeys=["key-of-the-tests"],
        token=None,
        apikey=Secret("key-of-the-tests"),
        tokens=TOKENS,
        read_token=Secret(READ),
    ) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        await b.reports.wait_for("not validated")
        push, *lists = b.emulator.requests
        assert "authorization" not in push.headers
        assert all("apikey" not in request.headers and request.status == 200 for request in lists)
        assert READ not in repr(b.emulator.requests)

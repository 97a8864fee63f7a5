"""The check that signals are validated."""

from __future__ import annotations

from functools import partial

import httpx
import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Pause, Retry, Secret, redacted
from bridge.api.rest import RestResponse
from bridge.testing.fakes import FakeReport, FixedClock, fake_insist
from bridge_plugins.databoom import validation as validation_module
from bridge_plugins.databoom.emulator.server import Fault
from bridge_plugins.databoom.validation import (
    Validation,
    compare,
    entries_of,
    has_next,
    read_list,
)

READ = "read-t0ken-of-the-tests"
TOKENS = {"t0ken-of-the-tests": ("Publish",), READ: ("Read",)}


def entry(device, signal, status):
    return {"device_token": device, "signal_token": signal, "status": status}


def response(status=200, body=b""):
    return RestResponse(status, httpx.Headers({"retry-after": "7"}), body, "")


class Listing:
    """A REST client to which there is a list of signals only."""

    quoted = staticmethod(partial(redacted, secrets=[]))

    def __init__(self, *entries, per_page=2, pages="number"):
        self.entries = list(entries)
        self.per_page = per_page
        self.pages = pages
        self.asked = []
        self.failure = None
        self.meanwhile = lambda: None

    async def request(self, method, url, *, query):
        page = int(query["page"])
        assert (method, url) == ("GET", "https://x.example/signals/")
        self.asked.append((page, trio.current_time()))
        await trio.lowlevel.checkpoint()
        self.meanwhile()
        if isinstance(self.failure, Exception):
            raise self.failure
        if self.failure is not None:
            return self.failure
        shown = self.entries[(page - 1) * self.per_page : page * self.per_page]
        last = -(-len(self.entries) // self.per_page)
        pages = {
            "number": {"pages": last},
            "object": {"pages": {"first": 1, "prev": 1, "next": min(page + 1, last), "last": last}},
            "missing": {},
        }[self.pages]
        document = {"data": shown, "total_items": len(self.entries)} | pages
        return response(200, orjson.dumps(document))

    async def read(self):
        return await read_list(self, "https://x.example/signals", FixedClock())


class Desk:
    """A validation that watches, and what it told and had forgotten."""

    def __init__(self, listing, nursery):
        self.report = FakeReport()
        self.forgotten = []
        self.validation = Validation(
            listing.read,
            insist=fake_insist(self.report),
            report=self.report,
            forget=self.forgotten.append,
        )
        nursery.start_soon(self.validation.run)

    @property
    def told(self):
        return self.report.topics


@pytest.fixture
def desk(nursery):
    return partial(Desk, nursery=nursery)


def test_only_a_listed_active_signal_is_well():
    found = compare(
        [("d", "a"), ("d", "b"), ("d", "c")],
        {("d", "a"): "ACTIVE", ("d", "b"): "INIT", ("e", "c"): "ACTIVE"},
    )
    assert (found.inactive, found.absent) == ((("d", "b"),), (("d", "c"),))
    assert found.text() == (
        "not validated: values are being lost: d/b, d/c; open Databoom and validate these signals"
    )
    assert compare([("d", "a")], {("d", "a"): "ACTIVE"}).text() == ""


def test_many_signals_are_summed_up():
    text = compare([("d", str(number)) for number in range(9)], {}).text()
    assert "d/0, d/1, d/2 and 6 others;" in text


@pytest.mark.fact("Every page of the list is read")
@pytest.mark.fact("Pages is a number or an object; without it a full page may not be the last")
@pytest.mark.parametrize("pages", ["number", "object", "missing"])
async def test_every_page_of_the_list_is_read(monkeypatch, pages):
    monkeypatch.setattr(validation_module, "PER_PAGE", 2)
    listing = Listing(*(entry("d", str(number), "ACTIVE") for number in range(5)), pages=pages)
    assert len(await listing.read()) == 5
    assert [page for page, _ in listing.asked] == [1, 2, 3]


async def test_a_list_that_repeats_its_page_is_at_its_end():
    listing = Listing()
    document = {"data": [entry("d", "a", "ACTIVE")], "pages": 10**9}
    listing.failure = response(200, orjson.dumps(document))
    assert await listing.read() == {("d", "a"): "ACTIVE"}
    assert len(listing.asked) == 2


@pytest.mark.parametrize(
    ("failure", "verdict", "said"),
    [
        (
            response(401, b'{"message":"no"}'),
            Pause,
            "refuses the read_token (401: no); it must exist and have the scope Read",
        ),
        (response(403), Pause, "the scope Read"),
        (response(404), Pause, "answered 404: no text; see signals_url"),
        (response(301), Pause, "answered 301"),
        (response(503), Retry, "answered 503"),
        (response(200, b"<html>"), Pause, "no JSON"),
        (response(200, b"[]"), Pause, "holds no data"),
        (Retry("no connection"), Retry, "no connection"),
    ],
)
async def test_a_list_that_cannot_be_read_says_why(failure, verdict, said):
    listing = Listing()
    listing.failure = failure
    with pytest.raises(verdict) as caught:
        await listing.read()
    assert said in str(caught.value)


async def test_a_list_is_read_again_not_before_retry_after():
    listing = Listing()
    listing.failure = response(429)
    with pytest.raises(Retry) as caught:
        await listing.read()
    assert caught.value.after == 7


def test_the_device_token_may_stand_in_the_device_only():
    nested = {"device": {"device_token": "d"}, "signal_token": "t", "status": "INIT"}
    assert entries_of({"data": [nested, 7, {}]}) == [(("d", "t"), "INIT")]


json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "pages", "last", "device", "device_token", "signal_token", "status"]
            ),
            inner,
        )
    ),
)


@given(st.lists(json, max_size=4), json)
def test_any_page_is_read(data, pages):
    document = {"data": data, "pages": pages}
    assert all(isinstance(part, str) for key, _ in entries_of(document) for part in key)
    assert has_next(document, 1) in (True, False)


async def test_a_signal_not_validated_is_told_soon_after_its_push(autojump_clock, desk):
    listing = Listing(entry("d", "t", "INIT"))
    here = desk(listing)
    await trio.sleep(1000)
    assert listing.asked == []  # nothing was pushed, so there is nothing to ask
    here.validation.watch(("d", "t"))
    await trio.sleep(9)
    assert here.told == {}
    await trio.sleep(2)
    assert "d/t" in here.told["validation"]
    assert here.report.problems == [here.told["validation"]]
    assert here.report.problem_names == ["databoom-not-validated"]


@pytest.mark.fact(
    "A signal of which validation is missing is looked at again, and the report taken back "
    "by itself"
)
async def test_a_signal_is_looked_at_again_until_a_person_validated_it(autojump_clock, desk):
    listing = Listing(entry("d", "t", "INIT"))
    here = desk(listing)
    here.validation.watch(("d", "t"))
    await trio.sleep(200)
    assert "d/t" in here.told["validation"]
    listing.entries = [entry("d", "t", "ACTIVE")]
    await trio.sleep(320)
    assert here.told == {}


async def test_while_all_is_well_the_list_is_read_once_an_hour(autojump_clock, desk):
    listing = Listing(entry("d", "t", "ACTIVE"))
    here = desk(listing)
    for _ in range(100):
        here.validation.watch(("d", "t"))  # as with each push
        await trio.sleep(72)
    assert len(listing.asked) <= 3
    listing.entries = []
    await trio.sleep(3700)
    assert "d/t" in here.told["validation"]


async def test_new_signals_share_a_reading_of_the_list(autojump_clock, desk):
    listing = Listing(*(entry("d", str(number), "ACTIVE") for number in range(90)), per_page=100)
    here = desk(listing)
    for number in range(90):
        here.validation.watch(("d", str(number)))
        await trio.sleep(0.1)
    await trio.sleep(60)
    assert len(listing.asked) <= 2


async def test_a_signal_pushed_while_the_list_is_read_is_no_alarm(autojump_clock, desk):
    listing = Listing(entry("d", "t", "ACTIVE"))
    here = desk(listing)
    listing.meanwhile = lambda: here.validation.watch(("d", "new"))
    here.validation.watch(("d", "t"))
    await trio.sleep(15)
    listing.entries.append(entry("d", "new", "ACTIVE"))
    await trio.sleep(60)
    assert len(listing.asked) == 2
    assert here.report.problems == []
    assert here.forgotten == []


async def test_a_signal_that_is_not_listed_is_introduced_again_once(autojump_clock, desk):
    here = desk(Listing())
    here.validation.watch(("d", "t"))
    await trio.sleep(3000)
    assert here.forgotten == [("d", "t")]


async def test_a_check_that_fails_is_told_and_taken_back(autojump_clock, desk):
    listing = Listing(entry("d", "t", "ACTIVE"))
    listing.failure = response(403)
    here = desk(listing)
    here.validation.watch(("d", "t"))
    await trio.sleep(60)
    assert here.told["list"].startswith(
        "the check whether signals are validated failed: Databoom refuses the read_token (403"
    )
    assert set(here.report.problem_names) == {"databoom-list-unread"}
    listing.failure = None
    await trio.sleep(400)
    assert here.told == {}


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(validation_module, "SETTLES", 0.01)
    monkeypatch.setattr(validation_module, "AGAIN", 0.01)


async def until_told(b, text):
    with trio.fail_after(10):
        while text not in b.reports.topics.get("validation", ""):
            await trio.sleep(0.01)


async def until_taken_back(b):
    with trio.fail_after(10):
        while "validation" in b.reports.topics:
            await trio.sleep(0.01)


@pytest.mark.fact(
    "A 2xx may mean that nothing was stored: with a Read token each new signal must be "
    "listed as ACTIVE"
)
async def test_values_being_lost_are_told_until_someone_validates(bench, at_once):
    async with bench(meta=False, tokens=TOKENS, read_token=Secret(READ)) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        await until_told(b, "not validated: values are being lost: d1/t")
        b.emulator.cloud.validate("d1", "t")
        await until_taken_back(b)


@pytest.mark.fact("Signals on every page count as listed, whatever shape pages has")
@pytest.mark.parametrize("pages", ["number", "object", "missing"])
async def test_a_signal_on_a_later_page_is_no_alarm(bench, at_once, monkeypatch, pages):
    monkeypatch.setattr(validation_module, "PER_PAGE", 2)
    opened = bench(tokens=TOKENS, read_token=Secret(READ), rules={"pages": pages})
    async with opened as b:
        for device in ("d1", "d2"):
            for signal in ("t", "u", "v"):
                await b.sink.deliver(b.make.batch((signal, 1), device=device))
        b.emulator.cloud.signals["d2", "v"].status = "INIT"
        await until_told(b, "lost: d2/v;")


@pytest.mark.fact(
    "A signal renamed or deleted in Databoom is made anew by the next push: it is described again",
)
async def test_a_signal_deleted_in_databoom_is_described_again(bench, at_once):
    async with bench(tokens=TOKENS, read_token=Secret(READ)) as b:
        await b.sink.deliver(b.make.batch(("t", 1)))
        b.emulator.cloud.signals.clear()
        await until_told(b, "not validated")
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
        await until_told(b, "not validated")
        push, *lists = b.emulator.requests
        assert "authorization" not in push.headers
        assert all("apikey" not in request.headers and request.status == 200 for request in lists)
        assert READ not in repr(b.emulator.requests)

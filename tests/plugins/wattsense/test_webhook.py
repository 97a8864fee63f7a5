"""What a caller hears, and what is stored for it."""

import base64
import gzip
from datetime import UTC, datetime, timedelta
from functools import partial

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Accepted, HttpRejection, Request, Secret, encode
from bridge.testing.fakes import FakeMount, FakeReport, FixedClock, fake_source_context
from bridge_plugins.wattsense import bridge_source_kinds
from bridge_plugins.wattsense.emulator import bridge_emulators
from bridge_plugins.wattsense.emulator.messages import unwanted_items
from bridge_plugins.wattsense.emulator.signing import api_key, basic, bearer
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.webhook import make_receive, paths, run

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UNSIGNED = partial(Settings, signature="none")
ITEM = {"deviceId": "bx01", "property": "p1", "timestamp": 1700000000000, "payload": 21.5}


def receive(body, route="values", *, settings=None, method="POST", headers=None):
    if not isinstance(body, bytes):
        body = orjson.dumps(body)
    request = Request(method, f"/wattsense/{route}", "", headers or {}, body)
    return make_receive(settings or UNSIGNED(), route, lambda: NOW)(request)


def refused(body, route="values", **how):
    with pytest.raises(HttpRejection) as caught:
        receive(body, route, **how)
    return caught.value


@pytest.mark.fact("Framings: object, array, {data: [...]}")
@pytest.mark.parametrize("body", [ITEM, [ITEM], {"data": [ITEM]}])
def test_a_value_in_any_framing_is_stored_and_counted(body):
    accepted = receive(body)
    assert [(event.device, event.readings[0].value) for event in accepted.events] == [
        ("bx01", 21.5)
    ]
    assert (accepted.answer.status, accepted.answer.body) == (200, b'{"accepted":1,"dropped":0}')


@pytest.mark.fact("An empty array is success")
@pytest.mark.parametrize("body", [[], {"data": []}])
def test_an_empty_array_is_success(body):
    assert receive(body).answer.body == b'{"accepted":0,"dropped":0}'


@pytest.mark.fact("A dropped item is success towards Wattsense")
@pytest.mark.fact(
    "A batch with unusable items: 200, good ones stored, bad ones kept raw and counted",
)
@pytest.mark.fact("Mistake avoided: failing a batch for one bad item")
def test_one_bad_item_does_not_harm_its_neighbours():
    unwanted = unwanted_items(int(NOW.timestamp() * 1000))
    accepted = receive([ITEM, *unwanted, ITEM | {"property": "p2"}])
    assert accepted.answer.status == 200
    assert orjson.loads(accepted.answer.body) == {"accepted": 2, "dropped": 9}
    assert [event.data for event in accepted.events] == [ITEM, *unwanted, ITEM | {"property": "p2"}]
    assert [event.labels.get("dropped") for event in accepted.events][1:-1] == [
        "out-of-service",
        "future",
        "text",
        "object",
        "array",
        "null",
        "deviceId",
        "timestamp",
        "item",
    ]
    assert [bool(event.readings) for event in accepted.events] == [True, *[False] * 9, True]


@pytest.mark.fact("Stored: 200 with counts; 204 selectable")
def test_204_can_be_chosen_and_has_no_body():
    answer = receive(ITEM, settings=UNSIGNED(reply="204")).answer
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.fact("Items per request are capped: 413")
def test_the_number_of_values_in_a_request_has_a_limit():
    settings = UNSIGNED(most_items=2)
    assert len(receive([ITEM, ITEM], settings=settings).events) == 2
    assert refused([ITEM, ITEM, ITEM], settings=settings).status == 413


@pytest.mark.fact("NaN and Infinity are refused, they are not JSON")
@pytest.mark.fact("Not JSON or no framing: 400, selectable 200 and kept")
@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"21.5", b"null", b'"text"', b"[NaN]", b"[" * 300 + b"]" * 300]
)
@pytest.mark.parametrize("route", ["values", "events", "alarms"])
def test_what_is_not_json_is_refused_or_kept_as_chosen(body, route):
    assert refused(body, route).status == 400
    accepted = receive(body, route, settings=UNSIGNED(unreadable="keep"))
    (event,) = accepted.events
    assert (event.kind, event.readings) == ("unreadable", ())
    assert base64.b64decode(event.data["base64"]) == body
    assert accepted.answer.body == b'{"accepted":0,"dropped":1}'


def test_a_compressed_body_is_read():
    accepted = receive(gzip.compress(orjson.dumps([ITEM])), headers={"content-encoding": ("gzip",)})
    assert accepted.events[0].data == ITEM


def test_a_broken_compressed_body_is_refused_or_kept_as_it_came():
    body, headers = gzip.compress(orjson.dumps(ITEM))[:-9], {"content-encoding": ("gzip",)}
    assert refused(body, headers=headers).status == 400
    (event,) = receive(body, headers=headers, settings=UNSIGNED(unreadable="keep")).events
    assert base64.b64decode(event.data["base64"]) == body


@pytest.mark.parametrize("unreadable", ["refuse", "keep"])
def test_an_unknown_encoding_is_refused_in_any_case(unreadable):
    settings = UNSIGNED(unreadable=unreadable)
    assert refused(ITEM, headers={"content-encoding": ("br",)}, settings=settings).status == 415


@pytest.mark.fact(
    "Events and alarms are accepted as any JSON object or array, kept whole, and forward "
    "nothing by default"
)
@pytest.mark.parametrize(("route", "kind"), [("events", "event"), ("alarms", "alarm")])
@pytest.mark.parametrize("body", [{"deviceId": "bx01", "status": 1}, [1, 2], {}])
def test_events_and_alarms_are_kept_whole_and_forward_nothing(route, kind, body):
    accepted = receive(body, route)
    (event,) = accepted.events
    assert (event.kind, event.device, event.readings, event.data) == (kind, "unknown", (), body)
    assert event.time == NOW
    assert (accepted.answer.status, accepted.answer.body) == (200, b'{"accepted":1,"dropped":0}')


@pytest.mark.fact("An alarm is no duplicate of an event or value with the same body")
def test_an_alarm_is_no_duplicate_of_an_event_with_the_same_body():
    keys = {receive(ITEM, route).events[0].key for route in ("values", "events", "alarms")}
    assert len(keys) == 3
    assert receive(ITEM, "alarms").events[0].key in keys


@pytest.mark.fact("JSON is read only after the signature was verified")
def test_a_signature_is_checked_before_the_body_is_read(make_settings):
    assert refused(b"not json", settings=make_settings("github")).status == 401


@pytest.mark.fact("Gzip: the signature is over the bytes as received")
def test_the_signature_covers_the_bytes_as_received(make_settings, make_request):
    body = gzip.compress(orjson.dumps(ITEM))
    request = make_request("github", body, headers={"content-encoding": ("gzip",)})
    accepted = make_receive(make_settings("github"), "values", lambda: NOW)(request)
    assert accepted.events[0].data == ITEM


CALLERS = [
    ({"username": "ü", "password": Secret("pä:ss")}, basic("ü", "pä:ss"), basic("ü", "other")),
    ({"callers": {"a": Secret("1"), "b": Secret("2")}}, basic("b", "2"), basic("b", "1")),
    (
        {"username": "a", "password": Secret("2"), "callers": {"a": Secret("1")}},
        basic("a", "1"),
        basic("a", "0"),
    ),
    (
        {"username": "a", "password": Secret("2"), "callers": {"a": Secret("1")}},
        basic("a", "2"),
        basic("", ""),
    ),
    ({"bearer_token": Secret("abc")}, bearer("abc"), bearer("abd")),
    (
        {"bearer_token": Secret("abc"), "previous_bearer_token": (Secret("x"), Secret("y"))},
        bearer("y"),
        bearer("z"),
    ),
    (
        {"api_key_header": "X-Api-Key", "api_key": Secret("abc")},
        api_key("x-api-key", "abc"),
        api_key("x-api-key", "é"),
    ),
]


@pytest.mark.fact(
    "Callers authenticate by Basic, bearer or API key, several pairs and tokens for rotation; "
    "WWW-Authenticate only with Basic"
)
@pytest.mark.parametrize(("settings", "right", "wrong"), CALLERS)
def test_a_caller_is_known_by_its_credentials(settings, right, wrong):
    settings = UNSIGNED(**settings)
    as_headers = {name.lower(): (value,) for name, value in right.items()}
    assert receive(ITEM, settings=settings, headers=as_headers).events
    for headers in (
        {},
        {name.lower(): (value,) for name, value in wrong.items()},
        {name: values * 2 for name, values in as_headers.items()},
        dict.fromkeys(as_headers, ("é",)),
        dict.fromkeys(as_headers, ("Basic é",)),
        dict.fromkeys(as_headers, ("",)),
    ):
        refusal = refused(ITEM, settings=settings, headers=headers)
        assert refusal.status == 401
        challenged = any(name == "WWW-Authenticate" for name, _ in refusal.headers)
        assert challenged == (settings.username is not None or bool(settings.callers))


@pytest.mark.fact("Credentials do not replace a signature")
def test_credentials_do_not_replace_a_signature(make_settings, make_request):
    settings = make_settings("github", bearer_token=Secret("abc"))
    receive_values = make_receive(settings, "values", lambda: NOW)
    signed = make_request("github", b"[]")
    both = evolve(signed, headers={**signed.headers, "authorization": ("bearer  abc",)})
    assert receive_values(both) == Accepted(answer=receive_values(both).answer)
    for incomplete in (signed, evolve(both, headers={"authorization": ("Bearer abc",)})):
        with pytest.raises(HttpRejection):
            receive_values(incomplete)


@given(
    body=st.binary(max_size=60)
    | st.sampled_from([b"[", b"{}", b"[{}]", b'{"data":', b'{"data":[]}']),
    route=st.sampled_from(["values", "events", "alarms"]),
    unreadable=st.sampled_from(["refuse", "keep"]),
    encoding=st.sampled_from(["", "gzip", "deflate", "identity", "br", "é"]),
)
def test_any_body_is_accepted_or_refused(body, route, unreadable, encoding):
    headers = {"content-encoding": (encoding,)} if encoding else {}
    try:
        accepted = receive(body, route, settings=UNSIGNED(unreadable=unreadable), headers=headers)
    except HttpRejection as refusal:
        accepted, status = Accepted(), refusal.status
    else:
        status = accepted.answer.status
    assert status in ((200, 400, 413, 415) if unreadable == "refuse" else (200, 413, 415))
    for event in accepted.events:
        encode(event)


@pytest.mark.fact("A probe stores nothing")
def test_a_probe_is_answered_without_storing_anything(make_settings):
    accepted = receive(b"", method="GET", settings=make_settings("github", probe=True))
    assert (accepted.answer.status, accepted.events) == (200, ())


# ---- a token in the document


def by_member(**more):
    return Settings(
        signature="token",
        secret=Secret("k3y"),
        previous_secret=(Secret("old"),),
        token_member="key",
        **more,
    )


@pytest.mark.fact("Events and alarms are authenticated like values")
@pytest.mark.fact("A token may come in a JSON member (off by default), and is stored nowhere")
@pytest.mark.parametrize(
    "body",
    [
        ITEM | {"key": "k3y"},
        [ITEM | {"key": "old"}],
        {"data": [ITEM], "key": "k3y"},
    ],
)
def test_a_token_in_a_json_member_is_checked_and_stored_nowhere(body):
    (event,) = receive(body, settings=by_member()).events
    assert event.data == ITEM
    (alarm,) = receive({"status": "open", "key": "k3y"}, "alarms", settings=by_member()).events
    assert alarm.data == {"status": "open"}


@pytest.mark.fact("A document without the right token is 401, whatever else is wrong with it")
@pytest.mark.parametrize(
    "body",
    [
        ITEM,
        ITEM | {"key": "other"},
        ITEM | {"key": 7},
        ITEM | {"key": "é"},
        [ITEM | {"key": "k3y"}, ITEM],
        {"data": [ITEM | {"key": "k3y"}]},
        [],
        b"not json",
        b'"k3y"',
        b"",
    ],
)
@pytest.mark.parametrize("unreadable", ["refuse", "keep"])
def test_a_document_without_the_right_token_is_refused(body, unreadable):
    assert refused(body, settings=by_member(unreadable=unreadable)).status == 401


def test_a_body_that_could_hold_no_token_is_refused_as_unknown():
    assert refused(b"[1]", settings=by_member()).status == 401


# ---- the source as the core sees it


async def running(settings, nursery):
    mount, report = FakeMount(), FakeReport()
    (kind,) = bridge_source_kinds()
    assert kind.run is run
    context = fake_source_context("towers", mount=mount, report=report, clock=FixedClock(NOW))
    await nursery.start(partial(kind.run, settings, context))
    return mount, report


async def test_every_path_that_is_mounted_was_named_before(nursery):
    settings = UNSIGNED()
    mount, _ = await running(settings, nursery)
    assert sorted(mount.routes) == sorted(paths(settings))
    assert set(mount.methods.values()) == {("POST", "PUT")}


@pytest.mark.fact("Values, events and alarms arrive on three routes below one base URL")
async def test_each_route_gives_its_kind_of_event(nursery):
    mount, _ = await running(UNSIGNED(), nursery)
    for path, kind in (
        ("/wattsense/values", "value"),
        ("/wattsense/events", "event"),
        ("/wattsense/alarms", "alarm"),
    ):
        (event,) = mount.routes[path](Request("POST", path, "", {}, orjson.dumps(ITEM))).events
        assert event.kind == kind


@pytest.mark.fact("GET and HEAD answer 200 only with the probe option")
async def test_get_is_mounted_for_a_probe_only(nursery):
    mount, _ = await running(UNSIGNED(probe=True), nursery)
    assert set(mount.methods.values()) == {("POST", "PUT", "GET")}


@pytest.mark.fact("A configured path with too many slashes is mounted without them")
@pytest.mark.parametrize(
    ("path", "base"),
    [("/wattsense", "/wattsense"), ("/wattsense/", "/wattsense"), ("//a//b/", "/a/b"), ("/", "")],
)
def test_a_path_is_mounted_without_needless_slashes(path, base):
    assert paths(UNSIGNED(path=path)) == [f"{base}/values", f"{base}/events", f"{base}/alarms"]


@pytest.mark.fact("Accepting unsigned requests is reported at each start")
@pytest.mark.parametrize(
    ("settings", "words", "problems"),
    [
        (UNSIGNED(), "from anybody", ["wattsense-open-to-all"]),
        (UNSIGNED(bearer_token=Secret("abc")), "credentials alone", []),
        (Settings(signature="github", secret=Secret("abc")), "signature = github", []),
    ],
)
async def test_accepting_unsigned_requests_is_reported(settings, words, problems, nursery):
    _, report = await running(settings, nursery)
    (text,) = report.texts
    assert words in text
    assert "/wattsense/" in text
    assert report.problem_names == problems


def post(mount, route, body, headers=None):
    if not isinstance(body, bytes):
        body = orjson.dumps(body)
    return mount.routes[f"/wattsense/{route}"](
        Request("POST", f"/wattsense/{route}", "x=hunter2", headers or {}, body)
    )


@pytest.mark.fact(
    "Discovery logs header names and body length of the first N requests, never values, "
    "refused ones too"
)
async def test_discovery_logs_names_of_headers_and_no_value(nursery, caplog):
    settings = Settings(signature="github", secret=Secret("s"), discovery=2)
    mount, report = await running(settings, nursery)
    assert "set-up only" in report.problems[-1]
    assert report.problem_names == ["wattsense-discovery-on"]
    headers = {
        "x-watt-sign": ("hunter2",),
        "authorization": ("Basic hunter2",),
        "x-\x1b[31m": ("1", "2"),
    }
    for route in ("values", "alarms", "events"):
        with pytest.raises(HttpRejection):
            post(mount, route, b"hunter2", headers)
    first, second = (record.getMessage() for record in caplog.records)
    assert "towers: discovery 1 of 2: POST on values, body of 7 bytes" in first
    assert "x-watt-sign, authorization, x- [31m (2 times)" in first
    assert "2 of 2: POST on alarms" in second
    assert "hunter2" not in caplog.text
    assert "\x1b" not in caplog.text


async def test_discovery_names_so_many_headers_and_counts_the_rest(nursery, caplog):
    mount, _ = await running(UNSIGNED(discovery=1), nursery)
    post(mount, "values", ITEM, {f"x-{number}": ("1",) for number in range(63)})
    assert caplog.records[0].getMessage().endswith("x-59 and 3 more")


@pytest.mark.fact("Discovery is off by default")
async def test_without_discovery_nothing_is_logged_about_requests(nursery, caplog):
    mount, report = await running(
        Settings(signature="token", secret=Secret("s"), signature_header="X-T"), nursery
    )
    post(mount, "values", ITEM, {"x-t": ("s",)})
    assert not caplog.records
    assert not report.problems


@pytest.mark.fact(
    "A value flagged isOutOfService is not forwarded (out_of_service = skip) and counted",
)
async def test_dropped_values_are_counted_by_reason_in_powers_of_ten(
    nursery,
):
    settings = Settings(
        signature="token", secret=Secret("s"), signature_header="X-T", unreadable="keep"
    )
    mount, report = await running(settings, nursery)
    for number in range(12):
        items = [
            ITEM | {"timestamp": 1700000000000 + number, "isOutOfService": True},
            ITEM | {"property": None},
        ]
        post(mount, "values", items, {"x-t": ("s",)})
    post(mount, "values", b"no json", {"x-t": ("s",)})
    assert list(dict.fromkeys(report.texts))[1:] == [
        "kept and not forwarded: out-of-service 1+, property 1+",
        "kept and not forwarded: out-of-service 10+, property 10+",
        "kept and not forwarded: out-of-service 10+, property 10+, unreadable 1+",
    ]
    assert report.topics == {"dropped": report.texts[-1]}
    assert not report.problems


@pytest.mark.fact("Failed attempts are counted")
async def test_failed_attempts_are_counted_by_status(nursery):
    mount, report = await running(Settings(signature="github", secret=Secret("s")), nursery)
    for _ in range(10):
        with pytest.raises(HttpRejection):
            post(mount, "values", ITEM)
    assert report.topics["refused"].endswith("refused requests: 401 10+")
    assert len(set(report.texts)) == 3


@pytest.mark.fact("A text without a number is counted and reported")
async def test_a_text_without_a_number_is_reported_with_what_to_do(nursery):
    settings = Settings(
        signature="token",
        secret=Secret("s"),
        signature_header="X-T",
        alarm_signals={"alarm-status": "$.status"},
    )
    mount, report = await running(settings, nursery)
    answer = post(mount, "alarms", {"status": "escalated"}, {"x-t": ("s",)}).answer
    assert (answer.status, answer.body) == (200, b'{"accepted":0,"dropped":1}')
    assert report.problems == [
        "alarm, signal alarm-status: 'escalated' has no number; add it to alarm_numbers (1+ times)"
    ]
    assert report.topics["settings"] == report.problems[-1]
    assert report.problem_names == ["wattsense-settings-unfit"]


async def test_problems_that_strangers_cause_do_not_fill_the_memory(nursery):
    mount, report = await running(UNSIGNED(alarm_signals={"s": "$.status"}), nursery)
    for number in range(100):
        post(mount, "alarms", {"status": f"text {number}"})
    assert "text 19" in report.topics["settings"]
    assert "text 20" not in report.topics["settings"]


def test_the_plugin_offers_its_emulator():
    (kind,) = bridge_emulators()
    assert kind.name == "wattsense"


# ---- refusals, as the status shows them


def knocking(mount, headers=None, body=ITEM):
    with pytest.raises(HttpRejection) as caught:
        post(mount, "values", body, headers)
    return caught.value.status


async def signed_by_token(nursery, **more):
    clock = FixedClock(NOW)
    mount, report = FakeMount(), FakeReport()
    settings = Settings(signature="token", secret=Secret("hunter2"), signature_header="X-T", **more)
    context = fake_source_context("towers", mount=mount, report=report, clock=clock)
    await nursery.start(partial(run, settings, context))
    return mount, report, clock


async def test_refusals_are_a_problem_until_a_request_is_taken(nursery):
    mount, report, _ = await signed_by_token(nursery)
    assert knocking(mount, {"x-t": ("hunter3",)}) == 401
    assert report.problems[-1].startswith(
        "requests are refused (401): signature or credentials are missing or others"
    )
    assert "hunter" not in report.texts[-1]
    assert report.problem_names == ["wattsense-requests-refused"]
    assert report.topics["refused"] == report.problems[-1]
    post(mount, "values", [], {"x-t": ("hunter2",)})
    assert report.topics["refused"] == "refused requests: 401 1+"
    assert report.topics["refused"] not in report.problems


@pytest.mark.fact(
    "Failed attempts are a problem only while no request is taken: garbage of strangers is not",
)
async def test_garbage_is_no_problem_while_requests_are_taken(nursery):
    mount, report, clock = await signed_by_token(nursery)
    post(mount, "values", [], {"x-t": ("hunter2",)})
    clock.move(timedelta(seconds=59))
    knocking(mount)
    assert report.problems == []
    clock.move(timedelta(seconds=1))
    knocking(mount)
    assert len(report.problems) == 1


async def test_each_cause_of_refusals_is_named_with_what_to_do(nursery):
    mount, report, _ = await signed_by_token(nursery)
    token = {"x-t": ("hunter2",)}
    assert knocking(mount, token, b"no json") == 400
    assert knocking(mount, token | {"content-encoding": ("br",)}) == 415
    assert "unreadable = keep" in report.problems[-1]
    assert "not gzip" in report.problems[-1]


async def test_requests_with_too_many_values_stay_a_problem(
    nursery,
):
    mount, report, _ = await signed_by_token(nursery, most_items=1)
    token = {"x-t": ("hunter2",)}
    post(mount, "values", [ITEM], token)
    assert knocking(mount, token, [ITEM, ITEM]) == 413
    assert "raise most_items" in report.topics["settings"]
    post(mount, "values", [ITEM], token)
    assert report.topics["settings"] == report.problems[-1]

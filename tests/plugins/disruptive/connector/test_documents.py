"""The connector as it should be and as it is: what differs, what is sent, what is
shown.
"""

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Secret, Url
from bridge_plugins.disruptive.connector.documents import (
    Connector,
    Metrics,
    Wanted,
    create_body,
    differences,
    fingerprint,
    patch_body,
    pushing_to,
    read_connector,
    read_metrics,
    secrets_in,
    shown,
    shown_url,
    wanted_connector,
)
from bridge_plugins.disruptive.settings import Settings

URL = "https://bridge.example.org/dt/site-a"
# The example of the vendor documentation.
ANSWER = {
    "name": "projects/p1/dataconnectors/c1",
    "displayName": "bridge",
    "type": "HTTP_PUSH",
    "status": "ACTIVE",
    "events": ["temperature", "humidity"],
    "labels": ["name"],
    "httpConfig": {
        "url": URL,
        "signatureSecret": "hook-secret",
        "headers": {"X-Bridge-Key": "static-secret"},
    },
}
WANTED = Wanted(
    url=URL,
    display_name="bridge",
    events=("humidity", "temperature"),
    labels=("name",),
    secret=Secret("hook-secret"),
    headers={"X-Bridge-Key": Secret("static-secret")},
)
AS_WANTED = read_connector(ANSWER)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def with_config(**members):
    return read_connector({**ANSWER, "httpConfig": {**ANSWER["httpConfig"], **members}})


# Reading


@pytest.mark.fact("The id of a resource is the last segment of its name")
def test_a_connector_is_read_whole():
    found = read_connector(ANSWER)
    assert found == Connector(
        id="c1",
        type="HTTP_PUSH",
        status="ACTIVE",
        display_name="bridge",
        events=("temperature", "humidity"),
        labels=("name",),
        url=URL,
        secret=Secret("hook-secret"),
        headers={"X-Bridge-Key": Secret("static-secret")},
    )


def test_a_connector_of_another_type_has_no_url():
    found = read_connector({"name": "projects/p1/dataconnectors/c2", "type": "GOOGLE_CLOUD_PUBSUB"})
    assert (found.id, found.type, found.url, found.secret, found.headers) == (
        "c2",
        "GOOGLE_CLOUD_PUBSUB",
        "",
        None,
        None,
    )


@pytest.mark.parametrize(
    "answer", [{}, {"name": 7}, {"name": ""}, {"name": "projects/p1/dataconnectors/"}]
)
def test_a_connector_without_a_name_cannot_be_read(answer):
    with pytest.raises(ValueError, match="with a name"):
        read_connector(answer)


@given(
    members=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("type", "status", "events", "labels", "httpConfig"), json_values),
    ),
    config=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("url", "signatureSecret", "headers"), json_values)
    ),
)
def test_a_named_connector_of_any_members_is_read_and_corrected(members, config):
    for answer in ({"name": "c", **members}, {"name": "c", "httpConfig": config}):
        found = read_connector(answer)
        json.dumps([shown(found), patch_body(WANTED, found, differences(WANTED, found))])


@pytest.mark.fact("Numbers of metrics may be texts or missing, latency a text with s")
@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"successCount": 44, "errorCount": 0, "latency99p": "0.663s"}, Metrics(44, 0, "0.663s")),
        ({"successCount": "44", "errorCount": "3"}, Metrics(44, 3, "")),
        ({"successCount": "many", "errorCount": True, "latency99p": 3}, Metrics(None, None, "")),
        (None, Metrics()),
    ],
)
def test_metrics_may_be_numbers_texts_or_missing(metrics, expected):
    assert read_metrics({"metrics": metrics}) == expected


# What is wanted


def test_the_settings_say_what_is_wanted():
    settings = Settings(
        secret=Secret("s"),
        public_url=Url(URL),
        events=("touch",),
        connector_labels=("name", "room"),
        header_name="X-Key",
        header_value=Secret("v"),
    )
    expected = Wanted(
        URL, "bridge sensors", ("touch",), ("name", "room"), Secret("s"), {"X-Key": Secret("v")}
    )
    assert wanted_connector(settings, "sensors") == expected
    assert (
        wanted_connector(evolve(settings, display_name="Attic"), "sensors").display_name == "Attic"
    )


def test_without_a_secret_and_a_header_none_are_wanted():
    wanted = wanted_connector(Settings(scheme="none", public_url=Url(URL)), "sensors")
    assert (wanted.secret, wanted.headers) == (None, {})


# Which one is ours


@pytest.mark.fact("Connectors of other types are never taken for ours")
def test_ours_pushes_over_http_to_our_url():
    other = evolve(AS_WANTED, id="c2", url=URL + "2")
    foreign = evolve(AS_WANTED, id="c3", type="AZURE_EVENT_HUB")
    assert pushing_to([other, foreign, AS_WANTED], URL) == [AS_WANTED]


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://BRIDGE.example.org/dt/site-a", True),
        ("https://bridge.example.org:443/dt/site-a", True),
        ("https://bridge.example.org:8443/dt/site-a", False),
        ("http://bridge.example.org/dt/site-a", False),
        ("https://bridge.example.org/dt/site-A", False),
        ("https://bridge.example.org/dt/site-a/", False),
        ("https://bridge.example.org/dt/site-a?x=1", False),
        ("https://[", False),
        ("https://a:b", False),
    ],
)
def test_a_url_is_compared_as_an_address(url, same):
    assert bool(pushing_to([evolve(AS_WANTED, url=url)], URL)) == same


def test_an_active_connector_comes_before_a_disabled_one():
    disabled = evolve(AS_WANTED, id="c0", status="USER_DISABLED")
    assert pushing_to([disabled, AS_WANTED], URL) == [AS_WANTED, disabled]


# Differences


def test_the_order_of_types_and_labels_is_no_difference():
    assert differences(WANTED, AS_WANTED) == ()


@pytest.mark.fact("PATCH sends only the members to change")
@pytest.mark.fact("Events empty means all types")
@pytest.mark.parametrize(
    ("found", "text", "body"),
    [
        (
            with_config(url="https://old.example.org/x"),
            "URL is https://old.example.org/x, expected https://bridge.example.org/dt/site-a",
            {"httpConfig": {"url": URL}},
        ),
        (
            evolve(AS_WANTED, display_name="x"),
            "name is 'x', expected 'bridge'",
            {"displayName": "bridge"},
        ),
        (
            evolve(AS_WANTED, events=()),
            "event types are all, expected humidity, temperature",
            {"events": ["humidity", "temperature"]},
        ),
        (
            evolve(AS_WANTED, labels=("a", "b")),
            "labels are a, b, expected name",
            {"labels": ["name"]},
        ),
        (
            with_config(signatureSecret="other-secret"),
            "secret differs",
            {"httpConfig": {"signatureSecret": "hook-secret"}},
        ),
        (
            with_config(headers={"X-Bridge-Key": "old"}),
            "header X-Bridge-Key differs",
            {"httpConfig": {"headers": {"X-Bridge-Key": "static-secret"}}},
        ),
        (
            with_config(headers={"X-Bridge-Key": ""}),
            "header X-Bridge-Key differs",
            {"httpConfig": {"headers": {"X-Bridge-Key": "static-secret"}}},
        ),
        (
            with_config(headers={}),
            "header X-Bridge-Key is missing",
            {"httpConfig": {"headers": {"X-Bridge-Key": "static-secret"}}},
        ),
    ],
)
def test_one_difference_changes_one_member(found, text, body):
    [difference] = differences(WANTED, found)
    assert difference.text == text
    assert patch_body(WANTED, found, [difference]) == body


@pytest.mark.fact("PATCH of headers: merged or replaced is unknown, so the whole map is sent")
def test_headers_of_others_are_sent_along_so_that_none_is_lost():
    found = with_config(headers={"X-Proxy": "theirs", "X-Empty": "", "x-bridge-key": "old"})
    body = patch_body(WANTED, found, differences(WANTED, found))
    expected = {"X-Proxy": "theirs", "X-Empty": "", "X-Bridge-Key": "static-secret"}
    assert body == {"httpConfig": {"headers": expected}}


def test_header_names_are_compared_in_any_case():
    assert differences(WANTED, with_config(headers={"x-BRIDGE-key": "static-secret"})) == ()


@pytest.mark.parametrize("value", [None, ""])
def test_a_secret_not_shown_is_set_unless_known_to_be_ours(value):
    found = with_config(signatureSecret=value)
    [difference] = differences(WANTED, found)
    assert difference.text == "secret is not shown, and not known to be ours"
    assert differences(WANTED, found, same_secret=True) == ()


def test_headers_not_shown_are_set_unless_known_to_be_ours():
    found = with_config(headers=None)
    [difference] = differences(WANTED, found)
    assert difference.text == "headers are not shown, and not known to be ours"
    assert differences(WANTED, found, same_headers=True) == ()


def test_a_shown_secret_that_differs_is_always_set():
    found = with_config(signatureSecret="other-secret", headers={"X-Bridge-Key": "old"})
    assert len(differences(WANTED, found, same_secret=True, same_headers=True)) == 2


def test_what_the_settings_do_not_name_is_left_alone():
    wanted = evolve(WANTED, secret=None, headers={})
    assert differences(wanted, with_config(signatureSecret="x", headers={"X-Theirs": "y"})) == ()


@pytest.mark.fact("Mistake: logging unredacted connectors")
def test_no_difference_and_no_representation_holds_a_secret():
    found = with_config(signatureSecret="other-secret", headers={"X-Bridge-Key": "old-secret"})
    said = differences(WANTED, found)
    assert len(said) == 2
    for text in (repr(said), repr(found), repr(WANTED), json.dumps(shown(found))):
        assert "secret" not in text.replace("signatureSecret", "").replace(
            "secret differs", ""
        ).replace("secret=", "")


def test_what_is_sent_names_its_secrets_for_errors_to_hide():
    found = with_config(headers={"X-Proxy": "theirs"}, signatureSecret="x")
    body = patch_body(WANTED, found, differences(WANTED, found))
    assert set(secrets_in(body)) == {"hook-secret", "theirs", "static-secret"}
    assert secrets_in({"status": "ACTIVE"}) == [""]


# Creating


def test_a_connector_is_created_with_everything_that_is_wanted():
    assert create_body(WANTED) == {
        "type": "HTTP_PUSH",
        "status": "ACTIVE",
        "displayName": "bridge",
        "events": ["humidity", "temperature"],
        "labels": ["name"],
        "httpConfig": ANSWER["httpConfig"],
    }


@pytest.mark.fact("Only type and httpConfig.url are needed to create; labels are always set")
def test_labels_are_always_set_because_dt_would_send_none():
    assert create_body(Wanted(URL, "bridge"))["labels"] == []
    assert create_body(Wanted(URL, "bridge"))["httpConfig"] == {"url": URL}


def test_what_was_created_as_wanted_has_no_differences():
    assert (
        differences(
            WANTED, read_connector({"name": "projects/p1/dataconnectors/c", **create_body(WANTED)})
        )
        == ()
    )


# Showing


def test_a_connector_is_shown_without_its_secrets():
    assert shown(AS_WANTED) == {
        "id": "c1",
        "displayName": "bridge",
        "type": "HTTP_PUSH",
        "status": "ACTIVE",
        "events": ["temperature", "humidity"],
        "labels": ["name"],
        "httpConfig": {
            "url": URL,
            "signatureSecret": "********",
            "headers": {"X-Bridge-Key": "********"},
        },
    }


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            "https://user:password@host.example.org:8443/a?token=secret#x",
            "https://host.example.org:8443/a?...",
        ),
        ("https://[", "a URL that cannot be read"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret_in_it(url, text):
    assert shown_url(url) == text


def test_a_fingerprint_tells_only_whether_secrets_are_the_same():
    salt = "00ff"
    assert fingerprint(salt, "a", "b") == fingerprint(salt, "a", "b")
    assert fingerprint(salt, "a", "b") != fingerprint(salt, "b", "a")
    assert fingerprint(salt, "secret") != fingerprint("00fe", "secret")
    assert "secret" not in fingerprint(salt, "secret")

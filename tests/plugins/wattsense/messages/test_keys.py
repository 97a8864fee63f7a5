"""Keys: the same for the same message, for ever, whoever writes its JSON."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Request
from bridge.api.former import former_digests
from bridge_plugins.wattsense.messages.keys import digest
from bridge_plugins.wattsense.settings import Settings
from bridge_plugins.wattsense.webhook import make_receive

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SAMPLES = [
    orjson.loads(line)
    for line in (Path(__file__).parents[3] / "data" / "wattsense_messages.jsonl")
    .read_bytes()
    .splitlines()
]
SETTINGS = Settings(
    signature="none",
    alarm_signals={"status": "$[*].status", "value": "$[*].value"},
    alarm_numbers={"open": "1", "closed": "0"},
    alarm_device="$[*].deviceId",
)


def events(sample, now=NOW, settings=SETTINGS, body=None):
    receive = make_receive(settings, sample["route"], lambda: now)
    content = orjson.dumps(sample["body"]) if body is None else body
    return receive(Request("POST", "/", "", {}, content)).events


def keys(sample, **how):
    return [(event.key, event.former_keys) for event in events(sample, **how)]


@pytest.mark.fact("A message has the same key whenever it comes")
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_message_has_the_same_key_a_month_later(sample):
    assert keys(sample) == keys(sample, now=NOW + timedelta(days=31))


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_message_written_otherwise_has_the_same_key(sample):
    def turned(value):
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    body = orjson.dumps(turned(sample["body"]), option=orjson.OPT_INDENT_2)
    body = body.replace(b"21.5", b"2.15E1").replace(b"215", b"215.0")
    assert keys(sample, body=body) == keys(sample)


@pytest.mark.fact("Keys never change; those of version 1.0 are known as former ones")
@pytest.mark.parametrize("sample", SAMPLES)
def test_keys_are_for_ever_and_version_1_knew_the_former_ones(sample):
    # Both are written out in the samples: spools hold them.
    assert [event.key for event in events(sample)] == sample["keys"]
    for event, key in zip(events(sample), sample["version_1_keys"], strict=True):
        assert key in event.former_keys


def test_samples_that_differ_have_keys_that_differ():
    made = [event.key for sample in SAMPLES for event in events(sample)]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    ("fields", "spelling"),
    [
        (["a", 1], "l2:s1:ai1;"),
        ([True, False, None], "l3:tfn"),
        ([21.0, -0.0, 21.5], "l3:i21;i0;x0x1.5800000000000p+4;"),
        ([1e16, 10**16], "l2:x0x1.1c37937e08000p+53;i10000000000000000;"),
        ([{"b": [], "a": "é;"}], "l1:d2:s1:as2:é;s1:bl0:"),
    ],
)
def test_a_key_is_the_hash_of_contents_in_our_own_spelling(fields, spelling):
    assert digest(*fields) == hashlib.sha256(spelling.encode()).hexdigest()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("si1:;", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab:"), inner, max_size=3),
    max_leaves=8,
)


@given(one=JSON, other=JSON)
def test_contents_that_differ_are_spelled_differently(one, other):
    same = former_digests(whole(one)) == former_digests(whole(other))
    assert (digest(one) == digest(other)) == same


def whole(value):
    """Return a value in which 21.0 is 21 and 1e16 is not 10**16, as in a key."""
    if isinstance(value, dict):
        return {name: whole(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    return f"#{value!r}" if isinstance(value, int | float) else value

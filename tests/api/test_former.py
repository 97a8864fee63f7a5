"""What version 1.0 left behind: keys of JSON that orjson wrote, in two spellings."""

from __future__ import annotations

from hashlib import sha256

import pytest

from bridge.api.former import former_digests


@pytest.mark.parametrize(
    ("value", "spellings"),
    [
        ({"b": 1, "a": [0.5, "1e16"]}, ['{"a":[0.5,"1e16"],"b":1}']),
        ([1e16, -2.5e17], ["[1e16,-2.5e17]", "[1e+16,-2.5e+17]"]),
        ({"1e+16": 1e22}, ['{"1e+16":1e22}', '{"1e+16":1e+22}']),
        (['"1e16', 1e16], [r'["\"1e16",1e16]', r'["\"1e16",1e+16]']),
        ([1e-7, 5e-324], ["[1e-7,5e-324]"]),
        (1.7976931348623157e308, ["1.7976931348623157e308", "1.7976931348623157e+308"]),
    ],
)
def test_a_value_has_the_digests_of_both_spellings(value, spellings):
    assert former_digests(value) == tuple(sha256(each.encode()).hexdigest() for each in spellings)


def test_what_was_hashed_before_a_value_is_hashed_again():
    before = sha256(b"undecodable\0" + b'{"b":1,"a":2}').hexdigest()
    assert former_digests({"b": 1, "a": 2}, before=b"undecodable\0", sort_keys=False) == (before,)

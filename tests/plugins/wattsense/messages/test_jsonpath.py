"""Which places of a document a JSON path means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_plugins.wattsense.messages.jsonpath import compile_path, find

ALARM = {
    "status": "open",
    "alert": {"states": [1, 2]},
    "a b.c": 7,
    "alerts": [{"n": 1}, {"n": 2}, {}],
    "null": None,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.status", ["open"]),
        ("status", ["open"]),
        ("alert.states[1]", [2]),
        ("$.alert.states[*]", [1, 2]),
        ("$.alert.states[2]", []),
        ("$.alerts[*].n", [1, 2]),
        ("$['a b.c']", [7]),
        ("['a b.c']", [7]),
        ("$.null", [None]),
        ("$.missing.deeper", []),
        ("$.status[0]", []),
        ("$.alerts.n", []),
        ("$.alert[*]", []),
        ("$[0]", []),
    ],
)
def test_a_path_means_what_stands_there_or_nothing(path, found):
    assert list(find(compile_path(path), ALARM).values()) == found


@pytest.mark.parametrize(
    "path",
    ["", "$", "$.", "$..a", "$.a[", "$.a[x]", "$.a[-1]", "$.a b", "$['']", "a]", "$.a.", "."],
)
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="a JSON path such as"):
        compile_path(path)


def test_a_match_says_which_elements_the_stars_stood_for():
    document = [{"x": [1, 2]}, {"x": [3]}]
    assert find(compile_path("$[*].x[*]"), document) == {(0, 0): 1, (0, 1): 2, (1, 0): 3}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(path=st.text("$.[]*ab0'", max_size=12), document=JSON)
def test_any_path_is_refused_or_finds_something_or_nothing(path, document):
    try:
        compiled = compile_path(path)
    except ValueError:
        return
    stars = len(compiled.lists)
    assert all(len(at) == stars for at in find(compiled, document))

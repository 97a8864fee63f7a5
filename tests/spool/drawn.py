"""What may be done to a spool, in any order."""

from hypothesis import strategies as st

from bridge.testing.arrivals import GAUGE, METER
from tests.spool.model import BATCH, SINKS

DEVICES = [METER, GAUGE, "pump"]  # the last one in the other lane
NAMES = [*SINKS, "three"]

sinks = st.sampled_from(SINKS)
number = st.integers(0, 5)
hours = st.integers(0, 4)
events = st.tuples(
    st.none() | st.integers(0, 25).map(str),
    st.sampled_from(DEVICES),
    st.sampled_from(["towers", "gate"]),
    hours,
)
fates = st.lists(st.sampled_from(["deliver", "filter", "die", "park"]), min_size=1)
due = st.sampled_from([True, True, False])
append = st.tuples(st.just("append"), st.lists(events, min_size=1, max_size=8))
take = st.tuples(st.just("take"), sinks, st.booleans())
settle = st.tuples(st.just("settle"), number, st.sampled_from([BATCH, BATCH, 2, 1, 0]), fates, due)
deliver = st.tuples(st.just("deliver"), take, settle)
together = st.tuples(st.just("together"), st.lists(settle, max_size=3), append)
replay = st.tuples(st.just("replay"), st.lists(number, min_size=1, max_size=3))
stop_replay = st.tuples(st.just("stop replay"), sinks)
rare = st.one_of(
    st.tuples(st.just("give back"), number),
    st.tuples(st.just("retry"), sinks, st.none() | st.sampled_from(DEVICES)),
    st.tuples(st.just("drop"), number),
    st.tuples(st.just("rewind"), st.sampled_from(NAMES), hours),
    st.tuples(st.just("prune")),
    st.tuples(st.just("clock"), st.integers(-400, 400)),
)
purge = st.tuples(st.just("purge"), st.sampled_from(NAMES))
rename = st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES))
sources = st.sampled_from(["towers", "gate", "third"])
rename_source = st.tuples(st.just("rename source"), sources, sources)
close, crash = st.tuples(st.just("close")), st.tuples(st.just("crash"))


def weighted(weights):
    """Choose by weights, as ``one_of`` does not, which drops what it has already."""
    chosen = [each for each, weight in weights.items() for _ in range(weight)]
    return st.sampled_from(chosen).flatmap(lambda strategy: strategy)


steps = weighted(
    {append: 3, deliver: 6, take: 2, settle: 3, together: 1, replay: 2, stop_replay: 1, rare: 4}
)
ends = weighted({close: 1, crash: 1, purge: 3, rename: 2, rename_source: 1})
lives = st.lists(
    st.tuples(
        st.tuples(*[st.sampled_from(["now", "beginning"])] * 2),
        st.lists(steps, min_size=10, max_size=60),
        ends,
    ),
    min_size=2,
    max_size=4,
)

"""For authors of plugins and of engines: fakes that keep the contract, and suites that
hold others to it.

memory.py           a spool in memory, with knobs to make things go wrong
spool_contract/     what every engine of the spool must pass (needs pytest)
arrivals.py         events for tests that have a spool
fakes.py            an outlet, contexts and a clock, for tests of sources and sinks
"""

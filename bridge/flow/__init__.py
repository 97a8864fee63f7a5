"""Moving events: from the sources into the spool, and from the spool to the sinks.

ingest.py     the way in: outlet, memory channel, group commit
delivery.py   the way out: a feeder and lanes for each sink
lanes.py      one lease from first attempt to last settlement
retry.py      when to try again: backoff and the breaker
supervision.py  restarts of what crashed
states.py     which state each instance is in, told once per change
"""

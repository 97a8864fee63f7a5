"""The spool contract: the durable log between sources and sinks.

It is small enough that an engine shared by several nodes can keep it as well:

* ``append`` is atomic, durable on return, and knows duplicates by (source, key) in the
  same transaction.
* A *lane* is a share of the devices (:func:`lane_of`); the events of a lane are read in
  order.
* ``subscribe`` lends batches, each of one lane, in order, one in hand per lane.
* ``settle`` moves the lane's cursor by compare-and-set, together with dead letters and
  parked events, in one transaction.
* What waits for one device alone is *parked*: copied aside, in order, so that its lane
  goes on. A device is in at most one lease at one sink.
* A replay of a dead letter parks its event, due at once. A rewind moves cursors back,
  as far as events are kept.
* What was not settled is lent again. What was cancelled may have been done.
* Every sink keeps its own cursors, under its name. Nothing is deleted that a sink still
  owes, unless a bound was set that says so, and then it is counted as expired.
* Ages count time for which the bridge ran; the wall clock only stamps.
"""

from bridge.api.spool.balance import Account, Audit, ParkedDevice
from bridge.api.spool.engine import (
    OpenSpool,
    Spool,
    SpoolContext,
    SpoolError,
    WrongSpoolError,
    lane_of,
)
from bridge.api.spool.lending import DeadLetter, Lease, Parking, Stale, Subscription
from bridge.api.spool.letters import KeptLetter, LetterEvent, LetterFilter, Rewind

__all__ = [
    "Account",
    "Audit",
    "DeadLetter",
    "KeptLetter",
    "Lease",
    "LetterEvent",
    "LetterFilter",
    "OpenSpool",
    "ParkedDevice",
    "Parking",
    "Rewind",
    "Spool",
    "SpoolContext",
    "SpoolError",
    "Stale",
    "Subscription",
    "WrongSpoolError",
    "lane_of",
]

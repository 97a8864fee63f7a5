"""Emulator of DT: how connectors deliver, and by what.

Times are known from vendor documentation, except the spacing of retries, which DT does
not tell.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import httpx
import trio
from attrs import define, frozen


@frozen
class Delivery:
    """How a connector delivers."""

    spacing: float = 5.0
    """Seconds from a failed attempt to the next (assumed)."""
    jitter: float = 0.1
    """Share of the spacing that is added by chance, at most (assumed)."""
    answer_limit: float = 10.0
    """Seconds in which a request must be answered."""
    keep: timedelta = timedelta(hours=12)
    """Age at which an event is dropped."""
    disable_after: timedelta = timedelta(days=5)
    """Time of failures without a success after which the connector is disabled."""
    exactly_200: bool = True
    """False counts any 2xx as success: DT's pages say both."""
    parallel: int = 8
    """Pushes under way at one time, each on a connection that is kept open."""
    sign_anew: bool = True
    """Whether each attempt is signed when it is made (assumed); False: with the secret
    and the time of the first.
    """
    one_queue: bool = False
    """Whether a failing event holds up those of all devices, instead of its own
    (unknown).
    """
    late: float = 3600.0
    """Seconds after which a late retry comes."""


@define(eq=False)
class Network:
    """What all connectors of a cloud use, and end with it."""

    client: httpx.AsyncClient
    verify: ssl.SSLContext | bool
    """How to verify the certificate of the bridge."""
    deliveries: trio.Nursery
    now: Callable[[], datetime]
    random: Random

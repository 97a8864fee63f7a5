"""Events for tests that have a spool: made in one word, taken out in another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from bridge.api import Arrival, Event, Reading, Stored, encode
from bridge.api.spool import Account, Spool, Subscription

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def arrival(
    key: str,
    device: str = "meter",
    *,
    source: str = "sensors",
    received: datetime = TIME,
    former_keys: tuple[str, ...] = (),
) -> Arrival:
    """Make an event on its way into the spool, with the key as its reading."""
    event = Event(key, device, "temperature", TIME, (Reading("name", key, TIME),))
    return Arrival(source, key, device, encode(event), received, former_keys)


def arrivals(*keys: str, device: str = "meter", source: str = "sensors") -> list[Arrival]:
    """Make several events of one device."""
    return [arrival(key, device, source=source) for key in keys]


def keys_of(events: Sequence[Stored]) -> list[str]:
    """Return the keys of events, in order."""
    return [stored.event.key for stored in events]


async def take_all(subscription: Subscription, count: int) -> list[Stored]:
    """Take and settle until so many events have come."""
    taken: list[Stored] = []
    while len(taken) < count:
        lease = await subscription.take()
        taken += lease.events
        await lease.settle(len(lease.events))
    return taken


async def account_of(spool: Spool, sink: str) -> Account:
    """Return the account of one sink."""
    (account,) = [account for account in await spool.accounts([sink]) if account.sink == sink]
    return account

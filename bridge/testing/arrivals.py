"""Events for tests that have a spool: made in one word, taken out in another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import trio

from bridge.api import Arrival, Event, Reading, Stored, encode
from bridge.api.spool import Account, DeadLetter, Lease, LetterFilter, Parking, Spool, Subscription

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

# Devices of one lane, however many lanes there are up to 16, or 32 or 64: the CRC-32
# of their names agree modulo the least common multiple of these.
METER, GAUGE, VALVE = NEIGHBOURS = ("meter", "gauge-2897324", "valve-638947")


def arrival(
    key: str,
    device: str = "meter",
    *,
    source: str = "sensors",
    received: datetime = TIME,
    former_keys: tuple[str, ...] = (),
    key_time: datetime | None = None,
    keyless: bool = False,
) -> Arrival:
    """Make an event on its way into the spool, with the key as its reading; with that
    alone if it is ``keyless``.
    """
    reading = Reading("name", key, TIME)
    event = Event(None if keyless else key, device, "temperature", TIME, (reading,))
    return Arrival(source, event.key, device, encode(event), received, former_keys, key_time)


def arrivals(*keys: str, device: str = "meter", source: str = "sensors") -> list[Arrival]:
    """Make several events of one device."""
    return [arrival(key, device, source=source) for key in keys]


def keys_of(events: Sequence[Stored]) -> list[str]:
    """Return the keys of events, in order, of those that have one."""
    return [key for stored in events if (key := stored.event.key) is not None]


def parking(
    events: Sequence[Stored],
    *devices: str,
    after: float = 0.0,
    attempts: int = 1,
    why: str = "unknown device",
) -> list[Parking]:
    """Park all events of these devices."""
    return [
        Parking(
            device,
            tuple(index for index, stored in enumerate(events) if stored.event.device == device),
            why,
            after,
            attempts,
        )
        for device in devices
    ]


def refused(*indexes: int, reason: str = "refused") -> list[DeadLetter]:
    """Make dead letters of events of a lease."""
    return [DeadLetter(index, reason, 422, 1, TIME) for index in indexes]


async def take_all(subscription: Subscription, count: int) -> list[Stored]:
    """Take and settle until so many events have come."""
    taken: list[Stored] = []
    while len(taken) < count:
        lease = await subscription.take()
        taken += lease.events
        await lease.settle(len(lease.events))
    return taken


async def take_any(subscription: Subscription) -> Lease:
    """Take a lease of a lane or of a parked device, whichever comes first."""
    found: list[Lease] = []

    async def take(how: Callable[[], Awaitable[Lease]]) -> None:
        lease = await how()
        if found:
            lease.give_back()
        found.append(lease)
        takers.cancel_scope.cancel()

    async with trio.open_nursery() as takers:
        takers.start_soon(take, subscription.take)
        takers.start_soon(take, subscription.take_parked)
    return found[0]


async def account_of(spool: Spool, sink: str) -> Account:
    """Return the account of one sink."""
    (account,) = [account for account in await spool.accounts([sink]) if account.sink == sink]
    return account


async def park_all(subscription: Subscription, *devices: str, after: float = 3600.0) -> None:
    """Take a lease and park what it holds of these devices; the rest is delivered."""
    lease = await subscription.take()
    await lease.settle(len(lease.events), park=parking(lease.events, *devices, after=after))


async def refuse_all(spool: Spool, subscription: Subscription) -> list[int]:
    """Take a lease and make dead letters of what it holds; returns their numbers."""
    before = await spool.letters(LetterFilter(), limit=1000)
    lease = await subscription.take()
    await lease.settle(len(lease.events), dead=refused(*range(len(lease.events))))
    after = await spool.letters(LetterFilter(), limit=1000)
    return [letter.id for letter in after if letter not in before]


async def balance_of(spool: Spool, sink: str) -> dict[str, int]:
    """Return what is not 0 in the account of one sink, once it adds up."""
    account = await account_of(spool, sink)
    assert account.balanced, account
    names = ("received", "again", "delivered", "dead", "filtered", "expired", "pending", "parked")
    return {name: count for name in names if (count := getattr(account, name))}

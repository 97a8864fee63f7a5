"""How far one sink has come in one lane, and what became of the events below."""

from __future__ import annotations

from attrs import Factory, evolve, field, frozen

# sequence = lane * LANE + position, so that it is unique and ascends within a device.
LANE = 1 << 48


def position_of(sequence: int) -> int:
    """Return the position of an event in its lane; the first one has 1."""
    return sequence % LANE


def lane_part(sequence: int) -> int:
    """Return the lane of a sequence number."""
    return sequence // LANE


@frozen
class Cursor:
    """A cursor and its counters.

    ``position + again - start`` events are delivered, filtered, dead, expired or
    parked.
    """

    start: int
    position: int
    filtered: int = 0
    dead: int = 0
    expired: int = 0
    again: int = 0
    """Put back by a rewind, or by a replay of letters of a purged life."""
    rewound: int = 0
    """Up to this position events are lent again."""
    delivered: int = field(
        default=Factory(
            lambda self: self.position - self.start - self.filtered - self.dead, takes_self=True
        ),
        kw_only=True,
    )

    def settled(self, count: int, *, filtered: int = 0, dead: int = 0) -> Cursor:
        """Return it after so many events have found their end, those not named as
        filtered or dead delivered.
        """
        return evolve(
            self,
            filtered=self.filtered + filtered,
            dead=self.dead + dead,
            delivered=self.delivered + count - filtered - dead,
        )

    def at(self, position: int) -> Cursor:
        """Return it at another position, with the same counters."""
        return evolve(self, position=position)

    def counted(self, *, dead: int = 0, expired: int = 0, again: int = 0) -> Cursor:
        """Return it with counters that went up or down."""
        return evolve(
            self,
            dead=self.dead + dead,
            expired=self.expired + expired,
            again=self.again + again,
        )

"""The paths of one listener: who owns each, and what is mounted on it now.

A path is *declared* once at start, by the settings of a source, and stays known for as
long as the bridge runs. A source *mounts* a receive function on it while it runs. So a
caller can be told apart: 404 for a path that nobody has (a spelling mistake in the
vendor's console), 503 for a source that is being restarted (try again).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from bridge.api import Mount, Outlet, Receive

_SLASHES = re.compile(r"/{2,}")


@attrs.frozen
class Mounted:
    """What a source has put on a path."""

    receive: Receive
    methods: frozenset[str]
    allow: str
    """The methods, as the header ``Allow`` has them."""
    outlet: Outlet


@attrs.define
class Route:
    """A path with its owner."""

    path: str
    owner: str
    """Name of the source."""
    mounted: Mounted | None = None
    """None while the source does not run."""


class Routes:
    """The paths of one listener."""

    __slots__ = ("_routes",)

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}

    def declare(self, path: str, owner: str) -> None:
        """Let a path belong to a source.

        :raises ValueError: if it does not begin with a slash, or belongs to another
            source.
        """
        if not path.startswith("/"):
            raise ValueError(f"path {path!r} of {owner} does not begin with a slash")
        route = self._routes.setdefault(path, Route(path, owner))
        if route.owner != owner:
            raise ValueError(f"path {path!r} of {owner} belongs to {route.owner}")

    def mounting(self, owner: str, outlet: Outlet) -> Mount:
        """Return the ``mount`` of a source; what is received goes into ``outlet``."""

        @contextmanager
        def mount(
            path: str, receive: Receive, *, methods: tuple[str, ...] = ("POST",)
        ) -> Iterator[None]:
            route = self._routes.get(path)
            if route is None or route.owner != owner:
                raise ValueError(
                    f"path {path!r} was not declared by {owner}; it must be one that the "
                    "kind's paths name"
                )
            if route.mounted is not None:
                raise ValueError(f"path {path!r} of {owner} is mounted already")
            allowed = {*methods, "HEAD"} if "GET" in methods else {*methods}
            route.mounted = Mounted(receive, frozenset(allowed), ", ".join(sorted(allowed)), outlet)
            try:
                yield
            finally:
                route.mounted = None

        return mount

    def lookup(self, path: str) -> Route | None:
        """Find the route of a path as it was sent; None if nobody has it.

        Customers join URLs by hand: if no path is exactly so, repeated slashes and one
        at the end are overlooked.
        """
        route = self._routes.get(path)
        if route is None:
            route = self._routes.get(_SLASHES.sub("/", path).removesuffix("/"))
        return route

    @property
    def paths(self) -> tuple[str, ...]:
        """All declared paths."""
        return tuple(self._routes)

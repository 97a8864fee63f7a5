"""Kinds: what a plugin hands over, once, at start.

A kind is a value: a name, a settings class, and how to run it. A *source* or a *sink*
is a section of the INI file that names a kind (``plugin = NAME``). There are no base
classes and no life-cycle methods: behaviour is a callable in a field, and what must be
closed is an async context manager.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import trio
from attrs import field, frozen

from bridge.api.context import SinkContext, SourceContext
from bridge.api.errors import Outcome
from bridge.api.events import Stored
from bridge.api.history import Recovery
from bridge.api.problems import Problem, check_names
from bridge.api.spool import Audit, OpenSpool
from bridge.api.store import StoreTools

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)


class RunSource(Protocol[S_contra]):
    """Bring events in until cancelled.

    An exception ends this run, and another follows: after a ``Retry`` or a ``Pause``
    when the verdict says, after any other with backoff. See
    ``SourceContext.between_runs``.
    """

    async def __call__(
        self, settings: S_contra, context: SourceContext, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Run; call ``task_status.started()`` when ready: route mounted, login
        answered.
        """
        ...


@frozen
class SourceKind(Generic[S]):
    """A kind of source."""

    name: str
    settings: type[S]
    """A frozen attrs class: its fields are the INI settings, see ``bridge.api.fields``.
    """
    run: RunSource[S]
    paths: Callable[[S], Sequence[str]] | None = None
    """HTTP paths that an instance with these settings mounts. A kind with paths has the
    setting ``listener`` from the core; two sources that want one path of one listener
    are a configuration error. None: no webhooks.
    """
    recovery: Recovery[S] | None = None
    """How to read back what was missed. A kind with it has the settings ``backfill``,
    ``backfill_after`` and ``backfill_overlap`` from the core, and the command ``bridged
    KIND backfill``. None: there is no history.
    """
    on_stop: Callable[[S, SourceContext], Awaitable[None]] | None = None
    """What is left to do at the vendor when an instance stops, during a run or between
    two. All around it is cancelled already: it shields itself, with a deadline of its
    own.
    """
    help: str = ""
    """One line for ``bridged plugins``."""
    problems: tuple[Problem, ...] = field(default=(), validator=check_names)
    """What the plugin reports as a problem. Their names begin with the name of the kind
    and a hyphen.
    """


@frozen
class Batch:
    """Events of one lane, in order, at least one."""

    events: tuple[Stored, ...]
    attempt: int = 1
    """1 for the first attempt. A retried batch holds the same events again."""
    replay: bool = False
    """Whether these were dead letters, or are sent again after a rewind: they stand
    outside the order of their devices' other events.
    """


class Sink(Protocol):
    """An open destination."""

    async def deliver(self, batch: Batch) -> Outcome | None:
        """Make one attempt to deliver a batch. Called for several lanes at once, never
        twice at once for a device.

        Return when the destination has taken the events; an Outcome if some of them
        were not to be sent.

        :raises Retry: another attempt may succeed.
        :raises Reject: events are refused for good.
        :raises Pause: nothing goes until a person acts.

        Any other exception is a mistake in the plugin: it is logged, the batch is tried
        again, and in the end the event that causes it becomes a dead letter.
        """
        ...


class OpenSink(Protocol[S_contra]):
    """Open a destination. An exception on entry is retried with backoff."""

    def __call__(
        self, settings: S_contra, context: SinkContext
    ) -> AbstractAsyncContextManager[Sink]:
        """Open."""
        ...


@frozen
class SinkKind(Generic[S]):
    """A kind of sink.

    ``batch``, ``in_flight``, ``timeout``, ``sources`` and the like are the core's
    settings.
    """

    name: str
    settings: type[S]
    open: OpenSink[S]
    one_device: bool = False
    """True if a request can carry one device only: each batch then holds events of one
    device.
    """
    batch: int = 100
    """Default of the setting ``batch``: most events in one attempt."""
    in_flight: int = 4
    """Default of the setting ``in_flight``: most attempts at one time."""
    help: str = ""
    """One line for ``bridged plugins``."""
    problems: tuple[Problem, ...] = field(default=(), validator=check_names)
    """As for a source."""
    preview: Callable[[S, Stored], str] | None = None
    """What would be sent of an event with these settings, for a person who asks before
    a dead letter is replayed; or why nothing would be. Asks nobody, and shows no
    secret. None: this kind cannot say.
    """


@frozen
class SpoolKind(Generic[S]):
    """A kind of spool."""

    name: str
    settings: type[S]
    open: OpenSpool[S]
    audit: Callable[[Path, Collection[str]], Audit] | None = None
    """Proves the balance of the spool in a state folder, open or not, without writing;
    given the names of the configured sinks. None: this kind cannot.
    """
    help: str = ""
    """One line for ``bridged plugins``."""
    problems: tuple[Problem, ...] = field(default=(), validator=check_names)
    """Those of this engine alone; the ones of every engine are in
    ``bridge.api.spool.problems``.
    """
    store: StoreTools | None = None
    """Tools on its files. None: this kind has none."""


AnyKind = SourceKind[Any] | SinkKind[Any] | SpoolKind[Any]

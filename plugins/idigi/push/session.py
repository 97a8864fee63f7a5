"""One session: a connection to the push port, from login to its end.

    connect ▶ login ▶ answer ▶ ┌ frame ▶ decode ▶ outlet.emit ▶ ack ┐ ... until the end
                               └────────────────────────────────────┘

One block at a time: blocks stay in order, and while one waits for the disk
nothing is read, so that TCP slows the server down. A block is acknowledged after
``emit`` returned, on the connection that brought it, or never. What ends a session is a
verdict: ``Retry``, or ``Pause`` if a person must act.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from bridge.api import Pause, Retry, SourceContext, SpoolUnavailable

from ..documents.decode import Decoded, decode, keep_block
from ..problems import BLOCK_WAITS
from ..settings import Settings
from .connection import open_stream
from .protocol import (
    PROTOCOL_VERSION,
    Block,
    ConnectResponse,
    Frame,
    ProtocolError,
    Reader,
    Skipped,
    encode_ack,
    encode_connect_request,
)
from .stopping import finish

READ = 65536  # bytes asked of the socket at once
IN_THREAD = 256 << 10  # a block above this is decoded in a thread: it would hold up everything else
COMPRESSED_IN_THREAD = 32 << 10  # the same for a compressed one, which grows
PATIENCE = 30.0  # seconds after which a block that waits to be stored is a matter for a person
MAX_UNKNOWN_TYPES = 16  # of frames that are told of, so that the log stays small

log = logging.getLogger(__name__)


class UnknownMonitor(Retry):
    """The login was answered with 400: the monitor may be gone, REST knows."""


async def attend(
    settings: Settings,
    context: SourceContext,
    monitor: int,
    *,
    attached: Callable[[], None],
    still_attached: Callable[[], Awaitable[bool]],
) -> None:
    """Hold one session. Ends only by being cancelled, or by an exception.

    :param attached: called when the server has accepted the login, and again when a
        hold-up is over.
    :param still_attached: asks the server, after a long silence, whether it still sees
        us.
    :raises Retry: when the connection is over or the spool refuses;
        :class:`UnknownMonitor` for status 400.
    :raises Pause: when the login or the certificate is refused; for a block that cannot
        be read, if the settings say so.
    """
    try:
        async with open_stream(settings) as stream:
            reader = Reader(settings.frame_limit)
            await _log_in(stream, reader, settings, context, monitor)
            attached()
            await _receive_blocks(stream, reader, settings, context, attached, still_attached)
    except trio.BrokenResourceError as exc:
        raise Retry("the connection to the push port broke") from exc
    except ProtocolError as exc:
        raise Retry(f"{exc}; connection closed") from exc


async def _log_in(
    stream: trio.abc.Stream,
    reader: Reader,
    settings: Settings,
    context: SourceContext,
    monitor: int,
) -> None:
    request = encode_connect_request(settings.username, settings.password.reveal(), monitor)
    try:
        with trio.fail_after(settings.answer_timeout):
            await stream.send_all(request)
            answer = await _next_frame(stream, reader)
            while isinstance(answer, Skipped):
                answer = await _next_frame(stream, reader)
    except trio.TooSlowError as exc:
        raise Retry(
            f"the login was not answered within {settings.answer_timeout} (answer_timeout)"
        ) from exc
    assert isinstance(answer, ConnectResponse)  # the reader lets nothing else come first
    if answer.version != PROTOCOL_VERSION:
        log.warning(
            "%s: the server speaks version %d, expected 1; going on", context.name, answer.version
        )
    if (verdict := login_verdict(answer.status, monitor)) is not None:
        raise verdict


def login_verdict(status: int, monitor: int) -> Retry | Pause | None:
    """What the answer to the login means; None: attached.

    The vendor's clients name 200, 400 and 403; what other numbers mean is assumed.
    """
    if 200 <= status <= 299:
        return None
    if status in (401, 403):
        return Pause(
            f"the push port refuses the login ({status}); correct username, password and monitor_id"
        )
    if status == 400:
        return UnknownMonitor(f"the push port refuses monitor {monitor} (400)")
    if 401 <= status <= 499:
        return Pause(
            f"the push port refuses monitor {monitor} ({status}); look at it in the vendor's "
            "account"
        )
    return Retry(f"the push port is not available ({status})")


async def _next_frame(stream: trio.abc.Stream, reader: Reader) -> Frame:
    """Return the next frame: from what is buffered first, since the socket may have
    nothing more to say.
    """
    while (frame := reader.next_frame()) is None:
        data = await stream.receive_some(READ)
        if not data:
            raise Retry("the server closed the connection")
        reader.feed(bytes(data))
    return frame


async def _receive_blocks(
    stream: trio.abc.Stream,
    reader: Reader,
    settings: Settings,
    context: SourceContext,
    attached: Callable[[], None],
    still_attached: Callable[[], Awaitable[bool]],
) -> None:
    unknown: set[int] = set()
    slow: list[int] = []

    def say_slow(block: Block) -> None:
        slow.append(block.id)
        context.report(
            f"a block of {len(block.body)} bytes has waited {PATIENCE:g} s to be stored; "
            "nothing more is read until it is; look at the spool",
            problem=BLOCK_WAITS,
        )

    while True:
        frame: Frame | None = None
        with trio.move_on_after(settings.silence):
            frame = await _next_frame(stream, reader)
        if frame is None:
            if not await still_attached():
                raise Retry(
                    f"silence for {settings.silence}, and the server does not see us as attached"
                )
        elif isinstance(frame, Block):
            await finish(
                partial(_handle, stream, frame, settings, context),
                settings.stop_timeout,
                patience=PATIENCE,
                when_slow=partial(say_slow, frame),
            )
            if slow:
                slow.clear()
                attached()  # takes the problem back: the session says again how it is
        elif (
            isinstance(frame, Skipped)
            and frame.type not in unknown
            and len(unknown) < MAX_UNKNOWN_TYPES
        ):
            unknown.add(frame.type)
            log.warning(
                "%s: skipping frames of type %d, which is not known", context.name, frame.type
            )


async def _handle(
    stream: trio.abc.Stream, block: Block, settings: Settings, context: SourceContext
) -> None:
    """Store the events of a block, then acknowledge it."""
    read = partial(
        decode,
        block,
        context.now(),
        inflate_limit=settings.inflate_limit,
        templated=settings.template is not None,
        file_limit=settings.file_limit,
        ignore_service_alerts=settings.ignore_service_alerts,
    )
    in_thread = len(block.body) > (COMPRESSED_IN_THREAD if block.compressed else IN_THREAD)
    decoded = await trio.to_thread.run_sync(read) if in_thread else read()
    await _store(block, decoded, settings, context)
    try:
        with trio.fail_after(settings.timeout):
            await stream.send_all(encode_ack(block.id))
    except trio.TooSlowError as exc:
        raise Retry(f"the server did not take an ack within {settings.timeout} (timeout)") from exc


async def _store(
    block: Block, decoded: Decoded, settings: Settings, context: SourceContext
) -> None:
    _check(decoded, settings)
    for remark in decoded.remarks:
        log.warning("%s: block %d: %s", context.name, block.id, remark)
    if not decoded.events:
        return  # a keep-alive
    try:
        try:
            await context.outlet.emit(*decoded.events)
        except ValueError as exc:
            kept = keep_block(block, f"it cannot be stored as events: {exc}", context.now())
            _check(kept, settings)
            log.warning("%s: block %d: %s", context.name, block.id, kept.remarks[0])
            await context.outlet.emit(*kept.events)
    except SpoolUnavailable as exc:
        raise Retry(
            f"a block was not acknowledged, it cannot be stored: {exc.reason}",
            after=exc.retry_after,
        ) from exc


def _check(decoded: Decoded, settings: Settings) -> None:
    """With ``undecodable = stop``, leave a block that cannot be read with the server.

    :raises Pause: for such a block.
    """
    if decoded.poison is not None and settings.undecodable == "stop":
        raise Pause(
            f"a block was not acknowledged, it cannot be read: {decoded.poison} (undecodable)"
        )

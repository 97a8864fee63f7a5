"""The control socket: how a command asks the running bridge.

    bridged KIND NAME ─ one line of JSON ─▶ unix socket ─▶ the instance that answers
                      ◀─ one line of JSON ──────────────────────────────┘

The socket belongs to the user of the bridge and nobody else may open it. A request
names an instance, such as ``source:sensors``, and what it is asked; an answer holds
either ``answer`` or ``error``, a sentence for the person.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import orjson
import trio
from attrs import define, field

from bridge.api import JSON, AddCommandHandler, CommandError, CommandHandler

MAX_REQUEST = 64 << 10  # bytes
MAX_ANSWER = 64 << 20
PATIENCE = 60.0  # seconds for a request to be answered

log = logging.getLogger(__name__)


@define
class CommandHandlers:
    """Who answers what."""

    redact: Callable[[str], str] = str
    """Takes out of an answer or an error what must not be shown."""
    known: dict[tuple[str, str], CommandHandler] = field(factory=dict)

    def answering(self, instance: str) -> AddCommandHandler:
        """Return how an instance registers a handler for the time of a block."""

        @contextmanager
        def answer(request: str, respond: CommandHandler) -> Iterator[None]:
            if (instance, request) in self.known:
                raise ValueError(f"{instance} answers {request!r} already")
            self.known[instance, request] = respond
            try:
                yield
            finally:
                del self.known[instance, request]

        return answer

    async def respond(self, line: bytes) -> bytes:
        """Answer a line with a line. Raises nothing but ``Cancelled``."""
        try:
            asked = orjson.loads(line)
            instance, request, arguments = asked["instance"], asked["request"], asked["arguments"]
        except (ValueError, KeyError, TypeError):
            return _line(
                {"error": "the request is not understood; are command and bridge of one version?"}
            )
        respond = self.known.get((instance, request))
        if respond is None:
            return _line(
                {
                    "error": (
                        f"{instance} does not answer {request!r} now; see its state on "
                        "the status page"
                    )
                }
            )
        try:
            return _line({"answer": self._redacted(await respond(arguments))})
        except CommandError as exc:
            return _line({"error": self.redact(str(exc))})
        except Exception as exc:
            log.exception("%s: answering %r failed", instance, request)
            return _line(
                {"error": f"it failed: {type(exc).__name__}; the log of the bridge has the details"}
            )

    def _redacted(self, value: JSON) -> JSON:
        """Redact the texts of an answer, which a command will print."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Mapping):
            return {self.redact(name): self._redacted(each) for name, each in value.items()}
        if isinstance(value, Sequence):
            return [self._redacted(each) for each in value]
        return value


def _line(value: JSON) -> bytes:
    return orjson.dumps(value) + b"\n"


@asynccontextmanager
async def open_control(path: Path, command_handlers: CommandHandlers) -> AsyncIterator[None]:
    """Answer on a socket while the block is entered.

    :raises OSError: if it cannot be made.
    """
    _remove_stale(path)
    with _short(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        mask = os.umask(0o177)
        try:
            bound.bind(name)
        finally:
            os.umask(mask)
        bound.listen(16)
        bound.setblocking(False)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        async with trio.open_nursery() as serving:
            serving.start_soon(trio.serve_listeners, partial(_serve, command_handlers), [listener])
            try:
                yield
            finally:
                _remove_stale(path)
            serving.cancel_scope.cancel()


def _remove_stale(path: Path) -> None:
    """Remove our socket, or what a killed bridge left; nobody else answers there, since
    the spool is ours.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a short name of the file: the kernel takes no more than 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def _serve(command_handlers: CommandHandlers, stream: trio.SocketStream) -> None:
    with trio.move_on_after(PATIENCE):
        try:
            line = await _receive_line(stream, MAX_REQUEST)
            await stream.send_all(await command_handlers.respond(line))
        except (trio.BrokenResourceError, trio.ClosedResourceError, ValueError):
            pass  # the command went away, or sent too much


async def _receive_line(stream: trio.SocketStream, most: int) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        piece = await stream.receive_some(65536)
        received += piece
        if not piece or len(received) > most:
            raise ValueError("no line, or too long a one")
    return bytes(received)


async def answers(path: Path) -> bool:
    """Check whether a bridge runs that answers here.

    :raises CommandError: when this user may not ask.
    """
    try:
        with trio.fail_after(PATIENCE), _short(path) as name:
            stream = await trio.open_unix_socket(name)
            await stream.aclose()
    except PermissionError as exc:
        raise _forbidden(path) from exc
    except OSError:
        return False
    return True


async def ask(path: Path, instance: str, request: str, arguments: JSON = None) -> JSON:
    """Ask the running bridge.

    :raises CommandError: when none runs here, or it does not answer as hoped.
    """
    try:
        with trio.fail_after(PATIENCE), _short(path) as name:
            stream = await trio.open_unix_socket(name)
            async with stream:
                asked = {"instance": instance, "request": request, "arguments": arguments}
                await stream.send_all(_line(asked))
                answer = orjson.loads(await _receive_line(stream, MAX_ANSWER))
    except PermissionError as exc:
        raise _forbidden(path) from exc
    except OSError as exc:
        raise CommandError(
            f"no bridge runs that answers at {path}; start it, or see [admin] socket"
        ) from exc
    except (trio.BrokenResourceError, ValueError, trio.TooSlowError) as exc:
        raise CommandError(f"the bridge at {path} gave no answer; see its log") from exc
    if "error" in answer:
        raise CommandError(answer["error"])
    return answer["answer"]


def _forbidden(path: Path) -> CommandError:
    return CommandError(f"{path} belongs to the user of the bridge; run this command as that user")

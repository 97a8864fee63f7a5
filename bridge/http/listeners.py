"""Listening sockets: bound here, or handed over by systemd.

A socket that systemd holds survives a restart of the bridge: callers wait in its queue
meanwhile, and the bridge needs no right to bind a low port. It is duplicated, so that a
listener can be closed and opened again within one process.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from bridge.api import NetworkAddress
from bridge.http.limits import BACKLOG

FIRST_SOCKET = 3  # systemd hands over file descriptors from this one on


class ListenError(Exception):
    """An address cannot be listened on; the message says why and what to do."""


@asynccontextmanager
async def open_listeners(
    address: NetworkAddress, environ: Mapping[str, str], *, first_socket: int = FIRST_SOCKET
) -> AsyncIterator[list[trio.SocketListener]]:
    """Open the sockets of an address: one, or several if a host name has several
    addresses.

    :param environ: where systemd tells about activated sockets: ``LISTEN_PID``,
        ``LISTEN_FDS``, ``LISTEN_FDNAMES``.
    :raises ListenError: if they cannot be opened.
    """
    if address.systemd is not None:
        listeners = _activated(address.systemd, environ, first_socket)
    else:
        try:
            listeners = await trio.open_tcp_listeners(
                address.port, host=address.host, backlog=BACKLOG
            )
        except OSError as exc:
            raise ListenError(f"{address}: {_why(exc)}") from exc
    async with AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener)
        yield listeners


def _why(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return (
            "this host name is not known; expected an address of this machine, or 0.0.0.0 for all"
        )
    match exc.errno:
        case errno.EADDRINUSE:
            return "another process listens there; stop it, or choose another port"
        case errno.EACCES | errno.EPERM:
            return (
                "this user may not listen there; use a port from 1024 on, or a systemd socket "
                "(address = systemd:NAME)"
            )
        case errno.EADDRNOTAVAIL:
            return "not an address of this machine; expected one of its own, or 0.0.0.0 for all"
        case _:
            return f"cannot listen there: {exc.strerror or exc}"


def _activated(name: str, environ: Mapping[str, str], first: int) -> list[trio.SocketListener]:
    names = _handed_over(environ)
    descriptors = [first + index for index, known in enumerate(names) if known == name]
    if not descriptors:
        there = ", ".join(sorted(set(names))) or "none"
        raise ListenError(
            f"systemd:{name}: systemd handed over no socket of this name (there are: {there}); "
            f"expected FileDescriptorName={name} in the .socket unit, and a start by systemd"
        )
    listeners: list[trio.SocketListener] = []
    try:
        for descriptor in descriptors:
            listeners.append(_listener(descriptor))
    except (OSError, ValueError) as exc:
        for listener in listeners:
            listener.socket.close()
        raise ListenError(
            f"systemd:{name}: file descriptor {descriptor} is not a listening stream socket; "
            "expected ListenStream= in the .socket unit, and Accept=no"
        ) from exc
    return listeners


def _listener(descriptor: int) -> trio.SocketListener:
    os.set_inheritable(descriptor, False)
    raw = socket.socket(fileno=os.dup(descriptor))
    try:
        raw.setblocking(False)
        return trio.SocketListener(trio.socket.from_stdlib_socket(raw))
    except BaseException:
        raw.close()
        raise


def _handed_over(environ: Mapping[str, str]) -> Sequence[str]:
    """Return the names of the sockets in order.

    Empty if they are meant for another process.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return ()
    try:
        count = int(environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return ()
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    return [names[index] if index < len(names) else "" for index in range(count)]

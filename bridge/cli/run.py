"""``bridged run``: the process of the daemon, its log and its signals."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping

import trio

from bridge.api.spool import SpoolError, WrongSpoolError
from bridge.cli.loading import CONFIGURATION, FAILED, load
from bridge.cli.redacted_output import redacted_output
from bridge.config import read
from bridge.daemon.config import Config
from bridge.daemon.instance import Bridge
from bridge.daemon.run_bridge import run_bridge
from bridge.daemon.systemd import Notifier
from bridge.http.listeners import ListenError
from bridge.http.tls import TlsError

# Seconds; at Python's 0.005 a commit waits 40 ms for a busy loop, at this 3 ms.
SWITCH_INTERVAL = 0.0005
# Events are made and forgotten by the hundred, hardly one is in a cycle, and with the
# defaults (700, 10, 10) everything is looked through several times a second.
GC_THRESHOLDS = (20_000, 50, 1000)

log = logging.getLogger("bridge")


def run_daemon(options: argparse.Namespace) -> int:
    """Run the bridge until a signal stops it."""
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*GC_THRESHOLDS)
    _log_to_console(os.environ)
    notifier = Notifier.from_environment(os.environ)
    loaded = load(read(options.config), checking=False)
    if loaded.config is None:
        return CONFIGURATION
    _redact_log(loaded.redact)
    # What does not come by the log: print(), the end of a thread.
    with redacted_output(loaded.redact):
        return _run_until_signalled(options.config.stem, loaded.config, notifier)


def _run_until_signalled(instance: str, config: Config, notifier: Notifier) -> int:
    bridge = Bridge(instance, config, os.environ)

    async def until_signalled() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            await run_bridge(bridge, notifier, signals, on_ready=_freeze)

    status = 0
    try:
        trio.run(until_signalled)
    except* (SpoolError, ListenError, TlsError, OSError) as group:
        for exc in _leaves(group):
            # A sentence for the operator, no traceback.
            log.error("bridge: cannot go on: %s", exc)  # noqa: TRY400
        # As for a mistake in the configuration: a person has to decide.
        wrong = group.subgroup(WrongSpoolError) is not None
        status = CONFIGURATION if wrong else FAILED
    except* Exception as group:
        # By the log, which shows no secret.
        log.critical("bridge: ended by a mistake of its own", exc_info=group)
        status = FAILED
    return status


def _freeze() -> None:
    """Leave out of every later collection what is there now: it stays."""
    gc.collect()
    gc.freeze()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for exc in group.exceptions
        for leaf in (_leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc])
    ]


def _log_to_console(environ: Mapping[str, str]) -> None:
    """Log in a readable form; the journal has its own clock."""
    clock = "" if "JOURNAL_STREAM" in environ else "%(asctime)s "
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"{clock}%(levelname).1s %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request
    logging.captureWarnings(capture=True)


class _RedactingFormatter(logging.Formatter):
    """Takes what must not be shown out of a whole entry, its traceback included."""

    def __init__(self, formatter: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._formatter = formatter
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self._formatter.format(record))


def _redact_log(redact: Callable[[str], str]) -> None:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_RedactingFormatter(handler.formatter or logging.Formatter(), redact))

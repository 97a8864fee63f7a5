"""The command ``bridged``.

Exit codes: 0 good, 1 failed, 2 usage, 78 configuration.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import trio

from bridge import __version__
from bridge.api import AnyKind, Duration, SpoolUnavailable
from bridge.api.spool import SpoolError
from bridge.cli.certificates import check_certificates
from bridge.cli.plugin_commands import add_commands, all_commands, run_command
from bridge.config import (
    Config,
    Kinds,
    Loaded,
    bridge_settings,
    read,
    sample_config,
    sample_section,
    show_config,
    understand,
)
from bridge.daemon.instance import Bridge, state_folder, utc_now
from bridge.daemon.run_bridge import open_spool, run_bridge
from bridge.daemon.systemd import Notifier
from bridge.http.listeners import ListenError
from bridge.http.tls import TlsError
from bridge.plugins.discovery import Registry, load_emulators, load_plugins

USAGE = 2
CONFIGURATION = 78  # EX_CONFIG of sysexits.h
SWITCH_INTERVAL = (
    0.0005  # seconds; at Python's 0.005 a commit waits 40 ms for a busy loop, at this 3 ms
)
DEFAULT_CONFIG = Path("/etc/bridge/default.ini")

log = logging.getLogger("bridge")


def run(arguments: Sequence[str]) -> int:
    """Run a command and give its exit code."""
    parser, commands = _parser()
    registry = None
    if not arguments or arguments[0] not in commands.choices:
        # Perhaps a plugin has it. The file is looked for before the rest is understood:
        # it names folders of plugins.
        finding = argparse.ArgumentParser(add_help=False)
        _configured(finding)
        registry = _registry(finding.parse_known_args(arguments)[0].config)
        add_commands(commands, all_commands(registry), _configured)
    options = parser.parse_args(arguments)
    if registry is not None:
        return _run_plugin_command(options, registry)
    command: Callable[[argparse.Namespace], int] = options.command
    return command(options)


def _run_plugin_command(options: argparse.Namespace, registry: Registry) -> int:
    document = read(options.config)
    if not document.complete:
        for problem in document.problems:
            print(problem, file=sys.stderr)
        return CONFIGURATION

    def load(path: Path) -> Config | None:
        # Not as for a check, in which a credential that is not there is replaced by a
        # word.
        return _load(path, checking=False, registry=registry)[0].config

    return run_command(options, document, registry, load, os.environ)


def _registry(path: Path) -> Registry:
    """Load the plugins, those of the folders that a configuration names too, if there
    is one.
    """
    return load_plugins(
        bridge_settings(read(path), environ=os.environ).plugins if path.exists() else ()
    )


def _configured(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the INI file (default: %(default)s)",
    )


def _parser() -> tuple[
    argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]
]:
    parser = argparse.ArgumentParser(
        prog="bridged", description="Moves sensor readings between clouds and loses none."
    )
    parser.add_argument("--version", action="version", version=f"bridged {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    configured = [
        add("run", _run, "run the bridge until SIGTERM or Ctrl-C"),
        add("check", _check, "check a configuration; every mistake at once"),
        add("show-config", _show_config, "show what is in effect, and where each value comes from"),
        add(
            "audit",
            _audit,
            "prove from the spool that for each sink every event is in exactly one state",
        ),
        add("plugins", _plugins, "list the plugins, and why one is not loaded"),
    ]
    purge = add(
        "purge-sink",
        _purge_sink,
        "forget a sink that no section names, and the events it still owes",
    )
    purge.add_argument("sink", help="NAME of the sink")
    for each in (*configured, purge):
        _configured(each)
    sample = add("sample-config", _sample_config, "print a commented configuration to begin with")
    sample.add_argument("plugin", nargs="*", help="only the sections of these plugins")
    demo = add("demo", _demo, "run the bridge between emulated clouds on this machine, live")
    demo.add_argument(
        "--for",
        dest="seconds",
        type=_duration,
        default=float("inf"),
        metavar="TIME",
        help="such as 20s",
    )
    demo.add_argument(
        "--rate",
        type=float,
        default=2.0,
        help="events a second of each cloud (default: %(default)s)",
    )
    return parser, commands


def _duration(text: str) -> float:
    try:
        return Duration.parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"expected {exc}, got {text!r}") from exc


def _load(
    path: Path, *, checking: bool, registry: Registry | None = None
) -> tuple[Loaded, Registry]:
    """Read a configuration and say everything that is wrong with it, on standard error.

    :param registry: the plugins, if they were loaded already.
    """
    document = read(path)
    if registry is None:
        registry = load_plugins(bridge_settings(document, environ=os.environ).plugins)
    kinds = Kinds(registry.sources, registry.sinks, registry.spools, registry.unusable)
    loaded = understand(document, kinds, environ=os.environ, checking=checking)
    for problem in loaded.problems:
        print(problem, file=sys.stderr)
    for name, reason in registry.unusable.items():
        if not any(
            reason in problem.text for problem in loaded.problems
        ):  # a section needs it: that was said above
            print(f"warning: plugin {name}: {reason}", file=sys.stderr)
    return loaded, registry


def _run(options: argparse.Namespace) -> int:
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_INTERVAL)
    _log_to_console(os.environ)
    notifier = Notifier.from_environment(os.environ)
    loaded, _ = _load(options.config, checking=False)
    if loaded.config is None:
        return CONFIGURATION
    _redact_log(loaded.redact)
    bridge = Bridge(options.config.stem, loaded.config, os.environ)

    async def until_signalled() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            await run_bridge(bridge, notifier, signals)

    status = 0
    try:
        trio.run(until_signalled)
    except* (SpoolError, ListenError, TlsError, OSError) as group:
        for exc in _leaves(group):
            log.error("bridge: cannot go on: %s", exc)  # noqa: TRY400  # a sentence for the operator, no traceback
        status = 1
    except* Exception as group:
        log.critical(
            "bridge: ended by a mistake of its own", exc_info=group
        )  # by the log, which shows no secret
        status = 1
    return status


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


def _check(options: argparse.Namespace) -> int:
    loaded, _ = _load(options.config, checking=True)
    unusable = check_certificates(loaded, utc_now())
    for problem in unusable:
        print(problem, file=sys.stderr)
    if loaded.errors or any(problem.severity == "error" for problem in unusable):
        return CONFIGURATION
    print(f"{options.config}: good")
    return 0


def _show_config(options: argparse.Namespace) -> int:
    loaded, _ = _load(options.config, checking=True)
    print(show_config(loaded), end="")
    return CONFIGURATION if loaded.errors else 0


def _load_config(path: Path) -> Config | None:
    """Read a configuration for a command that is not the daemon; None if there is none,
    which has been said.
    """
    loaded, _ = _load(path, checking=True)
    if loaded.config is None and not loaded.errors:
        print(
            (
                "this command needs what stands in the credentials of the daemon; run it as the "
                "service"
            ),
            file=sys.stderr,
        )
    return loaded.config


def _audit(options: argparse.Namespace) -> int:
    config = _load_config(options.config)
    if config is None:
        return CONFIGURATION
    audit = config.spool.kind.audit
    if audit is None:
        print(f"a spool of the kind {config.spool.kind.name} cannot be audited", file=sys.stderr)
        return 1
    try:
        result = audit(state_folder(config.bridge, os.environ), config.sink_names)
    except SpoolError as exc:
        print(exc, file=sys.stderr)
        return 1
    for account in result.accounts:
        print(account)
    for problem in result.problems:
        print(f"audit: {problem}", file=sys.stderr)
    print("the balance adds up" if result.balanced else "the balance does not add up")
    return 0 if result.balanced else 1


def _purge_sink(options: argparse.Namespace) -> int:
    config = _load_config(options.config)
    if config is None:
        return CONFIGURATION
    if options.sink in config.sink_names:
        print(f"{options.sink} is in the configuration; remove its section first", file=sys.stderr)
        return 1

    folder = state_folder(config.bridge, os.environ)
    if not folder.is_dir():
        print(
            (
                f"{folder}: there is no such folder; expected the state folder of a bridge that "
                "ran before"
            ),
            file=sys.stderr,
        )
        return 1

    async def purge() -> int:
        bridge = Bridge(options.config.stem, config, os.environ)
        async with open_spool(bridge) as spool:
            try:
                if options.sink not in {account.sink for account in await spool.accounts(())}:
                    print(f"the spool knows no sink {options.sink!r}", file=sys.stderr)
                    return 1
                print(
                    f"{options.sink}: forgotten, with {await spool.purge(options.sink)} "
                    "pending events"
                )
            except SpoolUnavailable as refused:
                print(f"the spool cannot be written now: {refused.reason}", file=sys.stderr)
                return 1
            return 0

    try:
        return trio.run(purge)
    except SpoolError as exc:
        print(exc, file=sys.stderr)
        return 1


def _plugins(options: argparse.Namespace) -> int:
    folders: Sequence[Path] = ()
    if options.config.exists():
        folders = bridge_settings(read(options.config), environ=os.environ).plugins
    elif options.config != DEFAULT_CONFIG:
        print(f"{options.config}: there is no such file", file=sys.stderr)
        return CONFIGURATION
    for record in load_plugins(folders).records:
        detail = record.reason or ", ".join(record.kinds)
        print(f"{record.name:14} {record.outcome.value:18} {detail}  ({record.origin})")
    return 0


def _sample_config(options: argparse.Namespace) -> int:
    registry = load_plugins(())
    kinds: list[AnyKind] = [
        *registry.spools.values(),
        *registry.sources.values(),
        *registry.sinks.values(),
    ]
    names = {kind.name for kind in kinds}
    unknown = [name for name in options.plugin if name not in names]
    if unknown:
        print(
            f"no plugin is called {unknown[0]!r}; there are: {', '.join(sorted(names))}",
            file=sys.stderr,
        )
        return USAGE
    if options.plugin:
        print(
            "\n".join(sample_section(kind) for kind in kinds if kind.name in options.plugin), end=""
        )
    else:
        print(sample_config(*kinds), end="")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from bridge.cli.demo import run_demo  # certificates and emulators, which the daemon never needs

    return trio.run(lambda: run_demo(load_emulators(), seconds=options.seconds, rate=options.rate))

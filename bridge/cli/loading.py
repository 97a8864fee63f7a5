"""The configuration and the plugins as commands load them: what is wrong is printed on
standard error, and how a command ends is an exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from bridge.config import Kinds, Loaded, SourceFiles, read, section_alone, understand
from bridge.config.redaction import Redaction
from bridge.daemon.config import CORE, Config
from bridge.daemon.settings import BridgeSettings
from bridge.plugins.discovery import Registry, load_plugins

FAILED = 1
USAGE = 2
CONFIGURATION = 78  # EX_CONFIG of sysexits.h
INTERRUPTED = 130

DEFAULT_CONFIG = Path("/etc/bridge/default.ini")


def plugins_of(files: SourceFiles) -> Registry:
    """Load the plugins, those of the folders that a configuration names too."""
    settings = section_alone(files, "bridge", BridgeSettings, environ=os.environ)
    return load_plugins(settings.plugins)


def load(files: SourceFiles, *, checking: bool, registry: Registry | None = None) -> Loaded[Config]:
    """Understand a configuration and print everything that is wrong with it.

    :param registry: the plugins, if they were loaded already.
    """
    registry = plugins_of(files) if registry is None else registry
    kinds = Kinds(registry.sources, registry.sinks, registry.spools, registry.unusable)
    loaded = understand(files, CORE, kinds, environ=os.environ, checking=checking)
    for diagnostic in loaded.diagnostics:
        print(diagnostic, file=sys.stderr)
    for name, reason in registry.unusable.items():
        # If a section needs the plugin, that was said above.
        if not any(reason in diagnostic.text for diagnostic in loaded.diagnostics):
            print(loaded.redact(f"warning: plugin {name}: {reason}"), file=sys.stderr)
    return loaded


def load_config(path: Path) -> Config | None:
    """Load a configuration for a command that is not the daemon; None if there is none,
    which has been printed.
    """
    loaded = load(read(path), checking=True)
    if loaded.config is None and not loaded.errors:
        text = (
            "this command needs what stands in the credentials of the daemon; run it as the service"
        )
        print(text, file=sys.stderr)
    return loaded.config


def core_redaction(files: SourceFiles, environ: Mapping[str, str]) -> Redaction:
    """Return what takes the secrets of the core's sections out of a sentence, where no
    plugin is loaded.
    """
    return understand(files, CORE, Kinds(), environ=environ, checking=True).redact


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in a group that is none itself: one is told."""
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc

"""Commands about the configuration, which need no running bridge: ``check``,
``show-config``, ``sample-config`` and ``plugins``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from bridge.api import AnyKind
from bridge.cli.certificates import check_certificates
from bridge.cli.loading import (
    CONFIGURATION,
    DEFAULT_CONFIG,
    USAGE,
    core_redaction,
    load,
    plugins_of,
)
from bridge.config import read, sample_config, sample_section, show_config
from bridge.daemon.config import CORE
from bridge.daemon.instance import utc_now
from bridge.plugins.discovery import Registry, load_plugins


def check(options: argparse.Namespace) -> int:
    """Print every mistake of a configuration, those of its certificates too."""
    loaded = load(read(options.config), checking=True)
    of_certificates = check_certificates(loaded, utc_now())
    for diagnostic in of_certificates:
        print(diagnostic, file=sys.stderr)
    if any(each.severity == "error" for each in (*loaded.diagnostics, *of_certificates)):
        return CONFIGURATION
    print(f"{options.config}: good")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print what is in effect."""
    loaded = load(read(options.config), checking=True)
    print(show_config(loaded), end="")
    return CONFIGURATION if loaded.errors else 0


def list_plugins(options: argparse.Namespace) -> int:
    """Print the plugins, and why one is not loaded."""
    redact: Callable[[str], str] = str
    if os.path.exists(options.config):
        files = read(options.config)
        registry = plugins_of(files)
        redact = core_redaction(files, os.environ)
    elif options.config == DEFAULT_CONFIG:
        registry = load_plugins(())
    else:
        print(f"{options.config}: there is no such file", file=sys.stderr)
        return CONFIGURATION
    for record in registry.records:
        detail = record.reason or ", ".join(record.kinds)
        print(redact(f"{record.name:14} {record.outcome.value:18} {detail}  ({record.origin})"))
    return 0


def sample(options: argparse.Namespace) -> int:
    """Print a commented configuration, or the sections of some plugins."""
    registry: Registry = load_plugins(())
    kinds: list[AnyKind] = [
        *registry.spools.values(),
        *registry.sources.values(),
        *registry.sinks.values(),
    ]
    names = {kind.name for kind in kinds}
    unknown = [name for name in options.plugin if name not in names]
    if unknown:
        known = ", ".join(sorted(names))
        print(f"no plugin is called {unknown[0]!r}; there are: {known}", file=sys.stderr)
        return USAGE
    if options.plugin:
        chosen = [kind for kind in kinds if kind.name in options.plugin]
        print("\n".join(sample_section(CORE, kind) for kind in chosen), end="")
    else:
        print(sample_config(CORE, *kinds), end="")
    return 0

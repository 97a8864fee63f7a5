"""The configuration: INI files to checked and typed settings, with every mistake at
once.

files ─▶ sections of raw values (ini, document) ─▶ typed settings (values, fill, parts) ─▶ Config (load, checks)
                                                          ▲
                         settings classes of core and plugins (schema, bridge.api) ─▶ sample, show
"""

from bridge.config.diagnostics import Place, Problem
from bridge.config.load import admin_settings, bridge_settings, load, section_names, understand
from bridge.config.model import (
    Config,
    Kinds,
    Loaded,
    SinkConfig,
    SourceConfig,
    SpoolConfig,
)
from bridge.config.sample import sample_config, sample_section
from bridge.config.show import show_config
from bridge.config.source_files import Document, read

__all__ = [
    "Config",
    "Document",
    "Kinds",
    "Loaded",
    "Place",
    "Problem",
    "SinkConfig",
    "SourceConfig",
    "SpoolConfig",
    "admin_settings",
    "bridge_settings",
    "load",
    "read",
    "sample_config",
    "sample_section",
    "section_names",
    "show_config",
    "understand",
]

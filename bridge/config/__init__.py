"""The configuration: INI files to checked and typed settings, with every mistake at
once.

    files ─▶ sections of located values ─▶ one pass: (settings, diagnostics) ─▶ Loaded
             (ini, source_files)            (structure, with values and fields)

What a section may hold says the settings class of whoever uses it: the core's are
handed over as :class:`Core`, those of the plugins as :class:`Kinds`. The sample and the
overview of what is in effect are made from the same classes.
"""

from bridge.config.diagnostics import Diagnostic, Location
from bridge.config.load import Loaded, load, section_alone, understand
from bridge.config.sample import sample_config, sample_section
from bridge.config.sections import Core, Kinds, section_names
from bridge.config.show import show_config
from bridge.config.source_files import SourceFiles, read
from bridge.config.structure import StructuredSection

__all__ = [
    "Core",
    "Diagnostic",
    "Kinds",
    "Loaded",
    "Location",
    "SourceFiles",
    "StructuredSection",
    "load",
    "read",
    "sample_config",
    "sample_section",
    "section_alone",
    "section_names",
    "show_config",
    "understand",
]

"""One pass from located text to settings: a settings class is made of each section, and
what is found on the way is noted.

    Section ─ each value read and checked by itself ─▶ an instance of the class
                  │          │
                  │          └─▶ diagnostics: every mistake of the section at once
                  └─▶ entries: what is in effect; and what must not be shown

What is good is kept even if its neighbour is not: names and addresses are compared with
those of other sections, and ``bridged show-config`` shows it. Only when all values are
good is the class made, and has its own say. Two classes, the core's and the plugin's,
may be made of one section.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs
from attrs import define, field, frozen

from bridge.api import AnyKind, SettingError
from bridge.config.diagnostics import Diagnostic, Location
from bridge.config.fields import (
    SettingField,
    SettingsClassError,
    setting_fields,
    unknown_keys,
    unknown_tables,
)
from bridge.config.ini import Section, Value
from bridge.config.redaction import (
    HIDDEN,
    Confidential,
    Redaction,
    confidential_texts,
    words_behind,
)
from bridge.config.references import BadReferenceError, Reference
from bridge.config.values import (
    Reader,
    UncheckedError,
    UnfitTextError,
    has_password,
    is_secret,
    shown,
    text_of,
    unchecked,
    words,
)

K = TypeVar("K", bound=AnyKind)


@frozen
class Entry:
    """One setting as it is in effect. Holds no secret."""

    section: str
    key: str
    text: str
    """As it would stand in the file; asterisks in place of a secret."""
    location: Location | None = None
    """Where it is written; None for a default."""
    shadowed: tuple[Location, ...] = ()
    """Where earlier files set it."""
    references: tuple[Reference, ...] = ()
    secret: bool = False
    """Whether its type is one for secrets."""


@frozen
class StructuredSection(Generic[K]):
    """What became of a section."""

    section: Section
    kind: K | None
    """What ``plugin`` names; None if it names nothing, or the section has no plugin."""
    core: Any
    """Instance of the core's class; None if there is a mistake, or if a credential is
    needed that cannot be looked up here.
    """
    settings: Any
    """Instance of the plugin's class, likewise."""
    values: Mapping[str, Any]
    """The core's settings that are good, each by itself, by argument; what was not
    written is not among them.
    """
    pending: Collection[str]
    """Keys of the core's class whose real value, a credential, cannot be looked up
    here.
    """

    @property
    def name(self) -> str:
        """NAME of ``[KIND:NAME]``."""
        return self.section.label

    @property
    def complete(self) -> bool:
        """Whether it can be run."""
        return self.core is not None and self.settings is not None

    @property
    def enabled(self) -> bool:
        """Whether it is to be run."""
        return bool(self.values.get("enabled", True))


@define
class Structurer:
    """Structures the sections of one configuration, and notes what it finds."""

    reader: Reader
    diagnostics: list[Diagnostic] = field(factory=list)
    entries: list[Entry] = field(factory=list)
    """What is in effect, in the order of the sections that were structured."""
    confidential: list[Confidential] = field(factory=list)
    """What no message may show."""

    def structure(
        self,
        section: Section,
        core: type[Any],
        kind: K | None = None,
        *,
        defaults: Mapping[str, str] | None = None,
        strict: bool = True,
    ) -> StructuredSection[K]:
        """Make the core's class of a section, and that of the plugin which it names.

        :param defaults: texts of the defaults that depend on the plugin.
        :param strict: report unknown keys. False: they are of a plugin that was not
            found.
        """
        ours = _ClassStructurer(self, section, core, setting_fields(core))
        instance = ours.structure()
        entries, fields, settings = ours.entries(instance), ours.fields, None
        try:
            if kind is not None:
                own = _ClassStructurer(self, section, kind.settings, setting_fields(kind.settings))
                settings = own.structure()
                # What both declare is listed once, as the core's. The keys of a table
                # are free.
                shared = {setting.key for setting in fields}
                fields = (*fields, *(each for each in own.fields if each.key not in shared))
                entries += [
                    entry
                    for entry in own.entries(settings)
                    if entry.section != section.name or entry.key not in shared
                ]
        except SettingsClassError as exc:
            self.report(section, "plugin", section.location_of("plugin"), str(exc))
        else:
            if strict:
                self.diagnostics += unknown_keys(section, fields)
            if kind is not None:
                self.diagnostics += unknown_tables(section, fields, kind.name)
        self.entries += _with_defaults(entries, section.name, defaults or {})
        return StructuredSection(section, kind, instance, settings, ours.values, ours.pending)

    def report(self, section: Section, key: str | None, location: Location, text: str) -> None:
        """Note a mistake."""
        self.diagnostics.append(Diagnostic(location, section.name, key, text))

    def warn(self, section: Section, value: Value, text: str) -> None:
        """Note what works, but is probably not meant."""
        at = value.location
        self.diagnostics.append(Diagnostic(at, section.name, value.written, text, "warning"))


@define
class _ClassStructurer:
    """Makes one settings class of a section."""

    found: Structurer
    section: Section
    settings: type[Any]
    fields: tuple[SettingField, ...]
    values: dict[str, Any] = field(factory=dict)
    """What is good by itself, by argument."""
    written: dict[str, list[Entry]] = field(factory=dict)
    """Entries of what was read, by key."""
    refused: bool = False
    """Whether a value has a mistake, or cannot be known here."""
    pending: set[str] = field(factory=set)
    """Keys whose real value, a credential, cannot be looked up here."""
    confidential: list[Confidential] = field(factory=list)
    """What a plugin's own words about its settings may not show."""
    behind: list[Confidential] = field(factory=list)
    """Words of credentials whose paths are values: the plugin may have read them."""

    def structure(self) -> Any:
        """Make the class. None if there is a mistake, which is reported, or if a value
        cannot be known here.

        :raises SettingsClassError: if the class cannot be used, whatever is written.
        """
        for setting in self.fields:
            if setting.is_table:
                self._structure_table(setting)
            elif value := self.section.values.get(setting.key):
                self._structure_setting(setting, value)
            elif setting.required:
                expected = words(setting.type) + (f" ({setting.help})" if setting.help else "")
                at = self.section.location
                self._refuse(self.section, setting.key, at, f"missing; expected {expected}")
        if self.refused:
            return None
        try:
            return self.settings(**self.values)
        except SettingError as exc:
            key = exc.setting.removesuffix("_")
            # With a word in place of a credential, the class may say anything.
            if key not in self.pending:
                at = self.section.location_of(key)
                self._refuse(self.section, key, at, self._quoted(exc.message))
        except ValueError as exc:
            if not self.pending:
                text = self._quoted(f"expected {exc}")
                self._refuse(self.section, None, self.section.location, text)
        except Exception as exc:
            raise SettingsClassError(self.settings, exc) from exc
        return None

    def _refuse(self, section: Section, key: str | None, at: Location, text: str) -> None:
        self.found.report(section, key, at, text)
        self.refused = True

    def _structure_setting(self, setting: SettingField, value: Value) -> None:
        read = self._read(self.section, setting, value)
        if read is None:
            return
        result, references = read
        if not unchecked(references):
            try:
                setting.check(result)
            except ValueError as exc:
                got = shown(value.text, setting.type, references)
                text = self._quoted(f"expected {exc}, got {got}")
                self._refuse(self.section, value.written, value.location, text)
                del self.written[setting.key]
                return
            except Exception:  # noqa: S110
                # It compares with other settings, or does not allow None: the class
                # itself will say so.
                pass
        self.values[setting.alias] = result

    def _structure_table(self, setting: SettingField) -> None:
        if table := self.section.tables.get(setting.key):
            read = {value.key: self._read(table, setting, value) for value in table.values.values()}
            self.values[setting.alias] = {key: each[0] for key, each in read.items() if each}

    def _read(
        self, section: Section, setting: SettingField, value: Value
    ) -> tuple[Any, tuple[Reference, ...]] | None:
        """Read one value, and note what is in effect; None if it has a mistake, or
        cannot be known here.
        """
        if len(value.text) > 1 and value.text[0] == value.text[-1] == '"':
            text = "the quotes are part of the value; remove them unless they are meant"
            self.found.warn(section, value, text)
        try:
            result, references = self.found.reader.read(value.text, setting.type)
        except (UnfitTextError, BadReferenceError) as exc:
            self._refuse(section, value.written, value.location, str(exc))
            return None
        except UncheckedError as exc:
            self._warn_unchecked(section, value, exc.references)
            self.refused = True
            return None
        except Exception as exc:
            raise SettingsClassError(self.settings, exc) from exc
        if unchecked(references):
            self._warn_unchecked(section, value, references)
            self.pending.add(setting.key)
        found = confidential_texts(result, references)
        self.confidential += found
        self.found.confidential += found
        self.behind += words_behind(result, references)
        text = text_of(result)
        hidden = has_password(text) or any(each.content is not None for each in references)
        entry = Entry(
            section.name,
            value.key,
            HIDDEN if hidden else text,
            value.location,
            value.shadowed,
            references,
            is_secret(setting.type),
        )
        self.written.setdefault(setting.key, []).append(entry)
        return result, references

    def _warn_unchecked(
        self, section: Section, value: Value, references: tuple[Reference, ...]
    ) -> None:
        for name in unchecked(references):
            text = f"credential '{name}' not checked, because $CREDENTIALS_DIRECTORY is not set"
            self.found.warn(section, value, text)

    def _quoted(self, text: str) -> str:
        """Return what a plugin's class says, unless it says a secret."""
        if Redaction(tuple(self.confidential))(text) != text:
            return (
                "expected another value (the plugin's own words are not shown, because a secret is "
                "in them)"
            )
        return Redaction(tuple(self.behind))(text)

    def entries(self, instance: Any) -> list[Entry]:
        """Return what is in effect: as written, else the default; nothing for a
        mistake.
        """
        return [each for setting in self.fields for each in self._entries(setting, instance)]

    def _entries(self, setting: SettingField, instance: Any) -> list[Entry]:
        written = setting.key in self.written or setting.key in self.section.values
        if written or setting.required or setting.is_table:
            return self.written.get(setting.key, [])
        value = setting.default if instance is None else getattr(instance, setting.name)
        secret = is_secret(setting.type)
        return [Entry(self.section.name, setting.key, text_of(value), secret=secret)]


def _with_defaults(
    entries: Iterable[Entry], section: str, defaults: Mapping[str, str]
) -> Iterator[Entry]:
    for entry in entries:
        if entry.section == section and not entry.text:
            yield attrs.evolve(entry, text=defaults.get(entry.key, ""))
        else:
            yield entry

"""One section into one settings class.

Each value is read and checked by its own validator, and every mistake is noted with its
line; only when all of them are good is the class made, and has its own say. Two
classes, the core's and the plugin's, are filled from one section; which keys neither of
them knows is found by :func:`unknown_keys`.

What a plugin's class says about a value is passed on, unless a secret is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen

from bridge.api import Secret, SettingError
from bridge.config.diagnostics import Place, Problem, listed, nearest
from bridge.config.fields import Declared, Mistake, declared
from bridge.config.ini import Section, Value
from bridge.config.redaction import HIDDEN, Confidential, Redaction
from bridge.config.references import BadReference, Reference
from bridge.config.values import (
    Reader,
    Unchecked,
    Understood,
    Unfit,
    has_password,
    is_secret,
    shown,
    text_of,
    words,
)

S = TypeVar("S")


@frozen
class Entry:
    """One setting as it is in effect. Holds no secret."""

    section: str
    key: str
    text: str
    """As it would stand in the file; asterisks in place of a secret."""
    place: Place | None = None
    """Where it is written; None for a default."""
    shadowed: tuple[Place, ...] = ()
    """Where earlier files set it."""
    references: tuple[Reference, ...] = ()
    secret: bool = False
    """Whether its type is one for secrets."""


@frozen
class Filled(Generic[S]):
    """What became of a section."""

    settings: S | None
    """None if there is a mistake, or if a credential is needed that cannot be looked up
    here.
    """
    values: Mapping[str, Any]
    """The arguments that are good, each by itself; what was not written is not among
    them.
    """
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    confidential: tuple[Confidential, ...] = ()
    """What no message may show."""
    pending: frozenset[str] = frozenset()
    """Keys whose real value, a credential, cannot be looked up here."""


def fill(
    wanted: type[S], section: Section, reader: Reader, tables: Mapping[str, Section] | None = None
) -> Filled[S]:
    """Make settings from a section.

    :param tables: the sections ``[KIND:NAME:FIELD]`` by FIELD.
    :raises Mistake: if the class cannot be used, whatever is written.
    """
    fields = declared(wanted)
    filling = _Filling(wanted, section, reader)
    for setting in fields:
        if setting.is_table:
            filling.read_table(
                setting, (tables or {}).get(setting.key) or Section(setting.key, section.place)
            )
        elif value := section.values.get(setting.key):
            filling.read_setting(setting, value)
        elif setting.required:
            expected = words(setting.type) + (f" ({setting.help})" if setting.help else "")
            filling.mistake(section, setting.key, section.place, f"missing; expected {expected}")
    settings = filling.make()
    entries = [entry for setting in fields for entry in filling.entries(setting, settings)]
    return Filled(
        settings,
        filling.arguments,
        tuple(entries),
        tuple(filling.problems),
        tuple(filling.confidential),
        frozenset(filling.pending),
    )


def unknown_keys(section: Section, known: Mapping[str, Declared]) -> Iterator[Problem]:
    """Report the keys that nobody knows."""
    names = [key for key, setting in known.items() if not setting.is_table]
    for value in section.values.values():
        if value.key not in known:
            meant = nearest(value.key, names)
            hint = f", did you mean '{meant}'?" if meant else f"; known: {listed(names)}"
            yield Problem.at(value.place, section.name, value.written, f"unknown setting{hint}")
        elif known[value.key].is_table:
            text = f"expected a section of its own, [{section.name}:{value.key}]"
            yield Problem.at(value.place, section.name, value.written, text)


@define
class _Filling:
    """How far the filling of a class has come."""

    wanted: type[Any]
    section: Section
    reader: Reader
    arguments: dict[str, Any] = field(factory=dict)
    written: dict[str, list[Entry]] = field(factory=dict)
    """Entries of what was read, by key."""
    problems: list[Problem] = field(factory=list)
    failed: bool = False
    pending: set[str] = field(factory=set)
    """Keys whose real value, a credential, cannot be looked up here."""
    confidential: list[Confidential] = field(factory=list)
    """Texts that must not be in a problem."""

    def mistake(self, section: Section, key: str | None, place: Place, text: str) -> None:
        self.problems.append(Problem.at(place, section.name, key, text))
        self.failed = True

    def read_setting(self, setting: Declared, value: Value) -> None:
        understood = self._read(self.section, setting, value)
        if understood is not None:
            got = shown(value.text, setting.type, understood.references)
            if understood.unchecked or self._fits(setting, understood.value, value, got):
                self.arguments[setting.alias] = understood.value
            else:
                del self.written[setting.key]

    def read_table(self, setting: Declared, section: Section) -> None:
        contents = {}
        for value in section.values.values():
            understood = self._read(section, setting, value)
            if understood is not None:
                contents[value.key] = understood.value
        self.arguments[setting.alias] = contents

    def _read(self, section: Section, setting: Declared, value: Value) -> Understood | None:
        """Read one value; None if it has a mistake, which is noted."""
        if len(value.text) > 1 and value.text[0] == value.text[-1] == '"':
            text = "the quotes are part of the value; remove them unless they are meant"
            self.problems.append(Problem.warning(value.place, section.name, value.written, text))
        try:
            understood = self.reader.read(value.text, setting.type)
        except (Unfit, BadReference) as exc:
            self.mistake(section, value.written, value.place, str(exc))
            return None
        except Unchecked as exc:
            self._not_checked(section, value, exc.credentials)
            self.failed = True
            return None
        except Exception as exc:
            raise Mistake(self.wanted, exc) from exc
        if understood.unchecked:
            self._not_checked(section, value, understood.unchecked)
            self.pending.add(setting.key)
        text = text_of(understood.value)
        brought = [
            reference for reference in understood.references if reference.content is not None
        ]
        hidden = has_password(text) or bool(brought)
        self.confidential += [
            Confidential(each.content, f"({each})") for each in brought if each.content is not None
        ]
        self.confidential += map(
            Confidential, _secrets(understood.value, everything=has_password(text))
        )
        entry = Entry(
            section.name,
            value.key,
            HIDDEN if hidden else text,
            value.place,
            value.shadowed,
            understood.references,
            is_secret(setting.type),
        )
        self.written.setdefault(setting.key, []).append(entry)
        return understood

    def _not_checked(self, section: Section, value: Value, credentials: tuple[str, ...]) -> None:
        for name in credentials:
            text = f"credential '{name}' not checked, because $CREDENTIALS_DIRECTORY is not set"
            self.problems.append(Problem.warning(value.place, section.name, value.written, text))

    def _fits(self, setting: Declared, value: Any, written: Value, got: str) -> bool:
        """Run the validator of a setting, and note what it says."""
        try:
            setting.check(value)
        except ValueError as exc:
            self.mistake(
                self.section,
                written.written,
                written.place,
                self._quoted(f"expected {exc}, got {got}"),
            )
            return False
        except Exception:
            return True  # it compares with other settings, or does not allow None: the class itself will say so
        return True

    def _quoted(self, text: str) -> str:
        """Give what a plugin's class says, unless it says a secret."""
        if Redaction(tuple(self.confidential))(text) != text:
            return (
                "expected another value (the plugin's own words are not shown, because a secret is "
                "in them)"
            )
        return text

    def make(self) -> Any:
        """Make the class; None if it cannot be made."""
        if self.failed:
            return None
        try:
            return self.wanted(**self.arguments)
        except SettingError as exc:
            key = exc.setting.removesuffix("_")
            if key not in self.pending:
                self.mistake(
                    self.section, key, self.section.place_of(key), self._quoted(exc.message)
                )
        except ValueError as exc:
            if not self.pending:
                self.mistake(
                    self.section, None, self.section.place, self._quoted(f"expected {exc}")
                )
        except Exception as exc:
            raise Mistake(self.wanted, exc) from exc
        return None

    def entries(self, setting: Declared, settings: Any) -> list[Entry]:
        """Give what is in effect for a setting: as written, else its default."""
        if (
            setting.key in self.written
            or setting.key in self.section.values
            or setting.required
            or setting.is_table
        ):
            return self.written.get(setting.key, [])
        value = setting.default if settings is None else getattr(settings, setting.name)
        return [
            Entry(self.section.name, setting.key, text_of(value), secret=is_secret(setting.type))
        ]


def _secrets(value: Any, *, everything: bool) -> Iterator[str]:
    """Yield the texts in a value that must not be shown: secrets, or everything."""
    if isinstance(value, tuple):
        for item in value:
            yield from _secrets(item, everything=everything)
    elif isinstance(value, Secret):
        yield value.reveal()
    elif everything:
        yield str(value)

"""References: values that stand elsewhere.

    ${credential:NAME}        a systemd credential: the file NAME in $CREDENTIALS_DIRECTORY
    ${env:NAME}               an environment variable
    ${env:NAME:-DEFAULT}      the same, or DEFAULT if it is not set or empty
    ${file:/PATH}             the text of a file
    $$                        a dollar sign, where ${ is meant literally

One pass: what comes back is not looked at again. Anything else that begins with ``${`` is an error, because the daemon
would otherwise send it somewhere as a password. Line ends at the end of a credential or file are left out.

No error quotes the text around a reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from attrs import field, frozen

from bridge.config.files import Unreadable, read_file

LARGEST_FILE = 1 << 20  # bytes; also systemd's limit for a credential

_DOLLARS = re.compile(r"\$\$|\$\{([^{}]*)(\})?")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-([^$]*))?")
_CREDENTIAL = re.compile(r"[A-Za-z0-9._-]+")

FORMS = (
    "expected ${credential:NAME}, ${env:NAME}, ${env:NAME:-DEFAULT} or ${file:/PATH} after the dollar sign; "
    "write $$ for a dollar sign"
)


class BadReference(Exception):
    """A reference that cannot be replaced. The text says why and what to do."""


@frozen
class Reference:
    """Where a value, or a part of it, came from."""

    scheme: str
    name: str

    @property
    def confidential(self) -> bool:
        """Whether what it stands for is never shown."""
        return self.scheme != "env"

    def __str__(self) -> str:
        return f"{_SCHEME_WORDS[self.scheme]} {self.name}"


_SCHEME_WORDS = {"credential": "credential", "env": "environment variable", "file": "file"}


@frozen
class Expanded:
    """A text whose references are replaced."""

    text: str = field(repr=False)
    references: tuple[Reference, ...] = ()
    unchecked: tuple[str, ...] = ()
    """Names of credentials that nobody can know here; the text stands in for them."""


@frozen
class References:
    """What references are looked up in."""

    environ: Mapping[str, str] = field(repr=False)
    credentials: Path | None
    """Folder of the credentials; None where the process has none."""
    checking: bool = False
    """True: credentials that cannot be known, because there is no folder, are not an error."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, checking: bool = False) -> Self:
        """Take the folder of the credentials from ``$CREDENTIALS_DIRECTORY``."""
        folder = environ.get("CREDENTIALS_DIRECTORY")
        return cls(environ, Path(folder) if folder else None, checking)

    def expand(self, text: str) -> Expanded:
        """Replace the references of a text.

        :raises BadReference: when one is not understood, or there is nothing that it refers to.
        """
        references: list[Reference] = []
        unchecked: list[str] = []

        def replace(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            scheme, colon, name = match[1].partition(":")
            look_up = self._look_up().get(scheme)
            if match[2] is None or not colon or look_up is None:
                raise BadReference(FORMS)
            found = look_up(name)
            references.append(Reference(scheme, name.partition(":-")[0] if scheme == "env" else name))
            if found is None:
                unchecked.append(name)
                return "unchecked"
            return found

        return Expanded(_DOLLARS.sub(replace, text), tuple(references), tuple(unchecked))

    def _look_up(self) -> dict[str, Callable[[str], str | None]]:
        return {"credential": self._credential, "env": self._variable, "file": self._file}

    def _credential(self, name: str) -> str | None:
        if not _CREDENTIAL.fullmatch(name) or not name.strip("."):
            raise BadReference("expected ${credential:NAME}, where NAME has letters, digits, '.', '_' and '-' only")
        if self.credentials is None:
            if self.checking:
                return None
            raise BadReference(
                f"there is no credential '{name}', because $CREDENTIALS_DIRECTORY is not set; "
                "start the bridge by its systemd unit, or use ${file:...}"
            )
        try:
            return _text_of(self.credentials / name)
        except Unreadable as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                raise BadReference(
                    f"there is no credential '{name}'; name it in LoadCredential= of the unit, or use ${{file:...}}"
                ) from None
            raise BadReference(f"the credential '{name}' cannot be read: {exc}") from exc

    def _variable(self, name: str) -> str:
        match = _VARIABLE.fullmatch(name)
        if match is None:
            raise BadReference("expected ${env:NAME} or ${env:NAME:-DEFAULT}, without a dollar sign in DEFAULT")
        found = self.environ.get(match[1])
        if match[2] is not None:
            return found or match[2]
        if found is None:
            raise BadReference(
                f"there is no environment variable '{match[1]}'; set it, or write ${{env:{match[1]}:-DEFAULT}}"
            )
        return found

    def _file(self, name: str) -> str:
        if not name.startswith("/"):
            raise BadReference("expected ${file:/PATH}, where /PATH begins at the root folder")
        try:
            return _text_of(Path(name))
        except Unreadable as exc:
            raise BadReference(f"the file '{name}' cannot be read: {exc}") from exc


def _text_of(path: Path) -> str:
    content, _ = read_file(path, LARGEST_FILE)
    try:
        return content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8 text") from None  # the original error holds bytes of the file

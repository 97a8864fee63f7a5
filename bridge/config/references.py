"""References: values that stand elsewhere.

    ${credential:NAME}        a systemd credential: a file in $CREDENTIALS_DIRECTORY,
                              called NAME, or NAME behind the prefix with which the unit
                              of an instance imports it
    ${env:NAME}               an environment variable
    ${env:NAME:-DEFAULT}      the same, or DEFAULT if it is not set or empty
    ${file:/PATH}             the text of a file
    $$                        a dollar sign, where ${ is meant literally

One pass: what comes back is not looked at again. Anything else that begins with ``${``
is an error, because the daemon would otherwise send it somewhere as a password. Line
ends at the end of a credential or file are left out.

In a setting that is a path, a credential stands for the *path* of its file, never for
what is in it.

No error quotes the text around a reference, or what it stands for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from attrs import field, frozen

from bridge.config.source_files import UnreadableFileError, read_file

MAX_FILE = 1 << 20  # bytes; also systemd's limit for a credential

_DOLLARS = re.compile(r"\$\$|\$\{([^{}]*)(\})?")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-([^$]*))?")
_CREDENTIAL = re.compile(r"[A-Za-z0-9._-]+")

STORE_CREDENTIAL = "sudo install -D -m 0600 /dev/stdin /etc/bridge/credentials/{instance}/{name}"
"""The one command that gives a secret to an instance: it is typed or pasted, and ends
with Ctrl-D.
"""

FORMS = (
    "expected ${credential:NAME}, ${env:NAME}, ${env:NAME:-DEFAULT} or ${file:/PATH} "
    "after the dollar sign; write $$ for a dollar sign"
)


class BadReferenceError(Exception):
    """A reference that cannot be replaced. The text says why and what to do."""


@frozen
class Reference:
    """Where a value, or a part of it, came from."""

    scheme: str
    name: str
    text: str | None = field(repr=False)
    """What it stands for; None: a credential that nobody can know here."""
    confidential: bool = True
    """False for the path of a credential, and the DEFAULT of the file."""

    @property
    def content(self) -> str | None:
        """What must not be shown of it; None if that is nothing."""
        return self.text if self.confidential else None

    def __str__(self) -> str:
        return f"{_SCHEME_WORDS[self.scheme]} {self.name}"


_SCHEME_WORDS = {"credential": "credential", "env": "environment variable", "file": "file"}


@frozen
class References:
    """What references are looked up in."""

    environ: Mapping[str, str] = field(repr=False)
    credentials: Path | None
    """Folder of the credentials; None where the process has none."""
    instance: str = "NAME"
    """Of the bridge: the unit brings its credentials under names that begin with it."""
    checking: bool = False
    """True: credentials that cannot be known, because there is no folder, are not an
    error.
    """

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, instance: str = "NAME", checking: bool = False
    ) -> Self:
        """The folder of the credentials is that of ``$CREDENTIALS_DIRECTORY``."""
        folder = environ.get("CREDENTIALS_DIRECTORY")
        return cls(environ, Path(folder) if folder else None, instance, checking)

    def expand(self, text: str) -> tuple[str, tuple[Reference, ...]]:
        """Replace the references of a text; ``unchecked`` stands for what nobody can
        know.

        :raises BadReferenceError: when one is not understood, or there is nothing that
            it refers to.
        """
        return self._expand(
            text, {"credential": self._credential, "env": self._variable, "file": self._file}
        )

    def expand_path(self, text: str) -> tuple[str, tuple[Reference, ...]]:
        """Replace the references of a path: a credential stands for the path of its
        file.

        :raises BadReferenceError: as ``expand``; also for ``${file:...}``, and for text
            beside a credential.
        """
        if "${credential:" in text and not _DOLLARS.fullmatch(text):
            raise BadReferenceError(
                "expected nothing beside ${credential:NAME}, which is a whole path here"
            )
        return self._expand(
            text, {"credential": self._credential_path, "env": self._variable, "file": _no_file}
        )

    def _expand(
        self, text: str, look_up: Mapping[str, Callable[[str], Reference]]
    ) -> tuple[str, tuple[Reference, ...]]:
        references: list[Reference] = []

        def replace(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            scheme, colon, name = match[1].partition(":")
            if match[2] is None or not colon or scheme not in look_up:
                raise BadReferenceError(FORMS)
            reference = look_up[scheme](name)
            references.append(reference)
            return "unchecked" if reference.text is None else reference.text

        return _DOLLARS.sub(replace, text), tuple(references)

    def _credential(self, name: str) -> Reference:
        path = self._find_credential(name)
        try:
            return Reference("credential", name, None if path is None else _text_of(path))
        except UnreadableFileError as exc:
            raise BadReferenceError(f"the credential '{name}' cannot be read: {exc}") from exc

    def _credential_path(self, name: str) -> Reference:
        path = self._find_credential(name)
        text = None if path is None else str(path)
        return Reference("credential", name, text, confidential=False)

    def _find_credential(self, name: str) -> Path | None:
        """Find the file of a credential; None if nobody can know it here.

        :raises BadReferenceError: if there is none.
        """
        if not _CREDENTIAL.fullmatch(name) or not name.strip("."):
            raise BadReferenceError(
                "expected ${credential:NAME}, where NAME has letters, digits, '.', '_' and '-' only"
            )
        put = f"put it there with: {STORE_CREDENTIAL.format(instance=self.instance, name=name)}"
        if self.credentials is None:
            if self.checking:
                return None
            raise BadReferenceError(
                f"there is no credential '{name}', because $CREDENTIALS_DIRECTORY is not set: "
                f"bridge@{self.instance}.service sets it; {put}; "
                "a bridge started by hand can use ${file:/PATH}"
            )
        # An imported credential carries the name of the instance
        # (ImportCredential=bridge.%i.*), and so does one that came from a folder, of
        # which systemd joins the ID of the folder and the name of the file by '_'.
        for candidate in (name, f"bridge.{self.instance}.{name}", f"bridge.{self.instance}_{name}"):
            path = self.credentials / candidate
            if os.path.lexists(path):
                return path
        raise BadReferenceError(f"there is no credential '{name}'; {put}; then restart the bridge")

    def _variable(self, expression: str) -> Reference:
        match = _VARIABLE.fullmatch(expression)
        if match is None:
            raise BadReferenceError(
                "expected ${env:NAME} or ${env:NAME:-DEFAULT}, without a dollar sign in DEFAULT"
            )
        name, default = match.groups()
        found = self.environ.get(name)
        if default is not None and not found:
            return Reference("env", name, default, confidential=False)
        if found is None:
            raise BadReferenceError(
                f"there is no environment variable '{name}'; set it, or write "
                f"${{env:{name}:-DEFAULT}}"
            )
        try:
            found.encode()
        except UnicodeEncodeError:  # not chained: the error holds the value
            raise BadReferenceError(
                f"the environment variable '{name}' cannot be read: it is not UTF-8 text"
            ) from None
        return Reference("env", name, found)

    def _file(self, name: str) -> Reference:
        if not name.startswith("/"):
            raise BadReferenceError("expected ${file:/PATH}, where /PATH begins at the root folder")
        try:
            return Reference("file", name, _text_of(Path(name)))
        except UnreadableFileError as exc:
            raise BadReferenceError(f"the file '{name}' cannot be read: {exc}") from exc


def _no_file(name: str) -> Reference:
    raise BadReferenceError(
        f"expected the path itself, not what is in the file; write {name} instead of "
        f"${{file:{name}}}"
    )


def _text_of(path: Path) -> str:
    content, _ = read_file(path, MAX_FILE)
    try:
        return content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:  # not chained: the error holds bytes of the file
        raise UnreadableFileError("it is not UTF-8 text") from None

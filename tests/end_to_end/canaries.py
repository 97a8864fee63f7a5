"""Canaries: texts that stand nowhere else, planted into settings and looked for in
whatever the bridge says.

canary = Canary("sink:databoom", "token", "credential")
net.plant(canary)
net.caught(output)  what of it was found there: pieces of 8 characters, as they are or
                        as Base64, in any case
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from attrs import define, field, frozen

from bridge.api import Duration, NetworkAddress, Secret, Size, Url
from bridge.config.values import without_none

PIECE = 8  # characters by which a canary is recognised
SCHEMES = ("credential", "env", "file")


@frozen
class Canary:
    """What is planted into one setting."""

    section: str
    key: str
    salt: str = ""

    @property
    def _digest(self) -> bytes:
        return blake2b(f"{self.section}|{self.key}|{self.salt}".encode(), digest_size=12).digest()

    @property
    def word(self) -> str:
        """Letters of both cases and digits, as names, paths and tokens have them."""
        return "k" + b64encode(self._digest, altchars=b"xY").decode()

    @property
    def number(self) -> str:
        """Nine digits."""
        return str(100_000_000 + int.from_bytes(self._digest[:4]) % 900_000_000)


@define
class Net:
    """What is looked for."""

    pieces: dict[str, str] = field(factory=dict)
    """In lower case: what it is a piece of."""

    wholes: dict[str, str] = field(factory=dict)
    """What is found whole or not at all: its pieces may stand elsewhere."""

    def plant(self, canary: Canary, *wholes: str) -> None:
        """Look for a canary from now on, and for other forms of the value that holds
        it.
        """
        about = f"[{canary.section}] {canary.key}"
        self.wholes |= dict.fromkeys(map(str.lower, wholes), about)
        for text in (canary.word, canary.number):
            for form in (text, *_base64(text)):
                for begin in range(len(form) - PIECE + 1):
                    self.pieces[form[begin : begin + PIECE].lower()] = about

    def caught(self, output: str) -> list[str]:
        """Say which settings show in an output, and in which line."""
        found = {}
        for line in output.splitlines():
            low = line.lower()
            for begin in range(len(low) - PIECE + 1):
                if about := self.pieces.get(low[begin : begin + PIECE]):
                    found.setdefault(
                        about, f"{about}: ...{line[max(0, begin - 120) : begin + 60]}..."
                    )
            for whole, about in self.wholes.items():
                if whole in low:
                    found.setdefault(about, f"{about}: {whole} in {line[:200]}")
        return list(found.values())


def _base64(text: str) -> Iterator[str]:
    """Write a text as Base64 does inside of a longer one, as ``user:password`` is:

    it may begin at any of three.
    """
    for before in range(3):
        whole = b64encode(bytes(before) + text.encode()).decode()
        yield whole[(before * 8 + 5) // 6 : len(whole) - len(whole) % 4 - 4]


@frozen
class Cage:
    """Where the references of a configuration lead."""

    folder: Path
    environ: dict[str, str] = field(factory=dict)

    @property
    def credentials(self) -> Path:
        return self.folder / "credentials"

    def __attrs_post_init__(self) -> None:
        self.credentials.mkdir(parents=True)
        (self.folder / "files").mkdir()
        self.environ["CREDENTIALS_DIRECTORY"] = str(self.credentials)

    def refer(self, scheme: str, name: str, content: str) -> str:
        """Put a content, with bytes that are no UTF-8 as surrogates, where a reference
        finds it, and give that.
        """
        name = re.sub(r"\W", "_", name)
        if scheme == "env":
            self.environ[name] = content.replace("\0", "")  # which no environment can hold
            return f"${{env:{name}}}"
        path = (self.credentials if scheme == "credential" else self.folder / "files") / name
        path.write_bytes(os.fsencode(content))
        return f"${{credential:{name}}}" if scheme == "credential" else f"${{file:{path}}}"


def item_type(wanted: Any) -> Any:
    """Give the type of a value, or of the items of a list."""
    plain = without_none(wanted)[0]
    return get_args(plain)[0] if get_origin(plain) is tuple else plain


def fitting(wanted: Any, canary: Canary) -> list[str]:
    """Give texts with a canary that are, or almost are, values of a type.

    None for yes and no, and for a choice.
    """
    word, number = canary.word, canary.number
    plain = item_type(wanted)
    if plain in (int, float):
        return [number]
    if plain is Duration:
        return [f"{number}s", f"{number[:4]}.{number[4:]}s"]
    if plain is Size:
        return [f"{number}B", f"{int(number[:6]) * 1024}B"]
    if plain is Url:
        return [
            f"https://{word}.example/{word}",
            f"http://{word}.example/push",
            f"http://127.0.0.1:1/{word}/push?{word}",
        ]
    if plain is Path:
        return [f"/nowhere/{word}"]
    if plain is NetworkAddress:
        return [f"{word}.example:8443", f"systemd:{word}", f"127.0.0.2:0{number[:4]}"]
    if plain is bool or get_origin(plain) is Literal:
        return []
    if plain not in (str, Secret):
        raise AssertionError(f"this test knows no value of type {plain} that holds a canary")
    return [
        word,
        f"/{word}",
        f"{{{word}}}",
        f"$.{word}",
        f"$[*].{word}",
        f"X-{word} {word}",
        f"{word}:{word}",
        f"{{body}}{word}",
        f"{{stream}}/{word}",
        f"[{word}",
        f"{word}\n{word}",
        f"{word}\N{LATIN SMALL LETTER E WITH ACUTE}",
    ]


def nearly(wanted: Any, canary: Canary) -> str:
    """Give a text with a canary that is almost a value of a type."""
    word = canary.word
    plain = item_type(wanted)
    if get_origin(plain) is Literal:
        return f"{get_args(plain)[0]}{word}"
    begins: Mapping[Any, str] = {
        int: "12345",
        float: "1.5",
        Duration: "30",
        Size: "1KiB",
        Url: f"https://{word}.example:0",
        Path: "\0/",
        NetworkAddress: "127.0.0.1:99999",
        bool: "yes",
    }
    return f"{begins.get(plain, '')}{word}"


def also_written(wanted: Any, text: str) -> list[str]:
    """Give how the bridge may write a value that it has read: its own way."""
    parse = getattr(item_type(wanted), "parse", None)
    if parse is None or item_type(wanted) is Url:
        return []
    try:
        return [str(parse(text))]
    except ValueError:
        return []

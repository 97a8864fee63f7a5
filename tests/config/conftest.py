"""Plugins with settings of every type, and a folder to write configurations into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import field, frozen

from bridge.api import (
    Duration,
    NetworkAddress,
    Secret,
    SettingError,
    SinkKind,
    Size,
    SourceKind,
    SpoolKind,
    Table,
    Url,
    at_least,
    between,
    setting,
    table,
)
from bridge.config import Kinds, Loaded
from bridge.daemon.config import load


class Level(Enum):
    LOW = 1
    HIGH = 2


class Codec(str, Enum):  # noqa: UP042  # as older code writes it
    NONE = "none"
    GZIP = "gzip"


def starts_with_slash(_instance: Any, _attribute: Any, value: str) -> None:
    if not value.startswith("/"):
        raise ValueError("a path that begins with /")


@frozen
class HookSettings:
    """A source that is called by its vendor."""

    secret: Secret = setting(help="signature secret", example="${credential:hook.secret}")
    previous: tuple[Secret, ...] = setting((), help="secrets before the last change")
    path: str = setting("/hook", help="path on the listener", validator=starts_with_slash)
    networks: tuple[IPv4Network | IPv6Network, ...] = setting(
        (), help="networks that may call", example="10.0.0.0/8"
    )


@frozen
class PollSettings:
    """A source that asks."""

    url: Url = setting(help="base URL of the API")
    password: Secret | None = setting(None, help="password")
    interval: Duration = setting(
        Duration(60), help="time between two questions", validator=at_least(1)
    )
    ratio: float = setting(0.5, help="share of the quota", validator=between(0, 1))
    level: Level = setting(Level.LOW, help="how much is asked for")
    codec: Codec = setting(Codec.NONE, help="compression")
    topics: tuple[str, ...] = setting(("all",), help="what is asked for")
    proxy: NetworkAddress | None = setting(None, help="proxy", example="127.0.0.1:3128")
    from_: Literal["now", "beginning"] = setting("now", help="where to begin")


@frozen
class StoreSettings:
    """A sink."""

    token: Secret = setting(help="access token", example="${credential:store.token}")
    url: Url = setting(Url("https://store.example"), help="base URL of the API")
    mode: Literal["array", "history"] = setting("array", help="form of a request")
    batch_size: int = setting(20, help="signals in a request", validator=at_least(1))
    body_limit: Size = setting(Size(1 << 20), help="largest request")
    compress: bool = setting(False, help="compress requests")
    ca_file: Path | None = setting(None, help="CA to trust")
    user: str | None = setting(None, help="user name")
    devices: Table = table(help="vendor's device id = token", example="urn:x = 1")
    sizes: Mapping[str, Size] = table(help="device = largest request")

    def __attrs_post_init__(self) -> None:
        if self.compress and self.mode == "history":
            raise SettingError("compress", "expected no with mode = history, got yes")


@frozen
class NumberedSettings:
    """A sink whose author handles secrets carelessly."""

    pin: Secret = setting(
        help="number", validator=lambda _instance, _attribute, value: check_pin(value)
    )
    name: str = setting("", help="name")

    def __attrs_post_init__(self) -> None:
        if self.name == "leak":
            raise SettingError("name", f"expected something other than {self.pin.reveal()}")
        if self.name == "crash":
            raise RuntimeError(self.pin.reveal())
        if self.name == "wrong":
            raise ValueError(f"another name than {self.name}")


def check_pin(value: Secret) -> None:
    if not value.reveal().isdigit():
        raise ValueError(f"digits instead of {value.reveal()}")


@frozen
class UnresolvedSettings:
    """A sink whose annotations name nothing."""

    url: NoSuchType = setting(help="a type that was never imported")  # noqa: F821


@frozen
class ByteSettings:
    """A sink with a type that is no type of settings."""

    prefix: bytes = field(default=b"")


@frozen
class SpoolSettings:
    max_size: Size = setting(Size(10 << 30), help="disk space")


async def never(*_: Any, **__: Any) -> None:
    raise AssertionError("nothing is run here")


def no_paths(_settings: Any) -> list[str]:
    raise LookupError("paths")


@pytest.fixture
def kinds() -> Kinds:
    run: Any = never
    return Kinds(
        sources={
            "hook": SourceKind("hook", HookSettings, run, paths=lambda settings: [settings.path]),
            "lost": SourceKind("lost", HookSettings, run, paths=no_paths),
            "poll": SourceKind("poll", PollSettings, run),
        },
        sinks={
            "store": SinkKind("store", StoreSettings, run, batch=500, in_flight=2),
            "numbered": SinkKind("numbered", NumberedSettings, run),
            "unresolved": SinkKind("unresolved", UnresolvedSettings, run),
            "bytes": SinkKind("bytes", ByteSettings, run),
        },
        spools={"sqlite": SpoolKind("sqlite", SpoolSettings, run)},
        unusable={
            "acme": (
                "/etc/bridge/plugins/acme.py:7: needs the package 'acme-sdk'; install it "
                "beside bridge"
            )
        },
    )


Load = Callable[..., Loaded]


@pytest.fixture
def load_text(tmp_path: Path, kinds: Kinds) -> Load:
    """Write files, none readable by others, and load ``office.ini``."""

    def load_text(
        text: str,
        files: Mapping[str, str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        checking: bool = False,
        mode: int = 0o600,
        kinds: Kinds = kinds,
    ) -> Loaded:
        (tmp_path / "office.d").mkdir(exist_ok=True)
        for name, content in {"office.ini": text, **(files or {})}.items():
            (tmp_path / name).write_text(content, "utf-8", newline="")
            (tmp_path / name).chmod(mode)
        return load(tmp_path / "office.ini", kinds, environ=environ or {}, checking=checking)

    return load_text


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A folder of credentials, as systemd makes it."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "store.token").write_text("t0ken-from-systemd\n", "utf-8")
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "folder").mkdir()
    return folder

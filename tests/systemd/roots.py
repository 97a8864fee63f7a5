"""Root file systems of Debian with the bridge in them, installed as its README says.

    with opened() as roots:      # one session at a time: they are reinstalled by each
        root = roots.prepare(Release("bookworm", 252))

What takes long, debootstrap and the bridge's dependencies, is done once and kept in
``.systemd`` of the checkout; delete that folder to begin anew. Nothing is mounted there
but in namespaces that end with their process.
"""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

CHECKOUT = Path(__file__).parents[2]
CACHE = CHECKOUT / ".systemd"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,iproute2,curl,openssl"
TOOLS = {
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
"""Commands that are needed here, and the Debian packages that bring them."""

HOST = "/run/host"
"""Where the file system of this machine is seen from within a root, while something is
installed there.
"""

IN_ROOT = f"""
set -e
mount -t tmpfs tmpfs "$ROOT/run"
mkdir "$ROOT{HOST}"
mount --rbind / "$ROOT{HOST}"
mount --rbind /dev "$ROOT/dev"
mount -t proc proc "$ROOT/proc"
: >> "$ROOT/etc/resolv.conf"
mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
exec chroot "$ROOT" /bin/sh -ec "$1"
"""

INSTALL = """
pip=/opt/bridge/bin/pip
[ -x $pip ] || python3 -m venv /opt/bridge
$pip install --quiet --force-reinstall --no-deps "$WHEEL"
$pip install --quiet "$WHEEL"
ln -sf /opt/bridge/bin/bridged /usr/bin/bridged
rm -rf /etc/systemd/system/bridge@*
install -m 0644 "$UNITS/bridge@.service" /etc/systemd/system/
drop_ins=/etc/systemd/system/bridge@.service.d
[ $SYSTEMD -lt 254 ] || install -D -m 0644 -t $drop_ins "$UNITS/systemd-254.conf"
install -D -m 0644 "$UNITS/bridge.sysusers" /etc/sysusers.d/bridge.conf
install -D -m 0644 "$UNITS/bridge.tmpfiles" /etc/tmpfiles.d/bridge.conf
systemd-sysusers
systemd-tmpfiles --create bridge.conf
"""


class Unprepared(Exception):
    """A root file system cannot be made here; the message says what to do."""


@frozen
class Release:
    """A release of Debian."""

    name: str
    systemd: int
    """Version of its systemd."""


@contextmanager
def opened() -> Iterator[Roots]:
    """Open the cache for this process alone.

    Raises Unprepared when something is missing here, or another session is at it.
    """
    if os.geteuid() != 0:
        raise Unprepared("booting a system needs root: sudo make systemd-test")
    missing = {package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if missing:
        raise Unprepared(
            f"booting a system needs more packages: apt-get install {' '.join(sorted(missing))}"
        )
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock, tempfile.TemporaryDirectory() as folder:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unprepared(f"another session uses {CACHE}; wait until it has ended") from None
        yield Roots(_wheel(Path(folder)))


@frozen
class Roots:
    """The root file systems of this session."""

    wheel: Path

    def prepare(self, release: Release) -> Path:
        """Return the root file system of a release, with the bridge as it stands in
        this checkout.
        """
        root, made_of = CACHE / release.name, CACHE / f"{release.name}.packages"
        if not made_of.exists() or made_of.read_text() != PACKAGES:
            made_of.unlink(missing_ok=True)
            shutil.rmtree(root, ignore_errors=True)
            # In a namespace of its own, so that what it mounts is gone even if it is
            # killed.
            options = ["--variant=minbase", f"--include={PACKAGES}"]
            _run(
                ["unshare", "--mount", "debootstrap", *options, release.name, str(root), _mirror()]
            )
            # There are no kernel modules in a namespace: on 257 this unit fails, and
            # the system is "degraded".
            _in_root(root, "systemctl mask systemd-modules-load.service", {})
            made_of.write_text(PACKAGES)  # the last: a root is complete once this is there
        paths = {"WHEEL": f"{HOST}{self.wheel}", "UNITS": f"{HOST}{CHECKOUT}/systemd"}
        _in_root(root, INSTALL, paths | {"SYSTEMD": str(release.systemd)})
        return root


def _mirror() -> str:
    if given := os.environ.get("DEBIAN_MIRROR"):
        return given
    try:
        filters = ["Created-By: Packages", "Origin: Debian", "Label: Debian"]
        sites = _run(["apt-get", "indextargets", "--format", "$(SITE)", *filters]).splitlines()
    except (OSError, Unprepared):
        sites = []
    return sites[0] if sites else "http://deb.debian.org/debian"


def _wheel(folder: Path) -> Path:
    """Build a wheel from a copy: in the checkout, setuptools would leave and reuse what
    is no longer there.
    """
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("bridge", "plugins"):
        shutil.copytree(CHECKOUT / name, folder / "source" / name, ignore=ignored)
    for name in ("setup.cfg", "setup.py", "README.rst", "LICENSE"):
        shutil.copy(CHECKOUT / name, folder / "source" / name)
    options = ["--quiet", "--no-deps", "--wheel-dir", str(folder)]
    _run([sys.executable, "-m", "pip", "wheel", *options, str(folder / "source")])
    (wheel,) = folder.glob("*.whl")
    return wheel


def _in_root(root: Path, script: str, environ: dict[str, str]) -> None:
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    _run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_ROOT, "sh", script],
        path | _pip_environment() | environ | {"ROOT": str(root)},
    )


def _pip_environment() -> dict[str, str]:
    """Return the settings of pip here, wherever they come from, as they are to be named
    within a root.
    """
    settings: dict[str, dict[str, str]] = {
        "global": {},
        "install": {},
        ":env:": {},
    }  # the later wins
    for line in _run([sys.executable, "-m", "pip", "config", "list"]).splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in settings and key not in (
            "cache-dir",
            "log",
            "prefix",
            "root",
            "target",
            "user",
        ):
            settings[section][f"PIP_{key.upper().replace('-', '_')}"] = ast.literal_eval(value)
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    bundles = {
        name: os.environ[name]
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        if name in os.environ
    }
    found = proxies | bundles | settings["global"] | settings["install"] | settings[":env:"]
    own = {
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    return {name: _within(value) for name, value in found.items()} | own


def _within(value: str) -> str:
    """Return a value with paths of this machine as they are seen within a root."""
    words = []
    for word in value.split():
        scheme, path = ("file://", word[7:]) if word.startswith("file://") else ("", word)
        local = path.startswith("/") and Path(path).exists()
        words.append(f"{scheme}{HOST}{Path(path).resolve()}" if local else word)
    return " ".join(words)


def _run(command: Sequence[str], environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unprepared(
            f"{' '.join(command[:3])} ... failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout

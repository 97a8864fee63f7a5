"""Two versions of the product, each installed in an environment of its own.

Both are installed alike, from a copy of their files, and share the dependencies of the
environment that runs the benchmark: what differs is our code alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]


class UnavailableError(Exception):
    """A version cannot be had; the text says why."""


@frozen
class Version:
    """One that can be run."""

    name: str
    """``old`` or ``new``."""
    text: str
    """What it is, for people."""
    python: str
    """``PYTHON -m bridge`` runs it."""


def find_commit(rev: str, root: Path = ROOT) -> str:
    """Give the full name of a commit.

    :raises UnavailableError: if there is none, or no repository, or no git.
    """
    if shutil.which("git") is None:
        raise UnavailableError("git is not installed; --against takes the old version out of it")
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
    except UnavailableError as exc:
        raise UnavailableError(f"no git repository at {root}, so no old version") from exc
    # A folder below some other repository has that one's commits, which are not ours.
    if Path(top.strip()).resolve() != root.resolve():
        raise UnavailableError(f"no git repository at {root}, so no old version")
    try:
        name = ("--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
        return _git(root, "rev-parse", *name).strip()
    except UnavailableError as exc:
        raise UnavailableError(f"there is no commit {rev!r} in {root}") from exc


def install_commit(name: str, commit: str, folder: Path) -> Version:
    """Install a commit below a new folder.

    :raises UnavailableError: if that fails.
    """
    files = folder / "files"
    files.mkdir(parents=True)
    archive = folder / "files.tar"
    _git(ROOT, "archive", "--format=tar", f"--output={archive}", commit)
    shutil.unpack_archive(archive, files)
    archive.unlink()
    return Version(name, describe(commit), _install(files, folder / "venv"))


def install_current(name: str, folder: Path) -> Version:
    """Install what lies in this checkout, with changes that are not committed.

    :raises UnavailableError: if that fails.
    """
    files = folder / "files"
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for path in map(Path, filter(None, listed.split("\0"))):
        source = ROOT / path
        # Neither a file that was deleted since, nor another repository below this one.
        if source.is_symlink() or source.is_file():
            (files / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, files / path, follow_symlinks=False)
    changed = _git(ROOT, "status", "--porcelain") != ""
    text = describe("HEAD") + (", with changes" if changed else "")
    return Version(name, text, _install(files, folder / "venv"))


def describe(commit: str) -> str:
    """Short name, date and subject of a commit."""
    return _git(ROOT, "show", "--no-patch", "--format=%h of %cs, %<(60,trunc)%s", commit).strip()


def _install(files: Path, environment: Path) -> str:
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    # pip is ours, of the environment that runs this: it need not be installed in each.
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    _run([*pip, "--disable-pip-version-check", "--no-deps", str(files)])
    # Only now: pip shall not find the version that is installed there. It stands behind
    # the environment's own packages, so that our code is never taken from it.
    packages = sysconfig.get_path("purelib", vars={"base": str(environment)})
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(packages) / "dependencies.pth").write_text("".join(f"{path}\n" for path in ours))
    return str(python)


def _git(folder: Path, *arguments: str) -> str:
    return _run(["git", "-C", str(folder), *arguments])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout

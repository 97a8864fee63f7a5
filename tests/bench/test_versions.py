"""Commits that are there, and those that are not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.versions import UnavailableError, find_commit


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
    folder = tmp_path / "repository"
    for words in (("init", "--quiet", "."), (*who, "commit", "--allow-empty", "-qm", "first")):
        folder.mkdir(exist_ok=True)
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def test_a_commit_has_its_full_name(repository: Path):
    commit = find_commit("HEAD", repository)
    assert len(commit) == 40
    assert find_commit(commit[:8], repository) == commit


@pytest.mark.parametrize("rev", ["v9", "HEAD~1", "--all", "0123456789"])
def test_an_unknown_commit_is_named(rev: str, repository: Path):
    with pytest.raises(UnavailableError, match=f"there is no commit '{rev}'"):
        find_commit(rev, repository)


def test_a_copy_without_history_has_no_old_version(repository: Path):
    inner = repository / "copy"
    inner.mkdir()
    for folder in (inner, repository.parent):
        with pytest.raises(UnavailableError, match="no git repository at"):
            find_commit("HEAD", folder)


def test_without_git_there_is_no_old_version(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="git is not installed"):
        find_commit("HEAD", repository)

"""Each problem is in the registry and reported by somebody, and its remedy can be
followed.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from bridge.cli.commands import run
from tests.problems import COMMAND, sections, stale
from tests.test_floors import imports, modules, name_of

PROBLEMS = [problem for problems in sections().values() for problem in problems]
MODULES = modules("bridge", "plugins")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in MODULES:
        yield path, ast.parse(path.read_text("utf-8"))


def is_problem(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "Problem"


def constants() -> dict[str, str]:
    """Return the problems that are constants of a module: where, and their names."""
    return {
        f"{name_of(path)}.{ast.unparse(node.targets[0])}": ast.literal_eval(node.value.args[0])
        for path, tree in trees()
        for node in tree.body
        if isinstance(node, ast.Assign) and is_problem(node.value)
    }


def commands() -> set[str]:
    """Return the commands that remedies name, without ``bridged`` and without what
    stands for a name or a number.
    """
    texts = [text for problem in PROBLEMS for text in (problem.meaning, problem.remedy)]
    named = [words.split() for text in texts for words in re.findall(r"`bridged ([^`]+)`", text)]
    return {" ".join(_without_placeholders(words)) for words in named}


def _without_placeholders(words: list[str]) -> Iterator[str]:
    for before, word in itertools.pairwise(["", *words]):
        if word == "KIND":
            yield "disruptive"  # as good as every other kind with a history
        elif not word.isupper() or before.startswith("--"):
            yield word


def exists(command: str) -> bool:
    with pytest.raises(SystemExit) as ended:
        run([*command.split(), "--help"])
    return ended.value.code == 0


def unnamed(node: ast.expr) -> bool:
    """Whether a value cannot be a problem or None."""
    match node:
        case ast.Constant(value):
            return value is not None
        case ast.IfExp(_, body, orelse):
            return unnamed(body) or unnamed(orelse)
        case ast.BoolOp(_, values):
            return any(map(unnamed, values))
        case ast.Call(ast.Name(id)):
            return id in ("bool", "str")
    return isinstance(node, ast.Compare | ast.UnaryOp | ast.JoinedStr)


def test_the_page_is_what_the_code_says():
    assert not stale(), f"docs/problems.rst is not current; run: {COMMAND}"


def test_no_two_problems_have_the_same_name():
    assert [
        name for name, times in Counter(each.name for each in PROBLEMS).items() if times > 1
    ] == []


def test_each_problem_is_a_constant_and_in_the_registry():
    made = [node for _, tree in trees() for node in ast.walk(tree) if is_problem(node)]
    assert len(made) == len(constants()), "a problem is a constant of a module"
    assert sorted(constants().values()) == sorted(each.name for each in PROBLEMS)


def test_each_problem_is_told_by_somebody():
    used = {name for path in MODULES for name in imports(path)}
    assert constants().keys() - used == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_report_tells_of_a_problem_without_its_name(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "problem":
            assert not unnamed(node.value), f"line {node.value.lineno}: name the problem"
        if isinstance(node, ast.arg) and node.arg == "problem" and node.annotation is not None:
            assert "Problem" in ast.unparse(node.annotation), f"line {node.lineno}"


@pytest.mark.parametrize("command", sorted(commands()))
def test_each_command_of_a_remedy_is_there(command: str, capsys: pytest.CaptureFixture[str]):
    assert exists(command)

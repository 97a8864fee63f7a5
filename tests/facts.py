"""The pages ``docs/facts/VENDOR.rst``, made from the markers
``@pytest.mark.fact("...")`` of the tests.

A fact stands at the test that holds it, so it moves with the test and goes with it.
Nothing is imported: the tests are read as text, which takes a second and needs no
installation.

The vendor of a fact follows from the path, or from ``vendor="..."`` where the test lies
elsewhere. A section of a page is a module of tests, under the first line of its
docstring.

    python -m tests.facts            writes the pages
    python -m tests.facts --check    exits 1 if a page is not what the tests say
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "facts"
COMMAND = "make docs"
MARKER = "pytest.mark.fact"
VENDORS = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py"))
OWNED = re.compile(rf"tests/(?:plugins/|end_to_end/test_faults_)({'|'.join(VENDORS)})(?:/|_|\.py)")
HEADER = """\
{title}
{line}

What the vendor documents, what was seen in its traffic and what had to be assumed, each line held
by a test; `its README <../../plugins/{vendor}/README.rst>`_ is the page for users. Made by
``{command}`` from the markers ``@{marker}("...")`` of the tests: change those, not this page.
"""
TABLE = """
.. list-table::
   :widths: 60 40
   :header-rows: 1

   * - fact
     - test
"""


class Fact(NamedTuple):
    """A fact of a vendor, and the test that holds it."""

    vendor: str
    text: str
    file: str  # from the root of the repository
    test: str
    section: str


class MarkerError(Exception):
    """A marker of a fact that no page can be made from."""


def collect(root: Path = ROOT) -> list[Fact]:
    """Return the facts of all tests, in the order of the pages."""
    files = [path.relative_to(root).as_posix() for path in root.glob("tests/**/test_*.py")]
    return [
        fact
        for file in sorted(files, key=_rank)
        for fact in read_facts(file, (root / file).read_text("utf-8"))
    ]


def read_facts(file: str, source: str) -> Iterator[Fact]:
    """Yield the facts of one module, as they stand in it; raise MarkerError for one
    that is no use.
    """
    if MARKER not in source:
        return
    tree = ast.parse(source, file)
    section = (ast.get_docstring(tree) or Path(file).stem).splitlines()[0].rstrip(".")
    owner = OWNED.match(file)
    used = set()
    for function in tree.body:
        if not (
            isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            and function.name.startswith("test_")
        ):
            continue
        for decorator in filter(_is_marker, function.decorator_list):
            used.add(decorator)
            text, vendor = _arguments(decorator, f"{file}:{decorator.lineno}")
            vendor = vendor or (owner[1] if owner else None)
            if vendor not in VENDORS:
                raise MarkerError(
                    f'{file}:{decorator.lineno}: say vendor="...", one of {", ".join(VENDORS)}'
                )
            yield Fact(vendor, text, file, function.name, section)
    # Anywhere else, in pytestmark or pytest.param for example, a fact would be on no
    # page.
    for node in ast.walk(tree):
        if _is_marker(node) and node not in used:
            raise MarkerError(
                f"{file}:{node.lineno}: a fact is a decorator of a test function of the module"
            )


def render(vendor: str, facts: list[Fact]) -> str:
    """Return the page of a vendor."""
    name = (ROOT / "plugins" / vendor / "README.rst").read_text("utf-8").splitlines()[0]
    title = f"{name}: facts, and the tests that hold them"
    page = HEADER.format(
        title=title, line="=" * len(title), vendor=vendor, command=COMMAND, marker=MARKER
    )
    file = None
    for fact in facts:
        if fact.vendor != vendor:
            continue
        if fact.file != file:
            file = fact.file
            page += f"\n{fact.section}\n{'-' * len(fact.section)}\n{TABLE}"
        page += f"   * - {fact.text}\n     - ``{fact.file}::{fact.test}``\n"
    return page


def pages() -> dict[Path, str]:
    """Return what each page has to be."""
    facts = collect()
    return {PAGES / f"{vendor}.rst": render(vendor, facts) for vendor in VENDORS}


def stale() -> list[Path]:
    """Return the pages that are missing, or not what the tests say, or of no vendor."""
    wanted = pages()
    found = {path: path.read_text("utf-8") for path in PAGES.glob("*.rst")}
    return sorted(
        path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)
    )


def _rank(file: str) -> tuple[bool, bool, str]:
    """The vendor's own tests first, those of its emulator after them, then what other
    tests hold.
    """
    return not file.startswith("tests/plugins/"), "emulator" in file, file


def _is_marker(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func) == MARKER
    )


def _arguments(call: ast.Call, where: str) -> tuple[str, str | None]:
    values = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    names = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    if (
        len(call.args) != 1
        or len(values) != 1
        or not isinstance(values[0], str)
        or not names.keys() <= {"vendor"}
    ):
        raise MarkerError(
            f'{where}: write fact("...") or fact("...", vendor="..."), the text as a literal'
        )
    if values[0] != " ".join(values[0].split()):
        raise MarkerError(f"{where}: a fact is one line, with single blanks")
    return values[0], names.get("vendor")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.facts", description="Write docs/facts from the tests."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a page is not current"
    )
    check = parser.parse_args().check
    try:
        old = stale()
        wanted = pages()
    except MarkerError as error:
        print(error, file=sys.stderr)
        return 2
    for path in old:
        if check:
            print(f"{path.relative_to(ROOT)} is not current: {COMMAND}", file=sys.stderr)
        elif path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], "utf-8")
        else:
            path.unlink()
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())

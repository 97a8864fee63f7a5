"""The table of each vendor's README: fact of the vendor's protocol, and the test that holds it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VENDORS = ["databoom", "disruptive", "idigi", "wattsense"]
ROW = re.compile(
    r"^   \* - (?P<fact>(?:.+\n)(?:     \S.*\n)*?)     - ``(?P<file>tests/[\w/]+\.py)::(?P<test>\w+)``$", re.MULTILINE
)


@cache
def functions_of(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def rows(vendor: str) -> list[re.Match[str]]:
    return list(ROW.finditer((ROOT / "plugins" / vendor / "README.rst").read_text("utf-8")))


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_fact_of_a_vendor_names_a_test_that_exists(vendor):
    for row in rows(vendor):
        file = ROOT / row["file"]
        assert file.is_file(), row["file"]
        assert row["test"] in functions_of(file), f"{row['file']} has no {row['test']}"


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_line_of_the_table_is_a_fact_with_a_test(vendor):
    text = (ROOT / "plugins" / vendor / "README.rst").read_text("utf-8")
    headers = text.count("   * - fact\n     - test\n")
    assert text.count("\n   * - ") == len(rows(vendor)) + headers, "a row without a test"
    assert len(rows(vendor)) >= 30
    facts = [" ".join(row["fact"].split()) for row in rows(vendor)]
    assert sorted(facts) == sorted(set(facts)), "a fact stands twice"


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_package_of_a_vendor_says_where_its_facts_are(vendor):
    docstring = ast.get_docstring(ast.parse((ROOT / "plugins" / vendor / "__init__.py").read_text("utf-8")))
    assert docstring is not None
    assert "README.rst" in docstring

"""The pages docs/facts are what the tests say, and each vendor's README and package
name its page.
"""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from tests.facts import (
    COMMAND,
    ROOT,
    VENDORS,
    Fact,
    MarkerError,
    collect,
    read_facts,
    render,
    stale,
)


@pytest.fixture(scope="module")
def facts() -> list[Fact]:
    return collect()


def test_the_pages_are_what_the_tests_say():
    old = [path.relative_to(ROOT).as_posix() for path in stale()]
    assert not old, f"not current: {', '.join(old)}; run: {COMMAND}"


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_vendor_has_many_facts_and_none_twice(vendor: str, facts: list[Fact]):
    texts = Counter(fact.text for fact in facts if fact.vendor == vendor)
    assert len(texts) >= 30
    assert [text for text, times in texts.items() if times > 1] == []


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_package_of_a_vendor_names_its_page(vendor: str):
    source = (ROOT / "plugins" / vendor / "__init__.py").read_text("utf-8")
    assert f"docs/facts/{vendor}.rst" in (ast.get_docstring(ast.parse(source)) or "")


@pytest.mark.parametrize(
    "path", ["README.rst", *(f"plugins/{vendor}/README.rst" for vendor in VENDORS)]
)
def test_the_links_between_the_pages_lead_somewhere(path: str):
    links = re.findall(r"<([\w./]+\.rst)>`__?", (ROOT / path).read_text("utf-8"))
    assert any("docs/facts/" in link for link in links)
    for link in links:
        assert ((ROOT / path).parent / link).is_file(), link


@pytest.mark.parametrize("path", [f"plugins/{vendor}/README.rst" for vendor in VENDORS])
def test_the_page_for_users_has_two_screens(path: str):
    assert len((ROOT / path).read_text("utf-8").splitlines()) <= 120


def test_a_page_has_a_section_for_each_module_of_tests():
    source = (
        '"""What is sent.\n\nMore."""\n@pytest.mark.fact("A")\n@pytest.mark.fact("B " '
        '"c")\ndef test_x(): ...\n'
    )
    page = render("idigi", list(read_facts("tests/plugins/idigi/test_x.py", source)))
    assert "\nWhat is sent\n------------\n" in page
    assert page.endswith(
        "   * - A\n     - ``tests/plugins/idigi/test_x.py::test_x``\n"
        "   * - B c\n     - ``tests/plugins/idigi/test_x.py::test_x``\n"
    )


def test_a_fact_held_elsewhere_says_of_which_vendor_it_is():
    source = '@pytest.mark.fact("A", vendor="databoom")\ndef test_x(): ...\n'
    (fact,) = read_facts("tests/flow/delivery/test_retry.py", source)
    assert (fact.vendor, fact.section) == ("databoom", "test_retry")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('@pytest.mark.fact("A")\ndef test_x(): ...\n', "say vendor"),
        ('@pytest.mark.fact("A", vendor="acme")\ndef test_x(): ...\n', "say vendor"),
        ("@pytest.mark.fact(A)\ndef test_x(): ...\n", "as a literal"),
        ('@pytest.mark.fact("A", "B")\ndef test_x(): ...\n', "as a literal"),
        ('@pytest.mark.fact("A  b")\ndef test_x(): ...\n', "single blanks"),
        ('pytestmark = pytest.mark.fact("A")\n', "decorator of a test"),
        ('@pytest.mark.fact("A")\ndef helper(): ...\n', "decorator of a test"),
    ],
)
def test_a_marker_that_would_be_on_no_page_is_refused(source: str, words: str):
    with pytest.raises(MarkerError, match=rf"^tests/flow/test_x\.py:\d+: .*{words}"):
        list(read_facts("tests/flow/test_x.py", source))

"""The syntax: what a line means, and that no text is too strange."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.ini import parse


def values(text: str) -> dict[str, dict[str, str]]:
    """Give keys and texts by section. Fails on any diagnostic."""
    sections, diagnostics = parse(text, "a.ini")
    assert diagnostics == []
    return {
        section.name: {key: value.text for key, value in section.values.items()}
        for section in sections
    }


@pytest.mark.parametrize(
    ("line", "key", "text"),
    [
        ("token = 50%off", "token", "50%off"),
        ("url = https://a/a%20b", "url", "https://a/a%20b"),
        ("token = abc #def", "token", "abc #def"),
        ("token = abc ;def", "token", "abc ;def"),
        ("a=b=c", "a", "b=c"),
        ('name = "office"', "name", '"office"'),
        ("TopicARN = x", "TopicARN", "x"),
        ("batch-size = 5", "batch_size", "5"),
        ("empty =", "empty", ""),
        ("a = b:c", "a", "b:c"),
        ("  a = b", None, None),
        ("a = page\x0cfeed\x85next\u2028line", "a", "page\x0cfeed\x85next\u2028line"),
    ],
)
def test_a_value_is_what_stands_behind_the_equals_sign(line, key, text):
    if key is None:
        assert parse(f"[s]\n{line}", "a.ini")[1] != []
    else:
        assert values(f"[s]\n{line}") == {"s": {key: text}}


def test_line_numbers_count_line_feeds_only():
    sections, _ = parse("[s]\na = page\x0cfeed\x85next\u2028line\r\nb = 1\n", "a.ini")
    assert str(sections[0].values["b"].location) == "a.ini:3"


def test_files_with_windows_line_ends_read_the_same():
    assert values("[s]\r\na = 1\r\nb =\r\n  x\r\n  y\r\n") == {"s": {"a": "1", "b": "x\ny"}}


def test_keys_of_a_table_are_kept_as_written():
    table = (
        "[sink:a:devices]\nurn:x = 1\nABC = 2\na-b = 3\nKitchen sensor = 4\nmetrics/sys/level = 5"
    )
    assert values(table) == {
        "sink:a:devices": {
            "urn:x": "1",
            "ABC": "2",
            "a-b": "3",
            "Kitchen sensor": "4",
            "metrics/sys/level": "5",
        }
    }


def test_a_section_called_default_does_not_leak_into_others():
    assert values("[DEFAULT]\na = 1\n[s]\nb = 2") == {"DEFAULT": {"a": "1"}, "s": {"b": "2"}}


def test_comments_are_lines_of_their_own():
    assert values("# one\n[s]\n; two\n  # three\na = 1\n#b = 2") == {"s": {"a": "1"}}


def test_indented_lines_go_on_with_a_list():
    text = "[s]\ntopics = a,\n  [group=x]b/*.*\n\tc=d&e\n  https://x/y?z=1\nnext = 1"
    _, diagnostics = parse(text, "a.ini")
    assert [each.location.line for each in diagnostics] == [4]  # 'c=' looks like a key
    text = text.replace("\tc=d&e\n", "")
    assert values(text) == {"s": {"topics": "a,\n[group=x]b/*.*\nhttps://x/y?z=1", "next": "1"}}


def test_a_blank_line_ends_a_value():
    _, diagnostics = parse("[s]\ntopics = a\n\n  b\n", "a.ini")
    assert [str(each) for each in diagnostics] == [
        (
            "a.ini:4: [s] an indented line goes on with the value above, but a blank line or a "
            "comment ended it"
        )
    ]


def test_keys_below_an_indented_section_belong_to_that_section():
    sections, _ = parse("[a]\nx = 1\n  [b]\ny = 2", "a.ini")
    assert [section.name for section in sections] == ["a", "b"]
    assert list(sections[1].values) == ["y"]


def test_a_key_whose_spaces_were_meant_is_still_read_for_the_sake_of_further_mistakes():
    sections, _ = parse("[a]\nx = 1\n  y = 2", "a.ini")
    assert sections[0].values["x"].text == "1"
    assert sections[0].values["y"].text == "2"


@pytest.mark.parametrize(
    "text",
    [
        "[s]\ntoken = first\nc2VjcmV0LXNlY3JldA==\n",
        "[s]\ntoken =\n\n  c2VjcmV0LXNlY3JldA==\n",
        "[s]\ntoken c2VjcmV0LXNlY3JldA==\n",
        "[s]\ntoken: c2VjcmV0LXNlY3JldA\n",
        "token c2VjcmV0LXNlY3JldA\n",
        "[s\ntoken = c2VjcmV0LXNlY3JldA\n",
    ],
)
def test_a_broken_line_is_not_quoted_because_it_may_be_part_of_a_secret(text):
    _, diagnostics = parse(text.replace("\nc2", "\n c2", 1) if "first" in text else text, "a.ini")
    assert "c2Vj" not in " ".join(map(str, diagnostics))


def test_a_value_is_not_in_the_repr_of_its_section():
    sections, _ = parse("[s]\ntoken = hunter2", "a.ini")
    assert "hunter2" not in repr(sections)


@given(st.text())
def test_any_text_is_read_or_has_diagnostics(text):
    sections, diagnostics = parse(text, "a.ini")
    lines = text.count("\n") + 1
    for section in sections:
        for value in section.values.values():
            assert 1 <= value.location.line <= lines
    for each in diagnostics:
        assert 1 <= each.location.line <= lines
        assert str(each).isprintable()


LINES = [
    "[a{}]",
    "[a]",
    "  [b{}]",
    "k{} = v",
    " k{} = v",
    "\tk{}=v",
    " v{}",
    "# c{}",
    "",
    "stray{}",
    "k = v{}",
]


@given(st.lists(st.sampled_from(LINES)))
def test_no_setting_disappears_into_another(templates):
    lines = ["[first]", *(template.format(number) for number, template in enumerate(templates))]
    sections, diagnostics = parse("\n".join(lines), "a.ini")
    kept = {value.location.line for section in sections for value in section.values.values()}
    told = {each.location.line for each in diagnostics}
    for number, line in enumerate(lines, 1):
        if "=" in line and not line.startswith("k = "):
            assert number in kept | told
        if "[" in line:
            assert number in told | {section.location.line for section in sections}


names = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1)
lines = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])).map(
    lambda text: text.strip(" \t\r")
)


@given(st.dictionaries(names, st.dictionaries(names, lines, max_size=5), max_size=5))
def test_what_is_written_is_read_back(sections):
    text = ""
    for name, settings in sections.items():
        text += f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
    assert values(text) == sections

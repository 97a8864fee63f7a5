"""References: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.references import BadReferenceError, References
from bridge.config.values import unchecked


@pytest.fixture
def references(credentials):
    return References.from_environment(
        {
            "CREDENTIALS_DIRECTORY": str(credentials),
            "HOST": "store.example",
            "EMPTY": "",
            "NESTED": "${env:HOST} $$",
        },
        instance="office",
    )


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${credential:store.token}", "t0ken-from-systemd"),
        ("https://${env:HOST}/v1", "https://store.example/v1"),
        ("${env:HOST}${env:HOST}", "store.examplestore.example"),
        ("${env:EMPTY}", ""),
        ("${env:EMPTY:-other}", "other"),
        ("${env:MISSING:-other}", "other"),
        ("${env:MISSING:-}", ""),
        ("${env:MISSING:-a:-b}", "a:-b"),
        ("${env:NESTED}", "${env:HOST} $$"),
        ("$${env:HOST}", "${env:HOST}"),
        ("$$${env:HOST}", "$store.example"),
        ("a$$b", "a$b"),
        ("a$b$", "a$b$"),
        ("{device}", "{device}"),
    ],
)
def test_a_reference_becomes_what_it_stands_for(text, expanded, references):
    assert references.expand(text)[0] == expanded


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"a\n", "a"), (b"a\r\n\n", "a"), (b"a\nb\n", "a\nb"), (b" a \n", " a "), (b"", "")],
)
def test_line_ends_at_the_end_of_a_file_are_left_out(content, text, tmp_path):
    (tmp_path / "secret").write_bytes(content)
    assert References({}, None).expand(f"${{file:{tmp_path}/secret}}")[0] == text


FORMS = (
    "expected ${credential:NAME}, ${env:NAME}, ${env:NAME:-DEFAULT} or ${file:/PATH} "
    "after the dollar sign; "
)
CREDENTIAL = "expected ${credential:NAME}, where NAME has letters, digits, '.', '_' and '-' only"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${TOKEN}", FORMS),
        ("${", FORMS),
        ("${}", FORMS),
        ("${env}", FORMS),
        ("${env:HOST", FORMS),
        ("${ENV:HOST}", FORMS),
        ("${vault:x}", FORMS),
        ("${env:A:-${env:HOST}}", FORMS),
        ("good ${env:HOST} bad ${", FORMS),
        ("${env:}", "expected ${env:NAME} or ${env:NAME:-DEFAULT}"),
        ("${env:1A}", "expected ${env:NAME} or ${env:NAME:-DEFAULT}"),
        ("${env:HOST-x}", "expected ${env:NAME} or ${env:NAME:-DEFAULT}"),
        (
            "${env:MISSING}",
            "there is no environment variable 'MISSING'; set it, or write ${env:MISSING:-DEFAULT}",
        ),
        ("${credential:}", CREDENTIAL),
        ("${credential:..}", CREDENTIAL),
        ("${credential:../store.token}", CREDENTIAL),
        ("${credential:a b}", CREDENTIAL),
        (
            "${credential:nope}",
            "there is no credential 'nope'; put it there with: "
            "sudo install -D -m 0600 /dev/stdin /etc/bridge/credentials/office/nope; then "
            "restart the bridge",
        ),
        ("${credential:binary}", "the credential 'binary' cannot be read: it is not UTF-8 text"),
        (
            "${credential:folder}",
            "the credential 'folder' cannot be read: it is not an ordinary file",
        ),
        ("${file:relative}", "expected ${file:/PATH}, where /PATH begins at the root folder"),
        ("${file:/nowhere/x}", "the file '/nowhere/x' cannot be read: No such file or directory"),
        ("${file:/dev/zero}", "the file '/dev/zero' cannot be read: it is not an ordinary file"),
        ("${file:/a\0b}", "cannot be read: its name has a NUL character"),
    ],
)
def test_a_reference_that_is_not_understood_is_refused(text, why, references):
    with pytest.raises(BadReferenceError) as caught:
        references.expand(text)
    assert why in str(caught.value)


@pytest.mark.parametrize("text", ["pa${ss", "pass${word}", "p${env:A:-w${ord}"])
def test_a_password_with_a_dollar_sign_is_not_quoted(text, references):
    with pytest.raises(BadReferenceError) as caught:
        references.expand(text)
    assert "pa" not in str(caught.value).replace("after", "")
    assert "ord" not in str(caught.value)


def test_a_secret_file_has_a_largest_size(tmp_path):
    (tmp_path / "a").write_text("x" * (1 << 20))
    (tmp_path / "b").write_text("x" * ((1 << 20) + 1))
    references = References({}, None)
    assert len(references.expand(f"${{file:{tmp_path}/a}}")[0]) == 1 << 20
    with pytest.raises(BadReferenceError, match="it is larger than 1 MiB"):
        references.expand(f"${{file:{tmp_path}/b}}")


def test_without_a_folder_of_credentials_the_daemon_refuses():
    with pytest.raises(BadReferenceError) as caught:
        References.from_environment({}, instance="office").expand("${credential:a}")
    assert str(caught.value) == (
        "there is no credential 'a', because $CREDENTIALS_DIRECTORY is not set: "
        "bridge@office.service sets it; put it "
        "there with: sudo install -D -m 0600 /dev/stdin /etc/bridge/credentials/office/a; "
        "a bridge started by hand can use ${file:/PATH}"
    )


@pytest.mark.parametrize("name", ["nope", "bridge.office.nope", "bridge.office_nope"])
def test_a_credential_is_found_under_the_names_of_the_unit(name, credentials, references):
    (credentials / name).write_text("found\n")
    assert references.expand("${credential:nope}")[0] == "found"


def test_a_credential_of_another_instance_is_not_found(credentials, references):
    (credentials / "bridge.cellar.nope").write_text("found\n")
    with pytest.raises(BadReferenceError, match="there is no credential 'nope'"):
        references.expand("${credential:nope}")


def test_a_credential_without_a_prefix_is_found_first(credentials, references):
    (credentials / "bridge.office.store.token").write_text("other\n")
    assert references.expand("${credential:store.token}")[0] == "t0ken-from-systemd"


def test_in_a_path_a_credential_is_the_path_of_its_file(credentials, references):
    (credentials / "bridge.office_key").write_text("PRIVATE")
    text, used = references.expand_path("${credential:key}")
    assert text == str(credentials / "bridge.office_key")
    assert [reference.content for reference in used] == [None]


def test_in_a_path_a_variable_is_a_part_of_it(references):
    assert references.expand_path("/srv/${env:HOST}/a$$b")[0] == "/srv/store.example/a$b"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "${file:/run/key}",
            "expected the path itself, not what is in the file; write /run/key instead of ",
        ),
        (
            "/run/${credential:key}",
            "expected nothing beside ${credential:NAME}, which is a whole path here",
        ),
        ("${credential:store.token}.pem", "expected nothing beside ${credential:NAME}"),
        ("${credential:nope}", "there is no credential 'nope'; put it there with: "),
        ("${vault:x}", FORMS),
    ],
)
def test_a_path_that_is_not_understood_is_refused(text, why, references):
    with pytest.raises(BadReferenceError) as caught:
        references.expand_path(text)
    assert why in str(caught.value)


def test_a_path_that_cannot_be_known_is_not_checked():
    _, used = References({}, None, checking=True).expand_path("${credential:key}")
    assert unchecked(used) == ["key"]


def test_without_a_folder_of_credentials_a_check_only_says_so():
    _, used = References.from_environment({}, checking=True).expand("${credential:a}")
    assert unchecked(used) == ["a"]


def test_a_missing_credential_is_refused_in_a_check_as_well(credentials):
    with pytest.raises(BadReferenceError, match="there is no credential 'nope'"):
        References({}, credentials, checking=True).expand("${credential:nope}")


def test_what_references_stand_for_is_not_in_their_repr(references):
    _, used = references.expand("${credential:store.token}")
    assert "t0ken" not in repr(used)
    assert "store.example" not in repr(references)


@given(st.text("${}:-envcrdtialfA/. \0"))
def test_any_text_is_replaced_or_refused(text):
    references = References({"A": "${env:B}"}, Path("/nowhere"), checking=True)
    try:
        expanded, _ = references.expand(text)
    except BadReferenceError:
        assert "${" in text
    else:
        assert "$" in text or expanded == text


@given(st.text())
def test_a_text_with_doubled_dollar_signs_is_read_back(text):
    assert References({}, None).expand(text.replace("$", "$$"))[0] == text

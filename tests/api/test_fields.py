"""Types of settings: what people write, and what is shown to them again."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import Duration, NetworkAddress, Size, Url, at_least, between, setting, table

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("0s", 0),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("31d", 2678400),
        ("1.5h", 5400),
        ("0.000001s", 1e-6),
    ],
)
def test_a_duration_is_in_seconds(text: str, seconds: float):
    assert Duration.parse(text) == seconds


@given(st.integers(0, 1_000 * 86_400_000_000))
def test_a_duration_is_shown_as_it_could_be_written(milliseconds: int):
    duration = Duration(milliseconds / 1000)
    again = Duration.parse(str(duration))
    assert str(again) == str(duration)
    assert again == pytest.approx(duration, abs=1e-9, rel=1e-12)


@given(
    st.lists(
        st.tuples(st.integers(0, 999_999), st.sampled_from(list(UNITS))), min_size=1, max_size=6
    )
)
def test_the_parts_of_a_duration_add_up(parts: list[tuple[int, str]]):
    duration = Duration.parse("".join(f"{number}{unit}" for number, unit in parts))
    assert duration == pytest.approx(sum(number * UNITS[unit] for number, unit in parts))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "s",
        "30 s",
        "-1s",
        "+1s",
        "1S",
        "30s ",
        "1.s",
        ".5s",
        "1e3s",
        "1h 30m",
        "10min",
        "٣s",
        "9999999999s",
    ],
)
def test_what_is_no_duration_is_refused_with_examples(text: str):
    with pytest.raises(ValueError, match="a duration with a unit, such as 500ms, 30s, 5m, 1h30m"):
        Duration.parse(text)


@given(st.integers(0, 999_999_999_999_999), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB"]))
def test_a_size_is_shown_as_it_could_be_written(number: int, unit: str):
    size = Size.parse(f"{number}{unit}")
    assert Size.parse(str(size)) == size


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("0MiB", 0, "0B"),
        ("512B", 512, "512B"),
        ("1024 KiB", 1 << 20, "1MiB"),
        ("1025B", 1025, "1025B"),
        ("10GiB", 10 << 30, "10GiB"),
    ],
)
def test_a_size_is_shown_in_the_largest_unit_that_fits(text: str, size: int, shown: str):
    assert (Size.parse(text), str(Size.parse(text))) == (size, shown)


@pytest.mark.parametrize(
    "text",
    ["", "10", "10MB", "10 GB", "1.5GiB", "-1B", "10gib", "1B ", "1  B", "٣B", "1" * 16 + "B"],
)
def test_what_is_no_size_is_refused_with_examples(text: str):
    with pytest.raises(ValueError, match="a size with a unit, such as 512B, 16KiB, 10MiB, 2GiB"):
        Size.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com",
        "http://127.0.0.1:8080/a/b?c=d",
        "https://[::1]:8443/",
        "https://example.com:65535",
    ],
)
def test_a_url_is_kept_as_it_was_written(text: str):
    assert Url.parse(text) == str(Url.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "//example.com",
        "https://",
        "https:///path",
        "ftp://example.com",
        "https://exa mple.com",
        "https://example.com/a\tb",
        "https://example.com/a\0b",
        "\0https://example.com",
        "https://example.com/\x7f",
        "https://exämple.com",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:https",
        "https://[::1",
    ],
)
def test_what_is_no_usable_url_is_refused(text: str):
    with pytest.raises(ValueError, match="a URL that begins with https:// or http://"):
        Url.parse(text)


@pytest.mark.parametrize("user", ["ops:hunter2@", "ops@", ":hunter2@", "@", ":@"])
def test_a_password_in_a_url_is_refused_and_not_repeated(user: str):
    with pytest.raises(ValueError, match="without user name and password") as refused:
        Url.parse(f"https://{user}example.com/")
    assert "hunter2" not in str(refused.value)


@given(st.text())
def test_a_url_that_is_taken_is_one_printable_word(text: str):
    for candidate in (text, f"https://{text}"):
        try:
            url = Url.parse(candidate)
        except ValueError:
            continue
        assert url.isascii()
        assert url.isprintable()
        assert " " not in url


hosts = st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True).filter(lambda host: host != "systemd")
six = st.ip_addresses(v=6).map(str)


@given(hosts | six, st.integers(0, 65535))
def test_an_address_is_shown_as_it_could_be_written(host: str, port: int):
    address = NetworkAddress(host, port)
    assert NetworkAddress.parse(str(address)) == address


@given(st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True))
def test_an_activated_socket_is_shown_as_it_could_be_written(name: str):
    address = NetworkAddress.parse(f"systemd:{name}")
    assert (str(address), address.systemd) == (f"systemd:{name}", name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8443",
        ":8443",
        "localhost",
        "localhost:",
        "localhost:65536",
        "localhost:-1",
        "localhost:٣",
        "::1:8443",
        "[::1]",
        "[::1:8443",
        "https://localhost:8443",
        "systemd:",
        "systemd:a b",
        "local host:1",
        "localhost:1\n",
    ],
)
def test_what_is_no_address_is_refused_with_examples(text: str):
    with pytest.raises(
        ValueError, match=r"an address such as 127\.0\.0\.1:8443, \[::\]:8443 or systemd:webhook"
    ):
        NetworkAddress.parse(text)


@given(st.text(), st.sampled_from([Duration.parse, Size.parse, Url.parse, NetworkAddress.parse]))
def test_any_text_is_understood_or_refused_with_a_sentence(text: str, parse: Any):
    try:
        parse(text)
    except ValueError as exc:
        assert str(exc).startswith("a")  # noqa: PT017  # both outcomes are good


@attrs.frozen
class Settings:
    url: Url = setting(help="base URL")
    batch: int = setting(20, help="events in a request", validator=between(1, 100))
    pause: Duration = setting(Duration(1), help="pause", validator=at_least(0.5))
    devices: dict[str, str] = table(help="device = token")


@pytest.mark.parametrize("batch", [1, 100])
def test_both_ends_of_a_range_are_allowed(batch: int):
    assert Settings(Url("https://x"), batch, Duration(0.5)).batch == batch


@pytest.mark.parametrize(
    ("batch", "pause", "expected"),
    [(0, 1, "a number from 1 to 100"), (101, 1, "a number from 1 to 100"), (1, 0.4, "0.5 or more")],
)
def test_a_value_out_of_range_is_refused_with_what_was_expected(
    batch: int, pause: float, expected: str
):
    with pytest.raises(ValueError, match=expected):
        Settings(Url("https://x"), batch, Duration(pause))


def test_a_table_that_is_not_written_is_empty_and_nobody_elses():
    first, second = Settings(Url("https://x")), Settings(Url("https://x"))
    first.devices["a"] = "b"
    assert second.devices == {}

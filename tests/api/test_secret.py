"""A secret shows itself nowhere but where it is asked for."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from typing import Any

import attrs
import orjson
import pytest

from bridge.api import Secret, setting

TEXT = "hunter2-hunter2"


@attrs.frozen
class Settings:
    token: Secret = setting(help="token")
    older: tuple[Secret, ...] = setting((), help="tokens before the last change")


@pytest.fixture
def secret() -> Secret:
    return Secret(TEXT)


def test_the_place_that_uses_it_gets_the_text(secret: Secret):
    assert secret.reveal() == TEXT


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        ascii,
        "{}".format,
        "{!r}".format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret=}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031  # as loggers do it
        lambda secret: repr([secret, {"token": secret}]),
        lambda secret: repr(Settings(secret, (secret,))),
        lambda secret: repr(attrs.asdict(Settings(secret, (secret,)))),
        lambda secret: repr(attrs.astuple(Settings(secret, (secret,)))),
        lambda secret: pprint.pformat(attrs.asdict(Settings(secret))),
        lambda secret: json.dumps({"token": secret}, default=str),
        lambda secret: json.dumps({"token": secret}, default=repr),
        lambda secret: repr(attrs.evolve(Settings(secret), older=(secret,))),
    ],
)
def test_no_way_of_showing_it_shows_the_text(secret: Secret, show: Callable[[Secret], str]):
    shown = show(secret)
    assert "********" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "use",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        orjson.dumps,
        "{:>20}".format,
        "".join,
        len,
        list,
        vars,
        lambda secret: "Bearer " + secret,
        lambda secret: secret + "x",
        lambda secret: secret[0],
        lambda secret: int(secret),
        lambda secret: secret < secret,
        lambda secret: bytes(secret),
        lambda secret: Settings(secret).token.missing,
    ],
)
def test_what_would_need_the_text_fails_without_telling_it(
    secret: Secret, use: Callable[[Any], object]
):
    with pytest.raises((TypeError, AttributeError)) as refused:
        use(secret)
    assert "hunter2" not in str(refused.value)


def test_a_traceback_with_values_of_variables_does_not_show_it(secret: Secret):
    def connect(token: Secret, settings: Settings) -> None:
        raise ConnectionError(token)

    with pytest.raises(ConnectionError) as refused:
        connect(secret, Settings(secret))
    shown = "".join(
        traceback.TracebackException.from_exception(refused.value, capture_locals=True).format()
    )
    assert "********" in shown
    # the test's own constant is a global, so that only the arguments could show it
    assert "hunter2" not in shown


def test_a_log_line_does_not_show_it(secret: Secret, caplog: pytest.LogCaptureFixture):
    logging.getLogger("bridge").error("refused: %s, %r", secret, Settings(secret))
    assert "********" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_failed_comparison_in_a_test_does_not_show_it(secret: Secret):
    with pytest.raises(AssertionError) as failed:
        assert Settings(secret) == Settings(Secret("other"))
    assert "hunter2" not in str(failed.value)


def test_secrets_are_equal_when_their_texts_are():
    assert len({Secret(TEXT), Secret(TEXT), Secret("other")}) == 2
    assert Secret(TEXT) != TEXT


def test_an_empty_secret_is_refused():
    with pytest.raises(ValueError, match="a secret that is not empty"):
        Secret("")

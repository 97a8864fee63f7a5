"""Answers into bytes."""

import h11
import pytest

from bridge.api import Response
from bridge.http.response import ResponseWriter, plain_response

NOON = 784_111_777.9  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


def understood(raw: bytes, method: str = "POST") -> tuple[h11.Response, bytes, bytes]:
    """Read an answer as a client does: head, body, and what is left over."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return response, body, client.trailing_data[0]


@pytest.mark.parametrize(
    "answer",
    [
        Response(),
        Response(201, b"made", (("X-Name", "ü"),)),
        plain_response(404),
        Response(599),
        Response(299, b"x"),
    ],
)
def test_a_client_understands_what_is_written(answer):
    response, body, rest = understood(ResponseWriter(lambda: NOON).write(answer))
    assert (response.status_code, body, rest) == (answer.status, answer.body, b"")
    headers = [(name.decode(), value.decode("latin-1")) for name, value in response.headers]
    assert ("date", "Sun, 06 Nov 1994 08:49:37 GMT") in headers
    assert ("content-length", str(len(answer.body))) in headers
    assert all((name.lower(), value) in headers for name, value in answer.headers)


def test_an_answer_to_head_has_the_length_but_not_the_body():
    raw = ResponseWriter().write(Response(200, b"hello"), without_body=True)
    assert b"\r\nContent-Length: 5\r\n" in raw
    assert raw.endswith(b"\r\n\r\n")
    understood(raw, "HEAD")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content_has_no_length(status):
    raw = ResponseWriter().write(Response(status, b"ignored", (("X-A", "b"),)))
    assert b"ontent-Length" not in raw
    assert raw.endswith(b"\r\n\r\n")


def test_the_date_moves_with_the_clock():
    now = [NOON]
    writer = ResponseWriter(lambda: now[0])
    assert b"08:49:37" in writer.write(Response())
    now[0] += 1
    assert b"08:49:38" in writer.write(Response())


def test_the_connection_header_is_not_kept_for_another_answer():
    writer = ResponseWriter()
    assert b"\r\nConnection: close\r\n" in writer.write(Response(), connection="close")
    assert b"Connection" not in writer.write(Response())


@pytest.mark.parametrize(
    "answer",
    [
        Response(headers=(("X-A", "b\r\nSet-Cookie: c"),)),
        Response(headers=(("X-A\r\n", "b"),)),
        Response(headers=(("X A", "b"),)),
        Response(headers=(("X-A", "\N{EURO SIGN}"),)),
        Response(headers=(("content-length", "3"),)),
        Response(headers=(("Transfer-Encoding", "chunked"),)),
        Response(100),
        Response(600),
    ],
)
def test_an_answer_that_would_break_the_framing_is_not_sent(answer):
    with pytest.raises(ValueError, match="an answer with"):
        ResponseWriter().write(answer)


def test_a_status_without_a_phrase_says_refused():
    assert plain_response(499).body == b"499 Refused\n"

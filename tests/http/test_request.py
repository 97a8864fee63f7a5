"""Requests out of bytes: framing, limits, and what is refused."""

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api import NetworkAddress, Request, Size
from bridge.http.head import BadRequestError
from bridge.http.limits import MAX_EXTENSION, MAX_HEADERS, MAX_TRAILER
from bridge.http.request import Need, RequestReader
from bridge.http.settings import ListenerSettings

LIMITS = ListenerSettings(
    address=NetworkAddress("127.0.0.1", 0), head_limit=Size(4096), body_limit=Size(1000)
)
HOST = b"Host: bridge.example\r\n"
CHUNKED = b"POST /hook HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"POST /hook HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def with_length(body: bytes) -> bytes:
    return post(b"Content-Length: %d" % len(body), body=body)


def read(*pieces: bytes) -> list[Request | BadRequestError]:
    """Feed pieces and collect what comes out, up to the first refusal."""
    reader = RequestReader(LIMITS)
    found: list[Request | BadRequestError] = []
    for piece in pieces:
        reader.receive_data(piece)
        while not isinstance(incoming := reader.next_event(), Need) or incoming is Need.CONTINUE:
            if isinstance(incoming, BadRequestError):
                return [*found, incoming]
            if isinstance(incoming, Request):
                found.append(incoming)
    return found


def only(*pieces: bytes) -> Request:
    (request,) = read(*pieces)
    assert isinstance(request, Request), request
    return request


def status(*pieces: bytes) -> int:
    found = read(*pieces)
    assert found, "nothing came out: the peer would wait until the deadline"
    assert isinstance(found[-1], BadRequestError), found[-1]
    return found[-1].status


def test_a_request_arrives_whole():
    request = only(
        b"POST /a/b%20c?x=1&y=2?3 HTTP/1.1\r\nhOST: h\r\nX-A: 1\r\nx-a:\t 2 \t\r\n"
        b"Empty:\r\nX-L: \xe4\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    assert (request.method, request.path, request.query) == ("POST", "/a/b%20c", "x=1&y=2?3")
    assert request.headers == {
        "host": ("h",),
        "x-a": ("1", "2"),
        "empty": ("",),
        "x-l": ("ä",),
        "content-length": ("5",),
    }
    assert request.body == b"hello"
    assert request.max_content == LIMITS.content_limit


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://bridge.example:80/hook?a", "/hook", "a"),
        (b"HTTPS://bridge.example/hook", "/hook", ""),
        (b"http://bridge.example", "/", ""),
        (b"http://bridge.example?a=http://b/", "/", "a=http://b/"),
        (b"//hook", "//hook", ""),
    ],
)
def test_a_target_as_sent_to_a_proxy_means_its_path(target, path, query):
    request = only(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (request.path, request.query) == (path, query)


SMUGGLING = {
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after a header": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare CR in a value": post(b"X: a\rb"),
    "bare CR instead of CR LF": b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    "folded line": post(b"X: a", b" b"),
    "folded with a tab": post(b"X: a", b"\tTransfer-Encoding: chunked"),
    "space before the first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "NUL in a value": post(b"X: a\0b"),
    "NUL in a name": post(b"X\0: a"),
    "DEL in a value": post(b"X: a\x7fb"),
    "escape in the target": b"GET /\x1b HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS on a plain listener": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "both lengths": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "both lengths, other order": post(
        b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"
    ),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
    "two equal lengths": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "length list": post(b"Content-Length: 5,5", body=b"hello"),
    "length with sign": post(b"Content-Length: +5", body=b"hello"),
    "negative length": post(b"Content-Length: -5", body=b"hello"),
    "hexadecimal length": post(b"Content-Length: 0x5", body=b"hello"),
    "length with underscore": post(b"Content-Length: 1_0", body=b"hello worl"),
    "length with space": post(b"Content-Length: 1 0", body=b"hello worl"),
    "empty length": post(b"Content-Length:"),
    "length of 20 digits": post(b"Content-Length: 00000000000000000005", body=b"hello"),
    "superscript length": post(b"Content-Length: \xb2", body=b"he"),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity"),
    "chunked twice": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "vertical tab before chunked": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": post(b"Content-Length : 5", body=b"hello"),
    "tab before the colon": post(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"),
    "no colon": post(b"X"),
    "no name": post(b": a"),
    "name with a bracket": post(b"X(a): b"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "lower-case version": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "odd version": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "other protocol": b"GET / ICE/1.0\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space at the end": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "raw UTF-8 in the target": "GET /ä HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "relative target": b"GET hook HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT with a URL": b"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "two empty lines before": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunk: bare LF": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "chunk: no digits": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "chunk: prefix": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk: sign": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk: negative": CHUNKED + b"-1\r\nhello\r\n0\r\n\r\n",
    "chunk: underscore": CHUNKED + b"0_5\r\nhello\r\n0\r\n\r\n",
    "chunk: space after": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "chunk: space before": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "chunk: nine digits": CHUNKED + b"000000005\r\nhello\r\n0\r\n\r\n",
    "chunk: NUL in extension": CHUNKED + b"5;a\0\r\nhello\r\n0\r\n\r\n",
    "chunk: LF in extension": CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "chunk: CR in extension": CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "chunk: longer than said": CHUNKED + b"5\r\nhelloo\r\n0\r\n\r\n",
    "chunk: shorter than said": CHUNKED + b"5\r\nhell\r\n0\r\n\r\n",
    "chunk: LF after data": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "chunk: CR X after data": CHUNKED + b"5\r\nhello\rX0\r\n\r\n",
    "trailer: bare LF": CHUNKED + b"0\r\nX: a\n\r\n\r\n",
    "trailer: no colon": CHUNKED + b"0\r\nX\r\n\r\n",
    "trailer: folded": CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n",
    "trailer: another request": CHUNKED + b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_two_servers_could_read_differently_is_refused(raw):
    assert status(raw) == 400
    assert status(*(raw[i : i + 1] for i in range(len(raw)))) == 400


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_nothing_is_read_after_a_refusal(raw):
    reader = RequestReader(LIMITS)
    reader.receive_data(raw)
    while isinstance(refusal := reader.next_event(), Request):
        pass
    reader.receive_data(with_length(b"hidden"))
    assert reader.next_event() == refusal


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (post(b"Expect: 200-maybe"), 417),
        (post(b"Expect: 100-continue", b"Expect: 100-continue"), 417),
    ],
)
def test_what_is_understood_but_not_offered_has_its_own_status(raw, expected):
    assert status(raw) == expected


def test_an_upgrade_is_answered_as_an_ordinary_request():
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert [request.path for request in read(raw + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")] == [
        "/",
        "/next",
    ]


def test_an_upgrade_with_a_body_keeps_its_body():
    assert (
        only(post(b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 2", body=b"hi")).body
        == b"hi"
    )


def test_an_empty_line_before_a_request_is_forgiven():
    assert [
        request.body for request in read(with_length(b"a") + b"\r\n" + with_length(b"b") + b"\r\n")
    ] == [b"a", b"b"]


def head_of(size: int) -> bytes:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


def test_a_head_of_exactly_the_limit_is_read():
    assert only(head_of(4096)).path == "/"


@pytest.mark.parametrize("step", [1, 7, 4097, 100_000])
def test_a_head_one_byte_above_the_limit_is_refused(step):
    raw = head_of(4097) + b"x" * 9000
    assert status(*(raw[i : i + step] for i in range(0, len(raw), step))) == 431


def test_a_head_that_never_ends_is_refused_at_the_limit():
    assert read(b"GET /" + b"x" * 4090) == []
    assert status(b"GET /" + b"x" * 4091) == 431


def test_as_many_headers_as_allowed_are_read():
    assert len(only(post(*(b"X-%d: a" % i for i in range(MAX_HEADERS - 1)))).headers) == MAX_HEADERS


def test_one_header_too_many_is_refused():
    assert status(post(*(b"X: a" for _ in range(MAX_HEADERS)))) == 431


def test_a_body_of_exactly_the_limit_is_read():
    assert only(with_length(b"x" * 1000)).body == b"x" * 1000


def test_a_body_above_the_limit_is_refused_when_it_is_announced():
    assert status(post(b"Content-Length: 1001")) == 413
    assert status(post(b"Content-Length: 9999999999999999999")) == 413


def test_a_chunked_body_of_exactly_the_limit_is_read():
    assert (
        only(
            CHUNKED + b"1f4\r\n" + b"x" * 500 + b"\r\n1F4\r\n" + b"y" * 500 + b"\r\n0\r\n\r\n"
        ).body[-501:-499]
        == b"xy"
    )


def test_a_chunk_above_the_limit_is_refused_when_announced():
    assert status(CHUNKED + b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n") == 413
    assert status(CHUNKED + b"ffffffff\r\n") == 413


def test_an_extension_of_a_chunk_is_bounded():
    assert (
        only(CHUNKED + b"1;" + b"e" * (MAX_EXTENSION - 1) + b"\r\na\r\n0;last\r\n\r\n").body == b"a"
    )
    assert status(CHUNKED + b"1;" + b"e" * MAX_EXTENSION + b"\r\na\r\n0\r\n\r\n") == 400
    assert status(CHUNKED + b"1;" + b"e" * MAX_EXTENSION) == 400


def test_trailers_are_bounded():
    line = b"X: " + b"t" * (MAX_TRAILER - 7)
    assert only(CHUNKED + b"0\r\n" + line + b"\r\n\r\n").body == b""
    assert status(CHUNKED + b"0\r\n" + line + b"t\r\n\r\n") == 400


def test_chunks_are_joined_without_extensions_or_trailers():
    (first, second) = read(
        CHUNKED + b"5;a=b\r\nhello\r\n1\r\n!\r\n000\r\nX-Sum: 1\r\n\r\n" + with_length(b"next")
    )
    assert (first.body, second.body) == (b"hello!", b"next")
    assert "x-sum" not in first.headers


def test_a_body_in_many_small_chunks_takes_no_quadratic_time():
    large = ListenerSettings(address=NetworkAddress("127.0.0.1", 0), body_limit=Size(200_000))
    reader = RequestReader(large)
    reader.receive_data(CHUNKED + b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n")
    request = reader.next_event()
    assert isinstance(request, Request)
    assert len(request.body) == 200_000


def keep_alive(raw: bytes) -> tuple[bool, bool]:
    reader = RequestReader(LIMITS)
    reader.receive_data(raw)
    assert isinstance(reader.next_event(), Request)
    return reader.keep_alive, reader.old


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Keep-Alive, CLOSE\r\n", False),
        (b"1.1", b"Connection: upgrade\r\nConnection: close\r\n", False),
        (b"1.1", b"Connection: closed\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_the_connection_stays_open_as_the_peer_wishes(version, connection, expected):
    raw = b"GET / HTTP/" + version + b"\r\n" + HOST + connection + b"\r\n"
    assert keep_alive(raw) == (expected, version == b"1.0")


def test_a_peer_that_waits_with_its_body_is_asked_for_it_once():
    reader = RequestReader(LIMITS)
    reader.receive_data(post(b"Content-Length: 2", b"Expect: 100-Continue"))
    assert reader.next_event() is Need.CONTINUE
    assert reader.next_event() is Need.DATA
    reader.receive_data(b"hi")
    assert isinstance(reader.next_event(), Request)


@pytest.mark.parametrize(
    "raw",
    [
        post(b"Content-Length: 0", b"Expect: 100-continue"),
        post(b"Content-Length: 2", b"Expect: 100-continue", body=b"hi"),
        b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
    ],
)
def test_a_peer_that_does_not_wait_is_not_asked(raw):
    reader = RequestReader(LIMITS)
    reader.receive_data(raw)
    assert isinstance(reader.next_event(), Request)


def test_a_body_that_will_be_refused_is_not_asked_for():
    assert status(post(b"Content-Length: 1001", b"Expect: 100-continue")) == 413


BODIES = st.binary(max_size=60)
TOKENS = st.text("abcXYZ-09", min_size=1, max_size=8).map(str.encode)
VALUES = st.text('abc ,;=\t"ÿ', max_size=10).map(lambda text: text.encode("latin-1"))


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4))
    return (
        CHUNKED
        + b"".join(b"%x;e\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        + b"0\r\nT: x\r\n\r\n"
    )


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(st.tuples(TOKENS, VALUES), max_size=4))
    lines = [b"X-%b: %b" % field for field in fields]
    body = draw(BODIES)
    return post(*lines, b"Content-Length: %d" % len(body), body=body)


def cut(draw: st.DataObject, raw: bytes) -> list[bytes]:
    places = sorted(draw.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    return [raw[start:end] for start, end in zip([0, *places], [*places, len(raw)], strict=True)]


def outcome(found: list[Request | BadRequestError]) -> list[object]:
    return [item.status if isinstance(item, BadRequestError) else item for item in found]


@given(st.lists(requests() | chunked(), min_size=1, max_size=3), st.data())
def test_the_same_bytes_give_the_same_requests_however_cut(several, data):
    raw = b"".join(several)
    whole = read(raw)
    assert len(whole) == len(several)
    assert read(*cut(data, raw)) == whole
    assert read(*(raw[i : i + 1] for i in range(len(raw)))) == whole


PARTS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b";",
    b"3",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"HTTP/2.0",
    b"Content-Length: ",
]
LINES = [b"Host: a\r\n", b"X: y\r\n", b"Transfer-Encoding: chunked\r\n", b"GET / HTTP/1.1\r\n"]
NOISE = st.lists(st.sampled_from(PARTS + LINES) | st.binary(max_size=5), max_size=12).map(b"".join)


@given(
    st.sampled_from([b"", CHUNKED, b"GET / HTTP/1.1\r\n", with_length(b"abc")]), NOISE, st.data()
)
@settings(max_examples=400)
def test_noise_is_refused_alike_however_it_is_cut(start, noise, data):
    raw = start + noise
    whole = outcome(read(raw))
    assert outcome(read(*cut(data, raw))) == whole
    assert outcome(read(*(raw[i : i + 1] for i in range(len(raw))))) == whole


class Recorder:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[str, str]] = []

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode().lower(), value.decode("latin-1").strip(" \t")))


@given(requests())
def test_httptools_understands_a_request_as_we_do(raw):
    recorder = Recorder()
    parser = httptools.HttpRequestParser(recorder)
    parser.feed_data(raw)
    request = only(raw)
    assert (parser.get_method(), recorder.target) == (b"POST", request.path.encode())
    assert request.headers == {
        name: tuple(value for other, value in recorder.fields if other == name)
        for name, _ in recorder.fields
    }


@given(st.data())
def test_what_is_held_never_grows_beyond_the_limits(data):
    reader = RequestReader(LIMITS)
    start = data.draw(
        st.sampled_from(
            [
                b"GET /",
                CHUNKED,
                CHUNKED + b"0\r\nX: ",
                CHUNKED + b"5;",
                post(b"Content-Length: 900"),
            ]
        )
    )
    reader.receive_data(start)
    piece = data.draw(st.binary(min_size=1, max_size=3))
    for _ in range(4000):
        reader.next_event()
        reader.receive_data(piece * 100)
        held = len(reader._buffer)
        if isinstance(reader.next_event(), BadRequestError | Request):
            break
        assert held <= 4096 + 1000 + 300
    else:
        pytest.fail("a peer could go on for ever")

"""The HTTP client for vendors: bounded, closed to strangers, and mended by itself."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from attrs import define, field

from bridge.api import Pause, Request, Response, Url
from bridge.api.rest import (
    CertificateRefused,
    NoResponse,
    ResponseTooLarge,
    RestClient,
    open_rest,
)
from bridge.testing.http_server import HangUp, serve_http

Handler = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def asking(handler: Handler, **settings: Any) -> AsyncIterator[tuple[RestClient, str]]:
    defaults: dict[str, Any] = {"timeout": 5.0, "max_body": 1000}
    async with (
        serve_http(handler) as url,
        open_rest("the API", **{**defaults, **settings}) as client,
    ):
        yield client, url


async def test_an_answer_is_given_whole():
    asked: list[Request] = []

    async def handler(request: Request) -> Response:
        asked.append(request)
        link = '<https://b.example/?page=2>; rel="next"'
        return Response(418, b'{"a": 1}', (("X-Remark", "tea"), ("Link", link)))

    async with asking(handler, headers={"Authorization": "Bearer t"}) as (client, url):
        answer = await client.request("PUT", f"{url}/a", query={"b": "c d"}, content=b"body")
    assert (answer.status, answer.json()) == (418, {"a": 1})
    assert answer.headers["x-remark"] == "tea"
    assert answer.links == {"next": "https://b.example/?page=2"}
    assert answer.url == f"{url}/a?b=c+d"
    (request,) = asked
    assert (request.method, request.path, request.query, request.body) == (
        "PUT",
        "/a",
        "b=c+d",
        b"body",
    )
    assert request.headers["authorization"] == ("Bearer t",)
    assert request.headers["accept-encoding"] == ("identity",)
    assert request.headers["user-agent"] == ("bridged",)


@pytest.mark.parametrize(
    ("link", "links"),
    [
        ('<a>; rel="next"', {"next": "a"}),
        ("<a>; rel=next", {"next": "a"}),
        ('<a>; rel="Next last", <b>; rel=prev', {"next": "a", "last": "a", "prev": "b"}),
        ('<a>; rel=next, <b>; rel="next"', {"next": "b"}),
        ("<a>", {}),
        ("nonsense; rel=next", {"next": "nonsense"}),
        ("", {}),
    ],
)
async def test_links_are_found_by_each_of_their_relations(link, links):
    async def handler(request: Request) -> Response:
        return Response(headers=(("Link", link),) if link else ())

    async with asking(handler) as (client, url):
        assert (await client.request("GET", url)).links == links


async def test_each_request_is_signed_as_it_goes_over_the_wire():
    asked: list[Request] = []
    signed: list[tuple[str, bytes, bytes]] = []

    async def handler(request: Request) -> Response:
        asked.append(request)
        return Response()

    def sign(method: str, target: bytes, body: bytes) -> dict[str, str]:
        signed.append((method, target, body))
        return {"X-Signature": str(len(signed))}

    async with asking(handler, sign=sign) as (client, url):
        await client.request("GET", f'{url}/a%2Fb?c="d e"')
        await client.request("PUT", url, content=b"body")
    assert [
        (request.method, f"{request.path}?{request.query}".rstrip("?").encode(), request.body)
        for request in asked
    ] == signed
    assert signed[0][1] == b"/a%2Fb?c=%22d%20e%22"
    assert [request.headers["x-signature"] for request in asked] == [("1",), ("2",)]


async def test_a_path_is_below_the_base_and_a_whole_url_is_not():
    asked: list[str] = []

    async def handler(request: Request) -> Response:
        asked.append(request.path)
        return Response(200)

    async with serve_http(handler) as url:
        base = f"{url}/api/"
        async with open_rest("the API", timeout=5.0, max_body=9, base_url=base) as client:
            await client.request("GET", "/things")
            await client.request("GET", f"{url}/elsewhere")
    assert asked == ["/api/things", "/elsewhere"]


async def test_what_a_server_sets_as_a_cookie_is_not_sent_back():
    cookies: list[str | None] = []

    async def handler(request: Request) -> Response:
        cookies.append(dict(request.headers).get("cookie"))
        return Response(200, b"", (("Set-Cookie", "session=1"),))

    async with asking(handler) as (client, url):
        for _ in range(2):
            await client.request("GET", url)
    assert cookies == [None, None]


async def test_a_redirect_is_an_answer_and_not_followed():
    async def handler(request: Request) -> Response:
        assert request.path == "/"
        return Response(302, b"", (("Location", "/other"),))

    async with asking(handler) as (client, url):
        assert (await client.request("GET", f"{url}/")).status == 302


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def handler(request: Request) -> Response:
        return Response()

    async with asking(handler) as (client, url):
        assert (await client.request("GET", url)).status == 200


async def test_all_requests_go_through_the_proxy_of_the_settings():
    targets: list[str] = []

    async def proxy(request: Request) -> Response:
        targets.append(request.path)
        return Response(body=b"by proxy")

    async with (
        serve_http(proxy) as url,
        open_rest("the API", timeout=5, max_body=100, proxy=Url(url)) as client,
    ):
        answer = await client.request("GET", "http://vendor.invalid/a")
    assert answer.body == b"by proxy"
    assert targets == ["http://vendor.invalid/a"]


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False), (300_000, False)])
async def test_an_answer_has_a_largest_size(size, fits):
    async def handler(request: Request) -> Response:
        return Response(body=b"x" * size)

    async with asking(handler) as (client, url):
        if fits:
            assert len((await client.request("GET", url)).body) == size
        else:
            with pytest.raises(ResponseTooLarge, match="an answer of the API is larger than 1000"):
                await client.request("GET", url)
        assert len((await client.request("GET", url, keep_beginning=True)).body) == min(size, 1000)


async def test_an_encoded_answer_is_read_all_the_same():
    async def handler(request: Request) -> Response:
        return Response(200, gzip.compress(b"[1]"), (("Content-Encoding", "gzip"),))

    async with asking(handler) as (client, url):
        assert (await client.request("GET", url)).json() == [1]


async def test_a_server_that_drips_is_given_up_in_time():
    async def handler(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with asking(handler, timeout=0.05, timeout_setting="patience") as (client, url):
        said = r"no answer of the API within 0\.05 s \(patience\)"
        with pytest.raises(NoResponse, match=said) as caught:
            await client.request("GET", url)
    assert caught.value.failure == "deadline"


async def test_no_connection_and_a_broken_one_are_told_apart():
    async def handler(request: Request) -> Response:
        raise HangUp

    async with asking(handler) as (client, url):
        with pytest.raises(NoResponse, match="the API cannot be reached") as broken:
            await client.request("GET", url)
        with pytest.raises(NoResponse, match="the API cannot be reached") as refused:
            await client.request("GET", "http://127.0.0.1:9/")
        with pytest.raises(NoResponse) as unfit:
            await client.request("GET", "http://[::1/")
    assert [each.value.failure for each in (broken, refused, unfit)] == [
        "broken",
        "connect",
        "connect",
    ]


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority


async def test_a_ca_file_is_trusted_besides_the_systems(authority, tmp_path):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    async def handler(request: Request) -> Response:
        return Response()

    async with serve_http(handler, tls=tls) as url:
        opening = partial(open_rest, "the API", timeout=5, max_body=100)
        async with opening(ca_file=tmp_path / "ca.pem") as client:
            assert (await client.request("GET", url)).status == 200
        async with opening(certificate_hint="check url") as client:
            with pytest.raises(CertificateRefused) as caught:
                await client.request("GET", url)
    assert caught.value.why == (
        f"the certificate of the API is refused: {caught.value.reason}; check url"
    )


async def test_a_ca_file_that_cannot_be_used_is_told(tmp_path):
    with pytest.raises(Pause, match="ca_file"):
        async with open_rest("the API", timeout=5, max_body=100, ca_file=tmp_path / "none.pem"):
            raise AssertionError


async def test_what_is_quoted_holds_no_secret():
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    login = ("ops", "hunter2-S3cr3t")
    async with open_rest("the API", timeout=5, max_body=100, login=login, secrets=["s3"]) as client:
        said = client.quoted(f"no s3, hunter2-S3cr3t, b3BzOmh1bnRlcjItUzNjcjN0,\n{token} x4", "x4")
        assert "hunter2" not in repr(client)
    assert said == "no ********, ********, ********, ******** ********"


@define
class LossyNetwork(httpx.AsyncBaseTransport):
    """Loses a place with each request that is cancelled, as httpcore's does."""

    places: int
    made: int = 0
    hold: trio.Event = field(factory=trio.Event)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.places:
            raise httpx.PoolTimeout("no place")
        self.places -= 1
        if request.url.path == "/hang":
            await trio.sleep_forever()
        self.places += 1
        return httpx.Response(200, text="answered")


@asynccontextmanager
async def losing(places: int) -> AsyncIterator[tuple[RestClient, list[LossyNetwork]]]:
    made: list[LossyNetwork] = []

    def network() -> LossyNetwork:
        made.append(LossyNetwork(places))
        return made[-1]

    async with open_rest(
        "the API", timeout=5, max_body=100, max_connections=places, network=network
    ) as client:
        yield client, made


async def test_a_client_whose_places_are_lost_is_replaced(autojump_clock):
    async with losing(2) as (client, made):
        for _ in range(2):
            with pytest.raises(NoResponse):
                await client.request("GET", "http://vendor.invalid/hang")
        answer = await client.request("GET", "http://vendor.invalid/")
        assert answer.body == b"answered"
        assert len(made) == 2


async def test_a_lost_place_is_noticed_while_others_work(autojump_clock):
    async with losing(2) as (client, made):
        with trio.move_on_after(1):
            await client.request("GET", "http://vendor.invalid/hang")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang, client)
            await trio.testing.wait_all_tasks_blocked()
            assert (await client.request("GET", "http://vendor.invalid/")).status == 200
            assert len(made) == 2


async def hang(client: RestClient) -> None:
    with pytest.raises(NoResponse):
        await client.request("GET", "http://vendor.invalid/hang")


async def test_a_network_without_any_place_is_a_failure():
    async with losing(1) as (client, made):
        for each in made:
            each.places = 0
        original = LossyNetwork.__init__

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LossyNetwork, "__init__", lambda self, _: original(self, 0))
            with pytest.raises(NoResponse) as caught:
                await client.request("GET", "http://vendor.invalid/")
        assert caught.value.failure == "lost"
        assert (await client.request("GET", "http://vendor.invalid/")).status == 200


async def test_no_more_requests_than_places_are_under_way(autojump_clock):
    async with losing(2) as (client, made), trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(hang, client)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NoResponse) as caught:
            await client.request("GET", "http://vendor.invalid/")
        assert caught.value.failure == "deadline"
        assert len(made) == 1

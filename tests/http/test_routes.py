"""The paths of a listener."""

import pytest

from bridge.api import Accepted, Event
from bridge.http.routes import Routes


class NoOutlet:
    async def emit(self, *events: Event) -> None:
        raise AssertionError(events)


def receive(_request):
    return Accepted()


@pytest.fixture
def routes() -> Routes:
    routes = Routes()
    routes.declare("/towers/values", "towers")
    routes.declare("/sensors", "sensors")
    return routes


@pytest.mark.parametrize(
    "path",
    [
        "/towers/values",
        "/towers/values/",
        "//towers/values",
        "/towers///values",
        "///towers//values//",
    ],
)
def test_slashes_too_many_lead_to_the_path_that_was_meant(routes, path):
    route = routes.lookup(path)
    assert route is not None
    assert route.path == "/towers/values"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "*",
        "/towers",
        "/Towers/values",
        "/towers%2Fvalues",
        "/towers/values/x",
        "/.//sensors",
    ],
)
def test_another_path_leads_nowhere(routes, path):
    assert routes.lookup(path) is None


def test_an_exact_path_comes_before_one_with_fewer_slashes(routes):
    routes.declare("/sensors/", "others")
    assert routes.lookup("/sensors/").owner == "others"
    assert routes.lookup("/sensors").owner == "sensors"


def test_a_path_is_mounted_only_while_the_block_is_entered(routes):
    mount = routes.mounting("sensors", NoOutlet())
    with mount("/sensors", receive):
        assert routes.lookup("/sensors").mounted.receive is receive
    assert routes.lookup("/sensors").mounted is None


def test_a_path_can_be_mounted_again_by_a_source_that_failed(routes):
    mount = routes.mounting("sensors", NoOutlet())
    with pytest.raises(RuntimeError, match="crash"), mount("/sensors", receive):
        raise RuntimeError("crash")
    with mount("/sensors", receive):
        pass


def test_get_brings_head_with_it(routes):
    with routes.mounting("sensors", NoOutlet())("/sensors", receive, methods=("GET", "POST")):
        assert routes.lookup("/sensors").mounted.allow == "GET, HEAD, POST"


def test_a_source_cannot_mount_what_it_did_not_declare(routes):
    mount = routes.mounting("sensors", NoOutlet())
    for path in ("/other", "/towers/values"):
        with pytest.raises(ValueError, match="not declared by sensors"), mount(path, receive):
            pass


def test_a_path_cannot_be_mounted_twice(routes):
    mount = routes.mounting("sensors", NoOutlet())
    with (
        mount("/sensors", receive),
        pytest.raises(ValueError, match="mounted already"),
        mount("/sensors", receive),
    ):
        pass


def test_two_sources_cannot_have_one_path(routes):
    with pytest.raises(ValueError, match="belongs to sensors"):
        routes.declare("/sensors", "towers")


def test_a_path_begins_with_a_slash(routes):
    with pytest.raises(ValueError, match="slash"):
        routes.declare("sensors", "towers")

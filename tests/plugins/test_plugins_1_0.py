"""Plugins that were written for version 1.0 of the contract run unchanged.

``tests/data/plugins_1_0`` keeps two of them: the sink that came with the bridge as an
example, and a source written against its README.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import httpx
import pytest
import trio

import bridge.api
from bridge.admin.control import ask
from bridge.api.former import FORMER_NAMES
from tests.end_to_end.site import READY, Site

FILES = Path(__file__).parents[1] / "data" / "plugins_1_0"

# fmt: off
NAMES_1_0 = [
    "API_VERSION", "JSON", "RECOVERED", "Accepted", "Account", "Answer", "Answering",
    "AnyKind", "Arrival", "Ask", "Audit", "Batch", "Command", "CommandContext",
    "CommandError", "DeadLetter", "Duration", "Emulation", "EmulatorContext",
    "EmulatorKind", "Event", "HangUp", "History", "KeyValue", "Lease", "Mount",
    "NetworkAddress", "OpenHistory", "Outcome", "Outlet", "Page", "Pause", "Reading",
    "Receive", "Recover", "Recovery", "Refusal", "Refused", "Reject", "Report", "Request",
    "Respond", "Retry", "Secret", "SettingError", "Sink", "SinkContext", "SinkKind", "Size",
    "SourceContext", "SourceKind", "Spool", "SpoolContext", "SpoolError", "SpoolKind",
    "Stale", "Stored", "Subscription", "Table", "Url", "Value", "at_least", "between",
    "certificate_failure", "client_tls", "decode", "encode", "hookimpl", "lane_of",
    "parse_json", "raw_data", "serve_http", "setting", "table",
]
# fmt: on
"""What ``bridge.api`` 1.0 exported."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    plugins = tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    shutil.copyfile(FILES / "acme.py", plugins / "acme.py")
    # As the README told: a copy of the example gets a kind of its own.
    example = (FILES / "jsonlines.py").read_text()
    (plugins / "lines.py").write_text(example.replace('SinkKind("jsonlines"', 'SinkKind("lines"'))
    for file in plugins.iterdir():
        file.chmod(0o644)
    site.sections["bridge"] |= {"plugins": str(plugins)}
    site.sections["source:meters"] = {
        "plugin": "acme",
        "listener": "public",
        "path": "/acme",
        "secret": "s3cret",
    }
    site.sections["sink:file"] = {
        "plugin": "lines",
        "path": str(tmp_path / "out.jsonl"),
        "from": "beginning",
    }
    yield site
    site.close()


async def lines(path: Path, count: int) -> list[tuple[str, float]]:
    """Wait for lines, which another process writes; device and value of each."""
    with trio.fail_after(READY):
        while not path.exists() or len(found := path.read_text().splitlines()) < count:
            await trio.sleep(0.02)
    events = [json.loads(line)["event"] for line in found]
    return [(event["device"], event["readings"][0]["value"]) for event in events]


async def test_a_source_and_a_sink_for_1_0_deliver(site: Site):
    site.start()
    await site.ready()
    meters = [{"id": "m1", "n": n, "level": n / 2} for n in range(3)]
    async with httpx.AsyncClient(base_url=site.url, verify=site.client_tls()) as acme:
        secret = {"X-Acme-Secret": "s3cret"}
        for _ in range(2):  # sent twice, known once
            response = await acme.post("/acme", json=meters, headers=secret)
            assert (response.status_code, response.content) == (202, b"thanks")
            assert response.headers["x-acme"] == "yes"
        assert (await acme.post("/acme", json=meters)).status_code == 401
        assert (await acme.post("/acme", content=b"{", headers=secret)).status_code == 400
    delivered = await lines(site.folder / "out.jsonl", 4)
    assert delivered[delivered.index(("m1", 0.0)) :][:3] == [("m1", 0.0), ("m1", 0.5), ("m1", 1.0)]
    assert sorted(delivered) == [("counter", 1.0), ("m1", 0.0), ("m1", 0.5), ("m1", 1.0)]
    answered = await ask(site.state / "control.sock", "source:meters", "count", {"by": "hand"})
    assert answered == {"starts": 1, "asked": {"by": "hand"}}
    assert "X-Acme-Secret is not the configured one" in site.log
    assert "Traceback" not in site.log


@pytest.mark.parametrize("name", NAMES_1_0)
def test_a_name_of_1_0_is_there(name: str):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = getattr(bridge.api, name)
    if name not in FORMER_NAMES:
        assert name in bridge.api.__all__
        assert not warned
        return
    module, _, called = FORMER_NAMES[name].rpartition(".")
    assert found is getattr(import_module(module), called)
    (warning,) = warned
    assert warning.category is DeprecationWarning
    assert f"bridge.api.{name} is {FORMER_NAMES[name]} now" in str(warning.message)
    assert warning.filename == __file__


def test_a_former_name_is_none_of_todays():
    assert not FORMER_NAMES.keys() & set(bridge.api.__all__)
    assert FORMER_NAMES.keys() <= set(NAMES_1_0)
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        _ = bridge.api.NoSuchName


def test_a_former_attribute_of_a_request_is_there():
    request = bridge.api.Request("POST", "/", "", {}, b"", max_content=7)
    with pytest.warns(DeprecationWarning, match="most_content is max_content now"):
        assert request.most_content == 7

"""``bridged run`` as a process: what ends it, what does not, and what it never says."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest
import trio

from bridge.api import Request, Response
from bridge.spool.audit import audit
from bridge.testing.http_server import serve_http
from bridge_plugins.databoom.emulator.server import SCOPES
from bridge_plugins.databoom.emulator.server import open_emulator as open_databoom
from tests.end_to_end.site import READY, Site, free_port

SECRETS = {
    "webhook": "hunter2-webhook-token",
    "rest": "hunter2-digi-password",
    "sink": "hunter2-databoom-token",
}


def towers(**settings: str) -> dict[str, str]:
    return {
        "plugin": "wattsense",
        "listener": "public",
        "signature": "token",
        "signature_header": "X-Token",
        "secret": SECRETS["webhook"],
        **settings,
    }


def file_sink(site: Site) -> dict[str, str]:
    return {"plugin": "jsonlines", "path": str(site.folder / "events.jsonl")}


def client_of(site: Site) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=site.url, verify=site.client_tls(), headers={"X-Token": SECRETS["webhook"]}
    )


def values(*numbers: int) -> list[dict[str, object]]:
    """What a tower posts: each value has another time, so that none is a duplicate."""
    return [
        {
            "deviceId": f"tower-{number % 7}",
            "property": "level",
            "payload": number,
            "timestamp": 1_770_000_000_000 + number,
        }
        for number in numbers
    ]


async def ended(site: Site) -> int:
    """Wait until the process has ended, and give its exit code."""
    process = site.process
    assert process is not None
    with trio.fail_after(READY):
        return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)


async def test_with_a_wrong_configuration_it_ends_with_78_not_ready(
    site: Site,
):
    site.sections["sink:file"] = file_sink(site) | {"tokn": "x"}
    site.sections["source:towers"] = towers(listener="publik")
    site.start()
    with pytest.raises(AssertionError):
        await site.ready()
    assert await ended(site) == 78
    assert "[sink:file] tokn: unknown setting" in site.log
    assert "[source:towers] listener: " in site.log
    assert not site.state.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_it_drain_and_end_with_0(site: Site, number: signal.Signals):
    site.sections |= {"source:towers": towers(), "sink:file": file_sink(site)}
    site.start()
    await site.ready()
    async with client_of(site) as client:
        assert (await client.post("/wattsense/values", json=values(*range(50)))).status_code == 200
        assert site.process is not None
        site.process.send_signal(
            number
        )  # while the sink is at work, and the client keeps its connection
        assert await ended(site) == 0
    assert "Traceback" not in site.log
    assert "stopping: what is in hand is finished first" in site.log
    (account,) = audit(site.state, ("file",)).accounts
    delivered = (site.folder / "events.jsonl").read_text().splitlines() if account.delivered else []
    assert (account.received, account.delivered) == (50, len(delivered))


async def test_a_hang_up_of_the_terminal_does_not_end_it(site: Site):
    site.sections |= {"source:towers": towers(), "sink:file": file_sink(site)}
    site.start()
    assert site.process is not None
    with trio.fail_after(READY):
        while not ignores(site.process.pid, signal.SIGHUP):
            await trio.lowlevel.checkpoint()
    site.process.send_signal(signal.SIGHUP)  # while it starts
    await site.ready()
    site.process.send_signal(signal.SIGHUP)  # while it runs
    async with client_of(site) as client:
        assert (await client.post("/wattsense/values", json=values(1))).status_code == 200
    assert await site.stop() == 0


def ignores(process: int, number: signal.Signals) -> bool:
    """Tell whether a process ignores a signal already; a shell command that was just
    started does not.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (mask,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:")]
    return bool(mask >> (number - 1) & 1)


async def test_a_dead_destination_is_one_line_and_webhooks_get_200(
    site: Site,
):
    site.sections |= {
        "source:towers": towers(),
        "sink:databoom": {
            "plugin": "databoom",
            "url": f"http://127.0.0.1:{free_port()}/push",
            "token": SECRETS["sink"],
            "retry_base": "10ms",
            "retry_cap": "20ms",
        },
        "sink:file": file_sink(site),
    }
    site.start()
    await site.ready()
    async with client_of(site) as client:
        for start in range(0, 300, 3):
            answer = await client.post("/wattsense/values", json=values(*range(start, start + 3)))
            assert answer.status_code == 200
    assert await site.stop() == 0
    about = [line for line in site.log.splitlines() if "databoom" in line and "fails" in line]
    assert len(about) == 1, site.log
    balances = {
        account.sink: account for account in audit(site.state, ("databoom", "file")).accounts
    }
    assert (balances["databoom"].received, balances["databoom"].pending) == (300, 300)
    assert balances["file"].received == 300


async def problems_of(admin: httpx.AsyncClient, *instances: str) -> None:
    """Wait until all of these have a problem."""
    with trio.fail_after(READY):
        while set(instances) - (await admin.get("/status.json")).json()["problems"].keys():
            await trio.lowlevel.checkpoint()


async def test_no_secret_is_in_the_log_or_on_the_page(site: Site):
    """Every secret is refused by the other side, because what fails is what is told."""
    port = free_port()

    async def deny(request: Request) -> Response:
        return Response(401)

    async with open_databoom({"another-token": SCOPES}) as databoom, serve_http(deny) as digi:
        site.sections |= {
            "admin": {"address": f"127.0.0.1:{port}"},
            "source:towers": towers(),
            "source:gateways": {
                "plugin": "idigi",
                "url": digi,
                "insecure": "yes",
                "username": "user",
                "password": SECRETS["rest"],
                "topics": "DataPoint",
            },
            "sink:databoom": {"plugin": "databoom", "url": databoom.url, "token": SECRETS["sink"]},
        }
        site.start()
        await site.ready()
        async with (
            client_of(site) as client,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as admin,
        ):
            refused = await client.post(
                "/wattsense/values", json=values(1), headers={"X-Token": "hunter2-wrong"}
            )
            assert refused.status_code == 401
            assert (await client.post("/wattsense/values", json=values(2))).status_code == 200
            await problems_of(admin, "sink:databoom", "source:gateways")
            shown = [await admin.get(path) for path in ("/", "/status.json", "/livez", "/readyz")]
        assert await site.stop() == 0
    assert "sink:databoom: paused: " in shown[0].text
    assert "refused a request" in site.log
    for text in (
        site.log,
        refused.text,
        *(answer.text for answer in shown),
        *(str(a.headers) for a in shown),
    ):
        assert "hunter2" not in text


async def test_a_second_bridge_on_one_state_folder_ends(site: Site, tmp_path_factory):
    site.sections |= {"source:towers": towers(), "sink:file": file_sink(site)}
    site.start()
    await site.ready()
    assert site.process is not None
    second = Site(tmp_path_factory.mktemp("second"))
    second.sections |= site.sections | {"listener:public": second.sections["listener:public"]}
    try:
        second.start()
        assert await ended(second) == 1
        assert f"spool.sqlite is in use by process {site.process.pid}; " in second.log
        assert "Traceback" not in second.log
    finally:
        second.close()
    async with client_of(site) as client:
        assert (await client.post("/wattsense/values", json=values(1))).status_code == 200
    assert await site.stop() == 0

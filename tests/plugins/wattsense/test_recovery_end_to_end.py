"""A bridge that was away: what the webhook lost meanwhile is read back from the REST
API, by the real process.
"""

import orjson
import pytest
import trio

from bridge_plugins.wattsense.emulator.options import RestOptions, WebhookOptions
from bridge_plugins.wattsense.emulator.rest import open_rest_service
from bridge_plugins.wattsense.emulator.server import open_emulator
from tests.end_to_end.site import READY, Site


async def arrived(site: Site, wanted: set[tuple[str, str, int]]) -> list[dict]:
    """Wait until the file sink has these values, and return all of its events."""
    path = site.folder / "events.jsonl"
    with trio.fail_after(READY):
        while True:
            lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
            events = [orjson.loads(line)["event"] for line in lines]
            values = [event["data"] for event in events]
            known = {(value["deviceId"], value["property"], value["timestamp"]) for value in values}
            if wanted <= known:
                return events
            await trio.sleep(0.05)  # another process writes the file


async def publish(cloud, first, count):
    for number in range(first, first + count):
        await cloud.publish(f"tower-{number % 3}", "energy", number)
    await cloud.drained()


@pytest.mark.fact(
    "Backfill: what was sent while the bridge was away arrives after its start, by the real process"
)
async def test_what_was_sent_meanwhile_arrives_after_the_start(site: Site):
    options = RestOptions(page_size=4)
    async with (
        open_emulator(
            f"{site.url}/wattsense",
            preset="token",
            secret="k3y",
            header="X-Key",
            options=WebhookOptions(framing="array", retries=0),
            ca_file=site.ca_file,
        ) as cloud,
        open_rest_service(cloud.store, options, tls=site.server_tls()) as rest,
    ):
        site.sections["source:towers"] = {
            "plugin": "wattsense",
            "listener": "public",
            "signature": "token",
            "signature_header": "X-Key",
            "secret": "k3y",
            "url": rest.url,
            "rest_key": options.key,
            "rest_secret": options.secret,
            "ca_file": str(site.ca_file),
        }
        site.sections["sink:file"] = {
            "plugin": "jsonlines",
            "path": str(site.folder / "events.jsonl"),
        }
        site.start()
        await site.ready()
        await publish(cloud, 0, 6)
        assert len(cloud.acknowledged) == 6
        assert await site.stop() == 0
        await publish(cloud, 6, 12)
        assert len(cloud.given_up) == 12
        site.start()
        await site.ready()
        events = await arrived(site, cloud.acknowledged | cloud.given_up)
        assert await site.stop() == 0
    recovered = [event for event in events if event["labels"].get("bridge.recovered") == "true"]
    assert len(recovered) == 12
    assert len({event["key"] for event in events}) == 18
    assert options.secret not in site.log

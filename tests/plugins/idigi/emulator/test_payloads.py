"""The push port of the emulator, byte by byte: the documents of its blocks."""

from __future__ import annotations

from base64 import b64encode
from xml.etree import ElementTree

import pytest

from bridge_plugins.idigi.emulator.content.topics import Occurrence
from bridge_plugins.idigi.emulator.server import Emulator
from tests.plugins.idigi.push_client import (
    ELEMENTS,
    logged_in,
    points,
    publish,
    published,
    suspended,
)


@pytest.mark.fact("Group is always \\* ; an option leaves it out; JSON may escape slashes")
async def test_a_group_may_be_absent_and_slashes_escaped(emulator: Emulator) -> None:
    emulator.options.group, emulator.options.escaped_slashes = False, True
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        block = await published(emulator, client)
    assert "group" not in block.msg
    assert r"7603\/DataPoint\/x" in block.text


@pytest.mark.fact("Integers beyond 2^53 travel exactly")
async def test_integers_beyond_2_to_the_53_travel_exactly(emulator: Emulator) -> None:
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await publish(emulator, 2**63 - 1)
        assert "9223372036854775807}" in (await client.block()).text


@pytest.mark.fact("XML: envelope as attributes, entity values as text, replay as attribute")
async def test_in_xml_the_envelope_is_attributes_and_values_are_text(
    emulator: Emulator,
) -> None:
    emulator.account.create(ELEMENTS | {"monFormatType": "xml"})
    async with logged_in(emulator):
        pass
    await suspended(emulator)
    await publish(emulator, 0.4117)
    async with logged_in(emulator) as client:
        block = await client.block()
        (msg,) = ElementTree.fromstring(block.text)
    assert (block.format, block.count) == (0, 1)
    assert list(msg.attrib) == ["topic", "operation", "timestamp", "group", "replay"]
    assert (msg.get("topic"), msg.get("operation"), msg.get("replay")) == (
        "7603/DataPoint/x",
        "update",
        "true",
    )
    assert msg.findtext("DataPoint/data") == "0.4117"


@pytest.mark.fact("Root Msg without Document for a single event")
@pytest.mark.parametrize(("form", "begins"), [("json", '{"Msg":{'), ("xml", "<Msg ")])
async def test_a_single_event_may_be_the_root(emulator: Emulator, form: str, begins: str) -> None:
    emulator.options.single_root = True
    emulator.account.create(ELEMENTS | {"monFormatType": form})
    async with logged_in(emulator) as client:
        assert (await published(emulator, client)).text.startswith(begins)
        await emulator.inject(points(range(2)))
        assert "Document" in (await client.block()).text


@pytest.mark.fact(
    "Templated monitors send what the template prints: a list with a closing dummy, or broken JSON",
)
@pytest.mark.parametrize(
    ("template", "text"),
    [("list", '[{"data":1},{"end":1}]'), ("broken", '[{"data":1},]'), ("hello {{}", "hello {{}")],
)
async def test_a_templated_monitor_sends_what_its_template_prints(
    emulator: Emulator, template: str, text: str
) -> None:
    emulator.options.template = template
    emulator.account.create(
        ELEMENTS | {"monSchemaType": "handlebars", "monSchemaData": "{{#each}}"}
    )
    async with logged_in(emulator) as client:
        block = await published(emulator, client)
        assert (block.text, block.count, block.format) == (text, 1, 1)


def file(size: int, operation: str = "INSERTION") -> Occurrence:
    entity = {"fdSize": size, "fdData": b64encode(bytes(size)).decode()}
    return Occurrence("FileData/db/x/a", "FileData", entity, operation)


@pytest.mark.fact(
    "Files above about 120 KB and deletions of FileData are not published; older servers "
    "left the content out"
)
async def test_large_files_and_deletions_of_files_are_never_published(emulator: Emulator) -> None:
    emulator.account.create(ELEMENTS | {"monTopic": "FileData"})
    large, gone = file(120_001), file(1, "DELETE")
    async with logged_in(emulator) as client:
        await emulator.inject([large, gone])
        assert emulator.recorder.withheld == {0, 1}
        emulator.options.large_files = "without-content"
        await emulator.inject([large])
        entity = (await client.block()).msg["FileData"]
        assert "fdData" not in entity
        assert entity["fdSize"] == 120_001
        await emulator.inject([file(120_000)])
        assert (await client.block()).msg["FileData"]["fdData"].startswith("AAAA")

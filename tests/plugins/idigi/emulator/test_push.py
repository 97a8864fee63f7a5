"""The push port of the emulator, byte by byte: logins and sessions."""

from __future__ import annotations

import ssl
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
import trio.testing

from bridge_plugins.idigi.emulator.content.topics import Occurrence
from bridge_plugins.idigi.emulator.server import Emulator, open_emulator
from tests.plugins.idigi.push_client import (
    ELEMENTS,
    FRAMES,
    GOLDEN,
    SHORT,
    Client,
    connected,
    logged_in,
    points,
    publish,
    published,
    suspended,
)

# Golden frames


@pytest.mark.fact(
    "A ConnectRequest of the documented bytes is understood, and answered with a "
    "ConnectResponse of ten bytes"
)
async def test_documented_logins_are_answered_with_documented_bytes() -> None:
    async with open_emulator(username="pepsi", password="cola") as emulator:
        emulator.account.next_monitor = 0x104
        emulator.account.create(ELEMENTS)
        async with connected(emulator.push_port, FRAMES["V2"]) as client:
            assert await client.frame() == FRAMES["V3a"]
        async with connected(emulator.push_port, FRAMES["V1"]) as client:
            assert await client.frame() == FRAMES["V3b"]


@pytest.mark.fact("Golden blocks V4 and V5 and acks V7a and V7b are reproduced")
@pytest.mark.parametrize("name", ["V4", "V5"])
async def test_a_block_has_the_documented_bytes(name: str) -> None:
    decoded = GOLDEN[name]["decoded"]
    messages = decoded["payload"]["Document"]["Msg"]
    messages = messages if isinstance(messages, list) else [messages]
    stamp = datetime(2015, 6, 14, 18, 37, 27, 815000, UTC)
    async with open_emulator(now=lambda: stamp) as emulator:
        emulator.options.first_block_id = decoded["data_block_id"]
        emulator.account.create(
            ELEMENTS | {"monCompression": "zlib" if decoded["compression"] else "none"}
        )
        async with logged_in(emulator) as client:
            await emulator.inject(
                Occurrence("DataPoint/test", "DataPoint", message["DataPoint"], "INSERTION")
                for message in messages
            )
            frame = await client.frame()
            await client.stream.send_all(FRAMES["V7a" if name == "V4" else "V7b"])
            await emulator.recorder.until(lambda: len(emulator.recorder.acked) == len(messages))
    if decoded["compression"]:
        assert zlib.decompress(frame[16:]).decode() == decoded["payload_text"]
        assert (frame[:2], frame[6:12]) == (FRAMES[name][:2], FRAMES[name][6:12])
        assert frame[16:18] == b"\x78\x9c"
    else:
        assert frame == FRAMES[name]


# Logins


@pytest.mark.fact("A login with a wrong version or Size closes the connection")
@pytest.mark.parametrize(
    "sent",
    [
        FRAMES["V7a"],
        FRAMES["V1"][:6] + b"\0\2" + FRAMES["V1"][8:],
        FRAMES["V1"][:5] + b"\x13" + FRAMES["V1"][6:],
    ],
)
async def test_a_broken_login_closes_the_connection(emulator: Emulator, sent: bytes) -> None:
    emulator.account.create(ELEMENTS)
    async with connected(emulator.push_port, sent) as client:
        await client.ended()
    await emulator.recorder.until(lambda: emulator.recorder.protocol_errors == 1)


@pytest.mark.fact("The server says nothing before the login")
async def test_nothing_is_sent_before_the_login(emulator: Emulator) -> None:
    emulator.account.create(ELEMENTS)
    async with connected(emulator.push_port, b"") as client:
        assert await client.nothing_comes()


@pytest.mark.fact(
    "Unknown monitor or monitor of another transport is answered 400, wrong credentials 403, "
    "then closed"
)
@pytest.mark.parametrize(
    ("password", "transport", "status"),
    [(b"pass", None, 400), (b"pass", "http", 400), (b"sass", "tcp", 403)],
)
async def test_a_login_that_does_not_fit_is_refused(
    emulator: Emulator, password: bytes, transport: str | None, status: int
) -> None:
    if transport:
        emulator.account.create(ELEMENTS | {"monTransportType": transport})
    async with connected(emulator.push_port, FRAMES["V1"].replace(b"pass", password)) as client:
        assert await client.frame() == b"\0\2\0\0\0\4" + status.to_bytes(2) + b"\0\1"
        assert await client.ended() == "closed"
    assert emulator.recorder.refusals == 1


@pytest.mark.fact(
    "Lengths of user name and password count bytes of UTF-8; a password may hold a colon",
)
async def test_names_and_passwords_are_counted_in_bytes_of_utf_8() -> None:
    username, password = "jürgen".encode(), "p:ä".encode()
    async with open_emulator(username="jürgen", password="p:ä") as emulator:
        emulator.account.create(ELEMENTS)
        body = b"\0\1\0\7" + username + b"\0\4" + password + (178008).to_bytes(4)
        async with logged_in(emulator, b"\0\1" + len(body).to_bytes(4) + body):
            assert emulator.recorder.refusals == 0


@pytest.mark.fact(
    "A key as user name with an empty password logs in only where that is switched on",
)
async def test_a_key_logs_in_as_user_name_only_if_switched_on(
    emulator: Emulator,
) -> None:
    emulator.account.create(ELEMENTS)
    login = b"\0\1\0\0\0\x11\0\1\0\7Key abc\0\0" + (178008).to_bytes(4)
    async with connected(emulator.push_port, login) as client:
        assert await client.frame() == FRAMES["V3b"]
    emulator.options.push_key = "Key abc"
    async with logged_in(emulator, login):
        pass


@pytest.mark.fact("A push port in clear text stands beside the one with TLS")
async def test_the_plain_port_stands_beside_the_one_with_tls(
    server_tls: Any, authority: Any
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with open_emulator(tls=server_tls()) as emulator:
        emulator.account.create(ELEMENTS)
        secured = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", emulator.push_port, ssl_context=context, https_compatible=True
        )
        async with secured:
            await secured.send_all(FRAMES["V1"])
            assert await Client(secured).frame() == FRAMES["V3a"]


# Sessions


async def test_whoever_hears_of_a_login_finds_the_session_attached(emulator: Emulator) -> None:
    emulator.account.create(ELEMENTS)
    async with connected(emulator.push_port) as client:
        await emulator.recorder.until(lambda: emulator.recorder.logins > 0)
        await publish(emulator)
        await client.frame()
        assert (await client.block()).data == [1]


@pytest.mark.fact("Blocks are batched by size; ids count from 0")
@pytest.mark.fact("Status: INACTIVE after creation, ACTIVE with a session, SUSPENDED after it")
async def test_events_are_batched_by_size(emulator: Emulator) -> None:
    monitor = emulator.account.create(ELEMENTS)
    assert monitor.status == "INACTIVE"
    async with logged_in(emulator) as client:
        await emulator.recorder.until(lambda: monitor.status == "ACTIVE")
        await emulator.inject(points(range(3)))
        first, second = await client.block(), await client.block()
        assert (first.id, first.count, first.data) == (0, 2, [0, 1])
        assert (second.id, second.count, second.data) == (1, 1, [2])
        assert second.msg["topic"] == "7603/DataPoint/x"
        assert second.msg["group"] == "*"
    await emulator.recorder.until(lambda: monitor.status == "SUSPENDED")
    assert {"monLastConnect", "monLastSent", "monLastSentUuid"} <= monitor.item.keys()


@pytest.mark.fact("A part-filled block goes after the batch duration")
async def test_a_part_filled_block_waits_for_the_batch_duration(
    emulator: Emulator, mock_clock: trio.testing.MockClock
) -> None:
    emulator.account.create(ELEMENTS | {"monBatchDuration": "10"})
    async with logged_in(emulator) as client:
        await publish(emulator)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert emulator.recorder.blocks == 0
        mock_clock.jump(10)
        assert (await client.block()).data == [1]


@pytest.mark.fact("Acks of ten bytes (V7b) and of six (V8) are accepted and counted apart")
async def test_acks_of_ten_bytes_and_of_six_are_counted_apart(
    emulator: Emulator,
) -> None:
    emulator.account.create(ELEMENTS | {"monBatchSize": "1"})
    async with logged_in(emulator) as client:
        for number in range(3):
            await publish(emulator, number)
            await client.block()
        await client.stream.send_all(FRAMES["V8"] + FRAMES["V7b"])
        await emulator.recorder.until(lambda: emulator.recorder.acked == {1, 2})
    assert (emulator.recorder.short_acks, emulator.recorder.full_acks) == (1, 1)
    assert emulator.recorder.unacked == {0}


@pytest.mark.fact("Any other frame of a client closes the connection")
@pytest.mark.parametrize(
    "sent", [b"\0\3\0\0\0\0", b"\0\4\0\0\0\4\0\0\1\x90", b"\0\4\0\0\0\5\0\0\0\xc8", FRAMES["V1"]]
)
async def test_any_other_frame_after_the_login_closes_the_connection(
    emulator: Emulator, sent: bytes
) -> None:
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await client.stream.send_all(sent)
        await client.ended()
    await emulator.recorder.until(lambda: emulator.recorder.protocol_errors == 1)


@pytest.mark.fact(
    "Un-acked blocks are replayed first after the next connect, marked replay; replayed and new "
    "events never share a block"
)
async def test_unacknowledged_events_are_replayed_first(
    emulator: Emulator,
) -> None:
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await emulator.inject(points(range(2)))
        await client.block()
    await suspended(emulator)
    await publish(emulator, 2)
    async with logged_in(emulator) as client:
        again = await client.block()
        assert again.data == [0, 1]
        assert all(message["replay"] is True for message in again.messages)
        await publish(emulator, 3)
        assert (await client.block()).data == [2]  # replayed and new events never share a block
        new = await client.block()
        assert new.data == [3]
        assert "replay" not in new.msg
    assert emulator.recorder.replayed == {0, 1, 2}
    assert emulator.recorder.times_sent[0] == 2
    assert not {0} & (emulator.recorder.acked | emulator.recorder.lost)


@pytest.mark.fact("With acks off what was sent counts as delivered, even with replay")
async def test_with_acks_off_what_was_sent_counts_as_delivered(
    emulator: Emulator,
) -> None:
    emulator.account.create(ELEMENTS | {"monAckOption": "off"})
    async with logged_in(emulator) as client:
        await publish(emulator, 0)
        block = await client.block()
    await suspended(emulator)
    await publish(emulator, 1)
    async with logged_in(emulator) as client:
        assert (await client.block()).data == [1]
        await client.acknowledge(block)
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 1)
    assert emulator.recorder.stray_acks == 0


@pytest.mark.fact("Without replay nothing is recorded between sessions")
async def test_without_replay_events_are_lost_while_nobody_is_attached(emulator: Emulator) -> None:
    monitor = emulator.account.create(
        ELEMENTS | {"monAckOption": "off", "monAutoReplayOnConnect": "false"}
    )
    lost = await publish(emulator, 0)
    async with logged_in(emulator) as client:
        await publish(emulator, 1)
        await client.block()
    await emulator.recorder.until(lambda: monitor.status == "INACTIVE")
    late = await publish(emulator, 2)
    assert emulator.recorder.lost == {lost, late}


@pytest.mark.fact("Server defaults: XML, no compression, acks off, replay off")
async def test_by_default_acks_and_replay_are_off_and_it_sends_xml(
    emulator: Emulator,
) -> None:
    emulator.account.create(
        {"monTopic": "DataPoint", "monTransportType": "tcp", "monBatchDuration": "0"}
    )
    async with logged_in(emulator) as client:
        await publish(emulator)
        block = await client.block()
        assert (block.compression, block.format) == (0, 0)
    await suspended(emulator)
    async with logged_in(emulator) as client:
        assert await client.nothing_comes()


@pytest.mark.fact("Replay keeps a configurable number of events and drops the oldest")
async def test_a_full_record_drops_the_oldest(emulator: Emulator) -> None:
    emulator.account.record_limit = 2
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await emulator.inject(points(range(2)))
        await client.block()
    await suspended(emulator)
    await publish(emulator, 2)
    assert emulator.recorder.lost == {0}
    async with logged_in(emulator) as client:
        assert (await client.block()).data == [1, 2]


@pytest.mark.fact("Events between creation and first connect are lost; an option records them")
@pytest.mark.parametrize("option", ["lost", "recorded"])
async def test_events_before_the_first_session_are_lost_by_default(
    emulator: Emulator, option: Any
) -> None:
    emulator.options.before_first_connect = option
    emulator.account.create(ELEMENTS)
    await publish(emulator)
    async with logged_in(emulator) as client:
        if option == "lost":
            assert emulator.recorder.lost == {0}
            assert await client.nothing_comes()
        else:
            assert (await client.block()).msg["replay"] is True


@pytest.mark.fact("A second session replaces the first")
async def test_a_new_session_replaces_the_old_one(emulator: Emulator) -> None:
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as old, logged_in(emulator) as new:
        assert await old.ended() == "closed"
        await publish(emulator)
        assert (await new.block()).data == [1]


@pytest.mark.fact("Option: a second session is refused with 400")
async def test_a_second_session_may_be_refused(emulator: Emulator) -> None:
    emulator.options.second_session = "refuse"
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as old, connected(emulator.push_port) as new:
        assert (await new.frame())[6:8] == (400).to_bytes(2)
        await publish(emulator)
        assert (await old.block()).data == [1]
    await suspended(emulator)
    async with logged_in(emulator):
        pass


@pytest.mark.fact("Option: two sessions are both fed")
async def test_two_sessions_may_both_be_fed(
    emulator: Emulator,
) -> None:
    emulator.options.second_session = "both"
    monitor = emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as one:
        async with logged_in(emulator) as other:
            await emulator.recorder.until(lambda: len(monitor.attachments) == 2)
            await publish(emulator)
            assert (await one.block()).data == (await other.block()).data == [1]
        await emulator.recorder.until(lambda: len(monitor.attachments) == 1)
        assert monitor.status == "ACTIVE"
        assert await one.nothing_comes()
    assert emulator.recorder.times_sent[0] == 2


@pytest.mark.fact("Option: a missing ack brings the same frame again after N seconds")
async def test_a_missing_ack_may_bring_the_same_frame_again(emulator: Emulator) -> None:
    emulator.options.unacked, emulator.options.unacked_after = "resend", SHORT
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await publish(emulator)
        first, again = await client.block(), await client.block()
        assert first == again
        await client.acknowledge(first)
        await client.acknowledge(again)
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 2)
        await publish(emulator, 2)
        await client.acknowledge(await client.block())
        await emulator.recorder.until(lambda: emulator.recorder.acked == {0, 1})
    assert emulator.recorder.stray_acks == 0


@pytest.mark.fact("Option: a missing ack ends the session after N seconds")
async def test_a_missing_ack_may_end_the_session(
    emulator: Emulator,
) -> None:
    emulator.options.unacked, emulator.options.unacked_after = "close", SHORT
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await client.acknowledge(await published(emulator, client))
        await publish(emulator, 2)
        assert await client.ended() == "closed"
    async with logged_in(emulator) as client:
        assert (await client.block()).data == [2]


@pytest.mark.fact("A missing ack changes nothing until the next session")
async def test_by_default_a_missing_ack_changes_nothing_at_once(
    emulator: Emulator,
) -> None:
    emulator.options.unacked_after = 0
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await published(emulator, client)
        assert await client.nothing_comes()


@pytest.mark.fact("Option: a window limits un-acked blocks")
async def test_a_window_of_one_holds_the_second_block(
    emulator: Emulator,
) -> None:
    emulator.options.window = 1
    emulator.account.create(ELEMENTS | {"monBatchSize": "1"})
    async with logged_in(emulator) as client:
        await emulator.inject(points(range(2)))
        first = await client.block()
        assert await client.nothing_comes()
        await client.acknowledge(first)
        assert (await client.block()).data == [1]


@pytest.mark.fact("Block ids restart with each connection; an option lets them go on")
@pytest.mark.parametrize(("option", "ids"), [("restart", [0, 0]), ("go-on", [0, 1])])
async def test_block_ids_restart_with_each_connection_or_go_on(
    emulator: Emulator, option: Any, ids: list[int]
) -> None:
    emulator.options.block_ids = option
    emulator.account.create(ELEMENTS)
    found = []
    for _ in ids:
        async with logged_in(emulator) as client:
            block = await published(emulator, client)
            found.append(block.id)
            await client.acknowledge(block)
            await emulator.recorder.until(lambda: not emulator.recorder.unacked)
        await suspended(emulator)
    assert found == ids


@pytest.mark.fact("Block ids wrap; 0xFFFF is left out by default")
@pytest.mark.parametrize(("skip", "ids"), [(True, [65534, 0, 1]), (False, [65534, 65535, 0])])
async def test_block_ids_wrap_and_leave_the_last_one_out_by_default(
    emulator: Emulator, skip: bool, ids: list[int]
) -> None:
    emulator.options.first_block_id = 65534
    emulator.options.skip_last_id = skip
    emulator.account.create(ELEMENTS | {"monBatchSize": "1"})
    async with logged_in(emulator) as client:
        await emulator.inject(points(range(3)))
        assert [(await client.block()).id for _ in ids] == ids


@pytest.mark.fact("Option: idle sessions are closed after N seconds")
async def test_an_idle_session_may_be_closed(emulator: Emulator) -> None:
    emulator.options.idle_close = SHORT
    emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        await client.acknowledge(await published(emulator, client))
        assert await client.ended() == "closed"
    assert emulator.recorder.protocol_errors == 0


@pytest.mark.fact("Option: keep-alive documents every N seconds with Count 0")
@pytest.mark.parametrize(("form", "text"), [("json", '{"Document":null}'), ("xml", "<Document/>")])
async def test_keep_alives_may_come_without_events(
    emulator: Emulator, form: str, text: str
) -> None:
    emulator.options.keep_alive = SHORT
    emulator.account.create(ELEMENTS | {"monFormatType": form, "monCompression": "zlib"})
    async with logged_in(emulator) as client:
        for number in range(2):
            block = await client.block()
            assert (block.id, block.count, block.text) == (number, 0, text)
            await client.acknowledge(block)
        await emulator.recorder.until(lambda: emulator.recorder.full_acks == 2)
    assert emulator.recorder.sent == set()
    assert emulator.recorder.keep_alives >= 2


@pytest.mark.fact("Option: all sessions end at once, as in a restart")
@pytest.mark.parametrize(("how", "heard"), [("close", "closed"), ("reset", "reset")])
async def test_all_sessions_can_end_at_once_as_in_a_restart(
    emulator: Emulator, how: Any, heard: str
) -> None:
    emulator.account.create(ELEMENTS)
    emulator.account.create(ELEMENTS)
    second = FRAMES["V1"][:-4] + (178009).to_bytes(4)
    async with logged_in(emulator) as one, logged_in(emulator, second) as other:
        await emulator.recorder.until(
            lambda: all(m.attachments for m in emulator.account.monitors.values())
        )
        emulator.end_sessions(how)
        assert (await one.ended(), await other.ended()) == (heard, heard)


@pytest.mark.fact(
    "Half-open: the socket stays open and nothing comes, noticed by the service or not",
)
@pytest.mark.parametrize(("how", "status"), [("hold", "SUSPENDED"), ("mute", "ACTIVE")])
async def test_a_half_open_session_is_silent(emulator: Emulator, how: Any, status: str) -> None:
    monitor = emulator.account.create(ELEMENTS)
    async with logged_in(emulator) as client:
        block = await published(emulator, client)
        emulator.end_sessions(how)
        await client.acknowledge(block)
        await publish(emulator, 2)
        assert await client.nothing_comes()
        assert monitor.status == status
        assert emulator.recorder.full_acks == 0
    await suspended(emulator)
    async with logged_in(emulator) as client:
        assert (await client.block()).data == [1, 2]

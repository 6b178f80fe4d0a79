"""Log files for selected traffic: what is in them, when they are written, how they are read, what they may cost."""

from __future__ import annotations

import importlib
import re
import stat
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from modules_helpers import module

from trioemqx.hooks import Hooks
from trioemqx.hookspecs import hookimpl
from trioemqx.node import open_broker
from trioemqx.services.plugins import importing
from trioemqx.services.plugins.implementations import POINTS
from trioemqx.services.store.memory import MemoryStore
from trioemqx.testing import OPEN_CONFIG, Client, Refused, TestBroker, running
from trioemqx.types import ClientInfo, Message, Properties

NAME = "emqx_mod_trace"
ALL = 10 * 1024 * 1024
_package = importing.package_of(
    importing.fresh(NAME, Path(__file__).resolve().parents[2] / "modules" / f"{NAME}.py"),
)
formatting, files = (importlib.import_module(f"{_package}.{part}") for part in ("_trace_lines", "_trace_files"))


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return settings(**getattr(request, "param", {}))


def settings(**trace: object) -> dict[str, object]:
    zone = {"enable_acl": True, "enable_ban": True, "max_inflight": 1, "max_mqueue_len": 1}
    return {"modules": {"load": [NAME]}, "module": {"trace": trace}, "zone": {"default": zone}}


def limited(**trace: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [trace], indirect=True, ids=[""])


async def create(broker: TestBroker, name: str = "t1", **params: object) -> None:
    (kind,) = params.keys() & {"clientid", "topic", "ip_address"}
    await module(broker, NAME).create({"name": name, "type": kind, **params})


async def log(broker: TestBroker, name: str = "t1") -> list[str]:
    """The lines of a trace's log, without their times, when everything has been written."""
    await trio.sleep(0.01)
    found = await module(broker, NAME).read(name, 0, ALL)
    lines = str(found["items"]).splitlines()
    assert all(
        line.startswith("...") or re.match(r"20\d\d-\d\d-\d\dT[\d:]{8}\.\d{6}\+00:00 \[", line) for line in lines
    )
    return [line if line.startswith("...") else line.partition(" ")[2] for line in lines]


async def events(broker: TestBroker, name: str = "t1") -> list[str]:
    return [line.partition("]")[0][1:] for line in await log(broker, name)]


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    """Code and text of the TraceError that a call raises."""
    with pytest.raises(Exception, match=r".") as caught:
        await call
    assert type(caught.value).__name__ == "TraceError"
    return caught.value.code, str(caught.value)  # type: ignore[attr-defined]


def hooked(broker: TestBroker) -> set[str]:
    """Points at which the module listens."""
    return {point for point in POINTS for name, _ in getattr(broker.node.hooks.compiled, point) if name == NAME}


async def status(broker: TestBroker, name: str = "t1") -> str:
    (found,) = [entry["status"] for entry in await module(broker, NAME).listing() if entry["name"] == name]
    return str(found)


def in_seconds(broker: TestBroker, seconds: float) -> str:
    return datetime.fromtimestamp(int(broker.node.wall() + seconds), UTC).isoformat()


def folder(broker: TestBroker) -> Path:
    return broker.node.data_dir / "trace"


def names(broker: TestBroker) -> list[str]:
    """The files there are."""
    return sorted(str(path.relative_to(folder(broker))) for path in folder(broker).rglob("*") if path.is_file())


# -- what it costs -----------------------------------------------------------------------------------------------------


async def test_without_a_running_trace_there_is_no_hook(broker: TestBroker) -> None:
    assert hooked(broker) == set()
    await create(broker, "later", clientid="c", start_at=in_seconds(broker, 50), end_at=in_seconds(broker, 60))
    assert hooked(broker) == set()
    assert await broker.ctl("hooks") == []
    await create(broker, "now", topic="t")
    points = hooked(broker)
    assert {"message_publish", "message_delivered", "client_connected"} <= points
    assert any(line.startswith("message_publish: emqx_mod_trace") for line in await broker.ctl("hooks"))
    module(broker, NAME).disable("now")
    assert hooked(broker) == set()
    await trio.sleep(55)
    assert hooked(broker) == points
    await trio.sleep(10)
    assert hooked(broker) == set()


async def test_hooks_go_with_the_last_running_trace(broker: TestBroker) -> None:
    await create(broker, "a", clientid="a")
    await create(broker, "b", clientid="b")
    await module(broker, NAME).delete("a")
    assert hooked(broker)
    await module(broker, NAME).delete("b")
    assert hooked(broker) == set()


def test_every_point_it_implements_is_a_notification_or_leaves_things_alone() -> None:
    watcher = formatting.Watcher(lambda traces, line: None, lambda: 0.0, 10)
    client, message = ClientInfo("c"), Message("t", b"x")
    assert watcher.message_publish(message) is watcher.message_delivered(client, message) is None
    assert watcher.client_connect(client, None) is watcher.client_connack(client, "success", Properties()) is None
    assert watcher.client_subscribe(client, None, []) is watcher.client_unsubscribe(client, None, []) is None


# -- what is in a log --------------------------------------------------------------------------------------------------


async def test_the_life_of_a_client(broker: TestBroker) -> None:
    await create(broker, clientid="c1")
    client = await broker.client("c1", username="uncle", keepalive=60, subscribe="a/+", qos=1)
    await client.publish("a/b", b"hello", qos=1)
    await client.receive_publish()
    await client.ping()
    await client.publish("nobody/listens", b"x")
    await client.unsubscribe("a/+")
    await client.disconnect()
    await broker.client("c2", subscribe="#")
    lines = await log(broker)
    who = re.compile(r"^\[[\w.]+\] c1@(127\.0\.0\.1:\d+|127\.0\.0\.1) ?")
    assert all(who.match(line) for line in lines)
    lines[3] = re.sub(r"properties=\{'maximum_packet_size'.*\}$", "properties={...}", lines[3])
    assert [line.partition("]")[0][1:] + " " + line[who.match(line).end() :] for line in lines] == [  # type: ignore[union-attr]
        "client.connect username=uncle proto_name=MQTT proto_ver=5 keepalive=60 clean_start=true",
        "session.created ",
        "client.connected username=uncle expiry_interval=0",
        "client.connack reason=success properties={...}",
        "client.check_acl_complete action=subscribe topic=a/+ result=allow cached=false",
        "client.subscribe topic=a/+ qos=1 nl=0 rap=0 rh=0",
        "session.subscribed topic=a/+ is_new=true qos=1 nl=0 rap=0 rh=0",
        "client.check_acl_complete action=publish topic=a/b result=allow cached=false",
        "message.publish topic=a/b qos=1 retain=false payload='hello'",
        "message.delivered from=c1 topic=a/b qos=1 retain=false payload='hello'",
        "message.acked from=c1 topic=a/b qos=1 retain=false payload='hello'",
        "client.check_acl_complete action=publish topic=nobody/listens result=allow cached=false",
        "message.publish topic=nobody/listens qos=0 retain=false payload='x'",
        "message.dropped topic=nobody/listens qos=0 retain=false payload='x' reason=no_subscribers",
        "client.unsubscribe topic=a/+",
        "session.unsubscribed topic=a/+",
        "client.disconnected reason=normal",
        "session.terminated reason=normal",
    ]


async def test_sessions_that_are_resumed_taken_over_and_discarded(broker: TestBroker) -> None:
    await create(broker, clientid="c")
    await broker.client("c", expiry=100)
    await broker.client("c", clean_start=False, expiry=100)
    await broker.client("c")
    found = [event for event in await events(broker) if event.startswith("session.")]
    assert found == ["session.created", "session.resumed", "session.takeovered", "session.discarded", "session.created"]


async def test_refusals(broker: TestBroker) -> None:
    class No:
        @hookimpl
        def client_check_acl_now(self, action: str) -> bool:
            return action == "subscribe"

    broker.node.hooks.register(No(), "no")
    await create(broker, clientid="c")
    client = await broker.client("c")
    await client.publish("t", b"x", qos=1)
    lines = await log(broker)
    assert any(line.endswith("action=publish topic=t result=deny cached=false") for line in lines)
    assert not any("[message.publish]" in line for line in lines)


async def test_a_refused_connect_has_its_reason(broker: TestBroker) -> None:
    await create(broker, clientid="c")
    broker.node.banned.create("clientid", "c", by="me", reason="", until=int(broker.node.wall()) + 100)
    with pytest.raises(Refused):
        await broker.client("c")
    (connack,) = [line for line in await log(broker) if "[client.connack]" in line]
    assert " reason=banned" in connack


async def test_deliveries_that_are_dropped(broker: TestBroker) -> None:
    await create(broker, clientid="slow")
    await create(broker, "t2", topic="t")
    slow = await broker.client("slow", subscribe="t", qos=1)
    slow.auto_ack = False
    sender = await broker.client("sender")
    for payload in (b"1", b"2", b"3"):
        await sender.publish("t", payload, qos=1)
    line = "from=sender topic=t qos=1 retain=false payload='2' reason=queue_full"
    for name in ("t1", "t2"):
        (dropped,) = [line for line in await log(broker, name) if line.startswith("[delivery.dropped] slow@")]
        assert dropped.endswith(line)


async def test_topics(broker: TestBroker) -> None:
    """Messages of its topics, whoever sends and gets them, and subscriptions that could receive them."""
    await create(broker, topic="a/+/c")
    for name, filter in (("all", "#"), ("shared", "$share/g/a/b/+"), ("other", "b/#"), ("exact", "a/b/d")):
        client = await broker.client(name, subscribe=filter)
        await client.unsubscribe(filter)
    watcher = await broker.client("watcher", subscribe="a/b/c")
    for topic in ("a/b/c", "a/b", "a/b/d", "$SYS/a"):
        await watcher.publish(topic)
    seen = [(line.split("@")[0], re.search(r"topic=(\S+)", line)[1]) for line in await log(broker)]  # type: ignore[index]
    subscribed = [
        "[client.check_acl_complete]",
        "[client.subscribe]",
        "[session.subscribed]",
        "[client.unsubscribe]",
        "[session.unsubscribed]",
    ]
    assert seen == [
        *((f"{event} all", "#") for event in subscribed),
        ("[client.check_acl_complete] shared", "a/b/+"),
        *((f"{event} shared", "$share/g/a/b/+") for event in subscribed[1:]),
        *((f"{event} watcher", "a/b/c") for event in subscribed[:3]),
        ("[client.check_acl_complete] watcher", "a/b/c"),
        ("[message.publish] watcher", "a/b/c"),
        ("[message.delivered] watcher", "a/b/c"),
    ]


async def test_addresses(broker: TestBroker) -> None:
    await create(broker, ip_address="192.0.2.1")
    await create(broker, "v6", ip_address="2001:DB8::0:1")
    for clientid, address in (("a", "192.0.2.1"), ("b", "192.0.2.11"), ("c", "2001:db8::1")):
        client = Client(broker.node.dial("default", address))
        await client.connect(clientid)
        await client.publish(f"from/{clientid}", b"x", qos=1)
        await client.disconnect()
    four, six = await log(broker), await log(broker, "v6")
    assert {re.split(r"[ @]", line)[1] for line in four} - {"''"} == {"a"}
    assert {re.split(r"[ @]", line)[1] for line in six} - {"''"} == {"c"}
    assert [event for event in await events(broker) if "message" in event] == ["message.publish", "message.dropped"]
    assert any(" c@[2001:db8::1]:0 " in line for line in six)


async def test_messages_of_the_broker_itself_belong_to_no_client(broker: TestBroker) -> None:
    await create(broker, clientid="sys")
    await create(broker, "t2", topic="$SYS/#")
    broker.node.publish(Message("$SYS/x", b"1", publisher="sys", sys=True))
    assert await log(broker) == []
    assert (await log(broker, "t2"))[0] == "[message.publish] sys topic=$SYS/x qos=0 retain=false payload='1'"


async def test_what_a_client_sent_is_shown_before_others_change_it_and_what_one_gets_after(broker: TestBroker) -> None:
    def changed(message: Message, payload: bytes) -> Message:
        twin = Message(message.topic, payload, publisher=message.publisher)
        twin.peerhost = message.peerhost
        return twin

    class Change:
        @hookimpl(priority=1000)
        def message_publish(self, message: Message) -> Message:
            return changed(message, b"published")

        @hookimpl(priority=-1000)
        def message_delivered(self, message: Message) -> Message:
            return changed(message, b"delivered")

    broker.node.hooks.register(Change(), "change")
    await create(broker, topic="t")
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"sent")
    await client.message()
    payloads = [line.partition("payload=")[2] for line in await log(broker) if "[message." in line]
    assert payloads == ["'sent'", "'delivered'"]


# -- what clients could do to a log ------------------------------------------------------------------------------------


async def test_nobody_can_write_lines_of_his_own(broker: TestBroker) -> None:
    evil = "x\n2026-01-01 [client.connected] admin@10.0.0.1:1\u2028\x1b[2J"
    await create(broker, topic="#")
    await create(broker, "t2", clientid=evil)
    client = await broker.client(evil, username=evil)
    properties = Properties()
    properties.user_property = [(evil, evil)]
    await client.publish("t", evil.encode(), properties=properties)
    await client.publish("a b='c' @d", b"\x00\xff")
    await client.ping()
    for name in ("t1", "t2"):
        lines = await log(broker, name)
        assert all(line.isprintable() for line in lines)
        assert all(line.startswith(("[client.", "[session.", "[message.")) for line in lines)
    published = [line for line in await log(broker) if "[message.publish]" in line]
    assert published[0].startswith(f"[message.publish] {evil!r}@127.0.0.1 topic=t ")
    assert f"payload={evil!r} properties=" in published[0]
    assert "topic=\"a b='c' @d\" qos=0 retain=false payload=0x00ff" in published[1]


async def test_secrets_are_not_shown(broker: TestBroker) -> None:
    await create(broker, clientid="c")
    properties = Properties()
    properties.authentication_method = "SCRAM"
    properties.authentication_data = b"proof"
    with pytest.raises(Refused):
        await broker.client("c", username="u", password=b"secret", properties=properties)
    text = "\n".join(await log(broker))
    assert "'authentication_data': '******', 'authentication_method': 'SCRAM'" in text
    assert "proof" not in text
    assert "secret" not in text


@limited(max_payload=5)
async def test_long_things_are_cut(broker: TestBroker) -> None:
    await create(broker, topic="#")
    topic = "t" * 4000
    client = await broker.client("c")
    for payload in (b"12345", b"123456", "1234ä6".encode(), b"\xff" * 6):
        await client.publish("t", payload)
    await client.publish(topic, b"")
    found = [line.split(" payload=") for line in await log(broker) if "[message.publish]" in line]
    assert [payload for _, payload in found] == [
        "'12345'",
        "'12345'...(6 bytes)",
        "'1234'...(7 bytes)",
        "0xffffffffff...(6 bytes)",
        "''",
    ]
    assert f"topic='{'t' * 1024}'...(4000 characters) qos=0" in found[-1][0]


@limited(max_payload=0)
async def test_payloads_can_be_left_out(broker: TestBroker) -> None:
    await create(broker, topic="#")
    await (await broker.client("c")).publish("t", b"private")
    assert "private" not in "\n".join(await log(broker))


async def test_a_subscribe_of_very_many_filters_is_not_told_filter_by_filter(broker: TestBroker) -> None:
    await create(broker, clientid="c")
    client = await broker.client("c")
    await client.subscribe(*(f"t/{number}" for number in range(150)))
    lines = [line for line in await log(broker) if "[client.subscribe]" in line]
    assert len(lines) == 101
    assert lines[-1].endswith(" more_filters=50")


@given(st.text())
def test_every_text_becomes_one_printable_word(text: str) -> None:
    word = formatting.word(text)
    assert word.isprintable()
    assert word == text or word[0] in "'\""
    assert len(word) < 1024 * 10 + 40


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), st.integers(1, 45))
def test_every_payload_becomes_one_printable_text(payload: bytes, most: int) -> None:
    assert formatting.payload_text(payload, most).isprintable()


@given(st.text(max_size=20), st.integers(0, 80))
def test_a_character_is_never_cut_in_two(text: str, at: int) -> None:
    data = text.encode()[:at]
    size = files.whole(data)
    assert text.startswith(data[:size].decode())
    assert len(data) - size < 4


# -- when --------------------------------------------------------------------------------------------------------------


async def test_it_waits_runs_and_stops_by_itself(broker: TestBroker) -> None:
    await create(broker, clientid="c", start_at=in_seconds(broker, 100), end_at=in_seconds(broker, 200))
    client = await broker.client("c")
    for seconds, expected in ((0, "waiting"), (95, "waiting"), (10, "running"), (90, "running"), (10, "stopped")):
        await trio.sleep(seconds)
        assert await status(broker) == expected
        await client.publish(f"t/{expected}", qos=1)
    topics = {re.search(r"topic=(\S+)", line)[1] for line in await log(broker)}  # type: ignore[index]
    assert topics == {"t/running"}


async def test_without_times_it_is_ten_minutes_from_now(broker: TestBroker) -> None:
    now = int(broker.node.wall())
    await create(broker, "a", clientid="c", start_at="", end_at=None)
    (found,) = await module(broker, NAME).listing()
    assert found == {
        "name": "a",
        "type": "clientid",
        "clientid": "c",
        "start_at": datetime.fromtimestamp(now, UTC).isoformat(),
        "end_at": datetime.fromtimestamp(now + 600, UTC).isoformat(),
        "status": "running",
        "log_size": {broker.node.node: 0},
    }


async def test_times_may_have_any_offset(broker: TestBroker) -> None:
    await create(broker, topic="t", start_at="2030-01-01T10:00:00.5+08:00", end_at="2030-01-01t03:00:00z")
    (found,) = await module(broker, NAME).listing()
    assert (found["start_at"], found["end_at"]) == ("2030-01-01T02:00:00+00:00", "2030-01-01T03:00:00+00:00")
    assert module(broker, NAME)._traces["t1"].file == "trace_t1_2030-01-01.log"


async def test_stop_and_go_on(broker: TestBroker) -> None:
    trace = module(broker, NAME)
    await create(broker, clientid="c")
    client = await broker.client("c")
    await client.publish("before", qos=1)
    assert trace.disable("t1") == {"name": "t1", "enable": False}
    assert await status(broker) == "stopped"
    await client.publish("meanwhile", qos=1)
    assert trace.enable("t1") == {"name": "t1", "enable": True}
    await client.publish("after", qos=1)
    text = "\n".join(await log(broker))
    assert [word in text for word in ("before", "meanwhile", "after")] == [True, False, True]
    await trio.sleep(601)
    assert await status(broker) == "stopped"
    with pytest.raises(Exception, match="t1 has finished"):
        trace.enable("t1")


async def test_one_that_is_made_stopped(broker: TestBroker) -> None:
    await create(broker, clientid="c", enable=False)
    assert (await status(broker), hooked(broker)) == ("stopped", set())


async def test_the_latest_start_comes_first(broker: TestBroker) -> None:
    for name, seconds in (("b", 20), ("a", 10), ("c", 30)):
        await create(broker, name, clientid=name, start_at=in_seconds(broker, seconds))
    assert [found["name"] for found in await module(broker, NAME).listing()] == ["c", "b", "a"]


# -- what cannot be ----------------------------------------------------------------------------------------------------

GOOD = {"name": "t", "type": "clientid", "clientid": "c"}
NAME_RULE = "name must be ^[0-9A-Za-z]+[A-Za-z0-9-_]*$, at most 200 characters"
TYPES = "type=[topic,clientid,ip_address] required"
TIME = "must be an RFC 3339 time, such as 2021-01-01T10:00:00+08:00"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": None}, "name required"),
        ({"name": ""}, "name required"),
        *(({"name": name}, NAME_RULE) for name in ("_a", "-a", "../a", "a/b", "a b", "a.b", "ä", "a\n", "x" * 201, 7)),
        ({"type": None}, TYPES),
        ({"type": "username"}, TYPES),
        ({"type": ["clientid"]}, TYPES),
        ({"clientid": None}, "required clientid field"),
        ({"clientid": ""}, "required clientid field"),
        ({"clientid": 7}, "clientid must be a text of at most 65535 characters"),
        ({"clientid": "x" * 65536}, "clientid must be a text of at most 65535 characters"),
        ({"type": "topic"}, "required topic field"),
        ({"type": "topic", "topic": "a/#/b"}, "topic: '#' must be the whole last level"),
        ({"type": "topic", "topic": "a\0"}, "topic: U+0000 in topic"),
        ({"type": "topic", "topic": "$share/g/t"}, "topic: give t without a prefix"),
        ({"type": "topic", "topic": "$share/g"}, "topic: $share needs a group and a filter"),
        ({"type": "ip_address"}, "required ip_address field"),
        ({"type": "ip_address", "ip_address": "10.0.0.256"}, "ip_address: '10.0.0.256' is not an address"),
        ({"type": "ip_address", "ip_address": "10.0.0.0/8"}, "ip_address: '10.0.0.0/8' is not an address"),
        *(
            ({"start_at": time}, f"start_at {TIME}")
            for time in ("tomorrow", "2030-01-01", "2030-01-01T10:00:00", "20300101T100000Z", "2030-13-01T10:00:00Z", 7)
        ),
        ({"end_at": "x" * 50}, f"end_at {TIME}"),
        ({"end_at": "2021-01-01T10:00:00Z"}, "end_at time has already passed"),
        (
            {"start_at": "2030-01-01T10:00:00Z", "end_at": "2030-01-01T10:00:00Z"},
            "failed by start_at >= end_at",
        ),
        ({"start_at": "0001-01-01T00:00:00+14:00"}, "end_at time has already passed"),
        (
            {"start_at": "1960-01-01T00:00:00Z", "end_at": "2100-01-01T00:00:00Z"},
            "start_at and end_at must be between the years 1970 and 9999",
        ),
        ({"start_at": "9999-12-31T23:59:00Z"}, "start_at and end_at must be between the years 1970 and 9999"),
        ({"enable": "yes"}, "enable must be true or false"),
    ],
)
async def test_params_that_cannot_be_used(broker: TestBroker, change: dict[str, object], text: str) -> None:
    assert await refused(module(broker, NAME).create({**GOOD, **change})) == ("INCORRECT_PARAMS", text)
    assert await module(broker, NAME).listing() == []
    assert names(broker) == []


async def test_a_name_is_taken_once(broker: TestBroker) -> None:
    await create(broker, clientid="c")
    again = module(broker, NAME).create({"name": "t1", "type": "topic", "topic": "t"})
    assert await refused(again) == ("ALREADY_EXISTED", "t1Already Exists")


async def test_nothing_is_traced_twice_at_a_time(broker: TestBroker) -> None:
    trace = module(broker, NAME)
    await create(broker, clientid="c")
    await create(broker, "waits", clientid="d", start_at=in_seconds(broker, 100))
    twice = ("DUPLICATE_CONDITION", "t1Duplication Condition")
    assert await refused(trace.create({"name": "t2", "type": "clientid", "clientid": "c"})) == twice
    assert (await refused(trace.create({"name": "t2", "type": "clientid", "clientid": "d"})))[0] == twice[0]
    await create(broker, "t2", topic="c")
    trace.disable("t1")
    await create(broker, "t3", clientid="c")
    with pytest.raises(Exception, match="t3Duplication Condition"):
        trace.enable("t1")
    trace.disable("t3")
    trace.enable("t1")
    trace.enable("t1")


async def test_of_many_at_once_one_gets_the_name(broker: TestBroker) -> None:
    results: list[str] = []

    async def attempt(number: int) -> None:
        try:
            await create(broker, clientid=f"c{number}")
            results.append("made")
        except Exception as error:
            results.append(str(error))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(attempt, number)
    assert sorted(results) == ["made", *["t1Already Exists"] * 4]


async def test_there_are_thirty_at_most(broker: TestBroker) -> None:
    for number in range(30):
        await create(broker, f"t{number}", clientid=f"c{number}")
    more = {"name": "more", "type": "clientid", "clientid": "more"}
    code, text = await refused(module(broker, NAME).create(more))
    assert (code, text) == ("INCORRECT_PARAMS", "there are 30 traces already, no more are possible: delete one")
    await module(broker, NAME).delete("t7")
    await module(broker, NAME).create(more)


async def test_names_that_are_not_there(broker: TestBroker) -> None:
    trace = module(broker, NAME)
    assert await refused(trace.delete("x")) == ("NOT_FOUND", "x NOT FOUND")
    for call in (trace.disable, trace.enable):
        with pytest.raises(Exception, match=r"^x NOT FOUND$"):
            call("x")
    for later in (trace.detail, trace.read, trace.download):
        assert await refused(later("x")) == ("NOT_FOUND", "not_found")


# -- the files ---------------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_log_has_its_name_and_is_nobody_elses(broker: TestBroker) -> None:
    await create(broker, clientid="c")
    await broker.client("c")
    lines = await log(broker)
    day = datetime.fromtimestamp(broker.node.wall(), UTC)
    assert names(broker) == [f"trace_t1_{day:%Y-%m-%d}.log"]
    path = folder(broker) / names(broker)[0]
    assert (mode(folder(broker)), mode(path)) == (0o700, 0o600)
    (detail,) = await module(broker, NAME).detail("t1")
    assert detail == {"node": broker.node.node, "size": size(path), "mtime": int(mtime(path))}
    (found,) = await module(broker, NAME).listing()
    assert found["log_size"] == {broker.node.node: size(path)}
    assert len(lines) == 4


def size(path: Path) -> int:
    return path.stat().st_size


def mtime(path: Path) -> float:
    return path.stat().st_mtime


@pytest.mark.parametrize("length", [1, 2, 3, 7, 100, ALL])
async def test_a_log_can_be_read_in_pieces(broker: TestBroker, length: int) -> None:
    trace = module(broker, NAME)
    await create(broker, clientid="größe-😀")
    await (await broker.client("größe-😀")).publish("täst", "日本語".encode(), qos=1)
    await trio.sleep(0.01)
    whole = (await trace.read("t1", 0, ALL))["items"]
    position, pieces = 0, []
    while True:
        found = await trace.read("t1", position, length)
        if not found["items"]:
            break
        assert len(found["items"].encode()) <= length or "\ufffd" in found["items"]
        assert found["meta"] == {"position": found["meta"]["position"], "bytes": length}
        position = found["meta"]["position"]
        pieces.append(found["items"])
    assert position == len(whole.encode())
    if length > 3:  # the longest character
        assert "".join(pieces) == whole
    assert "日本語" in whole


async def test_reading_where_there_is_nothing(broker: TestBroker) -> None:
    trace = module(broker, NAME)
    await create(broker, clientid="c")
    assert await trace.read("t1") == {"meta": {"position": 0, "bytes": 1000}, "items": ""}
    await broker.client("c")
    await trio.sleep(0.01)
    assert await trace.read("t1", 10**9, 10) == {"meta": {"position": 10**9, "bytes": 10}, "items": ""}
    for position, length in ((-1, 10), (0, 0), (0, ALL + 1), (1 << 70, 1)):
        assert (await refused(trace.read("t1", position, length)))[0] == "INCORRECT_PARAMS"


def unzipped(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def content(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_download_is_a_zip_with_the_log_of_each_node(broker: TestBroker) -> None:
    trace = module(broker, NAME)
    await create(broker, clientid="c")
    inside = f"{broker.node.node}-{trace._traces['t1'].file}"
    assert unzipped(await trace.download("t1")) == {inside: b""}
    await broker.client("c")
    await log(broker)
    path = await trace.download("t1")
    (found,) = [name for name in names(broker) if name.endswith(".log")]
    assert unzipped(path) == {inside: content(folder(broker) / found)}
    assert (path.name, mode(path)) == ("t1.zip", 0o600)
    assert len(names(broker)) == 2
    await trace.delete("t1")
    assert names(broker) == []


async def test_a_trace_that_is_deleted_during_its_download(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = module(broker, NAME)
    await create(broker, clientid="c")
    results: list[tuple[str, str]] = []

    async def download() -> None:
        results.append(await refused(trace.download("t1")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(download)
        nursery.start_soon(trace.delete, "t1")
    assert results == [("NOT_FOUND", "not_found")]
    assert names(broker) == []


async def test_delete_and_clear_remove_the_logs(broker: TestBroker) -> None:
    trace = module(broker, NAME)
    for name in ("a", "b", "c"):
        await create(broker, name, clientid=name)
        await broker.client(name)
    await log(broker, "c")
    assert len(names(broker)) == 3
    await trace.delete("b")
    assert [name[:8] for name in names(broker)] == ["trace_a_", "trace_c_"]
    await trace.clear()
    assert (names(broker), await trace.listing(), hooked(broker)) == ([], [], set())


async def test_a_new_trace_of_an_old_name_begins_empty(broker: TestBroker) -> None:
    trace = module(broker, NAME)
    await create(broker, clientid="c")
    client = await broker.client("c")
    await client.publish("old", qos=1)
    broker.node.publish(Message("old", b"", publisher="c"))  # not written yet
    await trace.delete("t1")
    await create(broker, clientid="c")
    await client.publish("new", qos=1)
    text = "\n".join(await log(broker))
    assert "topic=new" in text
    assert "topic=old" not in text


async def test_a_file_that_was_left_does_not_become_part_of_a_new_log(broker: TestBroker) -> None:
    day = datetime.fromtimestamp(broker.node.wall(), UTC)
    write(folder(broker) / f"trace_t1_{day:%Y-%m-%d}.log", "old")
    await create(broker, clientid="c")
    assert await log(broker) == []


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


# -- limits ------------------------------------------------------------------------------------------------------------


@limited(max_file_size="2KB")
async def test_a_full_log_stops_its_trace(broker: TestBroker) -> None:
    await create(broker, clientid="c")
    await create(broker, "t2", topic="small")
    client = await broker.client("c")
    for _ in range(50):
        await client.publish("t", b"x" * 50)
    await client.ping()
    lines = await log(broker)
    assert lines[-1] == "... the limit of 2048 bytes is reached; this trace is stopped"
    assert sum("limit" in line for line in lines) == 1
    (detail,) = await module(broker, NAME).detail("t1")
    assert 1800 < detail["size"] < 2048 + 100
    assert await status(broker) == "stopped"
    assert broker.metrics[f"plugin.{NAME}.left_out"] > 50
    assert await status(broker, "t2") == "running"
    before = broker.metrics[f"plugin.{NAME}.left_out"]
    await client.publish("t", b"", qos=1)
    await log(broker)
    assert broker.metrics[f"plugin.{NAME}.left_out"] == before, "it is not even looked at"


@limited(queue_size=10)
async def test_more_than_can_be_written_is_counted_and_said(broker: TestBroker) -> None:
    await create(broker, topic="t")
    for number in range(25):
        broker.node.publish(Message("t", b"%d" % number))
    lines = await log(broker)
    assert broker.metrics[f"plugin.{NAME}.events.dropped"] == 40
    assert lines[0] == "... 40 events of traces are missing here; there were more than could be written"
    assert len(lines) == 11
    assert "payload='24'" in lines[-1]
    broker.node.publish(Message("t", b"later"))
    assert len([line for line in await log(broker) if line.startswith("...")]) == 1


async def test_many_events_in_few_writes(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = trio.to_thread.run_sync

    async def counting(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        calls.append(getattr(function, "__name__", ""))
        return await real(function, *args, **more)

    monkeypatch.setattr(trio.to_thread, "run_sync", counting)
    await create(broker, topic="t")
    for _ in range(1000):
        broker.node.publish(Message("t", b""))
    assert len(await log(broker)) == 2000
    assert calls.count("append") <= 3


async def test_a_disk_that_refuses(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    await create(broker, clientid="c")
    await create(broker, "t2", topic="#")
    day = datetime.fromtimestamp(broker.node.wall(), UTC)
    in_the_way = folder(broker) / f"trace_t1_{day:%Y-%m-%d}.log"
    make(in_the_way)
    client = await broker.client("c")
    await client.publish("t", qos=1)
    await trio.sleep(0.01)
    alarm = broker.alarms()["trace_not_written"]
    assert alarm == {"folder": str(folder(broker)), "error": "Is a directory"}
    assert broker.metrics[f"plugin.{NAME}.left_out"] >= 4
    assert await log(broker, "t2"), "the others are written"
    unmake(in_the_way)
    await client.publish("better", qos=1)
    assert any("topic=better" in line for line in await log(broker))
    assert broker.alarms() == {}
    errors = [record for record in caplog.records if "cannot be written" in record.getMessage()]
    assert len(errors) == 1


def make(path: Path) -> None:
    path.mkdir()


def unmake(path: Path) -> None:
    path.rmdir()


# -- its life ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def started(wall: Callable[[], float], data_dir: Path) -> AsyncIterator[TestBroker]:
    config = {**OPEN_CONFIG, **settings(), "node": {"data_dir": str(data_dir)}}
    async with open_broker(config, wall=wall, in_memory=True) as node:
        broker = TestBroker(node)
        try:
            yield broker
        finally:
            for stream in broker.streams:
                await trio.aclose_forcefully(stream)


async def test_definitions_outlive_a_restart(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    epoch = time.time() - trio.current_time()

    def wall() -> float:
        return epoch + trio.current_time()

    async with started(wall, tmp_path) as broker:
        await create(broker, clientid="c")
        await create(broker, "ends", topic="t", end_at=in_seconds(broker, 10))
        await create(broker, "off", topic="u")
        module(broker, NAME).disable("off")
        await broker.client("c")
        before = await log(broker)
        table = module(broker, NAME)._table
        good = {"type": "topic", "value": "t", "start_at": 1, "end_at": 2, "enable": True}
        for name, row in (
            ("../x", {}),
            ("bad", {"start_at": "x"}),
            ("worse", {"end_at": 1 << 60}),
            ("no", {"type": "x"}),
        ):
            table.put(name, {**good, **row})
    await trio.sleep(20)
    async with started(wall, tmp_path) as broker:
        found = {name: await status(broker, name) for name in ("t1", "ends", "off")}
        assert found == {"t1": "running", "ends": "stopped", "off": "stopped"}
        assert len(await module(broker, NAME).listing()) == 3
        await broker.client("c")
        after = await log(broker)
        assert after[: len(before)] == before
        assert len(after) > len(before) + 3
    left_out = [
        record.getMessage() for record in caplog.records if "a stored trace cannot be read" in record.getMessage()
    ]
    assert sorted(line.split("left out: ")[1].split(":")[0] for line in left_out) == [
        "'../x'",
        "'bad'",
        "'no'",
        "'worse'",
    ]


async def test_a_reload_loses_nothing(broker: TestBroker) -> None:
    await create(broker, topic="t")
    client = await broker.client("c")
    for number in range(5):
        await client.publish("t", b"%d" % number, qos=1)
        broker.node.publish(Message("t", b"inside"))
        await broker.reload_plugin(NAME)
        assert hooked(broker)
    lines = [line for line in await log(broker) if "[message.publish]" in line]
    assert len(lines) == 10
    assert await status(broker) == "running"


@limited(max_file_size="2KB")
async def test_counters_outlive_a_reload(broker: TestBroker) -> None:
    await create(broker, topic="t")
    for _ in range(50):
        broker.node.publish(Message("t", b"x" * 100))
    await log(broker)
    count = broker.metrics[f"plugin.{NAME}.left_out"]
    assert count > 0
    await broker.reload_plugin(NAME)
    assert broker.metrics[f"plugin.{NAME}.left_out"] == count
    assert await status(broker) == "stopped"


async def test_unloading_writes_the_rest_and_leaves_only_the_logs(broker: TestBroker) -> None:
    await create(broker, topic="t")
    broker.node.publish(Message("t", b"last"))
    await broker.node.plugins.unload(NAME)
    (name,) = names(broker)
    assert b"payload='last'" in content(folder(broker) / name)
    assert (await broker.ctl("traces list"))[0].startswith(f"[error] {NAME} is not loaded")
    assert not [name for name in broker.metrics if NAME in name]
    empty = Hooks()
    assert all(getattr(broker.node.hooks.compiled, point) == getattr(empty, point) for point in POINTS)
    await broker.node.plugins.load(NAME)
    assert await status(broker) == "running"


async def test_a_folder_that_cannot_be_used_keeps_the_module_out(tmp_path: Path) -> None:
    write(tmp_path / "trace", "a file")
    async with running({**settings(), "node": {"data_dir": str(tmp_path)}}) as broker:
        reason = broker.alarms()[f"plugin_not_loaded/{NAME}"]["reason"]
        assert reason == f"{tmp_path}/trace cannot be used for logs of traces: Not a directory"
        assert await broker.client("c")


@pytest.mark.parametrize("key", ["max_traces", "max_file_size", "max_payload", "queue_size"])
async def test_settings_that_cannot_be(key: str) -> None:
    async with running(settings(**{key: -1 if key != "max_file_size" else 10})) as broker:
        reason = str(broker.alarms()[f"plugin_not_loaded/{NAME}"]["reason"])
        assert f"modules.{NAME}.{key}: expected " in reason


async def test_old_downloads_go_at_the_start(broker: TestBroker) -> None:
    await create(broker, clientid="c")
    await module(broker, NAME).download("t1")
    assert names(broker) == ["zip/t1.zip"]
    await broker.reload_plugin(NAME)
    assert names(broker) == []


# -- commands ----------------------------------------------------------------------------------------------------------


async def test_commands_in_emqx_words(broker: TestBroker) -> None:
    node = broker.node.node
    assert await broker.ctl("traces list") == ["Cluster Trace is empty"]
    assert await broker.ctl("traces start a client c1") == ["Cluster_trace clientid c1 a successfully"]
    await trio.sleep(1)
    assert await broker.ctl("traces start b topic t/# 60") == ["Cluster_trace topic t/# b successfully"]
    assert await broker.ctl("traces start c ip_address ::1 60") == ["Cluster_trace ip_address ::1 c successfully"]
    await trio.sleep(100)
    assert await broker.ctl("traces stop c") == ["Stop cluster_trace c successfully"]
    assert await broker.ctl("traces list") == [
        f"Trace(b: topic=t/#, stopped, LogSize:#{{'{node}' => 0}})",
        f"Trace(c: ip_address=::1, stopped, LogSize:#{{'{node}' => 0}})",
        f"Trace(a: clientid=c1, running, LogSize:#{{'{node}' => 0}})",
    ]
    await trio.sleep(805)
    assert await status(broker, "a") == "stopped"
    assert await broker.ctl("traces delete a") == ["Del cluster_trace a successfully"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("start a client c1", "[error] Cluster_trace clientid c1 a: aAlready Exists"),
        ("start b client c", "[error] Cluster_trace clientid c b: aDuplication Condition"),
        ("start b user c", f"[error] Cluster_trace user c b: {TYPES}"),
        ("start b topic t/#/t", "[error] Cluster_trace topic t/#/t b: topic: '#' must be the whole last level"),
        ("start b topic t soon", "[error] Cluster_trace topic t b: Seconds is a number above 0, not 'soon'"),
        ("start b topic t 0", "[error] Cluster_trace topic t b: Seconds is a number above 0, not '0'"),
        ("stop x", "[error] Stop cluster_trace x: x NOT FOUND"),
        ("delete x", "[error] Del cluster_trace x: x NOT FOUND"),
    ],
)
async def test_commands_that_fail(broker: TestBroker, words: str, line: str) -> None:
    await broker.ctl("traces start a client c")
    assert await broker.ctl(f"traces {words}") == [line]

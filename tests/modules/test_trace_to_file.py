"""`trace` of `trioemqx ctl`: events of a client, an address or a topic in a file of the operator's choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from trioemqx.testing import TestBroker, running
from trioemqx.types import Message

NAME = "emqx_mod_trace"


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"modules": {"load": [NAME]}}


async def events(path: Path) -> list[str]:
    """The names of the events in a file, when everything has been written."""
    await trio.sleep(0.01)
    lines = await trio.Path(path).read_text()
    return [line.partition("[")[2].partition("]")[0] for line in lines.splitlines()]


async def test_a_trace_is_written_listed_and_stopped(broker: TestBroker, tmp_path: Path) -> None:
    path = tmp_path / "c1.log"
    assert await broker.ctl(f"trace start client c1 {path}") == ["trace clientid c1 successfully"]
    assert await broker.ctl("trace list") == [f"Trace(clientid=c1, level=all, destination={path})"]
    (row,) = json.loads("".join(await broker.ctl("trace list --json")))
    assert row == {"type": "clientid", "clientid": "c1", "level": "all", "destination": str(path)}
    client = await broker.client("c1", subscribe="t")
    await broker.client("c2")
    assert await events(path) == [
        "client.connect",
        "session.created",
        "client.connected",
        "client.connack",
        "client.check_acl_complete",
        "client.subscribe",
        "session.subscribed",
    ]
    assert await broker.ctl("trace stop client c1") == ["stop tracing clientid c1 successfully"]
    before = await events(path)
    await client.publish("t", b"x")
    assert await client.message() == ("t", b"x")
    assert await events(path) == before, "the file stays as it is"
    assert await broker.ctl("trace list") == []
    assert await broker.ctl("traces list") == ["Cluster Trace is empty"]


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [("topic", "t/#", "topic t/#"), ("ip_address", "127.0.0.1", "ip_address 127.0.0.1")],
)
async def test_topics_and_addresses(broker: TestBroker, tmp_path: Path, kind: str, value: str, shown: str) -> None:
    assert await broker.ctl(f"trace start {kind} {value} {tmp_path / 'f.log'}") == [f"trace {shown} successfully"]
    await (await broker.client("c")).publish("t/1", b"x", qos=1)
    assert "message.publish" in await events(tmp_path / "f.log")
    assert await broker.ctl(f"trace stop {kind} {value}") == [f"stop tracing {shown} successfully"]


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", {"client.connected", "message.publish", "message.dropped"}),
        ("info", {"client.connected", "message.dropped"}),
        ("warning", {"message.dropped"}),
        ("error", set()),
    ],
)
async def test_a_level_leaves_out_what_matters_less(
    broker: TestBroker, tmp_path: Path, level: str, told: set[str]
) -> None:
    await broker.ctl(f"trace start client c {tmp_path / 'f.log'} {level}")
    await (await broker.client("c")).publish("nobody/is/there", b"x", qos=1)
    found = set(await events(tmp_path / "f.log"))
    assert found & {"client.connected", "message.publish", "message.dropped"} == told


async def test_refusals_are_warnings(tmp_path: Path) -> None:
    config = {"modules": {"load": [NAME]}, "allow_anonymous": False}
    async with running(config) as broker:
        await broker.ctl(f"trace start client c {tmp_path / 'f.log'} warning")
        with pytest.raises(Exception, match="NOT_AUTHORIZED"):
            await broker.client("c")
        assert await events(tmp_path / "f.log") == ["client.connack"]


async def test_a_relative_path_is_below_the_working_directory(
    broker: TestBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await broker.ctl("trace start client c1 c1.log")
    assert await broker.ctl("trace list") == [f"Trace(clientid=c1, level=all, destination={tmp_path}/c1.log)"]


async def test_it_goes_on_over_a_reload_of_the_module(broker: TestBroker, tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    await broker.ctl(f"trace start topic t {path} debug")
    await broker.ctl("traces start stored topic t")
    await broker.reload_plugin(NAME)
    assert await broker.ctl("trace list") == [f"Trace(topic=t, level=debug, destination={path})"]
    assert (await broker.ctl("traces list"))[0].startswith("Trace(stored: topic=t, running")
    broker.node.publish(Message("t", b"x"))
    assert await events(path) == ["message.publish", "message.dropped"]


async def test_a_full_file_ends_it(tmp_path: Path) -> None:
    async with running({"modules": {"load": [NAME]}, "module": {"trace": {"max_file_size": "1KB"}}}) as broker:
        path = tmp_path / "t.log"
        await broker.ctl(f"trace start topic t {path}")
        for _ in range(50):
            broker.node.publish(Message("t", b"x" * 100))
        await events(path)
        assert path.stat().st_size < 1200
        assert broker.node.hooks.compiled.message_publish == ()
        assert await broker.ctl("trace stop topic t") == ["stop tracing topic t successfully"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("start client c1 {there}/again", "[error] trace clientid c1: already_existed"),
        ("start client c2 {there}/c1.log", "[error] trace clientid c2: {there}/c1.log is that of another trace"),
        ("start user c2 {there}/x", "[error] trace user c2: type=[topic,clientid,ip_address] required"),
        ("start client c2 {there}/no/x", "[error] trace clientid c2: {there}/no/x cannot be written: No such file"),
        ("start client c2 {there}/x loud", "[error] trace clientid c2: not a log level: 'loud'; one of all, debug,"),
        ("start topic a/#/b {there}/x", "[error] trace topic a/#/b: topic: '#' must be the whole last level"),
        ("start ip_address c2 {there}/x", "[error] trace ip_address c2: ip_address: 'c2' is not an address"),
        ("stop client c2", "[error] stop tracing clientid c2: not_found"),
        ("stop ip_address c2", "[error] stop tracing ip_address c2: ip_address: 'c2' is not an address"),
    ],
)
async def test_traces_that_cannot_be(broker: TestBroker, tmp_path: Path, words: str, line: str) -> None:
    await broker.ctl(f"trace start client c1 {tmp_path}/c1.log")
    (found,) = await broker.ctl(f"trace {words.format(there=tmp_path)}")
    assert found.startswith(line.format(there=tmp_path))
    assert len(await broker.ctl("trace list")) == 1


@pytest.mark.parametrize(
    "words",
    [
        "trace list",
        "trace start client c f",
        "trace stop client c",
        "traces list",
        "traces start t client c",
        "traces stop t",
        "traces delete t",
    ],
)
async def test_without_the_module_the_commands_say_how_to_load_it(words: str) -> None:
    async with running({"modules": {"load": []}}) as broker:
        assert await broker.ctl(words) == [f"[error] {NAME} is not loaded; trioemqx ctl modules load {NAME}"]
        await broker.ctl(f"modules load {NAME}")
        assert await broker.ctl("trace list") == []

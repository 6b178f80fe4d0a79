"""`/trace`, which the module emqx_mod_trace serves."""

from __future__ import annotations

import io
import random
import re
import zipfile
from datetime import UTC, datetime

import pytest
import trio

from trioemqx.testing import TestBroker

NAME = "emqx_mod_trace"
LOST = {"code": "NOT_FOUND", "message": "not_found"}
NO_MODULE = {"code": 111, "message": "module_not_loaded"}


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"modules": {"load": [NAME]}}


def in_seconds(broker: TestBroker, seconds: float) -> str:
    return datetime.fromtimestamp(int(broker.node.wall() + seconds), UTC).isoformat()


async def create(broker: TestBroker, name: str = "t1", **more: object) -> None:
    body = {"name": name, "type": "clientid", "clientid": name, **more}
    assert (await broker.api("POST", "/trace", body)).json() == {"code": 0}


async def logged(broker: TestBroker, name: str = "t1") -> None:
    """Make a trace with something in its log."""
    await create(broker, name)
    client = await broker.client(name)
    await client.publish("a/b", "grüß dich".encode(), qos=1)
    await trio.sleep(1)


async def names(broker: TestBroker) -> list[str]:
    return [row["name"] for row in (await broker.api("GET", "/trace")).data]


async def test_list(broker: TestBroker) -> None:
    """GET /trace"""
    assert (await broker.api("GET", "/trace/")).data == []
    later = {"type": "topic", "topic": "a/#", "start_at": in_seconds(broker, 100), "end_at": in_seconds(broker, 200)}
    await create(broker, "t1")
    await create(broker, "t2", **later)
    first, second = (await broker.api("GET", "/trace")).data
    assert first == {"name": "t2", **later, "status": "waiting", "log_size": {broker.node.node: 0}}
    assert (second["name"], second["clientid"], second["status"]) == ("t1", "t1", "running")
    begins, ends = (datetime.fromisoformat(second[at]) for at in ("start_at", "end_at"))
    assert (ends - begins).total_seconds() == 600


async def test_create(broker: TestBroker) -> None:
    """POST /trace"""
    await logged(broker)
    (row,) = (await broker.api("GET", "/trace")).data
    assert row["log_size"][broker.node.node] > 100
    assert (await broker.api("POST", "/trace?name=q&type=ip_address&ip_address=::1")).code == 0
    assert sorted(await names(broker)) == ["q", "t1"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": None}, "name required"),
        ({"name": ""}, "name required"),
        ({"name": "../etc"}, "name must be"),
        ({"name": "a b"}, "name must be"),
        ({"name": "ü"}, "name must be"),
        ({"name": ["t1"]}, "name must be"),
        ({"name": "x" * 300}, "name must be"),
        ({"name": "{{7*7}}"}, "name must be"),
        ({"type": None}, "type=[topic,clientid,ip_address] required"),
        ({"type": {"a": 1}}, "type=[topic,clientid,ip_address] required"),
        ({"clientid": None}, "required clientid field"),
        ({"clientid": 5}, "clientid must be a text"),
        ({"type": "topic"}, "required topic field"),
        ({"type": "topic", "topic": "a/#/b"}, "topic: "),
        ({"type": "ip_address", "ip_address": "1.2.3"}, "ip_address: '1.2.3' is not an address"),
        ({"start_at": "yesterday"}, "start_at must be an RFC 3339 time"),
        ({"start_at": 5}, "start_at must be an RFC 3339 time"),
        ({"end_at": "2001-01-01T00:00:00Z"}, "end_at time has already passed"),
        ({"start_at": "2100-01-02T00:00:00Z", "end_at": "2100-01-01T00:00:00Z"}, "failed by start_at >= end_at"),
        ({"enable": "perhaps"}, "enable must be true or false"),
    ],
)
async def test_create_what_cannot_be(broker: TestBroker, change: dict[str, object], says: str) -> None:
    """POST /trace"""
    answer = await broker.api("POST", "/trace", {"name": "t1", "type": "clientid", "clientid": "c", **change})
    assert (answer.status, answer.code) == (200, "INCORRECT_PARAMS")
    assert str(answer.message).startswith(says)
    assert await names(broker) == []


@pytest.mark.parametrize("body", [None, [], [{"name": "t1", "type": "clientid", "clientid": "c"}]])
async def test_create_nothing(broker: TestBroker, body: object) -> None:
    """POST /trace"""
    answer = await broker.api("POST", "/trace", body)
    assert answer.json() == {"code": "INCORRECT_PARAMS", "message": "name required"}


async def test_create_one_that_there_is(broker: TestBroker) -> None:
    """POST /trace"""
    await create(broker, "t1")
    same = {"name": "t1", "type": "clientid", "clientid": "other"}
    assert (await broker.api("POST", "/trace", same)).json() == {
        "code": "ALREADY_EXISTED",
        "message": "t1Already Exists",
    }
    alike = {"name": "t2", "type": "clientid", "clientid": "t1"}
    answer = (await broker.api("POST", "/trace", alike)).json()
    assert answer == {"code": "DUPLICATE_CONDITION", "message": "t1Duplication Condition"}


async def test_not_more_than_thirty(broker: TestBroker) -> None:
    """POST /trace"""
    for number in range(30):
        await create(broker, f"t{number}")
    answer = await broker.api("POST", "/trace", {"name": "more", "type": "clientid", "clientid": "c"})
    assert answer.code == "INCORRECT_PARAMS"
    assert "30 traces" in str(answer.message)


async def test_delete(broker: TestBroker) -> None:
    """DELETE /trace/{name}"""
    await logged(broker)
    (log,) = (broker.node.data_dir / "trace").glob("*.log")
    assert (await broker.api("DELETE", "/trace/t1")).json() == {"code": 0}
    assert await names(broker) == []
    assert not log.exists()
    assert (await broker.api("DELETE", "/trace/t1")).json() == {"code": "NOT_FOUND", "message": "t1 NOT FOUND"}


async def test_delete_all(broker: TestBroker) -> None:
    """DELETE /trace"""
    await create(broker, "t1")
    await create(broker, "t2")
    assert (await broker.api("DELETE", "/trace")).json() == {"code": 0}
    assert await names(broker) == []


async def test_stop(broker: TestBroker) -> None:
    """PUT /trace/{name}/stop"""
    await logged(broker)
    assert (await broker.api("PUT", "/trace/t1/stop")).data == {"enable": False, "name": "t1"}
    (row,) = (await broker.api("GET", "/trace")).data
    assert row["status"] == "stopped"
    assert (await broker.api("PUT", "/trace/x/stop")).json() == {"code": "NOT_FOUND", "message": "x NOT FOUND"}


async def test_detail(broker: TestBroker) -> None:
    """GET /trace/{name}/detail"""
    await logged(broker)
    (row,) = (await broker.api("GET", "/trace/t1/detail")).data
    (log,) = (broker.node.data_dir / "trace").glob("*.log")
    assert row == {"node": broker.node.node, "size": log.stat().st_size, "mtime": int(log.stat().st_mtime)}
    assert (await broker.api("GET", "/trace/x/detail")).json() == LOST


async def test_download(broker: TestBroker) -> None:
    """GET /trace/{name}/download"""
    await logged(broker)
    answer = await broker.api("GET", "/trace/t1/download")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename=t1.zip"
    assert answer.headers["content-length"] == str(len(answer.body))
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        (inside,) = archive.namelist()
        assert re.fullmatch(rf"{broker.node.node}-trace_t1_[0-9-]+\.log", inside)
        assert "grüß dich" in archive.read(inside).decode()


@pytest.mark.parametrize("name", ["x", "..%2F..%2Fetc%2Fpasswd", "%00", "a%0d%0aSet-Cookie:x", "%2e%2e"])
async def test_download_what_is_not_there(broker: TestBroker, name: str) -> None:
    """GET /trace/{name}/download"""
    answer = await broker.api("GET", f"/trace/{name}/download")
    assert (answer.status, answer.json()) == (200, LOST)


async def test_a_large_download_comes_in_pieces(broker: TestBroker) -> None:
    """GET /trace/{name}/download: nothing holds the whole file."""
    await logged(broker)
    (log,) = (broker.node.data_dir / "trace").glob("*.log")
    noise = random.Random(1).randbytes(300_000)  # which no zip makes smaller
    await trio.Path(log).write_bytes(noise)
    answer = await broker.api("GET", "/trace/t1/download")
    assert len(answer.body) == int(answer.headers["content-length"]) > 300_000
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.read(archive.namelist()[0]) == noise


async def test_log(broker: TestBroker) -> None:
    """GET /trace/{name}/log"""
    await logged(broker)
    (log,) = (broker.node.data_dir / "trace").glob("*.log")
    text, position = "", 0
    while True:
        piece = (await broker.api("GET", f"/trace/t1/log?position={position}&bytes=37&node={broker.node.node}")).data
        if piece["items"] == "":
            break
        text += piece["items"]
        assert piece["meta"]["bytes"] == 37
        assert piece["meta"]["position"] > position
        position = piece["meta"]["position"]
    assert text == log.read_text("utf-8")
    assert (await broker.api("GET", "/trace/t1/log")).data["items"] == text[:1000]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("node=x@y", "NOT_FOUND"),
        ("node=", "NOT_FOUND"),
        ("position=-1", 108),
        ("position=x", 108),
        ("position=99999999999999999999", 108),
        ("position=4611686018427387904", "INCORRECT_PARAMS"),
        ("bytes=0", "INCORRECT_PARAMS"),
        ("bytes=1.5", 108),
    ],
)
async def test_log_wrongly_asked_for(broker: TestBroker, query: str, code: object) -> None:
    """GET /trace/{name}/log"""
    await create(broker)
    answer = await broker.api("GET", f"/trace/t1/log?{query}")
    assert (answer.status, answer.code) == (200, code)


async def test_log_of_a_trace_that_there_is_not(broker: TestBroker) -> None:
    """GET /trace/{name}/log"""
    assert (await broker.api("GET", "/trace/x/log")).json() == LOST
    await create(broker)
    assert (await broker.api("GET", "/trace/t1/log?node=x@y")).json() == {
        "code": "NOT_FOUND",
        "message": "node not found",
    }


async def test_a_log_is_read_by_the_megabyte_at_most(broker: TestBroker) -> None:
    """GET /trace/{name}/log"""
    await logged(broker)
    (log,) = (broker.node.data_dir / "trace").glob("*.log")
    await trio.Path(log).write_bytes(b"x" * 1_500_000)
    piece = (await broker.api("GET", "/trace/t1/log?bytes=9999999")).data
    assert len(piece["items"]) == piece["meta"]["position"] == 1024 * 1024


async def test_without_the_module(broker: TestBroker) -> None:
    await logged(broker)
    await broker.node.plugins.unload(NAME)
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", ""), ("DELETE", "/t1"), ("PUT", "/t1/stop")):
        answer = await broker.api(method, f"/trace{path}")
        assert (answer.status, answer.json()) == (200, NO_MODULE)
    for path in ("detail", "download", "log"):
        assert (await broker.api("GET", f"/trace/t1/{path}")).json() == LOST, "EMQX looks for the trace in any case"

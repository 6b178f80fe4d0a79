"""Two brokers after each other on one data directory, on real time and a real disk: what the second one knows."""

from __future__ import annotations

import pytest
import trio
from store_helpers import Disk, on_disk

from trioemqx.config.load import from_mapping
from trioemqx.services.store.memory import MemoryStore
from trioemqx.services.store.sqlite import SqliteStore
from trioemqx.testing import Closed, Refused, running
from trioemqx.types import Message
from trioemqx.wiring import make_store

LATER = 4_000_000_000


def settings(folder, **tables):
    return {
        "node": {"data_dir": str(folder)},
        "store": {"sync": "normal"},
        "plugins": {"loaded_file": str(folder / "loaded_plugins"), "etc_dir": "none"},
        "modules": {"loaded_file": str(folder / "loaded_modules")},
        **tables,
    }


async def refused(broker, clientid, **credentials):
    try:
        await broker.client(clientid, **credentials)
    except Refused as error:
        return error.connack.code
    return 0


async def test_everything_that_is_to_survive_does(tmp_path):
    config = settings(tmp_path, zone={"default": {"enable_ban": True, "enable_acl": True}})
    async with running(config, listen=True) as broker:
        node = broker.node
        node.publish(Message("retained", b"kept", retain=True))
        node.banned.create("clientid", "banned", reason="test", until=LATER)
        node.banned.create("username", "lifted", until=LATER)
        node.banned.delete("username", "lifted")
        node.alarms.activate("ended")
        node.alarms.deactivate("ended")
        node.alarms.activate("active")
        assert await broker.ctl("modules load emqx_mod_delayed")
        assert await broker.ctl("plugins load emqx_auth_mnesia")
        node.publish(Message("$delayed/1000/later", b"x"))
        assert await broker.ctl("user add alice secret") == ["ok"]
        assert await broker.ctl("acl add username alice forbidden pub deny")

    async with running(config, listen=True) as broker:
        node = broker.node
        assert {"emqx_auth_mnesia", "emqx_mod_delayed", "emqx_retainer"} <= set(node.plugins.live)
        assert await refused(broker, "banned", username="alice", password=b"secret") == 0x8A
        assert node.banned.find("username", "lifted") is None
        assert await refused(broker, "c", username="alice", password=b"wrong") == 0x86
        client = await broker.client("c", username="alice", password=b"secret", subscribe="retained")
        assert await client.message() == ("retained", b"kept")
        assert await client.publish("forbidden", b"x", qos=1) == 0x87
        assert node.stats()["delayed.count"] == 1
        assert node.alarms.active() == []
        assert {alarm.name for alarm in node.alarms.history()} == {"ended", "active"}
    assert len(on_disk(tmp_path / "trioemqx.db", "retained")) == 1


def test_which_store_is_used(tmp_path):
    def chosen(in_memory, **store):
        return make_store(from_mapping({"node": {"data_dir": str(tmp_path)}, "store": store}), in_memory)

    assert isinstance(chosen(True), MemoryStore)
    assert isinstance(chosen(False, sync="memory"), MemoryStore)
    store = chosen(False, file="other.db")
    assert isinstance(store, SqliteStore)
    assert store.path == tmp_path / "other.db"
    assert chosen(False, file=str(tmp_path / "elsewhere" / "x.db")).path == tmp_path / "elsewhere" / "x.db"
    assert list(tmp_path.iterdir()) == [], "nothing is made before the start"


async def test_a_damaged_file_is_an_alarm(tmp_path):
    (tmp_path / "trioemqx.db").write_bytes(b"no database" * 1000)
    async with running(settings(tmp_path), listen=True) as broker:
        moved_to = broker.alarms()["store_damaged"]["moved_to"]
        (alarm,) = broker.node.alarms.active()
        assert alarm.message == f"The store was damaged and begins empty; what it held is in {moved_to}"
    async with running(settings(tmp_path), listen=True) as broker:
        assert broker.alarms() == {}


async def test_a_disk_that_takes_nothing_is_an_alarm_for_as_long(tmp_path, monkeypatch):
    disk = Disk()
    store = SqliteStore(tmp_path / "x.db", retry=0.01, connect=disk.connect)
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    async with running(settings(tmp_path), listen=True) as broker:
        with trio.fail_after(20):
            disk.fail("COMMIT")
            client = await broker.client("c", subscribe="t")
            with pytest.raises(Closed, match="QUOTA_EXCEEDED"):
                await client.publish("t", b"kept", retain=True, qos=1)
            while not broker.alarms():
                await trio.sleep(0.001)
            again = await broker.client("c", subscribe="t")
            assert await again.message() == ("t", b"kept"), "the broker lives on"
            assert await again.publish("t", b"kept", retain=True, qos=1) == 0x97
            assert broker.alarms() == {
                "store_failed": {"file": str(store.path), "error": "cannot be written: database or disk is full"}
            }
            disk.recover()
            while broker.alarms():
                await trio.sleep(0.001)
    assert len(on_disk(store.path, "retained")) == 1

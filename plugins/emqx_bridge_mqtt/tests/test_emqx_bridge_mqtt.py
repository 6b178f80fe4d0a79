"""emqx_bridge_mqtt between two brokers on ports of 127.0.0.1: settings, commands, metrics, alarm, reload."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from trioemqx.plugin import PluginError
from trioemqx.testing import TestBroker, running

NAME = "emqx_bridge_mqtt"
Tree = dict[str, Any]


def tree(port: int, /, **bridge: object) -> Tree:
    one = {
        "address": f"127.0.0.1:{port}",
        "clientid": "b",
        "forwards": "a/#, c",
        "forward_mountpoint": "from/${node}",
        "reconnect_interval": "100ms",
        **bridge,
    }
    return {"plugins": {"load": [NAME]}, "bridge": {"mqtt": {"one": one}}}


@asynccontextmanager
async def bridged(**bridge: object) -> AsyncIterator[tuple[TestBroker, TestBroker]]:
    """(this broker with the plugin, the other one), connected unless it is to be started by hand."""
    async with running(listen=True) as there, running(tree(there.port, **bridge), listen=True) as here:
        if bridge.get("start_type") != "manual":
            await until(lambda: of(here).bridges["one"].connected)
        yield here, there


def of(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - real time and real sockets
            await trio.sleep(0.005)


async def unused() -> int:
    """A port that nobody listens on."""
    async with running(listen=True) as broker:
        return broker.port


def listed(name: str, status: str) -> str:
    return f"name: {name}     status: {status}"


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proto_ver", ["mqttv3", "mqttv4", "mqttv5"])
async def test_messages_go_out_and_come_in(proto_ver: str) -> None:
    subscription = {"1": {"topic": "x/#", "qos": 1}}
    more = {"proto_ver": proto_ver, "subscription": subscription, "receive_mountpoint": "got"}
    async with bridged(**more) as (here, there):
        node = here.node.broker.node
        far = await there.client("far", subscribe="from/#", qos=2)
        near = await here.client("near", subscribe="got/#", qos=2)
        await near.publish("a/1", b"out", 2)
        await near.publish("b", b"stays", 2)
        assert await far.message() == (f"from/{node}/a/1", b"out")
        await until(lambda: there.node.broker.router.route("x/1").entries)
        await far.publish("x/1", b"in", 1)
        assert await near.message() == ("got/x/1", b"in")
        assert here.metrics["bridge.mqtt.message_sent"] == 1
        assert here.metrics["bridge.mqtt.message_received"] == 1


async def test_the_metrics_are_there_from_the_start() -> None:
    async with running({"plugins": {"load": [NAME]}}) as broker:
        assert broker.metrics["bridge.mqtt.message_sent"] == 0
        assert broker.metrics["bridge.mqtt.message_received"] == 0
        assert broker.node.stats()["bridge.mqtt.queued.count"] == 0


async def test_credentials_and_the_bridge_bit_reach_the_other_side() -> None:
    async with bridged(username="u", password="p", bridge_mode="on", keepalive="33s") as (_, there):
        session = there.node.broker.find("b")
        assert session is not None
        assert (session.info.username, session.info.is_bridge, session.info.keepalive) == ("u", True, 33)


async def test_what_waits_on_disk_survives_the_broker(tmp_path: Path) -> None:
    port = await unused()
    queue = {"replayq_dir": str(tmp_path / "queue"), "replayq_seg_bytes": "1KB"}
    async with running(tree(port, queue=queue), listen=True) as here:
        client = await here.client("c")
        for number in range(20):
            await client.publish("a/1", b"%d" % number, 1)
    listener = {"tcp": {"test": {"bind": f"127.0.0.1:{port}", "zone": "default"}}}
    async with running({"listener": listener}, listen=True) as there:
        watcher = await there.client("w", subscribe="#", qos=1)
        async with running(tree(port, queue=queue), listen=True):
            for number in range(20):
                assert (await watcher.message())[1] == b"%d" % number


# -- commands ----------------------------------------------------------------------------------------------------------


async def test_bridges_are_listed() -> None:
    async with bridged() as (here, _):
        # Without a file of the operator's own there is the one that EMQX ships, too, not started.
        assert sorted(await here.ctl("bridges list")) == [listed("aws", "Stopped"), listed("one", "Running")]


async def test_start_and_stop_by_hand() -> None:
    async with bridged(start_type="manual") as (here, there):
        watcher = await there.client("w", subscribe="#")
        client = await here.client("c")
        await client.publish("c", b"1", 1)
        assert listed("one", "Stopped") in await here.ctl("bridges list")
        assert await here.ctl("bridges start one") == ["Start bridge successfully."]
        assert await here.ctl("bridges start one") == ["Bridge already started."]
        assert listed("one", "Running") in await here.ctl("bridges list")
        await client.publish("c", b"2", 1)
        assert (await watcher.message())[1] == b"2"
        assert await here.ctl("bridges stop one") == ["Stop bridge successfully."]
        assert listed("one", "Stopped") in await here.ctl("bridges list")
        assert (await here.ctl("bridges stop one"))[0] == "Stop bridge failed."


async def test_a_bridge_that_cannot_start_says_why() -> None:
    async with running(tree(await unused(), start_type="manual")) as here:
        first, second = await here.ctl("bridges start one")
        assert first == "Start bridge failed."
        assert "connection refused; it will be tried again." in second


async def test_a_bridge_that_does_not_exist() -> None:
    async with running({"plugins": {"load": [NAME]}}) as here:
        assert await here.ctl("bridges start x") == ["Start bridge failed.", "There is no bridge x."]
        assert await here.ctl("bridges stop x") == ["Stop bridge failed.", "There is no bridge x."]
        for words in ("forwards x", "add-forward x t", "del-forward x t", "subscriptions x", "del-subscription x t"):
            assert await here.ctl(f"bridges {words}") == ["There is no bridge x."]
        assert await here.ctl("bridges add-subscription x t 1") == ["There is no bridge x."]


async def test_forwards_come_and_go() -> None:
    async with bridged() as (here, there):
        watcher = await there.client("w", subscribe="#")
        client = await here.client("c")
        assert await here.ctl("bridges forwards one") == ["topic:   a/#", "topic:   c"]
        assert await here.ctl("bridges add-forward one d/+") == ["Add-forward topic successfully."]
        await client.publish("d/1", b"1", 1)
        assert (await watcher.message())[1] == b"1"
        for filter in ("a/#", "c"):
            assert await here.ctl(f"bridges del-forward one {filter}") == ["Del-forward topic successfully."]
        assert await here.ctl("bridges del-forward one c") == ["Del-forward failed reason: c is not forwarded."]
        assert await here.ctl("bridges forwards one") == ["topic:   d/+"]
        (line,) = await here.ctl("bridges add-forward one a/#/b")
        assert line.startswith("Add-forward failed reason: not a topic filter")


async def test_subscriptions_come_and_go() -> None:
    async with bridged(proto_ver="mqttv5") as (here, there):
        watcher = await here.client("w", subscribe="#")
        assert await here.ctl("bridges subscriptions one") == []
        assert await here.ctl("bridges add-subscription one x 1") == ["Add-subscription topic successfully."]
        assert await here.ctl("bridges subscriptions one") == ["topic: x, qos: 1"]
        far = await there.client("far")
        await far.publish("x", b"1", 1)
        assert await watcher.message() == ("x", b"1")
        assert await here.ctl("bridges del-subscription one x") == ["Del-subscription topic successfully."]
        failed = "Del-subscription failed reason: x is not subscribed."
        assert await here.ctl("bridges del-subscription one x") == [failed]
        for topic, qos in (("x", "3"), ("x", "²"), ("a/#/b", "1")):
            (line,) = await here.ctl("bridges", "add-subscription", "one", topic, qos)
            assert line.startswith("Add-subscription failed reason: ")


async def test_json_has_more() -> None:
    async with bridged() as (here, _):
        rows = json.loads("".join(await here.ctl("bridges list --json")))
        (row,) = (row for row in rows if row["name"] == "one")
        assert (row["started"], row["connected"], row["error"]) == (True, 1, "")
        assert row["counters"]["sent"] == 0


# -- trouble -----------------------------------------------------------------------------------------------------------


async def test_a_bridge_that_is_down_raises_an_alarm() -> None:
    port = await unused()
    async with running(tree(port)) as here:
        await until(lambda: "bridge_mqtt_down/one" in here.alarms())
        details = here.alarms()["bridge_mqtt_down/one"]
        assert details["address"] == f"127.0.0.1:{port}"
        assert "connection refused" in str(details["error"])
        listener = {"tcp": {"test": {"bind": f"127.0.0.1:{port}", "zone": "default"}}}
        async with running({"listener": listener}, listen=True):
            await until(lambda: "bridge_mqtt_down/one" not in here.alarms())
        await until(lambda: "bridge_mqtt_down/one" in here.alarms())
        await here.ctl("bridges stop one")
        assert "bridge_mqtt_down/one" not in here.alarms()


async def test_a_crash_of_one_bridge_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with running(listen=True) as there:
        settings = tree(there.port)
        settings["bridge"]["mqtt"]["two"] = {"address": f"127.0.0.1:{there.port}", "clientid": "b2"}
        async with running(settings, listen=True) as here:
            bridges = of(here).bridges
            await until(lambda: bridges["one"].connected and bridges["two"].connected)
            lane = bridges["one"]._lanes[0]
            lane.end = lambda: 1 // 0
            bridges["one"]._runner._scope.cancel()
            await until(lambda: "bridge one crashed" in caplog.text)
            assert bridges["two"].connected
            del lane.end


async def test_unload_sends_what_is_queued_and_leaves_nothing() -> None:
    async with bridged(max_inflight_size=1) as (here, there):
        watcher = await there.client("w", subscribe="#", qos=1)
        client = await here.client("c")
        for number in range(30):
            await client.publish("a/1", b"%d" % number)
        await client.ping()
        await here.node.plugins.unload(NAME)
        for number in range(30):
            assert (await watcher.message())[1] == b"%d" % number
        assert "bridges" not in here.node.commands.names()
        assert there.node.broker.find("b") is None
        assert not here.node.broker.router.route("a/1").entries


async def test_a_reload_loses_no_message() -> None:
    async with bridged() as (here, there):
        watcher = await there.client("w", subscribe="#", qos=1)
        client = await here.client("c")
        seen: set[int] = set()

        async def watch() -> None:
            while len(seen) < 300:
                seen.add(int((await watcher.message())[1]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for number in range(300):
                await client.publish("a/1", b"%d" % number, 1)
                if number == 100:
                    nursery.start_soon(here.reload_plugin, NAME)
        assert seen == set(range(300))


async def test_a_reload_keeps_what_waits_in_memory_and_on_disk(tmp_path: Path) -> None:
    port = await unused()
    settings = tree(port)
    two = {**settings["bridge"]["mqtt"]["one"], "clientid": "b2", "queue": {"replayq_dir": str(tmp_path / "queue")}}
    settings["bridge"]["mqtt"]["two"] = two
    async with running(settings) as here:
        client = await here.client("c")
        for number in range(10):
            await client.publish("a/1", b"%d" % number, 1)
        await here.reload_plugin(NAME)
        await client.publish("a/1", b"10", 1)
        for bridge in of(here).bridges.values():
            if bridge.started:
                await until(lambda: bridge.status().queued == 11)  # noqa: B023 - called at once


async def test_a_reload_keeps_a_bridge_running_that_was_started_by_hand() -> None:
    async with bridged(start_type="manual") as (here, _):
        await here.ctl("bridges start one")
        await here.reload_plugin(NAME)
        await until(lambda: of(here).bridges["one"].connected)


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bridge", "text"),
    [
        ({"address": "emqx2@10.0.0.1"}, r"one\.address: .*names a node; write the address of its MQTT listener"),
        ({"proto_ver": "mqttv6"}, r"one\.proto_ver: expected mqttv3, mqttv4 or mqttv5"),
        ({"forwards": "a/#/b"}, r"one\.forwards: not a topic filter: 'a/#/b'"),
        ({"forward_mountpoint": "a/#"}, r"one\.forward_mountpoint: a mountpoint has no wildcards"),
        ({"subscription": {"1": {"topic": "a", "qos": 3}}}, r"one\.subscription: QoS 3"),
        ({"subscription": {"1": {"qos": 1}}}, r"one\.subscription\.1\.topic: has to be set"),
        ({"pool_size": 0}, r"one\.pool_size: expected 1 to 64"),
        ({"keepalive": "20h"}, r"one\.keepalive: expected 0 to 65535"),
        ({"psk_ciphers": "PSK-AES128-CBC-SHA"}, r"one\.psk_ciphers: a bridge cannot use pre-shared keys"),
        ({"queue": {"max_total_size": 0}}, r"one\.queue\.max_total_size: expected more than 0"),
        ({"ssl": True, "cacertfile": "none.pem", "verify": True}, r"bridge\.mqtt\.one: ssl\.cacertfile none\.pem"),
        ({"reconect_interval": "1s"}, r"did you mean reconnect_interval"),
    ],
)
async def test_settings_that_cannot_be(bridge: Tree, text: str) -> None:
    async with running({**tree(1, **bridge), "plugins": {"load": []}}) as here:
        with pytest.raises(PluginError, match=text):
            await here.node.plugins.load(NAME)


async def test_two_bridges_do_not_share_a_folder(tmp_path: Path) -> None:
    settings = tree(1, queue={"replayq_dir": str(tmp_path)})
    settings["bridge"]["mqtt"]["two"] = {**settings["bridge"]["mqtt"]["one"], "clientid": "other"}
    async with running({**settings, "plugins": {"load": []}}) as here:
        with pytest.raises(PluginError, match=r"a queue\.replayq_dir of its own"):
            await here.node.plugins.load(NAME)


async def test_the_password_is_not_shown() -> None:
    async with running(tree(1, username="u", password="secret")) as here:
        assert "secret" not in repr(of(here).config)
        assert "secret" not in "".join(await here.ctl("bridges list --json"))


async def test_the_shipped_settings_are_those_of_emqx() -> None:
    async with running({"plugins": {"load": [NAME]}}) as here:
        aws = of(here).config.mqtt["aws"]
        assert (aws.address, aws.start_type, aws.forwards) == ("127.0.0.1:1883", "manual", ("topic1/#", "topic2/#"))
        assert of(here).config.bridges["aws"].queue.folder == Path("data/replayq/emqx_aws_bridge")
        assert not of(here).bridges["aws"].started


def formed(folder: object) -> Tree:
    """What the form of the dashboard sends."""
    return {"mqtt": {"one": {"address": "127.0.0.1:1", "clientid": "b", "queue": {"replayq_dir": str(folder)}}}}


@pytest.mark.parametrize("by", ["form", "import", "import of one key"])
async def test_who_may_save_settings_makes_no_folders_elsewhere(tmp_path: Path, by: str) -> None:
    data = tmp_path / "data"
    settings = tree(1, start_type="manual")
    settings["node"] = {"data_dir": str(data)}
    async with running(settings) as broker:

        async def save(folder: object) -> Any:
            if by == "form":
                return await broker.api("PUT", f"/plugins/{NAME}/config", {"values": formed(folder)})
            saved = {f"plugins.{NAME}.mqtt": formed(folder)["mqtt"]}
            if by == "import of one key":
                saved = {f"plugins.{NAME}.mqtt.one.queue.replayq_dir": str(folder)}
            return await broker.api(
                "POST", "/data/import", {"version": "4.4", "apps": [], "trioemqx": {"saved": saved}}
            )

        own = data / "replayq"
        for folder in (tmp_path / "q", data, own, data / "uploaded" / "q", f"{own}/../../q", "/q", "q"):
            answer = await save(folder)
            assert answer.code != 0, folder
            assert f"only the file and the environment can name a folder outside {own}" in answer.body.decode()
            assert of(broker).config.bridges["one"].queue.folder is None
        assert (await save(own / "one")).code == 0
        assert of(broker).config.bridges["one"].queue.folder == own / "one"
        assert not (tmp_path / "q").exists()

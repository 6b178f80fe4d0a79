"""`[module.subscription.<n>]`: filters that every client is subscribed to when it connects."""

from __future__ import annotations

import logging
import re
import tomllib
from pathlib import Path

import pytest
import trio

from trioemqx.codec.control import Connect
from trioemqx.codec.encode import encode
from trioemqx.codec.framer import Framer
from trioemqx.hookspecs import hookimpl
from trioemqx.node import open_broker
from trioemqx.services.plugins import PluginError
from trioemqx.testing import Client, TestBroker, running
from trioemqx.types import ClientInfo, Message, SubOpts, Verdict
from trioemqx.wiring import prepare

NAME = "emqx_mod_subscription"


def settings(*entries: dict[str, object], **more: object) -> dict[str, object]:
    numbered = {str(number): entry for number, entry in enumerate(entries, 1)}
    return {
        "modules": {"load": [NAME]},
        "module": {"subscription": numbered},
        "plugins": {"load": ["emqx_retainer"]},
        **more,
    }


def entries(*given: dict[str, object], **more: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [settings(*given, **more)], ids=[""])


def subscriptions(broker: TestBroker, clientid: str) -> dict[str, SubOpts]:
    session = broker.node.find(clientid)
    assert session is not None
    return {name: subscription.opts for name, subscription in session.subscriptions.items()}


def publish(broker: TestBroker, topic: str, payload: bytes = b"x", qos: int = 1, retain: bool = False) -> None:
    broker.node.publish(Message(topic, payload, qos, retain))


# -- who is subscribed to what -----------------------------------------------------------------------------------------


@entries({"topic": "all"}, {"topic": "clients/%c/in", "qos": 2}, {"topic": "users/%u/#", "qos": "0"})
async def test_placeholders_are_filled_as_whole_levels(broker: TestBroker) -> None:
    client = await broker.client("c1", username="uncle")
    assert {name: opts.qos for name, opts in subscriptions(broker, "c1").items()} == {
        "all": 1,
        "clients/c1/in": 2,
        "users/uncle/#": 0,
    }
    publish(broker, "clients/c1/in", qos=2)
    assert (await client.receive_publish()).qos == 2
    publish(broker, "users/uncle/deep/down")
    assert (await client.receive_publish()).qos == 0


@entries({"topic": "users/%u"}, {"topic": "x%c/%cx/%u%c"}, {"topic": "%c"})
async def test_without_a_user_name_its_entries_are_left_out(broker: TestBroker) -> None:
    await broker.client("c1")
    assert [*subscriptions(broker, "c1")] == ["x%c/%cx/%u%c", "c1"]


@pytest.mark.parametrize("version", [3, 4, 5])
@entries({"topic": "t", "qos": 1, "nl": 1, "rap": 1, "rh": 1})
async def test_options_are_for_mqtt_5(broker: TestBroker, version: int) -> None:
    client = await broker.client("c1", version=version)
    opts = subscriptions(broker, "c1")["t"]
    five = version == 5
    assert (opts.qos, opts.nl, opts.rap, opts.rh) == (1, five, five, int(five))
    await client.publish("t", b"mine", qos=1)
    assert await client.nothing() == five


@pytest.mark.parametrize("name", ["#", "+", "a/b", "/", "x+", "a#"])
@entries({"topic": "in/%c"}, {"topic": "in/%u"}, {"topic": "all"})
async def test_a_name_that_would_open_other_topics_is_not_filled_in(
    broker: TestBroker, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.client(name, username=name)
    assert [*subscriptions(broker, name)] == ["all"]
    assert len([record for record in caplog.records if "was not subscribed to in/%" in record.getMessage()]) == 2


@entries({"topic": "in/%u"})
async def test_an_empty_user_name_is_no_level(broker: TestBroker) -> None:
    await broker.client("c1", username="")
    assert [*subscriptions(broker, "c1")] == []


@entries({"topic": "$share/g/t"}, {"topic": "$share/%c/own"})
async def test_shared_subscriptions(broker: TestBroker) -> None:
    one, two = await broker.client("one"), await broker.client("two")
    assert [*subscriptions(broker, "one")] == ["$share/g/t", "$share/one/own"]
    publish(broker, "t")
    assert await one.nothing() != await two.nothing(), "one of them gets it"


@entries({"topic": "in/%c"}, zone={"default": {"mountpoint": "tenant/%u/"}})
async def test_the_mountpoint_applies(broker: TestBroker) -> None:
    client = await broker.client("c1", username="uncle")
    assert [*subscriptions(broker, "c1")] == ["tenant/uncle/in/c1"]
    publish(broker, "tenant/uncle/in/c1")
    assert await client.message() == ("in/c1", b"x")


@entries(
    {"topic": "a/b/c/#"},
    {"topic": "$share/g/t"},
    zone={
        "default": {
            "enable_acl": True,
            "max_topic_levels": 2,
            "wildcard_subscription": False,
            "shared_subscription": False,
        }
    },
    acl_nomatch="deny",
)
async def test_neither_rules_nor_hooks_nor_what_the_zone_offers_are_asked(broker: TestBroker) -> None:
    class Listening:
        asked: list[str]

        @hookimpl
        def client_subscribe(self, filters: list[tuple[str, SubOpts]]) -> None:
            self.asked.append("client_subscribe")

        @hookimpl
        def session_subscribed(self, client: ClientInfo, filter: str) -> None:
            self.asked.append(filter)

    plugin = Listening()
    plugin.asked = []
    broker.node.hooks.register(plugin, "listening")
    client = await broker.client("c1")
    assert plugin.asked == ["a/b/c/#", "$share/g/t"]
    publish(broker, "a/b/c/d")
    assert await client.message() == ("a/b/c/d", b"x")
    assert await client.subscribe("own") == [0x87], "of the client's own wishes they are"


@entries({"topic": "a"}, {"topic": "b"}, zone={"default": {"max_subscriptions": 1}})
async def test_a_session_has_no_more_subscriptions_than_it_may_have(
    broker: TestBroker, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.client("c1")
    assert [*subscriptions(broker, "c1")] == ["a"]
    assert "client 'c1' was not subscribed to b: 0x97" in caplog.text


@entries({"topic": "t"})
async def test_a_resumed_session_is_subscribed_again(broker: TestBroker) -> None:
    client = await broker.client("c1", expiry=100)
    await client.unsubscribe("t")
    assert [*subscriptions(broker, "c1")] == []
    await client.close()
    await broker.client("c1", clean_start=False, expiry=100)
    assert [*subscriptions(broker, "c1")] == ["t"]


@entries({"topic": "t"})
async def test_a_client_that_a_hook_has_kicked_is_left_alone(broker: TestBroker) -> None:
    class Kicking:
        @hookimpl(priority=5)
        def client_connected(self, client: ClientInfo) -> None:
            broker.node.kick(client.clientid)

    broker.node.hooks.register(Kicking(), "kicking")
    client = await broker.raw()
    await client.send(Connect("MQTT", 5, False, True, 0, "c1", None, None, None, None))
    await client.closed()
    assert broker.node.stats()["subscriptions.count"] == 0


# -- nothing before the CONNACK ----------------------------------------------------------------------------------------


async def first_bytes(broker: TestBroker, version: int, clientid: str) -> list[int]:
    """The packet types that come after CONNECT, within a second."""
    stream = await broker.stream()
    names = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}
    await stream.send_all(
        encode(Connect(names[version], version, False, False, 0, clientid, None, None, None, None), version)
    )
    framer = Framer(1_000_000)
    found = []
    with trio.move_on_after(1):
        while data := await stream.receive_some(65536):
            framer.feed(bytes(data))
            while (frame := framer.next_frame()) is not None:
                found.append(frame[0] >> 4)
    return found


CONNACK, PUBLISH = 2, 3


@pytest.mark.parametrize("waits", [False, True], ids=["at-once", "after-a-question"])
@pytest.mark.parametrize("version", [3, 4, 5])
@entries({"topic": "kept/#", "qos": 0}, {"topic": "more/#", "qos": 1})
async def test_retained_messages_come_after_the_connack(broker: TestBroker, version: int, waits: bool) -> None:
    class Slow:
        @hookimpl
        async def client_authenticate(self, client: ClientInfo) -> Verdict:
            await trio.sleep(0.1)
            return Verdict()

    if waits:
        broker.node.hooks.register(Slow(), "slow")
    for number in range(50):
        publish(broker, f"kept/{number}", retain=True)
        publish(broker, f"more/{number}", retain=True)
    for _ in range(2):  # a new session, then the same one taken over
        got = await first_bytes(broker, version, "c1")
        assert got[0] == CONNACK
        assert got.count(CONNACK) == 1
        assert got.count(PUBLISH) >= 100


@entries({"topic": "t", "qos": 1})
async def test_what_is_published_while_a_client_is_accepted_comes_after_the_connack(broker: TestBroker) -> None:
    class Greeting:
        @hookimpl(priority=-5)
        def client_connected(self, client: ClientInfo) -> None:
            publish(broker, "t", b"hello", 0)
            publish(broker, "t", b"hello")

    broker.node.hooks.register(Greeting(), "greeting")
    assert await first_bytes(broker, 5, "c1") == [CONNACK, PUBLISH, PUBLISH]


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"qos": 1}, "1.topic: has to be set"),
        ({"topic": ""}, "1.topic: not a topic filter: empty topic"),
        ({"topic": "a/#/b"}, "1.topic: not a topic filter: '#' must be the whole last level"),
        ({"topic": "$share/g"}, "1.topic: not a topic filter: $share needs a group and a filter"),
        ({"topic": "t", "qos": 3}, "1.qos: expected 0, 1 or 2, got 3"),
        ({"topic": "t", "rh": 3}, "1.rh: expected 0, 1 or 2, got 3"),
        ({"topic": "t", "nl": 2}, "1.nl: expected 0 or 1, got 2"),
        ({"topic": "$share/g/t", "nl": 1}, "1.nl: a shared subscription cannot have No Local"),
        ({"topic": "t", "gos": 1}, "1.gos: unknown key (did you mean qos?)"),
    ],
)
async def test_a_bad_entry_is_refused(entry: dict[str, object], complaint: str) -> None:
    async with running({"module": {"subscription": {"1": entry}}}) as broker:
        with pytest.raises(PluginError) as caught:
            await broker.node.plugins.load(NAME)
    assert f"modules.{NAME}.{complaint}" in str(caught.value)


async def test_a_key_that_is_no_number_is_refused() -> None:
    async with running({"module": {"subscription": {"one": {"topic": "t"}}}}) as broker:
        with pytest.raises(PluginError, match="one: unknown key"):
            await broker.node.plugins.load(NAME)


@pytest.mark.parametrize("broker_config", [{"modules": {"load": [NAME]}}], ids=[""])
async def test_without_entries_nobody_is_subscribed(broker: TestBroker) -> None:
    await broker.client("c1")
    assert subscriptions(broker, "c1") == {}


@entries(*({"topic": f"t/{number}"} for number in range(1, 13)))
async def test_entries_are_in_the_order_of_their_numbers(broker: TestBroker) -> None:
    await broker.client("c1")
    assert [*subscriptions(broker, "c1")] == [f"t/{number}" for number in range(1, 13)]


async def test_a_reload_takes_new_entries_for_those_who_connect_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with running(settings({"topic": "old"})) as broker:
        client: Client = await broker.client("c1")
        node = broker.node
        changed = prepare(settings({"topic": "new"}, node={"data_dir": node.config.node.data_dir}))
        assert await node.plugins.configure(changed) == []
        assert [*subscriptions(broker, "c1")] == ["old"]
        await broker.client("c2")
        assert [*subscriptions(broker, "c2")] == ["new"]
        publish(broker, "old")
        assert await client.message() == ("old", b"x")


@entries({"topic": "t"})
async def test_after_an_unload_nobody_new_is_subscribed(broker: TestBroker) -> None:
    await broker.client("c1")
    await broker.node.plugins.unload(NAME)
    await broker.client("c2")
    assert [*subscriptions(broker, "c1")] == ["t"]
    assert [*subscriptions(broker, "c2")] == []


@pytest.mark.parametrize("header", ["[module.subscription.1]", "[[module.subscription]]"])
async def test_the_file_may_have_tables_by_number_or_a_list_of_tables(header: str) -> None:
    tree = tomllib.loads(f'{header}\ntopic = "a"')
    async with running({**tree, "modules": {"load": [NAME]}}) as broker:
        await broker.client("c1")
        assert [*subscriptions(broker, "c1")] == ["a"]
    tree = tomllib.loads(f'{header}\ntopic = "a/#/b"')
    async with running(tree) as broker:
        with pytest.raises(PluginError, match=r"1\.topic: not a topic filter"):
            await broker.node.plugins.load(NAME)


def written(folder: Path, text: str) -> Path:
    """A configuration file that keeps the broker inside a folder."""
    file = folder / "emqx.toml"
    quiet = 'allow_anonymous = true\nplugins.loaded_file = "none"\nmodules.loaded_file = "none"\n'
    file.write_text(f'node.data_dir = "{folder}"\n{quiet}{text}')
    return file


async def test_a_complaint_says_in_which_line(tmp_path: Path) -> None:
    file = written(tmp_path, '[module.subscription.1]\ntopic = "a"\n[module.subscription.2]\ntopic = "b"\nqos = 7\n')
    async with open_broker(file, in_memory=True) as node:
        with pytest.raises(PluginError, match=re.escape(f"{file}:9: modules.{NAME}.2.qos")):
            await node.plugins.load(NAME)


async def test_entries_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMQX_MODULE__SUBSCRIPTION__1__TOPIC", "in/%c")
    monkeypatch.setenv("EMQX_MODULE__SUBSCRIPTION__1__QOS", "2")
    async with open_broker(written(tmp_path, ""), in_memory=True) as node:
        await node.plugins.load(NAME)
        broker = TestBroker(node)
        client = await broker.client("c1")
        assert [(name, opts.qos) for name, opts in subscriptions(broker, "c1").items()] == [("in/c1", 2)]
        await client.close()

"""Authorization: the chain, its cache, what a denial does, and what a broken backend does (broker behaviour 11.2)."""

from __future__ import annotations

import pytest
import trio
from pubsub_helpers import BOTH, config, messages, plug

from trioemqx.codec.control import Suback, Subscribe
from trioemqx.testing import Client, TestBroker, make_publish
from trioemqx.types import ClientInfo, Credentials, SubOpts, Verdict


class Backend:
    """A `client.check_acl` hook that notes what it is asked."""

    def __init__(self, *denied: str) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.denied = set(denied)

    async def check(self, client: ClientInfo, action: str, topic: str) -> bool:
        self.asked.append((client.clientid, action, topic))
        return topic not in self.denied


def backend(broker: TestBroker, *denied: str, name: str = "acl") -> Backend:
    made = Backend(*denied)

    async def client_check_acl(client: ClientInfo, action: str, topic: str) -> bool:
        return await made.check(client, action, topic)

    plug(broker, name, client_check_acl=client_check_acl)
    return made


def listen(broker: TestBroker) -> list[tuple[str, str, str, bool, bool]]:
    """What `client.check_acl_complete` is told."""
    heard: list[tuple[str, str, str, bool, bool]] = []

    def complete(client: ClientInfo, action: str, topic: str, allowed: bool, from_cache: bool) -> None:
        heard.append((client.clientid, action, topic, allowed, from_cache))

    plug(broker, "listener", client_check_acl_complete=complete)
    return heard


def acl_metrics(broker: TestBroker) -> dict[str, int]:
    values = broker.node.metrics
    return {
        name: values[f"client.{name}"]
        for name in ("check_acl", "acl.allow", "acl.deny", "acl.cache_hit")
        if values[f"client.{name}"]
    }


# -- the chain ---------------------------------------------------------------------------------------------------------


async def test_the_first_answer_wins_and_none_passes_on(broker: TestBroker) -> None:
    asked: list[str] = []

    def answering(name: str, answers: dict[str, bool]) -> None:
        async def client_check_acl(topic: str) -> bool | None:
            asked.append(f"{name} {topic}")
            return answers.get(topic)

        plug(broker, name, client_check_acl=client_check_acl)

    answering("first", {"a": True})
    answering("middle", {"b": True})
    answering("last", {"a": False, "b": False, "c": True})
    client = await broker.client("c")
    assert await client.subscribe("a", "b", "c", "d") == [0, 0, 0, 0]
    assert asked == [
        *("first a",),
        *("first b", "middle b"),
        *("first c", "middle c", "last c"),
        *("first d", "middle d", "last d"),
    ]


@pytest.mark.parametrize(
    ("broker_config", "code"), [({"acl_nomatch": "allow"}, 0), ({"acl_nomatch": "deny"}, 0x87)], ids=["allow", "deny"]
)
@pytest.mark.parametrize("asked", [True, False], ids=["backend", "no_backend"])
async def test_acl_nomatch(broker: TestBroker, asked: bool, code: int) -> None:
    if asked:

        async def client_check_acl(topic: str) -> bool | None:
            return None

        plug(broker, client_check_acl=client_check_acl)
    heard = listen(broker)
    client = await broker.client("c")
    assert await client.subscribe("t") == [code]
    assert await client.publish("t", b"", qos=1) == (code or 0)
    assert [(action, allowed) for _, action, _, allowed, _ in heard] == [
        ("subscribe", code == 0),
        ("publish", code == 0),
    ]


@config(acl_nomatch="deny", zone={"enable_acl": False})
async def test_off_in_the_zone(broker: TestBroker) -> None:
    asked = backend(broker, "t")
    heard = listen(broker)
    client = await broker.client("c", subscribe="t")
    assert await client.publish("t", b"x", qos=1) == 0
    await messages(client, 1)
    assert asked.asked == heard == []
    assert acl_metrics(broker) == {}


@config(acl_nomatch="deny")
async def test_superusers_are_not_checked(broker: TestBroker) -> None:
    async def client_authenticate(client: ClientInfo, credentials: Credentials) -> Verdict:
        return Verdict(is_superuser=client.clientid == "root")

    plug(broker, "auth", client_authenticate=client_authenticate)
    asked = backend(broker, "t")
    heard = listen(broker)
    root = await broker.client("root")
    assert await root.subscribe("t") == [0]
    assert await root.publish("t", b"x", qos=1) == 0
    assert asked.asked == heard == []
    assert acl_metrics(broker) == {}
    other = await broker.client("other")
    assert await other.subscribe("t") == [0x87]


@config(zone={"enable_acl": True, "mountpoint": "m/"})
async def test_rules_see_what_the_client_wrote(broker: TestBroker) -> None:
    """Without mountpoint, without share prefix, before any rewriting."""
    asked = backend(broker)
    plug(
        broker,
        "rewrite",
        client_subscribe=lambda filters: [("rewritten", opts) for _, opts in filters],
        message_publish=lambda message: None,
    )
    client = await broker.client("c")
    await client.subscribe("a/+", "$share/g/b", "$queue/c", "$exclusive/d")
    await client.publish("e", b"", qos=1)
    await client.unsubscribe("a/+")
    assert [(action, topic) for _, action, topic in asked.asked] == [
        ("subscribe", "a/+"),
        ("subscribe", "b"),
        ("subscribe", "c"),
        ("subscribe", "d"),
        ("publish", "e"),
    ]


async def test_hooks_after_the_acl_see_only_allowed_filters(broker: TestBroker) -> None:
    backend(broker, "no")
    seen: list[list[str]] = []
    plug(broker, "sub", client_subscribe=lambda filters: seen.append([name for name, _ in filters]))
    client = await broker.client("c")
    await client.send(Subscribe(1, [("a", SubOpts(1)), ("no", SubOpts(2)), ("b", SubOpts(2))], None))
    assert (await client.wait_for(Suback)).codes == [1, 0x87, 2]
    assert seen == [["a", "b"]]


# -- what a denial does ------------------------------------------------------------------------------------------------

IGNORE = config(acl_deny_action="ignore")
DISCONNECT = config(acl_deny_action="disconnect")
ZONE_DISCONNECT = config(acl_deny_action="ignore", zone={"enable_acl": True, "acl_deny_action": "disconnect"})


@IGNORE
@BOTH
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_publish_ignored(broker: TestBroker, version: int, qos: int) -> None:
    """v5: 0x87. v3: an ordinary acknowledgement. QoS 0: silence."""
    backend(broker, "no")
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("c", version=version)
    assert await client.publish("no", b"x", qos=qos, retain=True) == (0x87 if version == 5 and qos else 0)
    await client.ping()
    assert await watcher.nothing()
    assert broker.node.stats()["retained.count"] == 0


@DISCONNECT
@pytest.mark.parametrize(("version", "code"), [(5, 0x87), (4, None)])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_publish_disconnected(broker: TestBroker, version: int, code: int | None, qos: int) -> None:
    backend(broker, "no")
    client = await broker.client("c", version=version)
    await client.send(make_publish("no", b"x", qos, False, False, 1 if qos else 0, None))
    assert await client.closed() == code


@IGNORE
@pytest.mark.parametrize(("version", "code"), [(5, 0x87), (4, 0x80)])
async def test_subscribe_ignored(broker: TestBroker, version: int, code: int) -> None:
    backend(broker, "no")
    client = await broker.client("c", version=version)
    assert await client.subscribe("no", "yes", "$share/g/no") == [code, 0, code]


@pytest.mark.parametrize("broker_config", [DISCONNECT.args[1][0], ZONE_DISCONNECT.args[1][0]], ids=["top", "zone"])
@pytest.mark.parametrize(("version", "code"), [(5, 0x87), (4, None)])
async def test_any_denied_filter_disconnects(broker: TestBroker, version: int, code: int | None) -> None:
    backend(broker, "no")
    client = await broker.client("c", version=version)
    await client.send(Subscribe(1, [("yes", SubOpts()), ("no", SubOpts())], None))
    assert await client.closed() == code
    assert broker.node.stats()["subscriptions.count"] == 0


async def test_a_denied_topic_that_is_too_deep_is_denied(broker: TestBroker) -> None:
    deep = "/".join("x" * 200)
    backend(broker, deep)
    client = await broker.client("c")
    assert await client.publish(deep, b"", qos=1) == 0x87  # access comes before the caps


async def test_packets_behind_a_question_keep_their_order(broker: TestBroker) -> None:
    gate = trio.Event()

    async def client_check_acl(topic: str) -> bool:
        if topic == "slow":
            await gate.wait()
        return True

    plug(broker, client_check_acl=client_check_acl)
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("c")
    other = await broker.client("o")
    for topic in ("slow", "quick"):
        await client.send(make_publish(topic, b"", 0, False, False, 0, None))
    assert await watcher.nothing()
    await other.publish("others/go/on", b"", qos=1)
    gate.set()
    assert [packet.topic for packet in await messages(watcher, 3)] == ["others/go/on", "slow", "quick"]


async def test_a_client_that_leaves_during_its_question(broker: TestBroker) -> None:
    gate = trio.Event()

    async def client_check_acl() -> bool:
        await gate.wait()
        return True

    plug(broker, client_check_acl=client_check_acl)
    client = await broker.client("c")
    await client.send(make_publish("t", b"x", 1, False, False, 1, None))
    await trio.sleep(0.1)
    broker.node.kick("c")
    gate.set()
    assert await client.closed() == 0x98
    await trio.sleep(0.1)
    assert broker.node.metrics["messages.publish"] == 0
    assert broker.node.broker.metrics.connection_crashed == 0


# -- backends that fail ------------------------------------------------------------------------------------------------


async def _crash(client: ClientInfo, action: str, topic: str) -> bool:
    raise ZeroDivisionError


async def _hang(client: ClientInfo, action: str, topic: str) -> bool:
    await trio.sleep_forever()
    raise AssertionError


async def _nonsense(client: ClientInfo, action: str, topic: str) -> object:
    return "allow"


@config(acl_nomatch="allow")
@pytest.mark.parametrize("broken", [_crash, _hang, _nonsense], ids=["crash", "hang", "nonsense"])
async def test_a_broken_backend_denies(broker: TestBroker, broken: object) -> None:
    """Also when a backend behind it would allow, and when no match would."""
    plug(broker, "broken", client_check_acl=broken)
    backend(broker, name="behind")
    heard = listen(broker)
    client = await broker.client("c")
    await client.send(make_publish("t", b"", 1, False, False, 1, None))
    await trio.sleep(6)
    assert (await client.ack(4, 1)).code == 0x87
    await client.send(Subscribe(2, [("t", SubOpts())], None))
    await trio.sleep(6)
    assert (await client.wait_for(Suback)).codes == [0x87]
    assert [allowed for _, _, _, allowed, _ in heard] == [False, False]


async def test_a_hanging_backend_holds_only_its_client_for_its_time_limit(broker: TestBroker) -> None:
    plug(broker, client_check_acl=_hang)
    client = await broker.client("c")
    await client.send(make_publish("t", b"", 1, False, False, 1, None))
    start = trio.current_time()
    await (await broker.client("other")).ping()
    assert trio.current_time() - start < 1
    await trio.sleep(4)
    answer = await client.ack(4, 1)
    assert answer.code == 0x87
    assert trio.current_time() - start == pytest.approx(5, abs=0.5)
    assert broker.node.broker.metrics.hook_crashed == 1


async def test_a_crashing_listener_changes_nothing(broker: TestBroker) -> None:
    def crash(topic: str) -> None:
        raise ZeroDivisionError

    plug(broker, client_check_acl_complete=crash)
    client = await broker.client("c")
    assert await client.subscribe("t") == [0]
    assert await client.publish("t", b"", qos=1) == 0


# -- the cache ---------------------------------------------------------------------------------------------------------


async def _ask(client: Client, *topics: str) -> None:
    for topic in topics:
        await client.publish(topic, b"", qos=1)


async def test_a_decision_is_remembered_per_action_and_topic(broker: TestBroker) -> None:
    asked = backend(broker, "no")
    heard = listen(broker)
    client = await broker.client("c")
    await _ask(client, "t", "t", "no", "no")
    await client.subscribe("t")
    await client.subscribe("t", "$share/g/t")
    assert [(action, topic) for _, action, topic in asked.asked] == [
        ("publish", "t"),
        ("publish", "no"),
        ("subscribe", "t"),
    ]
    assert [(action, topic, allowed, cached) for _, action, topic, allowed, cached in heard] == [
        ("publish", "t", True, False),
        ("publish", "t", True, True),
        ("publish", "no", False, False),
        ("publish", "no", False, True),
        ("subscribe", "t", True, False),
        ("subscribe", "t", True, True),
        ("subscribe", "t", True, True),
    ]
    assert acl_metrics(broker) == {"check_acl": 3, "acl.allow": 5, "acl.deny": 2, "acl.cache_hit": 4}


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_cached_denial_is_a_denial(broker: TestBroker, qos: int) -> None:
    backend(broker, "no")
    watcher = await broker.client("w", subscribe="#")
    client = await broker.client("c")
    for _ in range(3):
        assert await client.publish("no", b"", qos=qos) == (0x87 if qos else 0)
    assert await watcher.nothing()


@config(acl_cache_ttl="10s")
async def test_for_acl_cache_ttl(broker: TestBroker) -> None:
    asked = backend(broker)
    client = await broker.client("c")
    await _ask(client, "t")
    await client.subscribe("t")
    await trio.sleep(9)
    await _ask(client, "t")
    await client.subscribe("t")
    assert len(asked.asked) == 2
    asked.denied.add("t")
    await trio.sleep(1.5)
    assert await client.publish("t", b"", qos=1) == 0x87
    assert await client.subscribe("t") == [0x87]
    assert len(asked.asked) == 4


@config(acl_cache_max_size=2)
async def test_the_oldest_goes_when_it_is_full(broker: TestBroker) -> None:
    asked = backend(broker)
    client = await broker.client("c")
    await _ask(client, "a", "b", "a", "b")
    await client.subscribe("x")  # pushes out the publish to `a`
    await _ask(client, "b")
    assert [topic for _, _, topic in asked.asked] == ["a", "b", "x"]
    await _ask(client, "a")
    assert [topic for _, _, topic in asked.asked] == ["a", "b", "x", "a"]
    await client.subscribe("x")
    await _ask(client, "b")
    assert [topic for _, _, topic in asked.asked] == ["a", "b", "x", "a", "b"]


@config(enable_acl_cache=False)
async def test_no_cache(broker: TestBroker) -> None:
    asked = backend(broker)
    client = await broker.client("c")
    await _ask(client, "t", "t", "t")
    await client.subscribe("t")
    await client.subscribe("t")
    assert len(asked.asked) == 5
    assert acl_metrics(broker) == {"check_acl": 5, "acl.allow": 5}


async def test_it_belongs_to_the_connection(broker: TestBroker) -> None:
    asked = backend(broker)
    for _ in range(2):
        client = await broker.client("c", clean_start=False, expiry=100)
        await _ask(client, "t")
    await _ask(await broker.client("other"), "t")
    assert [clientid for clientid, _, _ in asked.asked] == ["c", "c", "other"]


async def test_it_can_be_emptied(broker: TestBroker) -> None:
    asked = backend(broker)
    client = await broker.client("c")
    await _ask(client, "t")
    await client.subscribe("t")
    asked.denied.add("t")
    await _ask(client, "t")
    assert len(asked.asked) == 2
    broker.node.broker.forget_grants()
    assert await client.publish("t", b"", qos=1) == 0x87
    assert await client.subscribe("t") == [0x87]


async def test_wildcard_subscriptions_are_not_publishes(broker: TestBroker) -> None:
    asked = backend(broker, "p")
    client = await broker.client("c")
    await client.subscribe("p/#")
    assert await client.publish("p", b"", qos=1) == 0x87
    assert [action for _, action, _ in asked.asked] == ["subscribe", "publish"]

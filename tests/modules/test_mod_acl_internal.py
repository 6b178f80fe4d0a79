"""Access rules at work: who and what a rule fits, and the module with its file at start, reload and failure."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from acl_files import EMQX_SHIPPED, ROOT, Acl, Rule, Topic, Who, as_toml, erlang, file
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.config.load import from_mapping
from trioemqx.node import Node, open_broker
from trioemqx.plugin import ClientInfo, PluginError, covers, matches, overlaps
from trioemqx.testing import Client, TestBroker, running

NAME = "emqx_mod_acl_internal"
DENIED = 0x87
ME = ClientInfo("me", "bob", "10.1.2.3")


def acl(*lines: str) -> Any:
    """Rules from lines."""
    return Acl(file.read_lines("\n".join(lines)))


def terms(*lines: str) -> Any:
    return Acl(erlang.read_erlang("\n".join(lines)))


# -- which rule decides ------------------------------------------------------------------------------------------------


def test_the_first_rule_that_fits_decides() -> None:
    rules = acl("deny user:bob publish a", "allow all publish a", "deny all publish a/#", "allow client:me publish a/b")
    assert rules.check(ME, "publish", "a") is False
    assert rules.check(ClientInfo("x", "eve"), "publish", "a") is True
    assert rules.check(ME, "publish", "a/b") is False
    assert rules.check(ME, "publish", "b") is None, "no rule fits: the chain goes on"
    assert rules.check(ME, "subscribe", "a") is None


def test_actions() -> None:
    rules = acl("allow all publish p", "allow all subscribe s", "allow all pubsub b", "deny all")
    asked = [rules.check(ME, action, topic) for action in ("publish", "subscribe") for topic in "psb"]
    assert asked == [True, False, True, False, True, True]


@pytest.mark.parametrize(
    ("who", "client", "fits"),
    [
        ("all", ClientInfo("c"), True),
        ('{user, "bob"}', ClientInfo("c", "bob"), True),
        ('{user, "bob"}', ClientInfo("bob", "eve"), False),
        ('{user, "bob"}', ClientInfo("bob", None), False),
        ("{user, all}", ClientInfo("c", None), True),
        ('{client, "c"}', ClientInfo("c", "bob"), True),
        ('{client, "c"}', ClientInfo("d", "c"), False),
        ("{client, all}", ClientInfo("c"), True),
        ('{ipaddr, "127.0.0.1"}', ClientInfo("c", peerhost="127.0.0.1"), True),
        ('{ipaddr, "127.0.0.1"}', ClientInfo("c", peerhost="127.0.0.2"), False),
        ('{ipaddr, "127.0.0.1"}', ClientInfo("c", peerhost="::ffff:127.0.0.1"), True),
        ('{ipaddr, "10.0.0.0/8"}', ClientInfo("c", peerhost="10.255.0.1"), True),
        ('{ipaddr, "10.9.9.9/8"}', ClientInfo("c", peerhost="10.255.0.1"), True),
        ('{ipaddr, "10.0.0.0/8"}', ClientInfo("c", peerhost="11.0.0.1"), False),
        ('{ipaddr, "10.0.0.0/8"}', ClientInfo("c", peerhost="::1"), False),
        ('{ipaddr, "fe80::/10"}', ClientInfo("c", peerhost="fe80::1%eth0"), True),
        ('{ipaddr, "0.0.0.0/0"}', ClientInfo("c", peerhost=""), False),
        ('{ipaddrs, ["127.0.0.1", "::1"]}', ClientInfo("c", peerhost="::1"), True),
        ('{ipaddrs, ["127.0.0.1", "::1"]}', ClientInfo("c", peerhost="::2"), False),
        ("""{'and', [{user, "bob"}, {ipaddr, "10.0.0.0/8"}]}""", ClientInfo("c", "bob", "10.0.0.1"), True),
        ("""{'and', [{user, "bob"}, {ipaddr, "10.0.0.0/8"}]}""", ClientInfo("c", "bob", "11.0.0.1"), False),
        ("""{'and', [all, {client, all}]}""", ClientInfo("c"), True),
        ("""{'or', [{user, "bob"}, {client, "c"}]}""", ClientInfo("c", "eve"), True),
        ("""{'or', [{user, "bob"}, {client, "c"}]}""", ClientInfo("d", "eve"), False),
        ("""{'or', [{user, "bob"}, all]}""", ClientInfo("d", "eve"), True),
        ("""{'and', [{user, "bob"}, {'or', [{client, "c"}, {client, "d"}]}]}""", ClientInfo("d", "bob"), True),
        ("""{'and', [{user, "bob"}, {'or', [{client, "c"}, {client, "d"}]}]}""", ClientInfo("e", "bob"), False),
    ],
)
def test_whom_a_rule_fits(who: str, client: ClientInfo, fits: bool) -> None:
    assert terms(f"{{deny, {who}}}.").check(client, "publish", "t") is (False if fits else None)


@pytest.mark.parametrize(
    ("rule", "topic", "fits"),
    [
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "ab", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("+/b", "a/b", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", True),
        ("+/x", "$SYS/x", True),
        ("a", "a", True),
        ("a", "A", False),
        ("eq:a/b", "a/b", True),
        ("eq:a/+", "a/b", False),
        ("eq:#", "a", False),
    ],
)
@pytest.mark.parametrize("word", ["allow", "deny"])
def test_topics_of_messages(word: str, rule: str, topic: str, fits: bool) -> None:
    assert acl(f"{word} all publish {rule}").check(ME, "publish", topic) is ((word == "allow") if fits else None)


@pytest.mark.parametrize(
    ("rule", "filter", "allow", "deny"),
    [
        ("a/#", "a/#", True, True),
        ("a/+", "a/#", False, True),
        ("#", "a/#", True, True),
        ("a/#", "a/+", True, True),
        ("a/+", "a/+", True, True),
        ("a/b", "a/b", True, True),
        ("a/b", "a/c", False, False),
        ("a/b", "a/+", False, True),
        ("a/b", "#", False, True),
        ("bob/#", "+/secret", False, True),
        ("bob/#", "alice/#", False, False),
        ("a/#", "a", True, True),
        ("$SYS/#", "$SYS/brokers/#", True, True),
        ("$SYS/#", "#", False, False),
        ("$SYS/#", "+/x", False, False),
        ("#", "$SYS/#", True, True),
        ("eq:#", "#", True, True),
        ("eq:#", "a/#", False, False),
        ("eq:a/+", "a/+", True, True),
        ("eq:a/+", "a/#", False, False),
    ],
)
def test_topics_of_subscriptions(rule: str, filter: str, allow: bool, deny: bool) -> None:
    """An allowing rule must hold all that a subscription can receive; a denying one stops it when it can receive any of
    it, since a wider filter would be a way around."""
    assert (acl(f"allow all subscribe {rule}").check(ME, "subscribe", filter) is True) is allow
    assert (acl(f"deny all subscribe {rule}").check(ME, "subscribe", filter) is False) is deny


def test_client_identifier_and_user_name_in_topics() -> None:
    rules = acl("allow all pubsub dev/%c/+ user/%u/# x%c/y", "deny all")
    assert rules.check(ME, "publish", "dev/me/x")
    assert rules.check(ME, "subscribe", "user/bob/#")
    assert not rules.check(ME, "publish", "dev/you/x")
    assert not rules.check(ME, "publish", "dev/%c/x"), "the placeholder itself is nobody's"
    assert not rules.check(ME, "subscribe", "dev/+/x")
    assert not rules.check(ME, "publish", "xme/y"), "only whole levels are placeholders"
    assert rules.check(ME, "publish", "x%c/y")


@pytest.mark.parametrize("name", ["+", "#", "a/b", "+/+", "a+"])
def test_names_with_wildcards_open_nothing_and_close_what_they_name(name: str) -> None:
    """CVE-2017-7650: a client may call itself `#`."""
    strange = ClientInfo(name, name)
    for hole in ("%c", "%u"):
        opening = acl(f"allow all pubsub dev/{hole} dev/{hole}/#", "deny all")
        for topic in ("dev/x", "dev/a", "dev/a/b", f"dev/{name}", "dev/+", "dev/#"):
            assert opening.check(strange, "subscribe", topic) is False
            assert opening.check(strange, "publish", topic) is False
        closing = acl(f"deny all subscribe dev/{hole}", "allow all")
        assert closing.check(strange, "subscribe", f"dev/{name}") is False


def test_without_a_user_name_an_allowing_rule_ends_at_its_percent_u() -> None:
    nameless = ClientInfo("me")
    rules = acl("allow all pubsub a u/%u b")
    assert rules.check(nameless, "publish", "a") is True
    assert rules.check(nameless, "publish", "b") is None, "as in EMQX the rest of the list is not tried"
    assert rules.check(ME, "publish", "b") is True
    assert rules.check(ME, "publish", "u/bob") is True
    assert rules.check(nameless, "publish", "u/") is None
    everything = acl("allow all pubsub u/%u #")
    assert everything.check(nameless, "publish", "a") is None
    assert everything.check(ME, "publish", "a") is True


def test_without_a_user_name_a_denying_rule_keeps_its_other_topics() -> None:
    rules = acl("deny all pubsub a u/%u b", "allow all")
    asked = [rules.check(ClientInfo("me"), "publish", topic) for topic in ("a", "u/bob", "b")]
    assert asked == [False, True, False]


def test_a_literal_placeholder_is_no_placeholder() -> None:
    rules = acl("allow all publish eq:%u b")
    assert rules.check(ClientInfo("me"), "publish", "b") is True
    assert rules.check(ME, "publish", "%u") is True
    assert rules.check(ME, "publish", "bob") is None


def test_emqx_s_shipped_rules() -> None:
    rules = terms(EMQX_SHIPPED)
    far = ClientInfo("c", None, "10.0.0.1")
    dashboard, near = ClientInfo("c", "dashboard", "10.0.0.1"), ClientInfo("c", None, "127.0.0.1")
    asked = {
        filter: [rules.check(who, "subscribe", filter) for who in (far, dashboard, near)]
        for filter in ("$SYS/#", "$SYS/brokers/+/version", "#", "+/#", "+", "a/#")
    }
    assert asked == {
        "$SYS/#": [False, True, True],
        "$SYS/brokers/+/version": [False, True, True],
        "#": [False, False, True],
        "+/#": [True, True, True],
        "+": [True, True, True],
        "a/#": [True, True, True],
    }
    assert rules.check(far, "publish", "$SYS/x") is True, "EMQX ships no rule about publishing there"


# -- the compiled form against the plain one ---------------------------------------------------------------------------


def by_definition(rules: list[Any], client: ClientInfo, action: str, topic: str) -> bool | None:
    """The rules read one by one, with the functions of the contract only."""
    for rule in rules:
        if rule.action in (action, "pubsub") and fits_who(rule.who, client) and fits_topic(rule, client, action, topic):
            return bool(rule.allow)
    return None


def fits_who(who: Any, client: ClientInfo) -> bool:
    if who.kind == "all":
        return True
    if who.kind == "user":
        return client.username in who.names
    if who.kind == "client":
        return client.clientid in who.names
    if who.kind == "ipaddr":
        return client.peerhost in who.names or "0.0.0.0/0" in who.names
    return (all if who.kind == "and" else any)(fits_who(part, client) for part in who.parts)


def fits_topic(rule: Any, client: ClientInfo, action: str, topic: str) -> bool:
    wide = not rule.allow and action == "subscribe"
    for entry in rule.topics:
        levels = entry.filter.split("/")
        if not entry.literal and "%u" in levels and client.username is None:
            if rule.allow:
                return False
            continue
        filter = "/".join({"%c": client.clientid, "%u": client.username}.get(level, level) or "" for level in levels)
        if entry.literal:
            if entry.filter == topic:
                return True
        elif (overlaps if wide else covers)(filter, topic):
            return True
    return not rule.topics


SIMPLE_WHO = st.recursive(
    st.sampled_from([Who(), Who("user", ("bob",)), Who("client", ("me",)), Who("ipaddr", ("10.1.2.3",))]),
    lambda inner: st.builds(
        lambda kind, parts: Who(kind, parts=tuple(parts)),
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=2),
    ),
    max_leaves=3,
)
WORDS = st.sampled_from(["a", "b", "", "+", "%c", "%u", "me", "$SYS"])
SIMPLE_FILTER = st.tuples(st.lists(WORDS, max_size=3), st.sampled_from([[], ["#"]])).map(
    lambda x: "/".join(x[0] + x[1])
)
SIMPLE_TOPIC = st.one_of(
    SIMPLE_FILTER.filter(bool).map(Topic), SIMPLE_FILTER.filter(bool).map(lambda filter: Topic(filter, True))
)
SIMPLE_RULE = st.builds(
    Rule,
    st.booleans(),
    SIMPLE_WHO,
    st.sampled_from(["publish", "subscribe", "pubsub"]),
    st.lists(SIMPLE_TOPIC, max_size=3).map(tuple),
)
CLIENTS = st.sampled_from([ME, ClientInfo("me"), ClientInfo("x", "bob", "::1"), ClientInfo("y", "eve", "10.1.2.3")])


@given(st.lists(SIMPLE_RULE, max_size=6), CLIENTS, SIMPLE_FILTER, st.sampled_from(["publish", "subscribe"]))
def test_compiled_rules_say_what_the_rules_say(rules: list[Any], client: ClientInfo, topic: str, action: str) -> None:
    if action == "publish":
        topic = topic.replace("+", "p").replace("#", "h")
    assert Acl(rules).check(client, action, topic) is by_definition(rules, client, action, topic)


LETTERS = ["a", "b", "", "me", "bob", "$SYS"]
ALL_TOPICS = ["/".join(words) for depth in (1, 2, 3) for words in product(LETTERS, repeat=depth) if any(words)]


@given(st.lists(SIMPLE_RULE, max_size=6), CLIENTS, SIMPLE_FILTER)
def test_an_allowed_subscription_receives_only_what_is_allowed(
    rules: list[Any], client: ClientInfo, filter: str
) -> None:
    """No filter is a way around a rule (but for literal ones, which say that they mean one filter only)."""
    asked = Acl([rule for rule in rules if not any(topic.literal for topic in rule.topics)])
    if asked.check(client, "subscribe", filter):
        received = [topic for topic in ALL_TOPICS if matches(filter, topic)]
        assert all(asked.check(client, "subscribe", topic) for topic in received)


# -- cost --------------------------------------------------------------------------------------------------------------


def seconds(rules: Any, client: ClientInfo, topic: str, rounds: int = 2000) -> float:
    """The best time of one question."""
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(rounds):
            rules.check(client, "publish", topic)
        best = min(best, (time.perf_counter() - start) / rounds)
    return best


def test_rules_about_others_cost_nothing() -> None:
    few = acl("allow user:bob publish a/%u/#", "deny all")
    many = acl(*(f"allow user:u{n} publish a/%u/#" for n in range(5000)), "allow user:bob publish a/%u/#", "deny all")
    assert many.check(ME, "publish", "a/bob/x") is True
    assert many.check(ClientInfo("c", "u4999"), "publish", "a/u4999/x") is True
    assert seconds(many, ME, "b/x") < 20 * seconds(few, ME, "b/x")


def test_endless_topics_are_compared_as_far_as_rules_go() -> None:
    rules = acl(*(f"deny all pubsub a{n}/+/c/#" for n in range(50)))
    deep = "a/" * 32000 + "a"
    start = time.perf_counter()
    for _ in range(20):
        assert rules.check(ME, "publish", deep) is None
        assert rules.check(ME, "subscribe", deep + "/#") is None
    assert time.perf_counter() - start < 2


# -- the module --------------------------------------------------------------------------------------------------------


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "acl.conf"
    path.write_text('{allow, {user, "bob"}, pubsub, ["a/#", "$SYS/#"]}.\n{deny, all, pubsub, ["a/#"]}.\n')
    return path


@pytest.fixture
def broker_config(rules_file: Path) -> dict[str, object]:
    return {"acl_file": str(rules_file), "zone": {"default": {"enable_acl": True}}}


def write(path: Path, text: str | None) -> None:
    """Make a file; None: remove it."""
    path.parent.mkdir(exist_ok=True)
    if text is None:
        path.unlink()
    else:
        path.write_text(text, "utf-8")


@asynccontextmanager
async def external(node: Node, clientid: str, peer: str = "10.0.0.1") -> AsyncIterator[Client]:
    """A client in the shipped zone, from another machine."""
    client = Client(node.dial("external", peer))
    await client.connect(clientid)
    yield client
    await client.close()


async def test_the_file_decides_for_clients(broker: TestBroker) -> None:
    bob = await broker.client("b", username="bob")
    other = await broker.client("o")
    assert await bob.subscribe("a/#", "b", "$share/g/a/x") == [0, 0, 0]
    assert await other.subscribe("a/#", "b", "$share/g/a/x", "#") == [DENIED, 0, DENIED, DENIED]
    assert await bob.publish("a/x", b"1", qos=1) == 0
    assert await other.publish("a/x", b"2", qos=1) == DENIED
    assert await other.publish("b", b"3", qos=1) == 0
    assert broker.alarms() == {}


async def test_it_is_asked_after_the_others(broker: TestBroker) -> None:
    listed = dict(broker.node.hooks.describe())
    assert (NAME, -1) in listed["client_check_acl_now"]


@pytest.mark.parametrize(
    ("broker_config", "code"),
    [({"acl_nomatch": "allow"}, 0), ({"acl_nomatch": "deny"}, DENIED)],
    ids=["allow", "deny"],
)
async def test_without_a_file_there_are_no_rules(broker: TestBroker, code: int) -> None:
    assert NAME in broker.node.plugins.live
    client = await broker.client("c")
    assert await client.subscribe("#", "$SYS/#") == [code, code]


async def test_a_reload_reads_the_file_again_and_empties_every_cache(broker: TestBroker, rules_file: Path) -> None:
    client = await broker.client("c")
    assert await client.publish("a/x", b"", qos=1) == DENIED
    assert await client.subscribe("a/x") == [DENIED]
    write(rules_file, "{allow, all}.")
    assert await client.publish("a/x", b"", qos=1) == DENIED
    assert broker.metrics["client.acl.cache_hit"] == 1
    assert await broker.ctl(f"modules reload {NAME}") == [f"Module {NAME} reloaded successfully."]
    assert await client.subscribe("a/x") == [0]
    assert await client.publish("a/x", b"", qos=1) == 0
    write(rules_file, '{deny, all, publish, ["a/x"]}.')
    await broker.reload_plugin(NAME)
    assert await client.publish("a/x", b"", qos=1) == DENIED


@pytest.mark.parametrize("text", ["{allow, all}", "", "% all rules gone\n", "{allow, all}.\n{deny, nobody}.", None])
async def test_a_bad_file_at_a_reload_changes_nothing(broker: TestBroker, rules_file: Path, text: str | None) -> None:
    client = await broker.client("c")
    write(rules_file, text)
    with pytest.raises(PluginError, match=str(rules_file)):
        await broker.reload_plugin(NAME)
    assert await client.publish("a/x", b"", qos=1) == DENIED
    assert await client.publish("b", b"", qos=1) == 0x10


@pytest.mark.parametrize("text", ["{allow, all}.\n{deny, nobody}.", "", None])
@pytest.mark.usefixtures("autojump_clock")
async def test_a_bad_file_at_the_start_denies_everything(
    broker_config: dict[str, object], rules_file: Path, text: str | None
) -> None:
    write(rules_file, text)
    async with running(broker_config) as broker:
        client = await broker.client("c")
        assert await client.publish("b", b"", qos=1) == DENIED
        assert await client.subscribe("b") == [DENIED]
        alarm = broker.alarms()[f"plugin_not_loaded/{NAME}"]
        assert str(rules_file) in str(alarm["reason"])
        write(rules_file, '{deny, all, publish, ["a"]}.')
        await broker.ctl(f"modules load {NAME}")
        assert await client.publish("b", b"", qos=1) == 0x10
        assert await client.publish("a", b"", qos=1) == DENIED
        assert broker.alarms() == {}


async def test_unloading_leaves_nothing(broker: TestBroker) -> None:
    client = await broker.client("c")
    assert await client.publish("a/x", b"", qos=1) == DENIED
    await broker.node.plugins.unload(NAME)
    assert await client.publish("a/x", b"", qos=1) == 0x10
    assert NAME not in str(list(broker.node.hooks.describe()))


@pytest.mark.usefixtures("autojump_clock")
async def test_the_module_s_own_table_is_stronger(broker_config: dict[str, object], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(as_toml(Rule(False)))
    async with running({**broker_config, "modules": {NAME: {"acl_file": str(own)}}}) as broker:
        assert await (await broker.client("c")).publish("b", b"", qos=1) == DENIED


async def test_another_file_in_a_new_configuration(
    broker: TestBroker, broker_config: dict[str, object], tmp_path: Path
) -> None:
    client = await broker.client("c")
    assert await client.publish("b", b"", qos=1) == 0x10
    (tmp_path / "acl.toml").write_text(as_toml(Rule(False)))
    tree = {**broker_config, "acl_file": str(tmp_path / "acl.toml"), "allow_anonymous": True, "acl_nomatch": "allow"}
    assert await broker.node.plugins.configure(from_mapping(tree)) == []
    assert await client.publish("b", b"", qos=1) == DENIED


# -- a broker that nobody configured -----------------------------------------------------------------------------------


@asynccontextmanager
async def unconfigured(folder: Path, monkeypatch: pytest.MonkeyPatch, **environ: str) -> AsyncIterator[Node]:
    """A broker without a configuration file, started in a folder."""
    monkeypatch.chdir(folder)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with open_broker(None, in_memory=True) as node:
        yield node


@pytest.mark.usefixtures("autojump_clock")
async def test_without_configuration_and_file_the_shipped_rules_are_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unconfigured(tmp_path, monkeypatch) as node, external(node, "c") as client:
        assert await client.subscribe("#", "$SYS/#", "a/#") == [DENIED, DENIED, 0]
        assert await client.publish("a/b", b"", qos=1) == 0
        async with external(node, "near", "127.0.0.1") as near:
            assert await near.subscribe("#", "$SYS/#") == [0, 0]
        assert not [alarm.name for alarm in node.alarms.active() if NAME in alarm.name]


@pytest.mark.usefixtures("autojump_clock")
async def test_without_configuration_a_file_that_is_there_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unconfigured(tmp_path, monkeypatch) as node, external(node, "c") as client:
        write(tmp_path / "etc" / "acl.toml", as_toml(Rule(False)))
        await node.plugins.reload(NAME)
        assert await client.publish("a/b", b"", qos=1) == DENIED
        write(tmp_path / "etc" / "acl.toml", "broken")
        with pytest.raises(PluginError, match=r"etc/acl\.toml:1:"):
            await node.plugins.reload(NAME)
        assert await client.publish("a/b", b"", qos=1) == DENIED


@pytest.mark.usefixtures("autojump_clock")
async def test_a_file_that_the_operator_named_has_no_substitute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when it is called as the shipped one is."""
    async with (
        unconfigured(tmp_path, monkeypatch, EMQX_ACL_FILE="etc/acl.toml") as node,
        external(node, "c") as client,
    ):
        assert await client.publish("a/b", b"", qos=1) == DENIED
    async with running({"acl_file": "etc/acl.toml"}) as broker:
        assert await (await broker.client("c")).publish("a/b", b"", qos=1) == DENIED


@pytest.mark.usefixtures("autojump_clock")
async def test_the_hardened_profile_brings_no_open_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hardened = {"EMQX_SECURITY__PROFILE": "hardened", "EMQX_ALLOW_ANONYMOUS": "true"}
    async with unconfigured(tmp_path, monkeypatch, **hardened) as node, external(node, "c") as client:
        assert await client.publish("a/b", b"", qos=1) == DENIED
        assert await client.subscribe("a") == [DENIED]
        assert not [alarm.name for alarm in node.alarms.active() if NAME in alarm.name]


@pytest.mark.usefixtures("autojump_clock")
async def test_the_shipped_configuration_finds_its_rules_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("emqx.toml", "acl.toml"):
        write(tmp_path / "etc" / name, (ROOT / "etc" / name).read_text("utf-8"))
    monkeypatch.chdir(tmp_path)
    async with open_broker(Path("etc/emqx.toml"), in_memory=True) as node, external(node, "c") as client:
        assert await client.subscribe("#", "a/#") == [DENIED, 0]
        assert len(node.plugins.plugin(NAME).acl.rules) == 4  # type: ignore[attr-defined]

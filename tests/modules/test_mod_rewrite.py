"""Topic rewriting: which rule counts, what becomes of topics and filters, and what is never rewritten."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from trioemqx.config.load import from_mapping
from trioemqx.config.load import load as load_config
from trioemqx.plugin import ClientInfo, Message, PluginError, SubOpts, hookimpl
from trioemqx.services.plugins import importing
from trioemqx.testing import TestBroker, Will, running
from trioemqx.types import Properties

NAME = "emqx_mod_rewrite"
MODULES = Path(__file__).resolve().parents[2] / "modules"
rewrite: Any = importing.fresh(NAME, MODULES / f"{NAME}.py")

EMQX_EXAMPLE = {
    "pub": {"rule": {"1": "x/# ^x/y/(.+)$ z/y/$1"}},
    "sub": {"rule": {"1": "y/+/z/# ^y/(.+)/z/(.+)$ y/z/$2"}},
}


def settings(**keys: object) -> dict[str, object]:
    """A broker with these keys in `[module.rewrite]`."""
    return {"modules": {"load": [NAME]}, "module": {"rewrite": keys}}


def rules(**keys: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [settings(**keys)], ids=[""])


@pytest.fixture
def broker_config() -> dict[str, object]:
    return settings(**EMQX_EXAMPLE)


async def published(broker: TestBroker, topic: str, clientid: str = "", username: str | None = None) -> str:
    """Where a message that was published to a topic comes out."""
    watcher = await broker.client(subscribe="#")
    publisher = await broker.client(clientid, username=username)
    await publisher.publish(topic, b"x", qos=1)
    name, _ = await watcher.message()
    await watcher.disconnect()
    await publisher.disconnect()
    return name


def subscriptions(broker: TestBroker, clientid: str) -> set[str]:
    """What a client is subscribed to, as the session knows it."""
    session = broker.node.find(clientid)
    assert session is not None
    return {subscription.name for subscription in session.subscriptions.values()}


# -- published messages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "expected"),
    [("x/y/1", "z/y/1"), ("x/y/1/2", "z/y/1/2"), ("x/1/2", "x/1/2"), ("a/y/1", "a/y/1"), ("y/a/z/b", "y/a/z/b")],
)
async def test_messages_go_under_their_new_topic(broker: TestBroker, topic: str, expected: str) -> None:
    assert await published(broker, topic) == expected


@rules(rule={"1": "a/# ^a/(.+)$ b/$1", "2": "a/# ^(.+)$ c/$1"})
async def test_the_first_rule_whose_filter_matches_counts(broker: TestBroker) -> None:
    assert await published(broker, "a/x") == "b/x"
    assert await published(broker, "a") == "a", "no later rule is tried when the expression does not match"
    assert await published(broker, "b/x") == "b/x", "and the result is not rewritten again"


@rules(pub={"rule": {"10": "t/# ^t$ ten", "9": "t ^t$ nine"}})
async def test_rules_go_by_number(broker: TestBroker) -> None:
    assert await published(broker, "t") == "nine"


@rules(rule={"1": "t ^t$ both"}, pub={"rule": {"1": "t ^t$ pub", "2": "u ^u$ pub"}})
async def test_rules_for_both_directions_come_first(broker: TestBroker) -> None:
    assert await published(broker, "t") == "both"
    assert await published(broker, "u") == "pub"


@rules(rule={"1": "# (\\w+)(-\\d)?/(.)(.)(.)(.)(.)(.)(.)$ $9$8$7$6$5$4$3[$2]$1/$10$0%x"})
async def test_nine_groups_and_what_is_no_group(broker: TestBroker) -> None:
    assert await published(broker, "top/abcdefg") == "gfedcba[]top/top0$0%x"


@rules(rule={"1": "in/# ^in/(.*)$ out/%c/%u/$1/%c"})
async def test_client_identifier_and_user_name(broker: TestBroker) -> None:
    assert await published(broker, "in/x", "me", "bob") == "out/me/bob/x/me"
    assert await published(broker, "in/$1%c", "me", "bob") == "out/me/bob/$1%c/me", "values are not filled in again"


@rules(rule={"1": "in/# ^in/(.*)$ out/%u/$1", "2": "c/# ^c/(.*)$ out/%c/$1"})
@pytest.mark.parametrize(
    ("topic", "clientid", "username"),
    [
        ("in/x", "me", None),
        ("in/x", "me", "a/b"),
        ("in/x", "me", "#"),
        ("c/x", "+", "bob"),
        ("c/x", "a/b", "bob"),
    ],
)
async def test_names_that_would_reach_elsewhere_are_not_filled_in(
    broker: TestBroker, caplog: pytest.LogCaptureFixture, topic: str, clientid: str, username: str | None
) -> None:
    assert await published(broker, topic, clientid, username) == topic
    assert "is not rewritten" in caplog.text
    client = await broker.client(clientid, username=username, subscribe=topic)
    assert subscriptions(broker, clientid) == {topic}
    await client.disconnect()


@rules(rule={"1": "a ^a$ b/+", "2": "e/# ^e/(.*)$ $1", "3": "l/# ^(.*)$ " + "$1" * 20, "4": "same ^same$ same"})
@pytest.mark.parametrize("topic", ["a", "e/", "l/" + "x" * 4000])
async def test_a_result_that_is_no_topic_is_not_used(
    broker: TestBroker, caplog: pytest.LogCaptureFixture, topic: str
) -> None:
    assert await published(broker, topic) == topic
    assert f"{topic[:10]!r:.8}" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
    assert broker.node.broker.metrics.hook_crashed == 0


@rules(rule={"1": "to/# ^to/(.+)$ $1", "2": "in/# ^in/(.+)$ $SYS/$1"})
@pytest.mark.parametrize("topic", ["to/$SYS/brokers", "in/brokers"])
async def test_clients_do_not_speak_for_the_broker_through_a_rule(
    broker: TestBroker, caplog: pytest.LogCaptureFixture, topic: str
) -> None:
    forged = await broker.client("watcher", subscribe="$SYS/brokers")
    assert await published(broker, topic) == topic
    assert "nothing can be published to '$SYS/brokers'" in caplog.text
    assert await forged.nothing()


@rules(pub={"rule": ["t/# ^t/(.*)$ u/$1"]})
async def test_everything_else_of_a_message_stays(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="u/#", qos=2)
    publisher = await broker.client("p", username="bob")
    seen: list[Message] = []

    class Looking:
        @hookimpl
        def message_publish(self, message: Message) -> None:
            seen.append(message)

    broker.node.hooks.register(Looking(), "looking")
    properties = Properties()
    properties.user_property = [("a", "b")]
    await publisher.publish("t/x", b"payload", qos=1, retain=True, properties=properties)
    packet = await watcher.receive_publish()
    assert (packet.topic, packet.payload, packet.qos) == ("u/x", b"payload", 1)
    assert packet.properties is not None
    assert packet.properties.user_property == [("a", "b")]
    assert [(m.topic, m.publisher, m.username) for m in seen] == [("u/x", "p", "bob")], "others see the new topic only"
    late = await broker.client("late", subscribe="u/#")
    assert (await late.receive_publish()).retain, "retained under the new topic"


@rules(rule={"1": "# ^(.*)$ all/$1"})
async def test_wildcards_in_a_rule_do_not_reach_dollar_topics(broker: TestBroker) -> None:
    watcher = await broker.client("w")
    watched: list[str] = []

    class Looking:
        @hookimpl
        def message_publish(self, message: Message) -> None:
            watched.append(message.topic)

    broker.node.hooks.register(Looking(), "looking")
    broker.node.publish(Message("$SYS/x", b""))
    broker.node.publish(Message("x", b"", publisher="http_api"))
    assert watched == ["$SYS/x", "all/x"], "the broker's own and the API's messages go the same way"
    await watcher.disconnect()


# -- subscriptions -----------------------------------------------------------------------------------------------------


async def test_filters_go_under_their_new_name(broker: TestBroker) -> None:
    client = await broker.client("c")
    assert await client.subscribe("y/a/z/b", "y/a/z/#", "y/+/z/+/c", "x/y/1", qos=1) == [1, 1, 1, 1]
    assert subscriptions(broker, "c") == {"y/z/b", "y/z/#", "y/z/+/c", "x/y/1"}
    await client.publish("y/z/b", b"1", qos=1)
    assert {(await client.message())[0] for _ in range(2)} == {"y/z/b"}
    assert await client.unsubscribe("y/a/z/b", "y/other/z/#", "y/z/nothing") == [0, 0, 0x11]
    assert subscriptions(broker, "c") == {"y/z/+/c", "x/y/1"}


@rules(sub={"rule": {"1": "old/# ^old/(.*)$ new/$1"}}, rule={"1": "$share/# ^.*$ never"})
async def test_prefixes_are_no_part_of_the_filter_and_stay(broker: TestBroker) -> None:
    client = await broker.client("c")
    assert await client.subscribe("$share/g/old/a", "$queue/old/b") == [0, 0]
    assert subscriptions(broker, "c") == {"$share/g/new/a", "$queue/new/b"}
    await client.publish("new/a", b"", qos=1)
    assert (await client.message())[0] == "new/a"
    assert await client.unsubscribe("$share/g/old/a", "$queue/old/b") == [0, 0]
    assert subscriptions(broker, "c") == set()


@rules(sub={"rule": {"1": "bad ^bad$ a/#/b", "2": "nest/# ^nest/(.*)$ $share/g/$1", "3": "empty/# ^empty/(.*)$ $1"}})
async def test_a_result_that_is_no_filter_is_not_used(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    client = await broker.client("c")
    assert await client.subscribe("bad", "empty/", "$share/h/nest/x", "nest/y") == [0, 0, 0, 0]
    assert subscriptions(broker, "c") == {"bad", "empty/", "$share/h/nest/x", "$share/g/y"}
    assert len([record for record in caplog.records if "is not rewritten" in record.message]) == 3


@rules(sub={"rule": {"1": "in/# ^in/(.*)$ out/%c/$1"}})
async def test_access_is_checked_on_what_the_client_wrote(broker: TestBroker) -> None:
    asked: list[str] = []

    class Rules:
        @hookimpl
        def client_check_acl_now(self, client: ClientInfo, action: str, topic: str) -> bool:
            asked.append(topic)
            return topic != "in/b"

    broker.node.hooks.register(Rules(), "rules")
    client = await broker.client("c")
    assert await client.subscribe("in/a", "in/b") == [0, 0x87]
    assert asked == ["in/a", "in/b"]
    assert subscriptions(broker, "c") == {"out/c/a"}


async def test_the_acl_file_judges_what_was_written_and_not_where_it_goes(tmp_path: Path) -> None:
    """As in EMQX: the rules of the rewrite are the operator's, and what they lead to is meant. In both directions, for
    messages and for wills."""
    (tmp_path / "acl.toml").write_text(
        '[[acl]]\npermission = "deny"\nwho = { user = "guest" }\ntopics = ["out/#", "shut/#"]\n'
        '[[acl]]\npermission = "allow"\nwho = "all"\n'
    )
    config = {
        "acl_file": str(tmp_path / "acl.toml"),
        "modules": {"load": ["emqx_mod_acl_internal", NAME]},
        "module": {"rewrite": {"rule": {"1": "in/# ^in/(.*)$ out/$1", "2": "shut/# ^shut/(.*)$ open/$1"}}},
    }
    async with running(config) as broker:
        watcher = await broker.client("w", subscribe="#")
        guest = await broker.client("g", username="guest", will=Will("in/will", b"w"))
        assert await guest.publish("out/a", b"direct", qos=1) == 0x87
        assert await guest.publish("in/a", b"rewritten", qos=1) == 0
        assert await guest.publish("shut/a", b"closed", qos=1) == 0x87
        assert await guest.subscribe("out/#", "in/#", "shut/#") == [0x87, 0, 0x87]
        assert subscriptions(broker, "g") == {"out/#"}
        await guest.close()
        assert await watcher.message() == ("out/a", b"rewritten")
        assert await watcher.message() == ("out/will", b"w")


async def test_other_hooks_see_the_new_filters(broker: TestBroker) -> None:
    seen: list[list[str]] = []

    class Looking:
        @hookimpl
        def client_subscribe(self, filters: list[tuple[str, SubOpts]]) -> None:
            seen.append([name for name, _ in filters])

        @hookimpl
        def client_unsubscribe(self, filters: list[tuple[str, SubOpts]]) -> None:
            seen.append([name for name, _ in filters])

    broker.node.hooks.register(Looking(), "looking")
    client = await broker.client("c")
    await client.subscribe("y/a/z/b", "q")
    await client.unsubscribe("y/a/z/b")
    assert seen == [["y/z/b", "q"], ["y/z/b"]]


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "path", "reason"),
    [
        ({"rule": {"1": "a b"}}, "rule.1", "expected <topic filter> <regular expression> <destination>, got 'a b'"),
        ({"rule": {"7": "a ^a$ b c"}}, "rule.7", "expected <topic filter> <regular expression> <destination>"),
        ({"pub": {"rule": {"3": "a/#/b ^a$ b"}}}, "pub.rule.3", "'a/#/b' is not a topic filter"),
        ({"sub": {"rule": {"2": "a ^(a$ b"}}}, "sub.rule.2", "'^(a$' is not a regular expression: missing )"),
        ({"rule": {"1": "a (?=a) b"}}, "rule.1", "'(?=a)' is not a regular expression: invalid perl operator"),
        ({"rule": {"1": "a ^(a)$ $2"}}, "rule.1", "$2 in '$2': '^(a)$' has 1 groups"),
        ({"rule": ["a ^a$ b", "a [ b"]}, "rule", "rule 2: '[' is not a regular expression"),
        ({"rules": {"1": "a ^a$ b"}}, "rules", "unknown key (did you mean rule?)"),
    ],
)
@pytest.mark.usefixtures("autojump_clock")
async def test_a_bad_rule_is_one_line_that_names_its_key(
    keys: dict[str, object], path: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running({**settings(**keys), "modules": {"load": []}}) as broker:
        with pytest.raises(PluginError) as caught:
            await broker.node.plugins.load(NAME)
    text = str(caught.value)
    assert f"{NAME}.{path}" in text
    assert reason in text
    assert "\n" not in text
    assert capfd.readouterr().err == "", "the library does not write past the log"


@pytest.mark.usefixtures("autojump_clock")
async def test_the_line_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "emqx.toml"
    write(file, '[module.rewrite]\npub.rule.1 = "a ^a$ b"\n\npub.rule.2 = "a [ b"\n')
    tree = load_config(file, {})
    async with running() as broker:
        broker.node.plugins.catalogue.config = tree
        with pytest.raises(PluginError, match=r"emqx\.toml:4: .*pub\.rule\.2: '\[' is not a regular expression"):
            await broker.node.plugins.load(NAME)


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


@rules(rule="a/# ^a/(.*)$ b/$1", pub={"rule": ["c/# ^c/(.*)$ d/$1", "e/# ^e/(.{1,3})$ f/$1"]})
async def test_rules_may_be_one_text_or_a_list(broker: TestBroker) -> None:
    assert [await published(broker, topic) for topic in ("a/1", "c/1", "e/1", "e/1234")] == [
        "b/1",
        "d/1",
        "f/1",
        "e/1234",
    ]


@pytest.mark.parametrize(
    ("broker_config", "points"),
    [
        (settings(), set()),
        (settings(pub={"rule": ["a a b"]}), {"message_publish"}),
        (settings(sub={"rule": ["a a b"]}), {"client_subscribe", "client_unsubscribe"}),
        (settings(rule=["a a b"]), {"message_publish", "client_subscribe", "client_unsubscribe"}),
    ],
    ids=["none", "pub", "sub", "both"],
)
async def test_hooks_are_there_for_directions_with_rules_only(broker: TestBroker, points: set[str]) -> None:
    """A hook on every message costs the broker its fast paths."""
    described = broker.node.hooks.describe()
    assert {point: (NAME, 1000) in chain for point, chain in described if NAME in str(chain)} == dict.fromkeys(
        points, True
    )


async def test_reload_and_unload(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="#")

    async def comes_out(topic: str) -> str:
        await client.publish(topic, b"", qos=1)
        return (await client.message())[0]

    assert await comes_out("x/y/1") == "z/y/1"
    base = {"allow_anonymous": True, "acl_nomatch": "allow"}
    new = from_mapping({**base, **settings(pub={"rule": {"1": "x/# ^x/(.+)$ new/$1"}})})
    assert await broker.node.plugins.configure(new) == []
    assert await comes_out("x/y/1") == "new/y/1"
    bad = from_mapping({**base, **settings(pub={"rule": {"1": "x/# [ new/$1"}})})
    (problem,) = await broker.node.plugins.configure(bad)
    assert "pub.rule.1" in problem
    assert await comes_out("x/y/1") == "new/y/1", "the old rules go on"
    await broker.node.plugins.unload(NAME)
    assert await comes_out("x/y/1") == "x/y/1"
    assert NAME not in str(list(broker.node.hooks.describe()))


# -- hostile topics ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"^(a|aa)+$", r"^(.*a){20}$", r"^(\w+\s?)*$"])
def test_no_topic_makes_matching_exponential(pattern: str) -> None:
    rule = rewrite.compiled(f"# {pattern} b")
    start = time.perf_counter()
    for _ in range(5):
        rule.rewritten("a" * 60000 + "!", "c", None)
    assert time.perf_counter() - start < 3


def test_topics_of_any_script() -> None:
    rule = rewrite.compiled("# ^ü/(.)/(.*)$ $2/ö/$1")
    assert rule.rewritten("ü/日/\U0001f600", "c", None) == "\U0001f600/ö/日"

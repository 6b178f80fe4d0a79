"""Access rows of the built-in store: who is asked first, what fits, placeholders, commands, limits."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from emqx_auth_mnesia.acl import Ready, shortened
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from trioemqx.plugin import ClientInfo, covers, overlaps
from trioemqx.testing import Client, TestBroker, running

NAME = "emqx_auth_mnesia"
calmly = examples(deadline=None)
DENIED = 0x87
NOBODY = 0x10
"""No matching subscribers: also a success."""


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"auth": {"mnesia": getattr(request, "param", {})}}


def settings(**values: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [values], indirect=True, ids=[""])


def plugin(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


async def rows(broker: TestBroker, *lines: str) -> None:
    """Add rows, the oldest first, a while apart."""
    for line in lines:
        assert await broker.ctl(f"acl add {line}") == ["ok"]
        await trio.sleep(1)


async def may(client: Client, action: str, topic: str) -> bool:
    code = await client.publish(topic, qos=1) if action == "publish" else (await client.subscribe(topic))[0]
    assert code in (0, NOBODY, DENIED)
    return code != DENIED


async def test_clientid_then_username_then_all(broker: TestBroker) -> None:
    await rows(broker, "clientid c t pub allow", "username u t pub deny", "username u t2 pub allow", "_all # pub deny")
    client = await broker.client("c", username="u")
    assert await may(client, "publish", "t")
    assert await may(client, "publish", "t2")
    assert not await may(client, "publish", "t3")
    other = await broker.client("other", username="u")
    assert not await may(other, "publish", "t")
    nobody = await broker.client("nobody")
    assert not await may(nobody, "publish", "t2")


async def test_within_a_group_the_newest_comes_first(broker: TestBroker) -> None:
    await rows(
        broker,
        "clientid c t/# pub deny",
        "clientid c t/1 pub allow",
        "clientid c t/1/2 pub allow",
        "clientid c +/1/# pub deny",
    )
    client = await broker.client("c")
    assert not await may(client, "publish", "t/1")
    await rows(broker, "clientid c t/1 pub allow")  # again: it is the newest now
    assert await may(client, "publish", "t/1")
    assert not await may(client, "publish", "t/1/2")
    await broker.reload_plugin(NAME)
    assert await may(client, "publish", "t/1")
    await broker.node.plugins.unload(NAME)
    await broker.node.plugins.load(NAME)
    assert await may(client, "publish", "t/1")
    assert not await may(client, "publish", "t/1/2")


async def test_rows_of_one_moment_keep_their_order(broker: TestBroker) -> None:
    """Also over a restart, and when the clock is set back."""
    mine = plugin(broker)
    for now, (topic, access) in zip((500, 500, 400), (("#", "deny"), ("t/#", "allow"), ("t/1", "deny")), strict=True):
        assert mine.acl.add("all", "", topic, "pub", access, now) == "ok"
    client = await broker.client("c")
    for _ in range(2):
        assert not await may(client, "publish", "t/1")
        assert await may(client, "publish", "t/2")
        assert not await may(client, "publish", "u")
        await broker.node.plugins.unload(NAME)
        await broker.node.plugins.load(NAME)


async def test_no_row_that_fits_is_no_answer(broker: TestBroker) -> None:
    await rows(broker, "clientid c t pub deny", "username other # pubsub deny")
    client = await broker.client("c")
    assert await may(client, "publish", "u")
    assert await may(client, "subscribe", "t")


async def test_pubsub_is_two_rows(broker: TestBroker) -> None:
    await rows(broker, "clientid c t pubsub deny")
    client = await broker.client("c")
    assert not await may(client, "publish", "t")
    assert not await may(client, "subscribe", "t")
    assert len(plugin(broker).list_acl("clientid")) == 2
    await rows(broker, "clientid c t sub allow")
    assert await may(client, "subscribe", "t")
    assert not await may(client, "publish", "t")


async def test_a_change_is_felt_at_once(broker: TestBroker) -> None:
    client = await broker.client("c")
    assert await may(client, "publish", "t")
    await rows(broker, "_all t pub deny")
    assert not await may(client, "publish", "t")
    await broker.ctl("acl del _all t")
    assert await may(client, "publish", "t")
    await rows(broker, "_all t pub deny")
    assert not await may(client, "publish", "t")
    await plugin(broker).import_data(
        {"acl_mnesia": [{"type": "clientid", "type_value": "c", "topic": "t", "action": "pub", "access": "allow"}]}
    )
    assert await may(client, "publish", "t")


async def test_placeholders(broker: TestBroker) -> None:
    await rows(broker, "_all # pubsub deny", "_all c/%c/# pubsub allow", "_all u/%u pub allow", "_all x%c pub allow")
    client = await broker.client("me", username="alice")
    assert await may(client, "publish", "c/me/deep/down")
    assert await may(client, "subscribe", "c/me/#")
    assert await may(client, "publish", "u/alice")
    assert not await may(client, "publish", "c/other")
    assert not await may(client, "publish", "xme")  # whole levels only
    assert not await may(client, "subscribe", "c/+/#")
    nameless = await broker.client("nameless")
    assert not await may(nameless, "publish", "u/alice")
    assert not await may(nameless, "publish", "u/%u")


@pytest.mark.parametrize("name", ["+", "#", "+/x", "other/x"])
async def test_a_name_opens_nothing_that_is_not_its_own(broker: TestBroker, name: str) -> None:
    """CVE-2017-7650."""
    await rows(broker, "_all # pubsub deny", "_all c/%c pubsub allow", "_all u/%u/# pubsub allow")
    client = await broker.client(name, username=name)
    for topic in ("c/other", "c/other/x", "u/other", "u/other/x"):
        assert not await may(client, "publish", topic)
    for filter in ("c/+", "c/#", "u/#", "u/+/x"):
        assert not await may(client, "subscribe", filter)


async def test_a_name_with_slashes_does_not_get_out_of_what_is_denied(broker: TestBroker) -> None:
    await rows(broker, "_all c/%c sub deny")
    client = await broker.client("a/b/c/d")
    assert not await may(client, "subscribe", "c/a/b/c/d")
    assert await may(client, "subscribe", "c/a/b/c/e")


async def test_a_wider_filter_does_not_get_round_a_denial(broker: TestBroker) -> None:
    await rows(broker, "_all secret/1 sub deny")
    client = await broker.client("c")
    for filter in ("secret/1", "secret/#", "secret/+", "+/1", "#", "$share/g/secret/#"):
        assert not await may(client, "subscribe", filter)
    for filter in ("secret/2", "+/2", "other/#"):
        assert await may(client, "subscribe", filter)


async def test_an_allowed_subscription_lies_within_the_row(broker: TestBroker) -> None:
    await rows(broker, "_all # pubsub deny", "_all open/+ pubsub allow")
    client = await broker.client("c")
    assert await may(client, "subscribe", "open/1")
    assert await may(client, "subscribe", "open/+")
    assert not await may(client, "subscribe", "open/#")
    assert not await may(client, "publish", "open/1/2")


LEVELS = st.lists(st.sampled_from(["a", "b", "ab", "+", ""]), min_size=1, max_size=6)
FILTERS = st.builds(lambda levels, more: "/".join(levels + ["#"] * more), LEVELS, st.booleans())


@calmly
@given(FILTERS, FILTERS, st.booleans(), st.sampled_from(["publish", "subscribe"]))
def test_long_topics_are_shortened_without_a_difference(rule: str, topic: str, allow: bool, action: str) -> None:
    near = shortened(topic, rule.count("/"))
    assert covers(rule, near) == covers(rule, topic)
    assert overlaps(rule, near) == overlaps(rule, topic)
    access = "allow" if allow else "deny"
    touches = action == "subscribe" and not allow and ("+" in topic or "#" in topic)
    fits = overlaps(rule, topic) if touches else covers(rule, topic)
    for actions in (("pubsub",), ("sub", "pub")):
        ready = Ready((rule, one, access) for one in actions)
        assert ready.check(ClientInfo("c"), action, topic) == (allow if fits else None)


# -- commands [cli 4.4] ----------------------------------------------------------------------------------------------


async def test_commands(broker: TestBroker) -> None:
    assert await broker.ctl("acl list") == []
    await rows(
        broker,
        "clientid c1 t pub allow",
        "username u1 t/# pubsub deny",
        "_all $SYS/# sub deny",
        "clientid c1 t2 sub deny",
    )
    c1 = [
        'Acl(clientid = <<"c1">> topic = <<"t2">> action = sub access = deny)',
        'Acl(clientid = <<"c1">> topic = <<"t">> action = pub access = allow)',
    ]
    u1 = [
        'Acl(username = <<"u1">> topic = <<"t/#">> action = sub access = deny)',
        'Acl(username = <<"u1">> topic = <<"t/#">> action = pub access = deny)',
    ]
    everybody = ['Acl($all topic = <<"$SYS/#">> action = sub access = deny)']
    assert await broker.ctl("acl list") == c1 + u1 + everybody
    assert await broker.ctl("acl list clientid") == await broker.ctl("acl show clientid c1") == c1
    assert await broker.ctl("acl list username") == await broker.ctl("acl show username u1") == u1
    assert await broker.ctl("acl list _all") == everybody
    assert await broker.ctl("acl show clientid nobody") == []
    assert await broker.ctl("acl delete clientid c1 t2") == ["ok"]
    assert await broker.ctl("acl del username u1 t/#") == ["ok"]
    assert await broker.ctl("acl del _all $SYS/#") == ["ok"]
    assert await broker.ctl("acl del _all $SYS/#") == ["ok"]
    assert await broker.ctl("acl list") == c1[1:]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("clientid c t publish allow", "Error: Input is illegal"),
        ("clientid c t pub yes", "Error: Input is illegal"),
        ("_all t all allow", "Error: Input is illegal"),
        ("username u a/#/b pub allow", "Error: topic"),
    ],
)
async def test_what_may_not_be_added(broker: TestBroker, line: str, answer: str) -> None:
    assert await broker.ctl(f"acl add {line}") == [answer]
    assert await broker.ctl("acl list") == []


@pytest.mark.parametrize(
    "line", ["acl", "acl list peerhost", "acl add clientid c t pub", "acl add _all c t pub allow", "acl show _all"]
)
async def test_wrong_words_are_answered_with_the_usage(broker: TestBroker, line: str) -> None:
    usage = await broker.ctl(line)
    assert any(line.startswith("acl add username <Username> <Topic> <Action> <Access> ") for line in usage)


async def test_another_acl_command_lives_beside_it() -> None:
    """EMQX loses `acl cache-clean` while this plugin is loaded, and `acl` when it is unloaded [cli 3.10]."""
    async with running({"plugins": {"load": [NAME, "emqx_retainer"]}}) as broker:
        other = broker.node.plugins.plugin("emqx_retainer").context
        other.command("acl cache-clean test", lambda: "cleaned")
        assert await broker.ctl("acl cache-clean test") == ["cleaned"]
        assert await broker.ctl("acl add _all t pub deny") == ["ok"]
        await broker.node.plugins.unload(NAME)
        assert await broker.ctl("acl cache-clean test") == ["cleaned"]


# -- methods for an API [http 2.21] ----------------------------------------------------------------------------------


async def test_rows_as_plain_data(broker: TestBroker) -> None:
    mine = plugin(broker)
    assert mine.add_acl("clientid", "c1", "t/1", "pub", "allow") == "ok"
    assert mine.add_acl("username", "u1", "t/2", "sub", "deny") == "ok"
    assert mine.add_acl("all", "", "t/3", "pubsub", "deny") == "ok"
    assert mine.list_acl("clientid") == [{"clientid": "c1", "topic": "t/1", "action": "pub", "access": "allow"}]
    assert mine.list_acl("username", "u1") == [{"username": "u1", "topic": "t/2", "action": "sub", "access": "deny"}]
    assert mine.list_acl("all") == [
        {"all": "$all", "topic": "t/3", "action": action, "access": "deny"} for action in ("sub", "pub")
    ]
    assert mine.list_acl("username", "nobody") == []
    assert mine.delete_acl("all", "", "t/3") is True
    assert mine.delete_acl("all", "", "t/3") is False
    assert mine.list_acl("all") == []


async def test_what_is_wrong_is_named_in_emqx_order(broker: TestBroker) -> None:
    mine = plugin(broker)
    assert mine.add_acl("clientid", "", None, "x", "x") == "login"
    assert mine.add_acl("peerhost", "c", "t", "pub", "allow") == "login"
    assert mine.add_acl("all", "c", "t", "pub", "allow") == "login"
    assert mine.add_acl("clientid", "c", "", "x", "x") == "topic"
    assert mine.add_acl("clientid", "c", "t", "x", "x") == "action"
    assert mine.add_acl("clientid", "c", "t", "pub", "x") == "access"


@settings(max_acl_rows=4, max_acl_rows_per_name=2)
async def test_rows_are_bounded(broker: TestBroker) -> None:
    await rows(broker, "clientid c t pubsub allow")
    each = ["Error: full, auth.mnesia.max_acl_rows_per_name is 2"]
    assert await broker.ctl("acl add clientid c u pub allow") == each
    assert await broker.ctl("acl add clientid c t pubsub deny") == ["ok"]
    await rows(broker, "clientid d t pubsub allow")
    assert await broker.ctl("acl add _all t pub allow") == ["Error: full, auth.mnesia.max_acl_rows is 4"]
    await broker.ctl("acl del clientid d t")
    assert await broker.ctl("acl add _all t pub allow") == ["ok"]
    assert plugin(broker).acl.count == len(plugin(broker).export_data()["acl_mnesia"]) == 3

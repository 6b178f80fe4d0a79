"""Access rules judged by their effect: 20 filters in rules times 20 in subscriptions, with and without a share group.
What counts is which messages arrive, not which code SUBACK has."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import trio

from trioemqx.core.topics import matches
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import make_publish, running
from trioemqx.types import ClientInfo

FILTERS = (
    *("a", "b", "a/b", "a/c", "a/b/c", "/a", "a/", "a//b"),
    *("+", "#", "a/+", "a/#", "+/b", "+/#", "a/+/c", "+/+", "a/b/#", "/+", "+/b/#", "+/+/+"),
)
TOPICS = ("a", "b", "c", "a/b", "a/c", "c/b", "a/b/c", "a/c/c", "b/b/b", "/a", "/b", "a/", "a//b", "a/b/c/d", "c/c/c/c")
PREFIXES = ("", "$share/g{number}/")


def rules(permission: str) -> str:
    """A user for each filter, who may subscribe to everything but that one, or to nothing else."""
    other = {"allow": "deny", "deny": "allow"}[permission]
    lines = [
        f'[[acl]]\npermission = "{permission}"\nwho = {{ user = "u{number}" }}\n'
        f'action = "subscribe"\ntopics = ["{rule}"]'
        for number, rule in enumerate(FILTERS)
    ]
    lines.append(f'[[acl]]\npermission = "{other}"\nwho = "all"\naction = "subscribe"')
    return "\n".join([*lines, '[[acl]]\npermission = "allow"\nwho = "all"\n'])


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("permission", ["allow", "deny"])
async def test_no_subscription_gets_round_a_rule(
    permission: str, prefix: str, tmp_path: Path, autojump_clock: object
) -> None:
    (tmp_path / "acl.toml").write_text(rules(permission))
    config = {"acl_file": str(tmp_path / "acl.toml"), "modules": {"load": ["emqx_mod_acl_internal"]}}
    arrived = 0
    async with running(config) as broker:
        assert broker.alarms() == {}
        clients = []
        for number, (rule, filter) in enumerate(product(enumerate(FILTERS), FILTERS)):
            client = await broker.client(f"c{number}", username=f"u{rule[0]}")
            await client.subscribe(prefix.format(number=number) + filter)
            clients.append((rule[1], filter, client))
        sender = await broker.client("sender")
        for topic in TOPICS:
            await sender.publish(topic, b"x", qos=1)
        for rule, filter, client in clients:
            await client.ping()
            topics = {packet.topic for packet in client.inbox}
            wrong = {topic for topic in topics if matches(rule, topic) is (permission == "deny")}
            assert not wrong, f"{permission} {rule}: {prefix}{filter} gets {wrong}"
            assert all(matches(filter, topic) for topic in topics)
            arrived += len(topics)
    assert arrived > 100, "some are allowed, or nothing was tested"


DENY = '[[acl]]\npermission = "deny"\nwho = "all"\naction = "publish"\ntopics = ["a/#", "$delayed/7/#"]\n'
ALLOW = '[[acl]]\npermission = "allow"\nwho = "all"\n'


class NoOpinion:
    """A backend that takes its time, so that the others have to wait as well."""

    @hookimpl
    async def client_check_acl(self, client: ClientInfo, action: str, topic: str) -> None:
        await trio.sleep(0.1)


@pytest.mark.parametrize("wait", ["", "waits"])
async def test_delayed_hides_no_topic(tmp_path: Path, autojump_clock: object, wait: str) -> None:
    """A message is for the topic that it is published to in the end, and for the one it was sent to."""
    (tmp_path / "acl.toml").write_text(DENY + ALLOW)
    config = {
        "acl_file": str(tmp_path / "acl.toml"),
        "modules": {"load": ["emqx_mod_acl_internal", "emqx_mod_delayed"]},
    }
    async with running(config) as broker:
        if wait:
            broker.node.hooks.add(NoOpinion(), "no_opinion", 2000)
        watcher = await broker.client("watcher", subscribe="#")
        sender = await broker.client("sender")
        for topic in ("$delayed/1/a/b", "$delayed/1/$delayed/1/a/b", "$delayed/7/b"):
            assert await sender.publish(topic, b"hidden", qos=1) == 0x87
        await sender.publish("$delayed/1/b", b"open", qos=1)
        assert await watcher.message() == ("b", b"open")
        assert await watcher.nothing(20)


async def test_a_will_hides_no_topic_either(tmp_path: Path, autojump_clock: object) -> None:
    (tmp_path / "acl.toml").write_text(DENY + ALLOW)
    config = {
        "acl_file": str(tmp_path / "acl.toml"),
        "modules": {"load": ["emqx_mod_acl_internal", "emqx_mod_delayed"]},
    }
    async with running(config) as broker:
        watcher = await broker.client("watcher", subscribe="#")
        for topic in ("$delayed/1/a/b", "$delayed/1/b"):
            await (await broker.client("sender", will=make_publish(topic, b"will", 0, False, False, 0, None))).close()
            await trio.sleep(3)
        assert await watcher.message() == ("b", b"will")
        assert await watcher.nothing(20)

"""docs/rules.md: its tables are those of the code, its SQL is SQL, and its examples do what it says."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

from trioemqx.config.rules import RuleEngineConfig
from trioemqx.rules import reference, resources, running
from trioemqx.rules.actions import mqtt_broker, republish, webserver
from trioemqx.rules.branches import DRAIN_SECONDS
from trioemqx.rules.sql import Environment, compile_rule, standard_functions
from trioemqx.rules.sql.meter import MAX_DEPTH, meter
from trioemqx.rules.types import bridge_mqtt, web_hook
from trioemqx.testing import TestBroker
from trioemqx.types import Message

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "rules.md").read_text("utf-8")


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def requests() -> list[tuple[str, dict[str, object]]]:
    """(path, body) of the requests with curl."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            words = shlex.split(command)
            if words[0] == "curl":
                found.append((words[3].partition("/api/v4")[2], json.loads(words[5])))
    return found


def test_functions_and_events_are_those_of_the_code() -> None:
    made = reference.BEGIN + PAGE.partition(reference.BEGIN)[2].partition(reference.END)[0] + reference.END + "\n"
    assert made == reference.page(), "write it with `python -m trioemqx.rules.reference`"


def test_every_sql_in_it_is_sql() -> None:
    functions = standard_functions(Environment(now_ns=time.time_ns))
    shown = re.findall(r"`((?:SELECT|FOREACH) .*? FROM .*?)`", section("SQL by example"))
    assert len(shown) >= 10
    for text in shown:
        compile_rule(text, functions)


async def test_the_first_rule_works(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="hot/#")
    path, body = requests()[0]
    assert (await broker.api("POST", path, body)).code == 0
    broker.node.publish(Message("site/kiln/t", b'{"temp": 35.5}'))
    broker.node.publish(Message("site/yard/t", b'{"temp": 5.5}'))
    assert await watcher.message() == ("hot/kiln", b"35.5")
    assert await watcher.nothing(1)


async def test_the_requests_are_accepted(broker: TestBroker) -> None:
    sent = requests()
    assert [path for path, _ in sent] == ["/rules", "/resources", "/rules"]
    for path, body in sent:
        assert (await broker.api("POST", path, body)).code == 0


async def test_every_action_and_type_is_there(broker: TestBroker) -> None:
    for heading, path in (("Actions", "/actions"), ("Resources", "/resource_types")):
        for row in (await broker.api("GET", path)).data:
            assert f"| `{row['name']}` |" in section(heading), row["name"]


def test_every_parameter_of_an_action_is_named() -> None:
    host = object()
    kinds = (republish.republish(host), webserver.data_to_webserver(host), mqtt_broker.DATA_TO_MQTT_BROKER)  # type: ignore[arg-type]
    for kind in kinds:
        (row,) = re.findall(rf"^\| `{kind.name}` \|.*$", section("Actions"), re.MULTILINE)
        assert all(f"`{param.name}`" in row for param in kind.params), kind.name
    named = set(re.findall(r"`(\w+)`", section("Resources")))
    known = {param.name for param in (*web_hook.PARAMS, *bridge_mqtt.PARAMS)}
    assert {"url", "pool_size", "request_timeout", "address", "clientid", "mountpoint", "disk_cache"} <= named & known


def test_numbers_are_those_of_the_code() -> None:
    settings = RuleEngineConfig()
    costs = section("What goes wrong, and what it costs")
    assert (settings.max_crashes, settings.queue_size, settings.retry_for) == (10, 10000, 10)
    assert settings.queue_bytes == 256 * 1024**2
    assert f"`rule_engine.max_hops` ({settings.max_hops})" in section("Actions")
    assert f"first {running.AT_ONCE} results" in costs
    assert (DRAIN_SECONDS, MAX_DEPTH, meter.text, meter.items, meter.work) == (5, 128, 1024**2, 100_000, 3_000_000)
    assert (resources.RETRY_SECONDS, resources.POLL_SECONDS) == (15, 10)

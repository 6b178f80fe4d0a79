"""The life of resources, on virtual time: connected, lost, found again, replaced; and of the rules that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from rules_helpers import rule

from trioemqx.rules.errors import RuleError
from trioemqx.services.rulekit import (
    RESOURCE,
    ActionFailed,
    ActionSetup,
    ActionType,
    DirectAction,
    Resource,
    ResourceFailed,
    ResourceSetup,
    ResourceType,
    RuleParam,
)
from trioemqx.testing import TestBroker
from trioemqx.types import Message

PARAMS = (RuleParam("host", default="h"), RuleParam("password", "password", default=""), RuleParam("pem", "file"))


class World:
    """A resource type `fake`, how it is today, and what was made of it; an action `use` that uses one."""

    def __init__(self, broker: TestBroker) -> None:
        self.engine = broker.node.rules
        self.up = True
        self.crash: Exception | None = None
        self.delay = 0.0
        self.made: list[Any] = []
        self.used: list[object] = []
        world = self

        class Fake(Resource):
            def __init__(self, setup: ResourceSetup) -> None:
                self.setup = setup
                self.running = self.closed = False
                world.made.append(self)

            async def run(self) -> None:
                self.running = True
                if world.crash is not None:
                    raise world.crash
                try:
                    await trio.sleep_forever()
                finally:
                    self.running = False

            async def start(self) -> None:
                await trio.sleep(world.delay)
                if not world.up:
                    raise ResourceFailed("it is down")

            async def alive(self) -> bool:
                return world.up

            async def close(self) -> None:
                self.closed = True

        class Use(DirectAction):
            def __init__(self, setup: ActionSetup) -> None:
                self.resource = setup.resource

            def run(self, output: Any, event: Any) -> None:
                if not world.up:
                    raise ActionFailed("it is down")
                world.used.append(self.resource)

        self.type = ResourceType("fake", Fake, PARAMS)
        self.remove = self.engine.additions.add_resource_type(self.type)
        param = RuleParam(RESOURCE, required=True)
        self.engine.additions.add_action(ActionType("use", Use, (param,), types=("fake",)))

    async def create(self, **config: object) -> None:
        """A resource `f`."""
        await self.engine.resources.create("fake", config, "", "f")

    @property
    def live(self) -> list[Any]:
        """Those that are connected now."""
        return [fake for fake in self.made if fake.running and not fake.closed]

    @property
    def alive(self) -> bool:
        entry = self.engine.resources.find("f")
        return entry is not None and entry.alive


@pytest.fixture
def world(broker: TestBroker) -> World:
    return World(broker)


USE = {"name": "use", "params": {"$resource": "f"}}
DOWN = "resource/fake/f/down"


def publish(broker: TestBroker) -> None:
    broker.node.publish(Message("t", b""))


async def test_it_is_connected_at_once_and_runs(broker: TestBroker, world: World) -> None:
    await world.create()
    assert world.alive
    assert broker.alarms() == {}
    await trio.sleep(0.1)
    assert len(world.live) == 1


async def test_one_that_is_down_is_tried_every_fifteen_seconds(broker: TestBroker, world: World) -> None:
    world.up = False
    await world.create()
    before = len(world.made)
    await trio.sleep(31)
    assert len(world.made) - before == 2
    assert broker.alarms() == {DOWN: {"id": "f", "type": "fake"}}
    world.up = True
    await trio.sleep(16)
    assert world.alive
    assert broker.alarms() == {}
    assert all(fake.closed for fake in world.made if not fake.running and fake.setup.id)


async def test_one_that_is_lost_raises_an_alarm_until_it_is_back(broker: TestBroker, world: World) -> None:
    await world.create()
    entry = await rule(broker, 'SELECT * FROM "t"', USE)
    world.up = False
    await trio.sleep(11)
    assert not world.alive
    assert set(broker.alarms()) == {DOWN}
    publish(broker)
    assert entry.active, "a rule keeps its actions, which fail"
    assert entry.steps[0].metrics.failed == 1
    world.up = True
    await trio.sleep(11)
    assert world.alive
    assert broker.alarms() == {}
    publish(broker)
    assert entry.steps[0].metrics.success == 1
    assert len(world.live) == 1, "the same connection as before"


async def test_a_start_that_takes_too_long_has_failed(broker: TestBroker, world: World) -> None:
    world.delay = 1000.0
    began = trio.current_time()
    await world.create()
    assert 9 < trio.current_time() - began < 16
    assert not world.alive
    assert "within 10 s" in world.engine.resources.find("f").problem


async def test_its_background_work_is_started_again_and_given_up_in_the_end(broker: TestBroker, world: World) -> None:
    world.crash = KeyError("bug")
    await world.create()
    await trio.sleep(9)
    assert "resource_crashed/f" in broker.alarms()
    assert not world.alive
    assert DOWN in broker.alarms()
    world.crash = None
    await world.engine.resources.renew("f")
    assert world.alive
    assert broker.alarms() == {}


async def test_a_crash_at_the_start_is_a_failure(broker: TestBroker, world: World) -> None:
    def bug(setup: ResourceSetup) -> Resource:
        raise RuntimeError("bug")

    world.engine.additions.add_resource_type(ResourceType("bad", bug))
    with pytest.raises(RuleError, match="init_resource"):
        await world.engine.resources.create("bad", {})
    assert len(world.engine.resources) == 0


async def test_rules_get_the_connection_that_replaces_another(broker: TestBroker, world: World) -> None:
    await world.create()
    entry = await rule(broker, 'SELECT * FROM "t"', USE, id="r")
    publish(broker)
    await world.engine.resources.renew("f")
    publish(broker)
    first, second = world.used
    assert first is not second
    await trio.sleep(0.1)  # until its background work has begun
    assert world.live == [second]
    assert entry.active
    assert entry.steps[0].metrics.success == 2


async def test_another_configuration_has_to_work_first(broker: TestBroker, world: World) -> None:
    await world.create(host="a")
    world.up = False
    with pytest.raises(RuleError, match="Init resource failure:f"):
        await world.engine.resources.update("f", {"host": "b"})
    entry = world.engine.resources.find("f")
    assert entry is not None
    assert entry.record.config["host"] == "a"
    assert entry.link is not None
    world.up = True
    await world.engine.resources.update("f", {"host": "b"})
    assert world.live[-1].setup.config["host"] == "b"
    assert len(world.live) == 1
    assert all(fake.closed for fake in world.made[1:-1] if fake.setup.id)


async def test_deleting_ends_it(broker: TestBroker, world: World) -> None:
    await world.create()
    await world.engine.resources.delete("f")
    await trio.sleep(0.1)
    assert world.live == []
    assert all(fake.closed for fake in world.made if fake.setup.id)
    await trio.sleep(60)
    assert len(world.engine.resources) == 0
    assert broker.alarms() == {}


def content(path: Path) -> str:
    return path.read_text()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_files_are_kept_as_long_as_it_lives(broker: TestBroker, world: World) -> None:
    await world.create(pem={"filename": "../../etc/passwd", "file": "-----BEGIN"})
    path = Path(world.live[0].setup.config["pem"])
    assert (content(path), mode(path)) == ("-----BEGIN", 0o600)
    assert path.is_relative_to(broker.node.data_dir / "rules")
    assert path.name == "pem"
    row = (await broker.api("GET", "/resources/f")).data
    assert row["config"]["pem"] == {"filename": "../../etc/passwd", "file": "-----BEGIN"}
    await world.engine.resources.test("fake", {"pem": {"file": "x"}})
    assert [folder.name for folder in (broker.node.data_dir / "rules").iterdir()] == [path.parent.name]
    await world.engine.resources.delete("f")
    assert not path.parent.exists()


async def test_passwords_are_not_in_logs_nor_printed(
    broker: TestBroker, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    world.up = False
    await world.create(password="hunter2")
    await trio.sleep(60)
    assert "hunter2" not in caplog.text
    printed = await broker.ctl("resources list")
    assert "hunter2" not in printed[0]
    assert "******" in printed[0]


async def test_a_rule_waits_for_a_type_that_a_plugin_took_away(broker: TestBroker, world: World) -> None:
    await world.create()
    entry = await rule(broker, 'SELECT * FROM "t"', USE)
    world.remove()
    assert not entry.active
    assert not world.alive
    publish(broker)
    await trio.sleep(30)
    world.engine.additions.add_resource_type(world.type)
    await trio.sleep(1)
    publish(broker)
    assert entry.active
    assert entry.steps[0].metrics.success == 1
    assert broker.alarms() == {}
    assert (await broker.api("PUT", "/rules/" + entry.id, {"enabled": True})).data["enabled"] is True


async def test_a_type_that_does_not_fit_the_action_is_refused(broker: TestBroker, world: World) -> None:
    world.engine.additions.add_resource_type(ResourceType("other", world.type.make))
    await world.engine.resources.create("other", {}, "", "o")
    body = {"rawsql": 'SELECT 1 FROM "t"', "actions": [{"name": "use", "params": {"$resource": "o"}}]}
    answer = await broker.api("POST", "/rules", body)
    assert answer.message == 'Bad Arguments: {resource_type_mismatch,<<"other">>,[<<"fake">>]}'


async def test_names_are_taken_once(world: World) -> None:
    for add in (
        lambda: world.engine.additions.add_resource_type(world.type),
        lambda: world.engine.additions.add_action(ActionType("inspect", world.type.make)),  # type: ignore[arg-type]
        lambda: world.engine.additions.add_function("upper(s)", lambda s: s),
    ):
        with pytest.raises(ValueError, match="already"):
            add()

"""What the commands `recon ...` show, and that nothing is left of their measuring."""

from __future__ import annotations

import gc
import re
import tracemalloc

import emqx_recon
import pytest
import trio

from trioemqx.plugin import ClientInfo, Credentials, Message, Verdict, hookimpl
from trioemqx.testing import TestBroker

NAME = "emqx_recon"


class Slow:
    """A plugin whose time is known: virtual for the one that waits, counted calls for the other."""

    def __init__(self) -> None:
        self.seen = 0

    @hookimpl
    def message_publish(self, message: Message) -> None:
        self.seen += 1
        if message.topic == "crash":
            raise ValueError("crash")

    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict | None:
        await trio.sleep(0.1)
        return None


async def during(broker: TestBroker, command: str, seconds: float) -> list[str]:
    """Run a command that takes seconds; messages are published meanwhile."""
    lines: list[str] = []

    async def run() -> None:
        lines.extend(await broker.ctl(command))

    client = await broker.client("c")
    await client.publish("before", qos=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(seconds / 2)
        for topic in ("a", "b", "crash"):
            await client.publish(topic, qos=1)
        await broker.client("d")
    await client.publish("after", qos=1)
    return lines


# -- memory ------------------------------------------------------------------------------------------------------------


async def test_memory_in_emqx_words(broker: TestBroker) -> None:
    lines = await broker.ctl("recon memory")
    names = [f"{name}/{moment}" for name in ("usage", "used", "allocated", "unused") for moment in ("current", "max")]
    assert [line.partition(":")[0] for line in lines] == [f"{name:<20}" for name in names]
    values = {name: float(line.partition(": ")[2]) for name, line in zip(names, lines, strict=True)}
    for moment in ("current", "max"):
        used, allocated = values[f"used/{moment}"], values[f"allocated/{moment}"]
        assert 10_000_000 < used <= allocated
        assert values[f"unused/{moment}"] == allocated - used
        assert values[f"usage/{moment}"] == pytest.approx(used / allocated, abs=0.0001)
    assert values["used/current"] <= values["used/max"]


def test_memory_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emqx_recon, "STATUS", emqx_recon.Path("/nowhere"))
    values = dict(line.replace(" ", "").split(":") for line in emqx_recon.memory_lines())
    assert int(values["used/current"]) > 10_000_000
    assert (values["allocated/current"], values["unused/current"], float(values["usage/max"])) == ("0", "0", 0)


async def test_allocated_names_the_lines_and_stops_tracing(broker: TestBroker) -> None:
    kept: list[bytes] = []

    @hookimpl
    def message_publish(message: Message) -> None:
        kept.append(bytes(1_000_000))

    class Hoard:
        pass

    hoard = Hoard()
    hoard.message_publish = message_publish  # type: ignore[attr-defined]
    broker.node.hooks.register(hoard, "hoard")
    lines = await during(broker, "recon allocated 1 5", 5)
    assert len(kept) == 5
    total = re.fullmatch(r"allocated in 5 s and not freed: (\d+) bytes", lines[0])
    assert total is not None
    assert int(total[1]) > 3_000_000
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+: size=30000\d\d, count=\d", lines[1]), lines
    assert len(lines) == 2
    assert not tracemalloc.is_tracing()


async def test_allocations_are_traced_by_one_at_a_time(broker: TestBroker) -> None:
    tracemalloc.start()
    try:
        assert await broker.ctl("recon allocated") == ["Error: allocations are being traced already"]
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


async def test_a_command_that_is_given_up_stops_tracing(broker: TestBroker) -> None:
    with trio.move_on_after(1):
        await broker.ctl("recon allocated 1 60")
    assert not tracemalloc.is_tracing()
    assert len(await broker.ctl("recon allocated 1 1")) == 2


# -- queues ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broker_config", [{"zone": {"default": {"max_inflight": 1}}}], ids=[""])
async def test_queues_shows_who_has_most(broker: TestBroker) -> None:
    assert await broker.ctl("recon queues") == ["No messages are waiting"]
    for clientid, filter in (("few", "few"), ("ma\x1bny", "+")):
        client = await broker.client(clientid, expiry=1000)
        await client.subscribe(filter, qos=1)
        await client.close()
    await trio.sleep(1)
    publisher = await broker.client("publisher")
    for topic in ("few", "other", "other"):
        await publisher.publish(topic, qos=1)
    lines = ["'ma\\x1bny': queued=3, inflight=0", "few: queued=1, inflight=0"]
    assert await broker.ctl("recon queues") == lines
    assert await broker.ctl("recon queues 1") == lines[:1]
    reader = await broker.client("few", clean_start=False)
    reader.auto_ack = False
    await reader.receive_publish()
    assert (await broker.ctl("recon queues"))[1] == "few: queued=0, inflight=1"


# -- hooks -------------------------------------------------------------------------------------------------------------


async def test_hooks_measures_while_it_runs_and_then_no_more(broker: TestBroker) -> None:
    slow = Slow()
    broker.node.hooks.register(slow, "slow")
    before = broker.node.hooks.compiled.message_publish
    lines = await during(broker, "recon hooks 10 2", 2)
    measured = {line.partition(":")[0]: line.partition(": ")[2] for line in lines}
    assert measured["slow.message_publish"].startswith("calls=3, total=")
    assert measured["slow.client_authenticate"].startswith("calls=1, total=")
    assert re.fullmatch(r"calls=\d+(, (total|mean|longest)=\d+\.\d{3} ms){3}", measured["slow.message_publish"])
    assert slow.seen == 5
    assert broker.node.broker.metrics.hook_crashed == 1  # the crash is still the hook's own
    assert broker.node.hooks.compiled.message_publish == before


async def test_hooks_are_shown_by_their_time(broker: TestBroker) -> None:
    class Busy:
        @hookimpl
        def message_publish(self, message: Message) -> None:
            sum(range(200_000))

    broker.node.hooks.register(Slow(), "slow")
    broker.node.hooks.register(Busy(), "busy")
    assert (await during(broker, "recon hooks 1 2", 2))[0].startswith("busy.message_publish: calls=3, ")


async def test_nothing_to_measure(broker: TestBroker) -> None:
    assert await broker.ctl("recon hooks 5 1") == ["No hook was called within 1 s"]


@pytest.mark.parametrize("end", ["command", "plugin"])
async def test_measuring_ends_with_the_command_and_with_the_plugin(broker: TestBroker, end: str) -> None:
    broker.node.hooks.register(Slow(), "slow")
    before = broker.node.hooks.compiled.message_publish
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.ctl, "recon hooks 1 60")
        await trio.sleep(1)
        assert broker.node.hooks.compiled.message_publish != before
        if end == "command":
            nursery.cancel_scope.cancel()
        else:
            await broker.node.plugins.unload(NAME)
            assert broker.node.hooks.compiled.message_publish == before
            nursery.cancel_scope.cancel()
    assert broker.node.hooks.compiled.message_publish == before


# -- tasks and garbage -------------------------------------------------------------------------------------------------


async def test_tasks_by_name(broker: TestBroker) -> None:
    def counted(lines: list[str]) -> dict[str, int]:
        return {line.rpartition(": ")[0]: int(line.rpartition(": ")[2]) for line in lines}

    before = counted(await broker.ctl("recon tasks"))
    for number in range(5):
        await broker.client(f"c{number}")
    lines = await broker.ctl("recon tasks")
    after = counted(lines)
    assert lines[0] == f"tasks: {sum(after.values()) - after['tasks']}"
    assert "plugin emqx_recon" in after
    risen = {name: count - before.get(name, 0) for name, count in after.items() if name != "tasks"}
    assert max(risen.values()) == 5, "others of the broker's tasks may begin or end meanwhile"


async def test_counting_many_tasks_lets_others_run(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emqx_recon, "TASKS_AT_ONCE", 1)
    names = await emqx_recon.count_tasks()
    assert names.total() == trio.lowlevel.current_statistics().tasks_living


async def test_gc_shows_the_collector(broker: TestBroker) -> None:
    lines = await broker.ctl("recon gc")
    row = r"waiting=\d+, threshold=\d+, collections=\d+, collected=\d+, uncollectable=\d+"
    for number, line in enumerate(lines[:3]):
        assert re.fullmatch(rf"generation {number}: {row}", line)
    assert lines[3:] == [f"frozen: {gc.get_freeze_count()}", "enabled: true"]


@pytest.mark.parametrize("frozen", [False, True])
async def test_gc_collect_frees_what_nobody_can_reach(broker: TestBroker, frozen: bool) -> None:
    class Cycle:
        gone = 0

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            Cycle.gone += 1

    gc.unfreeze()
    gc.collect()
    gc.disable()
    try:
        Cycle()
        if frozen:
            gc.freeze()
        (line,) = await broker.ctl("recon gc collect")
        assert Cycle.gone == 1
        match = re.fullmatch(r"(\d+) objects collected in \d+\.\d ms", line)
        assert match is not None
        assert int(match[1]) >= 1
        assert (gc.get_freeze_count() > 0) == frozen
    finally:
        gc.enable()
        gc.unfreeze()


# -- what else may be typed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    ["queues 0", "queues x", "queues 1001", "hooks 1 61", "hooks -1", "allocated 1 0", "queues ²", "queues 9e9"],
)
async def test_numbers_that_cannot_be_are_refused_in_one_line(broker: TestBroker, words: str) -> None:
    (line,) = await broker.ctl(f"recon {words}")
    assert re.fullmatch(r"Error: (N|Seconds) is a number from 1 to \d+, not '.+'", line)


@pytest.mark.parametrize("words", ["bin_leak 10", "node_stats 1 1000", "remote_load emqx_mod", "proc_count memory 3"])
async def test_words_of_the_erlang_vm_say_what_to_look_at(broker: TestBroker, words: str) -> None:
    (line,) = await broker.ctl(f"recon {words}")
    word = words.split()[0]
    assert line == f"Error: recon {word} is about the Erlang VM, which is not here; see: {emqx_recon.INSTEAD[word]}"


async def test_unloading_takes_the_commands_away(broker: TestBroker) -> None:
    assert any(line.startswith("recon queues [<N>] ") for line in await broker.ctl("recon"))
    await broker.node.plugins.unload(NAME)
    assert "recon" not in broker.node.commands.names()

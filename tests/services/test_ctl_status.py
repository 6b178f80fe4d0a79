"""`status`, `broker`, `cluster`, `vm` and `mnesia` of `trioemqx ctl`: lines as scripts read them, and JSON."""

from __future__ import annotations

import os
import re
import tracemalloc
from pathlib import Path

import pytest
import trio
from ctl_helpers import ctl, data

from trioemqx import __version__
from trioemqx.testing import TestBroker, running

NODE = "emqx@127.0.0.1"


async def test_status(broker: TestBroker) -> None:
    assert await ctl(broker, "status") == (0, [f"Node '{NODE}' {__version__} is started"])
    assert await data(broker, "status") == {"node": NODE, "version": __version__, "status": "started"}


async def test_status_while_it_stops(broker: TestBroker) -> None:
    broker.node.stopping.set()
    assert (await ctl(broker, "status"))[1] == [f"Node '{NODE}' {__version__} is stopping"]


async def test_broker(broker: TestBroker) -> None:
    await trio.sleep_until(broker.node.started_at + 64)
    code, lines = await ctl(broker, "broker")
    assert code == 0
    assert lines[:3] == [
        "sysdescr  : trioemqx",
        f"version   : {__version__}",
        "uptime    : 1 minutes, 4 seconds",
    ]
    assert re.fullmatch(r"datetime  : \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[3])
    assert len(lines) == 4
    found = await data(broker, "broker")
    assert found["otp_release"].startswith("Python 3.")
    assert (found["node"], found["node_status"], found["uptime"]) == (NODE, "Running", lines[2].partition(": ")[2])


@pytest.mark.parametrize(
    ("group", "line", "name"),
    [
        ("stats", "connections.count             : 1", "connections.count"),
        ("metrics", "packets.connect.received      : 1", "packets.connect.received"),
    ],
)
async def test_figures_are_sorted_and_aligned(broker: TestBroker, group: str, line: str, name: str) -> None:
    await broker.client("c")
    code, lines = await ctl(broker, f"broker {group}")
    assert code == 0
    assert line in lines
    assert lines == sorted(lines)
    assert all(re.fullmatch(r"\S+ *: \d+", found) and found.index(":") >= 30 for found in lines)
    found = await data(broker, f"broker {group}")
    assert found[name] == 1
    assert len(found) == len(lines)


async def test_cluster_of_one(broker: TestBroker) -> None:
    shape = f"Cluster status: #{{running_nodes => ['{NODE}'], stopped_nodes => []}}"
    assert await ctl(broker, "cluster status") == (0, [shape])
    assert await data(broker, "cluster status") == {"running_nodes": [NODE], "stopped_nodes": []}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("join x@y", "Failed to join the cluster: this broker runs on one node"),
        (f"join {NODE}", "Ignore."),
        ("leave", "Failed to leave the cluster: this broker runs on one node"),
        (
            "force-leave x@y",
            "Failed to remove the node from cluster: there is no node x@y, this broker runs on one node",
        ),
        (f"force-leave {NODE}", "Ignore."),
    ],
)
async def test_a_cluster_of_one_does_not_change(broker: TestBroker, words: str, line: str) -> None:
    assert await ctl(broker, f"cluster {words}") == (1, [line])


# -- vm ----------------------------------------------------------------------------------------------------------------

SHAPES = {
    "load": [r"cpu/load1               : \d+\.\d\d", r"cpu/load5 .*", r"cpu/load15 .*"],
    "memory": [
        r"memory/total            : [1-9]\d{6,}",
        *(rf"memory/{name:<17}: \d+" for name in ("processes", "processes_used", "system", "atom", "atom_used")),
        *(rf"memory/{name:<17}: 0" for name in ("binary", "code", "ets")),
    ],
    "process": [r"process/limit           : 1048576", r"process/count           : [1-9]\d*"],
    "io": [r"io/max_fds              : [1-9]\d*", r"io/active_fds           : [1-9]\d*"],
    "ports": [r"ports/count           : 1", r"ports/limit           : [1-9]\d*"],
}


@pytest.mark.parametrize("group", SHAPES)
async def test_each_group_of_figures(broker: TestBroker, group: str) -> None:
    await broker.client("c")
    code, lines = await ctl(broker, f"vm {group}")
    assert code == 0
    assert len(lines) == len(SHAPES[group])
    for shape, line in zip(SHAPES[group], lines, strict=True):
        assert re.fullmatch(shape, line), line
    assert len(await data(broker, f"vm {group}")) == len(lines)


@pytest.mark.parametrize("words", ["vm", "vm all"])
async def test_all_groups_in_sequence(broker: TestBroker, words: str) -> None:
    _, lines = await ctl(broker, words)
    assert [line.partition("/")[0] for line in lines] == [
        *["cpu"] * 3,
        *["memory"] * 9,
        *["process"] * 2,
        "io",
        "io",
        *["ports"] * 2,
    ]
    assert list(await data(broker, words)) == list(SHAPES)


async def test_traced_memory_is_that_of_the_processes(broker: TestBroker) -> None:
    tracemalloc.start()
    try:
        assert (await data(broker, "vm memory"))["processes_used"] > 0
    finally:
        tracemalloc.stop()


async def test_there_is_no_other_group(broker: TestBroker) -> None:
    code, lines = await ctl(broker, "vm atoms")
    assert (code, len(lines)) == (2, 7)


# -- mnesia ------------------------------------------------------------------------------------------------------------


async def test_tables_of_the_store(broker: TestBroker) -> None:
    await ctl(broker, "banned add clientid c1")
    await ctl(broker, "banned add clientid c2")
    code, lines = await ctl(broker, "mnesia")
    assert code == 0
    assert f"table/{'banned':<30}: 2" in lines
    assert f"{'pending':<36}: 0" in lines
    found = await data(broker, "mnesia")
    assert (found["tables"]["banned"], found["pending"], found["files"]) == (2, 0, {})


async def test_files_of_the_store(tmp_path: Path) -> None:
    settings = {"node": {"data_dir": str(tmp_path)}, "store": {"sync": "normal"}}
    async with running(settings, listen=True) as broker:
        found = await data(broker, "mnesia")
        (name, *_) = found["files"]
        assert found["files"][name] == os.stat(tmp_path / name).st_size > 0
        assert f"file/{name:<31}: {found['files'][name]}" in (await ctl(broker, "mnesia"))[1]


async def test_the_limit_of_processes_is_the_one_of_the_api(broker: TestBroker) -> None:
    """GET /nodes"""
    (node,) = (await broker.api("GET", "/nodes")).data
    assert (await data(broker, "vm process"))["limit"] == node["process_available"]

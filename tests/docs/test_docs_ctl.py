"""docs/ctl.md: every command is there, none that does not exist, and what it shows is what a broker prints."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from trioemqx.services.logs import LogSettings, setup
from trioemqx.testing import TestBroker, running

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ctl.md").read_text("utf-8")
SHIPPED = [
    "emqx_auth_jwt",
    "emqx_auth_mnesia",
    "emqx_bridge_mqtt",
    "emqx_plugin_template",
    "emqx_prometheus",
    "emqx_psk_file",
    "emqx_recon",
    "emqx_retainer",
    "emqx_sasl",
    "emqx_telemetry",
]
"""Plugins that have commands."""


async def registered(tmp_path: Path) -> set[str]:
    """The usages of all commands that come with the broker."""
    keys = trio.Path(tmp_path) / "psk.txt"
    await keys.write_text("client:secret\n")
    await keys.chmod(0o600)
    config = {"plugins": {"load": SHIPPED}, "psk": {"file": {"path": str(keys)}}}
    async with running(config) as broker:
        assert broker.alarms() == {}, "all of them are there"
        return {command.usage for command in broker.node.commands.all()}


def documented() -> set[str]:
    """What stands in the first column of the tables."""
    rows = re.findall(r"^\| (`.+?`) \| ", PAGE, re.MULTILINE)
    return {usage.replace("\\|", "|") for row in rows for usage in re.findall(r"`([^`]+)`", row)}


async def test_every_command_is_documented_and_no_other(tmp_path: Path) -> None:
    assert documented() == await registered(tmp_path)


def shown() -> list[tuple[str, list[str]]]:
    """(command line, output) of the examples, in the order of the page."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ trioemqx ctl "), []))
            else:
                found[-1][1].append(line)
    return found


def alike(line: str) -> str:
    """A line without what differs from run to run: numbers, and the working directory."""
    return re.sub(r"\d+", "0", line.replace(os.getcwd(), "/var/lib/trioemqx"))


@pytest.fixture
async def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestBroker]:
    """The broker of the examples: it has been up for hours, one client is there, and one alarm."""
    monkeypatch.chdir(tmp_path)
    listener = {"bind": "127.0.0.1:0", "zone": "default"}
    config = {
        "listener": {"tcp": {"external": listener}},
        "node": {"data_dir": "data"},
        "store": {"sync": "normal"},
    }
    handle = setup(LogSettings())
    try:
        async with running(config, listen=True) as broker:
            await broker.client("pump-1", username="works", keepalive=60, subscribe="sensors/#")
            broker.node.started_at -= 15679
            broker.node.alarms.activate("high_cpu_usage", {"usage": 92})
            yield broker
    finally:
        handle.close()
        assert logging.getLogger("trioemqx").handlers == []


async def test_the_examples_are_what_a_broker_prints(works: TestBroker) -> None:
    examples = shown()
    assert len(examples) > 30
    for line, expected in examples:
        if line.startswith(("trace start", "traces")):
            await trio.sleep(0.01)  # the module's task begins
        if line.startswith("alarms deactivate"):
            assert works.node.alarms.is_active("high_cpu_usage")
        found = [alike(each) for each in await works.ctl(*shlex.split(line))]
        expected = [alike(each) for each in expected]
        if expected[-1:] == ["..."]:
            expected.pop()
            found = found[: len(expected)]
        assert found == expected, line

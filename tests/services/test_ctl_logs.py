"""`log` of `trioemqx ctl`: how much is logged, and where to, while the broker runs."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from ctl_helpers import ctl, data

from trioemqx.services import logs
from trioemqx.testing import TestBroker

log = logging.getLogger("trioemqx.test")


class Logging:
    """What the process has set up: console and file, and a further file for errors."""

    def __init__(self, folder: Path) -> None:
        self.console = io.StringIO()
        settings = logs.LogSettings(to="both", dir=folder, level_files={"error": "error.log"})
        self.handle = logs.setup(settings, console=self.console)
        self.files = {"file": folder / "emqx.log", "file_for_error": folder / "error.log"}

    def written(self, *levels: str) -> tuple[list[str], list[str], list[str]]:
        """The lines of console, file and file of errors after a line on each level; logging has ended then."""
        for level in levels:
            log.log(logs.level_number(level), level)
        self.handle.close()
        texts = [self.console.getvalue(), *(path.read_text() for path in self.files.values())]
        words = [[line.split()[-1] for line in text.splitlines() if "[" in line] for text in texts]
        one, two, three = ([word for word in found if word in levels] for found in words)
        return one, two, three


@pytest.fixture
def logging_on(tmp_path: Path) -> Iterator[Logging]:
    made = Logging(tmp_path)
    yield made
    made.handle.close()


async def test_handlers_are_listed(broker: TestBroker, logging_on: Logging, tmp_path: Path) -> None:
    assert await ctl(broker, "log handlers list") == (
        0,
        [
            "LogHandler(id=default, level=warning, destination=console, status=started)",
            f"LogHandler(id=file, level=warning, destination={tmp_path}/emqx.log, status=started)",
            f"LogHandler(id=file_for_error, level=error, destination={tmp_path}/error.log, status=started)",
        ],
    )
    rows = await data(broker, "log handlers list")
    assert rows[0] == {"id": "default", "level": "warning", "destination": "console", "status": "started"}


async def test_the_primary_level(broker: TestBroker, logging_on: Logging) -> None:
    assert await ctl(broker, "log primary-level") == (0, ["warning"])
    assert await data(broker, "log primary-level") == {"level": "warning"}
    assert await ctl(broker, "log primary-level info") == (0, ["info"])
    assert await ctl(broker, "log primary-level") == (0, ["info"])
    assert logging_on.written("debug", "info", "error") == (["info", "error"], ["info", "error"], ["error"])


async def test_a_level_for_everything(broker: TestBroker, logging_on: Logging) -> None:
    assert await ctl(broker, "log set-level info") == (0, ["info"])
    assert {row["level"] for row in await data(broker, "log handlers list")} == {"info"}
    assert logging_on.written("debug", "info") == (["info"], ["info"], ["info"])


async def test_the_level_of_one_handler(broker: TestBroker, logging_on: Logging) -> None:
    assert await ctl(broker, "log handlers set-level file critical") == (0, ["critical"])
    assert logging_on.written("warning", "critical") == (["warning", "critical"], ["critical"], ["critical"])


async def test_a_handler_is_stopped_and_started(broker: TestBroker, logging_on: Logging) -> None:
    assert await ctl(broker, "log handlers stop file") == (0, ["log handler file stopped"])
    assert (await data(broker, "log handlers list"))[1]["status"] == "stopped"
    assert await ctl(broker, "log handlers stop default") == (0, ["log handler default stopped"])
    assert await ctl(broker, "log handlers start default") == (0, ["log handler default started"])
    assert logging_on.written("error") == (["error"], [], ["error"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("handlers stop x", "[error] failed to stop log handler x: not_found; there are default, file, file_for_error"),
        (
            "handlers start x",
            "[error] failed to start log handler x: not_found; there are default, file, file_for_error",
        ),
        ("handlers start file", "[error] failed to start log handler file: already_started"),
        ("handlers set-level x info", "[error] not_found; there are default, file, file_for_error"),
        ("handlers set-level file loud", "[error] not a log level: 'loud'; one of "),
        ("set-level loud", "[error] set overall log level failed: not a log level: 'loud'; one of "),
        ("primary-level loud", "[error] not a log level: 'loud'; one of "),
    ],
)
async def test_what_cannot_be_set(broker: TestBroker, logging_on: Logging, words: str, line: str) -> None:
    code, (found,) = await ctl(broker, f"log {words}")
    assert code == 1
    assert found.startswith(line)
    assert logging.getLogger("trioemqx").level == logging.WARNING


async def test_a_handler_cannot_be_stopped_twice(broker: TestBroker, logging_on: Logging) -> None:
    await ctl(broker, "log handlers stop file")
    failure = "[error] failed to stop log handler file: not_started"
    assert await ctl(broker, "log handlers stop file") == (1, [failure])


async def test_a_program_that_logs_in_its_own_way_has_no_handlers_here(broker: TestBroker) -> None:
    assert logs.in_force() is None
    assert await ctl(broker, "log handlers list") == (0, [])
    code, (line,) = await ctl(broker, "log handlers stop file")
    assert (code, line) == (
        1,
        "[error] failed to stop log handler file: not_found; "
        "the program that this broker is part of logs in its own way",
    )

"""`log.burst_limit`, and `log.size` of a file that is not rotated."""

from __future__ import annotations

import io
import logging

import pytest

from trioemqx.services.logs import LogSettings, setup

NAME = "trioemqx_test_log_limits"
log = logging.getLogger(NAME)


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def begin(now, tmp_path):
    """Set logging up; it ends with the test."""
    handles = []

    def begin(console=None, **settings):
        settings = {"level": "debug", "dir": tmp_path, "logger": NAME, **settings}
        handles.append(setup(LogSettings(**settings), console=console, clock=lambda: now[0]))
        return handles[-1]

    yield begin
    for handle in handles:
        handle.close()


def test_lines_beyond_the_burst_are_dropped_and_counted(begin, now):
    console = io.StringIO()
    handle = begin(console, to="console", burst_limit=(5.0, 1.0))
    for number in range(20):
        log.info("first %d", number)
    now[0] += 1.0
    for number in range(3):
        log.info("second %d", number)
    handle.close()
    text = console.getvalue()
    assert text.count("first") == 5
    assert text.count("second") == 3
    assert "15 log lines dropped" in text
    assert handle.dropped == 15


def test_without_a_limit_nothing_is_dropped(begin):
    console = io.StringIO()
    handle = begin(console, to="console")
    for number in range(500):
        log.info("line %d", number)
    handle.close()
    assert console.getvalue().count("line") == 500


def test_a_file_that_is_not_rotated_begins_again_when_it_is_full(begin, tmp_path):
    handle = begin(to="file", rotation=False, size=2000)
    for number in range(200):
        log.info("line %d", number)
    handle.close()
    text = (tmp_path / "emqx.log").read_text()
    assert text.rstrip().endswith("line 199")
    assert len(text) <= 2000 + 200
    assert [file.name for file in tmp_path.iterdir()] == ["emqx.log"]


def test_without_a_size_it_grows(begin, tmp_path):
    handle = begin(to="file", rotation=False)
    for number in range(200):
        log.info("line %d", number)
    handle.close()
    assert (tmp_path / "emqx.log").read_text().count("line") == 200

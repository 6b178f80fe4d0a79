"""Logging: shapes, escapes, throttle, bounded queue, files (broker.md 1.1; reliability.md L1)."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import threading
import time

import pytest

from trioemqx.errors import ConfigError
from trioemqx.services import log_format, log_queue, log_sinks, log_throttle, logs
from trioemqx.services.log_format import ALERT, EMERGENCY, NOTICE, level_name, of_client
from trioemqx.services.logs import LogSettings, setup
from trioemqx.types import ClientInfo

NAME = "trioemqx_test_logs"
log = logging.getLogger(NAME)
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d"


@pytest.fixture
def clock():
    """The throttle's clock: a list with the time in it."""
    return [100.0]


@pytest.fixture
def begin(clock, tmp_path):
    """Set logging up; every handle is closed at the end."""
    handles = []

    def begin(console=None, **settings):
        settings = {"to": "console", "level": "debug", "dir": tmp_path, "logger": NAME, **settings}
        handles.append(setup(LogSettings(**settings), console=console, clock=lambda: clock[0]))
        return handles[-1]

    yield begin
    for handle in handles:
        handle.close()


@pytest.fixture
def written(begin):
    """Run some log calls; returns the lines that came out."""

    def written(*calls, **settings):
        console = io.StringIO()
        handle = begin(console, **settings)
        for call in calls:
            call()
        handle.close()
        return console.getvalue().splitlines()

    return written


def whose(clientid, peername):
    """The `extra` of a line about a client, with whatever stands in it."""
    return {"clientid": clientid, "peername": peername}


def test_what_a_line_says_of_a_client():
    assert of_client(ClientInfo("c", peerhost="::1", peerport=9)) == whose("c", "[::1]:9")
    assert of_client(None) == {}


def test_a_text_line(written):
    extra = whose("pump-1", "10.0.0.9:50123")
    (line,) = written(lambda: log.warning("refused: %s", "banned", extra=extra))
    assert re.fullmatch(rf"{TIME} \[warning\] pump-1@10\.0\.0\.9:50123 refused: banned", line)


@pytest.mark.parametrize(
    ("clientid", "peername", "middle"),
    [("", "", ""), ("c", "", "c "), ("", "[::1]:9", "[::1]:9 "), ("c", "[::1]:9", "c@[::1]:9 ")],
)
def test_whose_line_it_is(written, clientid, peername, middle):
    (line,) = written(lambda: log.info("hello", extra=whose(clientid, peername)))
    assert re.fullmatch(TIME + re.escape(f" [info] {middle}hello"), line)


def test_a_json_line_has_always_the_same_keys(written):
    def fail():
        try:
            raise ValueError("bad\nthing")
        except ValueError:
            log.exception("it %s", "crashed", extra=whose("ä", "h:1"))

    lines = [json.loads(line) for line in written(fail, lambda: log.info("plain"), formatter="json")]
    keys = ["time", "level", "clientid", "peername", "msg", "logger", "line", "error"]
    assert [list(line) for line in lines] == [keys, keys]
    crashed, plain = lines
    assert (crashed["clientid"], crashed["msg"], crashed["level"]) == ("ä", "it crashed", "error")
    assert "ValueError: bad" in crashed["error"]
    assert (plain["clientid"], plain["peername"], plain["error"]) == (None, None, None)
    assert re.fullmatch(TIME, plain["time"])


def test_emqx_level_names(written):
    numbers = [logging.DEBUG, logging.INFO, NOTICE, logging.WARNING, logging.ERROR, logging.CRITICAL, ALERT, EMERGENCY]
    lines = written(*[lambda number=number: log.log(number, "%d", number) for number in numbers])
    names = [re.search(r"\[(\w+)\]", line)[1] for line in lines]
    assert names == ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
    assert [level_name(number) for number in numbers] == names


def test_the_level_can_be_changed_while_running(begin):
    console = io.StringIO()
    handle = begin(console, level="warning")
    log.info("unseen")
    handle.set_level("info")
    assert handle.level == "info"
    log.info("seen")
    with pytest.raises(ValueError, match="not a log level"):
        handle.set_level("loud")
    handle.close()
    assert re.findall(r"\w+$", console.getvalue(), re.M) == ["seen"]


HOSTILE = "a\r\nforged [error] line\x1b[2J\u2028\u202e\x00\x9b"


@pytest.mark.parametrize("formatter", ["text", "json"])
@pytest.mark.parametrize("single_line", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda text: log.info("%s", text),
        lambda text: log.info("%r", text),
        lambda text: log.info("%(t)s", {"t": text}),
        lambda text: log.info("%s", text.encode("utf-8", "surrogatepass")),
        lambda text: log.info("%s", ValueError(text)),
        lambda text: log.info("%s", [text]),
        lambda text: log.info("x", extra=whose(text, "h:1")),
        lambda text: log.info("x", extra=whose("c", text)),
    ],
)
def test_control_characters_are_escaped_and_fields_are_cut(written, formatter, single_line, call):
    for text in (HOSTILE, HOSTILE * 5000, "\x00" * 65536, "\ud800" * 9, "ä" * 65536):
        lines = written(lambda text=text: call(text), formatter=formatter, single_line=single_line)
        assert len(lines) == 1
        shown = lines[0] if formatter == "text" else lines[0].replace("\\\\", "\\")
        assert len(shown.encode()) <= 1024
        assert not any(ord(mark) < 32 or mark in "\x9b\u2028\u202e" or "\ud800" <= mark <= "\udfff" for mark in shown)


def test_a_message_made_of_foreign_text_cannot_forge_an_entry(written):
    folded = written(lambda: log.info("got " + HOSTILE))
    assert len(folded) == 1
    entry, *rest = written(lambda: log.info("got " + HOSTILE), single_line=False)
    assert entry.endswith("got a\\x0d")
    assert rest
    assert all(line.startswith("    ") for line in rest)


@pytest.mark.parametrize(("single_line", "count"), [(True, 1), (False, 5)])
def test_tracebacks(written, single_line, count):
    def fail():
        try:
            raise ValueError("inside")
        except ValueError:
            log.exception("crashed")

    lines = written(fail, single_line=single_line)
    assert (len(lines) == 1) is single_line
    assert "Traceback (most recent call last):" in "".join(lines)
    assert lines[-1].endswith("ValueError: inside")


def test_a_very_long_traceback_keeps_both_ends(written):
    def fail():
        try:
            raise ValueError("x" * 100_000 + "END")
        except ValueError:
            log.exception("crashed")

    (line,) = written(fail)
    assert len(line) < 20_000
    assert "Traceback" in line
    assert line.endswith("END")


def test_chars_limit(written):
    (line,) = written(lambda: log.info("%s", "0123456789" * 3), chars_limit=12)
    assert line.endswith("] 012345678901...")


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        ("%Y-%m-%d %H:%M:%S.%3N", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"),
        ("%H:%M:%S.%6N%z", r"\d\d:\d\d:\d\d\.\d{6}[+-]\d{4}"),
        ("%%3N", "%3N"),
    ],
)
def test_date_formats(written, pattern, shape):
    (line,) = written(lambda: log.info("x"), date_format=pattern)
    assert re.fullmatch(rf"{shape} \[info\] x", line)


def test_milliseconds_are_those_of_the_record():
    assert log_format.date_formatter("%3N|%6N|%N")(1_700_000_000.25) == "250|250000|250000000"


@pytest.mark.parametrize(
    "call",
    [
        lambda: log.info("%d", "no number"),
        lambda: log.info("%s %s", "too few"),
        lambda: log.info("none", "too many"),
        lambda: log.info("%(missing)s", {"other": 1}),
    ],
)
def test_a_mistake_in_a_log_call_still_gives_a_line(written, call):
    (line,) = written(call)
    assert "in a log call]" in line


def test_an_argument_that_cannot_be_printed_costs_only_its_line(begin):
    class Broken:
        def __str__(self):
            raise RuntimeError("no text")

    console = io.StringIO()
    handle = begin(console)
    log.info("%s", Broken())
    log.info("next")
    handle.close()
    assert handle.failed == 1
    assert console.getvalue().endswith("next\n")


def warn(client="c", text="boom"):
    log.warning("error: %s", text, extra=whose(client, "10.0.0.1:5"))


def test_a_repeated_error_of_a_client_is_one_line_and_a_number(written, clock):
    def storm():
        for number in range(100):
            warn(text=f"boom {number}")
        clock[0] += 0.2
        warn(text="later")

    lines = [line.split("] ", 1)[1] for line in written(storm)]
    assert lines == [
        "c@10.0.0.1:5 error: boom 0",
        "c@10.0.0.1:5 suppressed 99 more like: error: boom 1",
        "c@10.0.0.1:5 error: later",
    ]


def test_other_clients_and_other_sources_are_not_held_back(written):
    def calls():
        warn("a")
        warn("b")
        log.warning("another source", extra=whose("a", ""))
        warn("a")

    assert [line.split("] ", 1)[1].split(" ", 1)[0] for line in written(calls)] == [
        "a@10.0.0.1:5",
        "b@10.0.0.1:5",
        "a",
        "a@10.0.0.1:5",
    ]


def test_a_flood_under_ever_new_names_is_bounded(written, clock):
    def flood():
        for number in range(20_000):
            warn(f"client-{number}")

    lines = written(flood)
    assert len(lines) <= 20
    held = sum(int(found[1]) for line in lines if (found := re.search(r"suppressed (\d+)", line)))
    assert held + len([line for line in lines if "suppressed" not in line]) == 20_000


def test_unconnected_peers_are_known_by_their_host(written):
    def refuse():
        for port in range(1, 50):
            log.warning("refused", extra=whose("", f"10.0.0.1:{port}"))

    assert len(written(refuse)) == 2


def test_lines_of_nobody_are_held_back_only_when_they_say_the_same(written):
    def alarms():
        for name in ("a", "b", "a"):
            log.warning("alarm %s", name)

    assert [line.split("] ", 1)[1] for line in written(alarms)] == [
        "alarm a",
        "alarm b",
        "suppressed 1 more like: alarm a",
    ]


def test_information_is_not_throttled(written):
    def talk():
        for _ in range(50):
            log.info("hello", extra=whose("c", ""))

    assert len(written(talk)) == 50


def test_the_number_comes_even_when_nothing_follows(begin, clock):
    """The writer asks for it by itself; this is the one test that lets a thread's timer run (0.2 s)."""
    console = io.StringIO()
    begin(console)
    warn()
    warn()
    clock[0] += 1
    deadline = time.monotonic() + 5
    while "suppressed 1 more" not in console.getvalue() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert "suppressed 1 more" in console.getvalue()


def test_held_back_lines_keep_no_frames_alive():
    throttle = log_throttle.Throttle()
    try:
        raise ValueError("x")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    for _ in range(3):
        throttle.admit(logging.LogRecord("n", logging.ERROR, "p", 1, "m", None, info), 0.0)
    (line,) = throttle.flush()
    assert line.exc_info is None
    assert not throttle.busy()


def test_the_throttles_memory_is_bounded():
    throttle = log_throttle.Throttle(max_keys=100)
    for number in range(10_000):
        record = logging.LogRecord("n", logging.ERROR, "p", number, "m", None, None)
        throttle.admit(record, 0.0)
    assert len(throttle._windows) <= 100


class Stuck(io.StringIO):
    """A pipe nobody reads, until `free` is set."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()
        self.reached = threading.Event()

    def write(self, text):
        self.reached.set()
        self.free.wait(30)
        return super().write(text)


def test_a_full_queue_drops_and_tells_how_much(begin):
    console = Stuck()
    handle = begin(console, queue_size=10)
    log.info("first")
    assert console.reached.wait(5)
    for number in range(100):
        log.info("line %d", number)
    assert handle.dropped == 90
    console.free.set()
    handle.close()
    lines = console.getvalue().splitlines()
    assert len(lines) == 12
    assert "90 log lines dropped" in lines[1]
    assert lines[2].endswith("line 0")


def test_close_does_not_wait_for_ever_for_a_stuck_pipe(begin, monkeypatch):
    monkeypatch.setattr(log_queue, "STOP_SECONDS", 0.05)
    console = Stuck()
    handle = begin(console, queue_size=2)
    for _ in range(5):
        log.info("x")
    assert console.reached.wait(5)
    before = time.monotonic()
    handle.close()
    assert time.monotonic() - before < 5
    console.free.set()


def test_a_console_that_is_gone_is_counted(begin):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    handle = begin(Gone())
    log.info("x")
    handle.close()
    assert handle.failed == 1


@pytest.mark.parametrize("settings", [{"rotation": True}, {"rotation": False}, {"rotation": False, "size": 1000}])
def test_a_disk_that_takes_nothing_any_more_does_not_keep_it_from_ending(begin, tmp_path, settings):
    """Each line is tried again with the next one, at the end for the last time."""
    handle = begin(to="file", level_files={"error": "error.log"}, **settings)
    level = logging.getLogger("trioemqx_test_logs").level
    full = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - the handler closes it
    handle.sinks[0].setStream(full).close()
    log.error("x")
    handle.close()
    assert handle.failed > 0
    assert full.closed
    assert logging.getLogger("trioemqx_test_logs").level != level, "all of it was undone"
    assert (tmp_path / "error.log").read_text().endswith("x\n"), "the other file is not concerned"


@pytest.mark.parametrize("settings", [{"rotation_size": 1000}, {"rotation": False}, {"rotation": False, "size": 1000}])
def test_files_are_not_open_to_everybody(begin, tmp_path, settings):
    """Also those that a rotation has made."""
    before = os.umask(0)
    try:
        handle = begin(to="file", dir=tmp_path / "log", level_files={"info": "info.log"}, **settings)
        for number in range(30):
            log.info("line %d of clients and their addresses", number)
        handle.close()
    finally:
        os.umask(before)
    files = list((tmp_path / "log").iterdir())
    assert len(files) > 2 or "rotation" in settings
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o750


def test_file_and_console(begin, tmp_path):
    console = io.StringIO()
    handle = begin(console, to="both", dir=tmp_path / "new" / "log")
    log.info("ä %s", "x")
    handle.close()
    assert (tmp_path / "new/log/emqx.log").read_text(encoding="utf-8") == console.getvalue()
    assert console.getvalue().endswith("ä x\n")


def test_console_is_standard_output(capsys, begin):
    handle = begin()
    log.info("on stdout")
    handle.close()
    assert "on stdout" in capsys.readouterr().out


def test_level_files_get_their_level_and_above(begin, tmp_path):
    handle = begin(to="file", level_files={"error": "error.log", "info": "info.log"})
    for level in (logging.DEBUG, logging.INFO, logging.ERROR, EMERGENCY):
        log.log(level, "%s", level_name(level))
    handle.close()

    def words(name):
        return [line.rpartition(" ")[2] for line in (tmp_path / name).read_text().splitlines()]

    assert words("emqx.log") == ["debug", "info", "error", "emergency"]
    assert words("info.log") == ["info", "error", "emergency"]
    assert words("error.log") == ["error", "emergency"]


def test_rotation_keeps_so_many_files_of_such_a_size(begin, tmp_path):
    handle = begin(to="file", rotation_size=1000, rotation_count=2)
    for number in range(100):
        log.info("line %d", number)
    handle.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["emqx.log", "emqx.log.1", "emqx.log.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 99" in (tmp_path / "emqx.log").read_text()


def test_without_rotation_a_moved_file_is_opened_again(begin, tmp_path):
    handle = begin(to="file", rotation=False)
    log.info("one")
    while not (tmp_path / "emqx.log").read_text():
        threading.Event().wait(0.005)
    (tmp_path / "emqx.log").rename(tmp_path / "moved")
    log.info("two")
    handle.close()
    assert (tmp_path / "moved").read_text().endswith("one\n")
    assert (tmp_path / "emqx.log").read_text().endswith("two\n")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"to": "syslog"}, "log.to"),
        ({"level": "loud"}, "log.level"),
        ({"formatter": "xml"}, "log.formatter"),
        ({"to": "file", "file": "taken/emqx.log"}, "log.file"),
        ({"level_files": {"error": "taken/x"}}, "log.error.file"),
        ({"level_files": {"loud": "x"}}, "log.loud.file"),
    ],
)
def test_bad_settings_are_one_clear_error_and_leave_nothing_behind(tmp_path, settings, key):
    (tmp_path / "taken").write_text("a file, not a directory")
    with pytest.raises(ConfigError) as caught:
        setup(LogSettings(**{"to": "console", "dir": tmp_path, "logger": NAME, **settings}))
    assert caught.value.key == key
    assert log.handlers == []
    assert not [thread for thread in threading.enumerate() if "_monitor" in thread.name]


def test_close_leaves_the_logger_as_it_was(begin):
    before = (log.level, log.propagate, list(log.handlers))
    handle = begin(io.StringIO(), level="error")
    assert log.propagate is False
    handle.close()
    handle.close()
    assert (log.level, log.propagate, list(log.handlers)) == before


@pytest.mark.parametrize("module", [logs, log_format, log_queue, log_sinks, log_throttle])
def test_logging_knows_no_trio(module):
    with open(module.__file__, encoding="utf-8") as source:
        tree = ast.parse(source.read())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported
    assert not {name for name in imported if name.split(".")[0] == "trio"}

"""`trioemqx start` and `stop`: what an operator sees first, and that two brokers never share a data directory."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from broker_process import OPEN, TCP, command, environment

import trioemqx
from trioemqx import cli

CHECKOUT = Path(__file__).parents[2]
SHIPPED_PORTS = {
    "EMQX_LISTENER__TCP__EXTERNAL__BIND": "127.0.0.1:0",
    "EMQX_LISTENER__TCP__INTERNAL__BIND": "127.0.0.1:0",
    "EMQX_LISTENER__SSL__EXTERNAL__BIND": "127.0.0.1:0",
    "EMQX_LISTENER__WS__EXTERNAL__BIND": "127.0.0.1:0",
    "EMQX_LISTENER__WSS__EXTERNAL__BIND": "127.0.0.1:0",
}
SHIPPED_LISTENERS = ["tcp:external", "tcp:internal", "ssl:external", "ws:external", "wss:external"]


async def test_start_prints_listeners_who_may_connect_and_where_data_lie(start, dialer):
    broker = start(OPEN + '[listener.tcp]\nmain = "127.0.0.1:0"\n[listener.ws]\nweb = "127.0.0.1:0"\n')

    first = broker.lines[0]
    assert first.startswith(f"trioemqx {trioemqx.__version__} (")
    assert first.endswith("node emqx@127.0.0.1")
    assert f"  configuration  {broker.file.name}" in broker.lines
    assert f"  data           {broker.folder / 'data'}" in broker.lines
    assert f"  log            {broker.folder / 'log' / 'emqx.log'}" in broker.lines
    listening = [line.split() for line in broker.lines if "  listening " in line]
    assert listening == [
        ["listening", "mqtt:tcp:main", f"127.0.0.1:{broker.port()}", "zone", "default:", "anybody"],
        ["listening", "mqtt:ws:web", f"127.0.0.1:{broker.port('ws', 'web')}", "zone", "default:", "anybody"],
    ]
    assert "warning" not in broker.output

    await (await dialer.client("c1", port=broker.port())).disconnect()
    assert broker.stop() == 0
    assert "Traceback" not in broker.output


def test_start_says_when_nobody_can_come_in(start):
    broker = start('acl_nomatch = "allow"\nallow_anonymous = false\n' + TCP)

    assert broker.wait_line("mqtt:tcp:main").endswith("zone default: only clients that a backend admits")


def test_start_warns_of_an_open_door_to_the_network(start):
    broker = start(OPEN + '[listener.tcp]\nmain = "0.0.0.0:0"\n')

    assert "mqtt:tcp:main is reachable from outside and lets anybody in" in broker.wait_line("warning")


async def test_a_broker_without_any_configuration_file_starts(start, dialer):
    broker = start(None, env=SHIPPED_PORTS)

    assert "  configuration  none given; the values EMQX ships" in broker.lines
    for listener in SHIPPED_LISTENERS:
        assert broker.port(*listener.split(":"))
    watcher = await dialer.client("w", subscribe="no/file", port=broker.port("tcp", "internal"))
    sender = await dialer.client("s", port=broker.port("tcp", "external"))
    await sender.publish("no/file", b"works")
    assert await watcher.message() == ("no/file", b"works")
    await dialer.close()
    assert broker.stop() == 0


async def test_the_shipped_file_starts_as_it_is(launch, dialer, tmp_path):
    """It is found without `-c`, as `etc/emqx.toml` under the working directory."""
    (tmp_path / "broker" / "etc").mkdir(parents=True)
    shutil.copy(CHECKOUT / "etc" / "emqx.toml", tmp_path / "broker" / "etc")
    broker = launch(None, env=SHIPPED_PORTS).wait_ready()

    assert "  configuration  etc/emqx.toml" in broker.lines
    for listener in SHIPPED_LISTENERS:
        assert broker.port(*listener.split(":"))
    assert "no such setting" not in broker.output
    await (await dialer.client("c1", port=broker.port("tcp", "external"))).disconnect()
    assert broker.stop() == 0


def test_a_second_instance_on_the_same_data_is_refused(start, launch):
    first = start()
    second = launch()

    assert second.wait_end() == 1
    assert second.output == f"trioemqx: Node is already running with data (process {first.pid})!"
    assert first.process.poll() is None
    assert first.stop() == 0
    start()  # the data directory is free again


def test_a_killed_broker_leaves_nothing_in_the_way(start):
    first = start()
    first.signal(signal.SIGKILL)
    assert first.wait_end() == -signal.SIGKILL

    assert command("stop", "-c", "broker.toml", cwd=first.folder, code=1).stderr == "trioemqx: not running\n"
    start()


def test_stop_waits_for_the_end_and_prints_ok(start):
    broker = start()

    done = command("stop", "-c", "broker.toml", cwd=broker.folder)

    assert (done.stdout, done.stderr) == ("ok\n", "")
    assert broker.wait_end() == 0
    assert command("stop", "-c", "broker.toml", cwd=broker.folder, code=1).stderr == "trioemqx: not running\n"


def test_emqx_s_commands_for_scripts(start):
    broker = start()

    assert command("ping", "-c", "broker.toml", cwd=broker.folder).stdout == "pong\n"
    assert int(command("pid", "-c", "broker.toml", cwd=broker.folder).stdout) == broker.process.pid
    assert command("check_conf", "-c", "broker.toml", cwd=broker.folder).stdout

    assert broker.stop() == 0
    answer = command("ping", "-c", "broker.toml", cwd=broker.folder, code=1)
    assert (answer.stdout, answer.stderr) == ("", "trioemqx: the broker does not answer: node_is_not_running!\n")
    assert command("pid", "-c", "broker.toml", cwd=broker.folder, code=1).stderr == "trioemqx: not running\n"


def test_a_data_directory_that_cannot_be_made_is_one_line_and_78(launch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    broker = launch(OPEN + f'node.data_dir = "{tmp_path}/file/data"\n' + TCP)

    assert broker.wait_end() == 78
    assert broker.output == f"trioemqx: node.data_dir: {tmp_path}/file/data cannot be written: Not a directory"


def test_a_disk_without_room_for_the_pid_file_is_one_line_and_78(tmp_path):
    started = "ulimit -f 0; exec " + shlex.join([sys.executable, "-m", "trioemqx", "start"])

    done = subprocess.run(["sh", "-c", started], cwd=tmp_path, env=environment(), capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "trioemqx: node.data_dir: data/trioemqx.pid cannot be written: File too large\n"


def test_a_disk_that_is_gone_does_not_change_how_it_ended(tmp_path, monkeypatch):
    """XFS answers even the closing of a file with an error once it has shut down."""
    close = os.close

    def gone(handle: int, *arguments: object) -> None:
        if not arguments:
            close(handle)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as dead, cli._only_one(tmp_path):
        assert (tmp_path / "trioemqx.pid").read_text() == f"{os.getpid()}\n"
        dead.setattr(os, "ftruncate", gone)
        dead.setattr(os, "close", gone)
    with cli._only_one(tmp_path):  # the lock has gone with it
        pass


def test_a_log_file_that_cannot_be_written_is_one_line_and_78(launch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    broker = launch(OPEN + f'log.dir = "{tmp_path}/file"\n' + TCP)

    assert broker.wait_end() == 78
    assert len(broker.lines) == 1
    assert broker.lines[0].startswith(f"trioemqx: log.file: cannot write {tmp_path}/file/emqx.log: ")


def test_a_place_for_certificates_that_cannot_be_written_is_one_line_and_71(launch, tmp_path):
    (tmp_path / "broker" / "data").mkdir(parents=True)
    (tmp_path / "broker" / "data" / "certs").write_text("in the way")
    broker = launch(None, env=SHIPPED_PORTS)

    assert broker.wait_end() == 71
    assert broker.output.startswith("trioemqx: node.data_dir: no certificate can be written to data/certs: ")
    assert len(broker.lines) == 1


def test_files_of_the_broker_are_not_open_to_others(start):
    broker = start()

    data = broker.folder / "data"
    assert data.stat().st_mode & 0o077 == 0
    assert [path for path in data.rglob("*") if path.stat().st_mode & 0o077 and not path.is_dir()] == []
    assert [path for path in (broker.folder / "log").iterdir() if path.stat().st_mode & 0o027] == []
    assert (data / "trioemqx.pid").read_text() == f"{broker.pid}\n"
    assert os.getpid() != broker.pid

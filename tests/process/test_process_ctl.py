"""`trioemqx ctl` against a broker that runs: an author's and an operator's commands."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import trio
from broker_process import OPEN, TCP, BrokerProcess, command, environment


def ctl(broker: BrokerProcess, *words: str, code: int = 0) -> list[str]:
    return command("ctl", "-c", broker.file.name, *words, cwd=broker.folder, code=code).stdout.splitlines()


async def ctl_while(broker: BrokerProcess, *words: str, code: int = 0) -> list[str]:
    return await trio.to_thread.run_sync(lambda: ctl(broker, *words, code=code))


def test_commands_their_exit_codes_and_their_usage(start):
    broker = start()

    usage = ctl(broker)
    assert usage == ctl(broker, "help")
    assert usage[:2] == ["Usage: emqx_ctl", "-" * 110]
    assert f"{'plugins load <Plugin>':<70}# Load plugin" in usage
    assert "Plugin(emqx_retainer, description=EMQX Retainer, active=true)" in ctl(broker, "plugins", "list")
    assert ctl(broker, "no_such_command", code=1) == usage
    assert ctl(broker, "plugins", "load", code=2)[0].startswith("plugins list ")
    assert ctl(broker, "plugins", "load", "gone", code=1) == ["Load plugin gone error: not_found."]
    assert oct((broker.folder / "data" / "trioemqx.sock").stat().st_mode & 0o777) == "0o600"

    assert broker.stop() == 0
    done = command("ctl", "-c", broker.file.name, "plugins", "list", cwd=broker.folder, code=3)
    assert (done.stdout, done.stderr) == ("", "ERROR: node_is_not_running!\n")


def test_an_operators_commands_and_their_json(start):
    broker = start()

    assert ctl(broker, "status")[0].endswith(" is started")
    assert json.loads("".join(ctl(broker, "status", "--json")))["status"] == "started"
    (listener,) = json.loads("".join(ctl(broker, "listeners", "--json")))
    assert listener["listen_on"] == f"127.0.0.1:{broker.port()}"
    assert ctl(broker, "listeners", "restart", listener["identifier"])[0].endswith(" successfully.")
    assert json.loads("".join(ctl(broker, "clients", "show", "gone", "--json", code=1))) == {"message": "Not Found."}
    assert ctl(broker, "clients", "show", "gone", code=1) == ["Not Found."]
    (handler,) = json.loads("".join(ctl(broker, "log", "handlers", "list", "--json")))
    assert (handler["id"], handler["destination"]) == ("file", "log/emqx.log")
    assert ctl(broker, "log", "set-level", "info") == ["info"]
    assert int(ctl(broker, "vm", "process")[1].split()[-1]) > 10
    newest = json.loads("".join(ctl(broker, "audit", "list", "--json")))[0]
    assert newest["path"] == "log set-level info"
    assert newest["who"] == pwd.getpwuid(os.getuid()).pw_name

    assert broker.stop() == 0


def test_a_data_directory_with_a_long_name(start, tmp_path: Path):
    folder = tmp_path / ("d" * 120)
    broker = start(OPEN + TCP + f'[node]\ndata_dir = "{folder}"\n')

    done = command("ctl", "--data-dir", str(folder), "retainer", "info", cwd=tmp_path)
    assert done.stdout == "retained/total: 0\n"
    assert broker.stop() == 0


def test_a_reader_that_stops_reading_is_no_error(start):
    broker = start()
    line = f"{sys.executable} -m trioemqx ctl -c {broker.file.name} help | head -1"
    done = subprocess.run(line, shell=True, cwd=broker.folder, env=environment(), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("Usage: emqx_ctl\n", "")


async def test_an_authors_day(start, dialer):
    """New, load, edit, reload, break, reload, mend, trace, unload; a client is there all the time."""
    broker = start()
    command("plugin", "new", "allow_list", cwd=broker.folder)
    dialer.port = broker.port()
    main = broker.folder / "plugins" / "allow_list" / "allow_list.py"
    watcher = await dialer.client("watcher", subscribe="greetings")

    async def guest(greeting: str) -> None:
        await (await dialer.client("guest")).disconnect()
        assert await watcher.message() == ("greetings", f"{greeting}, guest!".encode())

    def edit(old: str, new: str) -> None:
        main.write_text(main.read_text().replace(old, new))

    assert await ctl_while(broker, "plugins", "load", "allow_list") == ["Plugin allow_list loaded successfully."]
    await guest("Hello")
    edit('"Hello"', '"Moin"')
    assert await ctl_while(broker, "plugins", "reload", "allow_list") == ["Plugin allow_list reloaded successfully."]
    await guest("Moin")
    edit("def client_connected", "def client_conected")
    (says,) = await ctl_while(broker, "plugins", "reload", "allow_list", code=1)
    assert says.endswith("there is no hook point client_conected (did you mean client_connected?).")
    await guest("Moin")
    edit("def client_conected", "def client_connected")
    await ctl_while(broker, "plugins", "reload", "allow_list")

    traced = await trace(broker, "client.connected", lambda: guest("Moin"))
    assert traced[0] == "tracing client_connected; end with Ctrl-C"
    assert any(line.startswith("allow_list.client_connected(<ClientInfo 'guest'") for line in traced)

    assert await ctl_while(broker, "plugins", "unload", "allow_list") == ["Plugin allow_list unloaded successfully."]
    await (await dialer.client("guest")).disconnect()
    assert await watcher.nothing(0.3)
    assert "{allow_list, false}." in (broker.folder / "data" / "loaded_plugins").read_text().splitlines()


async def trace(broker: BrokerProcess, point: str, act) -> list[str]:
    """What a trace prints while something happens; it is ended as one does, with Ctrl-C."""
    words = [sys.executable, "-m", "trioemqx", "ctl", "-c", broker.file.name, "plugins", "trace", point]
    process = await trio.lowlevel.open_process(
        words, cwd=broker.folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    text = b""
    with trio.fail_after(20):
        while b"\n" not in text:
            text += await process.stdout.receive_some()
        await act()
        while b"allow_list." not in text or not text.endswith(b"\n"):
            text += await process.stdout.receive_some()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        async with process.stdout, process.stderr:
            assert await process.stderr.receive_some() == b""
    return text.decode().splitlines()

"""The client of the control socket: where it looks for the broker, what it sends, what it makes of the answer."""

from __future__ import annotations

import ast
import errno
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from trioemqx import ctl
from trioemqx.config.load import load
from trioemqx.services import ctlserver
from trioemqx.services.commands import Commands


class Peer:
    """A node that notes one request and answers with bytes; without an answer it only closes."""

    def __init__(self, folder: Path, *answers: bytes) -> None:
        self.request = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ctl.SOCKET))
        self._listener.listen()
        self._answers = answers
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            while not self.request.endswith(b"\n"):
                self.request += connection.recv(65536)
            for answer in self._answers:
                connection.sendall(answer)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def make(*answers: bytes) -> Peer:
        peers.append(Peer(tmp_path, *answers))
        return peers[-1]

    yield make
    for one in peers:
        one.close()


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(ctl.ctl, ["--data-dir", str(folder), *words])


def out(text: str) -> bytes:
    return json.dumps({"out": text}).encode() + b"\n"


END = b'{"exit": 0}\n'


# -- talking ---------------------------------------------------------------------------------------------------------


def test_the_words_go_to_the_node_and_its_lines_come_out(tmp_path: Path, peer: Callable[..., Peer]) -> None:
    node = peer(out("one"), out("zwölf") + END)
    result = run(tmp_path, "clients", "show", "über all", "--json", "-c", "x")
    assert (result.stdout, result.stderr, result.exit_code) == ("one\nzwölf\n", "", 0)
    assert json.loads(node.request) == {"argv": ["clients", "show", "über all", "--json", "-c", "x"]}


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_the_nodes(tmp_path: Path, peer: Callable[..., Peer], code: int) -> None:
    peer(json.dumps({"exit": code}).encode() + b"\n")
    assert run(tmp_path, "any").exit_code == code


def test_an_answer_may_come_in_pieces(tmp_path: Path, peer: Callable[..., Peer]) -> None:
    whole = out("ä" * 100_000) + out("") + END
    peer(*(whole[at : at + 7001] for at in range(0, len(whole), 7001)))
    assert run(tmp_path).stdout == "ä" * 100_000 + "\n\n"


def test_what_the_network_sent_cannot_drive_the_terminal(tmp_path: Path, peer: Callable[..., Peer]) -> None:
    peer(out("a\x1b[2J\x07\x9b1m\tb") + END)
    assert run(tmp_path).stdout == "a\\x1b[2J\\x07\\x9b1m\tb\n"


def test_a_terminal_that_cannot_show_a_letter_gets_its_number(tmp_path: Path, peer: Callable[..., Peer]) -> None:
    peer(out("ä €") + END)
    command = [sys.executable, "-c", "from trioemqx.ctl import emqx_ctl; emqx_ctl()", "--data-dir", str(tmp_path)]
    environ = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=30, check=False)
    assert (done.stdout, done.returncode) == ("ä \\u20ac\n".encode("latin-1"), 0)


# -- not talking -----------------------------------------------------------------------------------------------------


def test_nobody_there(tmp_path: Path) -> None:
    result = run(tmp_path, "status")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "ERROR: node_is_not_running!\n", 3)
    assert run(tmp_path / "nowhere" / ("x" * 200), "status").exit_code == 3


def test_a_socket_that_a_killed_node_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / ctl.SOCKET))
    assert run(tmp_path, "status").stderr == "ERROR: node_is_not_running!\n"


def test_a_node_that_ends_before_its_command(tmp_path: Path, peer: Callable[..., Peer]) -> None:
    peer(out("half"))
    result = run(tmp_path, "status")
    assert (result.stdout, result.exit_code) == ("half\n", 3)
    assert result.stderr == "ERROR: the node has ended before the command did\n"


def test_somebody_elses_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(found: socket.socket, path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ctl, "_reach", refuse)
    result = run(tmp_path, "status")
    assert result.stderr == f"ERROR: {tmp_path / ctl.SOCKET}: Permission denied; use the broker's user\n"
    assert result.exit_code == 1


def test_words_that_are_no_text(tmp_path: Path) -> None:
    result = run(tmp_path, "clients", "show", "\udcff")
    assert (result.stderr, result.exit_code) == ("ERROR: arguments have to be UTF-8 text\n", 2)


# -- where the node is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "[node]\n", "[node]\ndata_dir = 'there'\n", "node.data_dir = '/var/lib/x'\n"])
@pytest.mark.parametrize("variables", [{}, {"EMQX_NODE__DATA_DIR": "/from/env"}, {"emqx_node__data_dir": "lower"}])
def test_it_looks_where_the_broker_with_the_same_configuration_is(
    tmp_path: Path, text: str, variables: dict[str, str]
) -> None:
    file = tmp_path / "emqx.toml"
    file.write_text(text)
    assert ctl.find_data_dir(file, variables) == Path(load(file, variables).node.data_dir)


def test_without_a_file_it_looks_where_a_broker_without_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ctl.find_data_dir(None, {}) == Path(load(None, {}).node.data_dir)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "emqx.toml").write_text("[node]\ndata_dir = 'mine'\n")
    assert ctl.find_data_dir(None, {}) == Path("mine")


def test_mistakes_in_the_configuration_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "emqx.toml").write_text("no_such_key = 1\n[node]\ndata_dir = 'there'\nname = 5\n")
    assert ctl.find_data_dir(tmp_path / "emqx.toml", {}) == Path("there")


def test_a_file_that_cannot_be_read_is_said_and_can_be_done_without(tmp_path: Path) -> None:
    file = tmp_path / "emqx.toml"
    gone = CliRunner().invoke(ctl.ctl, ["-c", str(file), "status"])
    assert (gone.stderr, gone.exit_code) == (f"ERROR: {file}: No such file or directory\n", 2)
    file.write_text("[node\n")
    broken = CliRunner().invoke(ctl.ctl, ["-c", str(file), "status"])
    assert broken.stderr.startswith(f"ERROR: {file}: ")
    assert broken.stderr.endswith("; --data-dir finds the broker without it\n")
    assert run(tmp_path, "status").exit_code == 3


# -- what it is made of ----------------------------------------------------------------------------------------------


async def test_a_socket_that_cannot_be_removed_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that has become read-only; who asks there is told that nobody answers."""
    server = ctlserver.CtlServer(Commands(), tmp_path)
    server.open()

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        server.close()
    assert (tmp_path / ctl.SOCKET).exists()
    assert run(tmp_path, "status").exit_code == 3
    server.open()
    server.close()
    assert not (tmp_path / ctl.SOCKET).exists()


async def test_a_shortage_of_descriptors_does_not_end_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who asks meanwhile is answered when it is over."""
    server = ctlserver.CtlServer(Commands(), tmp_path)
    server.open()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        with trio.socket.socket(trio.socket.AF_UNIX) as client:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            try:
                await client.connect(str(tmp_path / ctl.SOCKET))
                with trio.fail_after(5):
                    while "nobody can be let in: Too many open files" not in caplog.text:
                        await trio.sleep(0.01)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            await client.send(b'{"argv": ["help"]}\n')
            with trio.fail_after(5):
                assert (await client.recv(65536)).endswith(b"}\n")
        nursery.cancel_scope.cancel()


def test_both_sides_mean_the_same_socket() -> None:
    assert ctl.SOCKET == ctlserver.SOCKET


def test_it_starts_without_the_broker() -> None:
    """A script may call it a thousand times."""
    code = (
        "import sys, trioemqx.ctl; print([name for name in sys.modules if name.split('.')[0] in ('trio', 'trioemqx')])"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, timeout=30, check=True)
    assert set(ast.literal_eval(done.stdout.decode())) == {"trioemqx", "trioemqx.ctl"}

"""`trioemqx ctl` and `emqx_ctl`: type a command, and the running broker answers.

The other side, and what goes over the socket, is `services.ctlserver`. Nothing of the broker is imported here, so that
a script may call this often; and the configuration is searched for one key only, so that a file with mistakes keeps
nobody from a broker that runs.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

DEFAULT_FILE: Final = Path("etc/emqx.toml")
"""The configuration when none is named, if it exists."""
SOCKET: Final = "trioemqx.sock"
NODE_DIR: Final = "EMQX_NODE__DATA_DIR"
FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
INTERRUPTED: Final = 130
"""As a shell says it of a command that SIGINT ended."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What could make a terminal do things: names of clients and topics come from the network."""


class CtlError(Exception):
    """No answer from the node: a line for the user, and the exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["-h", "--help"],
    }
)
@click.option(
    "--config", "-c", "path", type=click.Path(path_type=Path), help="Configuration file that names node.data_dir."
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="The broker's node.data_dir, in place of --config.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def ctl(path: Path | None, data_dir: Path | None, words: tuple[str, ...]) -> None:
    """Run a command of the broker that uses the same node.data_dir. Without WORDS the broker lists its commands.

    Exit codes: 0 done, 1 the command failed or is not known, 2 wrong arguments, 3 the broker is not running (EMQX says
    1 there; with a code of its own a script can tell "no" from "nobody there"), 130 ended by Ctrl-C.
    """
    try:
        folder = data_dir if data_dir is not None else find_data_dir(path, os.environ)
        code = ask(folder / SOCKET, list(words), _print)
    except CtlError as error:
        sys.stdout.flush()
        click.echo(f"ERROR: {error}", err=True)
        code = error.code
    except KeyboardInterrupt:  # the usual end of `plugins trace`
        code = INTERRUPTED
    sys.exit(code)


def emqx_ctl() -> None:
    """The console script `emqx_ctl`, for EMQX's runbooks."""
    ctl(prog_name="emqx_ctl")


def find_data_dir(path: Path | None, environ: Mapping[str, str]) -> Path:
    """`node.data_dir` of the environment, else of the file, else the default. Raises CtlError for a file that cannot be
    read."""
    for name, value in environ.items():
        if name.upper() == NODE_DIR:
            return Path(value)
    file = path or DEFAULT_FILE
    try:
        node: Any = tomllib.loads(file.read_text("utf-8")).get("node", {})
    except FileNotFoundError as error:
        if path is None:
            return Path("data")
        raise CtlError(f"{file}: {error.strerror}", USAGE) from None
    except (OSError, ValueError) as error:
        raise CtlError(f"{file}: {error}; --data-dir finds the broker without it", USAGE) from None
    return Path(str(node.get("data_dir", "data")) if isinstance(node, Mapping) else "data")


def ask(path: Path, words: list[str], write: Callable[[list[str]], None]) -> int:
    """Have the node at a socket run a command; `write` gets lines as they come. Returns the exit code. Raises
    CtlError."""
    try:
        request = json.dumps({"argv": words}, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        raise CtlError("arguments have to be UTF-8 text", USAGE) from None
    with _connect(path) as connection:
        for parts in _answers(connection, request):
            write([str(part["out"]) for part in parts if "out" in part])
            if "exit" in parts[-1]:
                return int(parts[-1]["exit"])
    raise CtlError("the node has ended before the command did", NOT_RUNNING)


def _answers(connection: socket.socket, request: bytes) -> Iterator[list[dict[str, Any]]]:
    """The objects the node sends, as many at a time as there are."""
    rest = b""
    try:
        connection.sendall(request)
        while data := connection.recv(65536):
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                yield [json.loads(line) for line in lines]
    except ConnectionError:
        return  # the same as its end


def _connect(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _reach(found, path)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        found.close()
        raise CtlError("node_is_not_running!", NOT_RUNNING) from None
    except OSError as error:
        found.close()
        hint = "; use the broker's user" if isinstance(error, PermissionError) else ""
        raise CtlError(f"{path}: {error.strerror}{hint}") from None
    return found


def _reach(found: socket.socket, path: Path) -> None:
    """Connect to a path of any length: the system allows about 100 bytes, so a long one goes by its folder."""
    if len(os.fsencode(path)) < 100:
        found.connect(str(path))
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _print(lines: list[str]) -> None:
    for line in lines:
        text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line)
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()

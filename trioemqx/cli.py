"""The `trioemqx` command: start, stop, version, and looking at the configuration; `ctl` and `plugin` are files of their
own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, Final, NoReturn

import attrs
import click

import trioemqx
from trioemqx.config.check import check_files
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.load import load_with_saved
from trioemqx.config.model import Config
from trioemqx.config.show import show, unknown
from trioemqx.ctl import DEFAULT_FILE, SOCKET, CtlError, ask, ctl
from trioemqx.errors import ConfigError, ListenerError
from trioemqx.scaffold import plugin
from trioemqx.services.logs import LogHandle, LogSettings, setup

PID_FILE: Final = "trioemqx.pid"
BAD_CONFIG: Final = 78
NOT_RUNNING: Final = 1
ALREADY_RUNNING: Final = 1
STOP_SECONDS: Final = 120
WEAK: Final = 1
_COLOURS: Final = {"high": "red", "medium": "yellow", "low": "cyan"}

_config_option = click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(path_type=Path),
    help="Configuration file. Default: etc/emqx.toml if it exists, else EMQX's shipped values.",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True, no_args_is_help=True
)
@click.version_option(trioemqx.__version__, prog_name="trioemqx")
@click.option("--check-config", is_flag=True, help="The same as `config check`.")
@_config_option
@click.pass_context
def main(context: click.Context, check_config: bool, path: Path | None) -> None:
    """An MQTT broker: EMQX 4's settings and names, extensions in Python."""
    if check_config:
        context.invoke(config_check, path=path, as_json=False)
    elif path is not None:
        raise click.UsageError("--config comes after the command: trioemqx start --config FILE")


main.add_command(ctl)
main.add_command(plugin)


@main.command()
@_config_option
def start(path: Path | None) -> None:
    """Run the broker in the foreground until SIGTERM or SIGINT.

    Exit codes: 0 after an orderly stop, 1 already running, 70 a vital service gave up, 71 cannot listen, 75 something
    could not be written before the end, 78 bad configuration.
    """
    # Until the broker listens to signals itself; the first process of a container ignores one that has no handler.
    signal.signal(signal.SIGTERM, _told_early)
    from trioemqx.supervisor import CANNOT_LISTEN, serve
    from trioemqx.wiring import with_certificates

    config = _load(path)
    with _only_one(Path(config.node.data_dir)):
        try:
            handle = setup(_log_settings(config))
        except ConfigError as error:
            _fail([str(error)])
        try:
            code = serve(with_certificates(config), lambda: with_certificates(_read_again(path, handle)))
        except ListenerError as error:
            click.echo(f"trioemqx: {error}", err=True)
            code = CANNOT_LISTEN
        finally:
            handle.close()
    sys.exit(code)


def _told_early(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM before there is anything to stop."""
    sys.exit(0)


@main.command()
@_config_option
def stop(path: Path | None) -> None:
    """Stop the broker that runs with this configuration, and wait until it has."""
    pid_file = Path(_load(path).node.data_dir) / PID_FILE
    pid = _running(pid_file)
    if pid is None:
        _fail_not_running("not running")
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError as error:
        _fail_not_running(f"process {pid} cannot be told to stop: {error.strerror}")
    deadline = time.monotonic() + STOP_SECONDS
    while _running(pid_file) == pid:
        if time.monotonic() > deadline:
            _fail_not_running(f"process {pid} has not ended within {STOP_SECONDS} s")
        time.sleep(0.05)
    click.echo("ok")


@main.command()
@_config_option
def ping(path: Path | None) -> None:
    """Print pong when the broker that runs with this configuration answers; exit code 1 when it does not."""
    try:
        code = ask(Path(_load(path).node.data_dir) / SOCKET, ["status"], lambda lines: None)
    except CtlError as error:
        _fail_not_running(f"the broker does not answer: {error}")
    if code != 0:
        _fail_not_running("the broker does not answer")
    click.echo("pong")


@main.command()
@_config_option
def pid(path: Path | None) -> None:
    """Print the process identifier of the broker that runs with this configuration; exit code 1 when none does."""
    found = _running(Path(_load(path).node.data_dir) / PID_FILE)
    if found is None:
        _fail_not_running("not running")
    click.echo(found)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the version, and whether the core is compiled."""
    from trioemqx.core import session

    compiled = not session.__file__.endswith(".py")
    if as_json:
        click.echo(json.dumps({"version": trioemqx.__version__, "compiled": compiled}))
    else:
        click.echo(f"trioemqx {trioemqx.__version__} ({'compiled' if compiled else 'interpreted'} core)")


@main.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--least",
    type=click.Choice(["high", "medium", "low"]),
    default="low",
    show_default=True,
    help="Leave out what is less severe.",
)
def doctor(path: Path | None, as_json: bool, least: str) -> None:
    """List weak settings, each with the key to change and a value for it. No broker has to run.

    Exit codes: 0 nothing is weak, 1 something is, 78 bad configuration.
    """
    from trioemqx.services.doctor import SEVERITIES, examine

    wanted = SEVERITIES[: SEVERITIES.index(least) + 1]
    found = [each for each in examine(_load(path), datetime.now(UTC)) if each.severity in wanted]
    if as_json:
        click.echo(json.dumps({"ok": not found, "findings": [attrs.asdict(each) for each in found]}, indent=2))
    for each in [] if as_json else found:
        mark = click.style(f"[{each.severity}]", fg=_COLOURS[each.severity], bold=True)
        at = f" ({', '.join(each.at)})" if each.at else ""
        click.echo(f"{mark} {each.key} = {each.value}{at}\n    {each.reason}\n    change it to: {each.proposal}")
    if not as_json:
        counts = [f"{sum(each.severity == name for each in found)} {name}" for name in wanted]
        click.echo(", ".join(counts) if found else "nothing weak was found")
    sys.exit(WEAK if found else 0)


@main.group()
def config() -> None:
    """Look at the configuration."""


@config.command("check")
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config_check(path: Path | None, as_json: bool) -> None:
    """Validate the configuration, the files it names and the settings of what would be loaded, without starting.

    The code of plugins and modules that would be loaded is imported. Exit code 78 when something is wrong.
    """
    from trioemqx.services.plugins.checking import check_plugins

    problems: list[str] = []
    warnings: list[str] = []
    try:
        found = _read(path)
        warnings = [*found.warnings]
        problems, more = check_plugins(found)
        warnings += more
        check_files(found)
    except ConfigErrors as errors:
        problems += [str(error) for error in errors.errors]
    if as_json:
        click.echo(json.dumps({"ok": not problems, "errors": problems, "warnings": warnings}))
    else:
        for line in problems:
            click.echo(line, err=True)
        for line in warnings:
            click.echo(f"warning: {line}", err=True)
        if not problems:
            click.echo(f"{_file(path) or 'shipped values'} is ok")
    sys.exit(BAD_CONFIG if problems else 0)


# What EMQX calls them.
main.add_command(start, "foreground")
main.add_command(config_check, "check_conf")


@config.command("show")
@_config_option
@click.option("--origin", is_flag=True, help="Say where each value was set.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("prefix", default="")
def config_show(path: Path | None, origin: bool, as_json: bool, prefix: str) -> None:
    """Print every setting in force, or those whose key starts with PREFIX. Secrets are hidden."""
    every = list(show(_load(path)))
    rows = [row for row in every if row[0].startswith(prefix)]
    close = unknown(prefix, [row[0] for row in every])
    if close is not None:
        _fail([f"there is no setting {prefix}" + (f" (did you mean {close}?)" if close else "")])
    if as_json:
        shown = {key: {"value": value, "origin": where} if origin else value for key, value, where in rows}
        click.echo(json.dumps(shown, indent=2, default=str))
        return
    for key, value, where in rows:
        text = json.dumps(value, default=str)
        click.echo(f"{key} = {text}  # {where}" if origin else f"{key} = {text}")


def _file(path: Path | None) -> Path | None:
    if path is not None:
        return path
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read(path: Path | None) -> Config:
    return load_with_saved(_file(path), os.environ)


def _read_again(path: Path | None, handle: LogHandle) -> Config:
    """The configuration for SIGHUP; the log's level is the process's, so it is set here."""
    config = _read(path)
    handle.set_level(config.log.effective_level)
    return config


def _load(path: Path | None) -> Config:
    """The configuration, or its errors one per line and exit code 78."""
    try:
        return _read(path)
    except ConfigErrors as errors:
        _fail([str(error) for error in errors.errors])


def _fail(lines: list[str]) -> NoReturn:
    for line in lines:
        click.echo(f"trioemqx: {line}", err=True)
    sys.exit(BAD_CONFIG)


def _fail_not_running(text: str) -> NoReturn:
    click.echo(f"trioemqx: {text}", err=True)
    sys.exit(NOT_RUNNING)


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Hold the pid file of a data directory; two brokers must not share one."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(data_dir / PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        _fail([f"node.data_dir: {data_dir} cannot be written: {error.strerror}"])
    try:
        if not _lock(handle):
            owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            click.echo(f"trioemqx: Node is already running with {data_dir} (process {owner})!", err=True)
            sys.exit(ALREADY_RUNNING)
        try:
            _write_pid(handle)
        except OSError as error:
            _fail([f"node.data_dir: {data_dir / PID_FILE} cannot be written: {error.strerror}"])
        yield
        with suppress(OSError):  # the disk may be read-only by now; without the lock the file means nothing
            os.ftruncate(handle, 0)
    finally:
        with suppress(OSError):  # or gone
            os.close(handle)


def _write_pid(handle: int) -> None:
    """Put our process where another one's may be: in place, because a full disk has no room but what is in use."""
    text = b"%d\n" % os.getpid()
    os.pwrite(handle, text, 0)
    os.ftruncate(handle, len(text))


def _lock(file: IO[str] | int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _running(pid_file: Path) -> int | None:
    """The process that holds the pid file, if there is one; a file left by a killed process is not locked."""
    try:
        with pid_file.open("r+") as file:
            if _lock(file):
                return None
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _log_settings(config: Config) -> LogSettings:
    log = config.log
    return LogSettings(
        to=log.to,
        level=log.effective_level,
        dir=Path(log.dir),
        file=log.file,
        formatter=log.formatter,
        date_format=log.date_format,
        chars_limit=log.chars_limit,
        single_line=log.single_line,
        rotation=log.rotation,
        rotation_size=log.rotation_size,
        rotation_count=log.rotation_count,
        size=log.size,
        level_files=log.level_files,
        queue_size=log.drop_mode_qlen,
        burst_limit=log.burst_limit,
    )

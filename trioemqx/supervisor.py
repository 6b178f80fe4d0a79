"""The process around a node: signals, readiness, what the operator sees first, and the exit code."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import click
import trio

import trioemqx
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.model import Config
from trioemqx.core import session
from trioemqx.ending import HURRIED, LAST_RESORT, LastResort
from trioemqx.errors import ListenerError
from trioemqx.node import Node, open_broker
from trioemqx.services import memory
from trioemqx.services.sdnotify import Notifier
from trioemqx.services.store.protocol import StoreUnusable
from trioemqx.wiring import too_few_descriptors

log = logging.getLogger("trioemqx.supervisor")

OK: Final = 0
GAVE_UP: Final = 70
"""EX_SOFTWARE: a service the broker cannot live without crashed again and again."""
CANNOT_LISTEN: Final = 71
"""EX_OSERR: a port in use, an address unknown, a certificate unreadable."""
UNSAVED: Final = 75
"""EX_TEMPFAIL: the end was orderly, but the disk did not take what had to be written."""
BAD_CONFIG: Final = 78
"""EX_CONFIG"""
REPORT_GAP: Final = "TRIOEMQX_REPORT_GAP"
"""When set, the longest time between two turns of the event loop is printed at the end (benchmarks)."""

Reload = Callable[[], Config]


def serve(config: Config, reload: Reload) -> int:
    """Run a node until a signal ends it; returns the exit code. `reload` reads the configuration again for SIGHUP."""
    try:
        return trio.run(_serve, config, reload)
    except BaseExceptionGroup as group:
        causes = _leaves(group)
        if not all(isinstance(cause, Exception) for cause in causes):
            raise
        listening = [cause for cause in causes if isinstance(cause, ListenerError)]
        unusable = [cause for cause in causes if isinstance(cause, StoreUnusable)]
        for cause in listening or unusable or causes[:1]:
            click.echo(f"trioemqx: {cause}", err=True)
        if listening or unusable:
            return CANNOT_LISTEN if listening else BAD_CONFIG
        log.critical("the broker gave up", exc_info=group)
        return GAVE_UP


async def _serve(config: Config, reload: Reload) -> int:
    last_resort = LastResort()
    try:
        return await _serve_until_told(config, reload, last_resort)
    finally:
        last_resort.ended()


async def _serve_until_told(config: Config, reload: Reload, last_resort: LastResort) -> int:
    notifier = Notifier()
    longest = 0.0
    memory.begin()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            async with open_broker(config) as node:
                last_resort.save = node.save
                nursery.start_soon(_lose_patience, node, last_resort)
                for line in welcome(node):
                    click.echo(line)
                notifier.ready(f"{len(node.listeners.listeners)} listeners")
                nursery.start_soon(notifier.run)
                memory.settle()
                nursery.start_soon(memory.run, config.node.global_gc_interval)
                await _obey(signals, node, reload, notifier)
                notifier.stopping()
                nursery.start_soon(_end_at_once, signals, nursery.cancel_scope, last_resort)
            longest = node.pump.longest
            nursery.cancel_scope.cancel()
    if os.environ.get(REPORT_GAP):
        click.echo(f"longest turn: {longest * 1000:.1f} ms")
    return UNSAVED if node.store.pending() else OK


async def _lose_patience(node: Node, last_resort: LastResort) -> None:
    """From the moment the node stops, whoever stops it, the time runs."""
    await node.stopping.wait()
    last_resort.code = OK if node.failure is None else GAVE_UP
    last_resort.within(LAST_RESORT)


async def _end_at_once(signals: AsyncIterator[int], everything: trio.CancelScope, last_resort: LastResort) -> None:
    """A second signal does not wait for the drain."""
    async for number in signals:
        if number != signal.SIGHUP:
            last_resort.within(HURRIED)
            everything.cancel()
            return


async def _obey(signals: AsyncIterator[int], node: Node, reload: Reload, notifier: Notifier) -> None:
    """Reload on SIGHUP, return on SIGTERM and SIGINT."""
    async for number in signals:
        if number != signal.SIGHUP:
            return
        notifier.reloading()
        reload_node(node, reload)
        notifier.ready()


def reload_node(node: Node, reload: Reload) -> None:
    """Read certificates and configuration again. A configuration with errors changes nothing but the certificates."""
    problems: list[str] = []
    try:
        problems = node.reload(reload())
    except ConfigErrors as errors:
        problems = [*node.reload(), *map(str, errors.errors)]
    except ListenerError as error:
        problems = [*node.reload(), str(error)]
    for line in problems:
        log.warning("reload: %s", line)
    log.warning("reloaded with %d problems", len(problems))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


def welcome(node: Node) -> list[str]:
    """What a start prints: version, where data lie, which listeners are open, who may connect; the last line is EMQX's,
    for scripts that wait for it."""
    config = node.config
    compiled = not session.__file__.endswith(".py")
    lines = [
        f"trioemqx {trioemqx.__version__} ({'compiled' if compiled else 'interpreted'} core), node {node.node}",
        f"  configuration  {config.path or 'none given; the values EMQX ships'}",
        f"  data           {Path(config.node.data_dir).resolve()}",
        f"  log            {_log_place(config)}",
    ]
    lines.append(f"  loaded         {', '.join(node.plugins.live) or 'no plugins'}")
    lines += [f"  warning        {problem}" for problem in node.plugins.problems]
    for listener in node.listeners.listeners.values():
        zone = listener.zone
        who = "anybody" if zone.allow_anonymous == "true" else "only clients that a backend admits"
        lines.append(f"  listening      {listener.id:<18} {listener.address:<21} zone {zone.name}: {who}")
        if zone.allow_anonymous == "true" and not _local(listener.config.host):
            lines.append(
                f"  warning        {listener.id} is reachable from outside and lets anybody in; "
                f"set allow_anonymous = false or bind it to 127.0.0.1"
            )
    for server in node.api.servers if node.api is not None else ():
        lines.append(f"  listening      {server.id:<18} {server.address:<21} HTTP API")
    lines.append(f"  limit          {node.gate.max_connections} connections")
    short = too_few_descriptors(config)
    lines += [f"  warning        {warning}" for warning in [*config.warnings, *([short] if short else [])]]
    lines.append(f"trioemqx {trioemqx.__version__} is started successfully!")
    return lines


def _log_place(config: Config) -> str:
    file = str((Path(config.log.dir) / config.log.file).resolve())
    return {"file": file, "console": "console", "both": f"console and {file}"}[config.log.to]


def _local(host: str) -> bool:
    return host in ("127.0.0.1", "::1", "localhost") or host.startswith("127.")

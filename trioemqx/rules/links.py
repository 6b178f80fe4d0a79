"""The life of one connection of a resource: checked, opened, looked at, closed. Crashes of its type stay here."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from trioemqx.rules import files
from trioemqx.rules.errors import FAILED, RuleError, bad_arguments
from trioemqx.rules.records import ResourceRecord
from trioemqx.rules.terms import term
from trioemqx.services.rulekit import ParamsRefused, Resource, ResourceFailed, ResourceSetup, ResourceType

log = logging.getLogger("trioemqx.rules")

START_SECONDS: Final = 10.0
"""What connecting may take."""
CHECK_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 5.0


def check(kind: ResourceType, settings: Mapping[str, Any]) -> None:
    """Raise RuleError for a configuration that its type does not take; nothing is opened."""
    texts = files.contents(settings, kind.params)
    nowhere = Path()
    _made(kind, ResourceSetup("", files.with_paths(settings, dict.fromkeys(texts, ""), nowhere), nowhere))


def _made(kind: ResourceType, setup: ResourceSetup) -> Resource:
    try:
        return kind.make(setup)
    except ParamsRefused as error:
        raise bad_arguments(str(error)) from error
    except Exception as error:
        log.error("resource type %s crashed", kind.name, exc_info=error)
        raise bad_arguments(f"{{init_resource,{term(str(error))}}}") from error


async def made(kind: ResourceType, record: ResourceRecord, data_dir: Path) -> Resource:
    """What is to be connected. Raises ResourceFailed."""
    folder = files.folder_of(data_dir, record.id)
    try:
        texts = files.contents(record.config, kind.params)
        if texts:
            await trio.to_thread.run_sync(files.write_all, folder, texts)
        return _made(kind, ResourceSetup(record.id, files.with_paths(record.config, texts, folder), folder))
    except (OSError, RuleError) as error:
        raise ResourceFailed(str(error)) from error


async def started(link: Resource, resource_id: str) -> None:
    """Wait for the connection; its background work has begun. Raises ResourceFailed."""
    try:
        with trio.fail_after(START_SECONDS):
            await link.start()
    except ResourceFailed:
        raise
    except trio.TooSlowError:
        raise ResourceFailed(f"no connection within {START_SECONDS:g} s") from None
    except Exception as error:
        log.error("resource %s crashed at its start", resource_id, exc_info=error)
        raise ResourceFailed(f"{type(error).__name__}: {error}") from error


async def probe(kind: ResourceType, settings: Mapping[str, Any], data_dir: Path, failure: str) -> None:
    """Connect, look, and forget. Raises RuleError: 500 with `failure` without a connection, 400 for a dead one."""
    name = f"__probe__:{secrets.token_hex(4)}"
    problem, alive = "", False
    try:
        link = await made(kind, ResourceRecord(name, kind.name, settings), data_dir)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_background, link)
            try:
                await started(link, name)
                alive = await is_alive(link)
            except ResourceFailed as error:
                problem = str(error)
            finally:
                with trio.CancelScope(shield=True):
                    await closed(link)
            nursery.cancel_scope.cancel()
    except ResourceFailed as error:
        problem = str(error)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(files.remove_all, files.folder_of(data_dir, name))
    if problem:
        raise RuleError(FAILED, failure, problem)
    if not alive:
        raise bad_arguments(f"{{resource_down,{term(name)}}}")


async def _background(link: Resource) -> None:
    """The work of a connection that is only tried: a crash is told, and then it is not alive."""
    try:
        await link.run()
    except* Exception as group:
        log.error("a resource crashed while it was tried", exc_info=group)


async def is_alive(link: Resource) -> bool:
    """Whether it can be used now; False when that cannot be told."""
    try:
        with trio.move_on_after(CHECK_SECONDS):
            return await link.alive()
    except Exception as error:
        log.error("asking a resource whether it is up crashed", exc_info=error)
    return False


async def closed(link: Resource) -> None:
    """End a connection; what goes wrong is only logged."""
    try:
        with trio.move_on_after(CLOSE_SECONDS):
            await link.close()
    except Exception as error:
        log.error("a resource crashed at its end", exc_info=error)

"""The settings of plugins and modules as forms have them, and the last lines of their logs."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import trio

from trioemqx.api.host import ApiHost
from trioemqx.api.v4.configs import OUTCOME, changed, shown
from trioemqx.services.plugins import forms
from trioemqx.services.plugins.discovery import Found
from trioemqx.services.plugins.generation import Generation
from trioemqx.services.plugins.settings import config_class, gather
from trioemqx.services.web import ApiError, Call, Endpoint, Param, delete, get, put
from trioemqx.services.web.answers import NOT_STARTED, bad_params, not_found_page
from trioemqx.services.web.schema import ANY, record, rows, some, table, texts, wholes

FORM: Final = record(
    {"schema": table(ANY), "values": table(ANY), "origins": table(some("default", "file", "saved", "environment"))}
)
MAX_README: Final = 128 * 1024
LINE: Final = record({**wholes("time"), **texts("level", "message")})


async def show(call: Call) -> object:
    """The schema of its settings, the values in force (secrets as `******`), and where each comes from."""
    generation = await _live(call)
    return await trio.to_thread.run_sync(partial(_form, generation, call.host))


def _form(generation: Generation, host: ApiHost) -> dict[str, Any]:
    """In a thread: it reads files."""
    cls, instance = type(generation.instance), generation.instance
    schema = forms.schema_of(config_class(cls), generation.name)
    values: dict[str, Any] = forms.shown(instance.config)
    if "hook_timeout" not in values:
        values["hook_timeout"] = generation.timeout
    if "hook_priority" not in values and generation.priority is not None:
        values["hook_priority"] = generation.priority
    gathered = gather(generation.found, cls.prefix, host.config)
    return {"schema": schema, "values": values, "origins": forms.origins_of(gathered, schema["properties"])}


async def save(call: Call) -> object:
    """Save what differs from the values in force over the file, and apply it: by the plugin itself, or by a reload."""
    generation = await _live(call)
    given = call.get("values")
    if not isinstance(given, dict) or len(given) > 1000:
        raise bad_params('expected {"values": {...}}')
    now = generation.instance.config
    before = (await trio.to_thread.run_sync(partial(_form, generation, call.host)))["values"]
    differing = {key: value for key, value in given.items() if key not in before or before[key] != value}
    named = {f"{_prefix(generation)}.{key}": value for key, value in forms.secrets_stay(differing, now).items()}
    if any("." in key for key in differing):
        raise bad_params("a key has no dots: settings below others are objects")
    return shown(await changed(call.host.overrides.change(named)))


async def forget(call: Call) -> object:
    """Forget everything that was saved for it."""
    generation = await _live(call)
    prefix = f"{_prefix(generation)}."
    saved = [key for key in call.host.config.saved if key.startswith(prefix)]
    if not saved:
        raise not_found_page()
    outcome = await changed(call.host.overrides.change({}, saved))
    return {"results": {}, "problems": outcome.problems}


async def log_lines(call: Call) -> object:
    """The last lines of its log, and of the broker's about it, the oldest first."""
    name, kind = _asked(call)
    if not any(listed.name == name for listed in await call.host.plugins.look(kind)):
        raise not_found_page()
    return call.host.plugins.tail.lines(name)


async def readme(call: Call) -> object:
    """What a plugin says of itself, plain text; empty where it says nothing."""
    name, plugins = call.args["plugin"], call.host.plugins
    if name not in plugins.built_in and not any(listed.name == name for listed in await plugins.look("plugin")):
        raise not_found_page()
    return {"text": await trio.to_thread.run_sync(_readme, plugins.catalogue.found.get(name))}


def _readme(found: Found | None) -> str:
    """The file in a plugin's own folder: those of a wheel are in nobody's."""
    if found is None or found.folder is None:
        return ""
    file = found.folder / "README.md"
    try:
        if not file.is_file():  # nobody waits for a pipe
            return ""
        with file.open("rb") as opened:
            return opened.read(MAX_README).decode("utf-8", "replace")
    except OSError:
        return ""


def _asked(call: Call) -> tuple[str, str]:
    kind = "plugin" if "plugin" in call.args else "module"
    return call.args[kind], kind


def _prefix(generation: Generation) -> str:
    return f"{generation.found.kind}s.{generation.name}"


async def _live(call: Call) -> Generation:
    """The plugin or module of the path. Raises ApiError: HTTP 404 when there is none of that name, 111 when it is not
    loaded, because only then it is known what settings it has."""
    name, kind = _asked(call)
    generation: Generation | None = call.host.plugins.live.get(name)
    if generation is not None and generation.found.kind == kind:
        return generation
    if any(listed.name == name for listed in await call.host.plugins.look(kind)):
        raise ApiError(
            NOT_STARTED, "not_started", extra={"reason": f"load {name} first: it says what its settings are"}
        )
    raise not_found_page()


def _endpoints(kind: str) -> tuple[Endpoint, ...]:
    path = f"/{kind}s/{{{kind}}}"
    more: dict[str, Any] = {"group": f"{kind}s", "ours": True}
    return (
        get(f"{path}/config", show, name=f"get_{kind}_config", descr=f"The settings of a {kind}", data=FORM,
            codes=(111,), roles=(), **more),
        put(f"{path}/config", save, name=f"save_{kind}_config", descr=f"Save settings of a {kind} over the file",
            body=(Param("values", "object", "Settings with their new values; others stay.", required=True),),
            data=OUTCOME, codes=(102, 108, 111), volatile=True, **more),
        delete(f"{path}/config", forget, name=f"forget_{kind}_config", descr=f"Forget the saved settings of a {kind}",
               data=OUTCOME, codes=(102, 108, 111), volatile=True, **more),
        get(f"{path}/log", log_lines, name=f"{kind}_log", descr=f"The last lines of the log of a {kind}",
            data=rows(LINE), roles=(), **more),
    )  # fmt: skip


README: Final = get(
    "/plugins/{plugin}/readme",
    readme,
    name="plugin_readme",
    descr="What a plugin says of itself",
    group="plugins",
    data=record(texts("text")),
    ours=True,
)
ENDPOINTS = (*_endpoints("plugin"), README, *_endpoints("module"))

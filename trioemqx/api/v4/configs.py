"""Settings: all of them with where each comes from, and the overrides that are saved over the file."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Final

import trio

from trioemqx.config.errors import ConfigErrors
from trioemqx.config.show import explain
from trioemqx.errors import ListenerError
from trioemqx.services.overrides import APPLIED, COVERED, RESTART, NotSaved, Outcome
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.web import ApiError, Call, Param, delete, get, put
from trioemqx.services.web.answers import BAD_PARAMETER, UNKNOWN_ERROR, bad_params, not_found_page
from trioemqx.services.web.schema import ANY, FLAG, record, rows, some, table, texts

ORIGIN: Final = some("default", "given", "file", "saved", "environment")
SETTING: Final = record(
    {
        **texts("key", "where", "type", "unit", "description"),
        **dict.fromkeys(("value", "default", "file"), ANY),
        "origin": ORIGIN,
        "apply": some("live", "listener", "plugin", "restart"),
        **dict.fromkeys(("live", "used", "secret", "saved", "fixed", "pending"), FLAG),
    }
)
OUTCOME: Final = record(
    {"results": table(some(APPLIED, RESTART, COVERED)), "problems": rows({"type": "string"})},
)


async def list_configs(call: Call) -> object:
    """Every setting in the order of the reference page; `origin` is where its value was set, `file` what the file says,
    `fixed` whether only file and environment can say it, `pending` whether it waits for a restart."""
    host = call.host
    return await trio.to_thread.run_sync(partial(explain, host.config, host.started_config))


async def save(call: Call) -> object:
    """Save settings by dotted key over the file. All are checked before anything changes; those that can be are applied
    at once."""
    values = call.body
    if not isinstance(values, dict) or not values:
        raise bad_params('expected an object of settings by key, such as {"mqtt.max_packet_size": "1MB"}')
    known = {
        str(row["key"]) for row in await trio.to_thread.run_sync(partial(explain, call.host.config, call.host.config))
    }
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        raise ApiError(BAD_PARAMETER, f"no such setting: {unknown[0]:.100}", extra={"errors": _of_keys(unknown)})
    return shown(await changed(call.host.overrides.change(values)))


async def forget(call: Call) -> object:
    """Forget a saved setting: file or default hold again."""
    key = call.args["key"]
    if key not in call.host.config.saved:
        raise not_found_page()
    outcome = await changed(call.host.overrides.change({}, [key]))
    return {"results": {}, "problems": outcome.problems}


async def changed(change: Awaitable[Outcome]) -> Outcome:
    """Wait for a change of the saved settings. Raises ApiError that says what is wrong; nothing has changed then."""
    try:
        return await change
    except ConfigErrors as errors:
        listed = [{"key": error.key, "error": str(error)} for error in errors.errors]
        raise ApiError(
            BAD_PARAMETER, str(listed[0]["error"]) if listed else "bad_params", extra={"errors": listed}
        ) from errors
    except (PluginError, ListenerError) as error:
        raise ApiError(BAD_PARAMETER, str(error), extra={"errors": [{"key": "", "error": str(error)}]}) from error
    except NotSaved as error:
        raise ApiError(UNKNOWN_ERROR, "not_saved", extra={"reason": str(error)}) from error


def shown(outcome: Outcome) -> dict[str, object]:
    """What became of a change: by key, and lines about what could not be applied."""
    return {"results": dict(outcome.results), "problems": outcome.problems}


def _of_keys(keys: list[str]) -> list[dict[str, str]]:
    return [{"key": key[:200], "error": "no such setting"} for key in keys[:100]]


ENDPOINTS = (
    get("/configs", list_configs, name="list_configs", descr="All settings, and where each comes from",
        group="configs", ours=True, data=rows(SETTING), roles=()),
    put("/configs", save, name="save_configs", descr="Save settings over the file", group="configs", ours=True,
        volatile=True, codes=(102, 108), data=OUTCOME,
        body=(Param("mqtt.max_packet_size", doc="For example. Any key of GET /configs, with its new value."),)),
    delete("/configs/{key}", forget, name="forget_config", descr="Forget a saved setting", group="configs", ours=True,
           volatile=True, codes=(102, 108), data=OUTCOME),
)  # fmt: skip

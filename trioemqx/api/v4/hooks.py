"""Hooks: who is called at which point, in which order, how often it went wrong, and what it costs."""

from __future__ import annotations

from typing import Final

import trio

from trioemqx.services.web import ApiError, Call, Param, get
from trioemqx.services.web.schema import NUMBER, WHOLE, either, record, rows, texts, wholes

MAX_SECONDS: Final = 10
MAX_MEASURING: Final = 4
NONE: Final = {"type": "null"}
POINT: Final = record(
    {
        **texts("point"),
        "implementations": rows(
            record(
                {
                    **texts("plugin", "function"),
                    **wholes("priority", "errors"),
                    "calls": either(WHOLE, NONE),
                    "microseconds": either(NUMBER, NONE),
                }
            )
        ),
    }
)


async def list_hooks(call: Call) -> object:
    """Every point that somebody listens to, its implementations in the order of calls. `calls` and `microseconds` (of
    one call, on average) are null unless `_measure` asks to wait for them."""
    seconds = call.integer("_measure", 0, 0, MAX_SECONDS)
    registry = call.host.hooks
    spent: dict[tuple[str, str], list[float]] = {}
    if seconds:
        if registry.measuring >= MAX_MEASURING:
            raise ApiError(102, "hooks are being measured by others", 503)
        stop = registry.measure(lambda plugin, point, took: spent.setdefault((plugin, point), []).append(took))
        try:
            await trio.sleep(seconds)
        finally:
            stop()
    return [
        {
            "point": point,
            "implementations": [
                {
                    "plugin": entry.plugin,
                    "function": entry.function,
                    "priority": entry.priority,
                    "errors": entry.errors,
                    **_cost(spent.get((entry.plugin, point), []) if seconds else None),
                }
                for entry in entries
            ],
        }
        for point, entries in registry.details()
    ]


def _cost(spent: list[float] | None) -> dict[str, object]:
    if spent is None:
        return {"calls": None, "microseconds": None}
    return {"calls": len(spent), "microseconds": round(sum(spent) / len(spent) * 1e6, 1) if spent else None}


ENDPOINTS = (
    get("/hooks", list_hooks, name="list_hooks", descr="Hook points and who listens to them", group="hooks", ours=True,
        data=rows(POINT), codes=(102, 108),
        query=(Param("_measure", "integer", "Seconds to measure calls, at most 10."),)),
)  # fmt: skip

"""Plugins that are sent as a zip: at the dashboard's door only, and only while `plugins.upload` says so."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import trio

from trioemqx.api.host import ApiHost
from trioemqx.config.model import MAX_UPLOAD
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.plugins.uploading import Report
from trioemqx.services.web import ApiError, Call, Param, delete, get, post
from trioemqx.services.web.answers import UNKNOWN_ERROR, not_found_page
from trioemqx.services.web.schema import FLAG, TEXT, record, rows, texts, wholes

DOORS: Final = ("dashboard",)
"""The secret of an application lies in scripts; who may bring code is a person who has logged in."""
STATE: Final = record({"enabled": FLAG, **wholes("max_size"), **texts("reason")}, optional=("reason",))
REPORT: Final = record(
    {
        **texts("name", "version", "description", "sha256"),
        "files": rows(record({**texts("path"), **wholes("size")})),
        "in_the_way": rows(TEXT),
        "replaces": {**TEXT, "description": "the hash of the uploaded one of its name; empty: there is none"},
        "active": {**FLAG, "description": "that one is loaded"},
        "kept": FLAG,
    }
)


async def state(call: Call) -> object:
    """Whether plugins may be uploaded, and if not, what has to be set where."""
    settings = call.host.config.plugins
    off = {} if settings.upload else {"reason": _how_to(call.host)}
    return {"enabled": settings.upload, "max_size": settings.upload_max_size, **off}


async def upload(call: Call) -> object:
    """Keep the plugin that the body is, for somebody to load it; or say what it is."""
    only_look, replace = call.flag("check", False), call.flag("replace", False)
    expected = call.text("sha256", "").lower()
    raw = call.body if isinstance(call.body, bytes) else b""
    _check(call, len(raw))
    digest = await trio.to_thread.run_sync(lambda: hashlib.sha256(raw).hexdigest())
    call.note = f"{'check ' if only_look else ''}sha256:{digest}"
    if expected and expected != digest:
        raise ApiError(UNKNOWN_ERROR, f"the archive is another one: its sha256 is {digest}")
    uploading = call.host.uploading
    change = (
        uploading.look(raw, replace=replace)
        if only_look
        else uploading.keep(raw, call.user, call.host.wall(), replace=replace)
    )
    report = await _answered(change)
    call.note = f"{call.note} {report.found.name}"
    return _shown(report, not only_look)


async def remove(call: Call) -> None:
    """Remove an uploaded plugin that is not loaded."""
    try:
        digest = await call.host.uploading.remove(call.args["plugin"])
    except PluginError as error:
        if error.reason == "not_found":
            raise not_found_page() from error
        raise ApiError(UNKNOWN_ERROR, error.reason) from error
    call.note = f"sha256:{digest}"


def _check(call: Call, size: int) -> None:
    """Raise ApiError unless this user may upload, and that much."""
    settings = call.host.config.plugins
    if not settings.upload:
        raise ApiError(UNKNOWN_ERROR, "uploads are off", extra={"reason": _how_to(call.host)})
    if call.host.dashboard_users.shipped(call.user):
        raise ApiError(UNKNOWN_ERROR, "choose a password of your own first")
    if size > settings.upload_max_size:
        raise ApiError(UNKNOWN_ERROR, f"an archive has at most {settings.upload_max_size} bytes: upload_max_size")


def _how_to(host: ApiHost) -> str:
    file = host.config.path or "the configuration file"
    return f"set plugins.upload = true in {file}, or EMQX_PLUGINS__UPLOAD=true in the environment"


async def _answered(change: Awaitable[Report]) -> Report:
    try:
        return await change
    except PluginError as error:
        raise ApiError(UNKNOWN_ERROR, error.reason) from error


def _shown(report: Report, kept: bool) -> dict[str, object]:
    found = report.found
    return {
        "name": found.name,
        "version": found.version,
        "description": found.description,
        "sha256": report.sha256,
        "files": [{"path": path, "size": size} for path, size in report.files.items()],
        "in_the_way": list(report.in_the_way),
        "replaces": report.replaces,
        "active": report.active,
        "kept": kept,
    }


_OURS: Final[Mapping[str, Any]] = {"group": "plugins", "listeners": DOORS, "ours": True}
ENDPOINTS = (
    get("/plugins/upload", state, name="plugin_upload_state", descr="Whether plugins may be uploaded", data=STATE,
        **_OURS),
    post("/plugins/upload", upload, name="upload_plugin", descr="Upload a plugin: the body is a zip archive",
         raw=True, takes="application/zip", max_body=MAX_UPLOAD, data=REPORT, codes=(102, 108), **_OURS,
         query=(Param("check", "boolean", "Only say what it is and what is in the way."),
                Param("replace", "boolean", "In place of an uploaded one of the same name."),
                Param("sha256", doc="Refuse an archive with another hash."))),
    delete("/plugins/{plugin}/uploaded", remove, name="delete_uploaded_plugin", descr="Remove an uploaded plugin",
           codes=(102,), **_OURS),
)  # fmt: skip

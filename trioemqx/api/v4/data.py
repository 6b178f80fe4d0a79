"""Export and import of what the broker was told. Files are in `<node.data_dir>/backup`; names lead nowhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trioemqx.api.app import Answer
from trioemqx.services.backup import BackupError, File, good_name
from trioemqx.services.backup.errors import BAD_FILENAME, BAD_JSON, BAD_PARAMS, BUSY
from trioemqx.services.web import ApiError, Call, Param, delete, get, post
from trioemqx.services.web.answers import BAD_PARAMETER, NOT_JSON, RPC_ERROR, UNKNOWN_ERROR, bad_params, missing
from trioemqx.services.web.schema import TEXT, WHOLE, record, rows, texts

FILE = record(
    {
        **texts("filename", "node"),
        "size": {**WHOLE, "description": "bytes"},
        "created_at": {**TEXT, "description": "local time, no padding: 2020-5-15 18:6:29"},
    }
)
_CODES: Final = {BAD_JSON: NOT_JSON, BAD_PARAMS: BAD_PARAMETER, BAD_FILENAME: BAD_PARAMETER}


def file_row(call: Call, file: File) -> dict[str, object]:
    """A file as the API has it."""
    at = time.localtime(file.created_at)
    return {
        "filename": file.name,
        "size": file.size,
        "created_at": f"{at[0]}-{at[1]}-{at[2]} {at[3]}:{at[4]}:{at[5]}",
        "node": call.host.node,
    }


async def list_exported(call: Call) -> object:
    """The files, the oldest first."""
    try:
        return [file_row(call, file) for file in await call.host.backup.files()]
    except BackupError as error:
        raise _answer(error) from error


async def export(call: Call) -> object:
    """Write a file."""
    try:
        return file_row(call, await call.host.backup.export())
    except BackupError as error:
        raise _answer(error) from error


async def import_data(call: Call) -> None:
    """Take a file by its name, or the export that the body is."""
    backup = call.host.backup
    raw = call.body if isinstance(call.body, bytes) else b"{}"
    try:
        found = await backup.look(raw, _first(call, "filename", "node"))
        _check_node(call, found.header.get("node"))
        if "filename" in found.header:
            await backup.import_file(_name(found.header["filename"]))
        else:
            await backup.import_content(raw, found)
    except BackupError as error:
        raise _answer(error) from error


async def download(call: Call) -> object:
    """A file's text, in JSON without `code` and `data`."""
    name = call.args["filename"]
    try:
        text = await call.host.backup.text(name)
    except BackupError as error:
        raise _answer(error) from error
    return Answer(200, b'{"filename":%s,"file":%s}' % (msgspec.json.encode(name), text))


async def upload(call: Call) -> object:
    """Keep a file."""
    raw = call.body if isinstance(call.body, bytes) else b"{}"
    try:
        report = await call.host.backup.upload(raw, _first(call, "filename", "file"))
    except BackupError as error:
        if error.detail == "request":
            raise ApiError(NOT_JSON, "Bad Request", 400) from error
        raise _answer(error) from error
    if not report.get("file"):
        raise missing()
    if not good_name(report.get("filename", "automatic.json")):
        raise bad_params(BAD_FILENAME)
    if not report.get("json"):
        raise ApiError(NOT_JSON, BAD_JSON)
    return {"node": call.host.node}


async def remove(call: Call) -> None:
    """Remove a file."""
    try:
        await call.host.backup.delete(call.args["filename"])
    except BackupError as error:
        raise _answer(error) from error


def _first(call: Call, *names: str) -> dict[str, str]:
    """What the query says of these: it hides what the body says."""
    found: dict[str, str] = {}
    for name, value in call.query:
        if name in names:
            found.setdefault(name, value)
    return found


def _check_node(call: Call, node: object) -> None:
    """Raise ApiError 101 unless the node runs; no node is this one."""
    if node is not None and not (isinstance(node, str) and call.host.nodes().get(node)):
        raise ApiError(RPC_ERROR, "no_existent_node")


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise bad_params(BAD_FILENAME)
    return value


def _answer(error: BackupError) -> ApiError:
    """The answer for what went wrong: EMQX's word, and the details beside it."""
    extra: Mapping[str, Any] | None = {"reason": error.detail} if error.detail else None
    return ApiError(_CODES.get(error.reason, UNKNOWN_ERROR), error.reason, 503 if error.reason == BUSY else 200, extra)


_NAME = Param("filename", doc="name of a file of the list, without a folder")
ENDPOINTS = (
    post("/data/export", export, name="export", descr="Export data", group="data", data=FILE, codes=(102,)),
    get(
        "/data/export",
        list_exported,
        name="list_exported",
        descr="List exported file",
        group="data",
        data=rows(FILE),
        codes=(102,),
    ),
    post(
        "/data/import",
        import_data,
        name="import",
        descr="Import data",
        group="data",
        raw=True,
        body=(_NAME, Param("node", doc="the node whose file it is; this one when absent")),
        codes=(101, 102, 108, 109),
    ),
    get(
        "/data/file/{filename}",
        download,
        name="download",
        descr="Download data file to local",
        group="data",
        bare=record({"filename": TEXT, "file": {**TEXT, "description": "the text of the file"}}),
        codes=(102,),
        roles=(),
    ),
    post(
        "/data/file",
        upload,
        name="upload",
        descr="Upload data file from local",
        group="data",
        raw=True,
        body=(
            Param("filename", doc="a name that ends with .json; an automatic one when absent"),
            Param("file", doc="the text of the file, which is JSON itself", required=True),
        ),
        data=record(texts("node")),
        codes=(102, 107, 108, 109),
    ),
    delete("/data/file/{filename}", remove, name="delete", descr="Delete data file", group="data", codes=(102,)),
)

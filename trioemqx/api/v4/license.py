"""License: the one endpoint of EMQX's enterprise edition that is documented for all."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path
from typing import Final

import trio

from trioemqx.services.license import replace_license
from trioemqx.services.web import ApiError, Call, Param, post
from trioemqx.services.web.answers import UNKNOWN_ERROR, bad_params

MAX_LICENSE: Final = 256 * 1024
_ONE_AT_A_TIME: Final = trio.CapacityLimiter(1)


async def upload(call: Call) -> None:
    """Any text is accepted and kept; it has no effect on limits."""
    text = call.need("license")
    if not isinstance(text, str) or not text.strip():
        raise bad_params("bad_license")
    replace = partial(replace_license, Path(call.host.config.license.file), text, int(call.host.wall()))
    try:
        await trio.to_thread.run_sync(replace, limiter=_ONE_AT_A_TIME)
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "eio").lower()
        raise ApiError(UNKNOWN_ERROR, reason, extra={"reason": str(error.strerror or error)}) from error


ENDPOINTS = (
    post("/license/upload", upload, name="upload_license", descr="Upload a license file to the cluster",
         group="license", app="emqx_license", max_body=MAX_LICENSE,
         body=(Param("license", doc="The text; it has no effect on limits.", required=True),), codes=(102, 107, 108)),
)  # fmt: skip

"""Why an export or an import cannot be done."""

from __future__ import annotations

import errno
from typing import Final

from trioemqx.errors import TrioemqxError

NOT_FOUND: Final = "not_found"
BAD_FILENAME: Final = "bad_filename"
BAD_FILE: Final = "bad_file"
BAD_JSON: Final = "bad_json"
BAD_PARAMS: Final = "bad_params"
UNSUPPORTED: Final = "unsupported_version"
FAILED: Final = "import_failed"
BUSY: Final = "busy"
FULL: Final = "full"


class BackupError(TrioemqxError):
    """`reason` is EMQX's word for it, or that of the operating system (`enospc`); `detail` says what to do about it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def refused(error: OSError) -> BackupError:
    """A refusal of the operating system in EMQX's words: `enospc`, `eacces`."""
    if isinstance(error, FileNotFoundError):
        return BackupError(NOT_FOUND)
    if error.errno == errno.ELOOP:
        return BackupError(BAD_FILE, "not a regular file")
    return BackupError(errno.errorcode.get(error.errno or 0, "eio").lower(), error.strerror or str(error))

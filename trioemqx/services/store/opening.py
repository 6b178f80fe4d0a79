"""Opening a database file: who may, whether it can be trusted, and what becomes of one that cannot.

A file that is damaged may be moved aside; one that is merely in the way (in use, no permission, no space, not ours,
from a newer version) never is. All functions block and are called from the store's own thread. The text of a
StoreUnusable goes on after the name of the file.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from trioemqx.services.store.protocol import StoreError, StoreUnusable
from trioemqx.services.store.schema import Damaged, check_rows, check_structure, identify, migrate

log = logging.getLogger("trioemqx.store")

Connect = Callable[[Path], sqlite3.Connection]

BUSY: Final = 5.0
"""Seconds to wait for a program that holds a lock on the file, such as one that makes a backup."""
STATEMENTS: Final = 256
"""Compiled statements kept; `database` makes up to 200, by number of rows."""
WAL_PAGES: Final = 1000
"""Pages in the write-ahead log at which SQLite moves them to the file."""
WAL_BYTES: Final = 64 * 1024 * 1024
"""What a write-ahead log that has been larger is cut back to."""
CHECKED: Final = 64 * 1024 * 1024
"""Bytes of a file up to which messages that wait are looked at as well when it is opened."""
PARTS: Final = ("", "-wal", "-shm")
NEW: Final = b"new\n"
"""In `<file>.lock` until the file has been opened for the first time."""
DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
READ_ERRORS: Final = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})


def connect(path: Path) -> sqlite3.Connection:
    """A connection in which transactions begin and end by statements only."""
    return sqlite3.connect(path, timeout=BUSY, isolation_level=None, cached_statements=STATEMENTS)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is broken, not that it is in use or that there is no space."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in DAMAGE or code in READ_ERRORS


def open_database(path: Path, synchronous: str, connect: Connect, again: bool = False) -> sqlite3.Connection:
    """A connection to a file that has been looked at and has the newest schema. `synchronous` is FULL or NORMAL.

    At a start every row is read once, messages that wait only in a file of at most CHECKED bytes.
    `again` is for a file that was open before: it must not be empty. Raises Damaged,
    StoreUnusable and sqlite3.Error.
    """
    connection = connect(path)
    try:
        if identify(connection) == 0:
            if again:
                raise Damaged("what was in it is gone")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has to come first
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        whole = path.stat().st_size <= CHECKED
        check_structure(connection, whole)
        migrate(connection)
        if not again:
            check_rows(connection, whole)
    except BaseException:
        connection.close()
        raise
    return connection


def first_open(path: Path, synchronous: str, on_corrupt: str, connect: Connect) -> tuple[sqlite3.Connection, str]:
    """The connection of a start, and the name that a damaged file was given ("" when it was none). Raises
    StoreUnusable."""
    aside = ""
    try:
        try:
            _check_size(path)
            connection = open_database(path, synchronous, connect)
        except (Damaged, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and not is_damage(error):
                raise
            aside = _damaged(path, on_corrupt, error)
            _mark(path, NEW)
            create(path)
            connection = open_database(path, synchronous, connect)
        _mark(path, b"")
        return connection, aside
    except (Damaged, sqlite3.Error) as error:
        raise StoreUnusable(
            f"cannot be opened: {error}; check disk, free space, owner and permissions of the file and its directory"
        ) from error


def _check_size(path: Path) -> None:
    """Raise Damaged for a file without a byte, which one that was ever opened is not, unless it has just been made."""
    if path.exists() and not path.stat().st_size and NEW not in _marks(path):
        raise Damaged("it is empty")


def _marks(path: Path) -> bytes:
    """What `<file>.lock` says; nothing when there is none."""
    lock = Path(f"{path}.lock")
    return lock.read_bytes() if lock.exists() else b""


def _mark(path: Path, mark: bytes) -> None:
    """Write our process into `<file>.lock`, and NEW as long as the file may be empty because nobody has filled it. On a
    full disk that is left out: what is in the database counts more."""
    with suppress(OSError), open(f"{path}.lock", "wb") as lock:
        lock.write(b"%d\n%s" % (os.getpid(), mark))


def _damaged(path: Path, on_corrupt: str, error: Exception) -> str:
    if on_corrupt != "rename":
        raise StoreUnusable(
            f"is damaged ({error}); put a backup in its place, "
            f'or set store.on_corrupt = "rename" to have it moved aside and start with an empty one'
        ) from error
    aside = move_aside(path)
    log.warning(
        "%s is damaged (%s) and was moved to %s; the broker starts with an empty one, without bans, retained messages "
        "and whatever else was in it",
        path,
        error,
        aside,
    )
    return str(aside)


def move_aside(path: Path, now: float | None = None) -> Path:
    """Rename a file and what belongs to it to `<file>.corrupt-<time>`; returns the new name. Raises StoreUnusable."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 0
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}.{number}")
    try:
        for part in reversed(PARTS):  # the file last: without it the rest would be taken for that of a new one
            source = Path(f"{path}{part}")
            if source.exists():
                source.rename(f"{aside}{part}")
    except OSError as error:
        raise StoreUnusable(f"is damaged and cannot be renamed: {error.strerror}; move it away") from error
    return aside


def create(path: Path) -> None:
    """Make the file, and the directory it lies in, for its owner alone, unless they exist. Raises StoreUnusable when it
    cannot be read and written."""
    _create_folder(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnusable(f"cannot be read and written: {error.strerror}") from error


def _create_folder(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnusable(f"cannot be read and written: {error.strerror}") from error


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold `<file>.lock`, so that no other broker uses the file meanwhile; gives its descriptor. It is a file of its
    own because other programs may read the database, for a backup. It says whether the file is new, also after a start
    that was killed before the file had a byte. Raises StoreUnusable."""
    existed = path.exists()
    if existed:
        create(path)
    _create_folder(path)
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnusable(
            f"cannot be used: {path.name}.lock beside it cannot be written: {error.strerror}"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreUnusable(_in_use(path, lock, error)) from error
        _mark(path, b"" if existed and NEW not in _marks(path) else NEW)
        create(path)
        yield lock
    finally:
        with suppress(OSError):  # the disk may be gone
            os.close(lock)


def check_disk(lock: int) -> None:
    """Raise StoreError when the disk takes nothing any more: it is read-only, or gone. `lock` is what `locked` gave.

    SQLite writes into memory that is mapped from `<file>-shm`, and where the file system has shut itself down that is
    no error but a signal (SIGBUS) that ends the process. So this asks first, with bytes that are there already.
    """
    try:
        os.pwrite(lock, b"%d" % os.getpid(), 0)
    except OSError as error:
        if error.errno not in FULL:  # SQLite has its own ways with a full disk
            raise StoreError(f"the disk takes nothing: {error.strerror}") from error


def _in_use(path: Path, lock: int, error: OSError) -> str:
    if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
        return f"cannot be used: {path.name}.lock beside it cannot be locked: {error.strerror}"
    owner = os.pread(lock, 20, 0).decode("ascii", "replace").partition("\n")[0].strip()
    return f"is used by another broker (process {owner}); stop it, or name another file"

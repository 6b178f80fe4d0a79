"""What a store promises, so that one in memory and one on disk can stand for each other.

A store holds named tables of rows, each under a text key. Writing never waits: `apply` changes what later reads see at
once and returns a `Durable`, which somebody who must acknowledge awaits. Between changing the broker's own state and
calling `apply` there is no await, so a batch is never half of something. Reading is async, because a database answers
from its own thread; the broker reads at start and for the API, never per message.

A commit can fail (disk full, I/O error). Then the batches it held are not acknowledged: their `Durable.wait` raises.
What they changed is not taken back, since the broker's own state has changed with it: reads still see it, and the store
writes it again with every later attempt, until the disk holds what the broker holds. "Failed" means "not safe", not
"undone".

Two tables are more than that: `queue`, whose rows are read by session and lane, and `messages`, whose rows live as long
as one of `queue` names them. `queues` describes them.

Rows are JSON: dicts of text to text, whole numbers within 64 bits, finite floats, true, false, None, lists and dicts of
these. Bytes are written by their owner as text. Whatever a database could not hold is refused before it gets there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import msgspec
import trio

from trioemqx.errors import TrioemqxError

if TYPE_CHECKING:
    from trioemqx.services.store.queues import Totals, Waiting

Row = Mapping[str, object]

Change = tuple[str, str, str | None]
"""(table, key, row as JSON, or None to remove it)."""

MAX_KEY: Final = 1024
MAX_DEPTH: Final = 16
MAX_TABLE_NAME: Final = 40
MAX_ROW: Final = 100 * 1024 * 1024
"""Characters of a row as JSON; less than SQLite takes, so that one row can never keep the others from the disk."""
HIGH_MARK: Final = 5000
"""Operations waiting to become durable beyond which publishers should be read no further."""
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_INT64: Final = 2**63
_LONG: Final = 500
_HASHED: Final = "sha256:"
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class StoreError(TrioemqxError):
    """The store cannot do this: it is closed, cannot be read, or a commit failed: what it held is not safe."""


class StoreUnusable(StoreError):
    """The store cannot be opened: in use, damaged, not ours, not accessible. One line that says what to do about it."""


class RowError(StoreError, ValueError):
    """A table name, key or row that no store may hold; raised before anything of its batch is applied."""


@attrs.frozen
class Put:
    """Write `row` under `key`, replacing what was there."""

    table: str
    key: str
    row: Row


@attrs.frozen
class Delete:
    """Remove `key`; removing what is not there is no error."""

    table: str
    key: str


Op = Put | Delete


class Durable:
    """The promise of one batch: `done` once its fate is known, `wait` returns after the commit or raises StoreError.

    Batches are settled in the order they were applied.
    """

    __slots__ = ("_event", "_then", "done", "error")

    def __init__(self) -> None:
        self.done = False
        self.error: StoreError | None = None
        self._event: trio.Event | None = None
        self._then: Callable[[], None] | None = None

    def then(self, call: Callable[[], None]) -> None:
        """Have something called once the fate is known, at once when it is. One caller only; it must not raise."""
        if self.done:
            call()
        else:
            self._then = call

    def settle(self, error: StoreError | None = None) -> None:
        """Called once, by the store, in Trio's thread."""
        self.done = True
        self.error = error
        if self._event is not None:
            self._event.set()
        then, self._then = self._then, None
        if then is not None:
            then()

    async def wait(self) -> None:
        """Return when the batch is as safe as the store makes things. Raises StoreError when it is not."""
        if self.done:
            await trio.lowlevel.checkpoint()
        else:
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        if self.error is not None:
            raise StoreError(str(self.error)) from self.error


class Store(Protocol):
    """Named tables of rows. Used between `open` and `close` only; otherwise StoreError."""

    outlives_process: bool
    """Whether there is anything to read at the next start. When not, writing what is in memory anyway is a waste."""

    async def open(self) -> None:
        """Make the store usable, with whatever an earlier run left in it. Raises StoreUnusable."""

    async def close(self) -> None:
        """Settle everything applied so far, then release what the store holds. A second call does nothing."""

    def apply(self, ops: Sequence[Op]) -> Durable:
        """Do all of `ops`, in order, or none. Never waits. Raises RowError when one of them cannot be held. A store
        that is full answers with a Durable that has failed already, and does nothing."""

    def apply_changes(self, changes: Sequence[Change]) -> Durable:
        """`apply` for somebody who makes rows in a hurry: names and rows are taken as they are, so they must be what
        `check_names` and `encode_row` allow, and ASCII. Without changes: whether all that came before is durable."""

    def put(self, table: str, key: str, row: Row) -> Durable:
        """`apply` of a single Put."""

    def delete(self, table: str, key: str) -> Durable:
        """`apply` of a single Delete."""

    async def get(self, table: str, key: str) -> Row | None:
        """The row under `key`, as of everything applied before. The caller owns it."""

    async def items(self, table: str, after: str = "", limit: int = 1000) -> list[tuple[str, Row]]:
        """At most `limit` rows in order of their keys (code points), from the first key greater than `after`."""

    async def counts(self) -> dict[str, int]:
        """How many rows there are by table, tables without rows left out; for operators."""

    async def totals(self) -> Totals:
        """What is in the table `queue`, by session and lane. For the start, before anything is applied to it."""

    async def waiting(self, session: str, lane: int, after: str, limit: int, size: int) -> list[Waiting]:
        """The first `limit` rows of a lane after a key that have no packet identifier, with their messages; fewer when
        these have more than `size` bytes together, but one at least if there is one."""

    async def of_session(self, session: str, limit: int, size: int) -> list[Waiting]:
        """As `waiting`, of all lanes, and also what has a packet identifier."""

    async def flights(self, session: str, lane: int, after: str, limit: int) -> list[Waiting]:
        """The first `limit` rows of a lane after a key that have a packet identifier, with their messages. For the
        start. Asking for more than `totals` has counted costs a walk over the whole lane."""

    def pending(self) -> int:
        """Operations applied but not yet durable; compare with HIGH_MARK."""

    def crowded(self) -> bool:
        """Whether publishers should be read no further: too many operations wait, or too many characters."""


async def all_items(store: Store, table: str, page: int = 1000) -> AsyncGenerator[tuple[str, Row], None]:
    """Every row of a table, a page at a time, so that a large one does not hold up the rest."""
    after = ""
    while rows := await store.items(table, after, page):
        for key, row in rows:
            yield key, row
        after = rows[-1][0]


def check_names(table: str, key: str) -> None:
    """Raise RowError unless the table is a short lower-case name and the key 1 to 1024 characters of valid Unicode."""
    if not table or len(table) > MAX_TABLE_NAME or not _LETTERS.issuperset(table):
        raise RowError(f"not a table name: {table!r:.100}")
    if not key or len(key) > MAX_KEY:
        raise RowError(f"a key has 1 to {MAX_KEY} characters, not {len(key)}")
    _check_text(key)


def key_for(text: str) -> str:
    """A key for any text, however long: the text itself, or its hash (client ids may have 65535 bytes). A text that
    looks like a hash is hashed too, or its owner could write over the row of a long one."""
    if text and len(text) <= _LONG and not text.startswith(_HASHED):
        return text
    return f"{_HASHED}{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def encode_row(row: Row) -> str:
    """A row as JSON text that `decode_row` turns into an equal one. Raises RowError for anything else."""
    if not isinstance(row, Mapping):
        raise RowError(f"a row is a mapping, not {type(row).__name__}")
    _check_value(row, 0)
    text = _ENCODER.encode(row if isinstance(row, dict) else dict(row))
    _check_text(text)
    if len(text) > MAX_ROW:
        raise RowError(f"a row has at most {MAX_ROW} characters, not {len(text)}")
    return text


def decode_row(text: str) -> Row:
    """The row that `encode_row` made `text` of. Raises StoreError when the text is no such thing."""
    try:
        row = msgspec.json.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise StoreError(f"unreadable row: {error}") from error
    if not isinstance(row, dict):
        raise StoreError("unreadable row: not an object")
    return row


def _check_value(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RowError(f"nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, str):  # text is checked as a part of the whole
        return
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise RowError("whole number beyond 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise RowError(f"not a finite number: {value}")
    elif isinstance(value, list):
        for member in value:
            _check_value(member, depth + 1)
    elif isinstance(value, dict) or (depth == 0 and isinstance(value, Mapping)):
        _check_members(value, depth)
    else:
        raise RowError(f"not JSON: {type(value).__name__}")


def _check_members(members: Mapping[object, object], depth: int) -> None:
    for name, member in members.items():
        if not isinstance(name, str):
            raise RowError(f"member names are text, not {type(name).__name__}")
        _check_value(member, depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError("text with a lone surrogate") from error

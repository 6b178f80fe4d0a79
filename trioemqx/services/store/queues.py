"""The two tables that sessions fill: `queue`, rows in lanes, and `messages`, each of which lives as long as a row of
`queue` names it.

A key of `queue` is `<session>:<lane>:<number>`, 16, 5 and 16 hexadecimal digits; a key of `messages` 16. A row of
`queue` has the members `message` (number of the message), `size` (bytes) and `id` (the packet identifier it was sent
under, 0 while it waits), in this order and before all others, which only its owner knows. Here are
their keys and columns, and what a store in memory does with them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from trioemqx.services.store.protocol import Change, Row, decode_row

QUEUE: Final = "queue"
MESSAGES: Final = "messages"
COMMON: Final = '"qos":1}'
"""How most rows end."""

Tables = dict[str, dict[str, str]]


@attrs.frozen
class LaneTotal:
    """What waits in one lane of a session: rows without a packet identifier, and their bytes. `sent` is the number of
    those with one."""

    session: str
    lane: int
    count: int
    size: int
    sent: int


@attrs.frozen
class Totals:
    """What a start has to know of all queues: the lanes in which anything is, and the highest number of a row. (A
    message is numbered before the rows that name it.)"""

    lanes: list[LaneTotal]
    highest: int


@attrs.frozen
class Waiting:
    """A row of `queue`, and its message; None when that is not there."""

    key: str
    row: Row
    message: Row | None


def lane_prefix(session: str, lane: int) -> str:
    """What the keys of a lane begin with."""
    return f"{session}:{lane:05x}:"


def number_key(number: int) -> str:
    """A key of `messages`."""
    return f"{number:016x}"


def split(key: str) -> tuple[int, int, int]:
    """Session, lane and number of a key of `queue`. Raises ValueError."""
    session, lane, number = key.split(":")
    return int(session, 16), int(lane, 16), int(number, 16)


def join(session: int, lane: int, number: int) -> str:
    """The opposite of `split`."""
    return f"{session:016x}:{lane:05x}:{number:016x}"


def columns(text: str) -> tuple[int, int, int, str]:
    """(message, size, packet identifier, the rest as JSON) of a row. Cut by hand, since each message goes through here.
    Raises ValueError."""
    first = text.index(",", 11)
    second = text.index(",", first + 8)
    third = text.index(",", second + 6)
    rest = text[third + 1 :]
    numbers = int(text[11:first]), int(text[first + 8 : second]), int(text[second + 6 : third])
    return *numbers, "" if rest == COMMON else rest


def from_columns(message: int, size: int, packet_id: int, rest: str) -> Row:
    """The opposite of `columns`. Raises StoreError."""
    return decode_row(f'{{"message":{message},"size":{size},"id":{packet_id},{rest or COMMON}')


def cut(rows: Iterable[tuple[str, Row]], limit: int, size: int) -> list[tuple[str, Row]]:
    """The first `limit` rows, fewer when their messages have more than `size` bytes, but one at least."""
    taken: list[tuple[str, Row]] = []
    total = 0
    for key, row in rows:
        bytes_: Any = row["size"]
        total += bytes_
        if taken and (len(taken) >= limit or total > size):
            break
        taken.append((key, row))
    return taken


# -- in memory ---------------------------------------------------------------------------------------------------------


def write(tables: Tables, changes: Sequence[Change]) -> None:
    """Do `changes`, and remove the messages that no row names any more."""
    touched: set[str] = set()
    for table, key, text in changes:
        rows = tables.setdefault(table, {})
        if table == QUEUE and key in rows:
            touched.add(number_key(json.loads(rows[key])["message"]))
        if text is not None:
            rows[key] = text
            if table == MESSAGES:
                touched.add(key)
        else:
            rows.pop(key, None)
    if touched:
        named = {number_key(json.loads(text)["message"]) for text in tables.get(QUEUE, {}).values()}
        for key in touched - named:
            tables[MESSAGES].pop(key, None)


def totals(tables: Tables) -> Totals:
    """`Store.totals`"""
    count: Counter[tuple[str, int]] = Counter()
    size: Counter[tuple[str, int]] = Counter()
    sent: Counter[tuple[str, int]] = Counter()
    highest = 0
    for key, text in tables.get(QUEUE, {}).items():
        row = json.loads(text)
        _, lane, number = split(key)
        highest = max(highest, number)
        where = key[:16], lane
        count[where] += 0 if row["id"] else 1
        size[where] += 0 if row["id"] else row["size"]
        sent[where] += 1 if row["id"] else 0
    return Totals([LaneTotal(*where, count[where], size[where], sent[where]) for where in sorted(count)], highest)


def waiting(tables: Tables, session: str, lane: int, after: str, limit: int, size: int) -> list[Waiting]:
    """`Store.waiting`"""
    rows = _of_lane(tables, session, lane, after)
    return _with_messages(tables, cut((pair for pair in rows if not pair[1]["id"]), limit, size))


def of_session(tables: Tables, session: str, limit: int, size: int) -> list[Waiting]:
    """`Store.of_session`"""
    queue = tables.get(QUEUE, {})
    rows = ((key, decode_row(queue[key])) for key in sorted(queue) if key.startswith(f"{session}:"))
    return _with_messages(tables, cut(rows, limit, size))


def flights(tables: Tables, session: str, lane: int, after: str, limit: int) -> list[Waiting]:
    """`Store.flights`"""
    rows = _of_lane(tables, session, lane, after)
    return _with_messages(tables, [pair for pair in rows if pair[1]["id"]][:limit])


def _of_lane(tables: Tables, session: str, lane: int, after: str) -> Iterator[tuple[str, Row]]:
    prefix = lane_prefix(session, lane)
    queue = tables.get(QUEUE, {})
    for key in sorted(key for key in queue if key.startswith(prefix) and key > after):
        yield key, decode_row(queue[key])


def _with_messages(tables: Tables, rows: list[tuple[str, Row]]) -> list[Waiting]:
    messages = tables.get(MESSAGES, {})
    found = []
    for key, row in rows:
        number: Any = row["message"]
        text = messages.get(number_key(number))
        found.append(Waiting(key, row, None if text is None else decode_row(text)))
    return found

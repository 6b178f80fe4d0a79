"""What functions need of the world: a clock, random numbers, the zone of the server, and stores that outlive a run."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.functions import terms
from trioemqx.rules.sql.functions.calendar import SECOND
from trioemqx.rules.sql.jsontext import weigh
from trioemqx.rules.sql.meter import check_size
from trioemqx.rules.sql.values import UNDEFINED, Value

MAX_OWNERS: Final = 10_000
"""Clients whose stores are kept; of more, those that were used longest ago are forgotten."""


def local_offset(moment: int) -> int:
    """The server's offset from UTC in seconds, at a number of nanoseconds since 1970."""
    try:
        return time.localtime(moment // SECOND).tm_gmtoff
    except (OverflowError, ValueError, OSError):
        return 0


class KeyValueStore:
    """Values by key, for `kv_store_put` and `proc_dict_put`; bounded in entries and bytes. What does not fit is refused
    with an error of the rule, and counted. `on_change` is told by how many bytes it has grown."""

    def __init__(self, entries: int, size: int) -> None:
        self._most, self._room = entries, size
        self._values: dict[bytes | str, tuple[Value, int]] = {}
        self.size = 0
        self.refused = 0

    def put(self, key: Value, value: Value) -> Value:
        """Keep a value; gives the one that was there. Raises EvalError when there is no room."""
        name = _name(key)
        weight = 64 + len(name) + check_size(weigh(value)[0])
        before, freed = self._values.get(name, (UNDEFINED, 0))
        full = not freed and len(self._values) >= self._most
        if full or self.size - freed + weight > self._room:
            self.refused += 1
            raise EvalError(f"the store is full: {len(self._values)} entries, {self.size} bytes")
        self._values[name] = (value, weight)
        self.size += weight - freed
        return before

    def get(self, key: Value, default: Value = UNDEFINED) -> Value:
        """The value of a key."""
        return self._values.get(_name(key), (default, 0))[0]

    def delete(self, key: Value) -> Value:
        """Forget a key; gives its value."""
        value, freed = self._values.pop(_name(key), (UNDEFINED, 0))
        self.size -= freed
        return value

    def __len__(self) -> int:
        return len(self._values)


def _name(key: Value) -> bytes | str:
    """Keys of every kind: 1, 1.0 and '1' are different ones."""
    return key if isinstance(key, str) else terms.encode(key)


class OwnedStores:
    """A small store for every client that raises events; the one used longest ago goes when there are too many."""

    def __init__(self, owners: int = MAX_OWNERS) -> None:
        self._owners = owners
        self._stores: OrderedDict[str, KeyValueStore] = OrderedDict()
        self.forgotten = 0

    def of(self, owner: str) -> KeyValueStore:
        """The store of a client."""
        found = self._stores.get(owner)
        if found is None:
            if len(self._stores) >= self._owners:
                self._stores.popitem(last=False)
                self.forgotten += 1
            found = self._stores[owner] = KeyValueStore(entries=100, size=64 * 1024)
        self._stores.move_to_end(owner)
        return found

    def drop(self, owner: str) -> None:
        """A client is gone."""
        self._stores.pop(owner, None)


@attrs.define
class Environment:
    """`now_ns` is wall time in nanoseconds, `random` the source of random numbers and UUIDs, `zone_at` the server's
    offset in seconds at a moment. `kv` is shared by all rules of the node, `owned` holds the stores of clients."""

    now_ns: Callable[[], int]
    random: random.Random = attrs.field(factory=random.SystemRandom)
    zone_at: Callable[[int], int] = local_offset
    kv: KeyValueStore = attrs.field(factory=lambda: KeyValueStore(entries=100_000, size=64 * 1024 * 1024))
    owned: OwnedStores = attrs.field(factory=OwnedStores)

    def zone_now(self) -> int:
        """The server's offset now."""
        return self.zone_at(self.now_ns())

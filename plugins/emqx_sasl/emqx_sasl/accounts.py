"""The users: all in memory, each change also written to the broker's store. And those who are none.

Who asks for a user that does not exist gets a challenge like everybody else, always the same for the same name.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from base64 import b64decode, b64encode
from collections import Counter
from contextlib import aclosing
from typing import Any, Final

from trioemqx.plugin import PluginError, Table

from .scram import MAX_ROUNDS, MECHANISMS, MIN_ROUNDS, Keys

SALT: Final = 16
"""Bytes of a random salt."""
MAX_SALT: Final = 256
_LETTERS: Final = (string.ascii_letters + string.digits).encode()

Account = tuple[bytes, int, dict[str, tuple[bytes, bytes]]]
"""(salt, rounds, (stored key, server key) by mechanism)."""
Shape = tuple[int, bool, int]
"""What can be seen of a challenge: (length of the salt, whether it is plain text, rounds)."""


class Accounts:
    """Accounts by name; at most `limit`."""

    def __init__(self, table: Table, secret: Table, limit: int) -> None:
        self.limit = limit
        self.accounts: dict[str, Account] = {}
        self._shapes: Counter[Shape] = Counter()
        self._table = table
        self._secret_table = secret
        self._secret = b""

    async def load(self) -> None:
        """Read what the store has. Raises PluginError for a row that is not ours."""
        async with aclosing(self._table.rows()) as rows:
            async for key, row in rows:
                try:
                    name, account = _read(dict(row))
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise PluginError(f"the store has a broken SCRAM user {key:.100}: {error}") from None
                self._keep(name, account)
        async for key, row in self._secret_table.rows():
            if key == "fake":
                self._secret = bytes.fromhex(str(row["secret"]))
        if not self._secret:
            self._secret = secrets.token_bytes(32)
            self._secret_table.put("fake", {"secret": self._secret.hex()})

    def adopt(self, accounts: dict[str, Account]) -> None:
        """Take these accounts in place of those that are there."""
        self.accounts = accounts
        self._shapes = Counter(map(_shape, accounts.values()))

    def put(self, name: str, account: Account) -> None:
        """Write an account, replacing what was there."""
        self._keep(name, account)
        salt, rounds, keys = account
        row = {
            "username": name,
            "salt": b64encode(salt).decode(),
            "iteration_count": rounds,
            "keys": {mechanism: [b64encode(key).decode() for key in both] for mechanism, both in keys.items()},
        }
        self._table.put(name, row)

    def delete(self, name: str) -> bool:
        """Remove an account; False when there was none."""
        account = self.accounts.pop(name, None)
        if account is None:
            return False
        self._shapes[_shape(account)] -= 1
        self._table.delete(name)
        return True

    def challenge(self, mechanism: str, name: str) -> tuple[bytes, int, Keys, bool]:
        """(salt, rounds, keys, whether there is such a user). Without one they are made up."""
        account = self.accounts.get(name)
        made_up = self._made_up(mechanism, name)  # in any case: it takes time, too
        if account is None or mechanism not in account[2]:
            return *made_up, False
        return account[0], account[1], Keys(*account[2][mechanism]), True

    def _made_up(self, mechanism: str, name: str) -> tuple[bytes, int, Keys]:
        """What nobody can tell from an account of the most common kind without having seen our secret."""
        # An empty store counts as one of random salts.
        shapes = +self._shapes or Counter({(SALT, False, MIN_ROUNDS): 1})
        length, plain, rounds = max(shapes, key=lambda shape: (shapes[shape], shape))
        seed = hmac.digest(self._secret, f"{mechanism}\0{name}".encode(), "sha256")
        size = hashlib.new(MECHANISMS[mechanism]).digest_size
        found = hashlib.shake_256(seed).digest(length + 2 * size)
        salt, keys = found[:length], found[length:]
        if plain:
            salt = bytes(_LETTERS[byte % len(_LETTERS)] for byte in salt)
        return salt, rounds, Keys(keys[:size], keys[size:])

    def _keep(self, name: str, account: Account) -> None:
        before = self.accounts.get(name)
        if before is not None:
            self._shapes[_shape(before)] -= 1
        self.accounts[name] = account
        self._shapes[_shape(account)] += 1


def _shape(account: Account) -> Shape:
    salt, rounds, _ = account
    return len(salt), salt.isalnum(), rounds


def _read(row: dict[str, Any]) -> tuple[str, Account]:
    """A stored row. Raises whatever a wrong one leads to."""
    rounds = row["iteration_count"]
    if not MIN_ROUNDS <= rounds <= MAX_ROUNDS:
        raise ValueError(f"iteration_count {rounds}")
    keys = {}
    for mechanism, (stored, server) in row["keys"].items():
        size = hashlib.new(MECHANISMS[mechanism]).digest_size
        keys[mechanism] = (b64decode(stored, validate=True), b64decode(server, validate=True))
        if [*map(len, keys[mechanism])] != [size, size]:
            raise ValueError(f"keys of {mechanism}")
    salt = b64decode(row["salt"], validate=True)
    if not row["username"] or not salt:
        raise ValueError("username or salt")
    return row["username"], (salt, rounds, keys)

"""Users of the dashboard: names, password hashes, tags."""

from __future__ import annotations

import logging
import string
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trioemqx.errors import TrioemqxError
from trioemqx.services.applications import AppRefused, check_name, random_secret, write_secret
from trioemqx.services.roles import ADMINISTRATOR
from trioemqx.services.secrets import hash_secret, is_hash, verify_secret
from trioemqx.services.store.protocol import Store, all_items, key_for

if TYPE_CHECKING:
    from trioemqx.config.management import DashboardConfig

log = logging.getLogger("trioemqx.api")

TABLE: Final = "dashboard_users"
PASSWORD_FILE: Final = "dashboard_password"
ADMIN: Final = "admin"
MAX_USERS: Final = 1000
MAX_TAGS: Final = 256
WRONG_WAIT: Final = 2.0
"""Seconds that a wrong password costs, as in EMQX."""


class UserRefused(TrioemqxError):
    """The user cannot be entered or changed; the text is EMQX's."""


@attrs.frozen
class DashboardUser:
    """One user. `shipped`: the password is still the one that everybody knows."""

    username: str
    password: str
    tags: str = ""
    shipped: bool = False


class DashboardUsers:
    """All of them, in memory; the store has a copy for the next start."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._users: dict[str, DashboardUser] = {}
        self.epoch = 0
        """Counts changes, after which nobody may rely on what was checked before."""
        self._hashing = trio.CapacityLimiter(2)

    async def load(self) -> None:
        """Read what an earlier run stored."""
        async for _, row in all_items(self._store, TABLE):
            user = DashboardUser(
                str(row["username"]), str(row["password"]), str(row.get("tags", "")), row.get("shipped") is True
            )
            self._users[user.username] = user

    async def start(self, settings: DashboardConfig, data_dir: Path, *, hardened: bool = False) -> None:
        """Enter the default user unless it exists. A hardened broker has none that everybody knows: it makes a password
        and writes it to a file in `data_dir`."""
        name, password = settings.default_user_login, settings.default_user_password
        if not name or name in self._users:
            return
        user = DashboardUser(name, "", "administrator", password == "public")
        if hardened and user.shipped:
            password, user = random_secret(), attrs.evolve(user, shipped=False)
            file = data_dir / PASSWORD_FILE
            await trio.to_thread.run_sync(write_secret, file, f"{name}:{password}\n")
            log.warning("the dashboard's user %s has a new password, in %s", name, file)
        await self._enter(user, password)

    async def add(self, username: str, password: str, tags: str = "") -> None:
        """Make one. Raises UserRefused."""
        try:
            check_name(username)
        except AppRefused as error:
            raise UserRefused(str(error)) from None
        check_password(password)
        if username in self._users:
            raise UserRefused("Username Already Exist")
        if len(self._users) >= MAX_USERS:
            raise UserRefused(f"there are {MAX_USERS} users already")
        await self._enter(DashboardUser(username, "", tags[:MAX_TAGS]), password)

    async def take(self, user: DashboardUser) -> None:
        """Enter or replace one as an export has it: its password as a hash of ours, or as one of EMQX's."""
        check_name(user.username)
        if not is_hash(user.password):  # EMQX's is a quick hash, which is not kept as it is
            user = attrs.evolve(user, shipped=user.username == ADMIN and verify_secret("public", user.password))
        self._keep(user)

    def set_tags(self, username: str, tags: str) -> bool:
        """Change the tags; False when there is no such user."""
        user = self._users.get(username)
        if user is None:
            return False
        self._keep(attrs.evolve(user, tags=tags[:MAX_TAGS]))
        return True

    async def set_password(self, username: str, password: str) -> bool:
        """Change the password; False when there is no such user. Raises UserRefused."""
        check_password(password)
        user = self._users.get(username)
        if user is None:
            return False
        await self._enter(attrs.evolve(user, shipped=False), password)
        return True

    def delete(self, username: str) -> bool:
        """Remove one; False when there was none."""
        if self._users.pop(username, None) is None:
            return False
        self.epoch += 1
        self._store.delete(TABLE, key_for(username))
        return True

    def find(self, username: str) -> DashboardUser | None:
        """One user."""
        return self._users.get(username)

    def entries(self) -> list[DashboardUser]:
        """All users, by name."""
        return sorted(self._users.values(), key=lambda user: user.username)

    def usable(self, username: str) -> bool:
        """Whether a user who has proven themselves may still come in."""
        return username in self._users

    def role(self, username: str) -> str:
        """Users of the dashboard may do everything; "" for one that there is not."""
        return ADMINISTRATOR if username in self._users else ""

    async def verify(self, username: str, password: str) -> bool:
        """Whether the password is the user's; a wrong one takes two seconds."""
        user = self._users.get(username)
        kept = user.password if user is not None else None
        right = await trio.to_thread.run_sync(verify_secret, password, kept, limiter=self._hashing)
        if user is None or not right or self._users.get(username) != user:
            await trio.sleep(WRONG_WAIT)
            return False
        if not is_hash(user.password):
            await self._enter(user, password)
        return True

    def shipped(self, username: str) -> bool:
        """Whether the password is the one that everybody knows."""
        user = self._users.get(username)
        return user is not None and user.shipped

    async def _enter(self, user: DashboardUser, password: str) -> None:
        hashed = await trio.to_thread.run_sync(hash_secret, password, limiter=self._hashing)
        self._keep(attrs.evolve(user, password=hashed))

    def _keep(self, user: DashboardUser) -> None:
        self._users[user.username] = user
        self.epoch += 1
        self._store.put(TABLE, key_for(user.username), attrs.asdict(user))


def check_password(password: str) -> None:
    """EMQX's rule: 8 to 64 ASCII characters of at least two kinds. Raises UserRefused."""
    if not 8 <= len(password) <= 64:
        raise UserRefused("The password length: 8-64")
    if not password.isascii():
        raise UserRefused("only ascii characters are allowed in the password")
    kinds = [
        any(letter in string.ascii_letters for letter in password),
        any(letter in string.digits for letter in password),
        any(letter not in string.ascii_letters + string.digits for letter in password),
    ]
    if sum(kinds) < 2:
        raise UserRefused(
            "The password must contain at least two different kind of characters from groups of letters, numbers, and "
            "special characters. For example, if the password is composed of letters, it must contain at least one "
            "number or a special character."
        )

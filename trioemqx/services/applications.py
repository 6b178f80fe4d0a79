"""Applications: who may use the HTTP API, by AppID and AppSecret.

The store keeps hashes. A secret is seen once, when it is made.
"""

from __future__ import annotations

import logging
import secrets
import string
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trioemqx.errors import TrioemqxError
from trioemqx.services.roles import ADMINISTRATOR, BAD_ROLE, ROLES
from trioemqx.services.secrets import hash_secret, is_hash, verify_secret
from trioemqx.services.store.protocol import Row, Store, all_items, key_for

if TYPE_CHECKING:
    from trioemqx.config.management import ManagementConfig

log = logging.getLogger("trioemqx.api")

TABLE: Final = "apps"
MAX_APPS: Final = 10_000
MAX_ID: Final = 256
MAX_TEXT: Final = 4096
SECRET_FILE: Final = "api_secret"
NAME_RULE: Final = "required: ^[A-Za-z0-9]+[A-Za-z0-9-_]*$"
_LETTERS: Final = frozenset(string.ascii_letters + string.digits)
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase


class AppRefused(TrioemqxError):
    """The application cannot be entered; the text is EMQX's."""


@attrs.frozen
class Application:
    """One AppID. `expired` is Unix seconds, None: never. `shipped`: it still has the secret that everybody knows.
    `role` is one of ROLES; any other text, as a store may have it, gives no rights."""

    app_id: str
    secret: str
    name: str = ""
    desc: str = ""
    status: bool = True
    expired: int | None = None
    shipped: bool = False
    role: str = ADMINISTRATOR


class Applications:
    """All of them, in memory; the store has a copy for the next start. `wall` gives Unix seconds."""

    def __init__(self, store: Store, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall
        self._apps: dict[str, Application] = {}
        self.epoch = 0
        """Counts changes, after which nobody may rely on what was checked before."""
        self._hashing = trio.CapacityLimiter(2)

    async def load(self) -> None:
        """Read what an earlier run stored."""
        async for _, row in all_items(self._store, TABLE):
            app = _from_row(row)
            self._apps[app.app_id] = app

    async def start(self, settings: ManagementConfig, data_dir: Path, *, hardened: bool = False) -> None:
        """Enter the applications of `bootstrap_apps_file`, and the default one unless it exists. A hardened broker has
        none that everybody knows: it makes a secret and writes it to a file in `data_dir`. Raises AppRefused."""
        if settings.bootstrap_apps_file is not None:
            for app_id, secret, role in await _bootstrap(Path(settings.bootstrap_apps_file)):
                there = self._apps.get(app_id)
                kept = role or (ADMINISTRATOR if there is None else there.role)  # a restart must not raise a viewer
                await self._enter(Application(app_id, "", "bootstraped", "Bootstrapped From File", role=kept), secret)
        app_id, secret = settings.default_application_id, settings.default_application_secret
        if not app_id or app_id in self._apps:
            return
        default = Application(app_id, "", "Default", "Application user", shipped=secret == "public")
        if hardened and default.shipped:
            secret, default = random_secret(), attrs.evolve(default, shipped=False)
            file = data_dir / SECRET_FILE
            await trio.to_thread.run_sync(write_secret, file, f"{app_id}:{secret}\n")
            log.warning("the API's application %s has a new secret, in %s", app_id, file)
        await self._enter(default, secret)

    async def add(
        self,
        app_id: str,
        name: str,
        secret: str = "",
        desc: str = "",
        *,
        status: bool = True,
        expired: int | None = None,
        role: str = ADMINISTRATOR,
    ) -> str:
        """Make one; returns its secret, a random one when none is given. Raises AppRefused."""
        check_name(app_id)
        check_role(role)
        if app_id in self._apps:
            raise AppRefused("already_existed")
        if len(self._apps) >= MAX_APPS:
            raise AppRefused(f"there are {MAX_APPS} applications already")
        secret = secret or random_secret()
        app = Application(app_id, "", name[:MAX_TEXT], desc[:MAX_TEXT], status, expired, role=role)
        await self._enter(app, secret)
        return secret

    async def take(self, app: Application) -> None:
        """Enter or replace one as an export has it: its secret as text or as a hash. Raises AppRefused."""
        check_name(app.app_id)
        if is_hash(app.secret):
            self._keep(app)
        else:
            await self._enter(attrs.evolve(app, shipped=(app.app_id, app.secret) == ("admin", "public")), app.secret)

    def update(
        self,
        app_id: str,
        *,
        name: str,
        desc: str,
        status: bool | None = None,
        expired: int | None = None,
        role: str | None = None,
    ) -> bool:
        """Overwrite everything but the secret; None keeps `status` and `role`. False when there is no such application.
        Raises AppRefused for a role that there is not."""
        if role is not None:
            check_role(role)
        app = self._apps.get(app_id)
        if app is None:
            return False
        self._keep(
            attrs.evolve(
                app,
                name=name[:MAX_TEXT],
                desc=desc[:MAX_TEXT],
                status=app.status if status is None else status,
                expired=expired,
                role=app.role if role is None else role,
            )
        )
        return True

    def delete(self, app_id: str) -> bool:
        """Remove one; False when there was none."""
        if self._apps.pop(app_id, None) is None:
            return False
        self.epoch += 1
        self._store.delete(TABLE, key_for(app_id))
        return True

    def find(self, app_id: str) -> Application | None:
        """One application."""
        return self._apps.get(app_id)

    def entries(self) -> list[Application]:
        """All applications, by id."""
        return sorted(self._apps.values(), key=lambda app: app.app_id)

    def usable(self, app_id: str) -> bool:
        """Whether an application that has proven itself may still come in."""
        app = self._apps.get(app_id)
        return app is not None and app.status and (app.expired is None or app.expired >= self._wall())

    def role(self, app_id: str) -> str:
        """Its role; "", which gives no rights, when there is no such application."""
        app = self._apps.get(app_id)
        return "" if app is None else app.role

    async def verify(self, app_id: str, secret: str) -> bool:
        """Whether the secret is the application's and it may come in. Takes as long for an unknown one."""
        app = self._apps.get(app_id)
        kept = app.secret if app is not None else None
        right = await trio.to_thread.run_sync(verify_secret, secret, kept, limiter=self._hashing)
        return right and self._apps.get(app_id) == app and self.usable(app_id)

    def shipped(self, app_id: str) -> bool:
        """Whether its secret is the one that everybody knows."""
        app = self._apps.get(app_id)
        return app is not None and app.shipped

    async def _enter(self, app: Application, secret: str) -> None:
        hashed = await trio.to_thread.run_sync(hash_secret, secret, limiter=self._hashing)
        self._keep(attrs.evolve(app, secret=hashed))

    def _keep(self, app: Application) -> None:
        self._apps[app.app_id] = app
        self.epoch += 1
        self._store.put(TABLE, key_for(app.app_id), attrs.asdict(app))


def check_name(name: str) -> None:
    """EMQX's rule for AppIDs and dashboard users. Raises AppRefused."""
    if not 0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_ID:
        raise AppRefused(f"0 < Length =< {MAX_ID}")
    if name[0] not in _LETTERS or not all(letter in _LETTERS or letter in "-_" for letter in name):
        raise AppRefused(NAME_RULE)


def check_role(role: str) -> None:
    """Raise AppRefused for a role that there is not."""
    if role not in ROLES:
        raise AppRefused(BAD_ROLE)


def random_secret() -> str:
    """32 random bytes in base 62."""
    number = int.from_bytes(secrets.token_bytes(32), "big")
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


async def _bootstrap(file: Path) -> list[tuple[str, str, str]]:
    """(id, secret, role) of the lines `id:secret` or `id:secret:role` of a file, but for empty ones and comments; the
    role is "" where a line does not end in one. A line that is wrong costs its application and not the start: it is
    logged, without what it says, which may be a secret. Raises AppRefused for a file that cannot be read."""
    try:
        content = await trio.Path(file).read_bytes()
    except OSError as error:
        raise AppRefused(f"management.bootstrap_apps_file {file}: {error}") from None
    found = []
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        try:
            app_id, _, rest = line.decode("utf-8").partition(":")
            secret, colon, role = rest.rpartition(":")
            if not colon or role not in ROLES:  # a secret may have colons
                secret, role = rest, ""
            if not secret:
                raise AppRefused("expected id:secret")
            check_name(app_id)
        except (AppRefused, UnicodeDecodeError) as error:
            said = error if isinstance(error, AppRefused) else "not UTF-8"
            log.error("management.bootstrap_apps_file %s:%d: %s; the line is left out", file, number, said)
        else:
            found.append((app_id, secret, role))
    return found


def write_secret(file: Path, text: str) -> None:
    """Write a file that nobody else can read."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(text, "utf-8")


def _from_row(row: Row) -> Application:
    expired = row.get("expired")
    return Application(
        str(row["app_id"]),
        str(row["secret"]),
        str(row.get("name", "")),
        str(row.get("desc", "")),
        row.get("status") is True,
        expired if isinstance(expired, int) else None,
        row.get("shipped") is True,
        str(row.get("role", ADMINISTRATOR))[:MAX_ID],
    )

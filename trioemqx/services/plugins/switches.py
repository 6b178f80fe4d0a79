"""Parts of the broker that EMQX has as plugins: no code is loaded for them, but they can be switched off and on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from trioemqx.errors import ListenerError
from trioemqx.services.plugins.errors import PluginError

DESCRIPTIONS: Final = {
    "emqx_dashboard": "EMQX Web Dashboard",
    "emqx_management": "EMQX Management API and CLI",
    "emqx_rule_engine": "EMQX Rule Engine",
}


@attrs.define(eq=False)
class BuiltIn:
    """One of them. `turn` switches it, None for what is always on. A reload has the configuration read again (`read`,
    which raises PluginError) and then does what else there is to do (`renew`)."""

    name: str
    description: str
    active: bool = True
    turn: Callable[[bool], None] | None = None
    read: Callable[[], Awaitable[None]] | None = None
    renew: Callable[[], None] | None = None

    def switch(self, on: bool) -> None:
        """Switch it. Raises PluginError `already_started` or `not_started` when it is so already, or with what hinders
        it."""
        if on and self.active:
            raise PluginError(f"{self.name}: already started", "already_started")
        if self.turn is None:
            raise PluginError(f"Plugin {self.name} can not be unloaded.")
        if not on and not self.active:
            raise PluginError(f"{self.name}: not started", "not_started")
        try:
            self.turn(on)
        except ListenerError as error:
            raise PluginError(f"{self.name}: {error}") from error
        self.active = on

    async def reload(self) -> bool:
        """Take its settings as they are now. False when it was off, and is on now. Raises PluginError."""
        if not self.active:
            self.switch(True)
            return False
        if self.read is not None:
            await self.read()
        if self.renew is not None:
            self.renew()
        return True


def switches() -> dict[str, BuiltIn]:
    """All of them, on, by name."""
    return {name: BuiltIn(name, description) for name, description in DESCRIPTIONS.items()}

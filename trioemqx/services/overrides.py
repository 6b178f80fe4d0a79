"""Changes of saved overrides: checked whole, written, then applied to the node that runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from trioemqx.config.draft import find
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.model import Config
from trioemqx.config.saved import MAX_KEYS, MAX_SIZE, as_text, is_fixed, write_saved
from trioemqx.config.schema import HIDDEN
from trioemqx.config.show import is_secret, masked, show
from trioemqx.errors import ConfigError, TrioemqxError
from trioemqx.services.plugins import forms

if TYPE_CHECKING:
    from trioemqx.services.plugins.manager import PluginManager

APPLIED: Final = "applied"
RESTART: Final = "after restart"
COVERED: Final = "covered by the environment"


class NotSaved(TrioemqxError):
    """The overrides could not be written; nothing has changed."""


class OverrideHost(Protocol):
    """What changes of the configuration need of a node."""

    config: Config
    data_dir: Path
    plugins: PluginManager

    def read_config(self, saved: Mapping[str, object]) -> Config:
        """The configuration under other saved overrides. Raises ConfigErrors and ListenerError."""

    async def apply(self, config: Config) -> list[str]:
        """Take a new configuration as SIGHUP does; returns a line for what could not be applied."""


@attrs.frozen
class Outcome:
    """What became of a change: by key, and lines about what could not be applied."""

    results: Mapping[str, str]
    problems: list[str]


class Overrides:
    """The saved overrides of one node."""

    def __init__(self, host: OverrideHost) -> None:
        self._host = host
        self._lock = trio.Lock()

    def saved(self) -> dict[str, object]:
        """What is saved now, secrets in the clear."""
        return dict(self._host.config.saved)

    def exported(self) -> dict[str, object]:
        """The same without settings that are secret or have a secret in them."""
        return {key: value for key, value in self.saved().items() if not (is_secret(key) or self._tells(key, value))}

    def _tells(self, key: str, value: object) -> bool:
        """Whether there is a secret in a value: by the names in it, and by the plugin's own class where that is
        loaded."""
        kind, _, rest = key.partition(".")
        name, _, field = rest.partition(".")
        live = self._host.plugins.live.get(name) if kind in ("plugins", "modules") else None
        in_force = None if live is None else forms.shown(getattr(live.instance.config, field.partition(".")[0], None))
        return masked(value, tuple(key.split("."))) != value or HIDDEN in str(in_force)

    async def change(self, values: Mapping[str, object], remove: Iterable[str] = ()) -> Outcome:
        """Save values by dotted key, and forget others. Raises ConfigErrors, ListenerError or PluginError for what is
        wrong with them, and NotSaved; nothing is changed then. A secret that is sent as it is shown stays as it is."""
        given = {key: value for key, value in values.items() if not (value == HIDDEN and is_secret(key))}
        given = self._with_passwords(given)
        async with self._lock:
            before = self._host.config
            saved: dict[str, object] = {**before.saved, **given}
            for key in remove:
                saved.pop(key, None)
            new = await self.checked(saved)
            await self._write(saved)
            with trio.CancelScope(shield=True):  # what is written is in force, whoever asked for it
                problems = await self._host.apply(new)
        return Outcome({key: _result(key, before, new) for key in values}, problems)

    def _with_passwords(self, given: Mapping[str, object]) -> dict[str, object]:
        """Leave out URLs that came back as they are shown. Raises ConfigErrors for one that was changed and has no
        password to go with it."""
        hidden = [key for key, value in given.items() if f":{HIDDEN}@" in str(value)]
        before = {key: value for key, value, _origin in show(self._host.config)} if hidden else {}
        errors = [
            ConfigError("has a password that is not shown; write it out", key)
            for key in hidden
            if given[key] != before.get(key)
        ]
        if errors:
            raise ConfigErrors(errors)
        return {key: value for key, value in given.items() if key not in hidden}

    async def checked(self, saved: Mapping[str, object]) -> Config:
        """The configuration with these overrides. Raises ConfigErrors, ListenerError and PluginError."""
        check_keys(saved)
        new = await trio.to_thread.run_sync(self._host.read_config, saved)
        await self._host.plugins.check(new)
        return new

    async def _write(self, saved: Mapping[str, object]) -> None:
        try:
            await trio.to_thread.run_sync(write_saved, self._host.data_dir, saved)
        except OSError as error:
            raise NotSaved(f"{error.filename or self._host.data_dir} cannot be written: {error.strerror}") from error


def check_keys(saved: Mapping[str, Any]) -> None:
    """Raise ConfigErrors for what cannot be saved whatever its value is."""
    errors = [
        ConfigError("cannot be saved: only the configuration file and the environment may say it", key)
        for key in saved
        if is_fixed(key)
    ]
    if len(saved) > MAX_KEYS or len(as_text(saved)) > MAX_SIZE:
        errors.append(ConfigError(f"too much to save: at most {MAX_KEYS} settings and {MAX_SIZE} bytes"))
    if errors:
        raise ConfigErrors(errors)


def _result(key: str, before: Config, new: Config) -> str:
    """Whether the value of a key is in force."""
    origin = new.origins.get(key)
    if origin is not None and origin.layer == "environment":
        return COVERED
    setting = find(tuple(key.split(".")))
    return RESTART if setting is not None and setting.apply == "restart" else APPLIED

"""What a plugin is made of: the base class, its settings' types, its event queue."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Generic, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from trioemqx.services.plugins.context import Context

API_VERSION: Final = (1, 0)
"""Of `trioemqx.plugin`: a plugin's `api` range is compared with it."""

C = TypeVar("C")
T = TypeVar("T")

Duration = Annotated[float, "duration"]
"""A setting in seconds; files may say `"5s"`, `"1m30s"`, `"250ms"`."""
ByteSize = Annotated[int, "bytesize"]
"""A setting in bytes; files may say `"64KB"`, `"1MB"`."""
QueuePath = Annotated[Path, "queue"]
"""A setting for a folder of `QueueSettings`. What is saved through the API has to be inside `<node.data_dir>/replayq`;
the file and the environment may name any."""
Numbered = Annotated[tuple[T, ...], "numbered"]
"""A field for the numbered keys of the very table that its class stands for, in the order of their numbers: with
`entries: Numbered[Entry] = ()`, `[module.subscription.1]` is the first of `entries`."""


class Secret(str):
    """A setting that nothing of ours shows: its `repr`, with which settings stand in logs and tracebacks, is stars, and
    so is what the API answers. It is a text all the same: whoever formats it (`str`, `f"{...}"`, `%s`) has the text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'******'"


class SettingError(ValueError):
    """Raised by a settings class, in a validator or `__attrs_post_init__`, for the value of one of its keys. The
    operator reads `text` with the key and the place where it was written; `path` leads to it from the class."""

    def __init__(self, text: str, *path: str) -> None:
        super().__init__(text)
        self.path = path


@attrs.frozen
class NoConfig:
    """The settings of a plugin that has none."""


class Plugin(Generic[C]):
    """A plugin: write `class Mine(Plugin[Config])`, and `plugin = Mine` at the end of the module.

    `C` is an attrs class with the settings; the loader fills it from `etc/plugins/<name>.toml`, the tables
    `[plugins.<name>]` of `etc/emqx.toml` and `EMQX_PLUGINS__<NAME>__<KEY>`. Life: the instance is made, `start` is
    awaited, its hooks become live and `run` is started; at the end `run` is cancelled and `stop` awaited.
    """

    prefix: ClassVar[tuple[str, ...]] = ()
    """Where EMQX keeps these settings, if it does: `("auth.http",)`. More than one: each becomes a field of that name's
    last part. So does one that names a single value, `("acl_file",)`."""
    exclusive: ClassVar[bool] = False
    """True for a plugin that owns what two generations cannot share (a port, a lock, a file): at a reload the old one
    is stopped before the new one starts. Its hooks stay in place meanwhile, so that nothing is opened."""
    hook_timeout: ClassVar[float] = 5.0
    """Seconds an async hook may take; `hook_timeout` in the plugin's settings wins."""

    def __init__(self, context: Context, config: C) -> None:
        self.context = context
        self.config = config
        self.log = context.log

    async def start(self) -> None:
        """Get ready. An exception here keeps the plugin out (or the old one in) and is what the operator reads."""

    async def run(self) -> None:
        """Background work for as long as the plugin is live. A crash starts it again, after a while; five within a
        minute switch the plugin off. Returning is fine."""

    async def stop(self) -> None:
        """Give back what `start` took. Tasks, hooks, subscriptions, commands and metrics go by themselves."""

    def export_state(self) -> object:
        """At a reload: what the next generation should know. Plain data only, no objects of the plugin's own classes.
        Called in the very step in which the new hooks take over, so nothing is lost between the two."""
        return None

    def import_state(self, state: object) -> None:
        """At a reload: what `export_state` of the old generation returned. An exception here keeps the old one."""

    def config_changed(self, config: C) -> bool:
        """The settings have been read again (SIGHUP, API). Return True when they have been applied; False asks for a
        whole reload."""
        return False


class EventQueue(Generic[C]):
    """A bounded queue from hooks, which must not wait, to a task that may. Made by `Context.queue`.

    When it is full the oldest item goes (`full="drop_oldest"`) or the new one is not taken (`"drop_new"`); `dropped`
    counts both.
    """

    def __init__(self, size: int, full: str, on_drop: Callable[[], None]) -> None:
        if size < 1 or full not in ("drop_oldest", "drop_new"):
            raise ValueError(f"a queue needs a size above 0 and drop_oldest or drop_new, not {size}, {full!r}")
        self.size = size
        self.full = full
        self.dropped = 0
        self._items: deque[C] = deque()
        self._waiting = trio.lowlevel.ParkingLot()
        self._on_drop = on_drop

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: C) -> bool:
        """Add an item without waiting; False when something was dropped for it, or it was itself."""
        room = len(self._items) < self.size
        if not room:
            self.dropped += 1
            self._on_drop()
            if self.full == "drop_new":
                return False
            self._items.popleft()
        self._items.append(item)
        self._waiting.unpark()
        return room

    async def get(self) -> C:
        """The oldest item; waits for one."""
        while True:
            while not self._items:
                await self._waiting.park()
            await trio.lowlevel.checkpoint()
            if self._items:  # else somebody took it during the checkpoint
                return self._items.popleft()

    async def __aiter__(self) -> AsyncIterator[C]:
        while True:
            yield await self.get()

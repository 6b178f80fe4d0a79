"""What the rule engine is made of besides its language: declarations of actions and of resource types.

The broker's own and those of plugins are made of the same parts. Running them is `trioemqx.rules`'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import trio

from trioemqx.errors import TrioemqxError
from trioemqx.types import Message

ANY_EVENT: Final = "$any"
RESOURCE: Final = "$resource"
"""The parameter that names a resource, of actions that need one."""

Params = Mapping[str, Any]
Output = Mapping[str, Any]
"""What the SQL of a rule selected: texts may be bytes where they are not UTF-8."""


class ActionFailed(TrioemqxError):
    """An action could not do its work this time; the text says why. Its fallbacks run."""


class ParamsRefused(TrioemqxError):
    """Parameters that an action or a resource type does not take. The text is what EMQX prints as an Erlang term:
    `wildcard_topic_not_allowed_for_publish`."""


class ResourceFailed(TrioemqxError):
    """A resource has no connection; the text says why. It is tried again."""


class RuleEvent(Protocol):
    """The event that a rule runs for, as an action sees it."""

    rule_id: str

    @property
    def message(self) -> Message | None:
        """The message of the event, where it has one. It is shared: look, do not change."""

    def get(self, name: str) -> Any:
        """A column of the event by its name, None when it has none of that name."""


@attrs.frozen
class Words:
    """A text in English and, where there is one, in Chinese."""

    en: str
    zh: str = attrs.field(default=attrs.Factory(lambda self: self.en, takes_self=True))

    def as_dict(self) -> dict[str, str]:
        """As the HTTP API has it."""
        return {"en": self.en, "zh": self.zh}


NOTHING: Final = object()
"""Stands for a parameter without a default."""


@attrs.frozen
class RuleParam:
    """A parameter of an action or a resource type.

    `type` is `string`, `password`, `number`, `boolean`, `object`, `array` or `file`, or several of them, of which any
    will do. An absent parameter takes `default`, if there is one; one that is `required` has to be given all the same.
    `format` is `url` for a text that has to be one. `input` tells a form what to show.
    """

    name: str
    type: str | tuple[str, ...] = "string"
    required: bool = False
    default: object = NOTHING
    enum: tuple[object, ...] = ()
    format: str = ""
    input: str = ""
    title: Words = attrs.field(default=attrs.Factory(lambda self: Words(self.name), takes_self=True))
    description: Words = attrs.field(default=attrs.Factory(lambda self: self.title, takes_self=True))


class RuleAdditions(Protocol):
    """What plugins may bring to the rule engine. Each method returns what takes it away again, and raises ValueError
    for a name that is taken."""

    def add_action(self, kind: ActionType) -> Callable[[], None]:
        """Let rules use another action."""

    def add_resource_type(self, kind: ResourceType) -> Callable[[], None]:
        """Let resources be of another type."""

    def add_function(self, signature: str, call: Callable[..., Any], doc: str = "") -> Callable[[], None]:
        """Let the SQL of rules call another function."""


class RuleHost(Protocol):
    """The rule engine, as plugins see it."""

    @property
    def additions(self) -> RuleAdditions:
        """What they may bring."""


# -- actions -----------------------------------------------------------------------------------------------------------


class DirectAction(ABC):
    """An action that is done at once, in the flow that raised the event; it must not wait."""

    @abstractmethod
    def run(self, output: Output, env: RuleEvent) -> None:
        """Do it. Raises ActionFailed; any other exception is a crash."""


class QueuedAction(ABC):
    """An action that has to wait for somebody: what it needs is kept in a bounded queue, and workers do it.

    `lanes` is how many workers there are, `batch` how many items one takes at most. Items with the same `key` are done
    one after the other. `size` and `max_bytes` bound what waits; the oldest goes when there is too much. An item whose
    `deliver` fails with `TryAgain` is tried again, after a pause, for `retry_for` seconds since it came.
    """

    lanes: int = 1
    batch: int = 1
    size: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    retry_for: float = 0.0

    @abstractmethod
    def prepare(self, output: Output, env: RuleEvent) -> Any:
        """What has to be kept for the workers; called in the flow that raised the event. Raises ActionFailed."""

    def weigh(self, item: Any) -> int:
        """About how many bytes an item takes."""
        return 1

    def key(self, item: Any) -> str:
        """Items with the same key keep their order."""
        return ""

    @abstractmethod
    async def deliver(self, items: Sequence[Any]) -> None:
        """Do it for some items. Raises ActionFailed, or TryAgain; any other exception is a crash."""


class TryAgain(ActionFailed):
    """Not now, perhaps later: the item is tried again for as long as its action allows."""


Action = DirectAction | QueuedAction


@attrs.frozen
class ActionSetup:
    """What an action is made of: its `id`, its parameters with all defaults, and the resource it uses, if any."""

    id: str
    params: Params
    resource: Resource | None = None


@attrs.frozen
class ActionType:
    """A kind of action. `make` makes one for a rule; it raises ParamsRefused for parameters that do not fit together.

    `types` are the resource types it can use; it has a parameter `$resource` then. `for_` is the event it is meant for.
    """

    name: str
    make: Callable[[ActionSetup], Action]
    params: tuple[RuleParam, ...] = ()
    title: Words = attrs.field(default=attrs.Factory(lambda self: Words(self.name), takes_self=True))
    description: Words = attrs.field(default=attrs.Factory(lambda self: self.title, takes_self=True))
    category: str = "other"
    app: str = "emqx_rule_engine"
    for_: str = ANY_EVENT
    types: tuple[str, ...] = ()


# -- resources ---------------------------------------------------------------------------------------------------------


class Resource:
    """A connection that actions use. `run` is its background work, which begins first; `start` returns when there is a
    connection; `alive` tells whether it is up."""

    async def run(self) -> None:
        """Background work, until cancelled, after `close`. A crash starts it again."""
        await trio.sleep_forever()

    async def start(self) -> None:
        """Wait for the connection. Raises ResourceFailed. About ten seconds are allowed."""

    async def alive(self) -> bool:
        """Whether it can be used now; asked every ten seconds."""
        return True

    async def close(self) -> None:
        """End the connection; also called when `start` has failed."""


@attrs.frozen
class ResourceSetup:
    """What a resource is made of: its `id`, its configuration with all defaults (parameters of the type `file` are
    paths, or empty texts), and a folder for what it has to keep on disk, which is removed with it."""

    id: str
    config: Params
    folder: Path


@attrs.frozen
class ResourceType:
    """A kind of resource. `make` raises ParamsRefused for a configuration that does not fit together."""

    name: str
    make: Callable[[ResourceSetup], Resource]
    params: tuple[RuleParam, ...] = ()
    title: Words = attrs.field(default=attrs.Factory(lambda self: Words(self.name), takes_self=True))
    description: Words = attrs.field(default=attrs.Factory(lambda self: self.title, takes_self=True))
    provider: str = "emqx_rule_engine"

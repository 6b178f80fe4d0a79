"""What a plugin brings to the rule engine: actions, resource types and functions, there while it is live."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import evolve

from trioemqx.services.plugins.handles import Handle, Host
from trioemqx.services.rulekit import ActionType, ResourceType

if TYPE_CHECKING:
    from trioemqx.services.plugins.context import Context

OURS = "emqx_rule_engine"


class RulesPart:
    """The rule engine, as a plugin sees it. While a plugin is not live, rules that use what it brought wait for it.

    A name that is taken is a ValueError, at once when the plugin is live.
    """

    def __init__(self, context: Context, host: Host) -> None:
        self._context = context
        self._host = host

    def action(self, kind: ActionType) -> Handle:
        """Let rules have another action."""
        owned = evolve(kind, app=self._context.name) if kind.app == OURS else kind
        return self._context.hold(lambda: self._host.rules.additions.add_action(owned))

    def resource_type(self, kind: ResourceType) -> Handle:
        """Let resources be of another type."""
        owned = evolve(kind, provider=self._context.name) if kind.provider == OURS else kind
        return self._context.hold(lambda: self._host.rules.additions.add_resource_type(owned))

    def function(self, signature: str, call: Callable[..., Any], doc: str = "") -> Handle:
        """Let the SQL of rules call a function. `signature` is for people and begins with its name:
        `shout(text[, times])`; how many arguments it takes is read off `call`. It gets plain values (texts, or bytes
        where they are no UTF-8, numbers, lists, dicts) and gives one; it must not wait. What it raises makes the rule
        fail for that event."""
        return self._context.hold(lambda: self._host.rules.additions.add_function(signature, call, doc))

"""`bridges` of `trioemqx ctl`, in EMQX's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import attrs

from trioemqx.plugin import Bridge, BridgeError, CommandError, Context


def add_commands(context: Context, bridges: Mapping[str, Bridge]) -> None:
    """Add the commands."""
    commands = BridgeCommands(bridges)
    changes: tuple[tuple[str, Callable[..., object], str, str], ...] = (
        ("start", commands.start, "<Name>", "Start a bridge"),
        ("stop", commands.stop, "<Name>", "Stop a bridge"),
        ("add-forward", commands.add_forward, "<Name> <Topic>", "Add bridge forward topic"),
        ("del-forward", commands.del_forward, "<Name> <Topic>", "Delete bridge forward topic"),
        ("add-subscription", commands.add_subscription, "<Name> <Topic> <Qos>", "Add bridge subscriptions topic"),
        ("del-subscription", commands.del_subscription, "<Name> <Topic>", "Delete bridge subscriptions topic"),
    )
    for word, run, arguments, help in changes:
        context.command(f"bridges {word}", run, usage=f"bridges {word} {arguments}", help=help)
    context.command("bridges list", commands.list, help="List bridges", data=commands.rows)
    for word, lines, rows, help in (
        ("forwards", commands.forwards, commands.forward_rows, "Show a bridge forward topic"),
        ("subscriptions", commands.subscriptions, commands.subscription_rows, "Show a bridge subscriptions topic"),
    ):
        context.command(f"bridges {word}", lines, usage=f"bridges {word} <Name>", help=help, data=rows)


class BridgeCommands:
    """The commands, over bridges by name."""

    def __init__(self, bridges: Mapping[str, Bridge]) -> None:
        self._bridges = bridges

    def _bridge(self, name: str, failed: str = "") -> Bridge:
        if name not in self._bridges:
            raise CommandError(f"{failed}There is no bridge {name}.")
        return self._bridges[name]

    def list(self) -> Iterator[str]:
        """A bridge without a connection is no running one."""
        for name, bridge in self._bridges.items():
            yield f"name: {name}     status: {'Running' if bridge.connected else 'Stopped'}"

    def rows(self) -> Iterator[dict[str, object]]:
        """All there is to know."""
        for bridge in self._bridges.values():
            yield {"address": bridge.config.address, **attrs.asdict(bridge.status())}

    async def start(self, name: str) -> str:
        """Wait for the first try."""
        bridge = self._bridge(name, "Start bridge failed.\n")
        if bridge.started:
            return "Bridge already started."
        try:
            await bridge.ensure_started()
        except BridgeError as error:
            raise CommandError(f"Start bridge failed.\n{error}; it will be tried again.") from None
        return "Start bridge successfully."

    async def stop(self, name: str) -> str:
        """Wait until it has ended."""
        if not await self._bridge(name, "Stop bridge failed.\n").stop():
            raise CommandError(f"Stop bridge failed.\nThe bridge {name} is not started.")
        return "Stop bridge successfully."

    def forwards(self, name: str) -> Iterator[str]:
        """Local filters of what goes out."""
        for filter in self._bridge(name).forwards():
            yield f"topic:   {filter}"

    def forward_rows(self, name: str) -> Iterator[dict[str, object]]:
        """The same for programs."""
        for filter in self._bridge(name).forwards():
            yield {"topic": filter}

    def add_forward(self, name: str, topic: str) -> str:
        """Until the plugin is loaded again."""
        bridge = self._bridge(name)
        try:
            bridge.add_forward(topic)
        except BridgeError as error:
            raise CommandError(f"Add-forward failed reason: {error}.") from None
        return "Add-forward topic successfully."

    def del_forward(self, name: str, topic: str) -> str:
        """Likewise."""
        if not self._bridge(name).remove_forward(topic):
            raise CommandError(f"Del-forward failed reason: {topic} is not forwarded.")
        return "Del-forward topic successfully."

    def subscriptions(self, name: str) -> Iterator[str]:
        """Filters there of what comes in."""
        for filter, qos in self._bridge(name).subscriptions():
            yield f"topic: {filter}, qos: {qos}"

    def subscription_rows(self, name: str) -> Iterator[dict[str, object]]:
        """The same for programs."""
        for filter, qos in self._bridge(name).subscriptions():
            yield {"topic": filter, "qos": qos}

    async def add_subscription(self, name: str, topic: str, qos: str) -> str:
        """Without a connection it is asked for with the next one."""
        bridge = self._bridge(name)
        try:
            await bridge.add_subscription(topic, int(qos) if qos in ("0", "1", "2") else -1)
        except BridgeError as error:
            raise CommandError(f"Add-subscription failed reason: {error}.") from None
        return "Add-subscription topic successfully."

    async def del_subscription(self, name: str, topic: str) -> str:
        """Likewise."""
        bridge = self._bridge(name)
        try:
            found = await bridge.remove_subscription(topic)
        except BridgeError as error:
            raise CommandError(f"Del-subscription failed reason: {error}.") from None
        if not found:
            raise CommandError(f"Del-subscription failed reason: {topic} is not subscribed.")
        return "Del-subscription topic successfully."

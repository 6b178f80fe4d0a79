"""Bridges to other MQTT brokers: local topics go out, topics of the other side come in."""

from __future__ import annotations

from typing import Final

import trio

from trioemqx.plugin import Bridge, BridgeConfig, BridgeError, Plugin, PluginError

from .commands import add_commands
from .settings import Config

FAILURES: Final = 3
"""Tries in a row that raise the alarm."""
RESTART: Final = 5.0
"""Seconds after a bridge has crashed, which is a mistake of ours."""


class MqttBridges(Plugin[Config]):
    """Each bridge lives by itself: what goes wrong with one costs the others nothing."""

    prefix = ("bridge",)

    async def start(self) -> None:
        """Make the bridges; those that are to start by themselves collect messages from now on."""
        counter = self.context.metrics.counter
        self._sent, self._received = counter("bridge.mqtt.message_sent"), counter("bridge.mqtt.message_received")
        self.bridges: dict[str, Bridge] = {}
        for name, config in self.config.bridges.items():
            self.bridges[name] = self._make(name, config)
        for name, settings in self.config.mqtt.items():
            if settings.start_type == "auto":
                self.bridges[name].start()
        self.context.metrics.gauge("bridge.mqtt.queued", self._queued)
        add_commands(self.context, self.bridges)

    def _make(self, name: str, config: BridgeConfig) -> Bridge:
        if config.tls is not None and not config.tls.verify:
            self.log.warning("bridge.mqtt.%s.verify is false: the server's certificate is not checked", name)
        try:
            return Bridge(
                name,
                config,
                self.context.broker,
                wall=self.context.wall,
                sent=self._sent.inc,
                received=self._received.inc,
                changed=lambda: self._alarm(name),
            )
        except BridgeError as error:
            raise PluginError(f"{self.context.name}: bridge.mqtt.{name}: {error}") from None

    def _queued(self) -> int:
        return sum(bridge.status().queued for bridge in self.bridges.values())

    def _alarm(self, name: str) -> None:
        """Something has changed: the alarm says whether a bridge that should be connected cannot."""
        bridge = self.bridges.get(name)
        if bridge is None:
            return
        alarm = f"bridge_mqtt_down/{name}"
        if not bridge.started or bridge.connected:
            self.context.alarms.clear(alarm)
        elif bridge.failures >= FAILURES:
            self.context.alarms.raise_(alarm, {"address": bridge.config.address, "error": bridge.last_error})

    async def run(self) -> None:
        """The bridges. What they have in memory is sent before they end, if that does not take long."""
        async with trio.open_nursery() as nursery:
            for name, bridge in self.bridges.items():
                nursery.start_soon(self._run, name, bridge)

    async def _run(self, name: str, bridge: Bridge) -> None:
        while True:
            try:
                await bridge.run()
            except* Exception as group:
                self.log.error("bridge %s crashed; it begins again in %g s", name, RESTART, exc_info=group)
            await trio.sleep(RESTART)

    # -- reload ------------------------------------------------------------------------------------------------------

    def export_state(self) -> object:
        """Which bridges are started, and what they have in memory. What is on disk is found there."""
        return {name: (bridge.started, bridge.hand_over()) for name, bridge in self.bridges.items()}

    def import_state(self, state: object) -> None:
        """Go on with that: also a bridge that was started by hand."""
        if not isinstance(state, dict):
            return
        for name, (started, messages) in state.items():
            bridge = self.bridges.get(name)
            if bridge is not None:
                bridge.take_over(messages)
                if started:
                    bridge.start()
            elif messages:
                self.log.warning("bridge %s is gone, and %d messages with it", name, len(messages))


plugin = MqttBridges

"""Who has come and who has gone: events under `$SYS/brokers/<node>/clients/<clientid>/`."""

from __future__ import annotations

import json
from typing import Literal

import attrs

from trioemqx.plugin import ClientInfo, Message, Plugin, hookimpl, is_wildcard

API = ">=1,<2"
DESCRIPTION = "EMQX Presence Module"
DEFAULT_ENABLED = True


@attrs.frozen
class Config:
    """`[module.presence]`"""

    qos: Literal[0, 1, 2] = 1
    """QoS of the messages."""


class Presence(Plugin[Config]):
    """Publishes `connected` and `disconnected`, as JSON, with the configured QoS and not retained.

    Where nobody is subscribed nothing is built.
    """

    prefix = ("module.presence",)

    @hookimpl
    def client_connected(self, client: ClientInfo) -> None:
        """A client was accepted."""
        self._tell(
            client,
            "connected",
            connack=0,
            keepalive=client.keepalive,
            clean_start=client.clean_start,
            expiry_interval=client.expiry_interval,
        )

    @hookimpl
    def client_disconnected(self, client: ClientInfo, reason: str) -> None:
        """The connection of an accepted client has ended."""
        self._tell(client, "disconnected", reason=reason, disconnected_at=self._now())

    def _tell(self, client: ClientInfo, what: str, **more: object) -> None:
        broker = self.context.broker
        topic = f"$SYS/brokers/{broker.node}/clients/{client.clientid}/{what}"
        if is_wildcard(client.clientid) or not broker.has_subscribers(topic):  # such a name cannot be part of a topic
            return
        now = self._now()
        event = {
            "clientid": client.clientid,
            "username": "undefined" if client.username is None else client.username,
            "ipaddress": client.peerhost,
            "sockport": client.sockport,
            "proto_name": client.proto_name,
            "proto_ver": client.proto_ver,
            "connected_at": client.connected_at,
            "ts": now,
            **more,
        }
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        broker.publish(Message(topic, text.encode(), self.config.qos, False, "sys", timestamp=now, sys=True))

    def _now(self) -> int:
        return int(self.context.wall() * 1000)


plugin = Presence

"""Who has come and who has gone: events under `$SYS/brokers/<node>/clients/<clientid>/`, EMQX's emqx_mod_presence."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from trioemqx.core.topics import is_wildcard
from trioemqx.hookspecs import hookimpl
from trioemqx.types import ClientInfo, Message

if TYPE_CHECKING:
    from collections.abc import Callable

NAME: Final = "emqx_mod_presence"


class Presence:
    """Publishes `connected` and `disconnected`, as JSON, with the configured QoS and not retained.

    `wanted` tells whether a topic has a subscriber; without one nothing is built. `wall` gives Unix seconds.
    """

    def __init__(
        self,
        node: str,
        publish: Callable[[Message], object],
        wanted: Callable[[str], bool],
        qos: int = 1,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._prefix = f"$SYS/brokers/{node}/clients"
        self._publish = publish
        self._wanted = wanted
        self._qos = qos
        self._wall = wall

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
        topic = f"{self._prefix}/{client.clientid}/{what}"
        if is_wildcard(client.clientid) or not self._wanted(topic):  # such a name cannot be part of a topic
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
        self._publish(Message(topic, text.encode(), self._qos, False, "sys", timestamp=now, sys=True))

    def _now(self) -> int:
        return int(self._wall() * 1000)

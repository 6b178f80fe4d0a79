"""An MQTT client on Trio, for bridges and plugins: MQTT 3.1, 3.1.1 and 5.0, all QoS levels in both directions.

    async with open_client(ClientOptions("me"), dialer("127.0.0.1:1883")) as client:
        await client.subscribe("a/#", qos=1)
        await client.publish("b", b"hello", qos=2)
        print(await client.receive())

The block is the connection: when the server ends it the block is cancelled and `MqttError` is raised. Nothing is tried
again here; a bridge does that. Everything has a bound: what waits to be sent, what waits to be taken, what is in
flight, and how long a silent server is waited for.

Read `options` and `errors`, then `session`, `sending` and `protocol` (no socket, no clock), then `connection` (the
tasks), `client`, `opening` and `dial`.
"""

from __future__ import annotations

from trioemqx.services.mqttclient.client import MqttClient
from trioemqx.services.mqttclient.dial import dialer
from trioemqx.services.mqttclient.errors import MqttError, MqttRefused, Unsendable
from trioemqx.services.mqttclient.opening import Connect, open_client
from trioemqx.services.mqttclient.options import ClientOptions, MqttTls, ServerAddress
from trioemqx.services.mqttclient.session import ClientSession

__all__ = [
    "ClientOptions",
    "ClientSession",
    "Connect",
    "MqttClient",
    "MqttError",
    "MqttRefused",
    "MqttTls",
    "ServerAddress",
    "Unsendable",
    "dialer",
    "open_client",
]

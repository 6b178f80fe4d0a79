"""paho-mqtt 2 with its callbacks of version 2, over every transport and in every protocol version."""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broker_process import PATIENCE, BrokerProcess
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv31, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

VERSIONS = pytest.mark.parametrize(
    "version", [pytest.param(MQTTv31, id="v3.1"), pytest.param(MQTTv311, id="v3.1.1"), pytest.param(MQTTv5, id="v5")]
)
KINDS = pytest.mark.parametrize("kind", ["tcp", "ssl", "ws", "wss"])


class PahoClient:
    """A paho client with its loop in a thread; everything its callbacks hear goes into queues."""

    def __init__(self, broker: BrokerProcess, certificates: Path, kind: str, version: int, clientid: str = "") -> None:
        self.inbox: queue.Queue[MQTTMessage] = queue.Queue()
        self.events: queue.Queue[tuple[str, object]] = queue.Queue()
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=clientid,
            protocol=version,
            transport="websockets" if kind in ("ws", "wss") else "tcp",
            **({} if version == MQTTv5 else {"clean_session": True}),
            reconnect_on_failure=False,
        )
        if kind in ("ws", "wss"):
            self.client.ws_set_options(path="/mqtt")
        if kind in ("ssl", "wss"):
            context = ssl.create_default_context(cafile=str(certificates / "cacert.pem"))
            self.client.tls_set_context(context)
        heard = self.events.put
        self.client.on_connect = lambda _c, _u, flags, code, more: heard(("connect", (flags, code, more)))
        self.client.on_disconnect = lambda _c, _u, _flags, code, _more: heard(("disconnect", code))
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _more: heard(("subscribe", codes))
        self.client.on_unsubscribe = lambda _c, _u, _mid, codes, _more: heard(("unsubscribe", codes))
        self.client.on_message = lambda _c, _u, message: self.inbox.put(message)
        self.port = broker.port(kind)

    def connect(self, **options: object) -> tuple:
        """CONNECT; returns (flags, reason code, properties) of the CONNACK."""
        self.client.connect("127.0.0.1", self.port, **options)
        self.client.loop_start()
        return self.wait("connect")

    def subscribe(self, *arguments: object, **options: object) -> list[int]:
        self.client.subscribe(*arguments, **options)
        return [code.value for code in self.wait("subscribe")]

    def publish(self, topic: str, payload: bytes, qos: int = 0, **options: object) -> None:
        self.client.publish(topic, payload, qos, **options).wait_for_publish(PATIENCE)

    def message(self) -> MQTTMessage:
        return self.inbox.get(timeout=PATIENCE)

    def wait(self, wanted: str) -> object:
        kind, value = self.events.get(timeout=PATIENCE)
        assert kind == wanted
        return value

    def disconnect(self) -> None:
        self.client.disconnect()
        assert not self.wait("disconnect").is_failure

    def end(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def paho(broker: BrokerProcess, certificates: Path) -> Iterator[Callable[..., PahoClient]]:
    started: list[PahoClient] = []

    def make(kind: str = "tcp", version: int = MQTTv5, clientid: str = "") -> PahoClient:
        started.append(PahoClient(broker, certificates, kind, version, clientid))
        return started[-1]

    yield make
    for one in started:
        one.end()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("paho")]


@KINDS
@VERSIONS
def test_every_qos_over_every_transport(paho, topic, name, kind, version):
    client = paho(kind, version, name[:23])
    _flags, code, _properties = client.connect()
    assert code == 0
    assert client.subscribe(topic, 2) == [2]

    for qos in (0, 1, 2):
        client.publish(topic, f"qos {qos}".encode() * 1000, qos)
        message = client.message()
        assert (message.topic, message.payload, message.qos) == (topic, f"qos {qos}".encode() * 1000, qos)

    client.client.unsubscribe(topic)
    client.wait("unsubscribe")
    client.publish(topic, b"nobody hears this", 1)
    assert client.subscribe(topic, 0) == [0]
    client.publish(topic, b"after", 1)
    assert client.message().payload == b"after"
    client.disconnect()


@KINDS
def test_a_large_message_crosses_every_transport(paho, topic, kind):
    client = paho(kind)
    client.connect()
    client.subscribe(topic, 1)
    payload = bytes(range(256)) * 240

    client.publish(topic, payload, 1)

    assert client.message().payload == payload


@VERSIONS
def test_will_and_retain(paho, topic, version):
    watcher = paho(version=version, clientid="w-" + topic[-20:])
    watcher.connect()
    watcher.subscribe(f"{topic}/#", 1)
    dying = paho(version=version, clientid="d-" + topic[-20:])
    dying.client.will_set(f"{topic}/will", b"gone", 1, retain=True)
    dying.connect()
    dying.client.socket().shutdown(2)

    message = watcher.message()
    assert (message.topic, message.payload, message.retain) == (f"{topic}/will", b"gone", False)
    late = paho(version=version, clientid="l-" + topic[-20:])
    late.connect()
    late.subscribe(f"{topic}/#", 1)
    assert late.message().retain
    late.publish(f"{topic}/will", b"", 1, retain=True)


def test_mqtt_5_properties_both_ways(paho, topic):
    client = paho()
    connect = Properties(PacketTypes.CONNECT)
    connect.SessionExpiryInterval = 30
    connect.RequestResponseInformation = 1
    flags, code, connack = client.connect(clean_start=True, properties=connect)
    assert (flags.session_present, code.value) == (False, 0)
    assert connack.AssignedClientIdentifier
    assert connack.TopicAliasMaximum == 10
    assert connack.MaximumPacketSize == 64 * 1024
    assert connack.ReceiveMaximum == 10
    assert connack.ResponseInformation == "answers/"

    subscribe = Properties(PacketTypes.SUBSCRIBE)
    subscribe.SubscriptionIdentifier = 42
    options = SubscribeOptions(qos=1, noLocal=False, retainAsPublished=True)
    assert client.subscribe(topic, options=options, properties=subscribe) == [1]
    sent = Properties(PacketTypes.PUBLISH)
    sent.UserProperty = [("a", "1"), ("a", "2")]
    sent.ResponseTopic = "answers/x"
    sent.CorrelationData = b"\x00\xff"
    sent.ContentType = "text/plain"
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 60
    client.publish(topic, b"x", 1, properties=sent)

    got = client.message().properties
    assert got.UserProperty == [("a", "1"), ("a", "2")]
    assert (got.ResponseTopic, got.CorrelationData, got.ContentType) == ("answers/x", b"\x00\xff", "text/plain")
    assert got.PayloadFormatIndicator == 1
    assert 58 <= got.MessageExpiryInterval <= 60
    assert got.SubscriptionIdentifier == [42]
    end = Properties(PacketTypes.DISCONNECT)
    end.SessionExpiryInterval = 0
    client.client.disconnect(properties=end)
    client.wait("disconnect")


def test_a_second_connection_takes_the_session_over(paho, name):
    first = paho(clientid=name)
    first.connect()
    second = paho(clientid=name)
    second.connect(clean_start=False)

    assert first.wait("disconnect").value == 0x8E

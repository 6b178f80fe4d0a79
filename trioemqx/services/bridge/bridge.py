"""A bridge: what goes out by which lane, what comes in, and its life."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations
from random import Random
from typing import Final

import trio

from trioemqx.codec.packets import Publish
from trioemqx.core.topics import matches, overlaps, parse_filter
from trioemqx.errors import ProtocolError, reason_name
from trioemqx.services.bridge.backoff import Backoff
from trioemqx.services.bridge.config import NODE, BridgeConfig, BridgeError, check_filter, mounted
from trioemqx.services.bridge.counters import BridgeCounters
from trioemqx.services.bridge.folder import lane_of
from trioemqx.services.bridge.item import Item, of_publish
from trioemqx.services.bridge.lane import Lane, LaneCalls
from trioemqx.services.bridge.local import Local, Subscribed
from trioemqx.services.bridge.pool import client_ids, make_queues
from trioemqx.services.bridge.runner import Runner
from trioemqx.services.bridge.status import BridgeStatus
from trioemqx.services.mqttclient import Connect, MqttClient, MqttError, Unsendable, dialer
from trioemqx.types import Message, Properties, SubOpts

log = logging.getLogger("trioemqx.bridge")

HEADER: Final = "bridge"
"""Marks messages that a bridge has brought, with its name: it does not send them back."""
PUBLISHER: Final = "bridge"


def _nothing() -> None:
    """Default for callbacks."""


class Bridge:
    """`run` it in a nursery; it does something between `start` and `stop`. `send` may be called at any time and queues.

    `connect` opens a stream to the server (tests), otherwise it is `config.address`. `wall` gives Unix seconds. `sent`
    and `received` are called for each message that leaves and comes, `changed` when a connection is made or lost.
    Raises BridgeError for TLS files that cannot be used.
    """

    def __init__(
        self,
        name: str,
        config: BridgeConfig,
        local: Local,
        *,
        connect: Connect | None = None,
        wall: Callable[[], float] = time.time,
        sent: Callable[[], object] = _nothing,
        received: Callable[[], object] = _nothing,
        changed: Callable[[], object] = _nothing,
        random: Random | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.counters = BridgeCounters()
        self._local = local
        self._wall = wall
        self._received = received
        self._changed = changed
        self._random = random or Random()
        self._forward_mountpoint = config.forward_mountpoint.replace(NODE, local.node)
        self._receive_mountpoint = config.receive_mountpoint.replace(NODE, local.node)
        self._forwards: dict[str, Subscribed | None] = dict.fromkeys(config.forwards)
        self._subscriptions = dict(config.subscriptions)
        self._overlapping = False
        self._change = trio.lowlevel.ParkingLot()
        try:
            connect = connect or dialer(config.address, config.tls)
        except ValueError as error:
            raise BridgeError(str(error)) from None
        queues, folder = make_queues(config.queue, config.pool_size, self.counters.drop, self._wake)
        self._lanes = [
            Lane(
                f"bridge {name}" if config.pool_size == 1 else f"bridge {name} ({number})",
                config.options(clientid),
                connect,
                queue,
                self.counters,
                self._backoff(),
                LaneCalls(self._now, self._arrived, partial(self._greet, number), self._tell, sent),
            )
            for number, (clientid, queue) in enumerate(zip(client_ids(config), queues, strict=True))
        ]
        self._runner = Runner(f"bridge {name}", self._lanes, folder, self._backoff, self._tell)

    def _backoff(self) -> Backoff:
        return Backoff(self.config.reconnect_interval, self._random)

    # -- status ------------------------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Between `start` and `stop`."""
        return self._runner.wanted

    @property
    def connected(self) -> int:
        """How many connections there are."""
        return sum(lane.client is not None for lane in self._lanes)

    @property
    def failures(self) -> int:
        """Tries without success since the last one with; 0 while anything is connected."""
        return 0 if self.connected else max(self._runner.failures, *(lane.failures for lane in self._lanes))

    @property
    def last_error(self) -> str:
        """Why a connection is missing, "" when none is or none was tried."""
        return self._runner.error or next((lane.error for lane in self._lanes if lane.error), "")

    def status(self) -> BridgeStatus:
        """All of it."""
        return BridgeStatus(
            self.name,
            self._runner.wanted,
            self.connected,
            self.config.pool_size,
            self.last_error,
            sum(lane.queue.waiting for lane in self._lanes),
            sum(lane.queue.in_flight for lane in self._lanes),
            self.counters.as_dict(),
        )

    # -- out ---------------------------------------------------------------------------------------------------------

    def send(
        self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, properties: Properties | None = None
    ) -> None:
        """Queue a message for the other side; its topic is put under `forward_mountpoint`."""
        topic = mounted(self._forward_mountpoint, topic)
        self.counters.matched += 1
        self._put(Item(topic, payload, qos, retain, of_publish(properties), self._now()))

    def _put(self, item: Item) -> None:
        self._lanes[lane_of(item.topic, len(self._lanes))].put(item)

    def _forward(self, filter: str, message: Message) -> None:
        """A local message that matches a filter of ours."""
        if message.headers is not None and message.headers.get(HEADER) == self.name:
            return
        if self._overlapping and self._first_match(message.topic) != filter:
            return
        self.send(message.topic, message.payload, message.qos, message.retain, message.properties)

    def _first_match(self, topic: str) -> str | None:
        """The filter that stands for all those that match, so that a message goes once."""
        return next((name for name in self._forwards if matches(parse_filter(name).filter, topic)), None)

    def _now(self) -> int:
        return int(self._wall() * 1000)

    # -- in ----------------------------------------------------------------------------------------------------------

    def _arrived(self, packet: Publish) -> None:
        """A message from the other side."""
        self.counters.received += 1
        self._received()
        topic = mounted(self._receive_mountpoint, packet.topic)
        properties = of_publish(packet.properties)
        message = Message(topic, packet.payload, packet.qos, packet.retain, PUBLISHER, properties)
        message.headers = {HEADER: self.name}
        try:
            self._local.publish(message)
        except ProtocolError:
            self.counters.received_invalid += 1

    async def _greet(self, lane: int, client: MqttClient) -> None:
        """Subscribe, on the first connection only: each of them would get its own copy."""
        if lane:
            return
        with trio.move_on_after(self.config.connect_timeout) as scope:
            for filter, qos in list(self._subscriptions.items()):
                try:
                    await self._subscribe(client, filter, qos)
                except BridgeError as error:
                    log.error("bridge %s: %s", self.name, error)
        if scope.cancelled_caught:
            raise MqttError(f"no answer to SUBSCRIBE within {self.config.connect_timeout:g} s")

    async def _subscribe(self, client: MqttClient, filter: str, qos: int) -> None:
        """MQTT 5 is asked not to send back what we send, and to keep RETAIN; in MQTT 3 the bridge bit asks for that."""
        opts = SubOpts(qos, not filter.startswith("$share/"), True)
        try:
            (code,) = await client.subscribe(filter, opts=opts)
        except Unsendable as error:
            raise BridgeError(str(error)) from None
        if code >= 0x80:
            reason = reason_name(code) if self.config.version == 5 else "refused"
            raise BridgeError(f"the server refuses the subscription {filter!r:.200}: {reason}")

    # -- changes -----------------------------------------------------------------------------------------------------

    def forwards(self) -> list[str]:
        """Local filters of what goes out."""
        return list(self._forwards)

    def subscriptions(self) -> list[tuple[str, int]]:
        """(filter, QoS) of what comes in."""
        return list(self._subscriptions.items())

    def add_forward(self, filter: str) -> None:
        """One more filter, until the end of this object. Raises BridgeError."""
        check_filter(filter)
        if filter not in self._forwards:
            self._forwards[filter] = None
            if self._runner.wanted:
                self._listen()

    def remove_forward(self, filter: str) -> bool:
        """One less; False when there was none."""
        if filter not in self._forwards:
            return False
        subscribed = self._forwards.pop(filter)
        if subscribed is not None:
            subscribed.close()
        return True

    async def add_subscription(self, filter: str, qos: int) -> None:
        """One more, at once when there is a connection. Raises BridgeError when it is invalid or refused."""
        check_filter(filter)
        if qos not in (0, 1, 2):
            raise BridgeError("expected QoS 0, 1 or 2")
        client = self._lanes[0].client
        if client is not None:
            try:
                await self._subscribe(client, filter, qos)
            except MqttError as error:
                raise BridgeError(str(error)) from None
        self._subscriptions[filter] = qos

    async def remove_subscription(self, filter: str) -> bool:
        """One less; False when there was none. Raises BridgeError."""
        if self._subscriptions.pop(filter, None) is None:
            return False
        client = self._lanes[0].client
        if client is not None:
            try:
                await client.unsubscribe(filter)
            except MqttError as error:
                raise BridgeError(str(error)) from None
        return True

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> bool:
        """Begin to collect and to connect; False when it has begun before. `run` does the rest."""
        if self._runner.wanted:
            return False
        self._runner.want(True)
        self._listen()
        self._tell()
        return True

    async def ensure_started(self, seconds: float = 15.0) -> None:
        """`start`, and wait for the first connection. Raises BridgeError when it cannot be made; it is tried again all
        the same, until `stop`."""
        self.start()
        with trio.move_on_after(seconds):
            while not self.connected and not self._runner.error and not all(lane.failures for lane in self._lanes):
                await self._change.park()
        if not self.connected:
            raise BridgeError(self.last_error or f"no connection within {seconds:g} s")

    async def stop(self) -> bool:
        """Collect no more, send what is queued if that takes no longer than DRAIN_SECONDS, disconnect. What is left
        stays in the queue. False when it was not started."""
        if not self._runner.wanted:
            return False
        self._halt()
        while self._runner.serving:
            await self._change.park()
        await trio.lowlevel.checkpoint()
        return True

    def hand_over(self) -> list[bytes]:
        """The messages that only this object has, for another one's `take_over`. Stopped within a second after this it
        sends no more. What is on disk waits there for whoever opens the folder next."""
        self._runner.handed_over_at = trio.current_time()
        return [item.encode() for lane in self._lanes for item in lane.queue.export()]

    def take_over(self, items: list[bytes]) -> None:
        """Messages of an earlier object. Raises PacketError for what is none."""
        for data in items:
            self._put(Item.decode(data))

    async def run(self) -> None:
        """Serve from each `start` to the `stop` after it, until cancelled."""
        await self._runner.run()

    def _listen(self) -> None:
        """Subscribe here what is to go out."""
        for filter, subscribed in self._forwards.items():
            if subscribed is None:
                self._forwards[filter] = self._local.subscribe(filter, partial(self._forward, filter))
        inner = [parse_filter(name).filter for name in self._forwards]
        self._overlapping = any(overlaps(a, b) for a, b in combinations(inner, 2))

    def _halt(self) -> None:
        """What `stop` does at once."""
        for filter, subscribed in self._forwards.items():
            if subscribed is not None:
                subscribed.close()
                self._forwards[filter] = None
        self._runner.want(False)
        self._tell()

    def _wake(self) -> None:
        """A queue has got something from its disk."""
        for lane in self._lanes:
            lane.wake()

    def _tell(self) -> None:
        self._change.unpark_all()
        self._changed()

"""One connection of a bridge, made again when it is lost, and the queue that it empties."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import attrs
import trio

from trioemqx.services.bridge.backoff import Backoff
from trioemqx.services.bridge.counters import EXPIRED, INVALID, REFUSED, TOO_LARGE, BridgeCounters
from trioemqx.services.bridge.item import Item
from trioemqx.services.bridge.lanequeue import LaneQueue
from trioemqx.services.mqttclient import (
    ClientOptions,
    ClientSession,
    Connect,
    MqttClient,
    MqttError,
    Unsendable,
    open_client,
)
from trioemqx.services.mqttclient.protocol import OnMessage

log = logging.getLogger("trioemqx.bridge")

STABLE: Final = 10.0
"""Seconds after which a connection was a good one, and the next may be tried soon."""
SLICE: Final = 50
"""Messages sent before other tasks have a turn."""
FLIGHT_BYTES: Final = 8 * 1024 * 1024
"""Of messages in flight, however many the window allows."""


@attrs.frozen
class LaneCalls:
    """What a lane asks and tells its bridge. `now` gives Unix milliseconds; `greet` is awaited with each new
    connection; `changed` is called when one is made or lost, `sent` when a message has left."""

    now: Callable[[], int]
    on_message: OnMessage
    greet: Callable[[MqttClient], Awaitable[object]]
    changed: Callable[[], object]
    sent: Callable[[], object]


class Lane:
    """`title` is for logs. `client` is the connection while there is one, `error` why the last one ended or could not
    be made, `failures` how often that was so since the last success."""

    def __init__(
        self,
        title: str,
        options: ClientOptions,
        connect: Connect,
        queue: LaneQueue,
        counters: BridgeCounters,
        backoff: Backoff,
        calls: LaneCalls,
    ) -> None:
        self.options = options
        self.queue = queue
        self.client: MqttClient | None = None
        self.error = ""
        self.failures = 0
        self._title = title
        self._connect = connect
        self._counters = counters
        self._backoff = backoff
        self._calls = calls
        self._connects = 0
        self._session = ClientSession()
        self._zero: dict[Item, None] = {}
        """QoS 0 messages that have not been sent yet: no session knows them."""
        self._wake = trio.lowlevel.ParkingLot()
        self._trying = trio.CancelScope()
        self._ending = False

    def wake(self) -> None:
        """There may be something to send, or room for it."""
        self._wake.unpark_all()

    def put(self, item: Item) -> None:
        """Queue a message."""
        self.queue.put(item)
        self.wake()

    def begin(self) -> None:
        """`run` comes next."""
        self._ending = False

    def end(self) -> None:
        """Send what is queued, if there is a connection, and then no more."""
        self._ending = True
        if self.client is None:
            self._trying.cancel()
        self.wake()

    # -- connections -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and again, until `end` or cancelled."""
        while True:
            began = trio.current_time()
            with trio.CancelScope() as self._trying:
                if not self._ending:
                    await self._guarded()
            if self._ending:
                return
            if trio.current_time() - began >= STABLE:
                self._backoff.reset()
            with trio.CancelScope() as self._trying:
                await trio.sleep(self._backoff.next())

    async def _guarded(self) -> None:
        """One connection; how it ends is noted, also when it is a mistake of ours."""
        try:
            try:
                await self._connection()
            except MqttError as error:
                self._lost(str(error))
        except* Exception as group:
            log.error("%s: the connection crashed", self._title, exc_info=group)
            self._lost("an internal error, which the log shows")

    def _lost(self, reason: str) -> None:
        """Logged when it is news: a server may be away for long."""
        self.failures += 1
        if reason != self.error:
            log.warning("%s: %s; it will be tried again", self._title, reason)
        self.error = reason
        self._calls.changed()

    async def _connection(self) -> None:
        calls = self._calls
        opening = open_client(
            self.options, self._connect, on_message=calls.on_message, session=self._session, on_room=self.wake
        )
        try:
            async with opening as client:
                self.queue.rewind(self._zero if client.session_present else None)
                self._zero.clear()
                self._accepted(client)
                await calls.greet(client)
                await self._empty(client)
        finally:
            if self.client is not None:
                self.client = None
                calls.changed()

    def _accepted(self, client: MqttClient) -> None:
        if self._connects:
            self._counters.reconnects += 1
        else:
            self._counters.connects += 1
        self._connects += 1
        log.info("%s is connected", self._title)
        self.client = client
        self.failures, self.error = 0, ""
        self._calls.changed()

    # -- messages ----------------------------------------------------------------------------------------------------

    async def _empty(self, client: MqttClient) -> None:
        """Send what the queue has, as far as window and buffer allow; for ever, or until `end` and nothing is left."""
        queue = self.queue
        while True:
            for _ in range(SLICE):
                if not self._send_one(client):
                    break
            else:
                await trio.lowlevel.checkpoint()
                continue
            if queue.head() is None:
                if await queue.fill():
                    continue
                if self._ending and not queue.in_flight and not queue.waiting:
                    return
                if queue.head() is not None:
                    continue
            await self._wake.park()

    def _send_one(self, client: MqttClient) -> bool:
        """Take one message from the queue; False when there is none, or no room."""
        queue = self.queue
        item = queue.head()
        if item is None or queue.flight_bytes > FLIGHT_BYTES:
            return False
        qos = min(item.qos, client.maximum_qos)
        if not client.accepts(qos):
            return False
        queue.take()
        now = self._calls.now()
        if item.expired(now):
            self._counters.drop(EXPIRED)
            queue.done(item)
            return True
        retain = item.retain and client.retain_available
        try:
            client.send(item.topic, item.payload, qos, retain, item.left(now), partial(self._settled, item))
        except Unsendable as error:
            self._counters.drop(TOO_LARGE if error.code == 0x95 else INVALID)
            queue.done(item)
            return True
        if not qos:
            self._zero[item] = None
        self._counters.sent += 1
        self._calls.sent()
        return True

    def _settled(self, item: Item, code: int) -> None:
        self.queue.done(item)
        self._zero.pop(item, None)
        if code >= 0x80:
            self._counters.drop(REFUSED)
        else:
            self._counters.acked += 1
        if self._ending:
            self.wake()

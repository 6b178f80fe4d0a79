"""What is done about a client that does not read: EMQX's congestion alarm, and `force_shutdown_policy`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trioemqx.config.listener import ListenerConfig
from trioemqx.errors import ReasonCode
from trioemqx.listeners.listener import Listener

if TYPE_CHECKING:
    from trioemqx.core.queue import MQueue
    from trioemqx.listeners.link import Link
    from trioemqx.services.alarms import Alarms

QUOTA_EXCEEDED: Final = ReasonCode.QUOTA_EXCEEDED.value


@attrs.define
class _Congested:
    """A client with an alarm, and when something waited for it last."""

    name: str
    last: float


class Congestion:
    """The alarm `conn_congestion/<clientid>/<username>`: raised when bytes wait for a client's socket at a sweep,
    cleared when none have for `conn_congestion.min_alarm_sustain_duration`, or when the connection ends."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._congested: dict[Link, _Congested] = {}

    def check(self, link: Link) -> None:
        """Look at one connection of a zone that wants the alarm; the sweeper does so about once a second."""
        channel = link.channel
        if channel is None or channel.session is None or not link.writing:
            return
        known = self._congested.get(link)
        if known is not None:
            known.last = trio.current_time()
            return
        name = f"conn_congestion/{channel.info.clientid}/{channel.info.username or 'unknown_user'}"
        if self._alarms.activate(name, _details(link)):
            self._congested[link] = _Congested(name, trio.current_time())

    def settle(self) -> None:
        """Clear the alarms of clients that read again or are gone."""
        now = trio.current_time()
        for link, congested in list(self._congested.items()):
            channel = link.channel
            zone = None if channel is None else channel.zone
            sustain = 0.0 if zone is None else zone.conn_congestion_min_alarm_sustain_duration
            if link.gone or now - congested.last >= sustain:
                del self._congested[link]
                self._alarms.deactivate(congested.name, _details(link))


def _details(link: Link) -> dict[str, object]:
    """EMQX's details. What only an Erlang process has (`reductions`, its heap) is 0."""
    channel = link.channel
    if channel is None:
        return {}
    info = channel.info
    listener = link.home if isinstance(link.home, Listener) else None
    config = ListenerConfig() if listener is None else listener.config
    session = channel.session
    queue = None if session is None else session.mqueue
    return {
        "socktype": info.socktype,
        "sockname": f"{info.sockname}:{info.sockport}",
        "peername": info.peername,
        "clientid": info.clientid,
        "username": info.username or "unknown_user",
        "proto_name": info.proto_name,
        "proto_ver": info.proto_ver,
        "connected_at": info.connected_at,
        "conn_state": "disconnected" if link.gone else "connected",
        "send_pend": link.backlog(),
        "recv_cnt": channel.recv_cnt,
        "recv_oct": channel.recv_oct,
        "send_cnt": link.sent_cnt,
        "send_oct": link.sent_oct,
        "high_watermark": config.high_watermark,
        "high_msgq_watermark": channel.zone.max_mqueue_len,
        "sndbuf": config.sndbuf or 0,
        "recbuf": config.recbuf or 0,
        "buffer": channel.out.high,
        "pid": os.getpid(),
        "message_queue_len": 0 if queue is None else len(queue),
        "memory": 0,
        "reductions": 0,
    }


def enforce_shutdown_policy(link: Link) -> None:
    """End a connection for which more waits in memory than `force_shutdown_policy` allows, and its session with it. A
    session on disk stays, since what was acknowledged must not be lost; without a client it takes no memory.

    What has a limit of its own is not counted: a queue with `max_mqueue_len` or `max_mqueue_bytes`, and room for two
    packets of `max_packet_size`. Neither is what of a queue is on disk only.
    """
    channel = link.channel
    if channel is None:
        return
    zone, session = channel.zone, channel.session
    queue = None if session is None else session.mqueue
    reason = ""
    count, size = (0, 0) if queue is None else _in_memory(queue)
    if zone.max_mqueue_len == 0 and 0 < zone.force_shutdown_queue_len < count:
        reason = "message_queue_too_long"
    waiting = link.backlog() + channel.framer.pending()
    if zone.max_mqueue_bytes == 0:
        waiting += size
    if zone.force_shutdown_bytes > 0 and waiting > max(zone.force_shutdown_bytes, 2 * zone.max_packet_size):
        reason = reason or "proc_heap_too_large"
    if reason:
        if session is not None and session.journal is None:
            session.expiry_interval = channel.info.expiry_interval = 0
        channel.close(QUOTA_EXCEEDED, reason)


def _in_memory(queue: MQueue) -> tuple[int, int]:
    """Messages of a queue, and their bytes, without what is on disk only."""
    lanes = queue.lanes().values()
    return len(queue) - sum(lane.tail for lane in lanes), queue.bytes - sum(lane.tail_bytes for lane in lanes)

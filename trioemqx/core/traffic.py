"""What one connection has received and written: EMQX's counters per client that a session does not hold itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioemqx.core.channel import Channel


class Traffic:
    """A copy of a connection's counters. A session keeps the one of its last connection while its client is away."""

    __slots__ = (
        "recv_cnt",
        "recv_dropped",
        "recv_oct",
        "recv_pkt",
        "recv_qos0",
        "recv_qos1",
        "recv_qos2",
        "send_cnt",
        "send_oct",
    )

    def __init__(self, channel: Channel) -> None:
        self.recv_oct = channel.recv_oct
        self.recv_cnt = channel.recv_cnt
        self.recv_pkt = channel.recv_pkt
        self.recv_qos0 = channel.recv_qos0
        self.recv_qos1 = channel.recv_qos1
        self.recv_qos2 = channel.recv_qos2
        self.recv_dropped = channel.recv_dropped
        self.send_oct = _of_link(channel.owner, "sent_oct")
        self.send_cnt = _of_link(channel.owner, "sent_cnt")


def _of_link(owner: object, name: str) -> int:
    """A counter of the connection's link, which the core does not know; a channel without one has written nothing."""
    count: object = getattr(owner, name, 0)
    return count if isinstance(count, int) else 0

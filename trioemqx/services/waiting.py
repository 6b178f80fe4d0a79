"""What waits for a client, a page at a time: its queue, and its window of unfinished messages."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

import trio

from trioemqx.core.delivery import RELEASED, SENT, Delivery
from trioemqx.core.session import Session

SHOWN: Final = 4096
"""Bytes of a payload that are shown."""
ROWS: Final = 100
"""Rows made between two turns of the other tasks."""
AWAITED: Final = {(1, SENT): "wait_puback", (2, SENT): "wait_pubrec", (2, RELEASED): "wait_pubcomp"}

Row = dict[str, object]


async def queued(session: Session, first: int, count: int) -> tuple[list[Delivery], int]:
    """(deliveries from place `first` on, at most `count`; how many there are) of a session's queue, in the order in
    which they will be sent, without taking any out."""
    await trio.lowlevel.checkpoint()
    queue = session.mqueue
    if queue is None:
        return [], 0
    return queue.items()[first : first + count], len(queue)


async def queue_rows(session: Session, first: int, count: int) -> tuple[list[Row], int]:
    """The same as rows."""
    found, total = await queued(session, first, count)
    return await _rows([(0, delivery) for delivery in found]), total


async def inflight_rows(session: Session, first: int, count: int) -> tuple[list[Row], int]:
    """(rows, how many there are) of what was sent and is not acknowledged, the oldest first."""
    items = list(session.inflight.items())
    return await _rows(items[first : first + count]), len(items)


async def _rows(items: list[tuple[int, Delivery]]) -> list[Row]:
    """A row per (packet id, delivery); 0 stands for one that has not been sent."""
    rows = []
    for packet_id, delivery in items:
        rows.append(delivery_row(delivery, packet_id))
        if len(rows) % ROWS == 0:
            await trio.lowlevel.checkpoint()
    return rows


def delivery_row(delivery: Delivery, packet_id: int = 0) -> Row:
    """One message on its way. `queued_at` is when it was published, Unix milliseconds; `payload` is base64."""
    message = delivery.message
    payload = message.payload
    row: Row = {
        "msgid": message.id,
        "topic": message.topic,
        "qos": delivery.qos,
        "retain": delivery.retain,
        "from_clientid": message.publisher,
        "queued_at": message.timestamp,
        "size": len(payload),
        "payload": b64encode(payload[:SHOWN]).decode("ascii"),
        "truncated": len(payload) > SHOWN,
    }
    if packet_id:
        row["packet_id"] = packet_id
        row["state"] = AWAITED.get((delivery.qos, delivery.state), "queued")
    return row

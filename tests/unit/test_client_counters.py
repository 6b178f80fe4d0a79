"""What is counted per client, as EMQX's client list shows it: broker.md 7.7."""

from __future__ import annotations

from trioemqx.testing import TestBroker


async def test_send_pkt_counts_every_packet_we_wrote(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="t", qos=1)
    session = broker.node.find("c")
    assert session is not None
    assert session.sent.pkt == 2, "CONNACK and SUBACK"
    await client.ping()
    assert session.sent.pkt == 3
    await client.publish("t", b"1", qos=1)
    assert (session.sent.pkt, session.sent.qos1) == (5, 1), "the PUBLISH back to us and the PUBACK"
    await client.publish("nobody", b"2", qos=2)
    assert session.sent.pkt == 7, "PUBREC and PUBCOMP"
    await client.unsubscribe("t")
    assert session.sent.pkt == 8


async def test_recv_counters_start_anew_with_each_connection(broker: TestBroker) -> None:
    first = await broker.client("c", expiry=100)
    await first.publish("t", b"1")
    await first.publish("t", b"2", qos=1)
    session = broker.node.find("c")
    assert session is not None
    channel = session.channel
    assert channel is not None
    assert (channel.recv_qos0, channel.recv_qos1, channel.recv_pkt) == (1, 1, 3)
    await broker.client("c", clean_start=False)
    channel = session.channel
    assert channel is not None
    assert (channel.recv_qos0, channel.recv_qos1, channel.recv_pkt) == (0, 0, 1)

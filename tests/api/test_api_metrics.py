"""Metrics and stats: every name from the start, and the numbers behind them."""

from __future__ import annotations

import pytest

from trioemqx.testing import TestBroker

METRICS = """
bytes.received bytes.sent client.acl.allow client.acl.cache_hit client.acl.deny client.auth.anonymous
client.auth.failure client.auth.success client.auth.success.anonymous client.authenticate client.check_acl
client.connack client.connect client.connected client.disconnected client.subscribe client.unsubscribe delivery.dropped
delivery.dropped.expired delivery.dropped.no_local delivery.dropped.qos0_msg delivery.dropped.queue_full
delivery.dropped.too_large messages.acked messages.delayed messages.delivered messages.dropped
messages.dropped.await_pubrel_timeout messages.dropped.expired messages.dropped.no_subscribers messages.forward
messages.publish messages.qos0.received messages.qos0.sent messages.qos1.received messages.qos1.sent
messages.qos2.received messages.qos2.sent messages.received messages.retained messages.sent packets.auth.received
packets.auth.sent packets.connack.auth_error packets.connack.error packets.connack.sent packets.connect.received
packets.disconnect.received packets.disconnect.sent packets.pingreq.received packets.pingresp.sent packets.puback.inuse
packets.puback.missed packets.puback.received packets.puback.sent packets.pubcomp.inuse packets.pubcomp.missed
packets.pubcomp.received packets.pubcomp.sent packets.publish.auth_error packets.publish.dropped packets.publish.error
packets.publish.inuse packets.publish.received packets.publish.sent packets.pubrec.inuse packets.pubrec.missed
packets.pubrec.received packets.pubrec.sent packets.pubrel.missed packets.pubrel.received packets.pubrel.sent
packets.received packets.sent packets.suback.sent packets.subscribe.auth_error packets.subscribe.error
packets.subscribe.received packets.unsuback.sent packets.unsubscribe.error packets.unsubscribe.received session.created
session.discarded session.resumed session.takeovered session.terminated
""".split()
STATS = """
connections live_connections channels sessions subscribers subscriptions suboptions subscriptions.shared topics routes
retained resources
""".split()


async def test_every_metric_is_there_from_the_start(broker: TestBroker) -> None:
    """GET /metrics and GET /nodes/{node}/metrics"""
    (entry,) = (await broker.api("GET", "/metrics")).data
    assert entry["node"] == broker.node.node
    assert len(METRICS) == 86
    assert {name: entry["metrics"].get(name) for name in METRICS} == dict.fromkeys(METRICS, 0)
    assert (await broker.api("GET", f"/nodes/{broker.node.node}/metrics")).data == entry["metrics"]


async def test_metrics_count(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="t", qos=1)
    await client.publish("t", b"x", qos=1)
    await client.message()
    metrics = (await broker.api("GET", f"/nodes/{broker.node.node}/metrics")).data
    assert metrics["client.connected"] == metrics["session.created"] == metrics["packets.connect.received"] == 1
    assert metrics["messages.qos1.received"] == metrics["messages.received"] == metrics["messages.publish"] == 1
    assert metrics["messages.sent"] == metrics["messages.qos1.sent"] == metrics["messages.acked"] == 1
    assert metrics["bytes.received"] > 0


async def test_every_stat_is_there_from_the_start(broker: TestBroker) -> None:
    """GET /stats and GET /nodes/{node}/stats"""
    (entry,) = (await broker.api("GET", "/stats")).data
    assert entry["node"] == broker.node.node
    assert set(entry["stats"]) == {f"{name}.{what}" for name in STATS for what in ("count", "max")}
    assert set(entry["stats"].values()) == {0}
    assert (await broker.api("GET", f"/nodes/{broker.node.node}/stats")).data == entry["stats"]


async def test_stats_remember_the_highest(broker: TestBroker) -> None:
    clients = [await broker.client(f"c{number}", subscribe="$share/g/t") for number in range(3)]
    await broker.client("away", subscribe="t", expiry=100)
    for client in clients:
        await client.subscribe("t")
    (await broker.api("GET", "/stats")).data  # noqa: B018 - gauges are read once a second, and now
    await clients[0].disconnect()
    await clients[0].closed()
    stats = (await broker.api("GET", f"/nodes/{broker.node.node}/stats")).data
    assert (stats["connections.count"], stats["connections.max"]) == (3, 4)
    assert stats["live_connections.count"] == stats["sessions.count"] == stats["channels.count"] == 3
    assert (stats["subscriptions.count"], stats["subscriptions.max"]) == (5, 7)
    assert (stats["subscriptions.shared.count"], stats["subscribers.count"]) == (2, 3)


async def test_delayed_is_there_once_its_module_is(broker: TestBroker) -> None:
    await broker.node.plugins.load("emqx_mod_delayed")
    assert "delayed.count" in (await broker.api("GET", "/stats")).data[0]["stats"]


async def test_nobody_knows_the_node(broker: TestBroker) -> None:
    for what in ("metrics", "stats"):
        assert (await broker.api("GET", f"/nodes/x@y/{what}")).status == 404
        assert (await broker.api("POST", f"/{what}")).status == 404


class TestPrometheus:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"plugins": {"load": ["emqx_prometheus"]}}

    async def test_scrape(self, broker: TestBroker) -> None:
        """GET //metrics"""
        await broker.client("c")
        answer = await broker.api("GET", "//metrics", auth=None)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert "\nemqx_connections_count 1\n" in answer.body.decode()
        asked = await broker.api("GET", "/emqx_prometheus?type=prometheus", auth=None)
        assert asked.headers == {**answer.headers, "content-length": asked.headers["content-length"]}
        assert (await broker.api("GET", "//metrics", auth=None, listener="dashboard")).status == 200

    async def test_it_is_there_as_long_as_the_plugin(self, broker: TestBroker) -> None:
        await broker.node.plugins.unload("emqx_prometheus")
        answer = await broker.api("GET", "//metrics", auth=None)
        assert (answer.status, answer.body) == (404, b"")

    async def test_nothing_else_is_there(self, broker: TestBroker) -> None:
        for method, path in (("GET", "//metrics/x"), ("POST", "//metrics"), ("GET", "//Metrics")):
            assert (await broker.api(method, path, auth=None)).status == 404


class TestPrometheusWithLogin:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"plugins": {"load": ["emqx_prometheus"]}, "management": {"prometheus_needs_login": True}}

    async def test_credentials_are_asked_for(self, broker: TestBroker) -> None:
        answer = await broker.api("GET", "//metrics", auth=None)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Basic Realm="minirest-server"'
        assert (await broker.api("GET", "//metrics", auth="admin:wrong")).status == 401
        assert (await broker.api("GET", "//metrics")).status == 200

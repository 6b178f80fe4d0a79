"""EMQX's names with the broker's values, in a format that Prometheus reads, for who asks and at a push gateway."""

from __future__ import annotations

import logging
import string
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

import attrs
import h11
import psutil
import pytest
import trio
import trio.testing

from trioemqx.plugin import PluginError
from trioemqx.testing import TestBroker, running

NAME = "emqx_prometheus"
FILE = Path(__file__)


def config(server: str = "", **more: object) -> dict[str, object]:
    return {"prometheus": {"push": {"gateway": {"server": server}}, **more}, "node": {"name": "emqx@10.0.0.7"}}


@pytest.fixture
def broker_config() -> dict[str, object]:
    return config()


@attrs.frozen
class Family:
    kind: str
    help: str
    value: float


def parse(text: str) -> dict[str, Family]:
    """The text format, strictly: HELP, TYPE and one sample of each name, in this order, nothing else."""
    first = set(string.ascii_letters + "_:")
    found: dict[str, Family] = {}
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    assert len(lines) % 3 == 0
    for about, kind, sample in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        name, value = sample.split(" ")
        assert name[0] in first
        assert set(name) <= first | set(string.digits)
        assert name not in found, f"{name} twice"
        assert about.startswith(f"# HELP {name} ")
        assert kind in (f"# TYPE {name} gauge", f"# TYPE {name} counter")
        assert "\\" not in about.replace("\\\\", "").replace("\\n", "")
        found[name] = Family(kind.rpartition(" ")[2], about.removeprefix(f"# HELP {name} "), float(value))
    return found


def shown(broker: TestBroker) -> dict[str, Family]:
    return parse(broker.node.plugins.plugin(NAME).render_text())


# -- names -----------------------------------------------------------------------------------------------------------

EXAMPLES = """
emqx_connections_count emqx_live_connections_count emqx_sessions_count emqx_subscriptions_shared_max
emqx_retained_count emqx_bytes_received emqx_packets_publish_received emqx_messages_dropped_no_subscribers
emqx_delivery_dropped_queue_full emqx_client_connected emqx_session_created emqx_client_auth_success
emqx_client_acl_deny emqx_packets_connect emqx_messages_dropped_expired emqx_client_auth_anonymous
emqx_messages_received
""".split()
MACHINE = """
emqx_vm_cpu_use emqx_vm_cpu_idle emqx_vm_run_queue emqx_vm_process_messages_in_queues emqx_vm_total_memory
emqx_vm_used_memory
""".split()
CLUSTER = ["emqx_cluster_nodes_running", "emqx_cluster_nodes_stopped"]


def emqxs(broker: TestBroker) -> set[str]:
    """The names of the broker's own metrics."""
    found = {name for name in broker.metrics if not name.startswith("plugin.")}
    assert len(found) == 86
    return found


async def test_the_names_are_emqxs(broker: TestBroker) -> None:
    found = shown(broker)
    for name in [*EXAMPLES, *MACHINE, *CLUSTER]:
        assert name in found, name
    assert found["emqx_packets_connect"].help == "EMQX metric packets.connect.received"
    for name in ("emqx_packets_connect_received", "emqx_channels_count", "emqx_client_connect", "emqx_client_connack"):
        assert name not in found, name


async def test_every_metric_and_stat_is_there_and_of_its_kind(broker: TestBroker) -> None:
    found = shown(broker)
    for source in emqxs(broker):
        if source not in ("client.connect", "client.connack", "packets.connect.received"):
            gauge = source in ("messages.retained", "messages.delayed")
            assert found["emqx_" + source.replace(".", "_")].kind == ("gauge" if gauge else "counter")
    for source in broker.node.stats():
        if not source.startswith("channels."):
            assert found["emqx_" + source.replace(".", "_")].kind == "gauge"
    assert all(found[name].kind == "gauge" for name in [*MACHINE, *CLUSTER])


async def test_the_json_has_emqxs_groups_and_names(broker: TestBroker) -> None:
    found = broker.node.plugins.plugin(NAME).render_json()
    assert list(found) == ["stats", "metrics", "packets", "messages", "delivery", "client", "session"]
    assert sorted(found["metrics"]) == sorted(MACHINE)
    hidden = "acl.allow acl.deny acl.cache_hit auth.success auth.failure connect connack".split()
    sources = emqxs(broker) - {f"client.{name}" for name in hidden}
    for group in ("packets", "messages", "delivery", "client", "session"):
        words = (f"{group}.", "bytes.") if group == "packets" else (f"{group}.",)
        names = {"emqx_" + source.replace(".", "_") for source in sources if source.startswith(words)}
        if group == "packets":
            names = names - {"emqx_packets_connect_received"} | {"emqx_packets_connect"}
        assert set(found[group]) == names
    stats = {name for name in broker.node.stats() if not name.startswith("channels.")}
    assert set(found["stats"]) == {"emqx_" + name.replace(".", "_") for name in stats}


async def test_a_plugins_counters_and_gauges_are_shown(broker: TestBroker) -> None:
    context = broker.node.plugins.plugin(NAME).context
    context.metrics.counter("plugin.my_plugin.things.done").inc(3)
    context.metrics.counter("webhook.client_connect").inc()
    context.metrics.counter('plugin.a/b c-\nd"é{x}').inc(2)
    context.metrics.counter("plugin.my_plugin.things_done").inc(9)
    context.metrics.gauge("delayed", lambda: 5)
    found = shown(broker)
    assert found["emqx_plugin_my_plugin_things_done"] == Family(
        "counter", "EMQX metric plugin.my_plugin.things.done", 3
    )
    assert found["emqx_webhook_client_connect"].value == 1
    assert found["emqx_plugin_a_b_c__d___x_"] == Family("counter", 'EMQX metric plugin.a/b c-\\nd"é{x}', 2)
    assert found["emqx_delayed_count"] == Family("gauge", "EMQX stat delayed.count", 5)
    assert "emqx_plugin_my_plugin_things_done" not in str(broker.node.plugins.plugin(NAME).render_json())


# -- values ----------------------------------------------------------------------------------------------------------


async def test_the_values_are_the_brokers(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="a")
    for _ in range(3):
        await client.publish("a", b"x", qos=1)
        await client.message()
    await client.publish("nobody", qos=1)
    found = {name: family.value for name, family in shown(broker).items()}
    assert found["emqx_connections_count"] == found["emqx_live_connections_count"] == found["emqx_sessions_count"] == 1
    assert found["emqx_packets_connect"] == found["emqx_client_connected"] == found["emqx_session_created"] == 1
    assert found["emqx_messages_received"] == found["emqx_packets_publish_received"] == 4
    assert found["emqx_messages_sent"] == 3
    assert found["emqx_messages_dropped_no_subscribers"] == 1
    assert found["emqx_bytes_received"] == broker.metrics["bytes.received"] > 0
    grouped = broker.node.plugins.plugin(NAME).render_json()
    assert grouped["packets"]["emqx_packets_publish_received"] == 4
    assert grouped["stats"]["emqx_connections_max"] == 1


async def test_the_machines_gauges_are_real(broker: TestBroker) -> None:
    found = {name: family.value for name, family in shown(broker).items()}
    assert found["emqx_vm_total_memory"] == psutil.virtual_memory().total
    assert 0 < found["emqx_vm_used_memory"] < found["emqx_vm_total_memory"]
    assert 0 <= found["emqx_vm_cpu_use"] <= 100
    assert found["emqx_vm_cpu_use"] + found["emqx_vm_cpu_idle"] == pytest.approx(100)
    assert found["emqx_vm_run_queue"] >= 0


async def test_the_processors_share_is_that_since_the_last_reading(
    broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spend(user: float, idle: float, iowait: float = 0.0, guest: float = 0.0) -> float:
        for name, seconds in {"user": user, "idle": idle, "iowait": iowait, "guest": guest}.items():
            times[name] += seconds
        return shown(broker)["emqx_vm_cpu_use"].value

    real = psutil.cpu_times()
    times = {**dict.fromkeys(real._fields, 0.0), "guest": 0.0, "iowait": 0.0}
    monkeypatch.setattr(psutil, "cpu_times", lambda: real._replace(**times))
    spend(1e9, 1e9)
    assert spend(30, 70) == 30
    assert spend(0.5, 0) == 30, "a second reader at once gets the same"
    assert spend(0, 99.5) == 0.5
    assert spend(10, 40, iowait=50) == 10, "waiting for a disk is not busy"
    assert spend(60, 40, guest=60) == 60, "a guest is not counted twice"


async def test_messages_that_wait_are_counted(broker: TestBroker) -> None:
    sleeper = await broker.client("sleeper", subscribe="q", qos=1, expiry=1000)
    await sleeper.disconnect()
    client = await broker.client("c")
    for _ in range(7):
        await client.publish("q", qos=1)
    await trio.sleep(16)
    assert shown(broker)["emqx_vm_process_messages_in_queues"].value == 7


async def test_nodes_are_counted_as_they_come_and_go(broker: TestBroker) -> None:
    def nodes() -> tuple[float, ...]:
        return tuple(shown(broker)[name].value for name in CLUSTER)

    send, receive = trio.open_memory_channel[tuple[str, bool]](10)
    broker.node.members = lambda: receive
    await broker.reload_plugin(NAME)
    assert nodes() == (1, 0)
    for node, up, expected in [("b", True, (2, 0)), ("c", True, (3, 0)), ("b", False, (2, 1)), ("b", True, (3, 0))]:
        await send.send((node, up))
        await trio.testing.wait_all_tasks_blocked()
        assert nodes() == expected
    await send.send(("c", False))
    await trio.testing.wait_all_tasks_blocked()
    await broker.reload_plugin(NAME)
    assert nodes() == (2, 1), "who is away is still known after a reload"


async def test_this_node_runs(broker: TestBroker) -> None:
    await trio.testing.wait_all_tasks_blocked()
    async with aclosing(broker.node.members()) as members:
        assert await anext(members) == ("emqx@10.0.0.7", True)
    assert [shown(broker)[name].value for name in CLUSTER] == [1, 0]


async def test_the_command_prints_the_text(broker: TestBroker) -> None:
    lines = await broker.ctl("prometheus show")
    assert parse("\n".join(lines) + "\n")["emqx_connections_count"].value == 0
    await broker.node.plugins.unload(NAME)
    assert (await broker.ctl("prometheus show"))[0] == "Usage: emqx_ctl"
    assert not [name for name in broker.metrics if name.startswith("plugin.")]


# -- the push gateway ------------------------------------------------------------------------------------------------


@attrs.define
class Pushed:
    target: str
    headers: dict[str, str]
    body: bytes


class PushServer:
    """Takes pushes; `status` is its answer, or `instead` is done to the stream."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.instead: Callable[[], Awaitable[None]] | None = None
        self.pushes: list[Pushed] = []
        self.url = ""

    async def open(self, nursery: trio.Nursery, port: int = 0) -> None:
        (listener,) = await nursery.start(partial(trio.serve_tcp, self._serve, port, host="127.0.0.1"))
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            while await self._take(stream):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _take(self, stream: trio.SocketStream) -> bool:
        protocol = h11.Connection(h11.SERVER)
        body, head = b"", None
        while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                protocol.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.ConnectionClosed):
                return False
        assert head is not None
        assert head.method == b"POST"
        headers = {name.decode(): value.decode() for name, value in head.headers}
        self.pushes.append(Pushed(head.target.decode(), headers, body))
        if self.instead is not None:
            await self.instead()
            return False
        length = [("Content-Length", str(len(self.body)))]
        data = protocol.send(h11.Response(status_code=self.status, headers=length)) or b""
        await stream.send_all(data + (protocol.send(h11.Data(self.body)) or b""))
        return True


@pytest.fixture
async def server(nursery: trio.Nursery) -> PushServer:
    found = PushServer()
    await found.open(nursery)
    return found


async def until(true: Callable[[], object]) -> None:
    """Wait for what another program has a part in."""
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110 - the plugin knows no events
            await trio.sleep(0.01)


async def test_metrics_are_pushed_at_intervals_under_the_nodes_name(server: PushServer) -> None:
    async with running(config(server.url, interval=100), project=FILE) as broker:
        await broker.client("c")
        await until(lambda: len(server.pushes) >= 3)
        push = server.pushes[-1]
        assert push.target == "/metrics/job/emqx/instance/emqx~10.0.0.7"
        assert push.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = parse(push.body.decode())
        assert found["emqx_connections_count"].value == 1
        assert found["emqx_plugin_emqx_prometheus_pushed"].value >= 1
        await broker.node.plugins.unload(NAME)
        count = len(server.pushes)
        await trio.sleep(0.3)
        assert len(server.pushes) == count, "unloading ends it"


async def test_a_gateway_may_live_below_a_path_and_want_a_password(
    server: PushServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trioemqx")
    server.status, server.body = 400, b"text format parsing error\nline two"
    url = server.url.replace("//", "//me:s3cret@") + "/gate/"
    async with running(config(url, interval="100ms"), project=FILE) as broker:
        await until(lambda: "prometheus_push_failed" in broker.alarms())
        push = server.pushes[0]
        assert push.target == "/gate/metrics/job/emqx/instance/emqx~10.0.0.7"
        assert push.headers["authorization"] == "Basic bWU6czNjcmV0"
        assert "it answered 400 'text format parsing error'" in caplog.text
        assert "s3cret" not in f"{caplog.text} {broker.alarms()} {broker.node.plugins.plugin(NAME).config}"


async def test_failures_are_told_once_then_by_an_alarm_until_it_works(
    server: PushServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.status = 500
    async with running(config(server.url, interval="100ms"), project=FILE) as broker:
        await until(lambda: "prometheus_push_failed" in broker.alarms())
        assert len(server.pushes) >= 3
        assert broker.alarms()["prometheus_push_failed"] == {"url": f"{server.url}/", "error": "it answered 500"}
        await until(lambda: len(server.pushes) >= 6)
        assert caplog.text.count("nothing pushed to") == 1
        await broker.reload_plugin(NAME)
        assert "prometheus_push_failed" in broker.alarms(), "also over a reload"
        await until(lambda: len(server.pushes) >= 9)
        assert caplog.text.count("nothing pushed to") == 1
        server.status = 202
        await until(lambda: "prometheus_push_failed" not in broker.alarms())
        assert "takes metrics again" in caplog.text
        server.status = 500
        await until(lambda: "prometheus_push_failed" in broker.alarms())
        await broker.node.plugins.unload(NAME)
        assert "prometheus_push_failed" not in broker.alarms()


async def test_a_gateway_that_hangs_holds_up_nothing(server: PushServer) -> None:
    server.instead = trio.sleep_forever
    async with running(config(server.url, interval="100ms"), project=FILE) as broker:
        await until(lambda: len(server.pushes) >= 2)
        await (await broker.client("c")).ping()
        assert broker.metrics[f"plugin.{NAME}.push_failed"] >= 1
        assert shown(broker)["emqx_connections_count"].value == 1


async def test_the_shipped_gateway_that_nobody_runs_is_one_line_and_no_alarm(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def nobody(*args: object, **more: object) -> trio.SocketStream:
        raise OSError("refused")

    monkeypatch.setattr(trio, "open_tcp_stream", nobody)
    async with running({"prometheus": {"interval": "100ms"}}, project=FILE) as broker:
        failed = f"plugin.{NAME}.push_failed"
        await until(lambda: broker.metrics[failed] >= 5)
        lines = [line for line in caplog.messages if "9091" in line]
        assert lines == [
            "nothing pushed to http://127.0.0.1:9091/: refused; without a gateway set prometheus.push.gateway.server = "
            '""'
        ]
        assert not broker.alarms()


async def test_without_a_server_nothing_is_pushed(broker: TestBroker) -> None:
    await trio.sleep(100)
    assert f"plugin.{NAME}.push_failed" not in broker.metrics


async def test_what_is_wrong_with_settings_is_said_in_one_line(broker: TestBroker) -> None:
    plugins = broker.node.plugins
    for table, said in [
        ({"interval": 15}, "a bare number is milliseconds"),
        ({"interval": "0s"}, '"100ms" or more'),
        ({"interval": "often"}, "a duration"),
        ({"push": {"gateway": {"server": "9091"}}}, "http://host:port/path"),
        ({"push": {"gateway": {"servers": "x"}}}, "did you mean server"),
        ({"push": {"gateway": {"server": "https://127.0.0.1/", "cacertfile": "/no/such"}}}, "gateway.cacertfile"),
    ]:
        broker.node.config.prometheus.clear()
        broker.node.config.prometheus.update(table)
        with pytest.raises(PluginError, match=said.replace(".", r"\.")) as caught:
            await plugins.reload(NAME)
        assert "\n" not in str(caught.value)
    assert shown(broker), "the old one goes on"


@pytest.mark.parametrize(("written", "seconds"), [(15000, 15), ("15000", 15), ("15s", 15), ("250ms", 0.25), (None, 15)])
async def test_an_interval_is_milliseconds_or_has_a_unit(
    autojump_clock: object, written: object, seconds: float
) -> None:
    more = {} if written is None else {"interval": written}
    async with running(config("", **more), project=FILE) as broker:
        assert broker.node.plugins.plugin(NAME).config.seconds == seconds


async def test_emqxs_collectors_are_accepted(autojump_clock: object, caplog: pytest.LogCaptureFixture) -> None:
    async with running(config("", collector={"1": "prometheus_vm", "2": "x"}), project=FILE) as broker:
        assert broker.node.plugins.plugin(NAME).config.collector == ("prometheus_vm", "x")
        assert "not used" in caplog.text

"""One broker process for the clients of other people."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / "process"), str(HERE.parent / "listeners")]

from broker_process import BrokerProcess, Dialer  # noqa: E402
from layer_peers import Authority  # noqa: E402

from trioemqx.services.certificates import ensure_self_signed  # noqa: E402

# MQTT.js asks for the subprotocol mqttv3.1 when it speaks MQTT 3.1; EMQX's defaults do not have that one.
CONFIG = """
allow_anonymous = true
acl_nomatch = "allow"
log.level = "info"

[zone.default]
ignore_loop_deliver = false
max_inflight = 32
max_awaiting_rel = 10
max_packet_size = "64KB"
max_topic_alias = 10
response_information = "answers/"

[zone.narrow]
max_topic_levels = 4
max_qos_allowed = 1
wildcard_subscription = false
shared_subscription = false
retain_available = false

[zone.kept]
server_keepalive = 1

[zone.named]
mountpoint = "from/%u/"

[listener.tcp]
main = "127.0.0.1:0"
narrow = {{ bind = "127.0.0.1:0", zone = "narrow" }}
kept = {{ bind = "127.0.0.1:0", zone = "kept" }}

[listener.ssl.main]
bind = "127.0.0.1:0"
keyfile = "{folder}/key.pem"
certfile = "{folder}/cert.pem"

[listener.ssl.named]
bind = "127.0.0.1:0"
zone = "named"
keyfile = "{folder}/key.pem"
certfile = "{folder}/cert.pem"
cacertfile = "{clients}"
verify = "verify_peer"
fail_if_no_peer_cert = true
peer_cert_as_username = "cn"

[listener.ws.main]
bind = "127.0.0.1:0"
supported_subprotocols = "mqtt, mqttv3.1"

[listener.wss.main]
bind = "127.0.0.1:0"
supported_subprotocols = "mqtt, mqttv3.1"
keyfile = "{folder}/key.pem"
certfile = "{folder}/cert.pem"
"""


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem, key.pem and cacert.pem of the broker, and client.pem of a client called `pump-1`."""
    folder = tmp_path_factory.mktemp("interop-certificates")
    ensure_self_signed(folder, ["127.0.0.1", "localhost"])
    authority = Authority(folder, "clients")
    shutil.copy(authority.issue("pump-1").file, folder / "client.pem")
    return folder


@pytest.fixture(scope="session")
def running_broker(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[BrokerProcess]:
    config = CONFIG.format(folder=certificates, clients=certificates / "clients-clients.pem")
    process = BrokerProcess(tmp_path_factory.mktemp("interop-broker"), config)
    try:
        yield process.wait_ready()
        assert process.stop() == 0
        assert "Traceback" not in process.output + process.log()
    finally:
        process.kill()


@pytest.fixture
def broker(running_broker: BrokerProcess) -> Iterator[BrokerProcess]:
    """The broker; what it printed and logged is shown when the test fails."""
    yield running_broker
    running_broker.show()


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that is this test's own: the broker outlives it."""
    return "".join(letter if letter.isalnum() else "_" for letter in request.node.nodeid.rpartition("/")[2])


@pytest.fixture
def name(topic: str) -> str:
    """A client id that is this test's own."""
    return topic


@pytest.fixture
async def dialer(broker: BrokerProcess):
    """Test clients on the TCP listener; they end with the test."""
    found = Dialer(broker.port())
    yield found
    await found.close()

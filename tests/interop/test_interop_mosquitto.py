"""mosquitto's command line clients against our broker."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from broker_process import PATIENCE
from interop_peers import need

VERSIONS = pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])


class Subscriber:
    """`mosquitto_sub` with debug output: `lines` are the messages, `notes` the rest."""

    def __init__(self, *arguments: str) -> None:
        command = ["stdbuf", "-oL", need("mosquitto_sub"), "-d", "-W", str(int(PATIENCE)), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._subscribed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ready(self) -> Subscriber:
        """Wait for the SUBACK, or for the end: messages of a session may come before it."""
        assert self._subscribed.wait(PATIENCE), self.lines
        return self

    def messages(self) -> list[str]:
        """What it printed, once it has as many messages as `-C` says."""
        assert self.process.wait(PATIENCE) == 0, self.lines
        self._reader.join(PATIENCE)
        return [line for line in self.lines if not line.startswith(("Client ", "Subscribed"))]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "Subscribed (mid" in line:
                self._subscribed.set()
        self._subscribed.set()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    started: list[Subscriber] = []

    def start(*arguments: str) -> Subscriber:
        started.append(Subscriber(*arguments))
        return started[-1].ready()

    yield start
    for one in started:
        one.kill()
        print("\n".join(one.lines))


def publish(*arguments: str, works: bool = True) -> str:
    done = subprocess.run(
        [need("mosquitto_pub"), *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode == 0) is works, done.stderr
    return done.stderr


def to(broker, version: str = "mqttv5", kind: str = "tcp", listener: str = "main") -> list[str]:
    return ["-h", "127.0.0.1", "-p", str(broker.port(kind, listener)), "-V", version]


@VERSIONS
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_publish_and_subscribe(broker, subscribe, topic, version, qos):
    receiver = subscribe(*to(broker, version), "-t", f"{topic}/+", "-q", qos, "-v", "-C", "3")

    for index in range(3):
        publish(*to(broker, version), "-t", f"{topic}/{index}", "-m", f"text {index}", "-q", qos)

    assert receiver.messages() == [f"{topic}/{index} text {index}" for index in range(3)]


def test_many_lines_at_qos_2_arrive_in_order(broker, subscribe, topic):
    receiver = subscribe(*to(broker), "-t", topic, "-q", "2", "-C", "500")

    subprocess.run(
        [need("mosquitto_pub"), *to(broker), "-t", topic, "-q", "2", "-l"],
        input="".join(f"{index}\n" for index in range(500)),
        text=True,
        timeout=PATIENCE,
        check=True,
    )

    assert receiver.messages() == [str(index) for index in range(500)]


@VERSIONS
def test_retained_messages_come_first_and_can_be_cleared(broker, subscribe, topic, version):
    publish(*to(broker, version), "-t", topic, "-m", "kept", "-r", "-q", "1")
    assert subscribe(*to(broker, version), "-t", topic, "-C", "1", "-F", "%r %p").messages() == ["1 kept"]

    publish(*to(broker, version), "-t", topic, "-n", "-r", "-q", "1")
    receiver = subscribe(*to(broker, version), "-t", topic, "-C", "1", "-F", "%r %p")
    publish(*to(broker, version), "-t", topic, "-m", "live")
    assert receiver.messages() == ["0 live"]


@VERSIONS
def test_a_killed_client_leaves_its_will(broker, subscribe, topic, version):
    watcher = subscribe(*to(broker, version), "-t", f"{topic}/will", "-C", "1", "-v", "-q", "1")
    dying = subscribe(
        *to(broker, version), "-t", topic, "--will-topic", f"{topic}/will", "--will-payload", "gone", "--will-qos", "1"
    )
    dying.kill()

    assert watcher.messages() == [f"{topic}/will gone"]


def test_a_session_waits_for_its_client(broker, subscribe, topic, name):
    session = [*to(broker), "-i", name, "-c", "-x", "60", "-t", topic, "-q", "1"]
    subscribe(*session).kill()

    for index in range(3):
        publish(*to(broker), "-t", topic, "-m", str(index), "-q", "1")

    assert subscribe(*session, "-C", "3").messages() == ["0", "1", "2"]


def test_mqtt_5_properties_pass_through(broker, subscribe, topic):
    shape = "%p|%C|%R|%D|%P|%F|%E"
    receiver = subscribe(*to(broker), "-t", topic, "-C", "1", "-F", shape)
    properties = {
        "content-type": "text/plain",
        "response-topic": "answer/here",
        "correlation-data": "4711",
        "payload-format-indicator": "1",
        "message-expiry-interval": "100",
    }
    arguments = [word for key, value in properties.items() for word in ("-D", "PUBLISH", key, value)]

    publish(*to(broker), "-t", topic, "-m", "x", *arguments, "-D", "PUBLISH", "user-property", "colour", "blue")

    assert receiver.messages() == ["x|text/plain|answer/here|4711|colour:blue|1|100"]


@VERSIONS
def test_tls_with_the_authority(broker, certificates, subscribe, topic, version):
    secure = [*to(broker, version, "ssl"), "--cafile", str(certificates / "cacert.pem")]
    receiver = subscribe(*secure, "-t", topic, "-C", "1", "-q", "2")

    publish(*secure, "-t", topic, "-m", "sealed", "-q", "2")

    assert receiver.messages() == ["sealed"]


def test_tls_with_a_client_certificate(broker, certificates, subscribe, topic):
    receiver = subscribe(*to(broker), "-t", f"from/+/{topic}", "-v", "-C", "1")
    secure = [*to(broker, kind="ssl", listener="named"), "--cafile", str(certificates / "cacert.pem")]
    client = str(certificates / "client.pem")

    publish(*secure, "-t", topic, "-m", "no", "-q", "1", works=False)
    publish(*secure, "--cert", client, "--key", client, "-t", topic, "-m", "yes", "-q", "1", "-u", "pretended")

    assert receiver.messages() == [f"from/pump-1/{topic} yes"]


def test_a_shared_subscription_gets_each_message_once(broker, subscribe, topic):
    shared = [*to(broker), "-t", f"$share/team/{topic}", "-q", "1", "-C", "5"]
    members = [subscribe(*shared, "-i", f"{topic}{index}") for index in range(2)]

    for index in range(10):
        publish(*to(broker), "-t", topic, "-m", str(index), "-q", "1", "-i", "one-publisher")

    received = [message for member in members for message in member.messages()]
    assert sorted(received, key=int) == [str(index) for index in range(10)]

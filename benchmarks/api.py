"""The HTTP API under load: lists with many clients connected, publishing by HTTP, and what both cost MQTT.

A client of its own, with one kept-alive connection: `http.client` would measure itself.
"""

from __future__ import annotations

import base64
import json
import socket
import statistics
import threading
import time
from dataclasses import dataclass, field

import load
from brokers import Broker
from client import Client

LISTS = {
    "clients, first page of 100": "/clients?_limit=100",
    "clients, `_like_clientid`, no hit": "/clients?_like_clientid=nobody&_limit=100",
    "clients, four filters, page 5": "/clients?zone=external&proto_ver=4&conn_state=connected&_like_clientid=9"
    "&_page=5&_limit=100",
    "subscriptions, page 500 of 100": "/subscriptions?_page=500&_limit=100",
    "subscriptions, `qos`, `_match_topic`": "/subscriptions?qos=0&_match_topic=bench%2F%2B%2F7&_limit=100",
    "routes, page 500 of 100": "/routes?_page=500&_limit=100",
}
PACED = "-P 50 -S 50 -T 50 -r 100 -w 100 -q 0"
PULLED = "-P 10 -S 10 -T 10 -q 0 -w 100"


class Http:
    """One kept-alive connection to the API."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        token = base64.b64encode(b"admin:public").decode()
        self.head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {token}\r\n"
        self.held = b""

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer. Raises OSError unless it is a success."""
        head = f"{method} /api/v4{path} {self.head}Content-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        while b"\r\n\r\n" not in self.held:
            self._more()
        found, self.held = self.held.split(b"\r\n\r\n", 1)
        length = int(found.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(self.held) < length:
            self._more()
        answer, self.held = self.held[:length], self.held[length:]
        if not answer.startswith(b'{"code":0'):
            raise OSError(f"{path}: {answer[:200]!r}")
        return answer

    def _more(self) -> None:
        got = self.socket.recv(1 << 20)
        if not got:
            raise OSError("the API closed the connection")
        self.held += got


@dataclass
class Api:
    """Milliseconds (median, slowest) by list; requests and messages a second; MQTT with and without lists. The waits
    are the slowest answers, in milliseconds, to a client that sends PINGREQ each millisecond and nobody else: how long
    a list keeps the event loop to itself."""

    lists: dict[str, tuple[float, float]] = field(default_factory=dict)
    single_per_s: float = 0.0
    batch_per_s: float = 0.0
    quiet_per_s: float = 0.0
    pulled_per_s: float = 0.0
    quiet: load.Load = field(default_factory=load.Load)
    pulled: load.Load = field(default_factory=load.Load)
    quiet_wait: float = 0.0
    pulled_wait: float = 0.0


def measure(broker: Broker, clients: int, each: int, seconds: int) -> Api:
    """With `clients` connected and `each` subscriptions of every one; the broker is running."""
    found = Api()
    held = []
    for number in range(clients):
        client = Client(broker.port, f"client-{number}")
        client.subscribe([f"bench/{number}/{place}" for place in range(each)], deadline=time.monotonic() + 30)
        held.append(client)
    time.sleep(12)  # until the collector has seen what connecting left behind
    http = Http(broker.http_port)
    http.request("GET", "/brokers")  # the first one proves who we are, which takes its time
    for title, path in LISTS.items():
        found.lists[title] = _timed(http, path, 30)
    found.single_per_s = _publishing(http, 1, seconds)
    found.batch_per_s = _publishing(http, 100, seconds) * 100
    found.quiet_wait = slowest_ping(broker.port, seconds)
    found.quiet = load.run(broker.port, PACED, seconds)
    found.quiet_per_s = load.run(broker.port, PULLED, seconds).delivered_per_s
    stop = threading.Event()
    puller = threading.Thread(target=_pull, args=(Http(broker.http_port), stop))
    puller.start()
    try:
        found.pulled_wait = slowest_ping(broker.port, seconds)
        found.pulled = load.run(broker.port, PACED, seconds)
        found.pulled_per_s = load.run(broker.port, PULLED, seconds).delivered_per_s
    finally:
        stop.set()
        puller.join()
        for client in held:
            client.close()
    return found


def _timed(http: Http, path: str, rounds: int) -> tuple[float, float]:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        http.request("GET", path)
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times), max(times)


def slowest_ping(port: int, seconds: float) -> float:
    """The longest time between a PINGREQ and its PINGRESP, in ms."""
    client = Client(port, "pings")
    slowest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        client.socket.sendall(b"\xc0\0")
        client.exactly(2)
        slowest = max(slowest, time.perf_counter() - begin)
        time.sleep(0.001)
    client.close()
    return slowest * 1000


def _publishing(http: Http, batch: int, seconds: float) -> float:
    """Requests a second."""
    message = {"topic": "api/topic", "payload": "x" * 64, "clientid": "api", "qos": 0}
    body = json.dumps(message if batch == 1 else [message] * batch).encode()
    path = "/mqtt/publish" if batch == 1 else "/mqtt/publish_batch"
    done, begin = 0, time.monotonic()
    while time.monotonic() - begin < seconds:
        http.request("POST", path, body)
        done += 1
    return done / (time.monotonic() - begin)


def _pull(http: Http, stop: threading.Event) -> None:
    """Five filtered lists a second, as a dashboard with a few people in front of it."""
    paths = list(LISTS.values())
    number = 0
    while not stop.wait(0.2):
        http.request("GET", paths[number % len(paths)])
        number += 1

"""What an open dashboard costs a broker with many clients.

    python benchmarks/dashboard.py              about a minute and a half; prints a table
    python benchmarks/dashboard.py --python PATH --clients 2000

A browser with the overview open has one WebSocket with a sample a second; beside it a page of the clients is asked for
every ten seconds. Processor time is the process's own, so a busy machine does not count. What holds the loop is seen by
a client that sends PINGREQs.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

import brokers
from api import slowest_ping
from brokers import Broker, Unavailable
from crowd import Crowd
from report import markdown

SLOW = 10.0
"""Seconds between two pages of clients."""


class Browser:
    """A session of the dashboard, its WebSocket, and how many samples have come."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        body = json.dumps({"username": "admin", "password": "public"}).encode()
        asked = urllib.request.Request(f"http://{self.host}/session", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.socket = socket.create_connection(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /feed HTTP/1.1",
            f"Host: {self.host}",
            f"Origin: http://{self.host}",
            f"Cookie: {self.cookie}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.samples = 0

    def watch(self, over: threading.Event) -> None:
        """Read what comes, and ask for a page of clients now and then."""
        self.socket.settimeout(0.2)
        due = time.monotonic()
        while not over.is_set():
            try:
                self.samples += self.socket.recv(1 << 20).count(b'"sample"')
            except TimeoutError:
                continue
            finally:
                if time.monotonic() >= due:
                    due += SLOW
                    self.page()
        self.socket.close()

    def page(self) -> None:
        """The first page of the list of clients."""
        asked = urllib.request.Request(
            f"http://{self.host}/api/v4/clients?_page=1&_limit=50", headers={"Cookie": self.cookie}
        )
        with urllib.request.urlopen(asked) as answer:
            found = json.load(answer)
            if len(found["data"]) != min(50, found["meta"]["count"]):
                raise OSError(f"a page of clients is not whole: {found['meta']}")


def share(broker: Broker, seconds: float) -> float:
    """Processor time as a part of a core, in per cent."""
    before = broker.processor_time()
    time.sleep(seconds)
    return (broker.processor_time() - before) / seconds * 100


def measure(broker: Broker, clients: int, seconds: float) -> list[list[str]]:
    """Rows of the table."""
    crowd = Crowd(broker.port, "held", clients)
    connected = crowd.connect(60).connected
    if connected < clients:
        raise Unavailable(f"{connected:,} of {clients:,} clients were connected within a minute")
    time.sleep(2)
    alone, ping = share(broker, seconds), slowest_ping(broker.port, seconds / 2)
    browser = Browser(broker.http_port)
    over = threading.Event()
    thread = threading.Thread(target=browser.watch, args=(over,))
    thread.start()
    time.sleep(2)
    watched, slow = share(broker, seconds), slowest_ping(broker.port, seconds / 2)
    over.set()
    thread.join()
    crowd.close()
    return [
        ["processor, nobody looks", f"{alone:.1f} % of a core"],
        ["with a browser", f"{watched:.1f} % of a core"],
        ["slowest PINGRESP, nobody looks", f"{ping:.1f} ms"],
        ["with a browser", f"{slow:.1f} ms"],
        ["samples that came in the time", f"{browser.samples}"],
    ]


def main() -> int:
    """Measure and print; 1 when it cannot be done here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter with trioemqx compiled")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20, help="length of one measurement")
    options = parser.parse_args()
    brokers.raise_file_limit()
    try:
        broker = brokers.ours(
            "dashboard", options.python, brokers.free_port(), native=True, config=brokers.SHIPPED, door="dashboard"
        )
        broker.start()
        try:
            rows = measure(broker, options.clients, options.seconds)
            broker.check()
        finally:
            broker.stop()
    except (Unavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(markdown([f"{options.clients:,} clients connected", "compiled"], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

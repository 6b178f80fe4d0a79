"""Stand-ins for what services talk to."""

from __future__ import annotations

import trio

from trioemqx.metrics import Metrics
from trioemqx.services.store.memory import MemoryStore


def opened_store():
    """An open store, also for tests that are not async (and therefore not for use inside Trio)."""
    store = MemoryStore()
    trio.run(store.open)
    return store


class Wall:
    """A wall clock that stands still until told otherwise."""

    def __init__(self, now=1_700_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


class FakeBroker:
    """Remembers what was published and who was kicked; its clock is Trio's."""

    node = "emqx@127.0.0.1"
    version = "1.2.3"

    def __init__(self):
        self.counters = Metrics()
        self.published = []
        self.kicked = []
        self.gauges = {"connections.count": 3, "connections.max": 5}

    @property
    def metrics(self) -> dict[str, int]:
        return self.counters.values()

    def now(self):
        return trio.current_time()

    def publish(self, message):
        self.published.append(message)
        return 0

    def kick(self, clientid):
        self.kicked.append(clientid)
        return True

    def stats(self):
        return dict(self.gauges)

    def last(self, suffix):
        """The payload last published to a topic that ends in `suffix`, or None."""
        found = [message for message in self.published if message.topic.endswith(suffix)]
        return found[-1].payload.decode() if found else None

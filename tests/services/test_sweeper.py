"""The sweep gives way: by time, not by the number of channels it has looked at."""

from __future__ import annotations

import itertools

import trio

from trioemqx.services import sweeper
from trioemqx.services.queue_watch import QueueWatch
from trioemqx.types import ClientInfo


class Broker:
    """What the two services ask of the core."""

    now = 0.0

    def __init__(self) -> None:
        self.registry = self.retained = self.metrics = self
        self.channels = {}
        self.overflowed = []
        self.sessions = {}

    def check(self, channel, now) -> None:
        """No deadline of the protocol is over."""

    def run_timers(self, now, most) -> bool:
        return False

    def sweep(self, now, most) -> int:
        return 0

    def __len__(self) -> int:
        return 0

    def tell_time(self) -> None:
        """The time stands still."""

    def wake(self) -> None:
        """Nobody sleeps."""

    def find(self, clientid):
        return self.sessions.get(clientid)


class Channel:
    info = ClientInfo(clientid="c", peerhost="192.0.2.1", peerport=1)

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(reason)


class Zone:
    max_mqueue_len = 1
    max_mqueue_bytes = 0


class Session:
    created_at = 1
    queue_dropped = 1
    info = Channel.info
    zone = Zone

    def __init__(self, clientid) -> None:
        self.clientid = clientid
        self.overflowed = True

    def connected(self) -> bool:
        return True


async def others(seen: list[int], progress: list[object]) -> None:
    """Somebody else's task: notes how far the work has come each time it has its turn."""
    while True:
        seen.append(len(progress))
        await trio.lowlevel.checkpoint()


async def test_a_sweep_gives_way_each_millisecond(autojump_clock):
    """A channel that ends costs a third of one: 500 of them between two checkpoints were a pause for everybody."""
    broker = Broker()
    broker.channels = {Channel(): None for _ in range(1000)}
    looked: list[object] = []
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others, seen, looked)
        await sweeper.sweep(broker, looked.append, clock=lambda: len(looked) * 0.0003)
        nursery.cancel_scope.cancel()
    assert len(looked) == 1000
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert max(steps) <= 4 * sweeper.LOOK


async def test_those_who_end_in_a_sweep_are_few_between_two_checkpoints(autojump_clock):
    """With a full queue each takes half a millisecond; eight of them before the clock was looked at were four."""
    broker = Broker()
    broker.channels = {Channel(): None for _ in range(100)}
    ended: list[object] = []
    seen: list[int] = []

    def check(channel: object) -> None:
        del broker.channels[channel]
        ended.append(channel)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others, seen, ended)
        await sweeper.sweep(broker, check, clock=lambda: len(ended) * 0.0006)
        nursery.cancel_scope.cancel()
    assert len(ended) == 100
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 4, "two, or twice two in a row"


async def test_alarms_for_a_hundred_queues_are_raised_one_by_one(autojump_clock):
    raised: list[object] = []

    class Alarms:
        def activate(self, name, details):
            raised.append(name)
            return True

        def deactivate(self, name):
            raised.append(name)

    broker = Broker()
    broker.sessions = {f"c{number}": Session(f"c{number}") for number in range(100)}
    broker.overflowed = list(broker.sessions.values())
    watch = QueueWatch(Alarms(), broker)
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others, seen, raised)
        await watch.check(0.0)
        await watch.check(100.0)
        nursery.cancel_scope.cancel()
    assert len(raised) == 200
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 2

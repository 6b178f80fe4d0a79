"""One simulated world: a broker that dies and comes back, its disk, its clients, and the script that torments them.

`simulate(script)` runs it and returns what broke. Nothing in it depends on anything but the script: time is virtual,
the scheduler, the network, the disk and the broker's own random choices are seeded.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import ExitStack
from random import Random
from unittest.mock import patch

import attrs
import trio
import trio.testing

from simulation.clients import Connection, Device
from simulation.disk import SimStore
from simulation.model import Model
from simulation.network import Lost, Network, SimPoller, SimPump, Ticks
from simulation.script import LENGTH
from simulation.tap import Tap
from simulation.timeline import Timeline
from trioemqx.codec.control import Connect, Subscribe
from trioemqx.codec.decode import decode
from trioemqx.codec.packets import PUBLISH, Publish
from trioemqx.config.listener import ListenerConfig
from trioemqx.core.broker import Broker
from trioemqx.node import open_broker
from trioemqx.testing import OPEN_CONFIG
from trioemqx.types import SubOpts

SETTLE = 150.0
"""Seconds in which a world without trouble must come to rest."""
BIRTH = 1_800_000_000.0
SCHEDULER = trio._core._run
"""Trio shuffles the tasks of a batch with `_r`, sorted before when `_ALLOW_DETERMINISTIC_SCHEDULING` is true: the two
private names that a simulation needs. Hypothesis uses the same."""
TABLES = ("sessions", "subscriptions", "messages", "queue", "awaiting")


@attrs.define
class Result:
    """How a script ended. `print` is the hash of all that happened, `lines` the trace when it was kept."""

    problems: list
    print: str
    lines: list
    messages: int
    crashes: int
    steps: int


class World:
    """One run of a script."""

    def __init__(self, script, keep=False):
        self.script = script
        self.lines = []
        self._keep = keep
        self._hash = hashlib.blake2b(digest_size=8)
        self._events = 0
        self.timeline = Timeline()
        self.model = Model(self.trace)
        self.tap = Tap(self.model, self.trace)
        self.network = Network(self.timeline, self.fork("network"), self.tap)
        self.devices = {}
        self.store = None
        self.node = None
        self.crashes = 0
        self._disk = {}
        self._wall = 0.0
        self._pause = 0.0
        self._over = False
        self._how = ""
        self._end = trio.Event()
        self._scope = trio.CancelScope()
        self._numbers = {}
        self._life = 0
        self._store_trouble = False
        self._nursery = None

    def fork(self, name):
        """A source of random numbers of its own, so that one part's choices do not change another's."""
        return Random(f"{name} {self.script.seed}")

    def trace(self, *what):
        """One more thing that happened."""
        self._events += 1
        line = f"{trio.current_time():.6f} {' '.join(str(each) for each in what)}"
        self._hash.update(line.encode())
        if self._keep:
            self.lines.append(line)

    def spawn(self, call, *args):
        """A task of the world."""
        self._nursery.start_soon(call, *args)

    # -- the whole ---------------------------------------------------------------------------------------------------

    async def run(self):
        """Returns the Result."""
        async with trio.open_nursery() as self._nursery:
            self.spawn(self.timeline.run)
            self.spawn(self._broker_lives)
            for spec in self.script.devices:
                device = self.devices[spec.name] = Device(self, spec)
                self.spawn(device.run)
            await self._act()
            await self._heal()
            self.model.judge()
            self._nursery.cancel_scope.cancel()
        sent = sum(1 for item in self.model.items.values() if item.first_sent)
        return Result(self.model.problems, self._hash.hexdigest(), self.lines, sent, self.crashes, self._events)

    # -- the broker --------------------------------------------------------------------------------------------------

    def wall(self):
        """The time of day, which jumps."""
        return BIRTH + self._wall + trio.current_time()

    async def _broker_lives(self):
        """One broker after the other on the same disk."""
        while not self._over:
            self._life += 1
            self.tap.begin()
            self._store_trouble = False
            mode, speed = (self.store.mode, self.store.speed) if self.store is not None else ("good", 0.003)
            self.store = SimStore(self.timeline, self.fork(f"store {self._life}"), self.trace, self._disk)
            self.store.mode, self.store.speed = mode, speed
            self._end = trio.Event()
            with trio.CancelScope() as self._scope:
                async with open_broker(self._config(), wall=self.wall, in_memory=True) as node:
                    self._open(node)
                    await self._end.wait()
                    self.network.node = None
                    self._inspect(node)
            self.network.crash()
            self._disk = self.store.crash()
            self.trace("broker ends", self._how)
            self._how = ""
            await trio.sleep(self._pause)

    def _config(self):
        script = self.script
        return {
            **OPEN_CONFIG,
            "modules": {"loaded_file": "none", "load": []},
            "plugins": {"loaded_file": "none", "etc_dir": "none", "load": ["emqx_retainer"]},
            "vm_mon": {"check_interval": 0},
            "sysmon": {"long_schedule": 0},
            "broker": {"shared_subscription_strategy": script.strategy, "sys_interval": 0, "sys_heartbeat": 0},
            "zone": {"default": dict(script.zone)},
        }

    def _open(self, node):
        self.node = node
        config = ListenerConfig(kind="tcp", name="inside", zone="default", max_connections=1_000_000)
        self.network.serve(node, node.listeners.make(config))
        self.trace("broker starts", self._life)

    def _crash(self, pause):
        """As kill -9 does: nothing more is said or written from here on."""
        if self.node is None or self.network.node is None:
            return
        self._how, self._pause = "crash", pause
        self.crashes += 1
        self.model.crashed()
        self._note_drops(self.node)
        self._inspect_faults(self.node)
        self.network.crash()
        self.store.crash()
        self._scope.cancel()

    def _stop(self, pause):
        if self.network.node is not None:
            self._how, self._pause = "stop", pause
            self._end.set()

    # -- what happens ------------------------------------------------------------------------------------------------

    async def _act(self):
        for step in self.script.steps:
            await trio.sleep_until(step.at)
            self.trace("step", step)
            getattr(self, "_step_" + step.kind.replace(" ", "_"))(*step.args)
        await trio.sleep_until(LENGTH)

    def _step_publish(self, name, topic, count, qos, size):
        device = self.devices[name]
        for _ in range(count):
            key = (topic, qos)
            number = self._numbers[key] = self._numbers.get(key, 0) + 1
            payload = f"{topic}|{qos}|{number}|".encode().ljust(size, b".")
            device.publish(self.model.new_item(device, topic, number, qos, topic.startswith("r/"), payload))

    def _step_cut(self, name):
        conn = self.devices[name].conn
        if conn is not None:
            self._will_due(self.devices[name], conn)
            conn.wire.reset()

    def _will_due(self, device, conn):
        """A broken connection of a client whose CONNACK has come: its will is due if this broker lives on in peace."""
        if conn.will is None or conn.connack is None or conn.troubled or self.network.node is None:
            return
        if conn.wire.broker_lost or conn.wire.closed_by_broker or conn.wire.up.dead:
            return
        seq = self.model.tick()
        self.timeline.after(3.0, self._fate, conn.will, "due", seq, self._life, conn)

    def _fate(self, will, name, seq, life, conn):
        if life == self._life and not self._store_trouble and not self._how and not conn.troubled:
            setattr(will, name, seq)

    def dismissed(self, conn):
        """The client has said DISCONNECT; certain once the broker has read it and lives on for a while."""
        if conn.will is not None:
            self.timeline.after(2.0, self._said_goodbye, conn, self._life)

    def _said_goodbye(self, conn, life):
        if life == self._life and conn.wire in self.tap.disconnected:
            self._fate(conn.will, "dismissed", self.model.tick(), life, conn)

    def _step_half_open(self, name):
        conn = self.devices[name].conn
        if conn is not None:
            conn.wire.drop_client()

    def _step_cut_at_byte(self, name, direction, count):
        conn = self.devices[name].conn
        if conn is not None:
            pipe = getattr(conn.wire, direction)
            pipe.cut_at = pipe.arrived_total + count

    def _step_offline(self, name, rude):
        device = self.devices[name]
        if rude and device.conn is not None:
            self._will_due(device, device.conn)
        device.go_offline(rude)

    def _step_online(self, name):
        self.devices[name].go_online()

    def _step_move(self, name):
        self.devices[name].move()

    def _step_pause(self, name, seconds):
        self.devices[name].paused_until = trio.current_time() + seconds

    def _step_clean(self, name):
        device = self.devices[name]
        device.clean_once = True
        if device.conn is not None:
            device.conn.wire.reset()

    def _step_kick(self, name):
        if self.network.node is not None:
            self._end_session(name)
            self.node.kick(name)

    def _end_session(self, name):
        device = self.devices[name]
        self.model.unsure(device)
        device.doubt = self.model.tick()
        if device.conn is not None:
            device.conn.troubled = True

    def _step_ban(self, name, seconds):
        if self.network.node is not None:
            self._end_session(name)
            self.node.banned.create("clientid", name, until=int(self.wall()) + seconds)

    def _step_crash(self, pause):
        self._crash(pause)

    def _step_stop(self, pause):
        self._stop(pause)

    def _step_store_fails(self):
        self._trouble_store("failing")

    def _step_store_stalls(self):
        self._trouble_store("stalled")

    def _trouble_store(self, mode):
        self._store_trouble = True
        self.store.set_mode(mode)

    def _step_store_good(self, speed):
        self._store_trouble = self._store_trouble or speed > 0.01
        self.store.set_mode("good", speed)

    def _step_clock(self, seconds):
        self._wall += seconds

    def _step_slow_network(self, factor):
        self.network.slowness = factor

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _heal(self):
        """All trouble is over: everything settles, nothing is left behind."""
        self.trace("heal")
        self.store.set_mode("good", 0.003)
        self.network.slowness = 1.0
        for device in self.devices.values():
            device.paused_until = device.lag = 0.0
            device.go_online()
        with trio.move_on_after(30.0):
            while self.network.node is None:
                await trio.sleep(0.1)
        for ban in list(self.node.banned.entries()):
            self.node.banned.delete(ban.kind, ban.who)
        with trio.move_on_after(SETTLE) as patience:
            quiet = 0
            while quiet < 4:
                await trio.sleep(0.5)
                quiet = quiet + 1 if self._settled() else 0
        if patience.cancelled_caught:
            self.model.broken("settles", f"after {SETTLE} s: {self._unsettled()}")
        await self._probe()
        self._check_rest()
        await self._leave()

    def _settled(self):
        return self.network.node is not None and not self._unsettled()

    def _unsettled(self):
        """What is still under way, by name."""
        found = [device.name for device in self.devices.values() if not device.idle()]
        found += [
            f"{session.clientid}'s session: {len(session.inflight)} in flight, {len(session.mqueue or ())} queued, "
            f"{len(session.awaiting_rel)} awaiting PUBREL"
            for session in self.node.clients()
            if session.inflight or session.mqueue or session.awaiting_rel
        ]
        if self.store.pending():
            found.append("store")
        return found

    async def _probe(self):
        """What a stranger who subscribes now is given: the retained messages."""
        found = {}
        try:
            conn = Connection(self.network.dial("probe", 100_000), 4)
            conn.send(Connect("MQTT", 4, False, True, 0, "probe", None, None, None, None))
            conn.send(Subscribe(1, [("r/#", SubOpts(0))]))
            with trio.move_on_after(3.0):
                while True:
                    conn.framer.feed(await conn.wire.read())
                    while (frame := conn.framer.next_frame()) is not None:
                        packet = decode(frame, 4)
                        if isinstance(packet, Publish):
                            found[packet.topic] = packet.payload
            conn.wire.close()
        except Lost:
            self.model.broken("settles", "a probe could not connect")
        self.model.check_retained(found)
        await trio.sleep(1.0)

    def _check_rest(self):
        """Everybody is there and nothing is under way: figures add up, and the disk holds no more than it must."""
        node = self.node
        gauges = node.broker.gauges()
        broken = self.model.broken
        if gauges["connections"] != len(self.devices):
            broken("counters", f"{gauges['connections']} connections of {len(self.devices)} devices")
        names = sorted(session.clientid for session in node.clients())
        if names != sorted(self.devices):
            broken("leak", f"sessions of {names}")
        wanted = sum(len(spec.filters) for spec in self.script.devices)
        if gauges["subscriptions"] != wanted:
            broken("counters", f"{gauges['subscriptions']} subscriptions of {wanted}")
        durable = sum(spec.durable for spec in self.script.devices)
        rows = {table: len(found) for table in TABLES if (found := self.store.disk.get(table))}
        lasting = {"sessions": durable} if durable else {}
        if held := sum(len(spec.filters) for spec in self.script.devices if spec.durable):
            lasting["subscriptions"] = held
        if rows != lasting:
            broken("leak", f"rows {rows} where {lasting} would do")
        self._inspect(node)

    def _inspect(self, node):
        """Counters against what went over the sockets."""
        self._note_drops(node)
        self._inspect_faults(node)
        metrics = node.metrics
        tap = self.tap
        if metrics["bytes.sent"] != tap.bytes_sent:
            self.model.broken("counters", f"bytes.sent {metrics['bytes.sent']}, really {tap.bytes_sent}")
        if metrics["packets.publish.sent"] < tap.sent[PUBLISH]:
            self.model.broken("counters", f"packets.publish.sent below {tap.sent[PUBLISH]}")
        if metrics["packets.publish.received"] > tap.received[PUBLISH]:
            self.model.broken("counters", f"packets.publish.received above {tap.received[PUBLISH]}")

    def _note_drops(self, node):
        metrics = node.metrics
        self.model.dropped += metrics["delivery.dropped.queue_full"] + metrics["delivery.dropped.expired"]

    def _inspect_faults(self, node):
        faults = {name: count for name, count in node.broker.metrics.faults().items() if count}
        if faults:
            self.model.broken("crash", f"{faults}")

    async def _leave(self):
        """All clients go and their sessions are ended: nothing stays."""
        for device in self.devices.values():
            device.go_offline(False)
        await trio.sleep(20.0)
        for name in self.devices:
            self.node.kick(name)
        await trio.sleep(5.0)
        broker = self.node.broker
        left = {
            "links": len(self.node.pump.turn.links),
            "channels": len(broker.registry.channels),
            "sessions": len(broker.registry.sessions),
            "timers": len(broker.registry.timers),
            "subscriptions": broker.router.subscriptions,
            "routes": broker.router.routes,
            "rows": sum(len(self.store.disk.get(table, ())) for table in TABLES),
            "dirty": len(self.node.pump.turn.dirty),
        }
        if any(left.values()):
            self.model.broken("leak", f"when all are gone: {left}")
        self._over = True


def simulate(script, keep=False):
    """Run a script; `keep` the trace. Returns the Result."""
    seed = script.seed
    scheduler = SCHEDULER
    state = scheduler._r.getstate()
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    world = World(script, keep)
    random = world.fork("broker")

    def pump(broker, wall):
        return SimPump(broker, wall, SimPoller(world.fork("poller")), Ticks(world.fork("ticks")))

    def core(access, **settings):
        return Broker(access, random=random, **settings)

    scheduler._r.seed(f"scheduler {seed}")
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    logging.disable(logging.CRITICAL)
    try:
        with ExitStack() as stack:
            stack.enter_context(patch("trioemqx.node.make_store", lambda *_: world.store))
            stack.enter_context(patch("trioemqx.node.Pump", pump))
            stack.enter_context(patch("trioemqx.wiring.Broker", core))
            stack.enter_context(patch("trioemqx.services.session_loader.secrets.randbelow", random.randrange))
            return trio.run(world.run, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        logging.disable(logging.NOTSET)
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before
        scheduler._r.setstate(state)

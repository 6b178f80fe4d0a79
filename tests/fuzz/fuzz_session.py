"""A fuzzer of whole sessions: attackers send good packets, bad ones and mutants; victims subscribed to everything must
be served as if nobody attacked.

A victim decodes all that it gets strictly and keeps its connection; after each attack a message goes from one victim to
the others, in time and unchanged. Everything is drawn from one seed, so that a seed that fails can be run again. What
one client sends and another breaks of shows here, and nowhere in a fuzzer of the decoder.
"""

from __future__ import annotations

import random
import time
from typing import Final

import attrs
import trio
from fuzz_targets import TARGETS, mutated

from trioemqx.codec.control import Connect, Packet, Subscribe, Unsubscribe, Will
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import Ack, make_publish
from trioemqx.testing import Client, TestBroker, running
from trioemqx.types import Properties, SubOpts

NAMES: Final = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}
LEVELS: Final = (
    "a",
    "b",
    "",
    "$SYS",
    "$share",
    "$queue",
    "$exclusive",
    "$delayed",
    "+",
    "#",
    "%c",
    "é",
    "\u202e",
    "x" * 300,
)
GOOD: Final = ("a", "a/b", "b", "é/a", "canary/x", "$delayed/1/a", "a/b/c/d")
CLIENTIDS: Final = ("attacker", "attacker", "", "é", "+/#", "$share/g/x", "c" * 500)
PACKETS: Final = 12
"""Of one attack, at most."""
ACKS: Final = (0x40, 0x50, 0x62, 0x70)
CONFIG: Final = {
    "mqtt": {"exclusive_subscription": True, "max_packet_size": 65536},
    "zone": {"default": {"max_awaiting_rel": 10, "max_subscriptions": 100, "max_inflight": 10}},
    "modules": {"load": ["emqx_mod_delayed"]},
    "plugins": {"load": ["emqx_retainer"]},
    "retainer": {"max_retained_messages": 200},
}


@attrs.define
class Attacker:
    """Makes the packets of one attack. `chance` decides everything."""

    chance: random.Random
    version: int
    wild: float
    """How often, from 0 to 1, something is not as it should be: who breaks a rule at once never gets far."""

    def topic(self) -> str:
        """Good or not."""
        if self.chance.random() > self.wild:
            return self.chance.choice(GOOD)
        if self.chance.random() < 0.05:
            return "/".join("a" for _ in range(self.chance.choice((129, 2000, 30_000))))
        if self.chance.random() < 0.1:
            return (
                f"$delayed/{self.chance.choice(('0', '1', '-1', '1.5', '4294968', '9' * 30, '٣', ''))}/{self.levels()}"
            )
        return self.levels()

    def levels(self) -> str:
        """One to five levels."""
        return "/".join(self.chance.choice(LEVELS) for _ in range(self.chance.randint(1, 5)))

    def properties(self) -> Properties | None:
        """None in MQTT 3; at times a great many."""
        if self.version < 5 or self.chance.random() < 0.5:
            return None
        found = Properties()
        count = self.chance.choice((0, 1, 3, 99, 101, 1000) if self.chance.random() < self.wild else (0, 2))
        found.user_property = [(self.chance.choice(LEVELS), "v") for _ in range(count)]
        if self.chance.random() < self.wild:
            found.topic_alias = self.chance.choice((0, 1, 2, 65535))
        if self.chance.random() < self.wild:
            found.response_topic = self.topic()
        if self.chance.random() < 0.3:
            found.message_expiry_interval = self.chance.choice((0, 1, 2**32 - 1))
        if self.chance.random() < self.wild:
            found.subscription_identifier = [self.chance.choice((0, 1, 268435455))]
        return found

    def connect(self) -> Packet:
        """CONNECT, perhaps with a will."""
        will = None
        if self.chance.random() < 0.5:
            properties = self.properties() or (Properties() if self.version == 5 else None)
            will = Will(self.topic(), b"w" * self.chance.choice((0, 4000)), self.chance.randrange(3), False, properties)
        clean = self.chance.random() < 0.5
        properties = Properties() if self.version == 5 else None
        clientid = self.chance.choice(CLIENTIDS)
        name = NAMES[self.version]
        return Connect(name, self.version, False, clean, 0, clientid, "mallory", None, will, properties)

    def packet(self) -> Packet:
        """Any other one that a client may send."""
        identifier = self.chance.choice((0, 1, 1, 2, 65535))
        kind = self.chance.randrange(6)
        if kind <= 2:
            qos = self.chance.randrange(3)
            payload = bytes(self.chance.randrange(256) for _ in range(self.chance.choice((0, 5, 60))))
            retain = self.chance.random() < 0.3
            return make_publish(
                self.topic(), payload, qos, retain, qos > 0, identifier if qos else 0, self.properties()
            )
        if kind == 3:
            wanted = [(self.topic(), SubOpts(self.chance.randrange(3))) for _ in range(self.chance.choice((1, 2, 120)))]
            return Subscribe(identifier, wanted, self.properties())
        if kind == 4:
            return Unsubscribe(identifier, [self.topic()], None)
        return Ack(self.chance.choice(ACKS), identifier)

    def bytes(self) -> bytes:
        """Everything that is sent: packets as they should be, some of them damaged, and at times noise."""
        parts = [self.written(self.connect())] if self.chance.random() > self.wild / 4 else []
        for _ in range(self.chance.randint(0, PACKETS)):
            if self.chance.random() < self.wild / 3:
                parts.append(mutated(TARGETS[f"codec{self.version}"], self.chance))
            else:
                parts.append(self.written(self.packet()))
        return b"".join(parts)

    def written(self, packet: Packet) -> bytes:
        """A packet as bytes; one in ten has a bit changed, or is cut, with its length as it was."""
        try:
            data = bytearray(encode(packet, self.version))
        except Exception:  # what our own encoder will not write is a mutant of something else
            return mutated(TARGETS[f"codec{self.version}"], self.chance)
        if self.chance.random() < self.wild / 4:
            at = self.chance.randrange(len(data))
            if self.chance.random() < 0.5:
                data[at] ^= 1 << self.chance.randrange(8)
            else:
                del data[at:]
        return bytes(data)


async def attack(broker: TestBroker, chance: random.Random) -> bytes:
    """One connection of an attacker, and what it sent. It reads nothing, or everything, and goes at any time."""
    version = chance.choice((3, 4, 5))
    data = Attacker(chance, version, chance.choice((0.0, 0.05, 0.2, 0.7))).bytes()
    stream = await broker.stream()
    step = chance.choice((1 << 20, 1 << 20, 100, 7))
    try:
        for at in range(0, min(len(data), 400 * step), step):
            await stream.send_all(data[at : at + step])
        if chance.random() < 0.7:
            with trio.move_on_after(1):
                while await stream.receive_some(65536):
                    continue
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # it was thrown out, as it should be
    await trio.aclose_forcefully(stream)
    return data


async def check(victims: list[Client], number: int) -> None:
    """Every victim is there, and hears of the others within its patience. Raises AssertionError."""
    sender = victims[number % len(victims)]
    text = b"round %d" % number
    await sender.publish("canary", text, qos=1)
    for victim in victims:
        while True:
            topic, payload = await victim.message()
            assert "\0" not in topic
            if (topic, payload) == ("canary", text):
                break


async def rounds(seed: int, count: int, until: float = float("inf")) -> int:
    """Attack so many times in one broker; returns how often. Raises AssertionError with the seed and the bytes."""
    chance = random.Random(seed)
    async with running(CONFIG) as broker:
        victims = [await broker.client(f"victim{version}", version=version, username="alice") for version in (3, 4, 5)]
        for victim in victims:
            await victim.subscribe("#", qos=2)
        done = 0
        while done < count and time.monotonic() < until:
            data = b""
            try:
                data = await attack(broker, chance)
                await check(victims, done)
            except Exception as error:
                reason = f"seed {seed}, attack {done}: {type(error).__name__}: {error}"
                raise AssertionError(f"{reason}; bytes {data[:2000]!r}") from error
            done += 1
        faults = {name: value for name, value in broker.node.broker.metrics.faults().items() if value}
        faults.pop("connection.refused", None)
        assert not faults, f"seed {seed}: {faults}"
        assert len(broker.node.broker.registry.channels) <= len(victims) + 1
    return done


def campaign(seconds: float, seed: int) -> int:
    """Seeds one after another until the time is over, as `./dev fuzz session` does."""
    from trio.testing import MockClock

    end = time.monotonic() + seconds
    attacks = 0
    while time.monotonic() < end:
        clock = MockClock(autojump_threshold=0)
        try:
            attacks += trio.run(rounds, seed, 500, end, clock=clock)
        except BaseException as error:
            print(f"session: seed {seed}: {error}")
            raise
        seed += 1
    print(f"session: {attacks} attacks, up to seed {seed - 1}, nothing found")
    return 0

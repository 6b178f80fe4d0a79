"""Made-up histories: which clients there are, and what happens when. A seed makes one script, always the same.

Not every script has every kind of trouble: what a seed leaves out gives room for what it has (swarm testing).
"""

from __future__ import annotations

from random import Random

import attrs

from simulation.clients import Spec

LENGTH = 40.0
"""Seconds of trouble; then all is well, and everything must settle."""
TROUBLES = {
    "cut": 6,
    "half open": 3,
    "cut at byte": 5,
    "offline": 4,
    "move": 3,
    "pause": 3,
    "clean": 1,
    "kick": 1,
    "ban": 1,
    "crash": 3,
    "stop": 2,
    "store fails": 2,
    "store stalls": 2,
    "store slow": 2,
    "clock": 2,
    "slow network": 2,
}


@attrs.frozen
class Step:
    """At `at` seconds, `kind` happens with `args`."""

    at: float
    kind: str
    args: tuple = ()

    def __str__(self):
        return f"{self.at:8.3f}  {self.kind:14} {' '.join(str(arg) for arg in self.args)}"


@attrs.frozen
class Script:
    """A world's clients, settings and history."""

    seed: int
    devices: tuple[Spec, ...]
    zone: dict
    strategy: str
    steps: tuple[Step, ...]

    def __str__(self):
        settings = f"zone {self.zone}, shared subscriptions {self.strategy}"
        return "\n".join([*map(str, self.devices), settings, *map(str, self.steps)])


def make_script(seed):
    """The script of a seed."""
    random = Random(f"script {seed}")
    devices = tuple(_device(random, number) for number in range(random.randint(2, 6)))
    troubles = [kind for kind in TROUBLES if random.random() < 0.5]
    steps = [_publish(random, random.choice(devices)) for _ in range(random.randint(15, 60))]
    if troubles:
        weights = [TROUBLES[kind] for kind in troubles]
        for kind in random.choices(troubles, weights, k=random.randint(1, 25)):
            steps += _trouble(random, kind, random.choice(devices))
    zone = {"max_inflight": random.choice([1, 3, 32]), "retry_interval": random.choice([2, 30])}
    if random.random() < 0.15:
        zone["max_mqueue_len"] = random.choice([3, 20])
    strategy = random.choice(["random", "round_robin", "sticky", "hash_clientid", "hash_topic"])
    return Script(seed, devices, zone, strategy, tuple(sorted(steps, key=lambda step: step.at)))


def _device(random, number):
    choices = [("t/#", 2), ("t/+/a", 1), ("t/d0/#", 2), ("t/#", 1), ("$share/g/s/#", 2), ("$share/g/s/#", 1)]
    choices += [("w/#", 2), ("r/#", 1), ("t/+/b", 0)]
    filters = {}
    for filter, qos in random.sample(choices, random.randint(0, 4)):
        filters.setdefault(filter, qos)
    return Spec(
        name=f"d{number}",
        version=random.choice([4, 5]),
        durable=random.random() < 0.75,
        filters=tuple(filters.items()),
        ids=random.choice([1, 3, 8, 30]),
        receive_maximum=random.choice([1, 2, 10, 100]),
        buffer=random.choice([64, 600, 4000, 100_000]),
        lag=random.choice([0.0, 0.0, 0.01, 0.7]),
        will_qos=random.choice([None, 1, 2]),
    )


def _publish(random, spec):
    kind = random.choices(["t", "s", "r"], [6, 2, 1])[0]
    topic = f"{kind}/{spec.name}/{random.choice('ab')}"
    count = 1 if kind == "r" else random.choice([1, 1, 3, 10])
    qos = random.choice([1, 2]) if kind == "r" or random.random() < 0.85 else 0
    size = random.choice([10, 10, 10, 2500])
    return Step(random.uniform(1.0, LENGTH), "publish", (spec.name, topic, count, qos, size))


def _trouble(random, kind, spec):
    """The steps of one trouble; what begins ends before LENGTH is long over."""
    at = random.uniform(1.5, LENGTH)
    later = at + random.choice([0.05, 0.5, 2.0, 8.0])
    if kind == "cut at byte":
        return [Step(at, kind, (spec.name, random.choice(["up", "down"]), random.randint(1, 200)))]
    if kind == "offline":
        return [Step(at, kind, (spec.name, random.random() < 0.5)), Step(later, "online", (spec.name,))]
    if kind == "pause":
        return [Step(at, kind, (spec.name, random.choice([0.5, 4.0, 20.0])))]
    if kind == "ban":
        return [Step(at, kind, (spec.name, random.choice([2, 10])))]
    if kind in ("crash", "stop"):
        return [Step(at, kind, (random.choice([0.0, 0.1, 3.0]),))]
    if kind in ("store fails", "store stalls"):
        return [Step(at, kind), Step(later, "store good", (0.003,))]
    if kind == "store slow":
        return [Step(at, "store good", (random.choice([0.05, 0.5, 2.0]),)), Step(later + 5, "store good", (0.003,))]
    if kind == "clock":
        return [Step(at, kind, (random.choice([-86400, -30, 1, 7200, 86400 * 40]),))]
    if kind == "slow network":
        return [Step(at, kind, (random.choice([5.0, 50.0]),)), Step(later, kind, (1.0,))]
    return [Step(at, kind, (spec.name,))]

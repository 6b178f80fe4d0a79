"""What rules cost: microseconds per published message, without reading and writing. Run by `run.py` with the Python of
each variant, and alone for a look.

    python benchmarks/rules.py

`idle` is a broker without rules, `elsewhere` one with 1000 rules on other topics, `filtered` has a rule whose WHERE is
false, `matching` one that republishes. The topics take turns, as many as a site has sensors.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import trio

import trioemqx
from trioemqx.node import Node
from trioemqx.services import memory
from trioemqx.types import Message

MESSAGES: Final = 5_000
ROUNDS: Final = 11
TOPICS: Final = 1_000
OTHER_RULES: Final = 1_000
SQL: Final = 'SELECT payload.temp as t, clientid FROM "t/#" WHERE payload.temp > 20'
HOT: Final = b'{"temp": 25.5, "unit": "C", "seq": 17}'
COLD: Final = b'{"temp": 15.5, "unit": "C", "seq": 17}'
REPUBLISH: Final = {
    "name": "republish",
    "params": {"target_topic": "hot/${clientid}", "target_qos": 0, "payload_tmpl": "${t}"},
}
CONFIG: Final = {
    "allow_anonymous": True,
    "plugins": {"loaded_file": "none", "etc_dir": "none", "load": []},
    "modules": {"loaded_file": "none", "load": []},
}


def publishing(node: Node, payload: bytes) -> Callable[[], None]:
    """A function that publishes MESSAGES messages."""
    topics = itertools.cycle([f"t/{number}" for number in range(TOPICS)])

    def run() -> None:
        broker = node.broker
        for topic in itertools.islice(topics, MESSAGES):
            message = Message(topic, payload, publisher="pump", received=1.0, timestamp=1)
            broker.publish_on(message, broker.router.route(topic), broker.picks)

    return run


def microseconds(run: Callable[[], None]) -> float:
    """Of one message."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / MESSAGES * 1e6


async def median(payload: bytes, *rules: dict[str, Any]) -> float:
    """Of the rounds, in a broker with these rules."""
    async with trioemqx.open_broker(CONFIG, in_memory=True) as node:
        for rule in rules:
            await node.rules.create(rule)
        memory.settle()
        run = publishing(node, payload)
        found = []
        for _ in range(ROUNDS):
            found.append(microseconds(run))
            await trio.lowlevel.checkpoint()
        return statistics.median(found)


async def measure() -> dict[str, float]:
    """Medians by case."""
    rule = {"rawsql": SQL, "actions": [REPUBLISH]}
    others = [
        {"rawsql": f'SELECT payload.temp AS t FROM "other/{number}/+"', "actions": []} for number in range(OTHER_RULES)
    ]
    return {
        "idle": await median(HOT),
        "elsewhere": await median(HOT, *others),
        "filtered": await median(COLD, rule),
        "matching": await median(HOT, rule),
        "matching among others": await median(HOT, *others, rule),
    }


if __name__ == "__main__":
    print(json.dumps(trio.run(measure)))

"""What hooks cost: nanoseconds per message for a message that is published to one subscriber, by the number of plugins
that listen at `message.publish`. Run by `run.py` with the Python of each variant, and alone for a look.

    python benchmarks/hooks.py
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Final

from trioemqx.core.broker import Broker
from trioemqx.core.callback import Callback
from trioemqx.hookspecs import hookimpl
from trioemqx.services.access import AccessService
from trioemqx.services.plugins import HookRegistry
from trioemqx.types import Message, SubOpts

MESSAGES: Final = 20_000
ROUNDS: Final = 15
STEPS: Final = (0, 1, 3, 10)


class Listens:
    """A hook that does nothing."""

    @hookimpl
    def message_publish(self, message: Message) -> Message | None:
        """Leave every message as it is."""
        return None


def publishing(count: int) -> Callable[[], None]:
    """A function that publishes MESSAGES messages with `count` hooks listening."""
    registry = HookRegistry()
    for number in range(count):
        registry.register(Listens(), f"listens{number}")
    access = AccessService(registry.compiled, None, None)  # type: ignore[arg-type]
    broker = Broker(access)
    broker.hooks = registry.compiled
    broker.listen(Callback("c", lambda message, subscription: None), "t", SubOpts())
    route = broker.router.route("t")
    message = Message("t", b"x")

    def run() -> None:
        for _ in range(MESSAGES):
            broker.publish_on(message, route, broker.picks)

    return run


def truth_test() -> Callable[[], None]:
    """A function that does what a point without listeners costs: one look at its tuple."""
    hooks = HookRegistry().compiled

    def run() -> None:
        for _ in range(MESSAGES):
            if hooks.message_publish:
                raise AssertionError

    return run


def nothing() -> None:
    """The loop itself."""
    for _ in range(MESSAGES):
        continue


def nanoseconds(run: Callable[[], None]) -> float:
    """Of one step."""
    began = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - began) / MESSAGES


def measure() -> dict[str, float]:
    """Medians of alternating rounds: `test` (of an empty point), `0`, `1`, `3` and `10` hooks."""
    runs = {"loop": nothing, "test": truth_test(), **{str(count): publishing(count) for count in STEPS}}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            taken[name].append(nanoseconds(run))
    found = {name: statistics.median(values) for name, values in taken.items()}
    found["test"] = max(0.0, found["test"] - found.pop("loop"))
    return found


if __name__ == "__main__":
    print(json.dumps(measure()))

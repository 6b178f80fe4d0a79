"""The node's gauges: how many there are now, and how many there were at most.

Names and meaning: http-api-v4.md 3.2. The broker gives the few figures it knows; the rest are equal to one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GIVEN: Final = (
    "connections",
    "sessions",
    "subscribers",
    "subscriptions",
    "subscriptions.shared",
    "routes",
    "retained",
)
"""What the source must give: clients connected, sessions on the node, non-shared (filter, subscriber) pairs, all
subscriptions, the shared ones, rows of the route table, retained messages."""

SAME_AS: Final = {
    "live_connections": "connections",
    "channels": "sessions",
    "suboptions": "subscriptions",
    "topics": "routes",
}

ZERO: Final = ("resources",)
"""Present from the start, 0 until the source gives it."""


class StatsKeeper:
    """Keeps `<name>.count` and `<name>.max`. `source` returns the figures of GIVEN, perhaps those of ZERO, and those of
    plugins (`delayed`); it is called at most once a second and whenever somebody asks."""

    def __init__(self, source: Callable[[], Mapping[str, int]]) -> None:
        self._source = source
        self._counts: dict[str, int] = {}
        self._highest: dict[str, int] = {}

    def refresh(self) -> None:
        """Read the source and raise the high-water marks. Raises KeyError when a figure of GIVEN is missing."""
        given = self._source()
        counts = {name: given[name] for name in GIVEN}
        counts.update({name: counts[source] for name, source in SAME_AS.items()})
        counts.update({name: given.get(name, 0) for name in ZERO})
        counts.update({name: count for name, count in given.items() if name not in counts})
        for name, count in counts.items():
            self._highest[name] = max(count, self._highest.get(name, 0))
        self._counts = counts

    def snapshot(self) -> dict[str, int]:
        """All gauges as of now by their full names, in alphabetical order."""
        self.refresh()
        found: dict[str, int] = {}
        for name in sorted(self._counts):
            found[f"{name}.count"] = self._counts[name]
            found[f"{name}.max"] = self._highest[name]
        return found

    def latest(self) -> Mapping[str, int]:
        """The gauges, without `.count`, as they were when they were last read: at most a second ago while `run`
        does."""
        if not self._counts:
            self.refresh()
        return self._counts

    async def run(self, interval: float = 1.0) -> None:
        """Refresh for ever, so that peaks are seen when nobody asks."""
        while True:
            await trio.sleep(interval)
            self.refresh()

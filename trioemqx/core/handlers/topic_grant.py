"""What a connection remembers about a topic it publishes to."""

from __future__ import annotations

from trioemqx.core.router import Route


class TopicGrant:
    """Where the topic goes (`mounted`, `route`), whether it is allowed, and until when that holds (monotonic seconds).

    `cached` says that the decision came from, and counts as, the ACL cache; it is False where no ACL applies.
    """

    __slots__ = ("allowed", "cached", "mounted", "route", "until")

    def __init__(self, mounted: str, route: Route, allowed: bool, cached: bool, until: float) -> None:
        self.mounted = mounted
        self.route = route
        self.allowed = allowed
        self.cached = cached
        self.until = until

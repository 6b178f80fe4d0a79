"""Who wants this topic: every subscription of the node, by filter, and a cache of what was found per topic.

A `Route` is what one topic leads to. The publishing side keeps it and asks `fresh` before each use, which is two
integer comparisons. What makes a route stale:

- a filter without wildcards appears or disappears: the route of that one topic;
- a wildcard filter appears or disappears: all routes below the same first level (its `Branch`), or every route when
  the filter starts with a wildcard;
- the cache drops the route.

A further member of a filter that exists already makes nothing stale, because routes hold entries, not members.
"""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Final

from trioemqx.core.shared import ROUND_ROBIN, Group, group_key
from trioemqx.core.topics import is_wildcard
from trioemqx.core.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioemqx.core.subscription import Subscription


CACHE_ROOM: Final = 16 * 1024 * 1024
"""What the cached routes may cost together, in characters of topics and bytes of references to entries: a publisher who
makes up topics of 4 KB fills this and no more."""
REFERENCE: Final = 8


class FilterEntry:
    """All subscriptions of one filter. `members` are the plain ones, `groups` the share groups (None = none), `remote`
    the other nodes that want it (None = none). Lists have no meaningful order."""

    __slots__ = ("filter", "groups", "members", "remote")

    def __init__(self, filter: str) -> None:
        self.filter = filter
        self.members: list[Subscription] = []
        self.groups: list[Group] | None = None
        self.remote: list[str] | None = None

    def empty(self) -> bool:
        """True when nobody wants this filter any more."""
        return not self.members and not self.groups and not self.remote


class Branch:
    """Everything below one first level. `generation` changes with its wildcard filters; `users` counts the cached
    routes and wildcard filters that need it."""

    __slots__ = ("generation", "name", "users")

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation = 0
        self.users = 0


class Route:
    """What one topic leads to: the entries that match it. `entries` is replaced, never changed, so it can be walked
    while subscriptions come and go. The stamps are the router's business."""

    __slots__ = ("branch", "branch_stamp", "entries", "stamp", "topic")

    def __init__(self, topic: str, branch: Branch) -> None:
        self.topic = topic
        self.entries: list[FilterEntry] = []
        self.branch = branch
        self.branch_stamp = -1
        self.stamp = -1


class Router:
    """All subscriptions of this node.

    `walking` is raised by whoever delivers along `entry.members` or `entry.groups` and lowered afterwards; while it is
    not 0 a change copies the list it touches first, so a hook may subscribe or unsubscribe in the middle of a delivery.
    """

    __slots__ = (
        "_branches",
        "_cost",
        "_exact",
        "_groups",
        "_plain",
        "_random",
        "_routes",
        "_strategies",
        "_strategy",
        "_trie",
        "_wild",
        "cache_size",
        "evicted",
        "generation",
        "shared",
        "subscriptions",
        "walking",
    )

    def __init__(
        self,
        cache_size: int = 65536,
        strategy: str = ROUND_ROBIN,
        strategies: dict[str, str] | None = None,
        random: Random | None = None,
    ) -> None:
        """`strategy` is for all share groups, `strategies` for single ones by name. `random` can be seeded in tests."""
        self.cache_size = max(cache_size, 1)
        self.evicted = 0
        """Routes dropped because the cache was full."""
        self.generation = 0
        self.walking = 0
        self.subscriptions = 0
        """All subscriptions, shared ones included."""
        self.shared = 0
        """Subscriptions in share groups."""
        self._strategy = strategy
        self._strategies: dict[str, str] = strategies or {}
        self._random: Random = random or Random()
        self._exact: dict[str, FilterEntry] = {}
        self._wild: dict[str, FilterEntry] = {}
        self._trie: Trie[FilterEntry] = Trie()
        self._groups: dict[str, Group] = {}
        self._plain = 0
        self._branches: dict[str, Branch] = {}
        self._routes: dict[str, Route] = {}
        self._cost = 0

    @property
    def routes(self) -> int:
        """How many different filters there are."""
        return len(self._exact) + len(self._wild)

    @property
    def rows(self) -> int:
        """How many routes there are in EMQX's sense: one for each filter with plain subscriptions, and one for each
        share group on a filter."""
        return self._plain + len(self._groups)

    @property
    def cached(self) -> int:
        """How many topics have a cached route."""
        return len(self._routes)

    # Subscriptions

    def subscribe(self, subscription: Subscription) -> bool:
        """Add a subscription with a valid filter. True when it is the first one of its filter. One that is already
        there stays as it is."""
        if subscription.entry is not None:
            return False
        entry = self.entry(subscription.filter)
        first = entry is None
        if entry is None:
            entry = self._add_entry(subscription.filter)
        subscription.entry = entry
        self.subscriptions += 1
        if subscription.group:
            self.shared += 1
            self._group(entry, subscription.group).add(subscription)
        else:
            if self.walking > 0:
                entry.members = entry.members.copy()
            if not entry.members:
                self._plain += 1
            subscription.slot = len(entry.members)
            entry.members.append(subscription)
        return first

    def unsubscribe(self, subscription: Subscription) -> bool:
        """Take a subscription out, in constant time. True when it was the last one of its filter; one that is not there
        is ignored."""
        entry = subscription.entry
        if entry is None:
            return False
        subscription.entry = None
        self.subscriptions -= 1
        if subscription.group:
            self.shared -= 1
            self._leave(entry, subscription)
        else:
            self._remove_member(entry, subscription)
        if not entry.empty():
            return False
        self._remove_entry(entry)
        return True

    def entry(self, filter: str) -> FilterEntry | None:
        """The entry of exactly this filter, or None."""
        entry = self._exact.get(filter)
        return self._wild.get(filter) if entry is None else entry

    def filters(self) -> Iterator[str]:
        """All filters as they are now; later changes do not disturb the iteration."""
        return iter([*self._exact, *self._wild])

    def entries(self) -> list[FilterEntry]:
        """The entries of all filters as they are now, in the order in which these appeared, wildcards last."""
        return [*self._exact.values(), *self._wild.values()]

    # Routes

    def route(self, topic: str) -> Route:
        """Where messages on a valid topic name go: the cached route, brought up to date."""
        route = self._routes.get(topic)
        if route is None:
            route = self._new_route(topic)
        elif route.stamp == self.generation and route.branch_stamp == route.branch.generation:
            return route
        before = len(route.entries)
        route.entries = self.match(topic)
        self._cost += REFERENCE * (len(route.entries) - before)
        route.stamp = self.generation
        route.branch_stamp = route.branch.generation
        return route

    def fresh(self, route: Route) -> bool:
        """True while a route still says what `match` would say."""
        return route.stamp == self.generation and route.branch_stamp == route.branch.generation

    def match(self, topic: str) -> list[FilterEntry]:
        """The entries of all filters that match a valid topic name, without the cache."""
        found = self._trie.match(topic)
        exact = self._exact.get(topic)
        if exact is not None:
            found.append(exact)
        return found

    # Below: bookkeeping

    def _new_route(self, topic: str) -> Route:
        while len(self._routes) >= self.cache_size or self._cost > CACHE_ROOM:
            self._make_room()
        route = Route(topic, self._use_branch(topic.partition("/")[0]))
        self._routes[topic] = route
        self._cost += len(topic)
        return route

    def _make_room(self) -> None:
        """Drop the oldest routes. A slice at a time: taking one from the front of a dictionary walks over the holes
        that earlier ones left."""
        for topic in list(islice(self._routes, self.cache_size // 64 + 1)):
            route = self._routes.pop(topic)
            # Somebody may still hold it, and from now on it would not hear about a new filter for its topic.
            route.stamp = -1
            self._cost -= len(topic) + REFERENCE * len(route.entries)
            self._leave_branch(route.branch)
            self.evicted += 1

    def _use_branch(self, name: str) -> Branch:
        branch = self._branches.get(name)
        if branch is None:
            branch = self._branches[name] = Branch(name)
        branch.users += 1
        return branch

    def _leave_branch(self, branch: Branch) -> None:
        branch.users -= 1
        if branch.users == 0:
            del self._branches[branch.name]

    def _add_entry(self, filter: str) -> FilterEntry:
        entry = FilterEntry(filter)
        if is_wildcard(filter):
            self._wild[filter] = entry
            self._trie.set(filter, entry)
            first = filter.partition("/")[0]
            if first == "+" or first == "#":
                self.generation += 1
            else:
                self._use_branch(first).generation += 1
        else:
            self._exact[filter] = entry
            self._expire_route(filter)
        return entry

    def _remove_entry(self, entry: FilterEntry) -> None:
        filter = entry.filter
        if is_wildcard(filter):
            del self._wild[filter]
            self._trie.remove(filter)
            first = filter.partition("/")[0]
            if first == "+" or first == "#":
                self.generation += 1
            else:
                branch = self._branches[first]
                branch.generation += 1
                self._leave_branch(branch)
        else:
            del self._exact[filter]
            self._expire_route(filter)

    def _expire_route(self, topic: str) -> None:
        route = self._routes.get(topic)
        if route is not None:
            route.stamp = -1

    def _remove_member(self, entry: FilterEntry, subscription: Subscription) -> None:
        if self.walking > 0:
            entry.members = entry.members.copy()
        last = entry.members.pop()
        if last is not subscription:
            entry.members[subscription.slot] = last
            last.slot = subscription.slot
        subscription.slot = -1
        if not entry.members:
            self._plain -= 1

    def set_strategies(self, strategy: str, strategies: dict[str, str]) -> None:
        """Share out differently from now on, in groups that exist and in new ones."""
        self._strategy = strategy
        self._strategies = strategies
        for group in self._groups.values():
            group.strategy = strategies.get(group.name, strategy)

    def _group(self, entry: FilterEntry, name: str) -> Group:
        """The group of this name on a filter, made when missing."""
        key = group_key(name, entry.filter)
        group = self._groups.get(key)
        if group is None:
            group = Group(name, entry.filter, self._strategies.get(name, self._strategy), self._random)
            self._groups[key] = group
            groups = entry.groups
            if groups is None:
                groups = []
            elif self.walking > 0:
                groups = groups.copy()
            group.slot = len(groups)
            groups.append(group)
            entry.groups = groups
        return group

    def _leave(self, entry: FilterEntry, subscription: Subscription) -> None:
        """Take a member out of its group, and the group away when it was the last."""
        group = self._groups[group_key(subscription.group, entry.filter)]
        group.remove(subscription)
        groups = entry.groups
        if group.members or groups is None:
            return
        del self._groups[group.key]
        if self.walking > 0:
            groups = groups.copy()
        last = groups.pop()
        if last is not group:
            groups[group.slot] = last
            last.slot = group.slot
        entry.groups = groups or None

"""A trie of wildcard filters: which of them match this topic, in time bounded by the branches that can match.

Filters without wildcards do not belong here; a dictionary finds those. Rules and other things that are looked up by
topic can use the same class with their own values.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Node(Generic[T]):
    """One level. `value` belongs to the filter that ends here, `rest` to the one that goes on with `/#`. The child for
    `+` has its own slot: a topic level follows at most two branches, its own name and `+`."""

    __slots__ = ("children", "plus", "rest", "value")

    def __init__(self) -> None:
        self.children: dict[str, Node[T]] | None = None
        self.plus: Node[T] | None = None
        self.value: T | None = None
        self.rest: T | None = None

    def child(self, word: str) -> Node[T] | None:
        """The node below for a filter's level, or None."""
        if word == "+":
            return self.plus
        return None if self.children is None else self.children.get(word)

    def grow(self, word: str) -> Node[T]:
        """The node below for a filter's level, made when missing."""
        node = self.child(word)
        if node is not None:
            return node
        node = Node()
        if word == "+":
            self.plus = node
        else:
            if self.children is None:
                self.children = {}
            self.children[word] = node
        return node

    def cut(self, word: str) -> None:
        """Forget the node below."""
        if word == "+":
            self.plus = None
            return
        children = self.children
        if children is not None:
            del children[word]
            if not children:
                self.children = None

    def empty(self) -> bool:
        """True when nothing ends here and nothing goes on."""
        return self.value is None and self.rest is None and self.plus is None and self.children is None


class Trie(Generic[T]):
    """Valid filters, each with one value that is not None.

    All walks are loops, so depth costs no stack. A match visits every trie node at most once, and only nodes whose path
    matches the beginning of the topic; it ends at the first level where no branch is left.
    """

    __slots__ = ("_count", "_root")

    def __init__(self) -> None:
        self._root: Node[T] = Node()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def set(self, filter: str, value: T) -> None:
        """Add a filter or replace its value."""
        node = self._root
        words = filter.split("/")
        wide = words[-1] == "#"
        if wide:
            words.pop()
        for word in words:
            node = node.grow(word)
        before = node.rest if wide else node.value
        if wide:
            node.rest = value
        else:
            node.value = value
        if before is None:
            self._count += 1

    def get(self, filter: str) -> T | None:
        """The value of exactly this filter (no matching), or None."""
        node = self._root
        for word in filter.split("/"):
            if word == "#":
                return node.rest
            child = node.child(word)
            if child is None:
                return None
            node = child
        return node.value

    def remove(self, filter: str) -> bool:
        """Take a filter out and prune the nodes that held nothing else. False when it was not there."""
        words = filter.split("/")
        wide = words[-1] == "#"
        if wide:
            words.pop()
        path: list[Node[T]] = [self._root]
        for word in words:
            child = path[-1].child(word)
            if child is None:
                return False
            path.append(child)
        node = path[-1]
        if (node.rest if wide else node.value) is None:
            return False
        if wide:
            node.rest = None
        else:
            node.value = None
        self._count -= 1
        for index in range(len(words) - 1, -1, -1):
            if not path[index + 1].empty():
                break
            path[index].cut(words[index])
        return True

    def match(self, topic: str) -> list[T]:
        """The values of all filters that match a valid topic name, in no particular order."""
        found: list[T] = []
        if self._count == 0:
            return found
        nodes: list[Node[T]] = [self._root]
        # A leading wildcard does not reach `$` topics [MQTT-4.7.2-1]; true from the second level on.
        wild = not topic.startswith("$")
        for word in topic.split("/"):
            following: list[Node[T]] = []
            for node in nodes:
                if wild:
                    if node.rest is not None:
                        found.append(node.rest)
                    if node.plus is not None:
                        following.append(node.plus)
                if node.children is not None:
                    child = node.children.get(word)
                    if child is not None:
                        following.append(child)
            if not following:
                return found
            nodes = following
            wild = True
        for node in nodes:
            if node.value is not None:
                found.append(node.value)
            if node.rest is not None:  # `a/#` matches its parent `a`.
                found.append(node.rest)
        return found

    def nodes(self) -> int:
        """How many nodes exist below the root; tests use it to see that pruning leaves nothing behind."""
        count = 0
        stack: list[Node[T]] = [self._root]
        while stack:
            node = stack.pop()
            if node.plus is not None:
                stack.append(node.plus)
                count += 1
            if node.children is not None:
                stack.extend(node.children.values())
                count += len(node.children)
        return count

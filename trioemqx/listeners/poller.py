"""One descriptor that stands for all MQTT sockets: an epoll (or kqueue) set, which Trio can wait for like a socket."""

from __future__ import annotations

import select
import selectors
from typing import Final, Protocol

from trioemqx.listeners.link import ENDED, READ, WRITE

MOST_EVENTS: Final = 512


class Poller(Protocol):
    """Which sockets are ready. Events are READ and WRITE bits, and ENDED where that is known; other bits
    mean an error or a hang-up."""

    def register(self, fd: int, events: int) -> None:
        """Start to watch a socket."""
        ...

    def modify(self, fd: int, events: int) -> None:
        """Watch for other events, or (0) for none."""
        ...

    def unregister(self, fd: int) -> None:
        """Stop to watch a socket, before it is closed."""
        ...

    def poll(self) -> list[tuple[int, int]]:
        """(descriptor, events) of what is ready now; never waits."""
        ...

    def fileno(self) -> int:
        """A descriptor that is readable while anything is ready."""
        ...

    def close(self) -> None:
        """Give the descriptor back."""
        ...


class EpollPoller:
    """Linux. Level-triggered, so nothing is forgotten when a turn ends before a socket is empty."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._resting: set[int] = set()
        """Sockets nobody wants events of. They leave the set, since epoll reports a hang-up whether asked or not."""

    def register(self, fd: int, events: int) -> None:
        """Start to watch a socket."""
        self._epoll.register(fd, _with_end(events))

    def modify(self, fd: int, events: int) -> None:
        """Watch for other events, or for none."""
        if fd in self._resting:
            if events:
                self._resting.remove(fd)
                self._epoll.register(fd, _with_end(events))
        elif events:
            self._epoll.modify(fd, _with_end(events))
        else:
            self._resting.add(fd)
            self._epoll.unregister(fd)

    def unregister(self, fd: int) -> None:
        """Stop to watch a socket, before it is closed."""
        if fd in self._resting:
            self._resting.remove(fd)
        else:
            self._epoll.unregister(fd)

    def poll(self) -> list[tuple[int, int]]:
        """What is ready now."""
        return self._epoll.poll(0, MOST_EVENTS)

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Give the descriptor back."""
        self._epoll.close()


def _with_end(events: int) -> int:
    return events | ENDED if events & READ else events


class SelectorPoller:
    """Everything else that has a selector with a descriptor of its own (kqueue)."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, events: int) -> None:
        """Start to watch a socket."""
        self._selector.register(fd, _to_selector(events))

    def modify(self, fd: int, events: int) -> None:
        """Watch for other events; a selector cannot watch for none, so such a socket leaves it for a while."""
        known = fd in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, _to_selector(events))
        else:
            self._selector.register(fd, _to_selector(events))

    def unregister(self, fd: int) -> None:
        """Stop to watch a socket."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def poll(self) -> list[tuple[int, int]]:
        """What is ready now."""
        return [(key.fd, _from_selector(events)) for key, events in self._selector.select(0)]

    def fileno(self) -> int:
        """The descriptor to wait for. Raises AttributeError where the selector has none (Windows)."""
        descriptor: int = self._selector.fileno()
        return descriptor

    def close(self) -> None:
        """Give the descriptor back."""
        self._selector.close()


def _to_selector(events: int) -> int:
    return (selectors.EVENT_READ if events & READ else 0) | (selectors.EVENT_WRITE if events & WRITE else 0)


def _from_selector(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)


def make_poller() -> Poller:
    """The best one this system has."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()

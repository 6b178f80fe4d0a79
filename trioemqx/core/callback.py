"""A receiver made of plain functions, for plugins, rules, bridges and tests.

The core is compiled, and a class written in ordinary Python cannot inherit from a compiled one; handing in functions
works either way.
"""

from __future__ import annotations

from collections.abc import Callable

from trioemqx.core.subscription import Receiver, Subscription
from trioemqx.types import Message


class Callback(Receiver):
    """Calls `call(message, subscription)` for each delivery. The function must not wait. `present` says whether a share
    group should prefer this receiver; without it the answer is yes."""

    __slots__ = ("_call", "_present")

    def __init__(
        self,
        clientid: str,
        call: Callable[[Message, Subscription], object],
        present: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(clientid)
        self._call = call
        self._present = present

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """Hand one message to the function."""
        self._call(message, subscription)

    def connected(self) -> bool:
        """What `present` says."""
        return self._present is None or self._present()

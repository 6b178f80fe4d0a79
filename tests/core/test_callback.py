"""A receiver made of functions."""

from __future__ import annotations

from core_helpers import Sink

from trioemqx.core.callback import Callback
from trioemqx.core.subscription import Subscription
from trioemqx.types import Message, SubOpts


def test_deliveries_reach_the_function() -> None:
    sink = Sink("c")
    sub = Subscription(sink.receiver, "a/+", SubOpts())
    sub.receiver.deliver(Message("a/b", b"x"), sub)
    assert sink.got == [("a/b", "a/+")]
    assert sub.receiver.clientid == "c"


def test_it_says_whether_it_is_there() -> None:
    sink = Sink("c", online=False)
    assert not sink.receiver.connected()
    sink.online = True
    assert sink.receiver.connected()
    assert Callback("c", sink.take).connected()

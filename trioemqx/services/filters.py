"""Which clients, or subscriptions, a list is asked for: conditions made once per request, which look at sessions.

A parameter is `key` (equality), `_like_key` (part of the text), `_match_key` (topic match), `_gte_key` or `_lte_key`.
All conditions have to hold. Parameters that a list does not know are ignored. What cannot be converted is refused in
EMQX's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Generic, TypeVar

from trioemqx.core.session import Session
from trioemqx.core.subscription import Subscription
from trioemqx.errors import TrioemqxError

T = TypeVar("T")
Condition = Callable[[T], bool]
Make = Callable[[object], Callable[[T], bool]]

BAD_PARAMS: Final = "bad_params"
ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    "\x1b": "\\e",
}


class FilterError(TrioemqxError):
    """A value cannot be what its parameter means. `text` is EMQX's message; `bad_request` says that EMQX answers HTTP
    400 instead of an error code."""

    def __init__(self, text: str, bad_request: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.bad_request = bad_request


class Filter(Generic[T]):
    """Conditions on clients or subscriptions; `names` are the parameters they came from."""

    __slots__ = ("conditions", "names")

    def __init__(self, conditions: list[Condition[T]], names: frozenset[str]) -> None:
        self.conditions = conditions
        self.names = names

    def __call__(self, item: T) -> bool:
        """Whether every condition holds."""
        return all(condition(item) for condition in self.conditions)

    def select(self, items: list[T]) -> list[T]:
        """Those of many for which every condition holds, in their order; cheaper than asking about each."""
        for condition in self.conditions:
            items = [item for item in items if condition(item)]
        return items


# -- values ------------------------------------------------------------------------------------------------------------


def integer(value: object) -> int:
    """A decimal integer, as a number or a text. Raises FilterError."""
    return _whole(value, value, "integer")


def term(value: object) -> str:
    """A value as Erlang prints it: `<<"text">>`, bytes for a text outside Latin-1, `true`, `null`, a number."""
    if isinstance(value, str):
        if all(" " <= char <= "~" or "\xa0" <= char <= "\xff" or char in ESCAPES for char in value):
            return f'<<"{"".join(ESCAPES.get(char, char) for char in value)}">>'
        return f"<<{','.join(str(byte) for byte in value.encode('utf-8', 'surrogatepass'))}>>"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    raise FilterError(BAD_PARAMS)


def _whole(value: object, whole: object, kind: str) -> int:
    """`value`, which is `whole` or a part of it, as Erlang's `binary_to_integer` reads it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        digits = value[1:] if value[:1] in ("+", "-") else value
        if digits.isascii() and digits.isdigit():
            try:
                return int(value)
            except ValueError:  # thousands of digits: Python refuses what would take long
                raise FilterError(BAD_PARAMS) from None
    raise FilterError(f"Can't convert {term(whole)} to {kind} type")


def _milliseconds(value: object) -> int:
    """Unix seconds as the milliseconds that sessions hold."""
    return _whole(value, value, "timestamp") * 1000


def _address(value: object) -> str:
    """An IPv4 address in its usual spelling. Other numbers of parts are no error: nobody has such an address."""
    parts = value.split(".") if isinstance(value, str) else [value]
    return ".".join(str(_whole(part if isinstance(value, str) else None, value, "ip")) for part in parts)


def plain_address(host: str) -> str:
    """An IPv4 client of an IPv6 socket is known by its IPv4 address."""
    mapped = host.removeprefix("::ffff:")
    return mapped if "." in mapped else host


# -- conditions --------------------------------------------------------------------------------------------------------


def _never(item: object) -> bool:
    return False


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise FilterError(BAD_PARAMS)
    return value


def _like_clientid(value: object) -> Condition[Session]:
    """A part of the client identifier; the empty text is a part of all."""
    part = _text(value)
    return lambda session: part in session.clientid


def _like_username(value: object) -> Condition[Session]:
    part = _text(value)
    return lambda session: part in (session.info.username or "")


def _conn_state(value: object) -> Condition[Session]:
    """EMQX's third state, `idle`, is that of connections which have no session yet: nobody here."""
    if value == "connected":
        return lambda session: session.channel is not None
    return (lambda session: session.channel is None) if value == "disconnected" else _never


def _clean_start(value: object) -> Condition[Session]:
    wanted = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
    return (lambda session: session.info.clean_start is wanted) if isinstance(wanted, bool) else _never


def _ip_address(value: object) -> Condition[Session]:
    wanted = _address(value)
    return lambda session: plain_address(session.info.peerhost) == wanted


def _proto_ver(value: object) -> Condition[Session]:
    wanted = integer(value)
    return lambda session: session.info.proto_ver == wanted


def queue_length(session: Session) -> int:
    """How many messages wait in a session's queue."""
    queue = session.mqueue
    return 0 if queue is None else len(queue)


def _at_least(read: Callable[[Session], int], convert: Callable[[object], int], value: object) -> Condition[Session]:
    limit = convert(value)
    return lambda session: read(session) >= limit


def _at_most(read: Callable[[Session], int], convert: Callable[[object], int], value: object) -> Condition[Session]:
    limit = convert(value)
    return lambda session: read(session) <= limit


def _ranges() -> dict[str, Make[Session]]:
    """`_gte_` and `_lte_` of everything that has an order."""
    ordered: dict[str, tuple[Callable[[Session], int], Callable[[object], int]]] = {
        "created_at": (lambda session: session.created_at, _milliseconds),
        "connected_at": (lambda session: session.info.connected_at, _milliseconds),
        "mqueue_len": (queue_length, integer),
        "mqueue_dropped": (lambda session: session.queue_dropped, integer),
    }
    found: dict[str, Make[Session]] = {}
    for name, (read, convert) in ordered.items():
        found[f"_gte_{name}"] = partial(_at_least, read, convert)
        found[f"_lte_{name}"] = partial(_at_most, read, convert)
    return found


CLIENT: Final[Mapping[str, Make[Session]]] = {
    "clientid": lambda value: lambda session: session.clientid == value,
    "username": lambda value: lambda session: session.info.username == value and value is not None,
    "zone": lambda value: lambda session: session.info.zone == value,
    "ip_address": _ip_address,
    "conn_state": _conn_state,
    "clean_start": _clean_start,
    "proto_name": lambda value: lambda session: session.info.proto_name == value,
    "proto_ver": _proto_ver,
    "_like_clientid": _like_clientid,
    "_like_username": _like_username,
    **_ranges(),
}
"""What the lists of clients can be asked for."""


def _qos(value: object) -> Condition[Subscription]:
    try:
        wanted = integer(value)
    except FilterError:
        raise FilterError(f'{{bad_value_type,{{<<"qos">>,integer,{term(value)}}}}}', bad_request=True) from None
    return lambda subscription: subscription.qos == wanted


def _match_topic(value: object) -> Condition[Subscription]:
    """The filter of a subscription is the name here, and the value the filter it has to match, by MQTT's rules [MQTT5
    4.7]. Taken apart once: `topics.matches` would do so for each of perhaps a hundred thousand subscriptions."""
    words = _text(value).split("/")
    if words == ["#"]:
        return lambda subscription: not subscription.filter.startswith("$")
    if "+" not in words and words[-1] != "#":
        return lambda subscription: subscription.filter == value
    if "+" in words:
        return _levels(words)
    parent = "/".join(words[:-1])  # `a/#` matches `a` too
    below = f"{parent}/"
    return lambda subscription: subscription.filter.startswith(below) or subscription.filter == parent


def _levels(words: list[str]) -> Condition[Subscription]:
    """A filter with `+`: what stands before the first and after the last is compared as text, the rest by level."""
    deep = words[-1] == "#"
    words = words[: len(words) - deep]
    plus = [index for index, word in enumerate(words) if word == "+"]
    end = len(words) if deep else plus[-1] + 1
    head = "".join(f"{word}/" for word in words[: plus[0]])
    tail = "".join(f"/{word}" for word in words[end:])
    middle = [(index, words[index]) for index in range(plus[0], end) if words[index] != "+"]
    slashes = len(words) - 1
    no_dollar = not head

    def holds(subscription: Subscription) -> bool:
        topic = subscription.filter
        if not (topic.startswith(head) and topic.endswith(tail)):
            return False
        count = topic.count("/")
        if count < slashes or (count > slashes and not deep) or (no_dollar and topic.startswith("$")):
            return False
        if middle:
            names = topic.split("/")
            return all(names[index] == word for index, word in middle)
        return True

    return holds


SUBSCRIPTION: Final[Mapping[str, Make[Subscription]]] = {
    "clientid": lambda value: lambda subscription: subscription.receiver.clientid == value,
    "topic": lambda value: lambda subscription: subscription.filter == value,
    "share": lambda value: lambda subscription: subscription.group == value != "",
    "qos": _qos,
    "_match_topic": _match_topic,
}
"""What the lists of subscriptions can be asked for. A topic is the filter without share prefix."""


def client_filter(params: Mapping[str, object]) -> Filter[Session] | None:
    """The conditions on clients among a request's parameters; None when there is none. Raises FilterError."""
    return _compile(CLIENT, params)


def subscription_filter(params: Mapping[str, object]) -> Filter[Subscription] | None:
    """The conditions on subscriptions among a request's parameters; None when there is none. Raises FilterError."""
    try:
        return _compile(SUBSCRIPTION, params)
    except FilterError as error:
        if error.bad_request and "topic" in params:  # where EMQX looks topics up it does not throw
            raise FilterError(BAD_PARAMS) from None
        raise


def _compile(known: Mapping[str, Make[T]], params: Mapping[str, object]) -> Filter[T] | None:
    used = {name: value for name, value in params.items() if name in known}
    if not used:
        return None
    return Filter([known[name](value) for name, value in used.items()], frozenset(used))

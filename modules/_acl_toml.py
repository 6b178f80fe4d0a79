"""Access rules in TOML, one `[[acl]]` table each. What they say is what EMQX's terms say.

[[acl]]
permission = "allow"            # allow, deny
who = { user = "dashboard" }    # "all", or one of user, client, ipaddr, ipaddrs, and, or
action = "subscribe"            # subscribe, publish, pubsub; left out: both
topics = ["$SYS/#"]             # filters, { eq = "#" } for a literal comparison; left out: every topic
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from typing import Any, Final

from trioemqx.plugin import toml_positions

from ._acl_rules import ACTIONS, MAX_DEPTH, AclError, Rule, Topic, Who, either

Path = tuple[str | int, ...]
KEYS: Final = ("permission", "who", "action", "topics")
WHO: Final = ("user", "client", "ipaddr", "ipaddrs", "and", "or")


def read_toml(text: str) -> list[Rule]:
    """The rules in a TOML text. Raises AclError."""
    try:
        tree = tomllib.loads(text)
        places = toml_positions(text)
    except RecursionError:
        raise AclError("too many brackets inside each other", 1, 1) from None
    except ValueError as error:
        raise _syntax_error(text, str(error)) from None
    try:
        _known(tree, ("acl",), ())
        return [_rule(table, ("acl", index)) for index, table in enumerate(_list(tree.get("acl", []), ("acl",)))]
    except _Wrong as error:
        raise AclError(str(error), *_place(places, error.path)) from None


class _Wrong(Exception):
    """An error at a key."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self.path = path


def _syntax_error(text: str, problem: str) -> AclError:
    """tomllib ends its messages in `(at line 3, column 5)` or `(at end of document)`."""
    words, _, place = problem.rpartition(" (at ")
    numbers = [int(part) for part in place.replace(")", " ").replace(",", " ").split() if part.isdecimal()]
    if len(numbers) != 2:
        numbers = [text.count("\n") + 1, len(text) - text.rfind("\n")]
    return AclError(words or problem, numbers[0], numbers[1])


def _place(places: dict[Path, tuple[int, int]], path: Path) -> tuple[int, int]:
    """Where a key stands, or what is nearest around it."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, (1, 1))


def _rule(table: object, at: Path) -> Rule:
    if not isinstance(table, dict):
        raise _Wrong("expected a table, written [[acl]]", at)
    _known(table, KEYS, at)
    allow = _one_of(table, "permission", ("allow", "deny"), at) == "allow"
    if "who" not in table:
        raise _Wrong('who has to be set; "all" means everybody', at)
    who = _who(table["who"], (*at, "who"), 0)
    action = _one_of(table, "action", ACTIONS, at) if "action" in table else "pubsub"
    if "topics" not in table:
        return Rule(allow, who, action)
    topics, place = table["topics"], (*at, "topics")
    listed = [topics] if isinstance(topics, str | dict) else _list(topics, place)
    if not listed:
        raise _Wrong("a rule needs at least one topic; without topics it means every one", place)
    return Rule(allow, who, action, tuple(_topic(topic, (*place, index)) for index, topic in enumerate(listed)))


def _known(table: dict[str, Any], names: tuple[str, ...], at: Path) -> None:
    for name in table:
        if name not in names:
            close = get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]}?" if close else f"expected {either(names)}"
            raise _Wrong(f"unknown key {name:.80}; {hint}", (*at, name))


def _one_of(table: dict[str, Any], key: str, words: tuple[str, ...], at: Path) -> str:
    if key not in table:
        raise _Wrong(f"{key} has to be set: {either(words)}", at)
    value = table[key]
    if not isinstance(value, str) or value not in words:
        raise _Wrong(f"{key}: expected {either(words)}, got {value!r:.80}", (*at, key))
    return value


def _who(value: object, at: Path, depth: int) -> Who:
    if value == "all":
        return Who()
    if depth > MAX_DEPTH:
        raise _Wrong("too many conditions inside each other", at)
    if not isinstance(value, dict) or len(value) != 1:
        raise _Wrong(f'expected "all", or a table with one key such as {{ user = "name" }}, got {value!r:.80}', at)
    _known(value, WHO, at)
    ((kind, inner),) = value.items()
    at = (*at, kind)
    try:
        if kind in ("and", "or"):
            parts = enumerate(_list(inner, at))
            return Who(kind, parts=tuple(_who(part, (*at, index), depth + 1) for index, part in parts))
        if kind == "ipaddrs":
            return Who("ipaddr", tuple(_text(name, (*at, index)) for index, name in enumerate(_list(inner, at))))
        return Who(kind, (_text(inner, at),))
    except ValueError as error:
        raise _Wrong(str(error), at) from None


def _topic(value: object, at: Path) -> Topic:
    try:
        if isinstance(value, dict) and list(value) == ["eq"]:
            return Topic(_text(value["eq"], (*at, "eq")), True)
        if not isinstance(value, str):
            raise _Wrong(f'expected a topic filter, or {{ eq = "topic" }}, got {value!r:.80}', at)
        return Topic(value)
    except ValueError as error:
        raise _Wrong(str(error), at) from None


def _list(value: object, at: Path) -> list[Any]:
    if not isinstance(value, list):
        raise _Wrong(f"expected a list, got {value!r:.80}", at)
    return value


def _text(value: object, at: Path) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"expected a text, got {value!r:.80}", at)
    return value

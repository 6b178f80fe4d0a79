"""What the claims of a genuine token allow: to come in, and to use which topics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from trioemqx.plugin import ClientInfo, covers, is_wildcard, matches

Claims = Mapping[str, object]
LISTS: Final = {"publish": ("all", "pub"), "subscribe": ("all", "sub")}
"""Which lists of the access claim count for an action."""


def violated(claims: Claims, now: float, expected: Mapping[str, str], client: ClientInfo) -> str:
    """Why the claims do not admit a client at Unix time `now`; empty when they do."""
    if expired(claims, now):
        return "it has expired (exp)"
    for name in ("iat", "nbf"):
        since = _seconds(claims.get(name))
        if name in claims and not (since is not None and since <= now):
            return f"it is not valid yet ({name})"
    for name, template in expected.items():
        wanted = _filled(template, client)
        if wanted is None or _text(claims.get(name)) != wanted:
            return f"claim {name} is not what verify_claims expects"
    return ""


def expired(claims: Claims, now: float) -> bool:
    """True unless `exp` lies in the future, or there is none."""
    until = _seconds(claims.get("exp"))
    return "exp" in claims and not (until is not None and now < until)


def allowed(claims: Claims, name: str, client: ClientInfo, action: str, topic: str, now: float) -> bool | None:
    """The answer of the access claim called `name`, None when there is none. One that is not an object of lists of
    filters allows nothing."""
    if name not in claims:
        return None
    if expired(claims, now):
        return False
    return any(_allows(rule, action, topic) for rule in _rules(claims[name], client, action))


def _rules(access: object, client: ClientInfo, action: str) -> Iterator[str]:
    for part in LISTS[action]:
        listed = access.get(part) if isinstance(access, dict) else None
        for written in listed if isinstance(listed, list) else ():
            rule = _rule(written, client) if isinstance(written, str) else None
            if rule is not None:
                yield rule


def _rule(written: str, client: ClientInfo) -> str | None:
    """A filter with its `%c` and `%u`, where they are a whole level; None when the client has no such name, or one that
    would open the topics of others."""
    if "%" not in written:
        return written
    levels = written.split("/")
    for index, level in enumerate(levels):
        if level in ("%c", "%u"):
            name = client.clientid if level == "%c" else client.username
            if not name or is_wildcard(name) or "/" in name:
                return None
            levels[index] = name
    return "/".join(levels)


def _allows(rule: str, action: str, topic: str) -> bool:
    if action == "publish":
        return matches(rule, topic)
    # As for messages: what begins with a wildcard does not reach $SYS.
    return not (topic.startswith("$") and rule.startswith(("+", "#"))) and covers(rule, topic)


def _seconds(value: object) -> float | int | None:
    """A time claim: a number, or one in a text."""
    if isinstance(value, str):
        digits = value.removeprefix("-").replace(".", "", 1)
        return float(value) if len(value) <= 32 and digits.isascii() and digits.isdigit() else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    """A claim as the text that it is compared as."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def _filled(template: str, client: ClientInfo) -> str | None:
    """A template with `%c` and `%u` filled, once; None when the client has no username to put in."""
    first, *others = template.split("%")
    parts = [first]
    for other in others:
        name: Any = {"c": client.clientid, "u": client.username}.get(other[:1], f"%{other[:1]}")
        if name is None:
            return None
        parts += [name, other[1:]]
    return "".join(parts)

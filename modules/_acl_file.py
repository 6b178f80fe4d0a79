"""The file of access rules: EMQX's terms, TOML, or one rule per line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trioemqx.plugin import PluginError

from ._acl_erlang import read_erlang
from ._acl_rules import ACTIONS, AclError, Rule, Topic, Who
from ._acl_toml import read_toml

MAX_BYTES: Final = 4 * 1024 * 1024
"""Of a file: it is read while everybody waits."""


def read_file(path: Path) -> list[Rule]:
    """The rules in a file. Raises PluginError, one line with the file, the line and the column, for a file that cannot
    be read, that is wrong anywhere, or that holds no rule."""
    try:
        if path.exists() and not path.is_file():
            raise PluginError(f"acl_file: {path} is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PluginError(f"acl_file: {path} cannot be read: {reason}; all access is denied without it") from None
    if len(data) > MAX_BYTES:
        raise PluginError(f"acl_file: {path} is larger than {MAX_BYTES // 1024 // 1024} MB")
    try:
        return read_rules(decoded(data), path.suffix.lower())
    except AclError as error:
        raise PluginError(f"{path}:{error.line}:{error.column}: {error}") from None


def decoded(data: bytes) -> str:
    """UTF-8 text with `\\n` at the end of lines. Raises AclError."""
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode("utf-8-sig", "replace")
        raise AclError("not UTF-8 text", good.count("\n") + 1, len(good) - good.rfind("\n")) from None


def read_rules(text: str, suffix: str = "") -> list[Rule]:
    """The rules in a text whose form is told by the suffix of the file, `.toml`, or else by its first line. Raises
    AclError; also when there is no rule, since an emptied file must not open everything."""
    rules = _reader(text, suffix)(text)
    if not rules:
        raise AclError("there is no rule in here; write one, for instance `allow all`, or unset acl_file", 1, 1)
    return rules


def _reader(text: str, suffix: str) -> Callable[[str], list[Rule]]:
    if suffix == ".toml":
        return read_toml
    first = next((line.split() for line in text.split("\n") if line.strip() and line.strip()[0] not in "%#"), None)
    if first is None or first[0] in ("allow", "deny"):
        return read_lines
    return read_toml if suffix != ".conf" and first[0].startswith("[") else read_erlang


def read_lines(text: str) -> list[Rule]:
    """Rules of one line each: `allow user:dashboard subscribe $SYS/#`, `deny all subscribe $SYS/# eq:#`, `allow all`.
    Lines that begin with `#` or `%` are comments. Raises AclError."""
    rules = []
    for number, line in enumerate(text.split("\n"), 1):
        words = [(match.group(), match.start() + 1) for match in re.finditer(r"\S+", line)]
        if words and words[0][0][0] not in "#%":
            rules.append(_line(words, number, len(line) + 1))
    return rules


def _line(words: list[tuple[str, int]], number: int, end: int) -> Rule:
    at = end
    try:
        word, at = words[0]
        if word not in ("allow", "deny"):
            raise ValueError(f"expected allow or deny, got {word:.80}")
        if len(words) == 1:
            at = end
            raise ValueError("expected all, user:<name>, client:<id>, ipaddr:<net> or ipaddrs:<net>,<net>")
        name, at = words[1]
        who = _who(name)
        if len(words) == 2:
            return Rule(word == "allow", who)
        action, at = words[2]
        if action not in ACTIONS:
            raise ValueError(f"expected publish, subscribe or pubsub, got {action:.80}")
        topics = []
        for topic, place in words[3:]:
            at = place
            topics.append(Topic(topic[3:], True) if topic.startswith("eq:") else Topic(topic))
        return Rule(word == "allow", who, action, tuple(topics))
    except ValueError as error:
        raise AclError(str(error), number, at) from None


def _who(word: str) -> Who:
    kind, _, value = word.partition(":")
    if word == "all" or (kind in ("user", "client") and value == "all"):
        return Who()
    if kind not in ("user", "client", "ipaddr", "ipaddrs") or not value:
        raise ValueError(f"expected all, user:<name>, client:<id>, ipaddr:<net> or ipaddrs:<net>,<net>, got {word:.80}")
    if kind == "ipaddrs":
        return Who("ipaddr", tuple(value.split(",")))
    return Who(kind, (value,))

"""The parts of the ACL module, imported as the broker imports them, and rules written in each of the three forms."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from trioemqx.services.plugins import importing

ROOT = Path(__file__).resolve().parents[2]
_main = importing.fresh("emqx_mod_acl_internal", ROOT / "modules" / "emqx_mod_acl_internal.py")
_package = importing.package_of(_main)


def _part(name: str) -> Any:
    return importlib.import_module(f"{_package}.{name}")


rules, erlang, toml, file = (_part(name) for name in ("_acl_rules", "_acl_erlang", "_acl_toml", "_acl_file"))
main = _main
Rule, Who, Topic, Acl, AclError = rules.Rule, rules.Who, rules.Topic, rules.Acl, rules.AclError

EMQX_SHIPPED = """\
{allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.

{allow, {ipaddr, "127.0.0.1"}, pubsub, ["$SYS/#", "#"]}.

{deny, all, subscribe, ["$SYS/#", {eq, "#"}]}.

{allow, all}.
"""

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
HOSTS = st.one_of(st.ip_addresses().map(str), st.sampled_from(["10.0.0.0/8", "192.168.1.1/24", "::/0", "fe80::/10"]))
LEVELS = st.one_of(st.sampled_from(["", "+", "a", "b", "%c", "%u", "$SYS"]), NAMES.map(lambda name: _level(name)))
FILTERS = (
    st.tuples(st.lists(LEVELS, min_size=1, max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join(parts[0] + parts[1]))
    .filter(bool)
)
TOPICS = st.one_of(FILTERS.map(Topic), NAMES.map(lambda name: Topic(name, True)))
LEAVES = st.one_of(
    st.just(Who()),
    st.builds(lambda kind, name: Who(kind, (name,)), st.sampled_from(["user", "client"]), NAMES),
    st.builds(lambda names: Who("ipaddr", tuple(names)), st.lists(HOSTS, min_size=1, max_size=3)),
)
WHOS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda kind, parts: Who(kind, parts=tuple(parts)),
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)
RULES = st.one_of(
    st.builds(Rule, st.booleans(), WHOS),
    st.builds(
        Rule,
        st.booleans(),
        WHOS,
        st.sampled_from(["publish", "subscribe", "pubsub"]),
        st.lists(TOPICS, min_size=1, max_size=4).map(tuple),
    ),
)


def _level(name: str) -> str:
    for letter in "+#/":
        name = name.replace(letter, "x")
    return name


def as_erlang(rule: Any) -> str:
    """A rule as EMQX writes it."""
    word = "allow" if rule.allow else "deny"
    if not rule.topics:
        return f"{{{word}, {_erlang_who(rule.who)}}}."
    topics = ", ".join(
        f"{{eq, {_string(topic.filter)}}}" if topic.literal else _string(topic.filter) for topic in rule.topics
    )
    return f"{{{word}, {_erlang_who(rule.who)}, {rule.action}, [{topics}]}}."


def _erlang_who(who: Any) -> str:
    if who.kind == "all":
        return "all"
    if who.parts:
        return f"{{'{who.kind}', [{', '.join(map(_erlang_who, who.parts))}]}}"
    if len(who.names) > 1:
        return f"{{ipaddrs, [{', '.join(map(_string, who.names))}]}}"
    return f"{{{who.kind}, {_string(who.names[0])}}}"


def _string(text: str) -> str:
    letters = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\x7f": "\\x7f", "\x85": "\\x{85}"}
    return '"' + "".join(letters.get(letter, letter) for letter in text) + '"'


def as_toml(rule: Any) -> str:
    """A rule as a table."""
    lines = ["[[acl]]", f'permission = "{"allow" if rule.allow else "deny"}"', f"who = {_toml_who(rule.who)}"]
    if rule.topics:
        topics = [f"{{ eq = {_quoted(t.filter)} }}" if t.literal else _quoted(t.filter) for t in rule.topics]
        lines += [f'action = "{rule.action}"', f"topics = [{', '.join(topics)}]"]
    return "\n".join(lines)


def _toml_who(who: Any) -> str:
    if who.kind == "all":
        return '"all"'
    if who.parts:
        return f"{{ {who.kind} = [{', '.join(map(_toml_who, who.parts))}] }}"
    if len(who.names) > 1:
        return f"{{ ipaddrs = [{', '.join(map(_quoted, who.names))}] }}"
    return f"{{ {who.kind} = {_quoted(who.names[0])} }}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

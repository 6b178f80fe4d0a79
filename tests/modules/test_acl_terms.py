"""What may stand in a file of access rules, in its three forms, and what is said about a file that is wrong."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from acl_files import (
    EMQX_SHIPPED,
    ROOT,
    RULES,
    AclError,
    Rule,
    Topic,
    Who,
    as_erlang,
    as_toml,
    erlang,
    file,
    main,
    toml,
)
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.plugin import PluginError

DASHBOARD, LOCAL = Who("user", ("dashboard",)), Who("ipaddr", ("127.0.0.1",))
SHIPPED = [
    Rule(True, DASHBOARD, "subscribe", (Topic("$SYS/#"),)),
    Rule(True, LOCAL, "pubsub", (Topic("$SYS/#"), Topic("#"))),
    Rule(False, Who(), "subscribe", (Topic("$SYS/#"), Topic("#", True))),
    Rule(True),
]


# -- the same rules in every form --------------------------------------------------------------------------------------


def test_the_shipped_rules_are_emqx_s_in_every_form() -> None:
    assert erlang.read_erlang(EMQX_SHIPPED) == SHIPPED
    assert toml.read_toml((ROOT / "etc" / "acl.toml").read_text("utf-8")) == SHIPPED
    assert file.read_lines(main.SHIPPED) == SHIPPED


@given(st.lists(RULES, min_size=1, max_size=5))
def test_what_is_written_is_read_back(rules: list[Any]) -> None:
    assert erlang.read_erlang("\n".join(map(as_erlang, rules))) == rules


@given(st.lists(RULES, min_size=1, max_size=5))
def test_terms_and_toml_say_the_same(rules: list[Any]) -> None:
    assert toml.read_toml("\n\n".join(map(as_toml, rules))) == erlang.read_erlang("\n".join(map(as_erlang, rules)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("acl.conf", "% EMQX\n{deny, all}.\n"),
        ("acl.toml", '[[acl]]\npermission = "deny"\nwho = "all"\n'),
        ("acl.conf", "# quick\ndeny all\n"),
        ("acl", "\n\n% quick\n  deny all\n"),
        ("acl.txt", '# TOML\n[[acl]]\npermission = "deny"\nwho = "all"\n'),
        ("acl.rules", "{deny, all}."),
        ("ACL.TOML", 'acl = [{ permission = "deny", who = "all" }]'),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
def test_the_form_is_told_by_suffix_and_first_line(tmp_path: Path, name: str, text: str, end: str, mark: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(mark + text.replace("\n", end).encode())
    assert file.read_file(path) == [Rule(False)]


# -- terms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("all", Who()),
        ("{user, all}", Who()),
        ("{client, all}", Who()),
        ('{user, "u"}', Who("user", ("u",))),
        ('{client, <<"c">>}', Who("client", ("c",))),
        ('{client, <<"ü"/utf8>>}', Who("client", ("ü",))),
        ('{ipaddr, "10.0.0.0/8"}', Who("ipaddr", ("10.0.0.0/8",))),
        ('{ipaddrs, ["10.0.0.0/8", "::1"]}', Who("ipaddr", ("10.0.0.0/8", "::1"))),
        (
            """{'and', [{user, "u"}, {'or', [{client, "c"}, all]}]}""",
            Who("and", parts=(Who("user", ("u",)), Who("or", parts=(Who("client", ("c",)), Who())))),
        ),
    ],
)
def test_whom_a_rule_is_for(who: str, expected: Any) -> None:
    assert erlang.read_erlang(f'{{allow, {who}, publish, ["t"]}}.') == [Rule(True, expected, "publish", (Topic("t"),))]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'"plain"', "plain"),
        (r'"a\"b\\c"', 'a"b\\c'),
        (r'"\b\d\e\f\n\r\s\t\v"', "\b\x7f\x1b\f\n\r \t\v"),
        (r'"\x41\x{1F600}\101\60"', "A\U0001f600A0"),
        (r'"\^A\q"', "\x01q"),
        ('"two" "parts"', "twoparts"),
        ('"two"  % and\n  "lines\n"', "twolines\n"),
        ('"100 % of {it}, ."', "100 % of {it}, ."),
    ],
)
def test_strings(written: str, text: str) -> None:
    (rule,) = erlang.read_erlang(f"{{allow, {{user, {written}}}}}.")
    assert rule.who == Who("user", (text,))


def test_layout_and_comments_do_not_matter() -> None:
    spread = '%%-*- mode: erlang -*-\n\n{ \'deny\' ,all, %who\n\tsubscribe,[ "a" ,{eq,"#"}]\n} .%end\n{allow,all}.'
    assert erlang.read_erlang(spread) == [
        Rule(False, Who(), "subscribe", (Topic("a"), Topic("#", True))),
        Rule(True),
    ]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("{allow, all}", "1:13", "expected a full stop after the rule, got the end of the file"),
        ("{allow, all}\n{deny, all}.", "2:1", "expected a full stop after the rule, got {"),
        ("{allow, all}.{deny, all}.", "1:13", "a full stop needs a line end behind it"),
        ("{allow, all]}.", "1:12", "expected , or }, got ]"),
        ("{allow, all,}.", "1:13", "expected a rule or a part of one, got }"),
        ('{allow, {user, "x}}.', "1:16", 'this " is never closed'),
        ("{allow, {user, Name}}.", "1:16", "expected a term, got 'Name': a text needs quotes"),
        ("\n  {permit, all}.", "2:4", "expected allow or deny, got permit"),
        ("allow.", "1:1", "expected {allow, all} or {allow, Who, Action, Topics}, got allow"),
        ("{allow, all, publish}.", "1:1", "expected {allow, all} or {allow, Who, Action, Topics}, got a tuple of 3"),
        ('{allow, all, read, ["a"]}.', "1:14", "expected publish, subscribe or pubsub, got read"),
        ('{allow, all, "publish", ["a"]}.', "1:14", 'expected publish, subscribe or pubsub, got "publish"'),
        ("{allow, all, publish, []}.", "1:23", "a rule needs at least one topic"),
        ("{allow, all, publish, [a]}.", "1:24", 'expected a topic filter in quotes, or {eq, "topic"}, got a'),
        ('{allow, all, publish, ["a",\n {ne, "b"}]}.', "2:3", "expected eq, got ne"),
        ('{allow, all, publish, ["a/#/b"]}.', "1:24", "'a/#/b' is not a topic filter"),
        ('{allow, all, publish, ["a+"]}.', "1:24", "'a+' is not a topic filter"),
        ('{allow, all, publish, [""]}.', "1:24", "empty topic"),
        ('{allow, all, publish, ["x/%cna"]}.', "1:24", "%cna: there are no client aliases here"),
        ('{allow, {users, "a"}}.', "1:10", "expected user, client, ipaddr, ipaddrs, and or or, got users"),
        ("{allow, {user, name}}.", "1:16", "expected a string, got name"),
        ("{allow, {user, 5}}.", "1:16", "expected a string, got 5"),
        ('{allow, {ipaddr, "10.0.0.0/33"}}.', "1:18", "'10.0.0.0/33' is neither an address nor a network"),
        ('{allow, {ipaddrs, "10.0.0.1"}}.', "1:19", 'expected a list, got "10.0.0.1"'),
        ("{allow, {ipaddrs, []}}.", "1:19", "'ipaddr' needs a value"),
        ("{allow, {'and', []}}.", "1:17", "'and' needs at least one condition"),
        ('{allow, {user, "\\x{110000}"}}.', "1:17", "\\x{110000} is no character"),
        ('{allow, {user, "\\x{D800}"}}.', "1:17", "\\x{D800} is no character"),
        ("{allow, <<1>>}.", "1:11", "expected a string, got 1"),
        ("{allow, #{}}.", "1:9", "unexpected '#'"),
        ("% nothing\n", "1:1", "there is no rule in here"),
        ("", "1:1", "there is no rule in here"),
        ("{allow, " + "{'and', [" * 500, "1:189", "too many brackets inside each other"),
        ("{allow, " + "{'and', [" * 17 + "all" + "]}" * 17 + "}.", "1:162", "too many conditions inside each other"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path: Path, text: str, place: str, reason: str) -> None:
    path = tmp_path / "acl.conf"
    path.write_text(text, "utf-8")
    with pytest.raises(PluginError) as caught:
        file.read_file(path)
    assert str(caught.value).startswith(f"{path}:{place}: {reason}")
    assert "\n" not in str(caught.value)


PIECES = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ".",
    '"',
    "'",
    "<<",
    ">>",
    "\\",
    "%",
    "\n",
    " ",
    "allow",
    "deny",
    "all",
    "user",
    "eq",
]
PIECES += ['"a/#"', "'and'", "x{", "^", "5", "1.5e9", "A", "\0", "ü", "/utf8", "subscribe", "$x", "{allow,all}."]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text_gives_rules_or_the_reader_s_own_error(text: str) -> None:
    for suffix in (".conf", ".toml", ""):
        caught = None
        try:
            assert file.read_rules(text, suffix)
        except AclError as error:
            caught = error
        if caught is not None:
            lines = text.split("\n")
            assert 1 <= caught.line <= len(lines)
            assert 1 <= caught.column <= len(lines[caught.line - 1]) + 1


@given(st.lists(RULES, min_size=1, max_size=3), st.data())
def test_a_damaged_file_gives_rules_or_the_reader_s_own_error(rules: list[Any], data: st.DataObject) -> None:
    for written, read in ((as_erlang, erlang.read_erlang), (as_toml, toml.read_toml)):
        text = "\n".join(map(written, rules))
        start = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 3))
        text = text[:start] + data.draw(st.sampled_from(["", *PIECES])) + text[start + cut :]
        try:
            read(text)
        except AclError:
            continue


@pytest.mark.parametrize(
    "text",
    ["[" * 100000, '"' + "\\" * 100001, "%" * 1000000, " " * 1000000 + "?", "{" + "a," * 200000, "<<" * 100000],
    ids=["brackets", "backslashes", "comment", "blanks", "list", "binaries"],
)
def test_reading_takes_time_in_proportion_to_the_file(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(AclError):
        file.read_rules(text, ".conf")
    assert time.perf_counter() - start < 5


# -- TOML --------------------------------------------------------------------------------------------------------------


def table(**keys: str) -> str:
    """A table with these lines below permission and who."""
    return "\n".join(
        ['[[acl]]\npermission = "allow"\nwho = "all"', *(f"{key} = {value}" for key, value in keys.items())]
    )


def test_toml_may_leave_out_action_and_topics() -> None:
    assert toml.read_toml(table()) == [Rule(True)]
    assert toml.read_toml(table(action='"publish"')) == [Rule(True, Who(), "publish")]
    assert toml.read_toml(table(topics='"a"')) == [Rule(True, Who(), "pubsub", (Topic("a"),))]


def test_a_user_called_all_is_a_user() -> None:
    assert toml.read_toml('[[acl]]\npermission = "deny"\nwho = { user = "all" }') == [
        Rule(False, Who("user", ("all",)))
    ]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("[[acl]]\npermission = ", "2:14", "Invalid value"),
        ('[[acl]]\npermission = "allow', "2:20", "Unterminated string"),
        ("[[acl]]\n", "1:1", "permission has to be set: allow or deny"),
        ('[[acl]]\npermission = "allow"', "1:1", 'who has to be set; "all" means everybody'),
        ('[[acl]]\npermission = "yes"\nwho = "all"', "2:1", "permission: expected allow or deny, got 'yes'"),
        (table(topic='"a"'), "4:1", "unknown key topic; did you mean topics?"),
        ('[[rule]]\na = "b"', "1:1", "unknown key rule; expected acl"),
        (table() + "\n\n  [[acl]]", "5:3", "permission has to be set: allow or deny"),
        ("[acl]\n", "1:1", "expected a list, got {}"),
        ("acl = [1]\n", "1:8", "expected a table, written [[acl]]"),
        (table(action='"read"'), "4:1", "action: expected publish, subscribe or pubsub, got 'read'"),
        (table(topics="[]"), "4:1", "a rule needs at least one topic; without topics it means every one"),
        (table(topics='["a",\n  5]'), "5:3", 'expected a topic filter, or { eq = "topic" }, got 5'),
        (table(topics='["a",\n  { eq = 5 }]'), "5:5", "expected a text, got 5"),
        (table(topics='["a", "b/#/c"]'), "4:16", "'b/#/c' is not a topic filter"),
        ('[[acl]]\npermission = "deny"\nwho = "some"', "3:1", 'expected "all", or a table with one key'),
        ('[[acl]]\npermission = "deny"\nwho = { usr = "x" }', "3:9", "unknown key usr; did you mean user?"),
        ('[[acl]]\npermission = "deny"\nwho = { user = "x", client = "y" }', "3:1", 'expected "all", or a table'),
        ('[[acl]]\npermission = "deny"\nwho = { ipaddr = "x" }', "3:9", "'x' is neither an address nor a network"),
        (
            '[[acl]]\npermission = "deny"\nwho.and = [{ user = "a" },\n  { ipaddr = 5 }]',
            "4:5",
            "expected a text, got 5",
        ),
        ('[[acl]]\npermission = "deny"\nwho.or = []', "3:1", "'or' needs at least one condition"),
        ("acl = " + "[" * 5000, "1:1", "too many brackets inside each other"),
        ("# nothing\n", "1:1", "there is no rule in here"),
    ],
)
def test_toml_errors_name_file_line_and_column(tmp_path: Path, text: str, place: str, reason: str) -> None:
    path = tmp_path / "acl.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(PluginError) as caught:
        file.read_file(path)
    assert str(caught.value).startswith(f"{path}:{place}: {reason}")


# -- one rule per line -------------------------------------------------------------------------------------------------


def test_lines() -> None:
    text = (
        "# quick\nallow user:u pubsub %u/#\n\ndeny ipaddrs:10.0.0.0/8,::1 publish a eq:+/b\nallow client:c:1 subscribe"
    )
    assert file.read_lines(text) == [
        Rule(True, Who("user", ("u",)), "pubsub", (Topic("%u/#"),)),
        Rule(False, Who("ipaddr", ("10.0.0.0/8", "::1")), "publish", (Topic("a"), Topic("+/b", True))),
        Rule(True, Who("client", ("c:1",)), "subscribe"),
    ]
    assert file.read_lines("allow user:all\nallow ipaddr:::1") == [Rule(True), Rule(True, Who("ipaddr", ("::1",)))]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("allow", "1:6", "expected all, user:<name>"),
        ("allow all\nallows all", "2:1", "expected allow or deny, got allows"),
        ("deny  users:x", "1:7", "expected all, user:<name>"),
        ("deny user:", "1:6", "expected all, user:<name>"),
        ("deny all read x", "1:10", "expected publish, subscribe or pubsub, got read"),
        ("deny all publish a b/#/c", "1:20", "'b/#/c' is not a topic filter"),
        ("deny ipaddr:x", "1:6", "'x' is neither an address nor a network"),
    ],
)
def test_line_errors_name_line_and_column(text: str, place: str, reason: str) -> None:
    with pytest.raises(AclError, match=re.escape(reason)) as caught:
        file.read_rules(text)
    assert f"{caught.value.line}:{caught.value.column}" == place


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_or_cannot_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PluginError, match=r"none\.conf cannot be read: No such file or directory"):
        file.read_file(tmp_path / "none.conf")
    with pytest.raises(PluginError, match="is not a file"):
        file.read_file(tmp_path)
    with pytest.raises(PluginError, match="is not a file"):
        file.read_file(Path("/dev/zero"))
    large = tmp_path / "large.conf"
    large.write_text("{allow, all}.\n" * 1000)
    monkeypatch.setattr(file, "MAX_BYTES", 10)
    with pytest.raises(PluginError, match="is larger than"):
        file.read_file(large)


def test_text_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "acl.conf"
    path.write_bytes('{allow, all}.\n{deny, {user, "Jürgen"}}.'.encode("latin-1"))
    with pytest.raises(PluginError, match=f"^{re.escape(str(path))}:2:17: not UTF-8 text$"):
        file.read_file(path)

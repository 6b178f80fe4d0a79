"""Whatever is written and whatever comes in: the same answer as a simple evaluator, or one of two errors."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sql_helpers import FUNCTIONS, alike, rule
from sql_reference import Reference

from trioemqx.rules.sql import Columns, EvalError, SqlError
from trioemqx.rules.sql.parse import parse


class Writer:
    """Writes statements at random, never deeper than `room` levels."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def one(self, words: str) -> str:
        return str(self._draw(st.sampled_from(words.split("|"))))

    def number(self, most: int) -> int:
        return int(self._draw(st.integers(0, most)))

    def path(self) -> str:
        name = self.one("payload|payload|topic|qos|tags|props|a|b|item|metadata|none")
        return name + "".join(self.step() for _ in range(self.number(3)))

    def step(self) -> str:
        return self.one(".a|.b|.l|.payload|.i|.'1'|.'odd key'|[1]|[-1]|[0]|[-0]|[9]|[i]|[qos]|[a.b]|[payload.i]|[l[1]]")

    def alias(self) -> str:
        return self.path() if self.number(2) == 0 else self.one("a|b|payload|topic|item|new")

    def value(self, room: int) -> str:
        kind = self.number(4 if room <= 0 else 13)
        if kind <= 1:
            return self.path()
        if kind == 2:
            return self.one("0|1|2|2.5|'a'|''|'1'|'x y'|true|false|[1..3]|[2..1]|[]")
        if kind == 3:
            return self.one("topic()|payload()|flags()|payload('a')|topic(1)|null()|map_new()")
        if kind == 4:
            return self.path() + self.one("[1..2]|[-2..-1]|[0..1]") if self.number(7) == 7 else self.safe(room)
        return self.combined(kind, room - 1)

    def safe(self, room: int) -> str:
        """Something that hardly ever fails."""
        return self.one("qos + 1|qos * 2.5|strlen(topic)|[qos, topic]|str(payload)|upper(topic)|-qos|tags[1]")

    def number_or_any(self, room: int) -> str:
        return self.value(room) if self.number(3) == 3 else self.one("1|qos|2.5|strlen(topic)")

    def combined(self, kind: int, room: int) -> str:
        if kind <= 6:
            return f"({self.number_or_any(room)} {self.one('+|-|*|/|div|mod')} {self.number_or_any(room)})"
        if kind == 7:
            name = self.one("is_null|is_null|str|str|json_encode|json_encode|is_map|int|length|first|no_such")
            return f"{name}({self.value(room)})"
        if kind == 8:
            return f"- {self.number_or_any(room)}"
        if kind == 9:
            return f"[{self.value(room)}, {self.value(room)}]"
        if kind == 10:
            return f"map_put('{self.one('a|b.a')}', {self.value(room)}, {self.value(room)})"
        if kind == 11:
            return f"CASE {self.value(room)} WHEN {self.value(room)} THEN {self.value(room)} END"
        return f"CASE WHEN {self.condition(room)} THEN {self.value(room)} ELSE {self.value(room)} END"

    def condition(self, room: int) -> str:
        kind = self.number(4 if room <= 0 else 8)
        if kind <= 2:
            operator = self.one("=|!=|<>|=|!=|<>|<|>|<=|>=|=~")
            return f"{self.value(room - 1)} {operator} {self.value(room - 1)}"
        if kind == 3:
            return f"{self.value(room - 1)} {self.one('IN|NOT IN')} ({self.value(0)}, {self.value(0)})"
        if kind == 4:
            return self.value(room - 1)
        if kind == 5:
            return f"NOT {self.condition(0)}"
        if kind == 6:
            return f"NOT ({self.condition(room - 1)})"
        return f"({self.condition(room - 1)} {self.one('AND|OR')} {self.condition(room - 1)})"

    def field(self, star: bool = True) -> str:
        kind = self.number(5)
        if kind == 0 and star:
            return "*"
        return self.value(2) if kind <= 2 else f"{self.value(2)} AS {self.alias()}"

    def fields(self) -> str:
        return ", ".join(self.field() for _ in range(1 + self.number(3)))

    def maybe(self, word: str) -> str:
        return f" {word} {self.condition(2)}" if self.number(1) else ""

    def select(self) -> str:
        return f'SELECT {self.fields()} FROM "t"{self.maybe("WHERE")}'

    def foreach(self) -> str:
        loop = ", ".join([*(self.field(star=False) for _ in range(self.number(1))), self.collection()])
        do = f" DO {self.fields()}" if self.number(2) else ""
        return f'FOREACH {loop}{do}{self.maybe("INCASE")} FROM "t"{self.maybe("WHERE")}'

    def collection(self) -> str:
        value = self.one("payload.l|payload.l|tags|tags|[1..3]|[a, 'x']|payload[1]|props|payload.l[1..2]|payload")
        return value if self.number(1) else f"{value} AS {self.alias()}"


SELECTS = st.composite(lambda draw: Writer(draw).select())()
FOREACHS = st.composite(lambda draw: Writer(draw).foreach())()
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.5, "a", "1", "", '{"a":[1]}'])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ablix1"), inner, max_size=3)),
    max_leaves=8,
)
LISTS = st.lists(JSON, max_size=3)
OBJECTS = st.fixed_dictionaries({"l": LISTS}, optional=dict.fromkeys(["a", "b", "i", "payload", "1"], JSON)).map(
    json.dumps
)
PAYLOADS = st.one_of(OBJECTS, OBJECTS, OBJECTS, OBJECTS, JSON.map(json.dumps), st.sampled_from(["", "no JSON", "{"]))
COLUMNS = st.fixed_dictionaries(
    {"payload": PAYLOADS, "topic": st.just("a/b"), "qos": st.integers(0, 2), "tags": LISTS},
    optional={"props": JSON, "flags": st.just({"retain": True}), "a": JSON},
)


def compiled(sql: str, columns: dict[str, Any]) -> Any:
    try:
        return rule(sql).run(Columns(columns))
    except EvalError:
        return "fails"


def walked(sql: str, columns: dict[str, Any]) -> Any:
    try:
        return Reference(parse(sql), FUNCTIONS, columns).run()
    except EvalError:
        return "fails"


@settings(max_examples=400, deadline=None)
@given(SELECTS, COLUMNS)
def test_a_select_gives_what_a_walk_over_the_tree_gives(sql: str, columns: dict[str, Any]) -> None:
    before = json.dumps(columns)
    found, wanted = compiled(sql, columns), walked(sql, columns)
    assert alike(found, wanted), (found, wanted)
    assert json.dumps(columns) == before, "columns are never changed"


@settings(max_examples=400, deadline=None)
@given(FOREACHS, COLUMNS)
def test_a_foreach_gives_what_a_walk_over_the_tree_gives(sql: str, columns: dict[str, Any]) -> None:
    found, wanted = compiled(sql, columns), walked(sql, columns)
    assert alike(found, wanted), (found, wanted)


@settings(max_examples=100, deadline=None)
@given(st.one_of(SELECTS, FOREACHS), COLUMNS)
def test_rules_of_one_event_do_not_disturb_each_other(sql: str, columns: dict[str, Any]) -> None:
    found, shared = rule(sql), Columns(columns)
    first = compiled(sql, columns)
    for _ in range(2):
        try:
            again = found.run(shared)
        except EvalError:
            again = "fails"
        assert alike(again, first)


def read(text: str) -> None:
    """A rule, or an error inside the text."""
    error = None
    try:
        assert rule(text).topics
    except SqlError as caught:
        error = caught
    if error is not None:
        assert 1 <= error.line <= text.count("\n") + 1
        assert 1 <= error.column <= len(text) + 1


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_parses_or_says_why_not(text: str) -> None:
    read(text)


TOKENS = st.sampled_from(
    "SELECT FROM WHERE AS AND OR NOT IN CASE WHEN THEN ELSE END FOREACH DO INCASE IF div mod a b payload 'x' \"y\" "
    "1 2.5 [1..2] ( ) [ ] , . + - * / = =~ <> <= ~= true -- ' \" ; 温 1e5 \x00 \n".split(" ")
)


@settings(max_examples=500, deadline=None)
@given(st.lists(TOKENS, max_size=25))
def test_any_tokens_parse_or_say_why_not(tokens: list[str]) -> None:
    for text in (" ".join(tokens), 'SELECT {} FROM "t"'.format(" ".join(tokens)), "".join(tokens)):
        read(text)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([function.name for function in FUNCTIONS]), st.lists(JSON, max_size=6))
def test_any_function_takes_any_arguments_or_fails(name: str, arguments: list[Any]) -> None:
    columns = {f"v{number}": value for number, value in enumerate(arguments)}
    found = rule(f'SELECT "{name}"({", ".join(columns)}) AS r FROM "t"')
    error = None
    try:
        assert found.run(Columns(columns)).keys() == {"r"}
    except EvalError as caught:
        error = caught
    if error is not None:
        assert error.clause == f"SELECT, in {name}()"
        assert "Error:" not in error.reason, "no exception of Python's"

"""Placeholders: what is one, what it is replaced by, and statements that no value can break out of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.rules.sql import UNDEFINED, EvalError
from trioemqx.rules.template import Template

OUTPUT: dict[str, Any] = {
    "a": "x",
    "n": 1,
    "f": 2.0,
    "m": {"k": "v", "a b": 2, "l[1]": 3},
    "l": ["a", 1],
    "j": None,
    "t": True,
    "u": UNDEFINED,
    "b": b"\xff",
    "payload": '{"x":{"y":7}}',
    "温": 9,
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("${a}/${n}/${f}", "x/1/2.0"),
        ("${m} ${m.k} ${l}", '{"k":"v","a b":2,"l[1]":3} v ["a",1]'),
        ("${j} ${zz} ${m.zz} ${u} ${t}", "null undefined undefined undefined true"),
        ("$a {a} ${a", "$a {a} ${a"),
        ("${{a}}", "undefined}"),
        ("${payload.x.y}", "7"),
        ("${payload.x}", '{"y":7}'),
        ("${a.b}", "undefined"),
        ("${m.a b}${m.l[1]}", "23"),
        ("${ a}", "undefined"),
        ("${温}", "9"),
        ("${a}${a}", "xx"),
        ("$${a}", "$x"),
        ("${}", "${}"),
        ("", ""),
    ],
)
def test_render(text: str, wanted: str) -> None:
    assert Template(text).render(OUTPUT) == wanted


def test_a_text_that_is_not_utf8_makes_the_result_bytes() -> None:
    assert Template("<${b}>").render(OUTPUT) == b"<\xff>"
    assert Template("<${b}>").body(OUTPUT) == b"<\xff>"
    assert Template("${c3}${a9}").render({"c3": b"\xc3", "a9": b"\xa9"}) == "é"


def test_an_empty_template_is_the_whole_output_as_a_body() -> None:
    assert Template("").body({"a": 1, "u": UNDEFINED}) == b'{"a":1,"u":"undefined"}'
    assert Template("x").body({"a": 1}) == b"x"


def test_a_single_placeholder_keeps_the_kind() -> None:
    assert Template("${n}").value(OUTPUT) == 1
    assert Template("${u}").value(OUTPUT) is UNDEFINED
    assert Template("${n}${n}").value(OUTPUT) == "11"
    assert Template("1").value(OUTPUT) == "1"
    assert Template("${m.k}").only == ("m", "k")
    assert [Template(text).has_placeholders for text in ("a", "${a}", "${a")] == [False, True, False]


def test_a_result_has_a_bound() -> None:
    with pytest.raises(EvalError, match="at most 1048576"):
        Template("${a}" * 100).render({"a": "x" * 20_000})


@given(st.text(alphabet="${}ab. \\'", max_size=30))
def test_any_text_is_a_template(text: str) -> None:
    template = Template(text)
    rebuilt = "".join(part if isinstance(part, str) else f"${{{'.'.join(part)}}}" for part in template.parts)
    assert rebuilt == text
    assert isinstance(template.render({"a": 1}), str)

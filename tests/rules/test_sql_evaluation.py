"""SELECT, WHERE, CASE and FOREACH: what sees what, what is written where, and when nothing is computed at all."""

from __future__ import annotations

from typing import Any

import pytest
from sql_helpers import one, rule, run

from trioemqx.rules.sql import UNDEFINED, Columns, EvalError
from trioemqx.rules.sql.compare import order
from trioemqx.rules.sql.values import Value

# -- fields ------------------------------------------------------------------------------------------------------------


def test_star_brings_metadata_and_other_selections_do_not() -> None:
    assert run("SELECT * FROM t", "{}", qos=1) == {"payload": "{}", "qos": 1, "metadata": {"rule_id": "rule:1"}}
    assert run("SELECT metadata.rule_id AS id FROM t") == {"id": "rule:1"}
    assert run("SELECT 1 AS metadata, * FROM t") == {"payload": "{}", "metadata": 1}


def test_a_field_without_alias_goes_where_it_came_from() -> None:
    assert run("SELECT payload.a.b, qos FROM t", '{"a":{"b":1}}', qos=1) == {"payload": {"a": {"b": 1}}, "qos": 1}
    assert run("SELECT payload.l[2..3] FROM t", '{"l":[1,2,3]}') == {"payload": {"l": [2, 3]}}
    assert run("SELECT 'x' FROM t") == {"x": "x"}
    assert run("SELECT (qos) FROM t", qos=1) == {"qos": 1}


@pytest.mark.parametrize("expression", ["1", "-qos", "qos + 1", "upper('a')", "[1]", "[1..2]", "true", "qos = 1"])
def test_a_field_without_a_name_gets_one(expression: str) -> None:
    output = run(f"SELECT {expression}, {expression} FROM t", qos=1)
    assert len(output) == 2
    assert all(name.startswith("_v_") for name in output)


def test_an_alias_hides_a_column_for_what_follows() -> None:
    assert run("SELECT a AS b, b AS a FROM t", a=1, b=2) == {"b": 1, "a": 1}
    assert run("SELECT 5 AS a.x, a.y AS y FROM t", a={"y": 2}) == {"a": {"x": 5}, "y": 2}
    assert run("SELECT 5 AS a.x, a FROM t", a={"y": 2}) == {"a": {"y": 2, "x": 5}}


def test_star_merges_what_the_scope_is_by_then() -> None:
    assert run("SELECT 1 AS a.x, *, 2 AS a.z FROM t", a={"y": 2})["a"] == {"y": 2, "x": 1, "z": 2}
    assert run("SELECT *, 3 AS b.x FROM t", b={"y": 2})["b"] == {"y": 2, "x": 3}
    assert run("SELECT *, 3 AS new.x FROM t")["new"] == {"x": 3}


def test_writing_below_the_payload_decodes_it() -> None:
    assert run("SELECT payload.a, payload FROM t", '{"a":1,"b":2}') == {"payload": {"a": 1, "b": 2}}
    assert run("SELECT payload, 3 AS payload.c FROM t", '{"a":1}') == {"payload": {"a": 1, "c": 3}}
    assert run("SELECT 3 AS payload.c, payload.a AS a FROM t", '{"a":1}') == {"payload": {"c": 3}, "a": 1}
    assert run("SELECT 3 AS payload.c FROM t", "[1]") == {"payload": {"c": 3}}
    with pytest.raises(EvalError, match="not JSON"):
        run("SELECT 3 AS payload.c FROM t", "hello")


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ("[1,2,3] AS l, 9 AS l[2]", [1, 9, 3]),
        ("[1,2,3] AS l, 9 AS l[-3]", [9, 2, 3]),
        ("[1,2,3] AS l, 9 AS l[4]", [1, 2, 3]),
        ("[1,2,3] AS l, 9 AS l[-4]", [1, 2, 3]),
        ("[1,2,3] AS l, 9 AS l[n]", [1, 9, 3]),
        ("[1,2,3] AS l, 9 AS l[none]", [1, 2, 3]),
        ("[1,2,3] AS l, 9 AS l[z]", [9, 1, 2, 3]),
        ("5 AS l, 9 AS l[7]", [9]),
        ("9 AS l[1].k", [{"k": 9}]),
        ("[1] AS l, 9 AS l[1].k, 8 AS l[1].m", [{"k": 9, "m": 8}]),
        ("5 AS l, 9 AS l.k.m", {"k": {"m": 9}}),
        ("'{\"k\":1}' AS l, 9 AS l.m", {"m": 9}),
    ],
)
def test_writing_along_a_path(fields: str, wanted: Any) -> None:
    assert run(f"SELECT {fields} FROM t", n=2, z=0)["l"] == wanted


# -- reading -----------------------------------------------------------------------------------------------------------


def test_below_an_alias_of_the_payload_bad_json_is_null() -> None:
    assert run("SELECT payload AS p, p.a AS r FROM t", "hello")["r"] is UNDEFINED
    assert run("SELECT payload AS p, p.a AS r FROM t", '{"a":1}')["r"] == 1


def test_an_alias_named_payload_is_the_payload() -> None:
    assert run("SELECT '{\"z\":1}' AS payload, payload.z AS r FROM t", "no JSON")["r"] == 1
    assert run("SELECT 5 AS payload, payload.z AS r FROM t", "no JSON")["r"] is UNDEFINED
    with pytest.raises(EvalError, match="not JSON"):
        run("SELECT 'x' AS payload, payload.z AS r FROM t", "{}")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("payload.l[i]", 20),
        ("tags[i]", UNDEFINED),
        ("tags[qos]", "x"),
        ("payload.l[payload.i]", UNDEFINED),
        ("payload.l[m.i]", 10),
        ("payload.l[l[1]]", UNDEFINED),
        ("payload.text.a[1]", 1),
        ("payload.bad.a", UNDEFINED),
        ("tags.a", UNDEFINED),
        ("qos[1]", UNDEFINED),
        ("payload.l[true]", UNDEFINED),
        ("payload.l[flag]", UNDEFINED),
    ],
)
def test_reading_along_a_path(path: str, wanted: Any) -> None:
    payload = '{"l":[10,20,30],"i":2,"m":{"i":1},"text":"{\\"a\\":\\"[1]\\"}","bad":"{","flag":true}'
    assert one(path, payload, tags=["x", "y"], qos=1) == wanted


def test_ranges_outside_their_list() -> None:
    for bounds, wanted in [("[2..9]", [2, 3]), ("[5..9]", []), ("[2..1]", []), ("[-3..-1]", [1, 2, 3])]:
        assert one(f"payload.l{bounds}", '{"l":[1,2,3]}') == wanted
    for bounds in ("[0..1]", "[1..0]", "[3..1]", "[-4..-1]", "[1..-5]"):
        with pytest.raises(EvalError, match="is no range"):
            one(f"payload.l{bounds}", '{"l":[1,2,3]}')
    for payload in ('{"l":"[1]"}', '{"l":{}}', "{}"):
        with pytest.raises(EvalError, match="a range selects from a list"):
            one("payload.l[1..2]", payload)


def test_payloads_that_are_odd_json() -> None:
    for payload in ("", "{", "1 2", '{"a":NaN}', b'{"a":"\xff"}', '{"a":1e999}', "[" * 5000, '"\\ud800"'):
        with pytest.raises(EvalError, match=r"^SELECT: the payload is"):
            one("payload.a", payload)
    assert one("payload.a", '{"a":1,"a":2}') == 2
    assert one("payload.a", ' {"a":123456789012345678901234567890} ') == 123456789012345678901234567890
    assert one("payload.a", "5") is UNDEFINED
    assert one("payload.a", {"a": 1}) == 1, "a tester may give columns as they are"
    assert rule("SELECT payload.a AS r FROM t").run(Columns({}))["r"] is UNDEFINED


# -- comparing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("1 = 1.0", True),
        ("'1' = 1", True),
        ("'+1.0' = 1", True),
        ("'1.5e1' = 15", True),
        ("2 > '10'", False),
        ("'abc' = 'abc'", True),
        ("'é' > 'z'", True),
        ("bytes > 'é'", True),
        ("bytes = bytes", True),
        ("true = 'true'", True),
        ("'false' < true", True),
        ("payload.n = 'null'", True),
        ("true = 1", False),
        ("true > 1", True),
        ("false < true", True),
        ("payload.n > false", True),
        ("payload.m > true", True),
        ("payload.l > payload.m", True),
        ("'' > payload.l", True),
        ("payload.l = payload.l2", True),
        ("payload.l < payload.l3", True),
        ("payload.m < payload.m2", True),
        ("payload.m2 <> payload.m3", True),
        ("payload.m2 < payload.m3", True),
        ("payload.l4 > payload.l", True),
        ("none = none", True),
        ("none = payload.n", False),
        ("none <> 1", True),
        ("none < 1", False),
        ("none >= 1", False),
        ("none <= none", True),
        ("none =~ none", True),
        ("none =~ 'a'", False),
        ("'a/b' =~ '+/b'", True),
        ("'a/#' =~ 'a/#/b'", False),
        ("'$SYS/a' =~ '#'", False),
        ("payload.l = 1", False),
        ("payload.l > 1", True),
    ],
)
def test_comparison(condition: str, wanted: bool) -> None:
    payload = (
        '{"n":null,"l":[1,2],"l2":[1.0,2],"l3":[1,2,0],"l4":[1,"a"],"m":{"a":1},"m2":{"a":1,"b":2},"m3":{"a":1,"c":0}}'
    )
    assert one(condition, payload, bytes=b"\xff") is wanted
    swapped = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    left, sign, right = condition.split(" ")
    if sign != "=~":
        assert one(f"{right} {swapped.get(sign, sign)} {left}", payload, bytes=b"\xff") is wanted


def test_all_values_have_an_order() -> None:
    rising: list[Value] = [-1, 0, 0.5, 1, False, None, True, UNDEFINED, {}, {"a": 1}, [], [0], "", "a", "é", b"\xff"]
    for place, left in enumerate(rising):
        for other, right in enumerate(rising):
            assert (order(left, right) > 0) == (place > other), (left, right)


@pytest.mark.parametrize("condition", ["1 < 'abc'", "'' = 1", "'0x1' = 1", "1 = ' 1'", "1 =~ 'a'", "'a' =~ payload.n"])
def test_comparisons_that_fail(condition: str) -> None:
    with pytest.raises(EvalError):
        one(condition, '{"n":null}')


def test_there_is_no_tilde_equals() -> None:
    with pytest.raises(EvalError, match="WHERE: there is no comparison ~="):
        run("SELECT 1 AS r FROM t WHERE 'a' ~= 'a'")


# -- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ("payload.yes", True),
        ("payload.one", False),
        ("true", True),
        ("NOT payload.one", False),
        ("NOT payload.no", True),
        ("NOT NOT payload.yes", True),
        ("NOT (payload.yes AND payload.no)", True),
        ("payload.one NOT IN (2, 3)", True),
        ("NOT strlen('a')", False),
        ("payload.no AND no_such()", False),
        ("payload.yes OR no_such()", True),
        ("payload.one IN (payload.yes, 1)", True),
        ("payload.one IN (1.0, '1', true)", False),
        ("[1, 2] IN ([1], [1, 2])", True),
        ("none IN (payload.none)", True),
        ("CASE WHEN strlen('a') THEN true ELSE false END", False),
    ],
)
def test_condition(condition: str, passes: bool) -> None:
    found = run(f"SELECT 1 AS r FROM t WHERE {condition}", '{"yes":true,"no":false,"one":1}')
    assert found == ({"r": 1} if passes else None)


def test_a_function_as_condition_gives_a_boolean() -> None:
    for condition in ("strlen('a')", "qos = 1 AND strlen('a')", "null()"):
        with pytest.raises(EvalError, match=r"WHERE.*has to give true or false, not"):
            run(f"SELECT 1 AS r FROM t WHERE {condition}", qos=1)


def test_a_field_that_fails_fails_the_rule_even_where_where_is_false() -> None:
    with pytest.raises(EvalError, match=r"^SELECT: cannot add"):
        run("SELECT 1 + 'a' AS r FROM t WHERE false")


def test_only_the_chosen_branch_is_computed() -> None:
    assert one("CASE WHEN true THEN 1 WHEN no_such() THEN 2 ELSE no_such() END") == 1
    assert one("CASE 1 WHEN 1 THEN 'a' WHEN no_such() THEN 'b' END") == "a"
    assert one("CASE 1 WHEN 1.0 THEN 'a' END") is UNDEFINED


def test_errors_name_their_clause() -> None:
    cases = {
        "SELECT upper(1) AS r FROM t": r"SELECT, in upper\(\): needs a text, not an integer",
        "SELECT 1 AS r FROM t WHERE 1 / 0 = 1": "WHERE: division by zero",
        "FOREACH abs('x') AS l FROM t": r"FOREACH, in abs\(\): needs an integer, not a text",
        "FOREACH [1] AS l DO l.x + 1 AS r FROM t": "DO: cannot add null and an integer",
        "FOREACH [1] AS l INCASE length(l) = 1 FROM t": r"INCASE, in length\(\): needs a list",
        "SELECT upper(lower(1)) AS r FROM t": r"SELECT, in lower\(\): needs a text",
    }
    for sql, words in cases.items():
        with pytest.raises(EvalError, match=f"^{words}") as caught:
            run(sql)
        assert str(caught.value) == f"{caught.value.clause}: {caught.value.reason}"


# -- FOREACH -----------------------------------------------------------------------------------------------------------


def test_foreach_without_do_gives_everything_with_the_element() -> None:
    metadata = {"rule_id": "rule:1"}
    assert run("FOREACH payload.l FROM t", '{"l":[1,2]}') == [
        {"payload": '{"l":[1,2]}', "item": 1, "metadata": metadata},
        {"payload": '{"l":[1,2]}', "item": 2, "metadata": metadata},
    ]


def test_foreach_keeps_the_whole_payload_in_reach() -> None:
    sql = "FOREACH payload.l DO item AS i, payload.x AS x, strlen(payload) AS n FROM t"
    assert run(sql, '{"l":[1],"x":5}') == [{"i": 1, "x": 5, "n": 15}]


def test_foreach_expressions_see_earlier_ones_and_where_sees_the_list() -> None:
    sql = "FOREACH payload AS p, p.l AS e DO e, p.x AS x FROM t WHERE length(e) = 2"
    assert run(sql, '{"l":[1,2],"x":3}') == [{"e": 1, "x": 3}, {"e": 2, "x": 3}]
    assert run(sql, '{"l":[1],"x":3}') is None


def test_foreach_over_what_is_no_list_gives_nothing() -> None:
    for value in ("qos", "payload", "none", "'[1]'", "map_new()"):
        assert run(f"FOREACH {value} AS e FROM t", "{}", qos=1) == []


def test_foreach_do_does_not_leak_from_one_element_to_the_next() -> None:
    sql = "FOREACH [1, 2] AS e DO is_null(seen) AS first, e AS seen FROM t"
    assert run(sql) == [{"first": True, "seen": 1}, {"first": True, "seen": 2}]


def test_foreach_with_a_dotted_alias_calls_its_element_item() -> None:
    assert run("FOREACH [1] AS a.b DO item, a.b AS whole FROM t") == [{"item": 1, "whole": [1]}]


def test_foreach_do_star_and_targets() -> None:
    assert run("FOREACH [1] AS e DO *, e AS l[-0], 2 AS l[-0] FROM t")[0]["l"] == [1, 2]
    assert run("FOREACH payload.l AS e DO 1 AS payload.y FROM t", '{"l":[7]}') == [{"payload": {"y": 1}}]


# -- laziness ----------------------------------------------------------------------------------------------------------


class Watched(Columns):
    """Tells what was asked for."""

    def __init__(self, **columns: Value) -> None:
        super().__init__()
        self.source = columns
        self.asked: list[str] = []

    def __missing__(self, name: str) -> Value:
        self.asked.append(name)
        return self.source.get(name, UNDEFINED)


def test_what_is_only_selected_is_not_fetched_before_where() -> None:
    columns = Watched(payload='{"t":1}', clientid="c", qos=1)
    assert rule("SELECT clientid, clientid AS c, payload.t AS t FROM t WHERE qos = 2").run(columns) is None
    assert columns.asked == ["payload", "qos"]


def test_nothing_is_fetched_twice() -> None:
    columns = Watched(payload='{"t":1}', a={"b": 1})
    sql = "SELECT a.b AS x, a.b + a.c AS y FROM t WHERE payload.t = 1 AND a.b = 1"
    with pytest.raises(EvalError, match="cannot add"):
        rule(sql).run(columns)
    assert columns.asked == ["a"]


def test_the_payload_is_decoded_once_for_all_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    columns = Columns({"payload": '{"t":1}'})
    original = Columns._decode
    monkeypatch.setattr(Columns, "_decode", lambda self: calls.append(1) or original(self))
    for sql in ("SELECT payload.t AS a, payload.u AS b FROM t", "SELECT payload.t FROM t WHERE payload.t = 1"):
        assert rule(sql).run(columns)
    assert calls == [1]
    bad = Columns({"payload": "{"})
    for _ in range(2):
        with pytest.raises(EvalError, match="the payload is not JSON"):
            rule("SELECT payload.t FROM t").run(bad)
    assert calls == [1, 1]


def test_a_rule_tells_which_columns_it_reads() -> None:
    found = rule("SELECT a.b AS x, topic(), x AS y FROM t WHERE payload.z = qos")
    assert found.columns_used == {"a", "topic", "payload", "qos"}
    assert not found.uses_all
    assert rule("SELECT * FROM t").uses_all
    assert rule("FOREACH a FROM t").uses_all
    assert not rule("FOREACH a DO item FROM t").uses_all


def test_no_text_of_a_rule_gets_into_the_python_text() -> None:
    words = ["'); import os; ('", '"__import__"', "'{}'.format", '"c]; evil = ("']
    found = rule(
        f"SELECT {words[0]} AS {words[3]}, {words[1]}.{words[1]}, a.{words[0]} FROM t WHERE {words[0]} = 'x\\\ny'"
    )
    for word in ("import", "evil", "format", "\\"):
        assert word not in found.source
    assert found.run(Columns({})) is None

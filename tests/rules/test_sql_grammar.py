"""What can be written, what cannot, and where the error is said to be."""

from __future__ import annotations

import time

import pytest
from sql_helpers import one, rule, run

from trioemqx.rules.sql import UNDEFINED, SqlError
from trioemqx.rules.sql.parse import MAX_TEXT, parse


@pytest.mark.parametrize(
    ("sql", "line", "column", "words"),
    [
        ("", 1, 1, "the text is empty, expected SELECT or FOREACH"),
        ("SELECT a", 1, 9, "ends too early, expected an operator, ',', AND, AS, FROM"),
        ("SELECT FROM t", 1, 8, "unexpected 'FROM', expected a value"),
        ("SELECT a,\n  b c d\nFROM t", 2, 7, "unexpected 'd', expected ',', '.', '[' or FROM"),
        ("SELECT a FROM t WHERE", 1, 22, "ends too early, expected a value"),
        ("SELECT a FROM t;", 1, 16, "the character ';' has no meaning here"),
        ("SELECT a FROM t LIMIT 1", 1, 17, "unexpected 'LIMIT'"),
        ("SELECT a FROM t WHERE a LIKE 'b'", 1, 25, "unexpected 'LIKE', expected an operator, AND, IN, NOT, OR"),
        ("SELECT a FROM t WHERE a == 1", 1, 26, "unexpected '='"),
        ("SELECT a FROM t WHERE a && b", 1, 25, "the character '&'"),
        ("SELECT a FROM t GROUP BY a", 1, 17, "unexpected 'GROUP'"),
        ("SELECT a FROM t WHERE a IS NULL", 1, 25, "unexpected 'IS'"),
        ("SELECT 'a FROM t", 1, 8, "nothing ends the text that begins here with '"),
        ('SELECT "a FROM t', 1, 8, 'nothing ends the name that begins here with "'),
        ("SELECT 温 FROM t", 1, 8, "the character '温' has no meaning here"),
        ("SELECT 1e5 FROM t", 1, 8, "a number that runs into a name"),
        ("SELECT 2.5f FROM t", 1, 9, "unexpected '.'"),
        ("SELECT .5 FROM t", 1, 8, "unexpected '.'"),
        ("SELECT a\nFROM t\nWHERE (a = 1) = 2", 3, 8, "a comparison is only possible in WHERE, INCASE and WHEN"),
        ("SELECT (a = 1) AS x FROM t", 1, 9, "a comparison is only possible"),
        ("SELECT a AND b FROM t", 1, 8, "AND is only possible in WHERE, INCASE and WHEN"),
        ("SELECT NOT a FROM t", 1, 8, "NOT is only possible"),
        ("SELECT f(a OR b) FROM t", 1, 10, "OR is only possible"),
        ("SELECT a, b IN (1) FROM t", 1, 11, "IN is only possible"),
        ("SELECT a = 1 x FROM t", 1, 8, "an alias after a comparison needs AS"),
        ("SELECT payload.end FROM t", 1, 16, "unexpected 'end', expected a name, a number or a text"),
        ("SELECT if FROM t", 1, 8, "the keyword if stands where a name should"),
        ("SELECT a AS elsif FROM t", 1, 13, "the keyword elsif"),
        ("SELECT mod FROM t", 1, 12, "unexpected 'FROM', expected '('"),
        ("SELECT a FROM t WHERE a = 1 AS b", 1, 29, "unexpected 'AS'"),
        ("SELECT a[1][2..3].b FROM t", 1, 18, "unexpected '.'"),
        ("FOREACH * FROM t", 1, 9, "FOREACH needs a list, not *"),
        ("FOREACH a INCASE b DO c FROM t", 1, 20, "unexpected 'DO'"),
        ("DELETE a FROM t", 1, 1, "unexpected 'DELETE', expected FOREACH or SELECT"),
        ('SELECT a FROM ""', 1, 15, "nothing ends the name"),
    ],
)
def test_an_error_names_its_place(sql: str, line: int, column: int, words: str) -> None:
    with pytest.raises(SqlError) as caught:
        rule(sql)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize(
    "sql",
    [
        "select a from t where b",
        "SeLeCt a FrOm t wHeRe NoT (a = 1 oR b = 2) aNd c iN (1)",
        "SELECT a -- what\nFROM t -- the end",
        "SELECT 6\n/2 AS r FROM t",
        "SELECT\ta\r\nFROM\tt",
        "FOREACH a AS b, b.c d DO d, * INCASE d > 1 FROM t, 'u', \"v\" WHERE a",
        "SELECT CASE WHEN a THEN CASE WHEN b THEN 1 END END + 1 AS r FROM t",
        "SELECT [1 + 2, f(a), -1, [b]] AS l FROM t",
        'SELECT DIV, "div", "select" AS "from" FROM t',
        "SELECT f((a = 1)), f(a <> 1) FROM t",
        "SELECT div(7, 2), mod(7, 2) FROM t",
        "SELECT a FROM t WHERE a NOT IN (1, 2) AND NOT NOT b",
    ],
)
def test_all_this_can_be_written(sql: str) -> None:
    assert rule(sql).topics[0] == "t"


def test_topics_are_what_stands_in_from() -> None:
    assert rule("SELECT a FROM plain, \"q/#\", 'it''s', true").topics == ("plain", "q/#", "it's", "true")
    assert rule('FOREACH a FROM "$events/client_connected"').is_foreach


def test_a_quote_in_a_text_is_written_twice() -> None:
    assert one("'it''s'") == "it's"
    assert one("''''") == "'"
    assert one(r"'\n'") == r"\n"
    assert one("'--'") == "--"


def test_names_in_double_quotes_are_columns() -> None:
    assert one('"topic"', topic="t/1") == "t/1"
    assert one('"odd name"."x y"', **{"odd name": {"x y": 1}}) == 1
    assert one('"true"') is UNDEFINED
    assert one("true") is True


def test_true_and_false_may_be_keys_and_aliases() -> None:
    assert run('SELECT payload.true AS true, 1 AS false.x FROM "t"', '{"true":5}') == {"true": 5, "false": {"x": 1}}


def test_text_that_is_not_utf8_is_refused() -> None:
    for text in (b"SELECT a FROM '\xff'", "SELECT a FROM '\ud800'"):
        with pytest.raises(SqlError, match="not UTF-8"):
            parse(text)
    assert parse("SELECT '温' AS r FROM t".encode()) == parse("SELECT '温' AS r FROM t")


def test_a_long_text_is_refused() -> None:
    begin, end = "SELECT '", "' AS r FROM t"
    rule(begin + "x" * (MAX_TEXT - len(begin + end)) + end)
    for text in (begin + "x" * MAX_TEXT + end, begin + "温" * (MAX_TEXT // 3) + end):
        with pytest.raises(SqlError, match="more than 16384 bytes"):
            rule(text)


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 64 + "a = 1" + ")" * 64,
        "NOT " * 70 + "a",
        "- " * 70 + "a",
        "f(" * 70 + "a" + ")" * 70,
        "[" * 70 + "a" + "]" * 70,
        "CASE WHEN a THEN " * 70 + "1" + " END" * 70,
        "a" + "[b" * 70 + "]" * 70,
    ],
)
def test_what_is_nested_too_deep_is_refused(expression: str) -> None:
    with pytest.raises(SqlError, match=r"nested (deeper than 64|too deep)"):
        rule(f"SELECT x FROM t WHERE {expression}")


def test_a_path_has_no_more_than_64_steps() -> None:
    rule("SELECT a" + ".b" * 64 + " AS r FROM t")
    with pytest.raises(SqlError, match="a path of more than 64 steps"):
        rule("SELECT a" + ".b" * 65 + " AS r FROM t")


def test_numbers_have_an_end() -> None:
    assert one("1" * 4000) == int("1" * 4000)
    for text in ("1" * 4001, "1" * 400 + ".0", f"[1..{'9' * 4000}]"):
        with pytest.raises(SqlError, match="number"):
            one(text)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 16000,
        "SELECT " + "[" * 16000,
        "SELECT " + "'" * 16000,
        "SELECT " + "'a" * 8001,
        "SELECT " + "f(" * 8000,
        "SELECT " + "a," * 8000,
        "SELECT " + "- " * 8000,
        "SELECT " + "1" * 16000 + "x",
        "SELECT " + "CASE " * 3200,
        "SELECT " + "(" * 8000 + ")" * 8000,
        "SELECT a FROM t WHERE " + "NOT " * 4000,
        "SELECT a" + "." * 16000,
        '"' * 16001,
        "-" * 16001,
    ],
)
def test_reading_nonsense_takes_little_time(sql: str) -> None:
    began = time.process_time()
    with pytest.raises(SqlError):
        rule(sql)
    assert time.process_time() - began < 5.0


def test_long_chains_of_operators_are_no_nesting() -> None:
    assert one("+".join(["1"] * 2000)) == 2000
    assert run(f"SELECT 1 AS r FROM t WHERE {' OR '.join(['qos = 9'] * 1000)} OR qos = 1", qos=1) == {"r": 1}
    branches = " ".join(f"WHEN {number} THEN {number + 1}" for number in range(700))
    assert one(f"CASE qos {branches} END", qos=699) == 700

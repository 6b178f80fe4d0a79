"""Neither a rule nor a payload can take the broker's memory or time."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from typing import Any

import pytest
from sql_helpers import environment, one, run

from trioemqx.rules.sql import Columns, EvalError, compile_rule, standard_functions
from trioemqx.rules.sql.functions.environment import KeyValueStore, OwnedStores
from trioemqx.rules.sql.meter import meter
from trioemqx.rules.sql.values import UNDEFINED, value_from
from trioemqx.rules.template import Template

BIG = "x" * 1_000_000

BOMBS = {
    "a text doubled": "SELECT payload AS a, " + ", ".join(["a + a AS a"] * 60) + " FROM t",
    "pad": "SELECT pad('', 99999999999, 'leading', 'abc') AS r FROM t",
    "pad in steps": "SELECT pad('x', 1000000, 'both', payload) AS r FROM t",
    "replace": "SELECT replace(payload, 'x', payload) AS r FROM t",
    "regex_replace": "SELECT regex_replace(payload, 'x', '" + "&" * 500 + "') AS r FROM t",
    "sprintf": "SELECT sprintf('~99999999s', 'a') AS r FROM t",
    "sprintf many": "SELECT sprintf('" + "~9999s" * 200 + "'" + ", 'a'" * 200 + ") AS r FROM t",
    "hex": "SELECT bin2hexstr(payload) AS r FROM t",
    "base64": "SELECT base64_encode(payload + payload) AS r FROM t",
    "split": "SELECT split(payload, 'x', 'notrim') AS r FROM t",
    "tokens": "SELECT tokens(payload, 'x') AS r FROM t",
    "a range": "SELECT [1..99999999999999999] AS r FROM t",
    "many ranges": "SELECT [" + ", ".join(["[1..90000]"] * 1000) + "] AS r FROM t",
    "shift": "SELECT bitsl(1, 99999999999) AS r FROM t",
    "power of integers": "SELECT 9 AS a, " + ", ".join(["a * a AS a"] * 100) + " FROM t",
    "power": "SELECT power(10, 100000) AS r FROM t",
    "sum of floats": "SELECT 1.0e308 * 10 AS r FROM t",
    "long digits": "SELECT int('" + "9" * 15000 + "') AS r FROM t",
    "nested maps": "SELECT 1 AS a, " + ", ".join(["map_put('a', a, map_new()) AS a"] * 300) + ", str(a) AS s FROM t",
    "laughs": "SELECT 'lol' AS a, " + ", ".join(["[a, a] AS a"] * 60) + ", json_encode(a) AS r FROM t",
    "laughs compared": "SELECT 1 AS a, " + ", ".join(["[a, a] AS a, [b, b] AS b"] * 60) + ", a = b AS r FROM t",
    "laughs ordered": "SELECT 1 AS a, " + ", ".join(["[a, a] AS a, [b, b] AS b"] * 60) + ", a < b AS r FROM t",
    "laughs kept": "SELECT 1 AS a, " + ", ".join(["[a, a] AS a"] * 60) + ", kv_store_put('k', a) AS r FROM t",
    "laughs in Erlang": "SELECT 1 AS a, " + ", ".join(["[a, a] AS a"] * 60) + ", sprintf('~p', a) AS r FROM t",
    "a loop in a loop": "FOREACH [1..100000] AS e DO " + ", ".join(["md5(str(e)) AS r"] * 100) + " FROM t",
    "work": "SELECT " + ", ".join(["sha256(payload) AS r"] * 600) + " FROM t",
    "matching": "SELECT " + ", ".join(["regex_match(payload, '(x*x*x*)*y') AS r"] * 350) + " FROM t",
    "slow to match": "SELECT regex_match(payload, '" + "|".join(["[ax]{150}c"] * 80) + "') AS r FROM t",
    "a big expression": "SELECT regex_match('a', '((((a{100}){100}){100}){100}){100}') AS r FROM t",
    "paths": "SELECT map_put('" + "a." * 200 + "', 1, map_new()) AS r FROM t",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb(name: str) -> None:
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(EvalError):
            run(BOMBS[name], BIG)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 10, "a second or so, ten times slower under tracemalloc"


def test_compressed_bombs_are_cut_off() -> None:
    functions = standard_functions(environment())
    zeros = bytes(900_000)
    for pack, unpack in [("gzip", "gunzip"), ("zip", "unzip"), ("zip_compress", "zip_uncompress")]:
        packed = compile_rule(f"SELECT {pack}(payload) AS r FROM t", functions).run(Columns({"payload": zeros}))["r"]
        once = compile_rule(f"SELECT strlen({unpack}(payload)) AS r FROM t", functions)
        assert once.run(Columns({"payload": packed})) == {"r": 900_000}
        twice = compile_rule(f"SELECT {unpack}({pack}(payload + payload)) AS r FROM t", functions)
        with pytest.raises(EvalError):
            twice.run(Columns({"payload": zeros.decode()}))


def test_a_stream_that_unpacks_to_more_than_a_text_may_have_is_refused() -> None:
    packed = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(EvalError, match="at most 1048576"):
            one("gunzip(payload)", packed)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_work_is_counted_anew_for_every_run() -> None:
    for _ in range(60):
        assert one("strlen(upper(payload))", BIG) == 1_000_000
    template = Template("${a.k}")
    for _ in range(60):
        assert template.render({"a": json.dumps({"k": "v", "big": BIG})}) == "v"
    assert meter.left > 0


def test_deep_payloads_are_no_json() -> None:
    assert one("payload.a", '{"a":' + "[" * 126 + "]" * 126 + "}") != UNDEFINED
    for text in ('{"a":' + "[" * 200 + "]" * 200 + "}", "[" * 100_000, '{"a":' * 5_000):
        with pytest.raises(EvalError, match=r"the payload is (JSON nested|not JSON)"):
            one("payload.a", text)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    payload = json.dumps({"a": [[index] for index in range(5_000)]})
    assert one("length(payload.a)", payload) == 5_000


def test_a_whole_megabyte_may_pass_through() -> None:
    assert one("payload", "x" * 5_000_000) == "x" * 5_000_000
    assert one("payload", b"\xff" * 5_000_000) == b"\xff" * 5_000_000


def test_integers_end_before_python_refuses_to_print_them() -> None:
    assert len(one("str(bitsl(1, 13999))")) == 4215
    with pytest.raises(EvalError, match="more than 14000 bits"):
        one("bitsl(1, 14000)")
    with pytest.raises(EvalError, match="more than 14000 bits"):
        one("bitsl(1, 13999) * 2")
    with pytest.raises(EvalError, match="not JSON"):
        one("payload.a", '{"a":' + "9" * 5000 + "}")


def test_the_key_value_store_is_bounded() -> None:
    store = KeyValueStore(entries=3, size=1000)
    for key in range(3):
        store.put(key, "v")
    for key, value in [("new", 1), (0, "x" * 1000)]:
        with pytest.raises(EvalError, match="the store is full"):
            store.put(key, value)
    assert (store.refused, len(store)) == (2, 3)
    assert store.put(0, "w") == "v", "what is there may be replaced"
    store.delete(1)
    store.put("new", 1)
    for key in (0, 2, "new"):
        store.delete(key)
    assert (store.size, len(store)) == (0, 0)
    assert store.get(0, "default") == "default"


def test_stores_of_clients_are_bounded() -> None:
    stores = OwnedStores(owners=2)
    stores.of("a").put("k", 1)
    stores.of("b").put("k", 2)
    stores.of("a").get("k")
    stores.of("c").put("k", 3)
    assert (stores.forgotten, stores.of("a").get("k")) == (1, 1), "the one used longest ago has gone"
    assert stores.of("b").get("k") is UNDEFINED
    stores.drop("b")
    for key in range(99):
        stores.of("a").put(key, 1)
    with pytest.raises(EvalError, match="the store is full: 100 entries"):
        stores.of("a").put(100, 1)


def test_nesting_cannot_grow_from_one_message_to_the_next() -> None:
    functions = standard_functions(environment())
    grow = compile_rule("SELECT kv_store_put('k', map_put('a', kv_store_get('k'), map_new())) AS r FROM t", functions)
    for _ in range(128):
        grow.run(Columns())
    with pytest.raises(EvalError, match="nested deeper than 128"):
        grow.run(Columns())


def test_values_of_python_are_checked() -> None:
    assert value_from((1, {"a": bytearray(b"b")})) == [1, {"a": "b"}]
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    for thing in (deep, float("nan"), 1 << 20_000, {1, 2}):
        with pytest.raises(EvalError):
            value_from(thing)

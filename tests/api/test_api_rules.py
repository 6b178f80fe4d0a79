"""Rules: made, changed, tried, counted and forgotten over HTTP, while clients publish."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trioemqx.rules.eventcolumns import CLASSES
from trioemqx.rules.events import EVENTS, EventType
from trioemqx.testing import ApiAnswer, TestBroker

SQL = 'SELECT payload.x AS x, clientid FROM "t/#" WHERE x > 0'
NOTHING = {"name": "do_nothing", "params": {}}


def republish(topic: str = "out/${x}", **params: object) -> dict[str, object]:
    return {"name": "republish", "params": {"target_topic": topic, "target_qos": 0, "payload_tmpl": "", **params}}


async def create(broker: TestBroker, sql: str = SQL, **more: object) -> ApiAnswer:
    return await broker.api("POST", "/rules", {"rawsql": sql, "actions": [NOTHING], **more})


async def ids(broker: TestBroker, query: str = "") -> list[str]:
    answer = await broker.api("GET", f"/rules{query}")
    return [row["id"] for row in answer.data]


async def test_a_rule_works_as_soon_as_it_is_made(broker: TestBroker) -> None:
    """POST /rules"""
    watcher = await broker.client("watcher", subscribe="out/#")
    rule = (await create(broker, actions=[republish()], description="demo", id="r1")).data
    assert rule == {
        "id": "r1",
        "rawsql": SQL,
        "for": ["t/#"],
        "enabled": True,
        "description": "demo",
        "on_action_failed": "continue",
        "created_at": rule["created_at"],
        "metrics": [
            {
                "node": broker.node.node,
                **dict.fromkeys(("matched", "passed", "failed", "exception", "no_result"), 0),
                **dict.fromkeys(("speed", "speed_max", "speed_last5m"), 0.0),
            }
        ],
        "actions": [
            {
                "id": rule["actions"][0]["id"],
                "name": "republish",
                "params": {**republish()["params"], "target_retain": False},  # type: ignore[dict-item]
                "metrics": [{"node": broker.node.node, "taken": 0, "success": 0, "failed": 0, "dropped": 0}],
                "fallbacks": [],
            }
        ],
    }
    assert abs(rule["created_at"] / 1_000_000 - broker.node.wall()) < 1
    assert rule["actions"][0]["id"].startswith("republish_")
    publisher = await broker.client("pump")
    await publisher.publish("t/1", b'{"x":5}')
    assert await watcher.message() == ("out/5", b'{"x":5,"clientid":"pump"}')


async def test_identifiers_are_made_up_unless_one_is_given(broker: TestBroker) -> None:
    made = (await create(broker)).data["id"]
    assert made.startswith("rule:")
    assert len(made) == 13
    assert int(made[5:], 16) >= 0
    assert (await create(broker, id="mine")).data["id"] == "mine"
    assert (await create(broker, id="mine")).json() == {"code": 400, "message": "Already Exists"}
    assert (await create(broker, id="")).message == "Bad Arguments: {empty_string_not_allowed,id}"
    odd = "a/b c%ä"
    assert (await create(broker, id=odd)).data["id"] == odd
    assert (await broker.api("GET", "/rules/a%2Fb%20c%25%C3%A4")).data["id"] == odd


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"actions": []}, 'Bad Arguments: {required_field_missing,<<"rawsql">>}'),
        ({"rawsql": SQL}, 'Bad Arguments: {required_field_missing,<<"actions">>}'),
        ({"rawsql": SQL, "actions": [], "enabled": "yes"}, 'Bad Arguments: {invalid_enabled,<<"yes">>}'),
        ({"rawsql": SQL, "actions": [], "enabled": 1}, "Bad Arguments: {invalid_enabled,1}"),
        ({"enabled": 1, "id": ""}, "Bad Arguments: {invalid_enabled,1}"),
        ({"actions": 5, "id": ""}, "Bad Arguments: {invalid_actions,5}"),
        (
            {"rawsql": SQL, "actions": [{"name": "inspect", "params": {"a": "x" * 210_000}}]},
            "Bad Arguments: {rule_too_large,204800}",
        ),
        ({"rawsql": SQL, "actions": [], "on_action_failed": "x"}, 'Bad Arguments: {invalid_on_failed,<<"x">>}'),
        ({"rawsql": SQL, "actions": {}}, "Bad Arguments: {invalid_actions,#{}}"),
        ({"rawsql": SQL, "actions": [5]}, "Bad Arguments: {invalid_actions,5}"),
        ({"rawsql": SQL, "actions": [{}]}, 'Bad Arguments: {required_field_missing,<<"name">>}'),
        ({"rawsql": SQL, "actions": [{"name": None}]}, "Bad Arguments: {invalid_data_type,{string,null}}"),
        ({"rawsql": SQL, "actions": [{"name": "foo"}]}, "Action foo Not Found"),
        (
            {"rawsql": SQL, "actions": [{**NOTHING, "fallbacks": [{"name": "foo"}]}]},
            "Action foo Not Found",
        ),
        (
            {"rawsql": SQL, "actions": [{"name": "republish", "params": {}}]},
            'Bad Arguments: {required_field_missing,<<"target_qos">>}',
        ),
        (
            {"rawsql": SQL, "actions": [{"name": "republish", "params": {"target_qos": 0}}]},
            'Bad Arguments: {required_field_missing,<<"target_topic">>}',
        ),
        (
            {"rawsql": SQL, "actions": [{"name": "republish", "params": []}]},
            "Bad Arguments: {invalid_data_type,{object,[]}}",
        ),
        ({"rawsql": SQL, "actions": [republish(5)]}, "Bad Arguments: {invalid_data_type,{string,5}}"),  # type: ignore[arg-type]
        ({"rawsql": SQL, "actions": [republish("a/+")]}, "Bad Arguments: wildcard_topic_not_allowed_for_publish"),
        ({"rawsql": SQL, "actions": [republish(target_qos=7)]}, "Bad Arguments: {invalid_value,target_qos}"),
        ({"rawsql": SQL, "actions": [republish(target_qos=[])]}, "Bad Arguments: {invalid_data_type,[]}"),
        ({"rawsql": SQL, "actions": [republish(target_retain="x")]}, "Bad Arguments: {invalid_value,target_retain}"),
        ({"rawsql": 5, "actions": []}, "Bad Arguments: {invalid_data_type,{string,5}}"),
        ({"rawsql": 'SELECT 1 FROM "a/#/b"', "actions": []}, 'Bad Arguments: {invalid_topic_filter,<<"a/#/b">>}'),
        ({"rawsql": SQL, "actions": [], "description": 5}, "Bad Arguments: {invalid_data_type,{string,description}}"),
        ({"rawsql": SQL, "actions": [], "id": ["x"]}, "Bad Arguments: {invalid_id,not_a_text}"),
        ({"rawsql": SQL, "actions": [], "id": "x" * 513}, "Bad Arguments: {invalid_id,{longer_than,512}}"),
        ({"rawsql": SQL, "actions": [NOTHING] * 101}, None),
        ([], 'Bad Arguments: {required_field_missing,<<"rawsql">>}'),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_kept(
    broker: TestBroker, body: object, message: str | None
) -> None:
    answer = await broker.api("POST", "/rules", body)
    assert (answer.status, answer.code) == (200, 400)
    assert message is None or answer.message == message
    assert await ids(broker) == []


async def test_deep_fallbacks_are_refused(broker: TestBroker) -> None:
    action: dict[str, Any] = NOTHING
    for _ in range(20):
        action = {**NOTHING, "fallbacks": [action]}
    assert (await create(broker, actions=[action])).message == "Bad Arguments: {invalid_actions,nested_too_deep}"


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("", "line 1, column 1"),
        ("SELECT", "line 1, column 7"),
        ('SELECT * FROM "t" LIMIT 5', "line 1, column"),
        ('SELECT *\nFROM "t"; ', "line 2, column 9"),
        ("\0", "line 1"),
    ],
)
async def test_sql_that_does_not_parse_is_told_with_its_place(broker: TestBroker, sql: str, place: str) -> None:
    answer = await create(broker, sql)
    assert answer.code == 400
    assert answer.message.startswith("Bad Arguments: {parse_error,")
    assert place in answer.message


async def test_show(broker: TestBroker) -> None:
    """GET /rules/{id}"""
    made = (await create(broker)).data
    assert (await broker.api("GET", f"/rules/{made['id']}")).data == made
    assert (await broker.api("GET", "/rules/none")).json() == {"code": 404, "message": "Not Found"}


async def test_list(broker: TestBroker) -> None:
    """GET /rules"""
    for number in range(5):
        await create(broker, id=f"r{number}", description=f"number {number}", enabled=number != 3)
        await trio.sleep(1)
    await create(broker, 'SELECT * FROM "a/b", "$events/client_connected"', id="other")
    plain = await broker.api("GET", "/rules")
    assert [row["id"] for row in plain.data] == ["other", "r4", "r3", "r2", "r1", "r0"]
    assert "meta" not in plain.json()
    paged = await broker.api("GET", "/rules?_page=2&_limit=4")
    assert [row["id"] for row in paged.data] == ["r1", "r0"]
    assert paged.json()["meta"] == {"page": 2, "limit": 4, "count": 6, "hasnext": False}
    assert (await broker.api("GET", "/rules?enable_paging=true")).json()["meta"]["limit"] == 10000
    assert await ids(broker, "?enable_paging=false&_like_id=r") == ["r0", "r1", "r2", "r3", "r4", "other"]
    assert await ids(broker, "?enabled=false") == ["r3"]
    assert await ids(broker, "?for=a/b") == ["other"]
    assert await ids(broker, "?for=a") == []
    assert await ids(broker, "?_like_for=events") == ["other"]
    assert await ids(broker, "?_match_for=a/%2B") == ["other"]
    assert await ids(broker, "?_like_id=4") == ["r4"]
    assert await ids(broker, "?_like_description=number&_like_id=r1") == ["r1"]
    assert await ids(broker, "?_like_id=") == await ids(broker)
    filtered = await broker.api("GET", "/rules?enable_paging=true&_like_id=r&_limit=2")
    assert filtered.json()["meta"] == {"page": 1, "limit": 2, "count": -1, "hasnext": True}
    assert (await broker.api("GET", "/rules?_page=x")).code == 108


async def test_update_the_sql(broker: TestBroker) -> None:
    """PUT /rules/{id}"""
    watcher = await broker.client("watcher", subscribe="out/#")
    publisher = await broker.client("pump")
    await create(broker, id="r", actions=[republish("out/1")])
    await publisher.publish("t/1", b'{"x":1}')
    assert (await watcher.message())[0] == "out/1"
    answer = await broker.api("PUT", "/rules/r", {"rawsql": 'SELECT payload.x AS y FROM "u"'})
    assert (answer.data["for"], answer.data["metrics"][0]["matched"]) == (["u"], 1)
    await publisher.publish("t/1", b'{"x":1}')
    await publisher.publish("u", b'{"x":2}')
    assert await watcher.message() == ("out/1", b'{"y":2}')


async def test_an_update_that_cannot_be_changes_nothing(broker: TestBroker) -> None:
    before = (await create(broker, id="r")).data
    for body, message in (
        ({"description": "new", "rawsql": "SELECT"}, None),
        ({"description": "new", "actions": [{"name": "foo"}]}, "Bad Arguments: {action_not_found,foo}"),
        ({"description": "new", "on_action_failed": 5}, "Bad Arguments: {invalid_on_failed,5}"),
        ({"rawsql": 'SELECT 1 FROM "x"', "enabled": None}, "Bad Arguments: {invalid_enabled,null}"),
        ({"rawsql": 'SELECT 1 FROM "x"', "actions": [republish("#")]}, None),
    ):
        answer = await broker.api("PUT", "/rules/r", body)
        assert answer.code == 400
        assert message is None or answer.message == message
        assert (await broker.api("GET", "/rules/r")).data == before
    assert (await broker.api("PUT", "/rules/no", {})).json() == {"code": 400, "message": "Rule no Not Found"}


async def test_other_actions_have_new_ids_and_the_counters_of_those_before(broker: TestBroker) -> None:
    rule = (await create(broker, id="r", actions=[NOTHING, NOTHING])).data
    await (await broker.client("pump")).publish("t/1", b'{"x":1}', qos=1)
    changed = (await broker.api("PUT", "/rules/r", {"actions": [republish("out"), NOTHING, NOTHING]})).data
    assert {action["id"] for action in rule["actions"]}.isdisjoint(action["id"] for action in changed["actions"])
    assert [action["metrics"][0]["success"] for action in changed["actions"]] == [1, 1, 0]
    assert changed["created_at"] == rule["created_at"]
    assert changed["metrics"][0]["passed"] == 1


async def test_a_disabled_rule_sees_nothing(broker: TestBroker) -> None:
    await create(broker, id="r")
    publisher = await broker.client("pump")
    await publisher.publish("t/1", b'{"x":1}', qos=1)
    disabled = (await broker.api("PUT", "/rules/r", {"enabled": False})).data
    assert (disabled["enabled"], disabled["metrics"][0]["matched"]) == (False, 1)
    assert disabled["actions"][0]["metrics"][0]["taken"] == 0
    await publisher.publish("t/1", b'{"x":1}', qos=1)
    enabled = (await broker.api("PUT", "/rules/r", {"enabled": True})).data
    assert (enabled["enabled"], enabled["metrics"][0]["matched"]) == (True, 1)
    await publisher.publish("t/1", b'{"x":1}', qos=1)
    assert (await broker.api("GET", "/rules/r")).data["metrics"][0]["matched"] == 2


async def test_delete(broker: TestBroker) -> None:
    """DELETE /rules/{id}"""
    watcher = await broker.client("watcher", subscribe="out/#")
    await create(broker, id="r", actions=[republish()])
    assert (await broker.api("DELETE", "/rules/r")).json() == {"code": 0}
    assert (await broker.api("DELETE", "/rules/r")).json() == {"code": 0}
    await (await broker.client("pump")).publish("t/1", b'{"x":1}', qos=1)
    assert await watcher.nothing(5)
    assert await ids(broker) == []


async def test_counters_and_speeds(broker: TestBroker) -> None:
    """PUT /rules/{id}/reset_metrics"""
    await create(broker, id="r")
    publisher = await broker.client("pump")
    for payload in (b'{"x":5}', b'{"x":0}', b'{"x":"y"}', b"no json"):
        await publisher.publish("t/1", payload, qos=1)
    await trio.sleep(11)
    row = (await broker.api("GET", "/rules/r")).data
    assert row["metrics"] == [
        {
            "node": broker.node.node,
            "matched": 4,
            "passed": 1,
            "failed": 3,
            "exception": 2,
            "no_result": 1,
            "speed": 0.4,
            "speed_max": 0.4,
            "speed_last5m": 0.4,
        }
    ]
    await trio.sleep(10)
    metrics = (await broker.api("GET", "/rules/r")).data["metrics"][0]
    assert (metrics["speed"], metrics["speed_max"], metrics["speed_last5m"]) == (0.0, 0.4, 0.2)
    assert (await broker.api("PUT", "/rules/r/reset_metrics")).json() == {"code": 0}
    assert (await broker.api("PUT", "/rules/none/reset_metrics")).json() == {"code": 0}
    row = (await broker.api("GET", "/rules/r")).data
    assert set(row["metrics"][0].values()) == {broker.node.node, 0}
    assert row["actions"][0]["metrics"][0]["success"] == 0


async def test_events(broker: TestBroker) -> None:
    """GET /rule_events"""
    rows = (await broker.api("GET", "/rule_events")).data
    assert [row["event"].removeprefix("$events/") for row in rows] == [
        "message_publish",
        "message_delivered",
        "message_acked",
        "message_dropped",
        "delivery_dropped",
        "client_connected",
        "client_disconnected",
        "client_connack",
        "session_subscribed",
        "session_unsubscribed",
        "client_check_acl_complete",
    ]
    assert rows[0]["test_columns"]["payload"] == '{"msg": "hello"}'
    for row in rows:
        assert set(row) == {"event", "title", "description", "test_columns", "columns", "sql_example"}
        tried = await broker.api(
            "POST", "/rules?test=true", {"rawsql": f'SELECT * FROM "{row["event"]}"', "ctx": row["test_columns"]}
        )
        if row is not rows[0]:
            assert set(row["columns"]) <= set(tried.data), row["event"]
            assert row["test_columns"].items() <= tried.data.items()


# -- trying ------------------------------------------------------------------------------------------------------------


async def attempt(broker: TestBroker, sql: object, ctx: object, **more: object) -> ApiAnswer:
    return await broker.api("POST", "/rules", {"test": True, "rawsql": sql, "ctx": ctx, **more})


async def test_sql_is_tried_and_nothing_kept(broker: TestBroker) -> None:
    answer = await attempt(broker, SQL, {"topic": "t/1", "payload": '{"x": 7}'}, actions=5, id="")
    assert answer.json() == {"code": 0, "data": {"x": 7, "clientid": "c_emqx"}}
    foreach = 'FOREACH payload.l AS i DO i.a AS a INCASE i.a > 1 FROM "t/#"'
    ctx = {"topic": "t/1", "payload": '{"l":[{"a":1},{"a":2},{"a":3}]}'}
    assert (await attempt(broker, foreach, ctx)).data == [{"a": 2}, {"a": 3}]
    assert (await attempt(broker, 'FOREACH payload.l FROM "t/#"', {**ctx, "payload": '{"l":[]}'})).data == []
    missing = await attempt(broker, 'SELECT nothing, payload.msg AS m FROM "t/#"', {"topic": "t/1"})
    assert missing.data == {"nothing": "undefined", "m": "hello"}
    assert await ids(broker) == []


@pytest.mark.parametrize("event", EVENTS[1:], ids=lambda event: event.name)
async def test_a_try_has_every_column_that_the_event_has(broker: TestBroker, event: EventType) -> None:
    tried = (await attempt(broker, f'SELECT * FROM "{event.topic}"', {})).data
    assert set(tried) == {*CLASSES[event.name].getters, "metadata"}


@pytest.mark.parametrize(
    ("sql", "ctx", "answer"),
    [
        (SQL, {"topic": "u", "payload": '{"x":1}'}, (404, "SQL Not Match")),
        (SQL, {}, (404, "SQL Not Match")),
        (SQL, {"topic": 5}, (404, "SQL Not Match")),
        (SQL, {"topic": "t/1", "payload": '{"x":0}'}, (404, "SQL Not Match")),
        (SQL, None, (400, 'Bad Arguments: {required_field_missing,<<"ctx">>}')),
        (SQL, [], (400, "Bad Arguments: {invalid_data_type,{object,[]}}")),
        (None, {}, (400, 'Bad Arguments: {required_field_missing,<<"rawsql">>}')),
    ],
)
async def test_a_try_without_result(broker: TestBroker, sql: object, ctx: object, answer: tuple[int, str]) -> None:
    found = await attempt(broker, sql, ctx)
    assert (found.status, found.code, found.message) == (200, *answer)


async def test_a_try_that_fails_says_why(broker: TestBroker) -> None:
    answer = await attempt(broker, SQL, {"topic": "t/1", "payload": '{"x":"a"}'})
    assert answer.code == 400
    assert answer.message.startswith("Bad Arguments: {select_and_transform_error,")
    assert (await attempt(broker, "SELECT", {})).message.startswith("Bad Arguments: {parse_error,")
    assert (await attempt(broker, 'SELECT no_such(1) AS a FROM "t/#"', {"topic": "t/1"})).code == 400


async def test_columns_of_a_try_may_be_anything(broker: TestBroker) -> None:
    """Odd values of columns never make more than an answer."""
    sql = 'SELECT *, payload.a AS a, topic(1) AS b, upper(clientid) AS c FROM "$events/message_delivered"'
    for value in (None, 5, 1.5, 10**30, True, [], {}, {"a": {"b": []}}, "\0", "[" * 200, "😀"):
        for name in ("payload", "topic", "clientid", "qos", "flags", "metadata", "timestamp", "x" * 1000):
            answer = await attempt(broker, sql, {name: value})
            assert (answer.status, answer.code) in ((200, 0), (200, 400)), (name, value, answer)

"""What actions do for each result: in order, with fallbacks, and not for ever."""

from __future__ import annotations

import pytest
import trio
from rules_helpers import NOTHING, Recorder, action_counts, counts, rule

from trioemqx.services.rulekit import ActionFailed
from trioemqx.testing import TestBroker, running
from trioemqx.types import Message, Properties

ALL = 'SELECT * FROM "t/#"'


def republish(topic: str, payload: str = "${payload}", **more: object) -> dict[str, object]:
    return {
        "name": "republish",
        "params": {"target_topic": topic, "target_qos": 0, "payload_tmpl": payload, **more},
    }


def publish(broker: TestBroker, topic: str = "t/1", payload: bytes = b"x", **more: object) -> None:
    message = Message(topic, payload, publisher="pump")
    for name, value in more.items():
        setattr(message, name, value)
    broker.node.publish(message)


# -- running -----------------------------------------------------------------------------------------------------------


async def test_each_result_goes_through_all_actions_in_order(broker: TestBroker) -> None:
    first, second = Recorder(broker, "first"), Recorder(broker, "second")
    sql = 'FOREACH payload.l AS i DO i AS v FROM "t/#"'
    entry = await rule(broker, sql, "first", "second")
    publish(broker, payload=b'{"l":[1,2,3]}')
    publish(broker, payload=b'{"l":[]}')
    assert first.outputs == second.outputs == [{"v": 1}, {"v": 2}, {"v": 3}]
    assert counts(entry) == {"matched": 2, "passed": 1, "no_result": 1}
    assert action_counts(entry, 1) == {"taken": 3, "success": 3}


async def test_an_action_knows_the_event(broker: TestBroker) -> None:
    recorder = Recorder(broker)
    await rule(broker, 'SELECT qos FROM "t/#"', "record", id="r")
    publish(broker)
    (event,) = recorder.events
    assert (event.rule_id, event.get("clientid"), event.get("nothing")) == ("r", "pump", None)
    assert event.message is not None
    assert event.message.payload == b"x"


async def test_many_results_do_not_hold_up_the_publisher(broker: TestBroker) -> None:
    """The first come at once, the others in turn with everything else."""
    recorder = Recorder(broker)
    await rule(broker, 'FOREACH payload.l AS i DO i AS v FROM "t/#"', "record")
    publish(broker, payload=b'{"l":[%s]}' % b",".join(b"%d" % number for number in range(1000)))
    assert len(recorder.outputs) == 200
    await trio.sleep(0.1)
    assert [out["v"] for out in recorder.outputs] == list(range(1000))


async def test_fallbacks_run_when_an_action_fails(broker: TestBroker) -> None:
    failing, below, after = Recorder(broker, "failing"), Recorder(broker, "below"), Recorder(broker, "after")
    failing.failure = ActionFailed("not today")
    below.failure = ActionFailed("nor this")
    actions = [
        {"name": "failing", "fallbacks": [{"name": "below", "fallbacks": [NOTHING]}, {"name": "do_nothing"}]},
        {"name": "after"},
    ]
    entry = await rule(broker, ALL, *actions)
    publish(broker)
    assert action_counts(entry, 0) == {"taken": 1, "failed": 1}
    assert action_counts(entry, 0, 0) == {"taken": 1, "failed": 1}
    assert action_counts(entry, 0, 0, 0) == action_counts(entry, 0, 1) == {"taken": 1, "success": 1}
    assert len(after.outputs) == 1
    assert counts(entry) == {"matched": 1, "passed": 1}


async def test_a_failure_stops_the_others_where_that_is_wanted(broker: TestBroker) -> None:
    failing, after = Recorder(broker, "failing"), Recorder(broker, "after")
    actions = [{"name": "failing", "fallbacks": [NOTHING]}, {"name": "after"}]
    entry = await rule(broker, ALL, *actions, on_action_failed="stop")
    publish(broker)
    failing.failure = ActionFailed("not today")
    publish(broker)
    assert (len(failing.outputs), len(after.outputs)) == (1, 1)
    assert action_counts(entry, 0, 0) == {"taken": 1, "success": 1}
    assert counts(entry) == {"matched": 2, "passed": 2, "exception": 1}


async def test_inspect_prints(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    await rule(broker, 'SELECT topic FROM "t/#"', {"name": "inspect", "params": {"a": 1}}, id="r")
    publish(broker)
    assert "[inspect] rule r" in caplog.text
    assert "{'topic': 't/1'}" in caplog.text
    assert "{'a': 1}" in caplog.text


# -- republish ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "qos", "retain"),
    [
        ({"target_qos": 1}, 1, False),
        ({"target_qos": "2", "target_retain": "true"}, 2, True),
        ({"target_qos": "${qos}", "target_retain": "${flags.retain}"}, 1, True),
        ({"target_qos": -1, "target_retain": "1"}, 1, True),
        ({"target_qos": "-1", "target_retain": "0"}, 1, False),
    ],
)
async def test_qos_and_retain_of_a_republished_message(
    broker: TestBroker, params: dict[str, object], qos: int, retain: bool
) -> None:
    received = broker.metrics["messages.received"]
    seen: list[Message] = []
    recorder = Recorder(broker)
    entry = await rule(broker, ALL, republish("out", **params))
    await rule(broker, 'SELECT * FROM "out"', "record")
    publish(broker, qos=1, retain=True, timestamp=1_700_000_000_000)
    (event,) = recorder.events
    seen.append(event.message)  # type: ignore[arg-type]
    message = seen[0]
    assert (message.qos, message.retain, message.payload) == (qos, retain, b"x")
    assert (message.publisher, message.username) == (entry.steps[0].id, None)
    assert message.timestamp == 1_700_000_000_000
    assert recorder.outputs[0]["headers"]["republish_by"] == entry.steps[0].id
    assert broker.metrics["messages.received"] - received == 1
    assert broker.metrics[f"messages.qos{qos}.received"] == 1


@pytest.mark.parametrize(
    "params",
    [
        {"target_qos": "${payload}"},
        {"target_qos": "${flags.retain}"},
        {"target_retain": "${payload}"},
        {"target_topic": "a/${payload}"},
        {"target_topic": "${nothing}/${topic}/\0"},
    ],
)
async def test_what_cannot_be_published_fails(broker: TestBroker, params: dict[str, object]) -> None:
    entry = await rule(broker, ALL, {"name": "republish", "params": {"target_qos": 0, "target_topic": "o", **params}})
    publish(broker, payload=b"#")
    assert action_counts(entry) == {"taken": 1, "failed": 1}
    assert entry.active
    assert broker.alarms() == {}


async def test_a_topic_that_is_not_utf8_fails(broker: TestBroker) -> None:
    entry = await rule(broker, ALL, republish("a/${payload}"))
    publish(broker, payload=b"\xff")
    assert action_counts(entry) == {"taken": 1, "failed": 1}


async def test_payloads_of_a_republished_message(broker: TestBroker) -> None:
    recorder = Recorder(broker)
    await rule(
        broker, 'SELECT payload.a AS a, topic, nothing FROM "t/#"', republish("o/1", ""), republish("o/2", "${a.b}!")
    )
    await rule(broker, 'SELECT payload FROM "t/#"', republish("o/3"))
    await rule(broker, 'SELECT payload FROM "o/#"', "record")
    publish(broker, payload=b'{"a":{"b":[1,2.0]}}')
    publish(broker, "t/2", b"\xff\x00")
    assert [out["payload"] for out in recorder.outputs] == [
        '{"a":{"b":[1,2.0]},"topic":"t/1","nothing":"undefined"}',
        "[1,2.0]!",
        '{"a":{"b":[1,2.0]}}',
        b"\xff\x00",
    ]


# -- properties of a republished message -------------------------------------------------------------------------------


async def test_properties_of_a_republished_message(broker: TestBroker) -> None:
    """Names and values may have placeholders; what stands for nothing is left out."""
    watcher = await broker.client("watcher", version=5, subscribe="out", qos=1)
    mqtt = {
        "Payload-Format-Indicator": 1,
        "message_expiry_interval": "${payload.ttl}",
        "${payload.name}": "${pub_props.Content-Type}",
        "Response-Topic": "answers/${clientid}",
        "Correlation-Data": "${pub_props.Correlation-Data}",
    }
    user = {"from": "${clientid}", "k-${qos}": "${payload.ttl}", "nothing": "${nothing}", "n": 1, "b": True}
    await rule(broker, ALL, republish("out", mqtt_properties=mqtt, user_properties=user))
    pump = await broker.client("pump", version=5)
    given = Properties()
    given.content_type, given.correlation_data = "text/x", b"\xff"
    await pump.publish("t/1", b'{"ttl":60,"name":"Content-Type"}', qos=1, properties=given)
    found = (await watcher.receive_publish()).properties
    assert found is not None
    assert found.as_dict() == {
        "payload_format_indicator": 1,
        "message_expiry_interval": 60,
        "content_type": "text/x",
        "response_topic": "answers/pump",
        "correlation_data": b"\xff",
        "user_property": [("from", "pump"), ("k-1", "60"), ("nothing", "undefined"), ("n", "1"), ("b", "true")],
    }
    await pump.publish("t/1", b'{"ttl":"60","name":"content-type"}', qos=1)
    found = (await watcher.receive_publish()).properties
    assert found is not None
    assert (found.message_expiry_interval, found.content_type, found.correlation_data) == (60, None, None)


async def test_a_republished_message_has_no_properties_of_its_own(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", version=5, subscribe="out")
    await rule(broker, ALL, republish("out", mqtt_properties={}, user_properties={}))
    given = Properties()
    given.content_type = "x"
    await (await broker.client("pump", version=5)).publish("t/1", b"x", qos=1, properties=given)
    assert (await watcher.receive_publish()).properties is None


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({"mqtt_properties": []}, "{invalid_data_type,{object,[]}}"),
        ({"user_properties": "x"}, "{invalid_data_type,{object,<<"),
        ({"mqtt_properties": {"Topic-Alias": 1}}, "{invalid_value,mqtt_properties}"),
        ({"mqtt_properties": {"Content-Type": None}}, "{invalid_value,mqtt_properties}"),
        ({"mqtt_properties": {"Content-Type": "a\0b"}}, "{invalid_value,mqtt_properties}"),
        ({"mqtt_properties": {"Payload-Format-Indicator": 2}}, "{invalid_value,mqtt_properties}"),
        ({"mqtt_properties": {"Message-Expiry-Interval": "soon"}}, "{invalid_value,mqtt_properties}"),
        ({"mqtt_properties": {"Message-Expiry-Interval": 1 << 32}}, "{invalid_value,mqtt_properties}"),
        ({"mqtt_properties": {"Response-Topic": "a/#"}}, "{invalid_value,mqtt_properties}"),
        ({"mqtt_properties": {"Correlation-Data": "x" * 65536}}, "{invalid_value,mqtt_properties}"),
        ({"user_properties": {"k": {}}}, "{invalid_value,user_properties}"),
        ({"user_properties": {"k" * 65536: "v"}}, "{invalid_value,user_properties}"),
        ({"user_properties": {f"k{n}": "v" for n in range(101)}}, "{too_many,user_properties}"),
    ],
)
async def test_properties_that_no_message_can_have_are_refused(
    broker: TestBroker, params: dict[str, object], shown: str
) -> None:
    body = {"rawsql": ALL, "actions": [republish("out", **params)]}
    answer = await broker.api("POST", "/rules", body)
    assert (answer.code, answer.message.startswith("Bad Arguments: " + shown)) == (400, True), answer.message
    assert (await broker.api("GET", "/rules")).data == []


@pytest.mark.parametrize(
    ("params", "payload"),
    [
        ({"mqtt_properties": {"${payload}": "1"}}, b"Topic-Alias"),
        ({"mqtt_properties": {"${payload}": "x"}}, b"\xff"),
        ({"mqtt_properties": {"Content-Type": "${payload}"}}, b"\xff"),
        ({"mqtt_properties": {"Content-Type": "${payload.x}"}}, b'{"x":1}'),
        ({"mqtt_properties": {"Correlation-Data": "${payload}"}}, b"x" * 65536),
        ({"mqtt_properties": {"Correlation-Data": "${payload.x}"}}, b'{"x":1}'),
        ({"mqtt_properties": {"Message-Expiry-Interval": "${payload.x}"}}, b'{"x":-1}'),
        ({"mqtt_properties": {"Message-Expiry-Interval": "${payload.x}"}}, b'{"x":true}'),
        ({"mqtt_properties": {"Message-Expiry-Interval": "${payload}"}}, b"9" * 5000),
        ({"mqtt_properties": {"Response-Topic": "${payload}"}}, b"+"),
        ({"user_properties": {"k": "${payload}"}}, b"\xff"),
        ({"user_properties": {"${payload}": "v"}}, b"a\0"),
        ({"user_properties": {"k": "${payload}"}}, b"x" * 65536),
    ],
)
async def test_a_property_that_a_placeholder_spoils_fails_the_action(
    broker: TestBroker, params: dict[str, object], payload: bytes
) -> None:
    entry = await rule(broker, ALL, republish("out", **params))
    publish(broker, payload=payload)
    assert action_counts(entry) == {"taken": 1, "failed": 1}
    assert broker.alarms() == {}


async def test_an_event_is_republished(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="who")
    sql = 'SELECT clientid FROM "$events/client_connected"'
    await rule(
        broker,
        sql,
        {"name": "republish", "params": {"target_topic": "who", "target_qos": -1, "payload_tmpl": "${clientid}"}},
    )
    await broker.client("c")
    assert await watcher.message() == ("who", b"c")


async def test_a_rule_that_feeds_itself_runs_twice(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t/#")
    entry = await rule(broker, ALL, republish("t/again"))
    publish(broker)
    assert [await watcher.message() for _ in range(2)] == [("t/again", b"x"), ("t/1", b"x")]
    assert await watcher.nothing(1)
    assert action_counts(entry) == {"taken": 2, "success": 1, "failed": 1}


async def test_rules_that_feed_each_other_come_to_an_end() -> None:
    async with running({"rule_engine": {"max_hops": 5}}) as broker:
        entries = [
            await rule(broker, 'SELECT payload FROM "a"', republish("b")),
            await rule(broker, 'SELECT payload FROM "b"', republish("a")),
        ]
        publish(broker, "a")
        assert [action_counts(entry) for entry in entries] == [
            {"taken": 3, "success": 3},
            {"taken": 3, "success": 2, "failed": 1},
        ]
        chain = [await rule(broker, f'SELECT payload FROM "c{n}"', republish(f"c{n + 1}")) for n in range(10)]
        publish(broker, "c0")
        assert [action_counts(entry) for entry in chain[:7]] == [
            *[{"taken": 1, "success": 1}] * 5,
            {"taken": 1, "failed": 1},
            {},
        ]


async def test_rules_that_multiply_come_to_an_end(broker: TestBroker) -> None:
    """Five messages of each, in eight rounds, would be half a million."""
    for source, target in (("a", "b"), ("b", "a")):
        await rule(broker, f'SELECT payload FROM "{source}"', *[republish(target)] * 5)
    before = broker.metrics["messages.publish"]
    publish(broker, "a")
    assert broker.metrics["messages.publish"] - before <= 1 + 5 * 101
    before = broker.metrics["messages.publish"]
    publish(broker, "b")
    assert broker.metrics["messages.publish"] - before > 1, "what was too much is forgotten"


async def test_events_of_republished_messages_come_to_an_end_too(broker: TestBroker) -> None:
    """What nobody gets raises an event, whose message is published, which nobody gets."""
    entry = await rule(broker, 'SELECT payload FROM "$events/message_dropped"', republish("nobody"))
    publish(broker)
    assert action_counts(entry) == {"taken": 2, "success": 1, "failed": 1}
    await broker.client("watcher", subscribe="loop", qos=1)
    again = await rule(broker, 'SELECT payload FROM "$events/message_delivered"', republish("loop", target_qos=1))
    publish(broker, "loop")
    await trio.sleep(1)
    assert action_counts(again) == {"taken": 2, "success": 1, "failed": 1}


async def test_clients_cannot_set_the_headers_that_count_hops(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="out")
    await rule(broker, ALL, republish("out"))
    properties = Properties()
    properties.user_property = [("rule_hops", "100"), ("republish_by", "x"), ("event", "1")]
    await (await broker.client("pump")).publish("t/1", b"x", qos=1, properties=properties)
    assert await watcher.message() == ("out", b"x")

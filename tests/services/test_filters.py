"""What lists of clients and subscriptions can be asked for, and what is refused in which words."""

from __future__ import annotations

import pytest

from trioemqx.core.delivery import Delivery
from trioemqx.core.session import Session
from trioemqx.core.subscription import Receiver, Subscription
from trioemqx.core.zone import Zone
from trioemqx.services.filters import FilterError, client_filter, integer, subscription_filter, term
from trioemqx.testing import TestBroker
from trioemqx.types import ClientInfo, Message, SubOpts


@pytest.fixture
def session(broker: TestBroker) -> Session:
    """One client that has gone away, of user `ann`."""
    core = broker.node.broker
    core.now_ms = 1_600_000_000_000
    info = ClientInfo("pump-1", "ann", "10.0.0.7", 4711, zone="external")
    info.connected_at = 1_600_000_500_999
    info.clean_start = False
    info.proto_ver = 5
    made = Session(core, info, Zone("external"))
    for _ in range(3):
        made.enqueue(Delivery(Message("t", b"x"), 0, False, 0))
    made.queue_dropped = 7
    return made


def holds(session: Session, **params: object) -> bool:
    wanted = client_filter(params)
    assert wanted is not None
    assert wanted.names == set(params)
    assert wanted(session) == (wanted.select([session]) == [session])
    return wanted(session)


# -- clients -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("clientid", ["pump-1"], ["pump", "PUMP-1", "", 1]),
        ("username", ["ann"], ["an", "undefined", "", None]),
        ("zone", ["external"], ["internal", ""]),
        ("proto_name", ["MQTT"], ["mqtt", "MQTT-SN"]),
        ("proto_ver", ["5", 5, "+5", "05"], ["4", 4, "-5"]),
        ("conn_state", ["disconnected"], ["connected", "idle", "nonsense", ""]),
        ("clean_start", ["false", False], ["true", True, "False", "0", ""]),
        ("ip_address", ["10.0.0.7", "010.0.00.7"], ["10.0.0.8", "10.0.0", "10.0.0.7.1", "-10.0.0.7", "310.0.0.7"]),
        ("_like_clientid", ["pump", "p-1", "pump-1", ""], ["Pump", "pump-1 ", "pump%"]),
        ("_like_username", ["nn", ""], ["bob"]),
        ("_gte_created_at", ["1600000000", 0], ["1600000001"]),
        ("_lte_created_at", ["1600000000", 1600000001], ["1599999999"]),
        ("_gte_connected_at", ["1600000500"], ["1600000501"]),
        ("_lte_connected_at", ["1600000501"], ["1600000500"]),
        ("_gte_mqueue_len", ["3", "2"], ["4"]),
        ("_lte_mqueue_len", ["3", "4"], ["2"]),
        ("_gte_mqueue_dropped", ["7"], ["8"]),
        ("_lte_mqueue_dropped", ["7"], ["6"]),
    ],
)
async def test_a_condition(session: Session, name: str, right: list[object], wrong: list[object]) -> None:
    assert [value for value in right if not holds(session, **{name: value})] == []
    assert [value for value in wrong if holds(session, **{name: value})] == []


async def test_a_client_without_user_name(session: Session) -> None:
    session.info.username = None
    assert not holds(session, username="undefined")
    assert not holds(session, username=None)
    assert holds(session, _like_username="")
    assert not holds(session, _like_username="undefined")


async def test_an_ipv4_client_of_an_ipv6_socket(session: Session) -> None:
    session.info.peerhost = "::ffff:10.0.0.7"
    assert holds(session, ip_address="10.0.0.7")
    session.info.peerhost = "::1"
    assert not holds(session, ip_address="0.0.0.1")


async def test_conditions_are_all_to_hold(session: Session) -> None:
    assert holds(session, clientid="pump-1", _like_username="a", proto_ver="5")
    assert not holds(session, clientid="pump-1", _like_username="x", proto_ver="5")
    assert holds(session, _gte_mqueue_len="1", _lte_mqueue_len="3")


def test_what_a_list_does_not_know_is_no_filter() -> None:
    assert client_filter({"_page": "1", "_limit": "x", "_like_zone": "e", "qos": "1", "_gte_proto_ver": "x"}) is None
    assert subscription_filter({"_page": "x", "username": "ann", "_like_topic": "t"}) is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("proto_ver", "abc", 'Can\'t convert <<"abc">> to integer type'),
        ("_gte_mqueue_len", "1.5", 'Can\'t convert <<"1.5">> to integer type'),
        ("_lte_mqueue_dropped", "", 'Can\'t convert <<"">> to integer type'),
        ("_gte_created_at", "2020-01-01", 'Can\'t convert <<"2020-01-01">> to timestamp type'),
        ("_lte_connected_at", " 1", 'Can\'t convert <<" 1">> to timestamp type'),
        ("ip_address", "::1", 'Can\'t convert <<"::1">> to ip type'),
        ("ip_address", "10.0.0.x", 'Can\'t convert <<"10.0.0.x">> to ip type'),
        ("ip_address", "10..0.7", 'Can\'t convert <<"10..0.7">> to ip type'),
        ("proto_ver", "1_0", 'Can\'t convert <<"1_0">> to integer type'),
        ("proto_ver", "٣", "Can't convert <<217,163>> to integer type"),
        ("proto_ver", "中", "Can't convert <<228,184,173>> to integer type"),
        ("proto_ver", True, "Can't convert true to integer type"),
        ("proto_ver", None, "Can't convert null to integer type"),
        ("proto_ver", [5], "bad_params"),
        ("proto_ver", "9" * 5000, "bad_params"),
        ("ip_address", 5.5, "Can't convert 5.5 to ip type"),
        ("_like_clientid", 5, "bad_params"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_emqx_words(name: str, value: object, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        client_filter({name: value})
    assert (caught.value.text, caught.value.bad_request) == (message, False)


# -- subscriptions -----------------------------------------------------------------------------------------------------


def subscribed(filter: str, group: str = "", qos: int = 1) -> Subscription:
    return Subscription(Receiver("pump-1"), filter, SubOpts(qos), group)


@pytest.mark.parametrize(
    ("one", "params", "expected"),
    [
        (subscribed("a/b"), {"clientid": "pump-1"}, True),
        (subscribed("a/b"), {"clientid": "pump"}, False),
        (subscribed("a/b"), {"topic": "a/b"}, True),
        (subscribed("a/+"), {"topic": "a/b"}, False),
        (subscribed("a/b", "g"), {"topic": "a/b"}, True),
        (subscribed("a/b", "g"), {"topic": "$share/g/a/b"}, False),
        (subscribed("a/b", "g"), {"share": "g"}, True),
        (subscribed("a/b", "g1"), {"share": "g"}, False),
        (subscribed("a/b", "$queue"), {"share": "$queue"}, True),
        (subscribed("a/b"), {"share": ""}, False),
        (subscribed("a/b"), {"qos": "1"}, True),
        (subscribed("a/b"), {"qos": 2}, False),
        (subscribed("a/b", "g"), {"topic": "a/b", "share": "g", "qos": "1", "_match_topic": "a/#"}, True),
        (subscribed("a/b", "g"), {"topic": "a/b", "share": "g", "qos": "1", "_match_topic": "b/#"}, False),
    ],
)
def test_a_condition_on_subscriptions(one: Subscription, params: dict[str, object], expected: bool) -> None:
    wanted = subscription_filter(params)
    assert wanted is not None
    assert wanted(one) is expected


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("#", ["t", "t/1", "t/a/b", "s/t/1", "t/+", "t/#", "/"]),
        ("t/#", ["t", "t/1", "t/a/b", "t/+", "t/#"]),
        ("t/+", ["t/1", "t/+", "t/#"]),
        ("+/1", ["t/1"]),
        ("+", ["t"]),
        ("+/+/b", ["t/a/b"]),
        ("+/t/+", ["s/t/1"]),
        ("+/a/#", ["t/a/b"]),
        ("$SYS/#", ["$SYS/x"]),
        ("$SYS/+", ["$SYS/x"]),
        ("+/x", []),
        ("t", ["t"]),
        ("/+", ["/"]),
        ("t/#/b", []),
        ("t+", []),
    ],
)
def test_match_topic_takes_the_filter_of_a_subscription_for_a_name(value: str, found: list[str]) -> None:
    there = ["t", "t/1", "t/a/b", "s/t/1", "$SYS/x", "t/+", "t/#", "/"]
    wanted = subscription_filter({"_match_topic": value})
    assert wanted is not None
    assert [one.filter for one in wanted.select([subscribed(filter) for filter in there])] == found


def test_a_bad_qos_is_thrown_unless_a_topic_is_given() -> None:
    with pytest.raises(FilterError) as caught:
        subscription_filter({"qos": "x"})
    assert caught.value.text == '{bad_value_type,{<<"qos">>,integer,<<"x">>}}'
    assert caught.value.bad_request
    with pytest.raises(FilterError) as caught:
        subscription_filter({"qos": "x", "topic": "t"})
    assert (caught.value.text, caught.value.bad_request) == ("bad_params", False)


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "number"), [("7", 7), ("-7", -7), ("+7", 7), ("007", 7), (7, 7)])
def test_integers(value: object, number: int) -> None:
    assert integer(value) == number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('say "hi"\\', '<<"say \\"hi\\"\\\\">>'),
        ("a\nb\tc", '<<"a\\nb\\tc">>'),
        ("caf\u00e9", '<<"caf\u00e9">>'),
        ("\x01", "<<1>>"),
        ("", '<<"">>'),
        (False, "false"),
        (None, "null"),
        (-3, "-3"),
    ],
)
def test_erlang_terms(value: object, text: str) -> None:
    assert term(value) == text

"""The message queue: bounds, what a full one drops, priorities and their rotation, expiry."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.core.delivery import Delivery
from trioemqx.core.queue import MQueue
from trioemqx.types import Message, Properties


def delivery(topic: str = "t", qos: int = 1, payload: bytes = b"x", interval: int | None = None) -> Delivery:
    message = Message(topic, payload, qos)
    if interval is not None:
        message.properties = Properties()
        message.properties.message_expiry_interval = interval
    return Delivery(message, qos, False, 0)


def put(queue: MQueue, item: Delivery) -> list[Delivery]:
    """Everything this put pushed out."""
    lost = []
    dropped = queue.put(item)
    while dropped is not None:
        lost.append(dropped)
        dropped = queue.overflow()
    return lost


def drain(queue: MQueue, now: float = 0.0) -> list[Delivery]:
    found = []
    while (item := queue.get(now)) is not None:
        found.append(item)
    return found


def payloads(items: list[Delivery]) -> list[bytes]:
    return [item.message.payload for item in items]


def test_first_in_first_out() -> None:
    queue = MQueue(1000, 0)
    items = [delivery(qos=number % 3, payload=b"%d" % number) for number in range(20)]
    assert [put(queue, item) for item in items] == [[]] * 20
    assert len(queue) == 20
    assert queue.items() == items
    assert drain(queue) == items
    assert (len(queue), queue.bytes, queue.get(0.0)) == (0, 0, None)


def test_an_empty_queue_is_tiny_and_becomes_so_again() -> None:
    queue = MQueue(1000, 1 << 24)
    empty = sys.getsizeof(queue) + sys.getsizeof(queue._lanes)
    assert empty < 220
    put(queue, delivery())
    drain(queue)
    assert not queue._lanes


def test_a_full_queue_drops_its_oldest() -> None:
    queue = MQueue(3, 0)
    items = [delivery() for _ in range(5)]
    assert [put(queue, item) for item in items] == [[], [], [], [items[0]], [items[1]]]
    assert queue.dropped == 2
    assert drain(queue) == items[2:]


def test_a_full_queue_drops_qos0_before_anything_promised() -> None:
    queue = MQueue(4, 0)
    kept = [delivery(qos=1), delivery(qos=2)]
    low = [delivery(qos=0), delivery(qos=0)]
    for item in (kept[0], low[0], kept[1], low[1]):
        put(queue, item)
    more = [delivery(qos=1) for _ in range(3)]
    assert [put(queue, item) for item in more] == [[low[0]], [low[1]], [kept[0]]]
    assert drain(queue) == [kept[1], *more]


def test_qos0_does_not_push_out_what_was_promised() -> None:
    queue = MQueue(2, 0)
    promised = [delivery(qos=1), delivery(qos=1)]
    for item in promised:
        put(queue, item)
    late = delivery(qos=0)
    assert put(queue, late) == [late]
    assert queue.dropped == 1
    assert drain(queue) == promised


def test_qos0_is_refused_when_it_is_not_stored() -> None:
    queue = MQueue(10, 0, store_qos0=False)
    item = delivery(qos=0)
    assert put(queue, item) == [item]
    assert (len(queue), queue.dropped) == (0, 0)
    assert put(queue, delivery(qos=1)) == []


def test_bytes_are_bounded_whatever_the_count() -> None:
    queue = MQueue(0, 1000)
    items = [delivery(payload=b"x" * 99) for _ in range(10)]
    for item in items:
        assert put(queue, item) == []
    assert queue.bytes == 1000
    big = delivery(payload=b"x" * 299)
    assert put(queue, big) == items[:3]
    assert queue.bytes == 1000
    too_big = delivery(payload=b"x" * 1000)
    assert put(queue, too_big) == [too_big]
    assert drain(queue) == [*items[3:], big]


def test_a_received_frame_is_counted_as_it_came() -> None:
    queue = MQueue(0, 0)
    message = Message("t")
    message.raw = b"\x30\x08\x00\x01t12345"
    message.raw_at = 5
    queue.put(Delivery(message, 1, False, 0))
    assert queue.bytes == 10


def test_without_a_table_there_is_one_lane() -> None:
    queue = MQueue(2, 0, None, True)
    items = [delivery("a"), delivery("b"), delivery("c")]
    assert [put(queue, item) for item in items] == [[], [], [items[0]]]


def test_higher_priorities_come_first_and_each_has_its_own_bound() -> None:
    queue = MQueue(2, 0, {"hi": 5, "mid": 3})
    low = [delivery("x") for _ in range(3)]
    mid = [delivery("mid") for _ in range(2)]
    high = [delivery("hi") for _ in range(2)]
    lost = [put(queue, item) for item in [*low, *mid, *high]]
    assert lost == [[], [], [low[0]], [], [], [], []]
    assert drain(queue) == [*high, *mid, *low[1:]]


def test_unlisted_topics_can_come_first() -> None:
    queue = MQueue(0, 0, {"t": 255}, True)
    listed, other = delivery("t"), delivery("x")
    put(queue, listed)
    put(queue, other)
    assert drain(queue) == [other, listed]


def test_after_a_burst_of_ten_times_its_number_a_priority_gives_way() -> None:
    queue = MQueue(0, 0, {"hi": 2, "mid": 1})
    for _ in range(100):
        put(queue, delivery("hi"))
        put(queue, delivery("mid"))
        put(queue, delivery("x"))
    order = [item.message.topic for item in drain(queue)]
    turn = ["hi"] * 21 + ["mid"] * 11 + ["x"]
    assert order[: 3 * len(turn)] == turn * 3
    assert len(order) == 300


def test_a_high_lane_that_never_runs_dry_does_not_starve_a_low_one() -> None:
    queue = MQueue(0, 0, {"hi": 3})
    put(queue, delivery("x"))
    served = []
    for _ in range(40):
        put(queue, delivery("hi"))
        item = queue.get(0.0)
        assert item is not None
        served.append(item.message.topic)
    assert served.index("x") == 31


def test_bytes_of_a_high_priority_are_not_taken_by_a_lower_one() -> None:
    queue = MQueue(0, 100, {"hi": 1})
    high = delivery("hi", payload=b"x" * 98)
    low = delivery("x", payload=b"x" * 49)
    assert put(queue, low) == []
    assert put(queue, high) == [low]
    late = delivery("x")
    assert put(queue, late) == [late]
    assert drain(queue) == [high]


def test_expired_messages_are_skipped_and_handed_over() -> None:
    queue = MQueue(0, 0)
    stale = [delivery(interval=5), delivery(interval=9)]
    good = [delivery(interval=10), delivery()]
    for item in (stale[0], good[0], stale[1], good[1]):
        put(queue, item)
    assert queue.get(10.0) is good[0]
    assert queue.drain_expired() == [stale[0]]
    assert queue.drain_expired() == []
    assert queue.get(10.0) is good[1]
    assert queue.drain_expired() == [stale[1]]
    assert queue.dropped == 0
    assert len(queue) == 0


def test_with_a_full_window_only_qos0_comes_out() -> None:
    queue = MQueue(0, 0)
    items = [delivery(qos=0), delivery(qos=0, interval=5), delivery(qos=1), delivery(qos=0), delivery(qos=2)]
    for item in items:
        put(queue, item)
    assert queue.holds_qos0()
    assert queue.get(10.0, only_qos0=True) is items[0]
    # It waits for no window, so it passes the QoS 1 message in front of it [MQTT-3.3.4-10].
    assert queue.get(10.0, only_qos0=True) is items[3]
    assert queue.drain_expired() == [items[1]]
    assert not queue.holds_qos0()
    assert queue.get(10.0, only_qos0=True) is None
    assert len(queue) == 2
    assert drain(queue, 10.0) == [items[2], items[4]]
    assert (len(queue), queue.bytes) == (0, 0)


def test_with_a_full_window_the_highest_priority_gives_its_qos0_first() -> None:
    queue = MQueue(0, 0, {"high": 9, "low": 1})
    items = [delivery("low", 0), delivery("high", 1), delivery("high", 0), delivery("other", 0)]
    for item in items:
        put(queue, item)
    assert [queue.get(0.0, only_qos0=True) for _ in range(4)] == [items[2], items[0], items[3], None]
    assert queue.get(0.0) is items[1]


def test_a_full_queue_of_qos0_is_not_made_anew() -> None:
    """A thousand such queues were, every 250 messages: a million references for the cycle collector to look at."""
    queue = MQueue(100, 0)
    for number in range(100):
        put(queue, delivery(qos=0, payload=b"%d" % number))
    lane = queue.lanes()[0]
    items = lane.items
    for number in range(100, 1000):
        assert payloads(put(queue, delivery(qos=0, payload=b"%d" % number))) == [b"%d" % (number - 100)]
        assert lane.dead == 0
    assert lane.items is items
    assert payloads(drain(queue)) == [b"%d" % number for number in range(900, 1000)]


def test_many_dropped_qos0_leave_no_heap_behind() -> None:
    queue = MQueue(50, 0)
    for _ in range(49):
        put(queue, delivery(qos=1))
    for _ in range(5000):
        put(queue, delivery(qos=0))
    assert len(queue) == 50
    assert len(queue._lanes[0].items) < 80


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(["a", "b", "c"]), st.integers(0, 2), st.integers(1, 30)),
        st.tuples(st.just("get"), st.just(""), st.just(0), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(OPERATIONS, st.integers(0, 5), st.sampled_from([0, 40, 100]), st.sampled_from([None, {"a": 2}]), st.booleans())
def test_bounds_order_and_sums_always_hold(
    operations: list[tuple[str, str, int, int]],
    max_len: int,
    max_bytes: int,
    priorities: dict[str, int] | None,
    highest: bool,
) -> None:
    queue = MQueue(max_len, max_bytes, priorities, highest)
    model: list[Delivery] = []
    dropped = 0

    def lane(item: Delivery) -> int:
        return 0 if priorities is None else priorities.get(item.message.topic, 10 if highest else 0)

    for what, topic, qos, size in operations:
        if what == "put":
            item = delivery(topic, qos, b"x" * size)
            lost = put(queue, item)
            dropped += len(lost)
            model.append(item)
            for gone in lost:
                model.remove(gone)
        else:
            taken = queue.get(0.0)
            assert (taken is None) == (not model)
            if taken is not None:
                assert taken is next(item for item in model if lane(item) == lane(taken))
                model.remove(taken)
        assert len(queue) == len(model)
        assert queue.bytes == sum(len(item.message.payload) + 1 for item in model)
        assert max_bytes == 0 or queue.bytes <= max_bytes
        for number in {lane(item) for item in model}:
            in_lane = [item for item in model if lane(item) == number]
            assert max_len == 0 or len(in_lane) <= max_len
            assert [item for item in queue.items() if lane(item) == number] == in_lane
    assert queue.dropped == dropped
    assert sorted(map(id, drain(queue))) == sorted(map(id, model))


@pytest.mark.parametrize("qos", [0, 1])
def test_a_put_into_a_full_queue_costs_no_search(qos: int) -> None:
    queue = MQueue(20_000, 0)
    for number in range(20_000):
        put(queue, delivery(qos=1 if number < 19_999 else qos))
    for _ in range(20_000):
        assert len(put(queue, delivery(qos=qos))) == 1
    assert len(queue) == 20_000


@settings(max_examples=200)
@given(OPERATIONS, st.integers(0, 4), st.sampled_from([0, 40]), st.sampled_from([None, {"a": 2}]), st.booleans())
def test_a_swap_is_what_a_put_would_have_done(
    operations: list[tuple[str, str, int, int]],
    max_len: int,
    max_bytes: int,
    priorities: dict[str, int] | None,
    store: bool,
) -> None:
    """The same sequence for two queues, of which one swaps where it can."""
    plain = MQueue(max_len, max_bytes, priorities, store_qos0=store)
    quick = MQueue(max_len, max_bytes, priorities, store_qos0=store)
    for number, (what, topic, qos, size) in enumerate(operations):
        if what == "get":
            taken, same = plain.get(0.0), quick.get(0.0)
            assert (taken and taken.message) is (same and same.message)
            continue
        message = Message(topic, b"x" * size, qos)
        lost = put(plain, Delivery(message, qos, number % 2 == 0, number, "g", topic))
        swapped = quick.swap(message, number % 2 == 0, number, "g", topic) if qos == 0 else None
        if swapped is not None:
            assert [each.message for each in lost] == [swapped]
        else:
            gone = put(quick, Delivery(message, qos, number % 2 == 0, number, "g", topic))
            assert [each.message for each in gone] == [each.message for each in lost]
        assert (len(quick), quick.bytes, quick.dropped) == (len(plain), plain.bytes, plain.dropped)
        assert [_fields(item) for item in quick.items()] == [_fields(item) for item in plain.items()]


def _fields(item: Delivery) -> tuple[object, ...]:
    return item.message, item.qos, item.retain, item.identifier, item.group, item.filter, item.state, item.key


def test_a_queue_of_a_client_that_does_not_read_is_swapped() -> None:
    queue = MQueue(3, 0)
    for number in range(3):
        assert queue.swap(Message("t", b"%d" % number), False, 0, "", "t") is None
        put(queue, delivery(qos=0, payload=b"%d" % number))
    objects = queue.items()
    for number in range(3, 9):
        lost = queue.swap(Message("t", b"%d" % number), False, 0, "", "t")
        assert lost is not None
        assert lost.payload == b"%d" % (number - 3)
    assert payloads(queue.items()) == [b"6", b"7", b"8"]
    assert all(item in objects for item in queue.items()), "no object is made"
    assert queue.dropped == 6

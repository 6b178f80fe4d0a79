"""What every implementation of Store does. A new one is added to IMPLEMENTATIONS and nothing else."""

from __future__ import annotations

import math

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.services.store.memory import MemoryStore
from trioemqx.services.store.protocol import (
    MAX_DEPTH,
    MAX_KEY,
    Delete,
    Put,
    RowError,
    StoreError,
    all_items,
    decode_row,
    encode_row,
    key_for,
)
from trioemqx.services.store.queues import LaneTotal, join
from trioemqx.services.store.sqlite import SqliteStore

IMPLEMENTATIONS = {
    "memory": lambda directory: MemoryStore(),
    "sqlite": lambda directory: SqliteStore(directory / "store.db"),
}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
async def store(request, tmp_path):
    made = IMPLEMENTATIONS[request.param](tmp_path)
    await made.open()
    yield made
    await made.close()


async def rows(store, table="t"):
    return dict([pair async for pair in all_items(store, table)])


async def test_a_row_put_is_read_back(store):
    row = {"text": "ä\u0000☃", "whole": -(2**63), "part": 0.5, "yes": True, "none": None, "list": [1, {"a": []}]}
    await store.put("t", "k", row).wait()
    assert await store.get("t", "k") == row


async def test_reading_sees_what_was_applied_before_it_is_durable(store):
    durable = store.put("t", "k", {"n": 1})
    assert await store.get("t", "k") == {"n": 1}
    assert await rows(store) == {"k": {"n": 1}}
    await durable.wait()
    assert durable.done


async def test_a_second_put_replaces_the_whole_row(store):
    store.put("t", "k", {"a": 1, "b": 2})
    await store.put("t", "k", {"a": 3}).wait()
    assert await store.get("t", "k") == {"a": 3}


async def test_a_deleted_row_is_gone_and_deleting_it_again_is_no_error(store):
    store.put("t", "k", {})
    assert await store.get("t", "k") == {}
    await store.delete("t", "k").wait()
    assert await store.get("t", "k") is None
    await store.delete("t", "k").wait()
    await store.delete("never_used", "k").wait()


async def test_tables_do_not_see_each_other(store):
    store.put("one", "k", {"n": 1})
    store.put("two", "k", {"n": 2})
    store.delete("one", "k")
    assert await rows(store, "one") == {}
    assert await rows(store, "two") == {"k": {"n": 2}}


async def test_counts_are_those_of_everything_applied(store):
    assert await store.counts() == {}
    await store.apply([Put("two", str(n), {}) for n in range(250)]).wait()
    store.apply([Put("one", "k", {}), Delete("one", "never"), Put("two", "0", {}), Delete("two", "1")])
    store.put("x", "y", {})
    store.delete("x", "y")
    assert await store.counts() == {"one": 1, "two": 249}


async def test_ops_of_a_batch_are_done_in_order(store):
    batch = [Put("t", "a", {"n": 1}), Delete("t", "a"), Put("t", "b", {"n": 1}), Put("t", "b", {"n": 2})]
    await store.apply(batch).wait()
    assert await rows(store) == {"b": {"n": 2}}


async def test_an_empty_batch_becomes_durable(store):
    await store.apply([]).wait()


@pytest.mark.parametrize(
    "bad",
    [
        Put("t", "k", {"n": 2**63}),
        Put("t", "k", {"n": -(2**63) - 1}),
        Put("t", "k", {"f": math.nan}),
        Put("t", "k", {"f": math.inf}),
        Put("t", "k", {"s": "\ud800"}),
        Put("t", "k", {"\udfff": 1}),
        Put("t", "k", {1: "number for a name"}),
        Put("t", "k", {"b": b"bytes"}),
        Put("t", "k", {"t": (1, 2)}),
        Put("t", "k", {"o": object()}),
        Put("t", "k", ["no mapping"]),
        Put("t", "", {}),
        Put("t", "k" * (MAX_KEY + 1), {}),
        Put("t", "\ud800", {}),
        Put("", "k", {}),
        Put("Robert'); DROP TABLE", "k", {}),
        Delete("T", "k"),
        Delete("t", ""),
    ],
)
async def test_a_batch_with_something_no_store_can_hold_leaves_nothing_behind(store, bad):
    await store.put("t", "old", {"n": 1}).wait()
    with pytest.raises(RowError):
        store.apply([Put("t", "new", {}), Delete("t", "old"), bad])
    assert await rows(store) == {"old": {"n": 1}}


async def test_a_row_nested_too_deeply_is_refused_not_a_recursion_error(store):
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RowError, match="nested"):
        store.put("t", "k", {"v": value})
    allowed = 0
    for _ in range(MAX_DEPTH - 1):
        allowed = [allowed]
    await store.put("t", "k", {"v": allowed}).wait()
    assert await store.get("t", "k") == {"v": allowed}


async def test_rows_are_copies_in_both_directions(store):
    mine = {"list": [1]}
    store.put("t", "k", mine)
    mine["list"].append(2)
    theirs = await store.get("t", "k")
    assert theirs == {"list": [1]}
    theirs["list"].append(3)
    assert await store.get("t", "k") == {"list": [1]}


async def test_items_come_in_order_of_keys_page_by_page(store):
    keys = ["b", "a/2", "a", "ü", "a/10", "Z"]
    for key in keys:
        store.put("t", key, {"key": key})
    first = await store.items("t", limit=4)
    assert [key for key, _ in first] == sorted(keys)[:4]
    rest = await store.items("t", after=first[-1][0], limit=4)
    assert [key for key, _ in rest] == sorted(keys)[4:]
    assert await store.items("t", after=rest[-1][0]) == []
    assert await store.items("never_used") == []


async def test_all_items_walks_every_page(store):
    store.apply([Put("t", f"{n:04d}", {"n": n}) for n in range(25)])
    assert [row["n"] async for _, row in all_items(store, "t", page=7)] == list(range(25))


async def test_all_items_survives_changes_between_pages(store):
    store.apply([Put("t", f"{n:04d}", {"n": n}) for n in range(10)])
    seen = []
    async for key, _ in all_items(store, "t", page=2):
        seen.append(key)
        store.delete("t", key)
        store.put("t", "0000", {"n": "behind the walk"})
    assert seen == [f"{n:04d}" for n in range(10)]


async def test_batches_are_settled_in_the_order_they_were_applied(store):
    batches = [store.put("t", f"k{n}", {}) for n in range(50)]
    await batches[-1].wait()
    assert all(batch.done for batch in batches)
    assert store.pending() == 0


async def test_a_batch_may_be_waited_for_by_many_and_afterwards(store):
    durable = store.put("t", "k", {})
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(durable.wait)
        await durable.wait()


async def test_close_settles_what_was_applied_and_a_later_open_finds_it(store):
    durable = store.put("t", "k", {"n": 1})
    await store.close()
    assert durable.done
    await durable.wait()
    await store.open()
    assert await store.get("t", "k") == {"n": 1}


async def test_a_closed_store_refuses_everything_and_closes_twice(store):
    await store.close()
    await store.close()
    with pytest.raises(StoreError):
        store.put("t", "k", {})
    with pytest.raises(StoreError):
        await store.get("t", "k")
    with pytest.raises(StoreError):
        await store.items("t")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=5))
def test_every_json_row_survives_encoding(row):
    assert decode_row(encode_row(row)) == row


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[" * 100_000])
def test_an_unreadable_row_is_a_store_error(text):
    with pytest.raises(StoreError):
        decode_row(text)


def test_key_for_any_text():
    assert key_for("pump-1") == "pump-1"
    long = "x" * 65535
    assert key_for(long) != key_for(long + "y")
    assert len(key_for(long)) < MAX_KEY
    assert key_for("")
    assert key_for(key_for(long)) != key_for(long), "nobody can write over the row of a long name"


# -- queues ------------------------------------------------------------------------------------------------------------


def entry(message, size, packet_id):
    return {"message": message, "size": size, "id": packet_id, "qos": 1}


def fill_queues(store):
    """Two sessions; of the first, one lane has two rows that were sent and three that wait."""
    messages = [Put("messages", f"{number:016x}", {"payload": str(number)}) for number in (1, 3, 5, 7, 9, 11)]
    lane = [(2, 1, 10, 7), (4, 3, 20, 0), (6, 5, 30, 8), (8, 7, 40, 0), (10, 9, 50, 0)]
    rows = [Put("queue", join(1, 0, number), entry(message, size, sent)) for number, message, size, sent in lane]
    rows += [Put("queue", join(1, 255, 12), entry(11, 5, 0)), Put("queue", join(2, 0, 13), entry(11, 5, 9))]
    store.apply([*messages, *rows])  # in one batch: a message that no row names is not kept


async def test_totals_count_what_waits_and_what_was_sent_by_lane(store):
    fill_queues(store)
    totals = await store.totals()
    assert totals.lanes == [
        LaneTotal(f"{1:016x}", 0, 3, 110, 2),
        LaneTotal(f"{1:016x}", 255, 1, 5, 0),
        LaneTotal(f"{2:016x}", 0, 0, 0, 1),
    ]
    assert totals.highest == 13


async def test_totals_of_nothing(store):
    totals = await store.totals()
    assert (totals.lanes, totals.highest) == ([], 0)


async def test_a_lane_gives_what_was_sent_and_what_waits_page_by_page(store):
    fill_queues(store)
    sid = f"{1:016x}"
    assert [(row.row["id"], row.message) for row in await store.flights(sid, 0, "", 10)] == [
        (7, {"payload": "1"}),
        (8, {"payload": "5"}),
    ]
    [first] = await store.flights(sid, 0, "", 1)
    assert [row.row["id"] for row in await store.flights(sid, 0, first.key, 10)] == [8]
    assert await store.flights(sid, 255, "", 10) == []
    page = await store.waiting(sid, 0, "", 2, 1000)
    assert [row.row["size"] for row in page] == [20, 40]
    assert [row.row["size"] for row in await store.waiting(sid, 0, page[-1].key, 2, 1000)] == [50]
    assert [row.row["size"] for row in await store.waiting(sid, 0, "", 10, 45)] == [20], "a page has a size, too"
    assert len(await store.of_session(sid, 10, 1000)) == 6


async def test_a_message_goes_with_the_last_row_that_names_it(store):
    fill_queues(store)
    counts = await store.counts()
    assert (counts["messages"], counts["queue"]) == (6, 7)
    store.apply([Delete("queue", join(1, 255, 12)), Delete("queue", join(1, 0, 2))])
    counts = await store.counts()
    assert (counts["messages"], counts["queue"]) == (5, 5)
    [left] = await store.flights(f"{2:016x}", 0, "", 10)
    assert left.message == {"payload": "11"}

"""The queues of bridges: in memory, and on disk through crashes, damage and full disks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.services.bridge import segments
from trioemqx.services.bridge.backoff import Backoff
from trioemqx.services.bridge.config import BridgeError
from trioemqx.services.bridge.counters import BridgeCounters
from trioemqx.services.bridge.diskqueue import BUFFER_BYTES, DiskQueue
from trioemqx.services.bridge.folder import QueueFolder, lane_of
from trioemqx.services.bridge.item import OVERHEAD, Item
from trioemqx.services.bridge.lanequeue import LaneQueue
from trioemqx.services.bridge.memoryqueue import MemoryQueue
from trioemqx.types import Properties

GIGA = 1024**3


def item(number: int, topic: str = "t", size: int = 0) -> Item:
    return Item(topic, b"%d" % number + bytes(size), 1, False, None, 0)


def files(folder: Path) -> list[Path]:
    """What looks like a segment."""
    return sorted(folder.glob("*.seg"))


def number_of(found: Item) -> int:
    return int(found.payload.rstrip(b"\0"))


def disk(folder: Path, counters: BridgeCounters | None = None, seg: int = 1000, most: int = GIGA) -> DiskQueue:
    return DiskQueue(folder, seg, most, False, (counters or BridgeCounters()).drop, lambda: None)


async def opened(folder: Path, *args: object, **more: int) -> DiskQueue:
    queue = disk(folder, *args, **more)  # type: ignore[arg-type]
    await queue.open()
    queue.admit()
    return queue


async def drained(queue: LaneQueue) -> list[int]:
    """Take all there is; it stays in flight."""
    found = []
    while await queue.fill():
        while queue.head() is not None:
            found.append(number_of(queue.take()))
    return found


async def written(queue: DiskQueue, numbers: range, topic: str = "t", size: int = 0) -> None:
    for number in numbers:
        queue.put(item(number, topic, size))
    assert await queue.flush()


# -- both kinds ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], LaneQueue]:
    def made() -> LaneQueue:
        drop = BridgeCounters().drop
        return MemoryQueue(1000, GIGA, drop) if request.param == "memory" else disk(tmp_path)

    return made


async def ready(queue: LaneQueue) -> LaneQueue:
    if isinstance(queue, DiskQueue):
        await queue.open()
        queue.admit()
    return queue


async def stored(queue: LaneQueue) -> None:
    if isinstance(queue, DiskQueue):
        assert await queue.flush()


async def test_messages_come_out_in_their_order(make: Callable[[], LaneQueue]) -> None:
    queue = await ready(make())
    for number in range(10):
        queue.put(item(number))
    await stored(queue)
    assert queue.waiting == 10
    assert await drained(queue) == list(range(10))
    assert (queue.waiting, queue.in_flight) == (0, 10)


async def test_what_is_not_done_comes_again_in_its_place(make: Callable[[], LaneQueue]) -> None:
    queue = await ready(make())
    for number in range(6):
        queue.put(item(number))
    await stored(queue)
    await queue.fill()
    taken = [queue.take() for _ in range(4)]
    queue.done(taken[1])
    queue.done(taken[1])
    queue.rewind()
    assert queue.in_flight == queue.flight_bytes == 0
    assert await drained(queue) == [0, 2, 3, 4, 5]


async def test_some_can_be_taken_back(make: Callable[[], LaneQueue]) -> None:
    queue = await ready(make())
    for number in range(4):
        queue.put(item(number))
    await stored(queue)
    await queue.fill()
    taken = [queue.take() for _ in range(3)]
    queue.rewind({taken[0], taken[2]})
    assert queue.in_flight == 1
    assert await drained(queue) == [0, 2, 3]


async def test_a_message_of_an_earlier_flight_can_be_done_after_it_came_back(make: Callable[[], LaneQueue]) -> None:
    queue = await ready(make())
    queue.put(item(1))
    await stored(queue)
    await queue.fill()
    taken = queue.take()
    queue.rewind()
    queue.done(taken)
    assert queue.waiting == 1, "it will be sent again, so it waits for that answer"


# -- in memory -----------------------------------------------------------------------------------------------------


async def test_in_memory_the_oldest_goes_when_there_are_too_many() -> None:
    counters = BridgeCounters()
    queue = MemoryQueue(3, GIGA, counters.drop)
    for number in range(5):
        queue.put(item(number))
    assert counters.dropped["queue_full"] == 2
    assert await drained(queue) == [2, 3, 4]


async def test_in_memory_bytes_count_too_and_a_giant_pushes_nobody_out() -> None:
    counters = BridgeCounters()
    queue = MemoryQueue(1000, 5000, counters.drop)
    for number in range(10):
        queue.put(item(number, size=1000))
    queue.put(item(99, size=6000))
    assert counters.dropped["too_large"] == 1
    assert counters.dropped["queue_full"] == 6
    assert await drained(queue) == [6, 7, 8, 9]


async def test_in_memory_what_is_in_flight_keeps_its_place() -> None:
    counters = BridgeCounters()
    queue = MemoryQueue(2, GIGA, counters.drop)
    queue.put(item(0))
    queue.put(item(1))
    await drained(queue)
    queue.put(item(2))
    assert (queue.in_flight, queue.waiting, counters.dropped["queue_full"]) == (2, 0, 1)
    assert [number_of(found) for found in queue.export()] == [0, 1]


# -- on disk -------------------------------------------------------------------------------------------------------


async def test_all_of_a_message_survives(tmp_path: Path) -> None:
    properties = Properties()
    properties.content_type, properties.user_property = "text", [("a", "b"), ("a", "c")]
    properties.message_expiry_interval, properties.correlation_data = 60, b"\0\1"
    queue = await opened(tmp_path)
    queue.put(Item("ü/1", b"\0\xff", 2, True, properties, 1234567890123))
    await queue.close()
    queue = await opened(tmp_path)
    assert await queue.fill()
    found = queue.take()
    assert (found.topic, found.payload, found.qos, found.retain) == ("ü/1", b"\0\xff", 2, True)
    assert (found.born, found.properties) == (1234567890123, properties)


async def test_what_was_put_before_it_was_opened_comes_after_what_was_there(tmp_path: Path) -> None:
    queue = await opened(tmp_path)
    await written(queue, range(3))
    await queue.close()
    queue = disk(tmp_path)
    queue.put(item(3))
    assert queue.waiting == 1
    await queue.open()
    queue.admit()
    assert await queue.flush()
    assert await drained(queue) == [0, 1, 2, 3]


async def test_what_is_done_does_not_come_again_and_its_files_go(tmp_path: Path) -> None:
    queue = await opened(tmp_path)
    await written(queue, range(100))
    for _ in range(60):
        await queue.fill()
        queue.done(queue.take())
    before = len(files(tmp_path))
    await queue.close()
    assert len(files(tmp_path)) <= before
    queue = await opened(tmp_path)
    assert queue.waiting == 40
    assert await drained(queue) == list(range(60, 100))


async def test_a_queue_that_is_empty_leaves_one_file_at_most(tmp_path: Path) -> None:
    queue = await opened(tmp_path, seg=300)
    for start in range(0, 200, 10):
        await written(queue, range(start, start + 10))
        while await queue.fill():
            queue.done(queue.take())
        await queue.note()
        assert len(files(tmp_path)) == 1
    await queue.close()
    await opened(tmp_path)
    assert files(tmp_path) == []


async def test_numbers_go_on_when_all_files_are_gone(tmp_path: Path) -> None:
    queue = await opened(tmp_path)
    await written(queue, range(5))
    await queue.fill()
    while queue.head():
        queue.done(queue.take())
    await queue.close()
    queue = await opened(tmp_path)
    await written(queue, range(5, 7))
    assert await drained(queue) == [5, 6]


async def test_a_queue_that_is_closed_can_be_opened_again(tmp_path: Path) -> None:
    queue = await opened(tmp_path)
    await written(queue, range(5))
    await queue.fill()
    queue.done(queue.take())
    queue.take()
    await queue.close()
    queue.put(item(5))
    await queue.open()
    queue.admit()
    assert await queue.flush()
    assert await drained(queue) == [1, 2, 3, 4, 5]


async def test_large_messages_are_read_whole(tmp_path: Path) -> None:
    queue = await opened(tmp_path)
    await written(queue, range(3), size=3_000_000)
    await queue.close()
    queue = await opened(tmp_path)
    assert await drained(queue) == [0, 1, 2]


async def test_the_oldest_file_goes_when_there_are_too_many_bytes(tmp_path: Path) -> None:
    counters = BridgeCounters()
    queue = await opened(tmp_path, counters, seg=10_000, most=40_000)
    for start in range(0, 200, 10):
        await written(queue, range(start, start + 10), size=1000)
    await queue.note()
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 45_000
    left = await drained(queue)
    assert left == list(range(left[0], 200)), "the newest are there, without a gap"
    assert counters.dropped["queue_full"] == left[0] > 100


async def test_what_is_in_flight_is_not_dropped_with_its_file(tmp_path: Path) -> None:
    counters = BridgeCounters()
    queue = await opened(tmp_path, counters, seg=10_000, most=40_000)
    await written(queue, range(10), size=1000)
    await queue.fill()
    first = queue.take()
    for start in range(10, 100, 10):
        await written(queue, range(start, start + 10), size=1000)
    assert counters.dropped["queue_full"] > 0
    queue.rewind()
    assert number_of(queue.take()) == number_of(first) == 0
    queue.done(first)
    queue.rewind()
    rest = await drained(queue)
    assert len(rest) + counters.dropped["queue_full"] == 99


async def test_a_message_larger_than_the_queue_is_not_taken(tmp_path: Path) -> None:
    counters = BridgeCounters()
    queue = await opened(tmp_path, counters, most=10_000)
    queue.put(item(1, size=20_000))
    assert (queue.waiting, counters.dropped["too_large"]) == (0, 1)


# -- damage --------------------------------------------------------------------------------------------------------


def last_segment(folder: Path) -> Path:
    return max(folder.glob("*.seg"))


async def full(folder: Path, count: int = 10, seg: int = 100_000) -> None:
    queue = await opened(folder, seg=seg)
    await written(queue, range(count))
    await queue.close()


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 20])
async def test_a_tail_that_is_not_whole_is_cut(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    await full(tmp_path)
    path = last_segment(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    queue = await opened(tmp_path)
    assert "damaged and were cut off" in caplog.text
    await written(queue, range(10, 12))
    assert await drained(queue) == [*range(9), 10, 11]


@pytest.mark.parametrize("garbage", [b"\0", b"\xff" * 9, b"\0\0\0\5\1\2\3\4hello", bytes(5000)])
async def test_garbage_at_the_end_is_cut(tmp_path: Path, garbage: bytes) -> None:
    await full(tmp_path)
    with last_segment(tmp_path).open("ab") as file:
        file.write(garbage)
    queue = await opened(tmp_path)
    await written(queue, range(10, 12))
    await queue.close()
    assert await drained(await opened(tmp_path)) == list(range(12))


async def test_a_file_that_was_just_made_is_no_damage(tmp_path: Path) -> None:
    await full(tmp_path)
    segments.segment_path(tmp_path, 11).write_bytes(b"tque")
    queue = await opened(tmp_path)
    await written(queue, range(10, 12))
    assert await drained(queue) == list(range(12))


async def test_damage_in_the_middle_costs_the_rest_of_that_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counters = BridgeCounters()
    queue = await opened(tmp_path, seg=200)
    for start in range(0, 30, 10):
        await written(queue, range(start, start + 10))
    await queue.close()
    path = files(tmp_path)[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = await drained(await opened(tmp_path, counters))
    lost = counters.dropped["damaged"]
    assert 0 < lost < 10
    assert found == [*range(20 - lost), *range(20, 30)]
    assert f"{lost} messages are lost" in caplog.text


@pytest.mark.parametrize("how", ["missing", "empty", "foreign"])
async def test_a_file_in_the_middle_that_is_gone_costs_what_was_in_it(tmp_path: Path, how: str) -> None:
    counters = BridgeCounters()
    queue = await opened(tmp_path, seg=200)
    for start in range(0, 30, 10):
        await written(queue, range(start, start + 10))
    await queue.close()
    path = files(tmp_path)[1]
    queue = await opened(tmp_path, counters)
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else b"something else")
    assert await drained(queue) == [*range(10), *range(20, 30)]
    assert counters.dropped["damaged"] == 10


@pytest.mark.parametrize("data", [b"", b"x", bytes(12), b"\xff" * 12])
async def test_a_damaged_note_of_what_is_done_means_once_more(tmp_path: Path, data: bytes) -> None:
    queue = await opened(tmp_path)
    await written(queue, range(5))
    await queue.fill()
    queue.done(queue.take())
    await queue.close()
    (tmp_path / "acked").write_bytes(data)
    assert await drained(await opened(tmp_path)) == list(range(5))


async def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("x.seg", "1.txt", "²²²²²²²²²²²²²²²²²²²².seg", "-1.seg", "7.seg"):
        (tmp_path / name).write_text("mine")
    queue = await opened(tmp_path)
    await written(queue, range(3))
    await queue.close()
    assert await drained(await opened(tmp_path)) == [0, 1, 2]
    assert len(files(tmp_path)) == 5


@given(st.binary(max_size=400), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_no_bytes_crash_what_reads_them(data: bytes, keep: int) -> None:
    with TemporaryDirectory() as name:
        path = segments.segment_path(Path(name), 1)
        segments.append(path, 0, [b"one", b"two"], False)
        whole = path.read_bytes()
        path.write_bytes(whole[:keep] + data)
        found = segments.recover(Path(name))
        if keep >= len(whole):
            assert found.segments[0].count >= 2
        for segment in found.segments:
            records, _, damaged = segments.read(segment.path, 0, segment.size, 100)
            assert records
            assert not damaged


# -- disks that fail -----------------------------------------------------------------------------------------------


@pytest.fixture
def broken_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """A disk that is full, half of a write later, while the list holds True."""
    broken = [True]
    real = os.pwrite

    def pwrite(handle: int, data: bytes, at: int) -> int:
        if broken[0]:
            real(handle, bytes(data)[: len(data) // 2], at)
            raise OSError(28, "No space left on device")
        return real(handle, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    yield broken
    broken[0] = False


async def test_a_full_disk_loses_nothing_that_memory_can_hold(
    tmp_path: Path, broken_disk: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    queue = await opened(tmp_path)
    for number in range(5):
        queue.put(item(number))
    assert not await queue.flush()
    assert not await queue.flush()
    assert queue.failing == "No space left on device"
    assert caplog.text.count("does not take messages") == 1
    assert queue.waiting == 5
    broken_disk[0] = False
    assert await queue.flush()
    assert queue.failing == ""
    await queue.close()
    assert await drained(await opened(tmp_path)) == list(range(5))


async def test_while_the_disk_fails_messages_go_out_from_memory(tmp_path: Path, broken_disk: list[bool]) -> None:
    broken_disk[0] = False
    queue = await opened(tmp_path)
    await written(queue, range(2))
    broken_disk[0] = True
    for number in range(2, 6):
        queue.put(item(number))
    assert not await queue.flush()
    await queue.fill()
    taken = [queue.take() for _ in range(4)]
    assert [number_of(found) for found in taken] == [0, 1, 2, 3]
    for found in taken[:3]:
        queue.done(found)
    broken_disk[0] = False
    await queue.close()
    assert await drained(await opened(tmp_path)) == [3, 4, 5]


async def test_what_waits_for_the_disk_is_bounded(tmp_path: Path, broken_disk: list[bool]) -> None:
    counters = BridgeCounters()
    queue = await opened(tmp_path, counters)
    size = 1024 * 1024
    for number in range(40):
        queue.put(item(number, size=size))
    assert queue.waiting <= BUFFER_BYTES // size
    assert queue.waiting + counters.dropped["queue_full"] == 40
    broken_disk[0] = False
    assert await queue.flush()


async def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        await opened(tmp_path / "file" / "queue")


# -- a model -------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 8)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("take"), st.integers(1, 8)),
        st.tuples(st.just("done"), st.integers(0, 20)),
        st.tuples(st.just("rewind"), st.just(0)),
        st.tuples(st.just("note"), st.just(0)),
        st.tuples(st.just("kill"), st.just(0)),
        st.tuples(st.just("tear"), st.integers(1, 60)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=40,
)


class Model:
    """What must come out: `flushed` messages in their order, from the first that is not done on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queue = disk(folder, seg=150)
        self.count = 0
        self.put: list[int] = []
        self.flushed: list[int] = []
        self.finished: set[int] = set()
        self.taken: list[Item] = []

    async def open(self) -> None:
        self.queue = await opened(self.folder, seg=150)
        self.taken = []

    async def step(self, name: str, number: int) -> None:
        queue = self.queue
        if name == "put":
            for _ in range(number):
                queue.put(item(self.count))
                self.put.append(self.count)
                self.count += 1
        elif name == "flush":
            assert await queue.flush()
            self.flushed += self.put
            self.put = []
        elif name == "take":
            await queue.fill()
            while number and queue.head() is not None:
                self.taken.append(queue.take())
                number -= 1
        elif name == "done" and self.taken:
            found = self.taken.pop(number % len(self.taken))
            queue.done(found)
            self.finished.add(number_of(found))
        elif name == "rewind":
            queue.rewind()
            self.taken = []
        elif name == "note":
            await queue.note()
        elif name in ("kill", "tear"):
            await self.kill(number if name == "tear" else 0)
        elif name == "restart":
            await queue.close()
            self.flushed += self.put
            self.put = []
            await self.check(exact=True)

    async def kill(self, torn: int) -> None:
        """The process is gone; with `torn`, in the middle of a write."""
        self.put = []
        if torn and (path := max(self.folder.glob("*.seg"), default=None)) is not None:
            with path.open("ab") as file:
                file.write(b"\0\0\0\x30garbage" * 10)
            os.truncate(path, path.stat().st_size - torn)
        await self.check(exact=False)

    async def check(self, exact: bool) -> None:
        """Look with a queue of its own, then go on with another."""
        found = await drained(await opened(self.folder, seg=150))
        owed = [number for number in self.flushed if number not in self.finished]
        first = self.flushed.index(owed[0]) if owed else len(self.flushed)
        assert found == self.flushed[len(self.flushed) - len(found) :], "in order, without a gap, up to the last one"
        assert len(found) >= len(self.flushed) - first, "at least once"
        self.finished -= set(found)  # a note that was not written has been lost with the process
        if exact:
            assert len(found) == len(self.flushed) - first, "what was done before the first that is not is not repeated"
        await self.open()


@given(STEPS)
@settings(max_examples=120, deadline=None)
def test_whatever_happens_each_message_comes_at_least_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    async def run(folder: Path) -> None:
        model = Model(folder)
        await model.open()
        for name, number in [*steps, ("kill", 0), ("restart", 0)]:
            await model.step(name, number)

    with TemporaryDirectory() as name:
        trio.run(run, Path(name))


# -- the folder ----------------------------------------------------------------------------------------------------


async def test_one_owner_uses_a_folder(tmp_path: Path) -> None:
    one, two = QueueFolder(tmp_path, 1, disk), QueueFolder(tmp_path, 1, disk)
    await one.open()
    with pytest.raises(BridgeError, match="in use by another bridge"):
        await two.open()
    one.unlock()
    await two.open()
    two.unlock()


async def test_another_number_of_lanes_takes_over_what_the_old_ones_hold(tmp_path: Path) -> None:
    topics = [f"topic/{number}" for number in range(20)]
    old = QueueFolder(tmp_path, 3, disk)
    await old.open()
    for number in range(200):
        topic = topics[number % 20]
        old.queues[lane_of(topic, 3)].put(item(number, topic))
    for queue in old.queues:
        await queue.close()
    old.unlock()
    new = QueueFolder(tmp_path, 2, disk)
    new.queues[lane_of(topics[0], 2)].put(item(1000, topics[0]))
    await new.open()
    found: dict[str, list[int]] = {}
    for lane, queue in enumerate(new.queues):
        assert await queue.flush()
        while await queue.fill():
            message = queue.take()
            assert lane_of(message.topic, 2) == lane
            found.setdefault(message.topic, []).append(number_of(message))
    expected = {topic: list(range(number, 200, 20)) for number, topic in enumerate(topics)}
    expected[topics[0]].append(1000)
    assert found == expected
    assert sorted(os.listdir(tmp_path)) == ["2", "lock"]
    new.unlock()


def test_what_is_not_of_the_queue_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder of somebody else, whose folders have years for names."""
    for name in ("2024/01/report.txt", "2024/notes.txt", "2025/02/.keep"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("not ours")
    folder = QueueFolder(tmp_path, 1, disk)
    trio.run(folder.open)
    folder.unlock()
    kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {"2024/01/report.txt", "2024/notes.txt", "2025/02/.keep", "lock"}
    assert "2024 stays where it is" in caplog.text


# -- odds and ends -------------------------------------------------------------------------------------------------


def test_expiry_runs_down_while_a_message_waits() -> None:
    properties = Properties()
    properties.message_expiry_interval = 10
    found = Item("t", b"", 1, False, properties, 1000)
    assert found.left(1000) is properties
    left = found.left(4500)
    assert left is not None
    assert left.message_expiry_interval == 7
    assert properties.message_expiry_interval == 10
    assert not found.expired(10_999)
    assert found.expired(11_000)
    assert found.size == 1 + OVERHEAD


def test_pauses_double_up_to_a_limit_and_are_not_the_same_for_all() -> None:
    backoff = Backoff(30, Random(1))
    pauses = [backoff.next() for _ in range(8)]
    for pause, middle in zip(pauses, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert 0.75 * middle <= pause <= min(30, 1.25 * middle)
    assert len(set(pauses)) > 5
    backoff.reset()
    assert backoff.next() <= 1.25
    assert Backoff(0.1, Random(1)).next() <= 0.1

"""Events that are given back stand in the order in which they happened."""

from __future__ import annotations

from emqx_web_hook.lanes import Event, Lanes


def two_clients(lanes: Lanes) -> tuple[str, str]:
    """Client ids in different lanes."""
    names = iter(f"c{number}" for number in range(100))
    first = next(names)
    second = next(name for name in names if hash(name) % 2 != hash(first) % 2)
    return first, second


async def test_the_oldest_of_all_is_dropped_after_a_give_back_too() -> None:
    dropped: list[int] = []
    lanes = Lanes(2, 10, 1000, "drop_oldest", lambda: dropped.append(1))
    first, second = two_clients(lanes)
    events = [Event("a", name, b"x", 0.0) for name in (first, second, second)]
    for event in events:
        lanes.put(event)
    taken = await lanes.take(hash(second) % 2)
    lanes.give_back()
    lanes._drop()
    assert taken is events[1]
    assert [event.number for event in lanes.everything()] == [2, 3]
    assert lanes.bytes == 2

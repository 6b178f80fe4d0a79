"""The last resort: a process that does not end by itself is ended, after what had to be written has been."""

from __future__ import annotations

import threading

import pytest
import trio

from trioemqx import ending


class Left:
    """Stands for `os._exit`: the process would be gone with this code."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.event = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.event.set()


async def left(process: Left) -> None:
    await trio.to_thread.run_sync(process.event.wait, 10)


async def test_what_does_not_end_is_named_and_left_behind_after_saving(caplog: pytest.LogCaptureFixture) -> None:
    saved: list[bool] = []

    async def save() -> None:
        await trio.lowlevel.checkpoint()
        saved.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="the stubborn one")
        process = Left()
        resort = ending.LastResort(process)
        resort.save = save
        resort.within(0.01)
        await left(process)
        nursery.cancel_scope.cancel()
    assert (process.codes, saved) == ([0], [True])
    assert "the stubborn one" in caplog.text


async def test_it_is_not_needed_when_everything_ends_in_time() -> None:
    process = Left()
    resort = ending.LastResort(process)
    resort.within(3600)
    assert [thread for thread in threading.enumerate() if thread.name == "last resort"]
    resort.ended()
    with trio.fail_after(10):
        while [thread for thread in threading.enumerate() if thread.name == "last resort"]:
            await trio.sleep(0.01)
    assert process.codes == []


async def test_a_second_signal_shortens_its_patience() -> None:
    process = Left()
    resort = ending.LastResort(process)
    resort.code = 70  # something vital has given up before
    resort.within(3600)
    resort.within(0.01)
    await left(process)
    assert process.codes == [70]


async def test_a_held_event_loop_ends_the_process_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ending, "SAVING", -0.99)  # it waits a second longer
    process = Left()
    ending.LastResort(process).within(0.01)
    process.event.wait(10)  # and nobody else gets a turn
    assert process.codes == [ending.HELD]
    assert "something holds the event loop" in capfd.readouterr().err


async def test_a_save_that_crashes_or_hangs_does_not_hold_it_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash() -> None:
        raise OSError("disk")

    monkeypatch.setattr(ending, "SAVING", 0.05)
    for save in (crash, trio.sleep_forever):
        process = Left()
        resort = ending.LastResort(process)
        resort.save = save
        resort.within(0.01)
        await left(process)
        assert process.codes == [0]

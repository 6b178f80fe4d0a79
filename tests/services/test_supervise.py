"""Who is restarted, who ends alone, what passes (style.md 3, 6.11; reliability.md 6)."""

from __future__ import annotations

import logging

import pytest
import trio

from trioemqx.metrics import Metrics
from trioemqx.services.supervise import GaveUp, RestartPolicy, guarded, supervise


class Service:
    """Crashes after each of `lives` seconds, then returns."""

    def __init__(self, *lives, error=ValueError):
        self.lives = list(lives)
        self.error = error
        self.starts = []

    async def run(self):
        self.starts.append(round(trio.current_time() - self.starts_at, 3))
        if not self.lives:
            return
        await trio.sleep(self.lives.pop(0))
        raise self.error("boom")

    async def supervised(self, **more):
        self.starts_at = trio.current_time()
        self.metrics = Metrics()
        self.crashes = []
        await supervise(
            "thing", self.run, metrics=self.metrics, on_crash=lambda *args: self.crashes.append(args), **more
        )


async def test_a_service_that_returns_is_done(autojump_clock):
    service = Service()
    await service.supervised()
    assert (service.starts, service.metrics.service_crashed) == ([0], 0)


async def test_a_crashed_service_is_restarted_later_and_later(autojump_clock):
    service = Service(0, 0, 0, 0)
    await service.supervised()
    assert service.starts == [0, 0.2, 0.6, 1.4, 3.0]


async def test_each_crash_is_logged_counted_and_told(caplog, autojump_clock):
    service = Service(1, 1)
    await service.supervised()
    assert service.metrics.service_crashed == 2
    assert [(name, str(error)) for name, error in service.crashes] == [("thing", "boom")] * 2
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == ["service thing crashed"] * 2
    assert all(record.exc_info[0] is ValueError for record in errors)


async def test_the_pause_is_ten_seconds_at_most(autojump_clock):
    service = Service(*[20] * 8)
    await service.supervised()
    pauses = [after - before - 20 for before, after in zip(service.starts, service.starts[1:], strict=False)]
    assert [round(pause, 3) for pause in pauses] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


async def test_five_crashes_in_a_minute_give_up(autojump_clock):
    service = Service(*[5] * 10)
    gave_up = []
    with pytest.raises(GaveUp, match="thing crashed 5 times in 60 s") as caught:
        await service.supervised(on_give_up=gave_up.append)
    assert (caught.value.service, gave_up) == ("thing", ["thing"])
    assert isinstance(caught.value.__cause__, ValueError)
    assert len(service.starts) == 5


async def test_a_service_that_ran_for_a_minute_starts_from_the_beginning(autojump_clock):
    service = Service(0, 0, 0, 0, 61, 0, 0, 0)
    await service.supervised(on_give_up=lambda name: pytest.fail("gave up"))
    assert len(service.starts) == 9
    assert round(service.starts[6] - service.starts[5], 3) == 0.4


async def test_another_policy(autojump_clock):
    service = Service(0, 0)
    with pytest.raises(GaveUp):
        await service.supervised(policy=RestartPolicy(first=1, crashes=2, window=5))
    assert service.starts == [0, 1]


async def test_recovery_is_told_once_the_service_has_run_for_the_window(autojump_clock):
    recovered = []
    service = Service(1, 100, 10)
    await service.supervised(on_recovered=lambda name: recovered.append((name, round(trio.current_time()))))
    start = service.starts_at
    assert [(name, at - round(start)) for name, at in recovered] == [("thing", 61)]


async def test_a_group_of_crashes_counts_as_one_crash(autojump_clock):
    async def run():
        if metrics.service_crashed:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ValueError)
            nursery.start_soon(fail, KeyError)

    async def fail(error):
        raise error("boom")

    metrics = Metrics()
    crashes = []
    await supervise("thing", run, metrics=metrics, on_crash=lambda name, error: crashes.append(error))
    (group,) = crashes
    assert isinstance(group, ExceptionGroup)
    assert {type(error) for error in group.exceptions} == {ValueError, KeyError}


@pytest.mark.parametrize("crashed_before", [False, True])
async def test_cancelling_a_supervised_service_ends_it(crashed_before, autojump_clock):
    service = Service(*([1] if crashed_before else []), 1000)
    with trio.move_on_after(30) as scope:
        await service.supervised()
    assert scope.cancelled_caught
    assert service.metrics.service_crashed == int(crashed_before)


async def test_a_cancellation_beside_a_crash_passes_and_the_crash_is_counted(autojump_clock):
    async def run():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_while_cancelled)
            await trio.sleep_forever()

    async def fail_while_cancelled():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("during clean-up")

    async def both():
        cancelled = BaseExceptionGroup("nursery", [await cancelled_error(), ValueError("boom")])
        raise cancelled

    async def cancelled_error():
        with trio.CancelScope() as inner:
            inner.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                return error

    metrics = Metrics()
    with trio.move_on_after(1) as scope:
        await supervise("thing", run, metrics=metrics)
    assert scope.cancel_called
    assert metrics.service_crashed == 1
    metrics = Metrics()
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervise("thing", both, metrics=metrics)
    assert [type(error) for error in caught.value.exceptions] == [trio.Cancelled]


async def test_keyboard_interrupt_passes(autojump_clock):
    with pytest.raises(KeyboardInterrupt):
        await Service(0, error=KeyboardInterrupt).supervised()
    with pytest.raises(KeyboardInterrupt):
        await guarded("connection", raising(KeyboardInterrupt()), metrics=Metrics())


def raising(error):
    async def run():
        await trio.lowlevel.checkpoint()
        raise error

    return run


async def test_a_bug_in_one_connection_ends_it_alone(caplog, autojump_clock):
    metrics = Metrics()
    done = []

    async def healthy():
        await trio.sleep(1)
        done.append("healthy")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: guarded("connection", healthy, metrics=metrics))
        nursery.start_soon(
            lambda: guarded(
                "connection",
                raising(ZeroDivisionError("bug")),
                metrics=metrics,
                extra=lambda: {"clientid": "c1", "peername": "10.0.0.1:5"},
                on_crash=lambda name, error: done.append(str(error)),
            )
        )
    assert done == ["bug", "healthy"]
    assert metrics.connection_crashed == 1
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (record.getMessage(), record.clientid) == ("connection crashed", "c1")
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("gone", [trio.BrokenResourceError(), trio.ClosedResourceError()])
async def test_a_peer_that_goes_away_is_no_crash(gone, caplog, autojump_clock):
    metrics = Metrics()
    with caplog.at_level(logging.DEBUG):
        await guarded("connection", raising(gone), metrics=metrics)
        await guarded("connection", raising(ExceptionGroup("nursery", [gone])), metrics=metrics)
    assert metrics.connection_crashed == 0
    assert {record.levelno for record in caplog.records if record.name.startswith("trioemqx")} == {logging.DEBUG}


async def test_a_bug_hidden_beside_a_lost_peer_is_seen(autojump_clock):
    metrics = Metrics()
    group = ExceptionGroup("nursery", [trio.BrokenResourceError(), ExceptionGroup("inner", [ValueError("bug")])])
    seen = []
    await guarded("connection", raising(group), metrics=metrics, on_crash=lambda _, error: seen.append(error))
    assert metrics.connection_crashed == 1
    assert [repr(error) for error in seen] == ["ValueError('bug')"]


async def test_cancelling_a_guarded_connection_passes_through(autojump_clock):
    with trio.move_on_after(5) as scope:
        await guarded("connection", trio.sleep_forever, metrics=Metrics())
        pytest.fail("the cancellation was swallowed")
    assert scope.cancelled_caught

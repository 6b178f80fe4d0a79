"""Messages to systemd, read from a socket that stands for it."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from trioemqx.services.sdnotify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A bound socket and the environment that names it."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.settimeout(2)
    if request.param == "path":
        monkeypatch.chdir(tmp_path)
        name = str(tmp_path / "notify")
        receiver.bind("notify")
    else:
        name = f"@trioemqx-test-{os.getpid()}"
        receiver.bind("\0" + name[1:])
    with receiver:
        yield receiver, {"NOTIFY_SOCKET": name}


def test_every_state_is_told(manager):
    receiver, environ = manager
    notifier = Notifier(environ)

    def told(sent):
        assert sent
        return receiver.recv(4096).decode().split("\n")

    assert told(notifier.ready()) == ["READY=1"]
    assert told(notifier.ready("4 listeners\nopen")) == ["READY=1", "STATUS=4 listeners open"]
    assert told(notifier.reloading(lambda: 5_000_999)) == ["RELOADING=1", "MONOTONIC_USEC=5000"]
    assert told(notifier.stopping()) == ["STOPPING=1"]
    assert told(notifier.watchdog()) == ["WATCHDOG=1"]
    assert told(notifier.status("serving")) == ["STATUS=serving"]


@pytest.mark.parametrize("name", [None, "", "relative", "@trioemqx-nobody-here", "/nonexistent/notify"])
def test_without_a_manager_nothing_happens(name):
    environ = {} if name is None else {"NOTIFY_SOCKET": name}
    assert not Notifier(environ).ready()


def test_a_manager_that_does_not_read_costs_no_time(manager):
    _, environ = manager
    notifier = Notifier(environ)
    assert [notifier.watchdog() for _ in range(10_000)][-1] is False


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval_is_half_of_what_is_allowed(environ, interval):
    assert Notifier(environ).watchdog_interval == interval


async def test_signs_of_life_come_while_the_broker_is_healthy(manager, autojump_clock):
    receiver, environ = manager
    receiver.setblocking(False)
    healthy = True
    notifier = Notifier({**environ, "WATCHDOG_USEC": "20000000"})

    def received():
        count = 0
        while True:
            try:
                count += receiver.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                return count

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run, lambda: healthy)
        await trio.sleep(35)
        assert received() == 4
        healthy = False
        await trio.sleep(30)
        assert received() == 0
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_run_only_waits(autojump_clock):
    with trio.move_on_after(1e6) as scope:
        await Notifier({}).run(lambda: pytest.fail("nobody asked"))
    assert scope.cancelled_caught

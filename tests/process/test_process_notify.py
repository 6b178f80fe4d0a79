"""`Type=notify`: systemd is told when the broker is ready, reloads and stops."""

from __future__ import annotations

import signal
import socket

import pytest
from broker_process import PATIENCE


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The socket systemd would listen on, and its address."""
    monkeypatch.chdir(tmp_path)  # the name of a UNIX socket has at most 107 bytes
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("notify")
        listening.settimeout(PATIENCE)
        yield listening, str(tmp_path / "notify")


def test_ready_reload_and_stop_are_told(launch, manager):
    listening, address = manager
    broker = launch(env={"NOTIFY_SOCKET": address})

    assert listening.recv(4096) == b"READY=1\nSTATUS=1 listeners"
    broker.port()  # everything is open by then

    broker.signal(signal.SIGHUP)
    assert listening.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert listening.recv(4096) == b"READY=1"

    broker.signal(signal.SIGTERM)
    assert listening.recv(4096) == b"STOPPING=1"
    assert broker.wait_end() == 0


def test_a_start_that_fails_never_says_ready(launch, manager):
    listening, address = manager
    broker = launch("", env={"NOTIFY_SOCKET": address, "EMQX_LISTENER__TCP__X__BIND": "192.0.2.1:1"})

    assert broker.wait_end() == 71
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        listening.recv(4096)


def test_signs_of_life_when_systemd_wants_them(launch, manager):
    listening, address = manager
    launch(env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"})

    assert listening.recv(4096).startswith(b"READY=1")
    assert [listening.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3

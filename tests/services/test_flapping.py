"""Flapping detection (broker.md 12.2)."""

from __future__ import annotations

import pytest
from services_helpers import FakeBroker, Wall, opened_store

from trioemqx.services.banned import Banned
from trioemqx.services.flapping import Flapping, FlappingPolicy


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def broker():
    return FakeBroker()


@pytest.fixture
def banned(wall, broker):
    return Banned(opened_store(), broker.kick, wall, max_entries=100)


@pytest.fixture
def flapping(banned, wall):
    return Flapping(banned, FlappingPolicy(count=3, window=60, ban=300), wall, max_entries=10)


def test_reaching_the_count_within_the_window_bans(flapping, banned, wall, broker):
    assert [flapping.connecting("c", now) for now in (0.0, 30.0, 60.0)] == [False, False, True]
    ban = banned.find("clientid", "c")
    assert (ban.by, ban.reason, ban.until) == ("flapping detector", "flapping is detected", int(wall.now) + 300)
    assert broker.kicked == ["c"]


def test_the_count_restarts_when_the_window_has_passed(flapping, banned):
    assert [flapping.connecting("c", now) for now in (0.0, 30.0, 60.1, 61.0)] == [False] * 4
    assert flapping.connecting("c", 62.0)


def test_clients_are_counted_apart(flapping, banned):
    for name in "abcde":
        assert not flapping.connecting(name, 0.0)
        assert not flapping.connecting(name, 1.0)
    assert len(banned) == 0


def test_after_a_ban_the_count_starts_again(flapping):
    assert [flapping.connecting("c", now) for now in range(6)] == [False, False, True, False, False, True]


def test_invented_client_ids_cost_a_bounded_table(flapping):
    for number in range(1000):
        flapping.connecting(f"{number:064d}{'x' * 1000}", 0.0)
    assert flapping.watched() == 10


def test_a_client_that_goes_on_is_caught_beside_others(flapping):
    caught = [flapping.connecting(name, now) for now in range(3) for name in ("bad", f"x{now}", f"y{now}")]
    assert caught.count(True) == 1


def test_old_windows_are_forgotten_as_new_ones_come(flapping):
    for number in range(8):
        flapping.connecting(f"old{number}", 0.0)
    for number in range(4):
        flapping.connecting(f"new{number}", 100.0)
    assert flapping.watched() == 4


def test_long_client_ids_are_told_apart(flapping):
    long = "x" * 65535
    assert not flapping.connecting(long, 0.0)
    assert not flapping.connecting(long, 0.0)
    assert not flapping.connecting(long[:-1], 0.0)
    assert flapping.connecting(long, 0.0)


def test_a_full_table_of_bans_is_counted_not_raised(flapping, banned):
    for number in range(100):
        banned.create("username", f"u{number}")
    assert [flapping.connecting("c", 0.0) for _ in range(3)] == [False] * 3
    assert flapping.refused == 1

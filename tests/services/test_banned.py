"""The table of bans (broker.md 12.1)."""

from __future__ import annotations

import pytest
import trio
from services_helpers import FakeBroker, Wall, opened_store

from trioemqx.services.banned import Ban, Banned, BanRefused, TableFull


@pytest.fixture
def store():
    return opened_store()


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def broker():
    return FakeBroker()


@pytest.fixture
def banned(store, wall, broker):
    return Banned(store, broker.kick, wall)


def refused(banned, wall, clientid="c", username=None, peerhost="10.0.0.1"):
    return banned.check(clientid, username, peerhost, wall.now)


def test_nobody_is_banned_at_first(banned, wall):
    assert refused(banned, wall) is None


@pytest.mark.parametrize(
    ("kind", "who", "client"),
    [
        ("clientid", "c", {"clientid": "c"}),
        ("username", "u", {"username": "u"}),
        ("peerhost", "10.0.0.9", {"peerhost": "10.0.0.9"}),
        ("peerhost", "10.0.0.9", {"peerhost": "::ffff:10.0.0.9"}),
        ("peerhost", "2001:DB8:0::1", {"peerhost": "2001:db8::1"}),
    ],
)
def test_each_kind_keeps_out_whom_it_names_and_nobody_else(banned, wall, kind, who, client):
    banned.create(kind, who, reason="test")
    assert refused(banned, wall, **client).reason == "test"
    assert refused(banned, wall, "other", "other", "10.0.0.2") is None
    assert refused(banned, wall, "other", None, "") is None


def test_a_name_banned_as_one_kind_is_free_as_another(banned, wall):
    banned.create("clientid", "same")
    assert refused(banned, wall, clientid="x", username="same") is None
    assert refused(banned, wall, clientid="same")


def test_a_ban_is_in_force_while_until_is_greater_than_now(banned, wall):
    banned.create("clientid", "c", until=int(wall.now) + 10)
    wall.now += 9.5
    assert refused(banned, wall)
    wall.now += 0.5
    assert refused(banned, wall) is None


def test_defaults_are_by_user_from_now_for_300_seconds(banned, wall):
    banned.create("clientid", "c")
    assert banned.find("clientid", "c") == Ban("clientid", "c", "user", "", int(wall.now), int(wall.now) + 300)


def test_a_client_id_ban_in_force_ends_the_session(banned, wall, broker):
    banned.create("username", "u")
    banned.create("peerhost", "10.0.0.1")
    banned.create("clientid", "past", until=int(wall.now))
    assert broker.kicked == []
    banned.create("clientid", "c")
    assert broker.kicked == ["c"]


def test_bans_in_force_are_told_to_who_enforces_them(banned, wall):
    told = []
    banned.on_ban = told.append
    banned.create("username", "past", until=int(wall.now))
    assert told == []
    banned.create("peerhost", "::ffff:10.0.0.1")
    banned.create("username", "u")
    assert [(ban.kind, ban.who) for ban in told] == [("peerhost", "10.0.0.1"), ("username", "u")]


def test_source_banned_is_about_client_ids_while_the_ban_lasts(banned, wall):
    banned.create("clientid", "c")
    banned.create("username", "u")
    assert banned.source_banned("c", wall.now)
    assert not banned.source_banned("u", wall.now)
    assert not banned.source_banned("c", wall.now + 300)


def test_a_second_ban_replaces_the_first(banned, wall):
    banned.create("clientid", "c", reason="one")
    banned.create("clientid", "c", reason="two")
    assert [ban.reason for ban in banned.entries()] == ["two"]


def test_delete(banned, wall):
    banned.create("peerhost", "::ffff:10.0.0.1")
    assert banned.delete("peerhost", "10.0.0.1")
    assert not banned.delete("peerhost", "10.0.0.1")
    assert refused(banned, wall) is None


@pytest.mark.parametrize(
    ("kind", "who"),
    [
        ("topic", "x"),
        ("peerhost", "localhost"),
        ("peerhost", "10.0.0.0/8"),
        ("peerhost", ""),
        ("username", "x" * 65536),
    ],
)
def test_what_cannot_be_banned(banned, kind, who):
    with pytest.raises(BanRefused):
        banned.create(kind, who)
    assert len(banned) == 0


async def test_bans_survive_a_restart_unless_they_ended(store, banned, wall):
    banned.create("clientid", "c" * 60_000, by="me", reason="why", until=int(wall.now) + 100)
    banned.create("peerhost", "10.0.0.1", until=int(wall.now) + 5)
    banned.create("username", "lifted")
    banned.delete("username", "lifted")
    wall.now += 50
    again = Banned(store, lambda clientid: None, wall)
    await again.load()
    assert [ban.who for ban in again.entries()] == ["c" * 60_000]
    assert refused(again, wall, clientid="c" * 60_000).by == "me"
    assert len(await store.items("banned")) == 1


async def test_ended_bans_are_purged_each_minute(banned, wall, store, autojump_clock):
    banned.create("clientid", "short", until=int(wall.now) + 30)
    banned.create("clientid", "long", until=int(wall.now) + 3000)
    wall.now += 59
    async with trio.open_nursery() as nursery:
        nursery.start_soon(banned.run)
        await trio.sleep(59)
        assert len(banned) == 2
        await trio.sleep(2)
        assert [ban.who for ban in banned.entries()] == ["long"]
        assert len(await store.items("banned")) == 1
        nursery.cancel_scope.cancel()


def test_the_table_is_bounded_but_makes_room_of_ended_bans(store, wall):
    banned = Banned(store, lambda clientid: None, wall, max_entries=2)
    banned.create("clientid", "a", until=int(wall.now) + 10)
    banned.create("clientid", "b", until=int(wall.now) + 1000)
    with pytest.raises(TableFull, match="full"):
        banned.create("clientid", "c")
    banned.create("clientid", "b", reason="replacing needs no room")
    wall.now += 20
    banned.create("clientid", "c")
    assert {ban.who for ban in banned.entries()} == {"b", "c"}

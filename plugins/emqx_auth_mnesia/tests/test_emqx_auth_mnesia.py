"""Users of the built-in store: who comes in, how passwords are kept, commands, bootstrap, limits, reload, backup."""

from __future__ import annotations

import hashlib
import json
import tomllib
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from emqx_auth_mnesia.backup import read_acl, read_users
from emqx_auth_mnesia.hashing import HASHES, fits, keep, scheme_of
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from trioemqx.plugin import PluginError
from trioemqx.testing import Refused, TestBroker, running

NAME = "emqx_auth_mnesia"
calmly = examples(deadline=None)
BAD_PASSWORD = 0x86


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"auth": getattr(request, "param", {})}


def settings(**tables: object) -> pytest.MarkDecorator:
    """Tables of `[auth]`."""
    return pytest.mark.parametrize("broker_config", [tables], indirect=True, ids=[""])


def plugin(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


async def refused(broker: TestBroker, clientid: str, **credentials: Any) -> int:
    with pytest.raises(Refused) as caught:
        await broker.client(clientid, **credentials)
    return caught.value.connack.code


# -- how passwords are kept [4.2] ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", HASHES)
def test_a_kept_password_fits_itself_only(scheme: str) -> None:
    kept = keep(b"public", scheme, 1000)
    assert scheme_of(kept) == scheme
    assert fits(kept, b"public")
    assert not fits(kept, b"Public")
    assert not fits(kept, b"")
    assert kept != keep(b"public", scheme, 1000)


@pytest.mark.parametrize(
    ("scheme", "name"), [("md5", "md5"), ("sha", "sha1"), ("sha256", "sha256"), ("sha512", "sha512")]
)
def test_emqx_form_is_salt_and_hex_digest_of_salt_and_password(scheme: str, name: str) -> None:
    kept = keep(b"public", scheme, 1000)
    assert kept[4:] == hashlib.new(name, kept[:4] + b"public").hexdigest().encode()


def test_emqx_plain_form_is_salt_salt_password() -> None:
    kept = keep(b"public", "plain", 1000)
    assert kept == kept[:4] * 2 + b"public"


@calmly
@given(st.binary(max_size=200), st.binary(max_size=20))
def test_what_nobody_kept_fits_nothing(kept: bytes, password: bytes) -> None:
    assert not fits(kept, password) or scheme_of(kept) == "plain"


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"salt",
        b"salt" + b"f" * 63,
        b"salt" + b"F" * 64,
        b"$pbkdf2-sha256$",
        b"$pbkdf2-sha256$x$c2FsdA==$" + b64encode(bytes(32)),
        b"$pbkdf2-sha256$999$c2FsdA==$" + b64encode(bytes(32)),
        b"$pbkdf2-sha256$999999999$c2FsdA==$" + b64encode(bytes(32)),
        b"$pbkdf2-sha256$1000$c2FsdA==$" + b64encode(bytes(31)),
        b"$pbkdf2-sha256$1000$$" + b64encode(bytes(32)),
    ],
)
def test_forms_that_are_none(kept: bytes) -> None:
    assert scheme_of(kept) == ""
    assert not fits(kept, b"")


# -- login [4.2] -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
async def test_the_clientid_entry_decides(broker: TestBroker, version: int) -> None:
    assert await broker.ctl("clientid add c1 public") == ["ok"]
    await broker.client("c1", version=version, password=b"public", username="x")
    code = 4 if version == 4 else BAD_PASSWORD
    assert await refused(broker, "c1", version=version, password=b"wrong", username="x") == code


async def test_the_username_entry_decides(broker: TestBroker) -> None:
    await broker.ctl("user add alice secret")
    await broker.client("any", username="alice", password=b"secret")
    assert await refused(broker, "any", username="alice", password=b"Secret") == BAD_PASSWORD


async def test_either_of_the_two_entries_is_enough(broker: TestBroker) -> None:
    await broker.ctl("clientid add c1 one")
    await broker.ctl("user add alice two")
    await broker.client("c1", username="alice", password=b"one")
    await broker.client("c1", username="alice", password=b"two")
    assert await refused(broker, "c1", username="alice", password=b"three") == BAD_PASSWORD
    assert await refused(broker, "c1", username="bob", password=b"two") == BAD_PASSWORD


@pytest.mark.parametrize("password", [None, b""], ids=["absent", "empty"])
async def test_no_password_is_a_wrong_one(broker: TestBroker, password: bytes | None) -> None:
    await broker.ctl("clientid add c1 public")
    assert await refused(broker, "c1", username="u", password=password) == BAD_PASSWORD


@pytest.mark.parametrize(("anonymous", "code"), [(True, 0), (False, 0x87)])
async def test_without_an_entry_the_default_counts(anonymous: bool, code: int) -> None:
    async with running({"allow_anonymous": anonymous, "plugins": {"load": [NAME]}}) as broker:
        await broker.ctl("clientid add c1 public")
        if code:
            assert await refused(broker, "other", username="nobody", password=b"public") == code
        else:
            await broker.client("other", username="nobody", password=b"anything")
            assert broker.metrics["client.auth.success.anonymous"] == 1
        await broker.client("c1", username="nobody", password=b"public")
        assert broker.metrics["client.auth.success"] == (2 if anonymous else 1)


async def test_nobody_becomes_superuser_and_an_entry_is_not_anonymous(broker: TestBroker) -> None:
    await broker.ctl("clientid add c1 public")
    await broker.client("c1", username="u", password=b"public")
    info = broker.node.broker.find("c1").info
    assert not info.is_superuser
    assert not info.anonymous


@pytest.mark.parametrize("scheme", [scheme for scheme in HASHES if scheme != "pbkdf2"])
async def test_every_password_hash_of_emqx(scheme: str) -> None:
    async with running({"plugins": {"load": [NAME]}, "auth": {"mnesia": {"password_hash": scheme}}}) as broker:
        await broker.ctl("clientid add c1 public")
        kept = b64decode(plugin(broker).export_data()["auth_mnesia"][0]["password"])
        assert scheme_of(kept) == scheme
        await broker.client("c1", username="u", password=b"public")
        assert await refused(broker, "c1", username="u", password=b"publik") == BAD_PASSWORD


@settings(mnesia={"password_hash": "pbkdf2", "pbkdf2_iterations": 1000})
async def test_pbkdf2_is_computed_in_a_thread(listening_broker: TestBroker) -> None:
    broker = listening_broker
    assert await broker.ctl("user add alice secret") == ["ok"]
    await broker.client("a", username="alice", password=b"secret")
    assert await refused(broker, "a", username="alice", password=b"wrong") == BAD_PASSWORD
    assert await broker.ctl("user update alice other") == ["ok"]
    await broker.client("a", username="alice", password=b"other")


async def test_entries_of_another_hash_still_fit_after_the_setting_changed(broker: TestBroker) -> None:
    await broker.ctl("clientid add c1 public")
    config = broker.node.plugins.config
    config.auth.update({"mnesia": {"password_hash": "sha512"}})
    await broker.reload_plugin(NAME)
    await broker.client("c1", username="u", password=b"public")
    await broker.ctl("clientid update c1 public")
    assert len(b64decode(plugin(broker).export_data()["auth_mnesia"][0]["password"])) == 4 + 128
    await broker.client("c1", username="u", password=b"public")


# -- commands [cli 4.4] ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "kind"), [("clientid", "clientid"), ("user", "username")])
async def test_commands(broker: TestBroker, word: str, kind: str) -> None:
    assert await broker.ctl(f"{word} list") == []
    assert await broker.ctl(f"{word} add one public") == ["ok"]
    assert await broker.ctl(f"{word} add two public") == ["ok"]
    assert await broker.ctl(f"{word} add one other") == ["Error: existed"]
    assert await broker.ctl(f"{word} list") == ["one", "two"]
    assert await broker.ctl(f"{word} update one other") == ["ok"]
    assert await broker.ctl(f"{word} update three other") == ["Error: noexisted"]
    credentials = {"clientid": "one", "username": "one", "password": b"other"}
    await broker.client(**credentials)
    assert await broker.ctl(f"{word} delete one") == ["ok"]
    assert await broker.ctl(f"{word} del two") == ["ok"]
    assert await broker.ctl(f"{word} del two") == ["ok"]
    assert await broker.ctl(f"{word} list") == []
    assert await broker.ctl(word, "add", "", "x") == ["Error: login"]
    assert await broker.ctl(word, "add", "x", "") == ["Error: password"]
    usage = await broker.ctl(f"{word} add")
    assert f"{word} add" in usage[0]
    assert plugin(broker).list_users(kind) == []


async def test_a_name_stays_on_its_line(broker: TestBroker) -> None:
    await broker.ctl("clientid", "add", "a\nb", "public")
    await broker.ctl("clientid", "add", "名", "public")
    assert await broker.ctl("clientid list") == ["a\\nb", "名"]


async def test_unloading_leaves_nothing_and_loading_brings_everything_back(broker: TestBroker) -> None:
    await broker.ctl("clientid add c1 public")
    await broker.ctl("acl add clientid c1 t pub deny")
    await broker.node.plugins.unload(NAME)
    assert {"clientid", "user"}.isdisjoint(broker.node.commands.names())
    client = await broker.client("c1", username="u", password=b"wrong")
    assert await client.publish("t", qos=1) == 0x10
    await broker.node.plugins.load(NAME)
    assert await broker.ctl("clientid list") == ["c1"]
    assert await client.publish("t", qos=1) == 0x87
    assert await refused(broker, "c1", username="u", password=b"wrong") == BAD_PASSWORD


# -- methods for an API [http 2.20] ----------------------------------------------------------------------------------


async def test_entries_as_plain_data_without_anything_of_the_password(broker: TestBroker) -> None:
    mine = plugin(broker)
    assert await mine.add_user("clientid", "c1", "public") == "ok"
    entry = mine.lookup_user("clientid", "c1")
    assert set(entry) == {"clientid", "created_at"}
    assert abs(entry["created_at"] / 1000 - broker.node.wall()) < 5
    assert mine.list_users("clientid") == [entry]
    assert mine.lookup_user("username", "c1") is None
    assert mine.list_users("username") == []
    assert await mine.update_user("clientid", "c1", "x") == "ok"
    assert mine.lookup_user("clientid", "c1") == entry


@pytest.mark.parametrize("bad", [None, 1, "", "a" * 65536, "\ud800"])
async def test_names_and_passwords_that_are_none(broker: TestBroker, bad: object) -> None:
    mine = plugin(broker)
    assert await mine.add_user("clientid", bad, "public") == "login"
    assert await mine.add_user("clientid", "c1", bad) == "password"
    assert await mine.add_user("peerhost", "c1", "public") == "login"
    assert await mine.update_user("clientid", "c1", bad) == "password"
    assert mine.logins("clientid") == []


async def test_a_client_identifier_of_any_length_is_stored(broker: TestBroker) -> None:
    name = "x" * 65535
    assert await plugin(broker).add_user("clientid", name, "public") == "ok"
    await broker.node.plugins.unload(NAME)
    await broker.node.plugins.load(NAME)
    assert plugin(broker).logins("clientid") == [name]


@settings(mnesia={"max_users": 2})
async def test_the_number_of_users_is_bounded(broker: TestBroker) -> None:
    await broker.ctl("clientid add c1 public")
    await broker.ctl("user add alice public")
    assert await broker.ctl("user add bob public") == ["Error: full, auth.mnesia.max_users is 2"]
    assert await broker.ctl("user update alice secret") == ["ok"]
    await broker.ctl("clientid del c1")
    assert await broker.ctl("user add bob public") == ["ok"]


# -- entries of the settings, reload, store --------------------------------------------------------------------------


FIRST = {
    "client": {"1": {"clientid": "id", "password": "passwd"}},
    "user": {"1": {"username": "emqx", "password": "public"}, "2": {"username": "12", "password": 34}},
}


@settings(**FIRST)
async def test_entries_of_the_settings(broker: TestBroker) -> None:
    assert await broker.ctl("clientid list") == ["id"]
    assert await broker.ctl("user list") == ["emqx", "12"]
    await broker.client("id", username="x", password=b"passwd")
    await broker.client("y", username="12", password=b"34")


@settings(**FIRST)
async def test_they_replace_nothing_and_come_back_when_they_are_gone(broker: TestBroker) -> None:
    await broker.ctl("clientid update id changed")
    await broker.ctl("user del emqx")
    await broker.reload_plugin(NAME)
    await broker.client("id", username="x", password=b"changed")
    await broker.client("y", username="emqx", password=b"public")


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"client": {"1": {"clientid": "id"}}}, "client.1.password"),
        ({"client": {"7": {"clientid": "", "password": "x"}}}, "auth.client.7: the clientid is empty"),
        ({"user": {"7": {"username": "x", "password": ""}}}, "auth.user.7: the password is empty"),
        ({"mnesia": {"password_hash": "bcrypt"}}, "password_hash"),
        ({"mnesia": {"max_users": 0}}, "max_users"),
        ({"mnesia": {"pbkdf2_iterations": 999}}, "pbkdf2_iterations"),
        ({"mnesia": {"max_users": 1}, **FIRST}, "max_users is 1"),
        ({"mnesia": {"pasword_hash": "md5"}}, "did you mean password_hash"),
    ],
)
async def test_settings_that_are_wrong_keep_it_out_and_everybody_else(tables: dict[str, object], words: str) -> None:
    async with running({"auth": tables, "plugins": {"load": [NAME]}}) as broker:
        reason = str(broker.alarms()[f"plugin_not_loaded/{NAME}"]["reason"])
        assert words in reason
        assert "\n" not in reason
        assert await refused(broker, "id", username="x", password=b"passwd") == 0x87


async def test_secrets_are_not_shown(broker_config: dict[str, object]) -> None:
    tables = {"client": {"1": {"clientid": "id", "password": "hush"}}}
    async with running({"auth": tables, "plugins": {"load": [NAME]}}) as broker:
        assert "hush" not in repr(plugin(broker).config)


async def test_what_is_changed_while_it_is_reloaded_is_kept(
    broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new generation has read the store before the old one's last change."""
    old = plugin(broker)
    export = old.export_state

    def late() -> object:
        assert old.acl.add("all", "", "t", "pub", "deny", 1) == "ok"
        old.users.put("clientid", "late", (keep(b"public", "sha256", 1000), 1))
        return export()

    monkeypatch.setattr(old, "export_state", late)
    await broker.reload_plugin(NAME)
    assert plugin(broker) is not old
    assert await broker.ctl("clientid list") == ["late"]
    await broker.client("late", username="u", password=b"public")
    client = await broker.client("other")
    assert await client.publish("t", qos=1) == 0x87


@pytest.mark.parametrize("table", ["users", "acl"])
async def test_a_broken_row_in_the_store_keeps_everybody_out(broker: TestBroker, table: str) -> None:
    await broker.node.plugins.unload(NAME)
    broker.node.store.put(f"{NAME}_{table}", "k", {"key": "k", "row": {"type": "clientid", "login": "c1"}})
    with pytest.raises(PluginError, match="the store has a broken"):
        await broker.node.plugins.load(NAME)


async def test_a_lowered_limit_takes_nothing_away(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c"):
        await broker.ctl(f"clientid add {name} public")
    broker.node.plugins.config.auth.update({"mnesia": {"max_users": 2}})
    await broker.node.plugins.unload(NAME)
    await broker.node.plugins.load(NAME)
    assert await broker.ctl("clientid list") == ["a", "b", "c"]
    assert "auth.mnesia.max_users = 2" in caplog.text
    assert await broker.ctl("clientid add d public") == ["Error: full, auth.mnesia.max_users is 2"]
    assert await refused(broker, "c", username="u", password=b"wrong") == BAD_PASSWORD


# -- backup [cli 3.12] -----------------------------------------------------------------------------------------------


async def test_an_export_has_emqx_form_and_can_be_imported(broker: TestBroker) -> None:
    for line in (
        "clientid add c1 one",
        "user add alice two",
        "acl add clientid c1 t/%c pubsub allow",
        "acl add _all # sub deny",
    ):
        assert await broker.ctl(line) == ["ok"]
    data = json.loads(json.dumps(plugin(broker).export_data()))
    assert [set(row) for row in data["auth_mnesia"]] == [{"login", "type", "password", "created_at"}] * 2
    assert [(row["type"], row["login"]) for row in data["auth_mnesia"]] == [("clientid", "c1"), ("username", "alice")]
    assert [{k: v for k, v in row.items() if k != "created_at"} for row in data["acl_mnesia"]] == [
        {"type": "clientid", "type_value": "c1", "topic": "t/%c", "action": "sub", "access": "allow"},
        {"type": "clientid", "type_value": "c1", "topic": "t/%c", "action": "pub", "access": "allow"},
        {"type": "all", "topic": "#", "action": "sub", "access": "deny"},
    ]
    await broker.ctl("clientid update c1 forgotten")
    await broker.ctl("acl del _all #")
    await broker.ctl("user add bob stays")
    await plugin(broker).import_data({"version": "4.4", **data})
    assert await broker.ctl("user list") == ["alice", "bob"]
    await broker.client("c1", username="u", password=b"one")
    client = await broker.client("x", username="bob", password=b"stays")
    assert await client.subscribe("t") == [0x87]
    exported = plugin(broker).export_data()
    assert [row for row in exported["auth_mnesia"] if row["login"] != "bob"] == data["auth_mnesia"]
    assert exported["acl_mnesia"] == data["acl_mnesia"]


def kept(password: bytes) -> str:
    """As EMQX 4 stores and exports it."""
    return b64encode(b"salt" + hashlib.sha256(b"salt" + password).hexdigest().encode()).decode()


async def test_exports_of_older_versions(broker: TestBroker) -> None:
    await plugin(broker).import_data(
        {
            "version": "4.2.11",
            "auth.mnesia.as": "username",
            "auth_mnesia": [{"login": "alice", "password": kept(b"one"), "is_superuser": False}],
            "auth_clientid": [{"clientid": "c1", "password": kept(b"two")}],
            "auth_username": [{"username": "bob", "password": kept(b"three")}],
            "acl_mnesia": [
                {"login": "alice", "topic": "a", "action": "pub", "allow": False},
                {"login": "$all", "topic": "b", "action": "pubsub", "allow": True},
            ],
        }
    )
    alice = await broker.client("x", username="alice", password=b"one")
    await broker.client("c1", username="x", password=b"two")
    await broker.client("y", username="bob", password=b"three")
    assert await alice.publish("a", qos=1) == 0x87
    assert await broker.ctl("acl list _all") == [
        'Acl($all topic = <<"b">> action = sub access = allow)',
        'Acl($all topic = <<"b">> action = pub access = allow)',
    ]


GOOD_USER = {"login": "c9", "type": "clientid", "password": kept(b"x"), "created_at": 1}
GOOD_ROW = {"type": "all", "topic": "t", "action": "pub", "access": "deny", "created_at": 1}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"auth_mnesia": {}}, "auth_mnesia: expected a list"),
        ({"auth_mnesia": [GOOD_USER, 1]}, r"auth_mnesia\[1\]: expected an object"),
        ({"auth_mnesia": [{**GOOD_USER, "password": "cGxhaW4="}]}, r"auth_mnesia\[0\]: .*password"),
        ({"auth_mnesia": [{**GOOD_USER, "password": "?"}]}, "password"),
        ({"auth_mnesia": [{**GOOD_USER, "login": ""}]}, "login"),
        ({"auth_mnesia": [{**GOOD_USER, "created_at": -1}]}, "created_at"),
        ({"auth_mnesia": [{"login": "a", "password": kept(b"x")}]}, "auth.mnesia.as"),
        ({"auth_mnesia": [GOOD_USER], "acl_mnesia": [{**GOOD_ROW, "topic": "a/#/b"}]}, r"acl_mnesia\[0\]: .*topic"),
        ({"auth_mnesia": [GOOD_USER], "acl_mnesia": [{**GOOD_ROW, "access": "maybe"}]}, "access"),
        ({"auth_mnesia": [GOOD_USER], "acl_mnesia": [{**GOOD_ROW, "action": "all"}]}, "action"),
        ({"auth_mnesia": [GOOD_USER], "acl_mnesia": [{**GOOD_ROW, "type": "clientid"}]}, "login"),
        ({"auth_mnesia": [GOOD_USER, {**GOOD_USER, "login": "c10"}]}, "max_users is 1"),
        ({"auth_mnesia": [GOOD_USER], "acl_mnesia": [GOOD_ROW, {**GOOD_ROW, "topic": "u"}]}, "max_acl_rows is 1"),
    ],
)
@settings(mnesia={"max_users": 1, "max_acl_rows": 1})
async def test_an_import_that_is_wrong_changes_nothing(broker: TestBroker, data: dict[str, object], words: str) -> None:
    with pytest.raises(PluginError, match=words):
        await plugin(broker).import_data(data)
    assert plugin(broker).export_data() == {"auth_mnesia": [], "acl_mnesia": []}


FIELDS = ["type", "login", "password", "topic", "action", "access", "allow", "type_value", "created_at"]
PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["clientid", "pub", "deny"])
ROWS = st.lists(st.dictionaries(st.sampled_from(FIELDS), PLAIN | st.lists(PLAIN, max_size=1)) | PLAIN, max_size=3)


@calmly
@given(st.dictionaries(st.sampled_from(["auth_mnesia", "acl_mnesia", "auth_clientid"]), ROWS | PLAIN))
def test_an_import_of_anything_raises_nothing_else(data: dict[str, object]) -> None:
    for read in (read_users, read_acl):
        with suppress(PluginError):
            trio.run(read, data, 1000)


async def test_a_large_import_lets_others_work_and_survives_a_restart(broker: TestBroker) -> None:
    """What is deleted while the store is written stays deleted."""
    data = {
        "auth_mnesia": [{**GOOD_USER, "login": f"c{number}"} for number in range(3000)],
        "acl_mnesia": [{**GOOD_ROW, "topic": f"t/{number}"} for number in range(1000)],
    }
    async with trio.open_nursery() as nursery:
        nursery.start_soon(plugin(broker).import_data, data)
        while not plugin(broker).logins("clientid"):
            await trio.lowlevel.checkpoint()
        assert await broker.ctl("clientid del c2999") == ["ok"]
        assert await broker.ctl("acl del _all t/999") == ["ok"]
    for _ in range(2):
        assert len(plugin(broker).logins("clientid")) == 2999
        assert len(plugin(broker).list_acl("all")) == plugin(broker).acl.count == 999
        await broker.node.plugins.unload(NAME)
        await broker.node.plugins.load(NAME)


async def test_imported_times_in_the_future_do_not_come_first_for_ever(broker: TestBroker) -> None:
    await plugin(broker).import_data({"acl_mnesia": [{**GOOD_ROW, "access": "allow", "created_at": 2**62}]})
    await broker.ctl("acl add _all # pub deny")
    client = await broker.client("c")
    assert await client.publish("t", qos=1) == 0x87


def test_the_shipped_settings_are_emqx_ones() -> None:
    text = (Path(__file__).parents[1] / "etc" / f"{NAME}.toml").read_text()
    assert tomllib.loads(text) == {"auth": {"mnesia": {"password_hash": "sha256"}}}


async def test_it_is_listed_as_in_emqx(broker: TestBroker) -> None:
    listed = {entry.name: entry for entry in broker.node.plugins.listing()}[NAME]
    assert (listed.description, listed.type, listed.active) == ("EMQX Authentication with Mnesia", "auth", True)

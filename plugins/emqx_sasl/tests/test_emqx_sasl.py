"""Enhanced authentication through the broker: who comes in under which name, what fails, users, commands, reload."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from scramp import ScramClient

from trioemqx.plugin import ClientInfo, PluginError, Properties, hookimpl
from trioemqx.testing import Auth, Client, Connack, Connect, Refused, TestBroker, running

NAME = "emqx_sasl"
BOTH = ("SCRAM-SHA-256", "SCRAM-SHA-1")
NOT_AUTHORIZED, NO_SUCH_METHOD, BANNED = 0x87, 0x8C, 0x8A
GO_ON, AGAIN = 0x18, 0x19

every_mechanism = pytest.mark.parametrize("mechanism", BOTH)


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"plugins": {NAME: getattr(request, "param", {})}}


def settings(**values: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [values], indirect=True, ids=[""])


def plugin(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


class Device:
    """A client with another implementation of SCRAM. Each step is a method, so that a test may do something between."""

    def __init__(
        self, broker: TestBroker, username: str = "user", password: str = "pencil", mechanism: str = BOTH[0]
    ) -> None:
        self.broker = broker
        self.mechanism = mechanism
        self.scram = ScramClient([mechanism], username, password)
        self.client: Client

    def auth(self, code: int, data: bytes | None) -> Auth:
        return Auth(code, self.properties(data))

    def properties(self, data: bytes | None) -> Properties:
        properties = Properties()
        properties.authentication_method = self.mechanism
        properties.authentication_data = data
        return properties

    async def begin(self, clientid: str = "c", data: bytes | None = None, **connect: Any) -> Auth | Connack:
        """CONNECT with client-first, or with `data`."""
        self.client = await self.broker.raw(5)
        said = self.scram.get_client_first().encode() if data is None else data
        packet = Connect(proto_ver=5, clientid=clientid, properties=self.properties(said), **connect)
        await self.client.send(packet)
        return await self.answer()

    async def answer(self) -> Any:
        return await self.client.receive()

    async def end(self, challenge: Any, change: Callable[[bytes], bytes] = bytes) -> Any:
        """client-final, after a change to it."""
        assert isinstance(challenge, Auth)
        assert challenge.code == GO_ON
        assert challenge.properties is not None
        self.scram.set_server_first(challenge.properties.authentication_data.decode())
        await self.client.send(self.auth(GO_ON, change(self.scram.get_client_final().encode())))
        return await self.answer()

    async def connect(self, clientid: str = "c", **connect: Any) -> Any:
        """Both steps; checks the server's signature when it is let in."""
        answer = await self.end(await self.begin(clientid, **connect))
        if answer.code == 0:
            assert answer.properties.authentication_method == self.mechanism
            self.scram.set_server_final(answer.properties.authentication_data.decode())
        return answer


async def user(broker: TestBroker, name: str = "user", password: str = "pencil", salt: str = "-") -> None:
    assert await broker.ctl("sasl", "scram", "add", name, password, salt) == [
        "Authentication information added successfully"
    ]


def info(broker: TestBroker, clientid: str = "c") -> ClientInfo:
    session = broker.node.broker.find(clientid)
    assert session is not None
    found: ClientInfo = session.info
    return found


def failed(answer: object, code: int = NOT_AUTHORIZED) -> bool:
    return isinstance(answer, Connack) and answer.code == code


# -- who comes in ----------------------------------------------------------------------------------------------------


@every_mechanism
@pytest.mark.parametrize(("name", "password"), [("user", "pencil"), ("a,b=c", "p,=p"), ("名", "é")])
async def test_the_right_password(broker: TestBroker, mechanism: str, name: str, password: str) -> None:
    await user(broker, name, password)
    device = Device(broker, name, password, mechanism)
    assert (await device.connect()).code == 0
    await device.client.ping()
    assert info(broker).username == name
    assert not info(broker).anonymous


@every_mechanism
async def test_the_wrong_password(broker: TestBroker, mechanism: str) -> None:
    await user(broker)
    device = Device(broker, "user", "pen", mechanism)
    assert failed(await device.connect())
    assert await device.client.closed() is None
    assert broker.node.broker.find("c") is None
    assert broker.metrics["client.auth.failure"] == 1


@every_mechanism
async def test_an_unknown_user_looks_like_one_with_a_wrong_password(broker: TestBroker, mechanism: str) -> None:
    await user(broker)
    answers = []
    for name in ("user", "nobody", "nobody"):
        device = Device(broker, name, "wrong", mechanism)
        challenge = await device.begin()
        assert challenge.properties is not None
        said = dict(part.split("=", 1) for part in challenge.properties.authentication_data.decode().split(","))
        answers.append((said["s"], said["i"], len(said["r"])))
        assert await device.end(challenge) == Connack(False, NOT_AUTHORIZED, None)
    assert answers[1] == answers[2]  # the same salt each time
    assert answers[0][0] != answers[1][0]
    assert answers[0][1:] == answers[1][1:]
    assert len(answers[0][0]) == len(answers[1][0])


async def test_made_up_salts_survive_a_reload_and_differ_from_name_to_name(broker: TestBroker) -> None:
    def salts() -> list[bytes]:
        return [plugin(broker).accounts.challenge(BOTH[0], name)[0] for name in ("a", "b", "c")]

    before = salts()
    assert len({*before}) == 3
    await broker.reload_plugin(NAME)
    assert salts() == before
    await broker.node.plugins.unload(NAME)
    await broker.node.plugins.load(NAME)
    assert salts() == before


async def test_made_up_challenges_have_the_shape_of_most_accounts(broker: TestBroker) -> None:
    for name, salt in (("a", "eight888"), ("b", "sugar888"), ("c", "-")):
        assert (
            await plugin(broker).add_user(name, "x", None if salt == "-" else salt, 5000 if salt != "-" else 4096)
            == "ok"
        )
    salt, rounds, _, known = plugin(broker).accounts.challenge(BOTH[0], "nobody")
    assert (len(salt), salt.isalnum(), rounds, known) == (8, True, 5000, False)
    for name in ("a", "b"):
        assert plugin(broker).delete_user(name)
    salt, rounds, _, _ = plugin(broker).accounts.challenge(BOTH[0], "nobody")
    assert (len(salt), rounds) == (16, 4096)


async def test_nobody_comes_in_by_a_made_up_key(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with a proof that fits: there is no such user."""
    await user(broker)
    accounts = plugin(broker).accounts
    real = accounts.challenge(BOTH[0], "user")
    monkeypatch.setattr(accounts, "_made_up", lambda mechanism, name: real[:3])
    assert failed(await Device(broker, "nobody", "pencil").connect())


async def test_it_works_where_nobody_is_let_in_without_authentication() -> None:
    """The ordinary chain comes first [broker 5.6]; whoever names a method and brings no password passes it."""
    async with running({"allow_anonymous": False, "plugins": {"load": [NAME]}}) as broker:
        await user(broker)
        assert (await Device(broker).connect()).code == 0
        assert failed(await Device(broker, password="wrong").connect("other"))
        for credentials in ({}, {"username": "user"}, {"username": "user", "password": b"pencil"}):
            with pytest.raises(Refused, match="NOT_AUTHORIZED"):
                await broker.client("plain", **credentials)
        assert failed(await Device(broker).begin(username="user", password=b"anything"))
        assert failed(await Device(broker, mechanism=BOTH[0]).begin(data=b"n,,n=user,r="))


async def test_a_password_in_connect_has_to_be_right_as_well() -> None:
    async with running({"allow_anonymous": False, "plugins": {"load": [NAME, "emqx_auth_mnesia"]}}) as broker:
        await user(broker)
        assert await broker.ctl("user add user secret") == ["ok"]
        assert (await Device(broker).connect(username="user", password=b"secret")).code == 0
        assert failed(await Device(broker).begin(username="user", password=b"wrong"), 0x86)
        assert failed(await Device(broker).begin(username="user"), 0x86)  # there is an entry, so it wants its password


# -- under which name ------------------------------------------------------------------------------------------------


async def test_a_name_in_connect_has_to_be_the_proven_one(broker: TestBroker) -> None:
    await user(broker)
    assert (await Device(broker).connect(username="user")).code == 0
    for other in ("admin", "", "USER"):
        assert failed(await Device(broker).connect("d", username=other))


async def test_the_proven_name_counts_in_access_rules(broker: TestBroker) -> None:
    asked = []

    class Rules:
        @hookimpl
        def client_check_acl_now(self, client: ClientInfo) -> bool:
            asked.append(client.username)
            return client.username == "user"

    broker.node.hooks.register(Rules(), "rules")
    await user(broker)
    device = Device(broker)
    await device.connect()
    assert await device.client.subscribe("t") == [0]
    assert asked == ["user"]


async def test_a_banned_name_does_not_get_in_by_being_proven_late(broker: TestBroker) -> None:
    await user(broker)
    broker.node.banned.create("username", "user", by="test", reason="", until=int(broker.node.wall()) + 60)
    assert failed(await Device(broker).connect(), BANNED)
    await trio.sleep(61)
    assert (await Device(broker).connect()).code == 0


@pytest.mark.parametrize("broker_config", [{"zone": {"default": {"mountpoint": "tenant/%u/"}}}], ids=[""])
async def test_a_mountpoint_with_the_name_needs_it_in_connect(broker: TestBroker) -> None:
    await user(broker)
    assert failed(await Device(broker).connect())
    assert (await Device(broker).connect(username="user")).code == 0
    assert info(broker).mountpoint == "tenant/user/"


async def test_nobody_acts_for_another_user(broker: TestBroker) -> None:
    await user(broker)
    await user(broker, "admin")
    assert failed(await Device(broker).begin(data=b"n,a=admin,n=user,r=abc"))


# -- what goes wrong -------------------------------------------------------------------------------------------------


@settings(mechanisms=["SCRAM-SHA-256"])
async def test_methods_that_are_not_offered(broker: TestBroker) -> None:
    await user(broker)
    assert (await Device(broker).connect()).code == 0
    for method in ("SCRAM-SHA-1", "PLAIN", "SCRAM-SHA-256-PLUS", "scram-sha-256"):
        device = Device(broker)
        device.mechanism = method
        assert failed(await device.begin("other"), NO_SUCH_METHOD)
    assert await plugin(broker).usernames("SCRAM-SHA-1") == []


@pytest.mark.parametrize(
    "data", [b"p=tls-unique,,n=user,r=abc", b"hello", b"\xff\xfe", b"n,,n=user,r=a", b"n" * 5000], ids=len
)
async def test_first_messages(broker: TestBroker, data: bytes) -> None:
    await user(broker)
    answer = await Device(broker).begin(data=data)
    assert isinstance(answer, Auth) if data == b"n,,n=user,r=a" else failed(answer)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: b"",
        lambda said: said[:-1],
        lambda said: said.replace(b"c=biws", b"c=eSws"),  # "y,,": somebody has changed the first message
        lambda said: said.replace(b",r=", b",r=x"),
        lambda said: said.replace(b",p=", b",x=1,p="),
        lambda said: said.partition(b",p=")[0] + b",p=" + b64encode(bytes(32)),
        lambda said: b"n,,n=user,r=abc",
        lambda said: b"\xff" * 100,
    ],
)
async def test_final_messages_that_are_wrong(broker: TestBroker, change: Callable[[bytes], bytes]) -> None:
    await user(broker)
    device = Device(broker)
    assert failed(await device.end(await device.begin(), change))


async def test_a_recorded_exchange_cannot_be_played_again(broker: TestBroker) -> None:
    await user(broker)
    device = Device(broker)
    heard: list[bytes] = []

    def record(said: bytes) -> bytes:
        heard.append(said)
        return said

    first = device.scram.get_client_first().encode()
    challenge = await device.begin(data=first)
    assert (await device.end(challenge, record)).code == 0
    thief = Device(broker)
    again = await thief.begin("thief", data=first)
    assert isinstance(again, Auth)
    assert again.properties is not None
    assert challenge.properties is not None
    assert again.properties.authentication_data != challenge.properties.authentication_data
    await thief.client.send(thief.auth(GO_ON, heard[0]))
    assert failed(await thief.answer())


async def test_the_client_may_wait_to_be_asked(broker: TestBroker) -> None:
    """[RFC4422 3] CONNECT without data: an empty challenge, then client-first."""
    await user(broker)
    device = Device(broker)
    answer = await device.begin(data=b"")
    assert isinstance(answer, Auth)
    assert answer.properties is not None
    assert not answer.properties.authentication_data
    await device.client.send(device.auth(GO_ON, device.scram.get_client_first().encode()))
    assert (await device.end(await device.answer())).code == 0


async def test_asked_twice_and_still_silent(broker: TestBroker) -> None:
    device = Device(broker)
    assert isinstance(await device.begin(data=b""), Auth)
    await device.client.send(device.auth(GO_ON, None))
    assert failed(await device.answer())


@pytest.mark.parametrize("cache", ["x", ("emqx_sasl",), ("emqx_sasl", "SCRAM-SHA-1"), 1, [], ("emqx_sasl", BOTH[0], 1)])
async def test_a_cache_that_is_not_ours_fails(broker: TestBroker, cache: object) -> None:
    step = await plugin(broker).client_enhanced_authenticate(ClientInfo("c"), BOTH[0], b"c=biws,r=a,p=cA==", cache)
    assert (step.result, step.code) == ("fail", NOT_AUTHORIZED)


# -- re-authentication [MQTT5 4.12.1] --------------------------------------------------------------------------------


async def again(device: Device, username: str = "user", password: str = "pencil") -> Any:
    device.scram = ScramClient([device.mechanism], username, password)
    await device.client.send(device.auth(AGAIN, device.scram.get_client_first().encode()))
    return await device.end(await device.answer())


@every_mechanism
async def test_reauthentication(broker: TestBroker, mechanism: str) -> None:
    await user(broker)
    device = Device(broker, mechanism=mechanism)
    await device.connect()
    for _ in range(2):
        answer = await again(device)
        assert isinstance(answer, Auth)
        assert answer.code == 0
        assert answer.properties is not None
        device.scram.set_server_final(answer.properties.authentication_data.decode())
    await device.client.ping()


@pytest.mark.parametrize(("username", "password"), [("user", "wrong"), ("other", "pencil"), ("nobody", "pencil")])
async def test_a_failed_reauthentication_ends_the_connection(broker: TestBroker, username: str, password: str) -> None:
    """Also when it is another user's, rightly proven: the session is not his."""
    await user(broker)
    await user(broker, "other")
    device = Device(broker)
    await device.connect()
    answer = await again(device, username, password)
    assert answer.code == NOT_AUTHORIZED
    assert await device.client.closed() is None


async def test_a_changed_password_is_felt_at_the_next_reauthentication(broker: TestBroker) -> None:
    await user(broker)
    device = Device(broker)
    await device.connect()
    await broker.ctl("sasl scram update user pen -")
    assert (await again(device, password="pen")).code == 0
    assert (await again(device)).code == NOT_AUTHORIZED


async def test_a_beginning_in_the_middle(broker: TestBroker) -> None:
    await user(broker)
    device = Device(broker)
    await device.connect()
    first = device.auth(AGAIN, b"n,,n=user,r=abc")
    await device.client.send(first)
    assert isinstance(await device.answer(), Auth)
    await device.client.send(first)
    assert (await device.answer()).code == NOT_AUTHORIZED


# -- reload ----------------------------------------------------------------------------------------------------------


async def test_an_exchange_goes_on_over_a_reload(broker: TestBroker) -> None:
    await user(broker)
    device = Device(broker)
    challenge = await device.begin()
    await broker.reload_plugin(NAME)
    assert (await device.end(challenge)).code == 0


async def unload(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)


async def delete(broker: TestBroker) -> None:
    await broker.ctl("sasl scram delete user")


async def update(broker: TestBroker) -> None:
    await broker.ctl("sasl scram update user pencil other")


async def narrow(broker: TestBroker) -> None:
    broker.node.plugins.config.plugin_tables[NAME] = {"mechanisms": ["SCRAM-SHA-1"]}
    await broker.reload_plugin(NAME)


@pytest.mark.parametrize(
    ("meanwhile", "code"),
    [(unload, NO_SUCH_METHOD), (delete, NOT_AUTHORIZED), (update, NOT_AUTHORIZED), (narrow, NO_SUCH_METHOD)],
)
async def test_what_happens_in_the_middle_of_an_exchange(
    broker: TestBroker, meanwhile: Callable[[TestBroker], Awaitable[None]], code: int
) -> None:
    await user(broker)
    device = Device(broker)
    challenge = await device.begin()
    await meanwhile(broker)
    assert failed(await device.end(challenge), code)


async def test_users_survive_reload_and_restart(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    await user(broker)
    old = plugin(broker)
    account = old.accounts.accounts["user"]
    export = old.export_state

    def late() -> object:  # after the new generation has read the store
        old.accounts.put("late", account)
        return export()

    monkeypatch.setattr(old, "export_state", late)
    await broker.reload_plugin(NAME)
    assert await plugin(broker).usernames(BOTH[0]) == ["user", "late"]
    assert (await Device(broker, "late").connect()).code == 0
    await broker.node.plugins.unload(NAME)
    assert "sasl" not in broker.node.commands.names()
    assert failed(await Device(broker).begin("x"), NO_SUCH_METHOD)
    await broker.node.plugins.load(NAME)
    assert (await Device(broker).connect()).code == 0


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"username": "u", "salt": "c2FsdA==", "iteration_count": 1, "keys": {}},
        {"username": "u", "salt": "", "iteration_count": 4096, "keys": {}},
        {
            "username": "u",
            "salt": "c2FsdA==",
            "iteration_count": 4096,
            "keys": {"SCRAM-SHA-1": ["c2FsdA==", "c2FsdA=="]},
        },
        {"username": "u", "salt": "c2FsdA==", "iteration_count": 4096, "keys": {"PLAIN": ["c2FsdA==", "c2FsdA=="]}},
        {"username": "u", "salt": "c2FsdA==", "iteration_count": 4096, "keys": []},
        {"username": "u", "salt": "c2FsdA==", "iteration_count": "4096", "keys": {}},
    ],
)
async def test_a_broken_row_keeps_it_out(broker: TestBroker, row: dict[str, object]) -> None:
    await broker.node.plugins.unload(NAME)
    broker.node.store.put(f"{NAME}_scram", "u", {"key": "u", "row": row})
    with pytest.raises(PluginError, match="the store has a broken SCRAM user u"):
        await broker.node.plugins.load(NAME)


async def test_a_plugin_that_cannot_be_loaded_denies_its_methods_only() -> None:
    config = {"plugins": {"load": [NAME], NAME: {"mechanisms": []}}}
    async with running(config) as broker:
        assert f"plugin_not_loaded/{NAME}" in broker.alarms()
        await broker.client("plain")
        assert failed(await Device(broker).begin())


# -- users and commands [cli 4.6] ------------------------------------------------------------------------------------


async def test_commands(broker: TestBroker) -> None:
    assert await broker.ctl("sasl scram lookup user") == ["Authentication information not found"]
    assert await broker.ctl("sasl scram update user pencil saltofacertain") == ["Authentication information not found"]
    assert await broker.ctl("sasl scram add user pencil saltofacertain") == [
        "Authentication information added successfully"
    ]
    assert await broker.ctl("sasl scram add user other saltofacertain") == ["Authentication information already exists"]
    lines = await broker.ctl("sasl scram lookup user")
    found = plugin(broker).lookup_user("user", "SCRAM-SHA-1")
    assert lines[1] == (
        f"Username: user, Stored Key: {found['stored_key']}, Server Key: {found['server_key']}, "
        "Salt: c2FsdG9mYWNlcnRhaW4=, Iteration Count: 4096, Mechanism: SCRAM-SHA-1"
    )
    assert lines[0].startswith("Username: user, Stored Key: ")
    assert lines[0].endswith("Salt: c2FsdG9mYWNlcnRhaW4=, Iteration Count: 4096, Mechanism: SCRAM-SHA-256")
    assert await broker.ctl("sasl scram update user pen saltofacertain 5000") == [
        "Authentication information updated successfully"
    ]
    assert "Iteration Count: 5000" in (await broker.ctl("sasl scram lookup user"))[0]
    assert (await Device(broker, "user", "pen").connect()).code == 0
    for _ in range(2):
        assert await broker.ctl("sasl scram delete user") == ["Authentication information deleted successfully"]
    assert failed(await Device(broker, "user", "pen").connect())
    assert any(line.startswith("sasl scram add <Username>") for line in await broker.ctl("sasl scram add user"))


@pytest.mark.parametrize("count", ["4095", "1000001", "0", "-1", "x", "4096.0", "9" * 4000, "٤٠٩٦"])
async def test_iteration_counts(broker: TestBroker, count: str) -> None:
    """[RFC7677 4] at least 4096; and not so many that somebody waits for ever."""
    assert await broker.ctl("sasl", "scram", "add", "user", "pencil", "salt", count) == [
        "Error: invalid_iteration_count, it is 4096 to 1000000"
    ]
    assert await plugin(broker).usernames(BOTH[0]) == []


async def test_many_rounds_are_computed_in_a_thread(listening_broker: TestBroker) -> None:
    assert await plugin(listening_broker).add_user("user", "pencil", None, 20000) == "ok"
    assert (await Device(listening_broker).connect()).code == 0


async def test_only_keys_are_stored(broker: TestBroker) -> None:
    await user(broker, "user", "pencil")
    rows = [row async for _, row in broker.node.plugins.plugin(NAME).context.table("scram").rows()]
    assert [set(row) for row in rows] == [{"username", "salt", "iteration_count", "keys"}]
    assert "pencil" not in repr(rows)
    assert len(b64decode(str(rows[0]["salt"]))) == 16
    first = rows[0]["salt"]
    await broker.ctl("sasl scram update user pencil -")
    assert plugin(broker).lookup_user("user", BOTH[0])["salt"] != first


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"mechanism": "PLAIN"}, "unsupported_mechanism"),
        ({"username": ""}, "invalid_username"),
        ({"username": None}, "invalid_username"),
        ({"username": "a\x07"}, "invalid_username"),
        ({"username": "\ud800"}, "invalid_username"),
        ({"username": "u" * 1025}, "invalid_username"),
        ({"password": ""}, "invalid_password"),
        ({"password": 1}, "invalid_password"),
        ({"password": "\u0221"}, "invalid_password"),
        ({"salt": ""}, "invalid_salt"),
        ({"salt": 1}, "invalid_salt"),
        ({"salt": "s" * 257}, "invalid_salt"),
        ({"salt": "\ud800"}, "invalid_salt"),
        ({"iterations": 4095}, "invalid_iteration_count"),
        ({"iterations": "4096"}, "invalid_iteration_count"),
        ({"iterations": True}, "invalid_iteration_count"),
        ({"iterations": 1_000_001}, "invalid_iteration_count"),
    ],
)
async def test_what_an_api_hears(broker: TestBroker, change: dict[str, object], result: str) -> None:
    """[http 2.27]"""
    good = {"mechanism": "SCRAM-SHA-1", "username": "user", "password": "pencil", "salt": "salt", "iterations": 4096}
    assert await plugin(broker).add_user(**{**good, **change}) == result
    assert await plugin(broker).update_user(**{**good, **change}) == result
    assert await plugin(broker).add_user(**good) == "ok"


async def test_methods_for_an_api(broker: TestBroker) -> None:
    mine = plugin(broker)
    assert await mine.update_user("user", "pencil") == "not_found"
    assert await mine.add_user("us\u00ader", "pencil", "salt", 4096, "SCRAM-SHA-1") == "ok"
    assert await mine.add_user("user", "pencil") == "already_existed"
    assert await mine.usernames("SCRAM-SHA-1") == await mine.usernames("SCRAM-SHA-256") == ["user"]
    found = mine.lookup_user("us\u00ader", "SCRAM-SHA-256")
    assert list(found) == ["username", "stored_key", "server_key", "salt", "iteration_count"]
    assert found["salt"] == b64encode(b"salt").decode()
    assert mine.lookup_user("user", "PLAIN") is None
    assert mine.lookup_user("", "SCRAM-SHA-1") is None
    assert mine.delete_user("user") is True
    assert mine.delete_user("user") is False


@settings(max_users=1)
async def test_the_number_of_users_is_bounded(broker: TestBroker) -> None:
    await user(broker)
    assert await broker.ctl("sasl scram add other pencil salt") == ["Error: full, max_users is 1"]
    assert await broker.ctl("sasl scram update user pen salt") == ["Authentication information updated successfully"]


@pytest.mark.parametrize(
    ("values", "words"),
    [({"mechanisms": ["PLAIN"]}, "SCRAM-SHA-256"), ({"mechanisms": []}, "mechanisms"), ({"max_users": 0}, "max_users")],
)
async def test_settings_that_are_wrong(values: dict[str, object], words: str) -> None:
    async with running({"plugins": {"load": [NAME], NAME: values}}) as broker:
        assert words in str(broker.alarms()[f"plugin_not_loaded/{NAME}"]["reason"])


async def test_it_is_listed_as_in_emqx(broker: TestBroker) -> None:
    listed = {entry.name: entry for entry in broker.node.plugins.listing()}[NAME]
    assert (listed.description, listed.type, listed.active) == ("EMQX SASL", "feature", True)

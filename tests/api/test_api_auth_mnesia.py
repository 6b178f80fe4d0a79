"""`/auth_clientid` and `/auth_username`, which the plugin emqx_auth_mnesia serves."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from trioemqx.testing import ApiAnswer, Refused, TestBroker

NAME = "emqx_auth_mnesia"
KINDS = pytest.mark.parametrize("kind", ["clientid", "username"])
MAX = 40


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": [NAME]}, "auth": {"mnesia": {"max_users": MAX}}}


async def add(broker: TestBroker, kind: str, *names: str) -> None:
    for name in names:
        answer = await broker.api("POST", f"/auth_{kind}", {kind: name, "password": "public"})
        assert answer.json() == {"code": 0}


async def names(broker: TestBroker, kind: str, query: str = "") -> list[str]:
    return [row[kind] for row in (await broker.api("GET", f"/auth_{kind}?{query}")).data]


async def comes_in(broker: TestBroker, kind: str, name: str, password: bytes) -> bool:
    who = {"clientid": name} if kind == "clientid" else {"username": name}
    try:
        client = (
            await broker.client(**who, password=password)
            if kind == "username"
            else await broker.client(name, username="x", password=password)
        )
    except Refused:
        return False
    await client.disconnect()
    return True


async def test_list_clientid(broker: TestBroker) -> None:
    """GET /auth_clientid"""
    await lists(broker, "clientid")


async def test_list_username(broker: TestBroker) -> None:
    """GET /auth_username"""
    await lists(broker, "username")


async def lists(broker: TestBroker, kind: str) -> None:
    assert (await broker.api("GET", f"/auth_{kind}")).json() == {
        "code": 0,
        "data": [],
        "meta": {"page": 1, "limit": 10000, "count": 0, "hasnext": False},
    }
    await add(broker, kind, *(f"n{number:02}" for number in range(25)))
    (row,) = (await broker.api("GET", f"/auth_{kind}?{kind}=n07")).data
    assert row == {kind: "n07", "created_at": pytest.approx(broker.node.wall() * 1000, abs=5000)}
    answer = await broker.api("GET", f"/auth_{kind}?_page=2&_limit=10")
    assert [row[kind] for row in answer.data] == [f"n{number}" for number in range(10, 20)]
    assert answer.json()["meta"] == {"page": 2, "limit": 10, "count": 25, "hasnext": True}
    answer = await broker.api("GET", f"/auth_{kind}?_like_{kind}=n2&_limit=3")
    assert [row[kind] for row in answer.data] == ["n20", "n21", "n22"]
    assert answer.json()["meta"] == {"page": 1, "limit": 3, "count": -1, "hasnext": True}
    assert await names(broker, kind, f"{kind}=n%00") == await names(broker, kind, "_page=99") == []
    for query in ("_limit=-1", "_page=x", "_limit=99999999999999999999"):
        assert (await broker.api("GET", f"/auth_{kind}?{query}")).code == 108
    assert await names(broker, kind, "_page=9223372036854775807&_limit=9223372036854775807") == []


async def test_on_a_page_the_newest_come_first(broker: TestBroker) -> None:
    """GET /auth_clientid"""
    users = broker.node.plugins.plugin(NAME).users  # type: ignore[attr-defined]
    for at, name in ((100, "a"), (300, "b"), (200, "c")):
        users.put("clientid", name, (b"", at))
    assert await names(broker, "clientid") == ["b", "c", "a"]


async def test_lookup_clientid(broker: TestBroker) -> None:
    """GET /auth_clientid/{clientid}"""
    await looks_up(broker, "clientid")


async def test_lookup_username(broker: TestBroker) -> None:
    """GET /auth_username/{username}"""
    await looks_up(broker, "username")


async def looks_up(broker: TestBroker, kind: str) -> None:
    await add(broker, kind, "a/b+ü")
    found = (await broker.api("GET", f"/auth_{kind}/{quote('a/b+ü', '')}")).data
    assert found[kind] == "a/b+ü"
    assert set(found) == {kind, "created_at"}
    for unknown in ("x", "%00", "a%2Fb"):
        assert (await broker.api("GET", f"/auth_{kind}/{unknown}")).json() == {"code": 0, "data": {}}


async def test_add_clientid(broker: TestBroker) -> None:
    """POST /auth_clientid"""
    await adds(broker, "clientid")


async def test_add_username(broker: TestBroker) -> None:
    """POST /auth_username"""
    await adds(broker, "username")


async def adds(broker: TestBroker, kind: str) -> None:
    assert await comes_in(broker, kind, "a", b"anything"), "nothing is known of a"
    await add(broker, kind, "a")
    assert await comes_in(broker, kind, "a", b"public")
    assert not await comes_in(broker, kind, "a", b"anything")
    again = await broker.api("POST", f"/auth_{kind}", {kind: "a", "password": "anything"})
    assert again.json() == {"code": 113, "message": "existed"}
    assert await comes_in(broker, kind, "a", b"public")
    assert (await broker.api("POST", f"/auth_{kind}?{kind}=q&password=p")).json() == {"code": 0}
    assert await names(broker, kind) == ["a", "q"]


@KINDS
@pytest.mark.parametrize("value", [None, "", 5, True, ["a"], {"a": 1}, "x" * 65536])
async def test_add_what_cannot_be(broker: TestBroker, kind: str, value: object) -> None:
    """POST /auth_clientid, POST /auth_username"""

    async def post(body: dict[str, object]) -> ApiAnswer:
        return await broker.api("POST", f"/auth_{kind}", body)

    assert (await post({kind: value, "password": "p"})).json() == {"code": 108, "message": "login"}
    assert (await post({kind: "a", "password": value})).json() == {"code": 108, "message": "password"}
    assert (await post({"password": "p"})).message == "login"
    assert (await post({kind: "a"})).message == "password"
    assert await names(broker, kind) == []


@KINDS
@pytest.mark.parametrize("body", [None, {}, [], [5], ["clientid"], [None], [[]]])
async def test_add_nothing(broker: TestBroker, kind: str, body: object) -> None:
    """POST /auth_clientid, POST /auth_username"""
    assert (await broker.api("POST", f"/auth_{kind}", body)).json() == {"code": 108, "message": "bad_params"}


@KINDS
async def test_add_many(broker: TestBroker, kind: str) -> None:
    """POST /auth_clientid, POST /auth_username"""
    await add(broker, kind, "c2")
    batch = [
        {kind: "c1", "password": "p"},
        {kind: "c2", "password": "p"},
        {kind: "c3", "password": ""},
        {kind: "", "password": "p"},
        {"password": "p"},
    ]
    assert (await broker.api("POST", f"/auth_{kind}", batch)).data == {
        "c1": "ok",
        "c2": "{error,existed}",
        "c3": "{error,password}",
        "": "{error,login}",
        "undefined": "{error,login}",
    }
    assert await names(broker, kind) == ["c2", "c1"]
    half = await broker.api("POST", f"/auth_{kind}", [{kind: "new", "password": "p"}, 5])
    assert half.code == 108
    assert "new" not in await names(broker, kind), "a request that cannot be read changes nothing"


async def test_there_is_room_for_so_many(broker: TestBroker) -> None:
    """POST /auth_clientid"""
    batch = [{"clientid": str(number), "password": "p"} for number in range(MAX + 1)]
    results = (await broker.api("POST", "/auth_clientid", batch)).data
    assert list(results.values()) == ["ok"] * MAX + [f"{{error,full, auth.mnesia.max_users is {MAX}}}"]
    answer = await broker.api("POST", "/auth_clientid", {"clientid": "x", "password": "p"})
    assert (answer.code, answer.message) == (102, f"full, auth.mnesia.max_users is {MAX}")


async def test_update_clientid(broker: TestBroker) -> None:
    """PUT /auth_clientid/{clientid}"""
    await updates(broker, "clientid")


async def test_update_username(broker: TestBroker) -> None:
    """PUT /auth_username/{username}"""
    await updates(broker, "username")


async def updates(broker: TestBroker, kind: str) -> None:
    new = {"password": "new"}
    assert (await broker.api("PUT", f"/auth_{kind}/a%2Fb", new)).json() == {"code": 105, "message": "noexisted"}
    await add(broker, kind, "a/b")
    assert (await broker.api("PUT", f"/auth_{kind}/a%2Fb", new)).json() == {"code": 0}
    for wrong in (None, {}, [new], {"password": ""}, {"password": 5}, {"password": None}):
        answer = await broker.api("PUT", f"/auth_{kind}/a%2Fb", wrong)
        assert answer.json() == {"code": 108, "message": "password"}
    assert await comes_in(broker, kind, "a/b", b"new")
    assert not await comes_in(broker, kind, "a/b", b"public")


async def test_delete_clientid(broker: TestBroker) -> None:
    """DELETE /auth_clientid/{clientid}"""
    await deletes(broker, "clientid")


async def test_delete_username(broker: TestBroker) -> None:
    """DELETE /auth_username/{username}"""
    await deletes(broker, "username")


async def deletes(broker: TestBroker, kind: str) -> None:
    await add(broker, kind, "a", "b")
    for _ in range(2):
        assert (await broker.api("DELETE", f"/auth_{kind}/a")).json() == {"code": 0}
        assert await names(broker, kind) == ["b"]
    assert await comes_in(broker, kind, "a", b"anything")


async def test_passwords_are_never_told(broker: TestBroker) -> None:
    await add(broker, "clientid", "a")
    for path in ("/auth_clientid", "/auth_clientid/a"):
        body = (await broker.api("GET", path)).body
        assert b"password" not in body
        assert b"public" not in body


@KINDS
async def test_without_the_plugin(broker: TestBroker, kind: str) -> None:
    await broker.node.plugins.unload(NAME)
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/a"), ("PUT", "/a"), ("DELETE", "/a")):
        answer = await broker.api(method, f"/auth_{kind}{path}", {kind: "a", "password": "p"})
        assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})

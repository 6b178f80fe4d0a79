"""`/sasl`, which the plugin emqx_sasl serves."""

from __future__ import annotations

from base64 import b64decode

import pytest

from trioemqx.testing import TestBroker

NAME = "emqx_sasl"
USER = {"mechanism": "SCRAM-SHA-1", "username": "u1", "password": "secret", "salt": "pepper and salt"}


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": [NAME], NAME: {"max_users": 3}}}


async def add(broker: TestBroker, **more: object) -> None:
    assert (await broker.api("POST", "/sasl", {**USER, **more})).json() == {"code": 0}


async def names(broker: TestBroker) -> list[str]:
    return list((await broker.api("GET", "/sasl?mechanism=SCRAM-SHA-1")).data["SCRAM-SHA-1"])


async def keys(broker: TestBroker, username: str = "u1") -> dict[str, object]:
    return dict((await broker.api("GET", f"/sasl?mechanism=SCRAM-SHA-1&username={username}")).data)


async def test_add(broker: TestBroker) -> None:
    """POST /sasl"""
    await add(broker)
    found = await keys(broker)
    assert (found["username"], found["iteration_count"]) == ("u1", 4096)
    assert b64decode(str(found["salt"])) == b"pepper and salt"
    await add(broker, username="u2", iteration_count=5000)
    assert (await keys(broker, "u2"))["iteration_count"] == 5000
    assert await names(broker) == ["u1", "u2"]
    again = await broker.api("POST", "/sasl", {**USER, "password": "another"})
    assert again.json() == {"code": 113, "message": "already_existed"}
    assert await keys(broker) == found


async def test_there_is_room_for_so_many(broker: TestBroker) -> None:
    """POST /sasl"""
    for number in range(3):
        await add(broker, username=f"u{number}")
    answer = await broker.api("POST", "/sasl", {**USER, "username": "one more"})
    assert answer.json() == {"code": 102, "message": "full, max_users is 3"}


WRONG = [
    ({"mechanism": "PLAIN"}, "unsupported_mechanism"),
    ({"mechanism": ""}, "unsupported_mechanism"),
    ({"mechanism": ["SCRAM-SHA-1"]}, "unsupported_mechanism"),
    ({"username": ""}, "invalid_username"),
    ({"username": None}, "invalid_username"),
    ({"username": "a\0b"}, "invalid_username"),
    ({"username": "x" * 2000}, "invalid_username"),
    ({"password": ""}, "invalid_password"),
    ({"password": 5}, "invalid_password"),
    ({"salt": ""}, "invalid_salt"),
    ({"salt": None}, "invalid_salt"),
    ({"salt": "x" * 300}, "invalid_salt"),
    ({"iteration_count": 0}, "invalid_iteration_count"),
    ({"iteration_count": 10**12}, "invalid_iteration_count"),
    ({"iteration_count": 1.5}, "invalid_iteration_count"),
    ({"iteration_count": None}, "invalid_iteration_count"),
    ({"iteration_count": "many"}, "invalid_iteration_count"),
    ({"iteration_count": True}, "invalid_iteration_count"),
]


@pytest.mark.parametrize(("change", "says"), WRONG)
async def test_add_what_cannot_be(broker: TestBroker, change: dict[str, object], says: str) -> None:
    """POST /sasl, PUT /sasl"""
    await add(broker, username="u2")
    before = await keys(broker, "u2")
    assert (await broker.api("POST", "/sasl", {**USER, **change})).json() == {"code": 108, "message": says}
    answer = await broker.api("PUT", "/sasl", {**USER, "username": "u2", **change})
    assert answer.json() == {"code": 108, "message": says}
    assert await names(broker) == ["u2"]
    assert await keys(broker, "u2") == before


@pytest.mark.parametrize("left_out", ["mechanism", "username", "password", "salt"])
async def test_add_without_what_is_needed(broker: TestBroker, left_out: str) -> None:
    """POST /sasl, PUT /sasl"""
    body = {name: value for name, value in USER.items() if name != left_out}
    for method in ("POST", "PUT"):
        for sent in (body, [USER], None):
            answer = await broker.api(method, "/sasl", sent)
            assert answer.json() == {"code": 107, "message": "missing_required_params"}
    assert await names(broker) == []


async def test_update(broker: TestBroker) -> None:
    """PUT /sasl"""
    assert (await broker.api("PUT", "/sasl", USER)).json() == {"code": 105, "message": "not_found"}
    await add(broker)
    before = await keys(broker)
    assert (await broker.api("PUT", "/sasl", {**USER, "password": "new"})).json() == {"code": 0}
    assert (await keys(broker))["stored_key"] != before["stored_key"]
    assert await names(broker) == ["u1"]


async def test_delete(broker: TestBroker) -> None:
    """DELETE /sasl"""
    await add(broker)
    await add(broker, username="u2")
    assert (await broker.api("DELETE", "/sasl?mechanism=SCRAM-SHA-1&username=u1")).json() == {"code": 0}
    assert await names(broker) == ["u2"]
    gone = {"mechanism": "SCRAM-SHA-1", "username": "u1"}
    assert (await broker.api("DELETE", "/sasl", gone)).json() == {"code": 0}
    for body, code in (({}, 107), ({"mechanism": "SCRAM-SHA-1"}, 107), ({**gone, "mechanism": "x"}, 108)):
        assert (await broker.api("DELETE", "/sasl", body)).code == code
    assert (await broker.api("DELETE", "/sasl", {**gone, "username": ["u2"]})).message == "invalid_username"
    assert await names(broker) == ["u2"]


async def test_get(broker: TestBroker) -> None:
    """GET /sasl"""
    assert (await broker.api("GET", "/sasl")).data == [{"SCRAM-SHA-1": []}, {"SCRAM-SHA-256": []}]
    await add(broker)
    assert (await broker.api("GET", "/sasl")).data[0] == {"SCRAM-SHA-1": ["u1"]}
    assert (await broker.api("GET", "/sasl?mechanism=SCRAM-SHA-256")).data == {"SCRAM-SHA-256": ["u1"]}
    assert set(await keys(broker)) == {"username", "stored_key", "server_key", "salt", "iteration_count"}
    for query, code, says in (
        ("mechanism=x", 108, "Unsupported mechanism"),
        ("mechanism=x&username=u1", 108, "unsupported_mechanism"),
        ("mechanism=SCRAM-SHA-1&username=%00", 105, "not_found"),
        ("username=u1", 107, "missing_required_params"),
    ):
        assert (await broker.api("GET", f"/sasl?{query}")).json() == {"code": code, "message": says}
    assert (await broker.api("GET", "/sasl", {"mechanism": ["SCRAM-SHA-1"], "username": 5})).code == 108
    assert (await broker.api("GET", "/sasl", {"mechanism": "SCRAM-SHA-1", "username": 5})).code == 105


async def test_without_the_plugin(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = await broker.api(method, "/sasl", USER)
        assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})

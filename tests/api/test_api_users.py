"""`/auth`, `/users`, `/change_pwd`: users of the dashboard."""

from __future__ import annotations

import pytest
import trio

from trioemqx.testing import ApiAnswer, TestBroker


async def asked(
    broker: TestBroker, method: str, path: str, body: object = None, peer: str = "127.0.0.1", auth: str = "admin:public"
) -> ApiAnswer:
    """A request to the dashboard's listener."""
    return await broker.api(method, path, body, listener="dashboard", peer=peer, auth=auth)


async def log_in(broker: TestBroker, username: object, password: object, peer: str = "127.0.0.1") -> ApiAnswer:
    """A request without credentials."""
    body = {"username": username, "password": password}
    return await broker.api("POST", "/auth", body, listener="dashboard", peer=peer, auth=None)


async def test_a_user_logs_in(broker: TestBroker) -> None:
    """POST /auth"""
    before = trio.current_time()
    assert (await log_in(broker, "admin", "public")).json() == {"code": 0}
    assert trio.current_time() == before


@pytest.mark.parametrize(("username", "password"), [("admin", "wrong"), ("nobody", "public"), ("\0", "\u00fc")])
async def test_wrong_credentials_take_two_seconds(broker: TestBroker, username: str, password: str) -> None:
    before = trio.current_time()
    answer = await log_in(broker, username, password)
    assert (answer.status, answer.code, answer.message) == (200, 103, "Username/Password error")
    assert trio.current_time() - before == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({}, 104, "Username undefined"),
        ([], 104, "Username undefined"),
        ({"username": "", "password": "x"}, 104, "Username undefined"),
        ({"username": "admin"}, 104, "Password undefined"),
        ({"username": "admin", "password": ""}, 104, "Password undefined"),
        ({"username": 5, "password": "x"}, 108, "bad_params"),
        ({"username": "admin", "password": None}, 108, "bad_params"),
    ],
)
async def test_logins_without_credentials(broker: TestBroker, body: object, code: int, message: str) -> None:
    answer = await broker.api("POST", "/auth", body, listener="dashboard", auth=None)
    assert (answer.status, answer.code, answer.message) == (200, code, message)


async def test_an_address_that_guesses_has_to_wait(broker: TestBroker) -> None:
    """Also when it tries many at once."""
    assert (await asked(broker, "GET", "/users")).status == 200
    answers: list[ApiAnswer] = []

    async def guess(password: str) -> None:
        answers.append(await log_in(broker, "admin", password, "10.0.0.9"))

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(guess, f"guess{number}")
    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 20
    assert (await asked(broker, "GET", "/users", peer="10.0.0.9")).status == 429
    assert (await log_in(broker, "admin", "public")).code == 0
    await trio.sleep(61)
    assert (await log_in(broker, "admin", "again", "10.0.0.9")).code == 103


async def test_right_credentials_are_no_guess(broker: TestBroker) -> None:
    for _ in range(30):
        assert (await log_in(broker, "admin", "public")).code == 0


async def test_the_shipped_password_opens_from_this_machine_only(broker: TestBroker) -> None:
    answer = await log_in(broker, "admin", "public", "10.0.0.9")
    assert (answer.code, answer.message) == (103, "Username/Password error")
    assert "allow_default_credentials" in answer.json()["reason"]


async def test_users_are_listed(broker: TestBroker) -> None:
    """GET /users"""
    assert (await asked(broker, "GET", "/users")).data == [{"username": "admin", "tags": "administrator"}]


async def test_a_new_user_comes_in(broker: TestBroker) -> None:
    """POST /users"""
    body = {"username": "jane", "password": "passw0rd", "tags": "viewer"}
    assert (await asked(broker, "POST", "/users", body)).json() == {"code": 0}
    assert (await log_in(broker, "jane", "passw0rd", "10.0.0.9")).code == 0
    assert (await asked(broker, "GET", "/users", auth="jane:passw0rd")).data[1] == {
        "username": "jane",
        "tags": "viewer",
    }
    assert b"passw0rd" not in str(await broker.node.store.get("dashboard_users", "jane")).encode()


KINDS = (
    "The password must contain at least two different kind of characters from groups of letters, numbers, and special "
    "characters. For example, if the password is composed of letters, it must contain at least one number or a special "
    "character."
)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"username": "admin", "password": "passw0rd"}, 113, "Username Already Exist"),
        ({"password": "passw0rd"}, 104, "Username or password undefined"),
        ({"username": "x", "password": ""}, 104, "Username or password undefined"),
        ([], 104, "Username or password undefined"),
        ({"username": "a b", "password": "passw0rd"}, 108, "required: ^[A-Za-z0-9]+[A-Za-z0-9-_]*$"),
        ({"username": "x" * 257, "password": "passw0rd"}, 108, "0 < Length =< 256"),
        ({"username": "x", "password": "short1"}, 108, "The password length: 8-64"),
        ({"username": "x", "password": "x1" * 33}, 108, "The password length: 8-64"),
        ({"username": "x", "password": "onlyletters"}, 108, KINDS),
        ({"username": "x", "password": "pässw0rd"}, 108, "only ascii characters are allowed in the password"),
        ({"username": "x", "password": 12345678}, 108, "bad_params"),
        ({"username": ["x"], "password": "passw0rd"}, 108, "bad_params"),
        ({"username": "x", "password": "passw0rd", "tags": 5}, 108, "bad_params"),
    ],
)
async def test_a_user_who_is_refused(broker: TestBroker, body: object, code: int, message: str) -> None:
    answer = await asked(broker, "POST", "/users", body)
    assert (answer.status, answer.code, answer.message) == (200, code, message)
    assert len((await asked(broker, "GET", "/users")).data) == 1


async def test_tags_change(broker: TestBroker) -> None:
    """PUT /users/{name}"""
    assert (await asked(broker, "PUT", "/users/admin", {"tags": "boss"})).json() == {"code": 0}
    assert (await asked(broker, "GET", "/users")).data == [{"username": "admin", "tags": "boss"}]
    answer = await asked(broker, "PUT", "/users/nobody", {"tags": "x"})
    assert (answer.code, answer.message) == (105, "Username Not Found")
    assert (await asked(broker, "PUT", "/users/admin", {})).code == 107
    assert (await asked(broker, "PUT", "/users/admin", {"tags": None})).code == 108


async def test_a_user_is_removed(broker: TestBroker) -> None:
    """DELETE /users/{name}"""
    await asked(broker, "POST", "/users", {"username": "jane", "password": "passw0rd"})
    assert (await asked(broker, "DELETE", "/users/jane", auth="jane:passw0rd")).json() == {"code": 0}
    assert (await asked(broker, "GET", "/users", auth="jane:passw0rd")).status == 401
    for name, code, message in (("jane", 105, "Username Not Found"), ("admin", 106, "Cannot delete admin")):
        answer = await asked(broker, "DELETE", f"/users/{name}")
        assert (answer.code, answer.message) == (code, message)


async def test_a_password_changes_at_once(broker: TestBroker) -> None:
    """PUT /change_pwd/{username}"""
    body = {"old_pwd": "public", "new_pwd": "n0t public"}
    assert (await asked(broker, "PUT", "/change_pwd/admin", body)).json() == {"code": 0}
    assert (await asked(broker, "GET", "/users")).status == 401
    assert (await asked(broker, "GET", "/users", auth="admin:n0t public", peer="10.0.0.9")).status == 200


@pytest.mark.parametrize(
    ("name", "body", "code", "message", "seconds"),
    [
        ("admin", {"old_pwd": "wrong", "new_pwd": "n0t public"}, 114, "Username/Password error", 2),
        ("nobody", {"old_pwd": "public", "new_pwd": "n0t public"}, 114, "Username/Password error", 2),
        ("admin", {"new_pwd": "n0t public"}, 104, "Password undefined", 0),
        ("admin", {"old_pwd": "public", "new_pwd": "short"}, 108, "The password length: 8-64", 0),
        ("admin", {"old_pwd": "public"}, 107, "missing_required_params", 0),
        ("admin", {"old_pwd": "public", "new_pwd": 5}, 108, "bad_params", 0),
    ],
)
async def test_a_change_that_is_refused(
    broker: TestBroker, name: str, body: object, code: int, message: str, seconds: int
) -> None:
    before = trio.current_time()
    answer = await asked(broker, "PUT", f"/change_pwd/{name}", body)
    assert (answer.status, answer.code, answer.message) == (200, code, message)
    assert trio.current_time() - before == pytest.approx(seconds, abs=0.01)
    assert (await log_in(broker, "admin", "public")).code == 0


@pytest.mark.parametrize(("method", "path"), [("POST", "/auth"), ("GET", "/users"), ("PUT", "/change_pwd/admin")])
async def test_they_are_not_on_the_other_listener(broker: TestBroker, method: str, path: str) -> None:
    answer = await broker.api(method, path, {"username": "admin", "password": "public"})
    assert answer.status == 404

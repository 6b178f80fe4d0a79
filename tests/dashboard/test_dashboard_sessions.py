"""Logging in to the dashboard, and what a login may do."""

from __future__ import annotations

import pytest
import trio

from trioemqx.testing import ApiAnswer, TestBroker


async def log_in(
    broker: TestBroker,
    username: object = "admin",
    password: object = "public",
    *,
    peer: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
) -> ApiAnswer:
    body = {"username": username, "password": password}
    return await broker.api(
        "POST", "//session", body, listener="dashboard", auth=None, peer=peer, headers=headers or {}
    )


class Browser:
    """A logged-in one: its cookie, and the token that its pages know."""

    def __init__(self, broker: TestBroker, answer: ApiAnswer) -> None:
        self.broker = broker
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        self.csrf = answer.data["csrf"]

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        csrf: str | None = "",
        peer: str = "127.0.0.1",
        **headers: str,
    ) -> ApiAnswer:
        sent = {"cookie": f"other=1; {self.cookie}; more=2", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if csrf is not None:
            sent["x-csrf-token"] = csrf or self.csrf
        return await self.broker.api(method, path, body, listener="dashboard", auth=None, headers=sent, peer=peer)


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"dashboard": {"session_idle_timeout": "20s", "session_max_age": "100s", "max_sessions": 3}}


async def test_a_user_logs_in_and_out(broker: TestBroker) -> None:
    answer = await log_in(broker)
    assert answer.data == {
        "username": "admin",
        "tags": "administrator",
        "csrf": answer.data["csrf"],
        "change_password": True,
    }
    assert len(answer.data["csrf"]) >= 43  # 256 bit
    browser = Browser(broker, answer)
    assert (await browser.ask("GET", "//session")).data == answer.data
    assert (await browser.ask("GET", "/brokers")).status == 200
    gone = await browser.ask("DELETE", "//session")
    assert gone.json() == {"code": 0}
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert (await browser.ask("GET", "//session")).status == 401
    assert (await browser.ask("GET", "/brokers")).status == 401


async def test_the_cookie_is_for_this_server_and_out_of_reach_of_scripts(broker: TestBroker) -> None:
    cookie = (await log_in(broker)).headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert name == "trioemqx_8081"  # the port that was asked
    assert rest.split("; ")[1:] == ["HttpOnly", "SameSite=Strict"]
    assert len(rest.partition(";")[0]) >= 43
    assert (await log_in(broker)).headers["set-cookie"] != cookie


async def test_only_the_hash_of_a_cookie_is_kept(broker: TestBroker) -> None:
    browser = Browser(broker, await log_in(broker))
    assert broker.node.api is not None
    sessions = broker.node.api.dashboard.sessions
    assert len(sessions) == 1
    token = browser.cookie.partition("=")[2]
    assert token.encode() not in next(iter(sessions._by_hash))
    other = "b" if token.startswith("a") else "a"
    assert sessions.find(other + token[1:]) is None


@pytest.mark.parametrize(
    ("username", "password", "status"),
    [("admin", "wrong", 401), ("nobody", "public", 401), ("admin", 5, 200), (None, "public", 200)],
)
async def test_wrong_credentials(broker: TestBroker, username: object, password: object, status: int) -> None:
    answer = await log_in(broker, username, password)
    assert (answer.status, answer.code) == (status, 103 if status == 401 else 108)
    assert "set-cookie" not in answer.headers
    assert "www-authenticate" not in answer.headers  # the page asks, not the browser


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"{" * 20_000])
async def test_a_login_that_is_none(broker: TestBroker, raw: bytes) -> None:
    answer = await broker.api("POST", "//session", raw=raw, listener="dashboard", auth=None)
    assert (answer.status, answer.code) == (400, 109)


async def test_guesses_are_limited_together_with_those_at_the_api(broker: TestBroker) -> None:
    async def guess(number: int) -> None:
        if number % 2:
            await log_in(broker, "admin", f"guess{number}", peer="10.0.0.9")
        else:
            await broker.api("GET", "/users", listener="dashboard", auth=f"admin:guess{number}", peer="10.0.0.9")

    assert (await log_in(broker)).status == 200
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(guess, number)
    answer = await log_in(broker, peer="10.0.0.9")
    assert answer.status == 429
    assert "retry-after" in answer.headers


async def test_the_shipped_password_opens_from_this_machine_only(broker: TestBroker) -> None:
    answer = await log_in(broker, peer="10.0.0.9")
    assert (answer.status, answer.code) == (401, 103)
    assert "allow_default_credentials" in answer.json()["reason"]
    browser = Browser(broker, await log_in(broker))
    assert (await browser.ask("GET", "/brokers", peer="10.0.0.9")).status == 401


async def test_a_proxy_on_this_machine_does_not_make_others_local(broker: TestBroker) -> None:
    for header in ("x-forwarded-for", "forwarded", "x-real-ip"):
        assert (await log_in(broker, headers={header: "127.0.0.1"})).status == 401
    answer = await broker.api("GET", "/brokers", headers={"x-forwarded-for": "10.0.0.9"})
    assert answer.status == 401


async def test_changes_need_the_token(broker: TestBroker) -> None:
    browser = Browser(broker, await log_in(broker))
    body = {"who": "x", "as": "clientid", "reason": "test"}
    for csrf in (None, "wrong", browser.csrf[:-1], "\u00e9".encode().decode("latin-1")):
        answer = await browser.ask("POST", "/banned", body, csrf=csrf)
        assert (answer.status, answer.message) == (403, "wrong CSRF token")
    assert (await browser.ask("DELETE", "//session", csrf=None)).status == 403
    assert (await browser.ask("GET", "/banned", csrf=None)).data == []
    assert (await browser.ask("POST", "/banned", body)).status == 200
    assert len((await browser.ask("GET", "/banned")).data) == 1


async def test_pages_of_other_sites_are_refused(broker: TestBroker) -> None:
    browser = Browser(broker, await log_in(broker))
    for headers in ({"sec_fetch_site": "cross-site"}, {"origin": "http://evil", "host": "here"}):
        assert (
            await browser.ask("POST", "/banned", {"who": "x", "as": "clientid", "reason": "test"}, **headers)
        ).status == 403
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        assert (await log_in(broker, headers=named)).status == 403


async def test_basic_credentials_need_no_token_and_count_before_a_cookie(broker: TestBroker) -> None:
    browser = Browser(broker, await log_in(broker))
    cookie = {"cookie": browser.cookie}
    body = {"who": "x", "as": "clientid", "reason": "test"}
    answer = await broker.api("POST", "/banned", body, listener="dashboard", headers=cookie)
    assert answer.status == 200
    answer = await broker.api("GET", "/banned", listener="dashboard", auth="admin:wrong", headers=cookie)
    assert answer.status == 401


async def test_the_browser_asks_for_a_password_only_where_no_page_does(broker: TestBroker) -> None:
    answer = await broker.api("GET", "/brokers", listener="dashboard", auth=None)
    assert (answer.status, "www-authenticate" in answer.headers) == (401, True)
    answer = await broker.api("GET", "/brokers", listener="dashboard", auth=None, headers={"cookie": "trioemqx_8081=x"})
    assert (answer.status, "www-authenticate" in answer.headers) == (401, False)


async def test_the_cookie_does_not_open_the_api_s_own_door(broker: TestBroker) -> None:
    browser = Browser(broker, await log_in(broker))
    answer = await broker.api("GET", "/brokers", auth=None, headers={"cookie": browser.cookie})
    assert answer.status == 401


async def test_a_login_ends_when_it_is_not_used(broker: TestBroker) -> None:
    browser = Browser(broker, await log_in(broker))
    for _ in range(3):
        await trio.sleep(19)
        assert (await browser.ask("GET", "//session")).status == 200
    await trio.sleep(20)
    assert (await browser.ask("GET", "//session")).status == 401


async def test_a_login_ends_when_it_is_old(broker: TestBroker) -> None:
    browser = Browser(broker, await log_in(broker))
    for _ in range(9):
        await trio.sleep(10)
        assert (await browser.ask("GET", "/brokers")).status == 200
    await trio.sleep(10)
    assert (await browser.ask("GET", "/brokers")).status == 401


async def test_there_are_only_so_many(broker: TestBroker) -> None:
    browsers = [Browser(broker, await log_in(broker)) for _ in range(3)]
    assert (await browsers[0].ask("GET", "//session")).status == 200
    newest = Browser(broker, await log_in(broker))
    found = [(await browser.ask("GET", "//session")).status for browser in (*browsers, newest)]
    assert found == [200, 401, 200, 200]


async def test_a_second_login_of_a_browser_ends_its_first(broker: TestBroker) -> None:
    browser = Browser(broker, await log_in(broker))
    await log_in(broker, headers={"cookie": browser.cookie})
    assert (await browser.ask("GET", "//session")).status == 401


async def test_another_password_ends_the_logins_of_that_user(broker: TestBroker) -> None:
    admin = Browser(broker, await log_in(broker))
    await admin.ask("POST", "/users", {"username": "jane", "password": "passw0rd"})
    jane = Browser(broker, await log_in(broker, "jane", "passw0rd", peer="10.0.0.9"))
    body = {"old_pwd": "public", "new_pwd": "n0t public"}
    assert (await admin.ask("PUT", "/change_pwd/admin", body)).status == 200
    assert (await admin.ask("GET", "//session")).status == 401
    assert (await jane.ask("GET", "//session")).status == 200
    answer = await log_in(broker, "admin", "n0t public", peer="10.0.0.9")
    assert answer.data["change_password"] is False


async def test_a_user_who_is_removed_is_logged_out(broker: TestBroker) -> None:
    admin = Browser(broker, await log_in(broker))
    await admin.ask("POST", "/users", {"username": "jane", "password": "passw0rd"})
    jane = Browser(broker, await log_in(broker, "jane", "passw0rd"))
    await admin.ask("PUT", "/users/jane", {"tags": "boss"})
    assert (await jane.ask("GET", "//session")).data["tags"] == "boss"
    await admin.ask("DELETE", "/users/jane")
    await admin.ask("POST", "/users", {"username": "jane", "password": "passw0rd"})
    assert (await jane.ask("GET", "//session")).status == 401


class TestBehindAProxy:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"dashboard": {"behind_proxy": True}}

    async def test_it_is_believed(self, broker: TestBroker) -> None:
        """Its own word only: what stands before was said to it."""
        told = {"x-forwarded-for": "127.0.0.1, 10.0.0.9", "x-forwarded-host": "mqtt.example", "host": "127.0.0.1:18083"}
        assert (await log_in(broker, headers={**told, "origin": "https://mqtt.example"})).status == 401
        told["x-forwarded-for"] = "10.0.0.9, ::1"
        assert (await log_in(broker, headers={**told, "origin": "https://other.example"})).status == 403
        answer = await log_in(broker, headers={**told, "origin": "https://mqtt.example", "x-forwarded-proto": "https"})
        assert answer.status == 200
        assert "; Secure" in answer.headers["set-cookie"]

    async def test_only_at_the_dashboard(self, broker: TestBroker) -> None:
        answer = await broker.api("GET", "/brokers", headers={"x-forwarded-for": "127.0.0.1"})
        assert answer.status == 401

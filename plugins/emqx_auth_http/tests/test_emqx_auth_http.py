"""emqx_auth_http against a real web server on 127.0.0.1: every answer, every failure, and what the server is asked."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import trio

from trioemqx.plugin import PluginError
from trioemqx.testing import Refused, TestBroker, WebRequest, WebServer, running, web_server

NAME = "emqx_auth_http"
Tree = dict[str, Any]


def settings(server: WebServer, **http: object) -> Tree:
    """A configuration with the plugin; without more it asks `/auth` alone."""
    tree: Tree = {"auth_req": {"url": f"{server.url}/auth"}, "acl_req": {"url": ""}, **http}
    return {"plugins": {"load": [NAME]}, "auth": {"http": tree}}


@asynccontextmanager
async def world(**http: object) -> AsyncIterator[tuple[TestBroker, WebServer]]:
    """A web server and a broker that asks it. In URLs, `~` stands for the server."""
    async with web_server() as server:
        tree = settings(server, **_filled(http, server.url))
        tree["allow_anonymous"] = "false"
        async with running(tree, listen=True) as broker:
            yield broker, server


def _filled(tree: Mapping[str, Any], url: str) -> Tree:
    return {
        key: _filled(value, url) if isinstance(value, dict) else value.replace("~", url) if key == "url" else value
        for key, value in tree.items()
    }


def asking(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


def by_path(answers: Mapping[str, tuple[int, bytes]]) -> Callable[[WebRequest], Awaitable[tuple[int, bytes]]]:
    """A reply for each path."""

    async def reply(request: WebRequest) -> tuple[int, bytes]:
        return answers[request.target.partition("?")[0]]

    return reply


def form(request: WebRequest) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))


# -- who may connect ---------------------------------------------------------------------------------------------------


async def test_200_admits_and_the_shipped_params_are_sent_as_a_form() -> None:
    async with world() as (broker, server):
        connack = (await broker.client("c 1", username="ü&=", password=b"p\xff+")).connack
        assert connack is not None
        assert connack.code == 0
        (request,) = server.requests
        assert (request.method, request.target) == ("POST", "/auth")
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert request.body == b"clientid=c+1&username=%C3%BC%26%3D&password=p%FF%2B"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"ignore", "NOT_AUTHORIZED"),  # nobody else knows the client, and anonymous ones are not let in
        (400, b"", "BAD_USERNAME_OR_PASSWORD"),
        (401, b"", "BAD_USERNAME_OR_PASSWORD"),
        (403, b"", "NOT_AUTHORIZED"),
        (429, b"", "BANNED"),
        (503, b"", "SERVER_UNAVAILABLE"),
        (504, b"", "SERVER_BUSY"),
        (500, b"", "SERVER_UNAVAILABLE"),
        (404, b"", "SERVER_UNAVAILABLE"),
        (201, b"", "SERVER_UNAVAILABLE"),
        (204, b"", "SERVER_UNAVAILABLE"),
        (401, b"ignore", "BAD_USERNAME_OR_PASSWORD"),
    ],
)
async def test_what_else_a_status_means(status: int, body: bytes, reason: str) -> None:
    async with world() as (broker, server):
        server.says(status, body)
        with pytest.raises(Refused, match=reason):
            await broker.client("c", username="u", password=b"p")
        assert len(server.requests) == 1, "an answer is never asked for again"


async def test_ignore_leaves_the_client_to_others() -> None:
    async with web_server() as server:
        server.says(200, b"ignore")
        async with running(settings(server), listen=True) as broker:  # anonymous ones are let in here
            await broker.client("c")
            assert len(server.requests) == 1


async def test_a_redirect_is_not_followed() -> None:
    async with world() as (broker, server):
        server.says(302, location=f"{server.url}/elsewhere")
        with pytest.raises(Refused, match="SERVER_UNAVAILABLE"):
            await broker.client("c")
        assert [request.target for request in server.requests] == ["/auth"]


async def test_absent_values_are_sent_empty() -> None:
    params = ",".join(f"{letter}=%{letter}" for letter in "ucaPrpCdAtm")
    async with world(auth_req={"url": "~/auth", "params": params}) as (broker, server):
        await broker.client("c")
        sent = form(server.requests[0])
        assert sent.pop("p") == str(broker.port)
        assert sent == {"c": "c", "a": "127.0.0.1", "r": "mqtt", **dict.fromkeys("uPCdAtm", "")}


async def test_placeholders_may_stand_within_a_text_and_other_percent_signs_stay() -> None:
    params = {"id": "%c@%a", "note": "100% %x %", "key": "fixed"}
    async with world(auth_req={"url": "~/auth", "params": params}) as (broker, server):
        await broker.client("%u", username="not again")
        sent = form(server.requests[0])
        assert sent["id"] == "%u@127.0.0.1", "what a client is called is no template"
        assert (sent["note"], sent["key"]) == ("100% %x %", "fixed")


async def test_get_puts_the_params_into_the_query() -> None:
    request = {"url": "~/auth?tenant=1", "method": "get", "params": "clientid=%c,password=%P"}
    async with world(auth_req=request) as (broker, server):
        await broker.client("a b&c", username="u", password=b"#?")
        (seen,) = server.requests
        assert (seen.method, seen.target) == ("GET", "/auth?tenant=1&clientid=a+b%26c&password=%23%3F")
        assert seen.body == b""
        assert "content-type" not in seen.headers


async def test_json_by_content_type() -> None:
    headers = {"content_type": "application/json; charset=utf-8", "X_Api_Key": "k"}
    async with world(auth_req={"url": "~/auth", "headers": headers}) as (broker, server):
        await broker.client('"c"', username="ü", password=b"p")
        (seen,) = server.requests
        assert json.loads(seen.body) == {"clientid": '"c"', "username": "ü", "password": "p"}
        assert seen.headers["content-type"] == "application/json; charset=utf-8"
        assert seen.headers["x-api-key"] == "k"
        with pytest.raises(Refused, match="BAD_USERNAME_OR_PASSWORD"):
            await broker.client("c", username="u", password=b"\xff")
        assert len(server.requests) == 1, "what JSON cannot say is no password that the server knows"


# -- superusers and mountpoints ----------------------------------------------------------------------------------------

SUPER = {"super_req": {"url": "~/super", "params": "who=%u"}, "acl_req": {"url": "~/acl"}}


@pytest.mark.parametrize(
    ("answer", "superuser"), [((200, b""), True), ((200, b"ignore"), True), ((403, b""), False), ((500, b""), False)]
)
async def test_super_req_is_asked_after_auth_req(answer: tuple[int, bytes], superuser: bool) -> None:
    async with world(**SUPER) as (broker, server):
        server.reply = by_path({"/auth": (200, b""), "/super": answer, "/acl": (403, b"")})
        client = await broker.client("c", username="me")
        assert [request.target for request in server.requests] == ["/auth", "/super"]
        assert form(server.requests[1]) == {"who": "me"}
        assert await client.subscribe("t") == [0 if superuser else 0x87], "access rules do not bind superusers"


async def test_super_req_is_not_asked_about_those_who_are_refused_or_left_to_others() -> None:
    async with world(**SUPER) as (broker, server):
        for answer in ((401, b""), (200, b"ignore")):
            server.reply = by_path({"/auth": answer})
            with pytest.raises(Refused):
                await broker.client("c")
        assert [request.target for request in server.requests] == ["/auth", "/auth"]


async def test_a_super_req_without_an_answer_makes_no_superuser() -> None:
    async with world(**SUPER) as (broker, server):

        async def reply(request: WebRequest) -> tuple[int, bytes] | bytes:
            return b"" if request.target == "/super" else (200, b"") if request.target == "/auth" else (403, b"")

        server.reply = reply
        client = await broker.client("c")
        assert await client.subscribe("t") == [0x87]


async def test_the_body_may_name_a_mountpoint() -> None:
    async with world() as (broker, server):
        watcher = await broker.client("w", subscribe="#")
        server.says(200, b'{"mountpoint": "tenant/%c/"}')
        client = await broker.client("c")
        await client.publish("t", b"x")
        assert await watcher.message() == ("tenant/c/t", b"x")
        assert broker.node.clients()[1].info.mountpoint == "tenant/c/"


@pytest.mark.parametrize("body", [b"{}", b"[1]", b"hello", b'{"mountpoint', b"[" * 5000, b"\xff", b'{"other": 1}'])
async def test_other_bodies_say_nothing_of_a_mountpoint(body: bytes) -> None:
    async with world() as (broker, server):
        server.says(200, body)
        await broker.client("c")
        assert broker.node.clients()[0].info.mountpoint == ""


@pytest.mark.parametrize("mountpoint", ["a/+/", "#", "a\0b", 5, None, ["a"]])
async def test_a_mountpoint_that_cannot_be_used_lets_nobody_in(mountpoint: object) -> None:
    async with world() as (broker, server):
        server.says(200, json.dumps({"mountpoint": mountpoint}).encode())
        with pytest.raises(Refused, match="SERVER_UNAVAILABLE"):
            await broker.client("c")


# -- who may do what ---------------------------------------------------------------------------------------------------

ACL = {"auth_req": {"url": ""}, "acl_req": {"url": "~/acl"}}


@asynccontextmanager
async def acl_world(**http: object) -> AsyncIterator[tuple[TestBroker, WebServer]]:
    """Everybody may connect, and `/acl` is asked."""
    async with web_server() as server:
        tree = settings(server, **_filled({**ACL, **http}, server.url))
        async with running(tree, listen=True) as broker:
            yield broker, server


async def test_acl_req_sends_the_shipped_params() -> None:
    async with acl_world() as (broker, server):
        client = await broker.client("c", username="u")
        assert await client.subscribe("a/+") == [0]
        assert await client.publish("b c", qos=1) in (0, 0x10)
        who = {"username": "u", "clientid": "c", "ipaddr": "127.0.0.1", "mountpoint": ""}
        assert [form(request) for request in server.requests] == [
            {"access": "1", "topic": "a/+", **who},
            {"access": "2", "topic": "b c", **who},
        ]


@pytest.mark.parametrize(
    ("nomatch", "status", "body", "code"),
    [
        ("deny", 200, b"", 0),
        ("deny", 200, b"whatever", 0),
        ("deny", 200, b"ignore", 0x87),
        ("allow", 200, b"ignore", 0),
        ("allow", 403, b"", 0x87),
        ("allow", 401, b"", 0x87),
        ("allow", 500, b"", 0x87),
        ("allow", 302, b"", 0x87),
        ("allow", 204, b"", 0x87),
        ("allow", 403, b"ignore", 0x87),
    ],
)
async def test_what_an_acl_answer_means(nomatch: str, status: int, body: bytes, code: int) -> None:
    async with web_server() as server:
        server.says(status, body)
        tree = settings(server, **_filled(ACL, server.url))
        async with running({**tree, "acl_nomatch": nomatch}, listen=True) as broker:
            client = await broker.client("c")
            assert await client.subscribe("t") == [code]
            assert await client.subscribe("t") == [code]
            assert len(server.requests) == 1, "the client's ACL cache knows"


async def test_without_acl_req_no_access_waits_for_anybody() -> None:
    async with world() as (broker, server):
        client = await broker.client("c")
        await client.subscribe("t")
        assert not broker.node.hooks.compiled.client_check_acl
        assert [request.target for request in server.requests] == ["/auth"]


async def test_usernames_with_a_dollar_sign_are_not_asked_about() -> None:
    async with acl_world() as (broker, server):
        server.says(403)
        client = await broker.client("c", username="$internal")
        assert await client.subscribe("t") == [0], "acl_nomatch is allow"
        assert server.requests == []


@pytest.mark.parametrize(("setting", "code"), [("deny", 0x87), ("ignore", 0)])
async def test_acl_on_error_decides_when_there_is_no_answer(setting: str, code: int) -> None:
    async with acl_world(acl_on_error=setting) as (broker, server):
        client = await broker.client("c")
        server.stop()
        assert await client.subscribe("t") == [code]


async def test_access_is_denied_without_an_answer_unless_set_otherwise() -> None:
    async with acl_world() as (broker, server):
        client = await broker.client("c")
        server.stop()
        assert await client.subscribe("t") == [0x87]


async def test_decisions_made_without_the_server_are_forgotten_when_it_is_back() -> None:
    async with acl_world() as (broker, server):
        client = await broker.client("c")
        server.stop()
        assert await client.subscribe("t") == [0x87]
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            assert await client.subscribe("other") == [0]
            assert await client.subscribe("t") == [0]
            server.stop()


# -- when the server does not answer as it should ----------------------------------------------------------------------


async def refused(broker: TestBroker) -> None:
    with pytest.raises(Refused, match="SERVER_UNAVAILABLE"):
        await broker.client("c", username="u", password=b"hidden")


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_malformed_and_huge_answers_refuse_and_are_not_asked_for_again(raw: bytes) -> None:
    async with world() as (broker, server):

        async def reply(request: WebRequest) -> bytes:
            return raw

        server.reply = reply
        await refused(broker)
        assert len(server.requests) == 1
        server.says(200)
        await broker.client("c")


async def test_a_request_whose_connection_fails_is_tried_twice_more() -> None:
    async with world() as (broker, server):

        async def third(request: WebRequest) -> tuple[int, bytes] | bytes:
            return b"" if len(server.requests) < 3 else (200, b"")

        server.reply = third
        await broker.client("c")
        assert len(server.requests) == 3
        server.requests.clear()

        async def never(request: WebRequest) -> bytes:
            return b""

        server.reply = never
        await refused(broker)
        # The first of four went over the connection that was kept, which a server may close at any time.
        assert len(server.requests) in (3, 4)


async def test_a_slow_server_is_given_up_in_time_and_holds_up_nobody_else() -> None:
    async with world(timeout="150ms") as (broker, server):
        other = await broker.client("other")

        async def slow(request: WebRequest) -> tuple[int, bytes]:
            await trio.sleep(5)
            return 200, b""

        server.reply = slow
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(refused, broker)
            await server.asked(4)
            asked = time.monotonic()
            await other.ping()
            assert time.monotonic() - asked < 0.1
        assert 0.15 <= time.monotonic() - began < 1.5
        assert len(server.requests) == 6, "who did not answer in time is not asked again"
        assert broker.node.broker.metrics.hook_crashed == 0


async def test_hook_timeout_bounds_everything_and_passing_it_is_no_crash() -> None:
    async with world(timeout="5s", hook_timeout="400ms") as (broker, server):

        async def slow(request: WebRequest) -> tuple[int, bytes]:
            await trio.sleep(5)
            return 200, b""

        server.reply = slow
        began = time.monotonic()
        await refused(broker)
        assert time.monotonic() - began < 1
        assert broker.node.broker.metrics.hook_crashed == 0


async def test_an_alarm_names_a_server_that_does_not_answer_and_goes_when_it_does() -> None:
    async with world(auth_req={"url": "~/auth?key=secret"}) as (broker, server):
        name = f"http_auth_unreachable/http://127.0.0.1:{server.port}/auth"
        server.stop()
        for _ in range(2):
            await refused(broker)
        assert name not in broker.alarms(), "once or twice is nothing"
        await refused(broker)
        details = broker.alarms()[name]
        assert details == {
            "plugin": NAME,
            "url": f"http://127.0.0.1:{server.port}/auth",
            "error": "connection refused",
        }
        assert broker.metrics[f"plugin.{NAME}.failed"] == 3
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            server.says(401)  # a refusal is an answer
            with pytest.raises(Refused, match="BAD_USERNAME"):
                await broker.client("c")
            assert name not in broker.alarms()
            server.stop()


async def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    request = {"url": "~/auth?key=secret1", "headers": {"authorization": "secret2"}, "params": "k=secret3,p=%P"}
    async with world(auth_req=request) as (broker, server):
        server.stop()
        await refused(broker)
        assert "/auth gave no answer: connection refused" in caplog.text
        shown = caplog.text + repr(asking(broker).config)
        assert "secret1" not in shown
        assert "secret2" not in shown
        assert "hidden" not in shown


# -- life --------------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_at_start_may_come_later(caplog: pytest.LogCaptureFixture) -> None:
    async with web_server() as server:
        tree = settings(server)
        server.stop()
        await trio.sleep(0.01)
        async with running(tree, listen=True) as broker:
            await refused(broker)
            assert "cannot be reached: connection refused; clients are refused until it can" in caplog.text
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                await broker.client("c")
                server.stop()


async def test_one_connection_serves_many_clients() -> None:
    async with world() as (broker, server):
        for number in range(5):
            await broker.client(f"c{number}")
        assert server.connections == 1


async def test_unloaded_it_asks_nobody_and_leaves_nothing() -> None:
    async with world() as (broker, server):
        server.stop()
        for _ in range(3):
            await refused(broker)
        assert any(name.startswith("http_auth_unreachable") for name in broker.alarms())
        before = asking(broker)
        await broker.node.plugins.unload(NAME)
        assert not any(name.startswith("http_auth_unreachable") for name in broker.alarms())
        assert not [name for name in broker.metrics if NAME in name]
        assert all(not server.client._idle for server in before.servers)
        with pytest.raises(Refused, match="NOT_AUTHORIZED"):
            await broker.client("c")


async def test_a_reload_takes_new_settings_and_one_that_fails_keeps_the_old() -> None:
    async with world() as (broker, server):
        await broker.client("c")
        http = broker.node.plugins.config.auth["http"]
        http["auth_req"] = {"url": f"{server.url}/new"}
        await broker.reload_plugin(NAME)
        await broker.client("c")
        http["auth_req"] = {"url": "nonsense"}
        with pytest.raises(PluginError, match="not a usable URL"):
            await broker.reload_plugin(NAME)
        await broker.client("c")
        assert [request.target for request in server.requests] == ["/auth", "/new", "/new"]


@pytest.mark.parametrize(
    ("http", "text"),
    [
        ({"auth_req": {"url": "htp://h"}}, r"emqx_auth_http\.auth_req\.url: not a usable URL"),
        ({"auth_req": {"url": "http://h", "method": "put"}}, r"auth_req\.method: expected post or get, got 'put'"),
        ({"auth_req": {"url": "http://h", "params": "a=%c,b"}}, r"auth_req\.params: .*number 2"),
        ({"auth_req": {"url": "http://h", "headers": {"content_type": "text/plain"}}}, r"headers\.content_type: expec"),
        ({"auth_req": {"url": "http://h", "headers": {"x": "a\r\nb"}}}, r"headers\.x: a header has printable ASCII"),
        ({"auth_req": {"url": "http://h", "headers": {"Host": "h"}}}, r"headers\.Host: this header cannot be set"),
        ({"auth_req": {"url": ""}}, r"emqx_auth_http\.auth_req: neither auth_req\.url nor acl_req\.url is set"),
        ({"pool_size": 0}, r"pool_size: expected 1 to 1024"),
        ({"timeout": 0}, r"timeout: expected more than 0 s"),
        ({"acl_on_error": "allow"}, r"acl_on_error: expected deny or ignore"),
        (
            {"auth_req": {"url": "https://h"}, "ssl": {"cacertfile": "/missing.pem"}},
            r"emqx_auth_http: auth\.http\.ssl\.cacertfile /missing\.pem: no such file or directory",
        ),
        ({"auth_req": {"url": "https://h"}, "ssl": {"keyfile": "/k"}}, r"ssl\.keyfile needs ssl\.certfile"),
        ({"retry": 3}, r"emqx_auth_http\.retry: unknown key"),
    ],
)
async def test_settings_that_cannot_be_used_keep_it_out_and_deny(http: Tree, text: str) -> None:
    async with web_server() as server:
        tree = settings(server)
        tree["auth"]["http"].update(http)
        async with running(tree, listen=True) as broker:
            assert f"plugin_not_loaded/{NAME}" in broker.alarms()
            with pytest.raises(PluginError, match=text) as caught:
                await broker.node.plugins.load(NAME)
            assert "\n" not in str(caught.value)
            with pytest.raises(Refused, match="NOT_AUTHORIZED"):  # although anonymous clients are let in
                await broker.client("c")


async def test_the_place_of_a_wrong_value_is_told(tmp_path: Path) -> None:
    file = tmp_path / f"{NAME}.toml"
    file.write_text('[auth.http]\ntimeout = "5s"\n[auth.http.auth_req]\nmethod = "get"\nurl = "nonsense"\n')
    async with running({"plugins": {"etc_dir": str(tmp_path)}}) as broker:
        with pytest.raises(PluginError, match=rf"^{file}:5: plugins\.emqx_auth_http\.auth_req\.url: not a usable"):
            await broker.node.plugins.load(NAME)


async def test_without_settings_of_the_operator_the_shipped_ones_hold() -> None:
    async with running({"plugins": {"load": [NAME]}}) as broker:
        config = asking(broker).config
        assert config.auth_req.url == "http://127.0.0.1:80/mqtt/auth"
        assert config.acl_req.url == "http://127.0.0.1:80/mqtt/acl"
        assert config.super_req.url == ""
        assert (config.timeout, config.connect_timeout, config.pool_size) == (5.0, 5.0, 32)
        assert list(config.acl_req.templates()) == ["access", "username", "clientid", "ipaddr", "topic", "mountpoint"]


async def test_connections_are_encrypted_as_the_settings_say() -> None:
    """A plain server does not understand TLS: the client is refused, and the plain text never goes out."""
    async with web_server() as server:
        tree = settings(server, auth_req={"url": server.url.replace("http:", "https:")})
        async with running(tree, listen=True) as broker:
            await refused(broker)
            assert server.requests == []

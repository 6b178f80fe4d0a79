"""What holds for every endpoint: who may ask, how requests are read, what answers look like."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import trio

from trioemqx.services.web import Call, get
from trioemqx.testing import TestBroker, running

UNAUTHORIZED = {"code": 103, "message": "UNAUTHORIZED"}


# -- who may ask -------------------------------------------------------------------------------------------------------


async def test_wrong_credentials(broker: TestBroker) -> None:
    for auth in ("admin:wrong", "nobody:public", "admin:public:x", "admin:Public"):
        answer = await broker.api("GET", "/brokers", auth=auth)
        assert (answer.status, answer.json()) == (401, UNAUTHORIZED)
        assert answer.headers["www-authenticate"] == 'Basic Realm="minirest-server"'


async def test_no_credentials(broker: TestBroker) -> None:
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "Basic"}, {"authorization": "Basic Og=="}):
        answer = await broker.api("GET", "/brokers", auth=None, headers=headers)
        assert (answer.status, answer.code) == (401, 104)
    answer = await broker.api("GET", "/brokers", auth=None, headers={"authorization": "Basic %%%%"})
    assert (answer.status, answer.code) == (401, 103)


async def test_the_scheme_is_not_case_sensitive(broker: TestBroker) -> None:
    answer = await broker.api("GET", "/brokers", auth=None, headers={"authorization": "bASIC YWRtaW46cHVibGlj"})
    assert answer.status == 200


async def test_credentials_come_before_everything_else(broker: TestBroker) -> None:
    """An unknown path, a broken body or a wrong method tell a stranger nothing."""
    assert (await broker.api("GET", "/nowhere", auth=None)).status == 401
    assert (await broker.api("POST", "/mqtt/publish", raw=b"{", auth="a:b")).status == 401
    assert (await broker.api("PATCH", "/brokers", auth="a:b")).status == 401
    assert (await broker.api("GET", "/brokers?%", auth="a:b")).status == 401


async def test_the_shipped_credentials_are_for_this_machine_only(broker: TestBroker) -> None:
    answer = await broker.api("GET", "/brokers", peer="192.0.2.1")
    assert answer.status == 401
    assert "security.allow_default_credentials" in answer.json()["reason"]
    for peer in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert (await broker.api("GET", "/brokers", peer=peer)).status == 200
    await broker.node.applications.add("mine", "Mine", "secret")
    assert (await broker.api("GET", "/brokers", peer="192.0.2.1", auth="mine:secret")).status == 200


async def test_the_shipped_credentials_can_be_let_in_from_everywhere() -> None:
    async with running({"security": {"allow_default_credentials": True}}) as broker:
        assert (await broker.api("GET", "/brokers", peer="192.0.2.1")).status == 200


async def test_guessing_ends_after_ten_guesses_a_minute(broker: TestBroker) -> None:
    for number in range(10):
        assert (await broker.api("GET", "/brokers", auth=f"admin:{number}")).status == 401
    answer = await broker.api("GET", "/brokers")
    assert answer.status == 429
    assert "try again in" in answer.json()["reason"]
    assert int(answer.headers["retry-after"]) <= 60
    assert (await broker.api("GET", "/brokers", peer="127.0.0.2")).status == 200
    await trio.sleep(61)
    assert (await broker.api("GET", "/brokers")).status == 200


async def test_one_wrong_secret_sent_again_and_again_is_one_guess(broker: TestBroker) -> None:
    for _ in range(30):
        assert (await broker.api("GET", "/brokers", auth="admin:typo")).status == 401
    assert (await broker.api("GET", "/brokers")).status == 200


async def test_an_application_that_is_changed_is_checked_again(broker: TestBroker) -> None:
    apps = broker.node.applications
    await apps.add("mine", "Mine", "secret", expired=int(broker.node.wall()) + 100)
    assert (await broker.api("GET", "/brokers", auth="mine:secret")).status == 200
    await trio.sleep(102)
    assert (await broker.api("GET", "/brokers", auth="mine:secret")).status == 401
    apps.update("mine", name="", desc="", status=True)
    assert (await broker.api("GET", "/brokers", auth="mine:secret")).status == 200
    apps.update("mine", name="", desc="", status=False)
    assert (await broker.api("GET", "/brokers", auth="mine:secret")).status == 401
    apps.update("mine", name="", desc="", status=True)
    apps.delete("mine")
    assert (await broker.api("GET", "/brokers", auth="mine:secret")).status == 401


async def test_dashboard_users_are_others(broker: TestBroker) -> None:
    await broker.node.applications.add("mine", "Mine", "secret")
    assert (await broker.api("GET", "/brokers", auth="admin:public", listener="dashboard")).status == 200
    began = trio.current_time()
    assert (await broker.api("GET", "/brokers", auth="mine:secret", listener="dashboard")).status == 401
    assert trio.current_time() - began >= 2


async def test_pages_of_other_sites_change_nothing(broker: TestBroker) -> None:
    """A browser that keeps credentials would send them along."""
    body = {"topic": "t", "payload": "", "clientid": "c"}
    answer = await broker.api("POST", "/mqtt/publish", body, headers={"sec-fetch-site": "cross-site"})
    assert (answer.status, answer.message) == (403, "requests of other sites are refused")
    assert broker.metrics["messages.publish"] == 0
    for site in ("same-origin", "none"):
        assert (await broker.api("POST", "/mqtt/publish", body, headers={"sec-fetch-site": site})).code == 0


# -- how requests are read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"{'a': 1}",
        b'{"a": 1} x',
        b"\x00",
    ],
)
async def test_bodies_that_are_no_json(broker: TestBroker, body: bytes) -> None:
    answer = await broker.api("POST", "/mqtt/publish", raw=body)
    assert (answer.status, answer.code, answer.message) == (400, 109, "Bad Request")


async def test_a_body_has_a_limit(broker: TestBroker) -> None:
    answer = await broker.api("POST", "/mqtt/publish", raw=b'"' + b"x" * 8 * 1024**2 + b'"')
    assert (answer.status, answer.code) == (400, 109)


@pytest.mark.parametrize("query", ["%", "a=%zz", "a=%ff", "%2"])
async def test_query_strings_that_cannot_be_read(broker: TestBroker, query: str) -> None:
    answer = await broker.api("GET", f"/clients?{query}")
    assert (answer.status, answer.json()) == (400, {"code": 108, "message": "Bad Request"})


async def test_the_content_type_does_not_matter(broker: TestBroker) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = {"topic": "t", "payload": "", "clientid": "c"}
    assert (await broker.api("POST", "/mqtt/publish", body, headers=headers)).code == 0


async def test_a_query_parameter_hides_a_member_of_the_body(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="#")
    body = {"topic": "body", "payload": "x", "clientid": "c"}
    await broker.api("POST", "/mqtt/publish?topic=query+%2B1&topic=second", body)
    assert (await broker.api("POST", "/mqtt/publish?topic=query&topic=second", body)).code == 0
    assert (await watcher.message())[0] == "query"


async def test_other_methods_and_paths(broker: TestBroker) -> None:
    for method, path in (("HEAD", "/brokers"), ("PATCH", "/brokers"), ("POST", "/brokers"), ("GET", "/x/y/z")):
        answer = await broker.api(method, path)
        assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})
    answer = await broker.api("POST", "")
    assert (answer.status, answer.code) == (400, 108)
    answer = await broker.api("GET", "//elsewhere")
    assert (answer.status, answer.body) == (404, b"")


async def test_slashes_more_or_less(broker: TestBroker) -> None:
    for path in ("/brokers/", "//api//v4///brokers", "/./brokers"):
        assert (await broker.api("GET", path)).status == (404 if "." in path else 200)


async def test_the_index(broker: TestBroker) -> None:
    """GET /"""
    found = (await broker.api("GET", "")).data
    assert {"list_clients": ("GET", "/clients/", "A list of clients on current node")}.items() <= {
        row["name"]: (row["method"], row["path"], row["descr"]) for row in found
    }.items()
    assert (await broker.api("GET", "/")).data == found
    assert not any(row["path"].startswith("/apps") for row in found)


@pytest.mark.parametrize("listener", ["management", "dashboard"])
async def test_the_index_has_the_order_of_emqx(broker: TestBroker, listener: str) -> None:
    """GET /"""
    wanted = [
        (row["method"], row["listed_path"], row["name"], row["descr"])
        for row in json.loads((Path(__file__).parent / "http-api-v4.endpoints.json").read_text("utf-8"))
        if row["listed_path"] and listener in row["listeners"]
    ]
    rows = (await broker.api("GET", "", listener=listener)).data
    found = [(row["method"], row["path"], row["name"], row["descr"]) for row in rows]
    assert [row for row in found if row in wanted] == wanted


async def test_answers_are_not_kept_by_browsers(broker: TestBroker) -> None:
    headers = (await broker.api("GET", "/brokers")).headers
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


# -- bugs --------------------------------------------------------------------------------------------------------------


async def test_a_bug_in_an_endpoint_is_answered_and_logged(
    broker: TestBroker, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(call: Call) -> object:
        raise KeyError("inside")

    broker.node.web_routes.add(get("/broken", broken))
    for _ in range(5):
        answer = await broker.api("GET", "/broken")
        assert (answer.status, answer.code, answer.message) == (500, 500, "Internal Error")
        assert b"inside" not in answer.body
        assert answer.json()["id"] in caplog.text
    assert "KeyError: 'inside'" in caplog.text
    assert "api_crashing" in broker.alarms()
    assert broker.metrics["api.request_crashed"] == 5
    assert (await broker.api("GET", "/brokers")).status == 200


async def test_a_request_that_takes_too_long_is_given_up(broker: TestBroker) -> None:
    async def hangs(call: Call) -> object:
        await trio.sleep_forever()

    broker.node.web_routes.add(get("/hangs", hangs))
    answer = await broker.api("GET", "/hangs")
    assert (answer.status, answer.json()) == (503, {"code": 101, "message": "timeout"})


async def test_changes_are_recorded(broker: TestBroker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioemqx.audit")
    await broker.api("DELETE", "/clients/c?secret=1")
    await broker.api("PUT", "/clients/c/keepalive", {"interval": 5})
    await broker.api("GET", "/clients")
    lines = [record.getMessage() for record in caplog.records if record.name == "trioemqx.audit"]
    assert lines == [
        "admin 127.0.0.1 DELETE /api/v4/clients/c: ok",
        "admin 127.0.0.1 PUT /api/v4/clients/c/keepalive: 112",
    ]


async def test_first_requests_that_come_at_once_are_all_answered(broker: TestBroker) -> None:
    """Each of them used to begin to make the API, and to refuse what another had not finished."""
    codes: list[int] = []

    async def ask() -> None:
        codes.append((await broker.api("GET", "/nodes")).code)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(ask)
    assert codes == [0] * 6

"""`/apps`: applications, on the dashboard's listener."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioemqx.testing import ApiAnswer, TestBroker, running


async def asked(broker: TestBroker, method: str, path: str, body: object = None) -> ApiAnswer:
    """A dashboard user's request."""
    return await broker.api(method, path, body, listener="dashboard")


async def test_applications_are_listed_without_secrets(broker: TestBroker) -> None:
    """GET /apps"""
    assert (await asked(broker, "GET", "/apps")).data == [
        {"app_id": "admin", "name": "Default", "desc": "Application user", "status": True, "expired": "undefined"}
    ]


async def test_a_new_application_gets_a_secret_and_comes_in(broker: TestBroker) -> None:
    """POST /apps"""
    answer = await asked(broker, "POST", "/apps", {"app_id": "tool-1", "name": "Tool"})
    secret = answer.data["secret"]
    assert len(secret) > 40
    assert (await broker.api("GET", "/brokers", auth=f"tool-1:{secret}")).status == 200
    assert (await broker.api("GET", "/brokers", auth=f"tool-1:{secret}x")).status == 401
    answer = await asked(broker, "POST", "/apps", {"app_id": "own", "name": "Own", "secret": "my own"})
    assert answer.data == {"secret": "my own"}
    assert (await broker.api("GET", "/brokers", auth="own:my own")).status == 200


async def test_the_configured_secret_is_the_default(broker: TestBroker) -> None:
    async with running({"management": {"application": {"default_secret": "shared"}}}) as other:
        assert (await asked(other, "POST", "/apps", {"app_id": "a", "secret": ""})).data == {"secret": "shared"}


async def test_a_wrong_line_of_the_bootstrap_file_costs_its_application_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "apps.txt"
    file.write_bytes(b"# for tools\n\none:first\nno colon\n  # indented\nb/d:hidden\nnone:\nx:\xff\n two:sec:ond \n")
    async with running({"management": {"bootstrap_apps_file": str(file)}}) as broker:
        assert (await broker.api("GET", "/brokers", auth="one:first")).status == 200
        assert (await broker.api("GET", "/brokers", auth="two:sec:ond")).status == 200
        assert len((await asked(broker, "GET", "/apps")).data) == 3
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert [f"{file}:{number}: " in line for number, line in zip((4, 6, 7, 8), errors, strict=True)] == [True] * 4
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"app_id": "admin", "name": "x"}, 113, "already_existed"),
        ({"app_id": "a b", "name": "x"}, 108, "required: ^[A-Za-z0-9]+[A-Za-z0-9-_]*$"),
        ({"app_id": "-a"}, 108, "required: ^[A-Za-z0-9]+[A-Za-z0-9-_]*$"),
        ({"app_id": "\0"}, 108, "required: ^[A-Za-z0-9]+[A-Za-z0-9-_]*$"),
        ({"app_id": ""}, 108, "0 < Length =< 256"),
        ({"app_id": "x" * 257}, 108, "0 < Length =< 256"),
        ({"name": "x"}, 107, "missing_required_params"),
        ([], 107, "missing_required_params"),
        ({"app_id": 5}, 108, "bad_params"),
        ({"app_id": None}, 108, "bad_params"),
        ({"app_id": "x", "secret": 5}, 108, "bad secret: must be string"),
        ({"app_id": "x", "name": ["x"]}, 108, "bad_params"),
        ({"app_id": "x", "status": "maybe"}, 108, "bad status: must be true or false"),
        ({"app_id": "x", "expired": "soon"}, 108, "bad_params"),
        ({"app_id": "x", "expired": -1}, 108, "bad_params"),
        ({"app_id": "x", "expired": 10**30}, 108, "bad_params"),
        ({"app_id": "x", "expired": 1.5}, 108, "bad_params"),
    ],
)
async def test_an_application_that_is_refused(broker: TestBroker, body: object, code: int, message: str) -> None:
    answer = await asked(broker, "POST", "/apps", body)
    assert (answer.status, answer.code, answer.message) == (200, code, message)
    assert len((await asked(broker, "GET", "/apps")).data) == 1


async def test_an_application_can_be_looked_up(broker: TestBroker) -> None:
    """GET /apps/{appid}"""
    body = {"app_id": "a", "name": "A", "desc": "for tests", "status": False, "expired": 4102444800, "secret": "s"}
    await asked(broker, "POST", "/apps", body)
    assert (await asked(broker, "GET", "/apps/a")).data == {**body, "secret": "******"}
    assert (await asked(broker, "GET", "/apps/b")).data == {}
    assert (await asked(broker, "GET", "/apps/%00%2F")).data == {}


async def test_an_application_is_overwritten_but_for_its_secret(broker: TestBroker) -> None:
    """PUT /apps/{appid}"""
    await asked(
        broker, "POST", "/apps", {"app_id": "a", "name": "A", "desc": "x", "expired": 4102444800, "secret": "s"}
    )
    assert (await broker.api("GET", "/brokers", auth="a:s")).status == 200
    assert (await asked(broker, "PUT", "/apps/a", {"name": "B", "status": False, "secret": "t"})).json() == {"code": 0}
    assert (await asked(broker, "GET", "/apps/a")).data == {
        "app_id": "a",
        "secret": "******",
        "name": "B",
        "desc": "undefined",
        "status": False,
        "expired": "undefined",
    }
    assert (await broker.api("GET", "/brokers", auth="a:s")).status == 401
    await asked(broker, "PUT", "/apps/a", {"status": "true"})
    assert (await broker.api("GET", "/brokers", auth="a:s")).status == 200
    await asked(broker, "PUT", "/apps/a", {"expired": 1})
    assert (await asked(broker, "GET", "/apps/a")).data["status"] is True
    assert (await broker.api("GET", "/brokers", auth="a:s")).status == 401


async def test_updates_that_are_refused(broker: TestBroker) -> None:
    answer = await asked(broker, "PUT", "/apps/none", {"name": "x"})
    assert (answer.code, answer.message) == (102, "not_found")
    assert (await asked(broker, "PUT", "/apps/admin", {"name": 5})).code == 108
    assert (await asked(broker, "PUT", "/apps/admin", {"status": "x"})).code == 108
    assert (await asked(broker, "GET", "/apps/admin")).data["name"] == "Default"


async def test_an_application_that_is_removed_is_out_at_once(broker: TestBroker) -> None:
    """DELETE /apps/{appid}"""
    await asked(broker, "POST", "/apps", {"app_id": "a", "secret": "s"})
    assert (await broker.api("GET", "/brokers", auth="a:s")).status == 200
    for _ in range(2):
        assert (await asked(broker, "DELETE", "/apps/a")).json() == {"code": 0}
    assert (await broker.api("GET", "/brokers", auth="a:s")).status == 401


@pytest.mark.parametrize(("method", "path"), [("GET", "/apps"), ("POST", "/apps"), ("DELETE", "/apps/admin")])
async def test_applications_cannot_make_applications(broker: TestBroker, method: str, path: str) -> None:
    answer = await broker.api(method, path, {"app_id": "x"})
    assert (answer.status, answer.message) == (404, "Not found.")

"""Roles of applications: what an administrator, a viewer and a publisher may ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import attrs
import pytest
import trio

from trioemqx.api.auth import DENIAL_WINDOW, DENIALS, Denials
from trioemqx.services.applications import TABLE, Applications
from trioemqx.services.roles import ADMINISTRATOR, PUBLISHER, ROLES, VIEWER
from trioemqx.services.store.protocol import key_for
from trioemqx.services.web import Call, Endpoint, get, post
from trioemqx.testing import ApiAnswer, TestBroker, running

PUBLISHING = {("POST", "/mqtt/publish"), ("POST", "/mqtt/publish_batch")}
NOT_FOR_VIEWERS = {
    "/audit",
    "/configs",
    "/data/file/{filename}",
    "/plugins/{plugin}/config",
    "/modules/{module}/config",
    "/plugins/{plugin}/log",
    "/modules/{module}/log",
    "/resources",
    "/resources/{id}",
    "/resource_types/{type}/resources",
    "/sasl",
    "/trace/{name}/download",
    "/trace/{name}/log",
}
"""What reads and may give secrets, files or logs away."""
PLUGINS = ["emqx_auth_mnesia", "emqx_prometheus", "emqx_retainer", "emqx_sasl", "emqx_telemetry"]
MODULES = ["emqx_mod_slow_subs", "emqx_mod_topic_metrics", "emqx_mod_trace", "emqx_mod_delayed"]


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": PLUGINS}, "modules": {"load": MODULES}}


async def asked(broker: TestBroker, method: str, path: str, body: object = None) -> ApiAnswer:
    """A dashboard user's request."""
    return await broker.api(method, path, body, listener="dashboard")


async def an_app(broker: TestBroker, role: str) -> str:
    """Credentials of a new application that is called like its role."""
    answer = await asked(broker, "POST", "/apps", {"app_id": role, "name": role, "secret": "s", "role": role})
    assert answer.data == {"secret": "s"}
    return f"{role}:s"


def endpoints(broker: TestBroker) -> Iterable[Endpoint]:
    """All that applications could ask for."""
    api = broker.node.api
    assert api is not None
    found = [*api.apps["management"].routes.endpoints, *broker.node.web_routes.endpoints]
    return [endpoint for endpoint in found if "management" in endpoint.listeners and not endpoint.anonymous]


def a_path(endpoint: Endpoint, broker: TestBroker) -> str:
    """One with something in its variable parts."""
    parts = [broker.node.node if part == "{node}" else part.strip("{}") for part in endpoint.parts]
    return "/" + "/".join(parts)


def forbidden(answer: ApiAnswer) -> bool:
    """Whether a role has kept somebody out."""
    assert answer.status != 401
    return answer.status == 403 and (answer.code, answer.message) == (403, "UNAUTHORIZED_ROLE")


async def test_a_viewer_only_reads_and_no_secrets_files_or_logs(broker: TestBroker) -> None:
    viewer = await an_app(broker, VIEWER)
    changing = set()
    for endpoint in endpoints(broker):
        answer = await broker.api(endpoint.method, a_path(endpoint, broker), auth=viewer)
        allowed = endpoint.method == "GET" and endpoint.path not in NOT_FOR_VIEWERS
        assert forbidden(answer) is not allowed, (endpoint, answer)
        changing.add(endpoint.method)
    assert changing == {"GET", "POST", "PUT", "DELETE"}
    assert {endpoint.path for endpoint in endpoints(broker)} >= NOT_FOR_VIEWERS


async def test_a_publisher_publishes_and_nothing_else(broker: TestBroker) -> None:
    publisher = await an_app(broker, PUBLISHER)
    refused = 0
    for endpoint in endpoints(broker):
        answer = await broker.api(endpoint.method, a_path(endpoint, broker), auth=publisher)
        assert forbidden(answer) is ((endpoint.method, endpoint.path) not in PUBLISHING), (endpoint, answer)
        refused += forbidden(answer)
    assert refused > 150
    client = await broker.client("c1")
    await client.subscribe("t")
    message = {"topic": "t", "payload": "p", "clientid": "x"}
    assert (await broker.api("POST", "/mqtt/publish", message, auth=publisher)).code == 0
    assert (await broker.api("POST", "/mqtt/publish_batch", [message], auth=publisher)).code == 0
    for _ in range(2):
        assert (await client.receive()).payload == b"p"


@pytest.mark.parametrize("path", ["/api/v4//banned/", "/api/v4/%62anned", "/api/v4/banned?role=administrator"])
async def test_no_spelling_of_a_path_gets_around_a_role(broker: TestBroker, path: str) -> None:
    viewer = await an_app(broker, VIEWER)
    body = {"who": "c1", "as": "clientid", "role": ADMINISTRATOR}
    answer = await broker.api("POST", path.removeprefix("/api/v4"), body, auth=viewer)
    assert answer.status in (403, 404)
    assert broker.node.banned.entries() == []


async def test_what_a_role_does_not_include_is_refused_before_its_body_is_read(broker: TestBroker) -> None:
    viewer = await an_app(broker, VIEWER)
    for query in ("", "?test=true"):  # trying a rule reads only, but makes the broker work
        answer = await broker.api("POST", f"/rules{query}", raw=b"{", auth=viewer)
        assert answer.status == 403
        assert answer.json() == {"code": 403, "message": "UNAUTHORIZED_ROLE", "reason": "not for the role viewer"}
    assert (await broker.api("POST", "/no/such/path", auth=viewer)).status == 404


async def test_a_refusal_is_counted_and_recorded(broker: TestBroker) -> None:
    viewer = await an_app(broker, VIEWER)
    await broker.api("DELETE", "/clients/c1?x=secret", auth=viewer)
    await broker.api("GET", "/audit", auth=viewer)
    assert broker.metrics["api.request_forbidden"] == 2
    rows = (await broker.api("GET", "/audit?who=viewer")).data
    assert [(row["method"], row["path"], row["result"]) for row in rows] == [
        ("GET", "/api/v4/audit", "403"),
        ("DELETE", "/api/v4/clients/c1", "403"),
    ]


async def test_refusals_do_not_push_everything_else_out_of_the_audit_log(broker: TestBroker) -> None:
    viewer = await an_app(broker, VIEWER)
    for _ in range(DENIALS + 5):
        await broker.api("DELETE", "/clients/c1", auth=viewer)
    assert broker.metrics["api.request_forbidden"] == DENIALS + 5
    assert len((await broker.api("GET", "/audit?who=viewer")).data) == DENIALS


def test_which_refusals_are_kept() -> None:
    now = 0.0
    denials = Denials(lambda: now)
    assert [denials.keep("a") for _ in range(DENIALS + 2)] == [True] * DENIALS + [False] * 2
    assert denials.keep("b")
    now = DENIAL_WINDOW
    assert denials.keep("a")


async def test_endpoints_of_plugins_are_for_administrators_and_viewers_who_read(broker: TestBroker) -> None:
    calls: list[str] = []

    def handle(call: Call) -> None:
        calls.append(call.user)

    for endpoint in (
        get("/x", handle),
        post("/x", handle),
        get("/y", handle, roles=()),
        post("/z", handle, roles=ROLES),
    ):
        broker.node.web_routes.add(endpoint)
    viewer, publisher = await an_app(broker, VIEWER), await an_app(broker, PUBLISHER)
    for method, path in (("GET", "/x"), ("POST", "/x"), ("GET", "/y"), ("POST", "/z")):
        for auth in ("admin:public", viewer, publisher):
            await broker.api(method, path, auth=auth)
    assert calls == ["admin", "viewer", "admin", "admin", "admin", "viewer", "publisher"]


def test_a_role_that_there_is_not_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="roles are administrator, viewer, publisher"):
        get("/x", print, roles=("viewers",))


async def test_a_role_is_shown_where_it_is_not_administrator(broker: TestBroker) -> None:
    for role in ROLES:
        await an_app(broker, role)
    assert [(row["app_id"], row.get("role")) for row in (await asked(broker, "GET", "/apps")).data] == [
        ("admin", None),
        ("administrator", None),
        ("publisher", "publisher"),
        ("viewer", "viewer"),
    ]
    assert (await asked(broker, "GET", "/apps/viewer")).data["role"] == "viewer"


async def test_a_role_is_changed_at_once_and_stays_where_it_is_not_sent(broker: TestBroker) -> None:
    viewer = await an_app(broker, VIEWER)
    await asked(broker, "PUT", "/apps/viewer", {"name": "as EMQX 4 does it"})
    assert forbidden(await broker.api("DELETE", "/clients/c1", auth=viewer))
    await asked(broker, "PUT", "/apps/viewer", {"name": "x", "role": PUBLISHER})
    assert forbidden(await broker.api("GET", "/clients", auth=viewer))
    await asked(broker, "PUT", "/apps/viewer", {"name": "x", "role": ADMINISTRATOR})
    assert (await broker.api("DELETE", "/clients/c1", auth=viewer)).json() == {"code": 0}


@pytest.mark.parametrize("role", ["root", "", "Viewer", ["viewer"], 1, {}])
async def test_roles_that_there_are_not(broker: TestBroker, role: object) -> None:
    message = "bad role: must be one of administrator, viewer, publisher"
    for method, path in (("POST", "/apps"), ("PUT", "/apps/admin")):
        answer = await asked(broker, method, path, {"app_id": "x", "name": "x", "role": role})
        assert (answer.code, answer.message) == (108, message)
    assert [app.role for app in broker.node.applications.entries()] == [ADMINISTRATOR]


async def test_lines_of_the_bootstrap_file_may_have_a_role(tmp_path: Path) -> None:
    file = tmp_path / "apps.txt"
    file.write_text("a:s\nb:s:viewer\nc:s:t:publisher\nd:s:t\ne:s:viewers\nf:viewer\ng::viewer\n")
    async with running({"management": {"bootstrap_apps_file": str(file)}}) as broker:
        apps = broker.node.applications
        assert (await broker.api("GET", "/brokers", auth="b:s")).status == 200
        assert {app.app_id: app.role for app in apps.entries() if app.app_id != "admin"} == {
            "a": ADMINISTRATOR,
            "b": VIEWER,
            "c": PUBLISHER,
            "d": ADMINISTRATOR,
            "e": ADMINISTRATOR,
            "f": ADMINISTRATOR,
        }
        for app_id, secret in (("b", "s"), ("c", "s:t"), ("d", "s:t"), ("e", "s:viewers"), ("f", "viewer")):
            assert await apps.verify(app_id, secret)
        apps.update("a", name="", desc="", role=VIEWER)
        await apps.start(broker.node.config.management, tmp_path)
        assert apps.role("a") == VIEWER


async def test_a_role_that_nobody_knows_may_ask_for_nothing(broker: TestBroker) -> None:
    auth = await an_app(broker, VIEWER)
    apps = broker.node.applications
    await apps.take(attrs.evolve(apps.entries()[-1], role="auditor"))  # as a store may have it
    for method, path in (("GET", "/brokers"), ("POST", "/mqtt/publish")):
        assert forbidden(await broker.api(method, path, auth=auth))
    assert (await asked(broker, "GET", "/apps/viewer")).data["role"] == "auditor"


async def test_roles_are_stored_and_those_of_an_older_version_are_administrators(broker: TestBroker) -> None:
    await an_app(broker, VIEWER)
    store = broker.node.store
    (old,) = [row for _, row in await store.items(TABLE) if row["app_id"] == "admin"]
    store.put(TABLE, key_for("old"), {name: old[name] for name in old if name != "role"} | {"app_id": "old"})
    store.put(TABLE, key_for("odd"), {**old, "app_id": "odd", "role": None})
    loaded = Applications(store, trio.current_time)
    await loaded.load()
    roles = {name: loaded.role(name) for name in ("admin", "viewer", "old", "odd", "nobody")}
    assert roles == {"admin": ADMINISTRATOR, "viewer": VIEWER, "old": ADMINISTRATOR, "odd": "None", "nobody": ""}


async def test_users_of_the_dashboard_are_administrators_whatever_their_remark(broker: TestBroker) -> None:
    await asked(broker, "POST", "/users", {"username": "jane", "password": "passw0rd", "tags": VIEWER})
    assert (await broker.api("DELETE", "/clients/c1", auth="jane:passw0rd", listener="dashboard")).code == 0


async def test_exports_have_roles(broker: TestBroker) -> None:
    await an_app(broker, VIEWER)
    file = (await broker.api("POST", "/data/export")).data["filename"]
    content = json.loads((await broker.api("GET", f"/data/file/{file}")).json()["file"])
    assert [row["role"] for row in content["apps"]] == [ADMINISTRATOR, VIEWER]
    async with running() as other:
        assert (await other.api("POST", "/data/import", content)).code == 0
        assert other.node.applications.role("viewer") == VIEWER
    # EMQX 4's have none: what is new is an administrator, what is here keeps what it has
    emqx = [{"id": name, "secret": "t", "name": "", "desc": "", "status": True} for name in ("viewer", "fresh")]
    assert (await broker.api("POST", "/data/import", {"version": "4.4", "apps": emqx})).code == 0
    assert broker.node.applications.role("viewer") == VIEWER
    assert broker.node.applications.role("fresh") == ADMINISTRATOR
    assert await broker.node.applications.verify("viewer", "t")
    for role in ("auditor", None, 5, ["viewer"]):
        answer = await broker.api("POST", "/data/import", {"version": "4.4", "apps": [{**emqx[0], "role": role}]})
        assert answer.json()["reason"] == "apps[0]: missing or not valid: role"


async def test_a_viewer_sees_rules_without_the_secrets_in_their_actions(broker: TestBroker) -> None:
    """GET /rules, GET /rules/{id}"""
    await broker.api("POST", "/resources", {"type": "web_hook", "id": "hook", "config": {"url": "http://127.0.0.1:9/"}})
    params = {"$resource": "hook", "headers": {"x-own": "hunter2", "accept": "*/*"}}
    rule = {"id": "r", "rawsql": 'SELECT * FROM "t"', "actions": [{"name": "data_to_webserver", "params": params}]}
    assert (await broker.api("POST", "/rules", rule)).code == 0
    viewer = await an_app(broker, "viewer")
    for path in ("/rules", "/rules?_page=1", "/rules?enable_paging=false", "/rules/r"):
        body = (await broker.api("GET", path, auth=viewer)).body
        assert b"hunter2" not in body, path
        assert b"******" in body
        assert b"*/*" in body
        assert b"hunter2" in (await broker.api("GET", path)).body
        assert b"hunter2" in (await broker.api("GET", path, listener="dashboard")).body

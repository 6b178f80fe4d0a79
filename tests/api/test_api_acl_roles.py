"""`/acl_roles` and `/acl_groups`, which the plugin emqx_auth_mnesia serves: ours, not EMQX's."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import trio

from trioemqx.testing import ApiAnswer, Client, TestBroker

NAME = "emqx_auth_mnesia"
DENY = {"topic": "t", "action": "pub", "access": "deny"}
ALLOW = {**DENY, "access": "allow"}
STRANGE = "a/b %+#?&ü<b>"
LIMITS = {"max_acl_roles": 300, "max_acl_groups": 20, "max_acl_members": 3000}


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": [NAME]}, "auth": {"mnesia": LIMITS}}


def of(path: str, *names: str) -> str:
    """A path with names in place of `{}`."""
    return path.format(*(quote(name, safe="") for name in names))


async def done(broker: TestBroker, method: str, path: str, body: object = None) -> object:
    """What is answered to something that goes well."""
    answer = await broker.api(method, path, body)
    assert answer.code == 0, answer
    return answer.json().get("data")


async def refused(broker: TestBroker, method: str, path: str, body: object = None) -> tuple[object, str]:
    """Code and message of something that does not."""
    answer = await broker.api(method, path, body)
    return answer.code, answer.message


async def names(broker: TestBroker, path: str) -> list[str]:
    return [row["name"] for row in (await broker.api("GET", path)).data]


async def may(client: Client, topic: str = "t") -> bool:
    return await client.publish(topic, qos=1) != 0x87


def meta(answer: ApiAnswer) -> dict[str, object]:
    found: dict[str, object] = answer.json()["meta"]
    return found


async def test_list_of_roles(broker: TestBroker) -> None:
    """GET /acl_roles"""
    assert (await broker.api("GET", "/acl_roles")).json() == {
        "code": 0,
        "data": [],
        "meta": {"page": 1, "limit": 100, "count": 0, "hasnext": False},
    }
    results = await done(broker, "POST", "/acl_roles", [{"name": f"r{n:03}", "rules": [DENY]} for n in range(250)])
    assert results == {f"r{n:03}": "ok" for n in range(250)}
    await done(broker, "POST", "/acl_groups", {"name": "g", "roles": ["r007"]})
    await done(broker, "POST", "/acl_roles/r007/members", [{"clientid": "a"}, {"username": "a"}])
    (row,) = (await broker.api("GET", "/acl_roles?name=r007")).data
    created = row.pop("created_at")
    assert row == {"name": "r007", "description": "", "rules": 1, "groups": 1, "members": 2}
    assert created == pytest.approx(broker.node.wall() * 1000, abs=60_000)
    answer = await broker.api("GET", "/acl_roles?_page=2&_limit=100")
    assert [row["name"] for row in answer.data] == [f"r{n}" for n in range(100, 200)]
    assert meta(answer) == {"page": 2, "limit": 100, "count": 250, "hasnext": True}
    answer = await broker.api("GET", "/acl_roles?_like_name=r24&_limit=3")
    assert [row["name"] for row in answer.data] == ["r240", "r241", "r242"]
    assert meta(answer)["hasnext"] is True
    assert meta(await broker.api("GET", "/acl_roles?_limit=100000"))["limit"] == 1000
    assert await names(broker, "/acl_roles?name=R007") == await names(broker, "/acl_roles?_page=99") == []
    for query in ("_limit=-1", "_page=x"):
        assert (await broker.api("GET", f"/acl_roles?{query}")).code == 108


async def test_a_role_from_beginning_to_end(broker: TestBroker) -> None:
    """POST /acl_roles, GET /acl_roles/{role}, PUT /acl_roles/{role}, DELETE /acl_roles/{role}"""
    path = of("/acl_roles/{}", STRANGE)
    assert await done(broker, "GET", path) == {}
    body = {"name": STRANGE, "description": "for <b>tests</b>", "rules": [DENY, ALLOW]}
    assert (await broker.api("POST", "/acl_roles", body)).json() == {"code": 0}
    assert await refused(broker, "POST", "/acl_roles", body) == (113, "there is one of this name already")
    found = await done(broker, "GET", path)
    assert isinstance(found, dict)
    created = found.pop("created_at")
    assert found == {**body, "groups": 0, "members": 0}
    assert await done(broker, "PUT", path, {"rules": [ALLOW]}) is None
    assert await done(broker, "PUT", path, {"description": "d"}) is None
    assert await done(broker, "GET", path) == {
        "name": STRANGE, "description": "d", "rules": [ALLOW], "groups": 0, "members": 0, "created_at": created,
    }  # fmt: skip
    assert await refused(broker, "PUT", "/acl_roles/gone", {"rules": []}) == (105, "there is no such role")
    assert await refused(broker, "PUT", path) == await refused(broker, "PUT", path, []) == (108, "bad_params")
    await done(broker, "POST", "/acl_groups", {"name": "g1", "roles": [STRANGE]})
    assert await refused(broker, "DELETE", path) == (108, "groups have this role: g1")
    await done(broker, "PUT", "/acl_groups/g1", {"roles": []})
    assert (await broker.api("DELETE", path)).json() == (await broker.api("DELETE", path)).json() == {"code": 0}
    assert await names(broker, "/acl_roles") == []


@pytest.mark.parametrize("value", ["", None, 5, ["a"], "x" * 129, "a\nb", ".", ".."])
@pytest.mark.parametrize("path", ["/acl_roles", "/acl_groups"])
async def test_names_that_cannot_be(broker: TestBroker, path: str, value: object) -> None:
    code, message = await refused(broker, "POST", path, {"name": value})
    assert (code, message) == (108, "a name has 1 to 128 printable characters, and is neither . nor ..")
    assert await names(broker, path) == []


@pytest.mark.parametrize("path", ["/acl_roles", "/acl_groups", "/acl_groups/g/members"])
@pytest.mark.parametrize("body", [None, {}, [], [5], [None], [[]]])
async def test_nothing_is_asked_for(broker: TestBroker, path: str, body: object) -> None:
    await done(broker, "POST", "/acl_groups", {"name": "g"})
    assert await refused(broker, "POST", path, body) == (108, "bad_params")


async def test_of_many_each_has_its_result(broker: TestBroker) -> None:
    """POST /acl_roles, POST /acl_groups"""
    batch = [{"name": "a"}, {"name": "a"}, {"name": ""}, {}, {"name": "b", "rules": [{**DENY, "topic": "#/x"}]}]
    assert await done(broker, "POST", "/acl_roles", batch) == {
        "a": "{error,there is one of this name already}",
        "": "{error,a name has 1 to 128 printable characters, and is neither . nor ..}",
        "undefined": "{error,a name has 1 to 128 printable characters, and is neither . nor ..}",
        "b": "{error,rule 1: not a topic filter}",
    }
    groups = [{"name": f"g{n}", "roles": ["a"]} for n in range(21)] + [{"name": "h", "roles": ["b"]}]
    results = await done(broker, "POST", "/acl_groups", groups)
    assert isinstance(results, dict)
    assert results["g19"] == "ok"
    assert results["g20"] == "{error,full, auth.mnesia.max_acl_groups is 20}"
    assert results["h"] == "{error,there is no role b}"
    assert await refused(broker, "POST", "/acl_groups", {"name": "z"}) == (
        102,
        "full, auth.mnesia.max_acl_groups is 20",
    )
    message = "groups have this role: g0, g1, g2, ..."
    assert await refused(broker, "DELETE", "/acl_roles/a") == (108, message)


async def test_a_group_from_beginning_to_end(broker: TestBroker) -> None:
    """POST /acl_groups, GET /acl_groups, GET /acl_groups/{group}, PUT /acl_groups/{group},
    DELETE /acl_groups/{group}"""
    await done(broker, "POST", "/acl_roles", [{"name": "no", "rules": [DENY]}, {"name": "yes", "rules": [ALLOW]}])
    path = of("/acl_groups/{}", STRANGE)
    client = await broker.client("c1", username="u1")
    assert await may(client)
    body = {"name": STRANGE, "description": "d", "priority": -3, "roles": ["no", "yes"]}
    assert (await broker.api("POST", "/acl_groups", body)).json() == {"code": 0}
    assert await refused(broker, "POST", "/acl_groups", body) == (113, "there is one of this name already")
    assert await may(client)
    await done(broker, "POST", f"{path}/members", {"username": "u1"})
    assert not await may(client)
    await done(broker, "PUT", path, {"roles": ["yes", "no"], "priority": 4})
    assert await may(client)
    (row,) = (await broker.api("GET", "/acl_groups?_like_name=%2F")).data
    assert row == await done(broker, "GET", path)
    created = row.pop("created_at")
    assert created == pytest.approx(broker.node.wall() * 1000, abs=5000)
    assert row == {"name": STRANGE, "description": "d", "priority": 4, "roles": ["yes", "no"], "members": 1}
    assert await refused(broker, "PUT", path, {"roles": ["maybe"]}) == (108, "there is no role maybe")
    assert await refused(broker, "PUT", "/acl_groups/x", {"roles": []}) == (105, "there is no such group")
    assert (await refused(broker, "PUT", path, {"priority": "high"}))[0] == 108
    await done(broker, "PUT", f"{path}?priority=-7&description=q")
    await done(broker, "PUT", path, {"roles": ["no"]})
    assert not await may(client)
    assert (await broker.api("GET", path)).data["priority"] == -7
    assert (await broker.api("DELETE", path)).json() == (await broker.api("DELETE", path)).json() == {"code": 0}
    assert await may(client)
    assert await done(broker, "GET", path) == {}


async def test_members_are_a_list_of_their_own(broker: TestBroker) -> None:
    """GET /acl_groups/{group}/members, POST /acl_groups/{group}/members, DELETE /acl_groups/{group}/members"""
    for method in ("GET", "POST", "DELETE"):
        found = await refused(broker, method, "/acl_groups/g/members", {"clientid": "x"} if method == "POST" else None)
        assert found == (105, "there is no such group")
    await done(broker, "POST", "/acl_groups", {"name": "g"})
    many = [{"clientid": f"c{n:04}"} for n in range(2500)]
    results = await done(broker, "POST", "/acl_groups/g/members", many)
    assert results == [{**one, "result": "ok"} for one in many]
    answer = await broker.api("GET", "/acl_groups/g/members")
    assert answer.data == many[:100]
    assert meta(answer) == {"page": 1, "limit": 100, "count": 2500, "hasnext": True}
    answer = await broker.api("GET", "/acl_groups/g/members?_limit=999999")
    assert len(answer.data) == meta(answer)["limit"] == 1000
    assert (await broker.api("GET", "/acl_groups/g")).data["members"] == 2500
    for query, expected in (
        ("clientid=c0007", many[7:8]),
        ("username=c0007", []),
        ("_like_clientid=24", [one for one in many if "24" in one["clientid"]]),
        ("_like_username=c", []),
        ("_like_name=c0", many[:1000]),
    ):
        assert (await broker.api("GET", f"/acl_groups/g/members?{query}&_limit=1000")).data == expected, query
    mixed = [
        {"username": "u"},
        {},
        {"clientid": ""},
        {"clientid": "a", "username": "b"},
        {"clientid": 5},
        {"username": "u"},
    ]
    wrong = "{error,a member is a clientid or a username, a text that is not empty}"
    assert await done(broker, "POST", "/acl_groups/g/members", mixed) == [
        {"username": "u", "result": "ok"},
        {"result": wrong},
        {"clientid": "", "result": wrong},
        {"clientid": "a", "username": "b", "result": wrong},
        {"result": wrong},
        {"username": "u", "result": "ok"},
    ]
    assert (await broker.api("GET", "/acl_groups/g")).data["members"] == 2501
    assert (await broker.api("GET", "/acl_groups/g/members?_like_name=u")).data == [{"username": "u"}]
    assert (await refused(broker, "POST", "/acl_groups/g/members", {"clientid": ""}))[0] == 108
    rest = [{"clientid": f"d{n}"} for n in range(500)]
    results = await done(broker, "POST", "/acl_groups/g/members", rest)
    assert isinstance(results, list)
    assert results[498] == {"clientid": "d498", "result": "ok"}
    assert results[499] == {"clientid": "d499", "result": "{error,full, auth.mnesia.max_acl_members is 3000}"}
    full = (102, "full, auth.mnesia.max_acl_members is 3000")
    assert await refused(broker, "POST", "/acl_groups/g/members", {"clientid": "x"}) == full


@pytest.mark.parametrize("name", [STRANGE, ".", "..", "%2F", "\0", "$all", '"'])
async def test_members_of_any_name_come_and_go(broker: TestBroker, name: str) -> None:
    """DELETE /acl_groups/{group}/members"""
    await done(broker, "POST", "/acl_groups", {"name": "g"})
    for kind in ("clientid", "username"):
        await done(broker, "POST", "/acl_groups/g/members", {kind: name})
        assert (await broker.api("GET", "/acl_groups/g/members")).data == [{kind: name}]
        assert await done(broker, "DELETE", f"/acl_groups/g/members?{kind}={quote(name, safe='')}") is None
        await done(broker, "POST", "/acl_groups/g/members", [{kind: name}])
        body = [{kind: name}, {kind: "nobody"}]
        assert await done(broker, "DELETE", "/acl_groups/g/members", body) == [{**one, "result": "ok"} for one in body]
        assert (await broker.api("GET", "/acl_groups/g/members")).data == []
    assert await refused(broker, "DELETE", "/acl_groups/g/members") == (108, "bad_params")


async def test_roles_are_held_without_a_group(broker: TestBroker) -> None:
    """GET /acl_roles/{role}/members, POST /acl_roles/{role}/members, DELETE /acl_roles/{role}/members"""
    client = await broker.client("c1", username="u1")
    await done(broker, "POST", "/acl_roles", {"name": "no", "rules": [DENY]})
    assert await may(client)
    await done(broker, "POST", "/acl_roles/no/members", {"clientid": "c1"})
    assert not await may(client)
    assert (await broker.api("GET", "/acl_roles/no/members")).data == [{"clientid": "c1"}]
    message = "clients or users hold this role: 1"
    assert await refused(broker, "DELETE", "/acl_roles/no") == (108, message)
    await done(broker, "DELETE", "/acl_roles/no/members?clientid=c1")
    assert await may(client)
    for method in ("GET", "POST", "DELETE"):
        found = await refused(broker, method, "/acl_roles/x/members", {"clientid": "x"} if method == "POST" else None)
        assert found == (105, "there is no such role")


async def test_what_a_client_has(broker: TestBroker) -> None:
    """GET /acl_member, GET /acl_groups, GET /acl_roles"""
    await done(broker, "POST", "/acl_roles", [{"name": "a"}, {"name": "b"}])
    await done(
        broker, "POST", "/acl_groups", [{"name": "x", "roles": ["b"]}, {"name": "y", "priority": 1, "roles": ["a"]}]
    )
    await done(broker, "POST", "/acl_groups/x/members", {"clientid": STRANGE})
    await done(broker, "POST", "/acl_groups/y/members", {"username": "u"})
    await done(broker, "POST", "/acl_roles/b/members", {"clientid": "c"})
    who = quote(STRANGE, safe="")
    assert await done(broker, "GET", f"/acl_member?clientid={who}&username=u") == {
        "groups": ["y", "x"],
        "roles": ["a", "b"],
    }
    assert await done(broker, "GET", f"/acl_member?clientid={who}") == {"groups": ["x"], "roles": ["b"]}
    assert await done(broker, "GET", "/acl_member?username=nobody") == {"groups": [], "roles": []}
    assert await refused(broker, "GET", "/acl_member") == (108, "bad_params")
    assert await names(broker, f"/acl_groups?member={who}") == ["x"]
    assert await names(broker, "/acl_groups?member=u") == ["y"]
    assert await names(broker, "/acl_groups?member=u&_like_name=x") == await names(broker, "/acl_groups?member=") == []
    assert await names(broker, "/acl_roles?member=c") == ["b"]


async def test_a_viewer_reads_and_changes_nothing(broker: TestBroker) -> None:
    body = {"app_id": "v", "name": "v", "secret": "s", "role": "viewer"}
    await broker.api("POST", "/apps", body, listener="dashboard")
    await done(broker, "POST", "/acl_groups", {"name": "g"})
    await done(broker, "POST", "/acl_groups/g/members", {"clientid": "c1"})
    for path in ("/acl_roles", "/acl_groups", "/acl_groups/g", "/acl_groups/g/members"):
        assert (await broker.api("GET", path, auth="v:s")).code == 0
    for method, path in (("POST", "/acl_roles"), ("PUT", "/acl_groups/g"), ("DELETE", "/acl_groups/g")):
        assert (await broker.api(method, path, {"name": "x"}, auth="v:s")).status == 403
    assert (await broker.api("DELETE", "/acl_groups/g/members?clientid=c1", auth="v:s")).status == 403
    assert (await broker.api("GET", "/acl_groups/g")).data["members"] == 1


async def test_changes_are_in_the_audit_log_without_what_was_sent(broker: TestBroker) -> None:
    await done(broker, "POST", "/acl_groups", {"name": "g"})
    await done(broker, "POST", "/acl_groups/g/members", {"clientid": "somebody"})
    await refused(broker, "DELETE", "/acl_roles/none/members")
    deeds = [(deed.method, deed.path, deed.result) for deed in broker.node.audit.deeds()[:3]]
    assert deeds == [
        ("DELETE", "/api/v4/acl_roles/none/members", "105"),
        ("POST", "/api/v4/acl_groups/g/members", "ok"),
        ("POST", "/api/v4/acl_groups", "ok"),
    ]


async def test_an_export_brings_roles_groups_and_members_back(broker: TestBroker) -> None:
    """POST /data/export, POST /data/import"""
    await done(broker, "POST", "/acl_roles", {"name": "no", "description": "ü", "rules": [DENY]})
    await done(broker, "POST", "/acl_groups", {"name": "g", "priority": 2, "roles": ["no"]})
    await done(broker, "POST", "/acl_groups/g/members", [{"clientid": f"c{n}"} for n in range(300)])
    await done(broker, "POST", "/acl_roles/no/members", {"username": "u"})
    file = (await broker.api("POST", "/data/export")).data["filename"]
    before = [(await broker.api("GET", path)).data for path in ("/acl_roles/no", "/acl_groups/g")]
    await done(broker, "DELETE", "/acl_groups/g")
    await done(broker, "DELETE", "/acl_roles/no/members?username=u")
    await done(broker, "DELETE", "/acl_roles/no")
    client = await broker.client("c299")
    assert await may(client)
    assert (await broker.api("POST", "/data/import", {"filename": file})).code == 0
    assert not await may(client)
    assert [(await broker.api("GET", path)).data for path in ("/acl_roles/no", "/acl_groups/g")] == before
    wrong = {"version": "4.4", "acl_groups": [{"name": "h", "roles": ["gone"]}]}
    answer = await broker.api("POST", "/data/import", wrong)
    assert "there is no role gone" in answer.body.decode()
    assert await names(broker, "/acl_groups") == ["g"]


async def test_without_the_plugin_there_is_no_such_path(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    for path in ("/acl_roles", "/acl_groups", "/acl_groups/g/members"):
        assert (await broker.api("GET", path)).status == 404


async def test_a_large_group_holds_nobody_up(broker: TestBroker) -> None:
    """While two thousand members go, other requests are answered."""
    await done(broker, "POST", "/acl_groups", {"name": "g"})
    await done(broker, "POST", "/acl_groups/g/members", [{"clientid": f"c{n}"} for n in range(2900)])
    answered = 0
    async with trio.open_nursery() as nursery:
        finished = trio.Event()

        async def remove() -> None:
            await done(broker, "DELETE", "/acl_groups/g")
            finished.set()

        nursery.start_soon(remove)
        while not finished.is_set():
            answered += (await broker.api("GET", "/acl_groups")).code == 0
    assert answered > 1

"""Modules by HTTP."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trioemqx.testing import TestBroker

SHIPPED = {
    "emqx_mod_acl_internal": "EMQX Internal ACL Module",
    "emqx_mod_delayed": "EMQX Delayed Publish Module",
    "emqx_mod_presence": "EMQX Presence Module",
    "emqx_mod_rewrite": "EMQX Topic Rewrite Module",
    "emqx_mod_slow_subs": "EMQX Slow Subscribers Statistics Module",
    "emqx_mod_subscription": "EMQX Subscription Module",
    "emqx_mod_topic_metrics": "EMQX Topic Metrics Module",
    "emqx_mod_trace": "EMQX Trace Module",
}
ALREADY = {"code": 110, "message": "already_started"}
STOPPED = {"code": 111, "message": "not_started"}
OK = {"code": 0}
OPEN = '[[acl]]\npermission = "allow"\nwho = "all"\n'
NO_T = '[[acl]]\npermission = "deny"\nwho = "all"\naction = "publish"\ntopics = ["t"]\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "acl.toml").write_text(OPEN)
        yield Path(name)


@pytest.fixture
def broker_config(folder: Path) -> dict[str, object]:
    return {
        "acl_file": str(folder / "acl.toml"),
        "enable_acl_cache": False,
        "modules": {"loaded_file": str(folder / "loaded_modules")},
        "zone": {"default": {"enable_acl": True}},
    }


async def test_list(broker: TestBroker) -> None:
    """GET /modules and GET /nodes/{node}/modules"""
    (entry,) = (await broker.api("GET", "/modules")).data
    assert entry["node"] == broker.node.node
    rows = entry["modules"]
    assert {row["name"]: row["description"] for row in rows} == SHIPPED
    assert [row["name"] for row in rows if row["active"]] == ["emqx_mod_acl_internal", "emqx_mod_presence"]
    assert set(rows[0]) == {"name", "description", "active"}
    assert (await broker.api("GET", f"/nodes/{broker.node.node}/modules")).data == rows


@pytest.mark.parametrize("above", ["", "/nodes/{node}"])
async def test_load_and_unload(broker: TestBroker, folder: Path, above: str) -> None:
    """PUT /modules/{module}/load, PUT /nodes/{node}/modules/{module}/load, PUT /modules/{module}/unload and
    PUT /nodes/{node}/modules/{module}/unload"""
    path = f"{above}/modules/emqx_mod_delayed".format(node=broker.node.node)
    client = await broker.client("c", subscribe="t")
    assert (await broker.api("PUT", f"{path}/load")).json() == OK
    await client.publish("$delayed/5/t", b"later")
    assert await client.nothing()
    assert await client.message() == ("t", b"later")
    assert (await broker.api("PUT", f"{path}/load")).json() == ALREADY
    assert "emqx_mod_delayed" in (folder / "loaded_modules").read_text()
    assert (await broker.api("PUT", f"{path}/unload")).json() == OK
    assert (await broker.api("PUT", f"{path}/unload")).json() == STOPPED
    assert "emqx_mod_delayed" not in broker.node.plugins.live


@pytest.mark.parametrize("above", ["", "/nodes/{node}"])
async def test_reload_reads_the_access_rules_again(broker: TestBroker, folder: Path, above: str) -> None:
    """PUT /modules/{module}/reload and PUT /nodes/{node}/modules/{module}/reload"""
    path = f"{above}/modules/emqx_mod_acl_internal/reload".format(node=broker.node.node)
    client = await broker.client("c", subscribe="t")
    await client.publish("t", b"one")
    assert await client.message() == ("t", b"one")
    (folder / "acl.toml").write_text(NO_T + OPEN)
    assert (await broker.api("PUT", path)).json() == OK
    await client.publish("t", b"two")
    assert await client.nothing()
    (folder / "acl.toml").write_text("never mind")
    answer = await broker.api("PUT", path)
    assert answer.code == 102
    assert "acl.toml" in str(answer.message)
    await client.publish("t", b"three")
    assert await client.nothing(), "the rules that were in force stay"


async def test_a_reload_does_nothing_to_other_modules(broker: TestBroker) -> None:
    before = broker.node.plugins.plugin("emqx_mod_presence")
    assert (await broker.api("PUT", "/modules/emqx_mod_presence/reload")).json() == OK
    assert broker.node.plugins.plugin("emqx_mod_presence") is before
    assert (await broker.api("PUT", "/modules/emqx_mod_delayed/reload")).json() == OK
    assert "emqx_mod_delayed" not in broker.node.plugins.live


async def test_names(broker: TestBroker) -> None:
    for name in ("nothing", "emqx_retainer", "_acl_file", "emqx%5Fmod_delayed", "%00", "..", "x" * 3000):
        for verb in ("load", "unload", "reload"):
            for above in ("", f"/nodes/{broker.node.node}"):
                answer = await broker.api("PUT", f"{above}/modules/{name}/{verb}")
                assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})
    assert (await broker.api("PUT", "/nodes/x@y/modules/emqx_mod_delayed/load")).status == 404
    assert (await broker.api("GET", "/nodes/x@y/modules")).status == 404


async def test_a_module_that_does_not_start_says_why(broker: TestBroker, folder: Path) -> None:
    await broker.api("PUT", "/modules/emqx_mod_acl_internal/unload")
    (folder / "acl.toml").unlink()
    answer = await broker.api("PUT", "/modules/emqx_mod_acl_internal/load")
    assert (answer.status, answer.code) == (200, 102)
    assert "acl.toml" in str(answer.message)

"""`acl cache-clean`, `pem_cache`, `banned` and `alarms` of `trioemqx ctl`; hints at misspelt names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from ctl_helpers import ctl, data, execute

from trioemqx.services.certificates import ensure_self_signed
from trioemqx.testing import Refused, TestBroker, running

NODE = "emqx@127.0.0.1"


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"zone": {"default": {"enable_acl": True, "enable_ban": True}}}


# -- caches ------------------------------------------------------------------------------------------------------------


async def remembered(broker: TestBroker, clientid: str) -> int:
    found = broker.node.broker.acl_cache(clientid)
    assert found is not None
    return len(found)


@pytest.mark.parametrize(
    ("words", "lines", "left"),
    [
        ("all", ["ACL cache drain start OK"], (0, 0)),
        (f"node {NODE}", ["ACL cache drain start OK"], (0, 0)),
        ("c1", [], (0, 1)),
    ],
)
async def test_access_decisions_are_forgotten(
    broker: TestBroker, words: str, lines: list[str], left: tuple[int, int]
) -> None:
    for name in ("c1", "c2"):
        await broker.client(name, subscribe="t")
        assert await remembered(broker, name) == 1
    assert await ctl(broker, f"acl cache-clean {words}") == (0, lines)
    assert (await remembered(broker, "c1"), await remembered(broker, "c2")) == left


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("acl cache-clean c1", "Not Found."),
        ("acl cache-clean node x@y", f"ACL cache drain start FAILED: there is no node x@y, this is {NODE}"),
        ("pem_cache clean node x@y", f"PEM cache clean FAILED: there is no node x@y, this is {NODE}"),
    ],
)
async def test_caches_that_are_not_there(broker: TestBroker, words: str, line: str) -> None:
    assert await ctl(broker, words) == (1, [line])


@pytest.mark.parametrize("words", ["all", f"node {NODE}"])
async def test_certificates_are_read_again(tmp_path: Path, words: str) -> None:
    key, cert, _ = await trio.to_thread.run_sync(ensure_self_signed, tmp_path, ["localhost"])
    listener = {"bind": "127.0.0.1:0", "zone": "default", "keyfile": str(key), "certfile": str(cert)}
    async with running({"listener": {"ssl": {"s": listener}}}, listen=True) as broker:
        assert await ctl(broker, f"pem_cache clean {words}") == (0, ["PEM cache clean OK"])
        cert.write_text("no certificate")
        code, lines = await ctl(broker, f"pem_cache clean {words}")
        assert (code, lines[0]) == (1, "PEM cache clean FAILED")
        assert str(cert) in lines[1]


async def test_acl_is_one_command_of_several_owners() -> None:
    """In EMQX, loading emqx_auth_mnesia hides `acl cache-clean`, and unloading it removes `acl`."""
    async with running({"plugins": {"load": ["emqx_auth_mnesia"]}}) as broker:
        assert await ctl(broker, "acl cache-clean all") == (0, ["ACL cache drain start OK"])
        assert await ctl(broker, "acl add _all t pub deny") == (0, ["ok"])
        assert await data(broker, "acl list") == [{"all": "$all", "topic": "t", "action": "pub", "access": "deny"}]
        assert await data(broker, "acl list _all") == await data(broker, "acl list")
        await ctl(broker, "plugins unload emqx_auth_mnesia")
        assert await ctl(broker, "acl cache-clean all") == (0, ["ACL cache drain start OK"])
        assert (await ctl(broker, "acl list"))[0] == 2


BUILT_IN = ("emqx_dashboard", "emqx_management", "emqx_rule_engine")


async def test_json_of_commands_that_plugins_bring() -> None:
    plugins = ["emqx_auth_mnesia", "emqx_retainer", "emqx_telemetry", "emqx_sasl"]
    async with running({"plugins": {"load": plugins}}) as broker:
        await ctl(broker, "clientid add c1 secret")
        ((name, entry),) = ((row["clientid"], row) for row in await data(broker, "clientid list"))
        assert (name, set(entry)) == ("c1", {"clientid", "created_at"})
        assert await data(broker, "retainer info") == {"total": 0}
        assert await data(broker, "telemetry get status") == {"enabled": False}
        assert (await data(broker, "telemetry get data"))["active_plugins"] == sorted([*plugins, *BUILT_IN])
        await ctl(broker, "sasl scram add u pencil -")
        (row, *_) = await data(broker, "sasl scram lookup u")
        assert (row["username"], row["iteration_count"]) == ("u", 4096)


# -- banned ------------------------------------------------------------------------------------------------------------


async def test_a_ban_begins_and_ends(broker: TestBroker) -> None:
    client = await broker.client("c1")
    assert await ctl(broker, "banned add clientid c1 60 noisy") == (0, ["ok"])
    assert await client.closed() == 0x98
    with pytest.raises(Refused):
        await broker.client("c1")
    now = int(broker.node.wall())
    ban = f"Banned(clientid=c1, by=ctl, reason=noisy, at={now}, until={now + 60})"
    assert await ctl(broker, "banned list") == (0, [ban])
    row = {"who": "c1", "as": "clientid", "reason": "noisy", "by": "ctl", "at": now, "until": now + 60}
    assert await data(broker, "banned list") == [row]
    assert await ctl(broker, "banned del clientid c1") == (0, ["ok"])
    await broker.client("c1")
    assert await ctl(broker, "banned del clientid c1") == (1, ["Not Found."])


async def test_what_is_not_said_of_a_ban(broker: TestBroker) -> None:
    await ctl(broker, "banned add peerhost ::ffff:10.0.0.1")
    await execute(broker.node.commands, ["banned", "add", "username", "u\nx", "10", "two words"])
    lines = (await ctl(broker, "banned list"))[1]
    now = int(broker.node.wall())
    assert lines == [
        f"Banned(username=u\\nx, by=ctl, reason=two words, at={now}, until={now + 10})",
        f"Banned(peerhost=10.0.0.1, by=ctl, reason=undefined, at={now}, until={now + 300})",
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("add user c1", "Error: value of 'as' must be one of: ['clientid', 'username', 'peerhost']"),
        ("add peerhost c1", "Error: not an IP address: 'c1'"),
        ("add clientid c1 0", "Error: Seconds is a number above 0, not '0'"),
        ("add clientid c1 soon", "Error: Seconds is a number above 0, not 'soon'"),
        (f"add clientid c1 {'9' * 11}", f"Error: Seconds is a number above 0, not '{'9' * 11}'"),
        ("del user c1", "Error: value of 'as' must be one of: ['clientid', 'username', 'peerhost']"),
        ("del peerhost c1", "Error: not an IP address: 'c1'"),
        ("del clientid c1", "Not Found."),
    ],
)
async def test_bans_that_cannot_be(broker: TestBroker, words: str, line: str) -> None:
    assert await ctl(broker, f"banned {words}") == (1, [line])
    assert await ctl(broker, "banned list") == (0, [])


# -- alarms ------------------------------------------------------------------------------------------------------------


async def test_an_alarm_is_listed_ended_and_forgotten(broker: TestBroker) -> None:
    broker.node.alarms.activate("high_cpu_usage", {"usage": 90, "high_watermark": 80, "low_watermark": 60})
    at = int(broker.node.wall() * 1_000_000)
    shape = "Alarm(high_cpu_usage, message=90% cpu usage, activated={}, activate_at={}, deactivate_at={})"
    assert await ctl(broker, "alarms list") == (0, [shape.format("true", at, "infinity")])
    await trio.sleep(1)
    (row,) = await data(broker, "alarms list")
    assert (row["name"], row["deactivate_at"], row["activated"]) == ("high_cpu_usage", "infinity", True)
    assert row["duration"] == pytest.approx(1_000_000, abs=2)
    assert await ctl(broker, "alarms deactivate high_cpu_usage") == (0, ["ok"])
    (row,) = await data(broker, "alarms list")
    assert await ctl(broker, "alarms list") == (0, [shape.format("false", at, row["deactivate_at"])])
    assert row["duration"] == row["deactivate_at"] - at
    assert await ctl(broker, "alarms deactivate high_cpu_usage") == (1, ["Not Found."])
    assert await ctl(broker, "alarms clean") == (0, ["ok"])
    assert await data(broker, "alarms list") == []


# -- plugins and modules -----------------------------------------------------------------------------------------------


async def listed(broker: TestBroker, line: str, name: str) -> dict[str, Any]:
    return next(row for row in await data(broker, line) if row["name"] == name)


async def test_plugins_modules_and_hooks_as_json(broker: TestBroker) -> None:
    row = await listed(broker, "plugins list", "emqx_retainer")
    assert row.pop("version")
    assert row == {"name": "emqx_retainer", "description": "EMQX Retainer", "active": True, "type": "feature"}
    row = await listed(broker, "modules list", "emqx_mod_presence")
    assert row == {"name": "emqx_mod_presence", "description": "EMQX Presence Module", "active": True}
    presence = {"name": "emqx_mod_presence", "priority": 0, "denies": False}
    assert (await data(broker, "hooks"))["client_connected"] == [presence]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("plugins load emqx_retaner", ["Load plugin emqx_retaner error: not_found.", "Did you mean emqx_retainer?"]),
        ("plugins load retainer", ["Load plugin retainer error: not_found.", "Did you mean emqx_retainer?"]),
        ("plugins load auth_http", ["Load plugin auth_http error: not_found.", "Did you mean emqx_auth_http?"]),
        ("plugins unload retaner", ["Unload plugin retaner error: not_found.", "Did you mean emqx_retainer?"]),
        ("plugins reload recon", ["Reload plugin recon error: The plugin doesn't exist.", "Did you mean emqx_recon?"]),
        ("modules load trace", ["Load module trace error: not_found.", "Did you mean emqx_mod_trace?"]),
        ("modules load xyz", ["Load module xyz error: not_found."]),
        ("plugins load emqx_gone", ["Load plugin emqx_gone error: not_found."]),
        ("plugins unload emqx_management", ["Plugin emqx_management can not be unloaded."]),
        ("plugins load emqx_rule_engine", ["Load plugin emqx_rule_engine error: already_started."]),
    ],
)
async def test_a_misspelt_name_is_told_the_nearest(broker: TestBroker, line: str, answer: list[str]) -> None:
    """The first line is EMQX's, for scripts."""
    assert await ctl(broker, line) == (1, answer)
    assert json.loads((await ctl(broker, f"{line} --json"))[1][0]) == {"message": "\n".join(answer)}

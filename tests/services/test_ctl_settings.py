"""`mgmt`, `admins`, `data`: applications, dashboard users, export and import."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from trioemqx.services.backup import BackupError
from trioemqx.testing import TestBroker


async def test_mgmt(broker: TestBroker) -> None:
    (line,) = await broker.ctl("mgmt", "insert", "tool", "My tool")
    word, secret = line.split()
    assert word == "AppSecret:"
    assert (await broker.api("GET", "/brokers", auth=f"tool:{secret}")).status == 200
    shown = "app_id: tool, secret: ******, name: My tool, desc: undefined, status: true, expired: undefined"
    assert await broker.ctl("mgmt lookup tool") == [shown]
    assert shown in await broker.ctl("mgmt list")
    assert len(await broker.ctl("mgmt list")) == 2
    assert await broker.ctl("mgmt insert tool again") == ["Error: already existed"]
    assert await broker.ctl("mgmt update tool false") == ["update successfully."]
    assert (await broker.api("GET", "/brokers", auth=f"tool:{secret}")).status == 401
    assert await broker.ctl("mgmt lookup tool") == [shown.replace("status: true", "status: false")]
    assert await broker.ctl("mgmt delete tool") == ["ok"]
    assert await broker.ctl("mgmt delete tool") == ["Error: app not found"]
    assert await broker.ctl("mgmt lookup tool") == ["Not Found."]


async def test_mgmt_with_a_role(broker: TestBroker) -> None:
    (line,) = await broker.ctl("mgmt insert tool name viewer")
    auth = f"tool:{line.split()[1]}"
    assert (await broker.api("GET", "/brokers", auth=auth)).status == 200
    assert (await broker.api("DELETE", "/clients/c1", auth=auth)).status == 403
    shown = "app_id: tool, secret: ******, name: name, desc: undefined, status: true, expired: undefined, role: viewer"
    assert await broker.ctl("mgmt lookup tool") == [shown]
    assert (await broker.ctl("mgmt list"))[1:] == [shown]
    await broker.ctl("mgmt update tool false")
    await broker.ctl("mgmt update tool true")
    assert json.loads("".join(await broker.ctl("mgmt lookup tool --json")))["role"] == "viewer"
    assert [deed.path for deed in broker.node.audit.deeds()][-1] == "mgmt insert tool name viewer"
    refused = "Error: bad role: must be one of administrator, viewer, publisher"
    assert await broker.ctl("mgmt insert other name root") == [refused]
    assert await broker.ctl("mgmt lookup other") == ["Not Found."]


async def test_mgmt_refuses(broker: TestBroker) -> None:
    assert await broker.ctl("mgmt insert -x name") == ["Error: required: ^[A-Za-z0-9]+[A-Za-z0-9-_]*$"]
    assert await broker.ctl("mgmt update none true") == ["Error: not_found"]
    assert await broker.ctl("mgmt update none maybe") == ["Error: the status is true or false, not 'maybe'"]


async def test_mgmt_as_json(broker: TestBroker) -> None:
    await broker.ctl("mgmt", "insert", "tool", "My\ntool")
    lines = "".join(await broker.ctl("mgmt list --json"))
    assert json.loads(lines) == [
        {
            "app_id": "tool",
            "secret": "******",
            "name": "My\ntool",
            "desc": "undefined",
            "status": True,
            "expired": "undefined",
        }
    ]
    assert json.loads("".join(await broker.ctl("mgmt lookup tool --json")))["app_id"] == "tool"


async def test_admins(broker: TestBroker) -> None:
    assert await broker.ctl("admins add jane passw0rd viewer") == ["ok"]
    assert await broker.ctl("admins add jane passw0rd") == ["Error: already existed"]
    assert await broker.ctl("admins add joe short") == ["Error: The password length: 8-64"]
    assert await broker.ctl("admins passwd jane n3w passw") != ["ok"]
    assert await broker.ctl("admins", "passwd", "jane", "n3w passw") == ["ok"]
    assert (await broker.api("GET", "/users", auth="jane:n3w passw", listener="dashboard")).status == 200
    assert await broker.ctl("admins passwd joe passw0rd") == ["Error: Username Not Found"]
    assert await broker.ctl("admins passwd jane short") == ["Error: The password length: 8-64"]
    for _ in range(2):
        assert await broker.ctl("admins del jane") == ["ok"]
    assert (await broker.api("GET", "/users", auth="jane:n3w passw", listener="dashboard")).status == 401


async def test_data_goes_out_and_comes_in(broker: TestBroker) -> None:
    await broker.ctl("banned add clientid bad 1000")
    (line,) = await broker.ctl("data export")
    path = line.removeprefix("The emqx data has been successfully exported to ").removesuffix(".")
    assert json.loads(await trio.Path(path).read_text())["version"] == "4.4"
    await broker.ctl("banned del clientid bad")
    for name in (path, Path(path).name):
        assert await broker.ctl("data", "import", name) == ["The emqx data has been imported successfully."]
    assert len(await broker.ctl("banned list")) == 1
    found = json.loads("".join(await broker.ctl("data export --json")))
    assert found["node"] == broker.node.node


async def test_a_broken_file_is_told_with_its_reason(broker: TestBroker, tmp_path: Path) -> None:
    file = trio.Path(tmp_path / "x.json")
    name = str(file)
    assert await broker.ctl("data", "import", name) == [f"The emqx data import failed: not_found while reading {name}."]
    await file.write_text('{"version":"9"}')
    assert await broker.ctl("data", "import", name) == ["The emqx data import failed: Unsupported version."]
    await file.write_text('{"version":"4.4","apps":[{}]}')
    assert await broker.ctl("data", "import", name) == [
        "The emqx data import failed: import_failed: apps[0]: missing or not valid: id while reading " + name + "."
    ]
    assert await broker.ctl("data", "import", str(tmp_path)) == [
        f"The emqx data import failed: not_found while reading {tmp_path}."
    ]


async def test_env_overrides_what_the_file_says(broker: TestBroker, tmp_path: Path) -> None:
    file = trio.Path(tmp_path / "x.json")
    await file.write_text('{"version":"9"}')
    lines = await broker.ctl("data", "import", str(file), "--env", '{"version":"4.4","strange":[1]}')
    assert lines == ["members that nobody here knows: strange", "The emqx data has been imported successfully."]
    (line,) = await broker.ctl("data", "import", str(file), "--env", "[]")
    assert line.startswith("The emqx data import failed: --env is no JSON object")
    (line,) = await broker.ctl("data", "import", str(file), "--emv", "{}")
    assert line.endswith("is no option: --env '<json>' is")


async def test_an_export_that_cannot_be_written(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full() -> None:
        raise BackupError("enospc", "No space left on device")

    monkeypatch.setattr(broker.node.backup, "export", full)
    assert await broker.ctl("data export") == ["The emqx data export failed due to enospc: No space left on device."]

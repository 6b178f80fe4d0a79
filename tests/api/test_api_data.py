"""`/data/...`: export and import."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from trioemqx.services.backup import exporting, folder
from trioemqx.services.banned import CLIENTID
from trioemqx.testing import ApiAnswer, TestBroker, running

SALT = b"\x01\x02\x03\x04"


def emqx_hash(password: str, algorithm: str) -> str:
    """A dashboard password as EMQX exports it."""
    return base64.b64encode(SALT + hashlib.new(algorithm, SALT + password.encode()).digest()).decode()


def mnesia_hash(password: str) -> str:
    """A client's password as EMQX exports it."""
    return base64.b64encode(SALT + hashlib.sha256(SALT + password.encode()).hexdigest().encode()).decode()


def an_export(**more: object) -> dict[str, Any]:
    """What an EMQX 4.4 writes."""
    return {
        "version": "4.4",
        "date": "2023-05-18 17:17:44",
        "rules": [{"id": "rule:1", "rawsql": 'SELECT * FROM "t"', "actions": [], "enabled": True, "description": ""}],
        "resources": [{"id": "resource:1", "type": "web_hook", "config": {"url": "http://x"}, "description": ""}],
        "blacklist": [
            {"who": {"clientid": "bad"}, "by": "user", "reason": "undefined", "at": 1, "until": 4102444800},
            {"who": {"peerhost": "10.0.0.1"}, "by": "user", "reason": "x", "at": 1, "until": 4102444800},
        ],
        "apps": [
            {
                "id": "tool",
                "secret": "s3cret",
                "name": "Tool",
                "desc": "undefined",
                "status": True,
                "expired": "undefined",
            }
        ],
        "users": [{"username": "jane", "password": emqx_hash("passw0rd", "sha256"), "tags": "viewer"}],
        "auth_mnesia": [
            {"login": "c1", "type": "clientid", "password": mnesia_hash("pw"), "created_at": 1_600_000_000_000}
        ],
        "acl_mnesia": [
            {
                "type": "clientid",
                "type_value": "c1",
                "topic": "t/1",
                "action": "pub",
                "access": "deny",
                "created_at": 1_600_000_000_000,
            }
        ],
        **more,
    }


async def imported(broker: TestBroker, content: object) -> ApiAnswer:
    """The answer to an import of this."""
    return await broker.api("POST", "/data/import", content)


def backup_folder(broker: TestBroker) -> Path:
    """Where the files are."""
    return broker.node.data_dir / "backup"


async def test_an_export_is_a_file_in_emqx_form(broker: TestBroker) -> None:
    """POST /data/export"""
    await broker.api("POST", "/banned", {"who": "c1", "as": "clientid", "reason": "r"})
    file = (await broker.api("POST", "/data/export")).data
    assert file["node"] == broker.node.node
    assert file["filename"].startswith("emqx-export-")
    path = backup_folder(broker) / file["filename"]
    assert path.stat().st_size == file["size"]
    content = json.loads(path.read_text())
    assert content["version"] == "4.4"
    assert content["blacklist"][0]["who"] == {"clientid": "c1"}
    assert content["apps"][0]["id"] == "admin"
    assert content["apps"][0]["secret"].startswith("$scrypt$")
    assert content["users"][0]["username"] == "admin"
    assert base64.b64decode(content["users"][0]["password"]).startswith(b"$scrypt$")
    assert [content[name] for name in ("rules", "resources", "auth_mnesia", "acl_mnesia")] == [[], [], [], []]
    assert content["trioemqx"]["node"] == broker.node.node


async def test_files_of_the_backup_are_nobody_elses_to_read(broker: TestBroker) -> None:
    file = (await broker.api("POST", "/data/export")).data["filename"]
    assert stat.S_IMODE(backup_folder(broker).stat().st_mode) == 0o700
    assert stat.S_IMODE((backup_folder(broker) / file).stat().st_mode) == 0o600


async def test_exports_are_listed_the_oldest_first(broker: TestBroker) -> None:
    """GET /data/export"""
    assert (await broker.api("GET", "/data/export")).data == []
    made = []
    for age in (30, 20, 10):
        made.append((await broker.api("POST", "/data/export")).data["filename"])
        os.utime(backup_folder(broker) / made[-1], (time.time() - age, time.time() - age))
    assert len(set(made)) == 3
    listed = (await broker.api("GET", "/data/export")).data
    assert [file["filename"] for file in listed] == made
    date, clock = listed[0]["created_at"].split()
    assert len(date.split("-")) == len(clock.split(":")) == 3


async def test_what_an_emqx_exported_comes_into_force(broker: TestBroker) -> None:
    """POST /data/import"""
    client = await broker.client("bad")
    assert (await imported(broker, an_export())).json() == {"code": 0}
    assert await client.closed()
    listed = {(row["as"], row["who"]): row for row in (await broker.api("GET", "/banned")).data}
    assert set(listed) == {("clientid", "bad"), ("peerhost", "10.0.0.1")}
    assert listed["clientid", "bad"]["reason"] == "undefined"
    assert (await broker.api("GET", "/brokers", auth="tool:s3cret")).status == 200
    assert (await broker.api("GET", "/brokers", auth="jane:passw0rd", listener="dashboard")).status == 200
    assert (await broker.api("GET", "/brokers", auth="jane:passwOrd", listener="dashboard")).status == 401


async def test_an_import_keeps_what_it_does_not_know(broker: TestBroker) -> None:
    await broker.api("POST", "/banned", {"who": "mine", "as": "username", "reason": "r"})
    await imported(broker, an_export())
    assert "mine" in {row["who"] for row in (await broker.api("GET", "/banned")).data}
    assert (await broker.api("GET", "/brokers")).status == 200


async def test_imported_rules_work_and_are_exported_again(broker: TestBroker) -> None:
    given = an_export()
    await imported(broker, given)
    assert [row["enabled"] for row in (await broker.api("GET", "/rules")).data] == [True]
    file = (await broker.api("POST", "/data/export")).data["filename"]
    content = json.loads((backup_folder(broker) / file).read_text())
    assert [given["rules"][0].items() <= row.items() for row in content["rules"]] == [True]
    (resource,) = content["resources"]
    assert (resource["id"], resource["type"], resource["config"]["url"]) == ("resource:1", "web_hook", "http://x")


async def test_users_of_clients_come_with_the_plugin(broker: TestBroker) -> None:
    """Without it they are skipped, as in EMQX; what an export says is loaded is loaded."""
    assert (await imported(broker, an_export())).code == 0
    assert "emqx_auth_mnesia" not in broker.node.plugins.live
    assert (await imported(broker, an_export(trioemqx={"plugins": ["emqx_auth_mnesia", "no_such", 5, {}]}))).code == 0
    client = await broker.client("c1", username="u", password=b"pw")
    assert await client.publish("t/1", qos=1) == 0x87
    file = (await broker.api("POST", "/data/export")).data["filename"]
    content = json.loads((backup_folder(broker) / file).read_text())
    assert content["auth_mnesia"] == an_export()["auth_mnesia"]
    assert content["acl_mnesia"] == an_export()["acl_mnesia"]
    assert "emqx_auth_mnesia" in content["trioemqx"]["plugins"]


async def test_older_exports_say_what_their_logins_are(broker: TestBroker) -> None:
    await broker.node.plugins.load("emqx_auth_mnesia")
    older = {
        "version": "4.1",
        "auth_mnesia": [{"login": "u1", "password": mnesia_hash("pw"), "is_superuser": False}],
        "acl_mnesia": [{"login": "u1", "topic": "t", "action": "pub", "allow": False}],
        "auth_clientid": [{"clientid": "c9", "password": mnesia_hash("pw9")}],
        "schemas": [],
    }
    answer = await imported(broker, older)
    assert (answer.code, answer.message) == (102, "import_failed")
    assert "auth.mnesia.as" in answer.json()["reason"]
    assert (await imported(broker, {**older, "auth.mnesia.as": "username"})).code == 0
    client = await broker.client("any", username="u1", password=b"pw")
    assert await client.publish("t", qos=1) == 0x87
    await broker.client("c9", username="x", password=b"pw9")


async def test_a_file_is_imported_by_its_name(broker: TestBroker) -> None:
    content = json.dumps(an_export())
    await broker.api("POST", "/data/file", {"filename": "mine.json", "file": content})
    assert (await broker.api("POST", "/data/import", {"filename": "mine.json"})).json() == {"code": 0}
    assert broker.node.banned.find(CLIENTID, "bad") is not None
    node = broker.node.node
    assert (await broker.api("POST", "/data/import", {"filename": "mine.json", "node": node})).code == 0
    assert (await broker.api("POST", "/data/import?filename=mine.json")).code == 0
    assert (await broker.api("POST", "/data/import?filename=none.json", {"filename": "mine.json"})).code == 102


async def test_an_imported_body_is_kept_as_a_file(broker: TestBroker) -> None:
    await imported(broker, an_export())
    await imported(broker, an_export(version="3.0"))
    (file,) = (await broker.api("GET", "/data/export")).data
    assert json.loads((backup_folder(broker) / file["filename"]).read_text()) == an_export()


async def test_everything_comes_back_in_another_broker(broker: TestBroker) -> None:
    await imported(broker, an_export())
    file = (await broker.api("POST", "/data/export")).data["filename"]
    text = (await broker.api("GET", f"/data/file/{file}")).json()["file"]
    async with running() as other:
        assert (await other.api("POST", "/data/import", raw=text.encode())).code == 0
        assert other.node.banned.entries() == broker.node.banned.entries()
        assert other.node.applications.entries() == broker.node.applications.entries()
        assert other.node.dashboard_users.entries() == broker.node.dashboard_users.entries()
        assert (await other.api("GET", "/brokers", auth="tool:s3cret")).status == 200


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"version": "5.0"}, 102, "unsupported_version"),
        ({"version": 4.4}, 108, "bad_params"),
        ({"version": "4.0"}, 102, "unsupported_version"),
        ({"version": "4.2.10"}, 102, "unsupported_version"),
        ({"version": "4.2.x"}, 102, "unsupported_version"),
        ({"blacklist": {}}, 102, "import_failed"),
        ({"blacklist": [5]}, 102, "import_failed"),
        ({"blacklist": [{"who": {"clientid": 5}, "until": 1}]}, 102, "import_failed"),
        ({"blacklist": [{"who": {"peerhost": "x"}, "until": 1}]}, 102, "import_failed"),
        ({"blacklist": [{"who": {"clientid": "c"}, "until": 2**70}]}, 102, "import_failed"),
        ({"apps": [{"id": "../x", "secret": "s"}]}, 102, "import_failed"),
        ({"apps": [{"id": "x", "secret": None}]}, 102, "import_failed"),
        ({"apps": [{"id": "x", "secret": "s", "status": "yes"}]}, 102, "import_failed"),
        ({"users": [{"username": "x", "password": "plain"}]}, 102, "import_failed"),
        ({"users": [{"username": ["x"], "password": emqx_hash("p", "md5")}]}, 102, "import_failed"),
        ({"rules": [{"rawsql": "no id"}]}, 102, "import_failed"),
        ({"rules": [{"id": "deep", "actions": eval("[" * 40 + "]" * 40)}]}, 102, "import_failed"),
        ({"filename": "../../etc/passwd"}, 102, "not_found"),
        ({"filename": "none.json"}, 102, "not_found"),
        ({"filename": 5}, 108, "bad_filename"),
        ({"node": "x@127.0.0.1"}, 101, "no_existent_node"),
        ({"node": ["x"], "version": None}, 108, "bad_params"),
    ],
)
async def test_an_import_that_is_refused_changes_nothing(
    broker: TestBroker, change: dict[str, object], code: int, message: str
) -> None:
    answer = await imported(broker, an_export(**change))
    assert (answer.status, answer.code, answer.message) == (200, code, message)
    assert broker.node.banned.entries() == []
    assert [app.app_id for app in broker.node.applications.entries()] == ["admin"]
    assert [user.username for user in broker.node.dashboard_users.entries()] == ["admin"]
    assert (await broker.api("GET", "/data/export")).data == []


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 200, 109),
        (b"\xff\xfe", 200, 109),
        (b'{"version":NaN}', 200, 109),
        (b"[]", 200, 108),
        (b"5", 200, 108),
        (b"{}", 200, 108),
        (b"[" * 100_000, 200, 109),
        (b'{"version":"4.4","rules":[{"id":"\\ud800"}]}', 200, 102),
        (b'{"version":"4.4","big":' + b"9" * 5000 + b"}", 200, 109),
    ],
)
async def test_a_body_that_is_no_export(broker: TestBroker, raw: bytes, status: int, code: int) -> None:
    answer = await broker.api("POST", "/data/import", raw=raw)
    assert (answer.status, answer.code) == (status, code)


async def test_an_import_without_a_body_has_nothing_to_take(broker: TestBroker) -> None:
    answer = await broker.api("POST", "/data/import")
    assert (answer.code, answer.message) == (108, "bad_params")


async def test_the_shipped_secret_never_replaces_one_of_your_own(broker: TestBroker) -> None:
    """An export of another broker may have admin and public in it."""
    await broker.api("GET", "/brokers")
    await broker.node.dashboard_users.set_password("admin", "my own 1")
    broker.node.applications.delete("admin")
    await broker.node.applications.add("admin", "mine", "my own")
    app = {"id": "admin", "secret": "public", "name": "", "desc": "", "status": True, "expired": "undefined"}
    user = {"username": "admin", "password": emqx_hash("public", "md5"), "tags": ""}
    answer = await broker.api("POST", "/data/import", an_export(apps=[app], users=[user]), auth="admin:my own")
    assert answer.code == 0
    assert (await broker.api("GET", "/brokers", auth="admin:public")).status == 401
    assert (await broker.api("GET", "/brokers", auth="admin:my own")).status == 200
    assert (await broker.api("GET", "/brokers", auth="admin:my own 1", listener="dashboard")).status == 200


async def test_shipped_credentials_stay_known_for_what_they_are(broker: TestBroker) -> None:
    """Also as the hash in an export of ours: from elsewhere they do not open."""
    file = (await broker.api("POST", "/data/export")).data["filename"]
    text = (await broker.api("GET", f"/data/file/{file}")).json()["file"]
    async with running() as other:
        await other.api("POST", "/data/import", raw=text.encode())
        for listener in ("management", "dashboard"):
            assert (await other.api("GET", "/brokers", listener=listener)).status == 200
            assert (await other.api("GET", "/brokers", listener=listener, peer="10.0.0.9")).status == 401


async def test_an_uploaded_file_can_be_had_back(broker: TestBroker) -> None:
    """POST /data/file, GET /data/file/{filename}"""
    text = json.dumps({"version": "dev", "x": 'a "quote" \\ \u4e2d\n'}, ensure_ascii=False)
    answer = await broker.api("POST", "/data/file", {"filename": "a.json", "file": text})
    assert answer.json() == {"code": 0, "data": {"node": broker.node.node}}
    found = await broker.api("GET", "/data/file/a.json")
    assert found.json() == {"filename": "a.json", "file": text}
    await broker.api("POST", "/data/file", {"filename": "a.json", "file": "{}"})
    assert (await broker.api("GET", "/data/file/a.json")).json()["file"] == "{}"


@pytest.mark.parametrize("name", ["my export.json", "\u5907\u4efd.json", "-x (1)+#?.json", "x" * 250 + ".json"])
async def test_names_of_uploads(broker: TestBroker, name: str) -> None:
    """POST /data/file, GET /data/file/{filename}, DELETE /data/file/{filename}"""
    assert (await broker.api("POST", "/data/file", {"filename": name, "file": "{}"})).code == 0
    assert [file["filename"] for file in (await broker.api("GET", "/data/export")).data] == [name]
    path = f"/data/file/{quote(name, safe='')}"
    assert (await broker.api("GET", path)).json() == {"filename": name, "file": "{}"}
    assert (await broker.api("DELETE", path)).code == 0
    assert (await broker.api("GET", "/data/export")).data == []


async def test_exports_directly_in_the_data_directory(broker: TestBroker) -> None:
    """GET /data/export, GET /data/file/{filename}, POST /data/import, DELETE /data/file/{filename}: where EMQX before
    4.4 left them."""
    above = broker.node.data_dir
    name = "emqx-export-2020-5-15-18-6-29.json"
    above.mkdir(exist_ok=True)
    (above / name).write_text(json.dumps(an_export(blacklist=[{"who": {"clientid": "old"}, "until": 4_000_000_000}])))
    for other in ("overrides.json", "x.json", "emqx-export-.txt"):
        (above / other).write_text("{}")
    (above / "emqx-export-link.json").symlink_to(above / "overrides.json")
    assert [file["filename"] for file in (await broker.api("GET", "/data/export")).data] == [name]
    assert (await broker.api("GET", f"/data/file/{name}")).json()["filename"] == name
    assert (await broker.api("POST", "/data/import", {"filename": name})).code == 0
    assert [ban.who for ban in broker.node.banned.entries()] == ["old"]
    for other in ("overrides.json", "x.json", "..%2Foverrides.json", "emqx-export-%2F..%2Foverrides.json"):
        assert (await broker.api("GET", f"/data/file/{other}")).message == "not_found"
        assert (await broker.api("DELETE", f"/data/file/{other}")).message == "not_found"
    assert (await broker.api("GET", "/data/file/emqx-export-link.json")).message == "bad_file"
    await broker.api("POST", "/data/file", {"filename": name, "file": "{}"})
    assert len((await broker.api("GET", "/data/export")).data) == 1
    assert (await broker.api("GET", f"/data/file/{name}")).json()["file"] == "{}", "the newer one hides it"
    for left in (1, 0):
        assert (await broker.api("DELETE", f"/data/file/{name}")).code == 0
        assert len((await broker.api("GET", "/data/export")).data) == left
    assert (above / "overrides.json").exists()


async def test_an_upload_without_a_name_gets_one(broker: TestBroker) -> None:
    assert (await broker.api("POST", "/data/file", {"file": "{}"})).code == 0
    (file,) = (await broker.api("GET", "/data/export")).data
    assert folder.good_name(file["filename"])


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({}, 107, "missing_required_params"),
        ([], 107, "missing_required_params"),
        ({"filename": "x.txt"}, 107, "missing_required_params"),
        ({"filename": "x.txt", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "../x.json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "/tmp/x.json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "a\0.json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": ".json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "a\\x.json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "a\nx.json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "a\u2028x.json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "..json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "x" * 251 + ".json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "\u00e4" * 126 + ".json", "file": "{}"}, 108, "bad_filename"),
        ({"filename": "x.json", "file": "{"}, 109, "bad_json"),
        ({"filename": "x.json", "file": "NaN"}, 109, "bad_json"),
        ({"filename": "x.json", "file": "[" * 9000}, 109, "bad_json"),
        ({"filename": "x.json", "file": "\ud800"}, 109, "bad_json"),
        ({"filename": "x.json", "file": {}}, 108, "bad_params"),
        ({"filename": 5, "file": "{}"}, 108, "bad_params"),
    ],
)
async def test_an_upload_that_is_refused(broker: TestBroker, body: object, code: int, message: str) -> None:
    answer = await broker.api("POST", "/data/file", body)
    assert (answer.status, answer.code, answer.message) == (200, code, message)
    assert (await broker.api("GET", "/data/export")).data == []


async def test_an_upload_that_is_no_json(broker: TestBroker) -> None:
    answer = await broker.api("POST", "/data/file", raw=b"filename=x")
    assert (answer.status, answer.code, answer.message) == (400, 109, "Bad Request")


async def test_a_file_is_removed(broker: TestBroker) -> None:
    """DELETE /data/file/{filename}"""
    await broker.api("POST", "/data/file", {"filename": "a.json", "file": "{}"})
    assert (await broker.api("DELETE", "/data/file/a.json")).json() == {"code": 0}
    for method in ("DELETE", "GET"):
        answer = await broker.api(method, "/data/file/a.json")
        assert (answer.code, answer.message) == (102, "not_found")


HOSTILE_NAMES = [
    "..%2F..%2Fsecret.json",
    "%2Ftmp%2Fsecret.json",
    "..%5Csecret.json",
    "%2e%2e",
    "..",
    "a%00.json",
    ".hidden.json",
    "secret.json%2F",
    "link.json",
    "folder.json",
    "%E4%B8%AD.json",
    "x" * 500 + ".json",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_no_name_leads_out_of_the_folder(broker: TestBroker, name: str) -> None:
    await broker.api("GET", "/data/export")
    secret = broker.node.data_dir / "secret.json"
    secret.write_text('{"version":"4.4"}')
    (backup_folder(broker) / "link.json").symlink_to(secret)
    (backup_folder(broker) / "folder.json").mkdir()
    for method in ("GET", "DELETE"):
        answer = await broker.api(method, f"/data/file/{name}")
        assert answer.status in (200, 400, 404)
        assert b"version" not in answer.body
    body = {"filename": name.replace("%2F", "/").replace("%5C", "\\").replace("%00", "\0")}
    assert (await broker.api("POST", "/data/import", body)).code == 102
    assert secret.exists()
    assert (await broker.api("GET", "/data/export")).data == []


async def test_a_link_in_place_of_the_folder_is_not_followed(broker: TestBroker, tmp_path: Path) -> None:
    broker.node.data_dir.mkdir(parents=True, exist_ok=True)
    backup_folder(broker).symlink_to(tmp_path)
    assert (await broker.api("POST", "/data/export")).code == 102
    assert not os.listdir(tmp_path)


async def test_a_file_that_is_no_text(broker: TestBroker) -> None:
    await broker.api("GET", "/data/export")
    (backup_folder(broker) / "x.json").write_bytes(b"\xff\xfe")
    answer = await broker.api("GET", "/data/file/x.json")
    assert (answer.code, answer.message) == (102, "bad_file")
    assert (await broker.api("POST", "/data/import", {"filename": "x.json"})).code == 109


async def test_a_disk_that_is_full(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    await broker.api("GET", "/data/export")
    monkeypatch.setattr(folder.os, "write", full)
    for path, body in (("/data/export", None), ("/data/file", {"file": "{}"})):
        answer = await broker.api("POST", path, body)
        assert (answer.status, answer.code, answer.message) == (200, 102, "enospc")
    monkeypatch.undo()
    assert list(backup_folder(broker).iterdir()) == []


async def test_there_are_only_so_many_files(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_FILES", 2)
    for _ in range(2):
        assert (await broker.api("POST", "/data/export")).code == 0
    answer = await broker.api("POST", "/data/export")
    assert (answer.code, answer.message) == (102, "full")
    assert "delete" in answer.json()["reason"]


async def test_drafts_of_a_broker_that_was_killed_are_removed(broker: TestBroker) -> None:
    backup_folder(broker).mkdir(parents=True)
    (backup_folder(broker) / ".0123.part").write_text("half")
    await broker.api("POST", "/data/export")
    assert not (backup_folder(broker) / ".0123.part").exists()


async def test_a_large_import_lets_others_have_their_turns(broker: TestBroker) -> None:
    """It is read by another process: the broker's own loop is never held for long."""
    await broker.node.plugins.load("emqx_auth_mnesia")
    bans = [{"who": {"username": f"u{n}"}, "by": "x", "reason": "r", "at": 1, "until": 4102444800} for n in range(5000)]
    users = [
        {"login": f"c{n}", "type": "clientid", "password": mnesia_hash("pw"), "created_at": n} for n in range(5000)
    ]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        assert (await imported(broker, an_export(blacklist=bans, auth_mnesia=users))).code == 0
        assert len(broker.node.banned) == 5000
        file = (await broker.api("POST", "/data/export")).data
        nursery.cancel_scope.cancel()
    assert turns > 100
    assert file["size"] > 4 * exporting._ENOUGH
    content = json.loads((backup_folder(broker) / file["filename"]).read_text())
    assert len(content["blacklist"]) == len(content["auth_mnesia"]) == 5000


async def test_a_large_file_that_is_broken(broker: TestBroker) -> None:
    padding = "x" * 200_000
    answer = await broker.api("POST", "/data/import", {**an_export(apps=[{"id": ""}]), "padding": padding})
    assert (answer.code, answer.message, answer.json()["reason"]) == (
        102,
        "import_failed",
        "apps[0]: missing or not valid: id",
    )
    assert (await broker.api("POST", "/data/import", raw=b"[" * 200_000)).code == 109
    assert (await broker.api("POST", "/data/import", raw=b'{"version":"4.4","apps":[' + b"1," * 100_000)).code == 109
    answer = await broker.api("POST", "/data/file", {"filename": "x.json", "file": "{" + padding})
    assert (answer.code, answer.message) == (109, "bad_json")
    assert (await broker.api("POST", "/data/file", {"file": json.dumps(padding), "filename": "x.json"})).code == 0
    assert (await broker.api("GET", "/data/file/x.json")).json()["file"] == json.dumps(padding)


async def test_a_body_may_be_twice_as_long_as_others(broker: TestBroker) -> None:
    limit = broker.node.config.management.max_body_size
    answer = await broker.api("POST", "/data/file", raw=b" " * (2 * limit + 1))
    assert (answer.status, answer.code) == (400, 109)


async def test_only_so_many_large_requests_at_once(broker: TestBroker) -> None:
    broker.node.backup._waiting = 4
    answer = await broker.api("POST", "/data/export")
    assert (answer.status, answer.code, answer.message) == (503, 102, "busy")

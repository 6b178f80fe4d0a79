"""Plugins that are uploaded as a zip: who may, what is said of them, and that nobody loads them but an operator."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "plugins"))

from plugin_zips import PYPROJECT, pack, plugin_zip

from trioemqx.services.plugins import archive
from trioemqx.testing import ApiAnswer, TestBroker, running

AUTH = "admin:not public"
WORD = """
from __future__ import annotations

from trioemqx.plugin import Plugin


class Mine(Plugin):
    version = "{version}"

    async def start(self):
        if self.version == "bad":
            raise ValueError("not today")


plugin = Mine
"""


def config(folder: Path, **plugins: object) -> dict[str, object]:
    return {
        "dashboard": {"default_user": {"password": "not public"}},
        "plugins": {"upload": True, "loaded_file": str(folder / "loaded_plugins"), **plugins},
        "node": {"data_dir": str(folder / "data")},
    }


@pytest.fixture
def broker_config(tmp_path: Path) -> dict[str, object]:
    return config(tmp_path)


async def ask(broker: TestBroker, method: str, path: str, raw: bytes | None = None, **more: Any) -> ApiAnswer:
    return await broker.api(method, path, raw=raw, listener="dashboard", **{"auth": AUTH, **more})


async def upload(broker: TestBroker, raw: bytes, query: str = "") -> ApiAnswer:
    return await ask(broker, "POST", f"/plugins/upload{query}", raw)


async def change(broker: TestBroker, verb: str, plugin: str = "allow_list") -> dict[str, Any]:
    found: dict[str, Any] = (await ask(broker, "PUT", f"/nodes/{broker.node.node}/plugins/{plugin}/{verb}")).json()
    return found


async def row(broker: TestBroker, name: str = "allow_list") -> dict[str, Any] | None:
    found = (await ask(broker, "GET", f"/nodes/{broker.node.node}/plugins")).data
    return next((one for one in found if one["name"] == name), None)


def version(broker: TestBroker) -> str:
    """Of the code that is live."""
    return str(broker.node.plugins.live["allow_list"].instance.version)  # type: ignore[attr-defined]


async def test_a_plugin_is_uploaded_loaded_and_removed(broker: TestBroker) -> None:
    raw = plugin_zip("allow_list", "1.5", ("allow_list/README.md", "# Allow list\n"))
    digest = hashlib.sha256(raw).hexdigest()
    looked = (await upload(broker, raw, "?check=true")).data
    assert (looked["name"], looked["version"], looked["description"]) == ("allow_list", "1.5", "allow_list for tests")
    assert (looked["sha256"], looked["in_the_way"], looked["replaces"]) == (digest, [], "")
    assert {"path": "README.md", "size": 13} in looked["files"]
    assert looked["kept"] is looked["active"] is False
    assert await row(broker) is None

    assert (await upload(broker, raw, f"?sha256={digest.upper()}")).data == {**looked, "kept": True}
    found = await row(broker)
    assert found is not None
    assert (found["origin"], found["sha256"], found["active"]) == ("uploaded", digest, False)
    assert "allow_list" not in broker.node.plugins.live
    assert (await change(broker, "load"))["code"] == 0
    assert version(broker) == "1.5"

    refused = (await ask(broker, "DELETE", "/plugins/allow_list/uploaded")).json()
    assert refused == {"code": 102, "message": "allow_list: unload it first"}
    assert (await change(broker, "unload"))["code"] == 0
    assert (await ask(broker, "DELETE", "/plugins/allow_list/uploaded")).json() == {"code": 0}
    assert await row(broker) is None
    assert (await ask(broker, "DELETE", "/plugins/allow_list/uploaded")).status == 404
    assert (await ask(broker, "DELETE", "/plugins/emqx_retainer/uploaded")).status == 404


async def test_what_a_plugin_says_of_itself(broker: TestBroker) -> None:
    """GET /plugins/{plugin}/readme"""
    await upload(broker, plugin_zip("allow_list", "1.0", ("allow_list/README.md", b"# <b>Allow</b>\n\xff")))
    await upload(broker, plugin_zip("silent"))
    for name, text in (("allow_list", "# <b>Allow</b>\n\ufffd"), ("silent", ""), ("emqx_management", "")):
        assert (await broker.api("GET", f"/plugins/{name}/readme")).data == {"text": text}
    assert (await broker.api("GET", "/plugins/emqx_retainer/readme")).data["text"].startswith("# emqx_retainer")
    assert (await broker.api("GET", "/plugins/nothing/readme")).status == 404


async def test_it_is_recorded_with_its_hash(broker: TestBroker) -> None:
    raw = plugin_zip()
    digest = hashlib.sha256(raw).hexdigest()
    await upload(broker, raw, "?check=true")
    await upload(broker, raw)
    await upload(broker, raw)
    await upload(broker, b"no zip")
    await ask(broker, "DELETE", "/plugins/allow_list/uploaded")
    deeds = [(deed.method, deed.path, deed.result) for deed in reversed(broker.node.audit.deeds())]
    at = "/api/v4/plugins/upload"
    assert deeds == [
        ("POST", f"{at} check sha256:{digest} allow_list", "ok"),
        ("POST", f"{at} sha256:{digest} allow_list", "ok"),
        ("POST", f"{at} sha256:{digest}", "102"),
        ("POST", f"{at} sha256:{hashlib.sha256(b'no zip').hexdigest()}", "102"),
        ("DELETE", f"/api/v4/plugins/allow_list/uploaded sha256:{digest}", "ok"),
    ]


class TestOff:
    @pytest.fixture
    def broker_config(self, tmp_path: Path) -> dict[str, object]:
        return config(tmp_path, upload=False)

    async def test_nothing_is_taken_and_it_says_what_to_set(self, broker: TestBroker, tmp_path: Path) -> None:
        answer = await upload(broker, plugin_zip())
        assert (answer.status, answer.code) == (200, 102)
        assert "plugins.upload = true" in answer.json()["reason"]
        told = (await ask(broker, "GET", "/plugins/upload")).data
        assert told == {"enabled": False, "max_size": 8 * 1024**2, "reason": answer.json()["reason"]}
        assert not (tmp_path / "data" / "uploaded_plugins").exists()

    async def test_the_api_cannot_switch_it_on(self, broker: TestBroker) -> None:
        for key, value in (("plugins.upload", True), ("plugins.upload_max_size", 5000)):
            answer = (await broker.api("PUT", "/configs", {key: value})).json()
            assert (answer["code"], answer["errors"][0]["key"]) == (108, key)
            assert "only the configuration file and the environment" in answer["errors"][0]["error"]
        assert not broker.node.config.plugins.upload


async def test_it_is_on(broker: TestBroker) -> None:
    told = (await ask(broker, "GET", "/plugins/upload")).data
    assert told == {"enabled": True, "max_size": 8 * 1024**2}


async def test_the_document_says_what_the_body_is(broker: TestBroker) -> None:
    document = (await ask(broker, "GET", "/openapi.json")).json()
    assert list(document["paths"]["/plugins/upload"]["post"]["requestBody"]["content"]) == ["application/zip"]
    assert "/plugins/upload" not in (await broker.api("GET", "/openapi.json")).json()["paths"]


async def test_an_application_cannot(broker: TestBroker) -> None:
    for method, path in (("POST", "/plugins/upload"), ("GET", "/plugins/upload"), ("DELETE", "/plugins/x/uploaded")):
        assert (await broker.api(method, path, raw=plugin_zip())).status == 404
    assert (await upload(broker, plugin_zip())).code == 0
    assert (await ask(broker, "POST", "/plugins/upload", plugin_zip(), auth=None)).status == 401


async def test_the_password_that_everybody_knows_is_not_enough(tmp_path: Path) -> None:
    settings = config(tmp_path)
    del settings["dashboard"]
    async with running(settings) as broker:
        answer = await ask(broker, "POST", "/plugins/upload", plugin_zip(), auth="admin:public")
        assert answer.json() == {"code": 102, "message": "choose a password of your own first"}
        assert await row_of_public(broker) is None


async def row_of_public(broker: TestBroker) -> object:
    found = (await ask(broker, "GET", f"/nodes/{broker.node.node}/plugins", auth="admin:public")).data
    return next((one for one in found if one["name"] == "allow_list"), None)


@pytest.mark.parametrize(
    "name", ["emqx_retainer", "emqx_auth_http", "emqx_mod_presence", "emqx_management", "EMQX_Retainer"]
)
async def test_names_that_are_taken(broker: TestBroker, name: str) -> None:
    """By what is part of the broker, what comes with it, loaded or not: also with `replace`."""
    for query in ("", "?replace=true"):
        answer = (await upload(broker, plugin_zip(name), query)).json()
        assert answer["code"] == 102
        assert "is here already, and was not uploaded" in answer["message"]
    assert (await upload(broker, plugin_zip(name), "?check=true")).data["in_the_way"]
    assert name not in broker.node.plugins.catalogue.uploaded


async def test_a_name_that_differs_in_case_only(broker: TestBroker) -> None:
    assert (await upload(broker, plugin_zip("allow_list"))).code == 0
    assert "allow_list: is here" in (await upload(broker, plugin_zip("Allow_List"), "?replace=true")).json()["message"]


async def test_a_version_replaces_another_while_it_is_live(broker: TestBroker, tmp_path: Path) -> None:
    """The code that is live, and its files, stay until a reload has proved the new ones."""
    folder = tmp_path / "data" / "uploaded_plugins"
    await upload(broker, plugin_zip(version="1", code=WORD))
    await change(broker, "load")
    files = broker.node.plugins.live["allow_list"].found.folder
    assert files is not None
    bad = plugin_zip(version="bad", code=WORD)
    assert "only with replace=true" in (await upload(broker, bad)).json()["message"]
    answer = (await upload(broker, bad, "?replace=true")).data
    assert answer["active"] is True
    assert answer["replaces"] == hashlib.sha256(plugin_zip(version="1", code=WORD)).hexdigest()
    assert "not today" in (await change(broker, "reload"))["message"]
    assert version(broker) == "1"
    assert files.is_dir()

    await upload(broker, plugin_zip(version="2", code=WORD), "?replace=true")
    assert files.is_dir()
    assert (await change(broker, "reload"))["code"] == 0
    assert version(broker) == "2"
    await upload(broker, b"no zip")
    assert not files.exists()
    assert len([entry for entry in folder.iterdir() if entry.is_dir()]) == 1


async def test_it_is_there_after_a_restart_and_loaded_only_when_somebody_did(tmp_path: Path) -> None:
    pushy = PYPROJECT + "default_enabled = true\n"
    async with running(config(tmp_path)) as broker:
        for name in ("allow_list", "other"):
            await upload(broker, plugin_zip(name, project=pushy))
    async with running(config(tmp_path, upload=False)) as broker:
        assert not {"allow_list", "other"} & broker.node.plugins.live.keys()
        await change(broker, "load", "other")
    async with running(config(tmp_path, upload=False)) as broker:
        assert "other" in broker.node.plugins.live
        assert "allow_list" not in broker.node.plugins.live
        assert (await row(broker) or {})["origin"] == "uploaded"
        assert (await ask(broker, "DELETE", "/plugins/allow_list/uploaded")).code == 0


async def test_one_that_would_be_loaded_at_the_next_start_by_itself(tmp_path: Path) -> None:
    """A state file names it, and it is not there."""
    (tmp_path / "loaded_plugins").write_text("{allow_list, true}.\n")
    async with running(config(tmp_path)) as broker:
        assert "would be loaded at the next start" in (await upload(broker, plugin_zip())).json()["message"]
        await broker.node.plugins.unload("allow_list")
        assert (await upload(broker, plugin_zip())).code == 0


async def test_one_that_the_configuration_would_load(tmp_path: Path) -> None:
    async with running(config(tmp_path, load=["allow_list"])) as broker:
        answer = (await upload(broker, plugin_zip(), "?check=true")).data
        assert [line for line in answer["in_the_way"] if "plugins.load" in line] == answer["in_the_way"] != []


async def test_what_the_operator_has_put_there_comes_first(tmp_path: Path) -> None:
    async with running(config(tmp_path)) as broker:
        await upload(broker, plugin_zip(version="1"))
    with zipfile.ZipFile(io.BytesIO(plugin_zip(version="2"))) as found:
        found.extractall(tmp_path / "own")
    async with running(config(tmp_path, dirs=[str(tmp_path / "own")])) as broker:
        found_row = await row(broker)
        assert found_row is not None
        assert found_row["version"] == "2"
        assert "origin" not in found_row
        await change(broker, "load")
        assert (await ask(broker, "DELETE", "/plugins/allow_list/uploaded")).code == 0
        assert version(broker) == "2"


async def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(config(tmp_path, upload_max_size=2000)) as broker:
        large = plugin_zip("allow_list", "1", ("allow_list/x", bytes(range(256)) * 40))
        monkeypatch.setattr(archive, "ALWAYS", 500)
        assert "times as large" in (await upload(broker, pack(("a/x", b"x" * 50_000)))).json()["message"]
        answer = await upload(broker, large + b"x" * 2000)
        assert "at most 2000 bytes" in answer.json()["message"]
        other = (await upload(broker, plugin_zip(), f"?sha256={'0' * 64}")).json()
        assert "another one" in other["message"]
        assert (await upload(broker, b"")).json()["message"].startswith("the body is no zip archive")
        assert (await upload(broker, plugin_zip(), "?check=perhaps")).code == 108
        assert await row(broker) is None


async def test_one_at_a_time(broker: TestBroker) -> None:
    with broker.node.uploading._turn():
        assert "another upload" in (await upload(broker, plugin_zip())).json()["message"]
    assert (await upload(broker, plugin_zip())).code == 0

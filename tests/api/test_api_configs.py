"""`/configs` and `/plugins/{plugin}/config`: settings, where they come from, and what is saved over them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trioemqx.config.saved import FILE
from trioemqx.testing import ApiAnswer, TestBroker, running

SECRET = "management.default_application.secret"


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {
        "zone": {"external": {}},
        "mqtt": {"max_qos_allowed": 2},
        "modules": {"load": ["emqx_mod_delayed"]},
        "module": {"delayed": {"max_delayed_messages": 7}},
    }


async def setting(broker: TestBroker, key: str) -> dict[str, object]:
    rows = (await broker.api("GET", "/configs")).data
    return next(row for row in rows if row["key"] == key)


def on_disk(broker: TestBroker) -> object:
    file = Path(broker.node.config.node.data_dir) / FILE
    return json.loads(file.read_text()) if file.exists() else None


async def test_all_settings(broker: TestBroker) -> None:
    """GET /configs"""
    rows = (await broker.api("GET", "/configs")).data
    assert len(rows) > 150
    assert len({row["key"] for row in rows}) == len(rows)
    found = await setting(broker, "mqtt.max_packet_size")
    assert found["value"] == "1MB"
    assert (found["unit"], found["origin"], found["live"], found["pending"]) == ("bytes", "default", True, False)
    assert "packet" in str(found["description"]).lower()
    assert (await setting(broker, "mqtt.max_qos_allowed"))["origin"] == "given"
    assert (await setting(broker, SECRET))["value"] == "******"
    fixed = {row["key"] for row in rows if row["fixed"]}
    assert {"node.data_dir", "plugins.dirs", "plugins.upload", "security.outbound.allow"} <= fixed
    assert "mqtt.max_packet_size" not in fixed
    for key in fixed:
        assert (await broker.api("PUT", "/configs", {key: "x"})).code != 0


async def test_a_setting_is_saved_and_in_force(broker: TestBroker) -> None:
    """PUT /configs"""
    body = {"mqtt.max_qos_allowed": 0, "store.queue_window": 33, "zone.external.max_inflight": 5}
    answer = await broker.api("PUT", "/configs", body)
    assert answer.data == {
        "results": {
            "mqtt.max_qos_allowed": "applied",
            "store.queue_window": "after restart",
            "zone.external.max_inflight": "applied",
        },
        "problems": [],
    }
    assert on_disk(broker) == body
    assert (await setting(broker, "mqtt.max_qos_allowed"))["origin"] == "saved"
    assert (await setting(broker, "store.queue_window"))["pending"] is True
    assert broker.node.broker.zones["default"].max_qos_allowed == 0
    assert broker.node.broker.zones["external"].max_inflight == 5


async def test_a_saved_setting_is_forgotten(broker: TestBroker) -> None:
    """DELETE /configs/{key}"""
    await broker.api("PUT", "/configs", {"mqtt.max_qos_allowed": 0})
    assert (await broker.api("DELETE", "/configs/mqtt.max_qos_allowed")).data["problems"] == []
    assert (await setting(broker, "mqtt.max_qos_allowed"))["value"] == 2
    assert broker.node.broker.zones["default"].max_qos_allowed == 2
    assert on_disk(broker) == {}
    assert (await broker.api("DELETE", "/configs/mqtt.max_qos_allowed")).status == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"mqtt.max_qos_allowed": 7}, "mqtt.max_qos_allowed: expected a whole number"),
        ({"mqtt.max_packet_size": "much"}, "expected a size"),
        ({"mqtt.max_packet": 5}, "no such setting"),
        ({"zone.gone.max_inflight": 5}, "no such setting"),
        ({"zone.external.keepalive_backoff": 0.1}, "must be greater than 0.5"),
        ({"node.data_dir": "/somewhere"}, "cannot be saved"),
        ({"license.file": "/tmp/plugin.py"}, "license.file: cannot be saved"),
        ({"plugins.dirs": ["/tmp"]}, "plugins.dirs: cannot be saved"),
        ({"security.outbound.policy": "open"}, "security.outbound.policy: cannot be saved"),
        ({"security.outbound": {"policy": "open"}}, "no such setting"),
        ({"log.dir": "a", "plugins": {"x": 1}}, "no such setting"),
        ({"__proto__": 1, "mqtt.max_qos_allowed": None}, "no such setting"),
        ({"modules.emqx_mod_delayed.max_delayed_messages": -1}, "no such setting"),
        ({"module.delayed.max_delayed_messages": -1}, "expected 0 (no limit) or more"),
        ([], "expected an object"),
        ({}, "expected an object"),
    ],
)
async def test_one_wrong_value_and_nothing_changes(broker: TestBroker, body: object, words: str) -> None:
    sent = {"mqtt.max_topic_levels": 3, **body} if isinstance(body, dict) and body else body
    answer = await broker.api("PUT", "/configs", sent)
    assert (answer.status, answer.code) == (200, 108)
    assert words in str(answer.message)
    assert on_disk(broker) is None
    assert broker.node.config.mqtt.max_topic_levels != 3


async def test_a_secret_goes_in_and_never_out(broker: TestBroker) -> None:
    await broker.api("PUT", "/configs", {SECRET: "very s3cret"})
    answer = await broker.api("GET", "/configs")
    assert b"very s3cret" not in answer.body
    assert (await broker.api("PUT", "/configs", {SECRET: "******"})).code == 0  # as it was shown: it stays
    assert broker.node.config.management.default_application_secret == "very s3cret"
    answer = await broker.api("PUT", "/configs", {SECRET: 5})
    assert b"very" not in answer.body
    assert answer.code == 108


async def test_they_are_there_after_a_restart(tmp_path: Path) -> None:
    tree = {"node": {"data_dir": str(tmp_path)}}
    async with running(tree) as broker:
        await broker.api("PUT", "/configs", {"mqtt.max_qos_allowed": 1})
    async with running(tree) as broker:
        assert broker.node.config.mqtt.max_qos_allowed == 1
        assert (await setting(broker, "mqtt.max_qos_allowed"))["saved"] is True


async def test_what_cannot_be_written_changes_nothing(broker: TestBroker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broker.node.data_dir = tmp_path / "file"
    answer = await broker.api("PUT", "/configs", {"mqtt.max_qos_allowed": 1})
    assert (answer.code, answer.message) == (102, "not_saved")
    assert broker.node.config.mqtt.max_qos_allowed == 2


# -- plugins and modules -----------------------------------------------------------------------------------------------

FORM = "/modules/emqx_mod_delayed/config"


async def test_the_form_of_a_module(broker: TestBroker) -> None:
    """GET /modules/{module}/config"""
    form = (await broker.api("GET", FORM)).data
    assert form["values"]["max_delayed_messages"] == 7
    assert form["origins"]["max_delayed_messages"] == "file"
    assert form["origins"]["max_delayed_bytes"] == "default"
    size = form["schema"]["properties"]["max_delayed_bytes"]
    assert (size["x-unit"], size["default"]) == ("bytes", 100 * 1024 * 1024)
    assert "how much may wait" in form["schema"]["description"]


async def test_settings_of_a_module_are_saved_applied_and_forgotten(broker: TestBroker) -> None:
    """PUT /modules/{module}/config, DELETE /modules/{module}/config"""
    values = (await broker.api("GET", FORM)).data["values"]
    answer = await broker.api("PUT", FORM, {"values": {**values, "max_delayed_messages": 9}})
    assert answer.data == {"results": {"modules.emqx_mod_delayed.max_delayed_messages": "applied"}, "problems": []}
    assert on_disk(broker) == {"modules.emqx_mod_delayed.max_delayed_messages": 9}
    module = broker.node.plugins.plugin("emqx_mod_delayed")
    assert module.config.max_delayed_messages == 9
    assert (await broker.api("GET", FORM)).data["origins"]["max_delayed_messages"] == "saved"
    assert (await broker.api("DELETE", FORM)).code == 0
    assert module.config.max_delayed_messages == 7
    assert (await broker.api("DELETE", FORM)).status == 404


@pytest.mark.parametrize(
    "values", [{"max_delayed_messages": -1}, {"max": 1}, {"max_delayed_bytes": "x"}, {"a.b": 1}, 5]
)
async def test_wrong_settings_of_a_module(broker: TestBroker, values: object) -> None:
    answer = await broker.api("PUT", FORM, {"values": values})
    assert (answer.status, answer.code) == (200, 108)
    assert on_disk(broker) is None


async def test_only_what_is_loaded_says_what_its_settings_are(broker: TestBroker) -> None:
    """GET /plugins/{plugin}/config"""
    answer = await broker.api("GET", "/plugins/emqx_web_hook/config")
    assert (answer.code, answer.message) == (111, "not_started")
    assert (await broker.api("GET", "/plugins/nobody/config")).status == 404
    assert (await broker.api("GET", "/plugins/emqx_mod_delayed/config")).status == 404


async def test_secrets_of_a_plugin(broker: TestBroker) -> None:
    """PUT /plugins/{plugin}/config, DELETE /plugins/{plugin}/config"""
    await broker.node.plugins.load("emqx_web_hook")
    path = "/plugins/emqx_web_hook/config"
    values = {"headers": {"authorization": "t0ken", "x": "y"}}
    answer = await broker.api("PUT", path, {"values": values})
    assert answer.data["problems"] == []
    shown = (await broker.api("GET", path)).data
    assert shown["values"]["headers"] == {"authorization": "******", "x": "******"}
    assert shown["schema"]["properties"]["headers"]["additionalProperties"]["writeOnly"] is True
    body = {"values": {"headers": {"authorization": "******", "x": "z"}}}
    assert (await broker.api("PUT", path, body)).code == 0
    headers = broker.node.plugins.plugin("emqx_web_hook").config.headers
    assert {name: str(value) for name, value in headers.items()} == {"authorization": "t0ken", "x": "z"}
    assert (await broker.api("DELETE", path)).code == 0


async def test_the_password_in_a_url_goes_in_and_never_out(broker: TestBroker) -> None:
    """PUT /plugins/{plugin}/config, PUT /configs"""
    await broker.node.plugins.load("emqx_web_hook")
    path, url = "/plugins/emqx_web_hook/config", "http://me:hunter2@127.0.0.1:9/x"

    async def in_force() -> str:
        return str(broker.node.plugins.plugin("emqx_web_hook").config.url)

    assert (await broker.api("PUT", path, {"values": {"url": url}})).code == 0
    form = (await broker.api("GET", path)).data["values"]
    assert form["url"] == "http://me:******@127.0.0.1:9/x"
    assert (await setting(broker, "plugins.emqx_web_hook.url"))["value"] == form["url"]
    assert (await broker.api("PUT", path, {"values": {**form, "pool_size": 3}})).code == 0
    assert (await broker.api("PUT", "/configs", {"plugins.emqx_web_hook.url": form["url"]})).code == 0
    assert await in_force() == url
    other = "http://me:******@127.0.0.1:10/x"
    for answer in (
        await broker.api("PUT", path, {"values": {"url": other}}),
        await broker.api("PUT", "/configs", {"plugins.emqx_web_hook.url": other}),
    ):
        assert (answer.code, "has a password that is not shown; write it out" in answer.message) == (108, True)
    assert await in_force() == url
    for door in ("/configs", path):
        assert b"hunter2" not in (await broker.api("GET", door)).body


async def test_exports_leave_out_what_has_a_secret_in_it(broker: TestBroker) -> None:
    """Not only settings that are one: the table of a bridge has its password, a URL may have one, and a plugin knows
    more of its settings than their names tell."""
    for name in ("emqx_web_hook", "emqx_bridge_mqtt"):
        await broker.node.plugins.load(name)
    bridge = {
        "x": {"address": "127.0.0.1:9", "clientid": "c", "start_type": "manual", "username": "u", "password": "hunter2"}
    }
    for name, values in (
        ("emqx_web_hook", {"url": "http://me:hunter2@127.0.0.1:9/x", "headers": {"x-own": "hunter2"}}),
        ("emqx_bridge_mqtt", {"mqtt": bridge}),
        ("emqx_web_hook", {"pool_size": 3}),
    ):
        assert (await broker.api("PUT", f"/plugins/{name}/config", {"values": values})).code == 0
    name = (await broker.api("POST", "/data/export")).data["filename"]
    answer = await broker.api("GET", f"/data/file/{name}")
    assert b"hunter2" not in answer.body
    assert json.loads(json.loads(answer.body)["file"])["trioemqx"]["saved"] == {"plugins.emqx_web_hook.pool_size": 3}


async def test_the_environment_is_stronger_than_what_is_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also under the name that a setting has in EMQX."""
    from trioemqx.config.load import load
    from trioemqx.node import open_broker

    file = tmp_path / "emqx.toml"
    file.write_text(f'[node]\ndata_dir = "{tmp_path}"\n[modules]\nload = ["emqx_mod_delayed"]\nloaded_file = "none"\n'
                    '[plugins]\nload = []\nloaded_file = "none"\n[store]\nsync = "memory"\n')  # fmt: skip
    environ = {"EMQX_MODULE__DELAYED__MAX_DELAYED_MESSAGES": "3", "EMQX_MQTT__MAX_QOS_ALLOWED": "1"}
    async with open_broker(load(file, environ), in_memory=True) as node:
        broker = TestBroker(node)
        answer = await broker.api("PUT", "/configs", {"mqtt.max_qos_allowed": 2})
        assert answer.data["results"] == {"mqtt.max_qos_allowed": "covered by the environment"}
        assert node.config.mqtt.max_qos_allowed == 1
        await broker.api("PUT", FORM, {"values": {"max_delayed_messages": 9, "max_delayed_bytes": 5000}})
        form = (await broker.api("GET", FORM)).data
        assert (form["values"]["max_delayed_messages"], form["values"]["max_delayed_bytes"]) == (3, 5000)
        assert form["origins"]["max_delayed_messages"] == "environment"


async def test_the_last_lines_of_a_log(broker: TestBroker) -> None:
    """GET /modules/{module}/log, GET /plugins/{plugin}/log"""
    log = broker.node.plugins.plugin("emqx_mod_delayed").log
    for number in range(250):
        log.warning("line %d", number)
    lines = (await broker.api("GET", "/modules/emqx_mod_delayed/log")).data
    assert len(lines) == 200
    assert (lines[-1]["message"], lines[-1]["level"]) == ("line 249", "warning")
    assert lines[0]["time"] <= lines[-1]["time"]
    assert (await broker.api("GET", "/plugins/emqx_web_hook/log")).data == []
    broker.node.plugins.serving.not_loaded("emqx_web_hook", "no reason", None)  # what the broker says about it
    assert "was not loaded" in (await broker.api("GET", "/plugins/emqx_web_hook/log")).data[0]["message"]
    assert (await broker.api("GET", "/plugins/nobody/log")).status == 404


async def test_exports_hold_what_was_saved_but_no_secrets(broker: TestBroker) -> None:
    await broker.api("PUT", "/configs", {"mqtt.max_qos_allowed": 1, SECRET: "very s3cret"})
    name = (await broker.api("POST", "/data/export")).data["filename"]
    text = (await broker.api("GET", f"/data/file/{name}")).body
    assert b"very s3cret" not in text
    assert b"mqtt.max_qos_allowed" in text
    await broker.api("DELETE", "/configs/mqtt.max_qos_allowed")
    assert (await broker.api("POST", "/data/import", {"filename": name})).code == 0
    assert broker.node.config.mqtt.max_qos_allowed == 1
    assert broker.node.config.management.default_application_secret == "very s3cret"


async def test_an_import_with_a_wrong_setting_changes_nothing(broker: TestBroker) -> None:
    export = {"version": "4.4", "trioemqx": {"saved": {"mqtt.max_topic_levels": 3, "mqtt.max_qos_allowed": 9}}}
    export["apps"] = []  # type: ignore[assignment]
    answer: ApiAnswer = await broker.api("POST", "/data/import", export)
    assert answer.code != 0
    assert "mqtt.max_qos_allowed" in answer.body.decode()
    assert on_disk(broker) is None

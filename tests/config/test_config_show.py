"""Where a value comes from, the whole configuration as text, and what a reload changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trioemqx.config.load import from_mapping, load
from trioemqx.config.model import Config
from trioemqx.config.show import diff, explain, origin, show

TEXT = """\
[mqtt]
max_topic_levels = 7
max_qos_allowed = 1
[listener.ssl.s]
bind = 1
keyfile = "k"
certfile = "c"
key_password = "hunter2"
[plugins.hook]
api_token = "hunter3"
url = "http://x"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "emqx.toml"
    file.write_text(TEXT, "utf-8")
    environ = {"EMQX_MQTT__MAX_QOS_ALLOWED": "2", "EMQX_LISTENER__SSL__S__KEY_PASSWORD": "hunter4"}
    return load(file, environ, {"mqtt.max_topic_levels": 9, "mqtt.strict_mode": True})


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("listener.ssl.s.bind", "file {file}:5"),
        ("mqtt.max_qos_allowed", "environment EMQX_MQTT__MAX_QOS_ALLOWED; file says 1"),
        ("mqtt.max_topic_levels", "saved override; file says 7"),
        ("mqtt.strict_mode", "saved override"),
        ("mqtt.max_packet_size", "default"),
        ("listener.ssl.s.key_password", "environment EMQX_LISTENER__SSL__S__KEY_PASSWORD; file says ******"),
        ("plugins.hook.url", "file {file}:11"),
    ],
)
def test_origins(config: Config, key: str, text: str) -> None:
    assert origin(config, key) == text.format(file=config.path)


def test_what_the_file_says_is_told_as_it_is_written(tmp_path: Path) -> None:
    """Python's True and ['...'] were shown instead."""
    file = tmp_path / "emqx.toml"
    file.write_text('mqtt.strict_mode = true\n[listener.tcp.t]\nbind = 1\naccess = ["allow all"]\n', "utf-8")
    config = load(file, {"EMQX_MQTT__STRICT_MODE": "off", "EMQX_LISTENER__TCP__T__ACCESS": "deny all"})
    assert origin(config, "mqtt.strict_mode") == "environment EMQX_MQTT__STRICT_MODE; file says true"
    assert origin(config, "listener.tcp.t.access").endswith('; file says ["allow all"]')


def test_an_unknown_key_has_no_origin(config: Config) -> None:
    with pytest.raises(KeyError):
        origin(config, "mqtt.nonsense")


def test_without_a_file_everything_is_default() -> None:
    assert {where for _key, _value, where in show(load(None, {}))} == {"default"}


def test_show_has_every_key_once_as_it_would_be_written(config: Config) -> None:
    rows = {key: value for key, value, _where in show(config)}
    assert len(rows) == len(list(show(config)))
    assert rows["mqtt.max_packet_size"] == "1MB"
    assert rows["acl_cache_ttl"] == "1m"
    assert rows["os_mon.cpu_high_watermark"] == "80%"
    assert rows["listener.ssl.s.bind"] == "1"
    assert rows["auth_order"] == "none"
    assert rows["plugins.hook.url"] == "http://x"
    assert "listener.ssl.s.mqtt_path" not in rows
    json.dumps(rows)


def test_secrets_are_never_shown(config: Config) -> None:
    rows = list(show(config))
    assert "hunter" not in repr(rows)
    assert "hunter" not in repr(config)
    values = {key: value for key, value, _where in rows}
    assert values["listener.ssl.s.key_password"] == values["plugins.hook.api_token"] == "******"
    assert values["node.cookie"] == "******"


@pytest.mark.parametrize(
    "name", ["authorization", "Proxy-Authorization", "cookie", "x-api-key", "x-auth-token", "x-own"]
)
def test_headers_that_plugins_send_are_shown_without_what_lets_them_in(name: str) -> None:
    found = from_mapping({"plugins": {"web": {"hook": {"headers": {name: "hunter2", "content-type": "text/plain"}}}}})
    rows = {key: value for key, value, _where in show(found)}
    assert "hunter" not in repr(rows)
    assert "text/plain" in repr(rows)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://me:hunter2@host:1/p?q=a@b", "http://me:******@host:1/p?q=a@b"),
        ("https://me:hunter2@x@host", "https://me:******@host"),
        ("mqtts://:hunter2@host", "mqtts://:******@host"),
        ("http://me@host/a:b@c", "http://me@host/a:b@c"),
        ("http://host:80/x@y", "http://host:80/x@y"),
        ("see http://a:hunter2@b and http://c:hunter3@d", "see http://a:******@b and http://c:******@d"),
    ],
)
def test_passwords_in_urls_are_not_shown(url: str, text: str) -> None:
    """By no door: neither the value, nor what a stronger source covers, nor a change."""
    found = from_mapping({"plugins": {"web": {"url": url, "more": {"servers": [url]}}}})
    rows = {key: value for key, value, _where in show(found)}
    assert rows["plugins.web.url"] == text
    assert rows["plugins.web.more.servers"] == [text]
    (row,) = (row for row in explain(found, found) if row["key"] == "plugins.web.url")
    assert row["value"] == text
    (change,) = diff(from_mapping({}), from_mapping({"plugins": {"web": {"url": url}}}))
    assert change.after == text


def with_listener(**settings: object) -> Config:
    return from_mapping({"listener": {"tcp": {"a": {"bind": 1, **settings}}}})


def test_a_reload_that_changes_nothing() -> None:
    assert diff(load(None, {}), load(None, {})) == []


def test_changes_say_how_they_are_applied() -> None:
    old = from_mapping({"node": {"data_dir": "a"}, "listener": {"tcp": {"a": 1, "b": 2}}, "plugins": {"p": {"x": 1}}})
    new = from_mapping(
        {
            "node": {"data_dir": "b"},
            "mqtt": {"max_packet_size": "2MB"},
            "listener": {"tcp": {"a": 3, "c": 4}},
            "plugins": {"p": {"x": 2}},
        }
    )
    changes = {change.key: (change.before, change.after, change.how, change.live) for change in diff(old, new)}
    assert changes == {
        "node.data_dir": ("a", "b", "restart", False),
        "mqtt.max_packet_size": ("1MB", "2MB", "live", True),
        "listener.tcp.a.bind": ("1", "3", "listener", True),
        "listener.tcp.b": ("2", None, "listener", True),
        "listener.tcp.c": (None, "4", "listener", True),
        "plugins.p.x": (1, 2, "plugin", True),
    }


def test_a_changed_secret_is_a_change_but_not_shown() -> None:
    old, new = (from_mapping({"node": {"cookie": cookie}}) for cookie in ("hunter1", "hunter2"))
    (change,) = diff(old, new)
    assert (change.key, change.before, change.after) == ("node.cookie", "******", "******")


def test_a_new_zone_shows_all_it_sets() -> None:
    old, new = with_listener(), from_mapping({"listener": {"tcp": {"a": 1}}, "zone": {"z": {"max_inflight": 3}}})
    keys = {change.key: change.after for change in diff(old, new)}
    assert keys["zone.z.max_inflight"] == 3

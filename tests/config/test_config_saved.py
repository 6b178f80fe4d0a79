"""Saved overrides: where they lie, and their place between environment and file."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from trioemqx.config.errors import ConfigErrors
from trioemqx.config.load import from_mapping, load_with_saved
from trioemqx.config.model import schema
from trioemqx.config.saved import FILE, MAX_SIZE, is_fixed, read_saved, write_saved
from trioemqx.config.schema import leaves
from trioemqx.config.show import explain, origin


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "emqx.toml"
    path.write_text(
        f'[node]\ndata_dir = "{tmp_path}/data"\n[mqtt]\nmax_packet_size = "1MB"\nmax_qos_allowed = 2\n'
        '[zone.external]\n[listener.tcp.external]\nbind = 1883\nzone = "external"\n'
    )
    return path


def save(file: Path, **values: object) -> None:
    write_saved(file.parent / "data", {key.replace("__", "."): value for key, value in values.items()})


def test_environment_over_saved_over_file_over_default(file: Path) -> None:
    save(file, mqtt__max_packet_size="2MB", mqtt__max_qos_allowed=1, mqtt__max_topic_levels=7)
    config = load_with_saved(file, {"EMQX_MQTT__MAX_QOS_ALLOWED": "0"})
    assert (config.mqtt.max_packet_size, config.mqtt.max_qos_allowed, config.mqtt.max_topic_levels) == (2 << 20, 0, 7)
    assert origin(config, "mqtt.max_packet_size") == "saved override; file says 1MB"
    assert origin(config, "mqtt.max_qos_allowed") == "environment EMQX_MQTT__MAX_QOS_ALLOWED; file says 2"
    rows = {row["key"]: row for row in explain(config, config)}
    packet = rows["mqtt.max_packet_size"]
    assert (packet["origin"], packet["file"], packet["default"], packet["saved"]) == ("saved", "1MB", "1MB", True)
    assert rows["mqtt.max_qos_allowed"]["origin"] == "environment"
    assert rows["mqtt.max_clientid_len"]["origin"] == "default"
    assert rows["zone.external.max_inflight"]["live"] is True


def test_the_environment_says_where_they_are(file: Path, tmp_path: Path) -> None:
    write_saved(tmp_path / "elsewhere", {"mqtt.max_qos_allowed": 1})
    config = load_with_saved(file, {"EMQX_NODE__DATA_DIR": str(tmp_path / "elsewhere")})
    assert config.mqtt.max_qos_allowed == 1


def test_they_are_put_together_again_with_others(file: Path) -> None:
    config = load_with_saved(file, {})
    assert config.source is not None
    assert config.source({"mqtt.max_qos_allowed": 1}).mqtt.max_qos_allowed == 1
    save(file, mqtt__max_qos_allowed=0)
    assert config.source(None).mqtt.max_qos_allowed == 0
    given = from_mapping({"node": {"data_dir": str(file.parent / "data")}})
    assert given.mqtt.max_qos_allowed == 2
    assert given.source is not None
    assert given.source(None).mqtt.max_qos_allowed == 0


def test_only_the_owner_can_read_them(file: Path) -> None:
    save(file, management__default_application__secret="s3cret")
    path = file.parent / "data" / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [FILE]
    assert json.loads(path.read_text()) == {"management.default_application.secret": "s3cret"}


@pytest.mark.parametrize("text", ["{", "[]", "5", '{"a": ' * 100_000, "x" * (MAX_SIZE + 1), "\xff"])
def test_a_broken_file_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, "latin-1")
    with pytest.raises(ConfigErrors, match="remove what is wrong from the file"):
        read_saved(tmp_path)


def test_a_wrong_value_names_its_source(file: Path) -> None:
    save(file, mqtt__max_qos_allowed=7, mqtt__max_qos=1)
    with pytest.raises(ConfigErrors) as caught:
        load_with_saved(file, {})
    lines = [str(error) for error in caught.value.errors]
    assert any("saved override" in line and "mqtt.max_qos_allowed" in line for line in lines)
    assert any("unknown key" in line and "mqtt.max_qos" in line for line in lines)


def test_what_the_file_no_longer_has_is_not_brought_back(file: Path) -> None:
    write_saved(
        file.parent / "data",
        {"listener.tcp.gone.backlog": 5, "zone.gone.max_inflight": 5, "listener.tcp.external.backlog": 9},
    )
    config = load_with_saved(file, {})
    assert [(listener.name, listener.backlog) for listener in config.listeners] == [("external", 9)]
    assert list(config.zones) == ["external"]
    assert sum("saved override" in warning for warning in config.warnings) == 2
    config = load_with_saved(file, {"EMQX_LISTENER__TCP__GONE": "1884"})
    assert [(listener.name, listener.backlog) for listener in config.listeners] == [("external", 9), ("gone", 5)]


def test_the_place_of_the_file_cannot_be_saved_in_it(file: Path) -> None:
    save(file, node__data_dir="/somewhere/else")
    assert load_with_saved(file, {}).node.data_dir == str(file.parent / "data")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("license.file", "/somewhere/plugin.py"),
        ("license", {"file": "/somewhere/plugin.py"}),
        ("plugins.dirs", ["/somewhere"]),
        ("security.outbound", {"policy": "open"}),
        ("security.outbound.policy", "open"),
        ("log.debug.file", "/somewhere/plugin.py"),
    ],
)
def test_who_may_save_settings_cannot_leave_the_bounds_of_the_file(file: Path, key: str, value: object) -> None:
    write_saved(file.parent / "data", {key: value, "mqtt.max_qos_allowed": 1})
    assert read_saved(file.parent / "data") == {"mqtt.max_qos_allowed": 1}
    config = load_with_saved(file, {})
    assert (config.license.file, config.plugins.dirs) == ("etc/emqx.lic", ())


def test_a_path_can_be_saved_only_where_it_is_read_and_never_shown() -> None:
    """A setting that names a file and is new has to be thought about: see `FIXED`."""
    paths = {path for path, setting in leaves(schema()) if setting.kind.name.startswith("path") and setting.used}
    read = {path for path in paths if path[-1] in ("keyfile", "certfile", "cacertfile", "dhfile", "acl_file")}
    assert {path for path in paths - read if not is_fixed(".".join(path))} == set()
    assert len(paths - read) > 12

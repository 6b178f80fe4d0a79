"""EMQX_... variables: how names become keys, what is special, and that strangers are only warned about."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioemqx.config.errors import ConfigErrors
from trioemqx.config.load import load
from trioemqx.config.model import Config
from trioemqx.config.show import show, unknown
from trioemqx.config.values import Address


def shipped_with(**environ: str) -> Config:
    return load(None, environ)


def listener(config: Config, name: str) -> object:
    return next(one for one in config.listeners if one.id == name)


def test_two_underscores_are_a_dot() -> None:
    config = shipped_with(EMQX_LISTENER__TCP__EXTERNAL="1884", EMQX_ZONE__EXTERNAL__MAX_INFLIGHT="64")
    assert config.listeners[0].bind == Address("", 1884)
    assert config.listeners[0].max_connections == 1024000
    assert config.zone("external").max_inflight == 64
    assert config.warnings == []


def test_case_does_not_matter() -> None:
    config = shipped_with(emqx_mqtt__Max_Qos_Allowed="1", Emqx_Allow_Anonymous="FALSE")
    assert config.mqtt.max_qos_allowed == 1
    assert config.allow_anonymous == "false"


def test_dashes_and_capitals_of_names_in_the_file_are_found(tmp_path: Path) -> None:
    file = tmp_path / "emqx.toml"
    file.write_text("[listener.tcp.My-Listener]\nbind = 1\n", "utf-8")
    config = load(file, {"EMQX_LISTENER__TCP__MY_LISTENER__MAX_CONNECTIONS": "7"})
    assert [(one.name, one.max_connections) for one in config.listeners] == [("My-Listener", 7)]


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("EMQX_LOG__ROTATION", "off", lambda c: c.log.rotation is False),
        ("EMQX_LOG__FORMATTER__TEXT__DATE__FORMAT", "%Y", lambda c: c.log.date_format == "%Y"),
        ("EMQX_LOG__FILE", "x.log", lambda c: c.log.file == "x.log"),
        ("EMQX_ACL_FILE", "x.acl", lambda c: c.acl_file == "x.acl"),
        ("EMQX_ZONE__EXTERNAL__KEEPALIVE_BACKOFF", "0.8", lambda c: c.zone("external").keepalive_backoff == 0.8),
        (
            "EMQX_ZONE__EXTERNAL__RATE_LIMIT__CONN_BYTES_IN",
            "1KB,1s",
            lambda c: c.zone("external").conn_bytes_in == (1024, 1),
        ),
        ("EMQX_BROKER__GROUP__G__SHARED_SUBSCRIPTION_STRATEGY", "hash", lambda c: list(c.broker.groups) == ["g"]),
        ("EMQX_OS_MON__CPU_HIGH_WATERMARK", "90%", lambda c: c.os_mon.cpu_high_watermark == 90),
        ("EMQX_NODE__COOKIE", "x", lambda c: c.node.cookie == "x"),
        ("EMQX_CLUSTER__DISCOVERY", "manual", lambda c: c.cluster == {"discovery": "manual"}),
        ("EMQX_PLUGINS__MINE__GREETING", "hi", lambda c: c.plugin_tables == {"mine": {"greeting": "hi"}}),
        (
            "EMQX_LISTENER__WS__NEW",
            "9000",
            lambda c: ("ws", "new", 9000) in [(o.kind, o.name, o.port) for o in c.listeners],
        ),
    ],
)
def test_every_kind_of_key_can_be_reached(name: str, value: str, read: object) -> None:
    config = load(None, {name: value})
    assert callable(read)
    assert read(config)
    assert config.warnings == []


def test_numbered_access_rules_replace_the_list_in_order() -> None:
    prefix = "EMQX_LISTENER__TCP__EXTERNAL__ACCESS__"
    config = load(None, {prefix + "2": "deny all", prefix + "1": "allow 10.0.0.0/8"})
    assert [str(rule) for rule in config.listeners[0].access] == ["allow 10.0.0.0/8", "deny all"]


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"EMQX_NAME": "mqtt"}, "mqtt@127.0.0.1"),
        ({"EMQX_HOST": "node1.example.com"}, "emqx@node1.example.com"),
        ({"EMQX_NAME": "mqtt", "EMQX_HOST": "h"}, "mqtt@h"),
        ({"EMQX_NAME": "a@b"}, "a@b"),
        ({"EMQX_NODE_NAME": "x@y", "EMQX_NAME": "mqtt"}, "x@y"),
        ({"EMQX_NODE__NAME": "w@z", "EMQX_NODE_NAME": "x@y"}, "w@z"),
    ],
)
def test_node_name_variables(environ: dict[str, str], name: str) -> None:
    config = load(None, environ)
    assert config.node.name == name
    assert config.warnings == []


@pytest.mark.parametrize(
    "value", ["emqx_retainer,emqx_web_hook", "emqx_retainer emqx_web_hook", "emqx_retainer|emqx_web_hook;"]
)
def test_loaded_plugins_and_modules_take_any_separator(value: str) -> None:
    config = shipped_with(EMQX_LOADED_PLUGINS=value, EMQX_LOADED_MODULES=value)
    assert config.plugins.load == config.modules.load == ("emqx_retainer", "emqx_web_hook")


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pa ss\n", "utf-8")
    config = shipped_with(EMQX_LISTENER__SSL__EXTERNAL__KEY_PASSWORD_FILE=str(secret))
    assert config.listeners[2].key_password == "pa ss"


def test_a_secret_file_that_is_missing_or_doubled_stops_the_start(tmp_path: Path) -> None:
    name = "EMQX_LISTENER__SSL__EXTERNAL__KEY_PASSWORD"
    with pytest.raises(ConfigErrors, match=rf"^environment {name}_FILE: .*cannot be read: No such file"):
        load(None, {f"{name}_FILE": str(tmp_path / "none")})
    with pytest.raises(ConfigErrors, match=f"{name} is set as well"):
        load(None, {f"{name}_FILE": str(tmp_path), name: "x"})
    (tmp_path / "huge").write_bytes(b"x" * 70_000)
    with pytest.raises(ConfigErrors, match="larger than 64 KB"):
        load(None, {f"{name}_FILE": str(tmp_path / "huge")})
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ConfigErrors, match="not UTF-8"):
        load(None, {f"{name}_FILE": str(tmp_path / "binary")})


def test_an_unknown_variable_is_a_warning_with_a_suggestion() -> None:
    config = shipped_with(EMQX_ZONE__EXTERNAL__MAX_INFLIHGT="64", EMQX_PORT="tcp://10.0.0.1:1883")
    assert config.warnings == [
        "environment EMQX_PORT: no such setting",
        "environment EMQX_ZONE__EXTERNAL__MAX_INFLIHGT: no such setting "
        "(did you mean EMQX_ZONE__EXTERNAL__MAX_INFLIGHT?)",
    ]
    assert config.zone("external").max_inflight == 32


def test_a_misspelt_listener_is_a_warning_and_makes_none() -> None:
    config = shipped_with(EMQX_LISTENER__TCP__EXTERNL__BACKLOG="7")
    assert config.warnings == [
        "environment EMQX_LISTENER__TCP__EXTERNL__BACKLOG: there is no listener tcp.externl "
        "(did you mean EMQX_LISTENER__TCP__EXTERNAL__BACKLOG?)"
    ]
    assert len(config.listeners) == 5


def test_a_new_zone_is_told() -> None:
    config = shipped_with(EMQX_ZONE__EXTRENAL__MAX_INFLIGHT="7")
    assert config.warnings == ["environment EMQX_ZONE__EXTRENAL__MAX_INFLIGHT: makes a new zone extrenal"]


def test_an_ill_typed_value_names_the_variable() -> None:
    with pytest.raises(ConfigErrors) as caught:
        shipped_with(EMQX_ZONE__EXTERNAL__MAX_INFLIGHT="many")
    assert str(caught.value) == (
        "environment EMQX_ZONE__EXTERNAL__MAX_INFLIGHT: zone.external.max_inflight: "
        "expected a whole number 0..65535, got 'many'"
    )


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ConfigErrors, match="expected one of emqx44, hardened"):
        shipped_with(EMQX_SECURITY__PROFILE="open")


@pytest.mark.parametrize("name", ["PATH", "TRIOEMQX_PURE", "EMQX_WAIT_FOR_STOP", "MYEMQX_X"])
def test_other_variables_are_left_alone(name: str) -> None:
    assert load(None, {name: "x"}).warnings == []


@pytest.mark.parametrize(
    "name", ["EMQX_", "EMQX____", "EMQX_ZONE", "EMQX_ZONE____X", "EMQX_LISTENER__TCP____BIND", "EMQX_FILE"]
)
def test_odd_names_are_warnings(name: str) -> None:
    (warning,) = load(None, {name: "x"}).warnings
    assert warning.startswith(f"environment {name}: no such setting")


@pytest.mark.parametrize(
    "table",
    ["AUTH__MYSQL__SSL", "BRIDGE__MQTT__AWS__SSL", "MODULE__PRESENCE", "PLUGINS__A__B", "WEB__HOOK__SSL"],
)
def test_a_variable_may_be_a_value_and_a_prefix(table: str) -> None:
    """What it means is its owner's to say; the broker keeps both, in either order of the names."""
    config = shipped_with(**{f"EMQX_{table}": "on", f"EMQX_{table}__VERIFY": "x"})
    key = table.lower().split("__")
    tree = config.plugin_tables if key[0] == "plugins" else getattr(config, key[0])
    for name in key[1:]:
        tree = tree[name]
    assert (tree[""], tree["verify"]) == ("on", "x")


def test_a_stronger_table_takes_the_place_of_a_value_and_the_other_way(tmp_path: Path) -> None:
    """But for a flag, which switches the weaker table."""
    file = tmp_path / "emqx.toml"
    file.write_text("[auth.x]\na = false\nb.c = 1\nd.e = 1\n", "utf-8")
    config = load(file, {"EMQX_AUTH__X__A__C": "1", "EMQX_AUTH__X__B": "text", "EMQX_AUTH__X__D": "on"})
    assert config.auth["x"] == {"a": {"c": "1"}, "b": "text", "d": {"e": 1, "": "on"}}


def test_a_group_has_its_strategy_under_emqx_s_name() -> None:
    config = shipped_with(
        EMQX_BROKER__G1__SHARED_SUBSCRIPTION_STRATEGY="sticky", EMQX_BROKER__SHARED_SUBSCRIPTION_STRATEGY="hash"
    )
    assert config.broker.groups["g1"].shared_subscription_strategy == "sticky"
    assert config.broker.shared_subscription_strategy == "hash"
    assert config.warnings == []


def test_what_a_listener_of_the_environment_lacks_is_its_own_fault(tmp_path: Path) -> None:
    file = tmp_path / "emqx.toml"
    file.write_text('[listener.tcp.main]\nbind = 0\nzone = "nowhere"\n', "utf-8")
    with pytest.raises(ConfigErrors) as caught:
        load(file, {"EMQX_LISTENER__SSL__MINE": "8884"})
    where = {error.key: error.source for error in caught.value.errors}
    assert where["listener.ssl.mine.keyfile"] == "environment EMQX_LISTENER__SSL__MINE"
    assert where["listener.tcp.main.zone"] == f"{file}:3"


def test_a_value_beside_a_table_is_shown_by_its_name() -> None:
    config = shipped_with(EMQX_AUTH__JWT__VERIFY_CLAIMS="on", EMQX_AUTH__JWT__VERIFY_CLAIMS__SUB="%c")
    shown = {key: (value, where) for key, value, where in show(config)}
    assert shown["auth.jwt.verify_claims"] == ("on", "environment EMQX_AUTH__JWT__VERIFY_CLAIMS")
    assert shown["auth.jwt.verify_claims.sub"] == ("%c", "environment EMQX_AUTH__JWT__VERIFY_CLAIMS__SUB")


@pytest.mark.parametrize(
    ("prefix", "nearest"),
    [
        ("mqtt.max_packet_size", None),
        ("mqtt.max_", None),
        ("", None),
        ("broker.group", None),
        ("cluster", None),
        ("mqtt.max_packet_sice", "mqtt.max_packet_size"),
        ("zone.externl.max_inflight", "zone.external.max_inflight"),
        ("xqz", ""),
    ],
)
def test_a_setting_that_is_nowhere(prefix: str, nearest: str | None) -> None:
    config = shipped_with()
    assert unknown(prefix, [key for key, _, _ in show(config)]) == nearest

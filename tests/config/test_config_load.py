"""From file, saved overrides and environment to a Config: precedence, defaults, and errors that say where."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioemqx.config.errors import ConfigErrors
from trioemqx.config.load import from_mapping, load
from trioemqx.config.model import Config
from trioemqx.config.values import Address, FlappingPolicy
from trioemqx.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "emqx.toml"
    file.write_text(text, "utf-8")
    return file


def errors_of(tmp_path: Path, text: str) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        load(write(tmp_path, text), {})
    return caught.value.errors


def test_without_a_file_the_shipped_values_hold() -> None:
    config = load(None, {})
    assert [(one.id, one.host, one.port, one.zone) for one in config.listeners] == [
        ("mqtt:tcp:external", "0.0.0.0", 1883, "external"),
        ("mqtt:tcp:internal", "127.0.0.1", 11883, "internal"),
        ("mqtt:ssl:external", "0.0.0.0", 8883, "external"),
        ("mqtt:ws:external", "0.0.0.0", 8083, "external"),
        ("mqtt:wss:external", "0.0.0.0", 8084, "external"),
    ]
    assert (config.allow_anonymous, config.acl_nomatch) == ("true", "allow")
    assert config.broker.shared_subscription_strategy == "random"
    assert config.mqtt.ignore_loop_deliver is False
    assert config.zone("external").max_inflight == 32
    assert config.flapping_detect_policy == FlappingPolicy(30, 60.0, 300.0)
    assert config.module == {"presence": {"qos": 1}}
    assert config.warnings == []


def test_keys_a_file_leaves_out_take_the_schema_defaults(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[listener.tcp.one]\nbind = 1\n[zone.z]\nidle_timeout = "1s"\n'), {})
    assert (config.allow_anonymous, config.acl_nomatch) == ("false", "deny")
    assert config.broker.shared_subscription_strategy == "round_robin"
    assert config.mqtt.ignore_loop_deliver is False, (
        "the one schema default we do not take over: MQTT 3.1.1 demands the messages"
    )
    assert config.zone("z").max_inflight == 0
    assert config.zone("z").mqueue_default_priority == "lowest"
    assert config.listeners[0].max_connections == 1024
    assert config.listeners[0].max_conn_rate is None


def test_an_empty_file_has_no_listener_and_says_so(tmp_path: Path) -> None:
    config = load(write(tmp_path, ""), {})
    assert config.listeners == []
    assert config.warnings == ["no listener is configured: nobody can connect"]


def test_environment_beats_saved_beats_file_beats_default(tmp_path: Path) -> None:
    file = write(tmp_path, "[mqtt]\nmax_qos_allowed = 0\nmax_topic_levels = 1\nmax_topic_alias = 1\n")
    config = load(
        file,
        {"EMQX_MQTT__MAX_QOS_ALLOWED": "2"},
        {"mqtt.max_qos_allowed": 1, "mqtt.max_topic_levels": 2},
    )
    mqtt = config.mqtt
    assert (mqtt.max_qos_allowed, mqtt.max_topic_levels, mqtt.max_topic_alias, mqtt.max_clientid_len) == (
        2,
        2,
        1,
        65535,
    )


def test_saved_overrides_are_checked_too() -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(None, {}, {"mqtt.max_qos_allowed": 3, "mqtt.nonsense": 1})
    assert sorted(str(error) for error in caught.value.errors) == [
        "saved override: mqtt.max_qos_allowed: expected a whole number 0..2, got 3",
        "saved override: mqtt.nonsense: unknown key",
    ]


def test_short_spellings(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            '[listener.tcp]\nexternal = "0.0.0.0:1"\nlocal = "2"\nfull.bind = "[::1]:3"\n'
            '[log]\nformatter = "json"\nrotation = "off"\n',
        ),
        {},
    )
    assert [one.bind for one in config.listeners] == [Address("0.0.0.0", 1), Address("", 2), Address("::1", 3)]
    assert config.listeners[1].host == "0.0.0.0"
    assert (config.log.formatter, config.log.rotation, config.log.rotation_size) == ("json", False, 10 * 1024**2)


def test_keys_deeper_than_their_attribute(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            '[log]\nformatter.text.date.format = "%H"\nerror.file = "e.log"\n[log.rotation]\nsize = "1KB"\n'
            '[zone.z.rate_limit]\nconn_messages_in = "5,1s"\n[zone.z.conn_congestion]\nalarm = "on"\n'
            '[broker.group.g1]\nshared_subscription_strategy = "sticky"\n',
        ),
        {},
    )
    assert (config.log.date_format, config.log.rotation_size, config.log.level_files) == (
        "%H",
        1024,
        {"error": "e.log"},
    )
    assert config.zone("z").conn_messages_in == (5, 1.0)
    assert config.zone("z").conn_congestion_alarm is True
    assert config.broker.groups["g1"].shared_subscription_strategy == "sticky"


def test_tables_of_others_are_kept_as_written(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            '[plugins]\nload = ["a"]\n[plugins.emqx_web_hook]\nurl = "http://x"\nnested.on = true\n[modules.m]\n'
            '[[module.rewrite.rule]]\naction = "publish"\n[cluster]\nname = "c"\n[rpc]\nmode = "async"\n',
        ),
        {},
    )
    assert config.plugins.load == ("a",)
    assert config.plugin_tables == {"emqx_web_hook": {"url": "http://x", "nested": {"on": True}}}
    assert config.module_tables == {"m": {}}
    assert config.module == {"rewrite": {"rule": [{"action": "publish"}]}}
    assert (config.cluster, config.rpc) == ({"name": "c"}, {"mode": "async"})


def test_an_unknown_key_names_file_line_and_the_nearest_key(tmp_path: Path) -> None:
    (error,) = errors_of(tmp_path, '\n[listener.tcp.external]\nbind = "1883"\nmax_conections = 5\n')
    assert error.source == f"{tmp_path}/emqx.toml:4"
    assert error.key == "listener.tcp.external.max_conections"
    assert error.hint == "did you mean max_connections?"
    assert str(error) == (
        f"{tmp_path}/emqx.toml:4: listener.tcp.external.max_conections: unknown key (did you mean max_connections?)"
    )


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("nonsense = 1", 1, "nonsense", "unknown key"),
        ("max_inflight = 1", 1, "max_inflight", "did you mean zone.<name>.max_inflight?"),
        ("[mqt]\n", 1, "mqt", "did you mean mqtt?"),
        ("mqtt = 3", 1, "mqtt", "expected a table, got 3"),
        ("\nmqtt.max_qos_allowed = 7", 2, "mqtt.max_qos_allowed", "expected a whole number 0..2, got 7"),
        ('mqtt = { strict_mode = "maybe" }', 1, "mqtt.strict_mode", "expected true, false, on or off, got 'maybe'"),
        ("[zone.z]\n\nmax_inflight = '3'", 3, "zone.z.max_inflight", "got '3'"),
        ("[zone.z]\nmax_inflight.x = 1", 2, "zone.z.max_inflight", "got {'x': 1}"),
        ("[listener.udp.x]", 1, "listener.udp", "unknown key"),
        (
            "[listener.tcp.x]\nbind=1\nkeyfile='k'",
            3,
            "listener.tcp.x.keyfile",
            "did you mean listener.ssl.<name>.keyfile?",
        ),
        ('[zone."a b"]', 1, "zone.a b", "a name may hold letters, digits, - and _"),
        ("[plugins]\netc_dri = 'x'", 2, "plugins.etc_dri", "did you mean etc_dir?"),
        ("[broker.group.g]\nstrategy = 'x'", 2, "broker.group.g.strategy", "unknown key"),
        ("[[mqtt]]\nx = 1", 1, "mqtt", "expected a table"),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, line: int, key: str, words: str) -> None:
    (error,) = errors_of(tmp_path, text)
    assert error.source.endswith(f"emqx.toml:{line}")
    assert error.key == key
    assert words in str(error)


def test_all_errors_come_at_once_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(write(tmp_path, "a = 1\nb = 2\n[mqtt]\nmax_qos_allowed = 9\n[os_mon]\ncpu_low_watermark = 90\n"), {})
    assert all(isinstance(error, ConfigError) for error in caught.value.errors)
    assert [error.key for error in caught.value.errors] == [
        "a",
        "b",
        "mqtt.max_qos_allowed",
        "os_mon.cpu_high_watermark",
    ]
    assert str(caught.value).count("\n") == 3


def test_a_long_wrong_value_is_cut(tmp_path: Path) -> None:
    (error,) = errors_of(tmp_path, f'mqtt.strict_mode = "{"x" * 5000}"')
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = \n", 2), ("[t]\nx = 1\nx = 2\n", 3), ("a = [1,\n", 2), ("[a\n", 1)]
)
def test_broken_toml_names_its_line(tmp_path: Path, text: str, line: int) -> None:
    (error,) = errors_of(tmp_path, text)
    assert error.source.endswith(f"emqx.toml:{line}")
    assert error.hint == "TOML syntax"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"missing\.toml: cannot be read: No such file or directory"):
        load(tmp_path / "missing.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigErrors, match="is not UTF-8 text"):
        load(tmp_path / "latin.toml", {})


def test_a_secret_is_not_repeated_in_errors(tmp_path: Path) -> None:
    text = '[listener.ssl.s]\nbind = 1\nkeyfile = "k"\ncertfile = "c"\nkey_password = 12345\n'
    (error,) = errors_of(tmp_path, text)
    assert "12345" not in str(error)
    assert error.key == "listener.ssl.s.key_password"


def test_from_mapping_checks_like_a_file() -> None:
    config = from_mapping({"listener": {"tcp": {"t": {"bind": "127.0.0.1:0"}}}, "allow_anonymous": True})
    assert config.listeners[0].bind == Address("127.0.0.1", 0)
    assert config.allow_anonymous == "true"
    with pytest.raises(ConfigErrors, match=r"^mqtt\.max_qos_alowed: unknown key \(did you mean max_qos_allowed\?\)$"):
        from_mapping({"mqtt": {"max_qos_alowed": 1}})


def test_a_config_without_anything_is_the_schema_defaults() -> None:
    config = Config()
    assert config.zone("default").max_mqueue_len == 1000
    with pytest.raises(KeyError):
        config.zone("external")


def test_hardened_closes_what_nobody_opened(tmp_path: Path) -> None:
    config = load(None, {"EMQX_SECURITY__PROFILE": "hardened"})
    assert config.security.profile == "hardened"
    assert {one.host for one in config.listeners} == {"127.0.0.1"}
    assert (config.allow_anonymous, config.acl_nomatch, config.acl_file) == ("false", "deny", None)
    assert config.zone("internal").allow_anonymous is None
    text = '[security]\nprofile = "hardened"\n[listener.tcp]\na = 1\nb = "0.0.0.0:2"\n'
    assert [one.host for one in load(write(tmp_path, text), {}).listeners] == ["127.0.0.1", "0.0.0.0"]

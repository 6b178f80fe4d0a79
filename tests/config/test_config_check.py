"""Rules between settings, and files on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trioemqx.config.check import check_files, needs_certificates
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.load import from_mapping, load
from trioemqx.config.model import Config

CERTS = {"keyfile": "k.pem", "certfile": "c.pem"}


def one(kind: str, **settings: object) -> dict[str, Any]:
    return {"listener": {kind: {"one": {"bind": 1, **settings}}}}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"node": {"name": "noat"}}, "node.name: must look like"),
    ({"node": {"name": "a/b@h"}}, "node.name: must look like"),
    ({"node": {"name": "a@b@c"}}, "node.name: must look like"),
    ({"os_mon": {"cpu_high_watermark": "50%"}}, "os_mon.cpu_high_watermark: must be greater"),
    ({"vm_mon": {"process_low_watermark": 80}}, "vm_mon.process_high_watermark: must be greater"),
    ({"listener": {"tcp": {"one": {"backlog": 5}}}}, "listener.tcp.one.bind: is missing"),
    (one("tcp", zone="nowhere"), "listener.tcp.one.zone: there is no zone 'nowhere' (zones: none)"),
    (one("tcp", outbox_low_watermark="1MB"), "listener.tcp.one.outbox_high_watermark: must be greater"),
    (one("tcp", send_timeout=0), "listener.tcp.one.send_timeout: must be greater than 0"),
    (one("tcp", peer_cert_as_username="dn"), "listener.tcp.one.peer_cert_as_username: only cn"),
    (one("ssl", certfile="c"), "listener.ssl.one.keyfile: is missing"),
    (one("wss", keyfile="k"), "listener.wss.one.certfile: is missing"),
    (one("ssl", **CERTS, ciphers="A", psk_ciphers="B", tls_versions="tlsv1.2"), "psk_ciphers: excludes ciphers"),
    (one("ssl", psk_ciphers="B"), "listener.ssl.one.psk_ciphers: needs tls_versions without tlsv1.3"),
    (one("ssl", **CERTS, tls_versions=[]), "listener.ssl.one.tls_versions: must name"),
    (one("ssl", **CERTS, verify="verify_peer"), "listener.ssl.one.cacertfile: is missing"),
    (one("ssl", **CERTS, fail_if_no_peer_cert=True), 'fail_if_no_peer_cert: needs verify = "verify_peer"'),
    (one("ssl", **CERTS, enable_crl_check=True), "listener.ssl.one.crl_cache_urls: is missing"),
    (one("ws", mqtt_path="mqtt"), 'listener.ws.one.mqtt_path: must start with "/"'),
    (one("ws", mqtt_path="/a?b"), "listener.ws.one.mqtt_path: must start"),
    (one("ws", supported_subprotocols=[]), "listener.ws.one.supported_subprotocols: must name"),
    (one("ws", check_origin_enable=True), "listener.ws.one.check_origins: is missing"),
    ({"zone": {"z": {"keepalive_backoff": 0.5}}}, "zone.z.keepalive_backoff: must be greater than 0.5"),
    ({"zone": {"z": {"mountpoint": "a/+/"}}}, "zone.z.mountpoint: must not hold + or #"),
    ({"zone": {"z": {"mqueue_priorities": "a/#=3"}}}, "zone.z.mqueue_priorities: 'a/#' is a filter"),
    ({"zone": {"z": {"idle_timeout": 0}}}, "zone.z.idle_timeout: must be greater than 0"),
]


@pytest.mark.parametrize(("tree", "words"), WRONG)
def test_settings_that_do_not_fit_together(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        from_mapping(tree)
    (error,) = caught.value.errors
    assert words in str(error)


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("0.0.0.0:1", "0.0.0.0:1", True),
        ("0.0.0.0:1", "127.0.0.1:1", True),
        ("1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("0.0.0.0:1", "[::1]:1", False),
        ("[::]:1", "[::1]:1", True),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("127.0.0.1:1", "127.0.0.1:2", False),
    ],
)
def test_two_listeners_on_one_port(first: str, second: str, clash: bool) -> None:
    tree = {"listener": {"tcp": {"a": first, "b": second}}}
    if not clash:
        assert len(from_mapping(tree).listeners) == 2
        return
    with pytest.raises(ConfigErrors, match=r"listener\.tcp\.b\.bind: port 1 is taken by listener\.tcp\.a"):
        from_mapping(tree)


def test_an_error_between_settings_points_to_its_line(tmp_path: Path) -> None:
    file = tmp_path / "emqx.toml"
    file.write_text("[zone.z]\n\nkeepalive_backoff = 0.4\n", "utf-8")
    with pytest.raises(ConfigErrors) as caught:
        load(file, {})
    assert caught.value.errors[0].source == f"{file}:3"


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (one("ssl", **CERTS, tls_versions="tlsv1.2,tlsv1.1,tlsv1"), "tls_versions: tlsv1.1, tlsv1 is broken"),
        (one("ssl", **CERTS, enable_ocsp_stapling=True), "enable_ocsp_stapling: has no effect"),
        (one("tcp", peer_cert_as_clientid="cn"), "peer_cert_as_clientid: has no effect without proxy_protocol"),
        (one("ssl", **CERTS, reuse_sessions=False), "reuse_sessions: holds for tlsv1.3 only"),
        (one("ssl", **CERTS, partial_chain="true"), 'partial_chain: has no effect without verify = "verify_peer"'),
        (
            one("wss", **CERTS, verify_peer_ext_key_usage="clientAuth"),
            'verify_peer_ext_key_usage: has no effect without verify = "verify_peer"',
        ),
        (
            one("ssl", **CERTS, enable_crl_check=True, crl_cache_urls="file:///a"),
            'enable_crl_check: has no effect without verify = "verify_peer"',
        ),
        (
            {**one("tcp"), "zone": {"z": {"enable_flapping_detect": True}}},
            "zone.z.enable_flapping_detect: has no effect without enable_ban",
        ),
    ],
)
def test_doubtful_settings_are_warnings(tree: dict[str, Any], words: str) -> None:
    (warning,) = from_mapping(tree).warnings
    assert words in warning


def test_what_goes_together_is_no_doubt() -> None:
    only13 = one("ssl", **CERTS, reuse_sessions=False, tls_versions="tlsv1.3")
    assert from_mapping(only13).warnings == []
    banning = {"zone": {"z": {"enable_flapping_detect": True, "enable_ban": True}}}
    assert from_mapping({**one("tcp"), **banning}).warnings == []
    hardened = {"security": {"profile": "hardened"}, "zone": {"z": {"enable_flapping_detect": True}}}
    assert not [line for line in from_mapping({**one("tcp"), **hardened}).warnings if "flapping" in line]


def test_good_neighbours_are_accepted() -> None:
    tls = {**CERTS, "verify": "verify_peer", "cacertfile": "ca", "fail_if_no_peer_cert": True}
    config = from_mapping({**one("ssl", **tls, peer_cert_as_username="dn"), "zone": {"z": {}}})
    assert config.warnings == []
    assert config.listeners[0].tls_versions == ("tlsv1.3", "tlsv1.2")
    assert from_mapping(one("ssl", psk_ciphers="B", tls_versions="tlsv1.2")).listeners[0].certfile is None


def tls_config(tmp_path: Path) -> Config:
    return from_mapping(one("ssl", keyfile=str(tmp_path / "k"), certfile=str(tmp_path / "c")))


def test_certificate_files_must_be_there(tmp_path: Path) -> None:
    config = tls_config(tmp_path)
    with pytest.raises(ConfigErrors) as caught:
        check_files(config)
    assert [error.key for error in caught.value.errors] == ["listener.ssl.one.keyfile", "listener.ssl.one.certfile"]
    assert "does not exist" in str(caught.value)
    (tmp_path / "k").write_text("x")
    (tmp_path / "c").write_text("x")
    check_files(config)


def test_the_shipped_certificates_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(None, {})
    assert [one.id for one in config.listeners if needs_certificates(one)] == ["mqtt:ssl:external", "mqtt:wss:external"]
    check_files(config)
    (tmp_path / "etc/certs").mkdir(parents=True)
    (tmp_path / "etc/certs/key.pem").write_text("x")
    with pytest.raises(ConfigErrors, match=r"listener\.ssl\.external\.certfile: etc/certs/cert\.pem does not exist"):
        check_files(config)


def test_a_configuration_anybody_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "emqx.toml"
    file.write_text("[listener.tcp]\na = 1\n", "utf-8")
    file.chmod(0o666)
    with pytest.raises(ConfigErrors, match="may be written by anybody"):
        check_files(load(file, {}))
    file.chmod(0o644)
    check_files(load(file, {}))

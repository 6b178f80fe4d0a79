"""Weak settings: each check finds what it is for, and leaves alone what is right."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from trioemqx.cli import main
from trioemqx.config.load import from_mapping, load
from trioemqx.services.doctor import SEVERITIES, Finding, examine

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
GOOD: dict[str, Any] = {
    "allow_anonymous": False,
    "acl_nomatch": "deny",
    "security": {"profile": "hardened"},
    "store": {"on_corrupt": "refuse"},
    "retainer": {"max_retained_messages": 1000},
    "node": {"data_dir": "no-such-folder"},
    "plugins": {"expand_plugins_dir": "no-such-folder", "etc_dir": "no-such-folder"},
    "zone": {
        "z": {
            "max_subscriptions": 100,
            "max_awaiting_rel": 100,
            "rate_limit": {"conn_messages_in": "100,1s"},
            "enable_flapping_detect": True,
        }
    },
    "listener": {
        "ssl": {"a": {"bind": "0.0.0.0:1", "zone": "z", "certfile": "c", "keyfile": "k", "max_conn_rate": 100}}
    },
}
"""A broker for the internet, with nothing to find."""


def over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    tree = dict(below)
    for key, value in above.items():
        under = tree.get(key)
        tree[key] = over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return tree


def found(**changed: Any) -> list[Finding]:
    return examine(from_mapping(over(GOOD, changed)), NOW)


def only(findings: list[Finding], severity: str, key: str) -> Finding:
    assert [(each.severity, each.key) for each in findings] == [(severity, key)], findings
    return findings[0]


def a_listener(kind: str = "ssl", **settings: Any) -> dict[str, Any]:
    tls = {"certfile": "c", "keyfile": "k"} if kind in ("ssl", "wss") else {}
    ws = {"proxy_address_header": "", "proxy_port_header": ""} if kind in ("ws", "wss") else {}
    return {"listener": {kind: {"b": {"bind": "0.0.0.0:2", "zone": "z", "max_conn_rate": 9, **tls, **ws, **settings}}}}


def test_a_broker_without_weak_settings() -> None:
    assert found() == []


LIMITED = {"max_subscriptions": 100, "max_awaiting_rel": 100, "enable_flapping_detect": True}
PLAIN_HTTP = {"listener": {"http": {"bind": "0.0.0.0:8081"}}}
LOCAL_HTTP = {"listener": {"http": {"bind": "127.0.0.1:8081"}}}
OPEN = {"profile": "emqx44"}

CHECKS: list[tuple[str, dict[str, Any], str]] = [
    ("high allow_anonymous", {"allow_anonymous": True}, "everybody comes in"),
    ("high zone.z.allow_anonymous", {"zone": {"z": {"allow_anonymous": True}}}, "everybody comes in"),
    ("high zone.z.bypass_auth_plugins", {"zone": {"z": {"bypass_auth_plugins": True}}}, "nobody is authenticated"),
    ("high zone.z.enable_acl", {"zone": {"z": {"enable_acl": False}}}, "no access rule"),
    ("medium acl_nomatch", {"acl_nomatch": "allow"}, "allowed"),
    ("low zone.z.enable_ban", {"zone": {"z": {"enable_ban": False}}}, "bans"),
    ("low zone.z.enable_flapping_detect", {"zone": {"z": {"enable_flapping_detect": False}}}, "reconnects"),
    ("low zone.z.max_subscriptions", {"zone": {"z": {"max_subscriptions": 0}}}, "no bound"),
    ("low zone.z.max_awaiting_rel", {"zone": {"z": {"max_awaiting_rel": 0}}}, "no bound"),
    ("low zone.z.max_mqueue_bytes", {"zone": {"z": {"max_mqueue_bytes": 0}}}, "no bound"),
    (
        "low zone.y.rate_limit.conn_messages_in",
        over(a_listener(zone="y"), {"zone": {"y": LIMITED}}),
        "as much as it can",
    ),
    ("medium zone.z.max_packet_size", {"mqtt": {"max_packet_size": "100MB"}}, "memory"),
    ("medium zone.z.max_topic_levels", {"mqtt": {"max_topic_levels": 0}}, "levels"),
    ("low zone.z.max_user_properties", {"mqtt": {"max_user_properties": 5000}}, "object"),
    ("low retainer.max_retained_messages", {"retainer": {"max_retained_messages": 0}}, "without bound"),
    ("low limits.max_unauthenticated", {"limits": {"max_unauthenticated": 10**6}}, "never sends CONNECT"),
    ("low listener.tcp.b.bind", a_listener("tcp"), "read on their way"),
    ("low listener.ssl.b.max_conn_rate", a_listener(max_conn_rate="none"), "as fast"),
    ("low limits.max_connections", a_listener(max_connections=10**6), "number of files"),
    ("high listener.ssl.b.tls_versions", a_listener(tls_versions="tlsv1.2,tlsv1.1"), "tlsv1.1 is broken"),
    ("high listener.ssl.b.verify", a_listener(peer_cert_as_username="cn"), "none is asked for"),
    (
        "medium listener.ssl.b.fail_if_no_peer_cert",
        a_listener(peer_cert_as_username="cn", verify="verify_peer", cacertfile="ca"),
        "without one",
    ),
    ("low listener.ssl.b.fail_if_no_peer_cert", a_listener(verify="verify_peer", cacertfile="ca"), "without one"),
    ("low listener.ssl.b.verify", a_listener(cacertfile="ca"), "no client certificate"),
    ("high listener.ssl.b.access", a_listener(proxy_protocol=True), "PROXY header"),
    ("high listener.ssl.b.access", a_listener(proxy_protocol=True, access=["allow 10.0.0.0/8"]), "PROXY header"),
    ("medium listener.wss.b.proxy_address_header", a_listener("wss", proxy_address_header="X-Real-IP"), "X-Real-IP"),
    ("medium management.listener.http.bind", {"management": PLAIN_HTTP}, "read on their way"),
    ("medium plugins.upload", {"plugins": {"upload": True}}, "bring code"),
    ("low security.audit.max_rows", {"security": {"audit": {"max_rows": 0}}}, "not remembered"),
    ("high security.allow_default_credentials", {"security": {"allow_default_credentials": True}}, "every address"),
    ("high security.outbound.policy", {"security": {"outbound": {"policy": "open"}}}, "metadata"),
    ("high security.outbound.allow", {"security": {"outbound": {"allow": ["0.0.0.0/0"]}}}, "169.254.169.254"),
    ("medium management.application.default_secret", {"management": {"application": {"default_secret": "x" * 40}}}, ""),
    (
        "medium management.default_application.secret",
        {"management": {**LOCAL_HTTP, "default_application": {"secret": "short"}}},
        "guessed",
    ),
    ("high auth.jwt.secret", {"auth": {"jwt": {"secret": "emqxsecret"}}}, "EMQX ships"),
    ("medium store.sync", {"store": {"sync": "memory"}}, "forgotten"),
    ("low store.sync", {"store": {"sync": "normal"}}, "power cut"),
    ("low store.on_corrupt", {"store": {"on_corrupt": "rename"}}, "without its bans"),
]


@pytest.mark.parametrize(("expected", "changed", "reason"), CHECKS)
def test_each_weakness_is_found_alone(expected: str, changed: dict[str, Any], reason: str) -> None:
    severity, _, key = expected.partition(" ")
    finding = only(found(**changed), severity, key)
    assert reason in finding.reason
    assert finding.proposal
    assert "short" not in finding.value


@pytest.mark.parametrize(
    "changed",
    [
        a_listener("tcp", bind="127.0.0.1:2", zone="open"),
        a_listener("tcp", bind="[::1]:2", zone="open"),
        a_listener("tcp", bind="localhost:2", zone="open"),
    ],
)
def test_what_only_this_machine_reaches_may_be_open(changed: dict[str, Any]) -> None:
    assert found(**over(changed, {"zone": {"open": {"allow_anonymous": True, "acl_nomatch": "allow"}}})) == []


def test_a_proxy_that_alone_may_connect_is_believed() -> None:
    rules = ["allow 10.0.0.1/32", "deny all"]
    assert found(**a_listener(proxy_protocol=True, access=rules)) == []
    assert found(**a_listener("wss", proxy_address_header="X-Forwarded-For", access=rules)) == []


def test_default_secrets_by_profile_and_by_who_may_use_them() -> None:
    management = {"management": LOCAL_HTTP, "dashboard": LOCAL_HTTP | {"listener": {"http": {"bind": "127.0.0.1:9"}}}}
    assert found(**management) == [], "a hardened broker makes secrets of its own"
    shipped = [each for each in found(security=OPEN, **management) if each.severity == "medium"]
    assert {each.key for each in shipped} == {
        "management.default_application.secret",
        "dashboard.default_user.password",
    }
    opened = found(security={**OPEN, "allow_default_credentials": True}, **management)
    high = {each.key for each in opened if each.severity == "high"}
    assert high >= {"security.allow_default_credentials", *(each.key for each in shipped)}


def test_metrics_for_everybody_depend_on_the_profile_unless_they_are_set() -> None:
    https = {"management": {"listener": {"https": {"bind": "0.0.0.0:1443", "certfile": "c", "keyfile": "k"}}}}
    key = "management.prometheus_needs_login"
    assert found(**https) == []
    assert key in {each.key for each in found(security=OPEN, **https)}
    assert key not in {each.key for each in found(security=OPEN, **over(https, {"management": {key[11:]: True}}))}


# -- certificates ------------------------------------------------------------------------------------------------------


def certificate(
    folder: Path, days: float, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None, issuer: str = "ca"
) -> str:
    """A file with a certificate that ends in so many days."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("me", issuer))
    made = x509.CertificateBuilder().subject_name(name).issuer_name(by).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(NOW - datetime.timedelta(days=400))
    made = made.not_valid_after(NOW + datetime.timedelta(days=days))
    file = folder / "cert.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return str(file)


@pytest.mark.parametrize(
    ("days", "severity", "reason"),
    [(-1, "high", "it ended on 2026-05-31"), (29, "medium", "in 29 days"), (31, "", "")],
)
def test_certificates_that_end(tmp_path: Path, days: float, severity: str, reason: str) -> None:
    findings = found(**a_listener(certfile=certificate(tmp_path, days)))
    if severity:
        assert reason in only(findings, severity, "listener.ssl.b.certfile").reason
    else:
        assert findings == []


def test_certificates_that_nobody_can_check(tmp_path: Path) -> None:
    by_itself = certificate(tmp_path, 100, issuer="me")
    assert "self-signed" in only(found(**a_listener(certfile=by_itself)), "low", "listener.ssl.b.certfile").reason
    made_up = a_listener(certfile="etc/certs/cert.pem", keyfile="etc/certs/key.pem")
    assert "self-signed" in only(found(**made_up), "medium", "listener.ssl.b.certfile").reason


def test_keys_that_are_too_short(tmp_path: Path) -> None:
    short = certificate(tmp_path, 100, rsa.generate_private_key(65537, 1024))
    assert "1024 bits" in only(found(**a_listener(certfile=short)), "high", "listener.ssl.b.certfile").reason


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("hello")
    only(found(**a_listener(certfile=str(tmp_path / "c.pem"))), "medium", "listener.ssl.b.certfile")


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "key", "severity"),
    [
        ("data 755", "node.data_dir", "high"),
        ("data 700", "", ""),
        ("data/trioemqx.db 644", "store.file", "high"),
        ("key.pem 640", "listener.ssl.b.keyfile", "high"),
        ("key.pem 622", "listener.ssl.b.keyfile", "high"),
        ("key.pem 666", "listener.ssl.b.keyfile", "high"),
        ("apps 602", "management.bootstrap_apps_file", "high"),
        ("apps 644", "management.bootstrap_apps_file", "high"),
        ("acl.toml 646", "acl_file", "high"),
        ("plugins 777", "plugins.dirs", "high"),
        ("emqx.toml 640", "emqx.toml", "medium"),
        ("emqx.toml 664", "emqx.toml", "medium"),
        ("emqx.toml 602", "emqx.toml", "high"),
    ],
)
def test_files_that_others_may_read_or_change(tmp_path: Path, mode: str, key: str, severity: str) -> None:
    for name in ("data", "plugins"):
        (tmp_path / name).mkdir(mode=0o700)
    settings = over(GOOD, a_listener(keyfile=str(tmp_path / "key.pem")))
    files = {
        "node": {"data_dir": str(tmp_path / "data")},
        "plugins": {"dirs": [str(tmp_path / "plugins")]},
        "acl_file": str(tmp_path / "acl.toml"),
        "management": {"bootstrap_apps_file": str(tmp_path / "apps")},
    }
    for name in ("data/trioemqx.db", "key.pem", "apps", "acl.toml", "emqx.toml"):
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / "emqx.toml").write_text(toml(over(settings, files)))
    name, _, bits = mode.partition(" ")
    (tmp_path / name).chmod(int(bits, 8))
    findings = examine(load(tmp_path / "emqx.toml", {}), NOW)
    if key:
        (finding,) = findings
        assert (finding.severity, finding.key.rpartition("/")[2]) == (severity, key)
        chmod, after, file = finding.proposal.split()
        assert (chmod, file) == ("chmod", str(tmp_path / name))
        assert int(after, 8) & 0o022 == 0, "nobody else may write there afterwards"
        (tmp_path / name).chmod(int(after, 8))
        assert examine(load(tmp_path / "emqx.toml", {}), NOW) == []
    else:
        assert findings == []


def toml(tree: dict[str, Any], prefix: str = "") -> str:
    """Dotted keys, in JSON's spelling, which is TOML's for such values."""
    lines = []
    for name, value in tree.items():
        lines.append(
            toml(value, f"{prefix}{name}.") if isinstance(value, dict) else f"{prefix}{name} = {json.dumps(value)}"
        )
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text", "wide"),
    [
        ("acl.toml", '[[acl]]\npermission = "allow"\nwho = "all"\n', True),
        ("acl.toml", '[[acl]]\npermission = "allow"\nwho = "all"\ntopics = ["a"]\n', False),
        ("acl.toml", '[[acl]]\npermission = "deny"\nwho = "all"\n', False),
        ("acl.toml", "[[acl", False),
        ("acl.conf", "{deny, all, subscribe, ['$SYS/#']}.\n{allow, all}. %% the rest\n", True),
        ("acl.conf", "%% {allow, all}.\n", False),
    ],
)
def test_access_rules_that_allow_the_rest(tmp_path: Path, name: str, text: str, wide: bool) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(0o600)
    findings = found(acl_file=str(tmp_path / name))
    assert [each.key for each in findings] == (["acl_file"] if wide else [])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert found(acl_file=str(pipe)) == []
    (finding,) = found(**a_listener(certfile=str(pipe)))
    assert (finding.key, finding.reason) == ("listener.ssl.b.certfile", "it is not a file")


# -- the command -------------------------------------------------------------------------------------------------------


def run(folder: Path, settings: dict[str, Any], *options: str) -> Result:
    (folder / "emqx.toml").touch(mode=0o600)
    (folder / "emqx.toml").write_text(toml(settings))
    return CliRunner().invoke(main, ["doctor", "-c", str(folder / "emqx.toml"), *options])


def test_the_command_says_what_to_change_and_exits_with_1(tmp_path: Path) -> None:
    two = over(over(GOOD, a_listener()), {"allow_anonymous": True, "store": {"sync": "normal"}})
    done = run(tmp_path, two)
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "[high] allow_anonymous = true (0.0.0.0:1, 0.0.0.0:2)",
        "    everybody comes in when no authentication backend decides",
        "    change it to: false",
        "[low] store.sync = normal",
        "    a power cut may take the last acknowledged messages",
        "    change it to: full",
        "1 high, 0 medium, 1 low",
    ]
    assert run(tmp_path, two, "--least", "medium").output.endswith("1 high, 0 medium\n")


def test_the_command_on_a_broker_without_weak_settings(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD)
    assert (done.exit_code, done.output) == (0, "nothing weak was found\n")
    assert json.loads(run(tmp_path, GOOD, "--json").output) == {"ok": True, "findings": []}
    weak = over(GOOD, {"store": {"sync": "normal"}})
    assert run(tmp_path, weak, "--least", "high").exit_code == 0


def test_the_command_for_programs(tmp_path: Path) -> None:
    done = run(tmp_path, over(GOOD, {"allow_anonymous": True}), "--json")
    (finding,) = json.loads(done.output)["findings"]
    assert (done.exit_code, finding["key"], finding["proposal"]) == (1, "allow_anonymous", "false")
    assert finding["severity"] in SEVERITIES


def test_the_command_on_a_bad_configuration(tmp_path: Path) -> None:
    assert run(tmp_path, {"no_such_key": 1}).exit_code == 78


def test_the_shipped_configuration_opens_no_door_but_the_known_ones() -> None:
    findings = examine(load(None, {}), NOW)
    assert {each.key for each in findings if each.severity == "high"} <= {
        "allow_anonymous",
        "node.data_dir",
        "store.file",
    }

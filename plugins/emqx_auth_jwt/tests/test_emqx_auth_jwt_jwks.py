"""Keys from a server: fetched, refreshed, and not lost when the server fails or lies."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, RSAKey
from jwks_server import KeyServer, Misbehave, dribble, flood, hang, hang_up, no_http

from trioemqx.testing import Refused, TestBroker, running

FILE = Path(__file__)
NAME = "emqx_auth_jwt"
SECRET = "a secret of thirty-two bytes, ok"
RSA = RSAKey.generate_key(2048)
NEW_RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
NOT_AUTHORIZED = 0x87
IGNORED = -1


def public(key: Key, kid: str | None = "k1", **more: object) -> dict[str, object]:
    return {**key.as_dict(private=False), **({} if kid is None else {"kid": kid}), **more}


def sign(key: Key, alg: str, **header: object) -> bytes:
    head = base64.urlsafe_b64encode(json.dumps({"alg": alg, **header}).encode()).rstrip(b"=")
    signed = head + b"." + base64.urlsafe_b64encode(b"{}").rstrip(b"=")
    signature = jws.JWSRegistry.algorithms[alg].sign(signed, key)
    return signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


async def code(broker: TestBroker, token: bytes) -> int:
    """The CONNACK's code, IGNORED when the plugin had no opinion."""
    ignored = f"plugin.{NAME}.ignored"
    before = broker.metrics[ignored]
    try:
        await (await broker.client("c", password=token)).disconnect()
    except Refused as refused:
        return IGNORED if broker.metrics[ignored] > before else refused.connack.code
    return 0


async def until(true: Callable[[], object]) -> None:
    """Wait for what another program has a part in."""
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110 - the plugin knows no events
            await trio.sleep(0.01)


def config(url: str, secret: str = "", **jwks: object) -> dict[str, object]:
    table = {"url": url, "refresh_interval": "1h", "timeout": "300ms", **jwks}
    return {"allow_anonymous": False, "auth": {"jwt": {"secret": secret, "jwks": table}}}


@pytest.fixture
async def server(nursery: trio.Nursery) -> KeyServer:
    found = KeyServer()
    found.publish(public(RSA))
    await found.open(nursery)
    return found


# -- which tokens ----------------------------------------------------------------------------------------------------


async def test_a_token_that_names_a_key_is_checked_with_it_alone(server: KeyServer) -> None:
    server.publish(public(RSA, "r"), public(EC, "e"))
    async with running(config(server.url, SECRET), project=FILE) as broker:
        assert await code(broker, sign(RSA, "RS256", kid="r")) == 0
        assert await code(broker, sign(RSA, "PS512", kid="r")) == 0
        assert await code(broker, sign(EC, "ES256", kid="e")) == 0
        assert await code(broker, sign(RSA, "RS256", kid="e")) == NOT_AUTHORIZED
        assert await code(broker, sign(NEW_RSA, "RS256", kid="r")) == NOT_AUTHORIZED
        assert await code(broker, sign(OctKey.import_key(SECRET), "HS256", kid="r")) == NOT_AUTHORIZED
        assert await code(broker, sign(RSA, "RS256", kid="unknown")) == IGNORED
        assert await code(broker, sign(OctKey.import_key(SECRET), "HS256", kid="unknown")) == IGNORED


async def test_a_token_that_names_none_is_checked_with_the_operators_keys(server: KeyServer) -> None:
    async with running(config(server.url, SECRET), project=FILE) as broker:
        assert await code(broker, sign(OctKey.import_key(SECRET), "HS256")) == 0
        assert await code(broker, sign(RSA, "RS256")) == NOT_AUTHORIZED
    async with running(config(server.url), project=FILE) as broker:
        assert await code(broker, sign(RSA, "RS256")) == IGNORED


async def test_before_keys_were_loaded_the_operators_are_used_for_all(server: KeyServer) -> None:
    server.status = 503
    async with running(config(server.url, SECRET), project=FILE) as broker:
        assert await code(broker, sign(OctKey.import_key(SECRET), "HS256", kid="k1")) == 0
    async with running(config(server.url), project=FILE) as broker:
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == IGNORED


async def test_a_published_key_is_no_secret(server: KeyServer) -> None:
    async with running(config(server.url), project=FILE) as broker:
        for secret in (RSA.as_pem(private=False), json.dumps(public(RSA)).encode()):
            forged = OctKey(secret, secret)  # joserfc would not import it
            assert await code(broker, sign(forged, "HS256", kid="k1")) == NOT_AUTHORIZED


async def test_a_key_may_be_for_one_algorithm_only(server: KeyServer) -> None:
    server.publish(public(RSA, alg="RS512"))
    async with running(config(server.url), project=FILE) as broker:
        assert await code(broker, sign(RSA, "RS512", kid="k1")) == 0
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == NOT_AUTHORIZED


async def test_the_url_alone_is_enough(server: KeyServer) -> None:
    alone = {"allow_anonymous": False, "auth": {"jwt": {"secret": "", "jwks": server.url}}}
    async with running(alone, project=FILE) as broker:
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == 0
        lines = await broker.ctl("jwt keys")
        assert lines[0].startswith(f"jwks {server.url}: loaded at 20")
        assert lines[1:] == ["  kid 'k1': PS256, PS384, PS512, RS256, RS384, RS512"]
    request = server.seen[0]
    assert (request.method, request.target) == (b"GET", b"/jwks")


# -- refreshing ------------------------------------------------------------------------------------------------------


async def test_keys_are_refreshed_at_intervals(server: KeyServer) -> None:
    async with running(config(server.url, refresh_interval="50ms"), project=FILE) as broker:
        server.publish(public(NEW_RSA, "k2"))
        await until(lambda: "k2" in broker.node.plugins.plugin(NAME).remote.by_kid)
        assert await code(broker, sign(NEW_RSA, "RS256", kid="k2")) == 0
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == IGNORED, "what is gone is gone"


async def test_an_unknown_key_id_has_them_fetched_at_once_but_not_for_ever(server: KeyServer) -> None:
    async with running(config(server.url, cooldown="200ms"), project=FILE) as broker:
        server.publish(public(NEW_RSA, "k2"))
        await trio.sleep(0.2)
        assert await code(broker, sign(NEW_RSA, "RS256", kid="k2")) == IGNORED
        await until(lambda: "k2" in broker.node.plugins.plugin(NAME).remote.by_kid)
        assert await code(broker, sign(NEW_RSA, "RS256", kid="k2")) == 0
        asked = server.requests
        begin = trio.current_time()
        for number in range(20):
            await code(broker, sign(NEW_RSA, "RS256", kid=f"made-up-{number}"))
        assert server.requests - asked <= 1 + (trio.current_time() - begin) / 0.2


LIES: dict[str, bytes] = {
    "html": b"<html>503</html>",
    "empty": b"",
    "no set": b"{}",
    "a list": b"[]",
    "keys no list": b'{"keys": {"kty": "RSA"}}',
    "no keys": b'{"keys": []}',
    "deep": b'{"keys": ' + b"[" * 50000,
    "not utf-8": b'{"keys": ["\xff\xfe"]}',
    "no key of use": json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}, 7]}).encode(),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_the_last_good_keys_stay_when_the_server_lies(server: KeyServer, lie: bytes) -> None:
    async with running(config(server.url, refresh_interval="20ms"), project=FILE) as broker:
        server.body = lie
        await until(lambda: broker.metrics[f"plugin.{NAME}.jwks_failed"] >= 1)
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == 0


@pytest.mark.parametrize("status", [204, 301, 302, 404, 500])
async def test_the_last_good_keys_stay_when_the_server_answers_something_else(server: KeyServer, status: int) -> None:
    async with running(config(server.url, refresh_interval="20ms"), project=FILE) as broker:
        server.status, server.headers = status, [("Location", "http://127.0.0.1/other")]
        server.body = b"" if status == 204 else json.dumps({"keys": [public(NEW_RSA)]}).encode()
        await until(lambda: broker.metrics[f"plugin.{NAME}.jwks_failed"] >= 1)
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == 0


@pytest.mark.parametrize("instead", [hang, hang_up, no_http, dribble, flood])
async def test_the_last_good_keys_stay_when_the_server_misbehaves(server: KeyServer, instead: Misbehave) -> None:
    async with running(config(server.url, refresh_interval="20ms"), project=FILE) as broker:
        server.instead = instead
        await until(lambda: broker.metrics[f"plugin.{NAME}.jwks_failed"] >= 1)
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == 0


async def test_failures_are_told_once_then_by_an_alarm(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    async with running(config(server.url, refresh_interval="20ms"), project=FILE) as broker:
        server.status = 500
        await until(lambda: "jwks_unusable" in broker.alarms())
        details = broker.alarms()["jwks_unusable"]
        assert (details["url"], details["error"], details["keys"]) == (server.url, "the server answered 500", 1)
        await until(lambda: broker.metrics[f"plugin.{NAME}.jwks_failed"] >= 6)
        assert caplog.text.count("the server answered 500; the last good keys stay") == 1
        server.status = 200
        await until(lambda: "jwks_unusable" not in broker.alarms())
        assert "the keys can be fetched again" in caplog.text


async def test_a_server_that_is_away_at_the_start_delays_no_broker(server: KeyServer) -> None:
    server.instead = hang
    async with running(config(server.url, refresh_interval="50ms"), project=FILE) as broker:
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == IGNORED
        assert "not loaded" in (await broker.ctl("jwt keys"))[0]
        server.instead = None
        await until(lambda: broker.node.plugins.plugin(NAME).remote.loaded)
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == 0


async def test_a_reload_keeps_keys_that_cannot_be_fetched(server: KeyServer) -> None:
    async with running(config(server.url, refresh_interval="20ms"), project=FILE) as broker:
        server.instead = hang_up
        await until(lambda: "jwks_unusable" in broker.alarms())
        await broker.reload_plugin(NAME)
        assert "jwks_unusable" in broker.alarms()
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == 0
        await broker.node.plugins.unload(NAME)
        assert "jwks_unusable" not in broker.alarms()


async def test_a_reload_takes_the_keys_of_now(server: KeyServer) -> None:
    async with running(config(server.url), project=FILE) as broker:
        server.publish(public(NEW_RSA, "k2"))
        await broker.reload_plugin(NAME)
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == IGNORED
        assert await code(broker, sign(NEW_RSA, "RS256", kid="k2")) == 0


# -- key by key ------------------------------------------------------------------------------------------------------

UNUSED: dict[str, tuple[object, str]] = {
    "symmetric": ({"kty": "oct", "kid": "x", "k": "c2VjcmV0c2VjcmV0c2VjcmV0"}, "it is a secret"),
    "another kind": ({"kty": "OKP", "kid": "x", "crv": "Ed25519", "x": "AAAA"}, "kty is neither"),
    "no kind": ({"kid": "x"}, "kty is neither"),
    "no object": ("key", "it is not an object"),
    "no kid": (public(EC, None), "it has no kid"),
    "kid no text": ({**public(EC), "kid": 7}, "it has no kid"),
    "the same kid": (public(NEW_RSA, "good"), "the same kid"),
    "for encryption": (public(EC, "x", use="enc"), "not for signatures"),
    "operations": (public(EC, "x", key_ops=["encrypt"]), "not for signatures"),
    "operations no list": (public(EC, "x", key_ops=7), "not for signatures"),
    "alg of another kind": (public(EC, "x", alg="HS256"), "its alg"),
    "alg of another curve": (public(EC, "x", alg="ES512"), "its alg"),
    "alg none": (public(RSA, "x", alg="none"), "its alg"),
    "alg no text": (public(RSA, "x", alg=["RS256"]), "its alg"),
    "private": ({**EC.as_dict(private=True), "kid": "x"}, "private part"),
    "short": (
        {"kty": "RSA", "kid": "x", "n": "_" * 170 + "8", "e": "AQAB"},
        "1024 bits",
    ),
    "long": ({**public(RSA, "x"), "n": "v" * 3000}, "not what they should be"),
    "exponent": ({**public(RSA, "x"), "e": "__________8"}, "large exponent"),
    "no point": ({**public(EC, "x"), "x": "AAAA"}, "its numbers make no key"),
    "no base64": ({**public(EC, "x"), "x": "&&&"}, "its numbers make no key"),
    "another curve": ({**public(EC, "x"), "crv": "P-192"}, "its numbers make no key"),
    "numbers missing": ({"kty": "RSA", "kid": "x"}, "not what they should be"),
}


@pytest.mark.parametrize(("jwk", "reason"), UNUSED.values(), ids=UNUSED)
async def test_a_key_that_cannot_be_used_is_said_and_left_out(
    server: KeyServer, jwk: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.publish(public(RSA, "good"), jwk)
    async with running(config(server.url, refresh_interval="30ms"), project=FILE) as broker:
        asked = server.requests
        await until(lambda: server.requests > asked + 1)
        lines = [line for line in caplog.messages if "is not used" in line]
        assert len(lines) == 1, "once, not at each refresh"
        assert lines[0].startswith(f"{server.url}: key 2")
        assert reason in lines[0]
        assert await code(broker, sign(RSA, "RS256", kid="good")) == 0
        assert await code(broker, sign(NEW_RSA, "RS256", kid="good")) == NOT_AUTHORIZED
        assert await code(broker, sign(EC, "ES256", kid="x")) == IGNORED


async def test_keys_of_two_kinds_may_share_an_id(server: KeyServer) -> None:
    server.publish(public(RSA), public(EC))
    async with running(config(server.url), project=FILE) as broker:
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == 0
        assert await code(broker, sign(EC, "ES256", kid="k1")) == 0


async def test_of_thousands_of_keys_few_are_read_and_told(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    server.publish(public(RSA, "good"), *[{"kty": "oct", "kid": str(number)} for number in range(5000)])
    async with running(config(server.url), project=FILE) as broker:
        assert len(caplog.messages) < 20
        assert "89 more keys are not used" in caplog.text
        assert "4901 keys above jwks.max_keys = 100 are not used" in caplog.text
        assert await code(broker, sign(RSA, "RS256", kid="good")) == 0


async def test_an_answer_that_is_too_large_is_not_read(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    server.publish(public(RSA), *["x" * 1000] * 20)
    async with running(config(server.url, max_size="10KB"), project=FILE) as broker:
        assert "larger than 10240 bytes" in caplog.text
        assert await code(broker, sign(RSA, "RS256", kid="k1")) == IGNORED


# -- https -----------------------------------------------------------------------------------------------------------


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key behind it."""
    key = ECKey.generate_key("P-256").private_key
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keys")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    found = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + found.public_bytes(serialization.Encoding.PEM))
    return file


async def test_the_servers_certificate_is_checked_unless_told_otherwise(
    nursery: trio.Nursery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = KeyServer()
    server.publish(public(RSA))
    await server.open(nursery, context)
    for settings, answer in [({}, IGNORED), ({"cacertfile": str(file)}, 0), ({"verify": False}, 0)]:
        async with running(config(server.url, timeout="3s", **settings), project=FILE) as broker:
            assert await code(broker, sign(RSA, "RS256", kid="k1")) == answer
    assert "certificate verify failed" in caplog.text


async def test_plain_http_from_elsewhere_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    async with running(config("http://192.0.2.1/keys", timeout="10ms"), project=FILE):
        assert "without https anybody on the way can put in keys" in caplog.text


async def test_a_password_in_the_url_is_sent_and_not_shown(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trioemqx")
    server.status = 401
    async with running(
        config(server.url.replace("//", "//me:s3cret@"), refresh_interval="20ms"), project=FILE
    ) as broker:
        await until(lambda: "jwks_unusable" in broker.alarms())
        shown = (
            f"{broker.alarms()} {await broker.ctl('jwt keys')} {caplog.text} {broker.node.plugins.plugin(NAME).config}"
        )
        assert "s3cret" not in shown
    assert (b"authorization", b"Basic bWU6czNjcmV0") in server.seen[0].headers

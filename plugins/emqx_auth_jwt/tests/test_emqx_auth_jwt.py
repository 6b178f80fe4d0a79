"""Tokens are checked with the right key or not at all, their claims decide, and their access claim is the law."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

from trioemqx.plugin import ClientInfo, Credentials, PluginError
from trioemqx.testing import Refused, TestBroker, running

NAME = "emqx_auth_jwt"
SECRET = "a secret of thirty-two bytes, ok"
RSA = RSAKey.generate_key(2048)
OTHER_RSA = RSAKey.generate_key(2048)
P256, P384, P521 = (ECKey.generate_key(curve) for curve in ("P-256", "P-384", "P-521"))
NOT_AUTHORIZED = 0x87


def settings(**jwt: object) -> dict[str, object]:
    """Nobody comes in but by a token; `secret` is set unless another key is."""
    if not {"secret", "pubkey", "jwks"} & set(jwt):
        jwt["secret"] = SECRET
    return {"allow_anonymous": False, "auth": {"jwt": {"secret": "", **jwt}}}


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return settings(**getattr(request, "param", {}))


def with_settings(**jwt: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [jwt], indirect=True, ids=[""])


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the public keys in PEM form."""
    folder = tmp_path_factory.mktemp("keys")
    for name, key in {"rsa": RSA, "p256": P256, "p384": P384, "p521": P521}.items():
        (folder / f"{name}.pem").write_bytes(key.as_pem(private=False))
    (folder / "private.pem").write_bytes(RSA.as_pem(private=True))
    (folder / "nonsense.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    return folder


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(claims: object, key: Key | None = None, alg: str = "HS256", **header: object) -> bytes:
    """A token; the header may have what joserfc would refuse to write."""
    head = b64(json.dumps({"alg": alg, **header}).encode())
    signed = f"{head}.{b64(json.dumps(claims).encode())}".encode()
    model = jws.JWSRegistry.algorithms[alg]
    signature = model.sign(signed, key or OctKey.import_key(SECRET))
    return signed + b"." + b64(signature).encode()


def hs256_by(key: bytes, claims: object = None, **header: object) -> bytes:
    """An HS256 token with any bytes as the secret, also such as joserfc does not take."""
    head = b64(json.dumps({"alg": "HS256", **header}).encode())
    signed = f"{head}.{b64(json.dumps(claims or {}).encode())}".encode()
    return signed + b"." + b64(hmac.new(key, signed, hashlib.sha256).digest()).encode()


def now(broker: TestBroker) -> int:
    return int(broker.node.wall())


async def code(broker: TestBroker, password: bytes | None, clientid: str = "c", username: str | None = "u") -> int:
    """The CONNACK's code."""
    try:
        client = await broker.client(clientid, username=username, password=password)
    except Refused as refused:
        return refused.connack.code
    await client.disconnect()
    return 0


def outcome(broker: TestBroker) -> dict[str, int]:
    prefix = f"plugin.{NAME}."
    found = {name.removeprefix(prefix): count for name, count in broker.metrics.items() if name.startswith(prefix)}
    return {name: count for name, count in found.items() if count}


# -- which keys for which algorithms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_the_secret_checks_hmac(broker: TestBroker, alg: str) -> None:
    assert await code(broker, sign({}, alg=alg)) == 0
    assert await code(broker, sign({}, OctKey.import_key("another secret of 32 bytes, well"), alg)) == NOT_AUTHORIZED
    assert outcome(broker) == {"admitted": 1, "refused": 1}


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_an_rsa_key_checks_rs_and_ps(autojump_clock: object, pem: Path, alg: str) -> None:
    async with running(settings(pubkey=str(pem / "rsa.pem")), project=Path(__file__)) as broker:
        assert await code(broker, sign({}, RSA, alg)) == 0
        assert await code(broker, sign({}, OTHER_RSA, alg)) == NOT_AUTHORIZED


@pytest.mark.parametrize("form", ["raw", "der"])
@pytest.mark.parametrize(("alg", "key", "half"), [("ES256", P256, 32), ("ES384", P384, 48), ("ES512", P521, 66)])
async def test_an_ec_key_checks_its_es(
    autojump_clock: object, pem: Path, alg: str, key: ECKey, half: int, form: str
) -> None:
    """`der` takes ASN.1 and what RFC 7518 says; `raw` only the latter."""
    raw = sign({}, key, alg)
    head, _, signature = raw.rpartition(b".")
    numbers = base64.urlsafe_b64decode(signature + b"==")
    der = encode_dss_signature(int.from_bytes(numbers[:half], "big"), int.from_bytes(numbers[half:], "big"))
    config = settings(pubkey=str(pem / f"p{alg[2:].replace('512', '521')}.pem"), signature_format=form)
    async with running(config, project=Path(__file__)) as broker:
        assert await code(broker, raw) == 0
        assert await code(broker, head + b"." + b64(der).encode()) == (0 if form == "der" else NOT_AUTHORIZED)
        assert await code(broker, sign({}, ECKey.generate_key(key.curve_name), alg)) == NOT_AUTHORIZED
        for crooked in (
            b"",
            der[:-1],
            der + b"\0",
            b"\x30\x06\x02\x01\xff\x02\x01\xff",
            numbers[:-1],
            b"\0" * 2 * half,
        ):
            assert await code(broker, head + b"." + b64(crooked).encode()) == NOT_AUTHORIZED


async def test_a_public_key_is_no_secret_and_none_is_no_algorithm(autojump_clock: object, pem: Path) -> None:
    file = pem / "rsa.pem"
    async with running(settings(pubkey=str(file)), project=Path(__file__)) as broker:
        for secret in (file.read_bytes(), file.read_bytes().strip(), b"", RSA.as_pem(private=False)):
            assert await code(broker, hs256_by(secret)) == NOT_AUTHORIZED
        for alg in ("none", "None", "NONE", "", "RS256 ", "ES256", "HS999", "RSA-OAEP", "EdDSA"):
            for signature in (b"", b"AAAA"):
                head = b64(json.dumps({"alg": alg}).encode())
                forged = f"{head}.{b64(b'{}')}.".encode() + signature
                assert await code(broker, forged) == NOT_AUTHORIZED, alg
        assert outcome(broker) == {"refused": 22}


async def test_each_static_key_has_its_own_algorithms(autojump_clock: object, pem: Path) -> None:
    both = settings(secret=SECRET, pubkey=str(pem / "rsa.pem"))
    async with running(both, project=Path(__file__)) as broker:
        assert await code(broker, sign({})) == 0
        assert await code(broker, sign({}, RSA, "RS256")) == 0
        assert await code(broker, hs256_by((pem / "rsa.pem").read_bytes())) == NOT_AUTHORIZED
        assert await broker.ctl("jwt keys") == [
            "secret: HS256, HS384, HS512",
            "pubkey: PS256, PS384, PS512, RS256, RS384, RS512",
        ]


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}])
async def test_a_header_that_asks_for_an_extension_is_refused(broker: TestBroker, header: dict[str, object]) -> None:
    assert await code(broker, sign({}, **header)) == NOT_AUTHORIZED


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"x5c": ["M" * 3000]}, {"jku": "http://evil/"}, {"jwk": {}}])
async def test_what_else_a_header_says_changes_nothing(broker: TestBroker, header: dict[str, object]) -> None:
    assert await code(broker, sign({}, **header)) == 0
    assert await code(broker, hs256_by(b"x", **header)) == NOT_AUTHORIZED


# -- what is no token ------------------------------------------------------------------------------------------------

GOOD = hs256_by(SECRET.encode())
NO_TOKENS = {
    "absent": None,
    "empty": b"",
    "a password": b"secret",
    "two parts": GOOD.rpartition(b".")[0],
    "four parts": GOOD + b".AAAA",
    "not base64": b"&&&." + GOOD.partition(b".")[2],
    "padding": GOOD + b"=",
    "ordinary base64": b"+/+/." + GOOD.partition(b".")[2],
    "not ascii": b"\xff" + GOOD,
    "header no JSON": f"{b64(b'{')}.{b64(b'{}')}.AAAA".encode(),
    "header no object": f"{b64(b'[]')}.{b64(b'{}')}.AAAA".encode(),
    "no alg": f"{b64(b'{}')}.{b64(b'{}')}.AAAA".encode(),
    "alg no text": f"""{b64(b'{"alg": ["HS256"]}')}.{b64(b"{}")}.AAAA""".encode(),
    "kid no text": hs256_by(SECRET.encode(), kid=7),
    "claims no object": hs256_by(SECRET.encode(), claims=[1]),
    "claims not JSON": f"""{b64(b'{"alg": "HS256"}')}.{b64(b'{"exp": NaN}')}.AAAA""".encode(),
    "deep": f"""{b64(b'{"alg":' + b"[" * 20000)}.{b64(b"{}")}.AAAA""".encode(),
    "a long number": f"""{b64(b'{"alg":' + b"1" * 20000 + b"}")}.{b64(b"{}")}.AAAA""".encode(),
}


@pytest.mark.parametrize("password", NO_TOKENS.values(), ids=NO_TOKENS)
async def test_what_is_no_token_is_left_to_the_next_source(broker: TestBroker, password: bytes | None) -> None:
    await code(broker, password)
    assert outcome(broker) == {"ignored": 1}


async def test_who_is_left_to_nobody_comes_in_only_where_anonymous_may(autojump_clock: object) -> None:
    for anonymous in (True, False):
        config = {**settings(), "allow_anonymous": anonymous}
        async with running(config, project=Path(__file__)) as broker:
            assert (await code(broker, b"no token") == 0) is anonymous
            assert await code(broker, hs256_by(b"wrong")) == NOT_AUTHORIZED, "a bad token stops the chain"
            client = await broker.client("c", password=sign({}))
            assert broker.node.broker.find("c").info.anonymous is False
            await client.disconnect()


@with_settings(**{"from": "username"})
async def test_the_token_may_be_the_username(broker: TestBroker) -> None:
    assert await code(broker, None, username=sign({}).decode()) == 0
    assert await code(broker, sign({}), username="u") == NOT_AUTHORIZED
    assert await code(broker, sign({}), username=None) == NOT_AUTHORIZED
    assert outcome(broker) == {"admitted": 1, "ignored": 2}


async def test_a_token_that_was_changed_anywhere_admits_nobody(broker: TestBroker) -> None:
    """Every byte of a good token replaced, removed, doubled: refused or no token, and never a crash."""
    plugin, client = broker.node.plugins.plugin(NAME), ClientInfo("c")
    good = sign({"sub": "c"}, typ="JWT")
    assert (await plugin.client_authenticate(client, Credentials("u", good))).allowed
    for at in range(len(good)):
        for change in (b"", b"A", b"-", b".", b"=", b"\xff", b"\n", good[at : at + 1] * 2):
            token = good[:at] + change + good[at + 1 :]
            verdict = await plugin.client_authenticate(client, Credentials("u", token))
            assert token == good or verdict is None or verdict.code == NOT_AUTHORIZED, token


# -- claims ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("form", [int, float, str, lambda at: f"{at}.25"], ids=["int", "float", "text", "decimal text"])
async def test_times_are_checked(broker: TestBroker, name: str, form: type) -> None:
    for seconds in (-100, 100):
        right = (seconds > 0) == (name == "exp")
        claims = {name: form(now(broker) + seconds)}
        assert await code(broker, sign(claims)) == (0 if right else NOT_AUTHORIZED), claims


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["soon", "", "1_0", " 1", "nan", "inf", "-inf", "1e3", True, None, [1], {}, "9" * 40])
async def test_a_time_that_is_none_is_refused(broker: TestBroker, name: str, value: object) -> None:
    assert await code(broker, sign({name: value})) == NOT_AUTHORIZED


async def test_now_is_not_before_the_end_and_is_since_the_beginning(broker: TestBroker) -> None:
    broker.node.wall = lambda: 1000.0
    assert await code(broker, sign({"exp": 1000})) == NOT_AUTHORIZED
    assert await code(broker, sign({"exp": 1000.5, "iat": 1000, "nbf": "1000"})) == 0
    assert await code(broker, sign({"exp": 10**400, "iat": -(10**400)})) == 0


@with_settings(verify_claims={"sub": "%c", "user": "%u/%c", "level": "5", "ok": True, "rate": "100%"})
async def test_claims_have_to_be_what_is_expected(broker: TestBroker) -> None:
    good = {"sub": "c", "user": "u/c", "level": 5, "ok": True, "rate": "100%", "more": "is fine"}
    assert await code(broker, sign(good)) == 0
    for name, wrong in [("sub", "d"), ("user", "u"), ("level", "6"), ("ok", "True"), ("sub", None), ("sub", ["c"])]:
        assert await code(broker, sign({**good, name: wrong})) == NOT_AUTHORIZED, name
    for name in ("sub", "user", "level"):
        assert await code(broker, sign({key: value for key, value in good.items() if key != name})) == NOT_AUTHORIZED
    assert await code(broker, sign({**good, "user": "/c"}), username=None) == NOT_AUTHORIZED, "no username, no match"
    assert await code(broker, sign({**good, "user": "%c/c"}), username="%c") == 0, "filled once, not twice"


@pytest.mark.parametrize(
    "broker_config",
    [{}, {"verify_claims": False}, {"verify_claims": "off"}, {"verify_claims": {"enable": "off", "sub": "%c"}}],
    indirect=True,
)
async def test_claims_are_compared_only_when_asked_for(broker: TestBroker) -> None:
    assert await code(broker, sign({"sub": "somebody else"})) == 0


# -- the access claim ------------------------------------------------------------------------------------------------


async def may(
    broker: TestBroker, acl: object, clientid: str = "c", username: str | None = "u", **claims: object
) -> str:
    """Which of a few topics a client with an access claim may publish (P) and subscribe (S) to."""
    client = await broker.client(clientid, username=username, password=sign({"acl": acl, **claims}))
    found = []
    for topic in ("a/1", "b/1", "c/x", "u/x", "$d/x"):
        publish = "P" if await client.publish(topic, qos=1) < 0x80 else "-"
        found.append(publish + ("S" if await client.subscribe(topic) == [0] else "-"))
    await client.disconnect()
    return " ".join(found)


async def test_lists_allow_and_everything_else_is_denied(broker: TestBroker) -> None:
    assert await may(broker, {"pub": ["a/#"], "sub": ["b/+"]}) == "P- -S -- -- --"
    assert await may(broker, {"all": ["a/1", "b/#"]}) == "PS PS -- -- --"
    assert await may(broker, {"all": ["%c/+", "%u/x"]}) == "-- -- PS PS --"
    assert await may(broker, {"all": ["#"]}) == "PS PS PS PS --", "what begins with $ is not among what # means"
    assert await may(broker, {"all": ["$d/#"]}) == "-- -- -- -- PS"
    assert await may(broker, {"all": ["x%c/+", "%c%u/#", "%d"]}) == "-- -- -- -- --", "whole levels only"


@pytest.mark.parametrize("acl", [{}, [], "a/#", None, {"all": "a/#"}, {"all": [["a/#"], 7, None]}, {"pub": {"a/1": 1}}])
async def test_an_access_claim_that_says_nothing_allows_nothing(broker: TestBroker, acl: object) -> None:
    assert await may(broker, acl) == "-- -- -- -- --"


async def test_a_name_does_not_open_what_others_have(broker: TestBroker) -> None:
    for name in ("+", "#", "a/1"):
        assert await may(broker, {"all": ["%u", "%u/#", "%u/1", "%u/x"]}, username=name) == "-- -- -- -- --"
    assert await may(broker, {"all": ["%u/#", "%u"]}, username=None) == "-- -- -- -- --"


async def test_a_wider_subscription_than_the_rule_is_denied(broker: TestBroker) -> None:
    client = await broker.client("c", password=sign({"acl": {"sub": ["a/+/b", "d/#"]}}))
    wanted = ("a/1/b", "a/+/b", "a/#", "#", "+/1/b", "d/+/#", "d", "$share/g/d/1", "$share/g/e")
    answers = [(await client.subscribe(filter))[0] for filter in wanted]
    assert [code < 0x80 for code in answers] == [True, True, False, False, False, True, True, True, False]


async def test_without_the_claim_the_next_source_decides(broker: TestBroker) -> None:
    client = await broker.client("c", password=sign({"sub": "c", "exp": now(broker) + 5}))
    await trio.sleep(10)
    assert await client.publish("a", qos=1) < 0x80, "acl_nomatch is allow, and an old token ends nothing"


@with_settings(acl_claim_name="topics")
async def test_the_claim_may_have_another_name(broker: TestBroker) -> None:
    assert await may(broker, {}, topics={"pub": ["a/1"]}) == "P- -- -- -- --"


async def test_with_the_token_the_access_ends_but_not_the_connection(broker: TestBroker) -> None:
    token = sign({"acl": {"all": ["#"]}, "exp": now(broker) + 100})
    client = await broker.client("c", password=token)
    assert await client.publish("a", qos=1) < 0x80
    await trio.sleep(200)
    assert await client.publish("a", qos=1) == NOT_AUTHORIZED
    assert await client.subscribe("a") == [NOT_AUTHORIZED]
    await client.ping()


async def test_a_client_keeps_its_access_over_a_reload(broker: TestBroker) -> None:
    client = await broker.client("c", password=sign({"acl": {"all": ["a/#"]}}))
    await broker.reload_plugin(NAME)
    assert await client.publish("a/1", qos=1) < 0x80
    assert await client.publish("b", qos=1) == NOT_AUTHORIZED
    assert outcome(broker) == {"admitted": 1}


# -- settings --------------------------------------------------------------------------------------------------------


async def refusal(**jwt: object) -> str:
    """What the operator reads when the plugin cannot be loaded."""
    async with running({"auth": {"jwt": {"secret": "", **jwt}}, "plugins": {"load": []}}, project=FILE) as broker:
        with pytest.raises(PluginError) as caught:
            await broker.node.plugins.load(NAME)
    text = str(caught.value)
    assert "\n" not in text
    return text


FILE = Path(__file__)


async def test_what_is_wrong_with_settings_is_said_in_one_line(autojump_clock: object, pem: Path) -> None:
    assert "set secret, pubkey or jwks" in await refusal()
    assert "no-such.pem: No such file" in await refusal(pubkey=str(pem / "no-such.pem"))
    assert "nonsense.pem is not a public key" in await refusal(pubkey=str(pem / "nonsense.pem"))
    assert "/dev/zero is not a file" in await refusal(pubkey="/dev/zero")
    assert "openssl pkey -in" in await refusal(pubkey=str(pem / "private.pem"))
    assert "secret: is a public key" in await refusal(secret=(pem / "rsa.pem").read_text())
    assert "http://host:port/path" in await refusal(jwks="ftp://x/keys")
    assert "jwks.url" in await refusal(jwks={"refresh_interval": "5m"})
    assert "jwks.refresh_interval" in await refusal(jwks={"url": "http://127.0.0.1/", "refresh_interval": "0s"})
    assert "jwks.cacertfile" in await refusal(jwks={"url": "https://127.0.0.1/", "cacertfile": "/no/such"})
    assert "password" in await refusal(secret="s", **{"from": "header"})
    assert "verify_claims.enable" in await refusal(secret="s", verify_claims={"enable": "perhaps"})
    assert "did you mean pubkey" in await refusal(secret="s", pubkeys="x")


async def test_the_secret_that_everybody_knows(
    autojump_clock: object, pem: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """EMQX ships it. It works alone, with a warning, and is no back door beside another key."""
    config: dict[str, object] = {"allow_anonymous": False}
    async with running(config, project=FILE) as broker:
        assert "anybody can make tokens" in caplog.text
        assert await code(broker, hs256_by(b"emqxsecret")) == 0
    config["auth"] = {"jwt": {"pubkey": str(pem / "rsa.pem")}}
    async with running(config, project=FILE) as broker:
        assert "not used beside pubkey or jwks" in caplog.text
        assert await code(broker, hs256_by(b"emqxsecret")) == NOT_AUTHORIZED
        assert await code(broker, sign({}, RSA, "RS256")) == 0


async def test_a_failed_reload_keeps_the_keys(broker: TestBroker) -> None:
    broker.node.config.auth["jwt"]["pubkey"] = "/no/such.pem"
    with pytest.raises(PluginError):
        await broker.reload_plugin(NAME)
    assert await code(broker, sign({})) == 0


async def test_unloading_leaves_nothing(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    assert not [name for name in broker.metrics if name.startswith("plugin.")]
    assert (await broker.ctl("jwt keys"))[0] == "Usage: emqx_ctl"
    assert not broker.node.hooks.compiled.client_authenticate

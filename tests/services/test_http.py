"""The HTTP client of plugins, against a real server on 127.0.0.1."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trioemqx.config.load import from_mapping
from trioemqx.services.http import HttpClient, HttpError, HttpTls, HttpUrl
from trioemqx.services.http.client import IDLE_SECONDS
from trioemqx.services.http.egress import Egress, egress_of, enforce
from trioemqx.testing import WebRequest, WebServer, web_server

# -- URLs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tls", "host", "port", "target", "authority"),
    [
        ("http://h", False, "h", 80, "/", "h"),
        ("http://h:80/a", False, "h", 80, "/a", "h"),
        ("https://h/a?b=c#d", True, "h", 443, "/a?b=c", "h"),
        ("https://h:8443/", True, "h", 8443, "/", "h:8443"),
        ("http://[::1]:81/x", False, "::1", 81, "/x", "[::1]:81"),
    ],
)
def test_urls_are_taken_apart(text: str, tls: bool, host: str, port: int, target: str, authority: str) -> None:
    url = HttpUrl.parse(text)
    assert (url.tls, url.host, url.port, url.target, url.authority) == (tls, host, port, target, authority)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://h:0",
        "http://h:70000",
        "http://h/a b",
        "http://h/\n",
        "http://é",
    ],
)
def test_what_is_no_url_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        HttpUrl.parse(text)
    assert "\n" not in str(caught.value)


def test_secrets_of_a_url_are_not_shown() -> None:
    url = HttpUrl.parse("http://user:pa%3Ass@h/p?token=secret")
    assert url.shown == "http://h:80/p"
    assert url.authorization == "Basic dXNlcjpwYTpzcw=="
    assert "dXNl" not in repr(url)


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("169.254.169.254", True),
        ("::ffff:169.254.169.254", True),
        ("fe80::1%lo", True),
        ("fd00:ec2::254", True),
        ("100.100.100.200", True),
        ("168.63.129.16", True),
        ("::ffff:168.63.129.16", True),
        ("224.0.0.1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("::1", False),
        ("192.0.2.1", False),
    ],
)
def test_link_local_and_metadata_addresses_are_never_asked(address: str, refused: bool) -> None:
    assert bool(Egress().refusal(address)) is refused


async def test_a_forbidden_address_is_not_connected_to() -> None:
    with pytest.raises(HttpError, match="metadata") as caught:
        await HttpClient("http://169.254.169.254/latest").request("GET")
    assert not caught.value.again


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("127.0.0.1", "private"),
        ("0.0.0.0", "private"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "private"),
        ("::1", "private"),
        ("::", "private"),
        ("fd12::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("::10.0.0.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("64:ff9b:1::a9fe:a9fe", "metadata"),
        ("64:ff9b:1::10.0.0.1", "private"),
        ("::ffff:0:127.0.0.1", "private"),
        ("fec0::1", "private"),
        ("2002:0a00:0001::1", "private"),
        ("169.254.169.254", "metadata"),
        ("10.1.2.3", ""),
        ("10.1.2.99", "outbound.deny"),
        ("8.8.8.8", ""),
        ("2001:4860:4860::8888", ""),
        ("localhost", "cannot be understood"),
    ],
)
def test_with_the_private_policy_only_public_and_listed_addresses_are_asked(address: str, refused: str) -> None:
    listed = Egress("private", (ipaddress.ip_network("10.1.2.0/24"),), (ipaddress.ip_network("10.1.2.99/32"),))
    assert refused in listed.refusal(address)
    assert bool(listed.refusal(address)) is bool(refused)


def test_with_the_open_policy_only_what_is_denied_is_not_asked() -> None:
    rules = Egress("open", deny=(ipaddress.ip_network("169.254.169.254/32"),))
    assert rules.refusal("169.254.0.1") == ""
    assert rules.refusal("127.0.0.1") == ""
    assert "outbound.deny" in rules.refusal("::ffff:169.254.169.254")


@pytest.mark.parametrize(
    ("security", "policy"),
    [
        ({}, "metadata"),
        ({"profile": "hardened"}, "private"),
        ({"profile": "hardened", "outbound": {"policy": "metadata"}}, "metadata"),
        ({"outbound": {"policy": "open"}}, "open"),
    ],
)
def test_the_profile_decides_where_no_policy_is_set(security: dict[str, object], policy: str) -> None:
    assert egress_of(from_mapping({"security": security})).policy == policy


async def test_an_address_is_checked_after_the_name_was_resolved_and_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that means something else a moment later changes nothing: it is asked for once."""
    asked = []
    real = trio.socket.getaddrinfo

    async def resolve(host: str, port: int, **how: int) -> object:
        if host != "rebind.example":  # a number, of which the system makes an address without asking anybody
            return await real(host, port, **how)
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1" if len(asked) == 1 else "169.254.169.254", port))]

    async with web_server() as server:
        server.says(200, b"here")
        monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
        client = HttpClient(f"http://rebind.example:{server.port}/")
        assert (await client.request("GET")).body == b"here"
        await client.aclose()
    assert asked == ["rebind.example"]


async def test_one_bad_address_of_a_name_is_enough_to_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int, **_: object) -> list[object]:
        return [(2, 1, 6, "", ("127.0.0.1", port)), (2, 1, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    with pytest.raises(HttpError, match="metadata"):
        await HttpClient("http://both.example/").request("GET")


async def test_the_rules_of_the_broker_hold_for_every_client_in_its_run() -> None:
    async with web_server() as server:
        server.says(200, b"here")
        client = HttpClient(server.url)
        enforce(Egress("private"))
        with pytest.raises(HttpError, match=r"security\.outbound\.allow"):
            await client.request("GET")
        enforce(Egress("private", (ipaddress.ip_network("127.0.0.0/8"),)))
        assert (await client.request("GET")).body == b"here"
        await client.aclose()


# -- requests ------------------------------------------------------------------------------------------------------


async def test_a_request_and_its_answer() -> None:
    async with web_server() as server:
        server.says(201, b"made", x_word="yes")
        client = HttpClient(f"{server.url}/p?q=1", headers=[("content-type", "text/plain")])
        answer = await client.request("POST", body=b"hello")
        assert (answer.status, answer.body, dict(answer.headers)["x-word"]) == (201, b"made", "yes")
        (seen,) = server.requests
        assert (seen.method, seen.target, seen.body) == ("POST", "/p?q=1", b"hello")
        assert seen.headers["content-type"] == "text/plain"
        assert seen.headers["host"] == f"127.0.0.1:{server.port}"
        await client.aclose()


async def test_user_and_password_of_the_url_are_sent() -> None:
    async with web_server() as server:
        client = HttpClient(server.url.replace("//", "//me:pw@"))
        await client.request("GET")
        assert server.requests[0].headers["authorization"] == "Basic bWU6cHc="
        await client.aclose()


async def test_connections_are_kept_and_no_more_than_the_pool_has_are_made() -> None:
    async with web_server() as server:
        client = HttpClient(server.url, pool_size=2)

        async def slow(request: WebRequest) -> tuple[int, bytes]:
            await trio.sleep(0.01)
            return 200, b""

        server.reply = slow
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(client.request, "POST")
        assert (len(server.requests), server.connections) == (10, 2)
        await client.aclose()


async def test_a_connection_that_the_server_closed_meanwhile_costs_no_request() -> None:
    async with web_server() as server:

        async def closing(request: WebRequest) -> bytes:
            return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"  # says nothing of closing, and closes

        server.reply = closing
        client = HttpClient(server.url)
        for _ in range(3):
            assert (await client.request("POST", body=b"x")).body == b"ok"
        assert server.connections == 3
        await client.aclose()


async def test_a_connection_that_ends_as_we_write_is_replaced() -> None:
    """The race that no look at the socket can exclude: the second request on a connection gets no answer at all."""
    async with web_server() as server:

        async def once(request: WebRequest) -> tuple[int, bytes] | bytes:
            first = [seen.connection for seen in server.requests].count(request.connection) == 1
            return (200, b"ok") if first else b""

        server.reply = once
        client = HttpClient(server.url)
        for _ in range(2):
            assert (await client.request("POST")).body == b"ok"
        assert [seen.connection for seen in server.requests] == [1, 1, 2]
        await client.aclose()


async def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web_server() as server:
        client = HttpClient(server.url)
        await client.request("GET")
        now = trio.current_time()
        monkeypatch.setattr(trio, "current_time", lambda: now + IDLE_SECONDS + 1)
        await client.request("GET")
        assert server.connections == 2
        await client.aclose()


async def test_redirects_are_answers() -> None:
    async with web_server() as server:
        server.says(302, location=f"{server.url}/elsewhere")
        client = HttpClient(server.url)
        assert (await client.request("GET")).status == 302
        assert len(server.requests) == 1
        await client.aclose()


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("raw", "text", "again"),
    [
        (b"", "closed the connection", True),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not HTTP", False),
        (HEAD + b"content-length: 10\r\n\r\nshort", "cut short", True),
        (HEAD + b"content-length: -1\r\n\r\n", "not HTTP", False),
        (HEAD + b"x: " + b"y" * 200_000 + b"\r\n\r\n", "not HTTP", False),
        (HEAD + b"content-length: 101\r\n\r\n" + b"z" * 101, "larger than 100 bytes", False),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n65\r\n" + b"z" * 101 + b"\r\n0\r\n\r\n", "larger", False),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", "not HTTP", False),
    ],
)
async def test_answers_that_are_none(raw: bytes, text: str, again: bool) -> None:
    async with web_server() as server:

        async def reply(request: WebRequest) -> bytes:
            return raw

        server.reply = reply
        client = HttpClient(server.url, max_answer=100)
        with pytest.raises(HttpError, match=text) as caught:
            await client.request("GET")
        assert caught.value.again is again
        server.says(200, b"fine")
        assert (await client.request("GET")).body == b"fine"
        await client.aclose()


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"content-length: 2\r\n\r\nok",
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        HEAD + b"\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"content-length: 2\r\n\r\nok",
    ],
)
async def test_every_way_to_end_an_answer_is_understood(raw: bytes) -> None:
    async with web_server() as server:

        async def reply(request: WebRequest) -> bytes:
            return raw

        server.reply = reply
        client = HttpClient(server.url)
        assert (await client.request("GET")).body == b"ok"
        await client.aclose()


async def test_time_is_bounded_also_for_those_that_wait_for_a_connection() -> None:
    async with web_server() as server:

        async def never(request: WebRequest) -> tuple[int, bytes]:
            await trio.sleep_forever()
            raise AssertionError

        server.reply = never
        client = HttpClient(server.url, pool_size=1, timeout=0.1)
        late = []

        async def ask() -> None:
            with pytest.raises(HttpError, match=r"no answer within 0\.1 s") as caught:
                await client.request("GET")
            late.append(caught.value.again)

        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                nursery.start_soon(ask)
        assert late == [False, False]
        server.says(200)
        assert (await client.request("GET")).status == 200, "the place in the pool is free again"
        await client.aclose()


async def test_nobody_there() -> None:
    async with web_server() as server:
        client = HttpClient(server.url)
        server.stop()
        await trio.sleep(0.01)
        with pytest.raises(HttpError, match="refused") as caught:
            await client.request("GET")
        assert caught.value.again
        with pytest.raises(HttpError, match="refused"):
            await client.open()


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(HttpError, match="cannot be resolved"):
        await HttpClient("http://nobody.invalid/").request("GET")


def test_headers_cannot_smuggle_lines() -> None:
    with pytest.raises(ValueError, match="does not allow"):
        HttpClient("http://h", headers=[("x", "a\r\ny: b")])


async def test_a_target_cannot_smuggle_lines() -> None:
    with pytest.raises(ValueError, match="does not allow"):
        await HttpClient("http://h").request("GET", "/ HTTP/1.1\r\nx: y")


# -- TLS -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Pki:
    """A self-signed certificate for 127.0.0.1, and a server's context with it."""

    cert: Path
    key: Path
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    with tempfile.TemporaryDirectory() as folder:
        cert, keyfile = Path(folder, "c.pem"), Path(folder, "k.pem")
        cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        keyfile.write_bytes(key.private_bytes(pem, form, plain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, keyfile)
        yield Pki(cert, keyfile, context)


async def ask(server: WebServer, tls: HttpTls) -> int:
    client = HttpClient(server.url, tls=tls.context(), server_name=tls.server_name_indication)
    try:
        return (await client.request("GET")).status
    finally:
        await client.aclose()


async def test_a_certificate_is_checked_when_that_is_asked_for(pki: Pki) -> None:
    async with web_server(pki.server) as server:
        assert await ask(server, HttpTls()) == 200
        assert await ask(server, HttpTls(verify=True, cacertfile=pki.cert)) == 200
        with pytest.raises(HttpError, match=r"TLS: .*certificate") as caught:
            await ask(server, HttpTls(verify=True))
        assert "\n" not in str(caught.value)
        wrong = HttpTls(verify=True, cacertfile=pki.cert, server_name_indication="other.example")
        with pytest.raises(HttpError, match=r"other\.example"):
            await ask(server, wrong)
        unnamed = HttpTls(verify=True, cacertfile=pki.cert, server_name_indication="disable")
        assert await ask(server, unnamed) == 200


async def test_a_client_certificate_is_shown(pki: Pki) -> None:
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(pki.cert, pki.key)
    strict.load_verify_locations(pki.cert)
    strict.verify_mode = ssl.CERT_REQUIRED
    async with web_server(strict) as server:
        assert await ask(server, HttpTls(certfile=pki.cert, keyfile=pki.key)) == 200
        with pytest.raises(HttpError):
            await ask(server, HttpTls())


@pytest.mark.parametrize("key", ["cacertfile", "certfile", "keyfile"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, pki: Pki, key: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files = {"certfile": pki.cert, "keyfile": pki.key, key: pipe}
    with pytest.raises(ValueError, match=rf"^ssl\.{key}.* .*pipe: not a file$"):
        HttpTls(**files).context()


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    missing, junk = tmp_path / "missing.pem", tmp_path / "junk.pem"
    junk.write_text("no certificate")
    with pytest.raises(ValueError, match=r"^ssl\.cacertfile .*missing\.pem: no such file or directory$"):
        HttpTls(cacertfile=missing).context()
    with pytest.raises(ValueError, match=r"^ssl\.certfile/keyfile .*junk\.pem: "):
        HttpTls(certfile=junk).context()
    with pytest.raises(ValueError, match="keyfile needs"):
        HttpTls(keyfile=junk).context()
    with pytest.raises(ValueError, match=r"^ssl\.cacertfile x{300}: file name too long$"):
        HttpTls(cacertfile=Path("x" * 300)).context()
    assert HttpTls(cacertfile=Path()).context().verify_mode == ssl.CERT_NONE

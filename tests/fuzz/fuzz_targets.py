"""What a fuzzer may throw bytes at: each target takes any bytes, and raises only when there is a defect.

A target knows more than "it does not crash": what is read can be written and read again, pieces mean the same as the
whole, what is refused changes nothing, and errors are those that the caller expects.
"""

from __future__ import annotations

import importlib
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from trioemqx.api.requests import load_json, parse_query, segments
from trioemqx.codec.decode import decode
from trioemqx.codec.encode import encode
from trioemqx.codec.framer import Framer
from trioemqx.config.errors import ConfigErrors
from trioemqx.config.load import load
from trioemqx.core.topics import matches
from trioemqx.errors import MalformedPacket, PacketError
from trioemqx.listeners.build import TransportPlan
from trioemqx.listeners.proxy import MAX_BINARY, SIGNATURE, ProxyLayer, read_header
from trioemqx.listeners.transport import LayerClosed, Peer
from trioemqx.listeners.wsdeflate import DeflateSettings
from trioemqx.listeners.wshandshake import WsSettings
from trioemqx.rules.sql import Columns, Environment, EvalError, SqlError, compile_rule, standard_functions
from trioemqx.services.plugins import importing
from trioemqx.services.web.answers import ApiError
from trioemqx.services.web.endpoints import BadPath

ROOT: Final = Path(__file__).resolve().parents[2]
LIMIT: Final = 4096
"""Bytes of a packet, as a small `max_packet_size` has it."""
UPGRADE: Final = (
    b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Protocol: mqtt\r\n"
)


@attrs.frozen
class Target:
    """`run` is called with any bytes. `seeds` are good inputs to begin with, `words` what a mutation may put in."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


# -- MQTT --------------------------------------------------------------------------------------------------------------


def codec(version: int) -> Callable[[bytes], None]:
    """A stream of packets of one version: framed whole and in pieces alike, decoded, written, decoded again."""

    def run(data: bytes) -> None:
        frames, code = _framed([data])
        step = 1 + len(data) % 7
        again, code_again = _framed([data[at : at + step] for at in range(0, len(data), step)])
        assert (frames, code) == (again, code_again), "pieces are cut differently"
        for frame in frames:
            for strict in (False, True):
                try:
                    packet = decode(frame, version, strict)
                except PacketError as error:
                    assert 0x80 <= error.code <= 0xA2, error
                    continue
                assert decode(encode(packet, version), version, strict) == packet

    return run


def _framed(chunks: list[bytes]) -> tuple[list[bytes], int]:
    framer = Framer(LIMIT)
    frames = []
    for chunk in chunks:
        framer.feed(chunk)
        try:
            while (frame := framer.next_frame()) is not None:
                assert len(frame) <= LIMIT
                frames.append(bytes(frame))
        except MalformedPacket as error:
            return frames, error.code
        assert framer.pending() <= LIMIT + len(chunk)
    return frames, 0


def _packets(version: int) -> tuple[bytes, ...]:
    level = bytes([version])
    name = b"\0\6MQIsdp" if version == 3 else b"\0\4MQTT"
    properties = b"\0" if version == 5 else b""
    bodies = [
        (0x10, name + level + b"\xce\0\x3c" + properties + b"\0\1c" + properties + b"\0\1w\0\1p\0\1u\0\1s"),
        (
            0x10,
            name
            + level
            + b"\2\0\0"
            + (b"\x12\x11\0\0\0\x0a\x21\0\5\x26\0\1a\0\1b\x22\0\5" if version == 5 else b"")
            + b"\0\0",
        ),
        (0x30, b"\0\3a/b" + properties + b"payload"),
        (0x3B, b"\0\1a\0\1" + (b"\x0a\x01\1\x02\0\0\0\5\x23\0\1" if version == 5 else b"") + b"x"),
        (0x82, b"\0\2" + properties + b"\0\3a/#\1\0\6$share\0"),
        (0xA2, b"\0\3" + properties + b"\0\1+"),
        *((first, b"\0\1") for first in (0x40, 0x50, 0x62, 0x70)),
        (0xC0, b""),
        (0xE0, b""),
    ]
    frames = [bytes([first, len(body)]) + body for first, body in bodies]
    if version == 5:
        frames += [b"\xe0\x02\x04\x00", b"\xf0\x02\x18\x00", b"\x40\x04\0\1\x10\0"]
    return (*frames, b"".join(frames))


# -- below MQTT --------------------------------------------------------------------------------------------------------


def websocket(data: bytes) -> None:
    """Bytes on a WebSocket listener: pieces give what the whole gives, and nothing grows beyond the limits."""
    for settings in (
        WsSettings(max_frame_size=LIMIT, max_message_size=LIMIT),
        WsSettings(max_frame_size=LIMIT, max_message_size=LIMIT, deflate=DeflateSettings()),
    ):
        given, end = _read(settings, [data] if data else [])
        pieces, end_of_pieces = _read(settings, [data[at : at + 3] for at in range(0, len(data), 3)])
        # What is compressed is inflated as it comes: the good start of a bad stream is there in pieces alone.
        same = given == pieces or (settings.deflate is not None and bool(end) and pieces.startswith(given))
        # The name of the end may differ: a PROXY header is told from a bad request by as many bytes as there are.
        assert (same, bool(end)) == (True, bool(end_of_pieces)), (given, end, pieces, end_of_pieces)


def _read(settings: WsSettings, chunks: list[bytes]) -> tuple[bytes, str]:
    """(MQTT bytes, why it ended)"""
    transport = TransportPlan(ws=settings).transport(Peer("192.0.2.1", 1))
    assert transport is not None
    given = b""
    end = ""
    for chunk in chunks:
        try:
            given += transport.feed(chunk)
        except (LayerClosed, MalformedPacket) as error:
            end = error.name
        assert len(transport.output()) <= 2 * LIMIT + 1024
        if end or transport.ended is not None:
            break
    if not end and transport.ended is not None:
        end = getattr(transport.ended, "name", "")
    assert isinstance(transport.close(), bytes)
    return given, end


def proxy(data: bytes) -> None:
    """A PROXY header: what is refused leaves the peer as it was, and byte by byte means the same."""
    peer = Peer("192.0.2.1", 1)
    try:
        used = read_header(data, peer)
    except MalformedPacket:
        assert peer == Peer("192.0.2.1", 1)
        used = -1
    assert used <= min(len(data), MAX_BINARY)
    slow = Peer("192.0.2.1", 1)
    layer = ProxyLayer(slow)
    given = b"".join(layer.feed(data[at : at + 1]) for at in range(len(data)))
    if used > 0:
        assert (given, slow) == (data[used:], peer)
        assert peer.host.isprintable()
        assert 0 <= peer.port <= 65535
    elif used < 0:
        assert slow == Peer("192.0.2.1", 1)
        assert given == b""


# -- texts that people write -------------------------------------------------------------------------------------------

_FUNCTIONS: Final = standard_functions(Environment(now_ns=lambda: 1_700_000_000 * 10**9, random=random.Random(4)))


def sql(data: bytes) -> None:
    """A rule, and what it gives for a message: a value or the language's own errors."""
    try:
        rule = compile_rule(data, _FUNCTIONS, {"rule_id": "rule:1"})  # type: ignore[arg-type]
    except SqlError as error:
        assert error.line >= 1
        assert error.column >= 1
        return
    message = {"topic": "a/b", "payload": '{"a":[1,{"b":"x"}]}', "qos": 1, "clientid": "c", "flags": {"retain": True}}
    try:
        rule.run(Columns(message))
    except EvalError:
        return


def _acl_module(name: str) -> Any:
    main = importing.fresh("emqx_mod_acl_internal", ROOT / "modules" / "emqx_mod_acl_internal.py")
    return importlib.import_module(f"{importing.package_of(main)}.{name}")


_ACL_FILE: Final = _acl_module("_acl_file")
_ACL_ERROR: Final = importlib.import_module(_ACL_FILE.read_rules.__module__.rpartition(".")[0] + "._acl_rules").AclError


def acl(data: bytes) -> None:
    """A file of access rules in each of its three forms: rules, or an error with a place."""
    for suffix in (".conf", ".toml", ""):
        try:
            rules = _ACL_FILE.read_rules(_ACL_FILE.decoded(data), suffix)
        except _ACL_ERROR as error:
            assert error.line >= 1
            assert error.column >= 1
        else:
            assert rules


_FOLDER: Final = tempfile.TemporaryDirectory()


def config(data: bytes) -> None:
    """A configuration file: settings, or errors that name the file."""
    path = Path(_FOLDER.name) / "emqx.toml"
    path.write_bytes(data)
    try:
        load(path, {})
    except ConfigErrors as errors:
        assert errors.errors
        assert all("\n" not in str(error) for error in errors.errors)


def environment(data: bytes) -> None:
    """Variables `EMQX_NAME=value`, one a line."""
    text = data.decode("utf-8", "replace").replace("\0", "")
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
    variables = {f"EMQX_{name}": value for name, _, value in pairs if not name.upper().endswith("_FILE")}
    try:
        load(None, variables)
    except ConfigErrors as errors:
        assert errors.errors


def request(data: bytes) -> None:
    """Path, query and JSON body of a request: values, or an answer with a status below 500."""
    path, _, rest = data.partition(b"\n")
    query, _, body = rest.partition(b"\n")
    for read, part in ((segments, path), (parse_query, query), (load_json, body)):
        try:
            read(part)  # type: ignore[operator]
        except ApiError as error:
            assert error.status < 500
        except BadPath:
            assert read is segments


def topics(data: bytes) -> None:
    """A filter and a topic: `matches` says what a walk over the levels says."""
    text = data.decode("utf-8", "ignore").replace("\0", "")
    filter, _, topic = text.partition("\n")
    levels = filter.split("/")
    good = bool(filter) and all(level in ("+", "#") or not set(level) & set("+#") for level in levels)
    if not good or "#" in levels[:-1] or not topic or set(topic) & set("+#\n"):
        return
    assert matches(filter, topic) is _fits(levels, topic.split("/")), (filter, topic)


def _fits(levels: list[str], names: list[str]) -> bool:
    if names[0].startswith("$") and levels[0] in ("+", "#"):
        return False
    for at, level in enumerate(levels):
        if level == "#":
            return True
        if at >= len(names) or level not in ("+", names[at]):
            return False
    return len(levels) == len(names)


TARGETS: Final[dict[str, Target]] = {
    **{
        f"codec{version}": Target(
            codec(version),
            _packets(version),
            (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff", b"\0\0", b"\xed\xa0\x80", b"\x80"),
        )
        for version in (3, 4, 5)
    },
    "websocket": Target(
        websocket,
        (
            UPGRADE + b"\r\n\x82\x82\0\0\0\0\xc0\0",
            UPGRADE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\xc2\x87\0\0\0\0\x3a\xc0\0\0\0\0\xff",
            UPGRADE + b"\r\n\x02\x81\0\0\0\0\xc0\x80\x81\0\0\0\0\0\x89\x80\0\0\0\0\x88\x82\0\0\0\0\3\xe8",
        ),
        (b"\x82\xfe\xff\xff", b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x88\x80\0\0\0\0", b"\x89\xfe", b"\r\n"),
    ),
    "proxy": Target(
        proxy,
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\nrest",
            b"PROXY TCP6 2001:db8::1 2001:db8::2 5 65535\r\n",
            b"PROXY UNKNOWN\r\n",
            SIGNATURE + b"\x21\x11\x00\x0c\1\2\3\4\5\6\7\x08\0\1\0\2rest",
            SIGNATURE + b"\x21\x11\x00\x19\1\2\3\4\5\6\7\x08\0\1\0\2\x20\0\x0a\1\0\0\0\0\x22\0\2me",
            SIGNATURE + b"\x20\x00\x00\x00",
        ),
        (SIGNATURE, b"PROXY ", b"\xff\xff", b"\x00\x00", b" 65536", b"::ffff:1.2.3.4"),
    ),
    "sql": Target(
        sql,
        (
            b'SELECT * FROM "t/#" WHERE qos > 0',
            b"SELECT payload.a[2].b as x, case when qos = 1 then 'a' else 'b' end AS c "
            b'FROM "$events/client_connected"',
            b'FOREACH payload.a AS i DO i.b, upper(clientid) INCASE i <> 1 FROM "a/+", "b"',
            b"SELECT nth(1, payload.a) + 1.5 * -qos div 2, sha256(topic), map_get('a', payload) FROM \"t\"",
        ),
        (b"SELECT ", b" FROM ", b"((((((((", b"[1..999999999]", b"'", b'"', b"9" * 400, b" = ", b"case when "),
    ),
    "acl": Target(
        acl,
        (
            b'{allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.\n'
            b'{deny, all, subscribe, [{eq, "#"}]}.\n{allow, all}.\n',
            b'[[acl]]\npermission = "allow"\nwho = { ipaddr = "127.0.0.1" }\n'
            b'action = "pubsub"\ntopics = ["a/%c", { eq = "#" }]\n',
            b"allow user me publish a/# b\ndeny all\n",
        ),
        (b"{'and', [", b"\\x{", b"<<", b'"', b"]}.", b"[[acl]]\n", b"%u", b"[" * 50),
    ),
    "config": Target(
        config,
        (
            b'allow_anonymous = true\n[mqtt]\nmax_packet_size = "1MB"\n[listener.tcp]\nx = 1883\n',
            b'[zone.z]\nidle_timeout = "15s"\nmqueue_priorities = "a=1"\n'
            b'[listener.ws.a]\nbind = "[::1]:1"\nzone = "z"\naccess = ["deny all"]\n',
            (ROOT / "etc" / "emqx.toml").read_bytes()[:3000],
        ),
        (
            b"[" * 3000,
            b"a = " + b"[" * 3000,
            b"= {a = ",
            b'"""',
            b"1e999",
            b"0x" + b"f" * 40,
            b"9" * 5000,
            b"\xff",
            b"[listener.",
            b"\\uD800",
        ),
    ),
    "environment": Target(
        environment,
        (
            b"ALLOW_ANONYMOUS=false\nZONE__EXTERNAL__MAX_INFLIGHT=5",
            b"LISTENER__TCP__EXTERNAL=127.0.0.1:1\nLOADED_PLUGINS=a,b",
        ),
        (b"__", b"=", b"9" * 5000, b"LISTENER__", b"ZONE__", b"{", b"["),
    ),
    "request": Target(
        request,
        (b"/api/v4/clients/a%2Fb\n_page=1&x=%C3%A9\n" + b'{"a":[1,2.5,null,"x"]}', b"/\n\n[]"),
        (b"[" * 70, b"%", b"%ff", b"1e999", b"NaN", b"\\ud800", b"9" * 400, b"&" * 10),
    ),
    "topics": Target(topics, (b"a/+/#\na/b/c", b"+\n$SYS", b"#\na", b"a//b\na//b"), (b"/", b"+/", b"/#", b"$", b"\n")),
}
"""By the name that `./dev fuzz` knows."""


def mutated(target: Target, chance: random.Random) -> bytes:
    """A seed with one to six changes: the budget of a test is too small to find a first good input by luck."""
    data = bytearray(chance.choice(target.seeds))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        what = chance.randrange(6)
        if what == 0:
            del data[at : at + chance.randint(1, 8)]
        elif what == 1:
            data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 4)))
        elif what == 2 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif what == 3 and target.words:
            data[at:at] = chance.choice(target.words)
        elif what == 4:
            other = chance.choice(target.seeds)
            data[at:] = other[chance.randrange(len(other) + 1) :]
        elif at < len(data):
            data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(data)

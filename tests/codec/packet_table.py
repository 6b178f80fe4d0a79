"""Packets as raw bytes, clause by clause: what must be refused and with which code, and what must be accepted.

A row is (clause, versions, bytes, expected); `versions` is "345" for MQTT 3.1, 3.1.1 and 5.0; `expected` is a reason
code or a packet. Clauses are numbered as in MQTT 5.0 unless they begin with "3.1.1:". Bytes are hexadecimal, with
four helps:

    ..          the remaining length, computed (a length that is part of the test is written out)
    s'abc'      a UTF-8 string with its two-byte length
    'abc'       just these bytes
    { ... }     an MQTT 5 property block with its length

`wire` turns the notation into bytes. Other tests (channel, listeners) use the same table. It is long because it is
complete, and one file because it is one table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trioemqx.codec.control import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, make_publish
from trioemqx.types import Properties, SubOpts


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def wire(notation: str) -> bytes:
    """The bytes a row stands for."""
    stack = [bytearray()]
    measured = False
    at = 0
    while at < len(notation):
        rest = notation[at:]
        if rest[0].isspace():
            at += 1
        elif rest.startswith(".."):
            measured = True
            at += 2
        elif rest[0] == "{":
            stack.append(bytearray())
            at += 1
        elif rest[0] == "}":
            block = stack.pop()
            stack[-1] += varint(len(block)) + block
            at += 1
        elif rest[0] in "s'":
            start = rest.index("'") + 1
            stop = rest.index("'", start)
            text = rest[start:stop].encode()
            stack[-1] += (len(text).to_bytes(2, "big") if rest[0] == "s" else b"") + text
            at += stop + 1
        else:
            stack[-1].append(int(rest[:2], 16))
            at += 2
    (body,) = stack
    return bytes(body[:1]) + varint(len(body) - 1) + bytes(body[1:]) if measured else bytes(body)


def framed(first: int, body: bytes) -> bytes:
    """A packet with a right remaining length."""
    return bytes([first]) + varint(len(body)) + body


def props(**values: Any) -> Properties:
    found = Properties()
    for name, value in values.items():
        setattr(found, name, value)
    return found


_ACKS = ("40", "50", "62", "70")

# What is refused --------------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, str, str, int]] = [
    # Fixed header: types and flags.
    ("2.1.2 type 0 is reserved", "345", "00 00", 0x81),
    ("2.1.2 type 0 is reserved, flags do not matter", "345", "0f 00", 0x81),
    ("3.1.1:2.2.1 type 15 is reserved", "34", "f0 00", 0x81),
    ("3.1.1:2.2.1 type 15 is reserved, with a body", "34", "f0 02 18 00", 0x81),
    *((f"2.1.3-1 flags {f:x} of CONNECT", "345", f"1{f:x} .. s'MQTT' 04 02 0000 s'c'", 0x81) for f in range(1, 16)),
    *((f"2.1.3-1 flags {f:x} of CONNACK", "34", f"2{f:x} .. 00 00", 0x81) for f in range(1, 16)),
    *((f"2.1.3-1 flags {f:x} of CONNACK", "5", f"2{f:x} .. 00 00 00", 0x81) for f in range(1, 16)),
    *((f"2.1.3-1 flags {f:x} of PUBACK", "345", f"4{f:x} 02 0001", 0x81) for f in range(1, 16)),
    *((f"2.1.3-1 flags {f:x} of PUBREC", "345", f"5{f:x} 02 0001", 0x81) for f in range(1, 16)),
    *((f"3.6.1-1 flags {f:x} of PUBREL", "345", f"6{f:x} 02 0001", 0x81) for f in range(16) if f != 2),
    *((f"2.1.3-1 flags {f:x} of PUBCOMP", "345", f"7{f:x} 02 0001", 0x81) for f in range(1, 16)),
    *((f"3.8.1-1 flags {f:x} of SUBSCRIBE", "34", f"8{f:x} .. 0001 s'a' 00", 0x81) for f in range(16) if f != 2),
    *((f"3.8.1-1 flags {f:x} of SUBSCRIBE", "5", f"8{f:x} .. 0001 {{}} s'a' 00", 0x81) for f in range(16) if f != 2),
    *((f"2.1.3-1 flags {f:x} of SUBACK", "34", f"9{f:x} .. 0001 00", 0x81) for f in range(1, 16)),
    *((f"2.1.3-1 flags {f:x} of SUBACK", "5", f"9{f:x} .. 0001 {{}} 00", 0x81) for f in range(1, 16)),
    *((f"3.10.1-1 flags {f:x} of UNSUBSCRIBE", "34", f"a{f:x} .. 0001 s'a'", 0x81) for f in range(16) if f != 2),
    *((f"3.10.1-1 flags {f:x} of UNSUBSCRIBE", "5", f"a{f:x} .. 0001 {{}} s'a'", 0x81) for f in range(16) if f != 2),
    *((f"2.1.3-1 flags {f:x} of UNSUBACK", "34", f"b{f:x} .. 0001", 0x81) for f in range(1, 16)),
    *((f"2.1.3-1 flags {f:x} of UNSUBACK", "5", f"b{f:x} .. 0001 {{}} 00", 0x81) for f in range(1, 16)),
    *((f"2.1.3-1 flags {f:x} of PINGREQ", "345", f"c{f:x} 00", 0x81) for f in range(1, 16)),
    *((f"2.1.3-1 flags {f:x} of PINGRESP", "345", f"d{f:x} 00", 0x81) for f in range(1, 16)),
    *((f"3.14.1-1 flags {f:x} of DISCONNECT", "345", f"e{f:x} 00", 0x81) for f in range(1, 16)),
    *((f"3.15.1-1 flags {f:x} of AUTH", "5", f"f{f:x} 02 18 00", 0x81) for f in range(1, 16)),
    # Fixed header: remaining length. (Five length bytes: the framer's tests.)
    ("2.1.4 remaining length of five bytes", "345", "c0 80 80 80 80 00", 0x81),
    ("2.1.4 remaining length of five bytes in a PUBLISH", "345", "30 83 80 80 80 00 s't'", 0x81),
    ("2.1.4 remaining length of five bytes in a PUBACK", "345", "40 82 80 80 80 00 0001", 0x81),
    ("2.1.4 remaining length is not complete", "345", "c0 80", 0x81),
    ("2.1.4 remaining length is larger than the packet", "345", "c0 01", 0x81),
    ("2.1.4 remaining length is smaller than the packet", "345", "c0 00 00", 0x81),
    ("1.5.5-1 remaining length 0 in two bytes", "5", "c0 80 00", 0x81),
    ("1.5.5-1 remaining length 2 in two bytes", "5", "40 82 00 0001", 0x81),
    ("1.5.5-1 remaining length 4 in two bytes", "5", "30 84 00 s't' 00", 0x81),
    ("1.5.5-1 remaining length 4 in four bytes", "5", "30 84 80 80 00 s't' 00", 0x81),
    ("1.5.5-1 remaining length 15 in two bytes", "345", "10 8f 00 s'MQTT' 05 02 003c {} s'cc'", 0x81),
    # CONNECT: protocol name and level.
    ("3.1.2-1 no protocol name", "345", "10 00", 0x81),
    ("3.1.2-1 half a length", "345", "10 01 00", 0x81),
    ("3.1.2-1 name longer than the packet", "345", "10 04 0004 'MQ'", 0x81),
    ("3.1.2-1 empty protocol name", "345", "10 .. 0000 04 02 003c s'c'", 0x84),
    ("3.1.2-1 unknown protocol name", "345", "10 .. s'MQXX' 04 02 003c s'c'", 0x84),
    ("3.1.2-1 protocol name is case-sensitive", "345", "10 .. s'mqtt' 04 02 003c s'c'", 0x84),
    ("3.1.2-1 protocol name with something behind", "345", "10 .. s'MQTT ' 04 02 003c s'c'", 0x84),
    ("3.1.2-1 protocol name is not UTF-8", "345", "10 .. 0004 ff fe ff fe 04 02 003c s'c'", 0x84),
    *(
        (f"3.1.2-2 MQTT level {level}", "345", f"10 .. s'MQTT' {level:02x} 02 003c s'c'", 0x84)
        for level in (0, 1, 2, 3, 6, 7, 0x14, 0x7F, 0x80, 0x83, 0x86, 0xFF)
    ),
    *(
        (f"3.1.2-2 MQIsdp level {level}", "345", f"10 .. s'MQIsdp' {level:02x} 02 003c s'c'", 0x84)
        for level in (0, 2, 4, 5, 6, 0x84, 0xFF)
    ),
    ("3.1.2-2 unknown level wins over unreadable rest", "345", "10 .. s'MQTT' 09", 0x84),
    ("3.1.2-2 unknown level wins over reserved flag", "345", "10 .. s'MQTT' 09 01 003c", 0x84),
    ("3.1.2 no level", "345", "10 .. s'MQTT'", 0x81),
    ("3.1.2 no flags", "345", "10 .. s'MQTT' 04", 0x81),
    ("3.1.2 no keep alive", "345", "10 .. s'MQTT' 04 02", 0x81),
    ("3.1.2 half a keep alive", "345", "10 .. s'MQTT' 04 02 00", 0x81),
    ("3.1.3-3 no client identifier", "345", "10 .. s'MQTT' 04 02 003c", 0x81),
    ("3.1.3-3 no client identifier", "345", "10 .. s'MQTT' 05 02 003c {}", 0x81),
    ("3.1.2.11 no property length", "345", "10 .. s'MQTT' 05 02 003c", 0x81),
    ("3.1.2.11 property length past the packet", "345", "10 .. s'MQTT' 05 02 003c 7f s'c'", 0x81),
    # CONNECT: flags.
    ("3.1.2-3 reserved flag", "345", "10 .. s'MQIsdp' 03 03 003c s'c'", 0x81),
    ("3.1.2-3 reserved flag", "345", "10 .. s'MQTT' 04 03 003c s'c'", 0x81),
    ("3.1.2-3 reserved flag", "345", "10 .. s'MQTT' 05 03 003c {} s'c'", 0x81),
    *(
        (f"3.1.2-11/13 flags {flags:02x} without will", "345", f"10 .. s'MQTT' {tail}", 0x81)
        for flags in (0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x0A, 0x22)
        for tail in (f"04 {flags:02x} 003c s'c'", f"05 {flags:02x} 003c {{}} s'c'")
    ),
    ("3.1.2-12 will QoS 3", "345", "10 .. s'MQTT' 04 1e 003c s'c' s'w' s'm'", 0x81),
    ("3.1.2-12 will QoS 3", "345", "10 .. s'MQTT' 05 1e 003c {} s'c' {} s'w' s'm'", 0x81),
    ("3.1.2-12 will QoS 3, retained", "345", "10 .. s'MQTT' 04 3e 003c s'c' s'w' s'm'", 0x81),
    ("3.1.1:3.1.2-22 password without user name", "345", "10 .. s'MQTT' 04 42 003c s'c' s'pw'", 0x81),
    ("3.1.1:3.1.2-22 password without user name", "345", "10 .. s'MQIsdp' 03 42 003c s'c' s'pw'", 0x81),
    # CONNECT: flags against payload.
    ("3.1.2-9 will flag, no will", "345", "10 .. s'MQTT' 04 06 003c s'c'", 0x81),
    ("3.1.2-9 will flag, no will payload", "345", "10 .. s'MQTT' 04 06 003c s'c' s'w'", 0x81),
    ("3.1.2-9 will flag, no will", "345", "10 .. s'MQTT' 05 06 003c {} s'c'", 0x81),
    ("3.1.2-9 will flag, no will properties", "345", "10 .. s'MQTT' 05 06 003c {} s'c' s'w' s'm'", 0x81),
    ("3.1.2-8 will without its flag", "345", "10 .. s'MQTT' 04 02 003c s'c' s'w' s'm'", 0x81),
    ("3.1.2-17 user name flag, no user name", "345", "10 .. s'MQTT' 04 82 003c s'c'", 0x81),
    ("3.1.2-17 user name flag, no user name", "345", "10 .. s'MQTT' 05 82 003c {} s'c'", 0x81),
    ("3.1.2-16 user name without its flag", "345", "10 .. s'MQTT' 04 02 003c s'c' s'u'", 0x81),
    ("3.1.2-16 user name without its flag", "345", "10 .. s'MQTT' 05 02 003c {} s'c' s'u'", 0x81),
    ("3.1.2-19 password flag, no password", "345", "10 .. s'MQTT' 04 c2 003c s'c' s'u'", 0x81),
    ("3.1.2-19 password flag, no password", "345", "10 .. s'MQTT' 05 42 003c {} s'c'", 0x81),
    ("3.1.2-18 password without its flag", "345", "10 .. s'MQTT' 04 82 003c s'c' s'u' s'p'", 0x81),
    ("3.1.3 a byte too many", "345", "10 .. s'MQTT' 04 02 003c s'c' 00", 0x81),
    ("3.1.3 a byte too many", "345", "10 .. s'MQIsdp' 03 02 003c s'c' 00", 0x81),
    ("3.1.3 a byte too many", "345", "10 .. s'MQTT' 05 02 003c {} s'c' 00", 0x81),
    # CONNECT: property values.
    ("3.1.2.11.3 Receive Maximum 0", "345", "10 .. s'MQTT' 05 02 003c {21 0000} s'c'", 0x82),
    ("3.1.2.11.4 Maximum Packet Size 0", "345", "10 .. s'MQTT' 05 02 003c {27 00000000} s'c'", 0x82),
    ("3.1.2.11.6 Request Response Information 2", "345", "10 .. s'MQTT' 05 02 003c {19 02} s'c'", 0x82),
    ("3.1.2.11.6 Request Response Information 255", "345", "10 .. s'MQTT' 05 02 003c {19 ff} s'c'", 0x82),
    ("3.1.2.11.7 Request Problem Information 2", "345", "10 .. s'MQTT' 05 02 003c {17 02} s'c'", 0x82),
    ("3.1.2.11.10 data without method", "345", "10 .. s'MQTT' 05 02 003c {16 s'd'} s'c'", 0x82),
    ("3.1.3.2.3 will Payload Format Indicator 2", "345", "10 .. s'MQTT' 05 06 003c {} s'c' {01 02} s'w' s'm'", 0x82),
    (
        "3.1.3.2.6 will Response Topic with wildcard",
        "345",
        "10 .. s'MQTT' 05 06 00 3c {} s'c' {08 s'a/#'} s'w' s'm'",
        0x82,
    ),
    ("3.1.3.2 will delay outside the will", "345", "10 .. s'MQTT' 05 06 003c {18 00000001} s'c' {} s'w' s'm'", 0x81),
    ("3.1.3.2 will property length past the packet", "345", "10 .. s'MQTT' 05 06 003c {} s'c' 7f s'w' s'm'", 0x81),
    # CONNACK.
    ("3.2.1 too short", "345", "20 00", 0x81),
    ("3.2.1 too short", "345", "20 01 00", 0x81),
    ("3.2.2 no property length", "5", "20 02 00 00", 0x81),
    ("3.2.2 a byte too many", "34", "20 03 00 00 00", 0x81),
    ("3.2.2 a byte too many", "5", "20 .. 00 00 {} 00", 0x81),
    ("3.2.2-1 reserved flags", "34", "20 02 02 00", 0x81),
    ("3.2.2-1 reserved flags", "5", "20 .. 80 00 {}", 0x81),
    ("3.2.2-6 refusal with session present", "34", "20 02 01 05", 0x82),
    ("3.2.2-6 refusal with session present", "5", "20 .. 01 87 {}", 0x82),
    ("3.1.1:3.2.2.3 return code 6", "34", "20 02 00 06", 0x82),
    ("3.1.1:3.2.2.3 return code 0x87", "34", "20 02 00 87", 0x82),
    ("3.2.2-8 reason code 1", "5", "20 .. 00 01 {}", 0x82),
    ("3.2.2-8 reason code 0x8E", "5", "20 .. 00 8e {}", 0x82),
    ("3.2.2.3.3 Receive Maximum 0", "5", "20 .. 00 00 {21 0000}", 0x82),
    ("3.2.2.3.4 Maximum QoS 2", "5", "20 .. 00 00 {24 02}", 0x82),
    ("3.2.2.3.5 Retain Available 2", "5", "20 .. 00 00 {25 02}", 0x82),
    ("3.2.2.3.6 Maximum Packet Size 0", "5", "20 .. 00 00 {27 00000000}", 0x82),
    ("3.2.2.3.11 Wildcard Subscription Available 2", "5", "20 .. 00 00 {28 02}", 0x82),
    ("3.2.2.3.12 Subscription Identifiers Available 2", "5", "20 .. 00 00 {29 02}", 0x82),
    ("3.2.2.3.13 Shared Subscription Available 2", "5", "20 .. 00 00 {2a 02}", 0x82),
    # PUBLISH.
    ("3.3.2 empty packet", "345", "30 00", 0x81),
    ("3.3.2 half a topic length", "345", "30 01 00", 0x81),
    ("3.3.2 half a topic length, remaining length not shortest", "34", "30 81 00 00", 0x81),
    ("3.3.2 topic longer than the packet", "345", "30 03 0002 'a'", 0x81),
    ("3.3.2 topic length 65535", "345", "30 05 ffff 'abc'", 0x81),
    ("3.3.2 no packet identifier", "345", "32 03 s't'", 0x81),
    ("3.3.2 half a packet identifier", "345", "32 04 s't' 00", 0x81),
    ("3.3.2.3 no property length", "5", "30 03 s't'", 0x81),
    ("3.3.2.3 no property length", "5", "32 05 s't' 0001", 0x81),
    ("3.3.2.3 property length past the packet", "5", "30 .. s't' 05 01 00", 0x81),
    ("3.3.1-2 DUP at QoS 0", "34", "38 .. s't' 'x'", 0x81),
    ("3.3.1-2 DUP at QoS 0", "5", "38 .. s't' {} 'x'", 0x81),
    ("3.3.1-2 DUP at QoS 0, retained", "34", "39 .. s't' 'x'", 0x81),
    *((f"3.3.1-4 QoS 3, flags {f:x}", "34", f"3{f:x} .. s't' 0001 'x'", 0x81) for f in (6, 7, 14, 15)),
    *((f"3.3.1-4 QoS 3, flags {f:x}", "5", f"3{f:x} .. s't' 0001 {{}} 'x'", 0x81) for f in (6, 7, 14, 15)),
    *((f"2.2.1-3 packet identifier 0, flags {f:x}", "34", f"3{f:x} .. s't' 0000 'x'", 0x82) for f in (2, 4, 10, 13)),
    *((f"2.2.1-3 packet identifier 0, flags {f:x}", "5", f"3{f:x} .. s't' 0000 {{}}", 0x82) for f in (2, 4, 10, 13)),
    ("4.7.3-1 empty topic", "34", "30 02 0000", 0x90),
    ("4.7.3-1 empty topic at QoS 1", "34", "32 04 0000 0001", 0x90),
    ("3.3.2.1 empty topic without alias", "5", "30 .. 0000 {}", 0x82),
    ("3.3.2.1 empty topic without alias, other property", "5", "30 .. 0000 {01 01}", 0x82),
    *((f"3.3.2-2 wildcard in {t}", "34", f"30 .. s'{t}' 'x'", 0x90) for t in ("#", "+", "a/#", "a/+/b", "a#", "+b")),
    *((f"3.3.2-2 wildcard in {t}", "5", f"30 .. s'{t}' {{}}", 0x90) for t in ("#", "+", "a/#", "a/+/b", "a#", "+b")),
    ("3.3.2-8 topic alias 0", "5", "30 .. s't' {23 0000}", 0x94),
    ("3.3.2-8 topic alias 0, no topic", "5", "30 .. 0000 {23 0000}", 0x94),
    ("3.3.2.3.2 Payload Format Indicator 2", "5", "30 .. s't' {01 02}", 0x82),
    ("3.3.2.3.2 Payload Format Indicator 255", "5", "30 .. s't' {01 ff}", 0x82),
    ("3.3.2-14 Response Topic with #", "5", "30 .. s't' {08 s'a/#'}", 0x82),
    ("3.3.2-14 Response Topic with +", "5", "30 .. s't' {08 s'+'}", 0x82),
    ("4.7.3-1 empty Response Topic", "5", "30 .. s't' {08 0000}", 0x82),
    ("3.3.2.3.8 Subscription Identifier 0", "5", "30 .. s't' {0b 00}", 0x82),
    ("3.3.2.3.8 Subscription Identifier 0 after a good one", "5", "30 .. s't' {0b 01 0b 00}", 0x82),
    ("1.5.5 Subscription Identifier of five bytes", "5", "30 .. s't' {0b 80 80 80 80 01}", 0x81),
    ("1.5.5-1 Subscription Identifier longer than needed", "5", "30 .. s't' {0b 81 00}", 0x81),
    # PUBACK, PUBREC, PUBREL, PUBCOMP.
    *((f"3.4-3.7 {h} empty", "345", f"{h} 00", 0x81) for h in _ACKS),
    *((f"3.4-3.7 {h} one byte", "345", f"{h} 01 00", 0x81) for h in _ACKS),
    *((f"2.2.1-3 {h} packet identifier 0", "345", f"{h} 02 0000", 0x82) for h in _ACKS),
    *((f"2.2.1-3 {h} packet identifier 0, code", "5", f"{h} 03 0000 00", 0x82) for h in _ACKS),
    *((f"3.1.1:3.4 {h} is three bytes long", "34", f"{h} 03 0001 00", 0x81) for h in _ACKS),
    *((f"3.1.1:3.4 {h} is four bytes long", "34", f"{h} 04 0001 00 00", 0x81) for h in _ACKS),
    *((f"3.4.2 {h} property length too large", "5", f"{h} 04 0001 00 01", 0x81) for h in _ACKS),
    *(
        (f"3.4.2 {h} property length of five bytes", "5", f"{h} .. 0001 00 8080808000", 0x81)
        for h in ("40", "50", "62", "70")
    ),
    *(
        (f"1.5.5-1 {h} property length 0 in two bytes", "5", f"{h} .. 0001 00 8000", 0x81)
        for h in ("40", "50", "62", "70")
    ),
    *(
        (f"3.4.2 {h} bytes after the properties", "5", f"{h} .. 0001 00 {{}} 00", 0x81)
        for h in ("40", "50", "62", "70")
    ),
    *(
        (f"3.4.2-1/3.5.2-1 {head} reason code {code:#04x}", "5", f"{head} 03 0001 {code:02x}", 0x82)
        for head in ("40", "50")
        for code in range(256)
        if code not in (0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)
    ),
    *(
        (f"3.6.2-1/3.7.2-1 {head} reason code {code:#04x}", "5", f"{head} 03 0001 {code:02x}", 0x82)
        for head in ("62", "70")
        for code in range(256)
        if code not in (0x00, 0x92)
    ),
    # SUBSCRIBE.
    ("3.8.2 empty packet", "345", "82 00", 0x81),
    ("3.8.2 half a packet identifier", "345", "82 01 00", 0x81),
    ("3.8.2 no property length", "5", "82 02 0001", 0x81),
    ("2.2.1-3 packet identifier 0", "34", "82 .. 0000 s'a' 00", 0x82),
    ("2.2.1-3 packet identifier 0", "5", "82 .. 0000 {} s'a' 00", 0x82),
    ("3.8.3-2 no filters", "34", "82 02 0001", 0x82),
    ("3.8.3-2 no filters", "5", "82 03 0001 00", 0x82),
    ("3.8.3-2 no filters, properties", "5", "82 .. 0001 {0b 01}", 0x82),
    ("3.8.3 no options", "34", "82 .. 0001 s'a'", 0x81),
    ("3.8.3 no options", "5", "82 .. 0001 {} s'a'", 0x81),
    ("3.8.3 second filter without options", "34", "82 .. 0001 s'a' 00 s'b'", 0x81),
    ("3.8.3 second filter is half", "5", "82 .. 0001 {} s'a' 00 00", 0x81),
    ("3.8.3 filter longer than the packet", "34", "82 .. 0001 0009 'a' 00", 0x81),
    ("3.8.3 MQTT 3 options where MQTT 5 has properties", "34", "82 .. 0001 {} s'a' 00", 0x81),
    *((f"3.1.1:3.8.3-4 option {o:#04x}", "34", f"82 .. 0001 s'a' {o:02x}", 0x81) for o in range(3, 256)),
    *((f"3.8.3-5 option {o:#04x}", "5", f"82 .. 0001 {{}} s'a' {o:02x}", 0x81) for o in range(0x40, 0x100)),
    *((f"3.8.3.1 QoS 3 in {o:#04x}", "5", f"82 .. 0001 {{}} s'a' {o:02x}", 0x82) for o in range(64) if o & 3 == 3),
    *((f"3.8.3.1 Retain Handling 3, {o:#04x}", "5", f"82 .. 0001 {{}} s'a' {o:02x}", 0x82) for o in range(0x30, 0x40)),
    ("3.8.3.1 bad option of a second filter", "5", "82 .. 0001 {} s'a' 00 s'b' 03", 0x82),
    ("3.8.3-4 No Local on a shared subscription", "5", "82 .. 0001 {} s'$share/g/t' 04", 0x82),
    ("3.8.3-4 No Local on a second, shared subscription", "5", "82 .. 0001 {} s't' 04 s'$share/g/t' 05", 0x82),
    # The standard calls this a protocol error; EMQX, and so this broker, names the cause.
    ("3.8.2.1.2 Subscription Identifier 0", "5", "82 .. 0001 {0b 00} s'a' 00", 0x82),
    ("3.8.2.1.2 Subscription Identifier twice", "5", "82 .. 0001 {0b 01 0b 02} s'a' 00", 0x82),
    ("3.8.2.1.2 Subscription Identifier of five bytes", "5", "82 .. 0001 {0b ffffffff01} s'a' 00", 0x81),
    ("3.8.2.1.2 Subscription Identifier not complete", "5", "82 .. 0001 {0b 80} s'a' 00", 0x81),
    ("3.8.2.1.2 Subscription Identifier without value", "5", "82 .. 0001 {0b} s'a' 00", 0x81),
    # SUBACK, UNSUBACK.
    ("3.9.2 empty packet", "345", "90 00", 0x81),
    ("3.9.3 no codes", "34", "90 02 0001", 0x82),
    ("3.9.3 no codes", "5", "90 03 0001 00", 0x82),
    ("2.2.1 packet identifier 0", "34", "90 .. 0000 00", 0x82),
    ("3.1.1:3.9.3-2 return code 3", "34", "90 03 0001 03", 0x82),
    ("3.1.1:3.9.3-2 return code 0x87", "34", "90 03 0001 87", 0x82),
    ("3.9.3 reason code 3", "5", "90 .. 0001 {} 03", 0x82),
    ("3.9.3 reason code 0x11", "5", "90 .. 0001 {} 11", 0x82),
    ("3.9.3 second code is wrong", "5", "90 .. 0001 {} 00 ff", 0x82),
    ("3.11.2 empty packet", "345", "b0 00", 0x81),
    ("3.1.1:3.11 a byte too many", "34", "b0 03 0001 00", 0x81),
    ("3.11.3 no codes", "5", "b0 03 0001 00", 0x82),
    ("3.11.3 reason code 1", "5", "b0 .. 0001 {} 01", 0x82),
    # UNSUBSCRIBE.
    ("3.10.2 empty packet", "345", "a2 00", 0x81),
    ("3.10.2 half a packet identifier", "345", "a2 01 00", 0x81),
    ("3.10.2 no property length", "5", "a2 02 0001", 0x81),
    ("2.2.1-3 packet identifier 0", "34", "a2 .. 0000 s'a'", 0x82),
    ("2.2.1-3 packet identifier 0", "5", "a2 .. 0000 {} s'a'", 0x82),
    ("3.10.3-2 no filters", "34", "a2 02 0001", 0x82),
    ("3.10.3-2 no filters", "5", "a2 03 0001 00", 0x82),
    ("3.10.3 filter longer than the packet", "34", "a2 .. 0001 0002 'a'", 0x81),
    ("3.10.3 half a second length", "34", "a2 .. 0001 s'a' 00", 0x81),
    ("3.10.3 half a second length", "5", "a2 .. 0001 {} s'a' 00", 0x81),
    # PINGREQ, PINGRESP.
    ("3.12.1 PINGREQ with a body", "345", "c0 01 00", 0x81),
    ("3.12.1 PINGREQ with a body", "345", "c0 02 0001", 0x81),
    ("3.13.1 PINGRESP with a body", "345", "d0 01 00", 0x81),
    # DISCONNECT.
    ("3.1.1:3.14 a body", "34", "e0 01 00", 0x81),
    ("3.1.1:3.14 a body", "34", "e0 02 00 00", 0x81),
    ("3.14.2 property length past the packet", "5", "e0 02 00 01", 0x81),
    ("3.14.2 a byte too many", "5", "e0 .. 00 {} 00", 0x81),
    ("1.5.5-1 property length 0 in two bytes", "5", "e0 .. 00 8000", 0x81),
    *(
        (f"3.14.2-1 reason code {code:#04x}", "5", f"e0 01 {code:02x}", 0x82)
        for code in range(256)
        if code
        not in (0, 4, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, *range(0x93, 0xA3))
    ),
    # AUTH.
    ("3.15.2 code without property length", "5", "f0 01 18", 0x81),
    ("3.15.2 property length past the packet", "5", "f0 02 18 01", 0x81),
    ("3.15.2 a byte too many", "5", "f0 .. 18 {15 s'm'} 00", 0x81),
    *(
        (f"3.15.2-1 reason code {c:#04x}", "5", f"f0 02 {c:02x} 00", 0x82)
        for c in range(256)
        if c not in (0, 0x18, 0x19)
    ),
]

# Strings [1.5.4], in every place that holds one. `@` is where the bad string goes, with its length.
BAD_STRINGS: list[tuple[str, str]] = [
    ("1.5.4-2 U+0000", "0001 00"),
    ("1.5.4-2 U+0000 inside", "0003 61 00 62"),
    ("1.5.4-2 U+0000 at the end", "0002 61 00"),
    ("1.5.4-1 surrogate U+D800", "0003 eda080"),
    ("1.5.4-1 surrogate U+DFFF", "0003 edbfbf"),
    ("1.5.4-1 surrogate pair in UTF-8", "0006 eda081edb080"),
    ("1.5.4-1 overlong NUL", "0002 c080"),
    ("1.5.4-1 overlong slash", "0002 c0af"),
    ("1.5.4-1 overlong slash, three bytes", "0003 e080af"),
    ("1.5.4-1 overlong slash, four bytes", "0004 f08080af"),
    ("1.5.4-1 beyond U+10FFFF", "0004 f4908080"),
    ("1.5.4-1 five-byte form", "0005 f888808080"),
    ("1.5.4-1 lonely continuation", "0001 80"),
    ("1.5.4-1 unfinished two-byte character", "0001 c3"),
    ("1.5.4-1 unfinished three-byte character", "0002 e282"),
    ("1.5.4-1 unfinished four-byte character", "0003 f09f98"),
    ("1.5.4-1 byte FF", "0001 ff"),
    ("1.5.4-1 byte FE after good text", "0004 616263 fe"),
]
STRING_PLACES: list[tuple[str, str, str]] = [
    ("client identifier", "345", "10 .. s'MQIsdp' 03 02 003c @"),
    ("client identifier", "345", "10 .. s'MQTT' 04 02 003c @"),
    ("client identifier", "345", "10 .. s'MQTT' 05 02 003c {} @"),
    ("will topic", "345", "10 .. s'MQTT' 04 06 003c s'c' @ s'm'"),
    ("will topic", "345", "10 .. s'MQTT' 05 06 003c {} s'c' {} @ s'm'"),
    ("user name", "345", "10 .. s'MQTT' 04 82 003c s'c' @"),
    ("user name", "345", "10 .. s'MQTT' 05 82 003c {} s'c' @"),
    ("authentication method", "345", "10 .. s'MQTT' 05 02 003c {15 @} s'c'"),
    ("name of a user property of CONNECT", "345", "10 .. s'MQTT' 05 02 003c {26 @ s'v'} s'c'"),
    ("will content type", "345", "10 .. s'MQTT' 05 06 003c {} s'c' {03 @} s'w' s'm'"),
    ("assigned client identifier", "5", "20 .. 00 00 {12 @}"),
    ("response information", "5", "20 .. 00 00 {1a @}"),
    ("server reference", "5", "20 .. 00 00 {1c @}"),
    ("topic", "34", "30 .. @ 'payload'"),
    ("topic", "5", "30 .. @ {} 'payload'"),
    ("topic at QoS 1", "34", "32 .. @ 0001 'payload'"),
    ("content type", "5", "30 .. s't' {03 @}"),
    ("response topic", "5", "30 .. s't' {08 @}"),
    ("name of a user property", "5", "30 .. s't' {26 @ s'v'}"),
    ("value of a user property", "5", "30 .. s't' {26 s'n' @}"),
    ("reason string of PUBACK", "5", "40 .. 0001 00 {1f @}"),
    ("reason string of PUBREL", "5", "62 .. 0001 00 {1f @}"),
    ("filter of SUBSCRIBE", "34", "82 .. 0001 @ 00"),
    ("filter of SUBSCRIBE", "5", "82 .. 0001 {} @ 00"),
    ("second filter of SUBSCRIBE", "5", "82 .. 0001 {} s'a' 00 @ 00"),
    ("filter of UNSUBSCRIBE", "34", "a2 .. 0001 @"),
    ("filter of UNSUBSCRIBE", "5", "a2 .. 0001 {} @"),
    ("reason string of SUBACK", "5", "90 .. 0001 {1f @} 00"),
    ("reason string of DISCONNECT", "5", "e0 .. 00 {1f @}"),
    ("server reference of DISCONNECT", "5", "e0 .. 9c {1c @}"),
    ("reason string of AUTH", "5", "f0 .. 18 {1f @}"),
]
REFUSED += [
    (f"{clause} in {place}", versions, frame.replace("@", text), 0x81)
    for place, versions, frame in STRING_PLACES
    for clause, text in BAD_STRINGS
]

# What is accepted -------------------------------------------------------------------------------------------------

_O = SubOpts

CANONICAL: list[tuple[str, str, str, Packet]] = [
    # Written exactly as `encode` writes them; the tests also cut these short at every byte.
    ("3.1 MQTT 3.1", "3", "10 .. s'MQIsdp' 03 02 003c s'c'", Connect("MQIsdp", 3, False, True, 60, "c")),
    ("3.1 MQTT 3.1.1", "4", "10 .. s'MQTT' 04 00 0000 s'c'", Connect("MQTT", 4, False, False, 0, "c")),
    ("3.1 MQTT 5", "5", "10 .. s'MQTT' 05 02 ffff {} s'c'", Connect("MQTT", 5, False, True, 65535, "c")),
    ("bridge bit, MQTT 3.1", "3", "10 .. s'MQIsdp' 83 02 003c s'b'", Connect("MQIsdp", 3, True, True, 60, "b")),
    ("bridge bit, MQTT 3.1.1", "4", "10 .. s'MQTT' 84 02 003c s'b'", Connect("MQTT", 4, True, True, 60, "b")),
    ("3.1.3-6 empty client identifier", "4", "10 .. s'MQTT' 04 02 003c 0000", Connect("MQTT", 4, False, True, 60)),
    (
        "3.1.3-5 long client identifier, MQTT 3.1",
        "3",
        "10 .. s'MQIsdp' 03 02 003c s'more-than-twenty-three-bytes'",
        Connect("MQIsdp", 3, False, True, 60, "more-than-twenty-three-bytes"),
    ),
    (
        "3.1.3 all fields",
        "4",
        "10 .. s'MQTT' 04 f6 000a s'c' s'w' 0002 00ff s'u' 0002 ff00",
        Connect("MQTT", 4, False, True, 10, "c", "u", b"\xff\x00", Will("w", b"\x00\xff", 2, True)),
    ),
    (
        "3.1.3 empty user name, password and will payload",
        "4",
        "10 .. s'MQTT' 04 c6 000a s'c' s'w' 0000 0000 0000",
        Connect("MQTT", 4, False, True, 10, "c", "", b"", Will("w")),
    ),
    (
        "3.1.2-19 MQTT 5 password without user name",
        "5",
        "10 .. s'MQTT' 05 42 000a {} s'c' s'p'",
        Connect("MQTT", 5, False, True, 10, "c", None, b"p"),
    ),
    (
        "3.1 MQTT 5 with all properties",
        "5",
        "10 .. s'MQTT' 05 0e 000a {11 ffffffff 15 s'm' 16 0001 00 17 00 19 01 21 0001 22 ffff 26 s'a' s'b' 26 s'a' s'c'"
        " 27 00000001} s'c' {01 01 02 00000005 03 s't' 08 s'r' 09 0001 ff 18 00000007 26 0000 0000} s'w' s'm'",
        Connect(
            "MQTT",
            5,
            False,
            True,
            10,
            "c",
            will=Will(
                "w",
                b"m",
                1,
                False,
                props(
                    payload_format_indicator=1,
                    message_expiry_interval=5,
                    content_type="t",
                    response_topic="r",
                    correlation_data=b"\xff",
                    will_delay_interval=7,
                    user_property=[("", "")],
                ),
            ),
            properties=props(
                session_expiry_interval=0xFFFFFFFF,
                authentication_method="m",
                authentication_data=b"\0",
                request_problem_information=0,
                request_response_information=1,
                receive_maximum=1,
                topic_alias_maximum=65535,
                user_property=[("a", "b"), ("a", "c")],
                maximum_packet_size=1,
            ),
        ),
    ),
    ("3.2 accepted", "34", "20 02 00 00", Connack()),
    ("3.2 session present", "4", "20 02 01 00", Connack(True)),
    ("3.2 refused", "34", "20 02 00 05", Connack(False, 5)),
    ("3.2 accepted", "5", "20 .. 01 00 {}", Connack(True)),
    (
        "3.2 all properties",
        "5",
        "20 .. 00 00 {11 00000000 12 s'id' 13 0000 15 s'm' 16 0000 1a s'i' 1c s'r' 1f s's' 21 ffff 22 0000 24 00 25 01"
        " 26 s'n' s'v' 27 ffffffff 28 00 29 01 2a 00}",
        Connack(
            False,
            0,
            props(
                session_expiry_interval=0,
                assigned_client_identifier="id",
                server_keep_alive=0,
                authentication_method="m",
                authentication_data=b"",
                response_information="i",
                server_reference="r",
                reason_string="s",
                receive_maximum=65535,
                topic_alias_maximum=0,
                maximum_qos=0,
                retain_available=1,
                user_property=[("n", "v")],
                maximum_packet_size=0xFFFFFFFF,
                wildcard_subscription_available=0,
                subscription_identifier_available=1,
                shared_subscription_available=0,
            ),
        ),
    ),
    ("3.3 QoS 0", "34", "30 .. s'a/b' 'hi'", make_publish("a/b", b"hi")),
    ("3.3 QoS 0, retained, empty", "34", "31 .. s'a'", make_publish("a", b"", 0, True)),
    ("3.3 QoS 1", "34", "32 .. s'a' 0001 'hi'", make_publish("a", b"hi", 1, packet_id=1)),
    ("3.3 QoS 2, DUP, retained", "34", "3d .. s'a' ffff 'hi'", make_publish("a", b"hi", 2, True, True, 65535)),
    ("3.3 QoS 0", "5", "30 .. s'a/b' {} 'hi'", make_publish("a/b", b"hi")),
    ("3.3 QoS 2, DUP", "5", "3c .. s'a' 0102 {} 'hi'", make_publish("a", b"hi", 2, False, True, 258)),
    ("3.3.2.3.4 alias only", "5", "30 .. 0000 {23 0001}", make_publish("", properties=props(topic_alias=1))),
    (
        "3.3 all properties",
        "5",
        "32 .. s'a' 0001 {01 00 02 00000000 03 0000 08 s'r' 09 0000 0b 01 0b ffffff7f 23 ffff 26 s'n' s'v'} 'hi'",
        make_publish(
            "a",
            b"hi",
            1,
            packet_id=1,
            properties=props(
                payload_format_indicator=0,
                message_expiry_interval=0,
                content_type="",
                response_topic="r",
                correlation_data=b"",
                subscription_identifier=[1, 268435455],
                topic_alias=65535,
                user_property=[("n", "v")],
            ),
        ),
    ),
    ("1.5.4-3 a byte order mark stays", "34", "30 .. 0004 efbbbf 61", make_publish("\ufeffa")),
    ("1.5.4 the last code point", "34", "30 .. 0004 f48fbfbf", make_publish("\U0010ffff")),
    ("1.5.4 control characters are only advised against", "34", "30 .. 0002 0a7f", make_publish("\n\x7f")),
    ("4.7 levels may be empty, names may begin with $", "34", "30 .. s'$a//b/'", make_publish("$a//b/")),
    ("3.3.3 any bytes are a payload", "34", "30 .. s'a' 00ffeda080", make_publish("a", b"\0\xff\xed\xa0\x80")),
    ("3.4 PUBACK", "345", "40 02 0001", Ack(PUBACK, 1)),
    ("3.5 PUBREC", "345", "50 02 ffff", Ack(PUBREC, 65535)),
    ("3.6 PUBREL", "345", "62 02 0102", Ack(PUBREL, 258)),
    ("3.7 PUBCOMP", "345", "70 02 0001", Ack(PUBCOMP, 1)),
    *(
        (f"3.4.2-1 PUBACK code {c:#04x}", "5", f"40 03 0001 {c:02x}", Ack(PUBACK, 1, c))
        for c in (0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)
    ),
    *(
        (f"3.5.2-1 PUBREC code {c:#04x}", "5", f"50 03 0001 {c:02x}", Ack(PUBREC, 1, c))
        for c in (0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)
    ),
    ("3.6.2-1 PUBREL code 0x92", "5", "62 03 0001 92", Ack(PUBREL, 1, 0x92)),
    ("3.7.2-1 PUBCOMP code 0x92", "5", "70 03 0001 92", Ack(PUBCOMP, 1, 0x92)),
    (
        "3.4.2.2 PUBACK properties",
        "5",
        "40 .. 0001 87 {1f s'no' 26 s'a' s'b'}",
        Ack(PUBACK, 1, 0x87, props(reason_string="no", user_property=[("a", "b")])),
    ),
    ("3.6.2.2 PUBREL properties", "5", "62 .. 0001 00 {1f s'x'}", Ack(PUBREL, 1, 0, props(reason_string="x"))),
    ("3.8 one filter", "34", "82 .. 0001 s'a/#' 02", Subscribe(1, [("a/#", _O(2))])),
    ("3.8 two filters", "34", "82 .. ffff s'a' 00 s'+' 01", Subscribe(65535, [("a", _O(0)), ("+", _O(1))])),
    (
        "3.8.3.1 every option",
        "5",
        "82 .. 0001 {} s'a' 2e s'b' 11",
        Subscribe(1, [("a", _O(2, True, True, 2)), ("b", _O(1, False, False, 1))]),
    ),
    (
        "3.8.2.1.2 largest identifier",
        "5",
        "82 .. 0001 {0b ffffff7f 26 s'a' s'b'} s'$share/g/t' 01",
        Subscribe(
            1,
            [("$share/g/t", _O(1, identifier=268435455))],
            props(subscription_identifier=[268435455], user_property=[("a", "b")]),
        ),
    ),
    ("3.9 SUBACK", "34", "90 .. 0001 00 01 02 80", Suback(1, [0, 1, 2, 0x80])),
    (
        "3.9 SUBACK, all codes",
        "5",
        "90 .. 0001 {1f s'x'} 00 01 02 80 83 87 8f 91 97 9e a1 a2",
        Suback(1, [0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2], props(reason_string="x")),
    ),
    ("3.10 UNSUBSCRIBE", "34", "a2 .. 0001 s'a/#' s'b'", Unsubscribe(1, ["a/#", "b"])),
    (
        "3.10 UNSUBSCRIBE",
        "5",
        "a2 .. 0001 {26 s'a' s'b'} s'a'",
        Unsubscribe(1, ["a"], props(user_property=[("a", "b")])),
    ),
    ("3.11 UNSUBACK", "34", "b0 02 0001", Unsuback(1)),
    (
        "3.11 UNSUBACK, all codes",
        "5",
        "b0 .. 0001 {} 00 11 80 83 87 8f 91",
        Unsuback(1, [0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
    ),
    ("3.12 PINGREQ", "345", "c0 00", Pingreq()),
    ("3.13 PINGRESP", "345", "d0 00", Pingresp()),
    ("3.14 DISCONNECT", "345", "e0 00", Disconnect()),
    *(
        (f"3.14.2-1 DISCONNECT code {c:#04x}", "5", f"e0 01 {c:02x}", Disconnect(c))
        for c in (4, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, *range(0x93, 0xA3))
    ),
    (
        "3.14.2.2 DISCONNECT properties",
        "5",
        "e0 .. 04 {11 00000001 1c s'r' 1f s's' 26 s'a' s'b'}",
        Disconnect(
            4,
            props(session_expiry_interval=1, server_reference="r", reason_string="s", user_property=[("a", "b")]),
        ),
    ),
    ("3.15.2.1 empty AUTH", "5", "f0 00", Auth()),
    *((f"3.15.2-1 AUTH code {c:#04x}", "5", f"f0 02 {c:02x} 00", Auth(c)) for c in (0x18, 0x19)),
    (
        "3.15.2.2 AUTH properties",
        "5",
        "f0 .. 18 {15 s'm' 16 0002 00ff 1f s's'}",
        Auth(0x18, props(authentication_method="m", authentication_data=b"\0\xff", reason_string="s")),
    ),
]

ALSO_LEGAL: list[tuple[str, str, str, Packet]] = [
    # Right, but `encode` would write them shorter.
    *((f"3.4.2.1 {k}: code 0 written out", "5", f"{h} 03 0001 00", Ack(k, 1)) for h, k in (("40", 4), ("62", 6))),
    *(
        (f"3.4.2.2 {k}: empty properties written out", "5", f"{h} 04 0001 00 00", Ack(k, 1))
        for h, k in (("50", 5), ("70", 7))
    ),
    ("3.14.2.1 code 0 written out", "5", "e0 01 00", Disconnect()),
    ("3.14.2.2.1 empty properties written out", "5", "e0 02 00 00", Disconnect()),
    ("3.15.2.1 code 0 written out", "5", "f0 02 00 00", Auth()),
    ("3.1.1:2.2.3 shortest form is not asked for", "34", "c0 80 00", Pingreq()),
    ("3.1.1:2.2.3 shortest form is not asked for", "34", "30 85 80 00 s't' 'xy'", make_publish("t", b"xy")),
    ("3.1.1:2.2.3 shortest form is not asked for", "34", "40 82 80 80 00 0001", Ack(PUBACK, 1)),
    (
        "2.2.2.2 order of properties is free",
        "5",
        "30 .. s't' {26 s'a' s'b' 23 0001 01 01}",
        make_publish("t", properties=props(payload_format_indicator=1, topic_alias=1, user_property=[("a", "b")])),
    ),
]


def refused() -> Iterator[tuple[str, int, bytes, int]]:
    """(clause, version, frame, reason code), one row per version."""
    for clause, versions, notation, code in REFUSED:
        for version in versions:
            yield clause, int(version), wire(notation), code


def accepted(canonical_only: bool = False) -> Iterator[tuple[str, int, bytes, Packet]]:
    """(clause, version, frame, packet), one row per version."""
    for clause, versions, notation, packet in CANONICAL if canonical_only else CANONICAL + ALSO_LEGAL:
        for version in versions:
            yield clause, int(version), wire(notation), packet

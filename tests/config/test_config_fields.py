"""How values are written: every kind with what it takes, what it refuses, and that what it shows reads back."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.config.fields import (
    Kind,
    bytesize,
    choice,
    duration,
    flag,
    integer,
    number,
    or_word,
    percent,
    size_between,
    text,
    words,
)
from trioemqx.config.values import (
    AccessRule,
    Address,
    FlappingPolicy,
    access,
    address,
    byte_rate,
    flapping,
    keep_alive,
    load,
    priorities,
    rate,
    tcp_keepalive,
    whole_seconds,
)

GOOD: list[tuple[Kind[Any], object, object]] = [
    (duration, "15s", 15.0),
    (duration, 15, 15.0),
    (duration, "15", 15.0),
    (duration, "1h30m", 5400.0),
    (duration, "250ms", 0.25),
    (duration, "1d", 86400.0),
    (duration, "1.5s", 1.5),
    (duration, 0, 0.0),
    (bytesize, "1MB", 1048576),
    (bytesize, "64kb", 65536),
    (bytesize, "2GB", 2 * 1024**3),
    (bytesize, "1.5KB", 1536),
    (bytesize, 1024, 1024),
    (bytesize, "1024", 1024),
    (flag, "on", True),
    (flag, "off", False),
    (flag, "true", True),
    (flag, False, False),
    (percent, "80%", 80.0),
    (percent, 80, 80.0),
    (percent, "0.5%", 0.5),
    (integer(0, 2), 2, 2),
    (number(0, 1), 0.75, 0.75),
    (number(0, 1), 1, 1.0),
    (choice("true", "false", "false_quick_deny"), True, "true"),
    (choice("allow", "deny"), "Deny", "deny"),
    (words(), "a, b ,c", ("a", "b", "c")),
    (words(), ["a", "b"], ("a", "b")),
    (words("log", "publish"), "publish,log", ("publish", "log")),
    (or_word(bytesize, "infinity"), "infinity", None),
    (or_word(bytesize, "infinity"), "1KB", 1024),
    (address, 1883, Address("", 1883)),
    (address, "1883", Address("", 1883)),
    (address, "0.0.0.0:1883", Address("0.0.0.0", 1883)),
    (address, "[::1]:1883", Address("::1", 1883)),
    (address, "::1:1883", Address("::1", 1883)),
    (address, "localhost:0", Address("localhost", 0)),
    (rate, "100,10s", (100, 10.0)),
    (rate, "100, 1m", (100, 60.0)),
    (byte_rate, "100KB,10s", (102400, 10.0)),
    (load, "16000|16MB", (16000, 16777216)),
    (flapping, "30, 1m, 5m", FlappingPolicy(30, 60.0, 300.0)),
    (tcp_keepalive, "240,30,5", (240, 30, 5)),
    (keep_alive, "60s", 60),
    (whole_seconds, "2h", 7200),
    (access, ["allow 10.1.2.3/8"], (AccessRule(True, ipaddress.ip_network("10.0.0.0/8")),)),
    (access, "deny ::1/128, allow all", (AccessRule(False, ipaddress.ip_network("::1/128")), AccessRule(True, None))),
    (access, {"10": "deny all", "9": "allow all"}, (AccessRule(True, None), AccessRule(False, None))),
    (priorities, "none", None),
    (priorities, "a/b=10,c=0", {"a/b": 10, "c": 0}),
    (priorities, {"a": 1}, {"a": 1}),
]


def wrong(kind: Kind[Any], *values: object) -> list[tuple[Kind[Any], object]]:
    return [(kind, value) for value in values]


BAD = [
    *wrong(duration, "", "s", "15x", "1h30", "-1s", -1, True, [], "1s 2s", "1..5s", 1e30, float("nan"), "٣s"),
    *wrong(bytesize, "", "MB", "1TB", "-1", -1, 1.5, True, "1 2MB", "9" * 40, None),
    *wrong(flag, "yes", 1, 0, "", None),
    *wrong(percent, "101%", -1, "x%", True, float("nan"), "nan"),
    *wrong(integer(0, 2), 3, -1, True, "1", 1.0),
    *wrong(number(0, 1), float("nan"), float("inf"), 1.1, True, "0.5"),
    (size_between(1, 10), 11),
    (text, 3),
    (text, "a\0b"),
    (choice("a", "b"), "c"),
    (choice("a", "b"), True),
    (words("log"), "mail"),
    (words(), [1]),
    *wrong(address, "", ":1883", "1.2.3.4:", "a b:1", 65536, -1, True, "host:65536", "host:x", "h/x:1", "²"),
    *wrong(rate, "100", "0,10s", "10,0s", "a,1s", "1,1s,1", 100, "1KB,1s"),
    *wrong(byte_rate, "1KB", "1KB,0", "x,1s"),
    *wrong(load, "16000", "a|1MB", "1,1MB"),
    *wrong(flapping, "0, 1m, 5m", "30, 1m", "30, 0s, 5m", 30),
    *wrong(tcp_keepalive, "240,30", "0,30,5", "240,30,500"),
    *wrong(keep_alive, "65536s", "1.5s", -1),
    (whole_seconds, "1500ms"),
    *wrong(access, "allow", "permit all", ["allow 10.0.0.0/99"], 3, {"x": "allow all"}, [3]),
    *wrong(priorities, "a", "a=256", "=1", "a=-1", {"a": "x"}, {}, 5),
]


@pytest.mark.parametrize(("kind", "written", "meant"), GOOD)
def test_accepted_spellings(kind: Kind[Any], written: object, meant: object) -> None:
    assert kind.parse(written) == meant


@pytest.mark.parametrize(("kind", "written"), BAD)
def test_refused_spellings_say_what_was_expected(kind: Kind[Any], written: object) -> None:
    with pytest.raises(ValueError, match=r"^expected .*, got ") as caught:
        kind.parse(written)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("kind", "written", "meant"), GOOD)
def test_what_is_shown_reads_back(kind: Kind[Any], written: object, meant: object) -> None:
    assert kind.parse(kind.show(kind.parse(written))) == meant


@given(st.integers(0, 10**9))
def test_any_duration_of_whole_milliseconds_reads_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert duration.parse(duration.show(seconds)) == pytest.approx(seconds, abs=1e-6)


@given(st.integers(0, 2**50))
def test_any_size_reads_back(size: int) -> None:
    assert bytesize.parse(bytesize.show(size)) == size


@given(st.text(max_size=30))
def test_no_text_does_more_than_a_value_error(written: str) -> None:
    for kind, _value, _meant in GOOD:
        try:
            kind.parse(kind.read(written))
        except ValueError as refused:
            assert str(refused).startswith("expected ")  # noqa: PT017 - any of many kinds may accept


def test_numbers_of_the_environment_are_text() -> None:
    kind = integer(0, 100)
    assert kind.parse(kind.read("64")) == 64
    with pytest.raises(ValueError, match="'many'"):
        kind.parse(kind.read("many"))


def test_access_rules_match_networks_and_mapped_addresses() -> None:
    (rule,) = access.parse(["deny 10.0.0.0/8"])
    assert rule.matches(ipaddress.ip_address("10.9.8.7"))
    assert rule.matches(ipaddress.ip_address("::ffff:10.9.8.7"))
    assert not rule.matches(ipaddress.ip_address("11.0.0.1"))
    assert not rule.matches(ipaddress.ip_address("::1"))
    assert str(rule) == "deny 10.0.0.0/8"

"""Topic names and filters [MQTT5 4.7, 4.8.2], mountpoints, and the two comparisons access rules need."""

from __future__ import annotations

import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.core import topics
from trioemqx.errors import ProtocolError

WORDS = st.sampled_from(["", "a", "b", "$a", "cc"])
NAMES = st.lists(WORDS, min_size=1, max_size=5).map("/".join).filter(bool)
FILTER_WORDS = st.sampled_from(["", "a", "b", "$a", "+", "+"])
PARTS = st.tuples(st.lists(FILTER_WORDS, max_size=5), st.sampled_from([[], ["#"]]))
FILTERS = PARTS.map(lambda parts: "/".join(parts[0] + parts[1])).filter(bool)


def naive_matches(filter: list[str], topic: list[str]) -> bool:
    """The standard's text as recursion."""
    if filter == ["#"]:
        return True
    if not filter or not topic:
        return not filter and not topic
    return filter[0] in ("+", topic[0]) and naive_matches(filter[1:], topic[1:])


def reference(filter: str, topic: str) -> bool:
    if topic[:1] == "$" and filter[:1] in ("+", "#"):
        return False
    return naive_matches(filter.split("/"), topic.split("/"))


@pytest.mark.parametrize(
    ("filter", "topic", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("$SYS/+/x", "$SYS/n/x", True),
        ("a/+", "a/$b", True),
        ("ACCOUNTS", "Accounts", False),
        ("a/b", "a/b", True),
        ("a/b", "a/b/", False),
    ],
)
def test_examples_of_the_standard(filter: str, topic: str, expected: bool) -> None:
    assert topics.matches(filter, topic) is expected


@settings(max_examples=200)
@given(FILTERS, NAMES)
def test_matches_agrees_with_the_naive_reading(filter: str, topic: str) -> None:
    assert topics.matches(filter, topic) == reference(filter, topic)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a#b", "a\0b", "a" * 65536, "é" * 32768])
def test_bad_topic_names_are_0x90(topic: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        topics.validate_topic(topic)
    assert caught.value.code == 0x90


@pytest.mark.parametrize("topic", ["/", "a", "$share/g/t", "$queue/t", "a b/é", "a" * 65535, "/" * 127])
def test_good_topic_names_pass(topic: str) -> None:
    topics.validate_topic(topic, 128)


def test_levels_and_bytes_are_limited() -> None:
    topics.validate_topic("/" * 127, 128)
    topics.validate_filter("+/" * 127 + "#", 128)
    with pytest.raises(ProtocolError, match="129 topic levels"):
        topics.validate_topic("/" * 128, 128)
    with pytest.raises(ProtocolError) as caught:
        topics.validate_filter("+/" * 128 + "#", 128)
    assert caught.value.code == 0x8F
    topics.validate_topic("é" * 2048, 0, 4096)
    with pytest.raises(ProtocolError):
        topics.validate_topic("é" * 2048 + "a", 0, 4096)
    topics.validate_topic("/" * 65534)


@pytest.mark.parametrize("filter", ["", "a/#/b", "#/", "a#", "#a", "a/b+", "+a/b", "++", "##", "a\0"])
def test_bad_filters_are_0x8f(filter: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        topics.validate_filter(filter)
    assert caught.value.code == 0x8F


@pytest.mark.parametrize("filter", ["#", "+", "/", "+/+/#", "a//b", "/#", "$SYS/#", "a/+/b"])
def test_good_filters_pass(filter: str) -> None:
    topics.validate_filter(filter, 128)


@pytest.mark.parametrize(
    ("name", "inner", "group", "exclusive"),
    [
        ("a/b", "a/b", "", False),
        ("$share/g/a/+", "a/+", "g", False),
        ("$share/g//a", "/a", "g", False),
        ("$share/g/$SYS/#", "$SYS/#", "g", False),
        ("$queue/a/#", "a/#", "$queue", False),
        ("$exclusive/a", "a", "", True),
        ("$SYS/#", "$SYS/#", "", False),
        ("$share", "$share", "", False),
        ("$shared/a/b", "$shared/a/b", "", False),
    ],
)
def test_prefixes_are_taken_off(name: str, inner: str, group: str, exclusive: bool) -> None:
    parsed = topics.parse_filter(name)
    assert (parsed.filter, parsed.group, parsed.exclusive) == (inner, group, exclusive)


@pytest.mark.parametrize(
    "name",
    [
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//a",
        "$share/+/a",
        "$share/#/a",
        "$share/g#/a",
        "$share/g/$share/h/a",
        "$share/g/$queue/a",
        "$share/g/$exclusive/a",
        "$queue/",
        "$queue/$share/g/a",
        "$queue/$queue/a",
        "$exclusive/",
        "$exclusive/$share/g/a",
        "$exclusive/$exclusive/a",
    ],
)
def test_bare_nested_and_empty_groups_are_0x8f(name: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        topics.parse_filter(name)
    assert caught.value.code == 0x8F


@given(st.text(st.sampled_from("$sharequeuexclusive/+#a"), max_size=24))
def test_parsing_any_text_gives_a_filter_or_a_protocol_error(name: str) -> None:
    try:
        parsed = topics.parse_filter("$share/" + name)
    except ProtocolError:
        return
    assert "$share/" + name == f"$share/{parsed.group}/{parsed.filter}"
    assert parsed.group
    assert "/" not in parsed.group


COVER_CASES = [
    ("a/#", "a/#", True),
    ("a/#", "a/+", True),
    ("#", "a/#", True),
    ("#", "$SYS/x", True),
    ("a/b", "a/#", False),
    ("a/b", "a/+", False),
    ("a/+", "a/#", False),
    ("a/+", "a/+", True),
    ("+/b", "a/b", True),
    ("a/#", "a", True),
    ("a/+/#", "a/#", False),
    ("a", "a/b", False),
    ("a/b", "a", False),
]


@pytest.mark.parametrize(("rule", "filter", "expected"), COVER_CASES)
def test_covers(rule: str, filter: str, expected: bool) -> None:
    assert topics.covers(rule, filter) is expected


@pytest.mark.parametrize(
    ("rule", "filter", "expected"),
    [
        ("bob/#", "+/secret", True),
        ("bob/#", "#", True),
        ("bob/#", "bob", True),
        ("bob", "bob/#", True),
        ("bob/#", "alice/#", False),
        ("a/+/c", "a/b/+", True),
        ("a/+/c", "a/b/d", False),
        ("a/b", "a/b/c", False),
        ("$SYS/#", "#", False),
        ("$SYS/#", "+/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("#", "$SYS/x", True),
    ],
)
def test_overlaps(rule: str, filter: str, expected: bool) -> None:
    assert topics.overlaps(rule, filter) is expected


ALPHABET = ["a", "b", ""]
ALL_TOPICS = ["/".join(words) for depth in (1, 2, 3, 4) for words in product(ALPHABET, repeat=depth)]
SMALL_WORDS = st.lists(st.sampled_from(["a", "b", "", "+"]), max_size=3)
SMALL_FILTERS = st.tuples(SMALL_WORDS, st.sampled_from([[], ["#"]])).map(lambda x: "/".join(x[0] + x[1])).filter(bool)


@settings(max_examples=200)
@given(SMALL_FILTERS, SMALL_FILTERS)
def test_covers_and_overlaps_agree_with_sets_of_topics(rule: str, filter: str) -> None:
    # The empty topic, which nobody can publish, is counted: `/#` and `+` meet there and nowhere else.
    allowed = {topic for topic in ALL_TOPICS if reference(rule, topic)}
    wanted = {topic for topic in ALL_TOPICS if reference(filter, topic)}
    if topics.covers(rule, filter):
        assert wanted <= allowed
    assert topics.overlaps(rule, filter) == bool(wanted & allowed)


def test_mountpoint_placeholders_are_whole_levels() -> None:
    assert topics.feed_mountpoint("dev/%c/", "c1", None) == "dev/c1/"
    assert topics.feed_mountpoint("%u/%c/x%c/", "c1", "bob") == "bob/c1/x%c/"
    assert topics.feed_mountpoint("t/%u/", "c1", None) == "t/%u/"
    assert topics.feed_mountpoint("", "c+1", None) == ""


@pytest.mark.parametrize("value", ["+", "a#", "a/b", "a\0"])
def test_wild_values_do_not_enter_a_mountpoint(value: str) -> None:
    with pytest.raises(ValueError, match="mountpoint"):
        topics.feed_mountpoint("dev/%c/", value, None)
    with pytest.raises(ValueError, match="mountpoint"):
        topics.feed_mountpoint("dev/%u/", "c", value)
    assert topics.feed_mountpoint("dev/%u/", value, "bob") == "dev/bob/"


@given(st.sampled_from(["", "dev/", "t/x/", "pre"]), NAMES)
def test_mount_and_unmount_are_inverse(mountpoint: str, topic: str) -> None:
    assert topics.unmount(mountpoint, topics.mount(mountpoint, topic)) == topic


@pytest.mark.parametrize("topic", ["dev", "dev/", "other/a", "de"])
def test_nothing_outside_the_mountpoint_is_delivered(topic: str) -> None:
    assert topics.unmount("dev/", topic) is None


def test_very_deep_names_are_harmless() -> None:
    deep = "a/" * 32767 + "a"
    start = time.perf_counter()
    assert not topics.matches("+/" * 32767 + "b", deep)
    assert topics.matches("a/#", deep)
    assert not topics.covers("+/b", deep)
    assert topics.overlaps("+/a/#", deep)
    assert time.perf_counter() - start < 1.0

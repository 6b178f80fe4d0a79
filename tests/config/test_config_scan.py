"""The line of every key, in every way TOML can write one."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.config.reference import commented_toml
from trioemqx.config.scan import KeyPath, locate, toml_positions

SAMPLE = '''\
top = 1  # line 1

[node]   # [not.a.table]
name = "a # b"
log.level = "x"
"quoted key" = 'lit\\'

[ listener . tcp . "ext.ernal" ]
bind = """
two
lines"""
access = [   # 12
  "allow all",
  # comment = "]"
  "deny all",
]
after = { a = 1, b.c = [1, 2], "d" = { e = "}" } }

[[module.rewrite.rule]]
topic = "a"
[[module.rewrite.rule]]
topic = "b"
[module.rewrite.rule.sub]
x = 1979-05-27 07:32:00
y = """ends in quotes"""""
z = "\\"]="
'''

EXPECTED: dict[KeyPath, int] = {
    ("top",): 1,
    ("node",): 3,
    ("node", "name"): 4,
    ("node", "log", "level"): 5,
    ("node", "quoted key"): 6,
    ("listener", "tcp", "ext.ernal"): 8,
    ("listener", "tcp", "ext.ernal", "bind"): 9,
    ("listener", "tcp", "ext.ernal", "access"): 12,
    ("listener", "tcp", "ext.ernal", "access", 0): 13,
    ("listener", "tcp", "ext.ernal", "access", 1): 15,
    ("listener", "tcp", "ext.ernal", "after", "b", "c"): 17,
    ("listener", "tcp", "ext.ernal", "after", "d", "e"): 17,
    ("module", "rewrite", "rule", 0, "topic"): 20,
    ("module", "rewrite", "rule", 1, "topic"): 22,
    ("module", "rewrite", "rule", 1, "sub", "x"): 24,
    ("module", "rewrite", "rule", 1, "sub", "y"): 25,
    ("module", "rewrite", "rule", 1, "sub", "z"): 26,
}


def paths_of(value: object, at: KeyPath = ()) -> set[KeyPath]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    found = {at} if at else set()
    for key, below in inner:
        found |= paths_of(below, (*at, key))
    return found


def test_lines_of_a_file_with_everything() -> None:
    tomllib.loads(SAMPLE)  # the sample itself is valid
    lines = locate(SAMPLE)
    assert {path: lines.get(path) for path in EXPECTED} == EXPECTED


def test_columns() -> None:
    found = toml_positions(SAMPLE)
    assert {
        path: place for path, place in found.items() if path[0] == "top" or path[-1] in ("access", "after", 1, "e")
    } == {
        ("top",): (1, 1),
        ("listener", "tcp", "ext.ernal", "access"): (12, 1),
        ("listener", "tcp", "ext.ernal", "access", 1): (15, 3),
        ("listener", "tcp", "ext.ernal", "after"): (17, 1),
        ("listener", "tcp", "ext.ernal", "after", "b", "c", 1): (17, 28),
        ("listener", "tcp", "ext.ernal", "after", "d", "e"): (17, 40),
        ("module", "rewrite", "rule", 1): (21, 1),
    }


def test_every_key_of_the_sample_has_a_line() -> None:
    assert paths_of(tomllib.loads(SAMPLE)) <= set(locate(SAMPLE))


def test_every_key_of_the_shipped_file_has_its_own_line() -> None:
    written = commented_toml()
    lines = written.splitlines()
    found = locate(written)
    for path in paths_of(tomllib.loads(written)):
        assert str(path[-1] if isinstance(path[-1], str) else path[-2]) in lines[found[path] - 1]


def test_windows_line_ends_and_a_missing_last_one() -> None:
    assert locate("a = 1\r\n\r\nb = 2") == {("a",): 1, ("b",): 3}


VALUES = st.sampled_from(
    ["1", '"x"', "'y#'", "[1, 2]", '["a", ["b"]]', "{k = 1}", "true", '"""\n\n"""', "'''\n'''", "[\n1,\n]", "{}", "[]"]
)
LINES = st.lists(st.tuples(st.sampled_from(["", "# [c]", "  "]), VALUES, st.booleans()), max_size=12)


@given(LINES)
@settings(max_examples=100)
def test_generated_files_are_located_wholly(parts: list[tuple[str, str, bool]]) -> None:
    written = []
    for number, (before, value, table) in enumerate(parts):
        written += [before, f"[t{number}]" if table else "", f"key{number}.sub = {value} # end"]
    source = "\n".join(written) + "\n"
    lines = locate(source)
    assert paths_of(tomllib.loads(source)) <= set(lines)
    for path, line in lines.items():
        if isinstance(path[-1], str) and path[-1].startswith("key"):
            assert source.splitlines()[line - 1].startswith(f"{path[-1]}.sub")


def test_the_repository_file_is_readable_from_a_path(tmp_path: Path) -> None:
    file = tmp_path / "emqx.toml"
    file.write_text(commented_toml(), "utf-8")
    assert ("listener", "wss", "external", "bind") in locate(file.read_text("utf-8"))

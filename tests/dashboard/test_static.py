"""The files of the pages as they are written: nothing taken for HTML, all strings in both languages, colours that
can be read, libraries as they were released."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trioemqx.dashboard
from trioemqx.dashboard.vendor import wrong_files

STATIC = Path(trioemqx.dashboard.__file__).parent / "static"
APP = STATIC / "app"
CODE = {path: path.read_text("utf-8") for path in sorted(APP.rglob("*.js")) if path.parent.name != "strings"}
FORBIDDEN = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "javascript:")
STRING = re.compile(r"^  '([\w.-]+)': \[(['\"])(.*)\2, '(.*)'\],$", re.MULTILINE)
COMPUTED = (
    "chain.",
    "drop.",
    "form.",
    "hint.",
    "metrics.",
    "origin.",
    "pluginType.",
    "rules.",
    "shell.",
    "stat.",
    "theme.",
    "tool.",
)
"""Beginnings of keys that code puts together from something else."""
PAIRS = [
    *[(text, ground) for text in ("text", "muted", "accent") for ground in ("bg", "surface", "surface-2")],
    *[(kind, f"{kind}-soft") for kind in ("danger", "warn", "ok", "info")],
    *[("text", f"{kind}-soft") for kind in ("danger", "warn", "ok", "info", "accent")],
    ("danger", "surface"),
    ("text", "surface-3"),
    ("accent-strong", "accent-soft"),
    ("on-accent", "accent"),
    ("on-danger", "danger-fill"),
    *[(f"chart-{number}", "surface") for number in (1, 2, 3, 4)],  # words of the editor
]
"""Text and what it stands on."""
SHAPES = [
    *[
        ("accent", ground) for ground in ("bg", "surface", "surface-2", "accent-soft")
    ],  # the frame of what has the focus
    *[("line-strong", ground) for ground in ("bg", "surface")],  # the edge of a field
    *[(f"chart-{number}", "surface") for number in range(1, 7)],
    *[(kind, "surface") for kind in ("ok", "warn", "danger", "info")],
]
"""What is no text and has to be seen all the same."""
READABLE, SEEN = 4.5, 3.0
"""WCAG 2 AA."""
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
OF_RULE = {name: re.compile(rf"(?<![\w-]){name}: var\(--([\w-]+)\)") for name in ("color", "background")}


def table() -> dict[str, tuple[str, str]]:
    """Every string: key → English, Chinese."""
    return {
        found[1]: (found[3], found[4])
        for path in sorted((APP / "strings").glob("*.js"))
        for found in STRING.finditer(path.read_text("utf-8"))
    }


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_text_becomes_code_or_html(word: str) -> None:
    assert [str(path.relative_to(APP)) for path, code in CODE.items() if word.lower() in code.lower()] == []


def test_every_string_is_one_line_and_in_both_languages() -> None:
    lines = [
        line
        for path in (APP / "strings").glob("*.js")
        for line in path.read_text("utf-8").splitlines()
        if line.startswith("  ") and not line.lstrip().startswith("//")
    ]
    assert [line for line in lines if not STRING.match(line)] == []
    strings = table()
    assert len(strings) == len(lines) > 400
    assert [key for key, (english, chinese) in strings.items() if not english or not chinese] == []


def test_placeholders_are_the_same_in_both_languages() -> None:
    names = {key: [set(re.findall(r"(?<!\$)\{(\w+)\}", text)) for text in pair] for key, pair in table().items()}
    assert [key for key, (english, chinese) in names.items() if english != chinese] == []


def test_every_string_that_is_asked_for_exists_and_every_one_that_exists_is_asked_for() -> None:
    strings = table()
    asked = {key for code in CODE.values() for key in re.findall(r"\b(?:t|has)\('([\w.-]+)'", code)}
    assert sorted(asked - strings.keys()) == []
    named = {word for code in CODE.values() for word in re.findall(r"'([\w.-]+\.[\w.-]+)'", code)}
    assert sorted(key for key in strings if key not in named and not key.startswith(COMPUTED)) == []


def test_every_page_of_the_menu_has_its_file_and_its_title() -> None:
    rows = re.findall(
        r"^    \['[\w-]+', '([\w.]+)', '(\w+)', '\w+'\],$", (APP / "router.js").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) >= 20
    assert [title for title, _ in rows if title not in table()] == []
    assert [file for _, file in rows if not (APP / "pages" / f"{file}.js").is_file()] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read(dark: bool) -> None:
    found = re.findall(
        r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", (STATIC / "css" / "tokens.css").read_text("utf-8")
    )
    colours = {name: luminance(pair[dark]) for name, *pair in found}
    poor = {}
    for pairs, least in ((PAIRS, READABLE), (SHAPES, SEEN)):
        for front, ground in pairs:
            high, low = sorted((colours[front], colours[ground]), reverse=True)
            if (contrast := (high + 0.05) / (low + 0.05)) < least:
                poor[front, ground] = contrast
    assert poor == {}


def test_every_pair_of_text_and_ground_in_the_style_sheets_is_looked_at() -> None:
    used = set()
    for file in (STATIC / "css").glob("*.css"):
        for _selector, body in RULE.findall(file.read_text("utf-8")):
            text, ground = (OF_RULE[name].search(body) for name in ("color", "background"))
            if text and ground:
                used.add((text[1], ground[1]))
    assert len(used) > 10
    assert used - set(PAIRS) == set()


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_libraries_are_as_they_were_released() -> None:
    assert wrong_files() == []

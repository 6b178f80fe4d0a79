"""Takes an export apart: JSON in, one row at a time out. Run as a program it does so in a process of its own.

Reading a large JSON text holds Python's lock for as long as it takes, in whichever thread; only another process leaves
the broker its time. It is started with this file's path and without site packages, so nothing but the standard library
is imported here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

LISTS: Final = (
    "rules",
    "resources",
    "blacklist",
    "apps",
    "users",
    "auth_mnesia",
    "acl_mnesia",
    "auth_clientid",
    "auth_username",
    "acl_roles",
    "acl_groups",
    "acl_members",
)
OURS: Final = "trioemqx"
HEADER: Final = ""
"""The section of the members that are no lists."""
UNKNOWN: Final = "unknown"
MAX_ROW: Final = 256 * 1024
"""Characters of a row as JSON."""
MAX_TEXT: Final = 4096
MAX_ROWS: Final = 2_000_000
MAX_DEPTH: Final = 32
BROKEN: Final = 3
"""Exit code for a text that is not what it should be; stderr says what is wrong."""
MEMORY: Final = 4 * 1024**3
SECONDS: Final = 60

Row = dict[str, Any]


class Broken(ValueError):
    """`kind` is `bad_json`, `bad_params` or `import_failed`; `text` says where."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


def parse(raw: bytes | str) -> Any:
    """Strict JSON: UTF-8, no NaN, nothing after it. Raises Broken `bad_json`."""
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Broken("bad_json", f"not JSON: {error!s:.200}") from None


def rows(raw: bytes, over: Row) -> Iterator[tuple[str, Row]]:
    """(section, row) of an export, the header first; `over` replaces members of the same name. Raises Broken."""
    content = parse(raw)
    if not isinstance(content, dict):
        raise Broken("bad_params", "not an object")
    content.update(over)
    yield HEADER, _header(content)
    ours = content.get(OURS)
    if isinstance(ours, dict):
        yield OURS, _checked(OURS, ours)
    count = 0
    for name in LISTS:
        found = content.get(name, [])
        if not isinstance(found, list):
            raise Broken("import_failed", f"{name}: expected a list")
        count += len(found)
        if count > MAX_ROWS:
            raise Broken("import_failed", f"more than {MAX_ROWS} rows")
        for place, row in enumerate(found):
            yield name, _checked(f"{name}[{place}]", row)


def upload(raw: bytes, over: Row) -> tuple[Row, str]:
    """What a request to upload has: its members but `file` (`{"file": true}` when there is one), and the text of the
    file. Raises Broken: `bad_json` for the request (`text` is `request`) or the file, `bad_params`."""
    try:
        found = parse(raw)
    except Broken:
        raise Broken("bad_json", "request") from None
    members = {**(found if isinstance(found, dict) else {}), **over}
    text = members.get("file")
    report = {"filename": members["filename"]} if "filename" in members else {}
    if "file" not in members:
        return report, ""
    if not isinstance(text, str) or not isinstance(report.get("filename", ""), str):
        raise Broken("bad_params", "filename and file are texts")
    report["json"] = _is_json(text)
    return {**report, "file": True}, text


def _is_json(text: str) -> bool:
    try:
        text.encode("utf-8")
        parse(text)
    except (Broken, UnicodeEncodeError):
        return False
    return True


def _header(content: Row) -> Row:
    """Members that are plain values, and the names of those that nobody here knows and that are not empty."""
    known = {*LISTS, OURS}
    plain = {
        name: value
        for name, value in content.items()
        if name not in known and not isinstance(value, dict | list) and not (isinstance(value, str) and _long(value))
    }
    others = [name for name, value in content.items() if name not in known and name not in plain and value]
    return _checked("header", {**plain, UNKNOWN: [name[:100] for name in others[:20]]})


def _long(text: str) -> bool:
    return len(text) > MAX_TEXT


def _checked(place: str, row: Any) -> Row:
    """A row that is an object, not too large, not too deep, of valid Unicode. Raises Broken."""
    if not isinstance(row, dict):
        raise Broken("import_failed", f"{place}: expected an object")
    if _deeper(row, MAX_DEPTH):
        raise Broken("import_failed", f"{place}: nested deeper than {MAX_DEPTH}")
    try:
        size = len(json.dumps(row, ensure_ascii=False).encode("utf-8"))
    except UnicodeEncodeError:
        raise Broken("import_failed", f"{place}: not Unicode") from None
    if size > MAX_ROW:
        raise Broken("import_failed", f"{place}: more than {MAX_ROW} bytes")
    return row


def _deeper(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    members = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(member, depth - 1) for member in members)


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number")


def main(mode: str, over: str) -> int:
    """`rows`: an export on stdin, a line per row on stdout. `upload`: a request on stdin, the file's text on stdout,
    what else the request has on stderr. In both, what is wrong is on stderr."""
    _be_modest()
    try:
        raw = sys.stdin.buffer.read()
        if mode == "upload":
            report, text = upload(raw, json.loads(over))
            sys.stdout.buffer.write(text.encode("utf-8", "replace"))
            sys.stderr.write(json.dumps(report))
        else:
            for pair in rows(raw, json.loads(over)):
                sys.stdout.write(json.dumps(pair))
                sys.stdout.write("\n")
        sys.stdout.flush()
    except Broken as error:
        sys.stderr.write(json.dumps({"kind": error.kind, "text": error.text}))
        return BROKEN
    return 0


def _be_modest() -> None:
    """The broker comes first: for the processor, for memory, and when memory runs out."""
    import os
    import resource
    from contextlib import suppress

    with suppress(OSError, ValueError):
        os.nice(10)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))

"""Settings from `EMQX_...` environment variables.

`EMQX_ZONE__EXTERNAL__MAX_INFLIGHT=64` sets `zone.external.max_inflight`: two underscores stand for a dot, case does not
matter, dashes in keys are written as underscores. `..._FILE` reads the value from a file. A variable that fits no key
is a warning and never an error, because containers carry variables that were meant for others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Final

from trioemqx.config.draft import Draft, good_name
from trioemqx.config.model import schema
from trioemqx.config.schema import NAME, Branch, Leaf, Path, leaves
from trioemqx.errors import ConfigError

PREFIX: Final = "EMQX_"

NOT_SETTINGS: Final = frozenset({"EMQX_WAIT_FOR_STOP"})
"""Variables that other parts of EMQX's tooling read."""

SECRET_FILE_MAX: Final = 64 * 1024

_STRATEGY: Final = "shared_subscription_strategy"
_SPECIAL: Final = frozenset({"EMQX_NAME", "EMQX_HOST", "EMQX_NODE_NAME"})
_LISTS: Final[dict[str, Path]] = {
    "EMQX_LOADED_PLUGINS": ("plugins", "load"),
    "EMQX_LOADED_MODULES": ("modules", "load"),
}


def profile_of(environ: Mapping[str, str], saved: Mapping[str, object]) -> str:
    """The security profile when there is no file to name it; what is not a profile is refused later, with the rest."""
    for name, value in environ.items():
        if name.upper() == "EMQX_SECURITY__PROFILE":
            return value.strip().lower()
    return str(saved.get("security.profile", "emqx44"))


def add_environment(draft: Draft, environ: Mapping[str, str]) -> None:
    """Put the settings of all `EMQX_...` variables over `draft`; what fits nothing becomes a warning there."""
    variables = {name: value for name, value in sorted(environ.items()) if name.upper().startswith(PREFIX)}
    _node_name(draft, variables)
    numbered: dict[Path, dict[str, str]] = {}
    known_before = dict(draft.tables)
    for name, value in variables.items():
        upper = name.upper()
        if upper in NOT_SETTINGS or upper in _SPECIAL:
            continue
        if upper in _LISTS:
            draft.put(_LISTS[upper], _loaded(value), "environment", name)
            continue
        path = resolve(draft, _parts(upper))
        if path is not None:
            _put(draft, path, name, value, numbered)
        elif upper.endswith("_FILE") and (path := resolve(draft, _parts(upper.removesuffix("_FILE")))) is not None:
            _put_from_file(draft, path, name, value, variables)
        else:
            draft.warnings.append(f"environment {name}: no such setting{_suggestion(draft, upper)}")
    _drop_strays(draft, known_before)


def _parts(upper: str) -> list[str]:
    return upper.removeprefix(PREFIX).lower().split("__")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def resolve(draft: Draft, parts: list[str]) -> Path | None:
    """The key path that the parts of a variable's name mean; None when there is no such key."""
    node: Branch | Leaf = schema()
    path: Path = ()
    if parts[:1] == ["broker"] and parts[2:] == [_STRATEGY] and parts[1] != "group":
        parts = ["broker", "group", *parts[1:]]  # as EMQX writes it
    for place, part in enumerate(parts):
        rest = parts[place:]
        if isinstance(node, Leaf):
            # `access.1`, the numbered spelling of emqx.conf
            return (
                (*path, part)
                if node.setting.kind.name == "access rules" and part.isdigit() and len(rest) == 1
                else None
            )
        name = next((child for child in node.children if _plain(child) == part), "")
        if name:
            node = node.children[name]
        elif node.wildcard is not None and good_name(part):
            name = next((known for known in draft.names(path) if _plain(known) == part), part)
            node = node.wildcard
        elif node.free and (not node.children or len(rest) > 1):
            return (*path, *rest)
        else:
            return None
        path = (*path, name)
    if isinstance(node, Leaf):
        return path
    return (*path, node.shorthand) if node.shorthand else None


def _put(draft: Draft, path: Path, name: str, value: str, numbered: dict[Path, dict[str, str]]) -> None:
    if path[-1].isdigit() and path[-2] == "access":
        rules = numbered.setdefault(path[:-1], {})
        rules[path[-1]] = value
        draft.put(path[:-1], dict(rules), "environment", name)
    else:
        draft.put(path, value, "environment", name, textual=True)


def _put_from_file(draft: Draft, path: Path, name: str, file: str, variables: Mapping[str, str]) -> None:
    """A secret that must be there and is not stops the start: going on without it would open a door."""
    key, source = ".".join(path), f"environment {name}"
    direct = name[: -len("_FILE")]
    if direct.upper() in (other.upper() for other in variables):
        draft.errors.append(ConfigError(f"{direct} is set as well; use one of the two", key, source))
        return
    try:
        draft.put(path, read_secret(file), "environment", name, textual=True)
    except ValueError as problem:
        draft.errors.append(ConfigError(str(problem), key, source))


def read_secret(file: str) -> str:
    """What a variable `..._FILE` points to, without the end of the line. ValueError says why it cannot be had."""
    try:
        with FilePath(file).open("rb") as opened:
            value = opened.read(SECRET_FILE_MAX + 1).decode("utf-8")
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{file} cannot be read: {reason}") from None
    if len(value) > SECRET_FILE_MAX:
        raise ValueError(f"{file} is larger than 64 KB")
    return value.rstrip("\r\n")


def _node_name(draft: Draft, variables: Mapping[str, str]) -> None:
    """EMQX_NODE_NAME, or EMQX_NAME and EMQX_HOST with what they leave out taken from the present node name."""
    given = {name.upper(): (name, value.strip()) for name, value in variables.items() if name.upper() in _SPECIAL}
    if "EMQX_NODE_NAME" in given:
        variable, value = given["EMQX_NODE_NAME"]
    elif given:
        raw = draft.raw.get(("node", "name"))
        present = str(raw.value) if raw is not None else "emqx@127.0.0.1"
        before, _at, after = present.partition("@")
        name = given.get("EMQX_NAME", ("", before))[1]
        host = given.get("EMQX_HOST", ("", after))[1]
        variable = " and ".join(original for original, _value in given.values())
        # A whole name@host in EMQX_NAME is taken as it is.
        value = name if "@" in name else f"{name}@{host}"
    else:
        return
    draft.put(("node", "name"), value, "environment", variable, textual=True)


def _loaded(value: str) -> list[str]:
    """Names with any separators between them."""
    return "".join(letter if letter.isalnum() or letter == "_" else " " for letter in value).split()


def _drop_strays(draft: Draft, known_before: Mapping[Path, None]) -> None:
    """A listener that only the environment names must have an address; else its name was misspelt."""
    new = [table for table in draft.tables if table not in known_before]
    for table in new:
        if len(table) != 3 or table[0] != "listener" or (*table, "bind") in draft.raw:
            continue
        strays = [path for path in draft.raw if path[:3] == table]
        variables = [draft.raw.pop(path).origin.where for path in strays]
        draft.tables = {path: None for path in draft.tables if path[:3] != table}
        for variable in variables:
            hint = _suggestion(draft, variable.upper())
            draft.warnings.append(f"environment {variable}: there is no listener {table[1]}.{table[2]}{hint}")
    for table in new:
        if len(table) == 2 and table[0] == "zone":
            makers = ", ".join(raw.origin.where for path, raw in draft.raw.items() if path[:2] == table)
            draft.warnings.append(f"environment {makers}: makes a new zone {table[1]}")


def _suggestion(draft: Draft, upper: str) -> str:
    close = get_close_matches(upper, list(_spellings(draft)), 1, 0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def _spellings(draft: Draft) -> Iterator[str]:
    """The variable of every key, for every name that is in use."""
    for key, _setting in leaves(schema()):
        if NAME not in key:
            yield _variable(key)
            continue
        at = key.index(NAME)
        for name in draft.names(key[:at]):
            yield _variable((*key[:at], name, *key[at + 1 :]))


def _variable(key: Path) -> str:
    return PREFIX + "__".join(key).upper().replace("-", "_")

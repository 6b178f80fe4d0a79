"""Values in error texts, as EMQX prints them: Erlang terms such as `{invalid_data_type,{string,5}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trioemqx.services import filters

MAX_TEXT: Final = 500
"""Characters of a foreign text that are repeated."""
MAX_MEMBERS: Final = 20
MAX_DEPTH: Final = 5


def term(value: object, depth: int = 0) -> str:
    """A JSON value: `<<"text">>`, `true`, `[1,2]`, `#{<<"key">> => 1}`. What is long or deep is cut."""
    if isinstance(value, str):
        return filters.term(value[:MAX_TEXT])
    if value is None or isinstance(value, bool | int | float):
        return filters.term(value)[:MAX_TEXT]
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, list | tuple):
        inner = [term(member, depth + 1) for member in value[:MAX_MEMBERS]]
        return f"[{','.join(inner + _more(len(value)))}]"
    if isinstance(value, Mapping):
        pairs = list(value.items())[:MAX_MEMBERS]
        inner = [f"{term(str(name))} => {term(member, depth + 1)}" for name, member in pairs]
        return f"#{{{','.join(inner + _more(len(value)))}}}"
    return filters.term(type(value).__name__)


def _more(count: int) -> list[str]:
    return ["..."] if count > MAX_MEMBERS else []

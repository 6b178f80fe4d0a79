"""`trioemqx ctl clientid`, `user` and `acl`, in EMQX's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from trioemqx.plugin import CommandError, Context

from .acl import ACCESS, ACTIONS, Row
from .users import OK

if TYPE_CHECKING:
    from . import AuthMnesia

WORDS = {"clientid": ("clientid", "<ClientId>"), "user": ("username", "<Username>")}
"""Kind of entry, and what its name is called in usages, by the word that is typed."""
GROUPS = {"clientid": "clientid", "username": "username", "_all": "all"}
"""Kinds of rows by the word that is typed."""
Data = Callable[..., object] | None
"""What `--json` prints."""


def register(context: Context, store: AuthMnesia) -> None:
    """Add the commands."""
    for word, (kind, name) in WORDS.items():
        _register_users(context, store, word, kind, name)
    _register_acl(context, store)


def _register_users(context: Context, store: AuthMnesia, word: str, kind: str, name: str) -> None:
    def command(verb: str, run: Callable[..., object], rest: str, help: str, data: Data = None) -> None:
        context.command(f"{word} {verb}", run, usage=f"{word} {verb}{rest}", help=help, data=data)

    async def add(login: str, password: str) -> str:
        return _said(await store.add_user(kind, login, password))

    async def update(login: str, password: str) -> str:
        return _said(await store.update_user(kind, login, password))

    def delete(login: str) -> str:
        store.delete_user(kind, login)
        return OK

    what = f"{kind} authentication rule"
    command("list", lambda: map(_printable, store.logins(kind)), "", f"List {what}s", partial(store.list_users, kind))
    command("add", add, f" {name} <Password>", f"Add {what}")
    command("update", update, f" {name} <NewPassword>", f"Update {what}")
    command("delete", delete, f" {name}", f"Delete {what}")
    command("del", delete, f" {name}", f"Delete {what}")


def _register_acl(context: Context, store: AuthMnesia) -> None:
    def command(words: str, run: Callable[..., object], rest: str, help: str, data: Data = None) -> None:
        context.command(words, run, usage=f"{words}{rest}", help=help, data=data)

    def everything() -> list[dict[str, object]]:
        return [row for kind in GROUPS.values() for row in store.list_acl(kind)]

    def add(kind: str, name: str, topic: str, action: str, access: str) -> str:
        if action not in ACTIONS or access not in ACCESS:
            raise CommandError("Error: Input is illegal")
        return _said(store.add_acl(kind, name, topic, action, access))

    def delete(kind: str, name: str, topic: str) -> str:
        store.delete_acl(kind, name, topic)
        return OK

    command("acl list", lambda: _lines(store, *GROUPS.values()), "", "List acl rules of every kind", everything)
    for word, kind in GROUPS.items():
        own = ("",) if kind == "all" else ()
        name = "" if kind == "all" else WORDS["clientid" if kind == "clientid" else "user"][1]
        who = f" {name}" if name else ""
        rows = partial(store.list_acl, kind)
        command(f"acl list {word}", partial(_lines, store, kind), "", f"List {kind} acl rules", rows)
        if name:
            command(f"acl show {word}", partial(_shown, store, kind), who, f"Lookup {kind} acl rules", rows)
        rest = f"{who} <Topic> <Action> <Access>"
        command(f"acl add {word}", partial(add, kind, *own), rest, f"Add {kind} acl rule")
        for verb in ("delete", "del"):
            command(f"acl {verb} {word}", partial(delete, kind, *own), f"{who} <Topic>", f"Delete {kind} acl rule")


def _lines(store: AuthMnesia, *kinds: str) -> Iterator[str]:
    """Every row of these kinds. Made before the first is printed: printing takes time, and rows may change."""
    return iter([_line(row) for kind in kinds for row in store.acl_rows(kind)])


def _shown(store: AuthMnesia, kind: str, name: str) -> Iterator[str]:
    return iter([_line(row) for row in store.acl_rows(kind, name)])


def _line(row: Row) -> str:
    kind, name, topic, action, access, _ = row
    who = "$all" if kind == "all" else f"{kind} = {quoted(name)}"
    return f"Acl({who} topic = {quoted(topic)} action = {action} access = {access})"


def quoted(text: str) -> str:
    """Text as Erlang prints a binary."""
    return f"<<{json.dumps(text, ensure_ascii=not text.isprintable())}>>"


def _printable(text: str) -> str:
    """A name on a line of its own, whatever is in it."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _said(result: str) -> str:
    if result != OK:
        raise CommandError(f"Error: {result}")
    return OK

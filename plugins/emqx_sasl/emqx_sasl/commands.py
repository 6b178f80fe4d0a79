"""`trioemqx ctl sasl`, in EMQX's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioemqx.plugin import CommandError, Context

from .scram import MAX_ROUNDS, MECHANISMS, MIN_ROUNDS

if TYPE_CHECKING:
    from . import Sasl

OK = "ok"
RANDOM = "-"
"""As salt: make one."""
TOLD = {
    "already_existed": "Authentication information already exists",
    "not_found": "Authentication information not found",
    "invalid_iteration_count": f"Error: invalid_iteration_count, it is {MIN_ROUNDS} to {MAX_ROUNDS}",
}
LABELS = ("Username", "Stored Key", "Server Key", "Salt", "Iteration Count")


def register(context: Context, sasl: Sasl) -> None:
    """Add the commands."""

    async def add(username: str, password: str, salt: str, iterations: str = "4096") -> str:
        result = await sasl.add_user(username, password, None if salt == RANDOM else salt, _count(iterations))
        return _said(result, "added")

    async def update(username: str, password: str, salt: str, iterations: str = "4096") -> str:
        result = await sasl.update_user(username, password, None if salt == RANDOM else salt, _count(iterations))
        return _said(result, "updated")

    def delete(username: str) -> str:
        sasl.delete_user(username)
        return _said(OK, "deleted")

    def lookup(username: str) -> list[str]:
        return _shown(sasl, username)

    def found(username: str) -> list[dict[str, object]]:
        return [{**row, "mechanism": mechanism} for mechanism, row in _found(sasl, username)]

    rest = "<Username> <Password> <Salt> [<IterationCount>]"
    what = "SCRAM authentication information"
    context.command("sasl scram add", add, usage=f"sasl scram add {rest}", help=f"Add {what}")
    context.command("sasl scram update", update, usage=f"sasl scram update {rest}", help=f"Update {what}")
    context.command("sasl scram delete", delete, usage="sasl scram delete <Username>", help=f"Delete {what}")
    context.command("sasl scram lookup", lookup, usage="sasl scram lookup <Username>", help=f"Show {what}", data=found)


def _shown(sasl: Sasl, username: str) -> list[str]:
    """A line for each mechanism."""
    lines = []
    for mechanism, row in _found(sasl, username):
        told = [f"{label}: {value}" for label, value in zip(LABELS, row.values(), strict=True)]
        lines.append(", ".join([*told, f"Mechanism: {mechanism}"]))
    return lines


def _found(sasl: Sasl, username: str) -> list[tuple[str, dict[str, Any]]]:
    """(mechanism, what is known) of a user. Raises CommandError when there is nothing."""
    rows = [(mechanism, sasl.lookup_user(username, mechanism)) for mechanism in MECHANISMS]
    known = [(mechanism, row) for mechanism, row in rows if row is not None]
    if not known:
        raise CommandError(TOLD["not_found"])
    return known


def _count(text: str) -> int:
    """A number as typed; 0, which is not allowed, for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _said(result: str, done: str) -> str:
    if result != OK:
        raise CommandError(TOLD.get(result, f"Error: {result}"))
    return f"Authentication information {done} successfully"

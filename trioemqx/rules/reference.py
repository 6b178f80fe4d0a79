"""Writes the tables of functions and events for `docs/rules.md`: `python -m trioemqx.rules.reference`."""

from __future__ import annotations

import time

from trioemqx.rules.events import EVENTS
from trioemqx.rules.sql import Environment, families

BEGIN = "<!-- functions and events: made by `python -m trioemqx.rules.reference`; a test compares them -->"
END = "<!-- end -->"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def functions() -> str:
    """A table for each family."""
    parts = []
    for family in families(Environment(now_ns=time.time_ns)):
        rows = [f"| `{_cell(function.signature)}` | {_cell(function.doc)} |" for function in family.functions]
        parts.append("\n".join([f"### {family.title}", "", "| function | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def events() -> str:
    """A table of the events and their columns."""
    rows = [
        f"| {'a topic filter' if event.is_message else f'`{event.topic}`'} | {event.description.en} | "
        f"{', '.join(f'`{name}`' for name in event.columns)} |"
        for event in EVENTS
    ]
    return "\n".join(["| FROM | when | columns |", "|---|---|---|", *rows])


def page() -> str:
    """Both, as they stand in the page."""
    return f"{BEGIN}\n\n## Events\n\n{events()}\n\n## Functions\n\n{functions()}\n\n{END}\n"


if __name__ == "__main__":
    print(page(), end="")

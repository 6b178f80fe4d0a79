"""The constants of the core are the codes of the one table there is."""

from __future__ import annotations

from trioemqx.core import reasons
from trioemqx.errors import ReasonCode

NO_CODES = {"FAILURES"}


def test_names_and_numbers_are_those_of_the_table() -> None:
    named = {name: value for name, value in vars(reasons).items() if name.isupper() and name not in NO_CODES}
    assert len(named) > 20
    assert named == {name: ReasonCode[name] for name in named}

"""The functions of the language, by family."""

from __future__ import annotations

from trioemqx.rules.sql.functions.bits import BITS
from trioemqx.rules.sql.functions.convert import CONVERT, KINDS
from trioemqx.rules.sql.functions.dates import dates
from trioemqx.rules.sql.functions.digests import DIGESTS
from trioemqx.rules.sql.functions.environment import Environment
from trioemqx.rules.sql.functions.events import EVENTS
from trioemqx.rules.sql.functions.formats import FORMATS
from trioemqx.rules.sql.functions.lists import LISTS
from trioemqx.rules.sql.functions.maps import MAPS
from trioemqx.rules.sql.functions.maths import MATHS
from trioemqx.rules.sql.functions.regexes import REGEXES
from trioemqx.rules.sql.functions.state import state
from trioemqx.rules.sql.functions.table import Family, Functions
from trioemqx.rules.sql.functions.text import TEXT


def families(environment: Environment) -> list[Family]:
    """All families, in the order in which they are documented."""
    fixed = [EVENTS, MATHS, BITS, CONVERT, KINDS, TEXT, REGEXES, FORMATS, LISTS, MAPS, DIGESTS]
    return [*fixed, dates(environment), state(environment)]


def standard_functions(environment: Environment) -> Functions:
    """A table with every function of the language; plugins may add theirs."""
    return Functions(function for family in families(environment) for function in family.functions)

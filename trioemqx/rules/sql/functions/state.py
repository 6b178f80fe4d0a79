"""Functions that remember, and those that draw: what depends on more than their arguments."""

from __future__ import annotations

import uuid

from trioemqx.rules.sql.functions.environment import Environment
from trioemqx.rules.sql.functions.table import Family
from trioemqx.rules.sql.values import UNDEFINED, Value


def state(environment: Environment) -> Family:
    """The family of functions with stores and random numbers behind them."""
    family = Family("State and identifiers")
    for each in (_shared, _owned, _random):
        each(family, environment)
    return family


def _shared(family: Family, environment: Environment) -> None:
    @family.add("kv_store_put(k, v)")
    def kv_store_put(k: Value, v: Value) -> bool:
        """Keep a value for all rules of this node, in memory; true."""
        environment.kv.put(k, v)
        return True

    @family.add("kv_store_get(k[, default])")
    def kv_store_get(k: Value, default: Value = UNDEFINED) -> Value:
        """The value that was kept, or `default` (null)."""
        return environment.kv.get(k, default)

    @family.add("kv_store_del(k)")
    def kv_store_del(k: Value) -> bool:
        """Forget a value; true."""
        environment.kv.delete(k)
        return True


def _owned(family: Family, environment: Environment) -> None:
    @family.add("proc_dict_put(k, v)", owner=True)
    def proc_dict_put(owner: str, k: Value, v: Value) -> Value:
        """Keep a value for the client that raised the event; gives the one before, or null."""
        return environment.owned.of(owner).put(k, v)

    @family.add("proc_dict_get(k)", owner=True)
    def proc_dict_get(owner: str, k: Value) -> Value:
        """The value that was kept for this client, or null."""
        return environment.owned.of(owner).get(k)

    @family.add("proc_dict_del(k)", owner=True)
    def proc_dict_del(owner: str, k: Value) -> Value:
        """Forget a value of this client; gives it, or null."""
        return environment.owned.of(owner).delete(k)


def _random(family: Family, environment: Environment) -> None:
    @family.add("random()")
    def random() -> float:
        """A random float from 0 to below 1."""
        return environment.random.random()

    @family.add("uuid_v4()")
    def uuid_v4() -> str:
        """A new random UUID."""
        return str(uuid.UUID(int=environment.random.getrandbits(128), version=4))

    @family.add("uuid_v4_no_hyphen()")
    def uuid_v4_no_hyphen() -> str:
        """A new random UUID without hyphens."""
        return uuid_v4().replace("-", "")

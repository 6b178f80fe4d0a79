"""`auth_order` and `acl_order`: which plugins come first at the access points."""

from __future__ import annotations

from typing import Final

from trioemqx.config.model import Config

ALIASES: Final = {
    "http": "emqx_auth_http",
    "jwt": "emqx_auth_jwt",
    "ldap": "emqx_auth_ldap",
    "mnesia": "emqx_auth_mnesia",
    "mongo": "emqx_auth_mongo",
    "mongodb": "emqx_auth_mongo",
    "mysql": "emqx_auth_mysql",
    "pgsql": "emqx_auth_pgsql",
    "postgres": "emqx_auth_pgsql",
    "redis": "emqx_auth_redis",
    "internal": "emqx_mod_acl_internal",
    "file": "emqx_mod_acl_internal",
}
"""EMQX's short names in `auth_order` and `acl_order`."""


def orders(config: Config) -> dict[str, tuple[str, ...]]:
    """`auth_order` and `acl_order` as names of plugins, by hook point."""
    auth = tuple(ALIASES.get(name, name) for name in config.auth_order or ())
    acl = tuple(ALIASES.get(name, name) for name in config.acl_order or ())
    return {"client_authenticate": auth, "client_check_acl": acl, "client_check_acl_now": acl}

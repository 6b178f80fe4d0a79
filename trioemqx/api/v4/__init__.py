"""The endpoints of `/api/v4`, one module per resource."""

from __future__ import annotations

from typing import Final

from trioemqx.api.v4 import (
    acl_cache,
    actions,
    alarms,
    apps,
    audit,
    banned,
    brokers,
    capture,
    clients,
    configs,
    data,
    documents,
    hooks,
    index,
    license,  # noqa: A004 - the interactive help of Python
    listeners,
    metrics,
    modules,
    mqtt,
    plugin_settings,
    plugins,
    queues,
    resources,
    rules,
    subscriptions,
    users,
)
from trioemqx.services.web import Endpoint

MODULES = (
    index,
    acl_cache,
    actions,
    alarms,
    apps,
    audit,
    banned,
    brokers,
    capture,
    clients,
    configs,
    data,
    documents,
    hooks,
    license,
    listeners,
    metrics,
    modules,
    mqtt,
    plugin_settings,
    plugins,
    queues,
    resources,
    rules,
    subscriptions,
    users,
)
ORDER: Final = (
    "index",
    "dashboard",
    "acl-cache",
    "alarms",
    "apps",
    "banned",
    "brokers",
    "clients",
    "data",
    "listeners",
    "metrics",
    "nodes",
    "plugins",
    "mqtt",
    "routes",
    "stats",
    "subscriptions",
    "rule_engine",
    "modules",
    "license",
    "audit",
)
"""The groups, in the order in which EMQX lists their endpoints."""


def all_endpoints() -> list[Endpoint]:
    """Every endpoint of the broker itself, in EMQX's order."""
    found = [endpoint for module in MODULES for endpoint in module.ENDPOINTS]
    return sorted(found, key=lambda endpoint: ORDER.index(endpoint.group) if endpoint.group in ORDER else len(ORDER))

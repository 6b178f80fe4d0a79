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
    plugin_uploads,
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
    plugin_uploads,
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


RULE_ENGINE: Final = (
    "create_rule",
    "update_rule",
    "list_rules",
    "show_rule",
    "delete_rule",
    "reset_metrics",
    "list_actions",
    "show_action",
    "list_resources",
    "create_resource",
    "update_resource",
    "show_resource",
    "get_resource_status",
    "start_resource",
    "delete_resource",
    "list_resource_types",
    "show_resource_type",
    "list_resources_by_type",
    "list_events",
)
"""The names of one group, which EMQX lists in another order than our modules have them."""


def all_endpoints() -> list[Endpoint]:
    """Every endpoint of the broker itself, in EMQX's order."""
    return sorted((endpoint for module in MODULES for endpoint in module.ENDPOINTS), key=_place)


def _place(endpoint: Endpoint) -> tuple[int, int]:
    group = ORDER.index(endpoint.group) if endpoint.group in ORDER else len(ORDER)
    named = endpoint.app == "emqx_rule_engine" and endpoint.name in RULE_ENGINE
    return group, RULE_ENGINE.index(endpoint.name) if named else len(RULE_ENGINE)

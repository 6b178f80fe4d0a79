"""The endpoints that come with shipped plugins and modules: what the index lists and what answers while they are not
loaded. While they are, their own endpoints are found first; a test keeps both alike. Those of EMQX's LwM2M gateway,
which there is none of, are listed all the same, as they are by an EMQX that does not run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trioemqx.services.web import ApiError, Call, Endpoint, Routes
from trioemqx.services.web.answers import NOT_STARTED, not_found_page
from trioemqx.services.web.endpoints import Handler

MODULES: Final = ("emqx_modules", "emqx_plugin_libs")
"""EMQX's applications that hold modules."""
APPS: Final = (
    "emqx_auth_mnesia",
    "emqx_dashboard",
    "emqx_lwm2m",
    "emqx_management",
    "emqx_prometheus",
    "emqx_rule_engine",
    "emqx_sasl",
    "emqx_telemetry",
    "emqx_plugin_libs",
    "emqx_modules",
    "emqx_license",
)
"""The order in which EMQX lists them; others come after these."""


def no_plugin(call: Call) -> object:
    """The plugin is not loaded, so there is no such path."""
    raise not_found_page()


def no_module(call: Call) -> object:
    """The module is not loaded; EMQX has the paths of modules all the same."""
    raise ApiError(NOT_STARTED, "module_not_loaded")


def no_trace(call: Call) -> object:
    """EMQX looks for the trace without asking whether the module is loaded; here it is the module that knows them."""
    raise ApiError("NOT_FOUND", "not_found")


TABLE: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "emqx_auth_mnesia": (
        ("GET", "/acl/clientid", "list_clientid", "List available mnesia in the cluster"),
        ("GET", "/acl/username", "list_username", "List available mnesia in the cluster"),
        ("GET", "/acl/$all", "list_all", "List available mnesia in the cluster"),
        ("GET", "/acl/clientid/{clientid}", "lookup_clientid", "Lookup mnesia in the cluster"),
        ("GET", "/acl/username/{username}", "lookup_username", "Lookup mnesia in the cluster"),
        ("POST", "/acl", "add", "Add mnesia in the cluster"),
        ("DELETE", "/acl/clientid/{clientid}/topic/{topic}", "delete_clientid", "Delete mnesia in the cluster"),
        ("DELETE", "/acl/username/{username}/topic/{topic}", "delete_username", "Delete mnesia in the cluster"),
        ("DELETE", "/acl/$all/topic/{topic}", "delete_all", "Delete mnesia in the cluster"),
        ("GET", "/auth_clientid", "list_clientid", "List available clientid in the cluster"),
        ("GET", "/auth_clientid/{clientid}", "lookup_clientid", "Lookup clientid in the cluster"),
        ("POST", "/auth_clientid", "add_clientid", "Add clientid in the cluster"),
        ("PUT", "/auth_clientid/{clientid}", "update_clientid", "Update clientid in the cluster"),
        ("DELETE", "/auth_clientid/{clientid}", "delete_clientid", "Delete clientid in the cluster"),
        ("GET", "/auth_username", "list_username", "List available username in the cluster"),
        ("GET", "/auth_username/{username}", "lookup_username", "Lookup username in the cluster"),
        ("POST", "/auth_username", "add_username", "Add username in the cluster"),
        ("PUT", "/auth_username/{username}", "update_username", "Update username in the cluster"),
        ("DELETE", "/auth_username/{username}", "delete_username", "Delete username in the cluster"),
        ("GET", "/acl_roles", "list_acl_roles", "Access roles"),
        ("GET", "/acl_roles/{role}", "lookup_acl_role", "One access role"),
        ("POST", "/acl_roles", "add_acl_role", "Add access roles"),
        ("PUT", "/acl_roles/{role}", "update_acl_role", "Change an access role"),
        ("DELETE", "/acl_roles/{role}", "delete_acl_role", "Delete an access role"),
        ("GET", "/acl_roles/{role}/members", "list_acl_role_members", "Members of an access role"),
        ("POST", "/acl_roles/{role}/members", "add_acl_role_members", "Add members to an access role"),
        ("DELETE", "/acl_roles/{role}/members", "delete_acl_role_members", "Remove members from an access role"),
        ("GET", "/acl_groups", "list_acl_groups", "Access groups"),
        ("GET", "/acl_groups/{group}", "lookup_acl_group", "One access group"),
        ("POST", "/acl_groups", "add_acl_group", "Add access groups"),
        ("PUT", "/acl_groups/{group}", "update_acl_group", "Change an access group"),
        ("DELETE", "/acl_groups/{group}", "delete_acl_group", "Delete an access group"),
        ("GET", "/acl_groups/{group}/members", "list_acl_group_members", "Members of an access group"),
        ("POST", "/acl_groups/{group}/members", "add_acl_group_members", "Add members to an access group"),
        ("DELETE", "/acl_groups/{group}/members", "delete_acl_group_members", "Remove members from an access group"),
        ("GET", "/acl_member", "lookup_acl_member", "Groups and roles of a client, in their order"),
    ),
    "emqx_lwm2m": (
        ("GET", "/lwm2m_channels", "list", "A list of all lwm2m channel", "/lwm2m_channels/"),
        ("GET", "/nodes/{node}/lwm2m_channels", "list", "A list of lwm2m channel of a node",
            "/nodes/:node/lwm2m_channels/"),
        ("GET", "/lookup_cmd/{ep}", "lookup_cmd", "Send a lwm2m downlink command", "/lookup_cmd/:ep/"),
        ("GET", "/nodes/{node}/lookup_cmd/{ep}", "lookup_cmd", "Send a lwm2m downlink command of a node",
            "/nodes/:node/lookup_cmd/:ep/"),
    ),
    "emqx_prometheus": (
        ("GET", "/emqx_prometheus", "stats", "Get emqx all stats info"),
    ),
    "emqx_sasl": (
        ("POST", "/sasl", "add", "Add authentication information"),
        ("DELETE", "/sasl", "delete", "Delete authentication information"),
        ("PUT", "/sasl", "update", "Update authentication information"),
        ("GET", "/sasl", "get", "Get authentication information"),
    ),
    "emqx_telemetry": (
        ("PUT", "/telemetry/status", "enable_telemetry", "Enable or disbale telemetry"),
        ("GET", "/telemetry/status", "get_telemetry_status", "Get telemetry status"),
        ("GET", "/telemetry/data", "get_telemetry_data", "Get reported telemetry data"),
    ),
    "emqx_plugin_libs": (
        ("DELETE", "/slow_subscriptions", "clear_history", "Clear current data and re count slow topic"),
        ("GET", "/slow_subscriptions", "get_history", "Get slow topics statistics record data"),
    ),
    "emqx_modules": (
        ("GET", "/topic-metrics", "list_all_topic_metrics", "A list of all topic metrics of all nodes in the cluster"),
        ("GET", "/topic-metrics/{topic}", "list_topic_metrics",
            "A list of specfied topic metrics of all nodes in the cluster"),
        ("POST", "/topic-metrics", "register_topic_metrics", "Register topic metrics"),
        ("DELETE", "/topic-metrics", "unregister_all_topic_metrics", "Unregister all topic metrics"),
        ("DELETE", "/topic-metrics/{topic}", "unregister_topic_metrics", "Unregister topic metrics"),
        ("GET", "/trace", "list_trace", "list all traces", "/trace/"),
        ("POST", "/trace", "create_trace", "create trace", "/trace/"),
        ("DELETE", "/trace/{name}", "delete_trace", "delete trace"),
        ("DELETE", "/trace", "clear_trace", "clear all traces", "/trace/"),
        ("PUT", "/trace/{name}/stop", "disable_trace", "stop trace"),
        ("GET", "/trace/{name}/detail", "trace_file_detail", "view trace file's detail"),
        ("GET", "/trace/{name}/download", "download_zip_log", "download trace's log"),
        ("GET", "/trace/{name}/log", "stream_log_file", "download trace's log"),
    ),
    "emqx_retainer": (
        ("GET", "/retained_messages", "list_retained_messages", "A list of retained messages"),
        ("GET", "/retained_messages/{topic}", "lookup_retained_message",
            "The retained message of a topic, with its payload"),
        ("DELETE", "/retained_messages", "clean_retained_messages", "Delete the retained messages that match a filter"),
        ("DELETE", "/retained_messages/{topic}", "delete_retained_message", "Delete the retained message of a topic"),
    ),
    "emqx_mod_delayed": (
        ("GET", "/delayed", "list_delayed_messages", "Messages that wait for their time"),
        ("GET", "/delayed/{id}", "lookup_delayed_message", "A waiting message with its payload"),
        ("DELETE", "/delayed/{id}", "delete_delayed_message", "Delete a message before its time"),
    ),
}  # fmt: skip
"""(method, path, name, description, path in the index where it is another one) by application."""


def _absent(app: str, path: str) -> Handler:
    """What answers while nobody serves the path."""
    if app not in MODULES:
        return no_plugin
    return no_trace if path.startswith("/trace/") and path.endswith(("/detail", "/download", "/log")) else no_module


SHIPPED: Final = Routes(
    Endpoint(method, path, _absent(app, path), name, descr, app=app, listed="".join(listed))
    for app, endpoints in TABLE.items()
    for method, path, name, descr, *listed in endpoints
)


def place(endpoint: Endpoint) -> int:
    """Where the index has the endpoints of an application."""
    return APPS.index(endpoint.app) if endpoint.app in APPS else len(APPS)

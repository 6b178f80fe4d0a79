"""What the OpenAPI document says in words, by code, by part of a path, and by endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CODES: Final[Mapping[int | str, str]] = {
    101: "the node cannot be asked",
    102: "failed, without a better code",
    103: "wrong name or password",
    104: "name or password empty",
    105: "no such user",
    106: "the user admin stays",
    107: "a required parameter is missing",
    108: "a parameter is wrong",
    109: "not JSON",
    110: "started already",
    111: "not started",
    112: "no session of that client",
    113: "exists already",
    114: "wrong old password",
    115: "no valid topic",
    116: "wrong QoS",
    400: "bad arguments",
    403: "not for the role of this application",
    404: "not found",
    500: "a resource cannot be made",
}
ALSO_TEXT: Final = frozenset({"/emqx_prometheus"})
"""Endpoints that answer in text when they are asked to."""
PARTS: Final[Mapping[str, str]] = {
    "node": "name@host of a node, as it is",
    "clientid": "client identifier, percent-encoded",
    "username": "user name, percent-encoded",
    "topic": "topic or filter, percent-encoded: a slash is %2F",
    "plugin": "name of a plugin, as it is",
    "module": "name of a module, as it is",
    "identifier": "of a listener, as it is: mqtt:tcp:external",
    "filename": "name of a file, without a folder",
    "as": "clientid, username or peerhost",
    "who": "who is banned, percent-encoded",
    "appid": "AppID",
    "role": "name of an access role, percent-encoded",
    "group": "name of a group of access roles, percent-encoded",
    "name": "the name, percent-encoded",
}
USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "/acl": ("clientid",),
    "/apps": ("name",),
    "/mqtt/publish": ("topic", "qos"),
    "/mqtt/publish_batch": ("topic", "qos"),
    "/mqtt/subscribe": ("topic", "qos"),
    "/mqtt/subscribe_batch": ("topic", "qos"),
    "/mqtt/unsubscribe": ("topic",),
    "/mqtt/unsubscribe_batch": ("topic",),
    "/trace": ("clientid",),
}
"""Parameters that are not required by themselves, and without which a request means little."""
MESSAGES: Final[Mapping[int | str, str]] = {
    101: "nodedown",
    102: "not_found",
    103: "Username/Password error",
    104: "Username undefined",
    105: "Username Not Found",
    106: "Cannot delete admin",
    107: "missing_required_params",
    108: "bad_params",
    109: "bad_json",
    110: "already_started",
    111: "not_started",
    112: "not_found",
    113: "already_existed",
    114: "Username/Password error",
    115: "bad_topic",
    116: "bad_qos",
    404: "Not Found",
}
ABOUT: Final = """\
EMQX 4's API. Parameters come from the query and from the members of a JSON body; a query parameter hides a member of
the same name. Answers have HTTP status 200 and a member `code`, 0 for success; failures have a `message` as well, and
some a `reason`. Secrets of applications open the management door, passwords of dashboard users the dashboard. Not
every application may ask for everything: `x-roles` of an operation says which roles may."""
LICENSE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}

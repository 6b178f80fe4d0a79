"""The API of plugins and modules, version 1: all that they import from trioemqx.

A plugin is a class derived from `Plugin`, with `@hookimpl` methods named after hook points (docs/hooks.md). Its
`context` is all of the broker that it may touch. docs/plugins.md is the guide.

Within version 1.x names are added and none is taken away or changed.
"""

from __future__ import annotations

from trioemqx.config.scan import toml_positions
from trioemqx.core.access import AuthStep
from trioemqx.core.topics import covers, is_wildcard, matches, overlaps, parse_filter, validate_filter, validate_topic
from trioemqx.errors import ProtocolError, ReasonCode
from trioemqx.hooks import Drop, Refuse
from trioemqx.hookspecs import hookimpl
from trioemqx.services.bridge import Bridge, BridgeConfig, BridgeError, BridgeStatus, QueueSettings
from trioemqx.services.commands import CommandError
from trioemqx.services.http import HttpAnswer, HttpClient, HttpError, HttpTls, HttpUrl
from trioemqx.services.mqttclient import (
    ClientOptions,
    MqttClient,
    MqttError,
    MqttRefused,
    MqttTls,
    Unsendable,
    dialer,
    open_client,
)
from trioemqx.services.plugins.base import (
    API_VERSION,
    ByteSize,
    Duration,
    EventQueue,
    NoConfig,
    Numbered,
    Plugin,
    QueuePath,
    Secret,
    SettingError,
)
from trioemqx.services.plugins.context import Context
from trioemqx.services.plugins.errors import PluginError
from trioemqx.services.plugins.handles import Handle
from trioemqx.services.plugins.parts import Counter, Table
from trioemqx.services.rulekit import (
    RESOURCE,
    ActionFailed,
    ActionSetup,
    ActionType,
    DirectAction,
    ParamsRefused,
    QueuedAction,
    Resource,
    ResourceFailed,
    ResourceSetup,
    ResourceType,
    RuleEvent,
    RuleParam,
    TryAgain,
    Words,
)
from trioemqx.services.web import (
    PAGING,
    ApiError,
    Bare,
    Call,
    Download,
    Endpoint,
    Page,
    Param,
    Params,
    PlainText,
    delete,
    get,
    paged,
    post,
    put,
    schema,
)
from trioemqx.types import ClientInfo, Credentials, Message, Properties, SubOpts, Verdict

__all__ = [
    "API_VERSION",
    "PAGING",
    "RESOURCE",
    "ActionFailed",
    "ActionSetup",
    "ActionType",
    "ApiError",
    "AuthStep",
    "Bare",
    "Bridge",
    "BridgeConfig",
    "BridgeError",
    "BridgeStatus",
    "ByteSize",
    "Call",
    "ClientInfo",
    "ClientOptions",
    "CommandError",
    "Context",
    "Counter",
    "Credentials",
    "DirectAction",
    "Download",
    "Drop",
    "Duration",
    "Endpoint",
    "EventQueue",
    "Handle",
    "HttpAnswer",
    "HttpClient",
    "HttpError",
    "HttpTls",
    "HttpUrl",
    "Message",
    "MqttClient",
    "MqttError",
    "MqttRefused",
    "MqttTls",
    "NoConfig",
    "Numbered",
    "Page",
    "Param",
    "Params",
    "ParamsRefused",
    "PlainText",
    "Plugin",
    "PluginError",
    "Properties",
    "ProtocolError",
    "QueuePath",
    "QueueSettings",
    "QueuedAction",
    "ReasonCode",
    "Refuse",
    "Resource",
    "ResourceFailed",
    "ResourceSetup",
    "ResourceType",
    "RuleEvent",
    "RuleParam",
    "Secret",
    "SettingError",
    "SubOpts",
    "Table",
    "TryAgain",
    "Unsendable",
    "Verdict",
    "Words",
    "covers",
    "delete",
    "dialer",
    "get",
    "hookimpl",
    "is_wildcard",
    "matches",
    "open_client",
    "overlaps",
    "paged",
    "parse_filter",
    "post",
    "put",
    "schema",
    "toml_positions",
    "validate_filter",
    "validate_topic",
]

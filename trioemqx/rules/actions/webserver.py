"""`data_to_webserver`: sends a request for each result to the web server of a `web_hook`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import quote

import attrs

from trioemqx.config.rules import RuleEngineConfig
from trioemqx.rules.actions.rendering import text_of
from trioemqx.rules.template import Template
from trioemqx.rules.types.web_hook import WebHook
from trioemqx.services.http import HttpError, HttpUrl
from trioemqx.services.rulekit import (
    RESOURCE,
    ActionFailed,
    ActionSetup,
    ActionType,
    Output,
    ParamsRefused,
    QueuedAction,
    RuleEvent,
    RuleParam,
    TryAgain,
    Words,
)

METHODS: Final = ("POST", "DELETE", "PUT", "GET")
WITH_BODY: Final = ("POST", "PUT")
JSON: Final = "application/json"
HEADERS: Final = {"content-type": JSON}
"""Those of an action that is given none."""
OWN_HEADERS: Final = frozenset({"host", "content-length", "connection", "transfer-encoding", "upgrade", "expect"})
"""What the client itself has to say."""
_PLAIN: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "#")
"""What a path may have as it is."""


class SendHost(Protocol):
    """What sending needs of the rule engine."""

    @property
    def settings(self) -> RuleEngineConfig:
        """`[rule_engine]`"""


@attrs.frozen
class Request:
    """A request that waits to be sent. `key` is the client that it is about."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    key: str


class Send(QueuedAction):
    """Requests of one client go one after the other. What an unreachable server has missed is sent when it is back, if
    that is soon."""

    def __init__(self, setup: ActionSetup, settings: RuleEngineConfig) -> None:
        if not isinstance(setup.resource, WebHook):
            raise ParamsRefused("{resource_not_initialized,web_hook}")
        params, self._hook = setup.params, setup.resource
        method = params.get("method", "POST")
        self._method = self._hook.method if method == "POST" else method
        self._path = Template(params.get("path", ""))
        self._headers = _header_templates(self._hook.headers, params.get("headers", {}))
        self._body = Template(params.get("body") or params.get("payload_tmpl") or "")
        self.lanes = self._hook.pool_size
        self.size = settings.queue_size
        self.max_bytes = settings.queue_bytes
        self.retry_for = settings.retry_for

    def prepare(self, output: Output, env: RuleEvent) -> Request:
        """The whole request."""
        with_body = self._method in WITH_BODY
        headers = {}
        for name, value in self._headers:
            key = _dashed(text_of(name, output))
            if key not in OWN_HEADERS and (with_body or key != "content-type"):
                headers[key] = text_of(value, output)
        if with_body and "content-type" not in headers:
            headers["content-type"] = JSON
        target = joined(self._hook.url, text_of(self._path, output))
        body = self._body.body(output) if with_body else b""
        return Request(self._method, target, tuple(headers.items()), body, str(env.get("clientid") or ""))

    def weigh(self, item: Request) -> int:
        """Its bytes, about."""
        return len(item.body) + len(item.target) + 500

    def key(self, item: Request) -> str:
        """The client that it is about."""
        return item.key

    async def deliver(self, items: Sequence[Request]) -> None:
        """Send them."""
        for item in items:
            await self._send(item)

    async def _send(self, request: Request) -> None:
        client = self._hook.client
        if client is None:
            raise TryAgain("the server has no connection yet")
        try:
            answer = await client.request(request.method, request.target, request.headers, request.body)
        except HttpError as error:
            # A server that has read a POST may have acted on it, and a second one would be another act.
            again = error.again and not (error.sent and request.method == "POST")
            raise (TryAgain if again else ActionFailed)(f"{self._hook.url.shown}: {error}") from error
        except ValueError as error:
            raise ActionFailed(str(error)) from error
        if not 200 <= answer.status < 300:
            raise ActionFailed(f"{self._hook.url.shown}: status {answer.status}")


def _header_templates(below: Mapping[str, object], above: Mapping[str, object]) -> list[tuple[Template, Template]]:
    """The action's headers over those of its resource; under them where the action has none but the default."""
    first, last = (above, below) if above == HEADERS else (below, above)
    merged = {_dashed(str(name)): value for name, value in (*first.items(), *last.items())}
    return [(Template(name), Template(str(value))) for name, value in merged.items()]


def _dashed(name: str) -> str:
    """A name as it is sent; what stands in a placeholder stays as it is."""
    return name if "${" in name else name.strip().replace("_", "-").lower()


def joined(url: HttpUrl, path: str) -> str:
    """What is asked for: the path of the resource with that of the action behind it. Characters that no request may
    have are escaped."""
    if not path:
        return url.target
    base, _, query = url.target.partition("?")
    rest = quote(path.removeprefix("/"), safe=_PLAIN)
    target = f"{base}{rest}" if base.endswith("/") else f"{base}/{rest}"
    return f"{target}{'&' if '?' in target else '?'}{query}" if query else target


def data_to_webserver(host: SendHost) -> ActionType:
    """The action."""
    return ActionType(
        name="data_to_webserver",
        make=lambda setup: Send(setup, host.settings),
        params=(
            RuleParam(RESOURCE, required=True, title=Words("Resource ID", "资源 ID"),
                description=Words("Bind a resource to this action", "给动作绑定一个资源")),
            RuleParam("method", enum=METHODS, default="POST", title=Words("Method", "方法"),
                description=Words("HTTP method", "HTTP 方法")),
            RuleParam("path", default="", title=Words("Path", "路径"),
                description=Words("Put behind the path of the resource; may have placeholders such as ${clientid}",
                    "接在资源的路径之后; 可以使用 ${clientid} 等占位符")),
            RuleParam("headers", "object", default=HEADERS, title=Words("Headers", "请求头"),
                description=Words("HTTP headers; may have placeholders", "HTTP 请求头; 可以使用占位符")),
            RuleParam("body", default="", input="textarea", title=Words("Body", "请求体"),
                description=Words("May have placeholders; empty: everything that was selected, as JSON",
                    "可以使用占位符; 为空时发送所有选出的字段 (JSON)")),
        ),
        title=Words("Data to Web Server", "发送数据到 Web 服务"),
        description=Words("Forward messages to a web server", "将数据转发给 Web 服务"),
        category="data_forward",
        app="emqx_web_hook",
        types=("web_hook",),
    )  # fmt: skip

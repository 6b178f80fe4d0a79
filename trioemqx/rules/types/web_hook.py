"""`web_hook`: a web server that rules send requests to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import trio

from trioemqx.config.fields import parse_duration
from trioemqx.rules.types import tls_params
from trioemqx.services.http import HttpClient, HttpError, HttpTls, HttpUrl
from trioemqx.services.rulekit import (
    ParamsRefused,
    Resource,
    ResourceFailed,
    ResourceSetup,
    ResourceType,
    RuleParam,
    Words,
)

CONNECT_SECONDS: Final = 3.0
"""What a look at the server may take."""
MAX_POOL: Final = 1024
MAX_ANSWER: Final = 64 * 1024
LONGEST: Final = 3600.0

PARAMS: Final = (
    RuleParam("url", format="url", required=True, title=Words("Request URL", "请求 URL"),
        description=Words("Request URL", "请求 URL")),
    RuleParam("connect_timeout", default="5s", title=Words("Connect Timeout", "连接超时"),
        description=Words("How long making a connection may take", "建立连接的最长时间")),
    RuleParam("request_timeout", default="5s", title=Words("Request Timeout", "请求超时"),
        description=Words("How long a request may take, with its answer", "请求及其响应的最长时间")),
    RuleParam("pool_size", "number", default=8, title=Words("Pool Size", "连接池大小"),
        description=Words("Connections to the server", "到服务器的连接数")),
    RuleParam("enable_pipelining", "boolean", default=True, title=Words("Enable Pipelining", "启用流水线"),
        description=Words("Accepted; requests wait for the answer before", "可以设置; 请求总是等待前一个响应")),
    RuleParam("cacertfile", "file", default="", title=Words("CA Certificate File", "CA 证书文件"),
        description=tls_params.CACERTFILE),
    RuleParam("keyfile", "file", default="", title=Words("SSL Key", "SSL 私钥"),
        description=tls_params.KEYFILE),
    RuleParam("certfile", "file", default="", title=Words("SSL Cert", "SSL 证书"),
        description=tls_params.CERTFILE),
    *tls_params.VERIFY,
    RuleParam("method", enum=("PUT", "POST"), default="POST", title=Words("Request Method", "请求方法"),
        description=Words("Request Method, for actions without one", "请求方法, 用于没有设置它的动作")),
    RuleParam("headers", "object", default={}, title=Words("Request Header", "请求头"),
        description=Words("Request Header, for actions without it", "请求头, 用于没有设置它的动作")),
)  # fmt: skip


def seconds(config: Any, name: str) -> float:
    """A duration above 0. Raises ParamsRefused."""
    try:
        found = parse_duration(config.get(name, "5s"))
    except ValueError:
        found = 0.0
    if not 0 < found <= LONGEST:
        raise ParamsRefused(f"{{invalid_duration,{name}}}")
    return found


def pool_size(config: Any) -> int:
    """A number of connections. Raises ParamsRefused."""
    size = config.get("pool_size", 8)
    if not isinstance(size, int) or not 1 <= size <= MAX_POOL:
        raise ParamsRefused(f"{{invalid_pool_size,{{1,{MAX_POOL}}}}}")
    return size


class WebHook(Resource):
    """One web server. `client` sends requests once it has been started; `method` and `headers` are for actions that
    have none of their own."""

    def __init__(self, setup: ResourceSetup) -> None:
        config = setup.config
        try:
            self.url = HttpUrl.parse(config["url"])
        except ValueError as error:
            raise ParamsRefused("{invalid_url,url}") from error
        self._config = config
        self.pool_size = pool_size(config)
        self._timeouts = seconds(config, "request_timeout"), seconds(config, "connect_timeout")
        self.method = config.get("method", "POST")
        self.headers = {str(name): str(value) for name, value in config.get("headers", {}).items()}
        if isinstance(config.get("content_type"), str):  # of EMQX 4.0 to 4.2
            self.headers = {"content-type": config["content_type"], **self.headers}
        self.client: HttpClient | None = None
        self._name = config.get("server_name_indication", "")

    async def start(self) -> None:
        """Read the certificates, and make a first connection."""
        tls = self._tls()
        request, connect = self._timeouts
        try:
            context = await trio.to_thread.run_sync(tls.context) if self.url.tls else None
            self.client = HttpClient(
                self._config["url"],
                pool_size=self.pool_size,
                timeout=request,
                connect_timeout=min(request, connect),
                tls=context,
                server_name=self._name,
                max_answer=MAX_ANSWER,
            )
        except ValueError as error:
            raise ResourceFailed(str(error)) from error
        await self._look()

    def _tls(self) -> HttpTls:
        authorities, certificate, key = (
            Path(self._config[name]) if self._config.get(name) else None
            for name in ("cacertfile", "certfile", "keyfile")
        )
        return HttpTls(authorities, certificate, key, bool(self._config.get("verify")), self._name)

    async def _look(self) -> None:
        """Raise ResourceFailed unless the server takes a connection."""
        if self.client is None:
            raise ResourceFailed("not connected")
        try:
            with trio.fail_after(CONNECT_SECONDS):
                await self.client.open()
        except trio.TooSlowError:
            raise ResourceFailed(f"{self.url.shown}: no connection within {CONNECT_SECONDS:g} s") from None
        except HttpError as error:
            raise ResourceFailed(f"{self.url.shown}: {error}") from error

    async def alive(self) -> bool:
        """Whether the server takes a connection."""
        try:
            await self._look()
        except ResourceFailed:
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        if self.client is not None:
            await self.client.aclose()


WEB_HOOK: Final = ResourceType(
    name="web_hook",
    make=WebHook,
    params=PARAMS,
    title=Words("WebHook", "WebHook"),
    description=Words("WebHook", "WebHook"),
    provider="emqx_web_hook",
)

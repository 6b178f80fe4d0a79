"""One of the questions to the web server: written out, sent, sent again when the connection failed."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_plus

import trio

from trioemqx.plugin import ClientInfo, Context, HttpAnswer, HttpClient, HttpError

from .settings import JSON, Config, Request, Template

RETRIES: Final = 2
PAUSE: Final = 0.1
"""Seconds before the first retry; twice as long before the next."""
UNREACHABLE: Final = 3
"""Questions in a row without an answer that raise the alarm."""
MAX_ANSWER: Final = 64 * 1024

Values = Mapping[str, bytes]
"""What placeholders stand for, by their letters."""


class Unsendable(Exception):
    """A value that is not UTF-8 has no place in JSON."""


def values_of(client: ClientInfo, password: bytes | None = None, access: str = "", topic: str = "") -> Values:
    """The placeholders of a client. What it does not have is empty."""
    texts = {
        "u": client.username or "",
        "c": client.clientid,
        "a": client.peerhost,
        "r": protocol(client),
        "p": str(client.sockport),
        "C": client.cn or "",
        "d": client.dn or "",
        "A": access,
        "t": topic,
        "m": client.mountpoint,
    }
    return {"P": password or b"", **{letter: text.encode("utf-8", "replace") for letter, text in texts.items()}}


def protocol(client: ClientInfo) -> str:
    """EMQX's names: `mqtt`, and those of gateways."""
    name = client.proto_name.lower()
    return "mqtt" if name in ("mqtt", "mqisdp") else name


def fill(template: Template, values: Values) -> bytes:
    """A template with its placeholders filled."""
    return b"".join(values[part] if index % 2 else part.encode() for index, part in enumerate(template))


class Server:
    """Asks one URL. An alarm tells when it has not answered several times in a row."""

    def __init__(self, request: Request, config: Config, tls: ssl.SSLContext | None, context: Context) -> None:
        self.client = HttpClient(
            request.url,
            pool_size=config.pool_size,
            timeout=config.timeout,
            connect_timeout=config.connect_timeout,
            headers=request.sent_headers().items(),
            tls=tls,
            server_name=config.ssl.server_name_indication,
            max_answer=MAX_ANSWER,
        )
        self.url = self.client.url.shown
        self.failures = 0
        self._method = request.method.upper()
        self._json = request.content_type == JSON
        self._templates = request.templates()
        self._context = context
        self._alarm = f"http_auth_unreachable/{self.url}"
        self._asked = context.metrics.counter(f"plugin.{context.name}.requests")
        self._failed = context.metrics.counter(f"plugin.{context.name}.failed")

    async def ask(self, values: Values, seconds: float) -> HttpAnswer | None:
        """The answer, None when there was none within `seconds`. Raises Unsendable."""
        target, body = self._written(values)
        self._asked.inc()
        problem = f"no answer within {seconds:g} s"
        with trio.move_on_after(seconds):
            for attempt in range(RETRIES + 1):
                try:
                    answer = await self.client.request(self._method, target, body=body)
                except HttpError as error:
                    problem = str(error)
                    if not error.again or attempt == RETRIES:
                        break
                    await trio.sleep(PAUSE * 2**attempt)
                else:
                    self.answered()
                    return answer
        self.failed(problem)
        return None

    def _written(self, values: Values) -> tuple[str, bytes]:
        """The request's target and its body."""
        filled = {name: fill(template, values) for name, template in self._templates.items()}
        if self._method == "POST" and self._json:
            try:
                texts = {name: value.decode() for name, value in filled.items()}
            except UnicodeDecodeError:
                raise Unsendable from None
            return "", json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode()
        form = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in filled.items())
        if self._method == "POST":
            return "", form.encode()
        target = self.client.url.target
        return (f"{target}{'&' if '?' in target else '?'}{form}" if form else target), b""

    def answered(self) -> None:
        """The server is there."""
        if self.failures >= UNREACHABLE:
            self._context.log.warning("%s answers again", self.url)
            self._context.alarms.clear(self._alarm)
        self.failures = 0

    def failed(self, problem: str) -> None:
        """A question has got no answer."""
        self.failures += 1
        self._failed.inc()
        self._context.log.error("%s gave no answer: %s", self.url, problem)
        if self.failures >= UNREACHABLE:
            details = {"plugin": self._context.name, "url": self.url, "error": problem}
            self._context.alarms.raise_(self._alarm, details)

"""Resources over TLS: real servers, certificates that come with the request, and those that are not there."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from rules_helpers import rule

from trioemqx.plugin import hookimpl
from trioemqx.services.certificates import ensure_self_signed
from trioemqx.testing import TestBroker, running, web_server
from trioemqx.types import Message


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ensure_self_signed(folder, ["127.0.0.1"])
    ensure_self_signed(folder / "other", ["127.0.0.1"])
    return folder


def sent(path: Path) -> dict[str, str]:
    """A file as it comes with a request."""
    return {"filename": path.name, "file": path.read_text("ascii")}


async def tried(broker: TestBroker, kind: str, config: dict[str, Any]) -> str:
    """What is said to a resource: nothing, or why it has no connection."""
    answer = await broker.api("POST", "/resources?test=true", {"type": kind, "config": config})
    return "" if answer.code == 0 else answer.json()["reason"]


@asynccontextmanager
async def far_broker(folder: Path) -> AsyncIterator[TestBroker]:
    files = {"keyfile": str(folder / "key.pem"), "certfile": str(folder / "cert.pem")}
    listener = {"ssl": {"test": {"bind": "127.0.0.1:0", "zone": "default", **files}}}
    async with running({"listener": listener, "zone": {"default": {}}}, listen=True) as broker:
        yield broker


class Heard:
    """What a broker gets on a topic `t`."""

    def __init__(self, broker: TestBroker) -> None:
        self.payloads: list[bytes] = []
        self.event = trio.Event()
        broker.node.hooks.register(self, "heard")

    @hookimpl
    def message_publish(self, message: Message) -> None:
        """A message is published."""
        if message.topic == "t":
            self.payloads.append(message.payload)
            self.event.set()


async def test_a_bridge_over_tls(certificates: Path) -> None:
    """EMQX's defaults name files that do not come with this broker; without them there is no client certificate."""
    async with far_broker(certificates) as far, running(listen=True) as near:
        config = {"address": f"127.0.0.1:{far.port}", "pool_size": 1, "clientid": "link", "ssl": True}
        ca, other = sent(certificates / "cacert.pem"), sent(certificates / "other" / "cacert.pem")
        assert await tried(near, "bridge_mqtt", config) == ""
        assert await tried(near, "bridge_mqtt", {**config, "verify": True, "cacertfile": ca}) == ""
        for wrong in ({"cacertfile": other}, {}):
            assert "certificate verify failed" in await tried(near, "bridge_mqtt", {**config, "verify": True, **wrong})
        assert "closed" in await tried(near, "bridge_mqtt", {**config, "ssl": False})
        missing = {**config, "certfile": str(certificates / "none.pem")}
        assert "no such file" in await tried(near, "bridge_mqtt", missing)
        body = {
            "type": "bridge_mqtt",
            "id": "b",
            "config": {**config, "mountpoint": "", "verify": True, "cacertfile": ca},
        }
        assert (await near.api("POST", "/resources", body)).data["config"]["certfile"] == "etc/certs/client-cert.pem"
        await rule(near, 'SELECT payload FROM "t"', {"name": "data_to_mqtt_broker", "params": {"$resource": "b"}})
        heard = Heard(far)
        near.node.publish(Message("t", b"x", 1))
        await heard.event.wait()
        assert heard.payloads == [b'{"payload":"x"}']


async def test_a_web_hook_over_tls(certificates: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    async with web_server(context) as server, running(listen=True) as broker:
        config = {"url": server.url, "verify": True, "cacertfile": sent(certificates / "cacert.pem")}
        assert server.url.startswith("https:")
        assert "certificate verify failed" in await tried(broker, "web_hook", {**config, "cacertfile": ""})
        wrong = {**config, "server_name_indication": "other.example"}
        assert "other.example" in await tried(broker, "web_hook", wrong)
        assert (await broker.api("POST", "/resources", {"type": "web_hook", "id": "w", "config": config})).code == 0
        params = {"$resource": "w", "body": "${payload}"}
        await rule(broker, 'SELECT payload FROM "t"', {"name": "data_to_webserver", "params": params})
        broker.node.publish(Message("t", b"x"))
        (request,) = await server.asked(1)
        assert request.body == b"x"

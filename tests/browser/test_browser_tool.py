"""The MQTT client of the dashboard: a real client over WebSocket, which a flood does not drown."""

from __future__ import annotations

import trio
from browser_foreign import EVIL, MARK
from browser_page import Page
from test_browser_foreign import TAKEN_FOR_HTML

from trioemqx.testing import TestBroker, make_publish
from trioemqx.types import Properties

KEPT = "async () => (await import('./app/mqtt_tool.js')).connections.get()[0].messages.length"
FLOOD = 3000


async def test_a_flood_is_asked_about_and_capped(dashboard: Page, broker: TestBroker) -> None:
    await dashboard.visit("mqtt-client")
    await dashboard.click("[data-connect]")
    await dashboard.label("Client ID", "from-a-browser")
    await dashboard.press("Enter")
    await dashboard.wait(".badge.ok")
    found = broker.node.find("from-a-browser")
    assert found is not None

    publisher = await broker.client(EVIL)
    properties = Properties()
    properties.user_property = [(EVIL, EVIL)]
    await subscribe(dashboard, "evil/#")
    await dashboard.wait(".sub-list li")
    await publisher.send(make_publish(f"evil/{EVIL}", EVIL.encode(), properties=properties))
    await dashboard.click(".stream button")
    await dashboard.wait("dialog[open] .payload-text")
    assert (await dashboard.text("dialog[open]")).count(MARK) >= 4  # topic, name and value of the property, payload
    assert await dashboard.evaluate(TAKEN_FOR_HTML) == []
    await dashboard.press("Escape")
    await dashboard.gone("dialog")

    await dashboard.click("[data-tree]")
    await dashboard.click(f".tree .leaf:has-text('{MARK}')")
    await dashboard.wait("dialog[open] .payload-text")
    assert await dashboard.evaluate(TAKEN_FOR_HTML) == []
    await dashboard.press("Escape")
    await dashboard.gone("dialog")
    assert "evil" in await dashboard.text(".tree")

    await subscribe(dashboard, "#")
    await dashboard.wait('dialog[open]:has-text("#")')
    await dashboard.press("Escape")
    await dashboard.gone("dialog")
    assert await dashboard.count(".sub-list li") == 1
    await dashboard.click(".card:has(.sub-list) button.primary")
    await dashboard.wait("dialog[open]")
    await dashboard.press("Enter")
    await dashboard.wait(".sub-list li:nth-child(2)")
    for number in range(FLOOD):
        await publisher.send(make_publish(f"flood/{number}", b"x" * 200))
    await publisher.ping()
    await dashboard.wait(".messages .notice.warn")
    assert await dashboard.evaluate(KEPT) <= 500
    assert await dashboard.count(".tree li") <= 301
    await dashboard.click("[data-tree]")
    assert 0 < await dashboard.count(".stream li") <= 200
    await dashboard.click(".messages [data-clear]")  # it still listens: the list is emptied
    await dashboard.wait(".messages .empty")


CONNECT = """async () => {
  const { api } = await import('./app/api.js');
  const tool = await import('./app/mqtt_tool.js');
  const [door] = (await api.get('settings/listener')).data.websocket;
  const will = { will_topic: 'wills/browser', will_payload: 'by accident', will_qos: 0 };
  const who = { version: 5, clientid: 'from-a-browser', clean: true, keepalive: 60 };
  await tool.connect({ host: location.hostname, port: door.port, path: door.path, ...who, ...will });
}"""
STATUS = """async wanted => {
  const [one] = (await import('./app/mqtt_tool.js')).connections.get();
  return one.status === wanted;
}"""
CLOSE = """async () => {
  const tool = await import('./app/mqtt_tool.js');
  tool.close(tool.connections.get()[0]);
}"""


async def test_who_disconnects_has_no_accident(dashboard: Page, broker: TestBroker) -> None:
    """The will is not published."""
    watcher = await broker.client("watcher", subscribe="wills/#")
    await dashboard.visit("mqtt-client")
    await dashboard.evaluate(CONNECT)
    await dashboard.do("until", code=STATUS, argument="connected")
    assert broker.node.find("from-a-browser") is not None
    await dashboard.evaluate(CLOSE)
    while broker.node.find("from-a-browser") is not None:
        await trio.sleep(0.02)
    assert await watcher.nothing(0.2)


async def subscribe(page: Page, name: str) -> None:
    await page.label("Filter", name)
    await page.press("Enter")

"""The pictures of `docs/images`, made anew with `--screenshots` and collected only then: a small plant, looked at."""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import quote

import trio
from browser_page import AUTH, Page
from test_browser_walk import write

from trioemqx.testing import Client, TestBroker

FOLDER = Path(__file__).parents[2] / "docs" / "images"
LARGEST = 200_000
SECONDS = 75
"""Of figures before the overview is taken."""
SQL = 'SELECT payload.t AS t, clientid FROM "sensors/#" WHERE payload.t > 20'
SAMPLE = '{"topic": "sensors/boiler", "clientid": "boiler", "payload": "{\\"t\\": 91.5}"}'
BODIES = {
    "/banned": {"as": "peerhost", "who": "192.0.2.66", "reason": "port scan"},
    "/auth_username": {"username": "panel", "password": "a password"},
    "/topic-metrics": {"topic": "sensors/boiler"},
    "/rules": {
        "rawsql": SQL,
        "description": "Hot sensors",
        "actions": [{"name": "republish", "params": {"target_topic": "hot/${clientid}", "target_qos": 0}}],
    },
}


async def test_pictures(page: Page, broker: TestBroker) -> None:
    FOLDER.mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery:
        await settle_in(broker, nursery)
        await page.do("open", width=1280, height=800)
        await page.login()
        await page.visit("overview")
        await trio.sleep(SECONDS)
        await take(page, "overview")
        await page.visit("clients")
        await take(page, "clients")
        await page.visit(f"retained?topic={quote('plant/+/state')}")
        await page.click("[data-view]")
        await page.wait(".payload-text")
        await take(page, "retained")
        await page.visit("rules/new")
        await write(page, "SQL", SQL)
        await write(page, "Sample", SAMPLE)
        await page.press("Control+Enter")
        await page.wait("[data-result] pre")
        await take(page, "rule")
        await page.visit("plugins")
        await take(page, "plugins")
        await page.do("open", width=390, height=844, dark=True, language="zh-CN")
        await page.login()
        await page.visit("overview")
        await trio.sleep(2)
        await take(page, "phone")
        nursery.cancel_scope.cancel()


async def take(page: Page, name: str) -> None:
    await page.settled()
    file = FOLDER / f"{name}.png"
    await page.do("picture", file=str(file))
    assert file.stat().st_size < LARGEST


async def settle_in(broker: TestBroker, nursery: trio.Nursery) -> None:
    for path, body in BODIES.items():
        assert (await broker.api("POST", path, body, listener="dashboard", auth=AUTH)).code == 0
    for name in ("press", "mixer", "boiler", "oven", "conveyor-1", "conveyor-2", "door-north", "door-south"):
        client = await broker.client(name, username="plant", version=4 if name.startswith("conveyor") else 5)
        await client.publish(f"plant/{name}/state", b'{"state": "running", "load": 0.71}', retain=True, qos=1)
        nursery.start_soon(measure, client, name)
    screen = await broker.client("screen-hall", username="panel-user", subscribe="sensors/#")
    nursery.start_soon(read, screen)
    sleeper = await broker.client("tablet", username="maintenance", subscribe="alarms/#", qos=1, expiry=86400)
    await sleeper.disconnect()
    for number in range(12):
        await client.publish(f"alarms/{number}", b'{"text": "door open"}', qos=1)


async def measure(client: Client, name: str) -> None:
    step = 0
    while True:
        await client.publish(f"sensors/{name}", b'{"t": %.1f}' % (18 + 8 * math.sin(step / 9)))
        step += 1
        await trio.sleep(0.15 + 0.1 * math.sin(step / 25 + len(name)))


async def read(client: Client) -> None:
    while True:
        await client.receive_publish()

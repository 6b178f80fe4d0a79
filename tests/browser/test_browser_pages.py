"""Every page of the menu opens: wide and narrow, light and dark, in both languages, loaded and not."""

from __future__ import annotations

import pytest
from browser_page import AUTH, BrowserError, Page

from trioemqx.testing import TestBroker

LOOKS = {
    "wide, light, English": {"width": 1280, "height": 900},
    "phone, dark, Chinese": {"width": 390, "height": 844, "dark": True, "language": "zh-CN"},
}
WIDTHS = {"wide, light, English": (1024, 1280), "phone, dark, Chinese": (390,)}
MENU = "() => [...document.querySelectorAll('.nav-link')].map(link => link.getAttribute('href').slice(2))"
TOO_WIDE = """() => [document.scrollingElement.scrollWidth - innerWidth,
  ...[...document.querySelectorAll('.table-box')].map(box => box.scrollWidth - box.clientWidth),
].filter(more => more > 0)"""
FITS = f"width => innerWidth === width && ({TOO_WIDE})().length === 0"
"""The page is no wider than the window, and no table wider than its box."""
LONG = "gateway-hall-3-" + "0123456789" * 18
NAME = LONG[:128]
BODIES = {
    "/banned": {"as": "clientid", "who": LONG, "reason": LONG, "by": LONG},
    "/auth_username": {"username": LONG, "password": "x"},
    "/acl": {"username": LONG, "topic": LONG, "action": "pub", "access": "deny"},
    "/acl_roles": {
        "name": NAME,
        "description": LONG,
        "rules": [{"topic": LONG, "action": "pub", "access": "deny"}],
    },
    "/acl_groups": {"name": NAME, "description": LONG, "priority": -1000000, "roles": [NAME]},
    f"/acl_groups/{NAME}/members": {"clientid": LONG},
    f"/acl_roles/{NAME}/members": {"username": LONG},
    "/topic-metrics": {"topic": LONG},
    "/apps": {"app_id": LONG, "name": LONG, "desc": LONG, "role": "publisher"},
    "/users": {"username": "u" * 60, "password": "some password", "tags": LONG},
    "/trace": {"name": "t" * 60, "type": "clientid", "clientid": LONG},
    "/resources": {"id": LONG, "type": "web_hook", "description": LONG, "config": {"url": "http://127.0.0.1:9/"}},
    "/rules": {"id": LONG, "rawsql": f'SELECT * FROM "{LONG}"', "description": LONG, "actions": []},
}
DETAILS = ["clients/pump-1", "clients/nobody", "nodes/emqx%40127.0.0.1", "rules/new", "plugins/emqx_retainer"]
TABS = ["access?tab=roles", "access?tab=groups", f"access?tab=roles&role={NAME}", f"access?tab=groups&group={NAME}"]


async def fill(broker: TestBroker) -> None:
    """Something on every page, with names that are too long for it."""
    await broker.client("pump-1", subscribe="a/#")
    long = await broker.client(LONG, username=LONG, subscribe=f"{LONG}/#", qos=1)
    await long.subscribe(f"$share/{LONG}/{LONG}")
    for topic in ("kept/" + "long/" * 30, f"$delayed/60000/{LONG}"):
        await long.publish(topic, b"x", retain=True, qos=1)
    broker.node.alarms.activate(f"queue_full/{LONG}", {"clientid": LONG, "length": 12345678})
    for path, body in BODIES.items():
        answer = await broker.api("POST", path, body, listener="dashboard", auth=AUTH)
        assert answer.code == 0, (path, answer.body)


@pytest.mark.parametrize("look", LOOKS)
async def test_every_page_opens(look: str, page: Page, broker: TestBroker) -> None:
    await fill(broker)
    await page.do("open", **LOOKS[look])
    await page.login()
    await page.visit()
    menu = await page.evaluate(MENU)
    assert len(menu) == len(set(menu)) >= 20
    titles = set()
    for path in [*menu, *DETAILS, *TABS]:
        await page.visit(path)
        titles.add(await page.text("h1"))
        assert await page.count("main [role=alert]") == 0, path
        for width in WIDTHS[look]:
            await page.do("resize", width=width, height=900)
            try:
                await page.do("until", code=FITS, argument=width)
            except BrowserError:
                pytest.fail(f"{path} does not fit {width} pixels: {await page.evaluate(TOO_WIDE)} more are needed")
        assert await page.complaints() == [], path
    assert len(titles) > len(menu) - 2


NO_ALERT_EVEN_FOR_A_MOMENT = """() => {
  const look = () => { if (document.querySelector('main [role=alert]')) console.error('an alert was shown') }
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true })
}"""
"""The browser complains of any."""


class TestWithoutModules:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"modules": {"load": []}, "plugins": {"load": []}}

    async def test_pages_offer_to_load_what_they_are_about(self, dashboard: Page) -> None:
        await dashboard.visit()
        await dashboard.evaluate(NO_ALERT_EVEN_FOR_A_MOMENT)
        for path in ("retained", "delayed", "topic-metrics", "slow-subscriptions", "trace", "access"):
            await dashboard.visit(path)
            assert await dashboard.count("main [role=alert]") == 0, path
            assert all("404" in one for one in await dashboard.complaints())  # the API's, which browsers report
            await dashboard.click(".empty .btn.primary")
            await dashboard.gone(".empty .btn.primary")
            await dashboard.settled()
            assert await dashboard.count("main [role=alert]") == 0, path
            assert await dashboard.complaints() == [], path

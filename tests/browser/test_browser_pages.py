"""Every page of the menu opens: wide and narrow, light and dark, in both languages, loaded and not."""

from __future__ import annotations

import pytest
from browser_page import Page

from trioemqx.testing import TestBroker

LOOKS = {
    "wide, light, English": {"width": 1280, "height": 900},
    "phone, dark, Chinese": {"width": 390, "height": 844, "dark": True, "language": "zh-CN"},
}
MENU = "() => [...document.querySelectorAll('.nav-link')].map(link => link.getAttribute('href').slice(2))"
WIDER = "() => document.scrollingElement.scrollWidth - innerWidth"
DETAILS = ["clients/pump-1", "clients/nobody", "nodes/emqx%40127.0.0.1", "rules/new", "plugins/emqx_retainer"]


@pytest.mark.parametrize("look", LOOKS)
async def test_every_page_opens(look: str, page: Page, broker: TestBroker) -> None:
    client = await broker.client("pump-1", subscribe="a/#")
    await client.publish("kept/" + "long/" * 30, b"x", retain=True, qos=1)
    await page.do("open", **LOOKS[look])
    await page.login()
    await page.visit()
    menu = await page.evaluate(MENU)
    assert len(menu) == len(set(menu)) >= 20
    titles = set()
    for path in [*menu, *DETAILS]:
        await page.visit(path)
        titles.add(await page.text("h1"))
        assert await page.count("main [role=alert]") == 0, path
        assert await page.evaluate(WIDER) <= 0, f"{path} is wider than the window"
        assert await page.complaints() == [], path
    assert len(titles) > len(menu) - 2


class TestWithoutModules:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"modules": {"load": []}, "plugins": {"load": []}}

    async def test_pages_offer_to_load_what_they_are_about(self, dashboard: Page) -> None:
        for path in ("retained", "delayed", "topic-metrics", "slow-subscriptions", "trace", "access"):
            await dashboard.visit(path)
            assert await dashboard.count("main [role=alert]") == 0, path
            assert all("404" in one for one in await dashboard.complaints())  # the API's, which browsers report
            await dashboard.click(".empty .btn.primary")
            await dashboard.gone(".empty .btn.primary")
            await dashboard.settled()
            assert await dashboard.count("main [role=alert]") == 0, path
            assert await dashboard.complaints() == [], path

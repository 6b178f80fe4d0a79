"""What an operator does in the dashboard, done by a browser: each step is seen at the broker, or at a client of it."""

from __future__ import annotations

import pytest
import trio
from browser_page import PASSWORD, Page

from trioemqx.testing import TestBroker


class TestTheFirstLogin:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"dashboard": {"listener": {"http": "127.0.0.1:0"}}}

    async def test_the_well_known_password_has_to_be_changed(self, page: Page) -> None:
        await page.visit()
        await page.label("User name", "admin")
        await page.label("Password", "public")
        await page.press("Enter")
        await page.wait("h1:text-is('Choose a password')")
        await page.visit("clients")
        assert await page.text("h1") == "Choose a password"
        await page.label("Password now", "public")
        await page.label("New password", PASSWORD)
        await page.label("New password again", PASSWORD)
        await page.press("Enter")
        await page.wait("h1:text-is('Clients')")
        users = page.broker.node.dashboard_users
        assert not users.shipped("admin")

    async def test_a_wrong_password_is_said_to_be_wrong(self, page: Page) -> None:
        await page.visit()
        await page.label("User name", "admin")
        await page.label("Password", "secret")
        await page.press("Enter")
        await page.wait("[role=alert]")
        assert [one for one in await page.complaints() if "401" not in one] == []


async def test_a_client_is_seen_and_kicked_by_keyboard(dashboard: Page, broker: TestBroker) -> None:
    pump = await broker.client("pump-1", username="operator", subscribe="pumps/#")
    stays = await broker.client("pump-2")
    await dashboard.visit("clients")
    row = 'tr:has(a:text-is("pump-1"))'
    assert "operator" in await dashboard.text(row)
    await dashboard.do("focus", at=f"{row} [data-kick]")
    await dashboard.press("Enter")
    await dashboard.wait("dialog[open]")
    await dashboard.press("Escape")
    await dashboard.gone("dialog")
    await pump.ping()
    await dashboard.press("Enter")  # the focus is back on the button
    await dashboard.wait("dialog[open]")
    await dashboard.press("Enter")
    await pump.closed()
    await dashboard.gone(row)
    await stays.ping()

"""Roles and groups: written in the browser, felt by a client over TCP."""

from __future__ import annotations

from browser_page import AUTH, Page

from trioemqx.testing import Client, TestBroker

DENIED = 0x87
RULE = "section.role-rules tbody tr"


async def may(client: Client, topic: str) -> bool:
    return await client.publish(topic, b"x", qos=1) != DENIED


async def test_a_role_and_a_group_decide_about_a_connected_client(dashboard: Page, broker: TestBroker) -> None:
    assert broker.port, "a real port"
    meter = await broker.client("meter-1", username="plant")
    assert await may(meter, "meters/meter-1/kwh")

    await dashboard.visit("access?tab=roles")
    await dashboard.click(".filters .btn.primary")
    await dashboard.label("Name", "Meter & more")
    await dashboard.press("Enter")
    await dashboard.wait("h2:has-text('Meter & more')")
    await dashboard.click("[data-add-rule]")
    await dashboard.fill(f"{RULE}:nth-child(1) input", "#")
    await dashboard.do("choose", at=f"{RULE}:nth-child(1) select >> nth=1", value="deny")
    await dashboard.click("[data-add-rule]")
    await dashboard.wait(f"{RULE}:nth-child(2) input:focus")
    await dashboard.do("type", text="meters/%c/#")
    await dashboard.click("[data-save-rules]")
    await dashboard.wait(".toast.ok:has-text('Saved')")
    assert await may(meter, "meters/meter-1/kwh"), "nobody has the role"

    await dashboard.visit("access?tab=groups")
    await dashboard.click(".filters .btn.primary")
    await dashboard.label("Name", "all/meters")
    await dashboard.press("Enter")
    await dashboard.wait("h2:has-text('all/meters')")
    await dashboard.label("Add a role", "no such role")
    await dashboard.press("Enter")
    await dashboard.wait("[role=alert]:has-text('there is no role no such role')")
    await dashboard.label("Add a role", "Meter & more")
    await dashboard.press("Enter")
    await dashboard.wait(".group-roles td a:text-is('Meter & more')")
    await dashboard.click("[data-add-members]")
    await dashboard.do("choose", at="dialog select", value="username")
    await dashboard.label("Names", "plant\nsomebody else\n")
    await dashboard.click("dialog .form-foot .btn.primary")
    await dashboard.wait("[data-members] td:has-text('somebody else')")
    assert not await may(meter, "meters/meter-1/kwh"), "the denial comes first"

    await dashboard.click(".group-roles td a")  # to the role: the second rule is moved up by keyboard
    await dashboard.wait(RULE)
    await dashboard.do("focus", at=f"{RULE}:nth-child(2) [data-move=up]")
    await dashboard.press("Enter")
    assert not await may(meter, "meters/meter-1/kwh"), "not saved"
    await dashboard.click("[data-save-rules]")
    await dashboard.gone(".role-rules .badge")
    assert await may(meter, "meters/meter-1/kwh")
    assert not await may(meter, "meters/meter-2/kwh")

    await dashboard.click(".roster-head .btn.danger")  # a role that is in use stays
    await dashboard.click("dialog .btn.danger")
    await dashboard.wait(".toast.danger:has-text('groups have this role: all/meters')")

    await dashboard.visit("access?tab=groups")
    await dashboard.click("td a:text-is('all/meters')")
    await dashboard.wait("[data-members] td:has-text('plant')")
    await dashboard.click("[data-members] tr:has-text('plant') .danger-text")
    await dashboard.press("Escape")
    await dashboard.gone("dialog")
    assert not await may(meter, "meters/meter-2/kwh"), "it only asked"
    await dashboard.click("[data-members] tr:has-text('plant') .danger-text")
    await dashboard.wait("dialog[open]")
    await dashboard.press("Enter")
    await dashboard.gone("[data-members] tr:has-text('plant')")
    assert await may(meter, "meters/meter-2/kwh")
    assert await dashboard.complaints() == []


async def test_members_are_shown_a_page_at_a_time(dashboard: Page, broker: TestBroker) -> None:
    async def post(path: str, body: object) -> None:
        assert (await broker.api("POST", path, body, listener="dashboard", auth=AUTH)).code == 0

    await post("/acl_groups", {"name": "meters", "priority": 5})
    await post("/acl_groups/meters/members", [{"clientid": f"meter-{number:04}"} for number in range(1200)])
    await dashboard.visit("access?tab=groups")
    await dashboard.wait("tr:has-text('meters'):has-text('1,200')")
    await dashboard.fill(".filters input >> nth=1", "nobody")
    await dashboard.gone("tr:has-text('meters')")
    await dashboard.fill(".filters input >> nth=1", "meter-0700")
    await dashboard.click("td a:text-is('meters')")
    await dashboard.wait("td:has-text('meter-0049')")
    assert await dashboard.count("[data-members] tbody tr") == 50
    await dashboard.click("[data-members] .pager .btn >> nth=1")
    await dashboard.wait("td:has-text('meter-0099')")
    await dashboard.fill("[data-members] .filters input", "1199")
    await dashboard.wait("td:has-text('meter-1199')")
    await dashboard.gone("td:has-text('meter-0099')")
    assert await dashboard.count("[data-members] tbody tr") == 1
    await dashboard.click(".roster-head .btn.danger")
    assert "1,200 members" in await dashboard.text("dialog")
    await dashboard.press("Enter")
    await dashboard.wait(".empty:has-text('No group yet')")
    assert broker.node.plugins.plugin("emqx_auth_mnesia").roster.members.held == {}  # type: ignore[attr-defined]

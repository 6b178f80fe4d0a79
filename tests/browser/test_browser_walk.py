"""What an operator does in the dashboard, done by a browser: each step is seen at the broker, or at a client of it."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path

import pytest
import trio
from browser_page import AUTH, PASSWORD, Page

sys.path.append(str(Path(__file__).parents[1] / "plugins"))

from plugin_zips import plugin_zip

from trioemqx.testing import Client, TestBroker


class TestTheFirstLogin:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"dashboard": {"listener": {"http": "127.0.0.1:0"}}}

    async def test_the_well_known_password_has_to_be_changed(self, page: Page) -> None:
        await page.visit()
        await page.label("User name", "admin")
        await page.label("Password", "secret")
        await page.press("Enter")
        await page.wait("[role=alert]")
        assert [one for one in await page.complaints() if "401" not in one] == []

        await page.label("Password", "public")
        await page.press("Enter")
        await page.wait("h1:text-is('Choose a password')")
        await page.visit("clients")
        assert await page.text("h1") == "Choose a password"
        await page.label("Password now", "public")
        await page.label("New password", PASSWORD)
        await page.label("New password again", "something else")
        await page.press("Enter")
        assert "differ" in await page.text("[role=alert]")
        assert page.broker.node.dashboard_users.shipped("admin")

        await page.label("New password again", PASSWORD)
        await page.press("Enter")
        await page.wait("h1:text-is('Clients')")
        assert not page.broker.node.dashboard_users.shipped("admin")


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


async def test_a_plugin_is_reloaded(dashboard: Page, broker: TestBroker) -> None:
    before = broker.node.plugins.live["emqx_retainer"]
    await dashboard.visit("plugins")
    await dashboard.click('tr:has(a:text-is("emqx_retainer")) [data-reload]')
    await dashboard.wait(".toast.ok")
    assert broker.node.plugins.live["emqx_retainer"] is not before


class TestAnUpload:
    @pytest.fixture
    def broker_config(self, tmp_path: Path) -> dict[str, object]:
        return {"plugins": {"upload": True}, "node": {"data_dir": str(tmp_path / "data")}}

    async def test_a_plugin_is_uploaded_by_keyboard(self, dashboard: Page, broker: TestBroker) -> None:
        """The hash is shown before the question, and nothing is kept before the answer."""
        raw = plugin_zip("allow_list", "1.0", ("allow_list/README.md", "<b>Allow</b>"))
        row = 'tr:has(a:text-is("allow_list"))'
        await dashboard.visit("plugins")
        await dashboard.do("focus", at="[data-upload]")
        await dashboard.press("Enter")
        await dashboard.do("pick", at=".drop input", base64=base64.b64encode(b"no zip").decode())
        await dashboard.wait("dialog [role=alert]")
        await dashboard.do("pick", at=".drop input", base64=base64.b64encode(raw).decode())
        await dashboard.wait("[data-keep]")
        assert hashlib.sha256(raw).hexdigest() in await dashboard.text("[data-hash]")
        for answer in ("Escape", "Enter"):
            assert "allow_list" not in broker.node.plugins.catalogue.uploaded
            await dashboard.do("focus", at="[data-keep]")
            await dashboard.press("Enter")
            await dashboard.wait('dialog h2:text-is("Keep allow_list?")')
            await dashboard.press(answer)
            await dashboard.gone('dialog h2:text-is("Keep allow_list?")')
        await dashboard.wait(f'{row} .badge:text-is("uploaded")')
        await dashboard.gone("dialog")
        assert "allow_list" not in broker.node.plugins.live
        await dashboard.click(f"{row} [data-load]")
        await dashboard.wait(f"{row} [data-reload]")
        assert await dashboard.count(f"{row} [data-remove]") == 0
        await broker.node.plugins.unload("allow_list")
        await dashboard.visit("plugins/allow_list")
        await dashboard.click("[data-readme]")
        assert await dashboard.text("dialog pre") == "<b>Allow</b>"
        await dashboard.visit("plugins")
        await dashboard.click(f"{row} [data-remove]")
        await dashboard.wait("dialog[open]")
        await dashboard.press("Enter")
        await dashboard.gone(row)


async def test_where_uploads_are_off_the_page_says_how_to_switch_them_on(dashboard: Page) -> None:
    await dashboard.visit("plugins")
    await dashboard.click("[data-upload]")
    await dashboard.wait("[data-how]")
    assert "plugins.upload = true" in await dashboard.text("[data-how]")
    assert await dashboard.count(".drop") == 0


async def test_a_part_of_the_broker_is_unloaded_and_loaded(dashboard: Page, broker: TestBroker) -> None:
    row = 'tr:has(a:text-is("emqx_rule_engine"))'
    await dashboard.visit("plugins")
    assert await dashboard.count('tr:has(a:text-is("emqx_management")) button') == 0
    await dashboard.click(f"{row} .danger-text")
    await dashboard.wait("dialog[open]")
    await dashboard.press("Enter")
    await dashboard.wait(f"{row} [data-load]")
    assert not broker.node.plugins.built_in["emqx_rule_engine"].active
    for path in ("rules", "resources"):
        await dashboard.visit(path)
        await dashboard.wait(".empty .btn.primary")
    await dashboard.click(".empty .btn.primary")
    await dashboard.gone(".empty .btn.primary")
    assert broker.node.plugins.built_in["emqx_rule_engine"].active
    assert all("404" in one for one in await dashboard.complaints())  # what the API answers meanwhile


async def test_a_rule_is_written_and_tried(dashboard: Page, broker: TestBroker) -> None:
    hot = await broker.client("hot", subscribe="hot/#")
    await dashboard.visit("rules/new")
    await write(dashboard, "SQL", 'SELECT payload.t AS t, clientid FROM "sensors/#" WHERE payload.t > 20')
    context = '{"topic": "sensors/1", "clientid": "here", "payload": "{\\"t\\": 25}"}'
    await write(dashboard, "Sample", context)
    await dashboard.press("Control+Enter")
    await dashboard.wait("[data-result] pre")
    assert '"t": 25' in await dashboard.text("[data-result] pre")
    await write(dashboard, "Sample", context.replace("25", "15"))
    await dashboard.click("[data-run-test]")
    await dashboard.gone("[data-result] pre")
    for code, name in (("zh", "新建规则"), ("en", "New rule")):  # nothing of it is lost in another language
        await dashboard.click(f"[data-language={code}]")
        await dashboard.wait(f"h1:text-is('{name}')")
    await dashboard.wait(".CodeMirror-code:has-text('WHERE payload.t > 20')")

    await dashboard.do("choose", at="[data-add-action='0']", value="republish")
    await dashboard.label("Target Topic", "hot/${clientid}")
    await dashboard.label("Payload Template", "${t}")
    await dashboard.label("User Properties", '{"from": "${clientid}"}')
    await dashboard.click("[data-save]")
    await dashboard.wait("h1:has-text('rule:')")
    sensor = await broker.client("kitchen")
    await sensor.publish("sensors/1", b'{"t": 15}', qos=1)
    await sensor.publish("sensors/1", b'{"t": 30}', qos=1)
    packet = await hot.receive_publish()
    assert (packet.topic, packet.payload) == ("hot/kitchen", b"30")
    assert packet.properties is not None
    assert packet.properties.user_property == [("from", "kitchen")]
    await dashboard.visit("rules")
    row = await dashboard.do("texts", at="tbody td.num")
    assert row[:2] == ["2", "1"]  # matched, passed


async def write(page: Page, label: str, text: str) -> None:
    """Put text into an editor, as one does."""
    await page.do("focus", at=f'.CodeMirror [aria-label="{label}"]')
    await page.press("Control+a")
    await page.do("type", text=text)
    await page.press("Escape")


async def test_a_retained_message_is_read_and_deleted(dashboard: Page, broker: TestBroker) -> None:
    writer = await broker.client("writer")
    await writer.publish("home/kitchen/light", b'{"on": true}', retain=True, qos=1)
    await writer.publish("home/kitchen/heat", b"\x00\xff", retain=True, qos=1)
    await dashboard.visit("retained")
    await dashboard.fill("input[type=search]", "home/+/light")
    await dashboard.gone('tr:has-text("home/kitchen/heat")')
    row = 'tr:has-text("home/kitchen/light")'
    await dashboard.click(f"{row} [data-view]")
    await dashboard.wait('.payload-text:has-text("true")')
    await dashboard.click(".dialog-foot .btn.danger")
    await dashboard.click('dialog:has-text("home/kitchen/light") .btn.danger[data-autofocus]')
    await dashboard.gone(row)
    late = await broker.client("late", subscribe="home/#")
    assert (await late.message())[0] == "home/kitchen/heat"
    assert await late.nothing(0.2)


async def test_old_retained_messages_are_deleted_by_filter(dashboard: Page, broker: TestBroker) -> None:
    """What will go is named and counted first."""
    writer = await broker.client("writer")
    for number in range(12):
        await writer.publish(f"tele/{number}/LWT", b"Offline", retain=True, qos=1)
    await dashboard.visit("retained?topic=tele/%2B/LWT")
    await dashboard.click(".filters .btn:text-is('Delete by filter')")
    await dashboard.label("Older than", "30")
    await dashboard.press("Enter")
    await dashboard.wait(".toast.warn")  # none is that old
    await dashboard.label("Older than", "")
    await dashboard.press("Enter")
    await dashboard.wait(".preview")
    asked = await dashboard.text("dialog:has(.preview)")
    assert "12 retained messages match tele/+/LWT" in asked
    assert "and 2 more" in asked
    assert await dashboard.count(".preview li") == 10
    await dashboard.press("Enter")
    await dashboard.wait(".table-box .empty")
    late = await broker.client("late", subscribe="tele/#")
    assert await late.nothing(0.2)


async def test_a_chart_moves(dashboard: Page, broker: TestBroker) -> None:
    await dashboard.visit("overview")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chatter, await broker.client("sensor"))
        await dashboard.wait(".chart-box .u-over")
        points = "(least) => Number(document.querySelector('.chart-box').dataset.points) >= least"
        seen = await dashboard.evaluate("() => Number(document.querySelector('.chart-box').dataset.points)")
        await dashboard.do("until", code=points, argument=seen + 2)
        rate = "() => parseFloat(document.querySelector('.figure strong').innerText) > 0"
        await dashboard.do("until", code=rate)
        nursery.cancel_scope.cancel()


async def chatter(client: Client) -> None:
    while True:
        await client.publish("sensors/1", b"21")
        await trio.sleep(0.02)


async def test_the_language_and_the_colours_are_switched_and_kept(dashboard: Page) -> None:
    await dashboard.visit("clients")
    await dashboard.click("[data-language=zh]")
    await dashboard.wait("h1:text-is('客户端')")
    background = (
        "() => getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).colorScheme"
    )
    light = await dashboard.evaluate(background)
    await dashboard.click(".bar .btn.icon.ghost:not(.burger)")
    dark = await dashboard.evaluate(background)
    assert light != dark
    await dashboard.do("goto", url=f"{dashboard.url}?again#/topics")
    await dashboard.wait("h1:text-is('主题')")
    assert await dashboard.evaluate("() => document.documentElement.lang") == "zh-CN"
    await dashboard.visit("settings?q=mqtt.max_packet_size")
    assert "MQTT 报文的最大长度" in await dashboard.text("tbody td")
    await dashboard.click("tbody .row-actions .btn")
    await dashboard.label("值", "as large as it likes")
    await dashboard.press("Enter")
    assert "应为大小" in await dashboard.text("dialog [role=alert]")
    await dashboard.press("Escape")
    await dashboard.visit("plugins/emqx_auth_mnesia")
    assert "用户数上限" in await dashboard.text("main form")
    assert await dashboard.evaluate(background) == dark


async def test_clients_by_the_time_of_their_connection(dashboard: Page, broker: TestBroker) -> None:
    await broker.client("pump-1")
    await dashboard.visit("clients?since=300")
    await dashboard.wait('a:text-is("pump-1")')
    await dashboard.visit("clients?since=-86400")
    await dashboard.gone('a:text-is("pump-1")')
    await dashboard.wait(".table-box .empty")


class TestWhoDecides:
    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"modules": {"load": ["emqx_mod_acl_internal"]}, "plugins": {"load": ["emqx_auth_mnesia"]}}

    async def test_the_order_is_changed(self, dashboard: Page, broker: TestBroker) -> None:
        await dashboard.visit("access?tab=chain")
        card = "section:has(h2:text-is('Access to topics'))"
        row = f"{card} tbody tr"
        found = await dashboard.do("texts", at=f"{row} td.lead")
        assert found == ["emqx_auth_mnesia", "emqx_mod_acl_internal"]
        await dashboard.do("focus", at="[data-move='acl_order emqx_mod_acl_internal up']")
        await dashboard.press("Enter")
        await dashboard.wait(f"{row}:first-child:has-text('emqx_mod_acl_internal')")
        assert broker.node.config.acl_order == ("emqx_mod_acl_internal", "emqx_auth_mnesia")
        await dashboard.click(f"{card} .card-head .btn")  # what was saved is forgotten
        await dashboard.wait(f"{row}:first-child:has-text('emqx_auth_mnesia')")
        assert broker.node.config.acl_order is None


async def test_the_file_for_a_diagnosis_has_no_secrets(dashboard: Page, broker: TestBroker) -> None:
    config = {"url": "http://bob:hush@127.0.0.1:9/", "headers": {"x": "hush-hush"}}
    body = {"id": "hook", "type": "web_hook", "config": config}
    assert (await broker.api("POST", "/resources", body, listener="dashboard", auth=AUTH)).code == 0
    await dashboard.visit("nodes")
    file = await dashboard.do("download", at="[data-diagnostics]")
    found = json.loads(file["text"])
    assert file["name"].startswith("trioemqx-diagnostics-")
    assert found["resources"][0]["id"] == "hook"
    settings = {row["key"]: row["value"] for row in found["configs"]}
    assert settings["dashboard.default_user.password"] == "******"
    assert settings["mqtt.max_packet_size"]
    assert [part for part in found.values() if isinstance(part, dict) and "error" in part] == []
    assert "hush" not in file["text"]


async def test_a_trace_is_read_and_saved(dashboard: Page, broker: TestBroker) -> None:
    await dashboard.visit("trace")
    await dashboard.click(".page-head .btn.primary")
    await dashboard.label("Name", "of-a-pump")
    await dashboard.label("Client ID", "pump-1")
    await dashboard.press("Enter")
    row = 'tr:has-text("of-a-pump")'
    await dashboard.wait(row)
    await broker.client("pump-1")
    await dashboard.click(f"{row} .btn:text-is('View')")
    while "client.connected" not in await dashboard.text("dialog"):  # lines are written a little later
        await dashboard.click("dialog .dialog-foot .btn")
    await dashboard.press("Escape")
    await dashboard.gone("dialog")
    file = await dashboard.do("download", at=f"{row} .btn:text-is('Download')")
    assert file["name"] == "of-a-pump.zip"
    assert file["text"].startswith("PK")


async def test_an_application_gets_a_role_and_another_one(dashboard: Page, broker: TestBroker) -> None:
    apps = broker.node.applications
    await dashboard.visit("applications")
    await dashboard.click("main .btn.primary")
    await dashboard.label("AppID", "tool")
    await dashboard.label("Name", "Tool")
    assert await dashboard.evaluate("() => document.querySelector('.dialog select').value") == "administrator"
    await dashboard.do("choose", at=".dialog select", value="viewer")
    await dashboard.click(".dialog .btn.primary")
    await dashboard.wait(".secret")
    assert apps.role("tool") == "viewer"
    await dashboard.click(".dialog .btn.primary")
    await dashboard.wait("tr:has-text('tool') .badge:text-is('Viewer')")
    await dashboard.click("tr:has-text('tool') .btn:text-is('Edit')")
    assert await dashboard.evaluate("() => document.querySelector('.dialog select').value") == "viewer"
    await dashboard.do("choose", at=".dialog select", value="publisher")
    await dashboard.click(".dialog .btn.primary")
    await dashboard.wait("tr:has-text('tool') .badge:text-is('Publisher')")
    app = apps.find("tool")
    assert app is not None
    assert (app.role, app.name, app.desc) == ("publisher", "Tool", "")


async def test_a_module_is_set_and_unloaded_on_its_card(dashboard: Page, broker: TestBroker) -> None:
    await dashboard.visit("modules")
    card = ".module:has-text('emqx_mod_delayed')"
    assert await dashboard.text(f"{card} .badge") == "Running"
    assert "$delayed/60/a/b" in await dashboard.text(f"{card} .module-text")
    await dashboard.do("focus", at=f"{card} [data-settings]")
    await dashboard.press("Enter")
    await dashboard.fill(".dialog .field:has-text('max delayed messages') input", "77")
    await dashboard.click(".dialog .btn.primary")
    await dashboard.wait(".dialog .badge:text-is('saved')")
    assert broker.node.plugins.live["emqx_mod_delayed"].instance.config.max_delayed_messages == 77
    await dashboard.press("Escape")
    await dashboard.gone(".dialog")
    await dashboard.click(f"{card} .btn:text-is('Unload')")
    await dashboard.click(".dialog .btn.danger")
    await dashboard.wait(f"{card} [data-load]")
    assert "emqx_mod_delayed" not in broker.node.plugins.live
    assert await dashboard.count(f"{card} [data-settings]") == 0

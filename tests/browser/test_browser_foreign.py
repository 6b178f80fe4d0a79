"""Nothing that clients or other people wrote is ever taken for HTML; and what destroys something asks before."""

from __future__ import annotations

from browser_foreign import EVIL, MARK, PAGES, SILENT, fill
from browser_page import Page

from trioemqx.testing import TestBroker

TAKEN_FOR_HTML = """() => [
  ['ran', window.ran ?? 0],
  ['images', document.querySelectorAll('img').length],
  ['scripts', [...document.scripts].filter(script => !script.src).length],
  ['handlers', document.querySelectorAll('[onerror], [onfocus]').length],
].filter(([, count]) => count)"""
EVERYTHING = """() => [
  document.querySelector('main').innerText, ...[...document.querySelectorAll('input')].map(one => one.value)
].join(' ')"""
DESTROYS = "main :is(button.danger-text, .btn.danger):not(.action *)"
"""Buttons of pages; the action of a rule that is being written is only a draft."""
FOCUS_INSIDE = "() => document.querySelector('dialog[open]').contains(document.activeElement)"


async def test_text_from_outside_is_shown_and_never_run(dashboard: Page, broker: TestBroker) -> None:
    await fill(broker)
    for path, pressed in PAGES.items():
        await dashboard.visit(path)
        if path not in SILENT:
            assert MARK in await dashboard.evaluate(EVERYTHING), path
        for at in pressed:
            await dashboard.click(at)
            await dashboard.wait("dialog[open]")
            await dashboard.settled()
            assert await dashboard.evaluate(TAKEN_FOR_HTML) == [], (path, at)
            await dashboard.press("Escape")
            await dashboard.gone("dialog")
        assert await dashboard.evaluate(TAKEN_FOR_HTML) == [], path
        assert await dashboard.complaints() == [], path


async def test_what_destroys_something_asks_and_can_be_left_by_keyboard(dashboard: Page, broker: TestBroker) -> None:
    await fill(broker)
    asked = 0
    pages = [path for path in PAGES if "?log=" not in path]  # that one opens a window by itself
    for path in [*pages, "plugins", "modules", "plugins/emqx_retainer", "listeners"]:
        await dashboard.visit(path)
        await dashboard.changes()
        for nth in range(min(2, await dashboard.count(DESTROYS))):
            await dashboard.do("focus", at=DESTROYS, nth=nth)
            await dashboard.press("Enter")
            await dashboard.wait("dialog[open]")
            assert await dashboard.evaluate(FOCUS_INSIDE), path
            await dashboard.press("Escape")
            await dashboard.gone("dialog")
            asked += 1
        assert await dashboard.changes() == [], path
    assert asked > 15
    assert broker.node.find(EVIL) is not None

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
    """And what destroys something asks before, and can be left by keyboard: the same pages are looked at for both."""
    await fill(broker)
    asked = 0
    for path in [*PAGES, "plugins", "modules", "plugins/emqx_retainer", "listeners"]:
        await dashboard.visit(path)
        if path in PAGES and path not in SILENT:
            assert MARK in await dashboard.evaluate(EVERYTHING), path
        for at in PAGES.get(path, ()):
            await dashboard.click(at)
            await dashboard.wait("dialog[open]")
            await dashboard.settled()
            assert await dashboard.evaluate(TAKEN_FOR_HTML) == [], (path, at)
            await dashboard.press("Escape")
            await dashboard.gone("dialog")
        assert await dashboard.evaluate(TAKEN_FOR_HTML) == [], path
        asked += await leave_what_destroys(dashboard, path)
        assert await dashboard.complaints() == [], path
    assert asked > 15
    assert broker.node.find(EVIL) is not None


async def leave_what_destroys(dashboard: Page, path: str) -> int:
    """Press two buttons of a page, and do nothing of it; how many there were."""
    await dashboard.changes()
    buttons = min(2, await dashboard.count(DESTROYS))
    for nth in range(buttons):
        await dashboard.do("focus", at=DESTROYS, nth=nth)
        await dashboard.press("Enter")
        await dashboard.wait("dialog[open]")
        assert await dashboard.evaluate(FOCUS_INSIDE), path
        await dashboard.press("Escape")
        await dashboard.gone("dialog")
    assert await dashboard.changes() == [], path
    return buttons

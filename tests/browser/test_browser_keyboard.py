"""The dashboard for whoever has no mouse."""

from __future__ import annotations

from browser_page import Page

from trioemqx.testing import TestBroker

FOCUSED = "() => document.activeElement.closest('main') ? 'main' : document.activeElement.tagName"
FRAME = """() => {
  const at = document.activeElement;
  const style = getComputedStyle(at);
  const inside = ['skip', 'nav', 'bar', 'main'].find(name => at.closest(`.${name}`));
  return {
    where: inside ?? 'body',
    framed: at.matches(':focus-visible') && (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2),
    what: at.outerHTML.slice(0, 200),
  };
}"""


async def test_everything_is_reached_by_keyboard_and_seen_to_be(dashboard: Page, broker: TestBroker) -> None:
    """Tab goes through a page in the order in which it is read, and what has the focus has a visible frame."""
    await broker.client("pump-1")
    await dashboard.visit("clients")
    await dashboard.press("Tab")
    assert await dashboard.evaluate(FOCUSED) == "main"  # a page begins in its content, behind the menu
    await dashboard.do("focus", at=".skip")
    seen = ["skip"]
    for _ in range(60):
        await dashboard.press("Tab")
        found = await dashboard.evaluate(FRAME)
        if found["where"] == "body":
            break
        assert found["framed"], found
        seen.append(found["where"])
    assert "main" in seen
    assert "nav" in seen
    assert seen == sorted(seen, key=["skip", "nav", "bar", "main"].index)

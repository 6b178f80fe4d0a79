"""Pages whose broker is slow, away or of another opinion, and addresses of what is not there any more."""

from __future__ import annotations

from typing import Final

import pytest
from browser_page import AUTH, Page
from test_browser_pages import FITS, NO_ALERT_EVEN_FOR_A_MOMENT, fill

from trioemqx.testing import TestBroker

API: Final = "**/api/v4/**"
GONE: Final = {
    "clients/nobody": "This client is not here",
    "rules/nothing": "This rule is not here any more",
    "nodes/other@host": "No node of this name is in the cluster",
    "plugins/emqx_nothing": "There is no emqx_nothing",
    "nowhere": "There is no such page",
}
LISTS: Final = (
    "overview",
    "clients",
    "clients/pump-1",
    "subscriptions",
    "retained",
    "rules",
    "topic-metrics",
    "nodes",
    "nodes/emqx%40127.0.0.1",
    "listeners",
    "users",
)
SHORT: Final = """async () => {
  const { bytes, duration, milliseconds, short } = await import('./app/format.js');
  return [short(999999), short(12345678), short(2e6), bytes(2 ** 41), milliseconds(1e6), duration(4019 * 86400 + 3600)];
}"""

WRONG: Final = """async () => {
  const { wrong } = await import('./app/i18n.js');
  const names = ['bad_topic', 'some_new_reason', 'Bad Arguments: {parse_error,<<"line 1: no FROM">>}', 'Not found.'];
  return names.map(wrong);
}"""


async def only(page: Page, status: int) -> bool:
    """Whether the browser complained of nothing but answers with that status."""
    return all(f" {status} " in one for one in await page.complaints())


@pytest.mark.parametrize(("status", "words"), [(500, "its log has the details"), (403, "log in again")])
async def test_a_refusal_is_said_in_words(dashboard: Page, status: int, words: str) -> None:
    await dashboard.visit()
    await dashboard.do("meddle", pattern=API, status=status, body={"code": status, "message": "UNAUTHORIZED_ROLE"})
    for path in ("clients", "rules/new", "alarms", "overview"):
        await dashboard.visit(path)
        await dashboard.wait("main [role=alert]")
        said = await dashboard.text("main [role=alert]")
        assert words in said, path
        assert "UNAUTHORIZED_ROLE" not in said
        assert await dashboard.count("main .skeleton") == 0, path
    await dashboard.do("meddleNoMore")
    assert await only(dashboard, status)


async def test_names_of_errors_are_shown_as_words(dashboard: Page) -> None:
    await dashboard.visit("topics")
    words = ["This topic is not valid", "Some new reason", "Parse error: line 1: no FROM", "Not found."]
    assert await dashboard.evaluate(WRONG) == words


async def test_a_broker_that_was_away_is_asked_again(dashboard: Page, broker: TestBroker) -> None:
    """What was shown stays meanwhile."""
    await broker.client("pump-1")
    await dashboard.visit("clients")
    await dashboard.wait('a:text-is("pump-1")')
    await dashboard.do("meddle", pattern=API, status=503)
    await dashboard.click('[aria-label="Refresh"]')
    await dashboard.wait("main [role=alert]")
    assert await dashboard.count('a:text-is("pump-1")') == 1
    await broker.client("pump-2")
    await dashboard.do("meddleNoMore")
    await dashboard.wait('a:text-is("pump-2")')
    assert await dashboard.count("main [role=alert]") == 0
    assert await only(dashboard, 503)


async def test_a_slow_broker_is_waited_for(dashboard: Page, broker: TestBroker) -> None:
    await broker.client("pump-1")
    await dashboard.visit()
    await dashboard.evaluate(NO_ALERT_EVEN_FOR_A_MOMENT)
    await dashboard.do("meddle", pattern=API, late=500)
    for path in ("clients", "clients/pump-1", "rules/new"):
        await dashboard.do("goto", url=f"{dashboard.url}#/{path}")
        await dashboard.wait("main .skeleton")
        await dashboard.gone("main .skeleton")
        await dashboard.settled()
    await dashboard.do("meddleNoMore")


async def test_what_is_not_there_any_more(dashboard: Page) -> None:
    for path, title in GONE.items():
        await dashboard.visit(path)
        await dashboard.wait(f'.empty-title:text-is("{title}")')
        assert await dashboard.count("main [role=alert]") == 0, path
        await dashboard.click(".empty a")
        await dashboard.settled()
        assert await dashboard.count(".empty-title") == await dashboard.count(f'.empty-title:not(:text-is("{title}"))')
    assert await only(dashboard, 404)


async def test_another_tab_has_logged_in_anew(dashboard: Page, broker: TestBroker) -> None:
    """The token that this one knows is an old one: it finds out, and the change is made."""
    pump = await broker.client("pump-1")
    await dashboard.visit("clients")
    await dashboard.login()
    await dashboard.click("[data-kick]")
    await dashboard.press("Enter")
    await pump.closed()
    assert await only(dashboard, 403)


async def test_whose_session_has_ended_is_told_so(dashboard: Page, broker: TestBroker) -> None:
    await dashboard.visit("topics")
    passwords = {"old_pwd": AUTH.partition(":")[2], "new_pwd": "quite another"}
    answer = await broker.api("PUT", "/change_pwd/admin", passwords, listener="dashboard", auth=AUTH)
    assert answer.code == 0
    await dashboard.wait("h1:text-is('Log in')")
    assert "logged out" in await dashboard.text(".notice")
    await dashboard.complaints()  # a request with the old session


async def test_back_is_the_page_of_the_list_before(dashboard: Page, broker: TestBroker) -> None:
    for number in range(51):
        await broker.client(f"pump-{number}")
    await dashboard.visit("clients")
    await dashboard.click('[aria-label="Next page"]')
    await dashboard.wait('.pager:has-text("51–51")')
    await dashboard.visit("topics")
    await dashboard.evaluate("() => history.back()")
    await dashboard.wait('.pager:has-text("51–51")')
    await dashboard.evaluate("() => history.back()")
    await dashboard.wait('.pager:has-text("1–50")')


async def test_a_client_whose_name_means_something_in_an_address(dashboard: Page, broker: TestBroker) -> None:
    clients = {name: await broker.client(name) for name in ("..", ".", "a/b?c#d", "%2E%2E%25")}
    for name, client in clients.items():
        await dashboard.visit("clients")
        await dashboard.click(f'td.lead a[title="{name}"]')
        await dashboard.wait("[role=tabpanel] .facts")
        await dashboard.click("[data-kick]")
        await dashboard.press("Enter")
        await client.closed()
        await dashboard.wait("h1:text-is('Clients')")


async def test_figures_of_a_large_broker_fit(dashboard: Page, broker: TestBroker) -> None:
    await fill(broker)
    await dashboard.do("meddle", pattern=API, grow=True)
    for width in (1280, 1024, 390):
        await dashboard.do("resize", width=width, height=900)
        for path in LISTS:
            await dashboard.visit(path)
            await dashboard.do("until", code=FITS, argument=width)
    await dashboard.do("meddleNoMore")
    assert await dashboard.evaluate(SHORT) == ["999,999", "12.35M", "2M", "2 TB", "1,000 s", "4019 d 1 h"]

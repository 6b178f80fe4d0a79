"""Endpoints of plugins: there while the plugin is, switched in one step, and what goes wrong is the plugin's."""

from __future__ import annotations

import logging

import pytest
import trio
from plugin_folders import Folders

from trioemqx.services.plugins import PluginError
from trioemqx.testing import ApiAnswer, TestBroker, running

WEB = """
from pathlib import Path
from trioemqx.plugin import ApiError, Bare, Call, Download, Page, Param, PlainText, delete, get, paged, post, schema

class Web(Plugin):
    async def start(self):
        self.context.http.serve(
            get("/web/number", lambda call: NUMBER, name="web_number", descr="A number"),
            get("/web/things/{name}", self.thing),
            post("/web/things", self.add, body=(Param("name", required=True),)),
            get("/web/list", self.list),
            get("/web/slow", self.slow),
            get("/web/crash", self.crash),
            get("/web/crash/{how}", self.crash_somehow),
            get("/web/text", lambda call: PlainText("a <b>")),
            get("/web/file/{name}", lambda call: Download(b"x", call.args["name"])),
            get("/web/bare", lambda call: Bare([1])),
            get("/web/path", lambda call: Download(Path(__file__).with_name("data"), "data.bin")),
        )
        self.stopped = False
        self.cut_off = False

    async def stop(self):
        self.stopped = True

    def thing(self, call):
        return {"name": call.args["name"], "user": call.user}

    async def add(self, call):
        await trio.sleep(1)
        if call.text("name") == "taken":
            raise ApiError(113, "existed")

    async def list(self, call):
        wanted = call.get("more")
        where = [lambda n: n > int(wanted)] if wanted else []
        row = lambda n: None if n == 3 else {"n": -n}
        return await paged(call, list(range(25)), row, where, limit=10, sort=lambda row: row["n"])

    async def slow(self, call):
        try:
            await trio.sleep(float(call.text("seconds", "1e9")))
        except trio.Cancelled:
            self.cut_off = True
            raise
        return {"stopped": self.stopped, "number": NUMBER}

    def crash(self, call):
        1 / 0

    async def crash_somehow(self, call):
        match call.args["how"]:
            case "exit":
                raise SystemExit(3)
            case "late":
                raise trio.TooSlowError
            case "object":
                return {"thing": object()}
            case "rows":
                return Page([object()], 1, 1, 1)
            case "group":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, self.crash, call)

plugin = Web
"""


def write(folders: Folders, number: int = 1) -> None:
    folders.write("web", WEB.replace("NUMBER", str(number)))


async def get(broker: TestBroker, path: str) -> ApiAnswer:
    return await broker.api("GET", f"/web/{path}")


async def load(broker: TestBroker, folders: Folders) -> None:
    write(folders)
    await broker.node.plugins.load("web")


async def test_they_come_with_the_plugin_and_go_with_it(broker: TestBroker, folders: Folders) -> None:
    before = list(broker.node.web_routes.endpoints)
    assert (await get(broker, "number")).status == 404
    for _ in range(3):
        await load(broker, folders)
        assert len(broker.node.web_routes.endpoints) == len(before) + 11
        assert (await get(broker, "number")).data == 1
        assert (await broker.api("GET", "/web/number", auth=None)).status == 401
        assert (await broker.api("GET", "/web/number", listener="dashboard")).data == 1
        await broker.node.plugins.unload("web")
        assert broker.node.web_routes.endpoints == before
        assert (await get(broker, "number")).status == 404


async def test_requests_and_answers(broker: TestBroker, folders: Folders) -> None:
    await load(broker, folders)
    assert (await get(broker, "things/a%2Fb")).data == {"name": "a/b", "user": "admin"}
    assert (await broker.api("POST", "/web/things", {"name": "new"})).json() == {"code": 0}
    assert (await broker.api("POST", "/web/things", {"name": "taken"})).json() == {"code": 113, "message": "existed"}
    assert (await broker.api("POST", "/web/things", {"name": 5})).code == 108
    assert (await broker.api("POST", "/web/things", {})).code == 107
    text = await get(broker, "text")
    assert (text.body, text.headers["content-type"]) == (b"a <b>", "text/plain")
    assert (await get(broker, "bare")).json() == [1]
    file = await get(broker, "file/report.csv")
    assert (file.body, file.headers["content-disposition"]) == (b"x", "attachment; filename=report.csv")


async def test_a_file_is_sent_from_where_it_is(broker: TestBroker, folders: Folders) -> None:
    await load(broker, folders)
    gone = await get(broker, "path")
    assert (gone.status, gone.json()) == (404, {"code": 404, "message": "Not found."})
    for content in (b"", b"x" * 200_000):
        (folders.root / "web" / "data").write_bytes(content)
        answer = await get(broker, "path")
        assert (answer.status, answer.body) == (200, content)
        assert answer.headers["content-length"] == str(len(content))


async def test_a_list_in_pages(broker: TestBroker, folders: Folders) -> None:
    await load(broker, folders)
    answer = (await get(broker, "list")).json()
    assert [row["n"] for row in answer["data"]] == [-9, -8, -7, -6, -5, -4, -2, -1, 0]
    assert answer["meta"] == {"page": 1, "limit": 10, "count": 25, "hasnext": True}
    answer = (await get(broker, "list?more=20&_limit=3&_page=2")).json()
    assert answer["data"] == [{"n": -24}]
    assert answer["meta"] == {"page": 2, "limit": 3, "count": -1, "hasnext": False}
    assert (await get(broker, "list?_limit=x")).code == 108


async def test_the_index_lists_those_with_names(broker: TestBroker, folders: Folders) -> None:
    await load(broker, folders)
    rows = (await broker.api("GET", "/")).data
    assert rows[-1] == {"name": "web_number", "method": "GET", "path": "/web/number", "descr": "A number"}
    assert not any(row["path"].startswith("/web/things") for row in rows)


async def test_a_reload_switches_in_one_step(broker: TestBroker, folders: Folders) -> None:
    """Whoever asks, all the time, gets an answer of the one generation or of the other."""
    await load(broker, folders)
    seen = []

    async def ask() -> None:
        while True:
            seen.append((await get(broker, "number")).data)
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.1)
        for number in (2, 3):
            write(folders, number)
            await broker.reload_plugin("web")
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert seen == sorted(seen)
    assert set(seen) == {1, 2, 3}


async def test_a_reload_that_fails_leaves_the_old_ones(broker: TestBroker, folders: Folders) -> None:
    await load(broker, folders)
    folders.write("web", WEB.replace("NUMBER", "2").replace('"/web/text"', '"/web/number"'))
    with pytest.raises(PluginError, match="GET /web/number: there is such an endpoint already"):
        await broker.reload_plugin("web")
    assert (await get(broker, "number")).data == 1


@pytest.mark.parametrize("ends", ["unload", "reload"])
async def test_a_request_under_way_ends_on_the_old_generation(broker: TestBroker, folders: Folders, ends: str) -> None:
    await load(broker, folders)
    await get(broker, "number")  # proves who asks, in a thread, which takes none of the time that is counted here
    answers = []

    async def ask(seconds: int) -> None:
        answers.append(await get(broker, f"slow?seconds={seconds}"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 3)
        nursery.start_soon(ask, 20)
        await trio.sleep(1)
        old = broker.node.plugins.plugin("web")
        write(folders, 2)
        await getattr(broker.node.plugins, ends)("web")
        assert old.cut_off, "after five seconds"  # type: ignore[attr-defined]
    done, cut_off = answers
    assert done.data == {"stopped": False, "number": 1}
    assert (cut_off.status, cut_off.json()) == (503, {"code": 102, "message": "web was stopped meanwhile"})


async def test_a_handler_that_hangs_is_cut_off(broker: TestBroker, folders: Folders) -> None:
    await load(broker, folders)
    began = trio.current_time()
    answer = await get(broker, "slow")
    assert trio.current_time() - began == pytest.approx(30, abs=1)
    assert (answer.status, answer.code) == (503, 101)
    assert broker.node.plugins.plugin("web").cut_off  # type: ignore[attr-defined]
    assert (await get(broker, "number")).data == 1


@pytest.mark.parametrize(
    "how", ["", "/exit", "/late", "/object", "/rows", "/group", pytest.param("file", id="a name that is none")]
)
async def test_a_crash_is_answered_with_500_and_counts(broker: TestBroker, folders: Folders, how: str) -> None:
    await load(broker, folders)
    before = broker.node.broker.metrics.hook_crashed
    answer = await get(broker, "file/a%0d%0ab" if how == "file" else f"crash{how}")
    assert (answer.status, answer.code, answer.message) == (500, 500, "Internal Error")
    assert b"ZeroDivision" not in answer.body
    assert broker.node.broker.metrics.hook_crashed == before + 1
    assert (await get(broker, "number")).data == 1


async def test_repeated_crashes_switch_it_off(broker: TestBroker, folders: Folders) -> None:
    client = await broker.client("c")
    await load(broker, folders)
    for _ in range(10):
        assert (await get(broker, "crash")).status == 500
    assert "plugin_disabled/web" in broker.alarms()
    assert (await get(broker, "number")).status == 404
    await client.ping()
    await broker.node.plugins.load("web")
    assert (await get(broker, "number")).data == 1


async def test_a_handler_that_holds_the_loop_is_named(broker: TestBroker, folders: Folders) -> None:
    code = """
        import time
        from trioemqx.plugin import get
        class Holds(Plugin):
            async def start(self):
                self.context.http.serve(get("/holds", lambda call: time.sleep(0.05)))
        plugin = Holds
    """
    folders.write("holds", code)
    await broker.node.plugins.load("holds")
    assert (await broker.api("GET", "/holds")).json() == {"code": 0}
    assert broker.alarms()["plugin_slow/holds"]["hook"] == "GET /holds"


SERVES = """
    from trioemqx.plugin import get
    class P(Plugin):
        async def start(self):
            self.context.http.serve(get("/fine", lambda call: 1), get("PATH", lambda call: 1))
    plugin = P
"""


@pytest.mark.parametrize("path", ["/brokers", "/clients/{any}", "/clients/special", "/web/things/{other}", "/fine"])
async def test_an_endpoint_that_there_is_already(broker: TestBroker, folders: Folders, path: str) -> None:
    """The broker's own, another plugin's, or its own."""
    await broker.api("GET", "/brokers")
    await load(broker, folders)
    before = list(broker.node.web_routes.endpoints)
    folders.write("second", SERVES.replace("PATH", path))
    (line,) = await broker.ctl("plugins load second")
    assert line.startswith("Load plugin second error: second: ")
    assert line.endswith(f"second.py:15: ValueError: GET {path}: there is such an endpoint already.")
    assert broker.node.web_routes.endpoints == before


async def test_one_that_was_hidden_at_the_start_is_told(folders: Folders, caplog: pytest.LogCaptureFixture) -> None:
    """Plugins are loaded before the API is there; the broker's own endpoint is the one that answers."""
    folders.write("second", SERVES.replace("PATH", "/brokers"))
    async with running(folders.config("second")) as broker:
        with caplog.at_level(logging.WARNING):
            assert (await broker.api("GET", "/brokers")).data != 1
        assert "GET /brokers of second is never reached: the broker has such an endpoint" in caplog.text
        assert (await broker.api("GET", "/fine")).data == 1


async def test_one_can_be_given_back_and_served_later(broker: TestBroker, folders: Folders) -> None:
    code = """
        from trioemqx.plugin import get
        class Now(Plugin):
            async def start(self):
                self.context.command("now on", self.on)
                self.context.command("now off", lambda: self.handle.close() or "off")
            def on(self):
                self.handle = self.context.http.serve(get("/now", lambda call: True))
                return "on"
        plugin = Now
    """
    folders.write("now", code)
    await broker.node.plugins.load("now")
    for _ in range(2):
        assert (await broker.api("GET", "/now")).status == 404
        await broker.ctl("now on")
        assert (await broker.api("GET", "/now")).data is True
        await broker.ctl("now off")

"""The registry of commands: exit codes, usage, and `--json`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from ctl_helpers import execute
from store_helpers import Disk

from trioemqx.services.commands import Command, CommandError, Commands
from trioemqx.services.store.sqlite import SqliteStore
from trioemqx.wiring import keep_commands


class Thing:
    def __init__(self) -> None:
        self.closed = 0

    def text(self) -> str:
        return "one\ntwo"

    def lines(self) -> Iterator[str]:
        yield from ("one", "two")

    def nothing(self) -> None:
        return None

    async def waits(self, name: str) -> str:
        await trio.lowlevel.checkpoint()
        return f"hello {name}"

    async def streams(self) -> AsyncIterator[str]:
        try:
            for number in range(3):
                yield str(number)
        finally:
            self.closed += 1

    def fails(self) -> str:
        raise CommandError("it is broken\nDid you mean this?")

    def crashes(self) -> str:
        raise ValueError("a bug")

    def row(self) -> dict[str, object]:
        return {"name": "ä\x7f\x9b\n", "count": 2}

    async def rows(self) -> AsyncIterator[dict[str, int]]:
        for number in range(3):
            yield {"n": number}


@pytest.fixture
def thing() -> Thing:
    return Thing()


@pytest.fixture
def commands(thing: Thing) -> Commands:
    made = Commands()
    for name in ("text", "lines", "nothing", "waits", "streams", "fails", "crashes"):
        made.add(Command(("do", name), f"do {name}", f"Do {name}", getattr(thing, name)))
    made.add(Command(("show", "row"), "show row", "Show one", thing.text, thing.row))
    made.add(Command(("show", "rows"), "show rows", "Show all", thing.text, thing.rows))
    made.add(Command(("show", "none"), "show none", "Show nothing", thing.text, list))
    return made


@pytest.mark.parametrize(
    ("line", "code", "lines"),
    [
        ("do text", 0, ["one", "two"]),
        ("do lines", 0, ["one", "two"]),
        ("do nothing", 0, []),
        ("do waits you", 0, ["hello you"]),
        ("do streams", 0, ["0", "1", "2"]),
        ("do fails", 1, ["it is broken", "Did you mean this?"]),
        ("show rows", 0, ["one", "two"]),
    ],
)
async def test_what_a_command_gives_is_printed_line_by_line(
    commands: Commands, line: str, code: int, lines: list[str]
) -> None:
    assert await execute(commands, line.split()) == (code, lines)


@pytest.mark.parametrize(
    ("line", "code", "value"),
    [
        ("do text", 0, {"message": "one\ntwo"}),
        ("do lines", 0, ["one", "two"]),
        ("do nothing", 0, None),
        ("do waits you", 0, {"message": "hello you"}),
        ("do streams", 0, ["0", "1", "2"]),
        ("do fails", 1, {"message": "it is broken\nDid you mean this?"}),
        ("do crashes", 1, {"message": "Error: ValueError: a bug"}),
        ("show row", 0, {"name": "ä\x7f\x9b\n", "count": 2}),
        ("show rows", 0, [{"n": 0}, {"n": 1}, {"n": 2}]),
        ("show none", 0, []),
    ],
)
async def test_json_is_there_for_every_command(commands: Commands, line: str, code: int, value: object) -> None:
    found, lines = await execute(commands, [*line.split(), "--json"])
    assert (found, json.loads("\n".join(lines))) == (code, value)


async def test_an_array_has_a_row_per_line(commands: Commands) -> None:
    _, lines = await execute(commands, ["show", "rows", "--json"])
    assert lines == ["[", '{"n": 0},', '{"n": 1},', '{"n": 2}', "]"]


async def test_json_passes_every_terminal(commands: Commands) -> None:
    """The client replaces control characters, and what a terminal cannot show; here there are none."""
    _, lines = await execute(commands, ["show", "row", "--json"])
    assert all(" " <= char <= "~" for line in lines for char in line)


async def test_json_is_an_option_as_the_first_and_the_last_word(commands: Commands) -> None:
    assert await execute(commands, ["do", "waits", "--json"]) == (2, commands.usage("do"))
    assert await execute(commands, ["do", "waits", "--json", "--json"]) == (0, ['{"message": "hello --json"}'])
    assert await execute(commands, ["--json", "do", "waits", "you"]) == (0, ['{"message": "hello you"}'])
    assert await execute(commands, ["--json"]) == (0, ["Usage: emqx_ctl", *commands.usage()])


async def test_wrong_words_get_the_usage_of_the_first(commands: Commands) -> None:
    usage = [f"show {word:<65}# {what}" for word, what in (("none", "Show nothing"), ("row", "Show one"))]
    assert await execute(commands, ["show"]) == (2, [*usage, f"show {'rows':<65}# Show all"])
    assert await execute(commands, ["show", "row", "more"]) == (2, commands.usage("show"))
    code, lines = await execute(commands, ["nothing"])
    assert (code, lines[:2]) == (1, ["Usage: emqx_ctl", "-" * 110])


async def test_a_crash_is_one_line_and_logged(commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    assert await execute(commands, ["do", "crashes"]) == (1, ["Error: ValueError: a bug"])
    assert [record.message for record in caplog.records] == ["ctl do crashes crashed"]


@pytest.mark.parametrize("option", [[], ["--json"]])
async def test_a_client_that_goes_ends_its_command(
    commands: Commands, thing: Thing, option: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def write(line: str) -> None:
        raise trio.BrokenResourceError

    with pytest.raises(trio.BrokenResourceError):
        await commands.execute(["do", "streams", *option], write)
    assert thing.closed == 1
    assert caplog.records == [], "no crash"


async def test_all_commands_in_the_order_of_their_words(commands: Commands) -> None:
    words = [command.words for command in commands.all()]
    assert words == sorted(words)
    assert len(words) == 10


async def test_what_a_command_has_changed_is_written_before_it_ends(commands: Commands, tmp_path: Path) -> None:
    """Who is told "ok" may pull the plug. What only shows something waits for nobody."""
    disk = Disk()
    store = SqliteStore(tmp_path / "store.db", retry=0.01, connect=disk.connect)
    await store.open()
    keep_commands(commands, store)

    def ban(who: str) -> str:
        store.put("banned", who, {})
        return "ok"

    commands.add(Command(("ban", "add"), "ban add <Who>", "Ban", ban))
    out: list[str] = []
    codes: list[int] = []

    async def write(line: str) -> None:
        out.append(line)

    async def add(who: str) -> None:
        codes.append(await commands.execute(["ban", "add", who], write))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            with disk.commits_held() as held:
                nursery.start_soon(add, "a")
                while not held.is_set():
                    await trio.sleep(0.001)
                assert await commands.execute(["show", "row"], write) == 0
                assert codes == []
        assert (codes, out) == ([0], ["ok", "one", "two"])
        disk.fail("COMMIT", text="no room")
        await add("b")
        assert codes == [0, 1]
        assert out[3:] == ["ok", "Error: in force, but not on disk: cannot be written: no room"]
        assert await commands.execute(["show", "row"], write) == 0
        disk.recover()
    await store.close()

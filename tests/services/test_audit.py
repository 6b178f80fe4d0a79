"""The audit log: what is recorded, for how long, and what never is."""

from __future__ import annotations

import logging

import pytest

from trioemqx.services.audit import AuditLog, AuditSettings, changes, told
from trioemqx.services.commands import Command
from trioemqx.services.store.memory import MemoryStore
from trioemqx.testing import TestBroker

START = 1_700_000_000.0


def command(usage: str, count: int, rows: bool = False) -> Command:
    return Command(tuple(usage.split()[:count]), usage, "", lambda *_: None, (lambda *_: []) if rows else None)


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


async def audit_log(settings: AuditSettings | None = None) -> tuple[AuditLog, Clock, MemoryStore]:
    store, clock = MemoryStore(), Clock()
    await store.open()
    return AuditLog(store, settings, wall=clock), clock, store


async def kept(store: MemoryStore) -> list[str]:
    return [str(row["path"]) for _, row in await store.items("audit")]


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_the_oldest_records_are_forgotten_by_number() -> None:
    audit, clock, store = await audit_log(AuditSettings(max_rows=3))
    for number in range(5):
        clock.now += 1
        audit.record("management", "a", "::1", "PUT", f"/{number}", "ok")
    assert [deed.path for deed in audit.deeds()] == ["/4", "/3", "/2"]
    assert await kept(store) == ["/2", "/3", "/4"]


async def test_the_oldest_records_are_forgotten_by_age_also_when_nothing_happens() -> None:
    audit, clock, store = await audit_log(AuditSettings(max_age=60.0))
    audit.record("management", "a", "::1", "PUT", "/old", "ok")
    clock.now += 59
    audit.record("management", "a", "::1", "PUT", "/new", "ok")
    clock.now += 2
    assert [deed.path for deed in audit.deeds()] == ["/new"]
    assert await kept(store) == ["/new"]


async def test_records_survive_a_restart_and_a_clock_that_was_put_back() -> None:
    audit, clock, store = await audit_log()
    audit.record("management", "a", "::1", "PUT", "/1", "ok")
    clock.now -= 1000
    audit.record("management", "a", "::1", "PUT", "/2", "ok")
    again = AuditLog(store, AuditSettings(max_rows=2), wall=clock)
    await again.load()
    again.record("management", "a", "::1", "PUT", "/3", "ok")
    assert [deed.path for deed in again.deeds()] == ["/3", "/2"]


async def test_without_rows_there_are_only_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioemqx.audit")
    audit, _, store = await audit_log(AuditSettings(max_rows=0))
    audit.record("management", "a", "::1", "PUT", "/1", "ok")
    assert audit.deeds() == []
    assert await kept(store) == []
    assert "a ::1 PUT /1: ok" in caplog.text


async def test_a_store_that_is_closed_keeps_nobody_from_anything() -> None:
    audit, _, store = await audit_log()
    await store.close()
    audit.record("management", "a", "::1", "PUT", "/1", "ok")
    assert audit.lost == 1


async def test_texts_of_others_are_one_line_each_and_no_longer_than_a_line() -> None:
    audit, _, _ = await audit_log()
    audit.record("management", "a\r\nb\x1b[0m", "::1", "PUT", "/\ud800" + "x" * 10_000, "ok")
    (deed,) = audit.deeds()
    assert deed.who == "a\\r\\nb\\x1b[0m"
    assert deed.path.isprintable()
    assert len(deed.path) < 300


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "words", "typed", "expected"),
    [
        ("admins add <Username> <Password> [<Tags>]", 2, "me hunter2 boss", "admins add me *** boss"),
        ("clientid update <ClientId> <NewPassword>", 2, "c1 hunter2", "clientid update c1 ***"),
        ("sasl scram add <Username> <Password> <Salt> [<N>]", 3, "u p s 4096", "sasl scram add u *** *** 4096"),
        ("banned add clientid|username <Value> [<Seconds>]", 2, "clientid c1 60", "banned add clientid c1 60"),
        ("banned add clientid|username <Value> [<Seconds>]", 2, "secret c1", "banned add *** c1"),
        ("resources create <Type> [-i <Id>] [-c <Config>]", 2, "web -c pw -i r1", "resources create web -c *** -i r1"),
        ("listeners stop <Identifier>|<Proto> <Port>", 2, "tcp 1883", "listeners stop tcp 1883"),
        ("mine do", 2, "hunter2 hunter3", "mine do *** ***"),
        ("mine do <Whatever>", 2, "hunter2", "mine do ***"),
    ],
)
def test_arguments_are_shown_only_when_they_are_known_to_be_harmless(
    usage: str, words: int, typed: str, expected: str
) -> None:
    assert told(command(usage, words), typed.split()) == expected


@pytest.mark.parametrize(
    ("usage", "rows", "typed", "expected"),
    [
        ("clients list", True, "", False),
        ("clients kick <ClientId>", False, "c", True),
        ("data export", True, "", True),
        ("log primary-level [<Level>]", True, "", False),
        ("log primary-level [<Level>]", True, "debug", True),
        ("mine unheard-of", False, "", True),
    ],
)
def test_commands_that_change_something_are_told_from_those_that_show(
    usage: str, rows: bool, typed: str, expected: bool
) -> None:
    assert changes(command(usage, 2, rows), typed.split()) is expected


async def test_commands_are_recorded_with_their_outcome(broker: TestBroker) -> None:
    await broker.ctl("admins add somebody not2short")
    await broker.ctl("admins del nobody")
    await broker.ctl("clients list")
    deeds = [(deed.door, deed.method, deed.path, deed.result) for deed in broker.node.audit.deeds()]
    assert deeds[-1] == ("ctl", "ctl", "admins add somebody ***", "ok")
    assert [path for _, _, path, _ in deeds] == ["admins del nobody", "admins add somebody ***"]
    assert "not2short" not in str(broker.node.audit.deeds())


async def test_what_is_kept_can_be_read_by_ctl(broker: TestBroker) -> None:
    await broker.ctl("banned add clientid c1")
    await broker.ctl("banned del clientid c1")
    lines = await broker.ctl("audit list")
    assert [line.partition("Z ")[2] for line in lines] == [
        " ctl ctl banned del clientid c1: ok",
        " ctl ctl banned add clientid c1: ok",
    ]
    assert len(await broker.ctl("audit list 1")) == 1
    assert await broker.ctl("audit list many") == ["a number of lines, not many"]

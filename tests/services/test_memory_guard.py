"""The order in which things give way when memory runs short (`services.memory_guard`), with figures made up."""

from __future__ import annotations

import errno
from pathlib import Path

import psutil
import pytest
import trio
from services_helpers import FakeBroker, opened_store

from trioemqx.services.alarms import Alarms
from trioemqx.services.memory_guard import MemoryGuard, MemorySettings, Rung
from trioemqx.services.memory_probe import SystemMemory


class FakeProbe:
    """A process that may have 1000 bytes."""

    percent = 0.0
    given_back = 0

    def used(self):
        return int(self.percent * 10)

    def limit(self):
        return 1000

    async def give_back(self):
        self.given_back += 1
        await trio.lowlevel.checkpoint()


class FakeShedder:
    def __init__(self):
        self.did = []

    def set_rung(self, rung):
        self.did.append(rung.name)

    async def pause_publishers(self, seconds):
        self.did.append(f"pause {seconds:g}")
        await trio.lowlevel.checkpoint()

    async def drop_qos0(self):
        self.did.append("drop")
        await trio.lowlevel.checkpoint()

    async def cut_largest(self, excess):
        self.did.append(f"cut {excess}")
        await trio.lowlevel.checkpoint()


@pytest.fixture
def probe():
    return FakeProbe()


@pytest.fixture
def shedder():
    return FakeShedder()


@pytest.fixture
def alarms():
    return Alarms("emqx@127.0.0.1", opened_store(), FakeBroker().publish)


@pytest.fixture
def guard(alarms, probe, shedder):
    return MemoryGuard(alarms, probe, shedder)


def out_of_files(*arguments):
    raise OSError(errno.EMFILE, "Too many open files")


async def climb(guard, probe, *percents):
    """The rung after each of these samples."""
    found = []
    for percent in percents:
        probe.percent = percent
        await guard.check()
        found.append(guard.rung.name)
    return found


async def test_below_the_first_watermark_nothing_happens(guard, probe, shedder, alarms):
    assert await climb(guard, probe, 0, 50, 69.9) == ["CALM"] * 3
    assert (shedder.did, alarms.active(), probe.given_back) == ([], [], 0)


async def test_each_sample_above_a_watermark_climbs_one_rung_of_its_band(guard, probe):
    assert await climb(guard, probe, 70, 75, 79.9) == ["FRUGAL"] * 3
    assert await climb(guard, probe, 80, 80, 80, 80) == ["NO_ANONYMOUS", "NO_CONNECTIONS", "SLOWLY", "SLOWLY"]
    assert await climb(guard, probe, 90, 90, 90) == ["NO_QOS0", "CUT", "CUT"]


async def test_a_jump_goes_to_the_first_rung_of_its_band(guard, probe):
    assert await climb(guard, probe, 95, 95) == ["NO_QOS0", "CUT"]


async def test_a_band_is_left_when_memory_is_a_margin_below(guard, probe):
    await climb(guard, probe, 95, 95)
    assert await climb(guard, probe, 89, 85) == ["CUT", "CUT"]
    assert await climb(guard, probe, 84.9, 75) == ["SLOWLY", "SLOWLY"]
    assert await climb(guard, probe, 74.9, 65) == ["FRUGAL", "FRUGAL"]
    assert await climb(guard, probe, 64.9) == ["CALM"]


async def test_within_the_margin_nothing_more_is_taken_away(guard, probe):
    assert await climb(guard, probe, 80, 79, 79, 79) == ["NO_ANONYMOUS"] * 4


async def test_what_is_done_on_the_way(guard, probe, shedder):
    await climb(guard, probe, 85, 85, 85, 85)
    assert shedder.did == ["NO_ANONYMOUS", "NO_CONNECTIONS", "SLOWLY", "pause 1", "pause 1"]
    shedder.did.clear()
    await climb(guard, probe, 95, 95, 95)
    assert shedder.did == ["NO_QOS0", "pause 1", "drop", "CUT", "pause 1", "cut 100", "pause 1", "cut 100"]
    shedder.did.clear()
    await climb(guard, probe, 60)
    assert shedder.did == ["CALM"]


async def test_memory_is_given_back_on_each_rung_and_now_and_then(guard, probe):
    await climb(guard, probe, 75)
    assert probe.given_back == 1
    await climb(guard, probe, *[75] * 19)
    assert probe.given_back == 3


async def test_the_alarm(guard, probe, alarms):
    await climb(guard, probe, 72.5, 99)
    (alarm,) = alarms.active()
    assert alarm.name == "overload_memory"
    assert alarm.details == {"usage": 72.5, "used": 725, "limit": 1000, "high_watermark": 70.0}
    assert alarm.message == "The broker sheds load: 72.5% of the memory it may have is in use"
    await climb(guard, probe, 65)
    assert alarms.active()
    await climb(guard, probe, 64)
    assert alarms.active() == []


async def test_a_limit_that_is_set_counts(alarms, probe, shedder):
    guard = MemoryGuard(alarms, probe, shedder, MemorySettings(limit=500))
    assert await climb(guard, probe, 30, 35, 40) == ["CALM", "FRUGAL", "NO_ANONYMOUS"]


async def test_it_samples_each_interval_and_lets_go_when_it_ends(guard, probe, shedder, autojump_clock):
    probe.percent = 85
    with trio.move_on_after(3.5):
        await guard.run()
    assert shedder.did == ["NO_ANONYMOUS", "NO_CONNECTIONS", "SLOWLY", "pause 1", "CALM"]
    assert guard.rung == Rung.CALM


async def test_an_interval_of_0_switches_it_off(alarms, probe, shedder, autojump_clock):
    guard = MemoryGuard(alarms, probe, shedder, MemorySettings(check_interval=0))
    probe.percent = 95
    with trio.move_on_after(3600):
        await guard.run()
    assert shedder.did == []


class TestSystemMemory:
    """Control groups as files have them."""

    async def test_the_real_figures_make_sense(self):
        memory = SystemMemory()
        assert 10_000_000 < memory.used() < memory.limit() <= psutil.virtual_memory().total
        await memory.give_back()

    @pytest.mark.parametrize(
        ("line", "files", "limit"),
        [
            ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "1000"}, 1000),
            ("0::/a/b", {"a/b/memory.max": "900", "a/memory.max": "1000"}, 900),
            ("0::/gone", {"memory.max": "800"}, 800),
            ("4:memory:/a", {"memory/a/memory.limit_in_bytes": "700"}, 700),
            ("4:memory:/../outside", {"memory/memory.limit_in_bytes": "600"}, 600),
            ("4:cpu:/a", {"cpu/a/memory.max": "1"}, 0),
            ("0::/a", {}, 0),
            ("0::/a", {"a/memory.max": "nonsense"}, 0),
        ],
    )
    async def test_limits_of_control_groups(self, tmp_path: Path, line, files, limit):
        for name, text in files.items():
            file = tmp_path / "fs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        own = tmp_path / "cgroup"
        own.write_text(f"9:name=systemd:/\n{line}\n")
        assert SystemMemory(tmp_path / "fs", own).limit() == (limit or psutil.virtual_memory().total)

    async def test_without_descriptors_the_last_figures_hold(self, tmp_path: Path, monkeypatch):
        (tmp_path / "cgroup").write_text("0::/\n")
        (tmp_path / "memory.max").write_text("1000\n")
        memory = SystemMemory(tmp_path, tmp_path / "cgroup")
        assert memory.limit() == 1000
        used = memory.used()
        assert used > 0
        monkeypatch.setattr(Path, "read_text", out_of_files)
        monkeypatch.setattr(psutil.Process, "memory_info", out_of_files)
        assert [memory.limit() for _ in range(200)] == [1000] * 200
        assert memory.used() == used

    async def test_without_control_groups(self, tmp_path: Path):
        assert SystemMemory(tmp_path, tmp_path / "none").limit() == psutil.virtual_memory().total

"""The simulation finds nothing in the broker, says the same each time, and does find what is planted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.disk import SimStore
from simulation.script import make_script
from simulation.world import simulate

TESTS = Path(__file__).resolve().parents[1]
SEEDS = 10
REPLAY = "from simulation.run import one; print(one({seed})[1].print)"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_rule_breaks(seed):
    result = simulate(make_script(seed))
    assert [str(problem) for problem in result.problems] == []
    assert result.messages > 0


@pytest.mark.parametrize("seed", [3, 8])
def test_a_seed_always_makes_the_same_history(seed):
    """In any process, however it hashes its strings: else a failure could not be looked at again."""
    prints = {
        subprocess.run(
            [sys.executable, "-P", "-c", REPLAY.format(seed=seed)],
            env={**os.environ, "PYTHONHASHSEED": str(salt), "PYTHONPATH": _path()},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for salt in (1, 2)
    }
    assert len(prints) == 1
    assert prints == {simulate(make_script(seed)).print + "\n"}


def _path() -> str:
    """This folder's, and whatever made the broker importable here."""
    return os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])


def rules_broken(seeds) -> set[str]:
    return {problem.rule for seed in seeds for problem in simulate(make_script(seed)).problems}


# -- faults that are planted -------------------------------------------------------------------------------------------


def test_a_disk_that_says_yes_too_early_is_found(monkeypatch):
    """An acknowledgement that leaves before the commit is lost with a crash."""
    apply_changes = SimStore.apply_changes

    def lying(self, changes):
        durable = apply_changes(self, changes)
        durable.settle()
        self.speed = 0.5
        return durable

    monkeypatch.setattr(SimStore, "apply_changes", lying)
    assert "lost" in rules_broken([0, 9, 14])


@pytest.mark.parametrize(
    ("table", "rule", "seeds"), [("awaiting", "once", (9, 79)), ("subscriptions", "lost", (6, 10))]
)
def test_a_table_that_is_never_written_is_found(table, rule, seeds, monkeypatch):
    write = SimStore._write
    monkeypatch.setattr(
        SimStore, "_write", lambda self, changes: write(self, [each for each in changes if each[0] != table])
    )
    assert rule in rules_broken(seeds)

"""A small, seeded budget of what `./dev fuzz` does for longer, and what it has found."""

from __future__ import annotations

import random

import pytest
from fuzz_targets import TARGETS, mutated
from hypothesis import given, settings
from hypothesis import strategies as st

BUDGET = {"config": 60, "environment": 100, "acl": 200, "sql": 200}
"""Inputs of targets that are slow; the others get more."""


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_good_inputs(name: str) -> None:
    for data in TARGETS[name].seeds:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs(name: str) -> None:
    chance = random.Random(11)
    for _ in range(BUDGET.get(name, 500)):
        data = mutated(TARGETS[name], chance)
        try:
            TARGETS[name].run(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    @settings(max_examples=50, deadline=None, database=None, derandomize=True)
    @given(st.binary(max_size=200))
    def run(data: bytes) -> None:
        TARGETS[name].run(data)

    run()


FOUND = [("config", b"a = " + b"1" * 5000), ("config", b"a = " + b"[" * 3000)]
"""Inputs that showed a defect, which is mended."""


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    TARGETS[name].run(data)

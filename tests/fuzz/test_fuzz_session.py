"""Attackers of a whole broker, always the same ones; `./dev fuzz session` has others."""

from __future__ import annotations

import pytest
from fuzz_session import rounds


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_victims_are_served_while_others_attack(seed: int, autojump_clock: object) -> None:
    assert await rounds(seed, 60) == 60

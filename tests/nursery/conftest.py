"""Fixtures of the nursery tests: the broker of the fault tests, with a listener of every kind."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import pytest_trio

for name in ("listeners", "faults"):
    sys.path.append(str(Path(__file__).parents[1] / name))


@pytest.fixture
def settings() -> Mapping[str, object]:
    """Settings laid over those of `doors`; override it in a test module or class."""
    return {}


@pytest_trio.trio_fixture
async def doors(settings, tmp_path):
    """Everything open: see `fault_doors.Doors`."""
    from fault_doors import opened

    async with opened(settings, tmp_path) as found:
        yield found

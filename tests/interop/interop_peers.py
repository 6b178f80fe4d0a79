"""Where the clients of other people are found, and what happens when one is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

CHECKOUT = Path(__file__).parents[2]


def need(tool: str) -> str:
    """The path of a command; a test without it is skipped, or fails where nothing may be missing."""
    found = shutil.which(tool)
    if found is None:
        missing(f"no {tool}")
    return found


def missing(what: str) -> NoReturn:
    """Skip, or fail in CI."""
    if os.environ.get("CI") or os.environ.get("TRIOEMQX_REQUIRE_PEERS") == "1":
        pytest.fail(f"{what}, and nothing may be missing here (CI or TRIOEMQX_REQUIRE_PEERS)")
    pytest.skip(what)


def node_modules(package: str = "mqtt") -> Path:
    """The folder that has a package of npm: where NODE_PATH points to, or where `./dev test` puts it."""
    places = [Path(place) for place in os.environ.get("NODE_PATH", "").split(os.pathsep) if place]
    for place in [*places, CHECKOUT / ".tools" / "node_modules"]:
        if (place / package).is_dir():
            return place
    missing(f"no {package} (npm install --prefix .tools {package})")

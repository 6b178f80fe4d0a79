"""A folder for plugins, and a broker that looks there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_folders import Folders


@pytest.fixture
def folders() -> Iterator[Folders]:
    with tempfile.TemporaryDirectory() as folder:
        yield Folders(Path(folder))


@pytest.fixture
def broker_config(folders: Folders) -> dict[str, object]:
    return folders.config("emqx_retainer")

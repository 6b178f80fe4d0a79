"""License: any text is kept, earlier ones as well."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trioemqx.testing import TestBroker


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def broker_config(folder: Path) -> dict[str, object]:
    return {"license": {"file": str(folder / "new" / "emqx.lic")}}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_upload(broker: TestBroker, folder: Path) -> None:
    """POST /license/upload"""
    file = folder / "new" / "emqx.lic"
    assert (await broker.api("POST", "/license/upload", {"license": "one ü\n"})).json() == {"code": 0}
    assert file.read_text("utf-8") == "one ü\n"
    assert file.stat().st_mode & 0o777 == 0o600
    for text in ("two", "three"):
        assert (await broker.api("POST", "/license/upload", {"license": text})).code == 0
    assert file.read_text() == "three"
    earlier = sorted(path for path in file.parent.iterdir() if path != file)
    assert [path.read_text("utf-8") for path in earlier] == ["one ü\n", "two"]
    at = int(earlier[0].suffix[1:])
    assert abs(at - broker.node.wall()) < 5
    assert [path.name for path in earlier] == [f"emqx.lic.{at}", f"emqx.lic.{at + 1}"], "nothing is overwritten"


async def test_a_bounded_number_of_earlier_ones_is_kept(broker: TestBroker, folder: Path) -> None:
    other = folder / "new" / "emqx.lic.bak"
    other.parent.mkdir()
    other.write_text("mine")
    for number in range(25):
        assert (await broker.api("POST", "/license/upload", {"license": str(number)})).code == 0
    kept = {path.read_text() for path in other.parent.iterdir()}
    assert kept == {"mine", *(str(number) for number in range(4, 25))}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (107, "missing_required_params")),
        ([{"license": "x"}], (107, "missing_required_params")),
        ({"license": ""}, (108, "bad_license")),
        ({"license": " \n\t"}, (108, "bad_license")),
        ({"license": None}, (108, "bad_license")),
        ({"license": 5}, (108, "bad_license")),
        ({"license": ["x"]}, (108, "bad_license")),
        ("text", (108, "bad_params")),
    ],
)
async def test_bad_input(broker: TestBroker, folder: Path, body: object, expected: object) -> None:
    answer = await broker.api("POST", "/license/upload", body)
    assert (answer.status, answer.code, answer.message) == (200, *expected)
    assert names(folder) == []


async def test_what_is_no_json_or_too_large(broker: TestBroker, folder: Path) -> None:
    for raw in (b"-----BEGIN", b'{"license": "x"', b'{"license": "' + b"x" * 300_000 + b'"}'):
        answer = await broker.api("POST", "/license/upload", raw=raw)
        assert (answer.status, answer.code, answer.message) == (400, 109, "Bad Request")
    assert names(folder) == []


async def test_a_file_that_cannot_be_written(broker: TestBroker, folder: Path) -> None:
    (folder / "new").write_text("a file where the folder should be")
    answer = await broker.api("POST", "/license/upload", {"license": "x"})
    assert (answer.status, answer.code, answer.message) == (200, 102, "eexist")
    (folder / "new").unlink()
    (folder / "new" / "emqx.lic").mkdir(parents=True)
    answer = await broker.api("POST", "/license/upload", {"license": "x"})
    assert (answer.status, answer.code) == (200, 102)
    assert names(folder / "new") == ["emqx.lic"], "nothing is left half-way"

"""What is compiled, and that the tests run against the variant they were started for."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dotted(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def test_the_variant_under_test_is_the_expected_one(hook: ModuleType) -> None:
    expected = os.environ.get("TRIOEMQX_EXPECT")
    if expected is None:
        pytest.skip("TRIOEMQX_EXPECT is not set: any variant will do")
    for path in hook.native_modules(ROOT):
        file = importlib.import_module(dotted(path)).__file__
        assert file is not None
        assert file.endswith(".py") == (expected == "pure"), file


def test_an_installed_package_is_not_hidden_by_the_checkout() -> None:
    if os.environ.get("TRIOEMQX_EXPECT") != "native":
        pytest.skip("only the compiled run uses the installed package")
    package = importlib.import_module("trioemqx")
    assert package.__file__ is not None
    assert ROOT / "trioemqx" not in Path(package.__file__).parents


def test_the_whole_core_is_compiled(hook: ModuleType) -> None:
    core = {str(path.relative_to(ROOT)) for path in (ROOT / "trioemqx/core").rglob("*.py")}
    missing = {path for path in core if not path.endswith("__init__.py")} - set(hook.native_modules(ROOT))
    assert not missing


def test_compiled_modules_import_neither_trio_nor_attrs(hook: ModuleType) -> None:
    allowed = set(sys.stdlib_module_names) | {"trioemqx"}
    for path in hook.native_modules(ROOT):
        tree = ast.parse((ROOT / path).read_text())
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed, f"{path}: {names}"


def test_the_build_has_the_type_stubs_that_mypy_asks_for(hook: ModuleType) -> None:
    """mypyc follows imports into the whole package, and missing stubs would leave the core interpreted."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    sources = [path.read_text() for path in (ROOT / "trioemqx").rglob("*.py")]
    stubs = [name for name in extras if name.startswith("types-")]
    used = {name for name in stubs if any(f"import {name.removeprefix('types-')}\n" in source for source in sources)}
    assert "types-psutil" in used
    assert used <= set(hook.NEEDED_TO_COMPILE)


def test_a_listed_module_that_does_not_exist_stops_the_build(hook: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.trioemqx]\nnative = ["trioemqx/gone.py"]\n')
    with pytest.raises(FileNotFoundError, match=r"trioemqx/gone\.py matches no file"):
        hook.native_modules(tmp_path)


def test_without_a_compiler_nothing_more_is_needed_to_build(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert hook.obstacle() == "no C compiler (no-such-compiler)"


def test_required_and_forbidden_at_once_is_refused(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIOEMQX_PURE", "1")
    monkeypatch.delenv("TRIOEMQX_REQUIRE_NATIVE", raising=False)
    assert not hook.wanted()
    monkeypatch.setenv("TRIOEMQX_REQUIRE_NATIVE", "1")
    with pytest.raises(RuntimeError, match="contradict"):
        hook.wanted()

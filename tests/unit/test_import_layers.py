"""Imports point down, and the synchronous core stays free of clocks, sockets, tasks and logs."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOT = CHECKOUT / "trioemqx"
LAYERS = [
    "errors",
    "types",
    "metrics",
    "hooks",
    "hookspecs",
    "ctl",
    "config",
    "codec",
    "core",
    "services",
    "rules",
    "plugin",
    "scaffold",
    "cluster",
    "listeners",
    "dashboard",
    "api",
    "wiring",
    "guards",
    "facade",
    "ending",
    "node",
    "supervisor",
    "cli",
    "__main__",
    "testclient",
    "apitest",
    "testing",
]
"""A module may import from its own layer and from those before it. `plugin` is the facade that plugins and modules see;
`ctl` is the client of a socket and knows nothing of the broker."""
FOR_PLUGINS = {"trioemqx.plugin"}
FOR_TESTS_OF_PLUGINS = {*FOR_PLUGINS, "trioemqx.testing"}
LEAVES = {"errors", "types", "metrics", "hooks"}
PURE = {*LEAVES, "codec", "core"}
"""Layers that are synchronous and compiled. They know nothing of configuration files either."""
ALLOWED_IN_PURE = {
    "__future__",
    "attrs",
    "bisect",
    "collections",
    "enum",
    "heapq",
    "itertools",
    "math",
    "random",
    "secrets",
    "trioemqx",
    "typing",
    "zlib",
}
"""Everything else (trio, socket, time, datetime, logging, os ...) would be a clock, a socket, a task or a log."""


def sources() -> list[Path]:
    """Every module of the package."""
    found = sorted(ROOT.rglob("*.py"))
    assert len(found) > 80
    return found


def layer_of(path: Path) -> str:
    """The layer a file belongs to; the package's own `__init__` is the facade and belongs to `node`."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "node" if first == "__init__" else first


def imports(path: Path) -> Iterator[str]:
    """Dotted names of the modules a file imports anywhere in it, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "trioemqx":
                yield from (f"trioemqx.{alias.name}" for alias in node.names)
            else:
                yield node.module


def layers_imported(path: Path) -> Iterator[str]:
    """The layers of this package that a file imports from. `import trioemqx` alone (its version) is free for all."""
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "trioemqx" and len(parts) > 1 and parts[1] != "__version__":
            yield parts[1]


def test_every_module_has_a_layer() -> None:
    assert {layer_of(path) for path in sources()} == set(LAYERS)


def test_imports_only_point_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} must not import {target}"
        for path in sources()
        for target in layers_imported(path)
        if LAYERS.index(target) > LAYERS.index(layer_of(path))
    ]
    assert wrong == []


def test_the_facade_of_plugins_is_used_by_nothing_below_the_command_line() -> None:
    """The broker knows the classes behind it; only `testing` may look at it, as a plugin does."""
    users = {layer_of(path) for path in sources() if "plugin" in layers_imported(path)}
    assert users <= {"testing"}


def test_ctl_knows_nothing_of_the_broker() -> None:
    assert list(layers_imported(ROOT / "ctl.py")) == []


def test_plugins_and_modules_use_the_public_api_only() -> None:
    files = [path for folder in ("plugins", "modules") for path in (CHECKOUT / folder).rglob("*.py")]
    assert len(files) > 3
    wrong = [
        f"{path.relative_to(CHECKOUT)} must not import {name}"
        for path in files
        for name in trioemqx_imports(path)
        if name not in (FOR_TESTS_OF_PLUGINS if "tests" in path.parts[:-1] else FOR_PLUGINS)
    ]
    assert wrong == []


def trioemqx_imports(path: Path) -> Iterator[str]:
    """What a file imports of trioemqx, by the name of the module. Relative imports stay in the plugin."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            names = [f"trioemqx.{alias.name}" for alias in node.names] if module == "trioemqx" else [module]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "trioemqx")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from trioemqx.plugin import Plugin", ["trioemqx.plugin"]),
        ("from trioemqx import plugin, node", ["trioemqx.plugin", "trioemqx.node"]),
        ("import trioemqx.core.broker as x", ["trioemqx.core.broker"]),
        ("import trioemqx", ["trioemqx"]),
        ("from . import words\nfrom .trioemqx import x\nimport trio", []),
        ("def f():\n    from trioemqx.services import alarms", ["trioemqx.services"]),
    ],
)
def test_the_search_for_imports_of_plugins_finds_them(tmp_path: Path, source: str, names: list[str]) -> None:
    (tmp_path / "x.py").write_text(source)
    assert list(trioemqx_imports(tmp_path / "x.py")) == names


def test_codec_and_core_know_no_configuration() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} must not import {target}"
        for path in sources()
        if layer_of(path) in PURE
        for target in layers_imported(path)
        if target not in PURE
    ]
    assert wrong == []


def test_leaves_import_leaves_only() -> None:
    wrong = [
        f"{path.name} must not import {target}"
        for path in sources()
        if layer_of(path) in LEAVES
        for target in layers_imported(path)
        if target not in LEAVES
    ]
    assert wrong == []


def test_codec_and_core_import_nothing_that_waits_or_tells_the_time() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} must not import {name}"
        for path in sources()
        if layer_of(path) in PURE
        for name in imports(path)
        if name.split(".")[0] not in ALLOWED_IN_PURE
    ]
    assert wrong == []


def test_codec_and_core_never_await() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        if layer_of(path) in PURE
        for line in asynchronous(ast.parse(path.read_text("utf-8")))
    ]
    assert wrong == []


def test_modules_of_the_core_draw_no_random_numbers_on_import() -> None:
    """`random` is for generators that a test can inject; what an import draws no test can repeat."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if layer_of(path) in PURE
        for statement in ast.parse(path.read_text("utf-8")).body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in ("random", "Random", "secrets")
    ]
    assert wrong == []


def asynchronous(tree: ast.Module) -> Iterator[int]:
    """Lines with async code. A Protocol may declare a coroutine that others implement: declaring is not waiting."""
    declared = {
        id(member)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)
        for member in node.body
        if isinstance(member, ast.AsyncFunctionDef)
    }
    kinds = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    for node in ast.walk(tree):
        if isinstance(node, kinds) and id(node) not in declared:
            yield node.lineno


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("async def f(): ...", [1]),
        ("class A(Protocol):\n    async def f(self): ...", []),
        ("class A(Protocol):\n    async def f(self):\n        await x", [3]),
        ("class A:\n    async def f(self): ...", [2]),
    ],
)
def test_the_search_for_async_code_finds_it(source: str, lines: list[int]) -> None:
    assert list(asynchronous(ast.parse(source))) == lines


def test_what_is_compiled_is_pure_but_for_the_inner_loop_of_the_pump() -> None:
    """The rules above hold for what pyproject.toml names for the compiler, and for `listeners` only in part."""
    patterns = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["tool"]["trioemqx"]["native"]
    native = {path for pattern in patterns for path in CHECKOUT.glob(pattern)}
    assert native
    assert {layer_of(path) for path in native} <= {*PURE, "listeners"}
    for path in native:
        assert {name.split(".")[0] for name in imports(path)}.isdisjoint({"trio", "time", "logging", "ssl"}), path

"""Plugin code under a fresh name: each generation is a package of its own in `sys.modules`.

`_trioemqx_plugins.<name>_<n>` is a package whose folder is the plugin's, so a relative import between its files finds
the files of the same generation. Sources are compiled from what is on the disk now: a bytecode cache goes by whole
seconds and sizes, and an edit can be quicker than that.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import linecache
import sys
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

ROOT: Final = "_trioemqx_plugins"
_NUMBERS: Final = count(1)
_CODE: Final[OrderedDict[str, tuple[bytes, CodeType]]] = OrderedDict()
"""Compiled sources by path, to be used again as long as the source is the same."""
_CODE_SIZE: Final = 100


class _Loader(importlib.machinery.SourceFileLoader):
    """Reads the source each time."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of a module's source as it is now; compiled again only when that has changed."""
        path = self.get_filename(fullname)
        source = self.get_data(path)
        check_readable(source, path)
        known = _CODE.get(path)
        if known is None or known[0] != source:
            known = _CODE[path] = (source, self.source_to_code(source, path))
            while len(_CODE) > _CODE_SIZE:
                _CODE.popitem(last=False)
        return known[1]


def check_readable(source: bytes, path: str) -> None:
    """Raise SyntaxError with the file's name for a NUL byte, of which Python only says that it is there."""
    if (at := source.find(b"\0")) >= 0:
        raise SyntaxError("source code cannot contain NUL bytes", (path, source.count(b"\n", 0, at) + 1, None, None))


class _Finder:
    """Finds the files of a generation in the folder of the package above."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Called by Python's import system, for everything."""
        if not fullname.startswith(f"{ROOT}.") or path is None:
            return None
        name = fullname.rpartition(".")[2]
        for folder in path:
            package = Path(folder) / name
            if (package / "__init__.py").is_file():
                return _spec(fullname, package / "__init__.py", package)
            if (file := package.with_suffix(".py")).is_file():
                return _spec(fullname, file, None)
        return None


def _spec(fullname: str, file: Path, folder: Path | None) -> importlib.machinery.ModuleSpec:
    places = None if folder is None else [str(folder)]
    loader: Any = _Loader(fullname, str(file))
    spec = importlib.util.spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=places)
    assert spec is not None
    return spec


def fresh(name: str, main: Path) -> ModuleType:
    """Import a plugin's main file, `<name>.py` or `<name>/__init__.py`, as a new generation. Raises whatever the code
    raises; nothing of it is left then."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)  # before the one that goes by bytecode caches
        sys.modules[ROOT] = _package(ROOT, [])
    package = f"{ROOT}.{name}_{next(_NUMBERS)}"
    folder = main.parent.parent if main.name == "__init__.py" else main.parent
    sys.modules[package] = _package(package, [str(folder)])
    try:
        inner = main.parent.name if main.name == "__init__.py" else main.stem
        return importlib.import_module(f"{package}.{inner}")
    except BaseException:
        forget(package)
        raise


def _package(name: str, path: list[str]) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = path
    return module


def package_of(module: ModuleType) -> str:
    """The name of the generation that a main module belongs to."""
    return ".".join(module.__name__.split(".")[:2])


def forget(package: str) -> None:
    """Remove a generation's modules, and the sources that attrs left for tracebacks of its classes."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    for name in [name for name in linecache.cache if f" {package}." in name]:
        del linecache.cache[name]

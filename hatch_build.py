"""Build hook: compiles the synchronous core with mypyc when this machine can, else leaves a pure Python wheel.

What is compiled stands in `[tool.trioemqx] native` of pyproject.toml. The `.py` files are always in the wheel as well:
tracebacks show them, and the same source runs where nothing was compiled.

    TRIOEMQX_PURE=1            do not compile
    TRIOEMQX_REQUIRE_NATIVE=1  fail instead of falling back (continuous integration)

Editable installs stay pure, because an extension module would win over the file being edited.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NEEDED_TO_COMPILE = ["setuptools>=77", "mypy[mypyc]>=2.0", "attrs>=23.2", "types-psutil"]
"""attrs, because compiled modules name classes of the uncompiled ones and mypy has to understand those. mypy reads the
whole package for that and stops at a library for which it knows that type stubs exist, but has none."""

CARRIED_ALONG = ["plugins", "modules"]
"""Folders beside the package that a wheel holds inside it, once they exist."""


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled modules, and the folders beside the package, to a wheel."""

    PLUGIN_NAME = "custom"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._scratch: Path | None = None

    def dependencies(self) -> list[str]:
        """What has to be installed for the build: nothing more where nothing can be compiled."""
        return NEEDED_TO_COMPILE if wanted() and not obstacle() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel is written; `version` is `standard` or `editable`."""
        root = Path(self.root)
        if version == "editable":
            return
        for folder in CARRIED_ALONG:
            if (root / folder).is_dir():
                build_data["force_include"][str(root / folder)] = f"trioemqx/{folder}"
        modules = native_modules(root)
        if not wanted():
            return
        self._scratch = Path(tempfile.mkdtemp(prefix="trioemqx-build-"))
        try:
            built = compile_modules(root, modules, self._scratch)
        except (Exception, SystemExit) as error:
            shutil.rmtree(self._scratch)
            if required():
                raise
            # mypycify has printed the type errors it left for with SystemExit
            reason = "mypyc refused the sources" if isinstance(error, SystemExit) else error
            print(f"trioemqx: built without native modules: {reason}", file=sys.stderr)
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(path): name for path, name in built})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when the wheel is written."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def required() -> bool:
    """Whether a wheel without native modules would be a failure."""
    return os.environ.get("TRIOEMQX_REQUIRE_NATIVE") == "1"


def wanted() -> bool:
    """Whether compiling shall be tried. Raises RuntimeError when it is both forbidden and required."""
    if os.environ.get("TRIOEMQX_PURE") != "1":
        return True
    if required():
        raise RuntimeError("TRIOEMQX_PURE=1 and TRIOEMQX_REQUIRE_NATIVE=1 contradict each other")
    return False


def obstacle() -> str:
    """Why this machine cannot compile extension modules, "" when it seems able to. Cheap: nothing is run."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC")
    if command and shutil.which(shlex.split(command)[0]) is None:
        return f"no C compiler ({command})"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "no Python.h (Debian: apt-get install python3-dev)"
    return ""


def native_modules(root: Path) -> list[str]:
    """The files to compile, relative to `root`. Raises FileNotFoundError for an entry that matches nothing."""
    with (root / "pyproject.toml").open("rb") as file:
        patterns = tomllib.load(file)["tool"]["trioemqx"]["native"]
    modules: list[str] = []
    for pattern in patterns:
        found = sorted(path for path in root.glob(pattern) if path.name != "__init__.py")
        if not found:
            raise FileNotFoundError(f"[tool.trioemqx] native in pyproject.toml: {pattern} matches no file")
        modules.extend(str(path.relative_to(root)) for path in found)
    return modules


def compile_modules(root: Path, modules: list[str], scratch: Path) -> list[tuple[Path, str]]:
    """Compile in a copy below `scratch`, so the checkout stays clean. Gives (built file, its name in the wheel)."""
    if reason := obstacle():
        raise RuntimeError(reason)
    from mypyc.build import mypycify
    from setuptools import Distribution

    shutil.copytree(root / "trioemqx", scratch / "trioemqx", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    output = scratch / "output"
    with contextlib.chdir(scratch):
        extensions = mypycify(
            # silent: what only uncompiled modules import (trio, ...) is not installed here and is `lint`'s business
            ["--no-incremental", "--namespace-packages", "--follow-imports=silent", *modules],
            opt_level="3",
            debug_level="0",
            separate=False,
            group_name="trioemqx",
            target_dir="generated",
        )
        for extension in extensions:
            # mypycify turns warnings into errors, which is right for its own tests but not for every user's compiler
            extension.extra_compile_args.append("-Wno-error")
        distribution = Distribution({"name": "trioemqx", "ext_modules": extensions})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(output), "objects"
        command.ensure_finalized()
        command.run()
    return [(path, path.relative_to(output).as_posix()) for path in sorted(output.rglob("*")) if path.is_file()]

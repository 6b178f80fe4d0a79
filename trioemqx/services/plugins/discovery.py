"""What could be loaded: folders and files on the disk, and installed distributions. Nothing is imported here."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import attrs
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from trioemqx.services.plugins.base import API_VERSION
from trioemqx.services.plugins.errors import PluginError, PluginRefused
from trioemqx.services.plugins.importing import check_readable

ENTRY_POINTS: Final = "trioemqx.plugins"
TYPES: Final = frozenset({"auth", "bridge", "protocol", "backend", "feature"})
AUTH_POINTS: Final = ("client_authenticate", "client_check_acl")
DENYING: Final = (
    "client_authenticate",
    "client_enhanced_authenticate",
    "client_check_acl",
    "client_check_acl_now",
    "client_connect",
)
"""Points where a plugin that should be live and is not, or was switched off, goes on to say no."""
KEYS: Final[Mapping[str, tuple[type, ...]]] = {
    "api": (str,),
    "type": (str,),
    "default_enabled": (bool,),
    "guards": (list, str),
}
"""What may stand in `[tool.trioemqx]`."""
_WORDS: Final = {str: "text", bool: "true or false", list: "a list"}
MAX_SOURCES: Final = 200
METADATA_SUFFIX: Final = ".plugin.toml"
"""In a wheel the plugin's pyproject.toml travels as `<module>.plugin.toml`."""
SETTINGS_SUFFIX: Final = ".settings.toml"
"""And its `etc/<name>.toml` as `<module>.settings.toml`."""


@attrs.frozen
class Found:
    """A plugin or module that can be loaded. `main` is its main file; `folder` its own folder, None for a single file.

    `guards` are the hook points that must deny when it should be live and is not; None where its description does not
    say, so that its sources do. `problem` says why it cannot be loaded at all.
    """

    name: str
    kind: str
    main: Path
    folder: Path | None = None
    version: str = ""
    description: str = ""
    type: str = "feature"
    api: str = ""
    default_enabled: bool = False
    guards: tuple[str, ...] | None = None
    problem: str = ""


def find_plugins(folders: Iterable[Path]) -> dict[str, Found]:
    """Everything in `folders`, then installed distributions; the first of a name counts. Each of `folders` holds
    plugins, or is one itself."""
    found: dict[str, Found] = {}
    for folder in folders:
        for plugin in _inside(folder):
            found.setdefault(plugin.name, plugin)
    for installed in _installed():
        found.setdefault(installed.name, installed)
    return found


def _inside(folder: Path) -> Iterator[Found]:
    """A folder that is a plugin, or everything in it."""
    if is_project(folder):
        yield _in_folder(folder)
        return
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if entry.name.startswith((".", "_")):
            continue
        try:
            if entry.is_dir():
                yield _in_folder(entry)
            elif entry.suffix == ".py":
                yield _single(entry, "plugin")
        except Exception as error:  # whatever stands there, it must not keep the others from being found
            yield Found(entry.stem, "plugin", entry, problem=one_line(error))


def is_project(folder: Path) -> bool:
    """True for the folder of one plugin: its pyproject.toml says which API it is for."""
    try:
        described = _toml((folder / "pyproject.toml").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return "api" in _table(described, "tool", "trioemqx")


def project(folder: Path) -> Found:
    """The plugin that a folder is."""
    return _in_folder(folder)


def project_above(path: Path) -> Found | None:
    """The plugin in whose folder a file is; None when it is in none."""
    return next((_in_folder(folder) for folder in path.parents if is_project(folder)), None)


def find_modules(folders: Iterable[Path]) -> dict[str, Found]:
    """The files in `folders`; the first of a name counts."""
    found: dict[str, Found] = {}
    for folder in folders:
        for entry in sorted(folder.glob("*.py")) if folder.is_dir() else []:
            if not entry.name.startswith("_"):
                found.setdefault(entry.stem, _single(entry, "module"))
    return found


def pick(found: Mapping[str, Found], name: str) -> Found:
    """The one of that name, fit to be loaded. Raises PluginError `not_found` with the nearest name, or what is wrong
    with it."""
    if name not in found:
        close = get_close_matches(name, list(found), 1)
        raise PluginError(f"{name}: not found" + (f" (did you mean {close[0]}?)" if close else ""), "not_found")
    chosen = found[name]
    if chosen.problem:
        raise PluginRefused(f"{name}: {chosen.problem}")
    _check_api(chosen)
    return chosen


def _check_api(found: Found) -> None:
    version = ".".join(map(str, API_VERSION))
    where = "[tool.trioemqx] api in pyproject.toml" if found.folder is not None else "API in the module"
    if not found.api:
        raise PluginRefused(f'{found.name}: does not say which API it is for; set {where}, for instance ">=1,<2"')
    try:
        fits = version in SpecifierSet(found.api)
    except InvalidSpecifier:
        raise PluginRefused(f'{found.name}: {where} is "{found.api}", not a version range such as ">=1,<2"') from None
    if not fits:
        raise PluginRefused(f"{found.name}: is for API {found.api}, this trioemqx has {version}")


def _in_folder(folder: Path) -> Found:
    """A folder that looks like a project: pyproject.toml and the code, as a file or as a package. What both are called
    says the project's entry point, and if it has none the folder."""
    file = folder / "pyproject.toml"
    try:
        described = _toml(file.read_text("utf-8"))
    except FileNotFoundError:
        return Found(folder.name, "plugin", folder, folder, problem=f"{folder} has no pyproject.toml")
    except (OSError, ValueError, RecursionError) as error:
        return Found(folder.name, "plugin", folder, folder, problem=f"{file}: {error}")
    points = _table(described, "project", "entry-points", ENTRY_POINTS)
    name, value = next(iter(points.items())) if len(points) == 1 else (folder.name, folder.name)
    name, module = name.replace("-", "_"), str(value).partition(":")[0]
    main = _main_file(folder, module)
    if main is None:
        problem = f"{folder} has neither {module}.py nor {module}/__init__.py"
        return Found(name, "plugin", folder, folder, problem=problem)
    return _described(name, main, folder, described)


@lru_cache(maxsize=256)
def _toml(text: str) -> Mapping[str, Any]:
    """A pyproject.toml, to be read only. Raises ValueError and RecursionError."""
    return tomllib.loads(text)


def _main_file(folder: Path, module: str) -> Path | None:
    for candidate in (folder / f"{module}.py", folder / module / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _described(name: str, main: Path, folder: Path | None, described: Mapping[str, Any]) -> Found:
    project = _table(described, "project")
    ours = _table(described, "tool", "trioemqx")
    kind, wrong = _type(ours.get("type", "feature"))
    guards, problem = _guards(ours.get("guards"))
    if not problem and (wrong := wrong or _wrong_keys(ours)):
        problem = f"[tool.trioemqx] in pyproject.toml: {wrong}"
    if guards is None and "guards" in map(_nearest_key, ours):
        guards = DENYING
    return Found(
        name,
        "plugin",
        main,
        folder,
        version=str(project.get("version", "")),
        description=str(project.get("description", "")),
        type=kind,
        api=str(ours.get("api", "")),
        default_enabled=ours.get("default_enabled") is True,
        guards=guards,
        problem=problem,
    )


def _type(said: object) -> tuple[str, str]:
    """(type of a plugin, what is wrong with it): a misspelt one stands for the nearest, since `auth` denies."""
    if isinstance(said, str) and said in TYPES:
        return said, ""
    close = get_close_matches(str(said), sorted(TYPES), 1)
    hint = f" (did you mean {close[0]}?)" if close else f"; use one of {', '.join(sorted(TYPES))}"
    return close[0] if close else "feature", f"type: {said!r:.80} is not a type of plugins{hint}"


def _nearest_key(name: str) -> str:
    return next(iter(get_close_matches(name, KEYS, 1)), "")


def _wrong_keys(ours: Mapping[str, Any]) -> str:
    """The first key of `[tool.trioemqx]` that is not one, or not of its type."""
    for name, value in ours.items():
        if name not in KEYS:
            close = _nearest_key(name)
            return f"{name}: unknown key" + (f" (did you mean {close}?)" if close else "")
        if not isinstance(value, KEYS[name]):
            return f"{name}: expected {' or '.join(_WORDS[each] for each in KEYS[name])}, got {value!r:.80}"
    return ""


def _table(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The table at a path; an empty one where there is none."""
    found: object = tree
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _guards(said: object) -> tuple[tuple[str, ...] | None, str]:
    """(hook points to guard, what is wrong with them): a misspelt name must not leave a door open."""
    if said is None:
        return None, ""
    names = tuple(map(str, said)) if isinstance(said, list | tuple) else (str(said),)
    for name in names:
        if name not in DENYING:
            close = get_close_matches(name, DENYING, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            return DENYING, f"guards: {name} is not a hook point that can keep somebody out{hint}"
    return names, ""


def shipped_settings(found: Found) -> Path:
    """Where a plugin's own settings file is, if it has one."""
    if found.folder is not None:
        return found.folder / "etc" / f"{found.name}.toml"
    module = found.main.parent if found.main.name == "__init__.py" else found.main.with_suffix("")
    return module.with_name(module.name + SETTINGS_SUFFIX)


def guards_of_name(name: str) -> tuple[str, ...]:
    """The same for a plugin of which only the name is left: one that sounds like access control denies."""
    sounds = any(word in name.lower() for word in ("auth", "acl", "sasl", "access", "allow", "deny"))
    return AUTH_POINTS if sounds else ()


def guards_in_code(found: Found) -> tuple[str, ...]:
    """The points that must deny while `found` should be live and is not: those it declares, else those its sources
    name. A plugin that is too broken to say what it is may be the one that keeps strangers out."""
    if found.guards is not None:
        return found.guards
    text = ""
    for file in _sources(found):
        try:
            text += file.read_text("utf-8", "replace")
        except OSError:
            continue
    certain = AUTH_POINTS if found.type == "auth" else ()
    searched = DENYING if found.type == "auth" else DENYING[:-1]  # client_connect is mostly used to look on
    return tuple(
        point for point in DENYING if point in certain or (point in searched and re.search(rf"\b{point}\b", text))
    )


def _sources(found: Found) -> list[Path]:
    """The files of a plugin without its tests, which name what others do."""
    folder = found.folder
    if folder is None:
        return [found.main]
    return [file for file in sorted(folder.rglob("*.py")) if file.relative_to(folder).parts[0] != "tests"][:MAX_SOURCES]


def _single(file: Path, kind: str) -> Found:
    """A plugin in one file: it describes itself by constants at the top (API, DESCRIPTION, ...)."""
    try:
        said = _constants(file)
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return Found(file.stem, kind, file, problem=one_line(error))
    guards, problem = _guards(said.get("GUARDS"))
    kind_of, wrong = _type(said.get("TYPE", "feature"))
    if not isinstance(enabled := said.get("DEFAULT_ENABLED", False), bool):
        wrong = wrong or f"DEFAULT_ENABLED: expected True or False, got {enabled!r:.80}"
    return Found(
        file.stem,
        kind,
        file,
        version=str(said.get("VERSION", "")),
        description=str(said.get("DESCRIPTION", "")),
        type=kind_of,
        api=str(said.get("API", "")),
        default_enabled=enabled is True,
        guards=guards,
        problem=problem or wrong,
    )


def _constants(file: Path) -> Mapping[str, Any]:
    """The literal values of the upper-case names in a module; its docstring's first line is a DESCRIPTION, too."""
    source = file.read_bytes()
    check_readable(source, str(file))
    return _literals(source.decode("utf-8"), str(file))


@lru_cache(maxsize=256)  # a listing looks at every module, and hardly any has changed
def _literals(text: str, file: str) -> Mapping[str, Any]:
    """The same of a file's text. Raises SyntaxError."""
    tree = ast.parse(text, file)
    found: dict[str, Any] = {"DESCRIPTION": (ast.get_docstring(tree) or "").partition("\n")[0]}
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper():
                try:
                    found[target.id] = ast.literal_eval(value)
                except (ValueError, TypeError, RecursionError):
                    continue
    return found


def _installed() -> Iterator[Found]:
    """Distributions with an entry point in the group `trioemqx.plugins`; its name is the plugin's, its value
    `module:plugin`."""
    importlib.invalidate_caches()  # something may have been installed a moment ago
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        name = point.name.replace("-", "_")
        spec = importlib.util.find_spec(point.module) if "." not in point.module else None
        if spec is None or spec.origin is None:
            yield Found(name, "plugin", Path(), problem=f"the entry point names {point.module}, which cannot be found")
            continue
        main = Path(spec.origin)
        described = _carried(point.dist, point.module)
        found = _single(main, "plugin") if described is None else _described(name, main, None, described)
        version = point.dist.version if point.dist is not None and not found.version else found.version
        yield attrs.evolve(found, name=name, version=version)


def _carried(distribution: importlib.metadata.Distribution | None, module: str) -> Mapping[str, Any] | None:
    """The pyproject.toml that a wheel carries along."""
    for file in (distribution.files or []) if distribution is not None else []:
        if file.name == f"{module}{METADATA_SUFFIX}":
            try:
                return tomllib.loads(Path(str(file.locate())).read_text("utf-8"))
            except (OSError, ValueError, RecursionError):
                return None
    return None


def one_line(error: BaseException) -> str:
    """An exception as one line; with file and line where the code cannot be read."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

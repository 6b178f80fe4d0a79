"""What lists of plugins and modules show, in the API, the dashboard and `ctl plugins list`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

import trioemqx
from trioemqx.services.plugins.discovery import Found
from trioemqx.services.plugins.serving import Serving
from trioemqx.services.plugins.switches import BuiltIn


@attrs.frozen
class Listed:
    """One line: a plugin or module (`kind`), whether it is live (`active`), and why not where there is a reason."""

    name: str
    kind: str
    version: str
    description: str
    type: str
    active: bool
    problem: str = ""


def listed(kind: str, found: Mapping[str, Found], serving: Serving) -> list[Listed]:
    """Everything of a kind (`plugin` or `module`), by name: what could be loaded, and what is live though its files are
    gone."""
    chosen = {name: each for name, each in found.items() if each.kind == kind}
    chosen.update({name: each.found for name, each in serving.live.items() if each.found.kind == kind})
    return [
        Listed(name, kind, each.version, each.description, each.type, name in serving.live, serving.problem(each))
        for name, each in sorted(chosen.items())
    ]


def with_built_in(parts: Iterable[BuiltIn], plugins: Iterable[Listed]) -> list[Listed]:
    """The plugins, and the parts of the broker that EMQX has as plugins, by name. A plugin of the same name would be
    the one that is listed."""
    version = trioemqx.__version__
    by_name = {
        part.name: Listed(part.name, "plugin", version, part.description, "feature", part.active) for part in parts
    }
    by_name.update({plugin.name: plugin for plugin in plugins})
    return [by_name[name] for name in sorted(by_name)]

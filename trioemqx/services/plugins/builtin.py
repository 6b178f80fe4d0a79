"""What EMQX has as plugins and the broker as parts of its own, listed among the plugins."""

from __future__ import annotations

import trioemqx
from trioemqx.services.plugins.manager import Listed, PluginManager


def with_built_in(manager: PluginManager, plugins: list[Listed]) -> list[Listed]:
    """The plugins and these, by name. A plugin of the same name would be the one that is listed."""
    version = trioemqx.__version__
    listed = {
        part.name: Listed(part.name, "plugin", version, part.description, "feature", part.active)
        for part in manager.built_in.values()
    }
    listed.update({plugin.name: plugin for plugin in plugins})
    return [listed[name] for name in sorted(listed)]

"""What EMQX has as plugins and the broker as parts of its own: always there, listed all the same."""

from __future__ import annotations

from typing import Final

import trioemqx
from trioemqx.services.plugins.manager import Listed

DESCRIPTIONS: Final = {
    "emqx_dashboard": "EMQX Web Dashboard",
    "emqx_management": "EMQX Management API and CLI",
    "emqx_rule_engine": "EMQX Rule Engine",
}


def with_built_in(plugins: list[Listed]) -> list[Listed]:
    """The plugins and these, by name. A plugin of the same name would be the one that is listed."""
    version = trioemqx.__version__
    listed = {
        name: Listed(name, "plugin", version, description, "feature", True)
        for name, description in DESCRIPTIONS.items()
    }
    listed.update({plugin.name: plugin for plugin in plugins})
    return [listed[name] for name in sorted(listed)]

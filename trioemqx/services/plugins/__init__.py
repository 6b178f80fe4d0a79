"""Plugins: the hook registry, and the life of plugins and modules."""

from trioemqx.services.plugins.errors import PluginError, PluginRefused
from trioemqx.services.plugins.implementations import ASYNC_POINTS, POINTS
from trioemqx.services.plugins.registry import HookRegistry

__all__ = ["ASYNC_POINTS", "POINTS", "HookRegistry", "PluginError", "PluginRefused"]

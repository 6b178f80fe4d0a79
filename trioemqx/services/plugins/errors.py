"""What can go wrong with a plugin. The text of each is one line for the operator."""

from __future__ import annotations

from trioemqx.errors import TrioemqxError


class PluginError(TrioemqxError):
    """A plugin cannot be loaded, unloaded or reloaded. `reason` is EMQX's short name (`not_found`, `already_started`,
    `not_started`) where it has one, else the text itself."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason or text


class BadSettings(PluginError):
    """What is written in the configuration does not fit the plugin's settings, or cannot be read."""


class PluginRefused(PluginError):
    """The code cannot be used: wrong API range, a hook implementation of the wrong colour or with arguments its point
    does not have, a hook point that does not exist."""


class UploadRefused(PluginError):
    """An uploaded archive cannot be taken, or an uploaded plugin not be removed."""

"""All that is wrong with a configuration, at once."""

from __future__ import annotations

from collections.abc import Sequence

from trioemqx.errors import ConfigError


class ConfigErrors(ConfigError):
    """Every mistake found in one go; `errors` holds them as they were found and the text has one line for each."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first = errors[0]
        super().__init__("", first.key, first.source, first.hint)
        self.errors = list(errors)
        self.args = ("\n".join(str(error) for error in errors),)

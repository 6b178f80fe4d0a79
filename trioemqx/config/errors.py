"""All that is wrong with a configuration, at once."""

from __future__ import annotations

from collections.abc import Sequence

from trioemqx.errors import ConfigError, TrioemqxError


class ConfigErrors(TrioemqxError):
    """Every mistake found in one go: `errors` holds them as they were found, and the text has one line for each.

    It is no ConfigError itself: that class is compiled, and a compiled constructor refuses instances of other classes.
    """

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = list(errors)

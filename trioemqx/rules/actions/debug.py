"""Actions for whoever looks for what a rule does: `inspect` prints, `do_nothing` does nothing."""

from __future__ import annotations

import logging
from typing import Final

from trioemqx.services.rulekit import ActionSetup, ActionType, DirectAction, Output, RuleEvent, Words

log = logging.getLogger("trioemqx.rules.inspect")

LONGEST: Final = 4096
"""Characters of what is printed."""


class Inspect(DirectAction):
    """Writes what a rule selected to the log; the log's throttle holds a flood back."""

    def __init__(self, setup: ActionSetup) -> None:
        self._id = setup.id
        self._params = dict(setup.params)

    def run(self, output: Output, env: RuleEvent) -> None:
        """Print."""
        text = f"{dict(output)!r:.{LONGEST}}"
        log.warning("[inspect] rule %s, action %s: %s, params %.500r", env.rule_id, self._id, text, self._params)


class DoNothing(DirectAction):
    """Succeeds."""

    def __init__(self, setup: ActionSetup) -> None:
        self._id = setup.id

    def run(self, output: Output, env: RuleEvent) -> None:
        """Succeed."""


INSPECT: Final = ActionType(
    name="inspect",
    make=Inspect,
    title=Words("Inspect (debug)", "检查 (调试)"),
    description=Words("Inspect the details of action params for debug purpose", "检查动作参数 (用以调试)"),
    category="debug",
)
DO_NOTHING: Final = ActionType(
    name="do_nothing",
    make=DoNothing,
    title=Words("Do Nothing (debug)", "空动作 (调试)"),
    description=Words(
        "This action does nothing and never fails. It's for debug purpose",
        "此动作什么都不做,并且不会失败 (用以调试)",
    ),
    category="debug",
)

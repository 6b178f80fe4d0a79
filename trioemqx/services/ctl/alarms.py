"""`alarms`: what needs attention, and what did."""

from __future__ import annotations

from trioemqx.services.alarms import Alarm
from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import NOT_FOUND, CtlNode, Family, shown


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = AlarmCommands(node)
    family = Family(commands, "alarms")
    family.add("list", of.lines, help="List alarms, active ones and the history", data=of.rows)
    family.add("deactivate", of.deactivate, "<Name>", "End an active alarm")
    family.add("clean", of.clean, help="Forget the history of alarms")


class AlarmCommands:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def lines(self) -> list[str]:
        """`Alarm(high_cpu_usage, message=..., activated=true, activate_at=..., deactivate_at=infinity)`; times are
        microseconds."""
        return [line(alarm) for alarm in self._everything()]

    def rows(self) -> list[dict[str, object]]:
        """As the HTTP API has them."""
        now = int(self._node.wall() * 1_000_000)
        return [alarm_row(alarm, now) for alarm in self._everything()]

    def deactivate(self, name: str) -> str:
        """End an alarm by hand; it comes again when what it is about happens again."""
        if not self._node.alarms.deactivate(name):
            raise CommandError(NOT_FOUND)
        return "ok"

    def clean(self) -> str:
        """Forget those that ended."""
        self._node.alarms.clear_history()
        return "ok"

    def _everything(self) -> list[Alarm]:
        return [*self._node.alarms.active(), *self._node.alarms.history()]


def line(alarm: Alarm) -> str:
    """One line."""
    ended = alarm.as_dict()["deactivate_at"]
    return (
        f"Alarm({shown(alarm.name)}, message={shown(alarm.message)}, "
        f"activated={'true' if alarm.activated else 'false'}, activate_at={alarm.activate_at}, deactivate_at={ended})"
    )


def alarm_row(alarm: Alarm, now: int) -> dict[str, object]:
    """An alarm as the HTTP API has it; `now` and all times are microseconds."""
    ended = now if alarm.deactivate_at is None else alarm.deactivate_at
    return {**alarm.as_dict(), "duration": ended - alarm.activate_at}

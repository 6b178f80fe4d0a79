"""The broker's own commands of `trioemqx ctl`, a file for each family. Plugins and modules bring theirs."""

from __future__ import annotations

from trioemqx.services.commands import Commands
from trioemqx.services.ctl import (
    access,
    admins,
    alarms,
    audit,
    banned,
    clients,
    cluster,
    data,
    listeners,
    logs,
    mgmt,
    routes,
    status,
    system,
    traces,
)
from trioemqx.services.ctl.facade import CtlNode
from trioemqx.services.plugins.commands import add_commands


def add_all(commands: Commands, node: CtlNode) -> None:
    """Add every command of the broker. The node is only looked at when one of them runs."""
    add_commands(commands, node.plugins, node.hooks)
    for family in (
        status,
        cluster,
        clients,
        routes,
        listeners,
        system,
        logs,
        traces,
        access,
        banned,
        audit,
        alarms,
        mgmt,
        data,
        admins,
    ):
        family.add_to(commands, node)

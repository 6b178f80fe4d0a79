"""`cluster`: this broker is one node, so there is a status and nothing to join."""

from __future__ import annotations

from typing import Final, NoReturn

from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import CtlNode, Family, shown

ALONE: Final = "this broker runs on one node"
IGNORE: Final = "Ignore."


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Cluster(node)
    family = Family(commands, "cluster")
    family.add("status", of.status, help="Cluster status", data=of.data)
    family.add("join", of.join, "<Node>", "Join the cluster")
    family.add("leave", of.leave, help="Leave the cluster")
    family.add("force-leave", of.force_leave, "<Node>", "Force a node to leave the cluster")


class Cluster:
    """The commands. Those that would change something fail, in EMQX's words."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def status(self) -> str:
        """The members as Erlang prints them."""
        return f"Cluster status: #{{running_nodes => ['{self._node.node}'], stopped_nodes => []}}"

    def data(self) -> dict[str, list[str]]:
        """The same for programs."""
        return {"running_nodes": [self._node.node], "stopped_nodes": []}

    def join(self, name: str) -> NoReturn:
        """Nobody can be joined; joining oneself is ignored, as in EMQX."""
        raise CommandError(IGNORE if name == self._node.node else f"Failed to join the cluster: {ALONE}")

    def leave(self) -> NoReturn:
        """There is nothing to leave."""
        raise CommandError(f"Failed to leave the cluster: {ALONE}")

    def force_leave(self, name: str) -> NoReturn:
        """There is nobody to remove; removing oneself is ignored, as in EMQX."""
        if name == self._node.node:
            raise CommandError(IGNORE)
        raise CommandError(f"Failed to remove the node from cluster: there is no node {shown(name)}, {ALONE}")

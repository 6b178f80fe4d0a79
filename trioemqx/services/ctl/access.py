"""`acl cache-clean` and `pem_cache clean`: have remembered decisions and certificates looked up again.

Plugins have subcommands of `acl` of their own, which live beside these.
"""

from __future__ import annotations

from typing import Final

from trioemqx.services.commands import CommandError, Commands
from trioemqx.services.ctl.facade import NOT_FOUND, CtlNode, Family, check_node

ACL_FAILED: Final = "ACL cache drain start FAILED"
PEM_FAILED: Final = "PEM cache clean FAILED"


def add_to(commands: Commands, node: CtlNode) -> None:
    """Add the commands of this file."""
    of = Caches(node)
    family = Family(commands, "acl cache-clean")
    family.add("all", of.clean_acl, help="Forget access decisions of all clients")
    family.add("node", of.clean_acl_of_node, "<Node>", "Forget access decisions of the clients of a node")
    family.add("", of.clean_acl_of, "<ClientId>", "Forget access decisions of a client")
    family = Family(commands, "pem_cache clean")
    family.add("all", of.clean_pem, help="Read the certificates of all listeners again")
    family.add("node", of.clean_pem_of_node, "<Node>", "Read the certificates of the listeners of a node again")


class Caches:
    """The commands."""

    def __init__(self, node: CtlNode) -> None:
        self._node = node

    def clean_acl(self) -> str:
        """Every decision made before now is made again when it is needed."""
        self._node.broker.forget_grants()
        return "ACL cache drain start OK"

    def clean_acl_of_node(self, name: str) -> str:
        """The same, for the only node there is."""
        check_node(self._node, name, ACL_FAILED)
        return self.clean_acl()

    def clean_acl_of(self, clientid: str) -> None:
        """One client's. Prints nothing when it went well, as EMQX."""
        if not self._node.broker.clean_acl_cache(clientid):
            raise CommandError(NOT_FOUND)

    def clean_pem(self) -> str:
        """Handshakes from now on use the files as they are; where they cannot be used the old ones stay."""
        problems = self._node.listeners.reload_certificates()
        if problems:
            raise CommandError("\n".join([PEM_FAILED, *problems]))
        return "PEM cache clean OK"

    def clean_pem_of_node(self, name: str) -> str:
        """The same, for the only node there is."""
        check_node(self._node, name, PEM_FAILED)
        return self.clean_pem()

"""The ACL file: who may publish and subscribe what.

Asked after every other access backend. Without an `acl_file` there are no rules, and `acl_nomatch` decides. A file that
is missing, cannot be read, is wrong anywhere or holds no rule is not taken: at the start everything is denied then, and
an alarm says why; at a reload the rules that were in force stay. (EMQX goes on without rules when the file is missing;
a slip must not open what was closed.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from trioemqx.plugin import ClientInfo, Plugin, hookimpl

from ._acl_file import read_file, read_rules
from ._acl_rules import Acl, Rule

API = ">=1,<2"
DESCRIPTION = "EMQX Internal ACL Module"
DEFAULT_ENABLED = True
GUARDS = ("client_check_acl_now",)

SHIPPED: Final = """
allow user:dashboard subscribe $SYS/#
allow ipaddr:127.0.0.1 pubsub $SYS/# #
deny all subscribe $SYS/# eq:#
allow all
"""
"""The rules of etc/acl.toml, for a broker that was started without any configuration where there is no such file."""


@attrs.frozen
class Config:
    """`acl_file`, a setting of the whole broker."""

    acl_file: Path | None = None
    """File with access rules."""


class AclFile(Plugin[Config]):
    """Answers from the rules of `acl_file`, which are read at every start and reload."""

    prefix = ("acl_file",)

    async def start(self) -> None:
        """Read the rules. Raises PluginError."""
        self.acl = Acl(self._rules())

    def _rules(self) -> list[Rule]:
        path = self.config.acl_file
        if path is None:
            return []
        if "acl_file" in self.context.shipped and not path.exists():
            self.log.info("the built-in access rules are in force: nobody has set acl_file, and there is no %s", path)
            return read_rules(SHIPPED)
        rules = read_file(path)
        self.log.info("%d access rules from %s", len(rules), path)
        return rules

    @hookimpl(priority=-1)
    def client_check_acl_now(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """The first rule that fits."""
        return self.acl.check(client, action, topic)


plugin = AclFile

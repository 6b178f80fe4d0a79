"""What the API sees of the broker around it; the node is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trioemqx.api.service import ApiService
    from trioemqx.config.model import Config
    from trioemqx.core.broker import Broker
    from trioemqx.listeners.manager import ListenerManager
    from trioemqx.rules.engine import RuleEngine
    from trioemqx.services.alarms import Alarms
    from trioemqx.services.applications import Applications
    from trioemqx.services.audit import AuditLog
    from trioemqx.services.backup import Backup
    from trioemqx.services.banned import Banned
    from trioemqx.services.dashboard_users import DashboardUsers
    from trioemqx.services.loopwatch import LoopWatch
    from trioemqx.services.overrides import Overrides
    from trioemqx.services.plugins.manager import PluginManager
    from trioemqx.services.plugins.registry import HookRegistry
    from trioemqx.services.plugins.uploading import Uploading
    from trioemqx.services.stats import StatsKeeper
    from trioemqx.services.store.protocol import Store
    from trioemqx.services.web import Routes


class ApiHost(Protocol):
    """One node."""

    broker: Broker
    config: Config
    alarms: Alarms
    audit: AuditLog
    banned: Banned
    store: Store
    plugins: PluginManager
    uploading: Uploading
    listeners: ListenerManager
    applications: Applications
    dashboard_users: DashboardUsers
    backup: Backup
    hooks: HookRegistry
    overrides: Overrides
    started_config: Config
    rules: RuleEngine
    stats_keeper: StatsKeeper
    loop_watch: LoopWatch
    api: ApiService | None
    web_routes: Routes
    """Endpoints of live plugins."""
    data_dir: Path

    @property
    def node(self) -> str:
        """`name@host`"""

    @property
    def version(self) -> str:
        """The version of trioemqx."""

    @property
    def ready(self) -> bool:
        """True between the end of the start and the beginning of the drain."""

    @property
    def metrics(self) -> dict[str, int]:
        """Every counter by EMQX's name."""

    def nodes(self) -> Mapping[str, bool]:
        """Every member of the cluster, and whether it runs."""

    def stats(self) -> dict[str, int]:
        """Every gauge, `.count` and `.max`."""

    def uptime(self) -> float:
        """Seconds since the start."""

    def now(self) -> float:
        """Monotonic seconds."""

    def wall(self) -> float:
        """Unix seconds."""

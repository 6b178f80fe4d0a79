"""What EMQX would report about this broker. Here it is shown to the operator, and sent to nobody."""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Mapping
from typing import Any

import attrs
import trio

from trioemqx.plugin import ApiError, Call, Duration, Endpoint, Param, Plugin, get, put, schema

REPORT = schema.record(
    {
        **schema.texts("emqx_version", "os_name", "os_version", "otp_version", "uuid"),
        "license": schema.record(schema.texts("edition")),
        **dict.fromkeys(("nodes_uuid", "active_plugins", "active_modules"), schema.rows(schema.TEXT)),
        **schema.wholes("up_time", "num_clients", "messages_received", "messages_sent"),
    }
)


@attrs.frozen
class Config:
    """`[telemetry]`. `url` and `report_interval` are accepted and have no effect."""

    enabled: bool = False
    """What the status says until somebody decides otherwise."""
    url: str = "https://telemetry.emqx.io/api/telemetry"
    """Accepted, without effect."""
    report_interval: Duration = 7 * 86400.0
    """Accepted, without effect."""


class Telemetry(Plugin[Config]):
    """Keeps whether telemetry is enabled, and an id of this broker, in the store; makes the report when it is asked
    for. There is no code here that could send it."""

    prefix = ("telemetry",)

    async def start(self) -> None:
        """Read what was decided before, and add the commands."""
        self._table = self.context.table("state")
        rows: dict[str, Mapping[str, Any]] = {key: row async for key, row in self._table.rows()}
        self.uuid = str(rows.get("uuid", {}).get("value") or uuid.uuid4())
        if "uuid" not in rows:
            self._table.put("uuid", {"value": self.uuid})
        decided = rows.get("enabled", {}).get("value")
        self._decided = decided if isinstance(decided, bool) else None
        self._system = await trio.to_thread.run_sync(system)
        for words, run, help, data in (
            ("enable", self._enable, "Enable telemetry; nothing is sent", None),
            ("disable", self._disable, "Disable telemetry", None),
            ("get status", self._status, "Get telemetry status", lambda: {"enabled": self.enabled}),
            ("get data", self._data, "Show what EMQX would send", self.data),
        ):
            self.context.command(f"telemetry {words}", run, help=help, data=data)
        self.context.http.serve(*self._endpoints())

    def export_state(self) -> object:
        """What may have been decided since the new generation read the store."""
        return {"decided": self._decided, "uuid": self.uuid}

    def import_state(self, state: Any) -> None:
        """Take it."""
        self._decided, self.uuid = state["decided"], state["uuid"]

    def config_changed(self, config: Config) -> bool:
        """Only the default has changed."""
        return True

    # -- for the API -------------------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """What was last decided, else the setting."""
        return self.config.enabled if self._decided is None else self._decided

    def set_enabled(self, enabled: bool) -> None:
        """Decide; it outlives restarts and wins over the setting."""
        self._decided = enabled
        self._table.put("enabled", {"value": enabled})

    def data(self) -> dict[str, object]:
        """The report, with EMQX's fields: `up_time` in ms, `otp_version` is Python's."""
        broker, metrics = self.context.broker, self.context.metrics.values()
        name, version = self._system
        return {
            "emqx_version": broker.version,
            "license": {"edition": "community"},
            "os_name": name,
            "os_version": version,
            "otp_version": platform.python_version(),
            "up_time": int(broker.uptime() * 1000),
            "uuid": self.uuid,
            "nodes_uuid": [],
            "active_plugins": broker.loaded("plugin"),
            "active_modules": broker.loaded("module"),
            "num_clients": self.context.metrics.stats()["connections.max"],
            "messages_received": metrics["messages.received"],
            "messages_sent": metrics["messages.sent"],
        }

    def _endpoints(self) -> tuple[Endpoint, ...]:
        status, wanted = schema.record({"enabled": schema.FLAG}), Param("enabled", "boolean", required=True)
        return (
            put("/telemetry/status", self._decide, name="enable_telemetry", descr="Enable or disbale telemetry",
                group="telemetry", body=(wanted,), codes=(107, 108)),
            get("/telemetry/status", lambda call: {"enabled": self.enabled}, name="get_telemetry_status",
                descr="Get telemetry status", group="telemetry", data=status),
            get("/telemetry/data", lambda call: self.data(), name="get_telemetry_data",
                descr="Get reported telemetry data", group="telemetry", data=REPORT),
        )  # fmt: skip

    def _decide(self, call: Call) -> None:
        enabled = call.need("enabled")
        if not isinstance(enabled, bool):
            raise ApiError(108, "bad_params")
        self.set_enabled(enabled)

    # -- commands ----------------------------------------------------------------------------------------------------

    def _enable(self) -> str:
        self.set_enabled(True)
        return "Enable telemetry successfully"

    def _disable(self) -> str:
        self.set_enabled(False)
        return "Disable telemetry successfully"

    def _status(self) -> str:
        return f"Telemetry is {'enabled' if self.enabled else 'disabled'}"

    def _data(self) -> str:
        return json.dumps(self.data(), indent=2, ensure_ascii=False)


def system() -> tuple[str, str]:
    """Name and version of the operating system, a Linux distribution's where there is one. Reads a file."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system(), platform.release()
    return release["NAME"], release.get("VERSION_ID", "")


plugin = Telemetry

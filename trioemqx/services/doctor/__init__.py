"""Weak settings: what `trioemqx doctor` looks for in a configuration and the files it names; it needs no broker.

Each family of checks is a file; a check yields findings, each of which names the key to change and a value for it.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from trioemqx.config.model import Config
from trioemqx.services.doctor import api, doors, files, zones
from trioemqx.services.doctor.finding import SEVERITIES, Finding

__all__ = ["SEVERITIES", "Finding", "examine"]


def examine(config: Config, now: datetime) -> list[Finding]:
    """Everything that is weak, the worst first. `now` is a time with a zone, for certificates that end."""
    found = [*doors.findings(config, now), *zones.findings(config), *api.findings(config, now), *files.findings(config)]
    merged: dict[Finding, list[str]] = {}
    for finding in found:
        merged.setdefault(attrs.evolve(finding, at=()), []).extend(finding.at)
    found = [attrs.evolve(finding, at=tuple(at)) for finding, at in merged.items()]
    return sorted(found, key=lambda finding: (SEVERITIES.index(finding.severity), finding.key))

"""Roles of applications: what an AppID may ask the HTTP API for. Users of the dashboard are administrators.

A role that nobody knows, left by a newer version or by a hand in the store, may ask for nothing.
"""

from __future__ import annotations

from typing import Final

ADMINISTRATOR: Final = "administrator"
"""Everything."""
VIEWER: Final = "viewer"
"""What only reads, but for secrets, files and logs."""
PUBLISHER: Final = "publisher"
"""Publishing messages, and nothing else."""
ROLES: Final = (ADMINISTRATOR, VIEWER, PUBLISHER)
BAD_ROLE: Final = "bad role: must be one of administrator, viewer, publisher"

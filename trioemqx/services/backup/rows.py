"""The rows of an export: how the broker's own things are written, and read again.

A row of EMQX 4.0 to 4.4 is read as well as one of ours. Ours have hashes where EMQX has a secret in the clear or a
quick hash: the text of an application's hash, and base64 of a user's, so that EMQX takes such a file (and lets nobody
in by what it took).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from trioemqx.services.applications import Application, AppRefused, check_name
from trioemqx.services.banned import KINDS, MAX_WHO, PEERHOST, Ban, one_spelling
from trioemqx.services.dashboard_users import DashboardUser
from trioemqx.services.roles import ADMINISTRATOR, ROLES
from trioemqx.services.secrets import PREFIX, is_hash

UNSET: Final = "undefined"
MAX_TEXT: Final = 4096
MAX_SECRET: Final = 1024
_EMQX_HASHES: Final = (4 + 16, 4 + 32)
"""Bytes of salt and MD5 or SHA-256."""
_INT64: Final = 2**63


def write_ban(ban: Ban) -> dict[str, object]:
    """A ban."""
    return {
        "who": {ban.kind: ban.who},
        "by": ban.by,
        "reason": ban.reason or UNSET,
        "at": ban.at,
        "until": ban.until,
    }


def read_ban(row: Mapping[str, Any], now: int) -> Ban:
    """A ban. `now` is Unix seconds. Raises ValueError with the member that is wrong."""
    who = row.get("who")
    if isinstance(who, list) and len(who) == 1:
        who = who[0]
    if not isinstance(who, dict) or len(who) != 1:
        raise ValueError("who")
    kind, name = next(iter(who.items()))
    if kind not in KINDS or not isinstance(name, str) or not 0 < len(name) <= MAX_WHO:
        raise ValueError("who")
    spelled = one_spelling(name) if kind == PEERHOST else name
    if spelled is None:
        raise ValueError("who")
    reason = _text(row, "reason", "")
    return Ban(
        kind,
        spelled,
        _text(row, "by", "user"),
        "" if reason == UNSET else reason,
        _seconds(row, "at", now),
        _seconds(row, "until", None),
    )


def write_app(app: Application) -> dict[str, object]:
    """An application; the secret is its hash."""
    return {
        "id": app.app_id,
        "secret": app.secret,
        "name": app.name,
        "desc": app.desc,
        "status": app.status,
        "expired": UNSET if app.expired is None else app.expired,
        "role": app.role,
    }


def read_app(row: Mapping[str, Any], role: str = ADMINISTRATOR) -> Application:
    """An application whose secret is a hash, or in the clear. `role` is for a row of EMQX, which has none. Raises
    ValueError with the member that is wrong."""
    app_id, secret, expired = row.get("id"), row.get("secret"), row.get("expired", UNSET)
    _check_id(app_id, "id")
    if not isinstance(secret, str) or not 0 < len(secret) <= MAX_SECRET:
        raise ValueError("secret")
    status = row.get("status", True)
    if not isinstance(status, bool) and status != UNSET:
        raise ValueError("status")
    if isinstance(expired, bool) or (isinstance(expired, int) and not 0 <= expired < _INT64):
        raise ValueError("expired")
    if "role" in row and row["role"] not in ROLES:
        raise ValueError("role")
    return Application(
        str(app_id),
        secret,
        _text(row, "name", ""),
        _text(row, "desc", ""),
        status is True,
        expired if isinstance(expired, int) else None,
        role=str(row.get("role", role)),
    )


def write_user(user: DashboardUser) -> dict[str, object]:
    """A dashboard user."""
    kept = user.password
    password = base64.b64encode(kept.encode("ascii")).decode("ascii") if is_hash(kept) else kept
    return {"username": user.username, "password": password, "tags": user.tags}


def read_user(row: Mapping[str, Any]) -> DashboardUser:
    """A dashboard user. Raises ValueError with the member that is wrong."""
    username = row.get("username")
    _check_id(username, "username")
    return DashboardUser(str(username), _password(row.get("password")), _text(row, "tags", ""))


def _password(text: object) -> str:
    """A hash of ours, or EMQX's as it was exported."""
    if not isinstance(text, str) or len(text) > MAX_SECRET:
        raise ValueError("password")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if raw.startswith(PREFIX.encode("ascii")):
        text = raw.decode("ascii", "replace")
    elif len(raw) in _EMQX_HASHES:
        return text
    if not is_hash(text):
        raise ValueError("password")
    return text


def _check_id(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise ValueError(name)
    try:
        check_name(value)
    except AppRefused:
        raise ValueError(name) from None


def _text(row: Mapping[str, Any], name: str, default: str) -> str:
    """A text; null and what is absent are the default, `undefined` too where EMQX writes it for that."""
    value = row.get(name)
    if value is None or (value == UNSET and name in ("name", "desc", "tags", "by")):
        return default
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(name)
    return value


def _seconds(row: Mapping[str, Any], name: str, default: int | None) -> int:
    value = row.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _INT64:
        raise ValueError(name)
    return value

"""Applications: who may use the API. Served to dashboard users only, so that no application makes others.

Secrets are kept as hashes. One is shown when it is made, and never again.
"""

from __future__ import annotations

from typing import Final

from trioemqx.services.applications import AppRefused
from trioemqx.services.ctl.mgmt import UNSET, app_row
from trioemqx.services.roles import ADMINISTRATOR, BAD_ROLE, ROLES
from trioemqx.services.web import ApiError, Call, Param, delete, get, post, put
from trioemqx.services.web.answers import ALREADY_EXISTS, UNKNOWN_ERROR, bad_params
from trioemqx.services.web.call import whole
from trioemqx.services.web.schema import FLAG, TEXT, WHOLE, either, record, rows, texts

EXISTED: Final = "already_existed"
_EXPIRED = {**either(WHOLE, {"const": UNSET}), "description": "Unix seconds"}
_ROLE = {**TEXT, "description": "what it may ask for; absent: administrator, which is everything"}
_MEMBERS = {**texts("app_id", "name", "desc"), "status": FLAG, "expired": _EXPIRED}
APP = record({**_MEMBERS, "role": _ROLE}, optional=("role",))
APP_WITH_SECRET = record(
    {**_MEMBERS, "secret": {**TEXT, "description": "always ******: only a hash is kept"}, "role": _ROLE},
    optional=("secret", "role", *_MEMBERS),
)


def list_apps(call: Call) -> object:
    """All, by id, without secrets."""
    return [_without_secret(app_row(app)) for app in call.host.applications.entries()]


def lookup_app(call: Call) -> object:
    """One; nothing about one that nobody knows."""
    app = call.host.applications.find(call.args["appid"])
    return {} if app is None else app_row(app)


async def add_app(call: Call) -> object:
    """Make one and tell its secret."""
    app_id = call.text("app_id", message="bad_params")
    secret = call.text("secret", "") or call.host.config.management.application_default_secret or ""
    try:
        secret = await call.host.applications.add(
            app_id,
            _text(call, "name"),
            secret,
            _text(call, "desc"),
            status=_status(call, True),
            expired=_expired(call),
            role=_role(call) or ADMINISTRATOR,
        )
    except AppRefused as error:
        raise ApiError(ALREADY_EXISTS, EXISTED) if str(error) == EXISTED else bad_params(str(error)) from None
    return {"secret": secret}


def update_app(call: Call) -> None:
    """Overwrite everything but the secret; what is absent becomes unset, `status` and `role` stay."""
    done = call.host.applications.update(
        call.args["appid"],
        name=_text(call, "name"),
        desc=_text(call, "desc"),
        status=_status(call, None),
        expired=_expired(call),
        role=_role(call),
    )
    if not done:
        raise ApiError(UNKNOWN_ERROR, "not_found")


def del_app(call: Call) -> None:
    """Remove one, if there is such a one. Its next request is refused."""
    call.host.applications.delete(call.args["appid"])


def _without_secret(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "secret"}


def _text(call: Call, name: str) -> str:
    """A text; null stands for an unset one."""
    return call.text(name, "", "bad_params") if call.get(name) is not None else ""


def _status(call: Call, default: bool | None) -> bool | None:
    return call.flag("status") if call.get("status") is not None else default


def _role(call: Call) -> str | None:
    """None where it is not sent, as by what knows EMQX 4 only."""
    role = call.get("role")
    if role is not None and role not in ROLES:
        raise bad_params(BAD_ROLE)
    return None if role is None else str(role)


def _expired(call: Call) -> int | None:
    """Unix seconds; None, `undefined` and null: never."""
    value = call.get("expired")
    if value is None or value == UNSET:
        return None
    seconds = whole(value)
    if seconds is None or seconds < 0:
        raise bad_params()
    return seconds


_SHOWN = (
    Param("name", doc="what it is called"),
    Param("desc", doc="what it is for"),
    Param("status", "boolean", "false: it may not come in", default=True),
    Param("expired", "integer", "Unix seconds after which it may not come in; absent: never"),
)
_DASHBOARD = ("dashboard",)
ENDPOINTS = (
    post(
        "/apps",
        add_app,
        name="add_app",
        descr="Add Application",
        group="apps",
        listed="/apps/",
        listeners=_DASHBOARD,
        body=(
            Param("app_id", doc="1 to 256 letters, digits, - and _, a letter or digit first", required=True),
            Param("secret", doc="absent or empty: management.application.default_secret, or else a random one"),
            *_SHOWN,
            Param("role", doc="what it may ask for", enum=ROLES, default=ADMINISTRATOR),
        ),
        data=record({"secret": {**TEXT, "description": "shown here and never again"}}),
        codes=(107, 108, 113),
    ),
    delete("/apps/{appid}", del_app, name="del_app", descr="Delete Application", group="apps", listeners=_DASHBOARD),
    get(
        "/apps",
        list_apps,
        name="list_apps",
        descr="List Applications",
        group="apps",
        listed="/apps/",
        listeners=_DASHBOARD,
        data=rows(APP),
    ),
    get(
        "/apps/{appid}",
        lookup_app,
        name="lookup_app",
        descr="Lookup Application",
        group="apps",
        listeners=_DASHBOARD,
        data=APP_WITH_SECRET,
    ),
    put(
        "/apps/{appid}",
        update_app,
        name="update_app",
        descr="Update Application",
        group="apps",
        listeners=_DASHBOARD,
        body=(*_SHOWN, Param("role", doc="what it may ask for; absent: as before", enum=ROLES)),
        codes=(102, 108),
    ),
)

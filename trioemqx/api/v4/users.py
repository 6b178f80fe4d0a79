"""Users of the dashboard: who may use it, their passwords and tags. On the dashboard's own listener only."""

from __future__ import annotations

from typing import Final

from trioemqx.services.dashboard_users import ADMIN, UserRefused
from trioemqx.services.web import ApiError, Call, Param, delete, get, post, put
from trioemqx.services.web.answers import (
    ADMIN_STAYS,
    ALREADY_EXISTS,
    EMPTY_CREDENTIALS,
    NO_SUCH_USER,
    WRONG_CREDENTIALS,
    WRONG_OLD_PASSWORD,
    bad_params,
)
from trioemqx.services.web.schema import record, rows, texts

WRONG: Final = "Username/Password error"
EXISTS: Final = "Username Already Exist"
NOBODY: Final = "Username Not Found"
USER = record(texts("username", "tags"))


async def auth_user(call: Call) -> None:
    """Whether a name and a password are right. No token is made: later requests carry the same two."""
    username, password = _word(call, "username"), _word(call, "password")
    if not username:
        raise ApiError(EMPTY_CREDENTIALS, "Username undefined")
    if not password:
        raise ApiError(EMPTY_CREDENTIALS, "Password undefined")
    reason = await call.host.api.doors[call.listener].prove(username, password, call.peer)
    if reason is not None:
        raise ApiError(WRONG_CREDENTIALS, WRONG, extra={"reason": reason} if reason else None)


def list_users(call: Call) -> object:
    """All, by name."""
    return [{"username": user.username, "tags": user.tags} for user in call.host.dashboard_users.entries()]


async def create_user(call: Call) -> None:
    """Make one."""
    username, password = _word(call, "username"), _word(call, "password")
    tags = call.text("tags", "", "bad_params")
    if not username or not password:
        raise ApiError(EMPTY_CREDENTIALS, "Username or password undefined")
    try:
        await call.host.dashboard_users.add(username, password, tags)
    except UserRefused as error:
        text = str(error)
        raise ApiError(ALREADY_EXISTS, text) if text == EXISTS else bad_params(text) from None


def update_user(call: Call) -> None:
    """Give one other tags."""
    if not call.host.dashboard_users.set_tags(call.args["name"], call.text("tags", message="bad_params")):
        raise ApiError(NO_SUCH_USER, NOBODY)


def delete_user(call: Call) -> None:
    """Remove one. `admin` stays, so that somebody can always come in."""
    if call.args["name"] == ADMIN:
        raise ApiError(ADMIN_STAYS, "Cannot delete admin")
    if not call.host.dashboard_users.delete(call.args["name"]):
        raise ApiError(NO_SUCH_USER, NOBODY)


async def change_pwd(call: Call) -> None:
    """Change a password, for whoever knows the old one."""
    username, old = call.args["username"], _word(call, "old_pwd")
    new = call.text("new_pwd", message="bad_params")
    if not old:
        raise ApiError(EMPTY_CREDENTIALS, "Password undefined")
    users = call.host.dashboard_users
    if not await users.verify(username, old):
        raise ApiError(WRONG_OLD_PASSWORD, WRONG)
    try:
        if not await users.set_password(username, new):
            raise ApiError(NO_SUCH_USER, NOBODY)
    except UserRefused as error:
        raise bad_params(str(error)) from None


def _word(call: Call, name: str) -> str:
    """A text, empty when it was not sent."""
    return call.text(name, "", "bad_params")


_DASHBOARD = ("dashboard",)
_PASSWORD = "8 to 64 ASCII characters of at least two kinds: letters, digits, others"
ENDPOINTS = (
    post(
        "/auth",
        auth_user,
        name="auth_user",
        descr="Authenticate an user",
        group="dashboard",
        app="emqx_dashboard",
        listeners=_DASHBOARD,
        anonymous=True,
        body=(Param("username", required=True), Param("password", required=True)),
        codes=(103, 104, 108),
    ),
    post(
        "/users",
        create_user,
        name="create_user",
        descr="Create an user",
        group="dashboard",
        app="emqx_dashboard",
        listed="/users/",
        listeners=_DASHBOARD,
        body=(
            Param("username", doc="as app_id of an application", required=True),
            Param("password", doc=_PASSWORD, required=True),
            Param("tags", doc="what the user is, for people"),
        ),
        codes=(104, 108, 113),
    ),
    get(
        "/users",
        list_users,
        name="list_users",
        descr="List users",
        group="dashboard",
        app="emqx_dashboard",
        listed="/users/",
        listeners=_DASHBOARD,
        data=rows(USER),
    ),
    put(
        "/users/{name}",
        update_user,
        name="update_user",
        descr="Update an user",
        group="dashboard",
        app="emqx_dashboard",
        listeners=_DASHBOARD,
        body=(Param("tags", required=True),),
        codes=(105, 107, 108),
    ),
    delete(
        "/users/{name}",
        delete_user,
        name="delete_user",
        descr="Delete an user",
        group="dashboard",
        app="emqx_dashboard",
        listeners=_DASHBOARD,
        codes=(105, 106),
    ),
    put(
        "/change_pwd/{username}",
        change_pwd,
        name="change_pwd",
        descr="Change password for an user",
        group="dashboard",
        app="emqx_dashboard",
        listeners=_DASHBOARD,
        body=(Param("old_pwd", required=True), Param("new_pwd", doc=_PASSWORD, required=True)),
        codes=(104, 107, 108, 114),
    ),
)

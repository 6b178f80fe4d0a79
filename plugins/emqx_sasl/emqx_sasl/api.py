"""`/sasl`, as EMQX has it. EMQX knows SCRAM-SHA-1 only; here a user has keys for every mechanism of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trioemqx.plugin import ApiError, Call, Endpoint, Param, delete, get, post, put, schema

from .scram import MAX_ROUNDS, MECHANISMS, MIN_ROUNDS

if TYPE_CHECKING:
    from . import Sasl

CODES: Final = {"already_existed": 113, "not_found": 105}
FULL: Final = 102
BAD: Final = 108
MECHANISM: Final = Param("mechanism", enum=tuple(sorted(MECHANISMS)), required=True)
USERNAME: Final = Param("username", required=True)
USER: Final = (
    MECHANISM,
    USERNAME,
    Param("password", required=True),
    Param("salt", doc="Plain text. A random one for each user is best.", required=True),
    Param("iteration_count", "integer", f"From {MIN_ROUNDS} to {MAX_ROUNDS}.", default=MIN_ROUNDS),
)
ASKED: Final = (
    Param("mechanism", enum=tuple(sorted(MECHANISMS)), doc="Without it the users of all mechanisms are listed."),
    Param("username", doc="Of whom, together with a mechanism."),
)
KEYS: Final = schema.record(
    {**schema.texts("username", "stored_key", "server_key", "salt"), **schema.wholes("iteration_count")}
)
NAMES: Final = schema.table(schema.rows(schema.TEXT))


class Api:
    """Translates requests for the plugin."""

    def __init__(self, sasl: Sasl) -> None:
        self._sasl = sasl

    def endpoints(self) -> tuple[Endpoint, ...]:
        """In EMQX's order."""
        what = "authentication information"
        of: dict[str, Any] = {"group": "sasl"}
        return (
            post("/sasl", self.add, name="add", descr=f"Add {what}", body=USER, codes=(102, 107, BAD, 113), **of),
            delete("/sasl", self.delete, name="delete", descr=f"Delete {what}", query=(MECHANISM, USERNAME),
                   codes=(107, BAD), **of),
            put("/sasl", self.update, name="update", descr=f"Update {what}", body=USER, codes=(105, 107, BAD), **of),
            get("/sasl", self.get, name="get", descr=f"Get {what}", query=ASKED, codes=(105, 107, BAD),
                data=schema.either(schema.rows(NAMES), NAMES, KEYS), roles=(), **of),
        )  # fmt: skip

    async def add(self, call: Call) -> None:
        """A user that there was not."""
        _done(await self._sasl.add_user(**self._user(call)))

    async def update(self, call: Call) -> None:
        """Another password for one that there is."""
        _done(await self._sasl.update_user(**self._user(call)))

    def delete(self, call: Call) -> None:
        """Remove a user; none is no error."""
        self._mechanism(call.need("mechanism"))
        username = call.need("username")
        if not isinstance(username, str):
            raise ApiError(BAD, "invalid_username")
        self._sasl.delete_user(username)

    async def get(self, call: Call) -> object:
        """Names by mechanism, those of one mechanism, or one user's keys."""
        if not call.has("mechanism"):
            if call.has("username"):
                call.need("mechanism")
            mechanisms = sorted(self._sasl.config.mechanisms)
            return [{mechanism: await self._sasl.usernames(mechanism)} for mechanism in mechanisms]
        if not call.has("username"):
            mechanism = self._mechanism(call.get("mechanism"), "Unsupported mechanism")
            return {mechanism: await self._sasl.usernames(mechanism)}
        found = self._sasl.lookup_user(call.get("username"), self._mechanism(call.get("mechanism")))
        if found is None:
            raise ApiError(CODES["not_found"], "not_found")
        return found

    def _user(self, call: Call) -> dict[str, Any]:
        """The arguments of `add_user`. What is wrong with their values, that says."""
        given = {name: call.need(name) for name in ("mechanism", "username", "password", "salt")}
        self._mechanism(given["mechanism"])
        if given["salt"] is None:  # which would be a random one
            raise ApiError(BAD, "invalid_salt")
        try:
            rounds = call.integer("iteration_count", MIN_ROUNDS)
        except ApiError:
            raise ApiError(BAD, "invalid_iteration_count") from None
        return {**given, "iterations": rounds}

    def _mechanism(self, value: object, message: str = "unsupported_mechanism") -> str:
        if not isinstance(value, str) or value not in self._sasl.config.mechanisms:
            raise ApiError(BAD, message)
        return value


def _done(result: str) -> None:
    """What the plugin says of a change. Raises ApiError."""
    if result != "ok":
        raise ApiError(FULL if result.startswith("full") else CODES.get(result, BAD), result)

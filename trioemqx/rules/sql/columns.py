"""The columns of one event, computed when a rule asks for them and shared by all rules of the event."""

from __future__ import annotations

from typing import Final

from trioemqx.rules.sql.errors import EvalError
from trioemqx.rules.sql.jsontext import decode_bytes
from trioemqx.rules.sql.values import UNDEFINED, Value

_UNKNOWN: Final = object()
PAYLOAD: Final = "payload"


class Columns(dict[str, Value]):
    """Columns by name. Rules only read: `columns[name]` is UNDEFINED for what the event does not have.

    `owner` names whoever raised the event (a clientid); `proc_dict_put` keeps things per owner. This class takes all
    columns as they are; a subclass computes them in `__missing__` and lists them in `everything`.
    """

    __slots__ = ("_decoded", "owner")

    def __init__(self, columns: dict[str, Value] | None = None, owner: str = "") -> None:
        if columns:
            super().__init__(columns)
        self.owner = owner
        self._decoded: Value = _UNKNOWN

    def __missing__(self, name: str) -> Value:
        return UNDEFINED

    def everything(self) -> dict[str, Value]:
        """All columns, in a map of its own."""
        return dict(self)

    def decoded(self) -> Value:
        """The payload's JSON, read once for all rules. Raises EvalError when it is not JSON."""
        found = self._decoded
        if found is _UNKNOWN:
            try:
                found = self._decode()
            except EvalError as error:
                found = error
            self._decoded = found
        if isinstance(found, EvalError):
            raise EvalError(f"the payload is {found.reason}")
        return found

    def _decode(self) -> Value:
        payload = self[PAYLOAD]
        return decode_bytes(payload) if isinstance(payload, str | bytes) else payload

"""Hook points, declared for pluggy: what each is called with, and what its answer means.

An implementation may take any of the arguments, by name. The colour is fixed: points marked *async* are awaited and may
use the network, all others are plain functions that must return at once. Calls go through `hooks.Hooks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

import pluggy

if TYPE_CHECKING:
    from trioemqx.types import ClientInfo, Credentials, Message, Properties, SubOpts, Verdict

PROJECT = "trioemqx"
hookspec = pluggy.HookspecMarker(PROJECT)
PRIORITY = "trioemqx_priority"
"""The attribute of a marked method that holds its priority."""
F = TypeVar("F", bound=Callable[..., Any])
_mark = pluggy.HookimplMarker(PROJECT)


@overload
def hookimpl(function: F) -> F:
    """`@hookimpl`: under the method's own name, with priority 0."""


@overload
def hookimpl(*, priority: int = 0, specname: str | None = None) -> Callable[[F], F]:
    """`@hookimpl(priority=10)`: with something said about it."""


def hookimpl(function: F | None = None, *, priority: int = 0, specname: str | None = None) -> Any:
    """Mark a method as the implementation of the hook point it is named after (or of `specname`).

    A higher `priority` runs first, equal ones in the order in which their plugins were loaded. EMQX uses 1000 for the
    topic rewrite, -1 for the ACL file and 0 for everything else.
    """

    def mark(method: F) -> F:
        marked: F = _mark(specname=specname)(method)
        setattr(marked, PRIORITY, priority)
        return marked

    return mark if function is None else mark(function)


class AsyncHooks:
    """Awaited, first answer wins, None means "not mine". Bounded in time; a crash or a timeout denies."""

    @hookspec
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict | None:
        """Decide whether a client may connect."""

    @hookspec
    async def client_enhanced_authenticate(
        self, client: ClientInfo, method: str, data: bytes | None, cache: object
    ) -> Any | None:
        """One step of MQTT 5 enhanced authentication; returns a `core.access.AuthStep`."""

    @hookspec
    async def client_check_acl(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """Decide whether `action` (publish, subscribe) on a topic or filter is allowed; asked on a cache miss."""


class SyncHooks:
    """Plain functions. Deciding points answer or return None for "not mine"; transforming points return a replacement
    or None; notifying ones are not asked for an answer."""

    @hookspec
    def client_check_acl_now(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """The same question as `client_check_acl`, for rules that are in memory: no client waits for it. It may be
        asked twice, when an implementation behind it has to wait."""

    @hookspec
    def tls_handshake_psk_lookup(self, identity: str) -> bytes | None:
        """The key of a TLS pre-shared-key identity. Called in the handshake; needs Python 3.13."""

    @hookspec
    def client_connect(self, client: ClientInfo, properties: Properties | None) -> Properties | None:
        """CONNECT has been read and nothing checked. May raise `Refuse(code)`."""

    @hookspec
    def client_connack(self, client: ClientInfo, reason: str, properties: Properties) -> Properties | None:
        """A CONNACK, also a refusing one, is about to be written; `reason` is the reason code's name."""

    @hookspec
    def client_connected(self, client: ClientInfo) -> None:
        """The client was accepted; the CONNACK follows."""

    @hookspec
    def client_disconnected(self, client: ClientInfo, reason: str) -> None:
        """The connection of an accepted client has ended."""

    @hookspec
    def client_check_acl_complete(
        self, client: ClientInfo, action: str, topic: str, allowed: bool, from_cache: bool
    ) -> None:
        """An access decision was made."""

    @hookspec
    def client_subscribe(
        self, client: ClientInfo, properties: Properties | None, filters: list[tuple[str, SubOpts]]
    ) -> list[tuple[str, SubOpts]] | None:
        """The allowed filters of a SUBSCRIBE; a replacement must have the same length."""

    @hookspec
    def client_unsubscribe(
        self, client: ClientInfo, properties: Properties | None, filters: list[tuple[str, SubOpts]]
    ) -> list[tuple[str, SubOpts]] | None:
        """The filters of an UNSUBSCRIBE; a replacement must have the same length."""

    @hookspec
    def session_created(self, client: ClientInfo, session: Any) -> None:
        """A new session."""

    @hookspec
    def session_subscribed(self, client: ClientInfo, filter: str, opts: SubOpts, is_new: bool) -> None:
        """One filter was subscribed; the SUBACK follows."""

    @hookspec
    def session_unsubscribed(self, client: ClientInfo, filter: str, opts: SubOpts) -> None:
        """One filter was unsubscribed."""

    @hookspec
    def session_resumed(self, client: ClientInfo, session: Any) -> None:
        """An existing session goes to a new connection."""

    @hookspec
    def session_discarded(self, client: ClientInfo, session: Any) -> None:
        """A clean start throws an old session away."""

    @hookspec
    def session_takeovered(self, client: ClientInfo, session: Any) -> None:
        """A live connection loses its session to another one."""

    @hookspec
    def session_terminated(self, client: ClientInfo, reason: str, session: Any) -> None:
        """A session ends in any other way."""

    @hookspec
    def message_publish(self, message: Message) -> Message | None:
        """Every message that is published, also the broker's own. May raise `Drop`."""

    @hookspec
    def message_delivered(self, client: ClientInfo, message: Message) -> Message | None:
        """A message is about to be written to a client, with the QoS it is delivered at."""

    @hookspec
    def message_acked(self, client: ClientInfo, message: Message) -> None:
        """A client sent PUBACK or PUBREC; `client.said` has its properties."""

    @hookspec
    def message_dropped(self, message: Message, node: str, reason: str) -> None:
        """A message went to nobody, or was refused."""

    @hookspec
    def delivery_dropped(self, client: ClientInfo, message: Message, reason: str) -> None:
        """A delivery to one client was dropped: no_local, too_large, qos0_msg, queue_full, expired."""

    @hookspec
    def delivery_completed(
        self, client: ClientInfo, message: Message, session_birth_time: int, first_sent: float
    ) -> None:
        """A delivery is finished: at the send for QoS 0, with PUBACK or PUBCOMP otherwise. `session_birth_time` is wall
        milliseconds, `first_sent` the monotonic time (as `message.received`) of the first send."""

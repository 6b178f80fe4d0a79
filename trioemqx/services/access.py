"""Who may come in, and who may do what: the chains of authentication and authorization.

The service answers at once when no backend is loaded and asks the hooks otherwise. It fails closed: a hook that crashes
or does not answer in time denies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.core.access import AUTHENTICATE, CHECK_ACL, AuthStep, Question
from trioemqx.core.zone import Zone
from trioemqx.errors import ReasonCode, crash_of
from trioemqx.types import PUBLISH, ClientInfo, Credentials, Verdict

if TYPE_CHECKING:
    from trioemqx.hooks import Hooks
    from trioemqx.services.banned import Banned
    from trioemqx.services.flapping import Flapping

log = logging.getLogger("trioemqx.access")

MOST_ROUNDS: Final = 5
DELAYED: Final = "$delayed/"
TIMEOUT: Final = 5.0
"""Seconds one backend may take for one answer."""
BAD_AUTHENTICATION_METHOD: Final = ReasonCode.BAD_AUTHENTICATION_METHOD.value
BANNED: Final = ReasonCode.BANNED.value
NOT_AUTHORIZED: Final = ReasonCode.NOT_AUTHORIZED.value
SERVER_UNAVAILABLE: Final = ReasonCode.SERVER_UNAVAILABLE.value


class AccessService:
    """Implements `core.access.Access` for the core and `resolve` for the connections' tasks.

    `wall` gives Unix seconds for bans; `timeout` bounds each backend.
    """

    def __init__(
        self,
        hooks: Hooks,
        banned: Banned,
        flapping: Flapping,
        wall: Callable[[], float] = time.time,
        timeout: float = TIMEOUT,
    ) -> None:
        self._hooks = hooks
        self._banned = banned
        self._flapping = flapping
        self._wall = wall
        self._timeout = timeout

    # -- at once -----------------------------------------------------------------------------------------------------

    def admit(self, client: ClientInfo, zone: Zone, now: float) -> int:
        """Bans and flapping (both only where the zone has `enable_ban`): 0, or 0x8A."""
        if not zone.enable_ban:
            return 0
        if self._banned.check(client.clientid, client.username, client.peerhost, self._wall()) is not None:
            return BANNED
        if zone.enable_flapping_detect and self._flapping.connecting(client.clientid, now):
            return BANNED
        return 0

    def authenticate_now(self, client: ClientInfo, zone: Zone, password: bytes | None) -> Verdict | None:
        """The default result when no backend is asked: none is there, the zone bypasses them, or quick deny applies."""
        if zone.allow_anonymous == "false_quick_deny" and not client.username and not zone.bypass_auth_plugins:
            return Verdict(NOT_AUTHORIZED)
        if not self._hooks.client_authenticate or zone.bypass_auth_plugins:
            return _default(zone)
        return None

    def check_acl_now(self, client: ClientInfo, zone: Zone, action: str, topic: str) -> bool | None:
        """What the rules in memory say, `acl_nomatch` when they have no answer; None when a backend that has to wait
        comes before the first answer."""
        if topic.startswith(DELAYED) and action == PUBLISH:
            answers = [self._rules_now(client, zone, action, name) for name in (topic, undelayed(topic))]
            return False if False in answers else None if None in answers else True
        return self._rules_now(client, zone, action, topic)

    def _rules_now(self, client: ClientInfo, zone: Zone, action: str, topic: str) -> bool | None:
        for plugin, call, waits in self._hooks.acl:
            if waits:
                return None
            allowed = self._ask_now(plugin, call, client, action, topic)
            if allowed is not None:
                return allowed
        return zone.acl_nomatch == "allow"

    def _ask_now(
        self, plugin: str, call: Callable[..., object], client: ClientInfo, action: str, topic: str
    ) -> bool | None:
        """One implementation of `client_check_acl_now`; a crash denies."""
        began = self._hooks.clock()
        try:
            allowed = call(client, action, topic)
        except BaseException as caught:
            error = crash_of(caught)
            self._failed(plugin, "client_check_acl_now", error)
            return False
        finally:
            self._hooks.timed(plugin, "client_check_acl_now", began)
        return self._decision(plugin, "client_check_acl_now", allowed)

    def _decision(self, plugin: str, point: str, allowed: object) -> bool | None:
        """What an implementation said; anything but True, False and None denies and counts as a crash of it."""
        if allowed is None or allowed is True or allowed is False:
            return allowed
        self._failed(plugin, point, TypeError(f"not True, False or None: {allowed!r:.100}"))
        return False

    def source_banned(self, clientid: str) -> bool:
        """True while the client identifier that published a retained message is banned."""
        return self._banned.source_banned(clientid, self._wall())

    # -- with waiting ------------------------------------------------------------------------------------------------

    async def resolve(self, question: Question) -> object:
        """Answer a channel's question: a Verdict, an AuthStep, or one bool per topic."""
        if question.kind == AUTHENTICATE:
            return await self.authenticate(question.client, question.zone, question.password)
        if question.kind == CHECK_ACL:
            return await self._check_all(question)
        return await self._enhanced(question)

    async def _check_all(self, question: Question) -> list[bool]:
        """One answer per topic, all by the same rules: when these change meanwhile everything is asked again, and after
        a few times denied."""
        client, zone, action = question.client, question.zone, question.action
        for _ in range(MOST_ROUNDS):
            epoch = self._hooks.rules_epoch
            answers = [await self.check_acl(client, zone, action, topic) for topic in question.topics]
            if epoch == self._hooks.rules_epoch:
                return answers
        return [False] * len(question.topics)

    async def authenticate(self, client: ClientInfo, zone: Zone, password: bytes | None) -> Verdict:
        """Ask the authentication hooks in order; the first verdict wins, no verdict means the zone's default."""
        credentials = Credentials(client.username, password)
        for plugin, call in self._hooks.client_authenticate:
            try:
                with trio.fail_after(self._limit(plugin)):
                    verdict = await call(client, credentials)
            except BaseException as caught:
                error = crash_of(caught)
                self._failed(plugin, "client_authenticate", error)
                return Verdict(SERVER_UNAVAILABLE if isinstance(error, trio.TooSlowError) else NOT_AUTHORIZED)
            if isinstance(verdict, Verdict):
                return verdict
            if verdict is not None:
                self._failed(plugin, "client_authenticate", TypeError(f"not a Verdict: {verdict!r}"))
                return Verdict(NOT_AUTHORIZED)
        return _default(zone)

    async def check_acl(self, client: ClientInfo, zone: Zone, action: str, topic: str) -> bool:
        """Ask the access hooks in order; the first True or False wins, none means `acl_nomatch`."""
        if topic.startswith(DELAYED) and action == PUBLISH:
            allowed = await self._rules(client, zone, action, topic)
            return allowed and await self._rules(client, zone, action, undelayed(topic))
        return await self._rules(client, zone, action, topic)

    async def _rules(self, client: ClientInfo, zone: Zone, action: str, topic: str) -> bool:
        for plugin, call, waits in self._hooks.acl:
            if waits:
                try:
                    with trio.fail_after(self._limit(plugin)):
                        allowed = await call(client, action, topic)
                except BaseException as caught:
                    error = crash_of(caught)
                    self._failed(plugin, "client_check_acl", error)
                    return False
                allowed = self._decision(plugin, "client_check_acl", allowed)
            else:
                allowed = self._ask_now(plugin, call, client, action, topic)
            if allowed is not None:
                return allowed
        return zone.acl_nomatch == "allow"

    async def _enhanced(self, question: Question) -> AuthStep:
        """Ask for the next step of enhanced authentication; a method nobody knows fails with 0x8C."""
        for plugin, call in self._hooks.client_enhanced_authenticate:
            try:
                with trio.fail_after(self._limit(plugin)):
                    step = await call(question.client, question.method, question.data, question.cache)
            except BaseException as caught:
                error = crash_of(caught)
                self._failed(plugin, "client_enhanced_authenticate", error)
                return AuthStep("fail", code=NOT_AUTHORIZED)
            if isinstance(step, AuthStep):
                return step
            if step is not None:
                self._failed(plugin, "client_enhanced_authenticate", TypeError(f"not an AuthStep: {step!r:.100}"))
                return AuthStep("fail", code=NOT_AUTHORIZED)
        return AuthStep("fail", code=BAD_AUTHENTICATION_METHOD)

    def _limit(self, plugin: str) -> float:
        """Seconds a plugin's async hooks may take."""
        return self._hooks.timeouts.get(plugin, self._timeout)

    def _failed(self, plugin: str, point: str, error: BaseException) -> None:
        if isinstance(error, trio.TooSlowError):
            log.error("%s of %s did not answer within %g s; denied", point, plugin, self._limit(plugin))
        self._hooks.crashed(plugin, point, error)


def undelayed(topic: str) -> str:
    """Where a message to `$delayed/<N>/<topic>` is published in the end. EMQX 4.4 asks the rules about the topic as it
    was sent only, which a rule about the real one never fits."""
    while topic.startswith(DELAYED):
        _, _, real = topic.removeprefix(DELAYED).partition("/")
        if not real:
            break
        topic = real
    return topic


def _default(zone: Zone) -> Verdict:
    if zone.allow_anonymous == "true":
        return Verdict(0, anonymous=True)
    return Verdict(NOT_AUTHORIZED)

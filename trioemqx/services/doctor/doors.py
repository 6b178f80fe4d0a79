"""Listeners: who can reach them, and what they show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from trioemqx.config.check import needs_certificates
from trioemqx.config.listener import ListenerConfig
from trioemqx.config.model import Config
from trioemqx.services.doctor.certificates import tls_findings
from trioemqx.services.doctor.finding import HIGH, LOW, MEDIUM, Finding, is_public, is_restricted, key_of
from trioemqx.services.zones import build_zone


def findings(config: Config, now: datetime) -> Iterator[Finding]:
    """What is weak about each listener."""
    for listener in config.listeners:
        public = is_public(listener.host)
        if public:
            yield from _who_comes_in(config, listener)
            yield from _whom_it_believes(listener)
            yield from _how_many(config, listener)
        if listener.tls:
            made = needs_certificates(listener)
            key = key_of(listener, "x").removesuffix(".x")
            yield from tls_findings(key, listener.tls_versions, None if made else listener.certfile, now)
            yield from _client_certificates(listener)
            if made and public:
                reason = "a self-signed certificate is made up: clients cannot tell it from an attacker's"
                value = f"{listener.certfile} (missing)"
                yield Finding(MEDIUM, key_of(listener, "certfile"), value, reason, "a certificate of your own")


def _who_comes_in(config: Config, listener: ListenerConfig) -> Iterator[Finding]:
    zone = build_zone(config, listener.zone)
    at = (str(listener.bind),)
    written = config.zone(listener.zone)
    if zone.allow_anonymous == "true":
        key = f"zone.{listener.zone}.allow_anonymous" if written.allow_anonymous is not None else "allow_anonymous"
        reason = "everybody comes in when no authentication backend decides"
        yield Finding(HIGH, key, "true", reason, "false", at)
    if zone.bypass_auth_plugins:
        key = f"zone.{listener.zone}.bypass_auth_plugins"
        yield Finding(HIGH, key, "true", "nobody is authenticated", "false", at)
    if not zone.enable_acl:
        key, reason = f"zone.{listener.zone}.enable_acl", "no access rule is looked at"
        yield Finding(HIGH, key, "false", reason, "true", at)
    elif zone.acl_nomatch == "allow":
        key = f"zone.{listener.zone}.acl_nomatch" if written.acl_nomatch is not None else "acl_nomatch"
        reason = "what no access rule mentions is allowed"
        yield Finding(MEDIUM, key, "allow", reason, "deny", at)
    if not zone.enable_ban:
        key, reason = f"zone.{listener.zone}.enable_ban", "bans of user names and addresses have no effect"
        yield Finding(LOW, key, "false", reason, "true", at)
    if not listener.tls:
        reason = "passwords and messages can be read on their way"
        yield Finding(LOW, key_of(listener, "bind"), str(listener.bind), reason, "an ssl or wss listener in its place")


def _whom_it_believes(listener: ListenerConfig) -> Iterator[Finding]:
    if is_restricted(listener):
        return
    proposal = '["allow <address of the proxy>", "deny all"]'
    if listener.proxy_protocol:
        reason = "everybody may send a PROXY header and so choose the address that bans and rules see"
        yield Finding(HIGH, key_of(listener, "access"), _access(listener), reason, proposal)
    elif listener.websocket and (listener.proxy_address_header or listener.proxy_port_header):
        reason = f"everybody may send {listener.proxy_address_header} and so choose the address that bans and rules see"
        key = key_of(listener, "proxy_address_header")
        yield Finding(MEDIUM, key, listener.proxy_address_header, reason, '"" (and proxy_port_header = "")')


def _access(listener: ListenerConfig) -> str:
    return ", ".join(map(str, listener.access)) or "(none)"


def _how_many(config: Config, listener: ListenerConfig) -> Iterator[Finding]:
    if listener.max_conn_rate is None:
        reason = "connections are accepted as fast as they come"
        yield Finding(LOW, key_of(listener, "max_conn_rate"), "none", reason, "1000")
    if listener.max_connections > 65536 and not config.limits.max_connections:
        reason = "the only bound of all connections is the number of files that the process may open"
        yield Finding(LOW, "limits.max_connections", "0", reason, "what the machine's memory allows, such as 50000")


def _client_certificates(listener: ListenerConfig) -> Iterator[Finding]:
    named = [name for name in ("peer_cert_as_username", "peer_cert_as_clientid") if getattr(listener, name)]
    if named and listener.verify == "verify_none":
        reason = f"{' and '.join(named)} wants client certificates, and none is asked for or checked"
        yield Finding(HIGH, key_of(listener, "verify"), "verify_none", reason, "verify_peer")
    elif listener.verify == "verify_peer" and not listener.fail_if_no_peer_cert:
        reason = "a client that has no certificate comes in without one"
        severity = MEDIUM if named else LOW
        yield Finding(severity, key_of(listener, "fail_if_no_peer_cert"), "false", reason, "true")
    elif listener.cacertfile is not None and listener.verify == "verify_none" and not needs_certificates(listener):
        reason = "cacertfile names authorities, and no client certificate is asked for"
        yield Finding(LOW, key_of(listener, "verify"), "verify_none", reason, "verify_peer")

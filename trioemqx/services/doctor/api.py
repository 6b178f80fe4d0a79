"""The HTTP API: who may use it, from where, and where it may make the broker connect to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from trioemqx.config.management import HttpsListenerConfig
from trioemqx.config.model import Config
from trioemqx.services.doctor.certificates import tls_findings
from trioemqx.services.doctor.finding import HIGH, LOW, MEDIUM, Finding, guessable, is_public
from trioemqx.services.http.egress import OPEN, egress_of

SHIPPED: Final = "public"
LONG: Final = "a random text of 32 characters, from a file: EMQX_..._FILE"
METADATA: Final = ipaddress.ip_address("169.254.169.254")
JWT_SHIPPED: Final = "emqxsecret"


def findings(config: Config, now: datetime) -> Iterator[Finding]:
    """What is weak about the API, its secrets and what it may reach."""
    yield from _secrets(config)
    yield from _doors(config, now)
    yield from _egress(config)
    if config.security.audit_max_rows == 0:
        reason = "who changed what is not remembered"
        yield Finding(LOW, "security.audit.max_rows", "0", reason, "10000")
    if config.plugins.upload:
        reason = "users of the dashboard may bring code that runs with all rights of the broker"
        yield Finding(MEDIUM, "plugins.upload", "true", reason, "false when the plugins are there")
    if config.security.profile != "hardened":
        reason = "what a file leaves out has EMQX 4.4's values, which are open"
        yield Finding(LOW, "security.profile", config.security.profile, reason, "hardened")


def _secrets(config: Config) -> Iterator[Finding]:
    management, dashboard, anywhere = config.management, config.dashboard, config.security.allow_default_credentials
    hardened = config.security.profile == "hardened"
    for opened, key, name, secret in (
        (
            _is_open(config, "management"),
            "management.default_application.secret",
            management.default_application_id,
            management.default_application_secret,
        ),
        (
            _is_open(config, "dashboard"),
            "dashboard.default_user.password",
            dashboard.default_user_login,
            dashboard.default_user_password,
        ),
    ):
        replaced = hardened and secret == SHIPPED  # by a random one
        if opened and name and not replaced:
            yield from _secret(key, secret, anywhere)
    default = management.application_default_secret
    if default is not None:
        reason = "each application that is made without a secret has the same one"
        yield Finding(MEDIUM, "management.application.default_secret", "******", reason, "leave it out")
    if anywhere:
        reason = "credentials that everybody knows are accepted from every address"
        yield Finding(HIGH, "security.allow_default_credentials", "true", reason, "false")
    jwt = config.auth.get("jwt")
    if isinstance(jwt, dict) and jwt.get("secret") == JWT_SHIPPED:
        reason = "it is the one that EMQX ships: anybody can make tokens"
        yield Finding(HIGH, "auth.jwt.secret", "******", reason, LONG)


def _secret(key: str, secret: str, anywhere: bool) -> Iterator[Finding]:
    """One secret of the first application or user; `anywhere`: a well-known one holds for every address."""
    if secret == SHIPPED:
        where = "from everywhere" if anywhere else "from this machine"
        reason = f"everybody knows it; it is accepted {where}"
        yield Finding(HIGH if anywhere else MEDIUM, key, "public", reason, LONG)
    elif guessable(secret):
        yield Finding(MEDIUM, key, "******", "it is short enough to be guessed", LONG)


def _is_open(config: Config, part: str) -> bool:
    pair = config.management if part == "management" else config.dashboard
    return pair.http.bind is not None or pair.https.bind is not None


def _doors(config: Config, now: datetime) -> Iterator[Finding]:
    login = config.management.prometheus_needs_login
    if login is None:
        login = config.security.profile == "hardened"
    for part in ("management", "dashboard"):
        pair = config.management if part == "management" else config.dashboard
        for scheme, door in (("http", pair.http), ("https", pair.https)):
            key = f"{part}.listener.{scheme}"
            if door.bind is None:
                continue
            public = is_public(door.bind.host)
            if public and not isinstance(door, HttpsListenerConfig):
                reason = "secrets and passwords can be read on their way"
                proposal = f'"127.0.0.1:{door.bind.port}", or {part}.listener.https'
                yield Finding(MEDIUM, f"{key}.bind", str(door.bind), reason, proposal)
            if public and not login:
                reason = "/metrics and /api/v4/emqx_prometheus tell everybody about the broker"
                at = (str(door.bind),)
                yield Finding(MEDIUM, "management.prometheus_needs_login", "false", reason, "true", at)
            if isinstance(door, HttpsListenerConfig):
                yield from tls_findings(key, door.tls_versions, door.certfile, now)
                if door.verify == "verify_peer" and not door.fail_if_no_peer_cert:
                    reason = "a client that has no certificate comes in without one"
                    yield Finding(LOW, f"{key}.fail_if_no_peer_cert", "false", reason, "true")


def _egress(config: Config) -> Iterator[Finding]:
    rules = egress_of(config)
    if rules.policy == OPEN:
        reason = "web hooks and bridges may be pointed at cloud metadata and at everything else the machine can reach"
        proposal = '"metadata" or "private"'
        yield Finding(HIGH, "security.outbound.policy", OPEN, reason, proposal)
    elif not rules.refusal(str(METADATA)):
        value = ", ".join(map(str, rules.allow))
        reason = f"it holds {METADATA}, where clouds keep the secrets of a machine"
        yield Finding(HIGH, "security.outbound.allow", value, reason, "single networks")

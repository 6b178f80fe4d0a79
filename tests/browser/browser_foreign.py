"""Text that would run as a script where it is taken for HTML, put wherever somebody from outside can put text."""

from __future__ import annotations

from urllib.parse import quote

from browser_page import AUTH

from trioemqx.testing import TestBroker, Will, make_publish
from trioemqx.types import Properties

RUNS = "window.ran=1"
EVIL = f'<img src=x onerror="{RUNS}">"><script>{RUNS}</script>\' onfocus="{RUNS}" autofocus'
MARK = "<img src=x"
"""How it begins, which is what is seen of it where a long text is cut."""
REST = {
    "/banned": {"as": "clientid", "who": f"b{EVIL}", "reason": EVIL, "by": EVIL},
    "/auth_username": {"username": EVIL, "password": "x"},
    "/auth_clientid": {"clientid": EVIL, "password": "x"},
    "/acl": {"username": EVIL, "topic": EVIL, "action": "pub", "access": "deny"},
    "/acl_roles": {
        "name": EVIL,
        "description": EVIL,
        "rules": [{"topic": EVIL, "action": "pub", "access": "deny"}],
    },
    "/acl_groups": {"name": EVIL, "description": EVIL, "roles": [EVIL]},
    f"/acl_groups/{quote(EVIL, safe='')}/members": {"clientid": EVIL},
    f"/acl_roles/{quote(EVIL, safe='')}/members": {"username": EVIL},
    "/topic-metrics": {"topic": EVIL},
    "/apps": {"app_id": "an_app", "name": EVIL, "desc": EVIL},
    "/users": {"username": "somebody", "password": "some password", "tags": EVIL},
    "/trace": {"name": "a_trace", "type": "clientid", "clientid": EVIL},
    "/resources": {"id": EVIL, "type": "web_hook", "description": EVIL, "config": {"url": "http://127.0.0.1:9/x"}},
    "/rules": {
        "id": EVIL,
        "rawsql": f"SELECT '{EVIL.replace(chr(39), '')}' AS x FROM \"t/#\"",
        "description": EVIL,
        "actions": [{"name": "do_nothing", "params": {}}],
    },
}
"""What the API takes, by path."""
OF = quote(EVIL, safe="")
PAGES = {
    "overview": [],
    "clients": [],
    f"clients/{OF}": ["[data-kick]"],
    f"clients/{OF}?tab=subscriptions": [],
    f"clients/{OF}?tab=acl": [],
    "clients/away?tab=queue": ["main .row-actions .btn"],
    "topics": [],
    "subscriptions": [],
    "subscriptions?tab=shared": [],
    "retained": ["[data-view]", "[data-delete]"],
    "delayed": ["main .row-actions .btn", "main .row-actions .danger-text"],
    "rules": ["main .row-actions .danger-text"],
    f"rules/{OF}": [],
    "resources": ["main .row-actions .danger-text"],
    "topic-metrics": ["main .row-actions .danger-text"],
    "slow-subscriptions": [],
    "trace": [],
    "trace?log=a_trace": ["dialog .dialog-foot .btn"],
    "plugins/emqx_auth_mnesia?tab=log": [],
    "alarms": ["main .row-actions .btn"],
    "alarms?tab=past": [],
    "plugins?tab=hooks": [],
    "access": ["main .row-actions .danger-text"],
    "access?tab=clientid": ["main .row-actions .danger-text"],
    "access?tab=acl": [],
    "access?tab=roles": ["main .row-actions .danger-text"],
    f"access?tab=roles&role={OF}": ["[data-members] .row-actions .danger-text", "[data-add-members]"],
    "access?tab=groups": ["main .row-actions .danger-text"],
    f"access?tab=groups&group={OF}": [".group-roles .danger-text", "[data-members] .row-actions .danger-text"],
    "bans": ["main .row-actions .btn"],
    f"bans?as=clientid&who={OF}": [],
    "applications": ["main .row-actions .btn"],
    "users": ["main .row-actions .btn"],
    "backup": [],
    "audit": [],
    "api": [],
    "settings": [],
}
"""Pages with what is pressed there, one after the other, each followed by Escape."""
SILENT = {"overview", "plugins?tab=hooks", "backup", "api", "settings", "audit"}
"""Pages that show nothing of it, or only percent-encoded; they are opened all the same."""


async def fill(broker: TestBroker) -> None:
    """Put it everywhere. Clients stay connected, one that is away has messages waiting."""
    away = await broker.client("away", expiry=600, subscribe="#", qos=1)
    await away.disconnect()
    will = Will(EVIL, EVIL.encode())
    evil = await broker.client(EVIL, username=EVIL, subscribe=EVIL, will=will)
    await evil.subscribe(f"$share/{'group'}/{EVIL}")
    properties = Properties()
    properties.user_property, properties.content_type, properties.response_topic = [(EVIL, EVIL)], EVIL, EVIL
    for topic, retain in ((EVIL, True), ("t/1", False), (f"$delayed/600/{EVIL}", False)):
        await evil.send(make_publish(topic, EVIL.encode(), qos=0, retain=retain, properties=properties))
    await evil.ping()
    broker.node.alarms.activate(f"alarm {EVIL}", {"reason": EVIL, "nested": {EVIL: [EVIL]}})
    broker.node.alarms.activate(f"past {EVIL}", {"reason": EVIL})
    broker.node.alarms.deactivate(f"past {EVIL}")
    await broker.api("DELETE", f"/acl/username/{OF}/topic/{quote('other')}", listener="dashboard", auth=AUTH)
    for path, body in REST.items():
        answer = await broker.api("POST", path, body, listener="dashboard", auth=AUTH)
        assert answer.code == 0, (path, answer.body)
    await evil.publish("t/2", EVIL.encode(), qos=1)
    await evil.publish(EVIL, b"to itself", qos=1)  # slow enough: the threshold is 0
    broker.node.plugins.live["emqx_auth_mnesia"].instance.context.log.warning("%s is unknown", EVIL)

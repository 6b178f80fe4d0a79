"""The actions and resource types that come with the broker."""

from __future__ import annotations

from trioemqx.rules.actions.debug import DO_NOTHING, INSPECT
from trioemqx.rules.actions.mqtt_broker import DATA_TO_MQTT_BROKER
from trioemqx.rules.actions.republish import RepublishHost, republish
from trioemqx.rules.actions.webserver import data_to_webserver
from trioemqx.rules.types.bridge_mqtt import BRIDGE_RPC, bridge_mqtt
from trioemqx.rules.types.web_hook import WEB_HOOK
from trioemqx.services.rulekit import ActionType, ResourceType


def actions_of(host: RepublishHost) -> dict[str, ActionType]:
    """Actions by name."""
    kinds = (INSPECT, DO_NOTHING, republish(host), data_to_webserver(host), DATA_TO_MQTT_BROKER)
    return {kind.name: kind for kind in kinds}


def types_of(host: RepublishHost) -> dict[str, ResourceType]:
    """Resource types by name."""
    return {kind.name: kind for kind in (WEB_HOOK, bridge_mqtt(host), BRIDGE_RPC)}

"""`data_to_mqtt_broker`: sends a message for each result to another broker."""

from __future__ import annotations

from typing import Final

from trioemqx.core.topics import is_wildcard
from trioemqx.rules.actions.qos import AS_ORIGINAL, TargetQos
from trioemqx.rules.actions.rendering import text_of
from trioemqx.rules.template import Template
from trioemqx.rules.types.bridge_mqtt import BridgeResource
from trioemqx.services.rulekit import (
    RESOURCE,
    ActionFailed,
    ActionSetup,
    ActionType,
    DirectAction,
    Output,
    ParamsRefused,
    RuleEvent,
    RuleParam,
    Words,
)


class Forward(DirectAction):
    """The bridge queues it: this succeeds at once."""

    def __init__(self, setup: ActionSetup) -> None:
        if not isinstance(setup.resource, BridgeResource):
            raise ParamsRefused("{resource_not_initialized,bridge_mqtt}")
        topic = setup.params.get("forward_topic", "")
        if is_wildcard(topic):
            raise ParamsRefused("wildcard_topic_not_allowed_for_publish")
        self._resource = setup.resource
        self._topic = Template(topic) if topic else None
        self._payload = Template(setup.params.get("payload_tmpl", ""))
        self._qos = TargetQos(setup.params.get("forward_qos", AS_ORIGINAL), "forward_qos")

    def run(self, output: Output, env: RuleEvent) -> None:
        """Hand it over."""
        message, bridge = env.message, self._resource.bridge
        if message is None:
            raise ActionFailed("the event has no message to forward")
        if bridge is None:
            raise ActionFailed("the bridge has no connection yet")
        topic = message.topic if self._topic is None else text_of(self._topic, output)
        if is_wildcard(topic):
            raise ActionFailed(f"wildcard_topic_not_allowed_for_publish: {topic:.200}")
        bridge.send(topic, self._payload.body(output), self._qos.of(output, env), message.retain)


DATA_TO_MQTT_BROKER: Final = ActionType(
    name="data_to_mqtt_broker",
    make=Forward,
    params=(
        RuleParam(RESOURCE, required=True, title=Words("Resource ID", "资源 ID"),
            description=Words("Bind a resource to this action", "给动作绑定一个资源")),
        RuleParam("forward_topic", default="", title=Words("Forward Topic", "转发消息主题"),
            description=Words("The topic there; empty: that of the message", "远程主题; 为空时使用原消息的主题")),
        RuleParam("payload_tmpl", default="", input="textarea", title=Words("Payload Template", "消息内容模板"),
            description=Words("May have placeholders; empty: everything that was selected, as JSON",
                "可以使用占位符; 为空时使用所有选出的字段 (JSON)")),
        RuleParam("forward_qos", ("number", "string"), enum=(-1, 0, 1, 2, "${qos}"), input="editable_select",
            title=Words("Forward QoS", "转发 QoS"),
            description=Words("0, 1, 2, a placeholder, or -1 for that of the message, as without it",
                "0, 1, 2, 占位符, 或者 -1 表示原消息的 QoS (默认)")),
    ),
    title=Words("Data bridge to MQTT Broker", "桥接数据到 MQTT Broker"),
    description=Words("Bridge data to another MQTT broker", "桥接数据到另一个 MQTT Broker"),
    category="data_forward",
    app="emqx_bridge_mqtt",
    for_="message.publish",
    types=("bridge_mqtt", "bridge_rpc"),
)  # fmt: skip

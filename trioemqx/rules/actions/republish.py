"""`republish`: publishes a message for each result. It goes the way of any other: rules, retainer, subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from trioemqx.config.rules import RuleEngineConfig
from trioemqx.core.topics import is_wildcard
from trioemqx.errors import ProtocolError
from trioemqx.rules.actions.properties import PublishProperties
from trioemqx.rules.actions.qos import TargetQos, fixed
from trioemqx.rules.actions.rendering import text_of
from trioemqx.rules.template import Template
from trioemqx.services.rulekit import (
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
from trioemqx.types import Message

if TYPE_CHECKING:
    from trioemqx.metrics import Metrics

BY: Final = "republish_by"
"""The header with the action that a message comes from."""
HOPS: Final = "rule_hops"
"""The header that counts how often a message was republished, one after the other."""
_RETAIN: Final[dict[object, bool]] = {1: True, 0: False, "1": True, "0": False, "true": True, "false": False}
MAX_TOPIC: Final = 65535


class RepublishHost(Protocol):
    """What republishing needs of the rule engine."""

    metrics: Metrics

    @property
    def settings(self) -> RuleEngineConfig:
        """`[rule_engine]`"""

    @property
    def node(self) -> str:
        """`name@host`"""

    def publish(self, message: Message) -> int:
        """Publish a message."""

    def wall(self) -> float:
        """Unix seconds."""


class Republish(DirectAction):
    """A message does not go through the same action twice, nor through more than `rule_engine.max_hops` of them."""

    def __init__(self, setup: ActionSetup, host: RepublishHost) -> None:
        params = setup.params
        topic = params["target_topic"]
        if is_wildcard(topic):
            raise ParamsRefused("wildcard_topic_not_allowed_for_publish")
        if len(topic.encode()) > MAX_TOPIC:
            raise ParamsRefused("{invalid_value,target_topic}")
        self._id = setup.id
        self._host = host
        self._topic = Template(topic)
        self._payload = Template(params.get("payload_tmpl", "${payload}"))
        self._qos = TargetQos(params.get("target_qos", 0), "target_qos")
        self._retain = fixed(params.get("target_retain", False), _RETAIN, "target_retain")
        self._properties = PublishProperties.of(params.get("mqtt_properties", {}), params.get("user_properties", {}))

    def run(self, output: Output, env: RuleEvent) -> None:
        """Publish."""
        original = env.message
        hops = self._hops(original)
        topic = text_of(self._topic, output)
        if is_wildcard(topic):
            raise ActionFailed(f"wildcard_topic_not_allowed_for_publish: {topic:.200}")
        qos, retain = self._qos.of(output, env), self._retain_of(output)
        properties = self._properties.render(output) if self._properties is not None else None
        message = Message(topic, self._payload.body(output), qos, retain, self._id, properties)
        message.headers = {BY: self._id, HOPS: hops + 1}
        if original is not None:
            message.timestamp = original.timestamp
        try:
            self._host.publish(message)
        except ProtocolError as error:
            raise ActionFailed(f"{error}: {topic:.200}") from error
        self._count(qos)

    def _hops(self, original: Message | None) -> int:
        """How often the original has been republished. Raises ActionFailed when that is enough."""
        headers = original.headers if original is not None else None
        if not headers:
            return 0
        if headers.get(BY) == self._id:
            raise ActionFailed("recursively_republish: the message comes from this action")
        hops = headers.get(HOPS, 0)
        if not isinstance(hops, int) or hops >= self._host.settings.max_hops:
            raise ActionFailed(f"recursively_republish: the message has been republished {hops} times")
        return hops

    def _retain_of(self, output: Output) -> bool:
        wanted = self._retain
        if isinstance(wanted, bool):
            return wanted
        wanted = wanted.value(output)
        if not isinstance(wanted, int | str) or wanted not in _RETAIN:
            raise ActionFailed(f"bad retain flag: {wanted!r:.100}")
        return _RETAIN[wanted]

    def _count(self, qos: int) -> None:
        """EMQX counts what rules publish as received."""
        metrics = self._host.metrics
        if qos == 0:
            metrics.messages_qos0_received += 1
        elif qos == 1:
            metrics.messages_qos1_received += 1
        else:
            metrics.messages_qos2_received += 1


def republish(host: RepublishHost) -> ActionType:
    """The action."""
    return ActionType(
        name="republish",
        make=lambda setup: Republish(setup, host),
        params=(
            RuleParam("target_topic", required=True, default="repub/to/${clientid}",
                title=Words("Target Topic", "目的主题"),
                description=Words("The topic to publish to; may have placeholders", "发布到哪个主题; 可以使用占位符")),
            RuleParam("target_qos", ("number", "string"), required=True, default=0, enum=(0, 1, 2, "${qos}"),
                input="editable_select", title=Words("Target QoS", "目的 QoS"),
                description=Words("0, 1, 2, a placeholder, or -1 for that of the original message",
                    "0, 1, 2, 占位符, 或者 -1 表示原消息的 QoS")),
            RuleParam("target_retain", ("boolean", "string"), default=False, enum=(True, False, "${flags.retain}"),
                input="editable_select", title=Words("Target Retain Flag", "目的保留消息标志"),
                description=Words("true, false, or a placeholder", "true, false, 或者占位符")),
            RuleParam("payload_tmpl", default="${payload}", input="textarea",
                title=Words("Payload Template", "消息内容模板"),
                description=Words("May have placeholders; empty: everything that was selected, as JSON",
                    "可以使用占位符; 为空时使用所有选出的字段 (JSON)")),
            RuleParam("mqtt_properties", "object", title=Words("MQTT Properties", "MQTT 属性"),
                description=Words('MQTT 5 properties: {"Content-Type": "text/plain"}; may have placeholders',
                    'MQTT 5 属性: {"Content-Type": "text/plain"}; 可以使用占位符')),
            RuleParam("user_properties", "object", title=Words("User Properties", "用户属性"),
                description=Words("MQTT 5 user properties; may have placeholders",
                    "MQTT 5 用户属性; 可以使用占位符")),
        ),
        title=Words("Republish", "消息重新发布"),
        description=Words("Republish a MQTT message to another topic", "重新发布消息到另一个主题"),
        category="data_forward",
    )  # fmt: skip

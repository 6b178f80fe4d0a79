"""`/topic-metrics`, as EMQX has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trioemqx.plugin import ApiError, Call, Endpoint, Param, PluginError, delete, get, post, schema

if TYPE_CHECKING:
    from .emqx_mod_topic_metrics import TopicMetrics

APP: Final = "emqx_modules"
GROUP: Final = "topic_metrics"
INVALID: Final = 115
WAYS: Final = ("in", "out", "qos0.in", "qos0.out", "qos1.in", "qos1.out", "qos2.in", "qos2.out", "dropped")
METRICS: Final = schema.record(
    {
        **schema.wholes(*(f"messages.{way}.count" for way in WAYS)),
        **{f"messages.{way}.rate": schema.NUMBER for way in WAYS},
    }
)
TOPIC: Final = Param("topic", doc="Topic name, without wildcards.", required=True)


class Api:
    """Translates requests for the module."""

    def __init__(self, topics: TopicMetrics) -> None:
        self._topics = topics

    def endpoints(self) -> tuple[Endpoint, ...]:
        """In EMQX's order."""
        whose = "of all nodes in the cluster"
        return (
            get("/topic-metrics", self.all, name="list_all_topic_metrics", app=APP, group=GROUP,
                descr=f"A list of all topic metrics {whose}",
                data=schema.rows(schema.record({"topic": schema.TEXT, "metrics": METRICS}))),
            get("/topic-metrics/{topic}", self.one, name="list_topic_metrics", app=APP, group=GROUP,
                descr=f"A list of specfied topic metrics {whose}", codes=(INVALID,),
                data=schema.either(METRICS, {"const": {}, "description": "the topic is not registered"})),
            post("/topic-metrics", self.register, name="register_topic_metrics", app=APP, group=GROUP,
                 descr="Register topic metrics", body=(TOPIC,), codes=(107, INVALID)),
            delete("/topic-metrics", self.unregister_all, name="unregister_all_topic_metrics", app=APP, group=GROUP,
                   descr="Unregister all topic metrics"),
            delete("/topic-metrics/{topic}", self.unregister, name="unregister_topic_metrics", app=APP, group=GROUP,
                   descr="Unregister topic metrics", codes=(INVALID,)),
        )  # fmt: skip

    def all(self, call: Call) -> object:
        """Every topic with its numbers."""
        return self._topics.all_metrics()

    def one(self, call: Call) -> object:
        """The numbers of a topic; none of one that is not registered."""
        try:
            return self._topics.metrics(call.args["topic"])
        except PluginError as error:
            return _tolerated(error, {}, "topic_not_found")

    def register(self, call: Call) -> object:
        """Count a topic; one that is counted already, or one too many, is no error in EMQX."""
        try:
            self._topics.register(call.need("topic"))
        except PluginError as error:
            return _tolerated(error, None, "already_existed", "quota_exceeded")
        return None

    def unregister(self, call: Call) -> object:
        """Forget a topic."""
        try:
            self._topics.unregister(call.args["topic"])
        except PluginError as error:
            return _tolerated(error, None, "topic_not_found")
        return None

    def unregister_all(self, call: Call) -> None:
        """Forget every topic."""
        self._topics.unregister_all()


def _tolerated(error: PluginError, answer: object, *reasons: str) -> object:
    """The answer for what is no error in EMQX; raises ApiError for anything else."""
    if error.reason in reasons:
        return answer
    raise ApiError(INVALID, "invalid_topic_name") from None

"""What happens on chosen topics: counts and rates of messages that come in, go out and are dropped."""

from __future__ import annotations

from typing import Any, Final

from trioemqx.plugin import Handle, Message, NoConfig, Plugin, PluginError, ProtocolError, hookimpl, validate_topic

from ._topic_metrics_api import Api

API = ">=1,<2"
DESCRIPTION = "EMQX Topic Metrics Module"

MAX_TOPICS: Final = 512
NAMES: Final = (
    "messages.in",
    "messages.out",
    "messages.qos0.in",
    "messages.qos0.out",
    "messages.qos1.in",
    "messages.qos1.out",
    "messages.qos2.in",
    "messages.qos2.out",
    "messages.dropped",
)
IN: Final = 0
OUT: Final = 1
QOS_IN: Final = (2, 4, 6)
QOS_OUT: Final = (3, 5, 7)
DROPPED: Final = 8
SAMPLING: Final = 1.0
WINDOWS: Final = (5, 60, 300)
"""Seconds of the moving averages; the first is the `.rate` of the API."""
STILL: Final = 1e-6
"""Messages a second that are none any more."""


class Figures:
    """The counts of one topic by index of NAMES, and the rates (messages a second) by window and index."""

    __slots__ = ("before", "counts", "rates")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin at 0."""
        self.counts = [0] * len(NAMES)
        self.before = [0] * len(NAMES)
        self.rates = [[0.0] * len(NAMES) for _ in WINDOWS]

    def sample(self, seconds: float) -> None:
        """`seconds` have passed since the last sample: move each average 1/window of the way to the present rate."""
        quiet = self.counts == self.before
        for window, rates in zip(WINDOWS, self.rates, strict=True):
            if quiet and not any(rates):
                continue
            for index, rate in enumerate(rates):
                present = (self.counts[index] - self.before[index]) / seconds
                moved = rate + (present - rate) / window
                rates[index] = moved if moved > STILL else 0.0
        self.before[:] = self.counts


class Taps:
    """The hooks, in a place of their own: they are there only while a topic is registered."""

    def __init__(self, topics: dict[str, Figures]) -> None:
        self._topics = topics

    @hookimpl
    def message_publish(self, message: Message) -> None:
        """One came in."""
        figures = self._topics.get(message.topic)
        if figures is not None:
            figures.counts[IN] += 1
            figures.counts[QOS_IN[message.qos]] += 1

    @hookimpl
    def message_delivered(self, message: Message) -> None:
        """One goes out to a client."""
        figures = self._topics.get(message.topic)
        if figures is not None:
            figures.counts[OUT] += 1
            figures.counts[QOS_OUT[message.qos]] += 1

    @hookimpl
    def message_dropped(self, message: Message) -> None:
        """One went to nobody, or was refused."""
        figures = self._topics.get(message.topic)
        if figures is not None:
            figures.counts[DROPPED] += 1


class TopicMetrics(Plugin[NoConfig]):
    """Counts by exact topic, as the broker knows it (a client's mountpoint included). At most 512 topics.

    Which topics are registered is stored; counts begin at 0 with every start.
    """

    async def start(self) -> None:
        """Register what was registered when the broker, or the module, ended."""
        self._topics: dict[str, Figures] = {}
        self._hooks: Handle | None = None
        self._table = self.context.table("topics")
        async for topic, _ in self._table.rows():
            self._topics[topic] = Figures()
        self._sampled = self.context.now()
        self.context.every(SAMPLING, self._sample)
        self.context.http.serve(*Api(self).endpoints())
        self._tap()

    def export_state(self) -> object:
        """Every topic with its figures, and when they were last sampled."""
        figures = {
            topic: (list(known.counts), list(known.before), [list(rates) for rates in known.rates])
            for topic, known in self._topics.items()
        }
        return {"sampled": self._sampled, "figures": figures}

    def import_state(self, state: Any) -> None:
        """Go on counting where the last generation stops."""
        self._sampled = state["sampled"]
        self._topics.clear()
        for topic, (counts, before, rates) in state["figures"].items():
            figures = self._topics[topic] = Figures()
            figures.counts, figures.before, figures.rates = counts, before, rates
        self._tap()

    def _tap(self) -> None:
        """Listen while there is something to count."""
        if self._topics and self._hooks is None:
            self._hooks = self.context.hooks(Taps(self._topics))
        elif not self._topics and self._hooks is not None:
            self._hooks.close()
            self._hooks = None

    def _sample(self) -> None:
        now = self.context.now()
        seconds, self._sampled = now - self._sampled, now
        for figures in self._topics.values():
            figures.sample(seconds)

    # -- for the API -------------------------------------------------------------------------------------------------

    def register(self, topic: str) -> None:
        """Count a topic from now on. Raises PluginError `invalid_topic`, `already_existed`, `quota_exceeded`."""
        _check(topic)
        if topic in self._topics:
            raise PluginError(f"{topic}: already registered", "already_existed")
        if len(self._topics) >= MAX_TOPICS:
            raise PluginError(f"{MAX_TOPICS} topics are registered, there can be no more", "quota_exceeded")
        self._table.put(topic, {})
        self._topics[topic] = Figures()
        self._tap()

    def unregister(self, topic: str) -> None:
        """Forget a topic. Raises PluginError `invalid_topic`, `topic_not_found`."""
        self._find(topic)
        self._table.delete(topic)
        del self._topics[topic]
        self._tap()

    def unregister_all(self) -> None:
        """Forget every topic."""
        for topic in list(self._topics):
            self.unregister(topic)

    def reset(self, topic: str | None = None) -> None:
        """Begin again at 0, for one topic or all. Raises PluginError `invalid_topic`, `topic_not_found`."""
        for name in list(self._topics) if topic is None else [topic]:
            self._find(name).clear()

    def metrics(self, topic: str) -> dict[str, int | float]:
        """The 18 numbers of a topic, `messages.in.count`, `messages.in.rate`, ...; a rate is messages a second over 5
        seconds. Raises PluginError `invalid_topic`, `topic_not_found`."""
        return _numbers(self._find(topic))

    def all_metrics(self) -> list[dict[str, object]]:
        """`{"topic": ..., "metrics": {...}}` for every topic, in the order of their registration."""
        return [{"topic": topic, "metrics": _numbers(figures)} for topic, figures in self._topics.items()]

    def rates(self, topic: str) -> dict[str, dict[int, float]]:
        """Messages a second over 5, 60 and 300 seconds by name, `{"messages.in": {5: 1.0, 60: 0.1, 300: 0.02}}`.
        Raises PluginError `invalid_topic`, `topic_not_found`."""
        rates = self._find(topic).rates
        return {
            name: {window: round(rates[place][index], 2) for place, window in enumerate(WINDOWS)}
            for index, name in enumerate(NAMES)
        }

    def _find(self, topic: str) -> Figures:
        _check(topic)
        if topic not in self._topics:
            raise PluginError(f"{topic}: not registered", "topic_not_found")
        return self._topics[topic]


def _check(topic: object) -> None:
    """The API hands over whatever a request had for a topic."""
    if not isinstance(topic, str):
        raise PluginError("a topic is a text", "invalid_topic")
    try:
        topic.encode()
        validate_topic(topic)
    except (ProtocolError, UnicodeEncodeError) as error:
        raise PluginError(f"{topic!r:.200} is no topic: {error}", "invalid_topic") from None


def _numbers(figures: Figures) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for index, name in enumerate(NAMES):
        found[f"{name}.count"] = figures.counts[index]
        found[f"{name}.rate"] = round(figures.rates[0][index], 2)
    return found


plugin = TopicMetrics

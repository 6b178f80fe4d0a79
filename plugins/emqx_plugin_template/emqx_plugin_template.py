"""Greets every client that connects, and counts their visits: one of each thing that a plugin can have.

`trioemqx plugin new` makes a smaller one. Both are explained in docs/plugins.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import attrs

from trioemqx.plugin import (
    PAGING,
    ActionFailed,
    ActionSetup,
    ActionType,
    ApiError,
    Call,
    ClientInfo,
    CommandError,
    DirectAction,
    Duration,
    Endpoint,
    Message,
    Page,
    Plugin,
    PluginError,
    ProtocolError,
    RuleEvent,
    RuleParam,
    Words,
    get,
    hookimpl,
    paged,
    schema,
    validate_topic,
)

ROW = schema.record({**schema.texts("clientid"), **schema.wholes("visits")})


@attrs.frozen
class Config:
    """The settings, `[plugins.emqx_plugin_template]`: what has a default may be left out."""

    greeting: str = "Hello"
    """How clients are greeted."""
    topic: str = "greetings"
    """Greetings are published below it."""
    summary_every: Duration = 60.0
    """Time between two summaries."""
    max_visitors: int = attrs.field(default=10000, validator=attrs.validators.ge(1))
    """Most clients whose visits are counted."""


class Greet(DirectAction):
    """An action of rules: greets the client that a rule has selected."""

    def __init__(self, setup: ActionSetup, say: Callable[[str], None]) -> None:
        self._greeting = setup.params["greeting"]
        self._say = say

    def run(self, output: Mapping[str, object], event: RuleEvent) -> None:
        """Greet. A failure is counted, and the rule's fallbacks are next."""
        name = output.get("clientid")
        if not isinstance(name, str):
            raise ActionFailed("the rule has to select a clientid")
        self._say(f"{self._greeting}, {name}!")


class Greeter(Plugin[Config]):
    """Publishes a greeting for each client, and now and then how many there were."""

    async def start(self) -> None:
        """Prove that it can work, and ask for what comes into force with the hooks."""
        try:
            validate_topic(self.config.topic)
        except ProtocolError as error:
            raise PluginError(f"{self.context.name}: topic {self.config.topic!r}: {error}") from error
        self.visits: OrderedDict[str, int] = OrderedDict()
        self.greeted = self.context.metrics.counter("plugin.emqx_plugin_template.greeted")
        self.forgotten = self.context.metrics.counter("plugin.emqx_plugin_template.forgotten")
        self.context.command(
            "visits", self._command, usage="visits [<ClientId>]", help="Show who was greeted how often"
        )
        self.context.http.serve(*self._endpoints())
        self.context.every(self.config.summary_every, self._summary)
        self.context.rules.action(self._action())
        self.context.rules.function("visits(clientid)", lambda clientid: self.visits.get(clientid, 0))

    @hookimpl
    def client_connected(self, client: ClientInfo) -> None:
        """A client was accepted. A hook without `async` must return at once: no waiting, no files, no network."""
        name = client.clientid
        self.visits[name] = self.visits.pop(name, 0) + 1
        self._limit()
        self.greeted.inc()
        self._say(f"{self.config.greeting}, {name}! Visit {self.visits[name]}.")

    def export_state(self) -> object:
        """At a reload: the visits, as plain data."""
        return dict(self.visits)

    def import_state(self, state: object) -> None:
        """At a reload: what the generation before knew. The settings may have another limit now."""
        if isinstance(state, dict):
            self.visits.update(state)
        self._limit()

    def _limit(self) -> None:
        """Client identifiers come from the network, so a table of them needs an end: who was away longest goes."""
        while len(self.visits) > self.config.max_visitors:
            self.visits.popitem(last=False)
            self.forgotten.inc()

    def _summary(self) -> None:
        self._say(f"{len(self.visits)} visitors, {self.greeted.value} visits")

    def _say(self, text: str) -> None:
        message = Message(self.config.topic, text.encode(), publisher=self.context.name)
        self.context.broker.publish(message)

    def _command(self, clientid: str | None = None) -> list[str]:
        if clientid is None:
            return [f"{name}: {count}" for name, count in self.visits.items()]
        if clientid not in self.visits:
            raise CommandError("Not Found.")
        return [f"{clientid}: {self.visits[clientid]}"]

    def _action(self) -> ActionType:
        """What rules can do with it: `{"name": "greet", "params": {"greeting": "Hi"}}`."""
        return ActionType(
            name="greet",
            make=lambda setup: Greet(setup, self._say),
            params=(RuleParam("greeting", default=self.config.greeting, title=Words("Greeting", "问候语")),),
            title=Words("Greet a client", "问候客户端"),
        )

    def _endpoints(self) -> tuple[Endpoint, ...]:
        """What there is under `/api/v4`. Their descriptions make the documents of the API."""
        return (
            get("/visits", self._list, name="list_visits", descr="Who was greeted how often", query=PAGING,
                data=schema.rows(ROW), paged=True, codes=(108,)),
            get("/visits/{clientid}", self._lookup, name="lookup_visits", descr="How often a client was greeted",
                data=ROW, codes=(102,)),
        )  # fmt: skip

    async def _list(self, call: Call) -> Page:
        """A table may be long: `paged` looks for the page in slices, so the list must not change meanwhile."""
        return await paged(call, list(self.visits.items()), lambda visit: {"clientid": visit[0], "visits": visit[1]})

    def _lookup(self, call: Call) -> object:
        clientid = call.args["clientid"]
        if clientid not in self.visits:
            raise ApiError(102, "not_found")
        return {"clientid": clientid, "visits": self.visits[clientid]}


plugin = Greeter

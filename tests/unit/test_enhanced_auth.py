"""Enhanced authentication [MQTT5 4.12] [broker.md 5.6]: AUTH before CONNACK, re-authentication, every wrong turn."""

from __future__ import annotations

import pytest
import trio
from session_helpers import Counted, Recorder, both_families, props, shutdown_count

from trioemqx.codec.control import Auth, Connack, Connect, Disconnect, Pingreq
from trioemqx.codec.packets import make_publish
from trioemqx.core.access import AuthStep
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, Refused, TestBroker
from trioemqx.types import ClientInfo, Credentials, Verdict

CONTINUE = 0x18
AGAIN = 0x19


class Challenge:
    """Method `riddle`: any first data gets the question, `42` is right. `quick` data is right at once."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.steps: list[tuple[str, bytes | None, object]] = []

    @hookimpl
    async def client_enhanced_authenticate(
        self, client: ClientInfo, method: str, data: bytes | None, cache: object
    ) -> AuthStep | None:
        self.steps.append((client.clientid, data, cache))
        await trio.sleep(self.delay)
        if method != "riddle":
            return None
        if data == b"quick":
            return AuthStep("ok", b"welcome")
        if cache is None:
            return AuthStep("continue", b"6 x 7?", "asked")
        return AuthStep("ok", b"well done") if data == b"42" else AuthStep("fail", code=0x87)


def auth(code: int = CONTINUE, method: str | None = "riddle", data: bytes | None = None) -> Auth:
    return Auth(code, props(authentication_method=method, authentication_data=data))


async def begin(broker: TestBroker, data: bytes | None = b"hello", method: str = "riddle") -> Client:
    """A client that has sent its CONNECT."""
    client = await broker.raw(5)
    properties = props(authentication_method=method, authentication_data=data)
    await client.send(Connect(proto_ver=5, clientid="c", properties=properties))
    return client


async def connected(broker: TestBroker) -> Client:
    client = await begin(broker, b"quick")
    assert isinstance(await client.receive(), Connack)
    return client


# -- before CONNACK --------------------------------------------------------------------------------------------------


async def test_one_round(broker: TestBroker) -> None:
    """[MQTT-4.12.0-2] AUTH 0x18 [MQTT-4.12.0-3] AUTH 0x18, CONNACK with method and data; the cache goes from step to
    step."""
    challenge = Challenge()
    broker.node.hooks.register(challenge, "riddle")
    counted = Counted(broker)
    client = await begin(broker)
    assert await client.receive() == auth(data=b"6 x 7?")
    assert broker.node.find("c") is None  # no session before the proof
    await client.send(auth(data=b"42"))
    answer = await client.receive()
    assert isinstance(answer, Connack)
    assert answer.code == 0
    assert answer.properties is not None
    assert answer.properties.authentication_method == "riddle"  # [MQTT-4.12.0-5]
    assert answer.properties.authentication_data == b"well done"
    assert answer.properties.subscription_identifier_available == 1
    assert challenge.steps == [("c", b"hello", None), ("c", b"42", "asked")]
    assert counted("packets.auth.sent", "packets.auth.received") == [1, 1]
    await client.ping()


async def test_success_at_once(broker: TestBroker) -> None:
    broker.node.hooks.register(Challenge(), "riddle")
    client = await begin(broker, b"quick")
    answer = await client.receive()
    assert isinstance(answer, Connack)
    assert answer.properties is not None
    assert answer.properties.authentication_data == b"welcome"


async def test_a_method_without_data_is_a_beginning(broker: TestBroker) -> None:
    """[MQTT5 3.1.2.11.10] Authentication Data is optional."""
    broker.node.hooks.register(Challenge(), "riddle")
    client = await begin(broker, None)
    assert await client.receive() == auth(data=b"6 x 7?")


async def test_a_wrong_answer_refuses_the_connect(broker: TestBroker) -> None:
    """[MQTT-4.12.0-4] The CONNACK has the reason; the socket is closed; nothing is left."""
    broker.node.hooks.register(Challenge(), "riddle")
    counted = Counted(broker)
    client = await begin(broker)
    await client.receive()
    await client.send(auth(data=b"41"))
    assert await client.receive() == Connack(False, 0x87, None)
    assert await client.closed() is None
    assert counted("client.auth.failure", "packets.connack.auth_error", "session.created") == [1, 1, 0]
    assert await shutdown_count(broker) == {"not_authorized": 1}


async def test_a_method_nobody_implements(broker: TestBroker) -> None:
    """[MQTT-4.12.0-1] 0x8C, with a plugin for another method and without any."""
    for _ in range(2):
        client = await begin(broker, b"x", "unknown")
        answer = await client.receive()
        assert isinstance(answer, Connack)
        assert answer.code == 0x8C
        assert await client.closed() is None
        if not broker.node.hooks.compiled.client_enhanced_authenticate:
            broker.node.hooks.register(Challenge(), "riddle")
    assert await shutdown_count(broker) == {"bad_authentication_method": 2}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (auth(method="other", data=b"42"), 0x8C),
        (auth(method=None), 0x8C),
        (Auth(CONTINUE, None), 0x8C),
        (auth(AGAIN, data=b"42"), 0x82),
        (Auth(0), 0x82),
        (Pingreq(), 0x82),
        (make_publish("t", b"x"), 0x82),
    ],
    ids=["other method", "no method", "no properties", "0x19", "0x00", "PINGREQ", "PUBLISH"],
)
async def test_what_may_not_come_before_the_connack(broker: TestBroker, wrong: Auth, code: int) -> None:
    """[MQTT-4.12.0-5] the method stays; [MQTT-4.12.1-1] no re-authentication yet; [MQTT-3.1.2-30] only AUTH and
    DISCONNECT."""
    broker.node.hooks.register(Challenge(), "riddle")
    watcher = await broker.client("watcher", subscribe="#")
    client = await begin(broker)
    await client.receive()
    await client.send(wrong)
    answer = await client.receive()
    assert isinstance(answer, Connack)
    assert answer.code == code
    assert await client.closed() is None
    assert await watcher.nothing()
    assert broker.node.find("c") is None


async def test_disconnect_may_come_before_the_connack(broker: TestBroker) -> None:
    """[MQTT-3.1.2-30] The client has changed its mind: no answer."""
    broker.node.hooks.register(Challenge(), "riddle")
    client = await begin(broker)
    await client.receive()
    await client.send(Disconnect(0))
    assert await client.closed() is None
    assert client.connack is None
    assert await shutdown_count(broker) == {"normal": 1}


async def test_a_client_that_never_answers_meets_its_deadline(broker: TestBroker) -> None:
    """[2.4] idle_timeout bounds the whole exchange."""
    broker.node.hooks.register(Challenge(), "riddle")
    client = await begin(broker)
    await client.receive()
    await trio.sleep(17)
    assert await client.closed() is None
    assert await shutdown_count(broker) == {"idle_timeout": 1}


async def test_steps_that_are_sent_ahead_are_taken_in_order(broker: TestBroker) -> None:
    """The answer lies behind CONNECT already while the first step is being worked on."""
    challenge = Challenge(delay=1)
    broker.node.hooks.register(challenge, "riddle")
    client = await begin(broker)
    await client.send(auth(data=b"42"))
    assert await client.receive() == auth(data=b"6 x 7?")
    answer = await client.receive()
    assert isinstance(answer, Connack)
    assert answer.code == 0


class Broken:
    """Whatever a bug in a plugin can give back."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    @hookimpl
    async def client_enhanced_authenticate(self, data: bytes | None) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [OSError("gone"), AuthStep("yes"), AuthStep(""), AuthStep("fail", code=0), True, "ok", Verdict()],
    ids=lambda answer: repr(answer)[:20],
)
async def test_a_step_that_is_none_lets_nobody_in(broker: TestBroker, answer: object) -> None:
    """[5.6] "anything else → 0x87"; fails closed."""
    broker.node.hooks.register(Broken(answer), "broken")
    client = await begin(broker)
    found = await client.receive()
    assert isinstance(found, Connack)
    assert found.code == 0x87
    assert broker.node.find("c") is None


async def test_a_backend_that_hangs_is_cut(broker: TestBroker) -> None:
    broker.node.hooks.register(Challenge(delay=1e6), "riddle")
    client = await begin(broker)
    await trio.sleep(5.5)
    answer = await client.receive()
    assert isinstance(answer, Connack)
    assert answer.code == 0x87


async def test_an_answer_after_the_socket_has_gone(broker: TestBroker) -> None:
    broker.node.hooks.register(Challenge(delay=2), "riddle")
    client = await begin(broker, b"quick")
    await trio.sleep(0.5)
    await client.close()
    await trio.sleep(5)
    assert broker.node.clients() == []
    assert broker.node.broker.registry.channels == {}
    assert set(broker.node.broker.metrics.faults().values()) == {0}


class Password:
    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict:
        return Verdict(0 if credentials.password == b"right" else 0x86)


async def test_the_ordinary_chain_comes_first(broker: TestBroker) -> None:
    """[5.6] It runs after the ordinary authentication chain, which must be passed too."""
    challenge = Challenge()
    broker.node.hooks.register(challenge, "riddle")
    broker.node.hooks.register(Password(), "password")
    client = await broker.raw(5)
    properties = props(authentication_method="riddle", authentication_data=b"quick")
    with pytest.raises(Refused, match="BAD_USERNAME"):
        await client.connect("c", username="u", password=b"wrong", properties=properties)
    assert challenge.steps == []
    await broker.client("c", username="u", password=b"right", properties=properties)
    assert len(challenge.steps) == 1


# -- without a method ------------------------------------------------------------------------------------------------


async def test_auth_without_a_method_in_connect(broker: TestBroker) -> None:
    """[MQTT-4.12.0-6] [MQTT-4.12.0-7] Neither side sends AUTH then: a protocol error."""
    broker.node.hooks.register(Challenge(), "riddle")
    client = await broker.client("c")
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.authentication_method is None
    await client.send(auth(AGAIN, data=b"quick"))
    assert await client.closed() == 0x82


@pytest.mark.parametrize("version", [3, 4], ids=["v3.1", "v3.1.1"])
async def test_mqtt3_has_no_auth(broker: TestBroker, version: int) -> None:
    """Packet type 15 is reserved."""
    client = await broker.client("c", version=version)
    await client.send_raw(b"\xf0\x00")
    assert await client.closed() is None
    assert sum((await shutdown_count(broker)).values()) == 1


# -- re-authentication [MQTT5 4.12.1] --------------------------------------------------------------------------------


async def test_reauthentication(broker: TestBroker) -> None:
    """AUTH 0x19, AUTH 0x18, AUTH 0x18, AUTH 0x00 with the method; the session goes on, also in between."""
    broker.node.hooks.register(Challenge(), "riddle")
    client = await connected(broker)
    await client.subscribe("t")
    await client.send(auth(AGAIN, data=b"hello"))
    assert await client.receive() == auth(data=b"6 x 7?")
    await client.publish("t", b"meanwhile", 1)  # [MQTT5 4.12.1] other packets may be sent during it
    assert await client.message() == ("t", b"meanwhile")
    await client.send(auth(data=b"42"))
    assert await client.receive() == auth(0x00, data=b"well done")
    await client.publish("t", b"after")
    assert await client.message() == ("t", b"after")
    await client.send(auth(AGAIN, data=b"quick"))
    assert await client.receive() == auth(0x00, data=b"welcome")


@pytest.mark.parametrize("first", [True, False], ids=["at the first step", "at the continue step"])
async def test_a_failed_reauthentication_ends_the_connection(broker: TestBroker, first: bool) -> None:
    """[MQTT-4.12.1-2] DISCONNECT with the reason (not CONNACK, as EMQX 4.4 does at the continue step)."""
    challenge = Challenge()
    broker.node.hooks.register(challenge, "riddle")
    recorder = Recorder(broker)
    client = await connected(broker)
    if first:
        broker.node.hooks.unregister("riddle")
        await client.send(auth(AGAIN, data=b"hello"))
        code = 0x8C
    else:
        await client.send(auth(AGAIN, data=b"hello"))
        await client.receive()
        await client.send(auth(data=b"wrong"))
        code = 0x87
    assert await client.closed() == code
    name = "bad_authentication_method" if first else "not_authorized"
    assert await shutdown_count(broker) == {name: 1}
    assert recorder.of("c")[-1] == ("session.terminated", name)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (auth(AGAIN, "other", b"quick"), 0x8C),
        (auth(AGAIN, None), 0x8C),
        (Auth(AGAIN, None), 0x8C),
        (Auth(0), 0x82),
        (auth(0x00, data=b"x"), 0x82),
    ],
    ids=["other method", "no method", "no properties", "empty", "0x00"],
)
async def test_wrong_turns_of_a_connected_client(broker: TestBroker, wrong: Auth, code: int) -> None:
    """[MQTT-4.12.1-1] the same method as CONNECT; only 0x18 and 0x19 come from a client [MQTT5 3.15.2.1]."""
    broker.node.hooks.register(Challenge(), "riddle")
    client = await connected(broker)
    await client.send(wrong)
    assert await client.closed() == code


async def test_packets_behind_a_reauthentication_wait_for_its_step(broker: TestBroker) -> None:
    """While the backend thinks, nothing of this client is handled, and nothing is lost."""
    challenge = Challenge()
    broker.node.hooks.register(challenge, "riddle")
    client = await connected(broker)
    await client.subscribe("t")
    challenge.delay = 2
    await client.send(auth(AGAIN, data=b"quick"))
    await client.send(make_publish("t", b"behind"))
    assert await client.receive() == auth(0x00, data=b"welcome")
    assert await client.message() == ("t", b"behind")


@both_families
async def test_others_go_on_meanwhile(broker: TestBroker, version: int) -> None:
    """A slow step is its client's affair."""
    broker.node.hooks.register(Challenge(delay=3), "riddle")
    waiting = await begin(broker)
    began = trio.current_time()
    other = await broker.client("other", version=version, subscribe="t")
    assert await other.subscribe("u") == [0]
    await other.ping()
    assert trio.current_time() - began < 1
    assert isinstance(await waiting.receive(), Auth)
    assert trio.current_time() - began >= 3

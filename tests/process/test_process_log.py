"""The log file of a running broker: whose line it is, in both shapes, and nothing that must stay secret."""

from __future__ import annotations

import json
import re
import signal

from broker_process import OPEN, TCP, BrokerProcess

PASSWORD = b"correct-horse-battery"
PAYLOAD = b"the-secret-payload"


async def talk(broker: BrokerProcess, dialer) -> None:
    """One client that behaves and one that does not; both carry secrets."""
    dialer.port = broker.port()
    good = await dialer.client("good", username="anna", password=PASSWORD, subscribe="t", qos=1)
    await good.publish("t", PAYLOAD, qos=1)
    await good.message()
    await good.disconnect()
    bad = await dialer.client("bad\nforged", username="eve", password=PASSWORD)
    await bad.publish("t", PAYLOAD, qos=2)
    await bad.send_raw(b"\x32\x07\x00\x03a/+\x00\x01" + PAYLOAD)
    assert await bad.closed() is not None
    await dialer.raw()
    await dialer.close()
    broker.signal(signal.SIGTERM)
    assert await broker.ended() == 0  # everything is in the file by then


async def test_text_lines_name_client_and_peer(start, dialer):
    broker = start('log.level = "debug"\n' + OPEN + TCP)
    await talk(broker, dialer)

    log = broker.log()
    stamp = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d\d:\d\d "
    assert re.search(stamp + r"\[info\] good@127\.0\.0\.1:\d+ connection closed: normal$", log, re.M), log
    assert re.search(stamp + r"\[debug\] bad\\x0aforged@127\.0\.0\.1:\d+ refused with 0x90: ", log, re.M), log
    assert re.search(
        stamp + r"\[info\] bad\\x0aforged@127\.0\.0\.1:\d+ connection closed: topic_name_invalid$", log, re.M
    )
    assert "\nforged" not in log
    assert "Traceback" not in log
    for secret in (PASSWORD, PAYLOAD):
        assert secret.decode() not in log


async def test_json_lines_have_fixed_keys(start, dialer):
    broker = start('log.level = "debug"\nlog.formatter = "json"\n' + OPEN + TCP)
    await talk(broker, dialer)

    lines = [json.loads(line) for line in broker.log().splitlines()]
    closed = [line for line in lines if line["msg"].startswith("connection closed")]
    assert {line.get("clientid") for line in closed} >= {"good", r"bad\x0aforged"}
    for line in closed:
        assert line["level"] in ("info", "debug")
        assert line["peername"].startswith("127.0.0.1:")
        assert line["time"]
    for secret in (PASSWORD, PAYLOAD):
        assert secret.decode() not in broker.log()


async def test_at_the_default_level_clients_write_nothing(start, dialer):
    broker = start(OPEN + TCP)
    await talk(broker, dialer)

    assert broker.log() == ""

"""MQTT.js, what browsers and Node-RED use, over TCP, TLS, WebSocket and secure WebSocket."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from broker_process import PATIENCE
from interop_peers import need, node_modules

SCRIPT = Path(__file__).with_name("mqttjs_roundtrip.js")
SCHEMES = {"tcp": "mqtt", "ssl": "mqtts", "ws": "ws", "wss": "wss"}


@pytest.mark.parametrize("kind", SCHEMES)
def test_round_trips_in_all_versions(broker, certificates, topic, kind):
    path = "/mqtt" if kind in ("ws", "wss") else ""
    url = f"{SCHEMES[kind]}://127.0.0.1:{broker.port(kind)}{path}"
    authority = [str(certificates / "cacert.pem")] if kind in ("ssl", "wss") else []
    done = subprocess.run(
        [need("node"), str(SCRIPT), url, topic, *authority],
        env={**os.environ, "NODE_PATH": str(node_modules())},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    print(done.stdout, done.stderr)
    assert done.returncode == 0
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["version"] for one in rounds] == [3, 4, 5]
    for one in rounds:
        here = f"{topic}/{one['version']}"
        mark = {"colour": "blue"} if one["version"] == 5 else None
        assert one["connack"] == 0
        assert one["granted"] == [2]
        assert one["received"] == [
            [f"{here}/kept", 1, 1, True, None],
            [f"{here}/0", 20000, 0, False, mark],
            [f"{here}/1", 20000, 1, False, mark],
            [f"{here}/2", 20000, 2, False, mark],
            [f"{here}/kept", 0, 1, False, None],
        ]

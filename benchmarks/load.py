"""The load generator: builds `mqttload.c`, runs it on its own core, reads what it measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / ".build"


@dataclass
class Cores:
    """The processor core that each side has for itself; None: it shares all of them."""

    load: int | None = 0
    broker: int | None = 1


CORES = Cores()
"""As this run wants it: a benchmark that measures more than one core changes it before it starts anything."""


class LoadFailed(Exception):
    """The load generator gave no result; the text is what it printed."""


@dataclass
class Load:
    """One run of `mqttload`: rates in messages a second, latencies in milliseconds (fields of its JSON line)."""

    delivered_per_s: float = 0.0
    lost: int = 0
    bad: int = 0
    disconnected: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    clients: int = 0
    refused: int = 0
    connects_per_s: float = 0.0


def pinned(core: int | None, command: list[str]) -> list[str]:
    """The command, tied to one core when this machine has taskset and so many cores."""
    taskset = shutil.which("taskset")
    if core is None or taskset is None or not Path(f"/sys/devices/system/cpu/cpu{core}").exists():
        return command
    return [taskset, "--cpu-list", str(core), *command]


def build() -> Path:
    """Compile the load generator when its source is newer than the program. Needs a C compiler."""
    source, program = HERE / "mqttload.c", BUILD / "mqttload"
    BUILD.mkdir(exist_ok=True)
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    return program


def run(port: int, options: str, seconds: int, when_ready: Callable[[], None] | None = None) -> Load:
    """Run `mqttload` with `options` for `seconds`; `when_ready` is called once every client is connected.

    Raises LoadFailed when it gives no result, for example because clients were refused.
    """
    command = [str(build()), "-p", str(port), "-d", str(seconds), *options.split()]
    process = subprocess.Popen(pinned(CORES.load, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killer = threading.Timer(seconds + 150, process.kill)
    killer.start()
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said = line
        if "clients ready" in line:
            break
    if "(0 refused)" in said and when_ready is not None:
        when_ready()
    output, errors = process.communicate()
    killer.cancel()
    lines = output.strip().splitlines()
    if not lines or "nan" in lines[-1]:
        raise LoadFailed((said + errors).strip() or f"mqttload ended with {process.returncode}")
    measured = json.loads(lines[-1])
    return Load(**{name: measured[name] for name in Load.__dataclass_fields__ if name in measured})

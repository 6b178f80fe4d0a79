"""The brokers under test: how each is found, configured and started.

Every broker listens on 127.0.0.1, plain TCP, anonymous, alone on one core, and is set so that it neither drops nor
delays on purpose: no limit of inflight and queued messages, no limit of rates, nothing written to disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from load import BUILD, CORES, HERE, pinned

CHECKOUT = HERE.parent


class Unavailable(Exception):
    """A broker that cannot be measured here, and why."""


@dataclass
class Broker:
    """One broker that can be started again and again; `version` is printed with the results."""

    name: str
    version: str
    port: int
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    prompt: list[str] | None = None
    """The command for measuring latency, where that wants another configuration than throughput."""
    http_port: int = 0
    """Where its HTTP API is; 0: it has none."""
    process: subprocess.Popen[bytes] | None = None
    started_in: float = 0.0
    """Seconds from the start of the process until it listened, the last time."""

    @property
    def home(self) -> Path:
        """Where it runs: its configuration, its log, whatever it writes."""
        return BUILD / "run" / self.name

    def start(self, prompt: bool = False, environment: dict[str, str] | None = None) -> None:
        """Start it and wait until it accepts connections. Raises Unavailable with the end of its log."""
        command = self.prompt if prompt and self.prompt else self.command
        begin = time.monotonic()
        with (self.home / "log.txt").open("wb") as log:
            self.process = subprocess.Popen(
                pinned(CORES.broker, command),
                cwd=self.home,
                env={**os.environ, **self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        while self.process.poll() is None and time.monotonic() < begin + 60:
            if self._listens():
                self.started_in = time.monotonic() - begin
                time.sleep(0.5)
                return
            time.sleep(0.05)
        self.stop()
        raise Unavailable(f"{self.name} does not start:\n{self.log()[-2000:]}")

    def _listens(self) -> bool:
        """Whether this very process has the port. A connect would not tell: another broker may answer there, and would
        then be measured under this one's name."""
        assert self.process is not None
        try:
            open_here = psutil.Process(self.process.pid).net_connections(kind="tcp")
        except psutil.NoSuchProcess:
            return False
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == self.port for one in open_here)

    def check(self) -> None:
        """Raise Unavailable when the process has ended, so that nothing more is measured in its name."""
        if self.process is None or self.process.poll() is not None:
            raise Unavailable(f"{self.name} is not running:\n{self.log()[-2000:]}")

    def stop(self) -> None:
        """Ask it to end, insist after thirty seconds."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def rss(self) -> int:
        """Resident memory in bytes."""
        assert self.process is not None
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def processor_time(self) -> float:
        """Seconds that its threads have computed since it was started; on a machine that others use it is worth more
        than what a clock says."""
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def log(self) -> str:
        """Everything it printed since it was started."""
        return (self.home / "log.txt").read_text(errors="replace")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_file_limit() -> None:
    """Let this process, and the brokers it starts, open as many sockets as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _with_config(broker: Broker, name: str, text: str) -> Broker:
    shutil.rmtree(broker.home, ignore_errors=True)
    broker.home.mkdir(parents=True)
    (broker.home / name).write_text(text)
    return broker


OURS = """\
[node]
data_dir = "data"

[log]
to = "console"
level = "warning"

[zone.external]
allow_anonymous = true
max_inflight = 0
max_mqueue_len = 0
max_mqueue_bytes = "1GB"
max_awaiting_rel = 0

[listener.tcp.external]
bind = "127.0.0.1:{port}"
zone = "external"
max_conn_rate = 1000000
max_connections = 1024000
send_timeout = "10m"

[{door}.listener]
http = "127.0.0.1:{http_port}"
"""
"""trioemqx without limits, so that it is compared with the others at its work and not at its politeness."""

SHIPPED = """\
[node]
data_dir = "data"

[log]
to = "console"
level = "error"

[zone.external]
allow_anonymous = true

[listener.tcp.external]
bind = "127.0.0.1:{port}"
zone = "external"
max_conn_rate = 1000
max_connections = 1024000

[{door}.listener]
http = "127.0.0.1:{http_port}"
"""
"""trioemqx with the limits of `etc/emqx.toml`."""


def sources(package: Path) -> str:
    """A fingerprint of a package's Python files, which a wheel holds beside what was compiled from them. Compiled and
    interpreted can only be compared when it is the same."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in ("plugins", "modules"):  # a wheel carries these along
            digest.update(str(name).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def ours(name: str, python: Path, port: int, native: bool, config: str = OURS, door: str = "management") -> Broker:
    """trioemqx as `python` runs it: the compiled package installed there (`native`), or the sources of this checkout.
    `config` is OURS or SHIPPED; its HTTP API is at the door `management` or `dashboard`. Raises Unavailable."""
    environment = {"PYTHONSAFEPATH": "1"} if native else {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(CHECKOUT)}
    script = (
        "import platform, trioemqx, trioemqx.core.session as m;"
        "kind = 'py' if m.__file__.endswith('.py') else 'so';"
        "print(trioemqx.__version__, platform.python_version(), kind, trioemqx.__file__)"
    )
    asked = subprocess.run(
        [str(python), "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, cwd="/"
    )
    if asked.returncode:
        raise Unavailable(f"{name}: {asked.stderr.strip().splitlines()[-1]}")
    version, runtime, kind, package = asked.stdout.split(maxsplit=3)
    if native != (kind == "so"):
        raise Unavailable(f"{name}: {python} runs {'compiled' if kind == 'so' else 'interpreted'} modules")
    if sources(Path(package.strip()).parent) != sources(CHECKOUT / "trioemqx"):
        raise Unavailable(f"{name}: {python} has trioemqx from other sources than this checkout: install it again")
    command = [str(python), "-m", "trioemqx", "start", "--config", "emqx.toml"]
    broker = Broker(name, f"trioemqx {version}, Python {runtime}", port, command, environment, http_port=free_port())
    return _with_config(broker, "emqx.toml", config.format(port=port, http_port=broker.http_port, door=door))


MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_dest none
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
"""


def mosquitto(port: int) -> Broker:
    """mosquitto of the system. Nagle's algorithm, on by default, gives it more throughput but costs latency: it is off
    where latency is measured, so that each table shows mosquitto at its best."""
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Unavailable("mosquitto: not installed (Debian: apt-get install mosquitto)")
    text = subprocess.run([program, "-h"], capture_output=True, text=True).stdout
    found = re.search(r"version (\S+)", text)
    broker = Broker("mosquitto", f"mosquitto {found[1] if found else '?'}", port, [program, "-c", "mosquitto.conf"])
    _with_config(broker, "mosquitto.conf", MOSQUITTO.format(port=port))
    broker.prompt = [program, "-c", "prompt.conf"]
    (broker.home / "prompt.conf").write_text(MOSQUITTO.format(port=port) + "set_tcp_nodelay true\n")
    return broker


def aedes(port: int) -> Broker:
    """aedes from npm, installed into `.build/aedes` when it is not there yet."""
    node, npm, folder = shutil.which("node"), shutil.which("npm"), BUILD / "aedes"
    if node is None or npm is None:
        raise Unavailable("aedes: needs node and npm")
    if not (folder / "node_modules/aedes").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "aedes@1"], check=True)
    shutil.copy(HERE / "peers/aedes.mjs", folder)
    package = (folder / "node_modules/aedes/package.json").read_text()
    found = re.search(r'"version": "([^"]+)"', package)
    runtime = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    version = f"aedes {found[1] if found else '?'}, Node.js {runtime}"
    broker = Broker("aedes", version, port, [node, str(folder / "aedes.mjs"), str(port)])
    broker.home.mkdir(parents=True, exist_ok=True)
    return broker


AMQTT = """\
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


def amqtt(port: int) -> Broker:
    """amqtt from PyPI, in a virtual environment of its own."""
    folder = BUILD / "amqtt"
    if not (folder / "bin/amqtt").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin/pip"), "install", "--quiet", "amqtt==0.12.*"], check=True)
    script = "import importlib.metadata as m, platform; print(m.version('amqtt'), platform.python_version())"
    asked = subprocess.run([str(folder / "bin/python"), "-c", script], capture_output=True, text=True, check=True)
    version, runtime = asked.stdout.split()
    command = [str(folder / "bin/amqtt"), "-c", "amqtt.yaml"]
    broker = Broker("amqtt", f"amqtt {version}, Python {runtime}", port, command)
    return _with_config(broker, "amqtt.yaml", AMQTT.format(port=port))

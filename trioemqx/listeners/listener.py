"""One listener: its socket, who may connect to it, and what it counts.

Long, because opening, moving and closing it change the same few fields.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
from typing import TYPE_CHECKING, Final

import trio

from trioemqx.core.channel import Channel
from trioemqx.core.limiter import TokenBucket
from trioemqx.core.outbox import Outbox
from trioemqx.errors import ListenerError
from trioemqx.listeners.build import TransportPlan, plan_transport
from trioemqx.listeners.connection import Connection
from trioemqx.listeners.link import Link, SocketLike
from trioemqx.listeners.tls import certificate_field
from trioemqx.listeners.transport import Peer
from trioemqx.services.log_format import of_client
from trioemqx.services.supervise import guarded
from trioemqx.types import ClientInfo

if TYPE_CHECKING:
    from trioemqx.config.listener import ListenerConfig
    from trioemqx.core.zone import Zone
    from trioemqx.listeners.gate import Gate
    from trioemqx.listeners.pump import Pump
    from trioemqx.services.access import AccessService

log = logging.getLogger("trioemqx.listeners")

ACCEPTS_PER_TURN: Final = 64
ACCEPT_SLICE: Final = 0.001
"""Sockets, or seconds, after which accepting gives way: each of them becomes a task that wants to begin."""
GATE_PAUSE: Final = 0.1
SHED_PAUSE: Final = 0.5
"""Seconds without accepting, at a limit and without descriptors."""
NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PEER_ERRORS: Final = (
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
)
"""Errors of the connection that was to be accepted, which Linux reports through `accept`."""
UNSENT: Final = 256 * 1024
"""Bytes that the kernel takes for a connection beyond those under way; more waits in the outbox, which has a bound."""
UNCOUNTED: Final = frozenset({"shutdown"})
"""Ends that EMQX does not count: we stopped."""


class Listener:
    """A bound listener. `open` binds (ListenerError when that fails), `run` accepts until cancelled.

    `shutdown_count` is EMQX's: how many connections ended for which reason. `full` counts who met `max_connections`.
    """

    def __init__(self, config: ListenerConfig, zone: Zone, pump: Pump, access: AccessService, gate: Gate) -> None:
        self.config = config
        self.zone = zone
        self.current = 0
        self.peak = 0
        self.refused = 0
        self.full = 0
        self.shutdown_count: dict[str, int] = {}
        self.address = ""
        """Where it really listens, also when the port was 0."""
        self._pump = pump
        self._access = access
        self._gate = gate
        self._plan: TransportPlan | None = None
        self._socket: socket.socket | None = None
        self._reserve = -1
        self._last_port = 0
        self._rate = _accept_rate(config)
        """Accepted sockets; an empty bucket pauses accepting."""

    @property
    def id(self) -> str:
        """`mqtt:tcp:external`"""
        return self.config.id

    @property
    def port(self) -> int:
        """The bound port; 0 while closed."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    # -- opening and closing -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Read certificates and bind. Raises ListenerError with the listener, the address and the reason."""
        self._plan = self._planned(self.config, self.zone)
        self._use(self._bind(self.config, self._last_port))

    def _planned(self, config: ListenerConfig, zone: Zone) -> TransportPlan:
        """What its connections get. Pre-shared keys come from the plugins that are loaded at the handshake."""
        return plan_transport(config, zone.max_packet_size, self._pump.broker.hooks.run_psk_lookup)

    def _bind(self, config: ListenerConfig, last_port: int = 0) -> socket.socket:
        """A listening socket. With port 0, `last_port` is tried to be had again after a crash."""
        where = f"listener.{config.kind}.{config.name}"
        port = config.port or last_port
        try:
            info = socket.getaddrinfo(config.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            sock = socket.socket(info[0], info[1])
        except OSError as error:
            raise ListenerError(f"{where}: {config.host} is not an address here: {error.strerror or error}") from None
        try:
            sock.setblocking(False)
            if config.reuseaddr:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _options(sock, config, self.zone)
            sock.bind(info[4])
            sock.listen(config.backlog)
        except OSError as error:
            sock.close()
            text = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be bound: {error.strerror}"
            raise ListenerError(f"{where}: {config.host}:{port} {text}") from None
        return sock

    def _use(self, sock: socket.socket) -> None:
        """Accept on this socket from now on."""
        self._retire()
        self._socket = sock
        host, self._last_port = sock.getsockname()[:2]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        if self._reserve < 0:
            self._reserve = _reserve()

    def _retire(self) -> None:
        """Close the listening socket; `run` notices and goes on with the next one, if there is one."""
        if self._socket is not None:
            sock, self._socket = self._socket, None
            trio.lowlevel.notify_closing(sock)
            sock.close()

    def update(self, config: ListenerConfig, zone: Zone) -> None:
        """Take new settings, certificate files included, for connections made from now on; those that exist are not
        touched, also when the listener moves to another address. Raises ListenerError and keeps everything as it was
        when the new settings cannot be used."""
        plan = self._planned(config, zone) if self._plan is not None else None
        if self._socket is not None and config.bind != self.config.bind:
            self._move(config)
        if config.max_conn_rate != self.config.max_conn_rate:
            self._rate = _accept_rate(config)
        self._plan = plan
        self.config = config
        self.zone = zone
        if self._socket is not None:
            _options(self._socket, config, zone)
            self._socket.listen(config.backlog)

    def _move(self, config: ListenerConfig) -> None:
        """Listen on another address. When only the host differs the port has to be given up first."""
        try:
            sock = self._bind(config)
        except ListenerError:
            if config.port != self.port:
                raise
            self._retire()
            try:
                sock = self._bind(config)
            except ListenerError:
                self._use(self._bind(self.config, self._last_port))
                raise
        self._use(sock)

    def reload_certificates(self) -> None:
        """New handshakes use the files as they are now; connections that exist are not touched. Raises ListenerError
        and keeps the old certificates when the new ones cannot be used."""
        if self._plan is not None:
            self._plan = self._plan.renewed()

    def close(self) -> None:
        """Stop listening; connections live on."""
        self._retire()
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1

    # -- accepting ---------------------------------------------------------------------------------------------------

    async def run(self, connections: trio.Nursery) -> None:
        """Accept until cancelled or closed; each connection becomes a task of `connections`. After a bug in our own
        code the socket stays open, so that nobody who waits in the kernel's queue is reset before the next run."""
        try:
            while (listening := self._socket) is not None:
                try:
                    await trio.lowlevel.wait_readable(listening)
                except trio.ClosedResourceError:  # the listener moved to another address
                    continue
                pause = self._accept_ready(listening, connections)
                if pause > 0.0:
                    await trio.sleep(pause)
        except (trio.Cancelled, OSError):
            self.close()
            raise

    def _accept_ready(self, listening: socket.socket, connections: trio.Nursery) -> float:
        """Accept what waits, within limits; returns seconds to pause."""
        clock = self._pump.clock
        until = clock() + ACCEPT_SLICE
        for _ in range(ACCEPTS_PER_TURN):
            if not self._gate.open():
                return GATE_PAUSE
            if self.config.websocket and self.current >= self.config.max_connections:  # EMQX's soft limit
                self.full += 1
                return GATE_PAUSE
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                return 0.0
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    self._shed(listening)
                    return SHED_PAUSE
                if error.errno not in PEER_ERRORS:
                    raise
                continue
            self._welcome(sock, address, connections)
            if self._rate is not None:
                wait = self._rate.take(1, trio.current_time())
                if wait > 0.0:
                    return wait
            if clock() > until:
                break
        return 0.0

    def _shed(self, listening: socket.socket) -> None:
        """No descriptors: close the first waiting socket with our reserve, so that its client is not left hanging and
        the listener does not spin."""
        log.error("%s: out of file descriptors; accepting pauses", self.id)
        self._gate.exhausted()
        if self._reserve >= 0:
            os.close(self._reserve)
        try:
            sock, _ = listening.accept()
            sock.close()
            self._refuse()
        except OSError as error:
            log.debug("%s: %s", self.id, error)
        self._reserve = _reserve()

    def _refuse(self) -> None:
        self.refused += 1
        self._pump.broker.metrics.connection_refused += 1

    def _welcome(self, sock: socket.socket, address: tuple[str, int], connections: trio.Nursery) -> None:
        """Refuse or start one accepted socket. Options are inherited from the listening one."""
        host = plain_host(address[0])
        full = self.current >= self.config.max_connections
        if full:
            self.full += 1
        if full or not self._allowed(host):
            self._refuse()
            sock.close()
            return
        try:
            sock.setblocking(False)
            local = sock.getsockname()
            link = self.adopt(sock, sock.fileno(), host, address[1], plain_host(local[0]), local[1], connections)
        except OSError:  # reset before we looked at it
            sock.close()
        except Exception as error:  # a bug in what is made for each connection is this connection's end
            sock.close()
            self._pump.broker.metrics.connection_crashed += 1
            log.error("%s: a connection could not be started", self.id, exc_info=error)
        else:
            self._gate.watch(link)

    def adopt(
        self,
        sock: SocketLike,
        fd: int,
        host: str,
        port: int,
        sockname: str,
        sockport: int,
        connections: trio.Nursery,
    ) -> Link:
        """Make link, channel and task of a non-blocking socket and start to read it. `host` and `port` are the peer's,
        `sockname` and `sockport` ours."""
        pump, config = self._pump, self.config
        peer = Peer(host, port)
        transport = self._plan.transport(peer, trio.current_time()) if self._plan is not None else None
        link = Link(sock, fd, transport, config.send_timeout if config.send_timeout_close else 0.0)
        info = ClientInfo(
            peerhost=host,
            peerport=port,
            sockname=sockname,
            sockport=sockport,
            socktype="ws" if config.websocket else config.kind,
            listener=self.id,
            zone=self.zone.name,
        )
        pump.tell_time()
        link.out = Outbox(pump.turn.dirty, link, config.outbox_high_watermark, config.outbox_low_watermark)
        link.channel = self._channel(info, link.out)
        link.home = self
        if transport is not None:
            link.identify = self._identify
        pump.turn.add(link)
        pump.broker.registry.channels[link.channel] = None
        self.current += 1
        self.peak = max(self.peak, self.current)
        connection = Connection(link, pump.turn, self._access.resolve, pump.wake)
        connections.start_soon(self._guard, connection, link)
        return link

    def _channel(self, info: ClientInfo, out: Outbox) -> Channel:
        """The protocol state of a new connection, with the limits it has before its CONNECT. From accept to a complete
        CONNECT, handshakes included, it has `idle_timeout`; drips do not extend that."""
        zone, rate = self.zone, self.config.rate_limit
        channel = Channel(self._pump.broker, zone, info, out, trio.current_time() + zone.idle_timeout)
        channel.framer.limit = min(self._gate.max_connect_packet_size, zone.max_packet_size)
        if rate is not None:
            channel.bytes_bucket = TokenBucket(*rate)
        return channel

    async def _guard(self, connection: Connection, link: Link) -> None:
        await guarded(
            "connection",
            connection.run,
            metrics=self._pump.broker.metrics,
            extra=lambda: of_client(None if link.channel is None else link.channel.info),
        )

    def _allowed(self, host: str) -> bool:
        """The listener's access rules: the first match decides, no match allows."""
        if not self.config.access:
            return True
        address = ipaddress.ip_address(host.partition("%")[0])
        for rule in self.config.access:
            if rule.matches(address):
                return rule.allow
        return True

    def _identify(self, link: Link) -> None:
        """Handshakes are over: take the peer as PROXY, TLS and HTTP headers describe it."""
        channel = link.channel
        transport = link.transport
        if channel is None or transport is None:
            return
        peer = transport.peer
        info = channel.info
        info.peerhost = peer.host
        info.peerport = peer.port
        info.cn = peer.cn
        info.dn = peer.dn
        info.ws_cookie = peer.ws_cookie
        if self.config.peer_cert_as_username:
            channel.cert_username = certificate_field(peer, self.config.peer_cert_as_username)
        if self.config.peer_cert_as_clientid:
            channel.cert_clientid = certificate_field(peer, self.config.peer_cert_as_clientid)
        if transport.passthrough:
            link.transport = None

    def ended(self, reason: str, kept: bool) -> None:
        """One of its connections is over. One whose session is `kept` counts when that ends."""
        self.current -= 1
        if not kept:
            self.count_end(reason)

    def count_end(self, reason: str) -> None:
        """A connection, or a session that had outlived one, has ended for a reason."""
        if reason not in UNCOUNTED:
            self.shutdown_count[reason] = self.shutdown_count.get(reason, 0) + 1


def _accept_rate(config: ListenerConfig) -> TokenBucket | None:
    return None if config.max_conn_rate is None else TokenBucket(config.max_conn_rate, 1.0)


def _options(sock: socket.socket, config: ListenerConfig, zone: Zone) -> None:
    """What sockets accepted from a listening one inherit: buffers, TCP_NODELAY, and keep-alive, without which a client
    that asked for no MQTT keep-alive and lost its network would stay for ever.

    A kernel that is not told otherwise takes megabytes for a client that does not read. A thousand of them would use up
    the memory of the machine's TCP, and the time to fill it is taken from those who read."""
    if config.recbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, config.recbuf)
    if config.sndbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, config.sndbuf)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(config.nodelay))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if zone.tcp_keepalive is not None and hasattr(socket, "TCP_KEEPIDLE"):
        idle, interval, probes = zone.tcp_keepalive
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)


def _reserve() -> int:
    """A descriptor to give up when there are no others; -1 when not even this one can be had."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def plain_host(host: str) -> str:
    """One spelling per address: an IPv4 client of an IPv6 socket is known by its IPv4 address."""
    mapped = host.removeprefix("::ffff:")
    return mapped if "." in mapped else host

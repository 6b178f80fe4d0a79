"""Keys for TLS handshakes with pre-shared keys, from a file with a line `<identity>:<key>` for each client."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs
import trio

from trioemqx.plugin import Plugin, PluginError, SettingError, hookimpl

MAX_IDENTITY: Final = 256
MAX_KEY: Final = 512
"""Bytes that OpenSSL takes."""
SHOWN: Final = 20
"""Lines that are reported one by one."""


@attrs.frozen
class Config:
    """`[psk.file]`"""

    path: Path = Path("etc/psk.txt")
    """File with a line for each client."""
    delimiter: str = ":"
    """What stands between identity and key."""
    max_identities: int = 1_000_000
    """Lines that are used; further ones are not."""

    def __attrs_post_init__(self) -> None:
        if not self.delimiter or not self.delimiter.isprintable():
            raise SettingError("expected one or more printable characters", "delimiter")
        if self.max_identities < 1:
            raise SettingError("expected a number above 0", "max_identities")


@attrs.frozen
class Keys:
    """What a file says: keys by identity, and for each line that cannot be used its number and what is wrong. `open` is
    true when everybody on the machine may read it."""

    by_identity: dict[str, bytes]
    problems: list[tuple[int, str]]
    open: bool = False


class PskFile(Plugin[Config]):
    """Answers `tls_handshake.psk_lookup` from memory. An identity that is not in the file has no key here, and without
    a key from anybody the handshake fails."""

    prefix = ("psk.file",)

    async def start(self) -> None:
        """Read the file. Raises PluginError when that is not possible; bad lines in it are reported and left out."""
        config, name = self.config, self.context.name
        self._unknown = self.context.metrics.counter(f"plugin.{name}.unknown")
        keys = await trio.to_thread.run_sync(read_file, config)
        self._keys = keys.by_identity
        for number, problem in keys.problems[:SHOWN]:
            self.log.error("%s:%d: %s", config.path, number, problem)
        if len(keys.problems) > SHOWN:
            self.log.error("%s: %d more lines cannot be used", config.path, len(keys.problems) - SHOWN)
        if keys.open:
            self.log.warning("%s can be read by everybody on this machine; chmod 600 it", config.path)
        self.log.info("%d pre-shared keys from %s", len(self._keys), config.path)
        self.context.command("psk_file info", self._info, help="Show how many pre-shared keys are loaded")

    @hookimpl
    def tls_handshake_psk_lookup(self, identity: str) -> bytes | None:
        """The key of an identity."""
        key = self._keys.get(identity)
        if key is None:
            self._unknown.inc()
        return key

    def _info(self) -> str:
        return f"psk_file/identities: {len(self._keys)}\npsk_file/unknown: {self._unknown.value}"


def read_file(config: Config) -> Keys:
    """Read and take apart the file; for a thread. Raises PluginError."""
    try:
        mode = config.path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe or a device could go on for ever
            raise ValueError("it is not a file")
        with config.path.open("rb") as file:
            keys = read_lines(file, config.delimiter.encode(), config.max_identities)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PluginError(
            f"psk.file.path: {config.path} cannot be read: {reason}; write a line <identity>{config.delimiter}<key> "
            "for each client into it"
        ) from None
    return attrs.evolve(keys, open=bool(mode & stat.S_IROTH))


def read_lines(lines: Iterable[bytes], delimiter: bytes, most: int) -> Keys:
    """Take lines apart. Empty ones and those that begin with `#` are skipped; blanks belong to identity and key. Of an
    identity that comes twice the last key counts, as in EMQX. No text of the file is in what is reported: it may be
    a key."""
    keys = Keys({}, [])
    where: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        text = line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
        if not text.strip() or text.startswith(b"#"):
            continue
        try:
            identity, key = split(text, delimiter)
            if identity not in where and len(where) >= most:
                raise ValueError(f"psk.file.max_identities is {most}; it is not used")
        except ValueError as error:
            keys.problems.append((number, str(error)))
            continue
        if identity in where:
            keys.problems.append((number, f"the identity of line {where[identity]} again; this key is used"))
        where[identity] = number
        keys.by_identity[identity] = key
    return keys


def split(text: bytes, delimiter: bytes) -> tuple[str, bytes]:
    """Identity and key of a line. ValueError says what is wrong with it."""
    identity, found, key = text.partition(delimiter)
    if not found:
        raise ValueError(f"expected <identity>{delimiter.decode()}<key>; the line is not used")
    for what, value, most in (("identity", identity, MAX_IDENTITY), ("key", key, MAX_KEY)):
        if not value:
            raise ValueError(f"there is no {what}; the line is not used")
        if len(value) > most:
            raise ValueError(f"{len(value)} bytes of {what}, at most {most} are possible; the line is not used")
        if b"\0" in value and what == "identity":
            raise ValueError("a zero byte in the identity; the line is not used")
    try:
        return identity.decode(), key
    except UnicodeDecodeError:
        raise ValueError("the identity is not UTF-8 text; the line is not used") from None


plugin = PskFile

"""Where a request goes: URLs, and how the server's certificate is checked."""

from __future__ import annotations

import base64
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

import attrs


@attrs.frozen
class HttpTls:
    """The `ssl` table of a plugin's settings, by EMQX's names. `server_name_indication` is a host name, `disable` sends
    none and does not compare it with the certificate. Without `cacertfile`, `verify` uses the system's authorities."""

    cacertfile: Path | None = None
    """Authorities that the server's certificate is checked with, PEM."""
    certfile: Path | None = None
    """The broker's own certificate, PEM."""
    keyfile: Path | None = None
    """Key of that certificate, PEM."""
    verify: bool = False
    """Whether the server's certificate is checked."""
    server_name_indication: str = ""
    """Host name to ask for; disable: none, and it is not compared."""

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises ValueError with one line that names the key and the file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.verify and self.server_name_indication != "disable"
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        authorities, certificate, key = map(_given, (self.cacertfile, self.certfile, self.keyfile))
        if authorities is not None:
            _load("cacertfile", authorities, lambda: context.load_verify_locations(authorities))
        elif self.verify:
            context.load_default_certs()
        if certificate is not None:
            if key is not None:
                _load("keyfile", key, lambda: None)
            # Without a password function OpenSSL would ask on the terminal.
            _load("certfile/keyfile", certificate, lambda: context.load_cert_chain(certificate, key, lambda: ""))
        elif key is not None:
            raise ValueError("ssl.keyfile needs ssl.certfile")
        return context


def _given(file: Path | None) -> Path | None:
    """None for an empty setting too."""
    return None if file == Path() else file


def _load(key: str, file: Path, load: Callable[[], object]) -> None:
    try:
        # Opening a pipe waits for who writes into it, and a thread that waits there cannot be ended.
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError(f"ssl.{key} {file}: not a file")
        load()
    except OSError as error:  # ssl.SSLError is one too
        reason = (error.reason or "not usable") if isinstance(error, ssl.SSLError) else error.strerror or str(error)
        raise ValueError(f"ssl.{key} {file}: {reason.lower().replace('_', ' ')}") from None


@attrs.frozen
class HttpUrl:
    """An http or https URL, taken apart. `shown` is what logs may say: no user info and no query."""

    tls: bool
    host: str
    port: int
    target: str
    authorization: str = attrs.field(repr=False)
    shown: str

    @classmethod
    def parse(cls, text: str) -> HttpUrl:
        """Raises ValueError with what is wrong, without repeating the URL, which may hold a password."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"not a usable URL: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("not a usable URL; it should look like http://host:port/path")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("a URL has only printable ASCII characters and no spaces; use %.. for others")
        if port == 0:
            raise ValueError("not a usable URL: port 0")
        tls = parts.scheme == "https"
        port = port or (443 if tls else 80)
        path = parts.path or "/"
        target = f"{path}?{parts.query}" if parts.query else path
        place = f"[{host}]" if ":" in host else host
        return cls(tls, host, port, target, _basic(parts), f"{parts.scheme}://{place}:{port}{path}")

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def _basic(parts: SplitResult) -> str:
    """The Authorization header of a URL with `user:password@`."""
    if parts.username is None:
        return ""
    pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
    return f"Basic {base64.b64encode(pair).decode()}"

"""One builder for the SSL contexts of all TLS listeners, ssl and wss alike, so that no listener forgets a check.

Defaults are stricter than EMQX 4.4's: TLS 1.2 and newer, no renegotiation, no compression. Older versions have to be
named.
"""

from __future__ import annotations

import os
import ssl
import stat
import warnings
from collections.abc import Callable
from typing import Final

import attrs

from trioemqx.errors import ListenerError

VERSIONS: Final = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
_SWITCH_OFF: Final = {
    "tlsv1": ssl.Options.OP_NO_TLSv1,
    "tlsv1.1": ssl.Options.OP_NO_TLSv1_1,
    "tlsv1.2": ssl.Options.OP_NO_TLSv1_2,
    "tlsv1.3": ssl.Options.OP_NO_TLSv1_3,
}


@attrs.frozen
class TlsSettings:
    """TLS part of one listener. Paths are files in PEM form; an empty string or tuple means "not set".

    `depth` is the number of certificates allowed between the client's and the root. `ext_key_usage` are the extended
    key usages a client certificate must list. `crl_files` are revocation lists; giving one turns the check on for the
    client's own certificate. `psk_lookup` answers an identity with its key, or None.
    """

    certfile: str = ""
    keyfile: str = ""
    key_password: str = attrs.field(default="", repr=False)
    cacertfile: str = ""
    verify: bool = False
    fail_if_no_peer_cert: bool = False
    tls_versions: tuple[str, ...] = ("tlsv1.3", "tlsv1.2")
    ciphers: tuple[str, ...] = ()
    psk_ciphers: tuple[str, ...] = ()
    psk_lookup: Callable[[str], bytes | None] | None = None
    depth: int = 10
    dhfile: str = ""
    honor_cipher_order: bool = True
    partial_chain: bool = False
    ext_key_usage: tuple[str, ...] = ()
    crl_files: tuple[str, ...] = ()
    reuse_sessions: bool = True


def build_context(settings: TlsSettings) -> ssl.SSLContext:
    """Read the files and make a context. Raises ListenerError with one line that names the file or setting at fault."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.Options.OP_NO_RENEGOTIATION | ssl.Options.OP_NO_COMPRESSION
    _set_versions(context, settings.tls_versions)
    _load_certificate(context, settings)
    _set_ciphers(context, settings)
    _set_verification(context, settings)
    _set_option(context, ssl.Options.OP_CIPHER_SERVER_PREFERENCE, settings.honor_cipher_order)
    if settings.dhfile:
        _read("dhfile", settings.dhfile, lambda: context.load_dh_params(settings.dhfile))
    if not settings.reuse_sessions:
        context.options |= ssl.Options.OP_NO_TICKET
        context.num_tickets = 0
    return context


def _set_option(context: ssl.SSLContext, option: ssl.Options, on: bool) -> None:
    context.options = context.options | option if on else context.options & ~option


def _read(setting: str, path: str, load: Callable[[], object]) -> None:
    """Run the loader of a file. A pipe or a device is refused: it could go on for ever, and the broker waits."""

    def checked() -> None:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ListenerError(f"{setting} {path}: not a file")
        load()

    _load(setting, path, checked)


def _load(setting: str, path: str, load: Callable[[], object]) -> None:
    """Run a loader and turn what it raises into one line."""
    try:
        load()
    except OSError as error:  # ssl.SSLError is one too
        reason = error.strerror or str(error)
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or "not usable").lower().replace("_", " ")
        raise ListenerError(f"{setting} {path}: {reason}") from None


def _set_versions(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in VERSIONS]
    if unknown or not names:
        raise ListenerError(f"tls_versions: {', '.join(unknown) or 'empty'} (known: {', '.join(VERSIONS)})")
    with warnings.catch_warnings():
        # Python warns about versions that are old; the operator named them on purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = min(VERSIONS[name] for name in names)
        context.maximum_version = max(VERSIONS[name] for name in names)
        for name, option in _SWITCH_OFF.items():
            inside = context.minimum_version <= VERSIONS[name] <= context.maximum_version
            if inside and name not in names:  # a hole in the range
                context.options |= option


def _load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if not settings.certfile:
        if settings.psk_ciphers:
            return
        raise ListenerError("certfile is not set")
    files = [path for path in (settings.certfile, settings.keyfile) if path]
    for path in files:
        _read("certfile/keyfile", path, lambda: None)
    # Without a password function OpenSSL would ask on the terminal and hang the start.
    _load(
        "certfile/keyfile",
        " ".join(files),
        lambda: context.load_cert_chain(settings.certfile, settings.keyfile or None, lambda: settings.key_password),
    )


def _set_ciphers(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.ciphers and settings.psk_ciphers:
        raise ListenerError("ciphers and psk_ciphers exclude each other")
    if settings.psk_ciphers:
        _set_psk(context, settings)
    # TLS 1.3 suites are not chosen by this list in OpenSSL; all of them are sound.
    names = [name for name in settings.ciphers or settings.psk_ciphers if not name.startswith("TLS_")]
    if settings.ciphers and not names:  # no suite of an older version was named, so none may be offered
        if context.maximum_version < ssl.TLSVersion.TLSv1_3:
            raise ListenerError("ciphers: all are of TLS 1.3, which tls_versions leaves out")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    old = context.minimum_version < ssl.TLSVersion.TLSv1_2
    if not names and not old:
        return
    if old:
        names = [*(names or ["DEFAULT"]), "@SECLEVEL=0"]  # what the operator asked for by naming such a version
    try:
        context.set_ciphers(":".join(names))
    except ssl.SSLError:
        raise ListenerError(f"ciphers: none of {', '.join(names)} is known to {ssl.OPENSSL_VERSION}") from None


def knows_psk() -> bool:
    """Whether this Python can answer handshakes with pre-shared keys; 3.13 and later can."""
    return hasattr(ssl.SSLContext, "set_psk_server_callback")


def _set_psk(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if context.maximum_version >= ssl.TLSVersion.TLSv1_3:
        raise ListenerError("psk_ciphers need tls_versions without tlsv1.3")
    set_callback = getattr(context, "set_psk_server_callback", None)
    lookup = settings.psk_lookup
    if lookup is None:
        raise ListenerError("psk_ciphers: nobody answers tls_handshake.psk_lookup: load the plugin emqx_psk_file")
    if set_callback is not None:  # else every such handshake fails, and whoever builds the listener says so
        # No key, b"", ends the handshake.
        set_callback(lambda identity: (lookup(identity) or b"") if identity else b"")


def _set_verification(context: ssl.SSLContext, settings: TlsSettings) -> None:
    context.check_hostname = False
    if not settings.verify:
        if settings.fail_if_no_peer_cert:
            raise ListenerError("fail_if_no_peer_cert needs verify = verify_peer")
        context.verify_mode = ssl.CERT_NONE
        return
    if not settings.cacertfile:
        raise ListenerError("verify = verify_peer needs cacertfile")
    context.verify_mode = ssl.CERT_REQUIRED if settings.fail_if_no_peer_cert else ssl.CERT_OPTIONAL
    _read("cacertfile", settings.cacertfile, lambda: context.load_verify_locations(settings.cacertfile))
    partial = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    flags = context.verify_flags
    context.verify_flags = flags | partial if settings.partial_chain else flags & ~partial
    for path in settings.crl_files:
        _read("crl file", path, lambda path=path: context.load_verify_locations(path))  # type: ignore[misc]
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    if settings.ext_key_usage:
        _need_cryptography()


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise ListenerError("verify_peer_ext_key_usage needs the cryptography package") from None

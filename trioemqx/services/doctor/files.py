"""Files: who else on the machine can read secrets or change what the broker does, and what survives."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from trioemqx.config.model import Config
from trioemqx.services.doctor.finding import HIGH, LOW, MEDIUM, Finding, is_public, key_of

OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH
OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
ANYBODY: Final = stat.S_IRWXG | stat.S_IRWXO
_MOST: Final = 1024 * 1024


def findings(config: Config) -> Iterator[Finding]:
    """What is weak about files and folders that are there, and about what is kept."""
    yield from _modes(config)
    yield from _kept(config)
    if config.acl_file is not None and any(is_public(listener.host) for listener in config.listeners):
        yield from _rules(Path(config.acl_file))


def _modes(config: Config) -> Iterator[Finding]:
    data = Path(config.node.data_dir)
    if config.path is not None:
        yield from _file(config.path, str(config.path), MEDIUM, "it may hold secrets", OTHERS_READ)
        yield from _file(config.path, str(config.path), HIGH, "others may change every setting", stat.S_IWOTH)
    yield from _file(data, "node.data_dir", HIGH, "what the broker keeps is open to others", ANYBODY)
    yield from _file(data / config.store.file, "store.file", HIGH, "it holds sessions, users and rules", ANYBODY)
    for setting, file in _keys(config):
        yield from _file(Path(file), setting, HIGH, "others may read or change the private key", ANYBODY)
    apps = config.management.bootstrap_apps_file
    if apps is not None:
        yield from _file(Path(apps), "management.bootstrap_apps_file", HIGH, "it holds secrets", ANYBODY)
    if config.acl_file is not None:
        yield from _file(Path(config.acl_file), "acl_file", HIGH, "others may change the access rules", OTHERS_WRITE)
    folders = [("plugins.expand_plugins_dir", config.plugins.expand_plugins_dir)]
    folders += [("plugins.dirs", folder) for folder in config.plugins.dirs]
    if config.plugins.etc_dir is not None:
        folders.append(("plugins.etc_dir", config.plugins.etc_dir))
    for setting, folder in folders:
        reason = "others may put code or settings there that the broker runs"
        yield from _file(Path(folder), setting, HIGH, reason, OTHERS_WRITE)


def _keys(config: Config) -> Iterator[tuple[str, str]]:
    for listener in config.listeners:
        if listener.keyfile is not None:
            yield key_of(listener, "keyfile"), listener.keyfile
    for part, pair in (("management", config.management), ("dashboard", config.dashboard)):
        if pair.https.bind is not None and pair.https.keyfile is not None:
            yield f"{part}.listener.https.keyfile", pair.https.keyfile


def _file(path: Path, key: str, severity: str, reason: str, unwanted: int) -> Iterator[Finding]:
    """A finding when a file or folder has one of the unwanted bits; none when it is not there or cannot be seen."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & unwanted:
        if unwanted & OTHERS_READ:  # who may not read it has no reason to write it
            unwanted |= ANYBODY
        proposal = f"chmod {mode & ~unwanted:o} {path}"
        yield Finding(severity, key, f"{path} has mode {mode:04o}", reason, proposal)


def _kept(config: Config) -> Iterator[Finding]:
    store = config.store
    if store.sync == "memory":
        reason = "sessions, bans, users and rules are forgotten when the broker ends"
        yield Finding(MEDIUM, "store.sync", store.sync, reason, "full")
    elif store.sync == "normal":
        reason = "a power cut may take the last acknowledged messages"
        yield Finding(LOW, "store.sync", store.sync, reason, "full")
    if store.sync != "memory" and store.on_corrupt == "rename":
        reason = "after damage the broker starts without its bans, users and rules"
        yield Finding(LOW, "store.on_corrupt", store.on_corrupt, reason, "refuse")


def _rules(file: Path) -> Iterator[Finding]:
    """Access rules that let everybody do everything: then `acl_nomatch` has nothing to decide."""
    if not file.is_file():  # a pipe would be waited for
        return
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return  # the module that reads it says so, and denies
    if file.suffix == ".toml":
        try:
            rules = tomllib.loads(text).get("acl", [])
        except (ValueError, RecursionError):
            return
        wide = any(_lets_all(rule) for rule in rules if isinstance(rule, dict)) if isinstance(rules, list) else False
    else:
        lines = ["".join(line.partition("%%")[0].split()) for line in text.splitlines()]
        wide = "{allow,all}." in lines
    if wide:
        reason = "a rule lets everybody publish and subscribe to what the rules before it do not mention"
        yield Finding(MEDIUM, "acl_file", str(file), reason, "remove that rule, and set acl_nomatch to deny")


def _lets_all(rule: dict[str, Any]) -> bool:
    topics = rule.get("topics")
    everywhere = topics is None or (isinstance(topics, list) and "#" in topics)
    everybody = rule.get("who", "all") == "all"
    return rule.get("permission") == "allow" and everybody and everywhere and rule.get("action", "pubsub") == "pubsub"

"""Writes `docs/configuration.md` and `etc/emqx.toml` from the schema: `python -m trioemqx.config.reference doc|toml`.

Tests compare both files with what this makes, so a new setting cannot be forgotten in either.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from trioemqx.config.listener import KINDS
from trioemqx.config.model import Config, schema
from trioemqx.config.schema import NAME, Free, Path, Section, Setting, leaves, specs
from trioemqx.config.shipped import SHIPPED

_WIDTH: Final = 110

_CHAPTERS: Final[dict[str, str]] = {
    "": "Access control for all zones",
    "node": "The node",
    "log": "Log",
    "mqtt": "MQTT, for zones that do not set their own",
    "zone": "Zones: what the clients of a listener may do",
    "listener": "Listeners: tcp, ssl, ws and wss, any number of each",
    "broker": "Broker and $SYS",
    "limits": "Limits of the whole broker",
    "overload": "What gives way when memory, time or files run short",
    "retainer": "Retained messages",
    "store": "What survives a restart",
    "security": "Security profile",
    "sysmon": "Run-time warnings",
    "os_mon": "Alarms about the machine",
    "vm_mon": "Alarms about the number of tasks",
    "alarm": "Alarms",
    "management": "The HTTP API",
    "dashboard": "The dashboard",
    "license": "License file",
    "rule_engine": "The rule engine",
    "plugins": "Plugins",
    "modules": "Modules",
    "module": "Settings of EMQX's modules",
    "auth": "Settings of the plugins emqx_auth_http, emqx_auth_jwt and emqx_auth_mnesia",
    "web": "Settings of the plugin emqx_web_hook",
    "prometheus": "Settings of the plugin emqx_prometheus",
    "psk": "Settings of the plugin emqx_psk_file",
    "telemetry": "Settings of the plugin emqx_telemetry",
    "bridge": "Settings of the plugin emqx_bridge_mqtt",
    "cluster": "Cluster: accepted, not used by a single node",
    "rpc": "Calls between nodes: accepted, not used by a single node",
}

_FREE_EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "plugins": ("[plugins.emqx_example]", 'greeting = "hello"'),
    "modules": ("[modules.emqx_mod_example]", "qos = 1"),
    "cluster": ('name = "emqxcl"', 'discovery = "manual"', "autoheal = true", 'autoclean = "5m"'),
    "rpc": ('mode = "async"', "async_batch_size = 256", "tcp_server_port = 5369", 'connect_timeout = "5s"'),
}

_ELSEWHERE: Final = {
    "module": ("Those of every module, with examples: docs/modules.md.",),
    "auth": (
        "Tables [auth.http], [auth.jwt], [auth.mnesia]. Every setting, with its default:",
        "plugins/emqx_auth_http/etc/emqx_auth_http.toml, and likewise for the others.",
    ),
    "web": ("Table [web.hook]. Every setting, with its default: plugins/emqx_web_hook/etc/emqx_web_hook.toml.",),
    "prometheus": (
        "Table [prometheus]. Every setting, with its default: plugins/emqx_prometheus/etc/emqx_prometheus.toml.",
    ),
    "psk": ("Table [psk.file]. Every setting, with its default: plugins/emqx_psk_file/etc/emqx_psk_file.toml.",),
    "telemetry": (
        "Table [telemetry]. Every setting, with its default: plugins/emqx_telemetry/etc/emqx_telemetry.toml.",
    ),
    "bridge": (
        "Tables [bridge.mqtt.<name>]. Every setting, with its default:",
        "plugins/emqx_bridge_mqtt/etc/emqx_bridge_mqtt.toml.",
    ),
}
"""Where the settings of plugins and modules are described, which the broker itself does not know."""


# docs/configuration.md

_INTRO: Final = """\
# Configuration

<!-- Made by `python -m trioemqx.config.reference doc`; a test compares it with the schema. -->

`etc/emqx.toml` has EMQX 4.4's keys, in TOML tables. A value comes from the strongest of four places: the environment,
[saved overrides](dashboard.md#settings), the file, the default. `trioemqx config show --origin` tells which.

- **Durations** are numbers of seconds or texts such as `"15s"`, `"1h30m"`, `"250ms"` (units `ms s m h d`).
  **Sizes** are bytes or `"64KB"`, `"1MB"`, `"1GB"` (powers of 1024). **Flags** are `true`, `false`, `"on"`, `"off"`.
  **Lists** are TOML lists or one text with commas. **Percentages** are `"80%"` or `80`.
- **Default** is what holds when a file leaves the key out. **Shipped** is what `etc/emqx.toml` says, and what holds
  without any file (for listeners and zones: see the file). EMQX 4.4 makes the same difference.
- An unknown key or a value of the wrong type stops the start, with file, line and the nearest valid key.
- A listener may be written short: `[listener.tcp]` with `external = "0.0.0.0:1883"`. `log.formatter = "json"` and
  `log.rotation = "off"` are short for `log.formatter.type` and `log.rotation.enable`.
- A key marked `+` is not in EMQX 4.4. A key marked `-` is accepted and has no effect here.

## Environment

`EMQX_ZONE__EXTERNAL__MAX_INFLIGHT=64` sets `zone.external.max_inflight`: two underscores stand for a dot, case does not
matter, a dash in a name is written as an underscore. `EMQX_LISTENER__TCP__EXTERNAL=1883` sets the address.

| variable | meaning |
|---|---|
| `EMQX_..._FILE` | reads the value, a secret say, from that file: `EMQX_LISTENER__SSL__EXTERNAL__KEY_PASSWORD_FILE` |
| `EMQX_NODE_NAME` | `node.name` |
| `EMQX_NAME`, `EMQX_HOST` | the parts of `node.name` before and after the `@` |
| `EMQX_LOADED_PLUGINS`, `EMQX_LOADED_MODULES` | names with any separators: `plugins.load`, `modules.load` |

A variable that fits no key is a warning with a suggestion, never an error.
"""


def markdown() -> str:
    """The text of `docs/configuration.md`."""
    parts = [_INTRO]
    for chapter, title in _CHAPTERS.items():
        parts.append(f"\n## {title}\n\n{_table(chapter)}")
    return "".join(parts)


def _table(chapter: str) -> str:
    rows = list(_rows(chapter))
    if not rows:
        return "Keys in this table are not checked.\n"
    head = "| key | type | unit | default | shipped | applied | meaning |\n|---|---|---|---|---|---|---|\n"
    free = f"\nOther tables `[{chapter}.<name>]` belong to the {chapter[:-1]} of that name.\n"
    return head + "\n".join(rows) + "\n" + (free if chapter in ("plugins", "modules") else "")


def _rows(chapter: str) -> Iterator[str]:
    for path, setting in leaves(schema()):
        if (path[0] if len(path) > 1 else "") == chapter and not _repeated(path, setting):
            yield _row(path, setting)


def _repeated(path: Path, setting: Setting) -> bool:
    """Listener keys are listed once, under the first type that has them."""
    return path[0] == "listener" and path[1] != (setting.only or KINDS)[0]


def _row(path: Path, setting: Setting) -> str:
    mark = " `+`" if setting.added else "" if setting.used else " `-`"
    key = ".".join(path)
    meaning = setting.doc
    if path[0] == "listener":
        key = ".".join(("listener", "<type>", *path[2:]))
        meaning += f" ({', '.join(setting.only)} only)" if setting.only else ""
    shipped = _shipped(path)
    cells = [
        f"`{key}`{mark}",
        setting.kind.name.replace("|", "\\|"),
        setting.kind.unit,
        "required" if setting.required else _cell(_default(setting)),
        "" if shipped is None else _cell(shipped),
        setting.apply if setting.used else "",
        meaning.replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    if value is None or value == [] or value == "":
        return ""
    return f"`{_toml(value).strip(chr(34))}`".replace("|", "\\|")


def _default(spec: Setting) -> object:
    """The default as it would be written. That of a secret is no secret."""
    return spec.kind.show(spec.default) if spec.secret and spec.default is not None else spec.show(spec.default)


def _shipped(path: Path) -> object:
    """The shipped value of a key; None when the shipped file leaves it out or the key is under a user's name."""
    value: Any = SHIPPED
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) and name != NAME else None
    return value


# etc/emqx.toml

_TOML_INTRO: Final = """\
# Configuration of the broker. The keys are EMQX 4.4's; docs/configuration.md explains how values are written.
#
# Active lines are what EMQX 4.4 ships. Lines that start with "#key =" show an option at its default, or an example when
# it has none. Every key can be set from the environment as well: zone.external.max_inflight is
# EMQX_ZONE__EXTERNAL__MAX_INFLIGHT. "+" marks options that EMQX 4.4 does not have, "-" those without effect here.
"""


def commented_toml() -> str:
    """The text of `etc/emqx.toml`: every option once, the shipped ones active."""
    lines = [_TOML_INTRO]
    lines += _chapter(_CHAPTERS[""])
    lines += _options(Config, SHIPPED, skip_tables=True)
    for _attribute, spec in specs(Config):
        if isinstance(spec, Section):
            lines += _chapter(_CHAPTERS[spec.key[0]])
            lines += _section(spec)
        elif isinstance(spec, Free) and spec.key[0] not in ("plugins", "modules"):
            lines += _free(spec.key[0])
    return "\n".join(line for line, after in pairwise([*lines, "end"]) if line or after) + "\n"


def _chapter(title: str) -> list[str]:
    return ["", f"## {title} ".ljust(_WIDTH, "-"), ""]


def _section(spec: Section) -> Iterator[str]:
    name = spec.key[0]
    values = SHIPPED.get(name, {})
    if spec.how == "section":
        yield f"[{name}]"
        yield from _options(spec.cls, values)
        yield from _nested(spec.cls, (name,))
        if name == "broker":
            yield from ("", "# One share group, by its name.", "#[broker.group.mygroup]")
            yield '#shared_subscription_strategy = "round_robin"'
        if name in ("plugins", "modules"):
            yield from ("", f"# Settings of one of the {name}, by its name.")
            yield from (f"#{line}" for line in _FREE_EXAMPLES[name])
    elif spec.how == "named":
        yield from _named(spec.cls, (name,), values)
    else:
        for kind in KINDS:
            yield from _named(spec.cls, (name, kind), values[kind], kind)


def _nested(cls: type, at: Path) -> Iterator[str]:
    """Tables within a table, those that are not shipped as comments."""
    for _attribute, spec in specs(cls):
        if isinstance(spec, Section) and spec.how == "section":
            key = (*at, *spec.key)
            values = _pick(SHIPPED, key)
            yield from ("", f"{'' if values else '#'}[{'.'.join(key)}]")
            yield from _options(spec.cls, values if isinstance(values, Mapping) else {})


def _named(cls: type, at: Path, tables: Mapping[str, Any], kind: str = "") -> Iterator[str]:
    """The first table shows every option, the others only what they set."""
    for place, (name, values) in enumerate(tables.items()):
        yield f"[{'.'.join((*at, name))}]"
        if place == 0:
            yield from _options(cls, values, kind=kind)
        else:
            yield from (f"{key} = {_toml(value)}" for key, value in values.items())
        yield ""


def _options(cls: type, values: Mapping[str, Any], *, kind: str = "", skip_tables: bool = False) -> Iterator[str]:
    for _attribute, spec in specs(cls):
        if not isinstance(spec, Setting) or (kind and spec.only and kind not in spec.only):
            continue
        if kind and kind != (spec.only or KINDS)[0] and _pick(values, spec.key) is None:
            continue  # shown once, at the first type that has it
        if kind in ("", (spec.only or KINDS)[0]):
            yield _comment(spec)
        value = _pick(values, spec.key)
        key = ".".join(spec.key)
        if value is not None:
            yield f"{key} = {_toml(value)}"
        else:
            yield f"#{key} = {_toml(_example(spec))}"
    if skip_tables:
        yield ""


def _comment(spec: Setting) -> str:
    mark = "+ " if spec.added else "" if spec.used else "- "
    return f"# {mark}{spec.doc}"


def _example(spec: Setting) -> object:
    shown = _default(spec)
    if spec.example is not None and (shown is None or shown in ([], "")):
        return spec.example
    return shown


def _pick(values: Mapping[str, Any], key: Path) -> object:
    found: Any = values
    for name in key:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _free(name: str) -> list[str]:
    examples = _FREE_EXAMPLES.get(name, ())
    active = [
        line
        for table, values in SHIPPED.get(name, {}).items()
        for line in (f"[{name}.{table}]", *(f"{key} = {_toml(value)}" for key, value in values.items()))
    ]
    return [
        *_chapter(_CHAPTERS[name]),
        *(f"# {line}" for line in _ELSEWHERE.get(name, ())),
        *active,
        *([f"#[{name}]"] if examples else []),
        *(f"#{line}" for line in examples),
    ]


def _toml(value: object) -> str:
    """A value of the schema as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def main(arguments: list[str]) -> int:
    """Print one of the two files; exit code 64 for anything but `doc` and `toml`."""
    makers = {"doc": markdown, "toml": commented_toml}
    if len(arguments) != 1 or arguments[0] not in makers:
        sys.stderr.write("usage: python -m trioemqx.config.reference doc|toml\n")
        return 64
    sys.stdout.write(makers[arguments[0]]())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

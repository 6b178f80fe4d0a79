"""`[node]`, `[log]` and the monitors: what concerns the process rather than MQTT."""

# ruff: noqa: RUF009 - setting() and its like make an attrs attribute once per class, as attrs.field() does

from __future__ import annotations

from typing import Final

import attrs

from trioemqx.config.fields import bytesize, choice, duration, flag, integer, or_word, path, percent, text, words
from trioemqx.config.schema import setting, unused
from trioemqx.config.values import Rate, rate

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_LEVEL: Final = choice(*LEVELS, "all")


@attrs.frozen
class NodeConfig:
    """`[node]`"""

    name: str = setting(text, "emqx@127.0.0.1", "name@host, in every $SYS topic and answer.", apply="restart")
    cookie: str = setting(
        text, "emqxsecretcookie", "Secret of an Erlang cluster.", secret=True, used=False, apply="restart"
    )
    data_dir: str = setting(path, "data", "Folder for everything the broker writes but logs.", apply="restart")
    global_gc_interval: float = setting(
        duration, 900.0, "Period of Python's full garbage collection, which large brokers skip.", apply="restart"
    )
    process_limit: int | None = unused(example=2048000)
    max_ports: int | None = unused(example=1024000)
    max_ets_tables: int | None = unused(example=262144)
    async_threads: int | None = unused(example=4)
    dist_buffer_size: str | None = unused(example="8MB")
    dist_net_ticktime: str | None = unused(example="2m")
    dist_listen_min: int | None = unused(example=6369)
    dist_listen_max: int | None = unused(example=6369)
    fullsweep_after: int | None = unused(example=1000)
    crash_dump: str | None = unused(example="log/crash.dump")
    ssl_dist_optfile: str | None = unused(example="etc/ssl_dist.conf")
    backtrace_depth: int | None = unused(example=23)


def _level_file(level: str) -> str | None:
    made: str | None = setting(
        path, None, f"Extra file for {level} and above.", key=f"{level}.file", example=f"{level}.log", apply="restart"
    )
    return made


@attrs.frozen
class LogConfig:
    """`[log]`. Sizes are bytes."""

    to: str = setting(choice("file", "console", "both"), "file", "Where log lines go.", apply="restart")
    level: str = setting(_LEVEL, "warning", "Least severe level that is written.")
    primary_log_level: str | None = setting(_LEVEL, None, "Same as level; EMQX has both.", example="warning")
    dir: str = setting(path, "log", "Folder of log files.", apply="restart")
    file: str = setting(path, "emqx.log", "Log file, relative to dir.", apply="restart")
    formatter: str = setting(
        choice("text", "json"),
        "text",
        "Text lines, or one JSON object per line.",
        key="formatter.type",
        shorthand=True,
        apply="restart",
    )
    date_format: str = setting(
        text,
        "rfc3339",
        "rfc3339, or a format with %Y %m %d %H %M %S %3N %6N %z.",
        key="formatter.text.date.format",
        apply="restart",
    )
    chars_limit: int = setting(integer(-1), -1, "Longest message in characters; -1 = unlimited.", apply="restart")
    single_line: bool = setting(flag, True, "Fold line breaks inside one entry.", apply="restart")
    max_depth: int | None = setting(
        or_word(integer(1), "unlimited"), 100, "How deep nested data are printed.", used=False, apply="restart"
    )
    rotation: bool = setting(
        flag, True, "Start a new file when one is full.", key="rotation.enable", shorthand=True, apply="restart"
    )
    rotation_size: int = setting(bytesize, 10 * 1024**2, "A file is full then.", key="rotation.size", apply="restart")
    rotation_count: int = setting(integer(1, 1024), 5, "Files kept.", key="rotation.count", apply="restart")
    size: int | None = setting(
        or_word(bytesize, "infinity"), None, "Largest file when rotation is off.", apply="restart"
    )
    debug_file: str | None = _level_file("debug")
    info_file: str | None = _level_file("info")
    notice_file: str | None = _level_file("notice")
    warning_file: str | None = _level_file("warning")
    error_file: str | None = _level_file("error")
    critical_file: str | None = _level_file("critical")
    alert_file: str | None = _level_file("alert")
    emergency_file: str | None = _level_file("emergency")
    sync_mode_qlen: int = setting(integer(), 100, "Queue length of Erlang's log handler.", used=False)
    drop_mode_qlen: int = setting(
        integer(1), 3000, "Log lines waiting to be written above which new ones are dropped.", apply="restart"
    )
    flush_qlen: int = setting(integer(1), 8000, "Queue length of Erlang's log handler.", used=False)
    overload_kill: bool = setting(flag, True, "Protection of Erlang's log handler.", used=False)
    overload_kill_qlen: int = setting(integer(1), 20_000, "Protection of Erlang's log handler.", used=False)
    overload_kill_mem_size: int = setting(bytesize, 30 * 1024**2, "Protection of Erlang's log handler.", used=False)
    overload_kill_restart_after: float = setting(duration, 5.0, "Protection of Erlang's log handler.", used=False)
    burst_limit: Rate | None = setting(
        or_word(rate, "disabled"), None, "Most log lines per period, as COUNT, PERIOD.", apply="restart"
    )

    @property
    def effective_level(self) -> str:
        """`primary_log_level` when it is set, else `level`."""
        return self.primary_log_level or self.level

    @property
    def level_files(self) -> dict[str, str]:
        """Extra files by the level they start from."""
        found = {level: getattr(self, f"{level}_file") for level in LEVELS}
        return {level: file for level, file in found.items() if file}


@attrs.frozen
class SysmonConfig:
    """`[sysmon]`: run-time warnings; 0 switches one off. Only long_schedule has a meaning here."""

    long_gc: float = setting(duration, 0.0, "Warn about a memory collection longer than that.", used=False)
    long_schedule: float = setting(duration, 0.24, "Warn when the event loop was held for longer than that.")
    large_heap: int = setting(bytesize, 8 * 1024**2, "Warn about a large Erlang process.", used=False)
    busy_port: bool = setting(flag, False, "Warn about busy Erlang ports.", used=False)
    busy_dist_port: bool = setting(flag, True, "Warn about busy Erlang distribution ports.", used=False)


@attrs.frozen
class OsMonConfig:
    """`[os_mon]`: alarms about the machine. Watermarks are percentage points."""

    cpu_check_interval: float = setting(duration, 60.0, "How often the CPU is looked at; 0 = never.")
    cpu_high_watermark: float = setting(percent, 80.0, "An alarm is raised above.")
    cpu_low_watermark: float = setting(percent, 60.0, "The alarm is cleared below.")
    mem_check_interval: float = setting(duration, 60.0, "How often memory is looked at; whole minutes, 60 s or more.")
    sysmem_high_watermark: float = setting(percent, 70.0, "Alarm when this much of the memory is used.")
    procmem_high_watermark: float = setting(percent, 5.0, "Alarm when one process uses this much of the memory.")


@attrs.frozen
class VmMonConfig:
    """`[vm_mon]`: Erlang processes there, trio tasks here. Watermarks are percentage points."""

    check_interval: float = setting(duration, 30.0, "How often it is looked at.")
    process_high_watermark: float = setting(percent, 80.0, "An alarm is raised above.")
    process_low_watermark: float = setting(percent, 60.0, "The alarm is cleared below.")


@attrs.frozen
class OverloadConfig:
    """`[overload]`: what happens before the process runs out of something. Watermarks are percentage points."""

    memory_check_interval: float = setting(
        duration, 1.0, "How often the memory of the process is looked at; 0 = never.", added=True
    )
    memory_limit: int = setting(
        bytesize, 0, "What the process may have; 0 = what its control group, or the machine, has.", added=True
    )
    memory_alarm_watermark: float = setting(
        percent, 70.0, "From here on an alarm is raised, caches do not grow, no new topics are retained.", added=True
    )
    memory_refuse_watermark: float = setting(
        percent, 80.0, "From here on new connections are refused and publishers slowed down.", added=True
    )
    memory_shed_watermark: float = setting(
        percent,
        90.0,
        "From here on queued QoS 0 messages are dropped and the slowest clients disconnected.",
        added=True,
    )
    memory_margin: float = setting(percent, 5.0, "So far below a watermark its measures end.", added=True)
    lag_threshold: float = setting(duration, 0.5, "How late the event loop may be; 0 = it does not matter.", added=True)
    lag_period: float = setting(
        duration,
        3.0,
        "New connections are refused when it was late for so long, until it was not for as long.",
        added=True,
    )
    descriptor_reserve: int = setting(
        integer(), 64, "Files that connections leave free: accepting pauses when there are fewer.", added=True
    )
    queue_alarms: int = setting(integer(), 100, "Clients with an alarm about their full queue at a time.", added=True)


@attrs.frozen
class AlarmConfig:
    """`[alarm]`"""

    actions: tuple[str, ...] = setting(words("log", "publish"), ("log", "publish"), "What an alarm does.")
    size_limit: int = setting(integer(1), 1000, "Deactivated alarms that are remembered.")
    validity_period: float = setting(duration, 86400.0, "How long a deactivated alarm is remembered.")

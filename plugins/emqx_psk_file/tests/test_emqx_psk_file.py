"""Pre-shared keys from a file: its form, what is wrong in it, reload, and what happens when it is not there."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from trioemqx.plugin import PluginError
from trioemqx.testing import TestBroker, running

NAME = "emqx_psk_file"
Lookup = Callable[[str], bytes | None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "psk.txt"
    write(file, b"pump-1:secret of pump 1\npump-2:abcd\n")
    return file


def write(file: Path, data: bytes, mode: int = 0o600) -> None:
    file.write_bytes(data)
    file.chmod(mode)


def remove(file: Path) -> None:
    file.unlink()


@pytest.fixture
def broker_config(file: Path, request: pytest.FixtureRequest) -> dict[str, object]:
    return {"psk": {"file": {"path": str(file), **getattr(request, "param", {})}}}


def settings(**values: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [values], indirect=True, ids=[""])


@pytest.fixture
def lookup(broker: TestBroker) -> Lookup:
    return broker.node.hooks.compiled.run_psk_lookup


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == f"trioemqx.plugin.{NAME}"]


async def reread(broker: TestBroker, file: Path, data: bytes) -> None:
    write(file, data)
    await broker.reload_plugin(NAME)


# -- the file ----------------------------------------------------------------------------------------------------------


async def test_keys_are_found_by_identity(broker: TestBroker, lookup: Lookup) -> None:
    assert [lookup(name) for name in ("pump-1", "pump-2")] == [b"secret of pump 1", b"abcd"]
    assert [lookup(name) for name in ("pump-3", "PUMP-1", " pump-1", "")] == [None] * 4
    assert broker.metrics[f"plugin.{NAME}.unknown"] == 4
    assert await broker.ctl("psk_file info") == ["psk_file/identities: 2", "psk_file/unknown: 4"]


@pytest.mark.parametrize(
    ("line", "identity", "key"),
    [
        (b"a:b:c", "a", b"b:c"),
        (b" a : b ", " a ", b" b "),
        ("größe:schlüssel".encode(), "größe", "schlüssel".encode()),
        (b"a:\xff\x00\xfe", "a", b"\xff\x00\xfe"),
        (b"a:b\r", "a", b"b"),
        (b"i" * 256 + b":" + b"k" * 512, "i" * 256, b"k" * 512),
        (b"\xef\xbb\xbfa:b", "a", b"b"),
    ],
)
async def test_forms_of_a_line(
    broker: TestBroker, lookup: Lookup, file: Path, line: bytes, identity: str, key: bytes
) -> None:
    await reread(broker, file, line)
    assert lookup(identity) == key


@settings(delimiter="=>")
async def test_another_delimiter(broker: TestBroker, lookup: Lookup, file: Path) -> None:
    await reread(broker, file, b"a:b=>c=>d")
    assert lookup("a:b") == b"c=>d"


async def test_empty_lines_and_comments_are_no_keys(
    broker: TestBroker, lookup: Lookup, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "trioemqx")
    await reread(broker, file, b"# who: why\n\n  \n\r\na:b\n")
    assert (lookup("# who"), lookup("a")) == (None, b"b")
    assert reports(caplog) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"secret without an identity", "expected <identity>:<key>"),
        (b":secret", "there is no identity"),
        (b"identity:", "there is no key"),
        (b"\xff:secret", "the identity is not UTF-8 text"),
        (b"a\0b:secret", "a zero byte in the identity"),
        (b"i" * 257 + b":secret", "257 bytes of identity, at most 256"),
        (b"a:" + b"k" * 513, "513 bytes of key, at most 512"),
    ],
)
async def test_a_bad_line_is_reported_and_the_rest_is_read(
    broker: TestBroker,
    lookup: Lookup,
    file: Path,
    caplog: pytest.LogCaptureFixture,
    line: bytes,
    problem: str,
) -> None:
    caplog.set_level(logging.WARNING, "trioemqx")
    await reread(broker, file, b"a:1\n" + line + b"\nb:2\n")
    assert (lookup("a"), lookup("b")) == (b"1", b"2")
    (report,) = reports(caplog)
    assert report.startswith(f"{file}:2: {problem}")
    assert "secret" not in report


async def test_of_an_identity_that_comes_twice_the_last_key_counts(
    broker: TestBroker, lookup: Lookup, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "trioemqx")
    await reread(broker, file, b"a:old\nb:2\na:new\n")
    assert lookup("a") == b"new"
    assert reports(caplog) == [f"{file}:3: the identity of line 1 again; this key is used"]


@settings(max_identities=2)
async def test_there_are_at_most_so_many(
    broker: TestBroker, lookup: Lookup, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "trioemqx")
    await reread(broker, file, b"a:1\nb:2\nc:3\na:4\n")
    assert [lookup(name) for name in "abc"] == [b"4", b"2", None]
    assert reports(caplog)[0] == f"{file}:3: psk.file.max_identities is 2; it is not used"


async def test_a_file_full_of_garbage_does_not_fill_the_log(
    broker: TestBroker, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "trioemqx")
    await reread(broker, file, b"x\n" * 500)
    assert len(reports(caplog)) == 21
    assert reports(caplog)[-1] == f"{file}: 480 more lines cannot be used"


async def test_a_file_that_everybody_may_read_is_mentioned(
    broker: TestBroker, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "trioemqx")
    write(file, b"a:b", 0o644)
    await broker.reload_plugin(NAME)
    assert reports(caplog) == [f"{file} can be read by everybody on this machine; chmod 600 it"]


# -- its life ----------------------------------------------------------------------------------------------------------


async def test_the_file_is_read_again_at_a_reload_only(broker: TestBroker, lookup: Lookup, file: Path) -> None:
    write(file, b"pump-1:new\n")
    assert lookup("pump-1") == b"secret of pump 1"
    await broker.reload_plugin(NAME)
    assert (lookup("pump-1"), lookup("pump-2")) == (b"new", None)


async def test_the_old_keys_stay_when_the_file_cannot_be_read(broker: TestBroker, lookup: Lookup, file: Path) -> None:
    remove(file)
    with pytest.raises(PluginError, match=r"psk\.file\.path: .*psk\.txt cannot be read: No such file"):
        await broker.reload_plugin(NAME)
    assert lookup("pump-2") == b"abcd"


async def test_unloaded_it_knows_nobody_and_leaves_nothing(broker: TestBroker, lookup: Lookup) -> None:
    await broker.node.plugins.unload(NAME)
    assert lookup("pump-1") is None
    assert broker.node.hooks.compiled.tls_handshake_psk_lookup == ()
    assert "psk_file" not in broker.node.commands.names()
    assert f"plugin.{NAME}.unknown" not in broker.metrics


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"path": "/nowhere/psk.txt"}, "/nowhere/psk.txt cannot be read: No such file or directory"),
        ({"path": "/"}, "/ cannot be read: it is not a file"),
        ({"path": "/dev/zero"}, "/dev/zero cannot be read: it is not a file"),
        ({"delimiter": ""}, "psk.file.delimiter: expected one or more printable characters"),
        ({"delimiter": "\n"}, "delimiter: expected one or more printable characters"),
        ({"max_identities": 0}, "max_identities: expected a number above 0"),
        ({"pathh": "x"}, "unknown key (did you mean path?)"),
    ],
)
async def test_what_cannot_be_used_keeps_it_out_and_nobody_gets_in(table: dict[str, object], problem: str) -> None:
    async with running({"plugins": {"load": [NAME]}, "psk": {"file": table}}) as broker:
        reason = str(broker.alarms()[f"plugin_not_loaded/{NAME}"]["reason"])
        assert problem.removeprefix("psk.file.") in reason, reason
        assert broker.node.hooks.compiled.run_psk_lookup("pump-1") is None


def test_the_settings_file_has_every_setting_with_its_default() -> None:
    text = (Path(__file__).parents[1] / "etc" / f"{NAME}.toml").read_text("utf-8")
    shown = tomllib.loads(text.replace("\n# max_", "\nmax_"))["psk"]["file"]
    from emqx_psk_file import Config

    assert shown == {
        name: str(value) if isinstance(value, Path) else value for name, value in attrs.asdict(Config()).items()
    }

"""Uploaded archives: what they may hold, and that nothing else gets to the disk."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_zips import PYPROJECT, pack, plugin_zip, special

from trioemqx.services.plugins import archive
from trioemqx.services.plugins.errors import PluginError, UploadRefused
from trioemqx.services.plugins.uploads import Uploads


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads")


def below(folder: Path) -> list[str]:
    """Everything in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(uploads: Uploads, raw: bytes) -> str:
    """Why it is; nothing of it is left, in the folder or around it."""
    around = below(uploads.path.parent)
    with pytest.raises(PluginError) as caught:
        uploads.stage(raw)
    assert [path for path in below(uploads.path.parent) if path not in (*around, "uploads")] == []
    return str(caught.value)


def test_a_plugin_is_unpacked(uploads: Uploads) -> None:
    more = (("allow_list/etc/allow_list.toml", "a = 1\n"), ("allow_list/empty/", ""), ("__MACOSX/allow_list/._x", "x"))
    staged = uploads.stage(plugin_zip("allow_list", "1.0", *more))
    assert (staged.found.name, staged.found.version) == ("allow_list", "1.0")
    assert sorted(staged.files) == ["allow_list.py", "etc/allow_list.toml", "pyproject.toml"]
    assert below(staged.folder) == ["allow_list.py", "empty", "etc", "etc/allow_list.toml", "pyproject.toml"]
    assert (staged.folder / "etc" / "allow_list.toml").read_text() == "a = 1\n"
    assert uploads.records() == {}
    uploads.discard(staged)
    assert below(uploads.path) == []


def test_a_folder_of_another_name_with_an_entry_point(uploads: Uploads) -> None:
    """As a forge packs a branch: the folder has the branch's name."""
    points = PYPROJECT + '\n[project.entry-points."trioemqx.plugins"]\nallow-list = "allow_list:plugin"\n'
    staged = uploads.stage(plugin_zip("allow_list", folder="allow-list-main", project=points))
    assert (staged.found.name, staged.folder.name) == ("allow_list", "allow_list")
    assert "has neither" in refused(uploads, plugin_zip("allow_list", folder="allow-list-main"))


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "//etc/passwd",
        "../x.py",
        "allow_list/../../x.py",
        "allow_list/../x.py",
        "allow_list/./x.py",
        "allow_list//x.py",
        "allow_list/..",
        "..",
        "allow_list\\..\\..\\x.py",
        "allow_list/a\nb",
        "allow_list/\u202egnp.py",
        "allow_list/" + "x" * 201,
        "allow_list/" + "x/" * 30 + "y",
        "beside.py",
        "beside/x.py",
    ],
)
def test_names_that_lead_elsewhere(uploads: Uploads, name: str) -> None:
    assert refused(uploads, plugin_zip("allow_list", "1.0", (name, b"x")))


def test_a_nul_in_a_name(uploads: Uploads) -> None:
    """The standard library ends the name there, others may not."""
    raw = plugin_zip("allow_list", "1.0", ("allow_list/x.pyZ.txt", b"x"))
    assert "printed" in refused(uploads, raw.replace(b"x.pyZ.txt", b"x.py\0.txt"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.py", "a.py"),
        ("a.py", "A.py"),
        ("stra\u00dfe.py", "STRASSE.py"),
        ("\u00e9.py", "e\u0301.py"),
        ("\ufb01.py", "fi.py"),
        ("a/x.py", "A/y.py"),
        ("a", "a/x.py"),
        ("a/x.py", "a"),
        ("a", "a/"),
        ("a/", "a"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_of_nearly_the_same_name(uploads: Uploads, one: str, other: str) -> None:
    entries = [(f"allow_list/{name}", b"" if name.endswith("/") else b"x") for name in (one, other)]
    assert "there are two" in refused(uploads, plugin_zip("allow_list", "1.0", *entries))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_and_devices(uploads: Uploads, kind: int) -> None:
    assert "neither a file nor a folder" in refused(uploads, special("allow_list/x", kind | 0o777, b"/etc/passwd"))


@pytest.mark.parametrize(("mode", "given"), [(0o6777, 0o755), (0o4644, 0o644), (0o100, 0o755), (0, 0o644)])
def test_files_have_no_rights_of_their_own(uploads: Uploads, mode: int, given: int) -> None:
    old = os.umask(0)
    try:
        staged = uploads.stage(special("allow_list/x", mode))
    finally:
        os.umask(old)
    assert stat.S_IMODE((staged.folder / "x").stat().st_mode) == given
    assert stat.S_IMODE(staged.folder.stat().st_mode) == 0o755
    assert stat.S_IMODE(uploads.path.stat().st_mode) == 0o700


def test_bombs(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = ("allow_list/zeros", bytes(archive.ALWAYS + 1))
    assert "times as large" in refused(uploads, plugin_zip("allow_list", "1.0", zeros))
    many = [(f"allow_list/{number}", b"") for number in range(archive.MAX_FILES)]
    assert "more than 1000 files" in refused(uploads, plugin_zip("allow_list", "1.0", *many))
    monkeypatch.setattr(archive, "MAX_UNPACKED", 10_000)
    noise = ("allow_list/noise", os.urandom(10_000))
    assert "10000 bytes when unpacked" in refused(uploads, plugin_zip("allow_list", "1.0", noise))


def test_a_directory_is_not_read_when_it_is_long(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that says it is short."""
    many = [(f"allow_list/{number:0200}", b"") for number in range(3 * archive.MAX_FILES)]
    raw = bytearray(pack(*many))
    at = raw.rfind(b"PK\x05\x06")
    raw[at + 8 : at + 12] = struct.pack("<HH", 1, 1)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "more than 1000 files" in refused(uploads, bytes(raw))


def test_sizes_that_lie(uploads: Uploads) -> None:
    """The directory says 5 bytes, the file has 100000, or the other way round."""
    raw = plugin_zip("allow_list", "1.0", ("allow_list/x", b"x" * 100_000))
    at = raw.rfind(b"PK\x01\x02")
    for lie in (5, 100_001):
        changed = bytearray(raw)
        changed[at + 24 : at + 28] = struct.pack("<L", lie)
        assert refused(uploads, bytes(changed))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods(uploads: Uploads, method: int) -> None:
    assert "other than deflate" in refused(uploads, pack(("allow_list/x", b"x"), method=method))


def test_encrypted_and_zip64(uploads: Uploads) -> None:
    raw = bytearray(plugin_zip())
    raw[raw.find(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(uploads, bytes(raw))
    at = raw.rfind(b"PK\x05\x06")
    assert "zip64" in refused(uploads, bytes(raw[:at]) + b"PK\x06\x07" + bytes(16) + bytes(raw[at:]))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no zip archive"),
        (b"PK\x05\x06" + bytes(18), "one folder"),
        (pack(("allow_list/allow_list.py", b"")), "no pyproject.toml"),
        (pack(("pyproject.toml", b"")), "one folder"),
        (plugin_zip(project="["), "pyproject.toml: "),
        (plugin_zip(project=PYPROJECT + 'typ = "auth"\n'), "unknown key"),
        (plugin_zip(project=PYPROJECT.replace(">=1,<2", ">=2")), "is for API >=2"),
        (plugin_zip(project=PYPROJECT + "#" * 70_000), "pyproject.toml has more"),
        (plugin_zip("with.dot"), "letters, digits"),
        (plugin_zip("x" * 65), "64 at most"),
        (plugin_zip("dirs"), "a setting of [plugins]"),
    ],
)
def test_what_is_no_plugin(uploads: Uploads, raw: bytes, why: str) -> None:
    assert why in refused(uploads, raw)


@pytest.mark.parametrize("value", ["../../outside", "{tmp}/outside"])
def test_an_entry_point_stays_in_the_folder(uploads: Uploads, tmp_path: Path, value: str) -> None:
    (tmp_path / "outside.py").write_text("")
    module = value.format(tmp=tmp_path)
    points = PYPROJECT + f'\n[project.entry-points."trioemqx.plugins"]\nallow_list = "{module}:plugin"\n'
    uploads.path.mkdir()
    (uploads.path / "outside.py").write_text("")
    assert refused(uploads, plugin_zip(project=points))


GOOD = plugin_zip("allow_list", "1.0", ("allow_list/etc/x.toml", b"y" * 500))


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_damaged_archives(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]) -> None:
    """Whatever is wrong with one, it is refused or taken, and nothing lies beside its folder."""
    raw = bytearray(GOOD)
    for place, value in changes:
        raw[place] = value
    uploads = Uploads(tmp_path_factory.mktemp("around") / "uploads")
    try:
        staged = uploads.stage(bytes(raw))
    except PluginError:
        assert below(uploads.path) == []
    else:
        assert {path.split("/")[0] for path in below(uploads.path)} == {staged.folder.parent.name}
        uploads.discard(staged)
    assert below(uploads.path.parent) == ["uploads"]


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_bytes_around_an_archive(tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes) -> None:
    """The hash that is shown is the file's: a form with the file in it has another one."""
    uploads = Uploads(tmp_path_factory.mktemp("around") / "uploads")
    if before or after:
        refused(uploads, before + GOOD + after)
    else:
        uploads.discard(uploads.stage(GOOD))
    assert below(uploads.path) == []


NAMES = st.text(st.sampled_from("aA./\\\u00e9e\u0301 ~"), max_size=8)


@given(st.lists(NAMES, max_size=4))
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_any_names(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """What was taken is in the folder, file for file."""
    uploads = Uploads(tmp_path_factory.mktemp("around") / "uploads")
    try:
        staged = uploads.stage(plugin_zip("allow_list", "1.0", *((f"allow_list/{name}", b"") for name in names)))
    except UploadRefused:
        assert below(uploads.path) == []
    else:
        files = [path for path in staged.folder.rglob("*") if path.is_file()]
        assert sorted(str(path.relative_to(staged.folder)) for path in files) == sorted(staged.files)
    assert below(uploads.path.parent)[:1] == ["uploads"]


def test_a_disk_that_refuses(uploads: Uploads) -> None:
    uploads.path.write_text("no folder")
    assert "cannot be unpacked: " in refused(uploads, plugin_zip())


def test_versions(uploads: Uploads) -> None:
    """The record says which folder counts; others go unless somebody uses them."""
    first = uploads.keep(uploads.stage(plugin_zip("allow_list", "1.0")), "admin", 5.0)
    used = uploads.folder_of(first)
    second = uploads.keep(uploads.stage(plugin_zip("allow_list", "2.0")), "jane", 6.0)
    assert uploads.records() == {"allow_list": second}
    ((record, found),) = uploads.plugins()
    assert (record.by, record.at, found.version, found.default_enabled) == ("jane", 6, "2.0", False)
    uploads.tidy([used])
    assert used.is_dir()
    uploads.stage(plugin_zip("allow_list", "3.0"))  # cut short
    uploads.tidy([])
    assert sorted(os.listdir(uploads.path)) == [second.place, "allow_list.json"]
    uploads.remove("allow_list")
    uploads.tidy([])
    assert os.listdir(uploads.path) == []


def test_a_plugin_cannot_ask_to_be_loaded(uploads: Uploads) -> None:
    uploads.keep(uploads.stage(plugin_zip(project=PYPROJECT + "default_enabled = true\n")), "admin", 0.0)
    assert [found.default_enabled for _, found in uploads.plugins()] == [False]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"name":"x","sha256":"","at":0,"by":"","place":"x.0123456789abcdef"}',
     '{"name":"allow_list","sha256":"","at":0,"by":"","place":"../allow_list"}',
     '{"name":"allow_list","sha256":"","at":0,"by":"","place":"other.0123456789abcdef"}'],
)  # fmt: skip
def test_records_that_are_none(uploads: Uploads, text: str) -> None:
    uploads.path.mkdir()
    (uploads.path / "allow_list.json").write_text(text)
    assert uploads.records() == {}


def test_files_that_are_gone(uploads: Uploads) -> None:
    record = uploads.keep(uploads.stage(plugin_zip()), "admin", 0.0)
    (uploads.folder_of(record) / "pyproject.toml").unlink()
    ((_, found),) = uploads.plugins()
    assert found.name == "allow_list"
    assert "pyproject.toml" in found.problem


def test_there_are_only_so_many(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioemqx.services.plugins.uploads.MAX_PLUGINS", 1)
    uploads.keep(uploads.stage(plugin_zip("one")), "admin", 0.0)
    uploads.keep(uploads.stage(plugin_zip("one")), "admin", 0.0)
    with pytest.raises(UploadRefused, match="1 uploaded plugins already"):
        uploads.keep(uploads.stage(plugin_zip("two")), "admin", 0.0)


def test_what_it_reads_is_what_the_standard_library_reads() -> None:
    """A comment behind the archive, as forges put there."""
    target = io.BytesIO(plugin_zip())
    with zipfile.ZipFile(target, "a") as one:
        one.comment = b"0123456789abcdef"
    archive._check_directory(target.getvalue())
    form = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + target.getvalue() + b"\r\n--x--\r\n"
    with pytest.raises(UploadRefused, match="not a form"):
        archive._check_directory(form)

"""Archives become folders, and what should not is refused with nothing written anywhere."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.core.errors import SoundalikeError
from soundalike.data.download.unpack import ArchiveError, unpack

GOOD = {"top/meta/list.csv": b"a,b\n" * 50, "top/audio/one.wav": bytes(range(256)) * 40, "top/empty": b""}


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as opened:
        for header, body in members:
            opened.addfile(header, io.BytesIO(body))
    return gzip.compress(stream.getvalue(), 1)


def entry(name: str, body: bytes = b"x", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.size = len(body)
    for key, value in attributes.items():
        setattr(header, key, value)
    return header, body


def good_tar(*more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return tar(*(entry(name, body) for name, body in GOOD.items()), *more)


def a_zip(members: dict[str, bytes], *more: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, body in members.items():
            opened.writestr(name, body)
        for info, body in more:
            opened.writestr(info, body)
    return stream.getvalue()


def special(name: str, mode: int, body: bytes = b"/etc/passwd") -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info, body


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def attempt(body: bytes, room: Path, most_bytes: int = 1_000_000, most_members: int = 1_000) -> dict[str, bytes]:
    """What an archive unpacks to; and whatever comes of it, nothing lies beside its folder."""
    inner = room / "deep" / "inner"
    inner.mkdir(parents=True)
    archive = inner / "archive"
    archive.write_bytes(body)
    said = ""
    try:
        count = unpack(archive, inner / "folder", most_bytes, most_members)
        written = contents(inner / "folder")
        assert count == len(written)
        return written
    except ArchiveError as error:
        said = str(error)
        raise
    finally:
        left = {path.relative_to(room).as_posix() for path in room.rglob("*")}
        assert {path for path in left if not path.startswith("deep/inner/folder")} == {
            "deep",
            "deep/inner",
            "deep/inner/archive",
        }
        if said:
            assert not (inner / "folder").exists()
            assert said.startswith(f"{archive}: ")
            assert "\n" not in said


@pytest.mark.parametrize("body", [good_tar(), a_zip(GOOD)], ids=["tar", "zip"])
def test_what_is_in_it_is_written(tmp_path: Path, body: bytes) -> None:
    assert attempt(body, tmp_path) == GOOD


def test_names_begin_with_a_dot_and_are_long(tmp_path: Path) -> None:
    name = "./" + "long/" * 40 + "name.wav"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        body = tar(
            entry("./", b"", type=tarfile.DIRTYPE), entry("./yes", b"", type=tarfile.DIRTYPE), entry(name), form=form
        )
        room = tmp_path / str(form)
        assert attempt(body, room) == {name[2:]: b"x"}
        assert (room / "deep/inner/folder/yes").is_dir()


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../b",
        "top/../../../x",
        "..",
        "/abs",
        "//abs",
        "/../x",
        "C:/x",
        "c:x",
        "..\\x",
        "a\\..\\..\\x",
        "a\nb",
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="not unpacked, since"):
        attempt(good_tar(entry(name)), tmp_path / "tar")
    with pytest.raises(ArchiveError, match="not unpacked, since"):
        attempt(a_zip({**GOOD, name: b"x"}), tmp_path / "zip")
    with pytest.raises(ArchiveError, match="not unpacked, since"):
        attempt(good_tar(entry(name, b"", type=tarfile.DIRTYPE)), tmp_path / "folder")


@pytest.mark.parametrize(
    "name",
    [
        "top/con",
        "top/NUL.wav",
        "aux/x.wav",
        "top/COM1.tar.gz",
        "top/lpt¹",
        "top/CONIN$",
        "top/prn .txt",
        "top/ends.",
        "top/ends ",
        "top/folder./x",
        "top/folder /x",
        "...",
        "top/stream.txt:hidden",
        "top/what?",
        "top/*",
        'top/"',
        "top/a|b",
        "top/\x1b]0;title\x07",
        "top/\x7f",
        "top/\x9b2J",
        "top/\u202egpj.exe",
    ],
)
def test_names_that_some_system_does_not_take(tmp_path: Path, name: str) -> None:
    for kind, body in (("tar", good_tar(entry(name))), ("zip", a_zip({**GOOD, name: b"x"}))):
        with pytest.raises(ArchiveError, match=r"is no name for a file on every system\.$") as error:
            attempt(body, tmp_path / kind)
        assert str(error.value).isprintable(), "and it does nothing to a terminal"


@pytest.mark.parametrize("name", ["console", "com", "com10", "auxiliary.wav", "nul_", ".x", "a..b", " a", "é", "日本"])
def test_names_that_every_system_takes(tmp_path: Path, name: str) -> None:
    for kind, body in (("tar", tar(entry(name))), ("zip", a_zip({name: b"x"}))):
        assert attempt(body, tmp_path / kind) == {name: b"x"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("top/a.wav", "top/A.wav"),
        ("top/a.wav", "TOP/b.wav"),
        ("top/\u00e9", "top/e\u0301"),
        ("top/straße", "top/STRASSE"),
        ("\u00e9/a", "E\u0301/b"),
        ("top/a", "top/A/b"),
    ],
)
def test_names_that_differ_in_case_or_composition_alone(tmp_path: Path, one: str, other: str) -> None:
    for kind, body in (("tar", tar(entry(one), entry(other))), ("zip", a_zip({one: b"x", other: b"y"}))):
        with pytest.raises(ArchiveError, match="in case or in the composition of letters alone"):
            attempt(body, tmp_path / kind)


@pytest.mark.parametrize(
    "name", [".soundalike.json", "top/.soundalike.json", "top/.Soundalike.JSON", ".soundalike.json/x"]
)
def test_a_member_that_says_where_the_folder_is_from(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="notes where a folder is from"):
        attempt(good_tar(entry(name, b'{"sha256": "0"}')), tmp_path / "tar")
    with pytest.raises(ArchiveError, match="notes where a folder is from"):
        attempt(a_zip({**GOOD, name: b"x"}), tmp_path / "zip")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/" * 1000 + "x", r"lies 1001 folders deep, and at most 64 are taken"),
        ("n" * 300, r"is too long for a name"),
        ("ü" * 200, r"is too long for a name"),
        (("n" * 200 + "/") * 8 + "x", r"is too long for a name"),
    ],
)
def test_names_that_are_too_long_or_too_deep(tmp_path: Path, name: str, why: str) -> None:
    for kind, body in (("tar", good_tar(entry(name))), ("zip", a_zip({**GOOD, name: b"x"}))):
        with pytest.raises(ArchiveError, match=rf"{why}\.$") as error:
            attempt(body, tmp_path / kind)
        assert len(str(error.value)) < 600


def test_set_uid_bits_are_not_taken_of_a_zip_either(tmp_path: Path) -> None:
    attempt(a_zip(GOOD, special("top/run", stat.S_IFREG | 0o6777, b"x")), tmp_path)
    assert not (tmp_path / "deep/inner/folder/top/run").stat().st_mode & 0o6111


def test_a_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(good_tar())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    with pytest.raises(SoundalikeError, match=r"folder: cannot be unpacked there \(File exists\); make room"):
        unpack(tmp_path / "archive", tmp_path / "folder", 1_000_000)
    assert (tmp_path / "folder" / "mine").read_text() == "mine"


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"archive: cannot be read \(No such file or directory\)\.$"):
        unpack(tmp_path / "archive", tmp_path / "folder", 1_000_000)


@pytest.mark.parametrize("body", [good_tar(), a_zip(GOOD)], ids=["tar", "zip"])
def test_a_full_disk_is_not_the_archive_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    open_file = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if mode == "xb":
            raise OSError(28, "No space left on device")
        return open_file(path, mode, *rest, **options)

    (tmp_path / "archive").write_bytes(body)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(
        SoundalikeError, match=r"folder: cannot be unpacked there \(No space left on device\)"
    ) as error:
        unpack(tmp_path / "archive", tmp_path / "folder", 1_000_000)
    assert not isinstance(error.value, ArchiveError), "which would have it removed"
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_name_that_zipfile_would_cut(tmp_path: Path) -> None:
    body = a_zip({**GOOD, "evil.txt_hidden": b"x"}).replace(b"evil.txt_", b"evil.txt\0")
    with pytest.raises(ArchiveError, match="no name for a file"):
        attempt(body, tmp_path)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../../x"),
        (tarfile.SYMTYPE, "list.csv"),
        (tarfile.LNKTYPE, "top/meta/list.csv"),
        (tarfile.LNKTYPE, "../../../archive"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (b"?", ""),
    ],
)
def test_links_and_devices(tmp_path: Path, kind: bytes, target: str) -> None:
    with pytest.raises(ArchiveError, match=r"is a link|is a device"):
        attempt(good_tar(entry("top/odd", b"", type=kind, linkname=target)), tmp_path)


def test_a_file_through_a_link(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="'out' is a link"):
        attempt(tar(entry("out", b"", type=tarfile.SYMTYPE, linkname="../.."), entry("out/x")), tmp_path)


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644])
def test_links_and_devices_in_a_zip(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ArchiveError, match=r"is a link|is a device"):
        attempt(a_zip(GOOD, special("top/odd", mode)), tmp_path)


def test_permissions_and_owners_are_not_taken(tmp_path: Path) -> None:
    attempt(good_tar(entry("top/run", mode=0o6777, uid=0)), tmp_path)
    assert not (tmp_path / "deep/inner/folder/top/run").stat().st_mode & 0o6111


def test_one_name_twice_and_a_file_as_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="twice"):
        attempt(good_tar(entry("./top/empty")), tmp_path / "twice")
    with pytest.raises(ArchiveError, match="lies in what is a file"):
        attempt(good_tar(entry("top/empty/x")), tmp_path / "in")
    with pytest.raises(ArchiveError, match="twice"):
        attempt(tar(entry("a/b"), entry("a")), tmp_path / "over")


def test_bombs(tmp_path: Path) -> None:
    zeros = bytes(3_000_000)
    for name, body in {"tar": good_tar(entry("top/zeros", zeros)), "zip": a_zip({**GOOD, "zeros": zeros})}.items():
        assert len(body) < 30_000
        with pytest.raises(ArchiveError, match="far more than the data set holds"):
            attempt(body, tmp_path / name)
    many = {f"{number}": b"" for number in range(200)}
    with pytest.raises(ArchiveError, match="far more"):
        attempt(a_zip(many), tmp_path / "many", most_members=199)
    assert len(attempt(a_zip(many), tmp_path / "just", most_members=200)) == 200


def test_a_zip_that_lies_about_a_size(tmp_path: Path) -> None:
    body = bytearray(a_zip({"zeros": bytes(3_000_000)}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = body.index(signature) + offset
        body[place : place + 4] = (1_000).to_bytes(4, "little")
    with pytest.raises(ArchiveError, match="damaged"):
        attempt(bytes(body), tmp_path)


def test_a_header_that_fills_memory(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="far too long"):
        attempt(good_tar(entry("n" * 2_000_000)), tmp_path)


def test_holes(tmp_path: Path) -> None:
    body = tar(
        entry("top/sparse", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9", "GNU.sparse.major": "0"})
    )
    with pytest.raises(ArchiveError, match="holes"):
        attempt(body, tmp_path)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    body = bytearray(a_zip({"secret": b"x"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(signature) + offset] |= 1
    with pytest.raises(ArchiveError, match="'secret' is encrypted"):
        attempt(bytes(body), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path: Path, method: int) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as opened:
        opened.writestr("top/a", bytes(range(256)) * 40)
    body = bytearray(stream.getvalue())
    with pytest.raises(ArchiveError, match=f"'top/a' is compressed by method {method}; only stored and deflated"):
        attempt(bytes(body), tmp_path / "whole")
    body[60:80] = bytes(20)
    with pytest.raises(ArchiveError, match="only stored and deflated"):
        attempt(bytes(body), tmp_path / "damaged")


@pytest.mark.parametrize("body", [b"", b"<!DOCTYPE html>", b"BZh9", b"\x1f\x8b", b"PK\x03\x04"])
def test_what_is_no_archive(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"neither a zip|damaged or not whole"):
        attempt(body, tmp_path)


@pytest.mark.parametrize("body", [good_tar(), a_zip(GOOD)], ids=["tar", "zip"])
def test_no_beginning_of_an_archive_is_an_archive(tmp_path: Path, body: bytes) -> None:
    for length in range(0, len(body), max(1, len(body) // 40)):
        with pytest.raises(ArchiveError):
            attempt(body[:length], tmp_path / str(length))


@pytest.mark.parametrize("body", [good_tar(), a_zip(GOOD)], ids=["tar", "zip"])
def test_a_changed_byte_is_noticed_or_does_not_matter(tmp_path: Path, body: bytes) -> None:
    for place in range(0, len(body), max(1, len(body) // 40)):
        changed = bytearray(body)
        changed[place] ^= 0x55
        try:
            written = attempt(bytes(changed), tmp_path / str(place))
        except ArchiveError:
            continue
        assert sorted(written.values()) == sorted(GOOD.values())


def test_a_header_that_tarfile_takes_for_the_end(tmp_path: Path) -> None:
    plain = bytearray(gzip.decompress(good_tar(entry("top/last"))))
    place = plain.index(b"top/last")
    plain[place + 148] ^= 1  # of its checksum
    with pytest.raises(ArchiveError, match="damaged"):
        attempt(gzip.compress(bytes(plain)), tmp_path / "header")
    with pytest.raises(ArchiveError, match="follows after its end"):
        attempt(gzip.compress(gzip.decompress(good_tar()) + b"more" * 10_000), tmp_path / "tail")


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(good_tar())
    steps: list[str] = []

    def show(done: int) -> None:
        if steps == ["checking", "unpacking"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "folder", 1_000_000, start=lambda step, total: steps.append(step), show=show)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "b", "/", "\\", "C:", "\0", "ü", "c.wav"]), min_size=1, max_size=5
)


@settings(max_examples=60, deadline=None)
@given(names=st.lists(NAMES.map("/".join), min_size=1, max_size=4), as_zip=st.booleans())
def test_whatever_the_names_nothing_lies_outside(names: list[str], as_zip: bool) -> None:
    members = {name: b"x" for name in names if name.split("\0")[0]}  # zipfile does not write an empty name
    body = a_zip(members) if as_zip else tar(*(entry(name.replace("\0", "?")) for name in names))
    with tempfile.TemporaryDirectory() as room:
        try:
            written = attempt(body, Path(room))
        except ArchiveError:
            return
        assert len(written) == len(names) or as_zip
        assert all(".." not in name.split("/") for name in written)

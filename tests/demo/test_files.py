"""Documents are found once each, and read only if they are text."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, strategies as st

from trio_agents import TopicId
from trio_agents._demo import _reading
from trio_agents._demo._reading import MAX_BYTES, Unreadable, decode, read_text
from trio_agents._demo._shelf import (
    OWN_DOCUMENTS,
    explain,
    find_documents,
    name_in_source,
    name_of,
    source_of,
)

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and odd names need POSIX")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.md", "b/c.txt", "b/d/e.md", "b.md", ".hidden.md", ".git/f.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


async def names(*paths: str, **options: Any) -> list[str]:
    shelf = await find_documents(paths, **options)
    assert shelf.skipped == ()
    return [document.name for document in shelf.documents]


async def test_folders_are_searched_to_any_depth_without_what_is_hidden(folder: Path) -> None:
    assert await names(".") == ["a.md", "b.md", "b/c.txt", "b/d/e.md"]


async def test_names_are_as_given_and_hidden_files_may_be_given(folder: Path) -> None:
    assert await names("b/", "./.hidden.md", "../" + folder.name + "/a.md") == [
        f"../{folder.name}/a.md",
        ".hidden.md",
        "b/c.txt",
        "b/d/e.md",
    ]


async def test_what_is_given_twice_is_found_once(folder: Path) -> None:
    assert await names("a.md", "b", "b/c.txt", "./a.md", "b/d", str(folder / "b")) == [
        "a.md",
        "b/c.txt",
        "b/d/e.md",
    ]


async def test_results_are_left_out(folder: Path) -> None:
    assert await names("b", leave_out=["b/c.txt", str(folder / "b" / "none")]) == ["b/d/e.md"]


async def test_without_paths_there_are_the_documents_of_the_package() -> None:
    found = await names()
    assert found == sorted(path.name for path in OWN_DOCUMENTS.glob("*.md"))
    assert len(found) >= 6


@posix
async def test_links_are_followed_and_circles_are_not(folder: Path) -> None:
    (folder / "b" / "up").symlink_to(folder)
    (folder / "b" / "again.md").symlink_to("c.txt")
    (folder / "z").symlink_to(folder / "b", target_is_directory=True)
    assert await names("b") == ["b/again.md", "b/d/e.md", "b/up/a.md", "b/up/b.md"]


@posix
async def test_what_is_no_file_is_skipped_by_name(folder: Path) -> None:
    box = folder / "box"
    box.mkdir()
    os.mkfifo(box / "pipe")
    (box / "nowhere").symlink_to("gone")
    (box / "circle").symlink_to("circle")
    (box / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("box/socket")
        shelf = await find_documents(["box", "gone"])
    assert shelf.documents == ()
    assert {one.name: one.reason for one in shelf.skipped} == {
        "box/circle": "its links go in a circle",
        "box/nowhere": "it is gone, or a link to nothing",
        "box/null": "it is a device",
        "box/pipe": "it is a pipe",
        "box/socket": "it is a socket",
        "gone": "it is gone, or a link to nothing",
    }


@posix
async def test_a_folder_that_may_not_be_read_is_skipped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("d"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    shelf = await find_documents(["b"])
    assert [one.name for one in shelf.documents] == ["b/c.txt"]
    assert [(one.name, one.reason) for one in shelf.skipped] == [("b/d", "permission was denied")]


PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(PATHS)
def test_any_path_has_a_source_and_the_source_has_its_name(path: str) -> None:
    source = source_of(path)
    assert TopicId("document", source).source == source
    assert name_in_source(source) == name_of(path)
    assert name_of(path).isprintable()


@given(PATHS, PATHS)
def test_different_paths_have_different_sources(one: str, other: str) -> None:
    assert (source_of(one) == source_of(other)) == (Path(one).as_posix() == Path(other).as_posix())


def test_a_path_that_is_too_long_keeps_its_beginning() -> None:
    one, other = source_of("é" * 2000 + "a"), source_of("é" * 2000 + "b")
    assert len(one) <= 4096
    assert one != other
    assert one.startswith("%C3%A9" * 600)
    assert TopicId("document", one)


@posix
async def test_a_name_of_odd_bytes_is_read_and_shown(folder: Path) -> None:
    try:
        (folder / "b" / os.fsdecode(b"\xff\n.md")).write_text("odd")
    except OSError:
        pytest.skip("this file system takes no such names")
    (document,) = (one for one in (await find_documents(["b"])).documents if "xff" in one.name)
    assert document.name == "b/\\xff\\n.md"
    assert (await read_text(document.path)).text == "odd"


# --- reading


async def test_a_file_is_read_and_known_again(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("one")
    os.utime(path, ns=(10**18, 10**18))  # long ago, so that its time can be trusted
    first = await read_text(str(path))
    assert (first.text, first.cut) == ("one", "")
    assert await read_text(str(path), first.fingerprint) == _reading.Text(
        first.fingerprint, None, ""
    )


async def test_a_file_that_was_only_touched_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("one")
    first = await read_text(str(path))
    os.utime(path, ns=(10**18, 10**18))
    again = await read_text(str(path), first.fingerprint)
    assert again.text is None
    assert again.fingerprint.modified == 10**18


async def test_a_file_that_was_written_in_the_same_instant_is_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("one")
    first = await read_text(str(path))
    path.write_text("two")
    modified = first.fingerprint.modified
    os.utime(path, ns=(modified, modified))
    assert (await read_text(str(path), first.fingerprint)).text == "two"


async def test_a_huge_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("é line\n" * (MAX_BYTES // 4), encoding="utf-8")
    read = await read_text(str(path))
    assert read.text is not None
    assert len(read.text.encode()) <= MAX_BYTES
    assert read.text.endswith("é line")
    assert read.cut == " in its first MiB of 2.0"


async def test_a_file_that_keeps_changing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.md"
    path.write_text("one")
    fstat = os.fstat
    calls = 0

    def change(handle: int) -> os.stat_result:
        nonlocal calls
        calls += 1
        os.utime(path, ns=(calls * 10**9, calls * 10**9))
        return fstat(handle)

    monkeypatch.setattr(os, "fstat", change)
    with pytest.raises(Unreadable, match="kept changing"):
        await read_text(str(path))
    assert calls == 2 * _reading.ATTEMPTS


async def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="it is gone"):
        await read_text(str(tmp_path / "none"))
    with pytest.raises(Unreadable, match="folder"):
        await read_text(str(tmp_path))


@posix
async def test_a_pipe_in_the_place_of_a_file_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with trio.fail_after(30), pytest.raises(Unreadable, match="not a regular file"):
        await read_text(str(tmp_path / "pipe"))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("häuser".encode(), "häuser"),
        (codecs.BOM_UTF8 + b"a", "\ufeffa"),
        (codecs.BOM_UTF16_LE + "ä".encode("utf-16-le"), "\ufeffä"),
        (codecs.BOM_UTF16_BE + "ä".encode("utf-16-be"), "\ufeffä"),
        (b"x" * (MAX_BYTES - 1) + "é".encode(), "x" * (MAX_BYTES - 1)),
    ],
)
def test_text_is_utf_8_or_says_what_it_is(data: bytes, text: str) -> None:
    assert decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\xffb", "byte 2 is not UTF-8"),
        ("é".encode()[:1], "byte 1 is not UTF-8"),
        (b"\xff\xfea", "is not UTF-16-LE"),
        (b"PNG\0\0", "NUL"),
        (b"\xed\xa0\x80", "is not UTF-8"),
    ],
)
def test_what_is_no_text_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        decode(data)


@given(st.binary())
def test_any_bytes_are_text_or_unreadable(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(decode(data), str)


def test_errors_are_put_into_words() -> None:
    assert explain(OSError(errno.EIO, "Input/output error")) == "input/output error"
    assert explain(PermissionError(errno.EPERM, "x")) == "permission was denied"
    assert explain(OSError("strange"))

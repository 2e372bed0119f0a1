"""Files are found, decoded and replaced so that nothing is changed which was not meant."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from trio_agents._migrate import _files
from trio_agents._migrate._files import Kind, Unusable, decode, find_files, kind_of, read, replace

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX links, modes or pipes")


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def found(folder: Path, *exclude: str) -> list[str]:
    return [
        Path(path).relative_to(folder).as_posix() for path in find_files([str(folder)], exclude)
    ]


# --- finding


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.py", Kind.PYTHON),
        ("a.pyi", Kind.PYTHON),
        ("a.pyw", Kind.PYTHON),
        ("a.ipynb", Kind.NOTEBOOK),
        ("x/pyproject.toml", Kind.DEPENDENCIES),
        ("setup.cfg", Kind.DEPENDENCIES),
        ("requirements.txt", Kind.DEPENDENCIES),
        ("requirements-dev.txt", Kind.DEPENDENCIES),
        ("requirements.in", Kind.DEPENDENCIES),
        ("requirements/dev.txt", Kind.DEPENDENCIES),
        ("a.txt", None),
        ("py", None),
    ],
)
def test_a_name_says_what_a_file_is(path: str, kind: Kind | None) -> None:
    assert kind_of(path) is kind


def test_a_folder_is_searched_in_a_fixed_order(tmp_path: Path) -> None:
    make(tmp_path, "b.py", "a.py", "sub/z.py", "sub/deep/y.ipynb", "note.md", "setup.cfg")
    assert found(tmp_path) == ["a.py", "b.py", "setup.cfg", "sub/z.py", "sub/deep/y.ipynb"]


def test_hidden_folders_and_environments_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, ".git/a.py", "env/pyvenv.cfg", "env/a.py", "conda/conda-meta/x", "conda/a.py")
    make(tmp_path, "__pycache__/a.py", "node_modules/a.py", "lib/site-packages/a.py", "a.py")
    assert found(tmp_path) == ["a.py"]


def test_a_hidden_folder_that_is_named_is_searched(tmp_path: Path) -> None:
    make(tmp_path, ".tools/a.py")
    assert found(tmp_path / ".tools") == ["a.py"]


def test_what_is_excluded_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a.py", "old/a.py", "new/a.py", "new/b_old.py")
    assert found(tmp_path, "old", "*/new/a.py", "*_old.py") == ["a.py"]


@posix
def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/a.py", "tree/b.py")
    (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree" / "file.py").symlink_to(tmp_path / "elsewhere" / "a.py")
    (tmp_path / "tree" / "self.py").symlink_to("self.py")
    assert found(tmp_path / "tree") == ["b.py"]


@posix
def test_a_file_that_is_reached_twice_comes_once(tmp_path: Path) -> None:
    make(tmp_path, "a.py")
    (tmp_path / "link.py").symlink_to("a.py")
    paths = [str(tmp_path / "link.py"), str(tmp_path), str(tmp_path / "a.py")]
    assert list(find_files(paths)) == [str(tmp_path / "link.py")]


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    errors: list[tuple[str, str]] = []
    files = find_files(
        [str(tmp_path)], on_error=lambda *each: errors.append((each[0], str(each[1])))
    )
    assert list(files) == []
    assert errors == [(str(tmp_path), "Permission denied")]


# --- reading


@posix
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(Unusable, match="it is not a regular file"):
        read(str(tmp_path / "pipe.py"))


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="No such file"):
        read(str(tmp_path / "a.py"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        "ü\r\nx\n\r".encode(),
        b"\xef\xbb\xbfx = 1",
        b"\xef\xbb\xbf# coding: utf-8\n",
        b"# -*- coding: latin-1 -*-\n# \xfc\xe9",
        b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n# \x80",
        "# coding: shift_jis\n# 日本".encode("shift_jis"),
    ],
)
def test_a_text_becomes_the_same_bytes_again(data: bytes) -> None:
    text = decode(data)
    assert text.encode(text.text) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"caf\xe9", "byte 4 is not UTF-8|it is not UTF-8"),
        (b"a\nb\nc\n# caf\xe9", "byte 12 is not UTF-8"),
        (b"# coding: klingon\n", "unknown encoding: klingon"),
        (b"# coding: hex\n", "not a text encoding"),
        (b"# coding: cp1252\n# \x81", "byte 20 is not CP1252"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "encoding problem"),
        (b"# coding: utf-7\n# +AGE-", "it would not be the same when written again as UTF-7"),
    ],
)
def test_what_cannot_be_decoded_says_why(data: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        decode(data)


def test_only_python_declares_an_encoding() -> None:
    assert decode(b"# coding: latin-1\n", declared=False).encoding == "utf-8"
    assert decode(b"\xef\xbb\xbf{}", declared=False).text == "{}"


# --- writing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"old")
    replace(str(file), b"old", b"new\r\n")
    assert file.read_bytes() == b"new\r\n"
    assert names(tmp_path) == ["a.py"]


@posix
@pytest.mark.parametrize("mode", [0o755, 0o600, 0o664])
def test_its_mode_stays(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"old")
    file.chmod(mode)
    replace(str(file), b"old", b"new")
    assert stat.S_IMODE(file.stat().st_mode) == mode


@posix
def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"old")
    (tmp_path / "link.py").symlink_to("a.py")
    replace(str(tmp_path / "link.py"), b"old", b"new")
    assert (tmp_path / "link.py").is_symlink()
    assert (tmp_path / "a.py").read_bytes() == b"new"


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"newer")
    with pytest.raises(Unusable, match="it has changed since it was read"):
        replace(str(file), b"old", b"new")
    assert file.read_bytes() == b"newer"


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may everything
    with pytest.raises(Unusable, match="it is read-only"):
        replace(str(file), b"old", b"new")


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "a.py"
    file.write_bytes(b"old")
    monkeypatch.setattr(_files.os, call, fail)
    with pytest.raises(Unusable, match=re.escape("No space left on device")):
        replace(str(file), b"old", b"new")
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.py"]

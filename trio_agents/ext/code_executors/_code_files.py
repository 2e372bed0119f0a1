"""Blocks of code as files of a working directory that code can change.

The directory is shared with code that nobody trusts, and files are written to it from outside of
the sandbox or the container. Such code could have put a link where the next file goes, and would
have it written anywhere. So no link is followed: the way is walked directory by directory, and the
file is made under a name of its own and moved into place, which replaces a link instead of
following it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TypeAlias, final

from ...code_executor import CodeBlock

__all__ = ["CodeFiles", "FileRefused", "Language", "language_of"]

Language: TypeAlias = Literal["python", "bash", "sh", "powershell"]

_LANGUAGES: Final[dict[str, Language]] = {
    "python": "python",
    "python3": "python",
    "py": "python",
    "bash": "bash",
    "sh": "sh",
    "shell": "sh",
    "pwsh": "powershell",
    "powershell": "powershell",
    "ps1": "powershell",
}

# In all of these languages it is a comment.
_FILENAME: Final = re.compile(r"#[ \t]*filename:[ \t]*(?P<name>\S.*?)[ \t\r]*(\n|\Z)")


class FileRefused(ValueError):
    """The file that a block asks for cannot be written."""


def language_of(block: CodeBlock) -> Language:
    """Return the language that *block* is in, whatever it is called there.

    Raises:
        ValueError: it is none of those that run from a command line.
    """
    language = _LANGUAGES.get(block.language.lower())
    if language is None:
        raise ValueError(
            f"a block of {block.language!r} cannot be run here, only {', '.join(_LANGUAGES)}; "
            f"none of the blocks was run"
        )
    return language


@final
class CodeFiles:
    """The files of one working directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, name: str, text: str) -> None:
        """Write *text* to *name*, in place of what was there.

        Raises:
            FileRefused: *name* leads out of the directory, or is that of a directory.
        """
        parts = _parts_of(name)
        try:
            data = text.encode()
            with self._inside(parts[:-1]) as directory:
                temporary = f".{secrets.token_hex(8)}"
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                descriptor = os.open(temporary, flags, 0o644, dir_fd=directory)
                try:
                    with open(descriptor, "wb") as file:
                        file.write(data)
                    os.replace(temporary, parts[-1], src_dir_fd=directory, dst_dir_fd=directory)
                except BaseException:  # goes on; without it the file would stay
                    os.unlink(temporary, dir_fd=directory)
                    raise
        except (OSError, UnicodeEncodeError) as error:
            raise FileRefused(f"the file {name!r} cannot be written: {error}") from error

    @contextmanager
    def _inside(self, parts: tuple[str, ...]) -> Generator[int]:
        flags = os.O_RDONLY | os.O_DIRECTORY
        directory = os.open(self._directory, flags)
        try:
            for part in parts:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=directory)
                inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=directory)
                os.close(directory)
                directory = inner
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def saved(
        self, block: CodeBlock, extension: str, *, clean_up: bool
    ) -> Generator[PurePosixPath]:
        """Save *block* for the length of a block of ours, and return its path in the directory.

        A block whose first line is ``# filename: x.py`` is saved as ``x.py``, and stays: it was
        named so that other code finds it. Others are named after a hash of their text.

        Args:
            block: what to save.
            extension: of the file, unless the block names it.
            clean_up: whether to remove it again.

        Raises:
            FileRefused: the block names a file that is not in the directory.
        """
        named = _FILENAME.match(block.code)
        if named:
            self.write(named["name"], block.code)
            yield PurePosixPath(*_parts_of(named["name"]))
            return
        text = block.code.encode("utf-8", errors="surrogatepass")
        name = f"tmp_code_{hashlib.sha256(text).hexdigest()}"
        if not clean_up:  # then blocks with the same text have the same file
            self.write(f"{name}.{extension}", block.code)
            yield PurePosixPath(f"{name}.{extension}")
            return
        path = self._directory / self._write_new(name, extension, block.code)
        try:
            yield PurePosixPath(path.name)
        finally:
            with suppress(FileNotFoundError, IsADirectoryError):  # code may do that
                os.unlink(path)

    def _write_new(self, name: str, extension: str, text: str) -> str:
        """Write *text* to a file that nobody else has, and return its name.

        The same block may run at the same time, here or in another program with this directory.
        """
        found = f"{name}.{extension}"
        while True:
            try:
                with open(self._directory / found, "xb") as file:  # it follows no link
                    file.write(text.encode())
            except FileExistsError:
                found = f"{name}_{secrets.token_hex(4)}.{extension}"
            except (OSError, UnicodeEncodeError) as error:
                raise FileRefused(f"the file {found!r} cannot be written: {error}") from error
            else:
                return found


def _parts_of(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise FileRefused(f"the file {name!r} is not in the working directory")
    return path.parts

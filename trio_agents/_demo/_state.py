"""The state file: what ``--resume`` continues from.

It holds what the runtime's `save_state` gave, less the agents that keep nothing, under a heading
that says whose it is. It is replaced as a whole, so that whatever happens there is the old one or
the new one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import trio

from trio_agents import AgentId

__all__ = ["StateFile", "StateFileError"]

FORMAT: Final = "trio-agents demo digest"
VERSION: Final = 1


class StateFileError(Exception):
    """The state file cannot be used. The text says why and what to do."""


class StateFile:
    """The file that a run's state is kept in."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def load(self, sources: Collection[str]) -> dict[str, Any] | None:
        """Give the saved state of the readers of *sources*; None if there is no file.

        Readers of documents that are not there any more are left out.

        Raises:
            StateFileError: it cannot be read, or is not a state file of the digest.
        """
        try:
            text = await trio.Path(self.path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StateFileError(
                f"The state file {self.path} cannot be read: {exc.strerror}."
            ) from exc
        except UnicodeDecodeError as exc:
            raise self.unusable("it is not text") from exc
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise self.unusable("it is not JSON, or damaged") from exc
        heading = cast("dict[str, object]", content) if isinstance(content, dict) else {}
        if heading.get("format") != FORMAT:
            raise self.unusable("something else wrote it")
        if heading.get("version") != VERSION:
            raise self.unusable("another version of trio-agents wrote it")
        saved = heading.get("agents")
        if not isinstance(saved, dict):
            raise self.unusable("it is damaged")
        agents = cast("dict[str, Any]", saved)
        wanted = {str(AgentId("reader", source)) for source in sources}
        return {id: state for id, state in agents.items() if id in wanted}

    def unusable(self, why: str) -> StateFileError:
        """Make the error for a file that is not ours, or not any more."""
        return StateFileError(
            f"{self.path} is not a state file that this command can resume from: {why}. "
            "Give --resume another name, or delete the file to begin afresh."
        )

    async def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file by one that holds *state*.

        Raises:
            OSError: it cannot be written; the old one is as it was.
        """
        agents = {id: state[id] for id in sorted(state) if state[id]}
        content = {"format": FORMAT, "version": VERSION, "agents": agents}
        await trio.to_thread.run_sync(_replace, self.path, content)


def _replace(path: str, content: object) -> None:
    path = os.path.realpath(path)  # a link stays one
    folder = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".digest-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the name, too, is to survive a power cut
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

"""Agents whose state is what they were told, and a disk that waits to be let go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trio_agents import AgentId, BaseAgent, MessageContext
from trio_agents._loops import _state_files

from ..core.loop import open_runtime

A = AgentId("notebook", "a")
PATIENCE = 20  # seconds


class Notebook(BaseAgent):
    """Notes every message; calls those that can be called."""

    def __init__(self) -> None:
        super().__init__("a notebook")
        self.notes: list[Any] = []

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        if callable(message):
            return await message()
        self.notes.append(message)
        return tuple(self.notes)

    async def save_state(self) -> Mapping[str, Any]:
        return {"notes": self.notes}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.notes = list(state["notes"])


class open_notebooks:
    """Open a runtime with notebooks on the loop of this test."""

    def __init__(self) -> None:
        self._opening = open_runtime()

    async def __aenter__(self) -> Any:
        runtime = await self._opening.__aenter__()
        await Notebook.register(runtime, "notebook", Notebook)
        return runtime

    async def __aexit__(self, *exc_info: Any) -> Any:
        return await self._opening.__aexit__(*exc_info)


async def notes_of(runtime: Any) -> list[Any]:
    """Give what the notebook holds."""
    agent = await runtime.try_get_underlying_agent_instance(A, Notebook)
    return list(agent.notes)


def names_in(path: Path) -> list[str]:
    """Give the files beside *path*, without the lock."""
    return sorted(other.name for other in path.parent.iterdir() if not other.match("*.lock"))


class SlowDisk:
    """What was asked to be written waits until it is let go on."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.done: list[int] = []
        self.error: Exception | None = None

    def wait_for_one(self) -> None:
        """Block until a save has come here."""
        assert self.begun.acquire(timeout=PATIENCE)

    def replace(self, *args: Any, **kwargs: Any) -> Any:
        self.begun.release()
        assert self.go_on.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        file = REPLACE(*args, **kwargs)
        self.done.append(file.generation)
        return file


REPLACE = _state_files.replace_state_file


@contextmanager
def slow_disk() -> Iterator[SlowDisk]:
    """Let saves wait in their threads."""
    disk = SlowDisk()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_state_files, "replace_state_file", disk.replace)
        yield disk
        disk.go_on.set()


class Gate:
    """What comes here waits in its thread until it is let go on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self._function = function

    def wait_for_one(self) -> None:
        """Block until somebody has come here."""
        assert self.begun.wait(PATIENCE)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return self._function(*args, **kwargs)


@contextmanager
def gate(name: str) -> Iterator[Gate]:
    """Let a step of a save or a load wait in its thread."""
    gate = Gate(getattr(_state_files, name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_state_files, name, gate)
        yield gate
        gate.go_on.set()

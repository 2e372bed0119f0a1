"""`save_state_file` and `load_state_file`, on both event loops."""

from __future__ import annotations

import asyncio
import errno
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trio_agents.asyncio
from trio_agents import BaseAgent, MessageContext
from trio_agents._loops import _state_files
from trio_agents._loops._state_files import load_state_file, save_state_file
from trio_agents._sansio._state_file import read_state_file, write_state_file
from trio_agents._sansio._state_file_values import (
    StateFileConflict,
    StateFileCorrupt,
    StateFileUnconfirmed,
)
from trio_agents.exceptions import StateError
from trio_agents.portal import open_portal

from ..core import loop
from ..core.loop import open_nursery, open_runtime, wait_all_tasks_blocked
from .agents import A, Notebook, gate, names_in, notes_of, open_notebooks, slow_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def notes_at(path: Path) -> list[Any]:
    """What the state file says."""
    return read_state_file(path)[1]["notebook/a"]["notes"]


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    return await loop.run_sync_in_thread(function, *args)


# --- what is saved is loaded


async def test_a_saved_state_is_loaded_into_another_runtime(path: Path) -> None:
    async with open_notebooks() as runtime:
        await runtime.send_message("milk", A)
        saved = await save_state_file(runtime, path)
    async with open_notebooks() as runtime:
        loaded = await load_state_file(runtime, path)
        assert await notes_of(runtime) == ["milk"]
    assert loaded == saved
    assert (saved.generation, saved.path, saved.source) == (1, str(path), str(path))
    assert saved.size == len(bytes_of(path))
    assert saved.recovered is None


async def test_generations_count_on_over_runtimes(path: Path) -> None:
    async with open_notebooks() as runtime:
        await save_state_file(runtime, path)
        await save_state_file(runtime, path)
    async with open_notebooks() as runtime:
        await load_state_file(runtime, path)
        assert (await save_state_file(runtime, path)).generation == 3


async def test_a_relative_path_stays_where_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    async with open_notebooks() as runtime:
        saved = await save_state_file(runtime, "state.json")
        assert saved.path == str(path)
        assert (await save_state_file(runtime, path)).generation == 2


async def test_keep_says_how_many_older_ones_there_are(path: Path) -> None:
    async with open_notebooks() as runtime:
        for note in "abcde":
            await runtime.send_message(note, A)
            await save_state_file(runtime, path, keep=3)
    assert names_in(path) == ["state.json", *(f"state.json.{n}" for n in (1, 2, 3))]
    older = [len(notes_at(path.with_name(f"state.json.{n}"))) for n in (1, 2, 3)]
    assert older == [4, 3, 2]


async def test_what_json_cannot_express_is_refused_before_anything_is_written(path: Path) -> None:
    async with open_notebooks() as runtime:
        await runtime.send_message({1, 2}, A)
        with pytest.raises(StateError, match=r"notebook/a\['notes'\]\[0\]: set is not JSON"):
            await save_state_file(runtime, path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"keep": -1}, ValueError, "keep must be 0 to 99 older generations, not -1"),
        ({"keep": 100}, ValueError, "keep must be 0 to 99 older generations, not 100"),
        ({"keep": True}, TypeError, "keep must be a number of generations, not True"),
        ({"path": b"state"}, TypeError, "the path of a state file is a str or a path of str"),
        ({"path": "state/"}, ValueError, "must end with a name"),
    ],
)
async def test_a_wrong_argument_is_an_error_at_once(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await save_state_file(object(), **{"path": "state", **arguments})  # type: ignore[arg-type]


async def test_there_is_nothing_to_load(path: Path) -> None:
    async with open_notebooks() as runtime:
        with pytest.raises(FileNotFoundError) as info:
            await load_state_file(runtime, path)
    assert info.value.filename == str(path)


# --- two writers


async def test_a_file_that_was_not_loaded_is_not_replaced(path: Path) -> None:
    async with open_notebooks() as runtime:
        await runtime.send_message("milk", A)
        await save_state_file(runtime, path)
    async with open_notebooks() as runtime:
        with pytest.raises(StateFileConflict, match="was not loaded"):
            await save_state_file(runtime, path)
    assert notes_at(path) == ["milk"]


async def test_of_two_that_have_loaded_a_generation_the_second_has_a_conflict(path: Path) -> None:
    write_state_file(path, {"notebook/a": {"notes": []}}, after=None)
    async with open_notebooks() as first, open_notebooks() as second:
        await load_state_file(first, path)
        await load_state_file(second, path)
        await first.send_message("first", A)
        await save_state_file(first, path)
        with pytest.raises(StateFileConflict, match="follows generation 1"):
            await save_state_file(second, path)
        assert notes_at(path) == ["first"]
        await load_state_file(second, path)
        await save_state_file(second, path)
    assert read_state_file(path)[0].generation == 3


async def test_a_state_of_other_agents_is_neither_loaded_nor_replaced(path: Path) -> None:
    write_state_file(path, {"diary/ann": {"notes": []}}, after=None)
    async with open_notebooks() as runtime:
        with pytest.raises(StateError, match="not registered: diary"):
            await load_state_file(runtime, path)
        with pytest.raises(StateFileConflict):
            await save_state_file(runtime, path)
    assert list(read_state_file(path)[1]) == ["diary/ann"]


async def test_a_state_that_was_cut_before_a_load_does_not_follow_what_was_loaded(
    path: Path,
) -> None:
    async with open_notebooks() as runtime, open_notebooks() as other:
        await save_state_file(runtime, path)
        await load_state_file(other, path)
        await other.send_message("theirs", A)
        await save_state_file(other, path)
        await runtime.send_message("mine", A)

        async def save() -> None:
            with pytest.raises(StateFileConflict, match="was loaded from the file while"):
                await save_state_file(runtime, path)

        with gate("retrieve_state_file") as reading, gate("dump_state") as writing:
            async with open_nursery() as nursery:
                loaded = loop.Event()

                async def load() -> None:
                    await load_state_file(runtime, path)
                    loaded.set()

                nursery.start_soon(load)
                await in_thread(reading.wait_for_one)
                nursery.start_soon(save)
                await wait_all_tasks_blocked()  # it has the state, and waits for its turn
                reading.go_on.set()
                await in_thread(writing.wait_for_one)
                await loaded.wait()
                writing.go_on.set()
        assert notes_at(path) == await notes_of(runtime) == ["theirs"]
        assert (await save_state_file(runtime, path)).generation == 3


# --- damage


async def test_behind_a_damaged_one_the_older_one_is_loaded_with_a_warning(path: Path) -> None:
    async with open_notebooks() as runtime:
        for note in ("milk", "bread"):
            await runtime.send_message(note, A)
            await save_state_file(runtime, path)
    write(path, bytes_of(path)[:-9])
    async with open_notebooks() as runtime:
        with pytest.warns(
            RuntimeWarning, match=r"generation 1 was loaded from .*\.1, .*cut short"
        ) as w:
            loaded = await load_state_file(runtime, path)
        assert w[0].filename == __file__
        assert await notes_of(runtime) == ["milk"]
        assert loaded.generation == 1
        assert loaded.source == f"{path}.1"
        assert loaded.recovered is not None
        assert "checksum" in loaded.recovered
        # The number of the one that was lost is not used again.
        assert (await save_state_file(runtime, path)).generation == 3
    assert names_in(path) == ["state.json", "state.json.1", "state.json.unusable"]


async def test_without_a_usable_one_the_error_says_what_is_wrong_with_each(path: Path) -> None:
    write(path, b"")
    write(path.with_name("state.json.1"), b"PNG")
    async with open_notebooks() as runtime:
        with pytest.raises(StateFileCorrupt) as info:
            await load_state_file(runtime, path)
    assert str(info.value) == (
        "no generation of the state file is usable: state.json: it is empty; "
        "state.json.1: it is not a state file of this library"
    )


# --- failures


async def test_after_a_save_that_failed_the_next_one_works(path: Path) -> None:
    async with open_notebooks() as runtime:
        await save_state_file(runtime, path)
        path.with_name("state.json.tmp").mkdir()  # no file can be made there
        with pytest.raises(OSError, match="directory") as info:
            await save_state_file(runtime, path)
        assert info.value.__notes__[-1] == f"{path} was not saved; what was saved before stands"
        path.with_name("state.json.tmp").rmdir()
        assert (await save_state_file(runtime, path)).generation == 2


async def test_after_a_save_that_was_not_confirmed_the_next_one_works(path: Path) -> None:
    async with open_notebooks() as runtime:
        await save_state_file(runtime, path)
        with slow_disk() as disk:
            disk.go_on.set()
            disk.error = StateFileUnconfirmed(
                "not sure", write_state_file(path, {}, after=read_state_file(path)[0])
            )
            with pytest.raises(StateFileUnconfirmed):
                await save_state_file(runtime, path)
        assert (await save_state_file(runtime, path)).generation == 3


# --- who may save, and when


async def test_a_handler_that_saves_is_refused(path: Path) -> None:
    async with open_notebooks() as runtime:

        async def act() -> None:
            await save_state_file(runtime, path)

        with pytest.raises(RuntimeError, match=r"save_state\(\) waits for running handlers"):
            await runtime.send_message(act, A)


async def test_a_handler_that_saves_is_refused_while_another_save_waits_for_it(path: Path) -> None:
    saved = []
    async with open_notebooks() as runtime:
        running = loop.Event()
        go_on = loop.Event()

        async def act() -> None:
            running.set()
            await go_on.wait()
            await save_state_file(runtime, path)

        async def send() -> None:
            with pytest.raises(RuntimeError, match="waits for running handlers"):
                await runtime.send_message(act, A)

        async def save() -> None:
            saved.append(await save_state_file(runtime, path))

        async with open_nursery() as nursery:
            nursery.start_soon(send)
            await running.wait()
            nursery.start_soon(save)
            await wait_all_tasks_blocked()
            go_on.set()
    assert [file.generation for file in saved] == [1]


async def test_overlapping_saves_are_written_in_the_order_of_their_states(path: Path) -> None:
    async with open_notebooks() as runtime:
        with slow_disk() as disk:
            async with open_nursery() as nursery:
                for count in range(4):
                    await runtime.send_message(count, A)
                    nursery.start_soon(save_state_file, runtime, path)
                    if count == 0:
                        await in_thread(disk.wait_for_one)
                    else:
                        await wait_all_tasks_blocked()
                assert not disk.begun.acquire(blocking=False)  # the others wait their turn
                disk.go_on.set()
        assert disk.done == [1, 2, 3, 4]
    assert notes_at(path) == [0, 1, 2, 3]
    assert notes_at(path.with_name("state.json.1")) == [0, 1, 2]


async def test_many_saves_at_once_end_with_the_last_state(path: Path) -> None:
    async with open_notebooks() as runtime:
        async with open_nursery() as nursery:
            for count in range(20):
                await runtime.send_message(count, A)
                nursery.start_soon(save_state_file, runtime, path)
    file, state = read_state_file(path)
    assert file.generation == 20
    assert state["notebook/a"]["notes"] == list(range(20))


# --- cancellation


async def test_cancelled_while_the_runtime_is_asked_nothing_is_written(path: Path) -> None:
    async with open_notebooks() as runtime:
        go_on = loop.Event()
        async with open_nursery() as nursery:
            nursery.start_soon(runtime.send_message, go_on.wait, A)
            await wait_all_tasks_blocked()
            scope = loop.CancelScope()

            async def save() -> None:
                with scope:
                    await save_state_file(runtime, path)

            nursery.start_soon(save)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            go_on.set()
        assert scope.cancel_called
        assert list(path.parent.iterdir()) == []
        assert (await save_state_file(runtime, path)).generation == 1


async def test_a_save_that_is_cancelled_while_it_writes_is_finished_first(path: Path) -> None:
    async with open_notebooks() as runtime:
        with slow_disk() as disk:
            scope = loop.CancelScope()
            ended = loop.Event()
            saved = []

            async def save() -> None:
                try:
                    with scope:
                        saved.append(await save_state_file(runtime, path))
                finally:
                    ended.set()

            async with open_nursery() as nursery:
                nursery.start_soon(save)
                await in_thread(disk.wait_for_one)
                scope.cancel()
                for _ in range(5):
                    await loop.checkpoint()
                assert not ended.is_set()
                disk.go_on.set()
        assert disk.done == [1]
        assert [file.generation for file in saved] == [1]  # it is not lost that it was saved
        assert (await save_state_file(runtime, path)).generation == 2
    assert names_in(path) == ["state.json", "state.json.1"]


@pytest.mark.only_on("asyncio", "trio has no task.cancel()")
async def test_a_task_that_is_cancelled_while_it_writes_is_finished_first(path: Path) -> None:
    async with open_notebooks() as runtime:
        with slow_disk() as disk:
            task = asyncio.ensure_future(save_state_file(runtime, path))
            await in_thread(disk.wait_for_one)
            for _ in range(3):  # however often
                task.cancel("enough")
                await asyncio.sleep(0)
            assert not task.done()
            disk.go_on.set()
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await task
            assert disk.done == [1]
        assert (await save_state_file(runtime, path)).generation == 2


@pytest.mark.only_on("asyncio", "trio has no task.cancel()")
async def test_a_failure_is_not_lost_when_the_task_was_cancelled(path: Path) -> None:
    async with open_notebooks() as runtime:
        with slow_disk() as disk:
            disk.error = OSError(errno.ENOSPC, "full")
            task = asyncio.ensure_future(save_state_file(runtime, path))
            await in_thread(disk.wait_for_one)
            task.cancel()
            await asyncio.sleep(0)
            disk.go_on.set()
            with pytest.raises(OSError, match="full"):
                await task


def test_the_end_of_the_loop_waits_for_a_save(path: Path) -> None:
    with slow_disk() as disk:

        async def main() -> None:
            runtime = trio_agents.asyncio.SingleThreadedAgentRuntime()
            task = asyncio.create_task(save_state_file(runtime, path))
            await asyncio.to_thread(disk.wait_for_one)
            asyncio.get_running_loop().call_soon(disk.go_on.set)
            del task

        asyncio.run(main())
        assert disk.done == [1]
    assert names_in(path) == ["state.json"]


# --- other runtimes


@pytest.mark.only_on("asyncio", "callers of a portal are on asyncio")
async def test_a_portals_runtime_is_saved_and_loaded(path: Path) -> None:
    async with open_portal() as runtime:
        await Notebook.register(runtime, "notebook", Notebook)
        await runtime.send_message("milk", A)
        await save_state_file(runtime, path)
        assert (await save_state_file(runtime, path)).generation == 2
    async with open_portal() as runtime:
        await Notebook.register(runtime, "notebook", Notebook)
        assert (await load_state_file(runtime, path)).generation == 2
        assert await runtime.send_message("bread", A) == ("milk", "bread")


def test_a_blocking_runtime_runs_them(path: Path) -> None:
    with open_portal() as runtime:
        runtime.run(Notebook.register, "notebook", Notebook)
        runtime.send_message("milk", A)
        assert runtime.run(save_state_file, path, keep=1).generation == 1
    with open_portal() as runtime:
        runtime.run(Notebook.register, "notebook", Notebook)
        runtime.run(load_state_file, path)
        assert runtime.send_message("bread", A) == ("milk", "bread")


async def test_what_a_runtime_has_loaded_is_forgotten_with_it(path: Path) -> None:
    async with open_runtime() as runtime:
        await save_state_file(runtime, path)
        assert runtime in _state_files._known
    count = len(_state_files._known)
    del runtime
    gc.collect()
    assert len(_state_files._known) < count


async def test_a_state_as_deep_as_the_runtime_allows_can_be_loaded_again(path: Path) -> None:
    deep: Any = "bottom"
    for _ in range(62):
        deep = [deep]

    class Deep(BaseAgent):
        def __init__(self) -> None:
            super().__init__("deep")
            self.state: Any = deep

        async def on_message_impl(self, message: Any, ctx: MessageContext) -> None:
            pass

        async def save_state(self) -> Any:
            return {"a": {"b": self.state}}

        async def load_state(self, state: Any) -> None:
            self.state = state["a"]["b"]

    async with open_runtime() as runtime:
        await Deep.register(runtime, "deep", Deep)
        await runtime.get("deep", lazy=False)
        await save_state_file(runtime, path)
        await load_state_file(runtime, path)
    assert read_state_file(path)[1]["deep/default"] == {"a": {"b": deep}}

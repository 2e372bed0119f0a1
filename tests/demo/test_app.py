"""The application in one process: right at any concurrency, interrupted, resumed."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_agents import AgentId, SingleThreadedAgentRuntime
from trio_agents._demo import _agents
from trio_agents._demo._agents import open_library
from trio_agents._demo._app import Job, NothingToDigest, Result, batches, make_digest
from trio_agents._demo._digest import compose
from trio_agents._demo._messages import Compose, Finding, Overview, Skipped
from trio_agents._demo._reading import MAX_BYTES, Fingerprint, Text, read_text
from trio_agents._demo._state import StateFileError

MakeFolder = Callable[[int], Path]


async def digest_of(listener: Any, *paths: Path, **options: Any) -> Result:
    with trio.fail_after(60):
        return await make_digest(Job(tuple(map(str, paths)), **options), listener)


async def test_the_digest_is_the_same_at_any_concurrency(
    make_folder: MakeFolder, listener: Any
) -> None:
    folder = make_folder(200)
    first, *others = [
        (await digest_of(listener, folder, concurrency=limit, record=True)) for limit in (1, 4, 64)
    ]
    assert first.counts.read == 200
    assert first.markdown.startswith("# Digest of 200 documents\n")
    for other in others:
        assert other.markdown == first.markdown


async def test_a_thousand_documents(make_folder: Callable[..., Path], listener: Any) -> None:
    folder = make_folder(1000, sentences=5)
    before = time.monotonic()
    one = await digest_of(listener, folder, concurrency=1)
    many = await digest_of(listener, folder, concurrency=64)
    assert one.markdown == many.markdown
    assert one.markdown.count("\n## ") == 1001
    counts = many.counts
    assert (counts.published, counts.sent, counts.answered) == (2000, 2, 2)
    assert time.monotonic() - before < 60


async def test_as_many_documents_are_read_at_a_time_as_is_allowed(
    make_folder: MakeFolder, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = most = 0

    async def read_slowly(path: str, known: Fingerprint | None = None) -> Text:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await wait_all_tasks_blocked()  # now all have begun that may
        reading -= 1
        return await read_text(path, known)

    monkeypatch.setattr(_agents, "read_text", read_slowly)
    assert (await digest_of(listener, make_folder(20), concurrency=3)).counts.read == 20
    assert most == 3


async def test_what_cannot_be_read_is_skipped_by_name(
    make_folder: MakeFolder, listener: Any
) -> None:
    folder = make_folder(3)
    (folder / "image.png").write_bytes(b"PNG\0")
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    (folder / "empty.md").touch()
    result = await digest_of(listener, folder)
    assert (result.counts.read, result.counts.skipped) == (4, 2)
    assert listener.documents == 6
    assert sum(isinstance(one, Finding) for one in listener.heard) == 4
    assert {one.name.rpartition("/")[2] for one in listener.heard if isinstance(one, Skipped)} == {
        "image.png",
        "latin.txt",
    }
    assert "image.png`: it is not text: it has NUL characters\n" in result.markdown
    assert "latin.txt`: it is not text: byte 4 is not UTF-8\n" in result.markdown
    assert "empty.md`: no words.\n" in result.markdown


async def test_an_empty_folder_is_an_error(tmp_path: Path, listener: Any) -> None:
    with pytest.raises(NothingToDigest, match=f"no files in {tmp_path}"):
        await digest_of(listener, tmp_path)


async def test_only_unreadable_files_are_an_error(tmp_path: Path, listener: Any) -> None:
    (tmp_path / "a").write_bytes(b"\0")
    with pytest.raises(NothingToDigest, match="none of the files"):
        await digest_of(listener, tmp_path)


async def test_the_digest_says_that_a_huge_document_was_not_read_to_its_end(
    tmp_path: Path, listener: Any
) -> None:
    (tmp_path / "a.txt").write_text("Much of the same. " * (MAX_BYTES // 12))
    result = await digest_of(listener, tmp_path / "a.txt")
    assert "sentences in its first MiB of 1.5.\n" in result.markdown


# --- interrupting and resuming


async def interrupted_after(
    number: int, listener_type: Any, folder: Path, state: Path | None, **options: Any
) -> Result:
    enough = trio.Event()
    job = Job((str(folder),), state_file=None if state is None else str(state), **options)
    with trio.fail_after(60):
        return await make_digest(job, listener_type(number, enough.set), enough.wait)


async def test_an_interrupted_run_gives_the_digest_of_what_was_read(
    make_folder: MakeFolder, listener_type: Any
) -> None:
    result = await interrupted_after(10, listener_type, make_folder(100), None, concurrency=4)
    assert result.interrupted
    read = result.counts.read
    assert 10 <= read < 100
    assert f"> **Partial:** interrupted with {100 - read} documents to go.\n" in result.markdown
    assert result.markdown.count("\n## ") == read + 1


async def test_an_interruption_is_heard_in_the_middle_of_a_document(
    tmp_path: Path, listener_type: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = trio.Event()

    async def read_much(path: str, known: Fingerprint | None = None) -> Text:
        began.set()
        return Text(Fingerprint(0, 0, 0, "", 0), "Much to do here. " * 60_000, "")

    monkeypatch.setattr(_agents, "read_text", read_much)
    (tmp_path / "a").touch()
    with trio.fail_after(60):
        result = await make_digest(Job((str(tmp_path),)), listener_type(), began.wait)
    assert result.interrupted
    assert result.counts.read == 0
    assert "> **Partial:** interrupted with 1 document to go.\n" in result.markdown


async def test_an_interruption_after_the_last_document_changes_nothing_in_the_digest(
    make_folder: MakeFolder, listener: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, state = make_folder(10), tmp_path / "state.json"
    whole = await digest_of(listener, folder)
    composing = trio.Event()

    def compose_and_tell(overview: Overview, request: Compose) -> Iterator[str]:
        composing.set()
        yield from compose(overview, request)

    monkeypatch.setattr(_agents, "compose", compose_and_tell)
    job = Job((str(folder),), state_file=str(state))
    with trio.fail_after(60):
        result = await make_digest(job, listener, composing.wait)
    assert result.interrupted
    assert result.markdown == whole.markdown
    assert len(json.loads(state.read_text(encoding="utf-8"))["agents"]) == 10


async def test_an_interruption_before_anything_was_found_is_one_too(
    make_folder: MakeFolder, listener: Any
) -> None:
    result = await make_digest(Job((str(make_folder(3)),)), listener, trio.lowlevel.checkpoint)
    assert result.interrupted


@pytest.mark.parametrize("concurrency", [1, 16])
async def test_a_resumed_run_gives_the_digest_of_one_that_was_not_interrupted(
    make_folder: MakeFolder, listener: Any, listener_type: Any, tmp_path: Path, concurrency: int
) -> None:
    folder, state = make_folder(150), tmp_path / "state.json"
    whole = await digest_of(listener, folder)
    partial = await interrupted_after(40, listener_type, folder, state, concurrency=concurrency)
    assert partial.interrupted
    saved = json.loads(state.read_text(encoding="utf-8"))["agents"]
    assert len(saved) >= partial.counts.read
    resumed = await digest_of(listener, folder, state_file=str(state))
    assert resumed.markdown == whole.markdown
    assert resumed.counts.remembered == len(saved)
    again = await digest_of(listener, folder, state_file=str(state))
    assert again.markdown == whole.markdown
    assert again.counts.remembered == 150


async def test_changed_removed_and_new_documents_are_seen(
    make_folder: MakeFolder, listener: Any, tmp_path: Path
) -> None:
    folder, state = make_folder(30), tmp_path / "state.json"
    await digest_of(listener, folder, state_file=str(state))
    paths = sorted(folder.rglob("*.md"))
    paths[0].write_text("# Changed\n\nThis is another text.")
    paths[1].unlink()
    paths[2].write_bytes(b"\0")
    (folder / "new.md").write_text("# New\n\nThis was not there.")
    resumed = await digest_of(listener, folder, state_file=str(state))
    assert (resumed.counts.read, resumed.counts.remembered, resumed.counts.skipped) == (29, 27, 1)
    assert resumed.markdown == (await digest_of(listener, folder)).markdown
    saved = json.loads(state.read_text(encoding="utf-8"))["agents"]
    assert len(saved) == 29
    assert not any(id.endswith((paths[1].name, paths[2].name)) for id in saved)


async def test_what_is_remembered_is_not_read_again(
    make_folder: MakeFolder, listener: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, state = make_folder(5), tmp_path / "state.json"
    for path in folder.rglob("*.md"):
        os.utime(path, (10**9, 10**9))
    whole = await digest_of(listener, folder, state_file=str(state))

    def analyse_again(*args: Any, **options: Any) -> None:
        raise AssertionError("a document was analysed again")

    monkeypatch.setattr(_agents, "analyse_in_steps", analyse_again)
    resumed = await digest_of(listener, folder, state_file=str(state))
    assert resumed.markdown == whole.markdown


async def test_an_interruption_before_the_state_is_loaded_leaves_the_file_alone(
    make_folder: MakeFolder, listener: Any, listener_type: Any, tmp_path: Path
) -> None:
    folder, state = make_folder(20), tmp_path / "state.json"
    await digest_of(listener, folder, state_file=str(state))
    before = state.read_bytes()
    job = Job((str(folder),), state_file=str(state))
    result = await make_digest(job, listener_type(), trio.lowlevel.checkpoint)
    assert result.interrupted
    assert state.read_bytes() == before


async def test_a_state_file_among_the_documents_is_none(
    make_folder: MakeFolder, listener: Any
) -> None:
    folder = make_folder(3)
    state = folder / "state.json"
    for _ in range(2):
        result = await digest_of(listener, folder, state_file=str(state), leave_out=(str(state),))
        assert result.counts.read == 3


async def test_a_state_that_cannot_be_saved_costs_no_digest(
    make_folder: MakeFolder, listener: Any, tmp_path: Path
) -> None:
    folder = make_folder(3)
    result = await digest_of(listener, folder, state_file=str(tmp_path / "none" / "state.json"))
    assert result.unsaved == "No such file or directory"
    assert result.counts.read == 3


HEADING = b'{"format": "trio-agents demo digest", "version": '


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"\xff", "not text"),
        (b"[1]", "something else wrote it"),
        (b'{"a": 1}', "something else wrote it"),
        (b"[" * 100_000, "not JSON"),
        (HEADING + b"0}", "another version"),
        (HEADING + b"1}", "damaged"),
        (HEADING + b'1, "agents": {"READER": 7}}', "damaged"),
        (HEADING + b'1, "agents": {"READER": {"a": 1}}}', "damaged"),
    ],
)
async def test_a_foreign_or_damaged_state_file_is_refused(
    tmp_path: Path, listener: Any, content: bytes, why: str
) -> None:
    document, state = tmp_path / "a.md", tmp_path / "state.json"
    document.write_text("Text.")
    id = AgentId("reader", document.as_posix())
    state.write_bytes(content.replace(b"READER", str(id).encode()))
    before = state.read_bytes()
    with pytest.raises(StateFileError, match=why) as caught:
        await digest_of(listener, document, state_file=str(state))
    assert "delete the file to begin afresh" in str(caught.value)
    assert state.read_bytes() == before


async def test_a_state_that_was_not_written_to_its_end_leaves_the_old_one(
    make_folder: MakeFolder, listener: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, state = make_folder(3), tmp_path / "state.json"
    await digest_of(listener, folder, state_file=str(state))
    before = state.read_bytes()

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    (folder / "new.md").write_text("This was not there.")
    result = await digest_of(listener, folder, state_file=str(state))
    assert result.unsaved == "No space left on device"
    assert state.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["documents", "state.json"]


async def test_a_folder_in_place_of_the_state_file_is_refused(
    make_folder: MakeFolder, listener: Any, tmp_path: Path
) -> None:
    with pytest.raises(StateFileError, match="cannot be read"):
        await digest_of(listener, make_folder(1), state_file=str(tmp_path))


def test_batches_grow_and_lose_nothing() -> None:
    documents: Any = list(range(1000))
    assert [one for batch in batches(documents, saving=True) for one in batch] == documents
    assert [len(batch) for batch in batches(documents, saving=True)][:3] == [64, 64, 64]
    assert sum(1 for _ in batches(documents, saving=True)) < 12
    assert list(batches(documents, saving=False)) == [documents]
    assert list(batches([], saving=True)) == []


# --- the agents


async def test_an_editor_without_documents_gives_an_empty_digest() -> None:
    async with SingleThreadedAgentRuntime() as runtime:
        await open_library(runtime)
        runtime.start()
        digest = await runtime.send_message(Compose(), AgentId("editor", "default"))
        assert digest.markdown == "# Digest of 0 documents\n\n0 words.\n"
        await runtime.stop_when_idle()


async def test_a_failure_in_an_agent_is_not_swallowed(
    make_folder: MakeFolder, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(path: str, known: Fingerprint | None = None) -> Text:
        raise ZeroDivisionError

    monkeypatch.setattr(_agents, "read_text", fail)
    with pytest.raises(ExceptionGroup) as caught:
        await digest_of(listener, make_folder(3))
    assert len(caught.value.exceptions) == 3

"""Who sent what to whom."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, strategies as st

from trio_agents import AgentId, TopicId
from trio_agents._demo._app import Job, make_digest
from trio_agents._demo._trace import DRAWN_DOCUMENTS, DRAWN_OTHERS, as_mermaid, as_text
from trio_agents._demo._watching import Exchange

INDEX = AgentId("index", "default")
LINE = re.compile(
    r"    (?:participant p\d+ as (?P<name>[^;#\n]+|(?:[^;#\n]|#\d+;)+)"
    r"|p\d+(?:-\)|->>|-->>)p\d+: (?:[^;#\n]|#\d+;)+|Note over p\d+: (?:[^;#\n]|#\d+;)+)"
)


async def exchanges_of(folder: Path, listener: Any, concurrency: int) -> list[Exchange]:
    job = Job((str(folder),), concurrency=concurrency, record=True)
    return list((await make_digest(job, listener)).exchanges)


async def test_the_trace_is_the_same_at_any_concurrency(
    make_folder: Callable[[int], Path], listener: Any
) -> None:
    folder = make_folder(30)
    (folder / "zz.png").write_bytes(b"\0")
    one, other = [await exchanges_of(folder, listener, limit) for limit in (1, 16)]
    assert as_text(one) == as_text(other)
    assert as_mermaid(one) == as_mermaid(other)


async def test_the_text_has_a_line_for_each_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.md").write_text("Two words.")
    (tmp_path / "c.bin").write_bytes(b"\0")
    (tmp_path / "d").symlink_to("nowhere")
    job = Job((".",), record=True)
    result = await make_digest(job, listener)
    assert (
        as_text(result.exchanges)
        == """\
librarian -> reader a b.md: publishes Document (read a b.md)
reader a b.md -> index: publishes Finding (a b.md has 2 words)
librarian -> reader c.bin: publishes Document (read c.bin)
reader c.bin -> index: publishes Skipped (c.bin skipped: it is not text: it has NUL characters)
librarian -> index: publishes Skipped (d skipped: it is gone, or a link to nothing)
application -> editor: asks Compose (compose the digest)
editor -> index: asks GetOverview (what was found?)
index -> editor: answers Overview (1 document read, 2 skipped)
editor -> application: answers Digest (the digest, 16 lines)
"""
    )
    assert result.counts.messages == 9


def test_a_small_diagram() -> None:
    exchanges = [
        Exchange(None, None, AgentId("editor", "default"), "asks", "Compose (it; all #1)"),
        Exchange("end", AgentId("reader", "end"), INDEX, "publishes", "Finding (%)"),
        Exchange(None, AgentId("editor", "default"), None, "answers", "Digest"),
        Exchange(None, INDEX, TopicId("nobody", "x"), "publishes", "Weekend"),
    ]
    assert (
        as_mermaid(exchanges)
        == """\
sequenceDiagram
    participant p0 as reader e#110;d
    participant p1 as index
    participant p2 as application
    participant p3 as editor
    participant p4 as topic nobody
    p0-)p1: Finding (#37;)
    p2->>p3: Compose (it#59; all #35;1)
    p3-->>p2: Digest
    p1-)p4: Weeke#110;d
"""
    )


def test_a_diagram_is_bounded_and_says_so() -> None:
    exchanges = [
        Exchange(f"d{at:04}", AgentId("reader", f"d{at:04}"), INDEX, "publishes", "Finding")
        for at in range(1000)
    ]
    exchanges += [Exchange(None, None, INDEX, "asks", "x") for _ in range(1000)]
    lines = as_mermaid(exchanges).splitlines()
    assert len(lines) < 2 * DRAWN_DOCUMENTS + DRAWN_OTHERS + 10
    assert "    Note over p0: 990 more documents#44; not drawn" in lines
    assert lines[-1] == "    Note over p0: 950 more messages#44; not drawn"


def test_nothing_makes_an_empty_diagram() -> None:
    assert as_mermaid([]) == "sequenceDiagram\n"
    assert as_text([]) == ""


@given(st.lists(st.text(max_size=200), max_size=5))
def test_whatever_is_said_a_diagram_has_lines_that_mermaid_knows(said: list[str]) -> None:
    exchanges = [Exchange(None, None, INDEX, "asks", f"X ({what})") for what in said]
    first, *lines = as_mermaid(exchanges).splitlines()
    assert first == "sequenceDiagram"
    assert len(lines) == len(said) + 2 * bool(said)
    for line in lines:
        assert LINE.fullmatch(line), line
        assert not re.search(r"\bend\b", line, re.IGNORECASE)


async def test_without_recording_nothing_is_kept(
    make_folder: Callable[[int], Path], listener: Any
) -> None:
    with trio.fail_after(60):
        result = await make_digest(Job((str(make_folder(2)),)), listener)
    assert list(result.exchanges) == []

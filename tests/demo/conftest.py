from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from trio_agents._demo._messages import Finding, Skipped
from trio_agents._demo._watching import Counts

WORDS = re.findall(
    r"\w+",
    """
    runtime agent topic message handler cancel scope nursery mailbox reply state digest document
    librarian reader index editor send publish wait bound room door queue slow fast letter garden
    winter river stone bridge light shadow paper ink the a of and to in is that it was for with
    Straße naïve café 世界 мир
    """,
)


class Listener:
    """Hears how it goes, and calls *after* when so many documents are done with."""

    def __init__(self, limit: int = -1, after: Callable[[], object] | None = None) -> None:
        self.documents = -1
        self.heard: list[Finding | Skipped] = []
        self.counts = Counts()
        self._limit = limit
        self._after = after

    def begin(self, documents: int, concurrency: int, counts: Counts) -> None:
        self.documents = documents
        self.counts = counts

    def done_with(self, what: Finding | Skipped) -> None:
        self.heard.append(what)
        if len(self.heard) == self._limit and self._after is not None:
            self._after()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def listener_type() -> type[Listener]:
    return Listener


def prose(seed: int, sentences: int = 12) -> str:
    """Make a Markdown document, always the same one for the same *seed*."""
    chance = random.Random(seed)
    lines = [f"# {' '.join(chance.choices(WORDS, k=3))}", ""]
    for _ in range(sentences):
        words = chance.choices(WORDS, k=chance.randint(4, 14))
        lines.append(f"{' '.join(words).capitalize()}.")
        if chance.random() < 0.2:
            lines += ["", f"- {' '.join(chance.choices(WORDS, k=5))}", ""]
    return "\n".join(lines)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[int], Path]:
    """Give a function that fills a folder with so many documents, in folders below it."""

    def make(number: int, sentences: int = 12) -> Path:
        folder = tmp_path / "documents"
        for at in range(number):
            path = folder / f"part {at % 7}" / f"d{at:04}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(prose(at, sentences), encoding="utf-8")
        return folder

    return make

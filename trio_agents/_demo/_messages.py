"""What the agents of the digest say to each other. Their text form is what ``--trace`` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ._analysis import Analysis

__all__ = [
    "Compose",
    "Digest",
    "Document",
    "Finding",
    "GetOverview",
    "Overview",
    "Skipped",
    "counted",
]


@dataclass(frozen=True, slots=True)
class Document:
    """There is a document to be read.

    Attributes:
        source: The source of its topic, and so the key of the agent that reads it.
        name: What people call it.
        path: Where it is.
    """

    source: str
    name: str
    path: str

    def __str__(self) -> str:
        return f"read {self.name}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A document was read, and this is in it.

    Attributes:
        source: As in its `Document`.
        name: As in its `Document`.
        analysis: What it says.
        cut: How much of it was read, if not all; it follows the number of words.
        remembered: Whether this was known from an earlier run.
    """

    source: str
    name: str
    analysis: Analysis
    cut: str = ""
    remembered: bool = False

    def __str__(self) -> str:
        known = ", unchanged" if self.remembered else ""
        return f"{self.name} has {counted(self.analysis.words, 'word')}{known}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document could not be read. *reason* follows "it", as in "it is not text"."""

    source: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} skipped: {self.reason}"


@dataclass(frozen=True, slots=True)
class GetOverview:
    """Asks for all that was found."""

    def __str__(self) -> str:
        return "what was found?"


@dataclass(frozen=True, slots=True)
class Overview:
    """All that was found, in the order of the documents' names.

    Attributes:
        findings: One for each document that was read.
        skipped: One for each that was not.
        spread: In how many documents each term is.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    spread: Mapping[str, int]

    def __str__(self) -> str:
        return f"{counted(len(self.findings), 'document')} read, {len(self.skipped)} skipped"


@dataclass(frozen=True, slots=True)
class Compose:
    """Asks for the digest, with so many sentences for each document.

    Attributes:
        sentences: How many.
        interrupted: Whether reading was given up before its end.
        documents: How many documents there would have been.
    """

    sentences: int = 3
    interrupted: bool = False
    documents: int = 0

    def __str__(self) -> str:
        return "compose the digest"


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest, in Markdown."""

    markdown: str

    def __str__(self) -> str:
        return f"the digest, {counted(self.markdown.count(chr(10)), 'line')}"


def counted(number: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"

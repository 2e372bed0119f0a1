"""What is to be done with a tree: which files change and how, and what is left to the user."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from . import _advice as advice
from ._files import (
    Kind,
    Text,
    Unusable,
    decode,
    find_files,
    kind_of,
    lines_of,
    read,
    replace,
)
from ._findings import Finding, shortened
from ._notebook import rewrite_notebook
from ._rewrite import Fragment, Options, Rewriting, rewrite
from ._target import Target

__all__ = ["Change", "Plan", "make_plan"]

#: A file that nowhere says this has nothing to be migrated, and is not even parsed.
MENTION: Final = re.compile(rb"autogen[_.-]", re.IGNORECASE)
#: What is no import, in a comment say, only leaves more to the user.
AGENTCHAT: Final = re.compile(rb"(?:from|import)\s+autogen_agentchat\b")
DEPENDENCY: Final = re.compile(
    r"(?<![\w.-])autogen[_.-](core|agentchat|ext)(?![\w-]|\.[\w*])", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Change:
    """A file that is to become another one."""

    path: str
    old: bytes
    new: bytes
    text: Text
    new_text: str

    def diff(self) -> Iterator[str]:
        """Give the lines of a unified diff, as ``patch -p0`` takes it."""
        name = f"{self.path}\t" if " " in self.path else self.path  # or patch takes one word of it
        old, new = (lines_of(self.text.mark + text) for text in (self.text.text, self.new_text))
        lines = difflib.unified_diff(old, new, name, name)
        for line in lines:
            yield line if line.endswith(("\n", "\r")) else f"{line}\n\\ No newline at end of file\n"

    def apply(self) -> None:
        """Write it.

        Raises:
            Unusable: it could not be written, or has been written by somebody else.
        """
        replace(self.path, self.old, self.new)


@dataclass(slots=True)
class Plan:
    """What was found out about a tree. Nothing is done yet."""

    changes: list[Change] = field(default_factory=list[Change])
    findings: list[tuple[str, Finding]] = field(default_factory=list[tuple[str, Finding]])
    failures: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def grouped(self) -> Iterator[tuple[list[tuple[str, str]], str]]:
        """Give the findings as places with their code, and what to do about them.

        Neighbours in one file about which the same is to be said come together.
        """
        for (path, says), group in groupby(self.findings, lambda each: (each[0], each[1].advice)):
            yield [(finding.place(path), finding.code) for _, finding in group], says


def make_plan(
    paths: Iterable[str], target: Target, *, exclude: Sequence[str] = (), mixed: bool = False
) -> Plan:
    """Read the files that *paths* name, or that are in the folders they name, and plan for each.

    Raises:
        BrokenTarget: our own package cannot be imported.
    """
    plan = Plan()
    read_files: list[tuple[str, Kind, bytes]] = []

    def fail(path: str, exc: Unusable) -> None:
        plan.failures.append((path, str(exc)))

    for path in find_files(paths, exclude, fail):
        try:
            data = read(path)
        except Unusable as exc:
            fail(path, exc)
            continue
        if MENTION.search(data):
            kind = kind_of(path) or Kind.PYTHON  # who names a script without a suffix means it
            read_files.append((path, kind, data))
    options = Options(mixed, any(AGENTCHAT.search(data) for _, _, data in read_files))
    for path, kind, data in read_files:
        try:
            _add(plan, path, kind, data, target, options)
        except Unusable as exc:
            fail(path, exc)
    return plan


def _add(plan: Plan, path: str, kind: Kind, data: bytes, target: Target, options: Options) -> None:
    text = decode(data, declared=kind is Kind.PYTHON)
    if kind is Kind.DEPENDENCIES:
        result = Rewriting((text.text,), tuple(_dependencies(text.text)))
    elif kind is Kind.NOTEBOOK:
        result = rewrite_notebook(text.text, target, options)
    else:
        result = rewrite([Fragment(text.text)], target, options)
    plan.findings += [(path, finding) for finding in result.findings]
    (new,) = result.texts
    if new != text.text:
        plan.changes.append(Change(path, data, text.encode(new), text, new))


def _dependencies(text: str) -> Iterator[Finding]:
    for number, line in enumerate(lines_of(text), start=1):
        found = DEPENDENCY.search(line.partition("#")[0])
        if found is not None:
            yield Finding(number, shortened(line), advice.DEPENDENCIES[found[1].lower()])

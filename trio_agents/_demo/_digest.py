"""From what was found in all documents to the digest, in Markdown.

Pure functions, no event loop. The order in which documents were read must not show, so everything
is added up in the order of their names (sums of floats depend on the order), and every choice that
weights leave open is made by name.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Final

from ._analysis import Sentence, Term, score
from ._messages import Compose, Finding, Overview, Skipped, counted
from ._text import CODE_SPAN

__all__ = ["choose_sentences", "compose", "escape", "quoted"]

COMMON_TERMS: Final = 12
TERMS: Final = 8
NEIGHBOURS: Final = 3
# Documents are close to each other by the terms that weigh most in them. A term that so many
# documents share says little, and would make the work grow with the square of their number.
NEIGHBOUR_TERMS: Final = 20
MAX_SHARED: Final = 50
ALIKE: Final = 0.5  # two sentences with so large a part of their terms in common say the same


def compose(overview: Overview, request: Compose) -> Iterator[str]:
    """Give the digest piece by piece. Some are empty: between two pieces others may have a turn."""
    findings, spread = overview.findings, overview.spread
    read = len(findings)
    yield f"# Digest of {counted(read, 'document')}\n\n"
    if request.interrupted:
        missing = request.documents - read - len(overview.skipped)
        yield f"> **Partial:** interrupted with {counted(missing, 'document')} to go.\n\n"
    total = sum(finding.analysis.words for finding in findings)
    skipped = f"; {counted(len(overview.skipped), 'file')} skipped" if overview.skipped else ""
    yield f"{counted(total, 'word')}{skipped}.\n"
    if read > 1:
        yield from _common_terms(findings, spread)
    close = yield from _neighbours(findings, spread)
    for finding in findings:
        yield _section(finding, read, spread, close.get(finding.source, ()), request.sentences)
    yield from _skipped(overview.skipped)


def _common_terms(findings: Sequence[Finding], spread: Mapping[str, int]) -> Iterator[str]:
    weights: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    most: dict[str, tuple[int, Finding]] = {}
    forms: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for finding in findings:
        yield ""
        for term, entry in finding.analysis.terms.items():
            if spread[term] > 1:
                weights[term] += _weight(entry, spread[term], len(findings))
                counts[term] += entry.count
                forms[term][entry.form] += entry.count
                if term not in most or entry.count > most[term][0]:
                    most[term] = entry.count, finding
    common = heapq.nsmallest(COMMON_TERMS, weights, key=lambda term: (-weights[term], term))
    if not common:
        return
    yield "\n## Terms they share\n\n| Term | Documents | Times | Most in |\n|---|--:|--:|---|\n"
    for term in common:
        form = min(forms[term].items(), key=lambda form: (-form[1], form[0]))[0]
        row = escape(form), spread[term], counts[term], quoted(most[term][1].name, cell=True)
        yield f"| {' | '.join(map(str, row))} |\n"


def _section(
    finding: Finding,
    documents: int,
    spread: Mapping[str, int],
    close: Sequence[str],
    sentences: int,
) -> str:
    analysis = finding.analysis
    name = quoted(finding.name)
    title = escape(analysis.title) if analysis.title else name
    lines = [f"\n## {title}\n"]
    about = f"{counted(analysis.words, 'word')}, {counted(analysis.sentences, 'sentence')}"
    lines.append(f"{name}: {about if analysis.words else 'no words'}{finding.cut}.\n")
    weights = {
        term: _weight(entry, spread.get(term, 1), documents)
        for term, entry in analysis.terms.items()
    }
    chosen = choose_sentences(analysis.candidates, weights, sentences)
    if chosen:
        lines += [f"- {escape(sentence.text)}" for sentence in chosen]
        lines.append("")
    top = heapq.nsmallest(TERMS, weights, key=lambda term: (-weights[term], term))
    if top:
        listed = (
            f"{escape(analysis.terms[term].form)} ({analysis.terms[term].count})" for term in top
        )
        lines.append(f"**Terms:** {', '.join(listed)}\n")
    if close:
        lines.append(f"**Close to:** {', '.join(map(quoted, close))}\n")
    return "\n".join(lines)


def choose_sentences(
    candidates: Sequence[Sentence], weights: Mapping[str, float], number: int
) -> list[Sentence]:
    """Choose the sentences that say most, none of them much like another, in their order."""
    scores = [
        score(one, sum(weights[term] for term in one.terms if term in weights))
        for one in candidates
    ]
    ranked = sorted(range(len(candidates)), key=lambda at: (-scores[at], candidates[at].place))
    chosen: list[Sentence] = []
    for at in ranked:
        if len(chosen) == number:
            break
        if not any(_alike(candidates[at], other) for other in chosen):
            chosen.append(candidates[at])
    return sorted(chosen, key=lambda one: one.place)


def _alike(one: Sentence, other: Sentence) -> bool:
    mine, theirs = set(one.terms), set(other.terms)
    return (
        len(mine & theirs) > ALIKE * min(len(mine), len(theirs)) and min(len(mine), len(theirs)) > 1
    )


def _weight(entry: Term, spread: int, documents: int) -> float:
    """Weigh a term: much in this document, little in the others (tf-idf)."""
    return (1 + math.log(entry.weight)) * math.log(1 + documents / spread)


def _neighbours(
    findings: Sequence[Finding], spread: Mapping[str, int]
) -> Generator[str, None, dict[str, tuple[str, ...]]]:
    """Find, for each document, the names of those that are most like it: the cosine of weights."""
    vectors: list[dict[str, float]] = []
    having: defaultdict[str, list[int]] = defaultdict(list)
    for number, finding in enumerate(findings):
        yield ""
        weights = {
            term: _weight(entry, spread[term], len(findings))
            for term, entry in finding.analysis.terms.items()
        }
        top = heapq.nsmallest(NEIGHBOUR_TERMS, weights, key=lambda term: (-weights[term], term))
        length = math.sqrt(sum(weights[term] ** 2 for term in top)) or 1.0
        vectors.append({term: weights[term] / length for term in top})
        for term in top:
            having[term].append(number)
    close: dict[str, tuple[str, ...]] = {}
    for number, vector in enumerate(vectors):
        yield ""
        likeness: defaultdict[int, float] = defaultdict(float)
        for term, weight in vector.items():
            if len(having[term]) <= MAX_SHARED:
                for other in having[term]:
                    likeness[other] += weight * vectors[other][term]
        likeness.pop(number, None)
        best = heapq.nsmallest(NEIGHBOURS, likeness, key=lambda other: (-likeness[other], other))
        close[findings[number].source] = tuple(
            findings[other].name for other in best if likeness[other] > 0.05
        )
    return close


def _skipped(skipped: Sequence[Skipped]) -> Iterator[str]:
    if skipped:
        yield "\n## Skipped\n\n"
    for one in skipped:
        yield f"- {quoted(one.name)}: {escape(one.reason)}\n"


_SPECIAL: Final = re.compile(r"[\\*\[\]<>|`]|(?<!\w)_|_(?!\w)|^#|&(?=#?\w+;)")
_MARKER: Final = re.compile(r"^([-+=~]|\d+(?=[.)]))")


def escape(text: str) -> str:
    """Write *text*, one line, so that Markdown shows it as it is; code spans stay code."""
    parts: list[str] = []
    at = 0
    for span in CODE_SPAN.finditer(text):
        parts += _plain(text[at : span.start()]), quoted(span[2])
        at = span.end()
    parts.append(_plain(text[at:]))
    line = "".join(parts)
    return _MARKER.sub(lambda m: f"\\{m[0]}" if not m[0].isdigit() else f"{m[0]}\\", line)


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


def quoted(text: str, *, cell: bool = False) -> str:
    """Write *text* as a Markdown code span, also inside the cell of a table."""
    marks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text[:1] == "`" or text[-1:] == "`" else ""
    shown = f"{marks}{space}{text}{space}{marks}"
    return shown.replace("|", "\\|") if cell else shown

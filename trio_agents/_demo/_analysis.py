"""What one document says: its terms, and the sentences that might speak for it.

Pure functions, no event loop. Which of the sentences are shown is decided later, when it is known
which terms are rare among all the documents (`_digest`). Here each document is looked at alone, so
that it can be done once for each, in any order, and remembered.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from ._text import Kind, blocks, clean, sentences
from ._words import guess_language, term_of, words

__all__ = ["Analysis", "Sentence", "Term", "analyse", "analyse_in_steps"]

MAX_TERMS: Final = 120
MAX_CANDIDATES: Final = 12
MAX_SENTENCE: Final = 400  # characters; beyond them a sentence is cut short
HEADING_WEIGHT: Final = 3  # a word in a heading counts as often as this in the text
STEP: Final = 50  # sentences between two steps


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a document: how it is mostly written, how often it occurs, how much it weighs."""

    form: str
    count: int
    weight: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that may be shown, with its terms and its place in the document."""

    text: str
    place: int
    opens: bool  # it begins a paragraph
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the digest needs to know of one document."""

    title: str
    language: str
    words: int
    sentences: int
    terms: dict[str, Term]
    candidates: tuple[Sentence, ...]


def analyse(text: str, *, markdown: bool = True) -> Analysis:
    """Analyse a document in one go."""
    steps = analyse_in_steps(text, markdown=markdown)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            analysis: Analysis = end.value
            return analysis


def analyse_in_steps(text: str, *, markdown: bool = True) -> Generator[None, None, Analysis]:
    """Analyse a document, yielding from time to time, so that others may have their turn."""
    title = ""
    prose: list[tuple[str, bool]] = []  # sentences, and whether each opens a paragraph
    spoken: list[list[str]] = []  # the words of each sentence of the text
    headed: list[list[str]] = []  # the words of each heading, and of each row of a table
    for block in blocks(clean(text), markdown=markdown):
        for number, sentence in enumerate(sentences(block.text, markdown=markdown)):
            found = words(sentence)
            if block.kind is Kind.HEADING:
                title = title or sentence
                headed.append(found)
            elif block.kind is Kind.ROW:
                spoken.append(found)
                prose.append(("", False))
            else:
                spoken.append(found)
                prose.append((sentence, number == 0))
            if (len(spoken) + len(headed)) % STEP == 0:
                yield
    language = guess_language(word for found in spoken for word in found)
    yield
    terms = yield from _count(spoken, headed, language)
    candidates = yield from _candidates(prose, spoken, terms, language)
    return Analysis(
        title=shorten(title, 120),
        language=language,
        words=sum(map(len, spoken)) + sum(map(len, headed)),
        sentences=sum(bool(text) for text, _ in prose),
        terms=terms,
        candidates=candidates,
    )


def _count(
    spoken: list[list[str]], headed: list[list[str]], language: str
) -> Generator[None, None, dict[str, Term]]:
    counts: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    forms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for number, found in enumerate(spoken + headed):
        in_text = number < len(spoken)
        for place, word in enumerate(found):
            if term := term_of(word, language):
                counts[term] += 1
                # A heading says what matters, if the text below it speaks of it too.
                weights[term] += HEADING_WEIGHT if not in_text and term in weights else 1
                # A capital says nothing at the start of a sentence or in a heading.
                forms[term][word if in_text and place else _lowered(word)] += 1
        if number % STEP == 0:
            yield
    kept = heapq.nsmallest(MAX_TERMS, weights, key=lambda term: (-weights[term], term))
    return {
        term: Term(
            form=min(forms[term].items(), key=lambda form: (-form[1], form[0]))[0],
            count=counts[term],
            weight=weights[term],
        )
        for term in kept
    }


def _lowered(word: str) -> str:
    return word.lower() if word[1:].islower() else word


def _candidates(
    prose: list[tuple[str, bool]], spoken: list[list[str]], terms: dict[str, Term], language: str
) -> Generator[None, None, tuple[Sentence, ...]]:
    scored: list[tuple[float, int, Sentence]] = []
    for place, ((text, opens), found) in enumerate(zip(prose, spoken, strict=True)):
        if place % STEP == 0:
            yield
        in_sentence = dict.fromkeys(term_of(word, language) for word in found)
        known = tuple(term for term in in_sentence if term in terms)
        if not text or not known:
            continue
        sentence = Sentence(shorten(text, MAX_SENTENCE), place, opens, known[:40])
        weight = sum(1 + math.log(terms[term].weight) for term in sentence.terms)
        scored.append((-score(sentence, weight), place, sentence))
    best = heapq.nsmallest(MAX_CANDIDATES, scored, key=lambda entry: entry[:2])
    return tuple(sorted((entry[2] for entry in best), key=lambda one: one.place))


def score(sentence: Sentence, weight: float) -> float:
    """Say how well a sentence speaks for its document, if its terms weigh *weight* together.

    Long sentences have more terms, so their number counts; but a sentence of one or two terms
    rarely says anything. Documents and paragraphs begin with what they are about. What ends with
    a colon introduces something that will not be there.
    """
    known = len(sentence.terms)
    result = weight / math.sqrt(known) * min(1.0, known / 5)
    result *= 1 + 0.5 / (1 + sentence.place)
    if sentence.opens:
        result *= 1.15
    if sentence.text.endswith((":", "…", "?")):
        result *= 0.5
    return result


def shorten(text: str, limit: int) -> str:
    """Cut *text* at a word, if it is longer than *limit* characters, and say so by an ellipsis."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > limit // 2 else cut).rstrip() + "…"

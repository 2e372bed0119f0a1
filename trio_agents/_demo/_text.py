"""From a document's text to its blocks and sentences. Pure functions, no event loop.

This is not a Markdown parser: it wants the prose. Headings, paragraphs, list items and the rows of
tables are kept, code blocks, comments and link targets are not. Whatever the text is, nothing here
raises, and the time it takes grows with the length of the text and not faster: patterns that could
look far ahead are bounded.
"""

# ruff: noqa: RUF001  # typographic quotation marks are meant

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Block", "Kind", "blocks", "clean", "sentences"]


class Kind(enum.Enum):
    HEADING = "heading"
    TEXT = "text"
    ITEM = "item"
    ROW = "row"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document that sentences do not cross. Its text has no line breaks."""

    kind: Kind
    text: str


# Invisible characters that could make the digest look like something else on a terminal, and the
# two that stand for code spans below.
_UNWANTED: Final = [
    *range(0x09),
    *range(0x0E, 0x20),
    *range(0x7F, 0x85),
    *range(0x86, 0xA0),
    0xAD,
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    0xE000,
    0xE001,
    0xFEFF,
]
_CLEAN: Final = dict.fromkeys(_UNWANTED) | dict.fromkeys([0x0B, 0x0C, 0x85, 0x2028, 0x2029], "\n")


def clean(text: str) -> str:
    """Give *text* in composed form, with plain line ends and without invisible characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_CLEAN)
    return unicodedata.normalize("NFC", text)


# --- blocks

_QUOTE: Final = re.compile(r"(?: {0,3}> ?)+")
_FENCE: Final = re.compile(r" {0,8}(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)$")
_ATX: Final = re.compile(r" {0,3}#{1,6}(?:[ \t]+(?P<text>.*))?$")
_CLOSING: Final = re.compile(r"(?:^|(?<=[ \t]))#+$")
_UNDERLINE: Final = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")
_BREAK: Final = re.compile(r"[ \t]*(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM: Final = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(?P<text>.*)$")
_RULED: Final = re.compile(r"[ \t]*\|?[ \t]*:?-+[-:| \t]*$")
_DEFINITION: Final = re.compile(r" {0,3}\[(?!\^)[^\[\]]{1,200}\]:[ \t]*\S")
_FOOTNOTE: Final = re.compile(r" {0,3}\[\^[^\[\]]{1,200}\]:[ \t]*")
_CJK: Final = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff60"
_CJK_GAP: Final = re.compile(rf"(?<=[{_CJK}]) (?=[{_CJK}])")
_LONGEST_TITLE: Final = 100
_LONGEST_SENTENCE: Final = 4000  # some texts have no ends of sentences at all


def blocks(text: str, *, markdown: bool = True) -> Iterator[Block]:
    """Give the blocks of *text*, which `clean` has prepared. Those without text are left out."""
    found = _markdown_blocks(text) if markdown else _plain_blocks(text)
    return (block for block in found if block.text)


def _block(kind: Kind, lines: Iterable[str]) -> Block:
    text = " ".join(" ".join(lines).split())
    return Block(kind, _CJK_GAP.sub("", text))  # scripts without spaces break lines anywhere


def _plain_blocks(text: str) -> Iterator[Block]:
    pending: list[str] = []
    kind = Kind.TEXT
    first = True
    for line in [*text.split("\n"), ""]:
        item = _ITEM.match(line)
        if line.strip() and item is None:
            pending.append(line)
            continue
        if pending:
            titled = len(pending) == 1 and len(pending[0]) <= _LONGEST_TITLE
            if first and kind is Kind.TEXT and titled and pending[0].rstrip()[-1].isalnum():
                kind = Kind.HEADING
            yield _block(kind, pending)
            first = False
        kind = Kind.TEXT if item is None else Kind.ITEM
        pending = [] if item is None else [item["text"]]


def _markdown_blocks(text: str) -> Iterator[Block]:
    lines = _without_comments(text).split("\n")
    fences = _Fences(lines)
    pending: list[str] = []
    kind = Kind.TEXT
    in_list = False  # deeper lines belong to an item
    at = _after_front_matter(lines)
    while at < len(lines):
        line = _QUOTE.sub("", lines[at], count=1).expandtabs(4)
        if not pending and not line.strip():
            at += 1
            continue
        fence = _FENCE.match(line)
        item = _ITEM.match(line)
        heading = _ATX.match(line)
        at += 1
        if pending and kind is Kind.TEXT and _UNDERLINE.match(line):
            yield _block(Kind.HEADING, pending)
            pending = []
        elif not line.strip() or fence or heading or item or _BREAK.match(line):
            yield _block(kind, pending)
            pending, kind = [], Kind.TEXT
            if fence:
                at = fences.after(at, fence["marks"])
            elif heading:
                yield _block(Kind.HEADING, [_CLOSING.sub("", (heading["text"] or "").rstrip())])
                in_list = False
            elif item and not _BREAK.match(line):
                pending, kind, in_list = [item["text"]], Kind.ITEM, True
        elif line.lstrip().startswith("|") or _RULED.match(line):
            yield _block(kind, pending)
            pending, kind = [], Kind.TEXT
            if not _RULED.match(line):
                yield _block(Kind.ROW, line.split("|"))
        elif _DEFINITION.match(line) and not pending:
            pass
        elif line.startswith("    ") and not pending and not in_list:
            pass  # an indented code block
        else:
            in_list = in_list and (bool(pending) or line.startswith(" "))
            pending.append(_FOOTNOTE.sub("", line))
    yield _block(kind, pending)


class _Fences:
    """Finds the end of fenced code. A fence that is never closed is a stray line, not code.

    CommonMark would take the rest of the document for code, and the digest would lose it.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        # For each mark, the shortest fence for which there is no end any more: so that a document
        # of nothing but opening fences is not searched through again for each of them.
        self._never: dict[str, int] = {}

    def after(self, start: int, marks: str) -> int:
        """Give the line after the code that begins at *start*, or *start* if it is not code."""
        mark, length = marks[0], len(marks)
        if length >= self._never.get(mark, length + 1):
            return start
        for at in range(start, len(self._lines)):
            line = _QUOTE.sub("", self._lines[at], count=1).strip()
            if len(line) >= length and line == mark * len(line):
                return at + 1
        self._never[mark] = length
        return start


def _after_front_matter(lines: list[str]) -> int:
    if lines[0].rstrip() == "---":
        for at in range(1, min(len(lines), 200)):
            if lines[at].rstrip() in ("---", "..."):
                return at + 1
    return 0


def _without_comments(text: str) -> str:
    parts: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        parts += text[at:start], "\n" * text.count("\n", start, end)
        at = end + 3
    parts.append(text[at:])
    return "".join(parts)


# --- sentences

CODE_SPAN: Final = re.compile(r"(?<!`)(`{1,2})(?!`)(.{1,400}?)(?<!`)\1(?!`)")
_ROLE: Final = re.compile(r"\{[\w:+-]{1,40}\}(?=`)")  # MyST says with it what a code span is
_IMAGE: Final = re.compile(r"!\[[^\[\]]{0,500}\](?:\([^()]{0,1000}\)|\[[^\[\]]{0,200}\])?")
_LINK: Final = re.compile(
    r"\[([^\[\]]{0,500})\]"
    r"(?:\(((?:[^()]|\([^()]{0,200}\)){0,1000})\)|\[[^\[\]]{0,200}\])"
)
_REFERENCE: Final = re.compile(r"\[\^[^\[\]]{1,100}\]|(?<=\[)(?=[^\[\]]{1,100}\])")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]{0,300}>")
_STARS: Final = re.compile(r"(\*{1,3})(?=[^\s*])([^*]{1,500}?)(?<=[^\s*])\1(?!\*)")
_UNDERSCORES: Final = re.compile(r"(?<!\w)(_{1,3})(?=[^\s_])([^_]{1,500}?)(?<=[^\s_])\1(?!\w)")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_HELD: Final = re.compile("\ue000(\\d+)\ue001")

_END: Final = re.compile(
    r"(?<![.!?…])[.!?…]+[\"'”’»›)\]*_]*(?=\s)"  # scripts with spaces
    r"|(?<![।॥؟۔])[।॥؟۔]+(?=\s)"
    r"|[。！？｡]+[」』”’)）】]*"  # scripts without
)


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What a full stop after does not end a sentence...
_TITLES: Final = _set(
    """
    mr mrs ms dr prof st mt sr sra mme mlle hr fr frl gen col capt rev hon gov sen rep vs cf
    eg ie viz approx bzw vgl ca evtl ggf inkl sog incl resp
    """
)
# ... and what it does not after if a number follows.
_BEFORE_NUMBERS: Final = _set(
    """
    no nos nr art fig figs eq eqs sec ch vol p pp abb kap s tab jan feb mar apr jun jul aug
    sep sept oct nov dec okt dez mai
    """
)


def sentences(text: str, *, markdown: bool = True) -> list[str]:
    """Give the sentences of a block's text, without markup other than code spans."""
    held: list[str] = []
    if markdown:
        text = _without_markup(text, held)
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if _ends(text, match):
            found.append(text[start : match.end()])
            start = match.end()
    found.append(text[start:])
    shown = (" ".join(_HELD.sub(lambda m: held[int(m[1])], one).split()) for one in found)
    return [
        one[at : at + _LONGEST_SENTENCE]
        for one in shown
        for at in range(0, len(one), _LONGEST_SENTENCE)
    ]


def _without_markup(text: str, held: list[str]) -> str:
    def hold(match: re.Match[str]) -> str:
        held.append(f"`{match[2].strip()}`" if match[2].strip() else "")
        return f"\ue000{len(held) - 1}\ue001"

    text = CODE_SPAN.sub(hold, _ROLE.sub("", text))
    text = _IMAGE.sub("", text)
    text = _LINK.sub(lambda link: link[1] or link[2] or "", text)
    text = _REFERENCE.sub("", text)
    text = _TAG.sub("", text)
    text = _STARS.sub(r"\2", text)
    text = _UNDERSCORES.sub(r"\2", text)
    return _ESCAPED.sub(r"\1", text)


def _ends(text: str, match: re.Match[str]) -> bool:
    """Whether this punctuation ends a sentence."""
    after = text[match.end() : match.end() + 8].lstrip()
    if after[:1].islower():
        return False
    if text[match.start() : match.end()] != ".":
        return True
    before = text[max(0, match.start() - 24) : match.start()]
    word = (before.split() or [""])[-1].lstrip("([{\"'“‘„«").casefold()
    if after[:1].isdigit() and word in _BEFORE_NUMBERS:
        return False
    initial = len(word) == 1 and word.isalpha() and word.isascii()
    dotted = "." in word and all(len(part) <= 2 and part.isalpha() for part in word.split("."))
    ordinal = len(word) <= 2 and word.isdigit()
    return not (initial or dotted or ordinal or word in _TITLES)

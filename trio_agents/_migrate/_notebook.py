"""Notebooks: JSON that holds Python in pieces.

Only the cells' code may change. So a notebook is written only if dumping what was parsed gives the
very bytes that were read, for one of the styles that its writers use; then the edits are the only
difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from . import _advice as advice
from ._files import Unusable, lines_of
from ._findings import Finding, shortened
from ._rewrite import DEFAULTS, Fragment, Options, Rewriting, rewrite
from ._target import Target

__all__ = ["rewrite_notebook"]

MENTION: Final = re.compile(r"autogen[_-](?:core|agentchat|ext)")
#: What IPython takes for its own: in Python, no line begins so.
MAGIC: Final = re.compile(r"^([ \t]*)[%!?]", re.MULTILINE)
#: Cell magics whose cell is Python nevertheless. Any other is for another language, or for a file.
PYTHON_CELLS: Final = {"capture", "prun", "time", "timeit"}


def rewrite_notebook(text: str, target: Target, options: Options = DEFAULTS) -> Rewriting:
    """Do to the code cells of a notebook what `rewrite` does to a file.

    Raises:
        Unusable: it is not a notebook that we know, or could not be changed without changing more.
    """
    notebook = _parsed(text)
    if _language(notebook) not in (None, "python"):
        return Rewriting((text,), ())
    fragments: list[Fragment] = []
    cells: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for number, cell in _code_cells(notebook):
        source = _source(cell)
        try:
            fragment = _fragment(source, number)
        except Unusable:
            if MENTION.search(source):
                findings.append(_at_mention(source, number, advice.NO_PYTHON))
            continue
        if fragment is not None:
            fragments.append(fragment)
            cells.append(cell)
        findings += _commands(source, number)
    result = rewrite(fragments, target, options)
    findings = sorted([*findings, *result.findings], key=_place)
    changed = [
        (cell, new)
        for cell, fragment, new in zip(cells, fragments, result.texts, strict=True)
        if new != fragment.text
    ]
    if changed:
        dump = _style(text, notebook)
        for cell, new in changed:
            # An edit adds no line and takes none away, so the pieces are split where they were.
            cell["source"] = new if isinstance(cell["source"], str) else new.splitlines(True)
        text = dump(notebook)
    return Rewriting((text,), tuple(findings))


def _place(finding: Finding) -> tuple[int, int]:
    return (finding.cell or 0, finding.line)


def _parsed(text: str) -> dict[str, Any]:
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Unusable(f"it is not JSON, as a notebook is: {exc}") from exc
    if not isinstance(notebook, dict):
        raise Unusable("it is not a notebook")
    notebook = cast("dict[str, Any]", notebook)
    if not isinstance(notebook.get("cells"), list):
        raise Unusable("it is not a notebook of format 4, which has a list of cells")
    return notebook


def _language(notebook: dict[str, Any]) -> str | None:
    """Say in which language the notebook is, if it does."""
    for path in (("language_info", "name"), ("kernelspec", "language")):
        found: object = notebook.get("metadata")
        for key in path:
            found = cast("dict[str, object]", found).get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            return found.lower()
    return None


def _code_cells(notebook: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, cell in enumerate(notebook["cells"], start=1):
        if isinstance(cell, dict):
            known = cast("dict[str, Any]", cell)
            if known.get("cell_type") == "code" and "source" in known:
                yield number, known


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    if isinstance(source, str):
        return source
    pieces = cast("list[object]", source) if isinstance(source, list) else [None]
    lines = [piece for piece in pieces if isinstance(piece, str)]
    text = "".join(lines)
    if lines != pieces or lines != text.splitlines(True):
        raise Unusable("it has a cell whose source is not a list of lines")
    return text


def _fragment(source: str, number: int) -> Fragment | None:
    """Parse a cell, what is IPython's in it turned into comments; None if it is not Python's."""
    if _is_foreign(source):
        return None
    try:
        return Fragment(source, cell=number)
    except Unusable:
        return Fragment(source, seen=MAGIC.sub(r"\1#", source), cell=number)


def _is_foreign(source: str) -> bool:
    """Whether a magic gives the whole cell to another language, or to a file."""
    first, *_ = source.split(maxsplit=1) or [""]
    return first.startswith("%%") and first[2:] not in PYTHON_CELLS


def _commands(source: str, number: int) -> Iterator[Finding]:
    whole = _is_foreign(source)
    for at, line in enumerate(lines_of(source), start=1):
        if MENTION.search(line) and (whole or MAGIC.match(line)):
            yield Finding(at, shortened(line), advice.SHELL, number)


def _at_mention(source: str, number: int, says: str) -> Finding:
    line, code = next(
        (at, line) for at, line in enumerate(lines_of(source), start=1) if MENTION.search(line)
    )
    return Finding(line, shortened(code), says, number)


def _style(text: str, notebook: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    """Find how to dump *notebook* so that *text* comes out."""
    tail = text[len(text.rstrip()) :]
    newline = "\r\n" if "\r\n" in text else "\n"
    for indent in (1, 2, 4, "\t", None, 0):
        for ascii_only in (False, True):

            def dump(
                notebook: dict[str, Any],
                indent: int | str | None = indent,
                ascii_only: bool = ascii_only,
            ) -> str:
                dumped = json.dumps(notebook, indent=indent, ensure_ascii=ascii_only)
                return dumped.replace("\n", newline) + tail

            if dump(notebook) == text:
                return dump
    raise Unusable(
        "its JSON is in a form that could not be kept. Save it with Jupyter, and run this again"
    )

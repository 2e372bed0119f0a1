"""Imports of ``autogen_core`` in Python code: which become ours, and which are for the user.

The unit is a program text in *fragments*: one for a file, one for each cell for a notebook. They
share their names, so what is decided about an import depends on all of them: on what the program
does with the name that it binds, and on who else imports what.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from . import _advice as advice
from ._files import Unusable, lines_of
from ._findings import Finding, shortened
from ._target import OURS, THEIRS, Target

__all__ = ["Fragment", "Rewriting", "rewrite"]

WORD: Final = re.compile(rf"(?<![\w.]){THEIRS}(?!\w)")
IMPORT: Final = re.compile(rf"^\s*(?:>>> |\.\.\. )?\s*(?:from|import)\s+{THEIRS}\b", re.MULTILINE)
#: Between "from" and the module only blanks may stand, and line ends after a backslash.
FROM: Final = re.compile(rf"from[\s\\]+(?={THEIRS}(?!\w))")
PATH: Final = re.compile(rf"{THEIRS}(?:\.\w+)+")
REQUIREMENT: Final = re.compile(r"autogen-(core|agentchat|ext)\s*(?:\[[^]]*\])?\s*(?:[<>=!~;@].*)?")

FAILURES: Final = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
LOADERS: Final = {"__import__", "find_spec", "import_module", "importorskip", "resolve_name"}
SETTERS: Final = {"setattr", "delattr"}
BESIDE: Final = {"autogen_agentchat": advice.AGENTCHAT, "autogen_ext": advice.EXTENSIONS}


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What became of a program text: its fragments as they are to be, and what stays as it is."""

    texts: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """The word ``autogen_core`` at *start*, and what is to stand there."""

    start: int
    new: str


class Fragment:
    """A text that was parsed, with the ways from a node to its parent and to its place.

    *seen* is what is parsed instead of *text*, if parts of that are no Python; it has the same
    number of characters in each line.

    Raises:
        Unusable: it is not Python.
    """

    def __init__(self, text: str, *, seen: str | None = None, cell: int | None = None) -> None:
        self.text = text
        self.cell = cell
        self.lines = lines_of(text if seen is None else seen)
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line))
        self.tree = parse("".join(f"{line.rstrip(chr(13) + chr(10))}\n" for line in self.lines))
        self.parents: dict[ast.AST, ast.AST] = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }

    def offset(self, node: ast.stmt | ast.alias) -> int:
        """Say where in the text *node* begins. The parser counts columns in bytes of UTF-8."""
        before = self.lines[node.lineno - 1].encode()[: node.col_offset]
        return self._starts[node.lineno - 1] + len(before.decode())

    def ancestors(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Give each node around *node*, with its child on the way there, from the inside out."""
        while (parent := self.parents.get(node)) is not None:
            yield parent, node
            node = parent

    def finding(self, line: int, code: str | None, says: str) -> Finding:
        """Make a finding of a line here; its code is that line if none is given."""
        if code is None:
            code = lines_of(self.text)[line - 1]
        return Finding(line, shortened(code), says, self.cell)


def parse(source: str) -> ast.Module:
    """Parse *source*.

    Raises:
        Unusable: it is not Python of the version that runs.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape in their string is not our business
            return ast.parse(source)
    except SyntaxError as exc:
        where = f"line {exc.lineno}: " if exc.lineno else ""
        raise Unusable(f"it is not valid Python: {where}{exc.msg}") from exc
    except ValueError as exc:
        raise Unusable(f"it is not valid Python: {exc}") from exc
    except (RecursionError, MemoryError) as exc:
        raise Unusable("it is nested too deeply to be parsed") from exc


def rewrite(fragments: Sequence[Fragment], target: Target, *, mixed: bool = False) -> Rewriting:
    """Replace the imports of ``autogen_core`` in *fragments* by ours, as far as that is certain.

    With *mixed*, also where AgentChat or AutoGen's extensions are imported.
    """
    survey = _Survey(fragments, target, mixed=mixed)
    texts: list[str] = []
    findings: list[Finding] = []
    stay: list[Finding] = []
    becomes_ours = survey.has_ours
    for fragment in fragments:
        edits, undecided = survey.decide(fragment)
        becomes_ours |= bool(edits)
        stay += undecided
        others = [*survey.companions(fragment), *_strings(fragment)]
        findings += sorted([*undecided, *others], key=lambda finding: finding.line)
        texts.append(_edited(fragment.text, edits))
    if becomes_ours and stay:
        lines = ", ".join(dict.fromkeys(_where(finding) for finding in stay))
        first = stay[0]
        code = f"still imports {THEIRS} ({lines})"
        findings.append(Finding(first.line, code, advice.MIXED, first.cell))
    return Rewriting(tuple(texts), tuple(findings))


def _where(finding: Finding) -> str:
    cell = "" if finding.cell is None else f"cell {finding.cell}, "
    return f"{cell}line {finding.line}"


def _edited(text: str, edits: Sequence[Edit]) -> str:
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        end = edit.start + len(THEIRS)
        assert text[edit.start : end] == THEIRS
        text = text[: edit.start] + edit.new + text[end:]
    return text


class _Survey:
    """What the imports of a program are, together; then each can be judged."""

    def __init__(self, fragments: Sequence[Fragment], target: Target, *, mixed: bool) -> None:
        self.target = target
        self.has_ours = False
        self._has_companions = False
        self._whole_package: str | None = None  # the first `import autogen_core.x` without alias
        bound: dict[str, str] = {}  # names, and which of their modules they stand for
        for fragment in fragments:
            for node in ast.walk(fragment.tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        self._note_import(alias, bound)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    self._note_from(node, bound)
        self._keep_all = self._has_companions and not mixed
        # What a program uses of a module through the name it bound, and cannot have from ours.
        self._lacking: dict[str, list[str]] = defaultdict(list)
        for fragment in fragments:
            for node in ast.walk(fragment.tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    self._note_use(node.value.id, node.attr, bound)

    def _note_import(self, alias: ast.alias, bound: dict[str, str]) -> None:
        root, _, module = alias.name.partition(".")
        self._note_module(alias.name)
        if root == THEIRS and alias.asname:
            bound[alias.asname] = module
        elif root == THEIRS:
            bound[THEIRS] = ""
            if module and self._whole_package is None:
                self._whole_package = f"`import {alias.name}`"

    def _note_from(self, node: ast.ImportFrom, bound: dict[str, str]) -> None:
        root, _, module = (node.module or "").partition(".")
        for alias in node.names:
            self._note_module(f"{node.module}.{alias.name}")
            inner = f"{module}.{alias.name}" if module else alias.name
            if root == THEIRS and self._is_module(inner):
                bound[alias.asname or alias.name] = inner
        self._note_module(node.module or "")

    def _note_module(self, module: str) -> None:
        self._has_companions |= module.partition(".")[0] in BESIDE
        self.has_ours |= module == OURS or module.startswith(f"{OURS}.")

    def _note_use(self, name: str, attribute: str, bound: dict[str, str]) -> None:
        if name not in bound:
            return
        module = bound[name]
        inner = f"{module}.{attribute}" if module else attribute
        # A module inside a module is there only if somebody has imported it.
        there = self.target.has_name(module, attribute) and not self._is_module(inner)
        if not there and (use := f"{name}.{attribute}") not in self._lacking[name]:
            self._lacking[name].append(use)

    def _is_module(self, module: str) -> bool:
        return not _is_private(module) and self.target.has_module(module)

    def decide(self, fragment: Fragment) -> tuple[list[Edit], list[Finding]]:
        """Say which words of *fragment* are replaced, and which imports stay."""
        edits: list[Edit] = []
        stay: list[Finding] = []
        for node in ast.walk(fragment.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.partition(".")[0] != THEIRS:
                        continue
                    start = fragment.offset(alias)
                    plain = fragment.text.startswith(THEIRS, start)
                    says = self._objection(fragment, node, alias)
                    if says is not None or not plain:
                        code = f"import {ast.unparse(alias)}"
                        stay.append(fragment.finding(alias.lineno, code, says or advice.UNUSUAL))
                    else:
                        name = "" if alias.asname else f" as {THEIRS}"
                        edits.append(Edit(start, OURS + name))
            elif isinstance(node, ast.ImportFrom) and not node.level:
                if (node.module or "").partition(".")[0] != THEIRS:
                    continue
                found = FROM.match(fragment.text, fragment.offset(node))
                says = self._objection_from(fragment, node)
                if says is not None or found is None:
                    code = ast.unparse(node)
                    stay.append(fragment.finding(node.lineno, code, says or advice.UNUSUAL))
                else:
                    edits.append(Edit(found.end(), OURS))
        return edits, sorted(stay, key=lambda finding: finding.line)

    def _objection(self, fragment: Fragment, node: ast.Import, alias: ast.alias) -> str | None:
        """Say why *alias* of ``import`` cannot be replaced; None if it can."""
        module = alias.name.partition(".")[2]
        if says := self._objection_to_module(fragment, node, module, ()):
            return says
        if not alias.asname and module:
            return advice.without_alias(f"{OURS}.{module}")
        if not alias.asname and self._whole_package is not None:
            return advice.bound_twice(self._whole_package)
        return self._objection_to_uses(alias.asname or THEIRS, module)

    def _objection_from(self, fragment: Fragment, node: ast.ImportFrom) -> str | None:
        """Say why the ``from`` import *node* cannot be replaced; None if it can."""
        module = (node.module or "").partition(".")[2]
        names = [alias.name for alias in node.names]
        if says := self._objection_to_module(fragment, node, module, names):
            return says
        if names == ["*"]:
            return advice.STAR
        full = f"{OURS}.{module}" if module else OURS
        if missing := [name for name in names if not self._has_name(module, name)]:
            return advice.no_names(full, missing)
        for alias in node.names:
            inner = f"{module}.{alias.name}" if module else alias.name
            if self._is_module(inner) and (
                says := self._objection_to_uses(alias.asname or alias.name, inner)
            ):
                return says
        return None

    def _objection_to_module(
        self, fragment: Fragment, node: ast.stmt, module: str, names: Sequence[str]
    ) -> str | None:
        if self._keep_all:
            return advice.BESIDE
        if _is_private(module) or (names and all(map(_is_private, names))):
            return advice.private(name for name in names if self._has_name("", name))
        if not self.target.has_module(module):
            return advice.no_module(module) if module else advice.no_package()
        return advice.GUARDED if _is_guarded(fragment, node) else None

    def _objection_to_uses(self, name: str, module: str) -> str | None:
        if not (uses := self._lacking.get(name)):
            return None
        return advice.no_attributes(f"{OURS}.{module}" if module else OURS, name, uses)

    def _has_name(self, module: str, name: str) -> bool:
        return not _is_private(name) and self.target.has_name(module, name)

    def companions(self, fragment: Fragment) -> Iterator[Finding]:
        """Give the imports of AgentChat and of AutoGen's extensions."""
        for node in ast.walk(fragment.tree):
            roots: list[tuple[int, str, str]] = []
            if isinstance(node, ast.Import):
                roots = [
                    (alias.lineno, alias.name, f"import {ast.unparse(alias)}")
                    for alias in node.names
                ]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                roots = [(node.lineno, node.module or "", ast.unparse(node))]
            for line, module, code in roots:
                if says := BESIDE.get(module.partition(".")[0]):
                    yield fragment.finding(line, code, says)


def _is_private(module: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in module.split("."))


def _is_guarded(fragment: Fragment, node: ast.stmt) -> bool:
    """Whether a failure of the import *node* is expected, or *node* is what happens after one."""
    for parent, child in fragment.ancestors(node):
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
            return False  # what is around a function is not around its calls
        if isinstance(parent, ast.Try | ast.TryStar):
            tried = any(child is each for each in [*parent.body, *parent.handlers])
            if tried and any(_catches_failures(each.type) for each in parent.handlers):
                return True
        if isinstance(parent, ast.With):
            for item in parent.items:
                call = item.context_expr
                if isinstance(call, ast.Call) and _last_name(call.func) == "suppress":
                    return any(map(_catches_failures, call.args))
    return False


def _catches_failures(type: ast.expr | None) -> bool:
    if type is None:
        return True
    types = type.elts if isinstance(type, ast.Tuple) else [type]
    return any(_last_name(each) in FAILURES for each in types)


def _last_name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _strings(fragment: Fragment) -> Iterator[Finding]:
    """Give the strings of *fragment* that name ``autogen_core``, or its distribution."""
    seen: set[tuple[int, str]] = set()
    for node in ast.walk(fragment.tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        says = _says_of_string(fragment, node, node.value)
        line = node.lineno
        if found := WORD.search(node.value):  # in a long string, the line that names it
            line += node.value.count("\n", 0, found.start())
            line = min(line, node.end_lineno or line)
        if says is not None and (line, says) not in seen:
            seen.add((line, says))
            yield fragment.finding(line, None, says)


def _says_of_string(fragment: Fragment, node: ast.Constant, value: str) -> str | None:
    if requirement := REQUIREMENT.fullmatch(value.strip()):
        is_core = requirement[1] == "core"
        return advice.CORE_DEPENDENCY if is_core else advice.OTHER_DEPENDENCY
    if not WORD.search(value):
        return None
    parents = [parent for parent, _ in fragment.ancestors(node)]
    if _is_docstring(parents, node):
        return advice.EXAMPLE if IMPORT.search(value) else None
    if isinstance(parents[0], ast.JoinedStr):
        parents = parents[1:]
    return _says_by_use(parents[0], node, value)


def _says_by_use(parent: ast.AST, node: ast.Constant, value: str) -> str:
    if isinstance(parent, ast.Call):
        called = _last_name(parent.func)
        dotted = ast.unparse(parent.func).split(".")
        if called in LOADERS:
            return advice.DYNAMIC
        if called in SETTERS or "patch" in dotted:
            return advice.PATCH
        if called == "getLogger":
            return advice.LOGGER
    is_provider = (isinstance(parent, ast.keyword) and parent.arg == "provider") or (
        isinstance(parent, ast.Dict)
        and any(
            isinstance(key, ast.Constant) and key.value == "provider" and each is node
            for key, each in zip(parent.keys, parent.values, strict=True)
        )
    )
    if isinstance(parent, ast.Assign | ast.AnnAssign):
        targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
        is_provider = any("provider" in (_last_name(each) or "") for each in targets)
    if is_provider and PATH.fullmatch(value):
        return advice.PROVIDER
    return advice.STRING


def _is_docstring(parents: Sequence[ast.AST], node: ast.Constant) -> bool:
    if len(parents) < 2 or not isinstance(parents[0], ast.Expr):
        return False
    around = parents[1]
    return (
        isinstance(around, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and around.body[0] is parents[0]
    )

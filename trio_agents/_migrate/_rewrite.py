"""Imports of AutoGen Core and its extensions in Python code: which become ours, which do not.

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
from ._target import EXTENSIONS, OURS, PACKAGE, THEIRS, Target, counterpart, root_for

__all__ = ["DEFAULTS", "Fragment", "Options", "Rewriting", "rewrite"]

ROOTS: Final = (THEIRS, EXTENSIONS)
ANY: Final = "|".join(ROOTS)
WORD: Final = re.compile(rf"(?<![\w.])(?:{ANY})(?!\w)")
IMPORT: Final = re.compile(rf"^\s*(?:>>> |\.\.\. )?\s*(?:from|import)\s+(?:{ANY})\b", re.MULTILINE)
#: Between "from" and the module only blanks may stand, and line ends after a backslash.
FROM: Final = re.compile(rf"from[\s\\]+(?=(?:{ANY})(?!\w))")
PATH: Final = re.compile(rf"(?:{ANY})(?:\.\w+)+")
#: Their package or a module of it, in full and alone.
MODULE: Final = re.compile(rf"(?:{ANY})(?:\.[^\W\d]\w*)*")
REQUIREMENT: Final = re.compile(r"autogen-(core|agentchat|ext)\s*(?:\[[^]]*\])?\s*(?:[<>=!~;@].*)?")

FAILURES: Final = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
LOADERS: Final = {"__import__", "find_spec", "import_module", "importorskip", "resolve_name"}
SETTERS: Final = {"setattr", "delattr"}
AGENTCHAT: Final = "autogen_agentchat"
#: What of ours holds types that must not meet theirs. The runtime for AgentChat takes theirs.
APART: Final = re.compile(rf"{PACKAGE}(?!\.interop\b|\.testing\b|\w)")


@dataclass(frozen=True, slots=True)
class Options:
    """How careful to be.

    Attributes:
        mixed: Imports are replaced also where AgentChat, or an extension that is not here, is
            imported.
        is_beside_agentchat: Other programs of the same tree import AgentChat, and may hand it what
            this one makes.
    """

    mixed: bool = False
    is_beside_agentchat: bool = False


DEFAULTS: Final = Options()


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What became of a program text: its fragments as they are to be, and what stays as it is."""

    texts: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """The word *old* at *start*, and what is to stand there."""

    start: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Judged:
    """An import by itself: how it is replaced, or what is against that."""

    line: int
    code: str
    becomes: Edit | str


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


def rewrite(
    fragments: Sequence[Fragment], target: Target, options: Options = DEFAULTS
) -> Rewriting:
    """Replace the imports of AutoGen's in *fragments* by ours, as far as that is certain."""
    survey = _Survey(fragments, target, options)
    texts: list[str] = []
    findings: list[Finding] = []
    stay: list[Finding] = []
    becomes_ours = survey.has_ours
    for fragment in fragments:
        edits, undecided = survey.decide(fragment)
        becomes_ours |= bool(edits)
        stay += undecided
        others = [*survey.companions(fragment), *_strings(fragment, target)]
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
        end = edit.start + len(edit.old)
        assert text[edit.start : end] == edit.old
        text = text[: edit.start] + edit.new + text[end:]
    return text


class _Survey:
    """What the imports of a program are, together; then each can be judged."""

    def __init__(self, fragments: Sequence[Fragment], target: Target, options: Options) -> None:
        self.target = target
        self.has_ours = False
        self._has_agentchat = False
        self._whole: dict[str, str] = {}  # of each root, the first `import root.x` without alias
        bound: dict[str, str] = {}  # names, and which of their modules they stand for
        for fragment in fragments:
            for node in ast.walk(fragment.tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        self._note_import(alias, bound)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    self._note_from(node, bound)
        # What a program uses of a module through the name it bound, and cannot have from ours.
        self._lacking: dict[str, list[str]] = defaultdict(list)
        for fragment in fragments:
            for node in ast.walk(fragment.tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    self._note_use(node.value.id, node.attr, bound)
        judged = [each for one in fragments for each in self._judged(one, EXTENSIONS)]
        stays = self._has_agentchat or any(isinstance(each.becomes, str) for each in judged)
        self._is_for_others = bool(judged) and options.is_beside_agentchat and not stays
        self._keep_all = not options.mixed and (stays or self._is_for_others)

    def _note_import(self, alias: ast.alias, bound: dict[str, str]) -> None:
        root, _, module = alias.name.partition(".")
        self._note_module(alias.name)
        if root in ROOTS and alias.asname:
            bound[alias.asname] = alias.name
        elif root in ROOTS:
            bound[root] = root
            if module:
                self._whole.setdefault(root, f"`import {alias.name}`")

    def _note_from(self, node: ast.ImportFrom, bound: dict[str, str]) -> None:
        module = node.module or ""
        for alias in node.names:
            inner = f"{module}.{alias.name}"
            self._note_module(inner)
            if _root(module) in ROOTS and self._is_module(inner):
                bound[alias.asname or alias.name] = inner

    def _note_module(self, module: str) -> None:
        self._has_agentchat |= _root(module) == AGENTCHAT
        self.has_ours |= APART.match(module) is not None

    def _note_use(self, name: str, attribute: str, bound: dict[str, str]) -> None:
        if name not in bound:
            return
        module = bound[name]
        # A module inside a module is there only if somebody has imported it.
        there = self.target.has_name(counterpart(module), attribute) and not self._is_module(
            f"{module}.{attribute}"
        )
        if not there and (use := f"{name}.{attribute}") not in self._lacking[name]:
            self._lacking[name].append(use)

    def _is_module(self, module: str) -> bool:
        return not _is_private(module) and self.target.has_module(counterpart(module))

    def decide(self, fragment: Fragment) -> tuple[list[Edit], list[Finding]]:
        """Say which words of *fragment* are replaced, and which imports of the core stay."""
        edits: list[Edit] = []
        stay: list[Finding] = []
        for each in self._judged(fragment, THEIRS):
            # The core stays because of its companions, whatever else is the matter with it.
            becomes = advice.BESIDE if self._keep_all else each.becomes
            if isinstance(becomes, Edit):
                edits.append(becomes)
            else:
                stay.append(fragment.finding(each.line, each.code, becomes))
        if not self._keep_all:
            judged = self._judged(fragment, EXTENSIONS)
            edits += [each.becomes for each in judged if isinstance(each.becomes, Edit)]
        return edits, sorted(stay, key=lambda finding: finding.line)

    def companions(self, fragment: Fragment) -> Iterator[Finding]:
        """Give the imports of AgentChat, and of AutoGen's extensions as far as they stay."""
        for line, module, code in _imports(fragment):
            if _root(module) == AGENTCHAT:
                yield fragment.finding(line, code, advice.AGENTCHAT)
        for each in self._judged(fragment, EXTENSIONS):
            if isinstance(each.becomes, str):
                yield fragment.finding(each.line, each.code, each.becomes)
            elif self._keep_all:
                says = advice.ELSEWHERE if self._is_for_others else advice.BESIDE
                yield fragment.finding(each.line, each.code, says)

    def _judged(self, fragment: Fragment, root: str) -> Iterator[Judged]:
        """Judge each import below *root* by itself."""
        for node in ast.walk(fragment.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if _root(alias.name) == root:
                        becomes = self._judge(fragment, node, alias)
                        yield Judged(alias.lineno, f"import {ast.unparse(alias)}", becomes)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                if _root(node.module or "") != root:
                    continue
                yield Judged(node.lineno, ast.unparse(node), self._judge_from(fragment, node))

    def _judge(self, fragment: Fragment, node: ast.Import, alias: ast.alias) -> Edit | str:
        if says := self._objection(fragment, node, alias):
            return says
        root, start = _root(alias.name), fragment.offset(alias)
        if not fragment.text.startswith(root, start):
            return advice.UNUSUAL
        return Edit(start, root, root_for(alias.name) + ("" if alias.asname else f" as {root}"))

    def _judge_from(self, fragment: Fragment, node: ast.ImportFrom) -> Edit | str:
        if says := self._objection_from(fragment, node):
            return says
        if not (found := FROM.match(fragment.text, fragment.offset(node))):
            return advice.UNUSUAL
        return Edit(found.end(), _root(node.module or ""), _root_for_from(node))

    def _objection(self, fragment: Fragment, node: ast.Import, alias: ast.alias) -> str | None:
        """Say why *alias* of ``import`` cannot be replaced; None if it can."""
        root = _root(alias.name)
        if says := self._objection_to_module(fragment, node, alias.name, ()):
            return says
        if not alias.asname and alias.name != root:
            return advice.without_alias(alias.name)
        if not alias.asname and root in self._whole:
            return advice.bound_twice(self._whole[root], root)
        return self._objection_to_uses(alias.asname or root, alias.name)

    def _objection_from(self, fragment: Fragment, node: ast.ImportFrom) -> str | None:
        """Say why the ``from`` import *node* cannot be replaced; None if it can."""
        module = node.module or ""
        names = [alias.name for alias in node.names]
        if says := self._objection_to_module(fragment, node, module, names):
            return says
        if names == ["*"]:
            return advice.star(module)
        ours = _root_for_from(node) if module == _root(module) else counterpart(module)
        missing = [name for name in names if not self._has_name(ours, name)]
        inside = [f"{module}.{name}" for name in missing]
        if apart := [counterpart(each) for each in inside if self._is_module(each)]:
            return advice.modules_apart(ours, apart)
        if missing:
            return advice.no_names(ours, missing)
        for alias in node.names:
            inner = f"{module}.{alias.name}"
            if self._is_module(inner) and (
                says := self._objection_to_uses(alias.asname or alias.name, inner)
            ):
                return says
        return None

    def _objection_to_module(
        self, fragment: Fragment, node: ast.stmt, module: str, names: Sequence[str]
    ) -> str | None:
        root = _root(module)
        is_private = _is_private(module) or (names and all(map(_is_private, names)))
        if root == EXTENSIONS and (is_private or not self._is_module(module)):
            return advice.EXTENSIONS
        if is_private:
            return advice.private(name for name in names if self._has_name(OURS, name))
        if not self._is_module(module):
            return advice.no_module(module) if module != root else advice.no_package()
        return advice.guarded(root) if _is_guarded(fragment, node) else None

    def _objection_to_uses(self, name: str, module: str) -> str | None:
        if not (uses := self._lacking.get(name)):
            return None
        return advice.no_attributes(counterpart(module), name, uses)

    def _has_name(self, module: str, name: str) -> bool:
        return not _is_private(name) and self.target.has_name(module, name)


def _imports(fragment: Fragment) -> Iterator[tuple[int, str, str]]:
    """Give the line, the module and the code of each import."""
    for node in ast.walk(fragment.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.lineno, alias.name, f"import {ast.unparse(alias)}"
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or "", ast.unparse(node)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _root_for_from(node: ast.ImportFrom) -> str:
    """Say what the first word after ``from`` becomes."""
    module = node.module or ""
    # `from autogen_core import models` is about modules, and these are not all in one place.
    roots = {root_for(f"{module}.{alias.name}") for alias in node.names}
    return roots.pop() if module == THEIRS and len(roots) == 1 else root_for(module)


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


def _strings(fragment: Fragment, target: Target) -> Iterator[Finding]:
    """Give the strings of *fragment* that name a package of AutoGen's, or its distribution."""
    seen: set[tuple[int, str]] = set()
    for node in ast.walk(fragment.tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        says = _says_of_string(fragment, node, node.value, target)
        line = node.lineno
        if found := WORD.search(node.value):  # in a long string, the line that names it
            line += node.value.count("\n", 0, found.start())
            line = min(line, node.end_lineno or line)
        if says is not None and (line, says) not in seen:
            seen.add((line, says))
            yield fragment.finding(line, None, says)


def _says_of_string(
    fragment: Fragment, node: ast.Constant, value: str, target: Target
) -> str | None:
    if requirement := REQUIREMENT.fullmatch(value.strip()):
        return advice.DEPENDENCIES[requirement[1]]
    if not WORD.search(value):
        return None
    parents = [parent for parent, _ in fragment.ancestors(node)]
    if _is_docstring(parents, node):
        return advice.EXAMPLE if IMPORT.search(value) else None
    if isinstance(parents[0], ast.JoinedStr):
        parents = parents[1:]
    return _says_by_use(parents[0], node, value, _named(value, target))


def _named(value: str, target: Target) -> str | None:
    """Give the counterpart of the module, or of the name in one, that *value* is; None if none."""
    if not MODULE.fullmatch(value) or _is_private(value):
        return None
    ours = counterpart(value)
    module, _, name = ours.rpartition(".")
    return ours if target.has_module(ours) or target.has_name(module, name) else None


def _says_by_use(parent: ast.AST, node: ast.Constant, value: str, ours: str | None) -> str:
    if isinstance(parent, ast.Call):
        called = _last_name(parent.func)
        dotted = ast.unparse(parent.func).split(".")
        if called in LOADERS:
            return advice.dynamic(ours)
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
        return advice.provider(value, ours)
    return advice.string(ours)


def _is_docstring(parents: Sequence[ast.AST], node: ast.Constant) -> bool:
    if len(parents) < 2 or not isinstance(parents[0], ast.Expr):
        return False
    around = parents[1]
    return (
        isinstance(around, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and around.body[0] is parents[0]
    )

"""Imports point one way, and importing the package costs nothing that was not asked for."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parent.parent / "trio_agents"
EVENT_LOOPS: Final = {"anyio", "asyncio", "outcome", "sniffio", "trio"}

# Each layer with those it may import from, itself aside. A top-level module that is not listed is
# a facade or a program (the command line, a demo): it may import anything, and no layer imports it.
COMPONENTS: Final = frozenset(
    {"code_executor", "memory", "model_context", "models", "tool_agent", "tools"}
)
BELOW_COMPONENTS: Final = frozenset({"_sansio", "_agents", "_core", "_loops", "_components"})
LAYERS: Final[dict[str, frozenset[str]]] = {
    "_sansio": frozenset[str](),
    "_agents": frozenset({"_sansio"}),
    "_core": frozenset({"_sansio"}),
    "_loops": frozenset({"_sansio", "_agents", "_core"}),
    "_components": frozenset({"_sansio", "_agents", "_core", "_loops"}),
    **dict.fromkeys(COMPONENTS, BELOW_COMPONENTS | COMPONENTS),
    "ext": BELOW_COMPONENTS | COMPONENTS,
    "interop": BELOW_COMPONENTS,
    "testing": BELOW_COMPONENTS | COMPONENTS | {"ext"},
}
SHARED: Final = {"_version"}  # a value without imports, open to every layer

# Each is imported when it is first needed, or only by the command line.
ON_DEMAND: Final = {
    "asyncio",
    "autogen_core",
    "cattrs",
    "click",
    "google.protobuf",
    "opentelemetry.sdk",
    "pydantic",
    "rich",
}


def layer_of(path: Path) -> str:
    """Name the top-level module or package of ours that *path* belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def resolved(module: str | None, level: int, package: list[str]) -> str:
    """Return the absolute name in ``from <dots><module> import``, seen from *package*."""
    base = package[: len(package) - level + 1] if level else []
    return ".".join([*base, *(module.split(".") if module else [])])


def imports_of(path: Path, source: str) -> set[str]:
    """Return the absolute names that *source* imports, those for type checkers included.

    ``from package import name`` counts as ``package.name``: the name may be a module.
    """
    package = list(path.relative_to(PACKAGE.parent).parts[:-1])
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolved(node.module, node.level, package)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def breaches(path: Path, source: str) -> list[str]:
    """Return the imports of *source* that its layer does not allow."""
    layer = layer_of(path)
    allowed = LAYERS[layer] | {layer} | SHARED
    ours = [name.split(".") for name in imports_of(path, source)]
    return sorted(
        ".".join(parts)
        for parts in ours
        if parts[0] == "trio_agents" and (len(parts) < 2 or parts[1] not in allowed)
    )


LAYERED_FILES: Final = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE and layer_of(path) in LAYERS
)
SANSIO_FILES: Final = [path for path in LAYERED_FILES if layer_of(path) == "_sansio"]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", SANSIO_FILES, ids=name_of)
def test_sansio_imports_no_event_loop(path: Path) -> None:
    names = imports_of(path, path.read_text(encoding="utf-8"))
    assert {name for name in names if name.partition(".")[0] in EVENT_LOOPS} == set()


@pytest.mark.parametrize("path", LAYERED_FILES, ids=name_of)
def test_imports_point_to_lower_layers_and_never_to_a_facade(path: Path) -> None:
    assert breaches(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("_sansio/_x.py", "from ._errors import StateError", []),
        ("_core/_x.py", "from .._sansio._errors import StateError", []),
        ("_core/_x.py", "from .._agents import _routed", ["trio_agents._agents._routed"]),
        ("_agents/_x.py", "def f():\n    import trio_agents._core", ["trio_agents._core"]),
        ("_agents/_x.py", "import trio_agents", ["trio_agents"]),
        ("_agents/_x.py", "from .. import AgentId", ["trio_agents.AgentId"]),
        ("_loops/_x.py", "from ..asyncio import run", ["trio_agents.asyncio.run"]),
        ("tools/_x.py", "from ..models._types import M", []),
        ("_sansio/deep/_x.py", "from ..._core import a", ["trio_agents._core.a"]),
    ],
)
def test_a_breach_is_seen_however_it_is_written(file: str, source: str, found: list[str]) -> None:
    assert breaches(PACKAGE / file, source) == found


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(result.stdout))


# PKG-02
def test_importing_the_package_imports_nothing_on_demand() -> None:
    # What trio itself imports is not ours to avoid.
    imported = modules_after("from trio_agents import open_runtime")
    assert (imported - modules_after("import trio")) & ON_DEMAND == set()


@pytest.mark.parametrize("facade", ["trio_agents", "trio_agents.asyncio"])
def test_dir_shows_what_is_not_imported_yet(facade: str) -> None:
    code = f"import sys, {facade} as facade\nprint(set(facade.__all__) - set(dir(facade)))"
    code += "\nprint('pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\nFalse\n"


@pytest.mark.parametrize(
    "statement",
    ["from trio_agents import RoutedAgent, message_handler", "import trio_agents.models"],
)
def test_modules_of_messages_and_agents_import_no_event_loop(statement: str) -> None:
    assert modules_after(statement) & EVENT_LOOPS == set()


def test_the_runtime_on_asyncio_does_not_import_trio() -> None:
    assert "trio" not in modules_after("from trio_agents.asyncio import open_runtime")

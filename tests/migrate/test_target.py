"""What there is to be imported is found out by importing it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path
from typing import Final

import pytest

from trio_agents._migrate._target import BrokenTarget, InstalledTarget, counterpart, root_for


def full(package: str, module: str) -> str:
    return f"{package}.{module}" if module else package


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a package beside this test's other files, which no other test imports."""
    name = f"target_{abs(hash(tmp_path))}"
    files = {
        "__init__.py": "A = 1",
        "part/__init__.py": "",
        "part/deep.py": "B = 2",
        "plain.py": "C = 3",
        "needy.py": "import there_is_no_such_module",
        "wrong.py": f"from {name} import there_is_no_such_name",
    }
    for path, text in files.items():
        file = tmp_path / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    ("module", "there"),
    [("", True), ("part", True), ("part.deep", True), ("x", False), ("x.y", False), ("a", False)],
)  # fmt: skip
def test_modules_are_there_or_not(package: str, module: str, there: bool) -> None:
    assert InstalledTarget().has_module(full(package, module)) is there


@pytest.mark.parametrize(
    ("module", "name", "there"),
    [
        ("", "A", True),
        ("", "B", False),
        ("", "part", True),
        ("part", "deep", True),
        ("part.deep", "B", True),
        ("part.deep", "C", False),
        ("x", "A", False),
        ("plain", "x", False),
    ],
)
def test_names_are_attributes_or_modules(package: str, module: str, name: str, there: bool) -> None:
    assert InstalledTarget().has_name(full(package, module), name) is there


@pytest.mark.parametrize("module", ["needy", "wrong"])
def test_a_module_that_cannot_be_imported_is_an_error(package: str, module: str) -> None:
    with pytest.raises(BrokenTarget, match=rf"\.{module} cannot be imported: .*there_is_no_such"):
        InstalledTarget().has_module(full(package, module))


def test_a_package_that_is_not_there_has_nothing() -> None:
    target = InstalledTarget()
    assert not target.has_module("there_is_no_such_package.of_ours")
    assert not target.has_name("there_is_no_such_package.of_ours", "A")


def test_the_installed_one_has_what_programs_import() -> None:
    target = InstalledTarget()
    assert target.has_name("trio_agents.asyncio", "RoutedAgent")
    assert target.has_name("trio_agents.asyncio.exceptions", "CantHandleException")
    assert target.has_name("trio_agents.asyncio.logging", "MessageEvent")
    assert not target.has_name("trio_agents.asyncio", "NoSuchName")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("autogen_core", "trio_agents.asyncio"),
        ("autogen_core.exceptions", "trio_agents.asyncio.exceptions"),
        ("autogen_core.models", "trio_agents.models"),
        ("autogen_core.tools.deep", "trio_agents.tools.deep"),
        ("autogen_core.modelsx", "trio_agents.asyncio.modelsx"),
        ("autogen_ext", "trio_agents.ext"),
        ("autogen_ext.models.openai", "trio_agents.ext.models.openai"),
    ],
)
def test_a_module_of_theirs_has_a_place_here(theirs: str, ours: str) -> None:
    assert counterpart(theirs) == ours
    assert ours.startswith(root_for(theirs))


#: The modules of AutoGen whose imports the command moves, and names that these have and we do not.
MOVED: Final[dict[str, set[str]]] = {
    "autogen_core": set(),
    "autogen_core.exceptions": set(),
    "autogen_core.logging": set(),
    "autogen_core.code_executor": set(),
    "autogen_core.memory": set(),
    "autogen_core.model_context": set(),
    "autogen_core.models": set(),
    "autogen_core.tool_agent": set(),
    "autogen_core.tools": set(),
    "autogen_ext.auth.azure": set(),
    "autogen_ext.cache_store.diskcache": set(),
    "autogen_ext.cache_store.redis": set(),
    "autogen_ext.code_executors.docker": set(),
    "autogen_ext.code_executors.jupyter": set(),
    "autogen_ext.code_executors.local": set(),
    "autogen_ext.models.anthropic": {
        "AnthropicBedrockChatCompletionClient",
        "AnthropicBedrockClientConfiguration",
        "AnthropicBedrockClientConfigurationConfigModel",
        "BaseAnthropicChatCompletionClient",
        "BedrockInfo",
    },
    "autogen_ext.models.cache": set(),
    "autogen_ext.models.ollama": {"CreateArgumentsConfigModel"},
    "autogen_ext.models.openai": {"AZURE_OPENAI_USER_AGENT", "_message_transform"},
    "autogen_ext.models.replay": set(),
    "autogen_ext.tools.code_execution": set(),
    "autogen_ext.tools.http": set(),
    "autogen_ext.tools.langchain": set(),
    "autogen_ext.tools.mcp": {"McpSessionActor"},
}


def names_of(module: str) -> set[str]:
    """Read the ``__all__`` of a module of theirs; its classes, if it has none.

    Importing it takes the SDK that it works with, which need not be installed.
    """
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    classes: set[str] = set()
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return set(ast.literal_eval(value))
            case ast.ClassDef(name=name) if not name.startswith("_"):
                classes.add(name)
            case _:
                pass
    return classes


@pytest.mark.parametrize("module", MOVED)
def test_what_is_moved_has_the_names_that_autogen_exports(module: str) -> None:
    pytest.importorskip(module.partition(".")[0])
    names = names_of(module)
    assert names
    ours = counterpart(module)
    target = InstalledTarget()
    assert {name for name in names if not target.has_name(ours, name)} == MOVED[module]


@pytest.mark.parametrize(
    "module", ["", ".auth", ".models", ".tools", ".code_executors", ".cache_store"]
)
def test_no_extension_that_is_here_is_forgotten(module: str) -> None:
    spec = importlib.util.find_spec(f"trio_agents.ext{module}")
    assert spec is not None
    for folder in spec.submodule_search_locations or []:
        for path in Path(folder).glob("[!_]*.py"):
            assert f"autogen_ext{module}.{path.stem}" in MOVED


def test_what_both_loops_share_is_one_class() -> None:
    """The agents that are imported from one place take what is imported from the other."""
    loop, both = (importlib.import_module(name) for name in ("trio_agents.asyncio", "trio_agents"))
    different = {name for name in loop.__all__ if getattr(loop, name) is not getattr(both, name, 0)}
    assert different == {"SingleThreadedAgentRuntime", "open_runtime"}

"""The table of our own components is what there is, and what AutoGen calls them."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import trio_agents
from trio_agents import ComponentBase, ComponentLoader, is_component_class
from trio_agents._components._policy import ComponentPolicy
from trio_agents._components._providers import (
    ALIASES,
    NOT_HERE,
    OWN_PROVIDERS,
    provider_of,
)
from trio_agents._components._resolve import resolve
from trio_agents.exceptions import ComponentError, ComponentNotAllowed

# Base classes that carry a configuration for those that users derive from them.
NO_ROWS: frozenset[str] = frozenset()


def class_of(provider: str) -> Any:
    return resolve(provider, ComponentPolicy(), ComponentBase)


# CMP-08 CMP-14
@pytest.mark.parametrize("provider", sorted(OWN_PROVIDERS))
def test_a_field_that_is_not_there_is_a_mistake_in_writing(provider: str) -> None:
    with pytest.raises(ComponentError, match="misspelt"):
        ComponentLoader.load_component(
            {"provider": provider, "config": {"misspelt": 1}}, policy=ComponentPolicy(code=True)
        )


@pytest.mark.parametrize("provider", sorted(OWN_PROVIDERS))
def test_a_row_is_the_component_that_dumps_itself_so(provider: str) -> None:
    cls = class_of(provider)
    assert is_component_class(cls)
    assert provider_of(cls) == provider


@pytest.mark.parametrize("provider", sorted(OWN_PROVIDERS))
def test_a_component_is_where_its_name_says(provider: str) -> None:
    cls = class_of(provider)
    module, _, name = provider.rpartition(".")
    assert (cls.__module__, cls.__qualname__) == (module, name)
    assert name in importlib.import_module(module).__all__


def public_modules() -> list[str]:
    return [
        found.name
        for found in pkgutil.walk_packages(
            trio_agents.__path__, "trio_agents.", onerror=lambda name: None
        )
        if not any(part.startswith("_") for part in found.name.split("."))
        and found.name.split(".")[1] in {
            "code_executor", "ext", "memory", "model_context", "models", "tools", "tool_agent"
        }
    ]  # fmt: skip


def test_every_component_of_ours_has_a_row() -> None:
    found = {"trio_agents.InMemoryStore"}
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if is_component_class(value) and not getattr(value, "__abstractmethods__", None):
                found.add(provider_of(value))
    assert found - NO_ROWS == OWN_PROVIDERS


def test_importing_a_row_imports_no_library_of_an_extra() -> None:
    program = f"""
        import importlib, sys
        for provider in {sorted(OWN_PROVIDERS)!r}:
            importlib.import_module(provider.rpartition(".")[0])
        sdks = {{"anthropic", "diskcache", "docker", "mcp", "nbclient", "ollama", "openai",
                "PIL", "redis", "tiktoken", "autogen_core"}}
        assert not sdks & sys.modules.keys(), sdks & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


# CMP-18
def test_every_alias_leads_to_a_row_and_none_is_one() -> None:
    assert set(ALIASES.values()) <= OWN_PROVIDERS
    assert not ALIASES.keys() & OWN_PROVIDERS


# CMP-18
def test_the_short_names_are_autogens() -> None:
    theirs = pytest.importorskip("autogen_core._component_config").WELL_KNOWN_PROVIDERS
    ours = {alias: provider for alias, provider in ALIASES.items() if "." not in alias}
    assert ours == {alias: ALIASES[provider] for alias, provider in theirs.items()}


# AutoGen's adapter of LangChain's tools cannot be dumped.
AUTOGENS = sorted(OWN_PROVIDERS - {"trio_agents.ext.tools.langchain.LangChainToolAdapter"})


def autogens(provider: str) -> Any:
    (alias,) = (
        alias for alias, own in ALIASES.items() if own == provider and alias.startswith("autogen_")
    )
    module, _, name = alias.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        pytest.skip(f"AutoGen's {name} cannot be imported here: {error}")


# CMP-06 CMP-08 CMP-26
@pytest.mark.parametrize("provider", AUTOGENS)
def test_autogen_has_it_under_the_alias_as_a_component_of_the_same_type(provider: str) -> None:
    pytest.importorskip("autogen_ext")
    theirs, ours = autogens(provider), class_of(provider)
    assert theirs.component_provider_override in ALIASES
    assert ours.component_type == theirs.component_type
    assert ours.component_version >= theirs.component_version


# CMP-05
@pytest.mark.parametrize("provider", AUTOGENS)
def test_autogens_configurations_fit_our_schema(provider: str) -> None:
    pytest.importorskip("autogen_ext")
    theirs, ours = (
        cls.component_config_schema.model_fields for cls in (autogens(provider), class_of(provider))
    )
    assert theirs.keys() <= ours.keys()
    required = {name for name, field in ours.items() if field.is_required()}
    assert required <= {name for name, field in theirs.items() if field.is_required()}


# MC-20
def test_the_client_for_azure_ai_is_refused_and_the_one_to_use_is_named() -> None:
    provider = "autogen_ext.models.azure.AzureAIChatCompletionClient"
    with pytest.raises(ComponentNotAllowed, match="OpenAIChatCompletionClient with base_url"):
        ComponentLoader.load_component({"provider": provider, "config": {"model": "x"}})


# MC-23
def test_the_adapter_for_semantic_kernel_is_refused_and_the_way_is_named() -> None:
    provider = "autogen_ext.models.semantic_kernel.SKChatCompletionAdapter"
    with pytest.raises(ComponentNotAllowed, match="client of the provider"):
        ComponentLoader.load_component({"provider": provider, "config": {}})


@pytest.mark.parametrize(
    "name",
    [
        "autogen_agentchat.agents.AssistantAgent",
        "autogen_agentchat.teams.RoundRobinGroupChat",
        "autogen_agentchat.conditions.MaxMessageTermination",
        "autogen_ext.agents.web_surfer.MultimodalWebSurfer",
    ],
)
def test_what_belongs_to_agentchat_is_refused_and_its_runtime_is_named(name: str) -> None:
    with pytest.raises(ComponentNotAllowed, match="load it with AutoGen, and run it on the Auto"):
        ComponentLoader.load_component({"provider": name, "config": {}})


# TL-29
@pytest.mark.parametrize("name", ["LocalSearchTool", "GlobalSearchTool"])
def test_the_tools_of_graphrag_are_refused_and_a_function_is_named(name: str) -> None:
    with pytest.raises(ComponentNotAllowed, match="FunctionTool around a function"):
        ComponentLoader.load_component(
            {"provider": f"autogen_ext.tools.graphrag.{name}", "config": {}}
        )


def test_what_is_not_here_is_autogens_and_may_be_the_applications_own() -> None:
    assert not NOT_HERE.keys() & (OWN_PROVIDERS | ALIASES.keys())
    assert {provider.partition(".")[0] for provider in NOT_HERE} == {"autogen_ext"}

    class Ours(trio_agents.InMemoryStore[Any]):
        component_provider_override = "autogen_ext.memory.mem0.Mem0Memory"

    description = {"provider": Ours.component_provider_override, "config": {}}
    policy = ComponentPolicy(classes=[Ours])
    assert isinstance(ComponentLoader.load_component(description, policy=policy), Ours)

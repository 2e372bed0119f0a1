"""Every public name exists, explains itself, and says where users import it from."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parent.parent / "trio_agents"

# What a program written for AutoGen Core imports, module by module.
PORTED: Final = {
    "trio_agents": [
        "Agent",
        "AgentId",
        "AgentInstantiationContext",
        "AgentMetadata",
        "AgentProxy",
        "AgentRuntime",
        "AgentType",
        "BaseAgent",
        "CacheStore",
        "CancellationToken",
        "ClosureAgent",
        "ClosureContext",
        "Component",
        "ComponentBase",
        "ComponentFromConfig",
        "ComponentLoader",
        "ComponentModel",
        "ComponentSchemaType",
        "ComponentToConfig",
        "ComponentType",
        "DefaultInterventionHandler",
        "DefaultSubscription",
        "DefaultTopicId",
        "DropMessage",
        "EVENT_LOGGER_NAME",
        "FunctionCall",
        "Image",
        "InMemoryStore",
        "InterventionHandler",
        "JSON_DATA_CONTENT_TYPE",
        "MessageContext",
        "MessageHandlerContext",
        "MessageSerializer",
        "PROTOBUF_DATA_CONTENT_TYPE",
        "ROOT_LOGGER_NAME",
        "RoutedAgent",
        "SingleThreadedAgentRuntime",
        "Subscription",
        "SubscriptionInstantiationContext",
        "TRACE_LOGGER_NAME",
        "TopicId",
        "TypePrefixSubscription",
        "TypeSubscription",
        "UnknownPayload",
        "default_subscription",
        "event",
        "is_component_class",
        "is_component_instance",
        "message_handler",
        "rpc",
        "trace_create_agent_span",
        "trace_invoke_agent_span",
        "trace_tool_span",
        "try_get_known_serializers_for_type",
        "type_subscription",
    ],
    "trio_agents.exceptions": [
        "CantHandleException",
        "MessageDroppedException",
        "NotAccessibleError",
        "UndeliverableException",
    ],
    "trio_agents.logging": [
        "AgentConstructionExceptionEvent",
        "DeliveryStage",
        "LLMCallEvent",
        "LLMStreamEndEvent",
        "LLMStreamStartEvent",
        "MessageDroppedEvent",
        "MessageEvent",
        "MessageHandlerExceptionEvent",
        "MessageKind",
        "ToolCallEvent",
    ],
    "trio_agents.code_executor": [
        "Alias",
        "CodeBlock",
        "CodeExecutor",
        "CodeResult",
        "FunctionWithRequirements",
        "FunctionWithRequirementsStr",
        "Import",
        "ImportFromModule",
        "with_requirements",
    ],
    "trio_agents.memory": [
        "ListMemory",
        "Memory",
        "MemoryContent",
        "MemoryMimeType",
        "MemoryQueryResult",
        "UpdateContextResult",
    ],
    "trio_agents.model_context": [
        "BufferedChatCompletionContext",
        "ChatCompletionContext",
        "ChatCompletionContextState",
        "HeadAndTailChatCompletionContext",
        "TokenLimitedChatCompletionContext",
        "UnboundedChatCompletionContext",
    ],
    "trio_agents.models": [
        "AssistantMessage",
        "ChatCompletionClient",
        "ChatCompletionTokenLogprob",
        "CreateResult",
        "FinishReasons",
        "FunctionExecutionResult",
        "FunctionExecutionResultMessage",
        "LLMMessage",
        "ModelCapabilities",
        "ModelFamily",
        "ModelInfo",
        "RequestUsage",
        "SystemMessage",
        "TopLogprob",
        "UserMessage",
        "validate_model_info",
    ],
    "trio_agents.tool_agent": [
        "InvalidToolArgumentsException",
        "ToolAgent",
        "ToolException",
        "ToolExecutionException",
        "ToolNotFoundException",
        "tool_agent_caller_loop",
    ],
    "trio_agents.tools": [
        "BaseStreamTool",
        "BaseTool",
        "BaseToolWithState",
        "FunctionTool",
        "ImageResultContent",
        "ParametersSchema",
        "StaticStreamWorkbench",
        "StaticWorkbench",
        "StreamTool",
        "TextResultContent",
        "Tool",
        "ToolOverride",
        "ToolResult",
        "ToolSchema",
        "Workbench",
    ],
}


def public_modules() -> list[str]:
    """Name the modules without a leading underscore, from the files: nothing is imported yet."""
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if not any(part.startswith("_") for part in parts):
            names.add(".".join(parts))
    return sorted(names | PORTED.keys())


def load(module_name: str) -> ModuleType:
    """Import a module, or skip when an optional dependency of it is missing."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if (error.name or "trio_agents").partition(".")[0] == "trio_agents":
            raise
        pytest.skip(f"{module_name} needs {error.name}")


def exports(module: ModuleType) -> dict[str, object]:
    """Return what ``__all__`` lists, by name."""
    return {name: getattr(module, name) for name in module.__all__}


def is_ours(value: object) -> bool:
    """Tell classes and functions of this package from constants and type aliases."""
    return isinstance(value, type | FunctionType) and value.__module__.startswith("trio_agents")


@cache
def described_assignments() -> frozenset[str]:
    """Name the module-level assignments that a ``#:`` comment or a string after them describes."""
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for statement, following in pairwise([*ast.parse(source).body, None]):
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name))
                ):
                    pass
                case _:
                    continue
            match following:
                case ast.Expr(value=ast.Constant(value=str())):
                    names.add(name)
            own = lines[statement.lineno - 1 : statement.end_lineno]
            above = lines[max(statement.lineno - 2, 0)].lstrip()
            if above.startswith("#:") or "#: " in own[-1]:
                names.add(name)
    return frozenset(names)


def own_docstring(value: object) -> str:
    """Return the docstring that *value* itself was given, never an inherited or a made one."""
    text = value.__dict__.get("__doc__") if isinstance(value, type) else value.__doc__
    if not isinstance(text, str):
        return ""
    if isinstance(value, type) and re.match(rf"{value.__name__}\(.*\)( -> None)?$", text):
        return ""  # @dataclass writes the signature where there is no docstring
    return text.strip()


# PKG-11
@pytest.mark.parametrize("module_name", public_modules())
def test_a_public_module_lists_what_it_exports(module_name: str) -> None:
    module = load(module_name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert (module.__doc__ or "").strip(), f"{module_name} has no docstring"


@pytest.mark.parametrize("module_name", public_modules())
def test_every_export_has_a_docstring_of_its_own(module_name: str) -> None:
    undocumented = [
        name
        for name, value in exports(load(module_name)).items()
        if not (own_docstring(value) if is_ours(value) else name in described_assignments())
    ]
    assert undocumented == [], "constants and aliases: a '#:' comment, or a string after them"


@pytest.mark.parametrize("module_name", public_modules())
def test_every_public_member_of_an_exported_class_has_a_docstring(module_name: str) -> None:
    undocumented = [
        f"{name}.{member}"
        for name, value in exports(load(module_name)).items()
        if isinstance(value, type) and is_ours(value)
        for member, attribute in vars(value).items()
        if not member.startswith("_")
        and isinstance(attribute, FunctionType | property | classmethod | staticmethod)
        # getdoc() goes on to the base classes: an override may keep the promise it inherits.
        and not inspect.getdoc(getattr(value, member))
    ]
    assert undocumented == []


@pytest.mark.parametrize("module_name", public_modules())
def test_an_export_says_where_users_import_it_from(module_name: str) -> None:
    misplaced: dict[str, str] = {}
    for name, value in exports(load(module_name)).items():
        if not is_ours(value):
            continue
        # Two facades may export one class; then it belongs to either.
        home = value.__module__
        if home in public_modules() and exports(load(home)).get(name) is value:
            continue
        misplaced[name] = home
    assert misplaced == {}


@cache
def names_in_the_reference() -> frozenset[str]:
    """Name what stands in docs/reference, by a directive of its own or as a member of a module."""
    names: set[str] = set()
    for page in (PACKAGE.parent / "docs" / "reference").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for directive, target in re.findall(r"^\.\. ([\w:]+):: (\S+)$", text, re.MULTILINE):
            if directive.startswith(("auto", "py:", "data")):
                names.add(target.rpartition(".")[2])
        for members in re.findall(
            r"^\.\. automodule:: \S+\n   :members: (.+)$", text, re.MULTILINE
        ):
            names.update(members.split(", "))
    return frozenset(names)


@pytest.mark.parametrize("module_name", public_modules())
def test_every_export_stands_in_the_reference(module_name: str) -> None:
    missing = set(load(module_name).__all__) - names_in_the_reference()
    assert sorted(missing) == [], "docs/reference has a section for each; docs/reference.md says so"


# PKG-11
@pytest.mark.parametrize(
    ("module_name", "name"),
    [(module_name, name) for module_name, names in PORTED.items() for name in names],
)
def test_a_name_of_autogen_core_is_exported(module_name: str, name: str) -> None:
    module = load(module_name)
    assert name in module.__all__
    assert hasattr(module, name)


@pytest.mark.parametrize("module_name", list(PORTED))
def test_the_list_of_ported_names_is_sorted_so_that_gaps_show(module_name: str) -> None:
    assert PORTED[module_name] == sorted(PORTED[module_name])

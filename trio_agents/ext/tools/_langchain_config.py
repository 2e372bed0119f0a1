"""How a tool of LangChain's is described: by its name in the program, and what it is made of.

LangChain's tools are code. What is written in a configuration is where that code stands; it is
looked up among what the application allows, as components are, and nothing else is imported.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any, Final

from pydantic import Field, ValidationError

from ..._components._config_data import ComponentConfig
from ..._components._policy import current_component_policy
from ..._components._providers import provider_of
from ..._sansio._errors import ComponentError, ComponentNotAllowed

__all__ = ["LangChainToolAdapterConfig", "describe_tool", "find_tool"]

_ADAPTER: Final = "LangChainToolAdapter"
_PATH: Final = re.compile(r"([A-Za-z_]\w*\.)+[A-Za-z_]\w*", re.ASCII)


class LangChainToolAdapterConfig(ComponentConfig):
    """The configuration of a `LangChainToolAdapter`.

    Attributes:
        tool: The dotted path of the tool, as ``@tool`` makes them, or of its class.
        fields: What an object of the class is made of.
    """

    tool: str
    fields: dict[str, Any] = Field(default_factory=dict[str, Any])


def describe_tool(tool: Any) -> LangChainToolAdapterConfig:
    """Return where *tool* is found, and what it is made of if only its class is.

    Raises:
        ComponentError: it is not found anywhere, or is made of what no configuration can hold.
    """
    path = _path_of_tool(tool)
    if path is not None:
        return LangChainToolAdapterConfig(tool=path)
    cls: type[Any] = tool.__class__
    path = f"{cls.__module__}.{cls.__qualname__}"
    if getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is not cls:
        raise ComponentError(
            f"{_ADAPTER}: the tool {tool.name!r} stands in no module, and neither does its class "
            f"{cls.__qualname__}: give one of them a name there"
        )
    try:
        fields = json.loads(json.dumps(tool.model_dump(include=tool.model_fields_set)))
        again: Any = cls(**fields)
    except (TypeError, ValueError) as error:
        raise _undescribed(tool) from error
    if vars(again) != vars(tool):
        raise _undescribed(tool)
    return LangChainToolAdapterConfig(tool=path, fields=fields)


def _path_of_tool(tool: Any) -> str | None:
    """Return where the tool stands that was made of a function, next to that."""
    function = getattr(tool, "func", None) or getattr(tool, "coroutine", None)
    module = getattr(function, "__module__", None)
    if module is None:
        return None
    names = vars(sys.modules[module]) if module in sys.modules else {}
    return next((f"{module}.{name}" for name, value in names.items() if value is tool), None)


def _undescribed(tool: Any) -> ComponentError:
    return ComponentError(
        f"{_ADAPTER}: the tool {tool.name!r} is made of objects that no configuration can hold: "
        "give it a name in a module, next to its function"
    )


def find_tool(config: LangChainToolAdapterConfig, base: type[Any]) -> Any:
    """Return the tool that *config* describes.

    Args:
        config: the description.
        base: LangChain's class of all tools.

    Raises:
        ComponentNotAllowed: the application does not allow its module. Nothing was imported.
        ComponentError: there is no such tool, or it cannot be made of these fields.
    """
    found: Any = _find(config.tool)
    if isinstance(found, type) and issubclass(found, base):
        try:
            return found(**config.fields)
        except ValidationError as error:
            # Without the values: they may be secrets.
            wrong = "; ".join(
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
                for one in error.errors(include_url=False, include_input=False)
            )
            raise ComponentError(f"{_ADAPTER}: {config.tool} cannot be made: {wrong}") from None
    if not isinstance(found, base):
        raise ComponentError(f"{_ADAPTER}: {config.tool} is none of LangChain's tools")
    if config.fields:
        raise ComponentError(f"{_ADAPTER}: {config.tool} is a tool and no class: it has no fields")
    return found


def _find(path: str) -> object:
    policy = current_component_policy()
    for cls in policy.classes:
        if provider_of(cls) == path:
            return cls
    module, _, name = path.rpartition(".")
    if not _PATH.fullmatch(path) or not policy.has_namespace_of(module):
        raise ComponentNotAllowed(
            f"{_ADAPTER}: its configuration names the tool {path[:256]!r}, which the application "
            f"does not allow. If it can be trusted, load with "
            f"policy=ComponentPolicy(namespaces=[{module[:256]!r}])"
        )
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ComponentError(f"{_ADAPTER}: there is no {path}: {error}") from error

"""`LangChainToolAdapter`: a tool that was written for LangChain.

LangChain runs its async tools through asyncio, callbacks included. So that they work on trio as
well, the tool's own coroutine is awaited here, without those callbacks, and what LangChain makes of
results and errors is made here too. Ordinary tools are invoked in a worker thread, where LangChain
is at home.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import anyio.to_thread
from pydantic import BaseModel, ValidationError

from ..._components._component import Component
from ..._components._extras import import_extra
from ..._sansio._cancellation import CancellationToken
from ...tools._base_tool import BaseTool
from ...tools._parameters import is_object
from ...tools._schema_model import model_of_schema
from ._langchain_config import LangChainToolAdapterConfig, describe_tool, find_tool

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool as LangChainTool

__all__ = ["LangChainToolAdapter"]


class LangChainToolAdapter(BaseTool[BaseModel, object], Component[LangChainToolAdapterConfig]):
    """A tool of LangChain's, by its own name, description and schema.

    ::

        tool = LangChainToolAdapter(PythonAstREPLTool(locals={"df": df}))

    An async tool is awaited, and may only wait for what works on the event loop that runs. Any
    other is called in a worker thread; cancelled, it goes on alone and its result is thrown away.

    A configuration has the name of the tool in the program, or of its class and what that is made
    of. It is loaded if the `ComponentPolicy` has its module among the namespaces.

    Needs the extra ``langchain``.
    """

    component_config_schema = LangChainToolAdapterConfig
    component_provider_override: ClassVar[str | None] = (
        "trio_agents.ext.tools.langchain.LangChainToolAdapter"
    )

    def __init__(self, langchain_tool: LangChainTool) -> None:
        """Adapt *langchain_tool*.

        Raises:
            ImportError: langchain-core is not installed.
            TypeError: it is none of LangChain's tools.
        """
        base = _langchain_tools().BaseTool
        if not isinstance(langchain_tool, base):
            raise TypeError(
                f"expected a tool of LangChain's, a BaseTool, not {type(langchain_tool).__name__}"
            )
        self._tool = cast(Any, langchain_tool)
        name: str = self._tool.name
        super().__init__(_args_type(self._tool), object, name, self._tool.description)
        self._is_async = _is_async(self._tool)

    def _to_config(self) -> LangChainToolAdapterConfig:
        return describe_tool(self._tool)

    @classmethod
    def _from_config(cls, config: LangChainToolAdapterConfig) -> Self:
        return cls(find_tool(config, _langchain_tools().BaseTool))

    async def run(self, args: BaseModel, cancellation_token: CancellationToken) -> object:
        """Run the tool.

        Raises:
            MessageCancelled: the token was cancelled.
            Exception: what the tool has raised, unless its ``handle_tool_error`` or
                ``handle_validation_error`` makes a result of it.
        """
        # What was not given is left to the tool: its defaults are its own.
        given = {
            field.alias or name: getattr(args, name)
            for name, field in type(args).model_fields.items()
            if name in args.model_fields_set
        }
        given.update(args.model_extra or {})
        if not self._is_async:
            return await anyio.to_thread.run_sync(self._tool.invoke, given, abandon_on_cancel=True)
        return await self._run_async(given)

    async def _run_async(self, given: dict[str, Any]) -> object:
        tool = self._tool
        try:
            result = await self._awaited(given)
        except ValidationError as error:
            if not tool.handle_validation_error:
                raise
            usual = "Tool input validation error"
            return _handled(tool.handle_validation_error, error, usual)
        except _langchain_tools().ToolException as error:
            if not tool.handle_tool_error:
                raise
            usual = error.args[0] if error.args else "Tool execution error"
            return _handled(tool.handle_tool_error, error, usual)
        if tool.response_format != "content_and_artifact":
            return result
        parts = cast("tuple[object, ...]", result) if isinstance(result, tuple) else ()
        if len(parts) != 2:
            raise ValueError(
                f"the tool {tool.name} must return a tuple of a content and an artifact, as its "
                f"response_format='content_and_artifact' says: return both, or change that"
            )
        return parts[0]

    async def _awaited(self, given: dict[str, Any]) -> object:
        takes_config = "config" in inspect.signature(self._tool._arun).parameters
        config: dict[str, Any] = {"config": {}} if takes_config else {}
        if isinstance(self._tool, _langchain_tools().Tool):  # its one argument has no name
            return await self._tool._arun(*given.values(), **config)
        return await self._tool._arun(**given, **config)


def _langchain_tools() -> Any:
    return import_extra("langchain_core.tools", "langchain", purpose="LangChainToolAdapter")


def _handled(how: Any, error: Exception, usual: object) -> object:
    """Return the result that a tool gives instead of *error*: True, a text, or a function says."""
    if isinstance(how, bool):
        return usual
    return how if isinstance(how, str) else how(error)


def _is_async(tool: Any) -> bool:
    tools: Any = _langchain_tools()
    if isinstance(tool, tools.StructuredTool | tools.Tool):
        return tool.coroutine is not None
    # The base class's own only calls _run, in a thread of asyncio's.
    return _arun_of(type(tool)) is not _arun_of(tools.BaseTool)


def _arun_of(cls: Any) -> Any:
    return cls._arun


def _args_type(tool: Any) -> type[BaseModel]:
    # Without what LangChain itself injects into a call. A Tool without a schema takes one text.
    is_bare = tool.args_schema is None and isinstance(tool, _langchain_tools().Tool)
    schema: object = (
        {"properties": tool.args, "required": list(tool.args)} if is_bare else tool.tool_call_schema
    )
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema
    # A JSON schema, or a model of pydantic's version 1.
    described = schema if is_object(schema) else cast(Any, schema).schema()
    return model_of_schema(f"{tool.name}args", described, title=f"arguments of {tool.name}")

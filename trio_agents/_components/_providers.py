"""The names under which components are found in data.

Each of our own components is a row here, so that a description can be loaded before the module of
its class has been imported, and so that nothing else of ours can. A test compares the table with
the classes.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ALIASES", "NOT_HERE", "OWN_PROVIDERS", "instead_of", "provider_of"]

# A provider's module is where users import it from: importing it imports no SDK.
OWN_PROVIDERS: Final[frozenset[str]] = frozenset(
    {
        "trio_agents.InMemoryStore",
        "trio_agents.ext.auth.azure.AzureTokenProvider",
        "trio_agents.ext.cache_store.diskcache.DiskCacheStore",
        "trio_agents.ext.cache_store.redis.RedisStore",
        "trio_agents.ext.code_executors.docker.DockerCommandLineCodeExecutor",
        "trio_agents.ext.code_executors.jupyter.JupyterCodeExecutor",
        "trio_agents.ext.code_executors.local.LocalCommandLineCodeExecutor",
        "trio_agents.ext.models.anthropic.AnthropicChatCompletionClient",
        "trio_agents.ext.models.cache.ChatCompletionCache",
        "trio_agents.ext.models.ollama.OllamaChatCompletionClient",
        "trio_agents.ext.models.openai.AzureOpenAIChatCompletionClient",
        "trio_agents.ext.models.openai.OpenAIChatCompletionClient",
        "trio_agents.ext.models.replay.ReplayChatCompletionClient",
        "trio_agents.ext.tools.code_execution.PythonCodeExecutionTool",
        "trio_agents.ext.tools.http.HttpTool",
        "trio_agents.ext.tools.langchain.LangChainToolAdapter",
        "trio_agents.ext.tools.mcp.McpWorkbench",
        "trio_agents.ext.tools.mcp.SseMcpToolAdapter",
        "trio_agents.ext.tools.mcp.StdioMcpToolAdapter",
        "trio_agents.ext.tools.mcp.StreamableHttpMcpToolAdapter",
        "trio_agents.memory.ListMemory",
        "trio_agents.model_context.BufferedChatCompletionContext",
        "trio_agents.model_context.HeadAndTailChatCompletionContext",
        "trio_agents.model_context.TokenLimitedChatCompletionContext",
        "trio_agents.model_context.UnboundedChatCompletionContext",
        "trio_agents.tools.FunctionTool",
        "trio_agents.tools.StaticStreamWorkbench",
        "trio_agents.tools.StaticWorkbench",
    }
)


def _aliases() -> dict[str, str]:
    """Give the names that AutoGen writes, and the short ones that its users do."""
    aliases: dict[str, str] = {}
    for provider in OWN_PROVIDERS:
        rest = provider.removeprefix("trio_agents.")
        theirs = f"autogen_ext.{rest[4:]}" if rest.startswith("ext.") else f"autogen_core.{rest}"
        aliases[theirs] = provider
    # AutoGen's short names, found by asking it for them.
    openai = "trio_agents.ext.models.openai"
    aliases["OpenAIChatCompletionClient"] = f"{openai}.OpenAIChatCompletionClient"
    aliases["openai_chat_completion_client"] = f"{openai}.OpenAIChatCompletionClient"
    aliases["AzureOpenAIChatCompletionClient"] = f"{openai}.AzureOpenAIChatCompletionClient"
    aliases["azure_openai_chat_completion_client"] = f"{openai}.AzureOpenAIChatCompletionClient"
    aliases["OllamaChatCompletionClient"] = (
        "trio_agents.ext.models.ollama.OllamaChatCompletionClient"
    )
    return aliases


ALIASES: Final[dict[str, str]] = _aliases()


_AGENTCHAT: Final = (
    "load it with AutoGen, and run it on the AutoGenRuntime of trio_agents.interop.autogen"
)
_GRAPHRAG: Final = "use a FunctionTool around a function that calls graphrag's own query API"
_MEMORY: Final = "derive a Memory of your own around its client: add, query and update_context"

#: Components of AutoGen's that are not here, and what to use instead.
NOT_HERE: Final[dict[str, str]] = {
    "autogen_ext.models.azure.AzureAIChatCompletionClient": (
        "use OpenAIChatCompletionClient with base_url: GitHub Models and Azure AI have an endpoint "
        "that speaks OpenAI's API"
    ),
    "autogen_ext.models.semantic_kernel.SKChatCompletionAdapter": (
        "use the client of the provider that the kernel's connector is for"
    ),
    "autogen_ext.models.llama_cpp.LlamaCppChatCompletionClient": (
        "use OpenAIChatCompletionClient with the base_url of llama.cpp's own server, or Ollama's "
        "client"
    ),
    "autogen_ext.models.anthropic.AnthropicBedrockChatCompletionClient": (
        "use AnthropicChatCompletionClient with the base_url of a gateway to Bedrock that speaks "
        "Anthropic's API"
    ),
    "autogen_ext.tools.graphrag.LocalSearchTool": _GRAPHRAG,
    "autogen_ext.tools.graphrag.GlobalSearchTool": _GRAPHRAG,
    "autogen_ext.tools.azure.AzureAISearchTool": (
        "use a FunctionTool around a function that calls the search service's SDK"
    ),
    "autogen_ext.code_executors.docker_jupyter.DockerJupyterCodeExecutor": (
        "use JupyterCodeExecutor with a sandbox, or DockerCommandLineCodeExecutor"
    ),
    "autogen_ext.code_executors.azure.ACADynamicSessionsCodeExecutor": (
        "use DockerCommandLineCodeExecutor, or derive a CodeExecutor around the service's API"
    ),
    "autogen_ext.memory.chromadb.ChromaDBVectorMemory": _MEMORY,
    "autogen_ext.memory.redis_memory.RedisMemory": _MEMORY,
    "autogen_ext.memory.mem0.Mem0Memory": _MEMORY,
    "autogen_ext.agents.file_surfer.FileSurfer": _AGENTCHAT,
    "autogen_ext.agents.magentic_one.MagenticOneCoderAgent": _AGENTCHAT,
    "autogen_ext.agents.openai.OpenAIAgent": _AGENTCHAT,
    "autogen_ext.agents.web_surfer.MultimodalWebSurfer": _AGENTCHAT,
}


def instead_of(name: str) -> str | None:
    """Return what to use instead of a component of AutoGen's; None if *name* is none, or is here.

    AgentChat's are not listed: there are many, they change, and the answer is the same for all.
    """
    return _AGENTCHAT if name.startswith("autogen_agentchat.") else NOT_HERE.get(name)


def provider_of(cls: type) -> str:
    """Return the provider that *cls* dumps itself with.

    An override is the class's own: inherited, it would be the name of another class.
    """
    override = cls.__dict__.get("component_provider_override")
    return override if isinstance(override, str) else f"{cls.__module__}.{cls.__qualname__}"

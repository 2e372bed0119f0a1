"""Loads our own components with hostile configurations of their own schemas, and watches.

The providers are allowed, so the question is another one than in ``config/hostile.py``: whatever
stands in the fields, loading raises a `ComponentError` or makes a component, and until that is used
no process is started, no socket is opened, and no file is written or made. A program of its own,
because an audit hook stays for good.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

from trio_agents import ComponentLoader
from trio_agents._components._providers import OWN_PROVIDERS
from trio_agents.exceptions import ComponentError

MODELS = "trio_agents.ext.models"
EXECUTORS = "trio_agents.ext.code_executors"
MCP = "trio_agents.ext.tools.mcp"

INFO = {
    "vision": True,
    "function_calling": True,
    "json_output": True,
    "structured_output": True,
    "family": "unknown",
}
MESSAGES = [
    {"type": "SystemMessage", "content": "x"},
    {"type": "UserMessage", "content": ["x"], "source": "user"},
    {
        "type": "AssistantMessage",
        "content": [{"id": "1", "name": "f", "arguments": "{}"}],
        "source": "a",
    },
    {
        "type": "FunctionExecutionResultMessage",
        "content": [{"content": "x", "name": "f", "call_id": "1", "is_error": False}],
    },
]
TOOL = {
    "name": "f",
    "description": "x",
    "parameters": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
}
STORE = {"provider": "trio_agents.InMemoryStore", "config": {}}
REPLAY = {
    "provider": f"{MODELS}.replay.ReplayChatCompletionClient",
    "config": {"chat_completions": ["x"], "model_info": INFO},
}
OPENAI = {
    "model": "gpt-4o",
    "api_key": "sk-x",
    "base_url": "http://127.0.0.1:1/v1",
    "organization": "x",
    "timeout": 1.0,
    "max_retries": 1,
    "default_headers": {"x": "y"},
    "model_info": INFO,
    "response_format": {"type": "json_object"},
    "stop": ["x"],
    "extra_body": {"x": 1},
    "token_limit": 10,
}
FUNCTION = {
    "source_code": "def f(x: str) -> str:\n    return x\n",
    "name": "f",
    "description": "x",
    "global_imports": ["os", {"module": "typing", "imports": ["Any"]}],
    "has_cancellation_support": False,
}
HTTP = {
    "name": "f",
    "description": "x",
    "scheme": "http",
    "host": "127.0.0.1",
    "port": 1,
    "path": "/{x}",
    "method": "GET",
    "headers": {"x": "y"},
    "json_schema": TOOL["parameters"],
    "return_type": "text",
    "timeout": 1,
}
LOCAL = {
    "timeout": 1,
    "work_dir": "made_by_loading",
    "functions_module": "functions",
    "cleanup_temp_files": True,
    "env": {"x": "y"},
    "sandbox": {"network": False, "read_only": ["/x"], "writable": ["/x"]},
    "limits": {},
    "kill_grace": 1.0,
    "max_output": 1000,
}
HTTP_SERVER = {
    "type": "StreamableHttpServerParams",
    "url": "http://127.0.0.1:1/mcp",
    "headers": {"x": "y"},
    "timeout": 1.0,
}
SSE_SERVER = {"type": "SseServerParams", "url": "http://127.0.0.1:1/sse"}
STDIO_SERVER = {"type": "StdioServerParams", "command": "touch", "args": ["made_by_loading"]}
MCP_TOOL = {
    "name": "f",
    "description": "x",
    "inputSchema": TOOL["parameters"],
}

#: A configuration of each of our own components that loads, or that only a policy keeps off.
VALID: dict[str, dict[str, Any]] = {
    "trio_agents.InMemoryStore": {},
    "trio_agents.ext.auth.azure.AzureTokenProvider": {
        "provider_kind": "DefaultAzureCredential",
        "scopes": ["x"],
    },
    "trio_agents.ext.cache_store.diskcache.DiskCacheStore": {"directory": "made_by_loading"},
    "trio_agents.ext.cache_store.redis.RedisStore": {
        "host": "127.0.0.1",
        "port": 1,
        "db": 0,
        "username": "x",
        "password": "x",
        "ssl": False,
        "socket_timeout": 1.0,
    },
    f"{EXECUTORS}.docker.DockerCommandLineCodeExecutor": {
        "image": "python:3-slim",
        "container_name": "x",
        "timeout": 1,
        "work_dir": "made_by_loading",
        "functions_module": "functions",
        "extra_hosts": {"x": "y"},
        "env": {"x": "y"},
        "kill_grace": 1.0,
        "max_output": 1000,
    },
    f"{EXECUTORS}.jupyter.JupyterCodeExecutor": {
        "kernel_name": "python3",
        "timeout": 1,
        "output_dir": "made_by_loading",
        "env": {"x": "y"},
    },
    f"{EXECUTORS}.local.LocalCommandLineCodeExecutor": LOCAL,
    f"{MODELS}.anthropic.AnthropicChatCompletionClient": {
        "model": "claude-sonnet-4-5",
        "api_key": "x",
        "base_url": "http://127.0.0.1:1",
        "max_tokens": 1,
        "model_info": INFO,
        "default_headers": {"x": "y"},
    },
    f"{MODELS}.cache.ChatCompletionCache": {"client": REPLAY, "store": STORE},
    f"{MODELS}.ollama.OllamaChatCompletionClient": {
        "model": "llama3.2",
        "host": "http://127.0.0.1:1",
        "model_info": INFO,
        "options": {"x": 1},
    },
    f"{MODELS}.openai.AzureOpenAIChatCompletionClient": {
        "model": "gpt-4o",
        "api_key": "x",
        "azure_endpoint": "http://127.0.0.1:1",
        "azure_deployment": "x",
        "api_version": "2024-06-01",
    },
    f"{MODELS}.openai.OpenAIChatCompletionClient": OPENAI,
    f"{MODELS}.replay.ReplayChatCompletionClient": REPLAY["config"],
    "trio_agents.ext.tools.code_execution.PythonCodeExecutionTool": {
        "executor": {
            "provider": f"{EXECUTORS}.local.LocalCommandLineCodeExecutor",
            "config": LOCAL,
        },
        "description": "x",
    },
    "trio_agents.ext.tools.http.HttpTool": HTTP,
    "trio_agents.ext.tools.langchain.LangChainToolAdapter": {
        "tool": "this.that",
        "fields": {"x": {"x": [1]}},
    },
    f"{MCP}.McpWorkbench": {
        "server_params": HTTP_SERVER,
        "tool_overrides": {"f": {"name": "g", "description": "x"}},
        "model_client": REPLAY,
    },
    f"{MCP}.SseMcpToolAdapter": {"server_params": SSE_SERVER, "tool": MCP_TOOL},
    f"{MCP}.StdioMcpToolAdapter": {"server_params": STDIO_SERVER, "tool": MCP_TOOL},
    f"{MCP}.StreamableHttpMcpToolAdapter": {"server_params": HTTP_SERVER, "tool": MCP_TOOL},
    "trio_agents.memory.ListMemory": {
        "name": "x",
        "memory_contents": [{"content": "x", "mime_type": "text/plain", "metadata": {"x": 1}}],
    },
    "trio_agents.model_context.BufferedChatCompletionContext": {
        "buffer_size": 2,
        "initial_messages": MESSAGES,
    },
    "trio_agents.model_context.HeadAndTailChatCompletionContext": {
        "head_size": 1,
        "tail_size": 1,
        "initial_messages": MESSAGES,
    },
    "trio_agents.model_context.TokenLimitedChatCompletionContext": {
        "model_client": REPLAY,
        "token_limit": 10,
        "tool_schema": [TOOL],
        "initial_messages": MESSAGES,
    },
    "trio_agents.model_context.UnboundedChatCompletionContext": {"initial_messages": MESSAGES},
    "trio_agents.tools.FunctionTool": FUNCTION,
    "trio_agents.tools.StaticStreamWorkbench": {
        "tools": [{"provider": "trio_agents.ext.tools.http.HttpTool", "config": HTTP}],
        "tool_overrides": {"f": {"name": "g"}},
    },
    "trio_agents.tools.StaticWorkbench": {
        "tools": [{"provider": "trio_agents.ext.tools.http.HttpTool", "config": HTTP}],
        "tool_overrides": {"f": {"name": "g"}},
    },
}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        value = {"type": "object", "properties": {"x": value}}
    return value


LOOP = {"a": {"$ref": "#/$defs/a"}}
HOSTILE: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    10**30,
    -(10**30),
    0.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\x00",
    "\ud800",
    "x\r\nEvil: 1",
    "..",
    "../../made_by_loading",
    "/nowhere/made_by_loading",
    "/dev/null/made_by_loading",
    "/proc/self/mem",
    "~/made_by_loading",
    "made_by_loading:rw",
    "file:///etc/passwd",
    "http://",
    "http://[::1",
    "http://user:secret@127.0.0.1:99999/x?y#z",
    "gopher://127.0.0.1:1/x",
    "unix:///var/run/docker.sock",
    "$(touch made_by_loading)",
    "`touch made_by_loading`; touch made_by_loading",
    "import os; os.system('touch made_by_loading')",
    "__import__('os').system('touch made_by_loading')",
    "{0.__class__}",
    "%s%n",
    "data:image/png;base64,AAAA",
    "x" * 1_000_000,
    "(a+)+$" * 50,
    [],
    [None],
    [[]],
    ["x", "x"],
    ["touch", "made_by_loading"],
    {},
    {"": ""},
    {"x": None},
    {"LD_PRELOAD": "/tmp/x.so", "PATH": "/tmp", "PYTHONSTARTUP": "/tmp/x.py"},
    {"/": {"bind": "/host", "mode": "rw"}},
    {"provider": "os.system", "config": {}},
    {"provider": "trio_agents.InMemoryStore", "config": {}},
    {"type": "StdioServerParams", "command": "touch", "args": ["made_by_loading"]},
    {"content": {"data": "AAAA"}, "mime_type": "image/png"},
    {"type": "object", "properties": {"x": {"$ref": "#/properties/x"}}},
    {"type": "object", "properties": {"x": {"$ref": "file:///etc/passwd"}}},
    {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:1/x"}}},
    {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": LOOP},
    {"type": "object", "properties": {"x": {"type": "string", "pattern": "(((("}}},
    {"type": "object", "properties": {"x": {"type": "string", "pattern": "(a+)+$"}}},
    {"type": "object", "properties": {"x": {"type": "string", "minLength": -1}}, "required": ["x"]},
    {"type": "object", "properties": {"x": {"enum": [[], {}, None]}}, "required": ["x"]},
    {"type": "object", "properties": {"__class__": {"type": "string"}, "model_config": {}}},
    {"type": "object", "properties": {"x": 3}, "required": 3},
    {"type": "object", "properties": [], "required": [[]]},
    {"type": ["x", {}], "properties": {"x": {"type": {}}}},
    nested(200),
    nested(5_000),
]  # fmt: skip


# What an audit hook is told of, besides opening a file for writing.
BAD = (
    "ctypes.", "os.chmod", "os.exec", "os.fork", "os.mkdir", "os.posix_spawn", "os.remove",
    "os.rename", "os.symlink", "os.system", "pty.", "socket.bind", "socket.connect",
    "socket.getaddrinfo", "sqlite3.connect", "subprocess.",
)  # fmt: skip
SHARE = 50  # of each component; 10**6 for all


def mutations(value: Any) -> Iterator[Any]:
    """Give *value* with each of its parts replaced by each hostile value, and with parts more."""
    yield from HOSTILE
    if isinstance(value, dict):
        for name, part in value.items():
            for mutated in mutations(part):
                yield {**value, name: mutated}
            yield {key: part for key, part in value.items() if key != name}
        for name in (
            "__class__",
            "self",
            "functions",
            "init_command",
            "virtual_env",
            "http_client",
        ):
            yield {**value, name: "touch made_by_loading"}
    elif isinstance(value, list):
        for index, part in enumerate(value):
            for mutated in mutations(part):
                yield [*value[:index], mutated, *value[index + 1 :]]


def chosen(provider: str) -> list[Any]:
    """Give some of the mutations: all of them, in every nested part, take minutes."""
    everything = list(mutations(VALID[provider]))
    return random.Random(provider).sample(everything, min(SHARE, len(everything)))


def outcome_of(description: Any) -> str:
    try:
        ComponentLoader.load_component(description)
    except ComponentError:
        return "refused"
    except BaseException as error:
        return f"{type(error).__module__}.{type(error).__name__}: {str(error)[:100]!r}"
    return "loaded"


def main(providers: list[str]) -> None:
    warnings.simplefilter("ignore")  # that no sandbox was decided on
    os.chdir(tempfile.mkdtemp())
    report: dict[str, Any] = {"not loaded": [], "outcomes": {}, "wrong": {}, "events": {}}
    for provider in providers:
        importlib.import_module(provider.rpartition(".")[0])
        if outcome_of({"provider": provider, "config": copy.deepcopy(VALID[provider])}) != "loaded":
            report["not loaded"].append(provider)
    is_watching = False
    now = ""
    events: dict[str, str] = {}

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not is_watching:
            return
        is_bad = event.startswith(
            ("subprocess.", "socket.connect", "socket.bind", "ctypes.", "pty.")
        )
        is_bad |= event in (
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "os.fork",
            "socket.getaddrinfo",
        )
        is_bad |= event in ("os.mkdir", "os.remove", "os.rename", "os.symlink", "os.chmod")
        is_bad |= event == "sqlite3.connect"
        if event == "open" and isinstance(arguments[2], int):
            is_bad |= bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            is_bad &= ".pyc" not in str(arguments[0])
        if is_bad:
            events[f"{event} {str(arguments)[:80]}"] = now

    sys.addaudithook(watch)
    is_watching = True
    for provider in providers:
        outcomes = report["outcomes"][provider] = Counter()
        for config in chosen(provider):
            now = provider
            outcome = outcome_of({"provider": provider, "config": config})
            if outcome not in ("refused", "loaded"):
                key = f"{provider.rpartition('.')[2]} {outcome}"
                report["wrong"].setdefault(key, repr(config)[:200])
                outcome = "wrong"
            outcomes[outcome] += 1
    report["events"] = dict(events)
    report["files"] = sorted(os.listdir())
    os.mkdir("seen")
    report["watch_works"] = any("'seen'" in event for event in events)
    is_watching = False
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:] or sorted(OWN_PROVIDERS))

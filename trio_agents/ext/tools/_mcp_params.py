"""Where an MCP server is, and how to reach it: values that configurations hold.

Fields and defaults are AutoGen's, so that its configurations load. What may be secret, the
environment of a process and the headers of a request, is kept as pydantic's `SecretStr`; plain
strings are taken as well. Command lines and URLs are shown: keep secrets out of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from ..._components._config_data import ComponentConfig
from ..._components._policy import check_code_is_allowed

__all__ = [
    "McpServerParams",
    "SseServerParams",
    "StdioServerParams",
    "StreamableHttpServerParams",
    "check_command",
    "place_of",
    "revealed",
]


def _secret(values: Mapping[str, str | SecretStr]) -> dict[str, SecretStr]:
    return {
        name: value if isinstance(value, SecretStr) else SecretStr(value)
        for name, value in values.items()
    }


#: Names with values of which none is shown.
Secrets: TypeAlias = Annotated[Mapping[str, str | SecretStr], AfterValidator(_secret)]


class StdioServerParams(ComponentConfig):
    """A server that is a process of ours, spoken to through its standard input and output.

    Attributes:
        command: The program. It is found as by a shell, and run without one.
        args: Its arguments.
        env: Environment variables, besides ``PATH``, ``HOME`` and the few others that the process
            inherits: the program's own environment is not handed on. They are kept secret.
        cwd: Its working directory; None for ours.
        encoding: How messages are written.
        encoding_error_handler: What is done about those that are written otherwise.
        read_timeout_seconds: How long an answer may take, and starting: a command that installs
            what it runs, as ``npx`` does, takes more than the default.
    """

    type: Literal["StdioServerParams"] = "StdioServerParams"
    command: str
    args: list[str] = Field(default_factory=list)
    env: Secrets | None = None
    cwd: str | Path | None = None
    encoding: str = "utf-8"
    encoding_error_handler: Literal["strict", "ignore", "replace"] = "strict"
    read_timeout_seconds: float = 5


class SseServerParams(ComponentConfig):
    """A server behind HTTP that sends its messages as one stream of events.

    The protocol has replaced this transport by streamable HTTP. Many servers still speak it.

    Attributes:
        url: Where its stream of events is.
        headers: Headers of every request. They are kept secret.
        timeout: How long connecting, and sending a message, may take, in seconds.
        sse_read_timeout: How long the server may be silent, and an answer take.
    """

    type: Literal["SseServerParams"] = "SseServerParams"
    url: str
    headers: Secrets | None = None
    timeout: float = 5
    sse_read_timeout: float = 300


class StreamableHttpServerParams(ComponentConfig):
    """A server behind HTTP that answers each request with a response or a stream.

    Attributes:
        url: Where it takes requests.
        headers: Headers of every request. They are kept secret.
        timeout: How long connecting, and sending a message, may take, in seconds.
        sse_read_timeout: How long an answer may take.
        terminate_on_close: Whether the server is told when the session ends.
    """

    type: Literal["StreamableHttpServerParams"] = "StreamableHttpServerParams"
    url: str
    headers: Secrets | None = None
    timeout: float = 30.0
    sse_read_timeout: float = 300.0
    terminate_on_close: bool = True


#: A server of any kind, told apart by its ``type``.
McpServerParams: TypeAlias = Annotated[
    StdioServerParams | SseServerParams | StreamableHttpServerParams, Field(discriminator="type")
]


def revealed(secrets: Mapping[str, str | SecretStr] | None) -> dict[str, str]:
    """Return the values themselves, for the one who needs them."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in (secrets or {}).items()
    }


def place_of(params: McpServerParams) -> str:
    """Say which server it is, without what may be secret: arguments, passwords, queries."""
    if isinstance(params, StdioServerParams):
        return f"the MCP server {params.command!r}"
    parts = urlsplit(params.url)
    return f"the MCP server at {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check_params(params: object) -> None:
    """Refuse what does not say where a server is: a command line, a URL, a dictionary.

    Raises:
        TypeError: it is none of the three kinds.
    """
    if not isinstance(params, StdioServerParams | SseServerParams | StreamableHttpServerParams):
        kind = type(params)  # what it says may be secret
        raise TypeError(
            f"server_params has to be StdioServerParams(command=..., args=[...]), "
            f"StreamableHttpServerParams(url=...) or SseServerParams(url=...) of "
            f"trio_agents.ext.tools.mcp, not {kind.__module__}.{kind.__qualname__}"
        )


def check_command(provider: str, params: McpServerParams) -> None:
    """Refuse a command line from a configuration that may not carry one.

    Raises:
        ComponentNotAllowed: the policy that holds here says no.
    """
    if isinstance(params, StdioServerParams):
        check_code_is_allowed(provider, f"server_params with the command {params.command!r}")

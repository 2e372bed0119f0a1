"""`HttpTool`: one endpoint of an HTTP API as a tool.

What a model writes ends up in a request, so the request is built such that it can only fill in
values: scheme, host and port are the configuration's, an argument in the path is quoted and never
another segment, redirects do not lead elsewhere, headers are the configuration's and secret.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, cast
from urllib.parse import quote

import anyio
from pydantic import BaseModel, Field, SecretStr, field_validator

from ..._components._component import Component
from ..._components._config_data import ComponentConfig
from ..._components._extras import import_extra
from ..._components._tool_schema import ToolSchema
from ..._sansio._cancellation import CancellationToken
from ..._sansio._events import describe_exception
from ...tools._base_tool import BaseTool
from ...tools._parameters import is_list, is_object, parameters_of_schema
from ...tools._schema_model import model_of_schema

if TYPE_CHECKING:
    import httpx2

__all__ = ["HttpTool", "HttpToolConfig", "HttpToolError"]

_PLACEHOLDER: Final = re.compile(r"\{([^{}/]+)\}")
# A name, an IPv4 address, or an IPv6 address in brackets: nothing that would begin another part.
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]")
_SHOWN: Final = 2_000  # characters of an error's body that a model gets to read


class HttpToolError(Exception):
    """The server has refused the request, or its answer cannot be used.

    Attributes:
        status_code: The status of the answer.
    """

    def __init__(self, text: str, status_code: int) -> None:
        super().__init__(text)
        self.status_code = status_code


class HttpToolConfig(ComponentConfig):
    """The configuration of an `HttpTool`; see there.

    Attributes:
        name: What models call it.
        description: What it is for.
        scheme: ``http`` or ``https``.
        host: The host.
        port: The port.
        path: The path, with ``{argument}`` where an argument goes.
        method: The method.
        headers: Headers of each request. Secret: they are not shown, and masked in JSON.
        json_schema: A JSON schema of the arguments.
        return_type: Whether the result is the text of the answer, or the JSON in it.
        timeout: After how many seconds a request is given up.
        follow_redirects: Whether redirects to the same host are followed.
        max_response_bytes: How large an answer may be.
    """

    name: str
    description: str | None = "HTTP tool"
    scheme: Literal["http", "https"] = "http"
    host: str
    port: int = Field(ge=1, le=65535)
    path: str = "/"
    method: Literal["GET", "POST", "PUT", "DELETE", "PATCH"] | None = "POST"
    headers: dict[str, SecretStr] | None = None
    json_schema: dict[str, Any]
    return_type: Literal["text", "json"] | None = "text"
    timeout: float = Field(default=5.0, gt=0)
    follow_redirects: bool = False
    max_response_bytes: int = Field(default=1_000_000, ge=1)

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        if not _HOST.fullmatch(host):
            raise ValueError("a host is a name or an address, without scheme, port, user or path")
        return host

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        if "?" in path or "#" in path:
            raise ValueError("a path has no query and no fragment: those are arguments")
        return path if path.startswith("/") else f"/{path}"

    @field_validator("headers", mode="before")
    @classmethod
    def _are_texts(cls, headers: Any) -> Any:
        if not is_object(headers):
            return headers
        return {
            name: value if isinstance(value, SecretStr) else str(value)
            for name, value in headers.items()
        }


class HttpTool(BaseTool[BaseModel, Any], Component[HttpToolConfig]):
    """One endpoint of an HTTP API as a tool.

    ::

        tool = HttpTool(
            name="get_user",
            description="Get a user by id.",
            scheme="https",
            host="api.example.com",
            port=443,
            path="/users/{id}",
            method="GET",
            json_schema={
                "type": "object",
                "properties": {"id": {"type": "string"}},
                "required": ["id"],
            },
        )

    Arguments that the path names go there, quoted. The others are the query of ``GET`` and
    ``DELETE``, and a JSON object in the body of the other methods. An answer with the status of
    an error, or of a redirect that is not followed, is an error.

    Needs the extra ``http``.
    """

    component_config_schema = HttpToolConfig
    component_provider_override: ClassVar[str | None] = "trio_agents.ext.tools.http.HttpTool"
    component_description: ClassVar[str | None] = "An endpoint of an HTTP API as a tool."

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        json_schema: Mapping[str, Any],
        headers: Mapping[str, Any] | None = None,
        description: str = "HTTP tool",
        path: str = "/",
        scheme: Literal["http", "https"] = "http",
        method: Literal["GET", "POST", "PUT", "DELETE", "PATCH"] = "POST",
        return_type: Literal["text", "json"] = "text",
        timeout: float = 5.0,
        *,
        follow_redirects: bool = False,
        max_response_bytes: int = 1_000_000,
    ) -> None:
        """Make a tool of an endpoint.

        Args:
            name: what models call it.
            host: the host.
            port: the port.
            json_schema: a JSON schema of the arguments, an object.
            headers: headers of each request, as texts or `SecretStr`.
            description: what it is for, and when to use it.
            path: the path, with ``{argument}`` where a required argument goes.
            scheme: ``http`` or ``https``.
            method: the method.
            return_type: whether the result is the text of the answer, or the JSON in it.
            timeout: after how many seconds a request is given up.
            follow_redirects: whether redirects are followed. Those to another scheme, host or port
                never are.
            max_response_bytes: how large an answer may be, unpacked.

        Raises:
            ValueError: the host, the port or something else is none, or the path names an argument
                that is not required.
        """
        config: dict[str, Any] = {
            "name": name,
            "description": description,
            "scheme": scheme,
            "host": host,
            "port": port,
            "path": path,
            "method": method,
            "headers": None if headers is None else dict(headers),
            "json_schema": json_schema,
            "return_type": return_type,
            "timeout": timeout,
            "follow_redirects": follow_redirects,
            "max_response_bytes": max_response_bytes,
        }
        self._set_up(HttpToolConfig.model_validate(config))

    def _set_up(self, config: HttpToolConfig) -> None:
        self._config = config
        self._in_path = _PLACEHOLDER.findall(config.path)
        optional = sorted(set(self._in_path) - set(config.json_schema.get("required", ())))
        if optional:
            raise ValueError(
                f"the path of {config.name} names {', '.join(optional)}, which must be required "
                f"properties of its json_schema"
            )
        super().__init__(
            model_of_schema(
                f"{config.name}args", config.json_schema, title=f"arguments of {config.name}"
            ),
            object,
            config.name,
            config.description or "",
        )
        self._ssl: ssl.SSLContext | None = None

    @property
    def schema(self) -> ToolSchema:
        """What the model is told of it: the JSON schema that it was made with."""
        return ToolSchema(
            name=self._name,
            description=self._description,
            parameters=parameters_of_schema(self._config.json_schema, strict=self._strict),
            strict=self._strict,
        )

    async def run(self, args: BaseModel, cancellation_token: CancellationToken) -> Any:
        """Make the request.

        Cancelled, the connection is closed; whether the server has acted is not known.

        Raises:
            HttpToolError: the status is that of an error or of a redirect that is not followed, or
                the answer is too large or no JSON.
            ValueError: an argument cannot be in a path.
            TimeoutError: there was no whole answer in time.
            ConnectionError: the server could not be reached, or has broken off.
            ImportError: httpx2 is not installed.
        """
        httpx = import_extra("httpx2", "http", purpose="HttpTool")
        config = self._config
        values = self._values(args)
        request: dict[str, Any] = {"url": self._url(values)}
        for name in self._in_path:
            values.pop(name, None)
        method = config.method or "POST"
        if method in ("GET", "DELETE"):
            request["params"] = _query(values)
        else:
            request["json"] = values
        headers = {name: value.get_secret_value() for name, value in (config.headers or {}).items()}
        try:
            with anyio.fail_after(config.timeout):
                async with httpx.AsyncClient(
                    headers=headers,
                    timeout=None,
                    follow_redirects=config.follow_redirects,
                    event_hooks={"request": [self._check_origin]},
                    verify=self._verification(httpx),
                ) as client:
                    async with client.stream(method, **request) as response:
                        return self._result(response, await self._read(response))
        except TimeoutError:
            raise TimeoutError(
                f"{self._where()} has not answered within {config.timeout:g} s"
            ) from None
        except httpx.HTTPError as error:  # some have no text, and some loops' errors neither
            raise ConnectionError(
                f"{self._where()} could not be asked: {describe_exception(error)}"
            ) from error

    def _verification(self, httpx: Any) -> ssl.SSLContext | bool:
        if self._config.scheme == "http":
            return False  # there is nothing to verify, and no redirect to where there is
        context = self._ssl
        if context is None:  # it reads files: once, and not for each request
            context = self._ssl = cast(ssl.SSLContext, httpx.create_ssl_context())
        return context

    def _where(self) -> str:
        return f"{self._config.method} {self._config.host}"

    def _values(self, args: BaseModel) -> dict[str, Any]:
        """Return the arguments that were given, and of the others those that have a default."""
        properties: Mapping[str, Any] = self._config.json_schema.get("properties", {})
        defaults: dict[str, Any] = {
            name: inner["default"]
            for name, inner in properties.items()
            if is_object(inner) and "default" in inner
        }
        return {**defaults, **args.model_dump(mode="json", by_alias=True, exclude_unset=True)}

    def _url(self, values: Mapping[str, Any]) -> str:
        config = self._config
        path = _PLACEHOLDER.sub(lambda found: _quoted(found[1], values[found[1]]), config.path)
        # Two arguments side by side could still make one.
        if self._in_path and any(part in (".", "..") for part in path.split("/")):
            raise ValueError(f"the arguments {', '.join(self._in_path)} would change the path")
        return f"{config.scheme}://{config.host}:{config.port}{path}"

    async def _check_origin(self, request: httpx2.Request) -> None:
        """Refuse to go anywhere else: the first request is ours, the others are a server's idea."""
        config = self._config
        url = request.url
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        host = config.host.strip("[]").lower()
        if (url.scheme, url.host.lower(), port) != (config.scheme, host, config.port):
            raise HttpToolError(
                f"{self._where()} redirects to another server, which is not followed", 302
            )

    async def _read(self, response: httpx2.Response) -> bytes:
        limit = self._config.max_response_bytes
        body = bytearray()
        async with aclosing(response.aiter_bytes()) as parts:
            async for part in parts:
                body += part
                if len(body) > limit:
                    raise HttpToolError(
                        f"{self._where()} has answered with more than {limit} bytes",
                        response.status_code,
                    )
        return bytes(body)

    def _result(self, response: httpx2.Response, body: bytes) -> Any:
        text = body.decode(response.encoding or "utf-8", errors="replace")
        status = response.status_code
        if status >= 300:
            what = f"{self._where()} has answered with {status} {response.reason_phrase}".rstrip()
            if response.has_redirect_location:
                raise HttpToolError(f"{what}, and redirects are not followed", status)
            raise HttpToolError(f"{what}: {text[:_SHOWN]}".removesuffix(": "), status)
        if self._config.return_type != "json":
            return text
        try:
            return json.loads(text)
        except ValueError:
            raise HttpToolError(
                f"{self._where()} has answered with what is no JSON: {text[:_SHOWN]}", status
            ) from None

    def _to_config(self) -> HttpToolConfig:
        return self._config

    @classmethod
    def _from_config(cls, config: HttpToolConfig) -> Self:
        tool = cls.__new__(cls)
        tool._set_up(config)
        return tool


def _quoted(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    # Quoted, a slash stays inside of its segment; but servers exist that unquote before they look.
    if not text or any(part in (".", "..") for part in re.split(r"[/\\]", text)):
        raise ValueError(f"the argument {name} is part of a path and cannot be {text!r}")
    return quote(text, safe="")


def _query(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, item if isinstance(item, str) else json.dumps(item))
        for name, value in values.items()
        for item in (value if is_list(value) else [value])
        if item is not None
    ]

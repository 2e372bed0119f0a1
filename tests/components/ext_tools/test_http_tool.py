"""`HttpTool` against a real server, in a thread."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from pydantic import SecretStr, ValidationError

from trio_agents import CancellationToken, ComponentModel
from trio_agents.exceptions import ComponentError
from trio_agents.ext.tools.http import HttpTool, HttpToolConfig, HttpToolError
from trio_agents.tools import BaseTool, StaticWorkbench

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "Who."},
        "limit": {"type": "integer", "default": 5, "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}},
        "kind": {"enum": ["a", "b"]},
        "where": {"$ref": "#/$defs/Place"},
    },
    "required": ["id"],
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "inner": {"$ref": "#/$defs/Place"}},
            "required": ["x"],
        }
    },
}


class Handler(BaseHTTPRequestHandler):
    """Tells what it was asked, or does what the path says."""

    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        url = urlsplit(self.path)
        seen = {
            "method": self.command,
            "path": url.path,
            "query": parse_qs(url.query),
            "body": json.loads(body) if body else None,
            "key": self.headers.get("X-Key"),
        }
        match url.path.split("/"):
            case ["", "status", status]:
                self.send(int(status), b"a reason")
            case ["", "to", "here"]:
                self.send(302, b"", Location="/elsewhere")
            case ["", "to", "other"]:
                self.send(302, b"", Location=f"http://localhost:{self.server.server_port}/secret")
            case ["", "large"]:
                self.send(200, b"x" * 3000)
            case ["", "text"]:
                self.send(
                    200, "é".encode("latin-1"), **{"Content-Type": "text/plain; charset=latin-1"}
                )
            case ["", "hang"]:
                self.server.hanging.set()
                self.server.go_on.wait(30)
                self.close_connection = True
            case _:
                self.send(200, json.dumps(seen).encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hanging = threading.Event()
        self.go_on = threading.Event()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


def tool(server: Server, path: str = "/users/{id}/items", **options: Any) -> HttpTool:
    schema = options.pop("json_schema", SCHEMA)
    options.setdefault("return_type", "json")
    return HttpTool(
        name="items", host="127.0.0.1", port=server.server_port, json_schema=schema, path=path,
        **options,
    )  # fmt: skip


NOTHING = {"type": "object", "properties": {}}


async def run(tool: HttpTool, **arguments: Any) -> Any:
    return await tool.run_json(arguments, CancellationToken())


# TL-26
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_arguments_are_the_path_and_the_query(server: Server, method: Any) -> None:
    seen = await run(
        tool(server, method=method, headers={"X-Key": "secret"}),
        id="a b",
        tags=["x", "y&z"],
        where={"x": 1},
    )
    assert seen == {
        "method": method,
        "path": "/users/a%20b/items",
        "query": {"limit": ["5"], "tags": ["x", "y&z"], "where": ['{"x": 1}']},
        "body": None,
        "key": "secret",
    }


# TL-26
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_arguments_are_the_path_and_the_body(server: Server, method: Any) -> None:
    seen = await run(
        tool(server, method=method), id="a", limit="7", kind="b", where={"x": 1, "y": [None]}
    )
    assert (seen["method"], seen["path"], seen["query"]) == (method, "/users/a/items", {})
    assert seen["body"] == {"limit": 7, "kind": "b", "where": {"x": 1, "y": [None]}}


# TL-26
@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a/b", "/users/a%2Fb/items"),
        ("a?x=1#y", "/users/a%3Fx%3D1%23y/items"),
        ("@evil.example", "/users/%40evil.example/items"),
        ("%2e%2e", "/users/%252e%252e/items"),
        ("é\r\n", "/users/%C3%A9%0D%0A/items"),
    ],
)
async def test_an_argument_cannot_change_the_path_around_it(
    server: Server, value: str, path: str
) -> None:
    seen = await run(tool(server), id=value)
    assert seen["path"] == path


@pytest.mark.parametrize("value", ["..", ".", "", "../admin", "a/../../b", "..\\x"])
async def test_an_argument_that_walks_about_is_refused(server: Server, value: str) -> None:
    with pytest.raises(ValueError, match="the argument id is part of a path"):
        await run(tool(server), id=value)


async def test_arguments_side_by_side_cannot_walk_about_either(server: Server) -> None:
    schema = {
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "required": ["a", "b"],
    }
    with pytest.raises(ValueError, match="cannot be"):
        await run(tool(server, "/x/{a}{b}/y", json_schema=schema), a=".", b=".")
    seen = await run(tool(server, "/x/{a}.{b}/y", json_schema=schema), a="v", b="w")
    assert seen["path"] == "/x/v.w/y"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "POST 127.0.0.1 has answered with 404 Not Found: a reason"),
        (500, "POST 127.0.0.1 has answered with 500 Internal Server Error: a reason"),
    ],
)
async def test_an_error_names_the_status(server: Server, status: int, text: str) -> None:
    with pytest.raises(HttpToolError) as caught:
        await run(tool(server, f"/status/{status}", json_schema=NOTHING))
    assert caught.value.status_code == status
    assert str(caught.value) == text


async def test_a_redirect_is_not_followed(server: Server) -> None:
    with pytest.raises(HttpToolError, match="302 Found, and redirects are not followed"):
        await run(tool(server, "/to/here", json_schema=NOTHING, method="GET"))


async def test_a_redirect_is_followed_on_the_same_server_if_that_is_wanted(
    server: Server,
) -> None:
    options: dict[str, Any] = {"json_schema": NOTHING, "method": "GET", "follow_redirects": True}
    assert (await run(tool(server, "/to/here", **options)))["path"] == "/elsewhere"
    with pytest.raises(HttpToolError, match="redirects to another server"):
        await run(tool(server, "/to/other", **options))


# httpx2 leaves generators to the garbage collector when an answer is not read to its end.
@pytest.mark.filterwarnings("ignore:Async generator .(httpx2|httpcore2):ResourceWarning")
async def test_an_answer_that_is_too_large_is_given_up(server: Server) -> None:
    options: dict[str, Any] = {"json_schema": NOTHING, "return_type": "text"}
    assert len(await run(tool(server, "/large", max_response_bytes=3000, **options))) == 3000
    with pytest.raises(HttpToolError, match="more than 2999 bytes"):
        await run(tool(server, "/large", max_response_bytes=2999, **options))


async def test_text_is_read_in_its_encoding(server: Server) -> None:
    assert await run(tool(server, "/text", json_schema=NOTHING, return_type="text")) == "é"


async def test_what_should_be_json_and_is_not_is_an_error(server: Server) -> None:
    with pytest.raises(HttpToolError, match="what is no JSON: xxx"):
        await run(tool(server, "/large", json_schema=NOTHING))


async def test_a_server_that_does_not_answer_is_given_up(server: Server) -> None:
    with pytest.raises(TimeoutError, match=r"POST 127\.0\.0\.1 has not answered within 0\.05 s"):
        await run(tool(server, "/hang", json_schema=NOTHING, timeout=0.05))


async def test_a_cancelled_token_ends_the_request(
    server: Server, MessageCancelled: type[BaseException]
) -> None:
    token = CancellationToken()
    waiting = tool(server, "/hang", json_schema=NOTHING, timeout=60)

    async def cancel() -> None:
        await anyio.to_thread.run_sync(server.hanging.wait)
        token.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        with pytest.raises(MessageCancelled):
            await waiting.run_json({}, token)


async def test_in_a_workbench_a_refused_connection_is_a_result(server: Server) -> None:
    server.server_close()
    result = await StaticWorkbench([tool(server)]).call_tool("items", {"id": "a"})
    assert result.is_error
    assert result.to_text().startswith("POST 127.0.0.1 could not be asked: ")


async def test_https_is_not_spoken_to_whoever_cannot_prove_who_he_is(server: Server) -> None:
    with pytest.raises(ConnectionError, match=r"POST 127\.0\.0\.1 could not be asked: .+"):
        await run(tool(server, scheme="https"), id="a")


async def test_without_its_extra_it_says_what_to_install(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ImportError, match=r"pip install 'trio-agents\[http\]'"):
        await run(tool(server), id="a")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "id"),
        ({"id": 1}, "id"),
        ({"id": "a", "limit": 0}, "limit"),
        ({"id": "a", "kind": "c"}, "kind"),
        ({"id": "a", "where": {}}, r"where\.x"),
        ({"id": "a", "more": 1}, "more"),
    ],
)
async def test_arguments_are_checked_by_the_schema(
    server: Server, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError, match=field):
        await run(tool(server), **arguments)


# TL-26 TL-03
def test_the_model_is_shown_the_schema(server: Server) -> None:
    schema: Any = tool(server, description="Get items.").schema
    assert (schema["name"], schema["description"]) == ("items", "Get items.")
    parameters = schema["parameters"]
    assert parameters["properties"]["id"] == {"type": "string", "description": "Who."}
    assert parameters["required"] == ["id"]
    assert parameters["additionalProperties"] is False
    assert parameters["properties"]["where"]["required"] == ["x"]


def test_definitions_of_an_older_json_schema_are_told_to_the_model(server: Server) -> None:
    place = {
        "type": "object",
        "properties": {"x": {"type": "number"}, "inner": {"$ref": "#/definitions/Place"}},
    }
    schema = {
        "properties": {"id": {"type": "string"}, "where": {"$ref": "#/definitions/Place"}},
        "required": ["id"],
        "definitions": {"Place": place, "Unused": {}},
    }
    told: Any = tool(server, json_schema=schema).schema
    inner = {"$ref": "#/$defs/Place"}
    where = {"type": "object", "properties": {"x": {"type": "number"}, "inner": inner}}
    assert told["parameters"] == {
        "type": "object",
        "properties": {"id": {"type": "string"}, "where": where},
        "required": ["id"],
        "additionalProperties": False,
        "$defs": {"Place": where},
    }


def test_definitions_that_double_from_one_to_the_next_are_told_in_little_room(
    server: Server,
) -> None:
    def twice(number: int) -> dict[str, Any]:
        inner = {"$ref": f"#/$defs/d{number + 1}"}
        return {"type": "object", "properties": {"one": inner, "other": inner}}

    schema = {
        "properties": {"id": {"type": "string"}, "first": {"$ref": "#/$defs/d0"}},
        "required": ["id"],
        "$defs": {**{f"d{number}": twice(number) for number in range(40)}, "d40": {}},
    }
    told: Any = tool(server, json_schema=schema).schema
    assert len(json.dumps(told)) < 200_000
    assert told["parameters"]["$defs"]["d39"]["properties"]["one"] == {"$ref": "#/$defs/d40"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "evil.example/x"}, "a host is a name"),
        ({"host": "user@evil.example"}, "a host is a name"),
        ({"host": "evil.example:80"}, "a host is a name"),
        ({"port": 0}, "port"),
        ({"path": "/a?b=1"}, "no query"),
        ({"path": "/{limit}"}, "limit, which must be required"),
        ({"json_schema": {"type": "string"}}, "of 'string'"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"name": "x", "host": "localhost", "port": 80, "json_schema": SCHEMA}
    with pytest.raises(ValueError, match=message):
        HttpTool(**{**given, **options})


# AutoGen 0.7.5 has dumped it.
THEIRS = """{"provider":"autogen_ext.tools.http.HttpTool","component_type":"tool","version":1,
"component_version":1,"description":"A wrapper for using an HTTP server as a tool.",
"label":"HttpTool","config":{"name":"items","description":"HTTP tool","scheme":"http",
"host":"127.0.0.1","port":%d,"path":"/users/{id}/items","method":"PUT","headers":{"X-Key":"s"},
"json_schema":{"type":"object","properties":{"q":{"type":"string","description":"The q"},
"n":{"type":"integer","default":5},"id":{"type":"string"}},"required":["id"]},
"return_type":"json","timeout":5.0}}"""


# TL-26
async def test_what_autogen_has_dumped_is_loaded(server: Server) -> None:
    loaded: BaseTool[Any, Any] = BaseTool.load_component(json.loads(THEIRS % server.server_port))
    assert isinstance(loaded, HttpTool)
    seen = await run(loaded, id="a", q="z")
    assert seen["body"] == {"n": 5, "q": "z"}
    assert (seen["method"], seen["key"]) == ("PUT", "s")


async def test_headers_are_secret_and_the_rest_comes_back(server: Server) -> None:
    original = tool(server, headers={"X-Key": "hush", "X-Number": 1, "X-More": SecretStr("psst")})
    model = original.dump_component()
    for text in (repr(model), str(model), model.model_dump_json()):
        assert "hush" not in text
        assert "psst" not in text
    again: HttpTool = HttpTool.load_component(model)
    assert (await run(again, id="a"))["key"] == "hush"
    assert again.schema == original.schema
    # Through JSON the secrets are gone, and not sent as asterisks.
    masked = ComponentModel.model_validate_json(model.model_dump_json())
    assert (await run(HttpTool.load_component(masked), id="a"))["key"] is None


def test_a_host_in_a_configuration_is_checked() -> None:
    config = {"name": "x", "host": "a/b", "port": 1, "json_schema": {}}
    with pytest.raises(ComponentError, match="host"):
        HttpTool.load_component(
            {"provider": "trio_agents.ext.tools.http.HttpTool", "config": config}
        )
    assert HttpToolConfig(name="x", host="[::1]", port=1, json_schema={}).host == "[::1]"

# docs/guides/tools.md: an HTTP API as a tool, and a server for it to ask.

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import trio
from pydantic import SecretStr

from trio_agents.ext.tools.http import HttpTool
from trio_agents.tools import StaticWorkbench


class Users(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_ada = self.path == "/users/ada%2F1?fields=name"
        body = json.dumps({"name": "Ada"} if is_ada else {"error": "unknown"}).encode()
        self.send_response(200 if is_ada else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


async def ask(port: int) -> None:
    # [tool]
    get_user = HttpTool(
        name="get_user",
        description="Get a user by id.",
        scheme="http",
        host="127.0.0.1",
        port=port,
        path="/users/{id}",
        method="GET",
        headers={"Authorization": SecretStr("Bearer 123")},
        json_schema={
            "type": "object",
            "properties": {
                "id": {"type": "string", "description": "the user's id"},
                "fields": {"type": "string", "default": "name"},
            },
            "required": ["id"],
        },
        return_type="json",
    )
    # [/tool]
    workbench = StaticWorkbench([get_user])
    for user in ("ada/1", "bob", "../admin"):
        print((await workbench.call_tool("get_user", {"id": user})).to_text())


def main() -> None:
    with HTTPServer(("127.0.0.1", 0), Users) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        trio.run(ask, server.server_port)
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    main()

# Prints:
# {"name": "Ada"}
# GET 127.0.0.1 has answered with 404 Not Found: {"error": "unknown"}
# the argument id is part of a path and cannot be '../admin'

"""An MCP server over stdio, of the standard library alone, so that it is there at once.

It does what a test needs and no SDK would: end in the middle of a call, answer out of order, write
several messages in one go, never answer. `python tiny_server.py [FLAG ...]`:

    --mute      never answers
    --crash     writes to its standard error and ends
    --refuse    answers the first request with an error
    --stubborn  ignores that its standard input was closed, and SIGTERM
    --pages     lists its tools one a page
    --endless   never ends its list of tools
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

FLAGS = set(sys.argv[1:])
NAMES = [
    *("answers", "answers_garbage", "ask", "cancelled", "changed", "collapse", "die", "echo"),
    *("env", "hold", "log", "pid", "progress", "say"),
]

held: dict[Any, bool] = {}  # requests without an answer, and whether they were cancelled
asked: dict[str, Any] = {}  # our own requests, and the call to answer with what comes back


def send(*messages: dict[str, Any]) -> None:
    lines = [json.dumps({"jsonrpc": "2.0", **message}) for message in messages]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def answer(request: Any, text: str, **more: Any) -> dict[str, Any]:
    return {"id": request, "result": {"content": [{"type": "text", "text": text}], **more}}


def call(request: Any, name: str, arguments: dict[str, Any], token: Any) -> None:
    if name == "echo":
        send(answer(request, json.dumps(arguments)))
    elif name == "env":
        send(answer(request, json.dumps(dict(os.environ))))
    elif name == "pid":
        send(answer(request, str(os.getpid())))
    elif name == "hold":
        held[request] = False
        if token is not None:
            send(progress(token, 0, None))
    elif name == "cancelled":
        send(answer(request, json.dumps(sum(held.values()))))
    elif name == "progress":
        count = arguments["count"]
        steps = [progress(token, done, count) for done in range(1, count + 1)]
        odd = progress(token, "far", None)
        send(odd, *steps, answer(request, "done"))
    elif name == "say":
        print(arguments["text"], file=sys.stderr, flush=True)
        send(answer(request, "said"))
    elif name == "log":
        for level in ("debug", "warning"):
            params = {"level": level, "data": f"{level} of {arguments['text']}"}
            send({"method": "notifications/message", "params": params})
        send(answer(request, "logged"))
    elif name == "changed":
        send({"method": "notifications/tools/list_changed"}, answer(request, "changed"))
    elif name == "ask":
        asked[f"ask-{request}"] = request
        send({"id": f"ask-{request}", **arguments})
    elif name == "answers":
        send({"id": request, **arguments})
    elif name == "answers_garbage":
        send({"id": request, "result": {"content": 7}})
    elif name == "collapse":  # its process lives on, for one that waits for it
        print("closing", file=sys.stderr, flush=True)
        os.close(1)
        time.sleep(60)
    elif name == "die":
        print("last words", file=sys.stderr, flush=True)
        os._exit(3)
    else:
        send({"id": request, "error": {"code": -32602, "message": f"Unknown tool: {name}"}})


def progress(token: Any, done: Any, total: Any) -> dict[str, Any]:
    params = {"progressToken": token, "progress": done, "message": f"step {done}"}
    if total is not None:
        params["total"] = total
    return {"method": "notifications/progress", "params": params}


def listed(cursor: str | None) -> dict[str, Any]:
    tools = [
        {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}}
        for name in NAMES
    ]
    if "--endless" in FLAGS:
        return {"tools": [], "nextCursor": "more"}
    if "--pages" not in FLAGS:
        return {"tools": tools}
    at = int(cursor or 0)
    more = {"nextCursor": str(at + 1)} if at + 1 < len(tools) else {}
    return {"tools": tools[at : at + 1], **more}


def take(message: dict[str, Any]) -> None:
    request, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if method is None:
        outcome = message.get("result", message.get("error"))
        send(answer(asked.pop(request), json.dumps(outcome)))
    elif method == "initialize":
        if "--refuse" in FLAGS:
            send({"id": request, "error": {"code": -32603, "message": "not today"}})
            return
        result = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}, "logging": {}},
            "serverInfo": {"name": "tiny", "version": "1"},
            "instructions": json.dumps(params["capabilities"]),
        }
        send({"id": request, "result": result})
    elif method == "notifications/cancelled":
        if params["requestId"] in held:
            held[params["requestId"]] = True
    elif method in ("ping", "logging/setLevel"):
        if method == "logging/setLevel":
            print(f"level {params['level']}", file=sys.stderr, flush=True)
        send({"id": request, "result": {}})
    elif method == "tools/list":
        send({"id": request, "result": listed(params.get("cursor"))})
    elif method == "tools/call":
        token = (params.get("_meta") or {}).get("progressToken")
        call(request, params["name"], params.get("arguments") or {}, token)
    elif request is not None:
        send({"id": request, "error": {"code": -32601, "message": f"no {method}"}})


if "--crash" in FLAGS:
    print("the configuration is missing", file=sys.stderr, flush=True)
    sys.exit(1)
if "--stubborn" in FLAGS:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    if "--mute" not in FLAGS:
        take(json.loads(line))
if "--stubborn" in FLAGS:
    time.sleep(60)

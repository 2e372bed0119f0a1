# A server on this machine with OpenAI's API and three answers, in the place of a real one: the
# examples of docs/guides/model-clients.md ask it, so that they run without a key and offline.

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CALL = {"name": "weather", "arguments": '{"city": "Lisbon"}'}


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    last = request["messages"][-1]
    if last["role"] == "tool":
        return {"content": f"In Lisbon it is {last['content']}."}
    if request.get("tools"):
        call = {"index": 0, "id": "call-1", "type": "function", "function": CALL}
        return {"content": None, "tool_calls": [call]}
    if "response_format" in request:
        return {"content": '{"city": "Lisbon", "days": 3}'}
    return {"content": "A nursery waits for its tasks."}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "slowly" in str(request["messages"][-1]["content"]):
            time.sleep(1)
        answer = answer_to(request)
        reason = "tool_calls" if "tool_calls" in answer else "stop"
        usage = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
        base = {"id": "1", "created": 0, "model": request["model"], "usage": usage}
        if not request["stream"]:
            choice = {"index": 0, "message": {"role": "assistant", **answer}}
            self.reply("application/json", json.dumps({**base, "choices": [choice]}))
            return
        words = [{"content": word} for word in (answer["content"] or "").split(" ")]
        for word in words[1:]:
            word["content"] = " " + word["content"]
        pieces = [*words, {"tool_calls": answer.get("tool_calls")}]
        choices: list[dict[str, Any]] = [{"index": 0, "delta": piece} for piece in pieces]
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        events = [json.dumps({**base, "choices": [choice]}) for choice in choices]
        text = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])
        self.reply("text/event-stream", text)

    def reply(self, kind: str, text: str) -> None:
        with suppress(ConnectionError):  # a client that was cancelled has gone
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def local_model() -> Generator[str]:
    """Run the server, and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

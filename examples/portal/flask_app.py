# docs/guides/portal.md: agents behind a web application on threads.

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import trio
from flask import Flask, request

from trio_agents import AgentId, MessageContext, RoutedAgent, rpc
from trio_agents.portal import BlockingRuntime, open_portal


@dataclass(frozen=True)
class Question:
    text: str


class Assistant(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("answers questions")

    @rpc
    async def answer(self, message: Question, ctx: MessageContext) -> str:
        await trio.sleep(0.01)
        return f"{self.id.key} asks {message.text!r}"


# [app]
def create_app(runtime: BlockingRuntime[Any]) -> Flask:
    app = Flask(__name__)

    @app.get("/ask/<user>")
    def ask(user: str) -> str:
        question = Question(request.args["text"])
        return str(runtime.send_message(question, AgentId("assistant", user)))

    return app


# [/app]
# [main]
def main() -> None:
    with open_portal() as runtime:
        runtime.run(Assistant.register, "assistant", Assistant)
        serve(create_app(runtime))


# [/main]
def serve(app: Flask) -> None:
    """Stands in for a server: it handles four requests at once, in four threads."""

    def get(user: str) -> str:
        return app.test_client().get(f"/ask/{user}", query_string={"text": "why?"}).text

    with ThreadPoolExecutor(4) as threads:
        for answer in threads.map(get, ["ann", "bob", "cid", "dan"]):
            print(answer)


main()

# Prints:
# ann asks 'why?'
# bob asks 'why?'
# cid asks 'why?'
# dan asks 'why?'

# docs/guides/portal.md: agents behind a web application on asyncio.

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import trio
from fastapi import Depends, FastAPI, Request

from trio_agents import AgentId, MessageContext, RoutedAgent, rpc
from trio_agents.portal import AwaitableRuntime, open_portal


@dataclass(frozen=True)
class Question:
    text: str


class Assistant(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("answers questions")
        self.asked = 0

    @rpc
    async def answer(self, message: Question, ctx: MessageContext) -> str:
        await trio.sleep(0.01)
        self.asked += 1
        return f"{self.id.key} asked {self.asked} times, now {message.text!r}"


# [app]
@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    async with open_portal() as runtime:
        await Assistant.register(runtime, "assistant", Assistant)
        app.state.runtime = runtime
        yield


def get_runtime(request: Request) -> AwaitableRuntime[Any]:
    runtime: AwaitableRuntime[Any] = request.app.state.runtime
    return runtime


Runtime = Annotated[AwaitableRuntime[Any], Depends(get_runtime)]
app = FastAPI(lifespan=lifespan)


@app.get("/ask/{user}")
async def ask(user: str, text: str, runtime: Runtime) -> str:
    return str(await runtime.send_message(Question(text), AgentId("assistant", user)))


@app.get("/ask-from-a-thread/{user}")
def ask_from_a_thread(user: str, text: str, runtime: Runtime) -> str:
    return str(runtime.blocking.send_message(Question(text), AgentId("assistant", user)))


# [/app]
async def main() -> None:
    """Stand in for a server: the application's lifetime, and requests in it."""
    transport = httpx.ASGITransport(app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for path in ("ask/ann?text=why?", "ask/bob?text=how?", "ask-from-a-thread/ann?text=when?"):
            response = await client.get(path)
            print(response.json())


asyncio.run(main())

# Prints:
# ann asked 1 times, now 'why?'
# bob asked 1 times, now 'how?'
# ann asked 2 times, now 'when?'

"""A client with a cache, and answers that a program can read.

An agent sorts letters: the model answers with JSON that fits a pydantic model. The answer to a
letter is kept on the disk, so one that comes again costs nothing, also not after a restart.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Literal

import diskcache  # type: ignore[import-untyped]
from _model import Model, run
from _server import Reply
from pydantic import BaseModel

from trio_agents import AgentId, MessageContext, RoutedAgent, message_handler, open_runtime
from trio_agents.ext.cache_store.diskcache import DiskCacheStore
from trio_agents.ext.models.cache import CHAT_CACHE_VALUE_TYPE, ChatCompletionCache
from trio_agents.models import ChatCompletionClient, RequestUsage, SystemMessage, UserMessage


# [agent]
class Ticket(BaseModel):
    """What a letter is about."""

    subject: Literal["order", "complaint", "question"]
    product: str
    is_urgent: bool


@dataclass
class Letter:
    text: str


@dataclass
class Sorted:
    ticket: Ticket
    cached: bool
    usage: RequestUsage


class Sorter(RoutedAgent):
    """Makes a ticket of a letter."""

    def __init__(self, client: ChatCompletionClient) -> None:
        super().__init__("sorts letters")
        self._client = client

    @message_handler
    async def sort(self, message: Letter, ctx: MessageContext) -> Sorted:
        result = await self._client.create(
            [
                SystemMessage(content="Sort this letter of a customer."),
                UserMessage(content=message.text, source="customer"),
            ],
            json_output=Ticket,
            cancellation_token=ctx.cancellation_token,
        )
        assert isinstance(result.content, str)  # it has no tools to ask for
        ticket = Ticket.model_validate_json(result.content)
        return Sorted(ticket, result.cached, result.usage)


# [/agent]
LAMP = "The lamp that I bought has fallen off the wall twice. I want my money back, today!"
CHAIR = "Do you have the green chair in blue?"
REPLIES = [
    Reply("The lamp", '{"subject": "complaint", "product": "lamp", "is_urgent": true}'),
    Reply("the green chair", '{"subject": "question", "product": "chair", "is_urgent": false}'),
]


# [session]
async def session(model: Model, directory: str, letters: list[str]) -> None:
    """Sort *letters* with a client that keeps its answers in *directory*."""
    store = DiskCacheStore[CHAT_CACHE_VALUE_TYPE](diskcache.Cache(directory))
    async with model.client() as asked, open_runtime() as runtime:
        client = ChatCompletionCache(asked, store)
        await Sorter.register(runtime, "sorter", lambda: Sorter(client))
        for text in letters:
            sorted_ = await runtime.send_message(Letter(text), AgentId("sorter", "default"))
            used = sorted_.usage
            print(f"letter: {text}")
            print(f"  {sorted_.ticket!r}")
            print(
                f"  cached={sorted_.cached}, "
                f"usage={used.prompt_tokens}+{used.completion_tokens} tokens"
            )
        paid = client.total_usage()
        print(f"paid: {paid.prompt_tokens}+{paid.completion_tokens} tokens")
    store.close()


# [/session]
# [main]
async def main(model: Model) -> None:
    print(f"model: {model.name}")
    with tempfile.TemporaryDirectory() as directory:
        await session(model, directory, [LAMP, LAMP, CHAIR])
        print("after a restart")
        await session(model, directory, [CHAIR, LAMP])


if __name__ == "__main__":
    run(main, REPLIES)
# [/main]

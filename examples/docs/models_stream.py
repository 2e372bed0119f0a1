# docs/guides/models.md: an answer, piece by piece.

from contextlib import aclosing

import trio

from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.models import ChatCompletionClient, UserMessage


# [stream]
async def show(client: ChatCompletionClient) -> None:
    question = UserMessage(content="What is a nursery?", source="user")
    async with aclosing(client.create_stream([question])) as stream:
        async for piece in stream:
            if isinstance(piece, str):
                print(piece, end="|")
            else:
                print(f"\n{piece.finish_reason}, {piece.usage}")


# [/stream]
trio.run(show, ReplayChatCompletionClient(["A place where tasks live."]))

# Prints:
# A |place |where |tasks |live.|
# stop, RequestUsage(prompt_tokens=4, completion_tokens=5)

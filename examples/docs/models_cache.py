# docs/guides/models.md: paying for an answer once.

import trio

from trio_agents import InMemoryStore
from trio_agents.ext.models.cache import CHAT_CACHE_VALUE_TYPE, ChatCompletionCache
from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.models import UserMessage


async def main() -> None:
    model_client = ReplayChatCompletionClient(["A place where tasks live."])
    model_client.set_cached_bool_value(False)
    # [cache]
    store = InMemoryStore[CHAT_CACHE_VALUE_TYPE]()
    client = ChatCompletionCache(model_client, store)

    question = UserMessage(content="What is a nursery?", source="user")
    first = await client.create([question])
    again = await client.create([question])
    print(first.cached, again.cached, client.total_usage())
    # [/cache]
    assert first.content == again.content


trio.run(main)

# Prints:
# False True RequestUsage(prompt_tokens=4, completion_tokens=5)

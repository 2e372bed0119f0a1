# docs/guides/models.md: what an agent knows besides the conversation.

import json

import trio

from trio_agents.memory import ListMemory, Memory, MemoryContent, MemoryMimeType
from trio_agents.model_context import UnboundedChatCompletionContext
from trio_agents.models import UserMessage


async def main() -> None:
    # [memory]
    memory = ListMemory()
    await memory.add(MemoryContent(content="drinks no coffee", mime_type=MemoryMimeType.TEXT))
    await memory.add(MemoryContent(content={"age": 42}, mime_type=MemoryMimeType.JSON))

    context = UnboundedChatCompletionContext()
    await context.add_message(UserMessage(content="Where do I get breakfast?", source="user"))
    await memory.update_context(context)
    # [/memory]
    for message in await context.get_messages():
        print(f"{message.type}: {str(message.content).strip()}")
    # [state]
    saved = memory.dump_component().model_dump_json()
    again = Memory.load_component(json.loads(saved))
    # [/state]
    print(len((await again.query("coffee")).results))


trio.run(main)

# Prints:
# UserMessage: Where do I get breakfast?
# SystemMessage: Relevant memory content (in chronological order):
# 1. drinks no coffee
# 2. {"age": 42}
# 2

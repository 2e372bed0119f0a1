# docs/guides/models.md: an answer that a program can read.

# [structured]
import trio
from pydantic import BaseModel

from trio_agents.ext.models.replay import ReplayChatCompletionClient
from trio_agents.models import ChatCompletionClient, UserMessage


class Trip(BaseModel):
    city: str
    days: int


async def plan(client: ChatCompletionClient, wish: str) -> Trip:
    asked = UserMessage(content=wish, source="user")
    result = await client.create([asked], json_output=Trip)
    assert isinstance(result.content, str)
    return Trip.model_validate_json(result.content)


async def main() -> None:
    client = ReplayChatCompletionClient(['{"city": "Porto", "days": 3}'])
    print(repr(await plan(client, "A weekend by the sea, one day longer.")))


trio.run(main)
# [/structured]

# Prints:
# Trip(city='Porto', days=3)

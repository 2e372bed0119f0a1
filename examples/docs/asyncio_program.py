# docs/guides/asyncio.md: the same names, another import.

# [program]
import asyncio
from dataclasses import dataclass

from trio_agents.asyncio import AgentId, MessageContext, RoutedAgent, open_runtime, rpc


@dataclass(frozen=True)
class Lookup:
    word: str


class Dictionary(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("counts letters")

    @rpc
    async def look_up(self, message: Lookup, ctx: MessageContext) -> str:
        await asyncio.sleep(0.01)  # or any library for asyncio
        return f"{message.word} has {len(message.word)} letters"


async def main() -> None:
    async with open_runtime() as runtime:
        await Dictionary.register(runtime, "dictionary", Dictionary)
        english = AgentId("dictionary", "english")
        print(await runtime.send_message(Lookup("loop"), english))
        words = ["one", "three", "seven"]
        print(await asyncio.gather(*(runtime.send_message(Lookup(w), english) for w in words)))


asyncio.run(main())
# [/program]

# Prints:
# loop has 4 letters
# ['one has 3 letters', 'three has 5 letters', 'seven has 5 letters']
